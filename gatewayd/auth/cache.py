"""
Answers of a membership service, kept for a short time.
"""

from __future__ import annotations

from collections import deque


class Answers:
    """
    Users and guilds for whom the answer was the same: yes, or no. Pure: it is told the time,
    in seconds of any steady clock.
    """

    def __init__(self, limit: int, lifetime: float) -> None:
        """
        @param limit: answers kept; past it the oldest go.
        @param lifetime: seconds that one is kept.
        """
        self._limit = limit
        self._lifetime = lifetime
        self._guilds: dict[str, dict[str, float]] = {}
        # All live equally long, so the oldest is the first to end. What was forgotten or said
        # again stays in here until its time, and counts.
        self._order: deque[tuple[float, str, str]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._guilds.values()))

    def add(self, user: str, guild: str, now: float) -> None:
        """
        It was the answer just now.
        """
        self._expire(now)
        if self._limit <= 0:
            return
        while len(self._order) >= self._limit:
            self._drop_oldest()
        until = now + self._lifetime
        self._order.append((until, guild, user))
        self._guilds.setdefault(guild, {})[user] = until

    def has(self, user: str, guild: str, now: float) -> bool:
        """
        Whether it was the answer lately.
        """
        return self._guilds.get(guild, {}).get(user, now) > now

    def forget(self, user: str | None, guild: str) -> None:
        """
        It may not be the answer any more, for one user or for all.
        """
        if user is None:
            self._guilds.pop(guild, None)
        elif guild in self._guilds:
            self._guilds[guild].pop(user, None)
            if not self._guilds[guild]:
                del self._guilds[guild]

    def _expire(self, now: float) -> None:
        while self._order and self._order[0][0] <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        until, guild, user = self._order.popleft()
        # Unless it was said again since.
        if self._guilds.get(guild, {}).get(user) == until:
            self.forget(user, guild)
