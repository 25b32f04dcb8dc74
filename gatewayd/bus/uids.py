"""
Which events were heard lately, by their uid.
"""

from __future__ import annotations

from itertools import islice

MAX_UIDS = 100_000


class Uids:
    """
    The uids heard lately.

    Redis sees to it that none enters one log twice. But its memory of them goes with the
    log, and a publisher that never had its answer then publishes the same event again. So
    what was heard from earlier logs is remembered here, for as long as Redis would have.
    """

    def __init__(self, window_ms: int) -> None:
        self._window = window_ms
        # Two generations, so that forgetting costs nothing for each one forgotten.
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turned = 0
        self._before: dict[str, int] = {}
        self._until = 0

    def add(self, uid: str, ms: int) -> None:
        """
        It was heard at C{ms}.
        """
        if ms - self._turned > self._window or len(self._young) >= MAX_UIDS // 2:
            self._old, self._young, self._turned = self._young, {}, ms
        self._young[uid] = ms

    def broke(self, ms: int) -> None:
        """
        A new log began at C{ms}.
        """
        heard = self._before | self._old | self._young
        self._before = dict(islice(heard.items(), max(0, len(heard) - MAX_UIDS), None))
        self._until = ms + self._window
        self._old, self._young = {}, {}

    def known(self, uid: str, ms: int) -> bool:
        """
        Whether an earlier log held it, within the window.
        """
        if not self._before:
            return False
        if ms > self._until:
            self._before = {}
            return False
        heard = self._before.get(uid)
        return heard is not None and ms - heard <= self._window
