"""
The main job, from outside: what a microservice publishes to RabbitMQ reaches exactly those
clients who may see it, on every instance, each once and in one order.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable

import pytest
import pytest_twisted

from tests.live.brokers import RabbitMQ, Redis
from tests.live.client import Client, connect
from tests.live.fleet import Fleet
from tests.live.publisher import Consumer, Publisher
from tests.live.waiting import eventually, together

NewPublisher = Callable[..., Awaitable[Publisher]]
NewConsumer = Callable[..., Awaitable[Consumer]]

NAMES = (
    *("message.create", "message.update", "message.delete", "typing.start", "presence.update"),
    *("user.update", "guild.create", "guild.update", "guild.delete", "channel.create"),
    *("channel.update", "channel.delete", "guild_member.add", "guild_member.remove"),
    *("voice.state.update", "voice.server.update"),
)


async def identified(port: int, user: str, *guilds: str, **more: Any) -> Client:
    """
    A client that is live.
    """
    client = await connect(port)
    await client.identify(user, guilds, **more)
    return client


async def barrier(publisher: Publisher, *clients: Client) -> list[list[Any]]:
    """
    Publish something that everybody of guild C{all} gets, and return what each client was
    sent before it: order is one for all, so nothing that it was to get can come later.
    """
    await publisher.publish("test.barrier", {}, guildId="all")
    found = []
    for client in clients:
        seen = []
        while (message := await client.next()).event != "test.barrier":
            if message.event != "heartbeat":
                seen.append(message)
        found.append(seen)
    return found


@pytest_twisted.ensureDeferred
async def test_exactly_the_audience(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    On two instances, an event reaches the subscribers of its guild on every device, and no
    one else; C{data} is byte for byte what was published.
    """
    one, two = await gateway.many(2, rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    phone, desktop, friend, stranger = await together(
        identified(one.ws_port, "alice", "g1", "all"),
        identified(two.ws_port, "alice", "g1", "all"),
        identified(two.ws_port, "bob", "g1", "g2", "all"),
        identified(one.ws_port, "mallory", "g2", "all"),
    )
    data = b'{"id":"m1",  "content":"h\\u00ef \xe2\x98\x83", "n": 1.0e3}'
    await service.publish("message.create", data, guildId="g1")
    seen = await barrier(service, phone, desktop, friend, stranger)
    assert [len(each) for each in seen] == [1, 1, 1, 0]
    ids = set()
    for [message] in seen[:3]:
        assert (message.event, message["guildId"]) == ("message.create", "g1")
        assert b'"data":' + data + b"}" in message.raw
        ids.add(message.id)
    assert len(ids) == 1


AUDIENCES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "guildId": ({"guildId": "g1"}, {}, "ab"),
    "guild_id": ({"guild_id": "g1"}, {}, "ab"),
    "guildIds": ({"guildIds": ["g1", "g2"]}, {}, "abc"),
    "guild_ids": ({"guild_ids": ["g1", "g2"]}, {}, "abc"),
    "userId": ({"userId": "a"}, {}, "a"),
    "userIds": ({"userIds": ["a", "c"]}, {}, "ac"),
    "user_ids": ({"user_ids": ["a", "c"]}, {}, "ac"),
    "both": ({"guildId": "g1", "userIds": ["b", "c"]}, {}, "b"),
    "excluded": ({"guildId": "g1", "excludeUserIds": ["a"]}, {}, "b"),
    "exclude_user_ids": ({"guild_id": "g1", "exclude_user_ids": ["a"]}, {}, "b"),
    "data.guildId": ({}, {"guildId": "g2"}, "bc"),
    "data.guild_id": ({}, {"guild_id": "g2"}, "bc"),
    "data.guildIds": ({}, {"guildIds": ["g1", "g2"]}, "abc"),
    "data.recipientIds": ({}, {"recipientIds": ["a", "c"]}, "ac"),
    "data.userId": ({}, {"userId": "c"}, "c"),
    "numbers": ({"guildId": 77}, {}, "c"),
}


@pytest_twisted.ensureDeferred
async def test_every_audience_form(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    Each way to say who an event is for, in both spellings, reaches just those.
    """
    one, two = await gateway.many(2, rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    clients = await together(
        identified(one.ws_port, "a", "g1", "all"),
        identified(two.ws_port, "b", "g1", "g2", "all"),
        identified(one.ws_port, "c", "g2", "77", "all"),
    )
    for form, (envelope, data, _) in AUDIENCES.items():
        await service.publish("message.create", {**data, "form": form}, **envelope)
    seen = await barrier(service, *clients)
    for user, messages in zip("abc", seen, strict=True):
        got = [message.data["form"] for message in messages]
        assert got == [form for form, (_, _, users) in AUDIENCES.items() if user in users], user


@pytest_twisted.ensureDeferred
async def test_every_name(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    All the platform's events and any other arrive under their names, whether the body or the
    routing key gives it; ephemeral ones without an id, all others with ids that only grow.
    """
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    client = await identified(one.ws_port, "alice", "g1", "all")
    names = [*NAMES, "something.else"]
    # What takes the guild away comes last, or the rest would not be seen.
    names.sort(key=lambda name: name == "guild.delete")
    for name in names:
        body = b'{"guildId": "g1", "data": {"userId": "zoe", "id": "g1"}}'
        await service.publish_body(body, name)
    [seen] = await barrier(service, client)
    events = [message for message in seen if "guildId" in message]
    assert [message.event for message in events] == names
    assert [m.event for m in events if m.id is None] == ["typing.start"]
    ids = [tuple(map(int, m.id.split("-"))) for m in events if m.id is not None]
    assert ids == sorted(set(ids))
    assert seen[-1].event == "guild_unsubscribed"
    assert seen[-1].data == {"guildId": "g1", "reason": "guild_deleted"}


@pytest_twisted.ensureDeferred
async def test_membership_moves_live_sessions(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    Whoever joins a guild hears it from that event on; whoever is removed hears that and no
    more, on every instance, and cannot come back with an older token.
    """
    one, two = await gateway.many(2, rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    phone, desktop, other = await together(
        identified(one.ws_port, "alice", "all"),
        identified(two.ws_port, "alice", "all"),
        identified(two.ws_port, "bob", "g1", "all"),
    )
    for event, data in (
        ("message.create", {"n": 1}),
        ("guild_member.add", {"userId": "alice"}),
        ("message.create", {"n": 2}),
        ("guild_member.remove", {"user": {"id": "alice"}}),
        ("message.create", {"n": 3}),
    ):
        await service.publish(event, data, guildId="g1")
    at_phone, at_desktop, at_other = await barrier(service, phone, desktop, other)
    moved = [
        *("guild_subscribed", "guild_member.add", "message.create", "guild_member.remove"),
        "guild_unsubscribed",
    ]
    assert [message.event for message in at_phone] == moved
    assert [message.event for message in at_desktop] == moved
    assert at_phone[-1].data == {"guildId": "g1", "reason": "member_removed"}
    assert [m.data["n"] for m in at_other if m.event == "message.create"] == [1, 2, 3]

    again = await connect(one.ws_port)
    answer = await again.identify("alice", ["g1", "all"])
    assert answer.data["guildIds"] == ["all"]
    assert answer.data["denied"] == [{"guildId": "g1", "reason": "revoked"}]


@pytest_twisted.ensureDeferred
async def test_one_order_for_all(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    Three instances, ten clients, two publishers at once: every client sees every event once,
    and all in the same order.
    """
    instances = await gateway.many(3, rabbitmq=rabbitmq, redis=redis)
    first, second = await publisher(rabbitmq), await publisher(rabbitmq)
    clients = await together(
        *(identified(instances[n % 3].ws_port, f"u{n}", "g1", "all") for n in range(10))
    )
    await together(
        *(
            each.publish("message.create", {"from": number, "n": n}, guildId="g1")
            for number, each in enumerate((first, second))
            for n in range(200)
        )
    )
    seen = await barrier(first, *clients)
    orders = {tuple((m.id, m.data["from"], m.data["n"]) for m in messages) for messages in seen}
    assert len(orders) == 1
    [order] = orders
    assert len(order) == 400
    for number in (0, 1):
        assert [n for _, origin, n in order if origin == number] == list(range(200))


@pytest_twisted.ensureDeferred
async def test_same_message_id_is_one_event(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    A message that a publisher sends twice with one C{message_id} is one event.
    """
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    client = await identified(one.ws_port, "alice", "g1", "all")
    for n in range(3):
        await service.publish("message.create", {"n": n}, guildId="g1", message_id="same")
    [seen] = await barrier(service, client)
    assert [message.data for message in seen] == [{"n": 0}]


@pytest_twisted.ensureDeferred
async def test_poison_is_kept_with_its_reason(
    gateway: Fleet,
    rabbitmq: RabbitMQ,
    redis: Redis,
    publisher: NewPublisher,
    consumer: NewConsumer,
) -> None:
    """
    What can become no event goes to the dead letters, each with its reason; what is published
    after it is delivered.
    """
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    client = await identified(one.ws_port, "alice", "all")
    poison = {
        b"not json": "JSON",
        b'{"event": "message.create", "data": {}}': "audience",
        b'{"event": "ready", "guildId": "g1"}': "ready",
        b'{"event": "x", "guildId": "\xff"}': "UTF-8",
    }
    for body in poison:
        await service.publish_body(body, "message.create")
    await barrier(service, client)

    async def graves() -> Consumer | None:
        try:
            return await consumer(rabbitmq, queue="discord_events.dead")
        except Exception:
            # Not declared yet.
            return None

    dead = await eventually(graves, "the dead letters' queue")
    assert dead is not None
    for body, word in poison.items():
        letter = await dead.next()
        assert letter.body == body
        assert word in letter.headers["x-reason"]
        assert letter.headers["x-routing-key"] == "message.create"
    assert (await one.stats())["rejected"] == len(poison)


@pytest_twisted.ensureDeferred
async def test_only_what_was_asked_for(
    gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    A session that names events gets those, and no others.
    """
    one = await gateway(rabbitmq=rabbitmq, redis=redis)
    service = await publisher(rabbitmq)
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1", "all"], events=["message.*", "test.*", "!message.delete"])
    for name in ("message.create", "typing.start", "message.delete", "message.update"):
        await service.publish(name, {}, guildId="g1")
    [seen] = await barrier(service, client)
    assert [message.event for message in seen] == ["message.create", "message.update"]


@pytest.mark.parametrize("exchange_type", ["topic", "fanout"])
@pytest_twisted.ensureDeferred
async def test_other_names(
    exchange_type: str, gateway: Fleet, rabbitmq: RabbitMQ, redis: Redis, publisher: NewPublisher
) -> None:
    """
    Exchange, its type, queue and channel go by the configuration.
    """
    one = await gateway(
        rabbitmq=rabbitmq,
        redis=redis,
        config={
            "rabbitmq": {"exchange": "mine", "exchange_type": exchange_type, "queue": "my queue"},
            "redis": {"channel": "my_channel", "cluster_keys": "yes"},
        },
    )
    client = await identified(one.ws_port, "alice", "g1")
    service = Publisher((await publisher(rabbitmq, "other")).connection, "mine")
    await service.publish("message.create", {"n": 1}, guildId="g1")
    assert (await client.expect("message.create")).data == {"n": 1}
    assert "my queue" in await rabbitmq.queues()
