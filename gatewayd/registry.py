"""
Who hears what: the guild-indexed registry that all connections of an instance share.

Only live sessions are in it. One that is still being replayed to is not, or an event could
overtake those it missed.
"""

from __future__ import annotations

from typing import Collection, Generic, Iterable, Protocol, TypeVar

from gatewayd.interest import Interest
from gatewayd.model import Event


class Member(Protocol):
    """
    What the registry needs to know of a session.
    """

    user: str
    interest: Interest | None


M = TypeVar("M", bound=Member)


class Registry(Generic[M]):
    """
    Members by guild and by user. A member is compared by identity.
    """

    def __init__(self) -> None:
        self._by_guild: dict[str, dict[M, None]] = {}
        self._by_user: dict[str, dict[M, None]] = {}
        self._members: dict[M, set[str]] = {}
        self._choosy = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def guilds(self) -> int:
        """
        How many guilds somebody here hears.
        """
        return len(self._by_guild)

    @property
    def subscriptions(self) -> int:
        """
        How many pairs of a member and a guild there are.
        """
        return sum(len(members) for members in self._by_guild.values())

    def enter(self, member: M, guilds: Iterable[str]) -> None:
        """
        Let a member hear its own events and those of C{guilds} from now on.
        """
        self._members[member] = set()
        self._by_user.setdefault(member.user, {})[member] = None
        if member.interest is not None:
            self._choosy += 1
        for guild in guilds:
            self.join(member, guild)

    def leave(self, member: M) -> None:
        """
        Let a member hear nothing more. One that is not here is left alone.
        """
        guilds = self._members.get(member)
        if guilds is None:
            return
        for guild in guilds:
            _drop(self._by_guild, guild, member)
        _drop(self._by_user, member.user, member)
        del self._members[member]
        if member.interest is not None:
            self._choosy -= 1

    def join(self, member: M, guild: str) -> None:
        """
        Let a member hear a guild. One that has not entered is left alone.
        """
        guilds = self._members.get(member)
        if guilds is not None:
            guilds.add(guild)
            self._by_guild.setdefault(guild, {})[member] = None

    def part(self, member: M, guild: str) -> None:
        """
        Let a member hear a guild no more.
        """
        guilds = self._members.get(member)
        if guilds is not None and guild in guilds:
            guilds.discard(guild)
            _drop(self._by_guild, guild, member)

    def members(self) -> list[M]:
        """
        Everybody who has entered.
        """
        return list(self._members)

    def hearing(self, guild: str) -> Collection[M]:
        """
        The members subscribed to one guild.
        """
        return self._by_guild.get(guild, {}).keys()

    def busiest(self, count: int) -> list[tuple[str, int]]:
        """
        The guilds with the most members here, and how many.
        """
        sizes = [(guild, len(members)) for guild, members in self._by_guild.items()]
        return sorted(sizes, key=lambda pair: (-pair[1], pair[0]))[:count]

    def audience(self, event: Event) -> list[M]:
        """
        The members C{event} is for, each once.
        """
        audience = event.audience
        guilds = audience.guilds
        chosen: list[M]
        if len(guilds) == 1 and not (audience.users or audience.also or audience.excluded):
            # What nearly every event looks like. A list, because delivering to a slow member
            # may make it leave while the others are still to be written to.
            chosen = list(self._by_guild.get(guilds[0], ()))
        else:
            chosen = self._among(event)
        if self._choosy and chosen:
            name = event.name
            return [m for m in chosen if m.interest is None or m.interest.wants(name)]
        return chosen

    def _among(self, event: Event) -> list[M]:
        audience = event.audience
        found: dict[M, None] = {}
        if audience.guilds and audience.users:
            guilds = frozenset(audience.guilds)
            for member in self._of_users(audience.users):
                if not guilds.isdisjoint(self._members[member]):
                    found[member] = None
        elif audience.guilds:
            for guild in audience.guilds:
                found.update(self._by_guild.get(guild, {}))
        else:
            found.update(dict.fromkeys(self._of_users(audience.users)))
        found.update(dict.fromkeys(self._of_users(audience.also)))
        if audience.excluded:
            excluded = frozenset(audience.excluded)
            return [member for member in found if member.user not in excluded]
        return list(found)

    def _of_users(self, users: Iterable[str]) -> Iterable[M]:
        for user in users:
            yield from self._by_user.get(user, ())


def _drop(index: dict[str, dict[M, None]], key: str, member: M) -> None:
    members = index[key]
    del members[member]
    if not members:
        del index[key]
