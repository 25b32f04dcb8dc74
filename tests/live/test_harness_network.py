"""
The harness itself: its network is as bad as promised, and no worse.
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Callable, cast

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from tests.live.brokers import Redis
from tests.live.faults import FaultProxy
from tests.live.processes import free_port
from tests.live.waiting import Moment, eventually, reactor, together, within

NewProxy = Callable[[Any], FaultProxy]


class Wire(Protocol):
    """
    One end of a connection, which remembers what came.
    """

    def __init__(self, echoes: bool = False) -> None:
        self.echoes = echoes
        self.got = b""
        self.lost: Moment[BaseException | None] = Moment()

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came.
        """
        self.got += data
        if self.echoes:
            self.say(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone.
        """
        self.lost.now(reason.value)

    @property
    def tcp(self) -> Connection:
        """
        The transport.
        """
        return cast(Connection, self.transport)

    def say(self, data: bytes) -> None:
        """
        Write.
        """
        self.tcp.write(data)

    async def hears(self, data: bytes) -> None:
        """
        Wait until all that ever came is C{data}.
        """
        await eventually(lambda: self.got == data, f"{len(data)} bytes to come")

    async def hangs_up(self, kind: type[Exception]) -> None:
        """
        Wait until the connection is gone, and see in which manner.
        """
        reason = await within(5, "the connection to be gone", self.lost.wait())
        assert isinstance(reason, kind), reason


class EchoServer(Factory):
    """
    Says everything back.

    @ivar wires: its ends of all connections that were made to it.
    """

    noisy = False

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        """
        Somebody connected.
        """
        self.wires.append(Wire(echoes=True))
        return self.wires[-1]


async def dial(port: int) -> Wire:
    """
    Connect to a port of this machine.
    """
    wire: Wire = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Wire())
    return wire


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[tuple[int, EchoServer]]:
    """
    The port of an L{EchoServer}, and the server.
    """
    port, factory = free_port(), EchoServer()
    listening = reactor.listenTCP(port, factory, interface="127.0.0.1")
    yield port, factory
    await within(5, "the echo to end", maybeDeferred(listening.stopListening))


@pytest_twisted.ensureDeferred
async def test_forwards_both_ways(server: tuple[int, EchoServer], proxy: NewProxy) -> None:
    """
    Unless told otherwise it passes on all there is, more than any buffer holds, in its order,
    and the end of a connection only after all that was said on it.
    """
    port, echo = server
    bad = proxy(port)
    wire = await dial(bad.port)
    data = b"".join(b"%07d," % number for number in range(1_000_000))
    wire.say(data)
    await wire.hears(data)
    echo.wires[0].say(b"bye")
    echo.wires[0].tcp.loseConnection()
    await wire.hangs_up(ConnectionDone)
    assert wire.got[-3:] == b"bye"
    assert (bad.accepted, len(bad.links)) == (1, 0)


@pytest_twisted.ensureDeferred
async def test_black_hole_swallows_even_the_end(
    server: tuple[int, EchoServer], proxy: NewProxy
) -> None:
    """
    A black hole passes on neither words nor their end, either way; those who connect to it get
    through to nobody; and one who was in it stays in it when the network is good again.
    """
    port, echo = server
    bad = proxy(port)
    wire, leaver = await together(dial(bad.port), dial(bad.port))
    wire.say(b"one")
    leaver.say(b"two")
    await together(wire.hears(b"one"), leaver.hears(b"two"))
    bad.swallow()
    wire.say(b"lost")
    leaver.tcp.abortConnection()
    newcomer = await dial(bad.port)
    newcomer.say(b"anybody?")
    bad.forward()
    wire.say(b"lost too")
    # A whole conversation later, nothing of all that has arrived.
    fresh = await dial(bad.port)
    fresh.say(b"three")
    await fresh.hears(b"three")
    assert sorted(each.got for each in echo.wires) == [b"one", b"three", b"two"]
    assert not any(each.lost.past for each in [*echo.wires, wire, newcomer])
    assert (wire.got, newcomer.got) == (b"one", b"")


@pytest_twisted.ensureDeferred
async def test_stall_loses_nothing(server: tuple[int, EchoServer], proxy: NewProxy) -> None:
    """
    What stalls arrives when it is over, whole and in order, and the sender feels it meanwhile.
    """
    port, echo = server
    bad = proxy(port)
    wire = await dial(bad.port)
    wire.say(b"a")
    await wire.hears(b"a")
    bad.stall()
    data = b"b" * 30_000_000
    wire.say(data)
    newcomer = await dial(bad.port)
    newcomer.say(b"c")
    # A conversation past the proxy shows that there was time enough.
    straight = await dial(port)
    straight.say(b"d")
    await straight.hears(b"d")
    assert sorted({each.got for each in echo.wires}) in ([b"a", b"d"], [b"", b"a", b"d"])
    assert wire.tcp.dataBuffer or wire.tcp._tempDataBuffer
    bad.forward()
    await together(wire.hears(b"a" + data), newcomer.hears(b"c"))


@pytest_twisted.ensureDeferred
async def test_delays_each_way(server: tuple[int, EchoServer], proxy: NewProxy) -> None:
    """
    A delay is taken each way, keeps the order, and is over when it is lifted.
    """
    port, _ = server
    bad = proxy(port)
    bad.delay(0.2)
    wire = await dial(bad.port)
    began = reactor.seconds()
    wire.say(b"a")
    await wire.hears(b"a")
    assert 0.4 <= reactor.seconds() - began < 2
    wire.say(b"b")
    bad.forward()
    wire.say(b"c")
    await wire.hears(b"abc")


@pytest_twisted.ensureDeferred
async def test_cut_resets_and_lets_come_again(
    server: tuple[int, EchoServer], proxy: NewProxy
) -> None:
    """
    A cut resets what there is, on both sides, and keeps nobody from connecting again.
    """
    port, echo = server
    bad = proxy(port)
    wire = await dial(bad.port)
    wire.say(b"a")
    await wire.hears(b"a")
    await bad.cut()
    await together(wire.hangs_up(ConnectionLost), echo.wires[0].hangs_up(ConnectionLost))
    again = await dial(bad.port)
    again.say(b"b")
    await again.hears(b"b")
    assert bad.accepted == 2


@pytest_twisted.ensureDeferred
async def test_refuses_until_it_forwards_again(
    server: tuple[int, EchoServer], proxy: NewProxy
) -> None:
    """
    Refusing ends what there is and lets nobody in; the port is the same afterwards.
    """
    port, _ = server
    bad = proxy(port)
    wire = await dial(bad.port)
    await bad.connected(1)
    await bad.refuse()
    await wire.hangs_up(ConnectionLost)
    with pytest.raises(Refusal):
        await dial(bad.port)
    bad.forward()
    again = await dial(bad.port)
    again.say(b"a")
    await again.hears(b"a")


@pytest_twisted.ensureDeferred
async def test_dead_server_behind_it_is_felt(proxy: NewProxy) -> None:
    """
    Where no server listens behind the proxy, its clients are reset.
    """
    bad = proxy(free_port())
    wire = await dial(bad.port)
    await wire.hangs_up(ConnectionLost)
    await bad.connected(0)


@pytest_twisted.ensureDeferred
async def test_stands_in_for_a_broker(redis: Redis, proxy: NewProxy) -> None:
    """
    Its URL is the broker's with another port.
    """
    bad = proxy(redis)
    assert bad.url == f"redis://127.0.0.1:{bad.port}/0"
    assert bad.port != redis.port
