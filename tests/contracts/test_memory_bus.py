"""
Tests for L{gatewayd.bus.memory}.
"""

from __future__ import annotations

from typing import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gatewayd.bus.memory import KEEP, MemoryBus, MemoryLog, MemoryRoster
from gatewayd.interfaces import IEventBus, IRoster
from gatewayd.model import Entry, Position
from tests.contracts.event_bus import EventBusContract, Hearer, RosterContract, event, events


class MemoryBusContract(EventBusContract, TestCase):
    """
    The bus in memory is an event bus.
    """

    def setUp(self) -> None:
        """
        One log.
        """
        clock = Clock()
        self.shared = MemoryLog(clock, lambda: 1732307000.0 + clock.seconds())

    def new_bus(self) -> IEventBus:
        """
        Another bus on it.
        """
        bus = MemoryBus(self.shared)
        self.addCleanup(bus.stop)
        return bus


class MemoryRosterContract(RosterContract, TestCase):
    """
    The roster in memory is a roster.
    """

    async def new_rosters(self) -> Sequence[IRoster]:
        """
        Two that share their rows.
        """
        clock = Clock()
        first = MemoryRoster(clock)
        return first, first.beside()


class MemoryLogTests(SynchronousTestCase):
    """
    What only the log in memory does: it keeps the time itself.
    """

    def setUp(self) -> None:
        """
        A log with a small memory, and a bus.
        """
        self.clock = Clock()
        self.wall = 1000.0
        self.shared = MemoryLog(
            self.clock, lambda: self.wall, dedup_window=10, max_length=5, max_uids=3
        )
        self.hearer = Hearer()
        self.bus = MemoryBus(self.shared)
        self.bus.start(self.hearer)

    def publish(self, *uids: str) -> list[Position | None]:
        """
        Publish an event for each of C{uids}.
        """
        return self.successResultOf(self.bus.publish([event(uid=uid) for uid in uids]))

    def test_positions_are_of_the_wall_clock(self) -> None:
        """
        A position's first half is the time in milliseconds; its second counts those of one.
        """
        self.wall = 2000.0005
        self.assertEqual(self.publish("a", "b"), [Position(2000000, 0), Position(2000000, 1)])

    def test_positions_grow_when_the_clock_goes_back(self) -> None:
        """
        When the wall clock steps back, positions go on from where they were.
        """
        self.wall = 2000.0
        self.publish("a")
        self.wall = 1.0
        self.assertEqual(self.publish("b", "c"), [Position(2000000, 1), Position(2000000, 2)])
        self.wall = 2000.001
        self.assertEqual(self.publish("d"), [Position(2000001, 0)])

    def test_uid_is_remembered_for_the_window(self) -> None:
        """
        After the window, the same uid is another event; until then it is not.
        """
        [first] = self.publish("a")
        self.clock.advance(9.9)
        self.assertEqual(self.publish("a"), [first])
        self.clock.advance(0.1)
        self.assertNotEqual(self.publish("a"), [first])
        self.assertEqual(self.hearer.uids, ["a", "a"])

    def test_uids_are_bounded(self) -> None:
        """
        The oldest uids are forgotten when there are too many.
        """
        [first] = self.publish("a")
        for uid in "bcde":
            self.publish(uid)
        self.assertLessEqual(len(self.shared.uids), 3)
        self.assertNotEqual(self.publish("a"), [first])

    def test_length_is_bounded(self) -> None:
        """
        However much is needed of it, the log has no more entries than it may.
        """
        self.publish(*map(str, range(9)))
        self.assertEqual(len(self.shared), 5)
        late = Hearer()
        MemoryBus(self.shared).start(late)
        self.assertEqual(late.uids, ["4", "5", "6", "7", "8"])
        self.assertEqual(late.begins, [(self.hearer.positions[3], True)])

    def test_trimmed_to_what_all_need(self) -> None:
        """
        An entry stays as long as one of the instances needs it.
        """
        other = MemoryBus(self.shared)
        other.start(Hearer())
        positions = self.publish("a", "b", "c")
        self.bus.trim = lambda: Position(9_999_999, 0)
        second = positions[1]
        assert second is not None
        other.trim = lambda: second
        self.publish("d")
        self.assertEqual(len(self.shared), 3)

    def test_filling_listener_that_publishes(self) -> None:
        """
        A listener that publishes while it hears what the log held hears that too, afterwards.
        """
        self.publish("a", "b")
        late = Hearer()
        bus = MemoryBus(self.shared)

        def publish(entry: Entry) -> None:
            if entry.event.uid == "a":
                bus.publish([event(uid="c")])

        late.doing = publish
        bus.start(late)
        self.assertEqual(late.uids, ["a", "b", "c"])
        self.assertEqual(late.fresh, [False, False, True])
        self.assertEqual(self.hearer.uids, late.uids)

    def test_listener_that_fails(self) -> None:
        """
        A listener's bug, which is logged, keeps no other from hearing.
        """
        other = Hearer()
        bus = MemoryBus(self.shared)
        bus.start(other)

        def fail(entry: Entry) -> None:
            raise ZeroDivisionError

        self.hearer.doing = fail
        sent = events(2)
        self.successResultOf(self.bus.publish(sent))
        self.assertEqual(other.events, sent)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class MemoryRosterTests(SynchronousTestCase):
    """
    Rows in memory.
    """

    def test_rows_fade(self) -> None:
        """
        A row that was not announced again for a while is shown no more.
        """
        clock = Clock()
        roster = MemoryRoster(clock)
        roster.announce({"instance": "a"})
        clock.advance(KEEP)
        roster.announce({"instance": "b"})
        self.assertEqual(
            self.successResultOf(roster.rows()), [{"instance": "a"}, {"instance": "b"}]
        )
        clock.advance(0.1)
        self.assertEqual(self.successResultOf(roster.rows()), [{"instance": "b"}])
