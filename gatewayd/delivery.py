"""
What an instance does with what it hears: remember it, move the sessions it moves, and write
it to those it is for.

Everything here is synchronous. One entry is dealt with wholly before the next, and a client
that returns is replayed to and let in between two of them: there is no moment at which an
event could be missed or come twice.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Callable, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd import canary, closing, frames
from gatewayd.canary import Canary
from gatewayd.closing import Closing
from gatewayd.history import History, Missed
from gatewayd.interfaces import IBroadcaster, IBusListener, ISink
from gatewayd.membership import Memberships, Movable
from gatewayd.messages import Heartbeat
from gatewayd.metrics import Metrics
from gatewayd.model import ORIGIN, Entry, Position
from gatewayd.registry import Registry

REPLAY_BATCH = 500
"""
Events replayed to one client in one turn of the reactor, so that a thousand clients coming
back at once do not make the others wait.
"""


AHEAD_PATIENCE = 3.0
"""
Seconds that a client waits whose last event has not come here yet.
"""


class Listening(Movable, Protocol):
    """
    A session, as far as delivery is concerned.

    @ivar since: milliseconds of the wall clock when it identified.
    """

    sink: ISink
    since: int

    def end(self, why: Closing) -> None:
        """
        Close it.
        """


@implementer(IBusListener)
@define(eq=False)
class Delivery:
    """
    The way of an event on this instance.

    @ivar broken: how often entries may have been missed without a chance to read them.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    history: History
    registry: Registry[Listening]
    memberships: Memberships[Listening]
    broadcaster: IBroadcaster
    metrics: Metrics
    canary: Canary
    max_buffered: int
    broken: int = 0
    _behind: dict[Listening, _Replay] = field(factory=dict)
    _beating: list[ISink] = field(factory=list)
    _ahead: list[tuple[Position, int, Deferred[None]]] = field(factory=list)
    _asked: int = 0
    _heartbeat: tuple[Position, bytes] = (ORIGIN, frames.of_message(Heartbeat(str(ORIGIN))))

    _log = Logger()

    @property
    def behind(self) -> int:
        """
        How many sessions are still being replayed to.
        """
        return len(self._behind)

    # ------------------------------------------------------------ IBusListener

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        See L{IBusListener.heard}.
        """
        try:
            self._deliver(entry, fresh)
        except Exception:
            # An instance that stopped listening for one bad entry would fail all its clients.
            self._log.failure("delivering {name} failed", name=entry.event.name)

    def begun(self, position: Position, complete: bool) -> None:
        """
        See L{IBusListener.begun}.
        """
        if self.history.begun:
            self._log.warn(
                "the log was broken: it is known from {position} on, and what this instance "
                "missed is {missed}",
                position=str(position),
                missed="nothing" if complete else "unknown",
            )
        self.history.begin(position)
        for replay in list(self._behind.values()):
            replay.session.end(closing.UPSTREAM)
        if complete:
            return
        # These sessions were promised that nothing in the middle is left out.
        self.broken += 1
        for session in self.registry.members():
            session.end(closing.UPSTREAM)

    def _deliver(self, entry: Entry, fresh: bool) -> None:
        event = entry.event
        if event.name == canary.NAME:
            self.canary.heard(event)
            return
        position = entry.position
        now = self.clock.seconds()
        if position is not None:
            age = 0.0 if fresh else max(0.0, self.wall() - position.ms / 1000)
            self.history.append(entry, now - age)
        membership = event.membership
        if membership is not None:
            when = position.ms if position is not None else int(self.wall() * 1000)
            self.memberships.before(membership, when)
        members = self.registry.audience(event)
        if members and not fresh and position is not None:
            # Sessions that were let in while the log could not be reached have not had what
            # was published since; what is older is not theirs.
            members = [one for one in members if one.since <= position.ms]
        if members:
            frame = frames.of_event(entry)
            sinks = [member.sink for member in members]
            self.broadcaster.broadcast(frame, sinks, event.published if fresh else 0.0)
            metrics = self.metrics
            metrics.deliveries.inc(len(members))
            metrics.delivered_bytes.inc(len(members) * len(frame))
        if fresh:
            self.metrics.event(event.name)
        if membership is not None:
            self.memberships.after(membership, [*self._behind])
        while self._ahead and self._ahead[0][0] <= self.history.head:
            heappop(self._ahead)[2].callback(None)

    def written(self, published: float) -> None:
        """
        An event has been written to everyone it is for.

        @param published: when it was taken from its source.
        """
        self.metrics.latency.observe(max(0.0, self.wall() - published))

    # ---------------------------------------------------------------- sessions

    def beat(self, session: Listening) -> None:
        """
        Send a heartbeat, with those of all others that are due now. One who is still being
        replayed to is told how far that has come, and not how far the log has: else a client
        that keeps the newest id it was told would skip what it has not been sent.
        """
        replay = self._behind.get(session)
        if replay is None:
            self._beating.append(session.sink)
        else:
            session.sink.say(frames.of_message(Heartbeat(str(replay.reached))))

    def beaten(self) -> None:
        """
        Those were all that are due now.
        """
        if self._beating:
            sinks, self._beating = self._beating, []
            self.broadcaster.broadcast(self.heartbeat(), sinks)

    def heartbeat(self) -> bytes:
        """
        The frame of a heartbeat that tells how far the log has come.
        """
        head, frame = self._heartbeat
        if head != self.history.head:
            head = self.history.head
            frame = frames.of_message(Heartbeat(str(head)))
            self._heartbeat = (head, frame)
        return frame

    def reached(self, last: str) -> Deferred[None]:
        """
        Wait until this instance has heard the event C{last}, which a client has from another
        that was a little quicker. Fires after a few seconds in any case: then it is no event of
        this log, or cannot be known to be.
        """
        position = Position.parse(last)
        if position is None or position <= self.history.head:
            return succeed(None)

        def given_up(_: object) -> None:
            self._ahead = [each for each in self._ahead if each[2] is not waiting]
            heapify(self._ahead)

        waiting: Deferred[None] = Deferred(given_up)
        self._asked += 1
        heappush(self._ahead, (position, self._asked, waiting))
        return waiting.addTimeout(AHEAD_PATIENCE, self.clock, lambda *_: None)

    def missed(self, session: Listening, last: str) -> Missed:
        """
        What C{session}, subscribed to its guilds, has not had since the event id C{last}.
        """
        missed = self.history.missed(Position.parse(last), session.user, session.guilds)
        return Missed(
            recovered=missed.recovered,
            entries=self._wanted(session, missed.entries),
            resync=missed.resync,
        )

    def _wanted(self, session: Listening, serials: list[int]) -> list[int]:
        interest = session.interest
        if interest is None:
            return serials
        at = self.history.at
        return [
            serial
            for serial in serials
            if (entry := at(serial)) is not None and interest.wants(entry.event.name)
        ]

    def admit(self, session: Listening, missed: Missed | None, last: str | None = None) -> None:
        """
        Let C{session} hear events from now on, after those it missed since C{last}.
        """
        if missed is None or not missed.entries:
            self._enter(session)
            return
        self.metrics.replayed.inc(len(missed.entries))
        reached = Position.parse(last or "") or ORIGIN
        replay = _Replay(self, session, missed.entries, self.history.head, reached)
        self._behind[session] = replay
        if replay.more():
            session.sink.pull(replay.more)

    def release(self, session: Listening) -> None:
        """
        Let C{session} hear nothing more.
        """
        self._behind.pop(session, None)
        self.registry.leave(session)

    def caught_up(self, session: Listening) -> None:
        """
        C{session} has had all that there is: it is live.
        """
        del self._behind[session]
        self._enter(session)

    def _enter(self, session: Listening) -> None:
        self.registry.enter(session, session.guilds)
        session.sink.live = True


class _Replay:
    """
    One client catching up, at the pace it reads.

    @ivar reached: the position of the last event that it was sent.
    """

    __slots__ = ("_delivery", "_next", "_serials", "_upto", "reached", "session")

    def __init__(
        self,
        delivery: Delivery,
        session: Listening,
        serials: list[int],
        upto: Position,
        reached: Position,
    ) -> None:
        """
        @param upto: the position up to which C{serials} are all that it missed.
        @param reached: the last event that it has.
        """
        self._delivery = delivery
        self._serials = serials
        self._next = 0
        self._upto = upto
        self.reached = reached
        self.session = session

    def more(self) -> bool:
        """
        Send on, as much as fits.

        @return: whether there is more to come.
        """
        delivery, session = self._delivery, self.session
        if session not in delivery._behind:
            return False
        history = delivery.history
        sent = 0
        while True:
            if self._next == len(self._serials):
                missed = history.missed(self._upto, session.user, session.guilds)
                if not missed.recovered:
                    break
                self._upto = history.head
                self._serials = delivery._wanted(session, missed.entries)
                self._next = 0
                if not self._serials:
                    delivery.caught_up(session)
                    return False
            if sent >= REPLAY_BATCH or session.sink.backlog() * 2 > delivery.max_buffered:
                return True
            entry = history.at(self._serials[self._next])
            if entry is None:
                break
            # Asked again for each: the session may have lost a guild since it began.
            if entry.event.audience.reaches(session.user, session.guilds):
                frame = frames.of_event(entry)
                unsent = session.sink.backlog()
                if unsent and unsent + len(frame) > delivery.max_buffered:
                    # The two together would close a client that reads what it is sent.
                    return True
                session.sink.send(frame)
                if session not in delivery._behind:
                    return False
                sent += 1
            self._next += 1
            if entry.position is not None:
                self.reached = entry.position
        # It reads more slowly than events leave the history.
        session.end(closing.TOO_SLOW)
        return False
