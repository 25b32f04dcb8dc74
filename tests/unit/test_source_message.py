"""
A message from RabbitMQ is settled once, and can always be made a dead letter.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis.strategies import integers, sampled_from, text
from pika.spec import BasicProperties
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.interfaces import IDelivery
from gatewayd.model import Position
from gatewayd.source.message import (
    KEPT,
    MAX_DEPTH,
    MAX_PROPERTIES,
    MAX_REASON,
    RabbitDelivery,
    epitaph,
)
from tests.unit.amqp_frames import decoded, properties, reencoded, sized, table


class Consumer:
    """
    A consumer that remembers what it was told.
    """

    id = "c1"
    usable = True

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def acked(self, tag: int) -> None:
        """
        See L{gatewayd.source.message.Settling}.
        """
        self.told.append(("acked", tag))

    def rejected(self, message: RabbitDelivery) -> None:
        """
        See L{gatewayd.source.message.Settling}.
        """
        self.told.append(("rejected", message))

    def buried(self, tag: int) -> None:
        """
        See L{gatewayd.source.message.Settling}.
        """
        self.told.append(("buried", tag))

    def requeued(self, tag: int) -> None:
        """
        See L{gatewayd.source.message.Settling}.
        """
        self.told.append(("requeued", tag))

    def stamp(self) -> dict[str, str]:
        """
        See L{gatewayd.source.message.Settling}.
        """
        return {"x-instance": "i1", "x-time": "now"}


class RabbitDeliveryTests(SynchronousTestCase):
    """
    What a message tells, and what is told of it.
    """

    def setUp(self) -> None:
        """
        A consumer to which messages come.
        """
        self.consumer = Consumer()

    def delivery(self, key: str | bytes = "message.create", **facts: Any) -> RabbitDelivery:
        """
        Message number 7, with these properties.
        """
        method = SimpleNamespace(
            routing_key=key, redelivered=False, delivery_tag=7, exchange="discord_events"
        )
        return RabbitDelivery(self.consumer, method, BasicProperties(**facts), b"{}")

    def test_is_a_delivery(self) -> None:
        """
        It provides the interface, and says what pika said.
        """
        delivery = self.delivery(message_id="m1")
        self.assertTrue(verifyObject(IDelivery, delivery))
        self.assertEqual(
            (delivery.body, delivery.routing_key, delivery.message_id, delivery.redelivered),
            (b"{}", "message.create", "m1", False),
        )
        self.assertEqual(delivery.receipt, "c1:7")
        self.assertIsNone(self.delivery().message_id)

    def test_reads_names_that_are_not_utf_8(self) -> None:
        """
        Pika gives bytes where a name is not UTF-8; they become text that shows them, for nobody
        above has a use for bytes.
        """
        delivery = self.delivery(b"caf\xe9", message_id=b"\xff1")
        self.assertEqual((delivery.routing_key, delivery.message_id), ("caf\\xe9", "\\xff1"))
        self.assertEqual(delivery.key, b"caf\xe9")

    def test_each_verb_is_carried_out(self) -> None:
        """
        The consumer is told which it was, with the message's tag.
        """
        self.delivery().ack(Position(1, 0))
        self.delivery().ack(None)
        self.delivery().requeue()
        rejected = self.delivery()
        rejected.reject("no audience")
        self.assertEqual(
            self.consumer.told,
            [("acked", 7), ("acked", 7), ("requeued", 7), ("rejected", rejected)],
        )

    def test_is_settled_once(self) -> None:
        """
        Whatever it was settled with, a second verb does nothing and changes nothing.
        """
        verbs = {
            "ack": lambda one: one.ack(None),
            "reject": lambda one: one.reject("second"),
            "requeue": lambda one: one.requeue(),
        }
        for first in verbs.values():
            delivery = self.delivery()
            first(delivery)
            headers = delivery.epitaph().headers
            self.assertEqual(len(self.consumer.told), 1)
            for second in verbs.values():
                second(delivery)
            self.assertEqual(len(self.consumer.told), 1)
            self.assertEqual(delivery.epitaph().headers, headers)
            self.consumer.told.clear()

    def test_is_wanted_while_the_consumer_is_of_use(self) -> None:
        """
        Once the broker has taken its messages back, a settlement is of no use to it.
        """
        delivery = self.delivery()
        self.assertTrue(delivery.wanted)
        self.assertTrue(delivery.live)
        self.consumer.usable = False
        self.assertFalse(delivery.wanted)
        self.assertFalse(delivery.live)

    def test_says_why_it_was_rejected(self) -> None:
        """
        The dead letter has the reason, where the message came from, and who rejected it when,
        beside its own headers.
        """
        delivery = self.delivery(b"k\xff", headers={"theirs": 1, "x-reason": "forged"})
        delivery.reject("no audience")
        self.assertEqual(
            delivery.epitaph().headers,
            {
                "theirs": 1,
                "x-reason": "no audience",
                "x-exchange": "discord_events",
                "x-routing-key": b"k\xff",
                "x-instance": "i1",
                "x-time": "now",
            },
        )
        delivery.buried()
        self.assertEqual(self.consumer.told[1:], [("buried", 7)])

    def test_a_long_reason_is_cut(self) -> None:
        """
        A reason is for a person, and all headers have to fit into a frame.
        """
        delivery = self.delivery()
        delivery.reject("x" * 100_000)
        self.assertEqual(delivery.epitaph().headers["x-reason"], "x" * MAX_REASON)


class EpitaphTests(SynchronousTestCase):
    """
    The properties of a dead letter.
    """

    def test_keeps_what_is_of_use_and_harmless(self) -> None:
        """
        It has the original's properties, but not the expiration, by which it would vanish, nor
        the user id, for which the broker would close the channel; and it is persistent.
        """
        facts = {name: name for name in KEPT} | {"priority": 3, "timestamp": 12}
        original = BasicProperties(
            **facts, expiration="1", user_id="guest", cluster_id="c", delivery_mode=1
        )
        made = epitaph(original, {})
        self.assertEqual({name: getattr(made, name) for name in KEPT}, facts)
        self.assertEqual((made.expiration, made.user_id, made.cluster_id), (None, None, None))
        self.assertEqual(made.delivery_mode, 2)

    @given(properties(), text(max_size=1000))
    def test_can_be_sent_whatever_the_original_was(self, written: bytes, reason: str) -> None:
        """
        Whatever properties pika has decoded, it can encode those of the dead letter, and who
        gets them reads our headers.
        """
        made = epitaph(decoded(written), {"x-reason": reason})
        read = reencoded(made)
        self.assertEqual(read.headers["x-reason"], reason)
        self.assertEqual(read.delivery_mode, 2)

    def test_what_cannot_be_encoded_is_told_as_text(self) -> None:
        """
        A float that pika takes for an integer of more than 64 bits, alone and within others.
        """
        large = b"d" + struct.pack(">d", 1e300)
        for value in (large, b"A" + sized(large), b"F" + table((b"k", large))):
            flags = struct.pack(">H", BasicProperties.FLAG_HEADERS)
            original = decoded(flags + table((b"bad", value), (b"good", b"t\x01")))
            read = reencoded(epitaph(original, {}))
            self.assertIn("1000000000000000", read.headers["bad"])
            self.assertIs(read.headers["good"], True)

    @given(integers(0, 2000), sampled_from([list, dict]))
    def test_what_is_nested_too_deeply_is_left_out(self, depth: int, kind: type) -> None:
        """
        A value that is nested more deeply than a person would is told of and not repeated;
        pika's recursion would end in an error at one depth of the stack and not at another.
        """
        value: Any = "core"
        for _ in range(depth):
            value = [value] if kind is list else {"k": value}
        read = epitaph(BasicProperties(headers={"deep": value}), {})
        kept = depth <= MAX_DEPTH
        self.assertEqual(read.headers["deep"] == "nested too deeply", not kept)
        self.assertLess(sum(map(len, read.encode())), MAX_PROPERTIES)

    def test_drops_headers_that_do_not_fit(self) -> None:
        """
        Where all together are too large for a frame, the original's headers go, and ours say so.
        """
        for size, kept in ((MAX_PROPERTIES // 2, True), (MAX_PROPERTIES, False)):
            original = BasicProperties(headers={"large": "x" * size}, message_id="m1")
            made = epitaph(original, {"x-reason": "why"})
            self.assertLessEqual(sum(map(len, made.encode())), MAX_PROPERTIES)
            self.assertEqual("large" in made.headers, kept)
            self.assertEqual(made.headers.get("x-headers"), None if kept else "dropped")
            self.assertEqual((made.headers["x-reason"], made.message_id), ("why", "m1"))
