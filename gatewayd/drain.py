"""
Leaving in good order: nobody new, nothing consumed, everyone told when to come back, and
then closed little by little, so that the other instances are not met by all of them at once.
"""

from __future__ import annotations

from typing import Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gatewayd import closing
from gatewayd.census import Census
from gatewayd.connection import Connection
from gatewayd.messages import Reconnect

STEPS_PER_SECOND = 20
LAST_SHARE = 0.2
"""
Of the drain time, what is left for the last close frames to be answered.
"""


@define(eq=False)
class Drain:
    """
    The end of an instance's connections.

    @ivar random: uniform in [0, 1).
    @ivar shut: called once, at once: from then on nobody is let in.
    """

    clock: IReactorTime
    census: Census[Connection]
    drain_time: float
    random: Callable[[], float]
    shut: Callable[[], None]
    begun: bool = False

    _log = Logger()

    def shut_door(self) -> None:
        """
        Let nobody in any more.
        """
        if not self.begun:
            self.begun = True
            self.shut()

    async def connections(self) -> None:
        """
        Have every connection closed, within the drain time.
        """
        self.shut_door()
        connections = list(self.census)
        self._log.info("draining {count} connections", count=len(connections))
        window = self.drain_time * (1 - LAST_SHARE)
        due: list[tuple[float, Connection]] = []
        for connection in connections:
            if not connection.user:
                connection.end(closing.GOING_AWAY)
                continue
            wait = self.random() * window
            due.append((wait, connection))
            connection.send(Reconnect("shutdown", round(wait * 1000)))
        due.sort(key=lambda pair: pair[0], reverse=True)
        started = self.clock.seconds()
        while due and len(self.census):
            passed = self.clock.seconds() - started
            while due and due[-1][0] <= passed:
                due.pop()[1].end(closing.GOING_AWAY)
            if due:
                await deferLater(self.clock, 1 / STEPS_PER_SECOND)
        await self._gone(started + self.drain_time)

    async def _gone(self, deadline: float) -> None:
        while len(self.census) and self.clock.seconds() < deadline:
            await deferLater(self.clock, 1 / STEPS_PER_SECOND)
