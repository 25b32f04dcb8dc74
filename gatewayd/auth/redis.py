"""
The guild authority in Redis: a set for each guild holds the ids of its members. The platform
keeps those sets; the gateway only reads them.
"""

from __future__ import annotations

from typing import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.auth.grants import grant_of, once_each
from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Grant, Principal
from gatewayd.retry import Outage

AreMembers = Callable[[Sequence[str], str], "Deferred[list[bool | None]]"]
"""
Takes the names of sets and what may be in them; tells of each set whether it holds that, or
L{None} where it cannot say. Fails, soon, if nothing can be asked.
"""


@implementer(IGuildAuthority)
class RedisGuilds:
    """
    Grants the guilds whose set holds the user, as it is at that moment.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        are_members: AreMembers,
        pattern: str = "guild:{guildId}:members",
    ) -> None:
        """
        @param pattern: a set's name, with C{{guildId}} in the place of the guild's id.
        """
        self._clock = clock
        self._are_members = are_members
        self._pattern = pattern
        self._outage = Outage()

    def allowed(self, principal: Principal, guilds: Sequence[str]) -> Deferred[Grant]:
        """
        See L{IGuildAuthority.allowed}. All guilds are asked about in one round trip.
        """
        return Deferred.fromCoroutine(self._allowed(principal.user, once_each(guilds)))

    async def _allowed(self, user: str, asked: tuple[str, ...]) -> Grant:
        if not asked:
            return Grant()
        names = [self._pattern.replace("{guildId}", guild) for guild in asked]
        try:
            answers = dict(zip(asked, await self._are_members(names, user), strict=True))
        except Exception as error:
            # Whatever it is, it is not a yes.
            if self._outage.failed(str(error) or type(error).__name__, self._clock.seconds()):
                self.log.warn(
                    "Redis cannot be asked who is a member: {error}; guilds are denied until "
                    "it can",
                    error=self._outage.error,
                )
            return grant_of(asked, {})
        if None not in answers.values():
            lasted = self._outage.over(self._clock.seconds())
            if lasted is not None:
                self.log.info(
                    "Redis tells again who is a member, after {seconds:.1f} s", seconds=lasted
                )
        return grant_of(asked, answers)

    def forget(self, user: str | None, guild: str) -> None:
        """
        Nothing is kept, so there is nothing to forget.
        """
