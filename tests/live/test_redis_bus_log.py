"""
Tests for L{gatewayd.bus.redis}: the log in a real Redis, and what others may do to it.
"""

from __future__ import annotations

import shutil
from typing import Any, AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted

from gatewayd.bus.scripts import Keys
from tests.contracts.event_bus import event, events
from tests.live.brokers import Redis
from tests.live.faults import FaultProxy
from tests.live.processes import free_port
from tests.live.test_redis_bus import (
    CHANNEL,
    LOG,
    Cluster,
    Instance,
    dismissed,
    operator,
    well,
)
from tests.live.waiting import eventually, together, within

NewRedis = Callable[..., Awaitable[Redis]]
NewProxy = Callable[[Any], FaultProxy]

KEYS = Keys(CHANNEL)


@pytest_twisted.async_yield_fixture
async def cluster(new_redis: object, proxy: object) -> AsyncIterator[Cluster]:
    """
    An empty one.
    """
    made = Cluster()
    yield made
    await made.stop()


async def joined(cluster: Cluster, *ports: int) -> list[Instance]:
    """
    Instances in C{cluster} that all have heard three events.
    """
    instances = [await cluster.join(port) for port in ports]
    await instances[0].bus.publish(events(3))
    await hear(3, *instances)
    return instances


async def hear(number: int, *instances: Instance) -> None:
    """
    Wait until each has heard so many events, in all.
    """
    await within(
        10, f"{number} events", together(*(each.witness.has(number) for each in instances))
    )


async def told(number: int, *instances: Instance) -> list[bool]:
    """
    Wait until each was told of so many beginnings; whether the last were complete.
    """
    for each in instances:
        await each.witness.told(number)
        assert len(each.witness.begins) == number
    return [each.witness.begins[-1][1] for each in instances]


# ------------------------------------------------------------------------------ it is wiped


@pytest.mark.parametrize(
    "wipe",
    [("FLUSHALL",), ("DEL", KEYS.log), ("DEL", KEYS.facts), ("HDEL", KEYS.facts, "head")],
    ids=" ".join,
)
@pytest_twisted.ensureDeferred
async def test_wiped_after_all_was_heard(
    wipe: tuple[str, ...], redis: Redis, cluster: Cluster
) -> None:
    """
    A log that is gone, or half of it, is followed by a new one, though nobody publishes; who had
    heard all is told that nothing was missed, and positions go on growing.
    """
    three = await joined(cluster, redis.port, redis.port, redis.port)
    await redis.command(*wipe)
    assert await told(2, *three) == [True, True, True]
    assert len({each.witness.begins[-1] for each in three}) == 1
    await three[1].bus.publish(events(3))
    await hear(6, *three)
    assert not any(each.witness.backwards for each in three)
    assert three[0].witness.entries == three[1].witness.entries == three[2].witness.entries
    assert await redis.command("XLEN", LOG) == 3


@pytest_twisted.ensureDeferred
async def test_wiped_while_one_is_away(redis: Redis, proxy: NewProxy, cluster: Cluster) -> None:
    """
    Of those who find a new log, only who had not heard all of the old one is told so.
    """
    bad = proxy(redis)
    one, two, away = await joined(cluster, redis.port, redis.port, bad.port)
    await bad.refuse()
    missed = await one.bus.publish(events(2))
    await hear(5, one, two)
    await redis.command("FLUSHALL")
    await one.bus.publish(events(2))
    bad.forward()
    assert await told(2, one, two, away) == [True, True, False]
    await hear(7, one, two)
    await hear(5, away)
    assert all(away.witness.was_told(position) for position in missed if position)
    assert away.witness.entries == [*one.witness.entries[:3], *one.witness.entries[5:]]


@pytest_twisted.ensureDeferred
async def test_wiped_and_found_so_by_who_missed_something(
    redis: Redis, proxy: NewProxy, cluster: Cluster
) -> None:
    """
    Who makes the new log, and does not know that there was more in the old one than it had
    heard, is told as soon as one comes back who does.
    """
    bad, worse = proxy(redis), proxy(redis)
    knows, missed = await joined(cluster, bad.port, worse.port)
    await worse.refuse()
    await knows.bus.publish(events(2))
    await hear(5, knows)
    await bad.refuse()
    await redis.command("FLUSHALL")
    worse.forward()
    assert await told(2, missed) == [True]
    await missed.bus.publish(events(2))
    await hear(5, missed)
    bad.forward()
    assert await told(3, missed) == [False]
    assert await told(2, knows) == [True]
    await hear(7, knows)
    await missed.bus.publish(events(1))
    await hear(8, knows)
    await hear(6, missed)
    assert missed.witness.entries[-3:] == knows.witness.entries[-3:]


@pytest_twisted.ensureDeferred
async def test_wiped_under_load(redis: Redis, proxy: NewProxy, cluster: Cluster) -> None:
    """
    However often the log is wiped while three publish, one of them by a slow network, everyone
    hears all but what they are told that they may have missed.
    """
    slow = proxy(redis)
    slow.delay(0.02)
    three = [await cluster.join(port) for port in (redis.port, redis.port, slow.port)]
    for each in three:
        each.load.reminds = False
        each.load.start()
    for number in range(2, 10):
        await together(*(each.load.more(2) for each in three))
        await redis.command("FLUSHALL")
        for each in three:
            await each.witness.told(number)
    await cluster.well()
    await cluster.told_the_truth()


@pytest_twisted.ensureDeferred
async def test_lost_answer_and_lost_log(redis: Redis, proxy: NewProxy, cluster: Cluster) -> None:
    """
    A batch that was heard, whose answer is lost and the log with it, is published again into
    the new log, and heard again by nobody.
    """
    slow = proxy(redis)
    one = await cluster.join(slow.port)
    two = await cluster.join(redis.port)
    batch = events(3)
    slow.delay(0.5)
    publishing = one.bus.publish(batch)
    await hear(3, two)
    await redis.command("FLUSHALL")
    await slow.cut()
    slow.forward()
    answers = await within(10, "the answer", publishing)
    assert await redis.command("XLEN", LOG) == 3
    late = await cluster.join(redis.port)
    assert late.witness.positions == answers
    last = events(1)
    await one.bus.publish(last)
    await hear(4, one, two, late)
    assert two.witness.events == late.witness.events == one.witness.events == batch + last
    assert two.bus.counts()["repeats"] == 3


@pytest_twisted.ensureDeferred
async def test_older_state(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    A Redis that comes back with an older log, as after a fail-over, does not make ids repeat:
    there is a new log.
    """
    redis = await new_redis(persistent=True)
    one, two = await joined(cluster, redis.port, redis.port)
    older = redis.directory / "older"
    shutil.copytree(redis.data, older)
    lost = await one.bus.publish(events(3))
    await hear(6, one, two)
    await redis.kill()
    redis.wipe()
    shutil.copytree(older, redis.data, dirs_exist_ok=True)
    await redis.start()
    assert await told(2, one, two) == [True, True]
    again = await two.bus.publish(events(3))
    await hear(9, one, two)
    assert min(position for position in again if position) > max(
        position for position in lost if position
    )
    assert one.witness.entries == two.witness.entries
    assert not one.witness.backwards


@pytest_twisted.ensureDeferred
async def test_older_state_that_was_written_to(
    new_redis: NewRedis, proxy: NewProxy, cluster: Cluster
) -> None:
    """
    An older log to which one who knew of nothing has added meanwhile is found out: who had
    heard what is gone from it is told that something is missing, and all agree from there.
    """
    redis = await new_redis(persistent=True)
    bad = proxy(redis)
    one, two = await joined(cluster, bad.port, bad.port)
    older = redis.directory / "older"
    shutil.copytree(redis.data, older)
    await one.bus.publish(events(3))
    await hear(6, one, two)
    await bad.refuse()
    await redis.kill()
    redis.wipe()
    shutil.copytree(older, redis.data, dirs_exist_ok=True)
    await redis.start()
    other = await cluster.join(redis.port)
    await other.bus.publish(events(3))
    await hear(6, other)
    bad.forward()
    everyone = [each.witness for each in cluster.instances]
    await eventually(lambda: all(witness.gaps for witness in everyone), "all to be told")
    await cluster.well()
    last = events(2)
    await two.bus.publish(last)
    await eventually(lambda: all(each.events[-2:] == last for each in everyone), "the last events")
    assert not any(witness.backwards for witness in everyone)


@pytest_twisted.ensureDeferred
async def test_ids_ahead_of_the_clock(redis: Redis, cluster: Cluster) -> None:
    """
    A log whose ids are ahead of the clock of Redis, which may have been put back, is followed by
    one whose ids are later still.
    """
    one, two = await joined(cluster, redis.port, redis.port)
    ahead = one.bus.head.ms + 3_600_000
    await redis.command("XADD", LOG, f"{ahead}-7", "field", "value")
    for wiped in (1, 2):
        await one.bus.publish(events(2))
        await hear(1 + 4 * wiped, one, two)
        assert one.bus.head.ms == ahead
        await redis.command("FLUSHALL")
        assert await told(wiped + 1, one, two) == [True, True]
        await two.bus.publish(events(2))
        await hear(3 + 4 * wiped, one, two)
    assert one.witness.entries == two.witness.entries
    assert not one.witness.backwards


# ---------------------------------------------------------------------------- it is trimmed


@pytest_twisted.ensureDeferred
async def test_trimmed_under_a_frozen_reader(
    redis: Redis, proxy: NewProxy, cluster: Cluster
) -> None:
    """
    Who cannot follow while the log is trimmed is told from where it is known, and hears all
    that is after it.
    """
    bad = proxy(redis)
    one, frozen = await joined(cluster, redis.port, bad.port)
    bad.stall()
    sent = events(1000)
    answers = await one.bus.publish(sent)
    needed = answers[700]
    assert needed is not None
    one.bus.trim = lambda: needed
    await one.bus.publish(events(1))
    await hear(1004, one)
    await eventually(
        lambda: frozen.bus.status()["status"] == "connecting", "the stall to be noticed"
    )
    # Whatever had been sent to it is lost, and only the log is left.
    await bad.cut()
    bad.forward()
    assert await told(2, frozen) == [False]
    begin = frozen.witness.begins[-1][0]
    assert frozen.witness.positions[2] < begin < needed
    await eventually(lambda: frozen.bus.head == one.bus.head, "all the rest")
    after = [entry for entry in one.witness.entries if entry.position and entry.position > begin]
    assert frozen.witness.entries == one.witness.entries[:3] + after
    assert len(one.witness.begins) == 1


@pytest_twisted.ensureDeferred
async def test_trimming_what_was_heard(redis: Redis, proxy: NewProxy, cluster: Cluster) -> None:
    """
    A log of which only that is gone which a reader has heard already makes it miss nothing.
    """
    bad = proxy(redis)
    one, away = await joined(cluster, redis.port, bad.port)
    await one.bus.publish(events(500))
    await hear(503, one, away)
    await bad.refuse()
    head = one.bus.head
    one.bus.trim = lambda: head
    await one.bus.publish(events(50))
    assert await redis.command("XLEN", LOG) < 400
    bad.forward()
    await hear(553, one, away)
    assert away.witness.entries == one.witness.entries
    assert len(away.witness.begins) == 1


@pytest_twisted.ensureDeferred
async def test_never_longer_than_it_may_be(redis: Redis, cluster: Cluster) -> None:
    """
    The log holds no more entries than it may, whatever its instances say they need, but for
    part of a node of the stream; who hears them as they come misses none.
    """
    one, two = [await cluster.join(redis.port, max_length=300) for _ in range(2)]
    for _ in range(10):
        await one.bus.publish(events(150))
        assert await redis.command("XLEN", LOG) <= 400
    await hear(1500, one, two)
    assert two.witness.entries == one.witness.entries
    late = await cluster.join(redis.port)
    assert 300 <= len(late.witness.entries) <= 400
    assert late.witness.entries == one.witness.entries[-len(late.witness.entries) :]
    assert late.witness.begins == [(one.witness.positions[-len(late.witness.entries) - 1], True)]


# --------------------------------------------------------------------- others write to it


@pytest_twisted.ensureDeferred
async def test_garbage_on_the_channel(redis: Redis, cluster: Cluster) -> None:
    """
    Whatever others say on the channel is counted and ignored, and costs nobody an event.
    """
    one, two = await joined(cluster, redis.port, redis.port)
    head = str(one.bus.head)
    nonsense: list[str | bytes] = [
        "",
        "123",
        b"\xff\xfe \x00 \xf0",
        "hello world, this is",
        "- - -",
        "- 1-1 {}\n",
        "1-1 1-1 []\n",
        f"- {head} [\n{{}}",
        f"- {head} {'[' * 100_000}\n",
        f"{10**20}-0 {head} []\n",
        "!",
        "!? \n",
        "!\n!",
        "x" * 2_000_000,
    ]
    chief = await operator(redis)
    for each in nonsense:
        assert await chief.ask("PUBLISH", CHANNEL, each) == 2
    # A word that later versions may know.
    await chief.ask("PUBLISH", CHANNEL, "!later 1 2\n3")
    await dismissed(chief)
    await one.bus.publish(events(2))
    await hear(5, one, two)
    assert two.witness.entries == one.witness.entries
    for instance in (one, two):
        assert instance.bus.counts()["undecodable"] == len(nonsense)
        assert instance.bus.counts()["connects"] == 2
        assert len(instance.witness.begins) == 1


@pytest_twisted.ensureDeferred
async def test_forged_on_the_channel(redis: Redis, cluster: Cluster) -> None:
    """
    What looks like an event on the channel and is not in the log is not heard, but for an
    ephemeral one, which never is.
    """
    one, two = await joined(cluster, redis.port, redis.port)
    head = one.bus.head
    header = '["message.create",0,[["g1"]],null,"forged"]\n{}'
    forged = [
        f"{head.ms + 1}-0 {head.ms}-5 {header}",
        f"{head.ms - 1}-0 {head.ms - 2}-0 {header}",
        f"- 1-1 {header}",
        f"- {head.ms + 10**9}-0 {header}",
    ]
    for each in forged:
        await redis.command("PUBLISH", CHANNEL, each)
        await cluster.well()
    await one.bus.publish(events(2))
    await hear(5, one, two)
    assert "forged" not in one.witness.uids + two.witness.uids
    assert two.witness.entries == one.witness.entries
    assert one.bus.counts()["foreign"] == two.bus.counts()["foreign"] > 0
    await redis.command("PUBLISH", CHANNEL, f"- {one.bus.head} {header}")
    await hear(6, one, two)


@pytest_twisted.ensureDeferred
async def test_garbage_in_the_stream(redis: Redis, cluster: Cluster) -> None:
    """
    Entries that no gateway made are no part of the log, and in nobody's way.
    """
    one, two = await joined(cluster, redis.port, redis.port)
    await redis.command("XADD", LOG, "*", "field", "value")
    await one.bus.publish(events(2))
    await redis.command("XADD", LOG, "*", "p", "-", "h", "[]", "d", "")
    chief = await operator(redis)
    await chief.ask("XADD", LOG, "*", b"\xff\xfe", b"\x00" * 1_000_000)
    await dismissed(chief)
    await two.bus.publish(events(2))
    await hear(7, one, two)
    late = await cluster.join(redis.port)
    assert late.witness.entries == one.witness.entries == two.witness.entries
    assert late.bus.counts()["foreign"] == 3
    assert [len(each.witness.begins) for each in (one, two, late)] == [1, 1, 1]
    await cluster.well()


@pytest_twisted.ensureDeferred
async def test_entry_of_a_later_version(redis: Redis, cluster: Cluster) -> None:
    """
    An entry that belongs to the log and that this version cannot read is a loss, and told as one
    to who reads it.
    """
    one, two = await joined(cluster, redis.port, redis.port)
    head = str(one.bus.head)
    place = (await redis.command("XADD", LOG, "*", "p", head, "h", '{"v": 2}', "d", "")).decode()
    await redis.command("HSET", KEYS.facts, "head", place)
    await one.bus.publish(events(2))
    assert await told(2, one, two) == [False, False]
    await hear(5, one, two)
    assert str(two.witness.begins[-1][0]) == place
    assert two.witness.entries == one.witness.entries
    await cluster.well()


@pytest.mark.parametrize("key", [KEYS.log, KEYS.facts])
@pytest_twisted.ensureDeferred
async def test_key_of_another_kind(key: str, redis: Redis, cluster: Cluster) -> None:
    """
    What has the name of the log, or of its facts, and is something else is not touched; the
    status says so, and all goes on when it is gone.
    """
    await redis.command("SET", key, "somebody else's")
    one = await cluster.join(redis.port, filled=False)
    publishing = one.bus.publish(events(3))
    await eventually(lambda: "WRONGTYPE" in one.bus.status().get("error", ""), "the reason")
    assert await redis.command("GET", key) == b"somebody else's"
    await redis.command("DEL", key)
    await within(10, "the events to be published", publishing)
    await hear(3, one)
    await redis.command("SET", key, "somebody else's")
    publishing = one.bus.publish(events(3))
    await eventually(lambda: "WRONGTYPE" in one.bus.status().get("error", ""), "the reason")
    await redis.command("DEL", key)
    await within(10, "the events to be published", publishing)
    await hear(6, one)
    await well(one.bus)


# ------------------------------------------------------------------------------ its names


@pytest_twisted.ensureDeferred
async def test_names(redis: Redis, cluster: Cluster) -> None:
    """
    The stream is the channel's name with C{:log}, and all other keys begin like it too.
    """
    await joined(cluster, redis.port)
    names = [each.decode() for each in await redis.command("KEYS", "*")]
    assert "gateway_events:log" in names
    assert all(each.startswith("gateway_events:") for each in names)
    assert await redis.command("TYPE", "gateway_events:log") == b"stream"
    assert await redis.command("PUBSUB", "CHANNELS") == [b"gateway_events"]


@pytest_twisted.ensureDeferred
async def test_redis_cluster(new_redis: NewRedis, cluster: Cluster) -> None:
    """
    With C{cluster_keys} a Redis of a cluster takes every script, though it hashes keys to
    slots; without, it does not, and the status says why.
    """
    # Of itself it would take a port that may be too high.
    gossip = "--cluster-port", str(free_port())
    redis = await new_redis(False, "--cluster-enabled", "yes", *gossip)
    await redis.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

    async def formed() -> bool:
        return b"cluster_state:ok" in await redis.command("CLUSTER", "INFO")

    await eventually(formed, "the cluster to be formed")
    one, two = [await cluster.join(redis.port, keys=Keys(CHANNEL, True)) for _ in range(2)]
    for each in (one, two):
        each.load.start()
    await together(one.load.more(), two.load.more())
    plain = await cluster.join(redis.port, filled=False)
    await eventually(lambda: "CROSSSLOT" in plain.bus.status().get("error", ""), "the reason")
    cluster.instances.remove(plain)
    await plain.bus.stop()
    await cluster.heard_all(ephemeral=True)
    names = [each.decode() for each in await redis.command("KEYS", "*gateway*")]
    assert "{gateway_events}:log" in names
    assert all(each.startswith("{gateway_events}:") for each in names)


@pytest_twisted.ensureDeferred
async def test_two_channels(redis: Redis, cluster: Cluster) -> None:
    """
    Gateways with different channels, in different databases, share a Redis and hear nothing of
    each other.
    """
    ours = [await cluster.join(redis.port, database=1) for _ in range(2)]
    theirs = [await cluster.join(redis.port, keys=Keys("other"), database=2) for _ in range(2)]
    for one, two in (ours, theirs):
        sent = events(3)
        await one.bus.publish(sent)
        await hear(3, one, two)
        assert two.witness.events == sent
    assert await redis.command("DBSIZE") == 0
    assert all(each.bus.counts()["undecodable"] == 0 for each in cluster.instances)


# ------------------------------------------------------------------------ what it remembers


@pytest_twisted.ensureDeferred
async def test_dedup_window(redis: Redis, cluster: Cluster) -> None:
    """
    A uid is remembered for the dedup window, and no longer: then it is another event's.
    """
    one = await cluster.join(redis.port, dedup_window=0.3)
    two = await cluster.join(redis.port)
    [short, long] = events(2)
    first, again = await one.bus.publish([short]), await one.bus.publish([short])
    assert first == again
    await two.bus.publish([long])
    assert 290 < await redis.command("TTL", KEYS.seen(long.uid)) <= 300
    assert 0 < await redis.command("PTTL", KEYS.seen(short.uid)) <= 1000

    async def forgotten() -> bool:
        return not await redis.command("EXISTS", KEYS.seen(short.uid))

    await eventually(forgotten, "it to be forgotten")
    later = await one.bus.publish([short])
    assert later != first
    assert await two.bus.publish([long]) != later
    await hear(3, one, two)
    assert two.witness.events == [short, long, short]


@pytest_twisted.ensureDeferred
async def test_status_tells_of_the_log(redis: Redis, cluster: Cluster) -> None:
    """
    The status has the log's head and length; before there is a connection it says so.
    """
    one, two = await joined(cluster, redis.port, redis.port)
    await two.bus.publish(events(2))
    await hear(5, one, two)
    expected = {"status": "ok", "log": {"head": str(one.witness.last), "length": 5}}
    await eventually(lambda: one.bus.status() == two.bus.status() == expected, "the length")
    waiting = await cluster.join(redis.port, filled=False)
    assert waiting.bus.status() == {
        "status": "connecting",
        "log": {"head": "0-0", "length": 0},
        "error": "not connected yet",
    }


@pytest_twisted.ensureDeferred
async def test_large_log_is_read_in_pages(redis: Redis, cluster: Cluster) -> None:
    """
    A log of many events and some very large ones is heard whole by who comes late, while more
    is published to it.
    """
    one = await cluster.join(redis.port)
    sent = [event(data=b"x" * (1_500_000 if number % 500 == 0 else 50)) for number in range(3000)]
    await one.bus.publish(sent)
    one.load.start()
    late = await cluster.join(redis.port)
    await one.load.more()
    await one.load.stop()
    await eventually(lambda: late.bus.head == one.bus.head, "all of it")
    logged = [entry for entry in one.witness.entries if entry.position]
    assert [entry for entry in late.witness.entries if entry.position] == logged
    assert [entry.event for entry in logged[:3000]] == sent
