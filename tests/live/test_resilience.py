"""
RabbitMQ or Redis that are not there: the gateway waits, tells the truth, and keeps its clients.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine

import pytest_twisted

from tests.live.brokers import RabbitMQ, Redis
from tests.live.client import connect
from tests.live.daemon import Daemon
from tests.live.fleet import Fleet
from tests.live.processes import free_port
from tests.live.test_pipeline import NewPublisher, identified
from tests.live.waiting import eventually, together


async def has_status(daemon: Daemon, status: str, timeout: float = 30.0) -> Any:
    """
    Wait until C{/health} says C{status}; return all that it says.
    """

    async def says() -> Any:
        health = await daemon.health()
        return health if health["status"] == status else None

    return await eventually(says, f"{daemon.name} to be {status}", timeout)


@pytest_twisted.ensureDeferred
async def test_neither_is_there(gateway: Fleet) -> None:
    """
    With neither broker to be had it starts, lets clients in, and says what is missing.
    """
    one = await gateway(
        rabbitmq=f"amqp://guest:secret-word@127.0.0.1:{free_port()}/",
        redis=f"redis://:secret-word@127.0.0.1:{free_port()}/0",
        until="live",
    )
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    answer = await one.request("GET", "/health")
    health = answer.json()
    assert (answer.status, health["status"]) == (200, "degraded")
    for upstream in ("rabbitmq", "redis"):
        assert health[upstream]["status"] == "connecting"
        assert health[upstream]["error"]
    ready = await one.request("GET", "/health/ready")
    assert (ready.status, ready.json()["ready"]) == (503, False)
    assert "secret-word" not in one.log() + str(health)
    assert client.ending is None


@pytest_twisted.ensureDeferred
async def test_both_are_lost_and_found(
    gateway: Fleet,
    new_rabbitmq: Callable[[], Coroutine[Any, Any, RabbitMQ]],
    new_redis: Callable[[], Coroutine[Any, Any, Redis]],
    publisher: NewPublisher,
) -> None:
    """
    Brokers lost under a running gateway are found again; who was connected stays so, and
    gets what is published afterwards.
    """
    rabbitmq, redis = await together(new_rabbitmq(), new_redis())
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    client = await identified(one.ws_port, "alice", "g1")
    await together(rabbitmq.kill(), redis.kill())
    health = await has_status(one, "degraded")
    assert "connecting" in (health["rabbitmq"]["status"], health["redis"]["status"])
    assert (await one.request("GET", "/health/ready")).status == 503
    await together(rabbitmq.start(), redis.start())
    await has_status(one, "ok", 60)
    service = await publisher(rabbitmq)
    await service.publish("message.create", {"n": 1}, guildId="g1")
    # The new Redis has another log, of which nothing can have been missed.
    assert (await client.expect("message.create")).data == {"n": 1}


@pytest_twisted.ensureDeferred
async def test_health_goes_by_what_arrives(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    A queue that lost its binding looks well from every socket, and nothing arrives: that is
    told, and so is the end of it.
    """
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    channel = (await publisher(rabbitmq)).connection.channel
    await channel.queue_unbind("gateway", "discord_events", "#")
    health = await has_status(one, "degraded", 40)
    assert health["rabbitmq"]["status"] == health["redis"]["status"] == "ok"
    assert "no event has come through" in health["canary"]["error"]
    assert (await one.request("GET", "/health/ready")).status == 503
    await channel.queue_bind("gateway", "discord_events", "#")
    await has_status(one, "ok", 20)
