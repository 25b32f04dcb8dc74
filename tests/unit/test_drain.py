"""
Leaving in good order.
"""

from __future__ import annotations

from typing import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.connection import Connection
from gatewayd.drain import LAST_SHARE, STEPS_PER_SECOND, Drain
from tests.stand_ins import Instance, RecordingSink, event

DRAIN_TIME = 10.0
WINDOW = DRAIN_TIME * (1 - LAST_SHARE)
STEP = 1 / STEPS_PER_SECOND


class DrainTests(SynchronousTestCase):
    """
    L{Drain}.
    """

    def setUp(self) -> None:
        """
        Make an instance, with clients to come.
        """
        self.clock = Clock()
        self.instance = Instance(self.clock)
        self.sinks: dict[Connection, RecordingSink] = {}
        self.shut = 0

    def drain(self, *draws: float, drain_time: float = DRAIN_TIME) -> Deferred[None]:
        """
        Begin to drain.

        @param draws: what the random numbers are, one for each that is identified.
        """
        numbers: Iterator[float] = iter(draws)
        self.draining = Drain(
            clock=self.clock,
            census=self.instance.census,
            drain_time=drain_time,
            random=lambda: next(numbers),
            shut=self.shutting,
        )
        return Deferred.fromCoroutine(self.draining.connections())

    def shutting(self) -> None:
        """
        Called by the drain.
        """
        self.shut += 1

    def add(self, make: Callable[[], tuple[Connection, RecordingSink]]) -> RecordingSink:
        """
        Have one more connection.
        """
        connection, sink = make()
        self.sinks[connection] = sink
        return sink

    def add_session(self, user: str) -> RecordingSink:
        """
        Have one more session.
        """
        return self.add(lambda: self.instance.session(user, "g1"))

    def wait(self, seconds: float, leaving: bool = True) -> None:
        """
        Let time pass.

        @param leaving: whether clients that are closed go.
        """
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(STEP, until - self.clock.seconds()))
            if leaving:
                for connection, sink in self.sinks.items():
                    if sink.closings and connection in list(self.instance.census):
                        connection.lost(None)

    def test_nobody(self) -> None:
        """
        With no connections it is done at once; nobody is let in any more, and that is said
        once.
        """
        self.successResultOf(self.drain())
        self.assertEqual(self.shut, 1)
        self.draining.shut_door()
        self.assertEqual(self.shut, 1)

    def test_door_first(self) -> None:
        """
        The door is shut before anybody is told to leave.
        """
        sink = self.add_session("u1")
        said: list[int] = []
        drain = Drain(
            clock=self.clock,
            census=self.instance.census,
            drain_time=1.0,
            random=lambda: 0.5,
            shut=lambda: said.append(len(sink.heard("reconnect"))),
        )
        drain.shut_door()
        drained = Deferred.fromCoroutine(drain.connections())
        self.assertEqual(said, [0])
        self.wait(1.0)
        self.successResultOf(drained)

    def test_unidentified(self) -> None:
        """
        Who has not identified is closed at once, and told nothing else.
        """
        sink = self.add(self.instance.connect)
        self.drain()
        self.assertEqual(sink.closings, [closing.GOING_AWAY])
        self.assertEqual(sink.heard("reconnect"), [])
        self.wait(DRAIN_TIME)

    def test_spread(self) -> None:
        """
        Every session is told at once when to come back, each a time of its own, and closed
        with 1001 when that has come.
        """
        draws = {"u1": 0.9, "u2": 0.1, "u3": 0.5}
        sinks = {user: self.add_session(user) for user in draws}
        drained = self.drain(*draws.values())
        for user, sink in sinks.items():
            [told] = sink.heard("reconnect")
            self.assertEqual(
                told, {"reason": "shutdown", "retryAfter": round(draws[user] * WINDOW * 1000)}
            )
            self.assertEqual(sink.closings, [])
        before = 0.0
        for user, draw in sorted(draws.items(), key=lambda item: item[1]):
            self.wait(draw * WINDOW - before - STEP)
            self.assertEqual(sinks[user].closings, [], user)
            self.wait(2 * STEP)
            self.assertEqual(sinks[user].closings, [closing.GOING_AWAY], user)
            before = draw * WINDOW + STEP
        self.wait(STEP)
        self.successResultOf(drained)

    def test_ends_early(self) -> None:
        """
        It is done when the last client is gone, without waiting for the time it had.
        """
        for user in ("u1", "u2"):
            self.add_session(user)
        drained = self.drain(0.1, 0.2)
        self.wait(0.2 * WINDOW - STEP)
        self.assertNoResult(drained)
        self.wait(4 * STEP)
        self.successResultOf(drained)

    def test_all_leave_by_themselves(self) -> None:
        """
        Clients that leave when they are told to are not waited for.
        """
        connection, _ = self.instance.session("u1", "g1")
        drained = self.drain(0.9)
        connection.lost(1000)
        self.wait(2 * STEP)
        self.successResultOf(drained)

    def test_one_leaves_by_itself(self) -> None:
        """
        One that leaves before its time is not closed again, and holds nobody up.
        """
        gone, sink = self.instance.session("u1", "g1")
        other = self.add_session("u2")
        drained = self.drain(0.5, 0.25)
        gone.lost(1000)
        self.wait(0.5 * WINDOW)
        self.assertEqual(sink.closings, [])
        self.assertEqual(other.closings, [closing.GOING_AWAY])
        self.successResultOf(drained)

    def test_who_will_not_go(self) -> None:
        """
        Clients that do not go hold it up until the drain time is over, and not longer.
        """
        sinks = [self.add_session(f"u{n}") for n in range(3)]
        drained = self.drain(0.99, 0.5, 0.0)
        self.wait(DRAIN_TIME - STEP, leaving=False)
        self.assertEqual([sink.closings for sink in sinks], [[closing.GOING_AWAY]] * 3)
        self.assertNoResult(drained)
        self.wait(3 * STEP, leaving=False)
        self.successResultOf(drained)

    def test_no_time(self) -> None:
        """
        With no time at all everybody is told and closed at once.
        """
        sinks = [self.add_session(f"u{n}") for n in range(3)]
        drained = self.drain(0.1, 0.5, 0.9, drain_time=0.0)
        for sink in sinks:
            self.assertEqual(sink.heard("reconnect"), [{"reason": "shutdown", "retryAfter": 0}])
            self.assertEqual(sink.closings, [closing.GOING_AWAY])
        self.successResultOf(drained)

    def test_events_go_on(self) -> None:
        """
        Until its time has come a session gets its events, and then no more.
        """
        first, second = self.add_session("u1"), self.add_session("u2")
        self.drain(0.1, 0.9)
        self.wait(0.5 * WINDOW, leaving=False)
        self.instance.hear(event("message.create", "g1"))
        self.assertEqual(len(first.heard("message.create")), 0)
        self.assertEqual(len(second.heard("message.create")), 1)
        self.wait(WINDOW)
