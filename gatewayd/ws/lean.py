"""
Autobahn's server protocol with less on it: the same state machine for frames and closes, and an
opening and a memory that ten thousand idle clients can afford.

Stock, a connection costs 400 microseconds before its first message, of which 250 format the
whole configuration for a debug line that nobody reads, and keeps nine kilobytes: a copy of each
of forty options, the request, a dictionary of its headers, a validator, counters, Deferreds.
Here what is equal for all is said once, on the class, and an opening request that is plainly
good is answered in a fifteenth of the time. One that is not is left to Autobahn, to be refused
as it refuses.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha1
from typing import Any, NamedTuple

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from gatewayd.ws import deflate, handshake

OPEN = WebSocketServerProtocol.STATE_OPEN
CLOSED = WebSocketServerProtocol.STATE_CLOSED
CONNECTING = WebSocketServerProtocol.STATE_CONNECTING
CLOSING = WebSocketServerProtocol.STATE_CLOSING

LAST_STEPS = 100
"""
Steps of Autobahn's machine, of which a frame takes one or two, that are made after our close
frame to find the client's. It may have said a few things before it saw ours; a flooder has said
thousands in one packet, and everybody would wait until they are looked at.
"""


class Silent:
    """
    Takes what Autobahn logs. It tells of each client's mistakes at warning level, and a client
    can make many; we count them.
    """

    def _ignore(self, *_: object, **__: object) -> None:
        """
        Say nothing.
        """

    trace = debug = info = warn = error = critical = failure = _ignore


class Opening(NamedTuple):
    """
    A good opening request.

    @ivar key: C{Sec-WebSocket-Key}.
    @ivar origin: L{None} where there is none.
    @ivar extensions: what is offered, as it came; empty for nothing.
    @ivar forwarded: C{X-Forwarded-For}, as it came.
    @ivar length: of the request, in bytes.
    """

    key: bytes
    origin: str | None
    extensions: bytes
    forwarded: bytes
    length: int


class LeanServerProtocol(WebSocketServerProtocol):
    """
    See the module.
    """

    log: Any = Silent()
    factory: Any
    transport: Any
    peer = ""

    # What Autobahn's _connectionMade gives each connection, and few ever change.
    is_closed: Any = None
    is_open: Any = None
    state = CONNECTING
    send_state = WebSocketServerProtocol.SEND_STATE_GROUND
    data = b""
    # Nothing here is ever sent in pieces, which is what this is for.
    send_queue: Any = ()
    triggered = False
    trackedTimings: Any = None
    # Nobody reads it. All connections count on one.
    trafficStats: Any = TrafficStats()
    utf8validator: Any = None
    utf8validateIncomingCurrentMessage = False
    wasMaxFramePayloadSizeExceeded = False
    wasMaxMessagePayloadSizeExceeded = False
    closedByMe = False
    failedByMe = False
    droppedByMe = False
    wasClean = False
    wasNotCleanReason: Any = None
    wasServerConnectionDropTimeout = False
    wasOpenHandshakeTimeout = False
    wasCloseHandshakeTimeout = False
    wasServingFlashSocketPolicyFile = False
    localCloseCode: Any = None
    localCloseReason: Any = None
    remoteCloseCode: Any = None
    remoteCloseReason: Any = None
    openHandshakeTimeoutCall: Any = None
    closeHandshakeTimeoutCall: Any = None
    autoPingTimeoutCall: Any = None
    autoPingPending: Any = None
    autoPingPendingCall: Any = None
    autoPingPendingSeq = 0
    autoPingPendingSent: Any = None
    websocket_version = 13
    websocket_extensions_in_use: Any = ()
    _perMessageCompress: Any = None
    _isMessageCompressed = False
    inside_message = False
    current_frame: Any = None
    message_data: Any = None
    message_data_total_length = 0
    message_is_binary = False
    frame_data: Any = None
    control_frame_data: Any = None

    # Ours: nothing is looked at any more.
    _deaf = False
    _last_steps = LAST_STEPS

    def __init__(self) -> None:
        """
        Autobahn's own makes two Deferreds, which refer back to the connection and leave it to
        the garbage collector, and lists for listeners that there are not.
        """

    # ------------------------------------------------------- called by Twisted

    def connectionMade(self) -> None:
        """
        A TCP connection is there.
        """
        try:
            self.transport.setTcpNoDelay(True)
        except (AttributeError, OSError):
            # There is nothing of the kind on a UNIX socket.
            pass
        self.factory.countConnections += 1

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came.
        """
        if self.state == OPEN and not self.data and not self.inside_message:
            payload = small_text(data)
            if payload is not None and self.current_frame is None:
                self.onMessage(payload, False)
                return
        self.data += data
        self.consumeData()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The TCP connection is gone.
        """
        self.factory.countConnections -= 1
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        self.state = CLOSED
        self.data = b""

    # ------------------------------------------------------ called by Autobahn

    def consumeData(self) -> None:
        """
        Look at what is there.
        """
        if self.state == CONNECTING:
            self.processHandshake()
            return
        while self.state == OPEN and self.processData():
            pass
        while self.state == CLOSING and self.processData():
            self._last_steps -= 1
            if self._last_steps <= 0:
                self._deaf = True
                break
        if self._deaf or self.state == CLOSED:
            self.data = b""

    def processHandshake(self) -> None:
        """
        The request may be there in full.
        """
        opening = good_opening(self.data)
        if opening is None:
            # Not whole, or not good, or not plainly so.
            end = self.data.find(b"\r\n\r\n")
            if end >= 0 and handshake.has_smuggled_lines(self.data[:end]):
                self.failHandshake("smuggled lines")
            else:
                super().processHandshake()
            return
        self.data = self.data[opening.length :]
        if self.admit(opening):
            extensions = b""
            if self.factory.compresses and deflate.acceptable(opening.extensions):
                extensions = b"Sec-WebSocket-Extensions: %s\r\n" % deflate.RESPONSE
                self._perMessageCompress = deflate.Inflating()
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\n%s"
                b"Sec-WebSocket-Accept: %s\r\n\r\n" % (extensions, accept(opening.key))
            )
            self.state = OPEN
            self.onOpen()
            if self.data:
                self.consumeData()

    def admit(self, opening: Opening) -> bool:
        """
        Decide about a good request, and answer it if it is not to go on.

        @return: whether it is.
        """
        raise NotImplementedError

    def onConnect(self, request: Any) -> None:
        """
        Autobahn finds no fault with a request in which we do. It skips lines without a colon,
        and would take a body for frames: a proxy in front may see another request than we do.
        """
        self.failHandshake("not plainly good")

    def succeedHandshake(self, res: Any) -> None:
        """
        Nothing more: L{onConnect} has refused it.
        """

    def _onOpen(self) -> None:
        self.onOpen()

    def onMessageEnd(self) -> None:
        """
        A whole message is there. Autobahn's own fires an event for it, too, to nobody.
        """
        data, self.message_data = self.message_data, None
        if not self.failedByMe:
            self.onMessage(data[0] if len(data) == 1 else b"".join(data), self.message_is_binary)

    def dropConnection(self, abort: bool = False) -> None:
        """
        End the TCP connection.
        """
        self.unregisterProducer()
        if self.state != CLOSED:
            self.droppedByMe = True
            self.state = CLOSED
            self._closeConnection(abort)


def small_text(data: bytes) -> bytes | None:
    """
    The payload of a masked text frame, whole and of less than 126 bytes (RFC 6455, section
    5.2), if that and nothing else is what C{data} is. Nearly all that clients say is such a
    frame, in a packet of its own, and Autobahn's machine takes eight microseconds for it.
    """
    size = len(data) - 6
    if not 0 < size < 126 or data[0] != 0x81 or data[1] != 0x80 | size:
        return None
    mask = data[2:6] * (size // 4 + 1)
    payload = int.from_bytes(data[6:], "little") ^ int.from_bytes(mask[:size], "little")
    return payload.to_bytes(size, "little")


_REQUEST = re.compile(rb"GET [!-~]+ HTTP/1\.1\r\n")
_PLAIN = bytes({9, *range(0x20, 0x100)} - {0x7F, 0x85})
_NAME = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_ONCE = frozenset(
    {
        *(b"host", b"origin", b"sec-websocket-key", b"sec-websocket-version"),
        *(b"content-length", b"transfer-encoding"),
    }
)


def good_opening(data: bytes) -> Opening | None:
    """
    Read an opening request that is whole and plainly good (RFC 6455, section 4.2.1).

    @return: L{None} for all others.
    """
    end = data.find(b"\r\n\r\n")
    found = _REQUEST.match(data)
    if end < 0 or found is None:
        return None
    lines = data[found.end() : end].split(b"\r\n")
    # Whatever is no plain character, a lone CR or LF among them, is not for here.
    if b"".join(lines).translate(None, _PLAIN):
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not (colon and name) or name.translate(None, _NAME):
            return None
        if name in headers and name in _ONCE:
            return None
        headers[name] = headers[name] + b"," + value if name in headers else value.strip()
    get = headers.get
    key = get(b"sec-websocket-key", b"")
    if (
        b"host" not in headers
        or get(b"sec-websocket-version") != b"13"
        or b"websocket" not in _tokens(get(b"upgrade", b""))
        or b"upgrade" not in _tokens(get(b"connection", b""))
        or _KEY.fullmatch(key) is None
        or b"transfer-encoding" in headers
        or get(b"content-length", b"0") != b"0"
    ):
        return None
    origin = get(b"origin")
    return Opening(
        key,
        None if origin is None else origin.decode("latin-1"),
        get(b"sec-websocket-extensions", b""),
        get(b"x-forwarded-for", b""),
        end + 4,
    )


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]


def accept(key: bytes) -> bytes:
    """
    C{Sec-WebSocket-Accept} for a C{Sec-WebSocket-Key}.
    """
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
