"""
What is due is called once, in order, when its time has come, unless it was cancelled before.
"""

from __future__ import annotations

import gc
from weakref import ref

from attrs import define
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import integers
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.timetable import Appointment, Timetable


@define(eq=False)
class Slot:
    """
    What the model knows of an appointment.

    @ivar order: how many were made before it.
    """

    when: int
    order: int
    called: int = 0
    cancelled: bool = False
    appointment: Appointment | None = None

    def due(self, now: float) -> None:
        """
        It is called.
        """
        assert now >= self.when, "called too early"
        self.called += 1


class TimetableMachine(RuleBasedStateMachine):
    """
    A timetable beside a list of what was added.
    """

    slots: Bundle[Slot] = Bundle("slots")

    def __init__(self) -> None:
        super().__init__()
        self.timetable = Timetable()
        self.now = 0
        self.added: list[Slot] = []

    @rule(target=slots, wait=integers(0, 20))
    def add(self, wait: int) -> Slot:
        """
        One more.
        """
        slot = Slot(self.now + wait, len(self.added))
        slot.appointment = self.timetable.add(slot.when, slot.due)
        self.added.append(slot)
        return slot

    @rule(number=integers(40, 100), wait=integers(1, 9))
    def add_many_and_cancel_them(self, number: int, wait: int) -> None:
        """
        So many that the table puts itself in order.
        """
        slots = [self.add(wait) for _ in range(number)]
        for slot in slots:
            self.cancel(slot)

    @rule(slot=slots)
    def cancel(self, slot: Slot) -> None:
        """
        Cancel one, which may be over.
        """
        self.timetable.cancel(slot.appointment)
        if not slot.called:
            slot.cancelled = True

    @rule()
    def cancel_nothing(self) -> None:
        """
        There may be no appointment at all.
        """
        self.timetable.cancel(None)

    @rule(step=integers(0, 15))
    def take(self, step: int) -> None:
        """
        Time goes by, and what is due is called, in order.
        """
        self.now += step
        expected = sorted(
            (slot for slot in self.waiting if slot.when <= self.now),
            key=lambda slot: (slot.when, slot.order),
        )
        taken = self.timetable.take(self.now)
        assert len(taken) == len(expected)
        for slot, due in zip(expected, taken, strict=True):
            due(self.now)
            assert slot.called == 1

    @property
    def waiting(self) -> list[Slot]:
        """
        What is still to be called.
        """
        return [slot for slot in self.added if not (slot.called or slot.cancelled)]

    @invariant()
    def agrees(self) -> None:
        """
        It counts what waits, keeps little else, and does not sleep past what is due next.
        """
        waiting = self.waiting
        assert len(self.timetable) == len(waiting)
        assert all(slot.called + slot.cancelled <= 1 for slot in self.added)
        assert len(self.timetable._heap) <= max(2 * len(waiting) + 2, 130)
        next_due = self.timetable.next()
        if waiting:
            assert next_due is not None
            assert next_due <= min(slot.when for slot in waiting)


class TimetableTests(SynchronousTestCase):
    """
    One table for all connections.
    """

    def setUp(self) -> None:
        """
        A table, and what was called.
        """
        self.timetable = Timetable()
        self.called: list[str] = []

    def add(self, when: float, name: str) -> Appointment:
        """
        Have C{name} put down.
        """
        return self.timetable.add(when, lambda now: self.called.append(name))

    def run_until(self, now: float) -> None:
        """
        Call what is due.
        """
        for due in self.timetable.take(now):
            due(now)

    def test_agrees_with_a_list(self) -> None:
        """
        After any adding, cancelling and waiting, everything was called once, in the order of
        its time and, at one time, of its adding, unless it had been cancelled.
        """
        run_state_machine_as_test(
            TimetableMachine, settings=settings(deadline=None, max_examples=50)
        )

    def test_an_empty_table_has_nothing_next(self) -> None:
        """
        With nothing to wait for, there is no time to wait until.
        """
        self.assertIsNone(self.timetable.next())
        self.add(3, "a")
        self.assertEqual(self.timetable.next(), 3)
        self.run_until(3)
        self.assertIsNone(self.timetable.next())

    def test_can_cancel_what_is_due_at_the_same_time(self) -> None:
        """
        What is due first may end a connection, and with it what else was due of it then.
        """
        other = self.add(1, "other")
        self.timetable.add(0, lambda now: self.timetable.cancel(other))
        self.add(2, "unconcerned")
        self.run_until(5)
        self.assertEqual(self.called, ["unconcerned"])
        self.assertEqual(len(self.timetable), 0)

    def test_what_is_added_meanwhile_waits(self) -> None:
        """
        What is added by what is called, and due at once, is called the next time: a fault in
        one connection must not keep the others waiting for ever.
        """

        def due(now: float) -> None:
            self.add(now, "again")

        self.timetable.add(0, due)
        self.run_until(0)
        self.assertEqual(self.called, [])
        self.run_until(0)
        self.assertEqual(self.called, ["again"])

    def test_lets_go_of_what_it_will_not_call(self) -> None:
        """
        A cancelled appointment does not keep alive the connection it was for, however far off
        its time is; nor does one that was called.
        """
        for settle in (self.timetable.cancel, lambda one: self.run_until(1e9)):
            slot = Slot(0, 0)
            gone = ref(slot)
            appointment = self.timetable.add(1e9, slot.due)
            settle(appointment)
            del slot
            gc.collect()
            self.assertIsNone(gone())
