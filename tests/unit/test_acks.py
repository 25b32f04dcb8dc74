"""
Batched acknowledgements never cover what is not settled, and never say anything twice.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import DataObject, data, integers
from hypothesis.strategies import sampled_from as one_of
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.source.acks import Ack, Acks


class Channel:
    """
    A broker's books of one channel, kept by AMQP's rules.
    """

    def __init__(self) -> None:
        self.unacked: list[int] = []
        self.acked: set[int] = set()
        self.frames = 0

    def hear(self, ack: Ack) -> None:
        """
        Take an ack, and fail where a broker would close the channel: for a tag it does not
        wait for.
        """
        assert ack.tag in self.unacked, f"unknown delivery tag {ack.tag}"
        self.frames += 1
        covered = [
            tag for tag in self.unacked if tag == ack.tag or (ack.multiple and tag < ack.tag)
        ]
        self.acked.update(covered)
        self.unacked = [tag for tag in self.unacked if tag not in covered]


def acks_of(number: int) -> Acks:
    """
    The given tags are 1 to C{number}.
    """
    acks = Acks()
    for tag in range(1, number + 1):
        acks.given(tag)
    return acks


class AcksTests(SynchronousTestCase):
    """
    The frames for what was settled.
    """

    def test_one_frame_for_many(self) -> None:
        """
        Settled in order, any number of deliveries is one frame.
        """
        acks = acks_of(100)
        for tag in range(1, 101):
            acks.acked(tag)
        self.assertEqual(acks.flush(), [Ack(100, True)])
        self.assertEqual((acks.unsettled, acks.fresh), (0, 0))

    def test_one_is_not_multiple(self) -> None:
        """
        A single delivery is acked alone.
        """
        acks = acks_of(2)
        acks.acked(1)
        self.assertEqual(acks.flush(), [Ack(1, False)])

    def test_order_within_a_batch_does_not_matter(self) -> None:
        """
        What is settled in any order before a flush is still one frame.
        """
        acks = acks_of(4)
        for tag in (3, 1, 2):
            acks.acked(tag)
        self.assertEqual(acks.flush(), [Ack(3, True)])

    def test_never_covers_the_unsettled(self) -> None:
        """
        Behind a delivery that is not settled, each is acked alone, and it later too.
        """
        acks = acks_of(4)
        for tag in (1, 3, 4):
            acks.acked(tag)
        self.assertEqual(acks.flush(), [Ack(1, False), Ack(3, False), Ack(4, False)])
        acks.acked(2)
        self.assertEqual(acks.flush(), [Ack(2, False)])

    def test_does_not_name_what_was_returned(self) -> None:
        """
        A frame never carries the tag of a delivery that went back, the last one included.
        """
        acks = acks_of(3)
        acks.acked(1)
        acks.acked(2)
        acks.returned(3)
        self.assertEqual(acks.flush(), [Ack(2, True)])

    def test_nothing_to_say(self) -> None:
        """
        A flush after a flush is empty, and so is one after returns only.
        """
        acks = acks_of(2)
        acks.acked(1)
        acks.flush()
        self.assertEqual(acks.flush(), [])
        acks.returned(2)
        self.assertEqual(acks.flush(), [])

    def test_settles_once(self) -> None:
        """
        A second settlement, or one of a tag never given, is refused and changes nothing.
        """
        acks = acks_of(2)
        self.assertTrue(acks.acked(1))
        self.assertFalse(acks.acked(1))
        self.assertFalse(acks.returned(1))
        self.assertFalse(acks.acked(9))
        self.assertTrue(acks.returned(2))
        self.assertFalse(acks.acked(2))
        self.assertEqual(acks.flush(), [Ack(1, False)])

    @given(data())
    def test_a_broker_never_objects(self, choice: DataObject) -> None:
        """
        Whatever is given, acked, returned and flushed in whatever order, the broker knows
        every tag it is told, and in the end has exactly the acks that were meant.
        """
        acks, broker = Acks(), Channel()
        meant: set[int] = set()
        unsettled: list[int] = []
        last = 0
        for _ in range(choice.draw(integers(0, 60))):
            action = choice.draw(one_of(["give", "ack", "ack", "return", "flush"]))
            if action == "give":
                # Tags of messages that were never handed on are left out.
                last += choice.draw(integers(1, 2))
                acks.given(last)
                broker.unacked.append(last)
                unsettled.append(last)
            elif action == "flush":
                for ack in acks.flush():
                    broker.hear(ack)
                self.assertEqual(broker.acked, meant)
            elif unsettled:
                tag = unsettled.pop(choice.draw(integers(0, len(unsettled) - 1)))
                if action == "ack":
                    meant.add(tag)
                    self.assertTrue(acks.acked(tag))
                else:
                    # Told at once.
                    broker.unacked.remove(tag)
                    self.assertTrue(acks.returned(tag))
            self.assertEqual(acks.unsettled, len(unsettled))
        for ack in acks.flush():
            broker.hear(ack)
        self.assertEqual(broker.acked, meant)
        self.assertEqual(broker.unacked, unsettled)
