"""
Several processes behind one port.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest_twisted
import treq
from treq.client import HTTPClient
from twisted.web.client import Agent

from tests.live.brokers import RabbitMQ, Redis
from tests.live.client import Client, connect
from tests.live.daemon import Daemon
from tests.live.fleet import Fleet
from tests.live.processes import exists, free_port
from tests.live.test_pipeline import NewPublisher
from tests.live.waiting import eventually, reactor

COUNT = 3
CONFIG = {"gateway": {"workers": COUNT, "drain_time": "1 s"}}


async def health(port: int) -> Any:
    """
    What a worker says of itself; L{None} where there is none.
    """
    try:
        client = HTTPClient(Agent(reactor, connectTimeout=2))
        return await treq.json_content(await client.get(f"http://127.0.0.1:{port}/health"))
    except Exception:
        return None


def children(pid: int) -> list[int]:
    """
    The processes that one has started.
    """
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(word) for word in listed.read().split()]


async def crew(gateway: Fleet, **options: Any) -> Daemon:
    """
    A gateway of three workers, each of which is ready.
    """
    # Its workers take the ports above its own for their operators.
    port = free_port()
    http = {"http": {"listen": f"tcp:{port}:interface=127.0.0.1"}}
    one = await gateway(until=None, config=CONFIG | http, **options)
    one.http_port = port

    async def ready() -> bool:
        found = [await health(port + number) for number in range(COUNT)]
        return all(each is not None and each["status"] == "ok" for each in found)

    await eventually(ready, "all workers to be ready", 40.0, 0.2)
    return one


@pytest_twisted.ensureDeferred
async def test_one_port(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    Clients of one port are served by all workers, and an event reaches those of each; one that
    dies is replaced, and the others' clients do not notice; all end with the one that was
    started.
    """
    one = await crew(gateway, rabbitmq=rabbitmq, redis=redis)
    clients: dict[str, Client] = {}
    for _ in range(60):
        client = await connect(one.ws_port)
        ready = await client.expect("ready")
        clients.setdefault(ready.data["instance"], client)
        if len(clients) == COUNT:
            break
    assert sorted(clients) == [f"{one.name}-{number}" for number in (1, 2, 3)]
    for name, client in clients.items():
        await client.identify(name, ["g1"])
    service = await publisher(rabbitmq)
    await service.publish("message.create", {"n": 1}, guildId="g1")
    for client in clients.values():
        await client.expect("message.create")

    before = children(one.pid)
    assert len(before) == COUNT
    names = [(await health(one.http_port + number))["instance"] for number in range(COUNT)]
    os.kill(before[0], signal.SIGKILL)

    async def replaced() -> bool:
        found = [await health(one.http_port + number) for number in range(COUNT)]
        return len(children(one.pid)) == COUNT and all(
            each is not None and each["status"] == "ok" for each in found
        )

    await eventually(lambda: not exists(before[0]), "a worker to die")
    await eventually(replaced, "the worker to be replaced", 30.0, 0.2)
    assert names == [(await health(one.http_port + number))["instance"] for number in range(COUNT)]
    assert sum(client.ending is not None for client in clients.values()) == 1

    workers = children(one.pid)
    one.signal(signal.SIGTERM)
    assert await one.wait_ended() == 0
    assert not any(map(exists, workers))
    for client in clients.values():
        assert (await client.closed).code in (1001, 1006)


@pytest_twisted.ensureDeferred
async def test_orphans(gateway: Fleet, redis: Redis) -> None:
    """
    When the one that was started is killed, its workers end by themselves.
    """
    one = await crew(gateway, redis=redis)
    workers = children(one.pid)
    os.kill(one.pid, signal.SIGKILL)
    await one.wait_ended()
    await eventually(lambda: not any(map(exists, workers)), "the workers to end", 20.0)


@pytest_twisted.ensureDeferred
async def test_port_taken(gateway: Fleet, redis: Redis) -> None:
    """
    A port that somebody has is told once, by the one that was started.
    """
    first = await gateway(redis=redis)
    listen = {"gateway": {"listen": f"tcp:{first.ws_port}:interface=127.0.0.1", "workers": 2}}
    second = await gateway(until=None, redis=redis, config=listen)
    assert await second.wait_ended() == 1
    assert second.log().count("in use") == 1
    assert "Traceback" not in second.log()


@pytest_twisted.ensureDeferred
async def test_needs_redis(gateway: Fleet) -> None:
    """
    Several workers without Redis could not hear each other: that does not start.
    """
    one = await gateway(until=None, config=CONFIG)
    assert await one.wait_ended() == 2
    assert "[redis] url" in one.log()
