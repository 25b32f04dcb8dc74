"""
The rows of the instances, in Redis. It dates them itself, so instances whose clocks disagree
still see each other.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.bus.connection import Connection, Lost, Refused
from gatewayd.bus.link import Link
from gatewayd.bus.scripts import ANNOUNCE, ROWS, Keys, Script
from gatewayd.interfaces import IRoster

KEEP_MS = 15_000
"""
How long a row is shown after it was announced.
"""

PATIENCE = 2.0
"""
Seconds to wait for an answer.
"""


@implementer(IRoster)
class RedisRoster:
    """
    What the instances of one channel announced.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, commands: Link[Connection], keys: Keys) -> None:
        """
        @param commands: L{gatewayd.bus.redis.RedisBus.commands}
        """
        self._clock = clock
        self._commands = commands
        self._keys = keys

    def announce(self, row: dict[str, Any]) -> Deferred[None]:
        """
        See L{IRoster}.
        """
        return Deferred.fromCoroutine(self._announce(row))

    async def _announce(self, row: dict[str, Any]) -> None:
        await self._run(ANNOUNCE, row["instance"], msgspec.json.encode(row), KEEP_MS)

    def withdraw(self, instance: str) -> Deferred[None]:
        """
        See L{IRoster}.
        """
        return Deferred.fromCoroutine(self._withdraw(instance))

    async def _withdraw(self, instance: str) -> None:
        await self._patient(
            lambda connection: connection.ask("HDEL", self._keys.instances, instance)
        )

    def rows(self) -> Deferred[list[dict[str, Any]]]:
        """
        See L{IRoster}.
        """
        return Deferred.fromCoroutine(self._rows())

    async def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for shown in await self._run(ROWS, KEEP_MS) or ():
            try:
                row = msgspec.json.decode(shown)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("instance"), str):
                rows.append(row)
        return sorted(rows, key=lambda row: str(row["instance"]))

    async def _run(self, script: Script, *args: bytes | str | int) -> Any:
        """
        The script's answer, or L{None} where there is none.
        """
        keys = (self._keys.instances,)
        return await self._patient(lambda connection: script.run(connection, keys, args))

    async def _patient(self, ask: Callable[[Connection], Coroutine[Any, Any, Any]]) -> Any:
        connection = self._commands.connection
        if connection is None:
            return None
        asking: Deferred[Any] = Deferred.fromCoroutine(ask(connection))
        try:
            return await asking.addTimeout(PATIENCE, self._clock)
        except (Lost, TimedOut):
            return None
        except Refused as error:
            self.log.debug("The roster is refused: {error}", error=error)
            return None
