"""
Who was a member of which guild, and when, by the numbers of the events that changed it.
"""

from __future__ import annotations

from typing import NamedTuple


class Membership(NamedTuple):
    """
    From the event that began it to the one that ended it, both included.

    @ivar until: L{None} while it lasts.
    """

    since: int
    until: int | None


class Roll:
    """
    The truth, as the platform knows it.
    """

    def __init__(self) -> None:
        self._memberships: dict[tuple[str, str], list[Membership]] = {}
        self._ended: set[tuple[str, str]] = set()
        self._deleted: set[str] = set()

    def joined(self, user: str, guild: str, number: int) -> None:
        """
        C{user} is a member from event C{number} on. One who is already stays so.
        """
        history = self._memberships.setdefault((user, guild), [])
        if not history or history[-1].until is not None:
            history.append(Membership(number, None))

    def left(self, user: str, guild: str, number: int) -> None:
        """
        Event C{number} is the last that C{user} may see of it.
        """
        self._ended.add((user, guild))
        history = self._memberships.get((user, guild))
        if history and history[-1].until is None:
            history[-1] = history[-1]._replace(until=number)

    def deleted(self, guild: str, number: int) -> None:
        """
        Event C{number} is the last of all.
        """
        self._deleted.add(guild)
        for user in self.members(guild):
            self.left(user, guild, number)

    def at(self, user: str, guild: str, number: int) -> Membership | None:
        """
        The membership that event C{number} falls into.
        """
        for membership in reversed(self._memberships.get((user, guild), ())):
            if membership.since <= number:
                until = membership.until
                return membership if until is None or number <= until else None
        return None

    def after(self, user: str, guild: str, number: int) -> Membership | None:
        """
        The first membership that event C{number} was not the end of, nor after its end.
        """
        for membership in self._memberships.get((user, guild), ()):
            if membership.until is None or membership.until > number:
                return membership
        return None

    def member(self, user: str, guild: str, number: int) -> bool:
        """
        Whether C{user} may see what is for C{guild} and has this number.
        """
        return self.at(user, guild, number) is not None

    def faithful(self, user: str, guild: str) -> bool:
        """
        Whether C{user} is a member and was never removed, from a guild that was never deleted: no
        old news can speak against letting them in.
        """
        if guild in self._deleted or (user, guild) in self._ended:
            return False
        return bool(self._memberships.get((user, guild)))

    def guilds(self, user: str) -> list[str]:
        """
        Where C{user} is a member now.
        """
        return sorted(
            guild
            for (one, guild), history in self._memberships.items()
            if one == user and history[-1].until is None
        )

    def members(self, guild: str) -> list[str]:
        """
        Who is a member of C{guild} now.
        """
        return sorted(
            user
            for (user, one), history in self._memberships.items()
            if one == guild and history[-1].until is None
        )
