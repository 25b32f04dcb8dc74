"""
Memberships that ended while tokens that still claim them are about (protocol, "Who may see
what").

A token issued before its user was removed from a guild does not let them back in. What is
kept for that is the time of each removal, until the user joins again or the table is full.
"""

from __future__ import annotations

from typing import TypeVar

from gatewayd.model import Change, Membership, Principal


class Revocations:
    """
    Removals by guild and user, and deletions by guild, in milliseconds of the log's clock.
    """

    def __init__(self, limit: int = 500_000) -> None:
        """
        @param limit: removals kept; past it the oldest go.
        """
        self._limit = limit
        self._removed: dict[tuple[str, str], int] = {}
        # What follows in the log may share a millisecond with what it follows, so whether a
        # user joined before or after the deletion is told by a count.
        self._deleted: dict[str, tuple[int, int]] = {}
        self._rejoined: dict[tuple[str, str], int] = {}
        self._recorded = 0

    def __len__(self) -> int:
        return len(self._removed) + len(self._deleted)

    def record(self, membership: Membership, ms: int) -> None:
        """
        Take note of a change that the log tells of at C{ms}.
        """
        self._recorded += 1
        for guild in membership.guilds:
            if membership.change is Change.DELETE:
                _put(self._deleted, guild, (ms, self._recorded), self._limit)
                continue
            for user in membership.users:
                if membership.change is Change.LEAVE:
                    _put(self._removed, (guild, user), ms, self._limit)
                    self._rejoined.pop((guild, user), None)
                else:
                    self._removed.pop((guild, user), None)
                    if guild in self._deleted:
                        _put(self._rejoined, (guild, user), self._recorded, self._limit)

    def bars(self, principal: Principal, guild: str) -> bool:
        """
        Whether C{principal}'s token is from before a removal that still stands.

        A token that does not say when it was issued is taken to be from before. So is one
        issued in the very second of the removal: C{iat} counts whole seconds, and letting a
        removed member in is worse than asking for another token a second later.
        """
        key = (guild, principal.user)
        ended = self._removed.get(key, -1)
        deleted, count = self._deleted.get(guild, (-1, -1))
        if self._rejoined.get(key, -1) < count:
            ended = max(ended, deleted)
        if ended < 0:
            return False
        return principal.issued is None or principal.issued * 1000 <= ended


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _put(table: dict[_Key, _Value], key: _Key, value: _Value, limit: int) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > limit:
        del table[next(iter(table))]
