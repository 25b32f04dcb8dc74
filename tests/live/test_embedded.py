"""
The embedded default: no RabbitMQ, no Redis, one process by itself.
"""

from __future__ import annotations

import re

import pytest_twisted

from tests.live.client import connect
from tests.live.daemon import ADMIN_TOKEN
from tests.live.fleet import Fleet

ID = re.compile(r"\d{13}-\d+")


@pytest_twisted.ensureDeferred
async def test_events_by_http(gateway: Fleet) -> None:
    """
    An event posted is answered with its id and reaches the guild's subscribers; a list is
    taken whole, in order.
    """
    one = await gateway()
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    envelope = {"event": "message.create", "guildId": "g1", "data": {"n": 1}}
    answer = await one.request("POST", "/events", token=ADMIN_TOKEN, json=envelope)
    assert answer.status == 202
    [first] = answer.json()["ids"]
    assert ID.fullmatch(first)
    message = await client.expect("message.create")
    assert (message.id, message.data) == (first, {"n": 1})

    many = [envelope | {"data": {"n": n}} for n in range(2, 50)]
    many[10] = many[10] | {"event": "typing.start"}
    answer = await one.request("POST", "/events", token=ADMIN_TOKEN, json=many)
    ids = answer.json()["ids"]
    assert ids[10] is None
    seen = [await client.next() for _ in many]
    assert [message.data["n"] for message in seen] == list(range(2, 50))
    assert [message.id for message in seen] == ids


@pytest_twisted.ensureDeferred
async def test_bad_events_are_refused_whole(gateway: Fleet) -> None:
    """
    One bad envelope in a list refuses the list, and names it; nothing is published.
    """
    one = await gateway()
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    good = {"event": "message.create", "guildId": "g1", "data": {}}
    answer = await one.request(
        "POST", "/events", token=ADMIN_TOKEN, json=[good, {"event": "x"}, good, {"guildId": []}]
    )
    assert answer.status == 400
    assert answer.headers.getRawHeaders("Content-Type") == ["application/problem+json"]
    assert [error["index"] for error in answer.json()["errors"]] == [1, 3]
    await one.request("POST", "/events", token=ADMIN_TOKEN, json=good | {"data": {"last": True}})
    assert (await client.next()).data == {"last": True}


@pytest_twisted.ensureDeferred
async def test_health_misses_nothing(gateway: Fleet) -> None:
    """
    Without brokers there is nothing to be degraded about.
    """
    one = await gateway()
    health = await one.health()
    assert health["status"] == "ok"
    assert health["rabbitmq"]["status"] == health["redis"]["status"] == "none"
    for path in ("/health", "/health/live", "/health/ready"):
        assert (await one.request("GET", path)).status == 200


@pytest_twisted.ensureDeferred
async def test_resume(gateway: Fleet) -> None:
    """
    A client that comes back with the last id it has is sent what it missed, and nothing else.
    """
    one = await gateway()
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    envelope = {"event": "message.create", "guildId": "g1", "data": {}}

    async def publish(n: int, guild: str = "g1") -> None:
        body = envelope | {"data": {"n": n}, "guildId": guild}
        await one.request("POST", "/events", token=ADMIN_TOKEN, json=body)

    await publish(1)
    last = (await client.expect("message.create")).id
    await client.abort()
    for n in (2, 3):
        await publish(n)
        await publish(-n, "g2")
    again = await connect(one.ws_port)
    answer = await again.identify("alice", ["g1"], last_event_id=last)
    assert answer.data["resume"] == {"recovered": True, "replayed": 2, "resync": []}
    assert [(await again.next()).data["n"] for _ in range(2)] == [2, 3]
    await publish(4)
    assert (await again.next()).data == {"n": 4}

    lost = await connect(one.ws_port)
    answer = await lost.identify("alice", ["g1", "g2"], last_event_id="1-0")
    assert answer.data["resume"]["recovered"] is False
