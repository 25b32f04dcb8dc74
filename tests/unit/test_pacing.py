"""
Tests for L{gatewayd.pacing}: how often is too often.
"""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.pacing import Pace

limits = st.integers(1, 30)
starts = st.sampled_from([0.0, 1.0, 59.9, 1e9, 12345.678])
gaps = st.lists(
    st.sampled_from([0.0, 0.001, 0.5, 1.0, 9.9, 10.0, 10.1, 20.0, 25.0]) | st.floats(0, 30),
    max_size=60,
)
"""
Times between messages, for windows of ten seconds.
"""


class PaceTests(SynchronousTestCase):
    """
    At most so many in a window.
    """

    @given(limits, starts, gaps)
    def test_exactly_the_limit(self, limit: int, start: float, between: list[float]) -> None:
        """
        A message passes if, and only if, fewer than the limit have passed in the window before
        it.
        """
        pace, passed = Pace(limit, 10.0), list[float]()
        for now in accumulate(between, initial=start):
            fits = len([before for before in passed if before > now - 10.0]) < limit
            self.assertEqual(pace.take(now), fits, (limit, passed, now))
            if fits:
                passed.append(now)

    @given(st.integers(1, 200), starts)
    def test_a_burst(self, limit: int, start: float) -> None:
        """
        Of many at once the limit passes; a window later as many again.
        """
        pace = Pace(limit)
        for begin in (start, start + 60):
            passed = [pace.take(begin) for _ in range(limit + 3)]
            self.assertEqual(passed, [True] * limit + [False] * 3)

    def test_no_limit(self) -> None:
        """
        A limit of nought is none.
        """
        pace = Pace(0)
        self.assertTrue(all(pace.take(1.0) for _ in range(1000)))

    def test_memory(self) -> None:
        """
        Who sends now and then is not remembered for long.
        """
        pace = Pace(120)
        for minute in range(1000):
            self.assertTrue(pace.take(minute * 30.0))
        self.assertLessEqual(len(pace._times), 8)
