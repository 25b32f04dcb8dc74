"""
A client that returns is given exactly what it missed, or told where something is missing.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import Sequence
from weakref import ref

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.bus.wire import header_of, message_of
from gatewayd.history import History
from gatewayd.model import ORIGIN, Audience, Entry, Event, Position
from tests.unit.history_machine import HistoryMachine

G1 = Audience(("g1",))


class Watched(Entry, frozen=True, weakref=True):
    """
    An entry whose end can be noticed.
    """


def entry(number: int, audience: Audience = G1, data: bytes = b"{}") -> Entry:
    """
    The entry at position C{number}.
    """
    return Watched(Position(number, 0), Event("e", audience, data, f"uid-{number}"))


def history(
    *, window: float = 600, max_events: int = 1000, max_bytes: int = 1 << 30, max_marks: int = 100
) -> History:
    """
    A history of a log that is known from position 0 on.
    """
    made = History(window=window, max_events=max_events, max_bytes=max_bytes, max_marks=max_marks)
    made.begin(ORIGIN)
    return made


class HistoryTests(SynchronousTestCase):
    """
    What is kept, and for how long.
    """

    def test_agrees_with_a_list(self) -> None:
        """
        After any appending and evicting, by number, bytes and age, and under any succession of
        logs: a client is given exactly the events after its last that reach it; where some are
        gone, each of its guilds in which one is gone is named; and no other, as long as that
        can be known.
        """
        run_state_machine_as_test(
            HistoryMachine,
            settings=settings(deadline=None, max_examples=120, stateful_step_count=40),
        )

    def held(self, kept: History) -> list[int]:
        """
        The positions that a member of guild g1 can have.
        """
        entries = [kept.at(serial) for serial in kept.missed(ORIGIN, "u1", {"g1"}).entries]
        return [one.position.ms for one in entries if one is not None and one.position is not None]

    def test_keeps_so_many(self) -> None:
        """
        Past C{max_events} the oldest go.
        """
        kept = history(max_events=3)
        for number in range(1, 6):
            kept.append(entry(number), 0.0)
        self.assertEqual(self.held(kept), [3, 4, 5])
        self.assertEqual((len(kept), kept.floor), (3, Position(2, 0)))

    def test_keeps_so_much(self) -> None:
        """
        Past C{max_bytes} the oldest go, and one that is larger by itself goes at once.
        """
        kept = history(max_bytes=10_000)
        for number in range(1, 5):
            kept.append(entry(number, data=b"x" * 3_000), 0.0)
        self.assertEqual(self.held(kept), [3, 4])
        kept.append(entry(9, data=b"x" * 10_000), 0.0)
        self.assertEqual(self.held(kept), [])
        self.assertEqual(kept.bytes, 0)
        self.assertFalse(kept.missed(Position(8, 0), "u1", {"g1"}).recovered)
        self.assertTrue(kept.missed(Position(9, 0), "u1", {"g1"}).recovered)

    def test_keeps_so_long(self) -> None:
        """
        What is older than the window goes when it is time; what is as old as it stays.
        """
        kept = history(window=10)
        for number in (1, 5, 9):
            kept.append(entry(number), float(number))
        self.assertEqual(kept.span, 8.0)
        kept.expire(15.0)
        self.assertEqual(self.held(kept), [5, 9])
        kept.expire(100.0)
        self.assertEqual((self.held(kept), kept.span), ([], 0.0))
        self.assertEqual(kept.head, Position(9, 0))

    def test_knows_nothing_before_a_log_began(self) -> None:
        """
        Without a log, no client can be told that it missed nothing.
        """
        kept = History(window=600, max_events=10, max_bytes=1 << 20)
        self.assertFalse(kept.begun)
        for last in (None, ORIGIN, Position(5, 0)):
            missed = kept.missed(last, "u1", {"g1"})
            self.assertEqual((missed.recovered, missed.resync), (False, ("g1",)))
            self.assertFalse(kept.knows(last or ORIGIN))

    def test_lets_go_of_what_is_evicted(self) -> None:
        """
        The memory of an evicted entry is free at once, and not only when half are evicted.
        """
        kept = history(max_events=10)
        watched = []
        for number in range(1, 14):
            one = entry(number)
            watched.append(ref(one))
            kept.append(one, 0.0)
        del one
        gc.collect()
        self.assertEqual([one() is None for one in watched], [True] * 3 + [False] * 10)

    def test_lets_go_of_an_earlier_log(self) -> None:
        """
        When the log begins anew, nothing of what was before is given to anybody, and a client
        that comes from there is told that all its guilds may lack something.
        """
        kept = history()
        for number in (1, 2, 3):
            kept.append(entry(number), 0.0)
        old = kept.missed(ORIGIN, "u1", {"g1"}).entries
        kept.begin(Position(10, 0))
        kept.append(entry(11), 0.0)
        self.assertEqual([kept.at(serial) for serial in old], [None] * 3)
        missed = kept.missed(Position(2, 0), "u1", {"g1"})
        self.assertEqual((missed.recovered, missed.resync), (False, ("g1",)))
        self.assertEqual(self.held(kept), [11])
        self.assertTrue(kept.missed(Position(10, 0), "u1", {"g1"}).recovered)

    def test_refuses_what_is_not_in_order(self) -> None:
        """
        An entry that is not after the newest is a fault of whoever appends it.
        """
        kept = history()
        kept.append(entry(5), 0.0)
        for number in (5, 4):
            self.assertRaises(AssertionError, kept.append, entry(number), 0.0)
        self.assertEqual(len(kept), 1)


class MemoryTests(SynchronousTestCase):
    """
    C{max_bytes} bounds memory.
    """

    def occupied(self, audiences: Sequence[Audience]) -> int:
        """
        Bytes that a history of at most a megabyte occupies at its largest, when it hears
        events for these audiences from the bus.
        """
        kept = history(max_events=1 << 20, max_bytes=1 << 20)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            most = 0
            for number, audience in enumerate(audiences, 1):
                event = Event("message.create", audience, b"x" * 100, f"{number:032}")
                payload = b"%d-0 %d-0 %s\n%s" % (number, number - 1, header_of(event), event.data)
                kept.append(message_of(payload).entry, 0.0)
                del event, payload
                most = max(most, tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
        self.assertLess(len(kept), len(audiences))
        return most

    def test_of_usual_events(self) -> None:
        """
        Events of one guild each occupy what they are counted for, or less.
        """
        audiences = [Audience((f"guild-{number % 50}",)) for number in range(3_000)]
        self.assertLess(self.occupied(audiences), 1.25 * (1 << 20))

    def test_of_events_that_name_many(self) -> None:
        """
        So do those that name a thousand guilds or users, each their own.
        """
        for field in ("guilds", "users", "also"):
            audiences = [
                Audience(**{field: tuple(f"id-{one:03}-{n:06}" for n in range(1_000))})
                for one in range(12)
            ]
            self.assertLess(self.occupied(audiences), 1.6 * (1 << 20))
