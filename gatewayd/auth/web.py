"""
Asks a web service, and bounds what that may cost us: how long it takes, how much it says,
and how many connections it gets. This file is treq's one home.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import Any, Callable

from OpenSSL import SSL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from gatewayd.errors import GatewayError

KEEP = 60
"""
Seconds that a connection is kept for the next question.
"""


class NoAnswer(GatewayError):
    """
    The service did not answer as it should. The sentence says why, without the address,
    which may hold a secret.
    """


class Web:
    """
    Asks questions, some at a time.
    """

    def __init__(
        self,
        clock: IReactorTime,
        agent: IAgent,
        *,
        patience: float,
        longest: int,
        at_once: int,
        close: Callable[[], Deferred[None]] = lambda: succeed(None),
    ) -> None:
        """
        @param patience: seconds until the whole answer must be there, waiting for a turn
            included.
        @param longest: bytes of an answer.
        @param at_once: questions under way; others wait for their turn.
        @param close: closes the connections that C{agent} keeps.
        """
        self._clock = clock
        self._patience = patience
        self._longest = longest
        self._turns = DeferredSemaphore(at_once)
        self._close = close
        # By default it would keep any cookie that it is given, for ever.
        jar = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._client = HTTPClient(_Plain(agent), jar, _Said)

    @classmethod
    def pooled(cls, reactor: Any, *, patience: float, longest: int, at_once: int) -> Web:
        """
        One that keeps its connections, for HTTP and, with certificates verified against the
        system's authorities, HTTPS.
        """
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = at_once
        pool.cachedConnectionTimeout = KEEP
        agent = Agent(reactor, connectTimeout=patience, pool=pool)
        return cls(
            reactor,
            agent,
            patience=patience,
            longest=longest,
            at_once=at_once,
            close=pool.closeCachedConnections,
        )

    def stop(self) -> Deferred[None]:
        """
        Close the connections that are kept.
        """
        return self._close()

    async def ask(self, method: str, url: str, body: bytes | None = None) -> bytes:
        """
        The body of the answer, whose status was 200. The question may be put twice, so it
        must be one that changes nothing.

        @param body: JSON.
        @raise NoAnswer: there is none, or not such a one.
        """
        asking = Deferred.fromCoroutine(self._ask(method, url, body))
        try:
            return await asking.addTimeout(self._patience, self._clock)
        except TimedOut:
            raise NoAnswer(f"no answer within {self._patience:g} s") from None

    async def _ask(self, method: str, url: str, body: bytes | None) -> bytes:
        await self._turns.acquire()
        try:
            try:
                return await self._once(method, url, body)
            except (RequestTransmissionFailed, ResponseNeverReceived) as error:
                # Most likely a kept connection that the other side was just closing. Twisted
                # tries again by itself only what has no body.
                if _cancelled(error):
                    raise
            return await self._once(method, url, body)
        except (CancelledError, NoAnswer):
            raise
        except Exception as error:
            if _cancelled(error):
                raise CancelledError from None
            raise NoAnswer(_sentence_of(error)) from None
        finally:
            self._turns.release()

    async def _once(self, method: str, url: str, body: bytes | None) -> bytes:
        headers = Headers({"Accept": ["application/json"], "User-Agent": ["gatewayd"]})
        if body is not None:
            headers.setRawHeaders("Content-Type", ["application/json"])
        response = await self._client.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            # Or it would keep a second copy of the body.
            unbuffered=True,
            # Or it would import the global one, although it is not given a timeout.
            reactor=self._clock,  # type: ignore[arg-type]
        )
        if response.code != 200:
            raise _unread(response, f"it answered with status {response.code}")
        if response.length is not UNKNOWN_LENGTH and response.length > self._longest:
            raise _unread(response, self._too_long())
        hearing = _Hearing(self._longest, self._too_long())
        response.deliverBody(hearing)
        return await hearing.heard

    def _too_long(self) -> str:
        return f"its answer is longer than {self._longest} bytes"


@implementer(IAgent)
class _Plain:
    """
    Has answers come as they are. treq unpacks whatever comes packed, each piece as a whole:
    64 KiB of gzip are 64 MiB, and gzip in gzip has no end.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        See L{IAgent.request}.
        """
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        asking: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return asking.addCallback(self._plain)

    def _plain(self, response: IResponse) -> IResponse:
        packed = response.headers.getRawHeaders(b"Content-Encoding", ())
        if any(encoding.strip().lower() != b"identity" for encoding in packed):
            raise _unread(response, "its answer is compressed, which was not asked for")
        return response


@implementer(IBodyProducer)
class _Said:
    """
    The body of a question, written at once. Twisted's own one takes turns on the global
    reactor.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        See L{IBodyProducer.startProducing}.
        """
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """
        It is all written already.
        """

    def resumeProducing(self) -> None:
        """
        See L{pauseProducing}.
        """

    def stopProducing(self) -> None:
        """
        See L{pauseProducing}.
        """


class _Hearing(Protocol):
    """
    The body of an answer, up to a limit.

    @ivar heard: fires with all of it. To cancel it ends the connection.
    """

    def __init__(self, longest: int, too_long: str) -> None:
        self.heard: Deferred[bytes] = Deferred(lambda _: self._end())
        self._longest = longest
        self._too_long = too_long
        self._parts: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        """
        A piece.
        """
        self._length += len(data)
        if self._length <= self._longest:
            self._parts.append(data)
        elif not self.heard.called:
            self._parts.clear()
            self._end()
            self.heard.errback(NoAnswer(self._too_long))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was all, or there will be no more.
        """
        if self.heard.called:
            return
        # The second: HTTP/1.0, where an answer ends with its connection.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.heard.callback(b"".join(self._parts))
        else:
            self.heard.errback(reason)

    def _end(self) -> None:
        # This transport has no abortConnection (Twisted's readBody warns of it), and
        # loseConnection waits, in TLS, for the other side's farewell.
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]


class _Unheard(Protocol):
    """
    The body of an answer that nobody wants.
    """

    def connectionMade(self) -> None:
        """
        End the connection; otherwise it would stay, and wait for a reader.
        """
        self.transport.stopProducing()  # type: ignore[union-attr]


def _unread(response: IResponse, why: str) -> NoAnswer:
    response.deliverBody(_Unheard())
    return NoAnswer(why)


def _cancelled(error: Exception) -> bool:
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", ()))


def _sentence_of(error: BaseException) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        # What Twisted makes of several: "[<twisted.python.failure.Failure ...>]".
        return _sentence_of(reasons[0].value)
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        # A list of triples: library, function, reason.
        return f"TLS: {error.args[0][0][-1]}"
    if isinstance(error, (ConnectError, ConnectionClosed, DNSLookupError)):
        return str(error).rstrip(".")
    # Others repeat what was sent.
    return f"it does not speak HTTP ({type(error).__name__})"
