"""
The event bus of one process: for a gateway that is alone, and for several in one process
that share a log, as tests of a cluster do.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.bus.follower import Nobody
from gatewayd.bus.unsettled import Unsettled
from gatewayd.errors import Stopped, Superseded
from gatewayd.interfaces import IBackchannel, IBusListener, IEventBus, IRoster
from gatewayd.model import ORIGIN, Entry, Event, Position

KEEP = 15.0
"""
Seconds that a roster's row is shown after it was announced.
"""


class MemoryLog:
    """
    The log that buses of one process share.

    @ivar head: the position of the newest entry, or where the log began.
    @ivar uids: those it remembers, with when it will forget them and their positions.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wall: Callable[[], float],
        *,
        dedup_window: float = 300.0,
        max_length: int = 100_000,
        max_uids: int = 1_000_000,
    ) -> None:
        """
        @param clock: times the memory of uids.
        @param wall: seconds since the epoch. Positions are made of it, and grow even where it
            goes back.
        @param dedup_window: seconds that a uid is remembered.
        @param max_length: the most entries it may have, whatever its buses need.
        @param max_uids: the most uids it remembers.
        """
        self._clock = clock
        self._wall = wall
        self._window = dedup_window
        self._max_length = max_length
        self._max_uids = max_uids
        self.uids: dict[str, tuple[float, Position | None]] = {}
        self._entries: deque[tuple[Position, Entry]] = deque()
        self._queue: deque[tuple[list[Entry], Deferred[None]]] = deque()
        self._telling = False
        self._unsettled = Unsettled()
        self._buses: list[MemoryBus] = []
        self.head = self._floor = self._next(ORIGIN)

    def __len__(self) -> int:
        return len(self._entries)

    def _next(self, after: Position) -> Position:
        ms = int(self._wall() * 1000)
        return Position(ms, 0) if ms > after.ms else Position(after.ms, after.seq + 1)

    def join(self, bus: MemoryBus) -> None:
        """
        Let C{bus} hear what the log holds, and what comes.
        """
        telling, self._telling = self._telling, True
        bus.begin(self._floor)
        for _, entry in self._entries:
            bus.hear(entry)
        bus.fill()
        self._buses.append(bus)
        self._telling = telling
        self._tell()

    def leave(self, bus: MemoryBus) -> None:
        """
        Let C{bus} hear nothing more.
        """
        if bus in self._buses:
            self._buses.remove(bus)

    def append(
        self, events: Sequence[Event], settled: Sequence[str] = ()
    ) -> Deferred[list[Position | None]]:
        """
        See L{IEventBus.publish}.
        """
        now = self._clock.seconds()
        self._forget(now)
        try:
            self._unsettled.check(events)
        except Superseded as error:
            return fail(error)
        self._unsettled.settle(settled)
        entries: list[Entry] = []
        positions: list[Position | None] = []
        for event in events:
            seen = self.uids.get(event.uid)
            if seen is None and self._unsettled.again(event):
                seen = self.uids[event.uid] = (now + self._window, None)
            if seen is None:
                position = None
                if not event.ephemeral:
                    position = self.head = self._next(self.head)
                seen = self.uids[event.uid] = (now + self._window, position)
                entries.append(Entry(position, event))
            positions.append(seen[1])
        told: Deferred[None] = Deferred()
        answer = told.addCallback(lambda _: positions)
        self._queue.append((entries, told))
        self._tell()
        return answer

    def _forget(self, now: float) -> None:
        # The oldest are first, for they were all added with the same window.
        while self.uids:
            uid = next(iter(self.uids))
            if self.uids[uid][0] > now and len(self.uids) < self._max_uids:
                return
            del self.uids[uid]

    def _tell(self) -> None:
        """
        Tell every bus what is in the queue. What a listener publishes meanwhile waits its
        turn, so that all hear all in one order.
        """
        if self._telling:
            return
        self._telling = True
        while self._queue:
            entries, told = self._queue.popleft()
            for entry in entries:
                if entry.position is not None:
                    self._entries.append((entry.position, entry))
                for bus in list(self._buses):
                    bus.hear(entry)
            self._trim()
            told.callback(None)
        self._telling = False

    def _trim(self) -> None:
        floor = min((bus.trim() for bus in self._buses), default=ORIGIN)
        entries = self._entries
        while entries and (entries[0][0] < floor or len(entries) > self._max_length):
            self._floor = entries.popleft()[0]

    def tell(self, kind: str, payload: bytes) -> None:
        """
        Tell every bus something that is no event.
        """
        for bus in list(self._buses):
            bus.told(kind, payload)


@implementer(IEventBus, IBackchannel)
class MemoryBus:
    """
    One instance's side of a L{MemoryLog}.

    @ivar trim: the position before which this instance does not need the log.
    @ivar told: takes the kind and the payload of what any instance told.
    """

    name = "redis"
    log = Logger()

    def __init__(self, log: MemoryLog) -> None:
        """
        @param log: shared with those it should hear and be heard by.
        """
        self._log = log
        self._listener: IBusListener = Nobody()
        self._stopped = False
        self._filled = False
        self._filling: list[Deferred[None]] = []
        self.head = ORIGIN
        self.trim: Callable[[], Position] = lambda: ORIGIN
        self.told: Callable[[str, bytes], None] = lambda kind, payload: None

    # What the log calls

    def begin(self, position: Position) -> None:
        """
        The log begins after C{position}.
        """
        self.head = position
        self._listener.begun(position, True)

    def hear(self, entry: Entry) -> None:
        """
        The next event.
        """
        if entry.position is not None:
            self.head = entry.position
        try:
            self._listener.heard(entry, self._filled)
        except Exception:
            # Not to be expected; but the other buses are still to hear it.
            self.log.failure("An event could not be taken")

    def fill(self) -> None:
        """
        That was all that the log held.
        """
        self._filled = True
        filling, self._filling = self._filling, []
        for one in filling:
            one.callback(None)

    # What the gateway calls

    def start(self, listener: IBusListener) -> None:
        """
        See L{IEventBus}.
        """
        self._listener = listener
        self._log.join(self)

    def filled(self) -> Deferred[None]:
        """
        See L{IEventBus}.
        """
        if self._filled:
            return succeed(None)
        filling: Deferred[None] = Deferred(self._filling.remove)
        self._filling.append(filling)
        return filling

    def publish(
        self, events: Sequence[Event], settled: Sequence[str] = ()
    ) -> Deferred[list[Position | None]]:
        """
        See L{IEventBus}.
        """
        if self._stopped:
            return fail(Stopped("the bus has been stopped"))
        return self._log.append(events, settled)

    def tell(self, kind: str, payload: bytes) -> Deferred[bool]:
        """
        See L{IBackchannel.tell}.
        """
        self._log.tell(kind, payload)
        return succeed(True)

    def stop(self) -> Deferred[None]:
        """
        See L{IEventBus}.
        """
        self._stopped = True
        self._listener = Nobody()
        self._log.leave(self)
        filling, self._filling = self._filling, []
        for one in filling:
            one.errback(Stopped("the bus was stopped before it was started"))
        return succeed(None)

    def status(self) -> dict[str, Any]:
        """
        See L{IEventBus}: there is no Redis to be missed.
        """
        return {"status": "none"}


@implementer(IRoster)
class MemoryRoster:
    """
    The rows of the instances in one process.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rows: dict[str, tuple[float, dict[str, Any]]] = {}

    def beside(self) -> MemoryRoster:
        """
        The roster of another instance, which sees the same rows.
        """
        other = MemoryRoster(self._clock)
        other._rows = self._rows
        return other

    def announce(self, row: dict[str, Any]) -> Deferred[None]:
        """
        See L{IRoster}.
        """
        self._rows[row["instance"]] = self._clock.seconds(), row
        self._forget()
        return succeed(None)

    def withdraw(self, instance: str) -> Deferred[None]:
        """
        See L{IRoster}.
        """
        self._rows.pop(instance, None)
        return succeed(None)

    def rows(self) -> Deferred[list[dict[str, Any]]]:
        """
        See L{IRoster}.
        """
        self._forget()
        return succeed([dict(row) for _, (_, row) in sorted(self._rows.items())])

    def _forget(self) -> None:
        oldest = self._clock.seconds() - KEEP
        for instance in [name for name, (at, _) in self._rows.items() if at < oldest]:
            del self._rows[instance]
