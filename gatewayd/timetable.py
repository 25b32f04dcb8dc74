"""
What is due when, for all connections together: heartbeats, identify timeouts, token expiry.

One heap and one timer serve them all. A timer for each connection would cost the reactor a
heap entry, an object and a closure each, and at ten thousand connections more memory than
their sessions.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Callable

Due = Callable[[float], None]


class Appointment:
    """
    Something that is due once.
    """

    __slots__ = ("_count", "_when", "due", "taken")

    def __init__(self, when: float, count: int, due: Due) -> None:
        self._when = when
        self._count = count
        self.due: Due | None = due
        self.taken = False

    def __call__(self, now: float) -> None:
        """
        Do it, if it has not been done or cancelled since it was taken.
        """
        due, self.due = self.due, None
        if due is not None:
            due(now)

    def __lt__(self, other: Appointment) -> bool:
        return (self._when, self._count) < (other._when, other._count)


class Timetable:
    """
    Callables by the time they are due, in seconds of whatever clock the callers read.
    """

    def __init__(self) -> None:
        self._heap: list[Appointment] = []
        self._count = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def add(self, when: float, due: Due) -> Appointment:
        """
        Have C{due(now)} called once C{when} has come.
        """
        self._count += 1
        appointment = Appointment(when, self._count, due)
        heappush(self._heap, appointment)
        return appointment

    def cancel(self, appointment: Appointment | None) -> None:
        """
        Have it not called. One that was called or cancelled before, or is L{None}, is left
        alone.
        """
        if appointment is None or appointment.due is None:
            return
        # What it would have called goes at once: a token may live for days, and the dead
        # connection behind it must not.
        appointment.due = None
        if appointment.taken:
            return
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [one for one in self._heap if one.due is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """
        When the next is due; it may prove to have been cancelled.
        """
        return self._heap[0]._when if self._heap else None

    def take(self, now: float) -> list[Due]:
        """
        Those that are due, in order. Each can be cancelled still, until it is called: what is
        due before it may end the connection that it is of.
        """
        taken: list[Due] = []
        while self._heap and self._heap[0]._when <= now:
            appointment = heappop(self._heap)
            if appointment.due is None:
                self._cancelled -= 1
            else:
                appointment.taken = True
                taken.append(appointment)
        return taken
