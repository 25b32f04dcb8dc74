"""
Tests for L{gatewayd.ws.broadcast} and L{gatewayd.ws.pressure}.
"""

from __future__ import annotations

import socket
from tempfile import TemporaryFile
from typing import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gatewayd.closing import Closing
from gatewayd.interfaces import IBroadcaster, ISink
from gatewayd.ws.broadcast import CHUNK, MAX_WAITING, SLICE, Broadcaster
from gatewayd.ws.pressure import Pressure


@implementer(ISink)
class Wire:
    """
    A sink on a socket whose other end can be read; every write is a datagram of its own, so
    that they can be counted.
    """

    live = True
    deflates = False

    def __init__(self, case: SynchronousTestCase, room: int | None = None) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.near, self.far):
            end.setblocking(False)
            case.addCleanup(end.close)
        if room is not None:
            self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        self.fd = self.near.fileno()
        self.kept: list[bytes] = []

    def send(self, frame: bytes) -> None:
        """
        See L{ISink}: the long way.
        """
        self.fd = -1
        self.kept.append(frame)

    def keep(self, rest: bytes) -> None:
        """
        See L{ISink}.
        """
        self.send(rest)

    def say(self, frame: bytes) -> None:
        """
        See L{ISink}.
        """

    def backlog(self) -> int:
        """
        See L{ISink}.
        """
        return sum(map(len, self.kept))

    def pull(self, more: Callable[[], bool]) -> None:
        """
        See L{ISink}.
        """

    def close(self, closing: Closing) -> None:
        """
        See L{ISink}.
        """

    def writes(self) -> list[bytes]:
        """
        What was written to the socket so far, a write each.
        """
        found = []
        while True:
            try:
                found.append(self.far.recv(1 << 16))
            except BlockingIOError:
                return found


class Ticking(Clock):
    """
    A clock by which every look takes time.

    @ivar each: seconds.
    """

    each = 0.0
    _looks = 0

    def seconds(self) -> float:
        """
        The time, and a little later the next time.
        """
        self._looks += 1
        return self.rightNow + self._looks * self.each

    def turn(self) -> None:
        """
        One turn of the reactor: what is called later in it, waits for the next.
        """
        calls, self.calls = self.calls, []
        for call in calls:
            call.called = 1
            call.func(*call.args, **call.kw)


class BroadcastTests(SynchronousTestCase):
    """
    What is broadcast reaches each sink, once and in order.
    """

    def setUp(self) -> None:
        """
        A broadcaster.
        """
        self.clock = Ticking()
        self.written: list[float] = []
        self.broadcaster = Broadcaster(self.clock, self.written.append)

    def turn(self) -> None:
        """
        One turn of the reactor.
        """
        self.clock.turn()

    def test_interfaces(self) -> None:
        """
        It is a broadcaster, and the sinks here are sinks.
        """
        self.assertTrue(verifyObject(IBroadcaster, self.broadcaster))
        self.assertTrue(verifyObject(ISink, Wire(self)))

    def test_one(self) -> None:
        """
        One frame is written to all in the next turn, and then told to be.
        """
        wires = [Wire(self) for _ in range(3)]
        self.broadcaster.broadcast(b"frame", wires, 12.5)
        self.assertTrue(self.broadcaster.busy)
        self.assertEqual(self.written, [])
        self.turn()
        for wire in wires:
            self.assertEqual(wire.writes(), [b"frame"])
        self.assertFalse(self.broadcaster.busy)
        self.assertEqual(self.written, [12.5])

    def test_what_came_together_leaves_together(self) -> None:
        """
        All frames of a turn leave in one write for each client, in order, whoever else gets
        which of them.
        """
        one, two, three = (Wire(self) for _ in range(3))
        self.broadcaster.broadcast(b"a", [one, two])
        self.broadcaster.broadcast(b"b", [two, three])
        self.broadcaster.broadcast(b"c", [one, two])
        self.turn()
        self.assertEqual(one.writes(), [b"ac"])
        self.assertEqual(two.writes(), [b"abc"])
        self.assertEqual(three.writes(), [b"b"])

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sets(st.integers(0, 4), min_size=1), st.booleans()),
            min_size=1,
            max_size=150,
        )
    )
    def test_order(self, steps: list[tuple[set[int], bool]]) -> None:
        """
        Whatever is broadcast to whom and wherever turns end, each gets its own, in order.
        """
        wires = [Wire(self) for _ in range(5)]
        expected = [b""] * 5
        for number, (chosen, turn) in enumerate(steps):
            frame = b"%d," % number
            self.broadcaster.broadcast(frame, [wires[n] for n in sorted(chosen)])
            for n in chosen:
                expected[n] += frame
            if turn:
                self.turn()
        while self.broadcaster.busy:
            self.turn()
        for wire, bytes_ in zip(wires, expected, strict=True):
            self.assertEqual(b"".join(wire.writes()), bytes_)
            wire.near.close()
            wire.far.close()

    def test_a_large_audience_is_sliced(self) -> None:
        """
        Writing to very many ends after a while, so that others get their turn, and goes on in
        the next; what is broadcast meanwhile comes after it on every connection.
        """
        with TemporaryFile(buffering=0) as file:
            one, late = Wire(self), Wire(self)
            one.fd = late.fd = file.fileno()
            self.clock.each = SLICE / 2
            self.broadcaster.broadcast(b"1", [one] * CHUNK * 10, 1.0)
            self.turn()
            self.assertTrue(0 < file.tell() < CHUNK * 10)
            self.assertEqual(self.written, [])
            self.broadcaster.broadcast(b"2", [late], 2.0)
            turns = 1
            while self.broadcaster.busy:
                self.turn()
                turns += 1
            self.assertGreater(turns, 3)
            file.seek(0)
            self.assertEqual(file.read(), b"1" * CHUNK * 10 + b"2")
        self.assertEqual(self.written, [1.0, 2.0])

    def test_not_without_bound(self) -> None:
        """
        When too many broadcasts wait, whoever brings the next waits for them.
        """
        one = Wire(self)
        one.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for _ in range(MAX_WAITING):
            self.broadcaster.broadcast(b"x", [one])
        self.assertEqual(one.writes(), [])
        self.broadcaster.broadcast(b"y", [one])
        text = b"".join(one.writes()) + b"".join(one.kept)
        self.assertEqual(text, b"x" * MAX_WAITING + b"y")
        self.turn()
        self.assertFalse(self.broadcaster.busy)

    def test_full_socket(self) -> None:
        """
        A sink whose socket is full gets all of the frame the long way, and the others theirs.
        """
        full, other = Wire(self, room=4096), Wire(self)
        frame = b"x" * 1500
        for _ in range(20):
            self.broadcaster.broadcast(frame, [full, other])
            self.turn()
        self.assertTrue(full.kept)
        self.assertEqual(set(full.kept), {frame})
        self.assertEqual(len(full.writes()) + len(full.kept), 20)

    def test_rest(self) -> None:
        """
        Of what the kernel took only the beginning of, the sink keeps the rest.
        """
        near, far = socket.socketpair()
        for end in (near, far):
            self.addCleanup(end.close)
            end.setblocking(False)
        wire = Wire(self)
        wire.fd = near.fileno()
        frame = bytes(range(256)) * 20_000
        self.broadcaster.broadcast(frame, [wire])
        self.turn()
        [rest] = wire.kept
        self.assertTrue(0 < len(rest) < len(frame))
        self.assertTrue(frame.endswith(rest))

    def test_gone(self) -> None:
        """
        A sink without a descriptor, or whose peer is gone, harms no other.
        """
        none, gone, well = Wire(self), Wire(self), Wire(self)
        none.fd = -1
        gone.far.close()
        self.broadcaster.broadcast(b"f", [none, gone, well])
        self.turn()
        self.assertEqual(well.writes(), [b"f"])
        self.assertEqual((none.kept, gone.kept), ([b"f"], [b"f"]))


class Client:
    """
    One that lags.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.closed = False

    def backlog(self) -> int:
        """
        What waits.
        """
        return self.waiting

    def overrun(self) -> None:
        """
        Closed.
        """
        self.closed = True


class PressureTests(SynchronousTestCase):
    """
    All clients together are bounded as well.
    """

    def lag(self, pressure: Pressure, client: Client, size: int) -> None:
        """
        Let so many more bytes wait.
        """
        client.waiting += size
        pressure.added(client, size)

    def test_under_the_limit(self) -> None:
        """
        While the sum is within the limit, nobody is closed, however long it goes on.
        """
        pressure = Pressure(1000)
        clients = [Client() for _ in range(10)]
        for _ in range(100):
            for client in clients:
                self.lag(pressure, client, 99)
                client.waiting = 0
        self.assertFalse(any(client.closed for client in clients))
        self.assertEqual(pressure.recount(), 0)

    def test_over_the_limit(self) -> None:
        """
        Over it those go with whom most is waiting, until there is room again.
        """
        pressure = Pressure(1000)
        clients = [Client() for _ in range(4)]
        for client, size in zip(clients, (100, 500, 300, 200), strict=True):
            self.lag(pressure, client, size)
        self.assertEqual([client.closed for client in clients], [False, True, False, False])
        clients[1].waiting = 0
        self.assertEqual(pressure.recount(), 600)

    def test_gone(self) -> None:
        """
        Who is gone does not count.
        """
        pressure = Pressure(1000)
        gone, other = Client(), Client()
        self.lag(pressure, gone, 900)
        pressure.gone(gone)
        self.lag(pressure, other, 900)
        self.assertEqual((gone.closed, other.closed), (False, False))
