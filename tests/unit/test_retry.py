"""
Waits grow, differ and are bounded; an outage is told once, and again after a minute.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis.strategies import floats, integers, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.retry import REPEAT, Backoff, Outage

draws = floats(0, 1, exclude_max=True)


class BackoffTests(SynchronousTestCase):
    """
    Waiting between attempts.
    """

    def test_doubles_up_to_the_maximum(self) -> None:
        """
        With the highest draw, the waits are the bounds: doubling, then the maximum.
        """
        backoff = Backoff(0.2, 1.0, lambda: 1.0)
        self.assertEqual([backoff.next() for _ in range(5)], [0.2, 0.4, 0.8, 1.0, 1.0])

    def test_reset_begins_anew(self) -> None:
        """
        After a reset the next wait is a first one.
        """
        backoff = Backoff(0.2, 1.0, lambda: 1.0)
        for _ in range(4):
            backoff.next()
        backoff.reset()
        self.assertEqual(backoff.next(), 0.2)

    def test_two_instances_differ(self) -> None:
        """
        Other draws are other waits, also at the maximum.
        """
        waits = set()
        for draw in (0.0, 0.25, 0.5):
            backoff = Backoff(10, 10, lambda draw=draw: draw)  # type: ignore[misc]
            waits.add(backoff.next())
        self.assertEqual(waits, {5.0, 6.25, 7.5})

    @given(lists(draws, min_size=1, max_size=2000), floats(0.01, 10), floats(10, 100))
    def test_is_never_hot_and_never_too_long(
        self, drawn: list[float], initial: float, maximum: float
    ) -> None:
        """
        Whatever is drawn, and however often, no wait is under half of the first bound or
        over the maximum.
        """
        source = iter(drawn)
        backoff = Backoff(initial, maximum, lambda: next(source))
        for _ in drawn:
            self.assertTrue(initial / 2 <= backoff.next() <= maximum)


class OutageTests(SynchronousTestCase):
    """
    What is worth a line in the log.
    """

    def test_tells_a_reason_once(self) -> None:
        """
        The same reason is told when it is new, and then once a minute.
        """
        outage = Outage()
        told = [now for now in range(0, 200, 10) if outage.failed("refused", now)]
        self.assertEqual(told, [0, 60, 120, 180])
        self.assertEqual(outage.error, "refused")

    def test_tells_another_reason_at_once(self) -> None:
        """
        A reason that differs from the last one is news.
        """
        outage = Outage()
        outage.failed("refused", 0)
        self.assertTrue(outage.failed("no such user", 1))
        self.assertEqual(outage.error, "no such user")
        self.assertTrue(outage.failed("refused", 2))

    def test_tells_its_end_once(self) -> None:
        """
        The end of an outage is told with how long it lasted in all; where there was none,
        nothing is.
        """
        outage = Outage()
        self.assertIsNone(outage.over(0))
        outage.failed("refused", 5)
        outage.failed("no such user", 7)
        self.assertEqual(outage.over(15), 10)
        self.assertIsNone(outage.error)
        self.assertIsNone(outage.over(16))

    def test_a_new_outage_is_news(self) -> None:
        """
        The same reason after a recovery is told again.
        """
        outage = Outage()
        outage.failed("refused", 0)
        outage.over(1)
        self.assertTrue(outage.failed("refused", 2))

    @given(lists(tuples(integers(0, 100), sampled_from(["a", "b", "a"])), max_size=50))
    def test_is_bounded_while_the_reason_stays(self, steps: list[tuple[int, str]]) -> None:
        """
        Between two lines with the same reason in a row there is a minute.
        """
        outage, now, told = Outage(), 0, []
        for step, reason in steps:
            now += step
            if outage.failed(reason, now):
                told.append((now, reason))
        for (before, old), (after, new) in pairwise(told):
            self.assertTrue(old != new or after - before >= REPEAT)
