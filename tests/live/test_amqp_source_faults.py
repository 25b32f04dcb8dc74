"""
RabbitSource with a RabbitMQ, a network or an operator that gets in its way.
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Awaitable, Callable, Iterator, Sequence

import pytest_twisted
from pika.exceptions import UnroutableError
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent

from gatewayd.source.amqp import RabbitSource
from tests.contracts.event_source import HERE, Recorder
from tests.live.brokers import RabbitMQ
from tests.live.faults import FaultProxy
from tests.live.publisher import EXCHANGE, Publisher
from tests.live.test_amqp_source import (
    Record,
    Sources,
    Taker,
    Traffic,
    down,
    left,
    rabbit_source,
    up,
)
from tests.live.waiting import eventually, started, together, within

NewPublisher = Callable[..., Awaitable[Publisher]]
NewProxy = Callable[[Any], FaultProxy]


@pytest_twisted.async_yield_fixture
async def source(new_rabbitmq: object, proxy: object) -> AsyncIterator[Sources]:
    """
    None yet.
    """
    made = Sources()
    yield made
    await made.stop()


def lines(logs: Sequence[LogEvent]) -> Iterator[str]:
    """
    Of what was logged, that which a source said and an operator reads.
    """
    for each in logs:
        ours = each.get("log_namespace", "").startswith("gatewayd.")
        if ours and each["log_level"] >= LogLevel.info:
            line = formatEvent(each)
            assert "\n" not in line
            yield line


async def connected_again(source: RabbitSource, times: int) -> None:
    """
    Wait until it has connected so many times.
    """
    await eventually(lambda: source.counts.connects == times, f"connection {times}", 30)
    await up(source)


# ---------------------------------------------------------------------------- it goes, and comes


@pytest_twisted.ensureDeferred
async def test_broker_comes_later(rabbitmq: RabbitMQ, proxy: NewProxy, source: Sources) -> None:
    """
    Without a broker a source says so, and consumes when there is one; the log has a line for
    the outage and one for its end, however often it was tried.
    """
    bad = proxy(rabbitmq)
    await bad.refuse()
    record = Record()
    with capturedLogs() as logs:
        here = await source(bad.url, Taker(record), ready=False)
        assert here.status()["error"] == "not connected yet"
        why = await down(here, "nothing listens there")
        bad.swallow()
        other = await source(bad.url, Recorder(), ready=False, handshake=0.3)
        await down(other, "accepted the connection and then said nothing", 5)
        await other.stop()
        bad.forward()
        await bad.cut()
        traffic = Traffic(rabbitmq.url)
        await up(here)
        await traffic.more()
        await traffic.all_taken(record)
    assert "is RabbitMQ running" in why
    ours = list(lines(logs))
    assert sum("nothing listens" in line for line in ours) == 1, ours
    assert sum("is back after" in line for line in ours) == 1, ours
    assert "error" not in here.status()
    assert not record.twice()


@pytest_twisted.ensureDeferred
async def test_killed_and_restarted(rabbitmq: RabbitMQ, source: Sources) -> None:
    """
    Of what was confirmed to its publisher, nothing is lost with a broker that is killed under
    load and restarted; and what is delivered twice says so.
    """
    record = Record()
    first = await source(rabbitmq.url, Taker(record), instance="one")
    second = await source(rabbitmq.url, Taker(record), instance="two")
    traffic = Traffic(rabbitmq.url)
    await traffic.more()
    await rabbitmq.kill()
    await down(first, "")
    await down(second, "")
    await rabbitmq.start()
    await together(up(first), up(second))
    await traffic.more()
    await traffic.all_taken(record)
    await together(first.stop(), second.stop())
    assert (await rabbitmq.queues())["gateway"] == 0


@pytest_twisted.ensureDeferred
async def test_connections_closed(rabbitmq: RabbitMQ, source: Sources) -> None:
    """
    An operator who closes all connections is quoted; all goes on without a loss.
    """
    record = Record()
    with capturedLogs() as logs:
        here = await source(rabbitmq.url, Taker(record))
        traffic = Traffic(rabbitmq.url)
        await traffic.more()
        await rabbitmq.close_connections("a new disk")
        await connected_again(here, 2)
        await traffic.more()
        await traffic.all_taken(record)
    assert any("a new disk" in line for line in lines(logs))


@pytest_twisted.ensureDeferred
async def test_half_open(rabbitmq: RabbitMQ, proxy: NewProxy, source: Sources) -> None:
    """
    A connection on which nothing comes any more, not even a heartbeat, is given up; meanwhile
    another source is active, and is given what this one had not settled.
    """
    bad = proxy(rabbitmq)
    record = Record()
    lost = await source(bad.url, Taker(record, "one"), instance="one")
    traffic = Traffic(rabbitmq.url)
    await traffic.more()
    standby = await source(rabbitmq.url, Taker(record, "two"), instance="two")
    bad.swallow()
    await down(lost, "fallen silent")
    assert standby.status()["status"] == "ok"
    bad.forward()
    # Or the broker would find out no sooner than after two of its own heartbeats.
    await bad.cut()
    await record.comes_to("two")
    await up(lost)
    await traffic.more()
    await traffic.all_taken(record)


# ---------------------------------------------------------------- an operator, or another service


@pytest_twisted.ensureDeferred
async def test_queue_deleted(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    A queue that is deleted under its consumer is there again, and consumed.
    """
    service = await publisher(rabbitmq)
    receiver = Recorder()
    with capturedLogs() as logs:
        here = await source(rabbitmq.url, receiver)
        await service.publish_body(b"before", "n")
        before = await within(5, "a delivery", receiver.next())
        await rabbitmq.delete_queue("gateway")
        await connected_again(here, 2)
    assert sum("cancelled our consumer" in line for line in lines(logs)) == 1
    before.ack(HERE)
    await service.publish_body(b"after", "n")
    after = await within(5, "a delivery", receiver.next())
    assert after.body == b"after"
    after.ack(HERE)
    await here.stop()
    assert await left(service) == 0


@pytest_twisted.ensureDeferred
async def test_exchange_deleted(
    rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    An exchange that is deleted, or a binding, is declared again without anybody's doing.
    """
    service = await publisher(rabbitmq)
    receiver = Recorder()
    here = await source(rabbitmq.url, receiver, renewal=0.2)
    await service.connection.channel.exchange_delete(EXCHANGE)
    # It declares the exchange, to which nothing is bound now.
    service = await publisher(rabbitmq)

    async def routed() -> bool:
        try:
            await service.publish_body(b"{}", "n")
        except UnroutableError:
            return False
        return True

    for _ in range(2):
        await eventually(routed, "the queue to be bound")
        delivery = await within(5, "a delivery", receiver.next())
        delivery.ack(HERE)
        await service.connection.channel.queue_unbind("gateway", EXCHANGE, "#")
    assert here.counts.connects == 1


@pytest_twisted.ensureDeferred
async def test_channel_closed(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    When the broker closes the channel, here for a delivery that is not settled in time, the
    reason is told, and the message delivered again.
    """
    service = await publisher(rabbitmq)
    receiver = Recorder()
    short = "application:set_env(rabbit, consumer_timeout, 500)"
    usual = "application:set_env(rabbit, consumer_timeout, 1800000)"
    await rabbitmq.ctl("eval", f"application:set_env(rabbit, channel_tick_interval, 200), {short}.")
    try:
        with capturedLogs() as logs:
            here = await source(rabbitmq.url, receiver)
            await service.publish_body(b"slow", "n")
            first = await within(5, "a delivery", receiver.next())
            await eventually(lambda: here.counts.connects >= 2, "another connection")
            again = await within(5, "a redelivery", receiver.next())
        assert (again.body, again.redelivered) == (b"slow", True)
        first.ack(HERE)
        again.ack(HERE)
        await here.stop()
        assert await left(service) == 0
    finally:
        await rabbitmq.ctl(
            "eval", f"application:set_env(rabbit, channel_tick_interval, 60000), {usual}."
        )
    assert any("acknowledgement" in line and "(406)" in line for line in lines(logs))


@pytest_twisted.ensureDeferred
async def test_exchange_of_another_type(
    rabbitmq: RabbitMQ, proxy: NewProxy, publisher: NewPublisher, source: Sources
) -> None:
    """
    An exchange or queue that exists with other properties is named together with what to do,
    once; it is tried again, and all is well when it is gone.
    """
    service = await publisher(rabbitmq, "other")
    channel = service.connection.channel
    await channel.exchange_declare(EXCHANGE, "direct", durable=True)
    await channel.queue_declare("plain", durable=True)
    bad, worse = proxy(rabbitmq), proxy(rabbitmq)
    with capturedLogs() as logs:
        here = await source(bad.url, Recorder(), ready=False, random=lambda: 0.0)
        there = await source(
            worse.url,
            Recorder(),
            ready=False,
            random=lambda: 0.0,
            exchange="other",
            queue="plain",
        )
        why = await down(here, "PRECONDITION_FAILED")
        reason = await down(there, "PRECONDITION_FAILED")
        await eventually(lambda: min(bad.accepted, worse.accepted) >= 4, "more attempts")
        await channel.exchange_delete(EXCHANGE)
        await channel.queue_delete("plain")
        await together(up(here), up(there))
    assert "exchange 'discord_events'" in why
    assert "set [rabbitmq] exchange_type" in why
    assert "x-single-active-consumer" in reason
    assert "delete it there" in reason
    ours = list(lines(logs))
    assert sum("PRECONDITION_FAILED" in line for line in ours) == 2, ours


@pytest_twisted.ensureDeferred
async def test_login(rabbitmq: RabbitMQ, source: Sources) -> None:
    """
    A wrong password, a virtual host that is not there or not ours, and a permission that is
    missing are told apart, in one line each, without the password; and can be mended while the
    source runs.
    """
    at = f"127.0.0.1:{rabbitmq.port}"
    await rabbitmq.ctl("add_user", "service", "s3cret-old")
    with capturedLogs() as logs:
        here, wrong, lost = [
            await source(url, Recorder(), ready=False, random=lambda: 0.0)
            for url in (
                f"amqp://service:s3cret%40new@{at}/",
                f"amqp://service:s3cret-old@{at}/",
                f"amqp://guest:guest@{at}/nowhere",
            )
        ]
        told = [
            await down(here, "refused the login of user 'service'"),
            await down(wrong, "refused virtual host '/'"),
            await down(lost, "refused virtual host 'nowhere'"),
        ]
        await together(wrong.stop(), lost.stop())
        await rabbitmq.ctl("set_permissions", "service", "^$", "", "")
        await rabbitmq.ctl("change_password", "service", "s3cret@new")
        told.append(await down(here, "give user 'service' that permission"))
        await rabbitmq.ctl("set_permissions", "service", ".*", ".*", ".*")
        await up(here)
        told += [str(each.status()) for each in (here, wrong, lost)]
    ours = [line for line in lines(logs) if "No events" in line]
    assert len(ours) == 4
    assert all(at in line for line in ours)
    assert all(any(why in line for line in ours) for why in told[:4])
    assert not any("s3cret" in line for line in [*told, *map(formatEvent, logs)])


# ------------------------------------------------------------------------------ several sources


@pytest_twisted.ensureDeferred
async def test_handover(rabbitmq: RabbitMQ, proxy: NewProxy, source: Sources) -> None:
    """
    Of several sources one is active; when it stops, the next goes on where it ended, and nothing
    is delivered twice; when one is cut off, the next is given what that one had not settled,
    or had in vain, in order.
    """
    record = Record()
    bad = proxy(rabbitmq)
    one = await source(rabbitmq.url, Taker(record, "one"), instance="one")
    two = await source(bad.url, Taker(record, "two"), instance="two")
    three = await source(rabbitmq.url, Taker(record, "three"), instance="three")
    traffic = Traffic(rabbitmq.url)
    await traffic.more()
    assert {taken.who for taken in record.taken} == {"one"}
    assert [each.status()["active"] for each in (one, two, three)] == [True, None, None]
    await together(one.stop(), traffic.more(200))
    await record.comes_to("two")
    assert not record.twice()
    await traffic.more()
    await eventually(lambda: two.status()["unacked"], "something to be unsettled", every=0.001)
    bad.stall()
    await eventually(lambda: not two.status()["unacked"], "it to be settled, in vain")
    # Time enough for acks to be confirmed, if they could be.
    await traffic.more(200)
    await bad.cut()
    bad.forward()
    await record.comes_to("three")
    assert record.twice()
    await connected_again(two, 2)
    await traffic.more()
    assert record.who == "three"
    before = record.twice()
    await together(three.pause(), traffic.more())
    await record.comes_to("two")
    assert record.twice() == before
    await traffic.all_taken(record)
    order = [taken.who for taken in record.taken]
    changes = [who for who, last in zip(order, [None, *order], strict=False) if who != last]
    assert changes == ["one", "two", "three", "two"]


# ----------------------------------------------------------------------------------- its bounds


@pytest_twisted.ensureDeferred
async def test_prefetch(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    No more messages are unsettled than the prefetch; each that is settled makes room for one.
    """
    service = await publisher(rabbitmq)
    receiver = Recorder()
    here = await source(rabbitmq.url, receiver, prefetch=10)
    for number in range(30):
        await service.publish_body(b"%d" % number, "n")
    assert await left(service) == 20
    await eventually(lambda: receiver.waiting == 10, "ten deliveries")
    assert here.status()["unacked"] == 10
    held = [await receiver.next() for _ in range(10)]
    for delivery in held[2:5]:
        delivery.ack(HERE)
    await eventually(lambda: receiver.waiting == 3, "three more")
    assert await left(service) == 17
    held[0].requeue()
    await eventually(lambda: receiver.waiting == 4, "it again")
    rest = [await receiver.next() for _ in range(4)]
    assert [delivery.body for delivery in rest] == [b"10", b"11", b"12", b"0"]
    for delivery in [held[1], *held[5:], *rest]:
        delivery.ack(HERE)
    for number in range(13, 30):
        delivery = await within(5, "another", receiver.next())
        assert delivery.body == b"%d" % number
        delivery.ack(HERE)


@pytest_twisted.ensureDeferred
async def test_large_bodies(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    Bodies of a megabyte and more are delivered byte for byte, among small ones, in order.
    """
    service = await publisher(rabbitmq)
    receiver = Recorder()
    await source(rabbitmq.url, receiver)
    bodies = [b"small", bytes(range(256)) * 4096, b"", b"x" * 5_000_001, b"{}"] * 3
    await together(*(service.publish_body(body, "n") for body in bodies))
    for body in bodies:
        delivery = await within(10, "a delivery", receiver.next())
        assert delivery.body == body
        delivery.ack(HERE)


@pytest_twisted.ensureDeferred
async def test_memory_alarm(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    A broker that takes no messages, being short of memory, still gives them out, and takes
    acknowledgements.
    """
    service = await publisher(rabbitmq)
    receiver = Recorder()
    here = await source(rabbitmq.url, receiver, prefetch=10)
    await together(*(service.publish_body(b"%d" % number, "n") for number in range(50)))
    await rabbitmq.block_publishers()
    try:
        for number in range(50):
            delivery = await within(5, "a delivery", receiver.next())
            assert delivery.body == b"%d" % number
            delivery.ack(HERE)
        await here.stop()
        assert await left(service) == 0
    finally:
        await rabbitmq.unblock_publishers()


# ------------------------------------------------------------------------------------- its end


@pytest_twisted.ensureDeferred
async def test_stops_under_load(rabbitmq: RabbitMQ, source: Sources) -> None:
    """
    A source that stops while messages come has told the broker of all that was settled: its
    successor is given the rest, and nothing again.
    """
    record = Record()
    here = await source(rabbitmq.url, Taker(record, "0"))
    traffic = Traffic(rabbitmq.url)
    for number in range(1, 5):
        await traffic.more(40)
        await together(here.stop(), traffic.more(40))
        assert (here.status()["status"], here.status()["error"]) == ("connecting", "stopped")
        here = await source(rabbitmq.url, Taker(record, str(number)))
    await traffic.all_taken(record)
    assert not record.twice()
    assert {taken.who for taken in record.taken} == set("01234")


@pytest_twisted.ensureDeferred
async def test_stops_whatever_happens(
    rabbitmq: RabbitMQ, proxy: NewProxy, publisher: NewPublisher, source: Sources
) -> None:
    """
    A source stops within a few seconds: not started, just started, without a broker, in a
    black hole, in a stall with something unsettled, and already stopped.
    """
    service = await publisher(rabbitmq)
    hole, stalled, refusing = proxy(rabbitmq), proxy(rabbitmq), proxy(rabbitmq)
    hole.swallow()
    await refusing.refuse()
    receiver = Recorder()
    holding = await source(stalled.url, receiver)
    await service.publish_body(b"held", "n")
    held = await within(5, "a delivery", receiver.next())
    stalled.stall()
    held.ack(HERE)
    waiting = await source(hole.url, Recorder(), ready=False)
    refused = await source(refusing.url, Recorder(), ready=False)
    await hole.connected(1)
    await down(refused, "nothing listens")
    never = rabbit_source(rabbitmq.url)
    starting = await source(rabbitmq.url, Recorder(), ready=False)
    everyone = [holding, waiting, refused, never, starting]
    await within(8, "all to stop", together(*(started(each.stop()) for each in everyone)))
    await within(1, "a second stop", together(*(started(each.stop()) for each in everyone)))
    assert all(each.status()["error"] == "stopped" for each in everyone)
    never.start(Recorder())
    assert never.counts.connects == 0
    stalled.forward()
    await hole.cut()
    await eventually(lambda: not (hole.links or stalled.links), "their connections to be gone")
