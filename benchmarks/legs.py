"""
The legs of an event's way, each alone in a process of its own: what it costs by the process' own
clock, the kernel's share included.

Each is the daemon's own code, put together as the daemon does it, with nothing behind it: C{consume}
publishes to nowhere, C{publish} does not listen, C{receive} lets what it hears go.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from hashlib import blake2b
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, Awaitable, Callable, Iterator, Sequence

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from zope.interface import implementer

from benchmarks.crowd import body
from gatewayd import envelope
from gatewayd.bus.link import endpoint_of
from gatewayd.bus.redis import RedisBus
from gatewayd.bus.scripts import Keys
from gatewayd.config import read
from gatewayd.config.urls import redis_server
from gatewayd.ingest import BATCH, Ingest
from gatewayd.interfaces import IBusListener
from gatewayd.metrics import Metrics
from gatewayd.model import Entry, Event, Position, Provenance
from gatewayd.service import Gateway
from gatewayd.source.amqp import RabbitSource

TOP = 22
"""
Functions that a profile names.
"""
CHUNK = 128
PAUSE = 0.002
"""
Events that are heard in one turn of the reactor when it is busy (Twisted reads 64 KiB at a time),
and the seconds to the next turn, in which the client has to read them.
"""
ANSWER = 0.002
"""
Seconds that Redis takes to answer a batch.
"""


class Task(msgspec.Struct, frozen=True):
    """
    What a leg has to do.

    @ivar warm: events before the counting begins.
    @ivar together: busy, or one event at a time.
    @ivar named: whether the publisher gave every event a C{message_id}.
    @ivar config: a file, for the legs that are made of a whole daemon.
    @ivar clients: how many to deliver to.
    """

    rabbitmq: str
    redis: str
    exchange: str
    queue: str
    dead_letter_exchange: str
    channel: str
    config: str
    events: int
    warm: int
    clients: int = 0
    together: bool = True
    named: bool = False
    profile: bool = False


class Cost(msgspec.Struct, frozen=True):
    """
    @ivar cpu_us: for each event.
    @ivar rate: events in a second.
    """

    cpu_us: float
    rate: float
    profile: str = ""


class Meter:
    """
    Counts events, and what this process uses from one number of them to another.
    """

    def __init__(self, task: Task) -> None:
        self.seen = 0
        self.done: Deferred[Cost] = Deferred()
        self._task = task
        self._mark = task.warm
        self._first = 0
        # By the CPU's clock: by the other, whatever was under way when somebody else had the
        # core would seem slow.
        self._profile = cProfile.Profile(time.process_time) if task.profile else None
        self._cpu = self._clock = 0.0

    def count(self, events: int = 1) -> None:
        """
        So many more have been dealt with.
        """
        self.seen += events
        if self.seen >= self._mark:
            self._reached()

    def _reached(self) -> None:
        if not self._first:
            self._first, self._mark = self.seen, self._task.events
            self._cpu, self._clock = time.process_time(), time.monotonic()
            if self._profile is not None:
                self._profile.enable()
            return
        cpu, clock = time.process_time() - self._cpu, time.monotonic() - self._clock
        events, self._mark = self.seen - self._first, sys.maxsize
        text = ""
        if self._profile is not None:
            self._profile.disable()
            text = _told(self._profile, events)
        self.done.callback(Cost(cpu / events * 1e6, events / clock, text))


def _told(profile: cProfile.Profile, events: int) -> str:
    out = StringIO()
    stats: Any = pstats.Stats(profile)
    rows = [
        (own / events * 1e6, total / events * 1e6, calls / events, _place(where))
        for where, (_, calls, own, total, _) in stats.stats.items()
    ]
    for own, total, calls, where in sorted(rows, reverse=True)[:TOP]:
        out.write(f"{own:8.2f} {total:8.2f} {calls:7.2f}  {where}\n")
    return out.getvalue()


def _place(where: tuple[str, int, str]) -> str:
    file, line, name = where
    if file == "~":
        return name
    return f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"


# ------------------------------------------------------------------------------------ consume


class _Nowhere:
    """
    Takes what is published, as the bus does.
    """

    def __init__(self, reactor: Any, meter: Meter) -> None:
        self._reactor = reactor
        self._meter = meter
        self._last = Position(int(time.time() * 1000), 0)

    def publish(self, events: Sequence[Event], settled: Sequence[str] = ()) -> Deferred[Any]:
        """
        Answer with positions.
        """
        return deferLater(self._reactor, ANSWER, self._published, len(events))

    def _published(self, events: int) -> list[Position]:
        self._meter.count(events)
        return [self._last] * events


async def consume(reactor: Any, task: Task) -> Cost:
    """
    From RabbitMQ to the bus, and the acks back.
    """
    meter = Meter(task)
    numbers = count()
    # All of a bus that ingest has use for.
    nowhere: Any = _Nowhere(reactor, meter)
    ingest = Ingest(
        bus=nowhere,
        metrics=Metrics(),
        wall=time.time,
        new_uid=lambda: str(next(numbers)),
        ephemeral=frozenset({"typing.start"}),
        max_bytes=1 << 19,
    )
    source = RabbitSource(
        reactor,
        task.rabbitmq,
        exchange=task.exchange,
        exchange_type="topic",
        queue=task.queue,
        dead_letter_exchange=task.dead_letter_exchange,
        prefetch=1000,
        instance="consume",
    )
    source.start(ingest)
    _ready()
    cost = await meter.done
    await source.pause()
    await source.stop()
    return cost


# ------------------------------------------------------------------------------------ publish


def _bus(reactor: Any, task: Task) -> RedisBus:
    server = redis_server(task.redis)
    return RedisBus(
        reactor,
        endpoint_of(reactor, server),
        server,
        Keys(task.channel),
        instance="publish",
        max_length=100_000,
    )


def events_of(task: Task) -> Iterator[Event]:
    """
    Events as L{Ingest} makes them of what came from RabbitMQ.
    """
    consumer = f"{time.monotonic_ns():x}"
    for number in range(task.events):
        published = body(number, time.monotonic_ns())
        digest = blake2b(published, digest_size=16).hexdigest()
        provenance = None if task.named else Provenance(consumer, digest, False)
        yield envelope.decode(
            published, uid=f"{consumer}:{number}", now=time.time(), provenance=provenance
        )


async def publish(reactor: Any, task: Task) -> Cost:
    """
    To Redis, one batch after the other, with nobody listening here.
    """
    bus, meter = _bus(reactor, task), Meter(task)
    events, size = list(events_of(task)), BATCH if task.together else 1
    # Not the whole of it, which would hear too.
    bus.commands.start()
    settled: list[str] = []
    for at in range(0, len(events), size):
        batch = events[at : at + size]
        await bus.publish(batch, settled)
        # By then RabbitMQ has confirmed those before.
        settled = [event.uid for event in batch if event.provenance is not None]
        meter.count(len(batch))
    await bus.stop()
    return await meter.done


# ------------------------------------------------------------------------------------ receive


@implementer(IBusListener)
class _Counting:
    """
    Hears for a meter, and for somebody else if there is one.
    """

    def __init__(self, meter: Meter, listener: IBusListener | None) -> None:
        self._meter = meter
        self._listener = listener

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        See L{IBusListener.heard}.
        """
        if self._listener is not None:
            self._listener.heard(entry, fresh)
        self._meter.count()

    def begun(self, position: Position, complete: bool) -> None:
        """
        See L{IBusListener.begun}.
        """
        if self._listener is not None:
            self._listener.begun(position, complete)


async def receive(reactor: Any, task: Task) -> Cost:
    """
    From Redis to whoever listens, and nobody does.
    """
    return await _hear(_bus(reactor, task), task, None)


async def overhear(reactor: Any, task: Task) -> Cost:
    """
    From Redis to an instance on which the event is for nobody.
    """
    gateway = Gateway(read(task.config, {}), reactor, lambda: None, lambda: None)
    return await _hear(gateway.bus, task, gateway.delivery)


async def _hear(bus: Any, task: Task, listener: IBusListener | None) -> Cost:
    meter = Meter(task)
    bus.start(_Counting(meter, listener))
    await bus.filled()
    _ready()
    cost = await meter.done
    await bus.stop()
    return cost


# ------------------------------------------------------------------------------------ deliver


async def deliver(reactor: Any, task: Task) -> Cost:
    """
    From the bus to whatever clients there are.
    """
    gateway = Gateway(read(task.config, {}), reactor, lambda: None, lambda: None)
    gateway.privilegedStartService()  # type: ignore[no-untyped-call]
    gateway.startService()
    meter, start = Meter(task), int(time.time() * 1000)
    entries = [
        Entry(Position(start, number), event)
        for number, event in enumerate(events_of(msgspec.structs.replace(task, named=True)))
    ]
    _ready()
    while gateway.operations.health()["connections"]["identified"] < task.clients:
        await deferLater(reactor, 0.05)
    size, pause = (CHUNK, PAUSE) if task.together else (1, 0.0)
    for at in range(0, len(entries), size):
        chunk = entries[at : at + size]
        for entry in chunk:
            gateway.delivery.heard(entry, True)
        # They are written in the next turn.
        await deferLater(reactor, pause)
        meter.count(len(chunk))
    return await meter.done


LEGS: dict[str, Callable[[Any, Task], Awaitable[Cost]]] = {
    each.__name__: each for each in (consume, publish, receive, overhear, deliver)
}


def _ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def main(reactor: Any, leg: str, task: str) -> None:
    """
    Do it, and tell what it cost.
    """
    cost = await LEGS[leg](reactor, msgspec.json.decode(task, type=Task))
    sys.stdout.write(f"{msgspec.json.encode(cost).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
