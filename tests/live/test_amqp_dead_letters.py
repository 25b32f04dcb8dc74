"""
What a RabbitSource does with messages that can never become an event, and with a RabbitMQ that
will not have them.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any, AsyncIterator, Awaitable, Callable, Sequence

import pytest
import pytest_twisted
from pika import BasicProperties
from pika.data import encode_table
from twisted.logger import LogLevel, capturedLogs
from zope.interface import implementer

from gatewayd.interfaces import IDelivery, IEventReceiver
from gatewayd.source.amqp import RabbitSource
from tests.contracts.event_source import HERE, Recorder
from tests.live.brokers import RabbitMQ
from tests.live.faults import FaultProxy
from tests.live.publisher import EXCHANGE, Publisher
from tests.live.test_amqp_source import Sources, left
from tests.live.waiting import eventually, together, within

NewPublisher = Callable[..., Awaitable[Publisher]]
NewProxy = Callable[[Any], FaultProxy]

DEAD = "discord_events.dead"


@pytest_twisted.async_yield_fixture
async def source(new_rabbitmq: object, proxy: object) -> AsyncIterator[Sources]:
    """
    None yet.
    """
    made = Sources()
    yield made
    await made.stop()


@implementer(IEventReceiver)
class Judge:
    """
    A receiver that rejects what begins with an exclamation mark, for the reason that follows
    it, and takes the rest.

    @ivar taken: the bodies of the latter.
    """

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def delivered(self, delivery: IDelivery) -> None:
        """
        See L{IEventReceiver}.
        """
        if delivery.body.startswith(b"!"):
            delivery.reject(delivery.body[1:].decode())
        else:
            self.taken.append(delivery.body)
            delivery.ack(HERE)

    def confirmed(self, receipts: Sequence[str]) -> None:
        """
        See L{IEventReceiver}.
        """

    async def takes(self, *bodies: bytes) -> None:
        """
        Wait until these are the last it has taken.
        """
        await eventually(
            lambda: self.taken[-len(bodies) :] == list(bodies), f"{bodies!r} to be taken"
        )


class Letters:
    """
    The dead letters, as a person takes them off their queue one by one.
    """

    def __init__(self, service: Publisher) -> None:
        self._channel = service.connection.channel

    async def next(self) -> tuple[Any, Any, bytes]:
        """
        The next one: how it came, its properties, and its body.
        """
        letter: tuple[Any, Any, bytes] | None
        letter = await eventually(self._get, "a dead letter", every=0.01)
        assert letter is not None
        return letter

    async def _get(self) -> tuple[Any, Any, bytes] | None:
        got = await self._channel.basic_get(DEAD, auto_ack=True)
        return None if got is None else (got[1], got[2], got[3])

    async def bodies(self, number: int) -> list[bytes]:
        """
        The bodies of the next ones.
        """
        return [(await self.next())[2] for _ in range(number)]


async def buried(source: RabbitSource, service: Publisher, number: int = 1) -> Letters:
    """
    The letters of C{source}, once so many, and all, are there.
    """
    await eventually(lambda: source.counts.rejected >= number, f"{number} dead letters")
    await eventually(lambda: source.status()["unacked"] == 0, "nothing to be left")
    return Letters(service)


class Raw(BasicProperties):  # type: ignore[misc]
    """
    Properties with a table of headers that pika would not encode.
    """

    def __init__(self, table: bytes, **properties: Any) -> None:
        super().__init__(**properties, headers={})
        self._table = table

    def encode(self) -> list[bytes]:
        """
        Called by pika.
        """
        pieces: list[bytes] = []
        encode_table(pieces, {})
        empty = b"".join(pieces)
        whole = b"".join(super().encode())
        assert whole.count(empty) == 1
        return [whole.replace(empty, struct.pack(">L", len(self._table)) + self._table)]


def entry(name: bytes, kind: bytes, value: bytes) -> bytes:
    """
    One entry of a table, as it is on the wire.
    """
    return bytes([len(name)]) + name + kind + value


async def publish(service: Publisher, body: bytes, properties: Any, key: Any = "n") -> None:
    """
    Publish to the gateway with all freedom.
    """
    publishing = service.connection.channel.basic_publish(
        EXCHANGE, key, body, properties, mandatory=True
    )
    await within(5, "the confirm", publishing)


# --------------------------------------------------------------------------- what is in them


@pytest_twisted.ensureDeferred
async def test_letter(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    A dead letter is the message as it was, with its routing key and properties, but for those
    that would harm it, and tells why, where it came from, who rejected it and when.
    """
    service = await publisher(rabbitmq)
    judge = Judge()
    here = await source(rabbitmq.url, judge, wall=lambda: 1732307000.125)
    usual = {
        "content_type": "text/plain",
        "content_encoding": "gzip",
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "m",
        "timestamp": 1732307000,
        "type": "t",
        "app_id": "a",
    }
    theirs = {"n": 1, "x-reason": "theirs", "deep": {"list": [1, "two", None, True]}}
    poison = "!not JSON: line 1\n \u2603".encode()
    properties = BasicProperties(
        **usual, headers=theirs, expiration="60000", user_id="guest", delivery_mode=1
    )
    await publish(service, poison, properties, "message.create")
    await service.publish_body(b"good", "n")
    await judge.takes(b"good")
    method, letter, body = await (await buried(here, service)).next()
    assert body == poison
    assert (method.routing_key, method.exchange) == ("message.create", DEAD)
    assert {name: getattr(letter, name) for name in usual} == usual
    assert (letter.expiration, letter.user_id, letter.delivery_mode) == (None, None, 2)
    assert letter.headers == {
        **theirs,
        "x-reason": "not JSON: line 1\n \u2603",
        "x-exchange": EXCHANGE,
        "x-routing-key": "message.create",
        "x-instance": "here",
        "x-time": "2024-11-22T20:23:20.125+00:00",
    }
    assert await left(service) == 0


def nested(depth: int) -> bytes:
    """
    Tables within tables.
    """
    table = b""
    for _ in range(depth):
        table = entry(b"n", b"F", struct.pack(">L", len(table)) + table)
    return table


UNREADABLE = [
    # In milliseconds; in seconds it is the year 56864.
    entry(b"at", b"T", struct.pack(">Q", 1732307000125)),
    nested(1000),
]
READABLE: list[tuple[bytes, dict[str | bytes, Any]]] = [
    (entry(b"n", b"i", struct.pack(">L", 2**32 - 1)), {"n": 2**32 - 1}),
    (entry(b"n", b"D", struct.pack(">BL", 2, 150)), {"n": Decimal("1.5")}),
    (entry(b"n", b"S", struct.pack(">L", 2) + b"\xff\xfe"), {"n": b"\xff\xfe"}),
    (entry(b"\xff\xfe", b"t", b"\x01"), {b"\xff\xfe": True}),
]


@pytest_twisted.ensureDeferred
async def test_headers_that_nobody_can_read(
    rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    Headers that pika cannot decode hold up neither their own message nor another; its dead
    letter says that it had some, and has all the rest. Other odd ones are kept as they are.
    """
    service = await publisher(rabbitmq)
    judge = Judge()
    here = await source(rabbitmq.url, judge)
    expected: list[dict[Any, Any]] = [{"x-headers": "unreadable"}] * len(UNREADABLE)
    expected += [headers for _, headers in READABLE]
    tables = UNREADABLE + [table for table, _ in READABLE]
    for number, table in enumerate(tables):
        properties = Raw(table, content_type="a/b", message_id=f"m{number}", type="t")
        await publish(service, b"!%d" % number, properties)
        await publish(service, b"%d" % number, properties)
    await judge.takes(*(b"%d" % number for number in range(len(tables))))
    letters = await buried(here, service, len(tables))
    for number, headers in enumerate(expected):
        _, letter, body = await letters.next()
        assert body == b"!%d" % number
        assert (letter.content_type, letter.type) == ("a/b", "t")
        assert letter.message_id == f"m{number}"
        assert letter.headers.pop("x-reason") == str(number)
        assert headers.items() <= letter.headers.items()
    assert (here.counts.connects, here.counts.redelivered) == (1, 0)


@pytest_twisted.ensureDeferred
async def test_headers_that_are_too_many(
    rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    Headers that fit into a frame, but not together with ours, are left out, and that is said.
    """
    service = await publisher(rabbitmq)
    here = await source(rabbitmq.url, Judge())
    many = {f"h{number}": "x" * 1000 for number in range(100)}
    await publish(service, b"!many", BasicProperties(headers=many, type="t"))
    _, letter, body = await (await buried(here, service)).next()
    assert body == b"!many"
    assert letter.headers.pop("x-headers") == "dropped"
    assert letter.headers["x-reason"] == "many"
    assert letter.type == "t"
    assert "h0" not in letter.headers


@pytest_twisted.ensureDeferred
async def test_key_that_is_not_text(
    rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    A routing key of any bytes, or of none, is kept; a reason of any length is cut.
    """
    service = await publisher(rabbitmq)
    here = await source(rabbitmq.url, Judge())
    keys = (b"\xff.\xfe", "", "k" * 255, "\u00e9" * 127)
    for number, key in enumerate(keys, 1):
        await publish(service, b"!" + b"why " * 10_000, BasicProperties(), key)
        method, letter, body = await (await buried(here, service, number)).next()
        assert method.routing_key == letter.headers["x-routing-key"] == key
        assert len(body) == 40_001
        assert letter.headers["x-reason"] == ("why " * 10_000)[:1000]


@pytest_twisted.ensureDeferred
async def test_many_and_large(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    Many dead letters, some of them large, are all there, in order, each once.
    """
    service = await publisher(rabbitmq)
    judge = Judge()
    here = await source(rabbitmq.url, judge, prefetch=300)
    bodies = [b"!%d" % number + b" " * (number % 250 == 0) * 1_000_000 for number in range(1000)]
    await together(*(service.publish_body(body, "n") for body in [*bodies, b"good"]))
    await judge.takes(b"good")
    letters = await buried(here, service, 1000)
    assert await left(service, DEAD) == 1000
    assert await letters.bodies(1000) == bodies
    assert (here.counts.rejected, here.counts.redelivered) == (1000, 0)


# ------------------------------------------------------------------------- a broker in trouble


@pytest_twisted.ensureDeferred
async def test_memory_alarm(
    rabbitmq: RabbitMQ, proxy: NewProxy, publisher: NewPublisher, source: Sources
) -> None:
    """
    While the broker takes no messages, dead letters wait, unacked, and the status says so; what
    is good goes on. They leave when it takes them, or are given to the next source when this
    one stops, which then does not connect again.
    """
    service = await publisher(rabbitmq)
    judge, receiver = Judge(), Recorder()
    way = proxy(rabbitmq)
    here = await source(way.url, judge)
    await service.publish_body(b"!before", "n")
    letters = await buried(here, service)
    assert await letters.bodies(1) == [b"!before"]
    # An alarm blocks whoever publishes, us too.
    await here.pause()
    await together(*(service.publish_body(body, "n") for body in (b"!a", b"b", b"!c", b"d")))
    await here.stop()
    await rabbitmq.block_publishers()
    try:
        with capturedLogs() as logs:
            here = await source(way.url, judge)
            await judge.takes(b"b", b"d")
            await eventually(lambda: here.status().get("blocked"), "the alarm to be told")
            await eventually(lambda: here.status().get("dead_letters") == 2, "both to wait")
            assert (here.status()["status"], here.status()["unacked"]) == ("ok", 2)
            await within(8, "the stop", here.stop())
            await way.connected(0)
            connections = way.accepted
        other = await source(rabbitmq.url, receiver)
        first, second = [await within(5, "it again", receiver.next()) for _ in range(2)]
        assert [first.body, second.body] == [b"!a", b"!c"]
        assert first.redelivered
        first.reject("a")
        await eventually(lambda: other.status().get("blocked"), "the alarm to be told")
        second.reject("c")
        assert other.status()["dead_letters"] == 2
        first.reject("but once")
    finally:
        await rabbitmq.unblock_publishers()
    await buried(other, service, 2)
    assert await letters.bodies(2) == [b"!a", b"!c"]
    assert await left(service, DEAD) == 0
    assert not {"blocked", "dead_letters", "dead_letters_error"} & other.status().keys()
    assert way.accepted == connections
    assert not [each for each in logs if each["log_level"] >= LogLevel.warn]


@pytest_twisted.ensureDeferred
async def test_connections_closed(
    rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    When all connections are closed while there are dead letters, each is there in the end, and
    is gone from the gateway's queue.
    """
    service = await publisher(rabbitmq)
    judge = Judge()
    here = await source(rabbitmq.url, judge)
    bodies = [b"!%d" % number for number in range(200)]
    await together(*(service.publish_body(body, "n") for body in bodies))
    await rabbitmq.close_connections("maintenance")
    await eventually(lambda: here.counts.connects == 2, "it to be back")
    service = await publisher(rabbitmq)
    await service.publish_body(b"good", "n")
    await judge.takes(b"good")
    letters = await buried(here, service)
    found = await letters.bodies(await left(service, DEAD))
    assert set(found) == set(bodies)
    await here.stop()
    assert await left(service) == 0


@pytest.mark.parametrize("kind", ["queue", "exchange"])
@pytest_twisted.ensureDeferred
async def test_deleted(
    kind: str, rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    Where the dead letters' queue, or exchange, is deleted between two of them, the second makes
    it anew.
    """
    service = await publisher(rabbitmq)
    here = await source(rabbitmq.url, Judge())
    await service.publish_body(b"!one", "n")
    letters = await buried(here, service)
    assert await letters.bodies(1) == [b"!one"]
    await getattr(service.connection.channel, f"{kind}_delete")(DEAD)
    await service.publish_body(b"!two", "n")
    await buried(here, service, 2)
    assert await letters.bodies(1) == [b"!two"]
    assert "dead_letters_error" not in here.status()
    assert here.counts.connects == 1


@pytest_twisted.ensureDeferred
async def test_made_by_an_operator(
    rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources
) -> None:
    """
    An exchange and a queue for the dead letters that exist with other properties serve as well.
    """
    service = await publisher(rabbitmq)
    channel = service.connection.channel
    await channel.exchange_declare(DEAD, "topic", durable=True)
    await channel.queue_declare(DEAD, durable=True, arguments={"x-max-length": 5})
    here = await source(rabbitmq.url, Judge())
    await service.publish_body(b"!one", "a.b.c")
    letters = await buried(here, service)
    assert await letters.bodies(1) == [b"!one"]


@pytest_twisted.ensureDeferred
async def test_not_permitted(rabbitmq: RabbitMQ, publisher: NewPublisher, source: Sources) -> None:
    """
    Dead letters that may not be published wait, with the reason in the status, while all else
    goes on; with the permission they leave.
    """
    service = await publisher(rabbitmq)
    judge = Judge()
    await rabbitmq.ctl("add_user", "limited", "s3cret")
    await rabbitmq.ctl("set_permissions", "limited", "^(gateway|discord_events)$", ".*", ".*")
    url = rabbitmq.url.replace("guest:guest", "limited:s3cret")
    here = await source(url, judge, random=lambda: 0.0)
    await service.publish_body(b"!bad", "n")
    await service.publish_body(b"good", "n")
    await judge.takes(b"good")
    why = await eventually(lambda: here.status().get("dead_letters_error", ""), "the reason")
    assert "ACCESS_REFUSED" in why
    assert "give user 'limited' that permission" in why
    assert (here.status()["status"], here.status()["unacked"]) == ("ok", 1)
    await rabbitmq.ctl("set_permissions", "limited", ".*", ".*", ".*")
    letters = await buried(here, service)
    assert await letters.bodies(1) == [b"!bad"]
    assert "dead_letters_error" not in here.status()


@pytest_twisted.ensureDeferred
async def test_lost_and_redelivered(
    rabbitmq: RabbitMQ, proxy: NewProxy, publisher: NewPublisher, source: Sources
) -> None:
    """
    A letter whose message the broker has taken back, since the connection it came by is gone, is
    not published: it comes again.
    """
    bad = proxy(rabbitmq)
    service = await publisher(rabbitmq)
    receiver = Recorder()
    here = await source(bad.url, receiver)
    await service.publish_body(b"one", "n")
    first = await within(5, "a delivery", receiver.next())
    bad.stall()
    first.reject("the first time")
    await bad.connected(2)
    await bad.cut()
    bad.forward()
    again = await within(10, "it again", receiver.next())
    assert (again.body, again.redelivered) == (b"one", True)
    again.reject("the second time")
    letters = await buried(here, service)
    _, letter, body = await letters.next()
    assert (body, letter.headers["x-reason"]) == (b"one", "the second time")
    assert await left(service, DEAD) == 0
