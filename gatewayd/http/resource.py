"""
The gateway's HTTP calls (protocol, section 4), each an operation put on the wire.

Importing this installs Twisted's default reactor, because Klein does: whoever wants
another one installs it first.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import wraps
from hashlib import sha256
from importlib import resources
from typing import Any, Callable, Concatenate, ParamSpec, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from klein import Klein
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from gatewayd.errors import GatewayError
from gatewayd.http.admission import Admission, check_json
from gatewayd.http.problem import Problem, answer, expected, unexpected
from gatewayd.http.site import MAX_CONNECTIONS, Site
from gatewayd.interfaces import IOperations

MAX_EVENTS = 1000
MAX_ID = 64

ANSWER_TIMEOUT = 15.0
"""
Seconds that an operation may take.
"""

_T = TypeVar("_T")
_P = ParamSpec("_P")
_SERVING = frozenset({"ok", "degraded"})
_ENVELOPES = msgspec.json.Decoder(list[msgspec.Raw])
_ENVELOPE = msgspec.json.Decoder(msgspec.Raw)
_log = Logger()


def _envelopes(content: bytes) -> list[bytes]:
    """
    The one envelope or several in a body, byte for byte.

    @raise Problem: it is not JSON, or too many.
    """
    listed = content.lstrip(b" \t\r\n").startswith(b"[")
    try:
        found = _ENVELOPES.decode(content) if listed else [_ENVELOPE.decode(content)]
    except msgspec.DecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None
    if len(found) > MAX_EVENTS:
        raise Problem(413, f"At most {MAX_EVENTS} events can be published at once.")
    return [bytes(raw) for raw in found]


def _id(segment: str) -> str:
    """
    The id that a segment of a path names.

    @raise Problem: it names none.
    """
    try:
        named = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "The id in the path is not percent-encoded UTF-8.") from None
    if not 0 < len(named) <= MAX_ID:
        raise Problem(400, f"An id has 1 to {MAX_ID} characters.")
    return named


def _json(request: Request, value: object, status: int = 200) -> bytes:
    return _content(request, msgspec.json.encode(value), b"application/json", status)


def _content(request: Request, body: bytes, media: bytes, status: int = 200) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", media)
    # Klein writes no length, and without one an answer to HEAD says nothing of it.
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def _sheltered(work: Deferred[_T]) -> Deferred[_T]:
    """
    The outcome of C{work} for one who may stop waiting: Klein cancels what a client that
    went away had asked for, and half an operation is worse than one nobody hears about.
    """
    shown: Deferred[_T] = Deferred()

    def settle(outcome: _T | Failure) -> None:
        if not shown.called:
            shown.callback(outcome)
        elif isinstance(outcome, Failure) and not outcome.check(GatewayError):
            _log.failure("an operation failed after its client had left", outcome)

    work.addBoth(settle)
    return shown


def _page() -> tuple[bytes, bytes]:
    """
    The page, and the policy under which exactly its own script and style work.
    """
    html = (resources.files("gatewayd.http") / "page.html").read_bytes()
    sources: dict[bytes, bytes] = {}
    for kind, text in re.findall(rb"<(script|style)>(.*?)</\1>", html, re.DOTALL):
        sources[kind] = b"'sha256-%s'" % b64encode(sha256(text).digest())
    policy = (
        b"default-src 'none'; connect-src 'self'; img-src data:; script-src %s; style-src %s; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ) % (sources[b"script"], sources[b"style"])
    return html, policy


_Route = Callable[Concatenate["Calls", Request, _P], _T]


def _protected(route: _Route[_P, _T]) -> _Route[_P, _T]:
    """
    A route for the bearer of the admin token.
    """

    @wraps(route)
    def authorised(calls: Calls, request: Request, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        calls.admission.authorise(request.requestHeaders)
        return route(calls, request, *args, **kwargs)

    return authorised


class Calls:
    """
    The routes.
    """

    app = Klein()
    # With it, Werkzeug answers //some.host/path with a redirect.
    app.url_map.merge_slashes = False

    def __init__(
        self,
        operations: IOperations,
        admission: Admission,
        clock: IReactorTime,
        public: bool = True,
    ) -> None:
        """
        @param public: whether the figures are for everybody.
        """
        self.admission = admission
        self._public = public
        self._operations = operations
        self._clock = clock
        self._html, self._policy = _page()

    async def _answered(self, work: Deferred[_T]) -> _T:
        try:
            return await _sheltered(work).addTimeout(ANSWER_TIMEOUT, self._clock)
        except defer.TimeoutError:
            raise Problem(
                504,
                f"The gateway had no answer within {ANSWER_TIMEOUT:g} seconds; "
                "what was asked may still be done.",
            ) from None

    def _show(self, request: Request) -> None:
        """
        @raise Problem: the figures are not for whoever asks.
        """
        if not self._public:
            self.admission.authorise(request.requestHeaders)

    async def _told(self, request: Request, work: Deferred[dict[str, Any]]) -> bytes:
        found = await self._answered(work)
        return _json(request, found)

    @app.route("/", methods=["GET"])
    def page(self, request: Request) -> bytes:
        """
        The page that shows C{/stats}.
        """
        request.setHeader(b"Content-Security-Policy", self._policy)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        return _content(request, self._html, b"text/html; charset=utf-8")

    @app.route("/health", methods=["GET"])
    def health(self, request: Request) -> bytes:
        """
        Whether clients are served, and by what.
        """
        health = self._operations.health()
        code = 200 if health.get("status") in _SERVING else 503
        if not self._public and not self.admission.holds(request.requestHeaders):
            health = {"status": health.get("status")}
        return _json(request, health, code)

    @app.route("/health/live", methods=["GET"])
    def live(self, request: Request) -> bytes:
        """
        Whether this process is to be left running: it is, if it can answer at all.
        """
        return _json(request, {"live": True})

    @app.route("/health/ready", methods=["GET"])
    def ready(self, request: Request) -> bytes:
        """
        Whether new clients are to be sent here.
        """
        ready, reason = self._operations.ready()
        if ready:
            return _json(request, {"ready": True})
        return _json(request, {"ready": False, "reason": reason}, 503)

    @app.route("/stats", methods=["GET"])
    async def stats(self, request: Request) -> bytes:
        """
        The figures, and the instances of the cluster.
        """
        self._show(request)
        return await self._told(request, self._operations.stats())

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Request) -> bytes:
        """
        The figures for Prometheus.
        """
        self._show(request)
        body, media = self._operations.exposition()
        return _content(request, body, media.encode("ascii"))

    @app.route("/events", methods=["POST"])
    @_protected
    async def publish(self, request: Request) -> bytes:
        """
        Publish one event envelope, or a list of them.
        """
        check_json(request.requestHeaders)
        content = request.content
        bodies = _envelopes(content.read() if content is not None else b"")
        positions = await self._answered(self._operations.publish(bodies)) if bodies else []
        ids = [None if position is None else str(position) for position in positions]
        return _json(request, {"ids": ids}, 202)

    @app.route("/users/<user>", methods=["GET"])
    @_protected
    async def user(self, request: Request, user: str) -> bytes:
        """
        The sessions of one user.
        """
        return await self._told(request, self._operations.user(_id(user)))

    @app.route("/users/<user>/disconnect", methods=["POST"])
    @_protected
    async def disconnect(self, request: Request, user: str) -> bytes:
        """
        Close every session of one user.
        """
        return await self._told(request, self._operations.disconnect(_id(user)))

    @app.route("/guilds/<guild>", methods=["GET"])
    @_protected
    async def guild(self, request: Request, guild: str) -> bytes:
        """
        The sessions subscribed to one guild.
        """
        return await self._told(request, self._operations.guild(_id(guild)))

    @app.route("/drain", methods=["POST"])
    @_protected
    def drain(self, request: Request) -> bytes:
        """
        Begin to shut down in good order.
        """
        self._operations.drain()
        return _json(request, {"status": "draining"}, 202)

    @app.handle_errors(Exception)  # type: ignore[arg-type]  # of requests, we have one kind
    def failed(self, request: Request, failure: Failure) -> bytes:
        """
        Whatever went wrong, told as a problem.
        """
        error = failure.value
        problem = _routing(error) if isinstance(error, HTTPException) else expected(error)
        return answer(request, problem or unexpected(failure, _log))


def _routing(error: HTTPException) -> Problem:
    """
    What Werkzeug found wrong with a method or a path.
    """
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return Problem(
            405,
            f"This path is for {allowed}.",
            headers=((b"Allow", allowed.encode("ascii")),),
        )
    return Problem(404, "There is nothing at this path.")


class Root(Resource):
    """
    Klein's resource, given only what it cannot stumble over.
    """

    isLeaf = True

    def __init__(self, calls: Calls) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = calls.app.resource()

    def render(self, request: Request) -> Any:
        """
        Route the request.
        """
        # As they came: decoded before routing, an id with a slash in it would be two
        # segments, and bytes that are not UTF-8 a traceback in the log.
        request.postpath = request.path[1:].split(b"/")
        # Nothing here depends on the name that the client used for us; Werkzeug would
        # raise on many that it may use.
        request.setHost(b"gateway", 80)
        return self._calls.render(request)


def build(
    operations: IOperations,
    *,
    admin_token: str | None,
    clock: IReactorTime,
    public: bool = True,
    max_connections: int = MAX_CONNECTIONS,
) -> Site:
    """
    The HTTP side of a gateway, ready to listen.

    @param admin_token: for the calls that publish and administer; L{None} to refuse them.
    @param public: whether the figures are for everybody, and not for the bearer of that alone.
    """
    admission = Admission(admin_token)
    return Site(
        Root(Calls(operations, admission, clock, public)), admission, clock, max_connections
    )
