"""
What is due is done when it is due, whatever else fails.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats, lists
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.beats import GRAIN, Beats
from gatewayd.timetable import Timetable


class BeatsTests(SynchronousTestCase):
    """
    L{Beats}.
    """

    def setUp(self) -> None:
        """
        Start them.
        """
        self.clock = Clock()
        self.timetable = Timetable()
        self.chores: list[float] = []
        self.ticked = 0
        self.beats = Beats(self.clock, self.timetable, self.chores.append, self.tick)
        self.beats.start()

    def tick(self) -> None:
        """
        Called by the beats.
        """
        self.ticked += 1

    def wait(self, seconds: float) -> None:
        """
        Let time pass in small steps.
        """
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(GRAIN / 2, until - self.clock.seconds()))

    def fail_at(self, now: float) -> None:
        """
        Something due that fails.
        """
        raise ZeroDivisionError

    def test_due(self) -> None:
        """
        Something is done once, when it is due, and told the time.
        """
        done: list[float] = []
        self.timetable.add(1.0, done.append)
        self.wait(0.9)
        self.assertEqual(done, [])
        self.wait(0.2)
        [when] = done
        self.assertTrue(1.0 <= when <= 1.0 + 2 * GRAIN)
        self.wait(5)
        self.assertEqual(len(done), 1)

    @given(lists(floats(0.0, 3.0), max_size=20))
    def test_punctual(self, times: list[float]) -> None:
        """
        Whatever is due, nothing is done early, nothing more than a moment late, and nothing
        before what was due before it.
        """
        self.setUp()
        done: list[tuple[float, float]] = []
        for time in times:
            self.timetable.add(time, lambda now, time=time: done.append((time, now)))  # type: ignore[misc]
        self.wait(4)
        self.assertEqual([due for due, _ in done], sorted(times))
        for due, now in done:
            self.assertTrue(due <= now <= due + 2 * GRAIN)

    def test_again(self) -> None:
        """
        What is done may say when it is due again.
        """
        done: list[float] = []

        def beat(now: float) -> None:
            done.append(now)
            self.timetable.add(now + 1, beat)

        self.timetable.add(1, beat)
        self.wait(10.6)
        self.assertIn(len(done), (9, 10))

    def test_chores(self) -> None:
        """
        Chores are done once a second, and told the time.
        """
        self.wait(5.5)
        self.assertEqual([round(now) for now in self.chores], [1, 2, 3, 4, 5])

    def test_one_fails(self) -> None:
        """
        One that fails is logged, and harms neither what is due with it nor what is due later.
        """
        done: list[float] = []
        self.timetable.add(1, self.fail_at)
        self.timetable.add(1, done.append)
        self.timetable.add(2, self.fail_at)
        self.timetable.add(3, done.append)
        self.wait(3.5)
        self.assertEqual([int(now) for now in done], [1, 3])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(self.chores), 3)

    def test_chores_fail(self) -> None:
        """
        Chores that fail are logged, and done again a second later.
        """
        beats = Beats(self.clock, Timetable(), self.fail_at, self.tick)
        beats.start()
        self.wait(3.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        beats.stop()

    def test_late(self) -> None:
        """
        After a moment in which the process could do nothing, what was due in it is done once
        and in order, and time goes on as before.
        """
        done: list[str] = []
        for time in (1.0, 3.0, 2.0):
            self.timetable.add(time, lambda now, time=time: done.append(str(time)))  # type: ignore[misc]
        self.clock.advance(20)
        self.assertEqual(done, ["1.0", "2.0", "3.0"])
        self.assertEqual(self.chores, [20])
        self.wait(1.1)
        self.assertEqual(len(self.chores), 2)

    def test_stop(self) -> None:
        """
        After a stop nothing is done any more, no timer is left, and to stop again is harmless.
        """
        done: list[float] = []
        self.timetable.add(1, done.append)
        self.beats.stop()
        self.beats.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.wait(3)
        self.assertEqual((done, self.chores), ([], []))

    def test_stop_within(self) -> None:
        """
        What is done may itself stop them.
        """
        self.timetable.add(1, lambda now: self.beats.stop())
        self.wait(3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
