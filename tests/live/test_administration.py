"""
What operators ask over HTTP, and are told of the whole cluster.
"""

from __future__ import annotations

import re

import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families

from tests.live.brokers import RabbitMQ, Redis
from tests.live.client import connect
from tests.live.daemon import ADMIN_TOKEN, Daemon
from tests.live.fleet import Fleet
from tests.live.test_pipeline import NewPublisher, identified
from tests.live.waiting import eventually, together


async def sees(daemon: Daemon, *names: str) -> None:
    """
    Wait until an instance shows a row of each of C{names}.
    """

    async def rows() -> bool:
        cluster = (await daemon.stats())["cluster"]
        return [row["instance"] for row in cluster] == sorted(names)

    await eventually(rows, f"{daemon.name} to see {names}", 15.0)


@pytest_twisted.ensureDeferred
async def test_sessions_of_the_cluster(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    A user's and a guild's sessions are found on every instance, whichever is asked; so are
    those that an operator disconnects.
    """
    one, two = await gateway.many(2, rabbitmq=rabbitmq, redis=redis)
    await together(sees(one, one.name, two.name), sees(two, one.name, two.name))
    phone, desktop, bob = await together(
        identified(one.ws_port, "alice", "g1", client="phone"),
        identified(two.ws_port, "alice", "g1", "g2", client="desktop"),
        identified(two.ws_port, "bob", "g1"),
    )
    for daemon in (one, two):
        found = (await daemon.request("GET", "/users/alice", token=ADMIN_TOKEN)).json()
        assert found["complete"] is True
        assert found["missing"] == []
        sessions = {session["client"]: session for session in found["sessions"]}
        assert sessions["phone"]["instance"] == one.name
        assert sessions["desktop"]["instance"] == two.name
        assert sessions["desktop"]["guildIds"] == ["g1", "g2"]
        guild = (await daemon.request("GET", "/guilds/g1", token=ADMIN_TOKEN)).json()
        assert guild["count"] == 3
    assert "token" not in str(found).lower()

    answer = await one.request("POST", "/users/alice/disconnect", token=ADMIN_TOKEN)
    assert answer.json()["disconnected"] == 2
    for client in (phone, desktop):
        assert (await client.closed).code == 4022
    assert bob.ending is None
    assert (await one.stats())["closes"]["4022"] == 1


@pytest_twisted.ensureDeferred
async def test_an_instance_that_does_not_answer_is_named(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis
) -> None:
    """
    Half an answer says so: an instance that is known and silent is named as missing.
    """
    one, two = await gateway.many(2, rabbitmq=rabbitmq, redis=redis)
    await sees(one, one.name, two.name)
    two.freeze()
    found = (await one.request("GET", "/users/alice", token=ADMIN_TOKEN)).json()
    assert (found["complete"], found["missing"]) == (False, [two.name])
    two.thaw()


@pytest_twisted.ensureDeferred
async def test_figures(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    C{/stats} and C{/metrics} tell of what has happened.
    """
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    client = await identified(one.ws_port, "alice", "g1")
    for _ in range(3):
        await service.publish("message.create", {}, guildId="g1")
        await client.expect("message.create")
    await service.publish("typing.start", {}, guildId="elsewhere")
    client.send("guild_subscribe", guildId="g9")
    await client.expect("error")
    again = await connect(one.ws_port)
    await again.identify("alice", ["g1"], last_event_id=client.received[2].id)
    again.send_binary(b"x")
    await again.closed
    stats = await one.stats()
    assert stats["events"] == {"message.create": 3, "typing.start": 1}
    assert stats["deliveries"] == 3
    assert stats["bytes"] > 100
    assert stats["denials"] == {"forbidden": 1}
    assert stats["resumes"] == {"recovered": 1, "not": 0}
    assert stats["replayed"] == 2
    assert stats["closes"] == {"4002": 1}
    assert stats["log"]["length"] == 3
    assert stats["subscriptions"] == 1
    assert stats["connections"] == {"total": 1, "identified": 1, "users": 1, "guilds": 1}
    assert 0 < stats["latency"]["p50"] <= stats["latency"]["p99"]
    assert stats["process"]["memoryBytes"] > 10_000_000
    assert stats["rabbitmq"]["status"] == stats["redis"]["status"] == "ok"

    answer = await one.request("GET", "/metrics")
    families = {each.name: each for each in text_string_to_metric_families(answer.body.decode())}
    assert families["gatewayd_deliveries"].samples[0].value == 3
    assert families["gatewayd_connections"].samples[0].value == 1
    assert all(re.match("gatewayd_|process_|python_", name) for name in families)


@pytest_twisted.ensureDeferred
async def test_only_for_the_bearer(gateway: Fleet) -> None:
    """
    Protected calls want the admin token: 401 without, 403 where none is configured, always as
    problem+json.
    """
    one = await gateway()
    bare = await gateway(config={"http": {"admin_token": None}})
    for method, path in (
        ("POST", "/events"),
        ("GET", "/users/alice"),
        ("POST", "/users/alice/disconnect"),
        ("GET", "/guilds/g1"),
        ("POST", "/drain"),
    ):
        for daemon, token, status in ((one, None, 401), (one, "wrong", 401), (bare, "x", 403)):
            answer = await daemon.request(method, path, token=token)
            assert answer.status == status, path
            assert answer.headers.getRawHeaders("Content-Type") == ["application/problem+json"]
