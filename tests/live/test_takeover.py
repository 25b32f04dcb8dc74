"""
From one consumer to the next: what a broker delivers again is published once, whether or not its
publisher gave it an id, and what it had not delivered yet comes after it.
"""

from __future__ import annotations

from typing import Any, Callable

import pytest
import pytest_twisted

from tests.live.brokers import RabbitMQ, Redis
from tests.live.client import Client
from tests.live.daemon import Daemon
from tests.live.faults import FaultProxy
from tests.live.fleet import Fleet
from tests.live.publisher import Publisher
from tests.live.test_pipeline import NewPublisher, identified
from tests.live.waiting import eventually

NewProxy = Callable[[Any], FaultProxy]


async def consumes(daemon: Daemon) -> None:
    """
    Wait until an instance is the one that is given the messages.
    """

    async def active() -> bool:
        return (await daemon.health())["rabbitmq"].get("active") is True

    await eventually(active, f"{daemon.name} to consume", 20.0)


async def publish(service: Publisher, *numbers: int, ids: bool) -> None:
    """
    Publish numbered events to guild C{g1}.
    """
    for n in numbers:
        message_id = f"m{n}" if ids else None
        await service.publish("message.create", {"n": n}, guildId="g1", message_id=message_id)


async def numbers(client: Client, upto: int) -> list[int]:
    """
    What the client is sent, until it is sent C{upto}.
    """
    found = [-1]
    while found[-1] != upto:
        found.append((await client.expect("message.create", 30.0)).data["n"])
    return found[1:]


@pytest.mark.parametrize("ids", [True, False], ids=["message_id", "no message_id"])
@pytest_twisted.ensureDeferred
async def test_killed_before_its_acks_arrive(
    ids: bool,
    gateway: Fleet,
    rabbitmq: RabbitMQ,
    redis: Redis,
    publisher: NewPublisher,
    proxy: NewProxy,
) -> None:
    """
    An instance that is killed when it has published and the broker does not know: the next one
    is given the same again, and the clients are not.
    """
    way = proxy(rabbitmq)
    service = await publisher(rabbitmq)
    one = await gateway(rabbitmq=way, redis=redis)
    await publish(service, 0, ids=ids)
    await consumes(one)
    two = await gateway(rabbitmq=rabbitmq, redis=redis)
    client = await identified(two.ws_port, "alice", "g1")
    way.unhear()
    await publish(service, 1, 2, 3, 3, 2, ids=ids)
    seen = [1, 2, 3] if ids else [1, 2, 3, 3, 2]
    for n in seen:
        assert (await client.expect("message.create")).data == {"n": n}
    await one.kill()
    await way.cut()
    await publish(service, 4, ids=ids)
    assert await numbers(client, 4) == [4]
    assert (await rabbitmq.queues())["gateway"] == 0


@pytest.mark.parametrize("ids", [True, False], ids=["message_id", "no message_id"])
@pytest_twisted.ensureDeferred
async def test_connection_lost_with_acks_on_their_way(
    ids: bool,
    gateway: Fleet,
    rabbitmq: RabbitMQ,
    redis: Redis,
    publisher: NewPublisher,
    proxy: NewProxy,
) -> None:
    """
    The same where the instance lives and only its connection is lost.
    """
    way = proxy(rabbitmq)
    service = await publisher(rabbitmq)
    one = await gateway(rabbitmq=way, redis=redis)
    client = await identified(one.ws_port, "alice", "g1")
    await publish(service, 0, ids=ids)
    assert await numbers(client, 0) == [0]
    way.unhear()
    await publish(service, 1, 2, 3, ids=ids)
    assert await numbers(client, 3) == [1, 2, 3]
    await way.cut()
    await publish(service, 4, ids=ids)
    assert await numbers(client, 4) == [4]


@pytest_twisted.ensureDeferred
async def test_stopped_under_load(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    The consuming instance stops in good order while events are published: the next goes on
    where it ended, in order, nothing left out and nothing twice.
    """
    service = await publisher(rabbitmq)
    config = {"gateway": {"drain_time": "1 s"}}
    one = await gateway(rabbitmq=rabbitmq, redis=redis, config=config)
    await publish(service, 0, ids=False)
    await consumes(one)
    two = await gateway(rabbitmq=rabbitmq, redis=redis)
    client = await identified(two.ws_port, "alice", "g1")
    await publish(service, *range(1, 100), ids=False)
    stopping = one.stop()
    await publish(service, *range(100, 400), ids=False)
    await stopping
    assert await numbers(client, 399) == list(range(1, 400))
