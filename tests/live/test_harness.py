"""
The harness itself: its servers can be broken as promised.
"""

from __future__ import annotations

from pathlib import Path
from typing import Awaitable, Callable

import pika.exceptions
import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.protocol import Protocol

from tests.live import conftest
from tests.live.brokers import RabbitMQ, Redis
from tests.live.processes import exists
from tests.live.publisher import Consumer, Publisher
from tests.live.server import Server, ServerFailed
from tests.live.waiting import Late, Moment, reactor, within

NewRedis = Callable[..., Awaitable[Redis]]
NewRabbitMQ = Callable[[], Awaitable[RabbitMQ]]
NewPublisher = Callable[..., Awaitable[Publisher]]
NewConsumer = Callable[..., Awaitable[Consumer]]


async def dial(port: int) -> None:
    """
    Connect to a port of this machine, and hang up.
    """
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    protocol = await connectProtocol(endpoint, Protocol())
    assert protocol.transport is not None
    protocol.transport.loseConnection()


# ------------------------------------------------------------------------------------- Redis


@pytest_twisted.ensureDeferred
async def test_redis_forgets_when_killed(new_redis: NewRedis) -> None:
    """
    A killed Redis is gone, comes back on the same port, and has forgotten everything.
    """
    redis = await new_redis()
    await redis.command("SET", "key", "value")
    port, pid = redis.port, redis.pid
    await redis.kill()
    assert not exists(pid)
    with pytest.raises(Refusal):
        await within(5, "a refusal", dial(port))
    await redis.start()
    assert redis.port == port
    assert await redis.command("GET", "key") is None


@pytest_twisted.ensureDeferred
async def test_persistent_redis_remembers_until_wiped(new_redis: NewRedis) -> None:
    """
    A persistent Redis has its data after SIGKILL, and has not once it was wiped.
    """
    redis = await new_redis(persistent=True)
    await redis.command("SET", "key", "value")
    await redis.kill()
    await redis.start()
    assert await redis.command("GET", "key") == b"value"
    await redis.restart(wipe=True)
    assert await redis.command("GET", "key") is None


@pytest_twisted.ensureDeferred
async def test_frozen_redis_is_silent(new_redis: NewRedis) -> None:
    """
    A frozen Redis accepts connections and says nothing, until it is thawed.
    """
    redis = await new_redis()
    redis.freeze()
    with pytest.raises(Late):
        await redis.command("PING", timeout=0.5)
    redis.thaw()
    assert await redis.command("PING") == b"PONG"


@pytest_twisted.ensureDeferred
async def test_frozen_server_can_be_stopped_and_killed(new_redis: NewRedis) -> None:
    """
    Ending a frozen server neither hangs nor leaves it behind, be it in good order or not.
    """
    redis = await new_redis()
    pid = redis.pid
    redis.freeze()
    await redis.stop()
    assert not exists(pid)
    await redis.start()
    pid = redis.pid
    redis.freeze()
    await redis.kill()
    assert not exists(pid)


@pytest_twisted.ensureDeferred
async def test_server_that_cannot_start_says_why(new_redis: NewRedis) -> None:
    """
    A server that ends at its start is reported at once, with what it logged.
    """
    redis = await new_redis()
    await redis.kill()
    redis.options = ("--no-such-option", "1")
    with pytest.raises(ServerFailed, match="no-such-option"):
        await redis.start()


@pytest_twisted.ensureDeferred
async def test_shared_redis_is_mended_and_emptied(redis: Redis) -> None:
    """
    Starting a server that runs, frozen or not, is harmless; cleaning it leaves no data.
    """
    pid = redis.pid
    redis.freeze()
    await redis.start()
    assert redis.pid == pid
    await redis.command("XADD", "log", "*", "field", "value")
    await redis.clean()
    assert await redis.command("DBSIZE") == 0


# ---------------------------------------------------------------------------------- RabbitMQ


@pytest_twisted.ensureDeferred
async def test_rabbitmq_keeps_confirmed_messages_over_sigkill(
    rabbitmq: RabbitMQ, new_rabbitmq: NewRabbitMQ, publisher: NewPublisher
) -> None:
    """
    SIGKILL takes the Erlang machine itself; after a restart on the same port the durable queue
    still holds what was confirmed, and after a wipe it is no more. All that time another node
    on this machine runs undisturbed.
    """
    broker = await new_rabbitmq()
    assert Path(f"/proc/{broker.pid}/comm").read_text().startswith("beam")
    first = await publisher(broker)
    channel = first.connection.channel
    await channel.queue_declare("keep", durable=True)
    await channel.queue_bind("keep", first.exchange, "#")
    await first.publish("message.create", {"id": "m1"}, guildId="g1")
    port, pid = broker.port, broker.pid
    await broker.kill()
    assert not exists(pid)
    with pytest.raises(Refusal):
        await within(5, "a refusal", dial(port))
    await broker.start()
    assert broker.port == port
    assert await broker.queues() == {"keep": 1}
    await broker.restart(wipe=True)
    assert await broker.queues() == {}
    assert rabbitmq.running
    assert rabbitmq.port != broker.port


@pytest_twisted.ensureDeferred
async def test_frozen_rabbitmq_is_silent(
    new_rabbitmq: NewRabbitMQ, publisher: NewPublisher
) -> None:
    """
    A frozen RabbitMQ confirms nothing, and catches up when it is thawed.
    """
    broker = await new_rabbitmq()
    service = await publisher(broker)
    broker.freeze()
    with pytest.raises(Late):
        await service.publish("a", {}, routed=False, timeout=0.5)
    broker.thaw()
    await service.publish("b", {}, routed=False)


@pytest_twisted.ensureDeferred
async def test_publisher_is_confirmed_and_consumer_sees_the_message(
    rabbitmq: RabbitMQ, publisher: NewPublisher, consumer: NewConsumer
) -> None:
    """
    What is published arrives with its envelope, its id, and its data byte for byte.
    """
    service = await publisher(rabbitmq)
    tap = await consumer(rabbitmq, exchange=service.exchange)
    await service.publish("message.create", b'{"n":1.50 }', guildId="g1", message_id="u1")
    got = await tap.next()
    assert got.routing_key == "message.create"
    assert got.message_id == "u1"
    assert got.json() == {"event": "message.create", "guildId": "g1", "data": {"n": 1.5}}
    assert b'"data": {"n":1.50 }}' in got.body
    with pytest.raises(Late):
        await tap.next(timeout=0.2)


@pytest_twisted.ensureDeferred
async def test_consumer_of_a_queue_acknowledges(
    rabbitmq: RabbitMQ, publisher: NewPublisher, consumer: NewConsumer
) -> None:
    """
    What a consumer returned is off the queue for good, headers and all.
    """
    service = await publisher(rabbitmq)
    await service.connection.channel.queue_declare("letters", durable=True)
    await service.connection.channel.queue_bind("letters", service.exchange, "letter")
    await service.publish_body(b"not JSON", "letter", headers={"x-reason": "why"})
    reader = await consumer(rabbitmq, queue="letters")
    got = await reader.next()
    assert (got.body, got.headers, got.redelivered) == (b"not JSON", {"x-reason": "why"}, False)
    await reader.close()
    assert await rabbitmq.queues() == {"letters": 0}


@pytest_twisted.ensureDeferred
async def test_publishing_to_nobody_fails_unless_meant(
    rabbitmq: RabbitMQ, publisher: NewPublisher
) -> None:
    """
    An event that no queue took is an error, since the test would wait for it in vain.
    """
    service = await publisher(rabbitmq)
    with pytest.raises(pika.exceptions.UnroutableError):
        await service.publish("message.create", {}, guildId="g1")
    await service.publish("message.create", {}, guildId="g1", routed=False)


@pytest_twisted.ensureDeferred
async def test_operator_closes_connections(rabbitmq: RabbitMQ, publisher: NewPublisher) -> None:
    """
    All clients are disconnected when an operator says so.
    """
    service = await publisher(rabbitmq)
    closed: Moment[object] = Moment()
    service.connection.channel.on_closed.addBoth(closed.now)
    assert await rabbitmq.connections() == 1
    await rabbitmq.close_connections("maintenance")
    await within(5, "the publisher to be disconnected", closed.wait())


@pytest_twisted.ensureDeferred
async def test_operator_deletes_a_queue(
    rabbitmq: RabbitMQ, publisher: NewPublisher, consumer: NewConsumer
) -> None:
    """
    A queue can be deleted under its consumer, who is told.
    """
    service = await publisher(rabbitmq)
    await service.connection.channel.queue_declare("doomed")
    reader = await consumer(rabbitmq, queue="doomed")
    await rabbitmq.delete_queue("doomed")
    assert await rabbitmq.queues() == {}
    with pytest.raises(pika.exceptions.ConsumerCancelled):
        await reader.next()


@pytest_twisted.ensureDeferred
async def test_memory_alarm_blocks_publishers(rabbitmq: RabbitMQ, publisher: NewPublisher) -> None:
    """
    Under the memory alarm nothing is confirmed; once it is cleared, all is.
    """
    service = await publisher(rabbitmq)
    await rabbitmq.block_publishers()
    try:
        with pytest.raises(Late):
            await service.publish("a", {}, routed=False, timeout=0.5)
    finally:
        await rabbitmq.unblock_publishers()
    await service.publish("b", {}, routed=False)


@pytest_twisted.ensureDeferred
async def test_shared_rabbitmq_is_emptied(rabbitmq: RabbitMQ, publisher: NewPublisher) -> None:
    """
    Cleaning leaves neither queues nor exchanges, of whatever kind the exchange was.
    """
    service = await publisher(rabbitmq)
    channel = service.connection.channel
    await channel.exchange_declare("other", "fanout", durable=True)
    await channel.queue_declare("queue", durable=True)
    await rabbitmq.clean()
    assert await rabbitmq.queues() == {}
    await channel.exchange_declare("other", "direct", passive=False)


@pytest_twisted.ensureDeferred
async def test_failed_command_says_what_rabbitmqctl_said(rabbitmq: RabbitMQ) -> None:
    """
    A rabbitmqctl that fails is an error, with its words.
    """
    with pytest.raises(ServerFailed, match="no_such_queue"):
        await rabbitmq.ctl("delete_queue", "no_such_queue")


def test_absent_server_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server that is not installed skips the test and says what to install, or fails it where
    brokers are required.
    """

    class Nothing(Server):
        name = "nothing-server"

        @classmethod
        def missing(cls) -> str | None:
            return "apt-get install nothing-server"

    monkeypatch.delenv("GATEWAYD_REQUIRE_BROKERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install nothing-server"):
        conftest.need(Nothing)
    assert conftest.absent == {
        "nothing-server is not installed; run: apt-get install nothing-server"
    }
    conftest.absent.clear()
    monkeypatch.setenv("GATEWAYD_REQUIRE_BROKERS", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install nothing-server"):
        conftest.need(Nothing)
