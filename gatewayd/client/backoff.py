"""
How long a client waits before it tries again.
"""

from __future__ import annotations

from typing import Callable


class Backoff:
    """
    Exponential back-off with full jitter: each wait is anything from nothing to a bound, and
    the bound doubles.

    A gateway that dies sends all its clients away in one moment, and only a wait drawn from
    the whole of the interval spreads them evenly over it. (L{gatewayd.retry.Backoff}, for a
    few instances and one broker, keeps a fixed half.)
    """

    def __init__(self, initial: float, maximum: float, random: Callable[[], float]) -> None:
        """
        @param initial: the first bound, in seconds.
        @param maximum: the bound that is never exceeded, in seconds.
        @param random: answers with a number in [0, 1).
        """
        self._initial = initial
        self._maximum = maximum
        self._random = random
        self._bound = initial

    def next(self) -> float:
        """
        Seconds to wait now.
        """
        bound = min(self._bound, self._maximum)
        self._bound = bound * 2
        return bound * self._random()

    def reset(self) -> None:
        """
        Begin again at the first bound.
        """
        self._bound = self._initial


class Allowance:
    """
    So many at once, then so many a second: what keeps a client below the gateway's rate limit.
    """

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._then = float("-inf")

    def take(self, now: float) -> bool:
        """
        Use one, if there is one.
        """
        passed = now - self._then
        self._left = min(self._burst, self._left + passed * self._rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def next(self) -> float:
        """
        When there will be one, asked after L{take} refused.
        """
        # A little late rather than a little early: a sum of fractions may fall short of one.
        return self._then + (1 - self._left) / self._rate + 0.001
