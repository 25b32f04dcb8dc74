"""
Membership events move live sessions: whoever joins a guild hears it from that event on,
whoever leaves hears that event and nothing after it (protocol, "Who may see what").

Every instance hears the same log, so each moves its own sessions and nobody coordinates.
"""

from __future__ import annotations

from typing import Generic, Iterable, Protocol, TypeVar

from attrs import frozen

from gatewayd.census import Census
from gatewayd.interest import Interest
from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Change, Membership
from gatewayd.registry import Registry
from gatewayd.revocations import Revocations
from gatewayd.session import LostReason


class Movable(Protocol):
    """
    A session that can gain and lose guilds.
    """

    session_id: str
    user: str
    interest: Interest | None

    @property
    def guilds(self) -> set[str]:
        """
        The guilds it is subscribed to.
        """

    def added(self, guild: str) -> None:
        """
        Its user became a member.
        """

    def removed(self, guild: str, reason: LostReason) -> None:
        """
        Its user is no longer one.
        """


M = TypeVar("M", bound=Movable)


@frozen(eq=False)
class Memberships(Generic[M]):
    """
    The effect of membership events on this instance.
    """

    census: Census[M]
    registry: Registry[M]
    revocations: Revocations
    authority: IGuildAuthority

    def before(self, membership: Membership, ms: int) -> None:
        """
        Do what must be done before the event is delivered: who joins, hears it.

        @param ms: when, in milliseconds of the log's clock.
        """
        self.revocations.record(membership, ms)
        for guild in membership.guilds:
            for user in (None,) if membership.change is Change.DELETE else membership.users:
                self.authority.forget(user, guild)
        if membership.change is not Change.JOIN:
            return
        for user in membership.users:
            for session in self.census.of_user(user):
                for guild in membership.guilds:
                    session.added(guild)

    def after(self, membership: Membership, behind: Iterable[M]) -> None:
        """
        Do what must be done after it: who leaves, has heard it and hears nothing more.

        @param behind: sessions that are being replayed to, and so are not in the registry.
        """
        if membership.change is Change.LEAVE:
            for user in membership.users:
                for session in self.census.of_user(user):
                    for guild in membership.guilds:
                        session.removed(guild, "member_removed")
        elif membership.change is Change.DELETE:
            for guild in membership.guilds:
                for session in [*self.registry.hearing(guild), *behind]:
                    session.removed(guild, "guild_deleted")
