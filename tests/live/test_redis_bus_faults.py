"""
Tests for L{gatewayd.bus.redis} with a Redis, or a network, that fails in every way they do.

Mostly they have one form: three instances, two of which publish without a pause; something is
broken and mended; and in the end every listener has heard every event once, in one order.
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from gatewayd.bus.roster import RedisRoster
from gatewayd.bus.scripts import Keys
from gatewayd.errors import Stopped
from tests.contracts.event_bus import event, events
from tests.live.brokers import Redis
from tests.live.faults import FaultProxy
from tests.live.processes import free_port
from tests.live.test_redis_bus import (
    CHANNEL,
    LOG,
    Cluster,
    Fork,
    Hasty,
    Instance,
    Witness,
    bus_at,
    dismissed,
    operator,
    well,
)
from tests.live.waiting import eventually, reactor, started, together, within

NewRedis = Callable[..., Awaitable[Redis]]
NewProxy = Callable[[Any], FaultProxy]


@pytest_twisted.async_yield_fixture
async def cluster(new_redis: object, proxy: object) -> AsyncIterator[Cluster]:
    """
    An empty one.
    """
    made = Cluster()
    yield made
    await made.stop()


async def loaded(
    cluster: Cluster, port: int, third: Any = None, reminds: bool = True
) -> list[Instance]:
    """
    Three instances in C{cluster}, of which two publish.

    @param third: how the last one, which does not, comes to Redis, if not by its C{port}.
    @param reminds: see L{Load}.
    """
    instances = [await cluster.join(way) for way in (port, port, third or port)]
    for each in instances[:2]:
        each.load.reminds = reminds
        each.load.start()
    await together(*(each.load.more(3) for each in instances[:2]))
    return instances


async def more(instances: list[Instance], batches: int = 5) -> None:
    """
    Wait for those that publish to publish more.
    """
    await together(*(each.load.more(batches) for each in instances if each.load.sent))


async def troubled(*instances: Instance, why: str = "") -> None:
    """
    Wait until they all say that they cannot work, and that this is C{why}.
    """
    for each in instances:
        await _troubled(each.bus.status, why)


async def _troubled(status: Callable[[], dict[str, Any]], why: str) -> None:
    what = f"the bus to say {why!r}, and not {status()}"
    await eventually(lambda: status()["status"] == "connecting" and why in status()["error"], what)


# ------------------------------------------------------------------------- a Redis that ends


@pytest_twisted.ensureDeferred
async def test_redis_comes_later(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    Started without a Redis, buses say so, take what is to be published, and go on from there
    when there is one.
    """
    redis = await new_redis()
    await redis.kill()
    three = [await cluster.join(redis.port, filled=False) for _ in range(3)]
    for each in three[:2]:
        each.load.start()
    await troubled(*three, why="refused")
    assert not await three[0].bus.tell("news", b"")
    roster = RedisRoster(reactor, three[0].bus.commands, Keys(CHANNEL))
    await roster.announce({"instance": "i0"})
    assert await roster.rows() == []
    assert not three[0].load.answers
    await redis.start()
    await more(three)
    await cluster.well()
    await cluster.heard_all()


@pytest_twisted.ensureDeferred
async def test_killed_and_restarted(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    A Redis that keeps its data can be killed and restarted under load, again and again.
    """
    redis = await new_redis(persistent=True)
    three = await loaded(cluster, redis.port)
    for _ in range(2):
        await redis.kill()
        await troubled(*three)
        await redis.start()
        await more(three)
    await cluster.well()
    await cluster.heard_all()


@pytest_twisted.ensureDeferred
async def test_killed_and_its_data_lost(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    Where a restarted Redis has lost the log, there is a new one; everyone hears what comes, and
    is told where something may have been missed.
    """
    redis = await new_redis()
    three = await loaded(cluster, redis.port, reminds=False)
    for number in range(1, 4):
        await redis.kill()
        await troubled(*three)
        await redis.start()
        await more(three)
        for each in three:
            await each.witness.told(number + 1)
    await cluster.well()
    await cluster.told_the_truth()


@pytest_twisted.ensureDeferred
async def test_frozen(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    A Redis that stops answering is noticed, and what it had been sent before counts once when
    it goes on.
    """
    redis = await new_redis()
    three = await loaded(cluster, redis.port)
    redis.freeze()
    await troubled(*three, why="does not answer")
    redis.thaw()
    await more(three)
    await cluster.well()
    await cluster.heard_all()


# ------------------------------------------------------------------------------ the network


async def cut(bad: FaultProxy) -> None:
    """
    Reset the connection, which may be made again.
    """
    await bad.cut()


async def refuse(bad: FaultProxy) -> None:
    """
    No connection for now.
    """
    await bad.refuse()


async def stall(bad: FaultProxy) -> None:
    """
    Nothing for now, and then all of it.
    """
    bad.stall()


async def swallow(bad: FaultProxy) -> None:
    """
    A black hole.
    """
    bad.swallow()


@pytest.mark.parametrize("way", ["commands", "subscription", "both"])
@pytest.mark.parametrize("fault", [cut, refuse, stall, swallow], ids=lambda each: each.__name__)
@pytest_twisted.ensureDeferred
async def test_network(
    fault: Callable[[FaultProxy], Awaitable[None]],
    way: str,
    redis: Redis,
    proxy: NewProxy,
    cluster: Cluster,
) -> None:
    """
    One instance, which publishes, loses one connection, or the other, or both.
    """
    by_commands, by_subscription = proxy(redis), proxy(redis)
    bad = [by_commands] * (way != "subscription") + [by_subscription] * (way != "commands")
    fork = Fork(by_commands.port, by_subscription.port)
    three = await loaded(cluster, redis.port, fork)
    faulty = three[2]
    faulty.load.start()
    await faulty.load.more(2)
    before = faulty.bus.counts()["connects"]
    for each in bad:
        await fault(each)
    if fault is not cut:
        await troubled(faulty)
    await more(three[:2])
    for each in bad:
        each.forward()
    await eventually(
        lambda: faulty.bus.counts()["connects"] >= before + len(bad), "it to connect again"
    )
    await more(three)
    await cluster.well()
    await cluster.heard_all()


@pytest_twisted.ensureDeferred
async def test_what_was_missed_is_read_though_nothing_follows(
    redis: Redis, proxy: NewProxy, cluster: Cluster
) -> None:
    """
    What is published last, while a subscription is away, is heard when it is back; and so it is
    where the subscription only seems to be there.
    """
    bad = proxy(redis)
    one = await cluster.join(redis.port)
    two = await cluster.join(Fork(redis.port, bad.port))
    await bad.refuse()
    await one.bus.publish(events(3))
    bad.forward()
    await within(10, "the events", two.witness.has(3))
    assert (two.bus.counts()["gaps"], two.bus.counts()["deaf"]) == (0, 0)
    await cluster.well()
    # The connection that there is stays in the black hole.
    bad.swallow()
    bad.forward()
    await one.bus.publish(events(3))
    await within(10, "the events", two.witness.has(6))
    assert two.bus.counts()["deaf"] == 1
    assert two.witness.entries == one.witness.entries


@pytest_twisted.ensureDeferred
async def test_lost_answer(redis: Redis, proxy: NewProxy, cluster: Cluster) -> None:
    """
    A batch that Redis took, and whose answer is lost, is published again, answered as if
    nothing had happened, and heard once.
    """
    slow = proxy(redis)
    one = await cluster.join(Fork(slow.port, redis.port), clock=reactor)
    two = await cluster.join(redis.port)
    batch = [*events(2), event(ephemeral=True), *events(2)]
    slow.delay(0.3)
    publishing = started(one.bus.publish(batch))
    await eventually(lambda: redis.command("XLEN", LOG), "the batch to arrive", 5, 0.01)
    await slow.cut()
    slow.forward()
    answers = await within(10, "the answer", publishing)
    assert await redis.command("XLEN", LOG) == 4
    assert one.bus.counts()["duplicates"] == 5
    await together(one.witness.has(5), two.witness.has(5))
    assert one.witness.events == two.witness.events == batch
    assert one.witness.positions == [answer for answer in answers if answer is not None]


@pytest_twisted.ensureDeferred
async def test_slow_network(redis: Redis, proxy: NewProxy, cluster: Cluster) -> None:
    """
    A slow network is no fault: nothing is given up, and even ephemeral events are all heard.
    """
    slow = proxy(redis)
    slow.delay(0.1)
    three = await loaded(cluster, redis.port, slow.port)
    three[2].load.start()
    await more(three)
    assert [each.bus.counts()["connects"] for each in three] == [2, 2, 2]
    await cluster.heard_all(ephemeral=True)


# ------------------------------------------------------------------- a Redis that has enough


@pytest_twisted.ensureDeferred
async def test_subscriptions_killed(redis: Redis, cluster: Cluster) -> None:
    """
    What is published while an operator kills all subscriptions is read from the log.
    """
    three = await loaded(cluster, redis.port)
    for _ in range(3):
        assert await redis.command("CLIENT", "KILL", "TYPE", "pubsub") == 3
        await more(three)
        await cluster.well()
    await cluster.heard_all()


@pytest_twisted.ensureDeferred
async def test_output_buffer_overflows(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    Subscribers that Redis drops because they are too slow for it hear everything, even while
    it goes on dropping them.
    """
    redis = await new_redis()
    await redis.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 50kb 0 0")
    three = [await cluster.join(redis.port) for _ in range(3)]
    # Redis writes nothing until a script has ended, so each batch is too much.
    sent = [event(data=b"x" * 4000) for _ in range(1000)]
    for first in range(0, 1000, 100):
        await three[first // 100 % 2].bus.publish(sent[first : first + 100])
    await together(*(within(10, "all of it", each.witness.has(1000)) for each in three))
    assert all(each.witness.events == sent for each in three)
    assert all(len(each.witness.begins) == 1 for each in three)
    assert all(each.bus.counts()["connects"] > 3 for each in three)
    await redis.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
    await cluster.well()


@pytest.mark.parametrize(
    ("begin", "end", "error", "moved"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY", True),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM", False),
    ],
    ids=["readonly", "full"],
)
@pytest_twisted.ensureDeferred
async def test_refuses_to_write(
    begin: tuple[str, ...],
    end: tuple[str, ...],
    error: str,
    moved: bool,
    new_redis: NewRedis,
    cluster: Cluster,
) -> None:
    """
    While Redis refuses to write, its error is in the status, and publishing waits; where it is
    a replica now, its address is looked up again, as it may be another's.
    """
    redis = await new_redis()
    three = await loaded(cluster, redis.port)
    await redis.command(*begin)
    await troubled(*three[:2], why=error)
    before = [each.load.batches for each in three]
    await eventually(lambda: three[0].bus.status().get("error", "").startswith(error), "still so")
    assert [each.load.batches for each in three] == before
    await redis.command(*end)
    await more(three)
    await cluster.well()
    assert (three[0].bus.counts()["connects"] > 2) == moved
    await cluster.heard_all()


# ------------------------------------------------------------------------------------ logins


@pytest_twisted.ensureDeferred
async def test_password_changes(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    A password that is wrong, or missing, is what the status says until it is right; the
    password itself is told nowhere.
    """
    redis = await new_redis()
    chief = await operator(redis)
    await chief.ask("CONFIG", "SET", "requirepass", "s3cret-right")
    with capturedLogs() as logs:
        none = await cluster.join(redis.port, filled=False)
        wrong = await cluster.join(redis.port, filled=False, password="s3cret-wrong")
        right = await cluster.join(redis.port, password="s3cret-right")
        for each in (none, wrong, right):
            each.load.start()
        await troubled(none, why="NOAUTH")
        await troubled(wrong, why="WRONGPASS")
        await right.load.more()
        told = [str(each.bus.status()) for each in (right, wrong)]
        await chief.ask("CONFIG", "SET", "requirepass", "s3cret-wrong")
        await well(wrong.bus)
        await chief.ask("CONFIG", "SET", "requirepass", "")
        await well(none.bus)
        await more(cluster.instances)
        # Connections that are logged in stay so; these are asked again, and refused.
        await chief.ask("CONFIG", "SET", "requirepass", "s3cret-other")
        await chief.ask("CLIENT", "KILL", "SKIPME", "yes")
        await troubled(none, why="NOAUTH")
        await troubled(wrong, right, why="WRONGPASS")
        await chief.ask("CONFIG", "SET", "requirepass", "")
        await well(none.bus)
        await troubled(wrong, right, why="without any password configured")
        await chief.ask("CONFIG", "SET", "requirepass", "s3cret-right")
        await well(right.bus)
        await chief.ask("CONFIG", "SET", "requirepass", "s3cret-wrong")
        await cluster.well()
        await more(cluster.instances)
        await cluster.rest()
    told += [formatEvent(each) for each in logs]
    assert not [each for each in told if "s3cret" in each]
    for each in (none, wrong, right):
        assert len(each.witness.begins) == 1
    await cluster.told_the_truth()
    await dismissed(chief)


@pytest_twisted.ensureDeferred
async def test_permissions_change(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    A user without the permissions is told which; with them, all is well. So it is when they
    are taken away later.
    """
    redis = await new_redis()
    login = {"username": "gateway", "password": "p"}
    await redis.command("ACL", "SETUSER", "gateway", "on", ">p", "~*", "&*", "+@all", "-evalsha")
    one = await cluster.join(redis.port, filled=False, **login)
    one.load.start()
    await troubled(one, why="evalsha")
    await redis.command("ACL", "SETUSER", "gateway", "+evalsha", "resetchannels")
    await troubled(one, why="publish to the channel")
    assert await redis.command("EXISTS", LOG) == 0
    await redis.command("ACL", "SETUSER", "gateway", f"&{CHANNEL}")
    await one.load.more()
    await cluster.well()
    await redis.command("ACL", "SETUSER", "gateway", "resetkeys")
    await troubled(one, why="NOPERM")
    await redis.command("ACL", "SETUSER", "gateway", f"~{CHANNEL}:*")
    await one.load.more()
    await cluster.well()
    await cluster.heard_all()


# ------------------------------------------------------------------------ status, log, end


@pytest_twisted.ensureDeferred
async def test_outage_is_told_once(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    Of an outage the log has one line for each connection, however often it is tried, and one
    for its end.
    """
    redis = await new_redis()
    one = await cluster.join(redis.port)
    with capturedLogs() as logs:
        await redis.stop()
        await troubled(one, why="refused")
        other = await cluster.join(redis.port, filled=False, clock=reactor)
        await troubled(other, why="refused")
        await redis.start()
        await cluster.well()
    lines = [
        formatEvent(each)
        for each in logs
        if each.get("log_namespace", "").startswith("gatewayd.bus")
    ]
    for purpose in ("commands", "subscription"):
        ours = [line for line in lines if purpose in line]
        assert sum("well again after" in line for line in ours) == 2, lines
        assert sum("connection lost" in line for line in ours) == 1, lines
        assert sum("refused" in line for line in ours) == 2, lines
    assert all(f"127.0.0.1:{redis.port}" in line for line in lines)
    assert not any("Traceback" in line for line in lines)


@pytest_twisted.ensureDeferred
async def test_stops_whatever_happens(new_redis: NewRedis, proxy: NewProxy) -> None:
    """
    A bus stops at once: not started, just started, without a Redis, in a black hole, when
    Redis has fallen silent, and while it reads. What it was to publish fails as stopped, and
    so does the wait for it to be filled.
    """
    redis = await new_redis()
    hole = proxy(redis)
    writer = bus_at(redis.port, clock=Hasty())
    writer.start(Witness())
    await writer.filled()
    await writer.publish([event(data=b"x" * 1000) for _ in range(3000)])
    reading = bus_at(redis.port)
    hearing = Witness()
    hearing.doing = lambda entry: reading.stop()
    reading.start(hearing)
    with pytest.raises(Stopped):
        await within(5, "the filling to end", reading.filled())
    assert len(hearing.entries) == 1

    hole.swallow()
    unheard, connecting, absent, never = map(bus_at, (hole.port, redis.port, free_port(), 1))
    for each in (unheard, absent):
        each.start(Witness())
    await hole.connected(2)
    redis.freeze()
    connecting.start(Witness())
    late = [unheard, connecting, absent, writer]
    publishing = [started(each.publish(events(3))) for each in late]
    filling = [started(each.filled()) for each in late[:3]]
    await within(3, "all to stop", together(*(each.stop() for each in [*late, never, reading])))
    outcomes: list[Deferred[Any]] = [*publishing, *filling]
    for outcome in outcomes:
        with pytest.raises(Stopped):
            await within(1, "the outcome", outcome)
    with pytest.raises(Stopped):
        await never.publish(events(1))
