"""
A gateway's door and clients before it, over Twisted's own TCP transport and pairs of sockets:
only the reactor is replaced, so that what is tested is what reaches a client, byte for byte.
"""

from __future__ import annotations

import json
import select
import socket
from base64 import b64encode
from hashlib import sha1
from typing import Any, NamedTuple, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from txaio.tx import config as txaio_config
from zope.interface import implementer

from gatewayd.beats import Beats
from gatewayd.history import History
from gatewayd.metrics import by_label
from gatewayd.ws.broadcast import Broadcaster
from gatewayd.ws.factory import Door, GatewayFactory
from gatewayd.ws.handshake import Origins
from tests.stand_ins import CLOSE, TEXT, Frame, Instance, client_frame, frames_in

KEY = b64encode(b"0123456789abcdef").decode()
ACCEPT = b64encode(sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
MANY = 100_000
"""
Turns in which everything that a test begins has come to rest, or never will.
"""

UPGRADE = {
    "Host": "gateway:3005",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


class Kernel(socket.socket):
    """
    The gateway's end of a client's connection: a real socket, that remembers its end.

    @ivar closed: how the gateway closed it: C{"orderly"} or C{"reset"}.
    """

    closed = ""
    _reset = False

    def setsockopt(self, *option: Any) -> None:
        """
        Called by Twisted, and with the option to linger for no time before it aborts. Those of
        TCP this socket only claims to have.
        """
        self._reset = self._reset or option[1] == socket.SO_LINGER
        if option[0] == socket.SOL_SOCKET:
            super().setsockopt(*option)

    def close(self) -> None:
        """
        Called by Twisted.
        """
        self.closed = "reset" if self._reset else "orderly"
        super().close()


@implementer(IReactorFDSet)
class Loop(Clock):
    """
    A reactor that turns when it is told to, over real sockets whose other ends are here too. What
    escapes into it fails the test.

    @ivar clients: those who have the other ends.
    @ivar drag: seconds that pass whenever somebody looks at the clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[Client] = []
        self.drag = 0.0
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}

    def seconds(self) -> float:
        """
        See L{Clock.seconds}.
        """
        self.rightNow += self.drag
        return self.rightNow

    def addReader(self, reader: Any) -> None:
        """
        See L{IReactorFDSet}.
        """
        self._readers[reader] = None

    def addWriter(self, writer: Any) -> None:
        """
        See L{IReactorFDSet}.
        """
        self._writers[writer] = None

    def removeReader(self, reader: Any) -> None:
        """
        See L{IReactorFDSet}.
        """
        self._readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        """
        See L{IReactorFDSet}.
        """
        self._writers.pop(writer, None)

    def removeAll(self) -> list[Any]:
        """
        See L{IReactorFDSet}.
        """
        return []

    getReaders = getWriters = removeAll

    def turn(self) -> bool:
        """
        Do what a reactor does when it wakes up, and let the clients read.

        @return: whether there was anything to do.
        """
        readable, writable, _ = select.select([*self._readers], [*self._writers], [], 0)
        for one in readable:
            if one in self._readers:
                self._ended(one, one.doRead())
        for one in writable:
            if one in self._writers:
                self._ended(one, one.doWrite())
        now = bool(self.calls) and self.calls[0].getTime() <= self.seconds()
        self.advance(0)
        read = [client.read() for client in self.clients if not client.stalled]
        return bool(readable or writable or now or any(read))

    def settle(self) -> None:
        """
        Turn until there is nothing to do but to wait.
        """
        for _ in range(MANY):
            if not self.turn():
                return
        raise AssertionError("there is always something to do")

    def wait(self, seconds: float) -> None:
        """
        Let time pass, one thing that is due after the other.
        """
        until = self.seconds() + seconds
        self.settle()
        while self.calls and self.calls[0].getTime() <= until:
            self.advance(max(0.0, self.calls[0].getTime() - self.seconds()))
            self.settle()
        self.advance(until - self.seconds())
        self.settle()

    def _ended(self, one: Any, why: Any) -> None:
        if why is not None:
            one.connectionLost(Failure(why))


class Response(NamedTuple):
    """
    The head of an HTTP response.
    """

    status: int
    headers: dict[str, str]


class Client:
    """
    One client's connection.

    @ivar kernel: the gateway's end of it.
    @ivar stalled: whether it does not read.
    """

    def __init__(self, loop: Loop, factory: Any, address: str = "192.0.2.1") -> None:
        self._loop = loop
        self._had = b""
        self._filling = 0
        self.stalled = False
        ours, self._end = socket.socketpair()
        self._end.setblocking(False)
        self.kernel = Kernel(fileno=ours.detach())
        peer = (address, 40000)
        protocol = factory.buildProtocol(IPv4Address("TCP", *peer))
        assert protocol is not None
        # As Twisted's port does it, for a connection that it accepted.
        self.transport = Server(self.kernel, protocol, peer, cast(Any, None), 0, loop)
        protocol.makeConnection(self.transport)
        loop.clients.append(self)

    def send(self, *pieces: bytes) -> None:
        """
        Send C{pieces}, each in a packet of its own.
        """
        for piece in pieces:
            while piece:
                try:
                    piece = piece[self._end.send(piece) :]
                except BlockingIOError:
                    pass
                except OSError:
                    # The gateway is gone, which it may be.
                    return
                self._loop.settle()

    def read(self, size: int = 1 << 20) -> bool:
        """
        Read what has come, up to so many bytes.

        @return: whether there was anything.
        """
        try:
            data = self._end.recv(size)
        except OSError:
            return False
        skipped = min(self._filling, len(data))
        self._filling -= skipped
        self._take(data[skipped:])
        return bool(data)

    def _take(self, data: bytes) -> None:
        self._had += data

    def stall(self) -> None:
        """
        Read no more, and have the kernel take no more either, not a byte.
        """
        self._loop.settle()
        self.stalled = True
        try:
            while True:
                self._filling += self.kernel.send(b"x" * 65536)
        except BlockingIOError:
            pass

    def go_on(self) -> None:
        """
        Read again, to the end.
        """
        self.stalled = False
        self._loop.settle()

    def upgrade(self, target: str = "/", /, **headers: str | None) -> Response:
        """
        Ask for a WebSocket, and return the answer.

        @param headers: beside the usual ones, or instead of them; L{None} leaves one out.
        """
        fields = UPGRADE | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
        self.send(f"GET {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1"))
        return self.response

    @property
    def octets(self) -> int:
        """
        How many octets it has read.
        """
        return len(self._had)

    @property
    def _parts(self) -> tuple[bytes, bytes]:
        head, end, rest = self._had.partition(b"\r\n\r\n")
        assert end, f"no whole response: {head!r}"
        return head, rest

    @property
    def response(self) -> Response:
        """
        The answer to the handshake.
        """
        status, *lines = self._parts[0].decode("latin-1").split("\r\n")
        fields = (line.split(": ", 1) for line in lines)
        return Response(int(status.split(" ")[1]), {name.lower(): value for name, value in fields})

    def say(self, name: str, **data: Any) -> None:
        """
        Send an event.
        """
        self.send(client_frame(json.dumps({"event": name, "data": data}).encode()))

    @property
    def frames(self) -> list[Frame]:
        """
        All that came after the handshake. Who does not read may have half a frame.
        """
        return list(frames_in(self._parts[1], cut=self.stalled))

    @property
    def messages(self) -> list[Any]:
        """
        What the gateway said, in order.
        """
        return [frame.json for frame in self.frames if frame.opcode == TEXT]

    def heard(self, name: str) -> list[Any]:
        """
        The data of the messages with this name.
        """
        return [message["data"] for message in self.messages if message["event"] == name]

    @property
    def ids(self) -> list[str]:
        """
        The ids of the events that were dispatched to it, in order.
        """
        return [message["id"] for message in self.messages if "id" in message]

    @property
    def close(self) -> tuple[int, str] | None:
        """
        The code and the reason of the close frame.
        """
        last = self.frames[-1]
        if last.opcode != CLOSE:
            return None
        return int.from_bytes(last.payload[:2], "big"), last.payload[2:].decode("utf-8")

    @property
    def code(self) -> int | None:
        """
        The code of the close frame.
        """
        return None if self.close is None else self.close[0]

    def answer_close(self) -> None:
        """
        Answer the gateway's close frame with its own code, as RFC 6455 section 5.5.1 has it.
        """
        assert self.code is not None
        self.send(client_frame(self.code.to_bytes(2, "big"), CLOSE))

    def leave(self) -> None:
        """
        Go away without a word, before anybody notices.
        """
        self._end.close()
        self.stalled = True

    def hang_up(self) -> None:
        """
        Go away without a word.
        """
        self.leave()
        self._loop.settle()


class GatewayTestCase(SynchronousTestCase):
    """
    An instance with its door open. After each test, when the last client has gone, nothing
    may be left of any.

    @cvar terms: those that differ from the configuration's defaults.
    @cvar origins: C{allowed_origins}.
    @cvar max_connections: 0 is no limit.
    @cvar per_address: so is this.
    @cvar unidentified: and this.
    @cvar compression: whether clients may ask for it.
    @cvar proxies: whose C{X-Forwarded-For} is believed.
    """

    terms: dict[str, Any] = {}  # noqa: RUF012 - read only
    origins: tuple[str, ...] = ("*",)
    max_message = 16384
    max_buffered = 100_000
    max_total = 1 << 30
    max_connections = 0
    per_address = 0
    unidentified = 0
    compression = False
    proxies: tuple[str, ...] = ()

    def setUp(self) -> None:
        """
        Open the door.
        """
        self.loop = Loop()
        # Autobahn's handshake time-outs ask txaio, not the factory, for their clock.
        self.addCleanup(setattr, txaio_config, "loop", txaio_config.loop)
        txaio_config.loop = self.loop  # type: ignore[assignment]
        broadcaster = Broadcaster(self.loop, lambda published: delivery.written(published))
        self.instance = Instance(
            self.loop,
            broadcaster=broadcaster,
            history=self.past(),
            max_buffered=self.max_buffered,
            **self.terms,
        )
        delivery = self.instance.delivery
        self.factory = GatewayFactory(
            self.instance.commons,
            Door(
                origins=Origins(self.origins),
                max_message_bytes=self.max_message,
                max_buffered_bytes=self.max_buffered,
                max_buffered_total=self.max_total,
                max_connections=self.max_connections,
                connections_per_address=self.per_address,
                max_unidentified=self.unidentified,
                trusted_proxies=self.proxies,
                compression=self.compression,
            ),
            self.loop,
            broadcaster,
        )
        self.beats = Beats(self.loop, self.instance.timetable, lambda now: None, delivery.beaten)
        self.beats.start()

    def tearDown(self) -> None:
        """
        Have every client go, and look for what is left.
        """
        for client in self.loop.clients:
            client.hang_up()
        self.beats.stop()
        self.assertEqual(len(self.instance.census), 0, "a connection is still in the census")
        self.assertEqual(len(self.instance.registry), 0, "a session is still in the registry")
        self.assertEqual(len(self.instance.timetable), 0, "something is still due")
        self.assertEqual(self.instance.delivery.behind, 0, "somebody is still replayed to")
        self.assertEqual(self.factory.getConnectionCount(), 0)
        self.assertEqual(self.loop.getDelayedCalls(), [], "a timer still runs")

    def past(self) -> History:
        """
        The history that the instance keeps.
        """
        return History(window=600, max_events=1000, max_bytes=1 << 24)

    def arrive(self, address: str = "192.0.2.1", factory: Any = None) -> Client:
        """
        A client that has connected, and said nothing.
        """
        return Client(self.loop, factory or self.factory, address)

    def connect(self, address: str = "192.0.2.1") -> Client:
        """
        A client whose handshake is done.
        """
        client = self.arrive(address)
        self.assertEqual(client.upgrade().status, 101)
        return client

    def session(self, user: str, *guilds: str, lifetime: float = 3600.0, **data: Any) -> Client:
        """
        A client that has identified.

        @param guilds: those it may see, and asks for.
        @param data: other fields of C{identify}.
        """
        client = self.connect()
        token = self.instance.token(user, *guilds, lifetime=lifetime)
        client.say("identify", userId=user, token=token, guildIds=list(guilds), **data)
        self.assertEqual(len(client.heard("identified")), 1, client.messages)
        return client

    def hear(self, *arguments: Any, **facts: Any) -> str:
        """
        Have the instance hear an event (L{Instance.hear}), and what comes of it happen.
        """
        heard = self.instance.hear(*arguments, **facts)
        self.loop.settle()
        return heard

    @property
    def closes(self) -> dict[str, int]:
        """
        The connections that ended, as counted, by their codes.
        """
        return by_label(self.instance.metrics.closes)
