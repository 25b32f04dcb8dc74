"""
RabbitSource keeps the contract of sources against a real RabbitMQ, and what it adds to it.
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted

from gatewayd.source.amqp import RabbitSource
from tests.contracts.event_source import BEHAVIOURS, HERE, Behaviour, Recorder
from tests.live.brokers import RabbitMQ
from tests.live.publisher import Consumer, Publisher
from tests.live.waiting import eventually, reactor, together, within

NewSource = Callable[..., Awaitable[RabbitSource]]
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


@pytest_twisted.async_yield_fixture
async def source(new_rabbitmq: object, proxy: object) -> AsyncIterator[NewSource]:
    """
    Starts sources: C{await source(url, receiver)}, ready unless told C{ready=False}.
    """
    made: list[RabbitSource] = []

    async def new(url: str, receiver: Any, *, ready: bool = True, **options: Any) -> RabbitSource:
        made.append(rabbit_source(url, **options))
        made[-1].start(receiver)
        if ready:
            await up(made[-1])
        return made[-1]

    yield new
    await together(*(each.stop() for each in made))


async def up(source: RabbitSource, timeout: float = 20.0) -> None:
    """
    Wait until C{source} consumes.
    """
    await eventually(lambda: source.status()["status"] == "ok", "the source to consume", timeout)


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
    behaviour: Behaviour, rabbitmq: RabbitMQ, publisher: NewPublisher, source: NewSource
) -> None:
    """
    Every behaviour of a source.
    """
    receiver = Recorder()
    bench = RabbitBench(await source(rabbitmq.url, receiver), receiver, await publisher(rabbitmq))
    bench.url = rabbitmq.url
    await within(20, behaviour.__name__, behaviour(bench))
