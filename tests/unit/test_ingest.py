"""
From a source to the bus: in order, in batches, and every delivery settled exactly once.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.errors import BadEnvelope, Stopped
from gatewayd.ingest import BATCH, BATCH_BYTES, Ingest
from gatewayd.interfaces import IDelivery, IEventBus, IEventReceiver
from gatewayd.metrics import Metrics, value
from gatewayd.model import Position
from tests.stand_ins import RecordingBus, RecordingDelivery

MAX_BYTES = 200_000


def body(number: int = 0, size: int = 0, **fields: Any) -> bytes:
    """
    An envelope.

    @param size: bytes to make it bigger by.
    """
    data = {"n": number, "filling": "x" * size}
    return json.dumps({"event": "message.create", "guildId": "g1", "data": data} | fields).encode()


class IngestTestCase(SynchronousTestCase):
    """
    An ingest before a bus that answers when it is told to.
    """

    def setUp(self) -> None:
        """
        Make both.
        """
        self.bus = RecordingBus()
        self.metrics = Metrics()
        numbers = count(1)
        self.ingest = Ingest(
            bus=self.bus,
            metrics=self.metrics,
            wall=lambda: 1234.5,
            new_uid=lambda: f"made-{next(numbers)}",
            ephemeral=frozenset({"typing.start"}),
            max_bytes=MAX_BYTES,
        )

    def deliver(
        self, body: bytes, routing_key: str = "", message_id: str | None = None
    ) -> RecordingDelivery:
        """
        Have a source deliver one message.
        """
        delivery = RecordingDelivery(body, routing_key, message_id)
        self.ingest.delivered(delivery)
        return delivery

    @property
    def sizes(self) -> list[int]:
        """
        How many events each publish held.
        """
        return [len(batch) for batch in self.bus.batches]

    @property
    def published(self) -> list[int]:
        """
        The numbers of the events that were published, in order.
        """
        return [json.loads(event.data)["n"] for batch in self.bus.batches for event in batch]


class PublishTests(IngestTestCase):
    """
    What becomes of good messages.
    """

    def test_interfaces(self) -> None:
        """
        It is a receiver; and what stands in for its neighbours is what they are.
        """
        self.assertTrue(verifyObject(IEventReceiver, self.ingest))
        self.assertTrue(verifyObject(IEventBus, self.bus))
        self.assertTrue(verifyObject(IDelivery, RecordingDelivery(b"")))

    def test_acked_when_published(self) -> None:
        """
        A delivery is acked with its place in the log when the bus has answered, not before.
        """
        delivery = self.deliver(body())
        self.assertIsNone(delivery.fate)
        self.bus.answer()
        self.assertEqual(delivery.fate, ("ack", Position(1000, 0)))
        self.assertEqual(value(self.metrics.published), 1)

    def test_decoded(self) -> None:
        """
        The event has its name, audience and time, its data byte for byte, and the publisher's
        id or else one of its own.
        """
        self.deliver(b'{"guildId":"g1","data":{ "a" : 1.50 }}', "channel.update", "id-1")
        [[event]] = self.bus.batches
        self.assertEqual((event.name, event.audience.guilds), ("channel.update", ("g1",)))
        self.assertEqual(event.data, b'{ "a" : 1.50 }')
        self.assertEqual((event.uid, event.published), ("id-1", 1234.5))
        self.bus.answer()
        self.deliver(body())
        self.assertEqual(self.bus.batches[1][0].uid, "made-1")

    def test_ephemeral(self) -> None:
        """
        An ephemeral event is marked as such and acked with no place in the log.
        """
        delivery = self.deliver(body(event="typing.start"))
        self.assertTrue(self.bus.batches[0][0].ephemeral)
        self.bus.answer()
        self.assertEqual(delivery.fate, ("ack", None))

    def test_gathers(self) -> None:
        """
        What comes while a publish is outstanding goes together in the next, in order.
        """
        deliveries = [self.deliver(body(n)) for n in range(5)]
        self.assertEqual(self.sizes, [1])
        self.assertEqual(self.ingest.in_hand, 4)
        self.bus.answer()
        self.assertEqual(self.sizes, [1, 4])
        self.bus.answer()
        self.assertEqual(self.published, [0, 1, 2, 3, 4])
        self.assertEqual(
            [delivery.fate for delivery in deliveries],
            [("ack", Position(1000, n)) for n in range(5)],
        )
        self.assertEqual(self.ingest.in_hand, 0)

    def test_batches_are_bounded(self) -> None:
        """
        A batch holds no more than so many events, or little more than so many bytes.
        """
        for n in range(BATCH + 11):
            self.deliver(body(n))
        self.bus.answer()
        self.bus.answer()
        self.assertEqual(self.sizes, [1, BATCH, 10])
        self.bus.answer()

        self.bus.batches.clear()
        for n in range(20):
            self.deliver(body(n, size=BATCH_BYTES // 10))
        self.bus.answer()
        self.bus.answer()
        self.assertEqual(self.sizes[:2], [1, 10])
        self.assertEqual(sum(self.sizes), 20)
        self.assertEqual(self.published, list(range(20)))

    @given(st.lists(st.sampled_from(["good", "good", "bad", "answer"]), max_size=60))
    def test_any_order(self, steps: list[str]) -> None:
        """
        However messages and answers come, the good ones are published once each and in order,
        and every message is settled.
        """
        self.setUp()
        deliveries: dict[str, list[RecordingDelivery]] = {"good": [], "bad": []}
        outstanding = 0
        for step in steps:
            if step == "answer":
                if len(self.bus.batches) > outstanding:
                    outstanding += 1
                    self.bus.answer()
                continue
            number = len(deliveries["good"])
            deliveries[step].append(self.deliver(body(number) if step == "good" else b"bad"))
        while len(self.bus.batches) > outstanding:
            outstanding += 1
            self.bus.answer()
        self.assertEqual(self.published, list(range(len(deliveries["good"]))))
        for kind, fate in (("good", "ack"), ("bad", "reject")):
            self.assertEqual(
                [one.fate and one.fate[0] for one in deliveries[kind]],
                [fate] * len(deliveries[kind]),
            )


class RedeliveryTests(IngestTestCase):
    """
    Messages of a broker, which may come twice.
    """

    def given(self, receipt: str, body: bytes, message_id: str | None = None) -> RecordingDelivery:
        """
        Have a broker deliver one message.
        """
        delivery = RecordingDelivery(body, "a.key", message_id)
        delivery.receipt = receipt
        self.ingest.delivered(delivery)
        return delivery

    def test_without_id(self) -> None:
        """
        An event whose publisher gave no id has its receipt for one, and what it takes to know
        it again: who was given it, and a digest that is the same for the same message only.
        """
        self.given("c:1", body(1))
        self.given("c:2", body(1))
        self.given("d:1", body(2))
        self.bus.answer()
        events = [event for batch in self.bus.batches for event in batch]
        self.assertEqual([one.uid for one in events], ["c:1", "c:2", "d:1"])
        known = [one.provenance for one in events if one.provenance is not None]
        self.assertEqual([one.consumer for one in known], ["c", "c", "d"])
        self.assertEqual(known[0].digest, known[1].digest)
        self.assertNotEqual(known[0].digest, known[2].digest)

    def test_with_id(self) -> None:
        """
        An id of the publisher's is all that is needed.
        """
        self.given("c:1", body(), "theirs")
        [[event]] = self.bus.batches
        self.assertEqual((event.uid, event.provenance), ("theirs", None))

    def test_no_longer_live(self) -> None:
        """
        What waits and cannot be settled any more is left to be delivered again: it is not
        published, so that it does not come before what is delivered again with it.
        """
        deliveries = [self.given(f"c:{n}", body(n)) for n in range(4)]
        idle = self.ingest.idle()
        deliveries[1].live = deliveries[2].live = False
        self.bus.answer()
        self.bus.answer()
        self.assertEqual(self.published, [0, 3])
        self.assertEqual([one.fate is None for one in deliveries], [False, True, True, False])
        self.successResultOf(idle)

    def test_none_is_live(self) -> None:
        """
        Where nothing that waits is, nothing is published.
        """
        deliveries = [self.given(f"c:{n}", body(n)) for n in range(3)]
        idle = self.ingest.idle()
        deliveries[1].live = deliveries[2].live = False
        self.bus.answer()
        self.assertEqual(self.sizes, [1])
        self.successResultOf(idle)
        self.deliver(body(9))
        self.assertEqual(self.published, [0, 9])

    def test_confirmed(self) -> None:
        """
        What the broker will not deliver again is told with the next publish, once.
        """
        self.given("c:1", body(1))
        self.ingest.confirmed(["a", "b"])
        self.ingest.confirmed(["c"])
        self.given("c:2", body(2))
        self.bus.answer()
        self.bus.answer()
        self.given("c:3", body(3))
        self.assertEqual(self.bus.settled, [[], ["a", "b", "c"], []])


class RejectTests(IngestTestCase):
    """
    What becomes of bad ones.
    """

    def test_reason(self) -> None:
        """
        What can never become an event is rejected at once, with a reason for whoever published
        it.
        """
        for bad, word in (
            (b"", "JSON"),
            (b"[]", "envelope"),
            (b'{"event":"a"}', "audience"),
            (b'{"guildId":"g1"}', "name"),
            (b'{"event":"ready","guildId":"g1"}', "own word"),
            (b'{"event":"a","guildId":"g1","data":"\xff"}', "UTF-8"),
            (b'{"event":"a","guildId":"g1","data":' + b"[" * 100_000, "nested"),
            (body(size=MAX_BYTES), str(MAX_BYTES)),
        ):
            fate = self.deliver(bad).fate
            assert fate is not None
            self.assertEqual(fate[0], "reject", bad[:40])
            self.assertIn(word, fate[1])
        self.assertEqual(self.bus.batches, [])
        self.assertEqual(value(self.metrics.rejected), 8)

    def test_others_pass(self) -> None:
        """
        A bad one among good ones costs only itself.
        """
        good = [self.deliver(body(0)), self.deliver(body(1))]
        bad = self.deliver(b"{")
        good.append(self.deliver(body(2)))
        self.assertEqual((bad.fate or ("",))[0], "reject")
        self.bus.answer()
        self.bus.answer()
        self.assertEqual(self.published, [0, 1, 2])
        self.assertEqual([one.fate and one.fate[0] for one in good], ["ack"] * 3)

    def test_largest(self) -> None:
        """
        A body of exactly the limit is taken.
        """
        largest = body(size=MAX_BYTES - len(body()))
        self.assertEqual(len(largest), MAX_BYTES)
        self.deliver(largest)
        self.assertEqual(self.sizes, [1])

    def test_check(self) -> None:
        """
        A body can be looked at without being taken.
        """
        self.ingest.check(body())
        self.assertRaises(BadEnvelope, self.ingest.check, b"{}")
        self.assertRaises(BadEnvelope, self.ingest.check, body(size=MAX_BYTES))
        self.assertEqual(self.bus.batches, [])


class EndTests(IngestTestCase):
    """
    How it ends.
    """

    def test_idle(self) -> None:
        """
        It is idle when all that was delivered is settled.
        """
        self.successResultOf(self.ingest.idle())
        self.deliver(body(0))
        self.deliver(body(1))
        first, second = self.ingest.idle(), self.ingest.idle()
        self.bus.answer()
        self.assertNoResult(first)
        self.bus.answer()
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(self.ingest.idle())

    def test_stop(self) -> None:
        """
        When it is stopped, what has not been published is given back, in order, and what comes
        after is too; what is being published is acked even so.
        """
        first, *others = [self.deliver(body(n)) for n in range(3)]
        idle = self.ingest.idle()
        self.ingest.stop()
        self.assertEqual([one.fate for one in others], [("requeue",)] * 2)
        self.assertEqual(self.deliver(body(3)).fate, ("requeue",))
        self.assertEqual(self.deliver(b"{").fate, ("requeue",))
        self.assertNoResult(idle)
        self.bus.answer()
        self.assertEqual(first.fate, ("ack", Position(1000, 0)))
        self.successResultOf(idle)
        self.assertEqual(self.published, [0])

    def test_stop_when_idle(self) -> None:
        """
        To stop it when there is nothing to do, or again, is harmless.
        """
        self.ingest.stop()
        self.ingest.stop()
        self.successResultOf(self.ingest.idle())

    def test_bus_stopped(self) -> None:
        """
        Where the bus is stopped before it answers, nothing is acked: the batch and all behind
        it are given back, and whoever waits for an idle ingest waits no longer.
        """
        deliveries = [self.deliver(body(n)) for n in range(4)]
        idle = self.ingest.idle()
        self.bus.answer(Stopped("it was stopped"))
        self.assertEqual([one.fate for one in deliveries], [("requeue",)] * 4)
        self.successResultOf(idle)
        self.assertEqual(self.deliver(body(4)).fate, ("requeue",))
        self.assertEqual(value(self.metrics.published), 0)

    def test_bus_broken(self) -> None:
        """
        A bus that fails in a way that it should not loses no message either, and the log says
        so.
        """
        deliveries = [self.deliver(body(n)) for n in range(4)]
        idle = self.ingest.idle()
        self.bus.answer(ZeroDivisionError("a bug"))
        self.assertEqual([one.fate for one in deliveries], [("requeue",)] * 4)
        self.successResultOf(idle)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
