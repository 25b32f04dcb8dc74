"""
How often is too often.
"""

from __future__ import annotations


class Pace:
    """
    At most C{limit} in any C{window} seconds, counted with two numbers instead of a list of
    times: the window before this one is taken as if it had been spent evenly.

    For whoever starts with a burst this is exact: C{limit} pass, the next does not. It never
    lets through more than twice the limit in one window and is off by a few per cent for
    steady senders, for 100 bytes a connection where a list of times would take 4 KiB.
    """

    __slots__ = ("_before", "_limit", "_now_count", "_started", "_window")

    def __init__(self, limit: int, window: float = 60.0) -> None:
        self._limit = limit
        self._window = window
        self._started = float("-inf")
        self._now_count = 0
        self._before = 0

    def take(self, now: float) -> bool:
        """
        Count one more.

        @param now: seconds, of any clock that does not go back.
        @return: whether it was within the limit. A limit of 0 is none.
        """
        if not self._limit:
            return True
        past = now - self._started
        if past >= self._window:
            self._before = self._now_count if past < 2 * self._window else 0
            # The first window begins with the first message, so that nobody's burst is
            # cut by where a minute happens to end.
            self._started = now if past >= 2 * self._window else self._started + self._window
            self._now_count = 0
            past = now - self._started
        self._now_count += 1
        spent = self._before * (1 - past / self._window) + self._now_count
        return spent <= self._limit
