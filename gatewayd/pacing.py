"""
How often is too often.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

_FIRST_LOOK = 8


class Pace:
    """
    At most C{limit} in any C{window} seconds, wherever it begins; exact, so that nobody who
    keeps to what the protocol allows is ever refused.

    It remembers when each was counted, eight bytes a time, and forgets only when its memory
    would grow: a client that answers heartbeats costs a hundred bytes, and only one that uses
    all it may costs a kilobyte.
    """

    __slots__ = ("_limit", "_look", "_times", "_window")

    def __init__(self, limit: int, window: float = 60.0) -> None:
        """
        @param limit: 0 is none.
        @param window: seconds.
        """
        self._limit = limit
        self._window = window
        self._times = array("d")
        self._look = min(limit, _FIRST_LOOK)

    def take(self, now: float) -> bool:
        """
        Count one more, if it is within the limit.

        @param now: seconds, of any clock that does not go back.
        @return: whether it was.
        """
        if not self._limit:
            return True
        times = self._times
        if len(times) >= self._look:
            del times[: bisect_right(times, now - self._window)]
            if len(times) >= self._limit:
                return False
            self._look = min(self._limit, max(_FIRST_LOOK, 2 * len(times)))
        times.append(now)
        return True

    def wait(self, now: float) -> float:
        """
        Seconds until one more would be within the limit.
        """
        if not self._limit or len(self._times) < self._limit:
            return 0.0
        return max(0.0, self._times[-self._limit] + self._window - now)
