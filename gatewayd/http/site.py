"""
The HTTP server under the routes: how much, how slowly and how many may ask.

Klein routes a request, and so could ask for its token, only when its whole body is
there; Twisted by itself spools bodies of any size to disk, for as long as a byte arrives
now and then. So the body's size, the sender's token and its pace are seen to here, while
the request is coming in.
"""

# Twisted's web server is annotated only in part, and these classes extend it.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
from io import BytesIO
from typing import Callable

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from gatewayd.http.problem import ALWAYS, Problem, answer, too_large, unexpected

RECEIVE_TIMEOUT = 15.0
"""
Seconds from the first byte of a request to its last.
"""

IDLE_TIMEOUT = 60.0
"""
Seconds that a connection may be kept without a request on it.
"""

LINGER = 2.0
"""
Seconds for which a refused sender may go on. Closing at once, with bytes unread, makes
the kernel reset the connection, and the sender would never read why.
"""

MAX_CONNECTIONS = 1024

IN_A_ROW = 8
"""
Requests that came in one packet and are answered in one turn of the reactor. A packet has room
for two thousand, and everybody would wait until they are answered.
"""

Admit = Callable[[bytes, bytes, Headers], int]
"""
Given method, path and headers of a request with a body: how many bytes of body it may
have. Raises L{Problem} to refuse it unread.
"""

_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


def _path(target: bytes) -> bytes:
    """
    The path of a request target: of one in absolute form as well (RFC 9112, section 3.2.2).
    """
    target = target.partition(b"?")[0]
    absolute = _AUTHORITY.match(target)
    return (target[absolute.end() :] or b"/") if absolute else target


class Request(server.Request):
    """
    A request whose body is held in memory, as far as it is let in at all.

    @ivar room: how many more bytes of body are taken.
    """

    defaultContentType = None
    channel: Channel
    content: BytesIO
    room = 0

    def gotLength(self, length: int | None) -> None:
        """
        Twisted's own would make a file on disk for what is long or of unknown length.
        """
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Take some of the body.
        """
        if self.channel.refused:
            return
        if len(data) > self.room:
            self.channel.refuse(too_large(self.content.tell() + self.room))
            return
        self.room -= len(data)
        self.content.write(data)

    def process(self) -> None:
        """
        The request is whole.
        """
        self.path = _path(self.path)
        super().process()

    def write(self, data: bytes) -> None:
        """
        Write some of the answer; with the first of it, what all answers have and have not.
        """
        if not self.startedWriting:
            self.responseHeaders.removeHeader(b"Server")
            for name, value in ALWAYS:
                self.responseHeaders.setRawHeaders(name, [value])
        super().write(data)

    def processingFailed(self, reason: Failure) -> Failure:
        """
        Something failed that no route has dealt with.
        """
        problem = unexpected(reason, self._log)
        if self.startedWriting:
            self.loseConnection()
        elif not self._disconnected:
            self.write(answer(self, problem))
            self.finish()
        return reason


class Channel(http.HTTPChannel):
    """
    One connection.

    @ivar refused: it was told no while a request was coming in; whatever still comes is
        not looked at.
    """

    site: Site
    requests: list[Request]
    refused = False
    _answering = False
    _deadline: IDelayedCall | None = None
    _row = 0
    _next: IDelayedCall | None = None
    _held: http.Request | None = None
    _log = Logger()

    def connectionMade(self) -> None:
        """
        A client is there.
        """
        self.site.connections += 1
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """
        Some of a request, of its body, or of one after it.
        """
        if self.refused:
            return
        if self._deadline is None and not self._answering:
            self._deadline = self.callLater(RECEIVE_TIMEOUT, self._late)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """
        Decide about the body before any of it is read, and before C{100 Continue} asks
        for it.
        """
        request = self.requests[-1]
        if self.length != 0:
            try:
                # Twisted tells the request its method and target only after the body;
                # until then the channel alone has them, under these names.
                request.room = self.site.admit(
                    self._command, _path(self._path), request.requestHeaders
                )
                if self.length is not None and self.length > request.room:
                    raise too_large(request.room)
            except Problem as problem:
                self.refuse(problem)
                return
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """
        The request is whole.
        """
        if self.refused:
            return
        self._met()
        self._answering = True
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        """
        The answer is written; the next request may be waiting already. Twisted would go on with
        it, whether the client takes the answers or not.
        """
        self._row += 1
        if not self._waiting:
            self._row = 0
        if self._row < IN_A_ROW:
            self._go_on(request)
        else:
            self._next = self.callLater(0, lambda: self._turn(request))

    @property
    def _waiting(self) -> bool:
        """
        Whether something has come behind the request that is being answered.
        """
        return bool(self._buffer or self._dataBuffer)

    def _turn(self, request: http.Request) -> None:
        self._next = None
        self._row = 0
        self._go_on(request)

    def _go_on(self, request: http.Request) -> None:
        if self._waitingForTransport and self._waiting:
            self._held = request
            self.setTimeout(IDLE_TIMEOUT)
            return
        self._answering = False
        super().requestDone(request)

    def resumeProducing(self) -> None:
        """
        The client has taken most of what was written.
        """
        super().resumeProducing()
        request, self._held = self._held, None
        if request is not None:
            self._go_on(request)

    def refuse(self, problem: Problem) -> None:
        """
        Answer with C{problem} instead of taking the rest of the request, and close.
        """
        if self.refused:
            return
        self.refused = True
        self.persistent = False
        self._met()
        self.clearLineBuffer()
        body = problem.body()
        headers = Headers()
        for name, value in (*problem.headers(len(body)), (b"Connection", b"close")):
            headers.addRawHeader(name, value)
        self.writeHeaders(b"HTTP/1.1", b"%d" % problem.status, problem.phrase, headers)
        self.write(body)
        self._log.debug("refused a request: {status}", status=problem.status)
        self.setTimeout(LINGER)

    def _late(self) -> None:
        self._deadline = None
        self.refuse(Problem(408, f"The request was not whole after {RECEIVE_TIMEOUT:g} seconds."))

    def _met(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's own writes a status line and nothing else.
        self.refuse(
            Problem(
                400,
                "Not a well-formed HTTP request, or one with more than "
                f"{self.maxHeaders} header fields or {self.totalHeadersSize} bytes of them.",
            )
        )

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Twisted's own would close without a word.
        """
        at_most = f"may have at most {LineReceiver.MAX_LENGTH} bytes."
        if self.requests:
            self.refuse(Problem(431, f"A header field {at_most}"))
        else:
            self.refuse(Problem(414, f"The request line {at_most}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client is gone, or was sent away.
        """
        self.site.connections -= 1
        self._met()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        super().connectionLost(reason)


class Site(server.Site):
    """
    The listening side: give it to an endpoint.

    @ivar connections: how many are open.
    """

    # Twisted's annotations allow its own wrapper alone, which is there to choose HTTP/2.
    protocol = Channel  # type: ignore[assignment]
    requestFactory = Request
    noisy = False
    _log = Logger()

    def __init__(
        self,
        root: IResource,
        admit: Admit,
        clock: IReactorTime,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """
        @param max_connections: those beyond are closed at once.
        """
        super().__init__(root, reactor=clock, timeout=IDLE_TIMEOUT, parsePOSTFormSubmission=False)
        self.admit = admit
        self.connections = 0
        self.max_connections = max_connections

    def buildProtocol(self, addr: IAddress | None) -> Channel | None:  # type: ignore[override]
        """
        A channel for a new client; L{None} when there are enough of them.
        """
        if self.connections >= self.max_connections:
            return None
        channel: Channel = super().buildProtocol(addr)
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """
        HTTP/1.1 alone: the limits above are kept by its channel, and HTTP/2 has another.
        """
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """
        Twisted's own would open an access log here, and tick every second for its dates.
        """

    def stopFactory(self) -> None:
        """
        Nothing was started.
        """

    def log(self, request: http.Request) -> None:
        """
        One event a request, for who looks for it: no query, no headers, no body.
        """
        self._log.debug(
            "{method} {path} {status}",
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("ascii", "replace"),
            status=request.code,
        )
