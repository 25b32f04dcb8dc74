"""
Puts events into the log of Redis: each once, in order, however often it has to be tried.

A batch whose answer was lost is sent again as it is. The log remembers the uid of each
event, so what had gone through is answered and not repeated; and because only one batch is
under way at a time, nothing that follows can have overtaken it.
"""

from __future__ import annotations

from math import ceil
from typing import Awaitable, Callable, Sequence

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gatewayd.bus.connection import Connection, Lost, Refused
from gatewayd.bus.follower import Follower
from gatewayd.bus.link import INITIAL_DELAY, MAX_DELAY, Link
from gatewayd.bus.scripts import PUBLISH, Keys
from gatewayd.bus.wire import batches, header_of, position_of
from gatewayd.errors import Superseded
from gatewayd.model import Event, Position
from gatewayd.retry import Backoff, Outage

_MOVED = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})
"""
Errors of a server that is, or has become, a replica: its name may lead elsewhere by now.
"""


class Publisher:
    """
    @ivar outage: why nothing can be published, although there is a connection.
    @ivar published: events put into the log or, ephemeral ones, told.
    @ivar duplicates: events that were there already.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        link: Link[Connection],
        look: Callable[[Connection], Awaitable[object]],
        follower: Follower,
        keys: Keys,
        *,
        dedup_window: float,
        max_length: int,
        trim: Callable[[], Position],
        random: Callable[[], float],
    ) -> None:
        """
        @param look: finds out which log there is.
        @param trim: the position before which no instance needs the log.
        @param max_length: the most entries it may have, whatever C{trim} says.
        """
        self._clock = clock
        self._link = link
        self._look = look
        self._follower = follower
        self._keys = keys
        self._window = max(1, ceil(dedup_window))
        self._max_length = max_length
        self._trim = trim
        self._backoff = Backoff(INITIAL_DELAY, MAX_DELAY, random)
        self._turn = DeferredLock()
        self.outage = Outage()
        self.published = self.duplicates = 0

    async def publish(
        self, events: Sequence[Event], settled: Sequence[str] = ()
    ) -> list[Position | None]:
        """
        See L{gatewayd.interfaces.IEventBus.publish}.
        """
        positions: list[Position | None] = []
        await self._turn.acquire()
        try:
            for batch in batches(events):
                positions += await self._send(batch, settled)
                settled = ()
        finally:
            self._turn.release()
        return positions

    async def _send(self, batch: Sequence[Event], settled: Sequence[str]) -> list[Position | None]:
        names = self._keys
        keys = [names.log, names.facts, names.unsettled, names.inherited]
        parts: list[bytes | str] = [*settled]
        consumer = ""
        for event in batch:
            keys.append(names.seen(event.uid))
            parts += (b"1" if event.ephemeral else b"0", header_of(event), event.data)
            if event.provenance is None:
                parts.append("")
            else:
                consumer = event.provenance.consumer
                mark = "R" if event.provenance.redelivered else "D"
                parts.append(f"{mark}{event.provenance.digest}{event.uid}")
        while True:
            connection = await self._link.usable()
            try:
                answers = await PUBLISH.run(
                    connection,
                    keys,
                    (
                        self._keys.channel,
                        self._window,
                        self._follower.log,
                        str(self._trim()),
                        self._max_length,
                        consumer,
                        len(settled),
                        *parts,
                    ),
                )
                if answers is None:
                    await self._look(connection)
                    continue
                if answers == b"PAST":
                    raise Superseded(consumer)
            except Lost:
                continue
            except Refused as error:
                await self._refused(connection, str(error), error.kind)
                continue
            self._well()
            return [self._position(answer) for answer in answers]

    def _position(self, answer: bytes) -> Position | None:
        if answer.startswith(b"="):
            self.duplicates += 1
            answer = answer[1:]
        else:
            self.published += 1
        if answer == b"-":
            return None
        position = position_of(answer)
        self._follower.published(position)
        return position

    async def _refused(self, connection: Connection, error: str, kind: str) -> None:
        if self.outage.failed(error, self._clock.seconds()):
            self.log.warn("Redis refused to publish: {error}; will try again", error=error)
        if kind in _MOVED:
            connection.abort(error)
        await deferLater(self._clock, self._backoff.next(), lambda: None)

    def _well(self) -> None:
        self._backoff.reset()
        lasted = self.outage.over(self._clock.seconds())
        if lasted is not None:
            self.log.info("Redis publishes again after {seconds:.1f} s", seconds=lasted)
