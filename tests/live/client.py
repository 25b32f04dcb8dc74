"""
A WebSocket client to test with: it believes nothing, remembers everything, and can be slow.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any, ClassVar, Mapping, NamedTuple, Sequence, cast

import jwt
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.compress import (
    PerMessageDeflateOffer,
    PerMessageDeflateResponse,
    PerMessageDeflateResponseAccept,
)
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.tcp import Connection

from tests.live.waiting import Moment, reactor, within

SECRET = "a secret that only the tests know, and long enough"
"""
What L{token} signs with, and the gateways of these tests check with.
"""


def token(
    user: str,
    guilds: Sequence[str] | None = None,
    secret: str = SECRET,
    *,
    algorithm: str = "HS256",
    **claims: object,
) -> str:
    """
    A token for C{user}, issued now, good for an hour.

    @param guilds: its C{guilds} claim; L{None} for no such claim.
    @param claims: more of them, or others than those above; L{None} leaves one out.
    """
    now = int(time.time())
    payload: dict[str, object] = {"sub": user, "guilds": guilds, "iat": now, "exp": now + 3600}
    payload |= claims
    kept = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(kept, secret, algorithm)


class Refused(Exception):
    """
    The server did not upgrade the connection.

    @ivar status: the HTTP status; 0 where there was no answer.
    @ivar headers: of the answer, their names in lower case.
    """

    def __init__(self, status: int, headers: Mapping[str, str], reason: str) -> None:
        super().__init__(f"not upgraded: {status}, {reason}")
        self.status = status
        self.headers = headers


class Closed(AssertionError):
    """
    The connection closed while more was expected of it.
    """


class Closing(NamedTuple):
    """
    How a connection ended.

    @ivar code: of the server's close frame; 1006 if it sent none.
    """

    code: int
    reason: str


class Message(dict[str, Any]):
    """
    What the server said: a JSON object.

    @ivar raw: the text frame it came in.
    """

    def __init__(self, raw: bytes) -> None:
        super().__init__(json.loads(raw))
        self.raw = raw

    @property
    def event(self) -> str:
        """
        Its name.
        """
        return str(self["event"])

    @property
    def data(self) -> Any:
        """
        What it says.
        """
        return self["data"]

    @property
    def id(self) -> str | None:
        """
        The event's id, where it has one.
        """
        return self.get("id")


class _Protocol(WebSocketClientProtocol):
    """
    Autobahn's client, which tells L{Client} of everything.
    """

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client

    @property
    def wire(self) -> Connection:
        return cast(Connection, self.transport)

    def connectionMade(self) -> None:
        if self.client.receive_buffer:
            self.wire.getHandle().setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, self.client.receive_buffer
            )
        super().connectionMade()

    def onOpen(self) -> None:
        self.client.opened.now(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.client.took(Message(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        # Autobahn says 1006 of every end that was not in perfect order, whatever the server's
        # close frame said before.
        if self.remoteCloseCode is not None:
            code, reason = self.remoteCloseCode, self.remoteCloseReason
        self.client.ended(Closing(code or 1005, reason or ""))


class Client:
    """
    One connection to a gateway.

    @ivar received: all messages so far, those read by L{next} included.
    @ivar heartbeats: whether to answer the server's, which is also to be changed on the way.
    @ivar ending: how the connection ended, once it has.
    @cvar open: those that have not, for whoever cleans up after a test.
    """

    open: ClassVar[set[Client]] = set()

    def __init__(self, heartbeats: bool, receive_buffer: int | None) -> None:
        self.received: list[Message] = []
        self.heartbeats = heartbeats
        self.receive_buffer = receive_buffer
        self.ending: Closing | None = None
        self.opened: Moment[None] = Moment()
        self._ended: Moment[Closing] = Moment()
        self._news: Moment[None] = Moment()
        self._read = 0
        self.protocol = _Protocol(self)

    # What the protocol tells.

    def took(self, message: Message) -> None:
        """
        A message came.
        """
        self.received.append(message)
        if self.heartbeats and message.get("event") == "heartbeat":
            self.send("heartbeat_ack")
        self._tell()

    def ended(self, closing: Closing) -> None:
        """
        The connection is no more.
        """
        self.ending = closing
        Client.open.discard(self)
        self._ended.now(closing)
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, Moment()
        news.now(None)

    # What a test does.

    async def next(self, timeout: float = 5.0) -> Message:
        """
        The next message not read yet, whatever it is.

        @raise Closed: the connection closed, and all messages are read.
        @raise Late: there was none in C{timeout} seconds.
        """
        return await within(timeout, "a message from the gateway", self._next())

    async def _next(self) -> Message:
        while self._read == len(self.received):
            if self.ending is not None:
                raise Closed(f"closed with {self.ending.code}: {self.ending.reason!r}")
            await self._news.wait()
        self._read += 1
        return self.received[self._read - 1]

    async def expect(self, event: str, timeout: float = 5.0) -> Message:
        """
        The next message, heartbeats apart, which must be C{event}.

        @raise Closed: the connection closed before.
        @raise Late: it did not come in C{timeout} seconds.
        @raise AssertionError: another came.
        """

        async def find() -> Message:
            message = await self._next()
            while message.get("event") == "heartbeat" != event:
                message = await self._next()
            return message

        message = await within(timeout, f"{event} from the gateway", find())
        assert message.get("event") == event, f"expected {event}, got {message!r}"
        return message

    def send(self, event: str, **data: object) -> None:
        """
        Say C{event}, with C{data} as its data.
        """
        self.send_text(json.dumps({"event": event, "data": data}))

    def send_text(self, text: str | bytes) -> None:
        """
        Send a text frame that need not be JSON, nor, given as C{bytes}, UTF-8.
        """
        payload = text.encode() if isinstance(text, str) else text
        self.protocol.sendMessage(payload, isBinary=False)

    def send_binary(self, payload: bytes) -> None:
        """
        Send a binary frame.
        """
        self.protocol.sendMessage(payload, isBinary=True)

    async def identify(
        self,
        user: str,
        guilds: Sequence[str] = (),
        token: str | None = None,
        last_event_id: str | None = None,
        timeout: float = 5.0,
        **more: object,
    ) -> Message:
        """
        Identify, and return the C{identified} that answers. Reads C{ready}, if it is still there
        to be read.

        @param token: L{None} for one that grants just C{guilds}.
        @param more: other fields of C{identify}.
        """
        if self._read == 0:
            await self.expect("ready", timeout)
        if token is None:
            token = _token(user, guilds)
        if last_event_id is not None:
            more["lastEventId"] = last_event_id
        self.send("identify", userId=user, token=token, guildIds=list(guilds), **more)
        return await self.expect("identified", timeout)

    @property
    def closed(self) -> Deferred[Closing]:
        """
        Fires with the code and the reason when the connection has closed; fails with L{Late}
        if that takes more than ten seconds.
        """
        return self.wait_closed()

    def wait_closed(self, timeout: float = 10.0) -> Deferred[Closing]:
        """
        The same, with a choice of how long.
        """
        return within(timeout, "the gateway to close the connection", self._ended.wait())

    def pause(self) -> None:
        """
        Read nothing more, not even that the connection closed.
        """
        self.protocol.wire.pauseProducing()

    def resume(self) -> None:
        """
        Read on.
        """
        self.protocol.wire.resumeProducing()

    async def close(self, code: int = 1000, reason: str = "") -> Closing:
        """
        Close as clients should, and return when the connection is no more.
        """
        self.resume()
        self.protocol.sendClose(code, reason)
        return await self.closed

    async def abort(self) -> None:
        """
        Be gone without a word.
        """
        self.protocol.wire.abortConnection()
        await self.closed


_token = token  # `identify` has a parameter of that name.


async def connect(
    port: int,
    *,
    path: str = "/",
    origin: str | None = None,
    headers: Mapping[str, str] | None = None,
    heartbeats: bool = True,
    compress: bool = False,
    receive_buffer: int | None = None,
    timeout: float = 5.0,
) -> Client:
    """
    Connect to a gateway on this machine, and return once the connection is upgraded.

    @param heartbeats: answer the server's.
    @param compress: offer permessage-deflate, and take it if it is granted.
    @param receive_buffer: bytes that the kernel may take for us before we read them, which is
        megabytes if nobody says less. With less than 64 KiB, that is less than one segment on
        the loopback interface, everything comes at some 30 kB/s.
    @raise Refused: the server answered with something else than an upgrade.
    """
    client = Client(heartbeats, receive_buffer)
    factory = WebSocketClientFactory(
        f"ws://127.0.0.1:{port}{path}", origin=origin, headers=dict(headers or {}), reactor=reactor
    )
    factory.noisy = False
    factory.protocol = lambda: client.protocol  # type: ignore[assignment]
    # It is the server's part to end the connection; a client that does it hides one that does not.
    factory.setProtocolOptions(openHandshakeTimeout=timeout, serverConnectionDropTimeout=0)
    if compress:
        factory.setProtocolOptions(
            perMessageCompressionOffers=[PerMessageDeflateOffer()],
            perMessageCompressionAccept=lambda response: (
                PerMessageDeflateResponseAccept(response)
                if isinstance(response, PerMessageDeflateResponse)
                else None
            ),
        )
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=timeout)
    await endpoint.connect(factory)
    Client.open.add(client)
    try:
        await within(timeout, f"the upgrade on port {port}", _upgraded(client))
    except BaseException:
        client.protocol.wire.abortConnection()
        raise
    return client


async def _upgraded(client: Client) -> None:
    # Autobahn tells the end of a handshake that failed as it does any end, so whichever of the
    # two comes first is the answer.
    first: Deferred[None] = Deferred()
    client.opened.wait().addCallback(lambda _: None if first.called else first.callback(None))
    client._ended.wait().addCallback(lambda _: None if first.called else first.callback(None))
    await first
    if client.opened.past:
        return
    assert client.ending is not None
    protocol = client.protocol
    status = getattr(protocol, "http_status_line", "").split()
    headers: dict[str, str] = getattr(protocol, "http_headers", {})
    code = int(status[1]) if len(status) > 1 and status[1].isdigit() else 0
    raise Refused(code, headers, client.ending.reason)
