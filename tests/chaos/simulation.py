"""
A cluster in one process, on a simulated clock: all that decides is real, what is around it is
not.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import count
from typing import Any, Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd import closing
from gatewayd.auth.claims import ClaimedGuilds
from gatewayd.bus.memory import MemoryBus, MemoryLog
from gatewayd.canary import Canary
from gatewayd.census import Census
from gatewayd.closing import Closing
from gatewayd.connection import Commons, Connection, Terms
from gatewayd.delivery import Delivery
from gatewayd.history import History
from gatewayd.ingest import Ingest
from gatewayd.interfaces import IAuthenticator, IBusListener, IEventBus, ISink
from gatewayd.membership import Memberships
from gatewayd.metrics import Metrics
from gatewayd.model import Entry, Event, Position, Principal
from gatewayd.registry import Registry
from gatewayd.revocations import Revocations
from gatewayd.source.memory import MemorySource
from gatewayd.timetable import Timetable
from gatewayd.ws.broadcast import Broadcaster
from tests.chaos.simulated_broker import Broker, Consumer

EPOCH = 1_700_000_000.0
MAX_BUFFERED = 3000
"""
Bytes: some twenty events.
"""

HISTORY = {"window": 30.0, "max_events": 12, "max_bytes": 1 << 20, "max_marks": 2}


@implementer(ISink)
class Pipe:
    """
    One client's socket. What is sent lies there until it is read, or lost.

    @ivar unread: whole frames.
    @ivar closing: how the instance closed it.
    """

    fd = -1
    deflates = False

    def __init__(self, broadcaster: Broadcaster) -> None:
        self.live = False
        self.unread: deque[bytes] = deque()
        self.closing: Closing | None = None
        self.overrun: Callable[[], None] = lambda: None
        self._broadcaster = broadcaster
        self._size = 0
        self._more: Callable[[], bool] | None = None

    def send(self, frame: bytes) -> None:
        """
        See L{ISink.send}.
        """
        if self.closing is None:
            self.unread.append(frame)
            self._size += len(frame)
            if self._size > MAX_BUFFERED:
                self.overrun()

    keep = send

    def say(self, frame: bytes) -> None:
        """
        See L{ISink.say}.
        """
        if self.live and self._broadcaster.busy:
            self._broadcaster.broadcast(frame, (self,))
        else:
            self.send(frame)

    def backlog(self) -> int:
        """
        See L{ISink.backlog}.
        """
        return self._size

    def pull(self, more: Callable[[], bool]) -> None:
        """
        See L{ISink.pull}.
        """
        if self.closing is None:
            self._more = more

    def close(self, closing: Closing) -> None:
        """
        See L{ISink.close}.
        """
        if self.closing is None:
            self.closing = closing
            self._more = None

    def read(self) -> bytes | None:
        """
        The next piece; L{None} if there is none.
        """
        if not self.unread:
            return None
        piece = self.unread.popleft()
        self._size -= len(piece)
        if not self.unread and self._more is not None and not self._more():
            self._more = None
        return piece


@implementer(IBusListener)
class Ear:
    """
    What an instance hears with: late, while it is C{deaf}.
    """

    def __init__(self, listener: IBusListener) -> None:
        self.deaf = False
        self._listener = listener
        self._waiting: deque[tuple[Entry, bool]] = deque()

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        See L{IBusListener.heard}.
        """
        if self.deaf:
            self._waiting.append((entry, fresh))
        else:
            self._listener.heard(entry, fresh)

    def begun(self, position: Position, complete: bool) -> None:
        """
        See L{IBusListener.begun}.
        """
        self._listener.begun(position, complete)

    def listen(self) -> None:
        """
        Hear what was said meanwhile, and what comes.
        """
        self.deaf = False
        while self._waiting:
            self._listener.heard(*self._waiting.popleft())

    def lose(self) -> None:
        """
        Find that what was said meanwhile is not in the log any more.
        """
        lost = [entry.position for entry, _ in self._waiting if entry.position is not None]
        self._waiting.clear()
        self.deaf = False
        if lost:
            self._listener.begun(lost[-1], False)


@implementer(IEventBus)
class SlowBus:
    """
    A bus to which it is a long way: what is published arrives when it is told to, and the answer
    does so when it is told to.
    """

    name = "redis"

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._going: tuple[Sequence[Event], Sequence[str]] | None = None
        self._coming: list[Position | None] | Failure | None = None
        self._asked: Deferred[list[Position | None]] | None = None
        self._known: set[str] = set()

    @property
    def head(self) -> Position:
        """
        See L{IEventBus}.
        """
        return self._bus.head

    def start(self, listener: IBusListener) -> None:
        """
        See L{IEventBus}.
        """
        self._bus.start(listener)

    def filled(self) -> Deferred[None]:
        """
        See L{IEventBus}.
        """
        return self._bus.filled()

    def publish(
        self, events: Sequence[Event], settled: Sequence[str] = ()
    ) -> Deferred[list[Position | None]]:
        """
        See L{IEventBus}.
        """
        assert self._asked is None, "two publishes at once"
        self._going = events, settled
        self._asked = Deferred()
        return self._asked

    def knows(self, consumer: str) -> bool:
        """
        Whether something has arrived that came by C{consumer}.
        """
        return consumer in self._known

    def carry(self) -> bool:
        """
        What is published arrives.

        @return: whether there was anything.
        """
        going, self._going = self._going, None
        if going is None:
            return False
        events, _ = going
        self._known.update(one.provenance.consumer for one in events if one.provenance is not None)
        self._bus.publish(*going).addBoth(self._answered)
        return True

    def _answered(self, answer: list[Position | None] | Failure) -> None:
        self._coming = answer

    def answer(self) -> bool:
        """
        The answer does.
        """
        coming, self._coming = self._coming, None
        asked = self._asked
        if coming is None or asked is None:
            return False
        self._asked = None
        asked.callback(coming)
        return True

    def stop(self) -> Deferred[None]:
        """
        See L{IEventBus}.
        """
        return self._bus.stop()

    def status(self) -> dict[str, Any]:
        """
        See L{IEventBus}.
        """
        return {"status": "ok"}


@implementer(IAuthenticator)
class Passports:
    """
    Tokens that say it in plain text.
    """

    def __init__(self) -> None:
        self.lifetime = 10_000.0

    def token(self, user: str, guilds: frozenset[str], now: float) -> str:
        """
        A token as an issuer makes it: C{iat} counts whole seconds.
        """
        return json.dumps([user, sorted(guilds), int(now)])

    def authenticate(self, token: object) -> Deferred[Principal]:
        """
        See L{IAuthenticator.authenticate}.
        """
        assert isinstance(token, str)
        user, guilds, issued = json.loads(token)
        return succeed(Principal(user, issued + self.lifetime, frozenset(guilds), issued))


class Instance:
    """
    One gateway.
    """

    def __init__(self, name: str, clock: Clock, log: MemoryLog, broker: Broker) -> None:
        self.name = name
        self._clock = clock
        self._broker = broker
        self.history = History(**HISTORY)  # type: ignore[arg-type]
        self.census: Census[Any] = Census()
        registry: Registry[Any] = Registry()
        revocations, metrics = Revocations(), Metrics()
        self.timetable = Timetable()
        self.broadcaster = Broadcaster(clock, lambda published: None)
        bus = MemoryBus(log)
        bus.trim = lambda: self.history.floor
        self.bus = SlowBus(bus)
        self.delivery = Delivery(
            clock=clock,
            wall=self.wall,
            history=self.history,
            registry=registry,
            memberships=Memberships(self.census, registry, revocations, ClaimedGuilds()),
            broadcaster=self.broadcaster,
            metrics=metrics,
            canary=Canary(name, MemorySource(), bus, clock, metrics),
            max_buffered=MAX_BUFFERED,
        )
        numbers = count(1)
        self.ingest = Ingest(
            bus=self.bus,
            metrics=metrics,
            wall=self.wall,
            new_uid=lambda: f"{name}-{next(numbers)}",
            ephemeral=frozenset({"typing.start"}),
            max_bytes=MAX_BUFFERED // 2,
            superseded=lambda consumer: self.notice(),
        )
        self._commons = Commons(
            terms=Terms(
                instance=name,
                version="1",
                heartbeat_interval=7.0,
                identify_timeout=10.0,
                expiry_warning=60.0,
                leeway=0.0,
                messages_per_minute=0,
                max_guilds=20,
                connections_per_user=0,
            ),
            clock=clock,
            wall=self.wall,
            new_id=lambda: f"{name}-session-{next(numbers)}",
            filled=bus.filled,
            census=self.census,
            delivery=self.delivery,
            revocations=revocations,
            timetable=self.timetable,
            metrics=metrics,
            authenticator=Passports(),
            authority=ClaimedGuilds(),
            log=Logger(),
        )
        self.ear = Ear(self.delivery)
        self.bus.start(self.ear)
        self.consumer: Consumer = broker.attach(self.ingest)

    def wall(self) -> float:
        """
        Seconds since the epoch.
        """
        return EPOCH + self._clock.seconds()

    def connect(self) -> tuple[Connection, Pipe]:
        """
        A client whose handshake is done.
        """
        pipe = Pipe(self.broadcaster)
        connection = Connection(self._commons, pipe, "192.0.2.1")
        pipe.overrun = lambda: connection.end(closing.TOO_SLOW)
        return connection, pipe

    def tick(self) -> None:
        """
        Do what is due.
        """
        now = self._clock.seconds()
        for due in self.timetable.take(now):
            due(now)
        self.delivery.beaten()
        self.history.expire(now)

    def lose_broker(self, unnoticed: bool) -> None:
        """
        Its connection to the broker is lost.

        @param unnoticed: it does not know yet.
        """
        bus, consumer = self.bus, self.consumer
        while consumer.unacked and not bus.knows(consumer.id) and (bus.carry() or bus.answer()):
            # One of which the log has never heard it could not tell from its successor. A
            # consumer is that for as long as Redis is away, and no longer.
            pass
        self._broker.detach(consumer)
        if not unnoticed:
            self.notice()

    def notice(self) -> None:
        """
        Find out that the connection to the broker is lost, if it is, and make another.
        """
        if not self.consumer.attached:
            self.consumer.usable = False
            self.consumer = self._broker.attach(self.ingest)

    def die(self) -> None:
        """
        Be killed.
        """
        self._broker.detach(self.consumer)
        self.ear.deaf = True
        self.bus.stop()
