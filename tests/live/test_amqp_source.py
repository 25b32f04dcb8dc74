"""
RabbitSource keeps the contract of sources against a real RabbitMQ; and what its other tests
are made of.
"""

from __future__ import annotations

import json
from typing import Any, AsyncIterator, Awaitable, Callable, NamedTuple, Sequence

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from zope.interface import implementer

from gatewayd.interfaces import IDelivery, IEventReceiver
from gatewayd.source.amqp import RabbitSource
from tests.contracts.event_source import BEHAVIOURS, HERE, Behaviour, Recorder
from tests.live.brokers import RabbitMQ
from tests.live.publisher import Consumer, Publisher
from tests.live.waiting import eventually, reactor, together, within

NewPublisher = Callable[..., Awaitable[Publisher]]


def rabbit_source(url: str, **options: Any) -> RabbitSource:
    """
    A source with the names that these tests use.
    """
    usual: dict[str, Any] = {
        "exchange": "discord_events",
        "exchange_type": "topic",
        "queue": "gateway",
        "dead_letter_exchange": "discord_events.dead",
        "prefetch": 1000,
        "instance": "here",
    }
    return RabbitSource(reactor, url, **(usual | options))


class Sources:
    """
    Starts sources: C{await source(url, receiver)}, ready unless told C{ready=False}; and stops
    them.
    """

    def __init__(self) -> None:
        self.made: list[RabbitSource] = []

    async def __call__(
        self, url: str, receiver: Any, *, ready: bool = True, **options: Any
    ) -> RabbitSource:
        """
        One more.
        """
        self.made.append(rabbit_source(url, **options))
        self.made[-1].start(receiver)
        if ready:
            await up(self.made[-1])
        return self.made[-1]

    async def stop(self) -> None:
        """
        Stop them all.
        """
        await together(*(each.stop() for each in self.made))


@pytest_twisted.async_yield_fixture
async def source(new_rabbitmq: object, proxy: object) -> AsyncIterator[Sources]:
    """
    None yet.
    """
    made = Sources()
    yield made
    await made.stop()


async def up(source: RabbitSource, timeout: float = 20.0) -> None:
    """
    Wait until C{source} consumes.
    """
    await eventually(lambda: source.status()["status"] == "ok", "the source to consume", timeout)


async def down(source: RabbitSource, why: str, timeout: float = 20.0) -> str:
    """
    Wait until C{source} says that it does not consume, because of C{why}.

    @return: the sentence.
    """

    def told() -> bool:
        status = source.status()
        return status["status"] == "connecting" and why in status["error"]

    await eventually(told, f"the source to say {why!r}", timeout)
    return str(source.status()["error"])


async def left(service: Publisher, queue: str = "gateway") -> int:
    """
    How many messages wait in C{queue}, without those that somebody has been given.
    """
    declaring = service.connection.channel.queue_declare(queue, passive=True)
    declared = await within(5, f"queue {queue}", declaring)
    return int(declared.method.message_count)


class Taken(NamedTuple):
    """
    One message of a L{Traffic}, as a source delivered it.
    """

    who: str
    number: int
    redelivered: bool


class Record:
    """
    What sources, one or several, delivered of a L{Traffic}.

    @ivar taken: that, in order.
    @ivar done: the numbers of what the broker will not deliver again.
    @ivar again: those of what it did nevertheless.
    """

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.done: set[int] = set()
        self.again: set[int] = set()

    async def comes_to(self, who: str) -> None:
        """
        Wait until C{who} is the active one.
        """
        await eventually(lambda: self.who == who, f"{who} to be active")

    @property
    def who(self) -> str | None:
        """
        Who was given the last one.
        """
        return self.taken[-1].who if self.taken else None

    def twice(self) -> int:
        """
        How many were not given for the first time. What says that it is redelivered need not be
        one of them: the broker counts what it had sent and nobody has seen.
        """
        return len(self.taken) - len({taken.number for taken in self.taken})


@implementer(IEventReceiver)
class Taker:
    """
    A receiver that writes down what it is given, and settles it a moment later.
    """

    MOMENT = 0.01

    def __init__(self, record: Record, who: str = "here") -> None:
        self._record = record
        self._who = who
        self._receipts: dict[str, int] = {}
        self._held: list[IDelivery] = []
        self._timer: IDelayedCall | None = None

    def delivered(self, delivery: IDelivery) -> None:
        """
        See L{IEventReceiver}.
        """
        number = json.loads(delivery.body)["n"]
        assert delivery.receipt is not None
        self._receipts[delivery.receipt] = number
        if number in self._record.done:
            self._record.again.add(number)
        self._record.taken.append(Taken(self._who, number, delivery.redelivered))
        self._held.append(delivery)
        if self._timer is None:
            self._timer = reactor.callLater(self.MOMENT, self._settle)

    def confirmed(self, receipts: Sequence[str]) -> None:
        """
        See L{IEventReceiver}.
        """
        self._record.done.update(self._receipts[receipt] for receipt in receipts)

    def _settle(self) -> None:
        self._timer = None
        held, self._held = self._held, []
        for delivery in held:
            delivery.ack(HERE)


class Traffic:
    """
    A microservice that publishes numbered messages, in order, each again and again until it is
    confirmed.

    @ivar confirmed: how many are.
    @ivar unsure: the numbers of those that were published again.
    """

    BATCH = 20
    PAUSE = 0.01

    def __init__(self, url: str) -> None:
        self.url = url
        self.confirmed = 0
        self.unsure: set[int] = set()
        self._going = True
        self._work = Deferred.fromCoroutine(self._publish())

    async def more(self, number: int = 100, timeout: float = 30.0) -> None:
        """
        Wait until so many more are confirmed.
        """
        goal = self.confirmed + number
        await eventually(lambda: self.confirmed >= goal, f"{number} more", timeout, 0.01)

    async def stop(self, timeout: float = 30.0) -> None:
        """
        Publish no more than what is under way.
        """
        self._going = False
        await within(timeout, "the traffic to end", self._work)

    async def all_taken(self, record: Record) -> None:
        """
        In the end, everything that was confirmed was delivered, in order, for the first time;
        only what says so for a second time; and nothing that was done for good.
        """
        await self.stop()
        last = self.confirmed - 1
        await eventually(
            lambda: last in [taken.number for taken in record.taken[-1000:]], "the last message"
        )
        first: dict[int, None] = {}
        for taken in record.taken:
            if taken.number in first:
                assert taken.redelivered or taken.number in self.unsure, taken
            first[taken.number] = None
        assert list(first) == list(range(self.confirmed))
        assert record.again <= self.unsure

    async def _publish(self) -> None:
        while self._going or not self.confirmed:
            try:
                service = await Publisher.open(self.url)
            except Exception:
                # What is tested may be that there is none.
                await deferLater(reactor, 0.1)
                continue
            try:
                await self._serve(service)
            except Exception:
                self.unsure.update(self._batch())
            try:
                await service.close()
            except Exception:
                # It is gone.
                pass

    async def _serve(self, service: Publisher) -> None:
        while self._going:
            await together(
                *(service.publish_body(b'{"n": %d}' % number, "n") for number in self._batch())
            )
            self.confirmed += self.BATCH
            await deferLater(reactor, self.PAUSE)

    def _batch(self) -> range:
        return range(self.confirmed, self.confirmed + self.BATCH)


class RabbitBench:
    """
    A L{tests.contracts.event_source.Bench}: a real broker before the source, and another
    consumer that looks into its queues.
    """

    def __init__(self, source: RabbitSource, receiver: Recorder, publisher: Publisher) -> None:
        self.source = source
        self.receiver = receiver
        self.url = ""
        self._publisher = publisher

    async def publish(self, body: bytes, key: str = "", message_id: str | None = None) -> None:
        """
        As a microservice does.
        """
        await self._publisher.publish_body(body, key, message_id=message_id)

    async def dead(self) -> tuple[bytes, str]:
        """
        The next dead letter and its reason.
        """
        graves = await eventually(self._graves, "the dead letters' queue")
        assert graves is not None
        try:
            letter = await graves.next()
        finally:
            await graves.close()
        return letter.body, letter.headers["x-reason"]

    async def _graves(self) -> Consumer | None:
        try:
            return await Consumer.of_queue(self.url, "discord_events.dead")
        except Exception:
            # Not declared yet.
            return None

    async def given_back(self, body: bytes) -> None:
        """
        The broker delivers it again.
        """
        again = await self.receiver.next()
        assert (again.body, again.redelivered) == (body, True)
        again.ack(HERE)

    async def left(self, number: int) -> None:
        """
        The queue holds so many, and nobody consumes it.
        """
        channel = self._publisher.connection.channel
        declared = await within(5, "the queue", channel.queue_declare("gateway", passive=True))
        assert declared.method.consumer_count == 0
        assert declared.method.message_count == number


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
@pytest_twisted.ensureDeferred
async def test_contract(
    behaviour: Behaviour, rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    Every behaviour of a source.
    """
    receiver = Recorder()
    bench = RabbitBench(await source(rabbitmq.url, receiver), receiver, await publisher(rabbitmq))
    bench.url = rabbitmq.url
    await within(20, behaviour.__name__, behaviour(bench))
