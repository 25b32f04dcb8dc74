"""
Tests for L{gatewayd.bus.redis} against a real Redis: that it is an event bus; and what its
other tests are made of.
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Callable, Iterator, Sequence

import pytest_twisted
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.task import deferLater
from zope.interface import implementer

from gatewayd.bus.connection import Connection
from gatewayd.bus.link import endpoint_of
from gatewayd.bus.redis import RedisBus
from gatewayd.bus.roster import RedisRoster
from gatewayd.bus.scripts import Keys
from gatewayd.config.urls import RedisServer
from gatewayd.errors import Stopped
from gatewayd.interfaces import IEventBus, IRoster
from gatewayd.model import ORIGIN, Entry, Event, Position
from tests.contracts.event_bus import EventBusContract, Hearer, RosterContract, event
from tests.live.brokers import Redis
from tests.live.waiting import eventually, reactor, together, within

CHANNEL = "gateway_events"
LOG = Keys(CHANNEL).log


@implementer(IReactorTime)
class Hasty:
    """
    The reactor's time, ten times as fast: what the bus waits for, a test does not have to.
    """

    SPEED = 10.0

    def seconds(self) -> float:
        """
        What time it is.
        """
        return reactor.seconds() * self.SPEED

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """
        Sooner than that.
        """
        return reactor.callLater(delay / self.SPEED, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """
        Those of the reactor.
        """
        return reactor.getDelayedCalls()


@implementer(IStreamClientEndpoint)
class Fork:
    """
    Two ways to one Redis: one for the commands of a bus, the other for its subscription.
    """

    def __init__(self, commands: int, subscription: int) -> None:
        """
        @param commands: a port on this machine, and so is C{subscription}.
        """
        self._commands = _local(commands)
        self._subscription = _local(subscription)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint}.
        """
        commands = getattr(protocolFactory, "protocol", None) is Connection
        way = self._commands if commands else self._subscription
        connecting: Deferred[IProtocol] = way.connect(protocolFactory)
        return connecting


def _local(port: int) -> TCP4ClientEndpoint:
    return TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5)


def bus_at(way: int | IStreamClientEndpoint, instance: str = "one", **options: Any) -> RedisBus:
    """
    A bus, not started, of a Redis on this machine.

    @param way: its port, or how to come to it.
    @param options: C{clock}, C{keys}, C{username}, C{password}, C{database}; the others are
        L{RedisBus}'s own.
    """
    port = way if isinstance(way, int) else 6379
    server = RedisServer(
        "127.0.0.1",
        port,
        False,
        options.pop("database", 0),
        options.pop("username", None),
        options.pop("password", None),
    )
    endpoint = endpoint_of(reactor, server) if isinstance(way, int) else way
    keys = options.pop("keys", Keys(CHANNEL))
    clock = options.pop("clock", reactor)
    return RedisBus(clock, endpoint, server, keys, instance=instance, **options)


async def well(bus: RedisBus) -> None:
    """
    Wait until C{bus} has nothing to complain of.
    """
    await eventually(lambda: bus.status()["status"] == "ok", "the bus to be well")


async def operator(redis: Redis) -> Connection:
    """
    A connection that sends any bytes, and stays logged in whatever passwords become.
    """
    connection: Connection = await connectProtocol(_local(redis.port), Connection())
    return connection


async def dismissed(operator: Connection) -> None:
    """
    Disconnect.
    """
    operator.abort("done")
    await operator.gone()


class Witness(Hearer):
    """
    A listener that can tell, too, when it was told of a beginning.

    @ivar last: everything up to here was heard, or its loss was told.
    @ivar gaps: where it was told that something may be missing: after the first position, and
        up to the second.
    @ivar backwards: what did not come after C{last}, of which there must be nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = self._before = ORIGIN
        self.gaps: list[tuple[Position, Position]] = []
        self.backwards: list[Position] = []

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        See L{IBusListener}.
        """
        if entry.position is not None:
            if entry.position <= self.last:
                self.backwards.append(entry.position)
            self.last = entry.position
        super().heard(entry, fresh)

    def begun(self, position: Position, complete: bool) -> None:
        """
        See L{IBusListener}.
        """
        if position < self.last:
            self.backwards.append(position)
        if position > self.last:
            self._before, self.last = self.last, position
        if not complete:
            # It may be known only when the new log has been heard for a while.
            self.gaps.append((self._before, position))
        super().begun(position, complete)

    async def told(self, number: int) -> None:
        """
        Wait until it was told of so many beginnings.
        """
        await eventually(lambda: len(self.begins) >= number, f"beginning {number}")

    async def reached(self, position: Position) -> None:
        """
        Wait until it can expect nothing more from before C{position}.
        """
        await eventually(lambda: self.last >= position, f"{position}; it is at {self.last}")

    def was_told(self, position: Position) -> bool:
        """
        Whether it knows that it may have missed what was there.
        """
        before = bool(self.begins) and position <= self.begins[0][0]
        return before or any(after < position <= upto for after, upto in self.gaps)


class Load:
    """
    Publishes batch after batch by one bus, and knows what was published and where.

    Every fifth event is ephemeral, every hundredth large; and each batch repeats events of
    its own and of the batch before it, which nobody may hear again.

    @ivar reminds: repeat those of the batch before. Where the log may be lost in between, they
        may be news.
    @ivar sent: the events, each once, in order; of a batch that is not answered yet as well.
    @ivar answers: by uid, the position that the bus answered.
    @ivar batches: how many were answered.
    """

    SIZE = 20
    PAUSE = 0.005

    def __init__(self, bus: RedisBus, name: str) -> None:
        self.bus = bus
        self.reminds = True
        self.sent: list[Event] = []
        self.answers: dict[str, Position | None] = {}
        self.batches = 0
        self._name = name
        self._going = False
        self._work: Deferred[None] | None = None

    def start(self) -> None:
        """
        Begin.
        """
        self._going = True
        self._work = Deferred.fromCoroutine(self._publish())

    async def more(self, batches: int = 5, timeout: float = 20.0) -> None:
        """
        Wait until so many more batches are answered.
        """
        goal = self.batches + batches
        await eventually(
            lambda: self.batches >= goal,
            f"{batches} more batches; the bus is {self.bus.status()}",
            timeout,
            0.01,
            unless=self._failed,
        )

    async def stop(self, timeout: float = 20.0) -> None:
        """
        Publish no more than the batch under way.
        """
        self._going = False
        work, self._work = self._work, None
        if work is not None:
            await within(timeout, f"the last batch; the bus is {self.bus.status()}", work)

    def abandon(self) -> None:
        """
        The bus will be stopped: nothing more is expected.
        """
        if self._work is not None:
            self._work.addErrback(lambda why: why.trap(Stopped) and None)

    def _failed(self) -> None:
        work = self._work
        if work is not None and work.called:
            self._work = None
            work.addCallback(lambda _: None)
            assert not isinstance(work.result, Exception), work.result

    async def _publish(self) -> None:
        before: list[Event] = []
        while self._going:
            new = [self._make(len(self.sent) + index) for index in range(self.SIZE)]
            self.sent += new
            batch = [*new, *new[:2], *before[-2:]]
            before = new if self.reminds else []
            answers = await self.bus.publish(batch)
            assert len(answers) == len(batch)
            for one, answer in zip(batch, answers, strict=True):
                assert (answer is None) == one.ephemeral
                self.answers.setdefault(one.uid, answer)
            assert answers[self.SIZE : self.SIZE + 2] == answers[:2]
            self.batches += 1
            await deferLater(reactor, self.PAUSE)

    def _make(self, number: int) -> Event:
        size = 100_000 if number % 100 == 50 else number * 37 % 1000
        return event(
            data=b'{"%s": %d, "": "%s"}' % (self._name.encode(), number, b"x" * size),
            uid=f"{self._name} {number}",
            ephemeral=number % 5 == 3,
        )


@define(eq=False)
class Instance:
    """
    A bus, who listens to it, and what it publishes.
    """

    bus: RedisBus
    witness: Witness
    load: Load


class Cluster:
    """
    The buses of several instances that share a log.
    """

    def __init__(self) -> None:
        self.instances: list[Instance] = []

    async def join(
        self, way: int | IStreamClientEndpoint, *, filled: bool = True, **options: Any
    ) -> Instance:
        """
        One more, hasty unless the C{options}, which are those of L{bus_at}, say otherwise.

        @param filled: wait until it has heard the log.
        """
        name = f"i{len(self.instances)}"
        options = {"clock": Hasty(), **options}
        bus, witness = bus_at(way, name, **options), Witness()
        self.instances.append(Instance(bus, witness, Load(bus, name)))
        bus.start(witness)
        if filled:
            await within(10, "the bus to read the log", bus.filled())
        return self.instances[-1]

    async def rest(self) -> None:
        """
        Let the loads end, and everyone hear it.
        """
        await together(*(each.load.stop() for each in self.instances))
        newest = max((position for position in self._answers() if position), default=ORIGIN)
        for each in self.instances:
            await each.witness.reached(newest)

    async def stop(self) -> None:
        """
        Stop all buses.
        """
        for each in self.instances:
            each.load.abandon()
        await within(
            10, "all buses to stop", together(*(each.bus.stop() for each in self.instances))
        )

    async def well(self) -> None:
        """
        Wait until nobody has anything to complain of.
        """
        for each in self.instances:
            await well(each.bus)

    # What must hold

    async def heard_all(self, ephemeral: bool = False) -> None:
        """
        In the end everyone has heard, event by event, all that was published, each once and
        where it was answered to be, all in one order; and nobody was ever told of a loss.

        @param ephemeral: no subscription was lost, so this goes for ephemeral events as well.
        """
        await self.rest()
        published = {
            position: one
            for load in self._loads()
            for one in load.sent
            if (position := load.answers[one.uid]) is not None
        }
        expected = sorted(published.items(), key=lambda item: item[0])
        for each in self.instances:
            assert len(each.witness.begins) == 1, each.witness.begins
            entries = each.witness.entries
            logged = [(entry.position, entry.event) for entry in entries if entry.position]
            _same(logged, expected)
            self._keeps_its_word(each.witness)
            if ephemeral:
                uids = set(each.witness.uids)
                assert uids == {one.uid for load in self._loads() for one in load.sent}

    async def told_the_truth(self) -> None:
        """
        In the end everyone has heard what was published, each once, in one order, but for what
        they were told that they may have missed.
        """
        await self.rest()
        where: dict[Position, str] = {}
        for each in self.instances:
            witness = each.witness
            self._keeps_its_word(witness)
            for entry in witness.entries:
                if entry.position is not None:
                    uid = where.setdefault(entry.position, entry.event.uid)
                    assert uid == entry.event.uid, entry.position
            uids = set(witness.uids)
            for load in self._loads():
                for uid, position in load.answers.items():
                    if position is not None and uid not in uids:
                        assert witness.was_told(position), (uid, position, witness.gaps)

    def _keeps_its_word(self, witness: Witness) -> None:
        """
        Nothing came twice, backwards, or other than it was published.
        """
        assert witness.backwards == []
        uids = witness.uids
        assert len(uids) == len(set(uids))
        heard = {one.uid: one for one in witness.events}
        for load in self._loads():
            ours = [one for one in load.sent if one.uid in heard]
            names = {one.uid for one in ours}
            _same([one for one in witness.events if one.uid in names], ours)

    def _loads(self) -> Iterator[Load]:
        return (each.load for each in self.instances if each.load.sent)

    def _answers(self) -> Iterator[Position | None]:
        return (answer for load in self._loads() for answer in load.answers.values())


def _same(got: Sequence[Any], expected: Sequence[Any]) -> None:
    """
    For lists too long for pytest to explain their difference.
    """
    for index, (one, other) in enumerate(zip(got, expected, strict=False)):
        assert one == other, f"the first difference is at {index} of {len(expected)}"
    assert len(got) == len(expected)


class TestContract(EventBusContract, RosterContract):
    """
    The bus in Redis is an event bus, and its roster a roster.
    """

    port: int
    buses: list[RedisBus]

    @pytest_twisted.async_yield_fixture(autouse=True)
    async def _redis(self, redis: Redis) -> AsyncIterator[None]:
        type(self).port, type(self).buses = redis.port, []
        yield
        await together(*(bus.stop() for bus in self.buses))

    def new_bus(self) -> IEventBus:
        """
        Another bus on the same log.
        """
        self.buses.append(bus_at(self.port, f"bus{len(self.buses)}"))
        return self.buses[-1]

    async def new_rosters(self) -> Sequence[IRoster]:
        """
        Two, each by the connection of its own bus.
        """
        for _ in range(2):
            await self.started()
        keys = Keys(CHANNEL)
        return [RedisRoster(reactor, bus.commands, keys) for bus in self.buses]
