"""
Autobahn's server protocol with a thin skin: bytes and closes go in and out, and everything
that decides is in L{Connection}.

Autobahn's class has 138 public names of its own; ours are kept to a few that begin with an
underscore, and never C{log} or C{server}.
"""

from __future__ import annotations

import os
from codecs import IncrementalDecoder, getincrementaldecoder
from typing import TYPE_CHECKING, Any, Callable

from twisted.internet.interfaces import IDelayedCall, IPullProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd import closing
from gatewayd.closing import Closing
from gatewayd.connection import Connection
from gatewayd.interfaces import ISink
from gatewayd.pacing import Pace
from gatewayd.timetable import Appointment
from gatewayd.ws import handshake
from gatewayd.ws.backlog import backlog, plain_descriptor
from gatewayd.ws.lean import CONNECTING, OPEN, LeanServerProtocol, Opening

if TYPE_CHECKING:
    from gatewayd.ws.factory import GatewayFactory

GRACE = 2.0
"""
Seconds for the close frame to leave and the client to answer, before the connection is
aborted. Neither Twisted nor Autobahn ends a connection whose peer does not read: both wait
for the buffer to drain.
"""
MAX_UNHEARD = 1 << 20
"""
Bytes that are read and not looked at, so that it is noticed when the client goes. To read all
that a flooder sends in L{GRACE} only to throw it away would take time from others.
"""
CONTROL_FRAMES_PER_MINUTE = 240
EMPTY_FRAMES_PER_MINUTE = 1200

_UTF8 = getincrementaldecoder("utf-8")


@implementer(ISink)
class GatewayProtocol(LeanServerProtocol):
    """
    One client's socket.
    """

    factory: GatewayFactory
    _connection: Connection | None = None
    _address = ""
    _unheard = 0
    _abort: IDelayedCall | None = None
    _puller: _Puller | None = None
    _controls: Pace | None = None
    _fragments: Pace | None = None
    _deadline: Appointment | None = None
    _decoder: IncrementalDecoder | None = None

    # ------------------------------------------------------------------ ISink

    fd = -1
    live = False

    @property
    def deflates(self) -> bool:
        """
        See L{ISink}.
        """
        return self._perMessageCompress is not None

    _descriptor = -1

    def send(self, frame: bytes) -> None:
        """
        See L{ISink.send}.
        """
        if self.state != OPEN:
            return
        if self.fd < 0:
            if self._descriptor < 0 or backlog(self.transport):
                self._queue(frame)
                return
            self.fd = self._descriptor
        try:
            taken = os.write(self.fd, frame)
        except OSError:
            # Full, or gone: in either case Twisted finds out.
            taken = 0
        if taken != len(frame):
            self.keep(frame[taken:])

    def keep(self, rest: bytes) -> None:
        """
        See L{ISink.keep}.
        """
        if self.state == OPEN:
            self._queue(rest)

    def say(self, frame: bytes) -> None:
        """
        See L{ISink.say}.
        """
        broadcaster = self.factory.broadcaster
        if self.live and broadcaster.busy:
            broadcaster.broadcast(frame, (self,))
        else:
            self.send(frame)

    def _queue(self, data: bytes) -> None:
        """
        Let Twisted send it, when the kernel has room.
        """
        self.fd = -1
        self.transport.write(data)
        if backlog(self.transport) > self.factory.door.max_buffered_bytes:
            self.overrun()
        else:
            self.factory.pressure.added(self, len(data))

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """
        Whatever Autobahn itself has to say goes through Twisted's buffers, and so nothing may
        be written past them.
        """
        self.fd = -1
        super().sendData(data, sync, chopsize)

    def backlog(self) -> int:
        """
        See L{ISink.backlog}.
        """
        return backlog(self.transport)

    def pull(self, more: Callable[[], bool]) -> None:
        """
        See L{ISink.pull}.
        """
        if self.state == OPEN and self._puller is None:
            self._puller = _Puller(self, more)
            self.transport.registerProducer(self._puller, False)

    def close(self, closing: Closing) -> None:
        """
        See L{ISink.close}.
        """
        if self.state != OPEN:
            return
        self.end_pull()
        self._descriptor = -1
        self.sendCloseFrame(closing.code, closing.reason.encode(), False)
        self._deaf = closing.code in _DEAF
        self._abort_soon()

    def end_pull(self) -> None:
        """
        Let go of a producer, or the transport would never close.
        """
        if self._puller is not None:
            self._puller = None
            self.transport.unregisterProducer()

    def overrun(self) -> None:
        """
        It has not taken what was sent to it: close it.
        """
        connection = self._connection
        if connection is not None:
            self.factory.commons.metrics.slow.inc()
            connection.end(closing.TOO_SLOW)

    def _abort_soon(self) -> None:
        if self._abort is None:
            self._abort = self.factory.clock.callLater(GRACE, self._abort_now)

    def _abort_now(self) -> None:
        self._abort = None
        self.transport.abortConnection()

    # ------------------------------------------------------- called by Twisted

    def connectionMade(self) -> None:
        """
        A TCP connection is there.
        """
        self._arrive()
        limit = self.factory.door.max_unidentified
        if limit and self.factory.unidentified >= 2 * limit:
            # Those who never send a request cannot be told no in one.
            self.factory.commons.metrics.refusals.labels("none").inc()
            self._deaf = True
            self.transport.abortConnection()
        self._deadline = self.factory.commons.timetable.add(
            self.factory.clock.seconds() + handshake.TIMEOUT, self._overdue
        )
        super().connectionMade()

    def _overdue(self, now: float) -> None:
        """
        The opening handshake takes too long.
        """
        if self.state == CONNECTING:
            self.factory.commons.metrics.refusals.labels("408").inc()
            self.dropConnection(abort=True)

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came.
        """
        if self._deaf:
            self._unheard += len(data)
            if self._unheard > MAX_UNHEARD:
                self.transport.pauseProducing()
            return
        if self.state == CONNECTING and len(self.data) + len(data) > handshake.MAX_BYTES:
            ended = (self.data + data).find(b"\r\n\r\n")
            if not 0 <= ended <= handshake.MAX_BYTES:
                self._refuse(431, None)
                return
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The TCP connection is gone.
        """
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
        self._puller = None
        # The number may be another's by now.
        self.fd = self._descriptor = -1
        self.factory.pressure.gone(self)
        self.factory.broadcaster.deflating -= self.deflates
        super().connectionLost(reason)
        self.factory.commons.timetable.cancel(self._deadline)
        connection, self._connection = self._connection, None
        if connection is not None:
            self._guard(connection.lost, _first(self.localCloseCode, self.remoteCloseCode))
        self.factory.departed(self._address)

    # ------------------------------------------------------ called by Autobahn

    def admit(self, opening: Opening) -> bool:
        """
        See L{LeanServerProtocol.admit}.
        """
        return self._let_in(opening.origin, opening.forwarded.decode("latin-1"))

    def _arrive(self, forwarded: str = "") -> None:
        # A UNIX socket has no host: all of its clients share one address.
        address = getattr(self.transport.getPeer(), "host", "") or "local"
        self._address = self.factory.came_from(address, forwarded) if forwarded else address
        self.factory.arrived(self._address)

    def _let_in(self, origin: str | None, forwarded: str) -> bool:
        # A proxy says whose connection it is only when that has been made (PROXY protocol), or
        # in the request.
        self.factory.departed(self._address)
        self._arrive(forwarded)
        refused = self.factory.refusal(origin, self._address)
        if refused is not None:
            self._refuse(*refused)
        return refused is None

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """
        The request is not a good one. Autobahn's words for it may hold the client's own; the
        status says enough.
        """
        self._refuse(code, None)

    def _refuse(self, status: int, retry_after: int | None) -> None:
        self.factory.commons.metrics.refusals.labels(str(status)).inc()
        self.transport.write(handshake.refusal(status, retry_after))
        self._deaf = True
        self.dropConnection(abort=False)
        # Over TLS a peer that does not answer would keep the connection for ever.
        self._abort_soon()

    def onOpen(self) -> None:
        """
        The handshake is done.
        """
        self.factory.commons.timetable.cancel(self._deadline)
        self._deadline = None
        # Autobahn would wait in vain for what a failing onOpen leaves open.
        self._guard(self._opened)

    def _opened(self) -> None:
        self._descriptor = plain_descriptor(self.transport)
        self.factory.broadcaster.deflating += self.deflates
        self._connection = Connection(self.factory.commons, self, self._address)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        One whole message.
        """
        if self._connection is not None and self.state == OPEN:
            self._guard(self._connection.received, payload, isBinary)

    def onPing(self, payload: bytes) -> None:
        """
        A ping. They cost as much as messages and never reach C{onMessage}.
        """
        self._control_counted()
        if self.state == OPEN and self.backlog() < self.factory.door.max_buffered_bytes:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        """
        A pong, which nobody asked for.
        """
        self._control_counted()

    def _control_counted(self) -> None:
        if self._controls is None:
            self._controls = Pace(CONTROL_FRAMES_PER_MINUTE)
        self._frame_counted(self._controls)

    def onMessageFrameBegin(self, length: int) -> None:
        """
        A data frame. Only fragments are counted: a message in one frame is counted as such.
        """
        if not self.current_frame.fin or self.current_frame.opcode == 0:
            if self._fragments is None:
                self._fragments = Pace(EMPTY_FRAMES_PER_MINUTE)
            self._frame_counted(self._fragments)
            if self.current_frame.opcode == 1:
                self._decoder = _UTF8()
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        Some of a frame. Text in one frame is looked at when it is whole; in fragments it could
        go on for ever, so each has to be good by itself.
        """
        super().onMessageFrameData(payload)
        if self._decoder is not None and not self.failedByMe:
            try:
                self._decoder.decode(payload, final=self.current_frame.fin and not self._rest())
            except UnicodeDecodeError:
                self._decoder = None
                self._fail_connection(closing.BAD_UTF8.code, closing.BAD_UTF8.reason)

    def _rest(self) -> int:
        """
        Bytes of the present frame that have not come yet.
        """
        return int(self.current_frame.length - self.current_frame_masker.pointer())

    def onMessageEnd(self) -> None:
        """
        A whole message is there.
        """
        self._decoder = None
        super().onMessageEnd()

    def _frame_counted(self, pace: Pace) -> None:
        if not pace.take(self.factory.clock.seconds()) and self._connection is not None:
            self.factory.commons.metrics.rate_limited.inc()
            self._connection.end(closing.RATE_LIMITED)

    def onCloseHandshakeTimeout(self) -> None:
        """
        The client did not answer our close frame.
        """
        self.closeHandshakeTimeoutCall = None
        self.transport.abortConnection()

    def dropConnection(self, abort: bool = False) -> None:
        """
        End the TCP connection, for certain.
        """
        if self._puller is not None:
            self.end_pull()
        self.fd = self._descriptor = -1
        super().dropConnection(abort)
        if not abort and self._abort is None and self.transport is not None:
            self._abort_soon()

    def _guard(self, call: Callable[..., None], *arguments: Any) -> None:
        """
        Autobahn drops the connection without a word when a callback raises, or worse, keeps
        it. A fault of ours is closed as one.
        """
        try:
            call(*arguments)
        except Exception:
            self.factory.our_log.failure("a connection failed")
            self.close(closing.INTERNAL)


def _first(*codes: int | None) -> int | None:
    return next((code for code in codes if code is not None), None)


_DEAF = frozenset({closing.RATE_LIMITED.code})
"""
After these closes nothing is read any more. One read of 64 KiB may hold nine thousand tiny
frames, and parsing what a flooder sent before it saw the close would keep everybody waiting.
"""


@implementer(IPullProducer)
class _Puller:
    """
    Asks for more whenever the transport has nothing left.
    """

    def __init__(self, protocol: GatewayProtocol, more: Callable[[], bool]) -> None:
        self._protocol = protocol
        self._more = more

    def resumeProducing(self) -> None:
        """
        The transport's buffer is empty.
        """
        if self._protocol._puller is self and not self._more():
            self._protocol.end_pull()

    def stopProducing(self) -> None:
        """
        The connection is gone.
        """
        self._protocol._puller = None
