"""
The default guild authority: the token itself says which guilds its user may see.
"""

from __future__ import annotations

from typing import Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Denial, Grant, Principal


@implementer(IGuildAuthority)
class ClaimedGuilds:
    """
    Grants what the C{guilds} claim lists. A token without one grants nothing.
    """

    def allowed(self, principal: Principal, guilds: Sequence[str]) -> Deferred[Grant]:
        """
        See L{IGuildAuthority.allowed}.
        """
        claimed = principal.guilds or frozenset()
        return succeed(
            Grant(
                granted=tuple(guild for guild in guilds if guild in claimed),
                denied=tuple(
                    Denial(guild, "forbidden") for guild in guilds if guild not in claimed
                ),
            )
        )

    def forget(self, user: str | None, guild: str) -> None:
        """
        See L{IGuildAuthority.forget}: only the token is asked, each time.
        """
