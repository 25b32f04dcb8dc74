"""
How far an application has come in the log: what makes a resume exact.
"""

from __future__ import annotations

from typing import Any, Mapping

REMEMBERED = 512


class Bookmark:
    """
    The id from which to resume, and which events have been had already.

    Ids are opaque: they are compared for being the same, never for being larger.

    @ivar last: the newest id of which nothing before is missing; L{None} before any.
    """

    def __init__(self, last: str | None = None) -> None:
        self.last = last
        self._had: dict[str, None] = {}
        self._replaying = 0
        self._moved = False

    def identified(self, head: str | None, resume: Mapping[str, Any] | None) -> None:
        """
        A session begins.

        @param head: how far the log has come. What is replayed lies before it, so that it
            counts only where nothing will be.
        @param resume: what became of L{last}, where that was sent.
        """
        replayed = resume.get("replayed") if resume is not None else 0
        self._replaying = replayed if isinstance(replayed, int) else 0
        self._moved = False
        if not self._replaying:
            self.last = head or self.last

    def event(self, identifier: str) -> bool:
        """
        An event came.

        @return: whether for the first time.
        """
        self._replaying = max(0, self._replaying - 1)
        self._moved = True
        if identifier in self._had:
            return False
        self._had[identifier] = None
        if len(self._had) > REMEMBERED:
            del self._had[next(iter(self._had))]
        self.last = identifier
        return True

    def heartbeat(self, head: str | None) -> None:
        """
        The gateway says how far the log has come. In the middle of a replay that is further
        than this session has.
        """
        # Fewer events than announced come where a guild was lost on the way; a whole heartbeat
        # without any is the end of every replay.
        if self._replaying and not self._moved:
            self._replaying = 0
        self._moved = False
        if not self._replaying:
            self.last = head or self.last
