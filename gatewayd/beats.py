"""
The one timer behind everything that is due: heartbeats, timeouts, expiry.
"""

from __future__ import annotations

from functools import partial
from typing import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gatewayd.timetable import Timetable

GRAIN = 0.05
"""
Seconds. What is due together is done together: at ten thousand clients and a heartbeat every
30 seconds, seventeen of them.
"""


@define(eq=False)
class Beats:
    """
    Calls what a timetable holds when it is due, and C{chores} once a second.

    @ivar ticked: called when all that was due at a time has been called.
    """

    clock: IReactorTime
    timetable: Timetable
    chores: Callable[[float], None]
    ticked: Callable[[], None]
    _loops: list[LoopingCall] = field(factory=list)

    _log = Logger()

    def start(self) -> None:
        """
        Begin to tick.
        """
        self._loop(GRAIN, self._tick)
        self._loop(1.0, lambda: self.chores(self.clock.seconds()))

    def stop(self) -> None:
        """
        Stop ticking.
        """
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.stop()

    def _loop(self, interval: float, call: Callable[[], None]) -> None:
        loop = LoopingCall(self._guarded, call)
        loop.clock = self.clock
        self._loops.append(loop)
        running: Deferred[LoopingCall] = loop.start(interval, now=False)
        running.addErrback(lambda failure: self._log.failure("a timer failed", failure))

    def _tick(self) -> None:
        now = self.clock.seconds()
        for due in self.timetable.take(now):
            self._guarded(partial(due, now))
        self.ticked()

    def _guarded(self, call: Callable[[], None]) -> None:
        # One connection's fault must not stop everybody's heartbeats.
        try:
            call()
        except Exception:
            self._log.failure("something due failed")
