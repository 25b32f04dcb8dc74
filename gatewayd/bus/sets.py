"""
Sets in Redis that other services keep, such as the members of each guild.
"""

from __future__ import annotations

from typing import Sequence

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gatewayd.bus.connection import Connection, Lost, Refused
from gatewayd.bus.link import Link
from gatewayd.retry import Outage

PATIENCE = 2.0
"""
Seconds to wait for the answers.
"""


class RedisSets:
    """
    Asks by the connection that the bus has for commands. Nothing waits for Redis to come back.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, commands: Link[Connection]) -> None:
        """
        @param commands: L{gatewayd.bus.redis.RedisBus.commands}
        """
        self._clock = clock
        self._commands = commands
        self._outage = Outage()

    def are_members(self, keys: Sequence[str], member: str) -> Deferred[list[bool | None]]:
        """
        Tell of each set, in order, whether it holds C{member}: L{None} where Redis refuses to
        say, as it does of a key that is no set. All are asked in one round trip.

        @raise Lost: there is no connection, it ended first, or there was no answer in time.
        """
        return Deferred.fromCoroutine(self._are_members(keys, member))

    async def _are_members(self, keys: Sequence[str], member: str) -> list[bool | None]:
        connection = self._commands.connection
        if connection is None:
            raise Lost(self._commands.outage.error or "not connected yet")
        # Written one after the other without a wait between, they leave together.
        asked = [Deferred.fromCoroutine(connection.ask("SISMEMBER", key, member)) for key in keys]
        asking = DeferredList(asked, consumeErrors=True)
        timeout = self._clock.callLater(PATIENCE, asking.cancel)
        try:
            return [self._answer(outcome) for _, outcome in await asking]
        finally:
            if timeout.active():
                timeout.cancel()

    def _answer(self, outcome: int | Failure) -> bool | None:
        if not isinstance(outcome, Failure):
            return outcome == 1
        if outcome.check(CancelledError):
            raise Lost(f"no answer within {PATIENCE:g} s")
        outcome.trap(Refused)
        if self._outage.failed(str(outcome.value), self._clock.seconds()):
            self.log.warn("Redis refuses to say who is a member: {error}", error=outcome.value)
        return None
