"""
The memory source keeps the contract of sources, and tells who pushed what became of it.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gatewayd.errors import BadEnvelope, Busy, Stopped
from gatewayd.interfaces import IDelivery, IEventReceiver
from gatewayd.model import Position
from gatewayd.source.memory import MemorySource
from tests.contracts.event_source import HERE, Recorder, contract


class MemoryBench:
    """
    Whoever pushes is before the source, and learns what became of it.
    """

    def __init__(self) -> None:
        self.source = MemorySource()
        self.receiver = Recorder()
        self.outcomes: dict[bytes, Position | None | Failure] = {}
        self.pushed: list[bytes] = []
        self.source.start(self.receiver)

    async def publish(self, body: bytes, key: str = "", message_id: str | None = None) -> None:
        """
        See L{Bench.publish}.
        """

        def told(outcome: Position | None | Failure) -> None:
            self.outcomes[body] = outcome

        self.pushed.append(body)
        self.source.push(body, key, message_id).addBoth(told)

    async def dead(self) -> tuple[bytes, str]:
        """
        See L{Bench.dead}.
        """
        for body, outcome in self.outcomes.items():
            if isinstance(outcome, Failure) and isinstance(outcome.value, BadEnvelope):
                return body, outcome.value.reason
        raise AssertionError("nobody was told of a rejection")

    async def given_back(self, body: bytes) -> None:
        """
        See L{Bench.given_back}.
        """
        outcome = self.outcomes[body]
        assert isinstance(outcome, Failure)
        assert outcome.check(Stopped)

    async def left(self, number: int) -> None:
        """
        See L{Bench.left}.
        """
        assert set(self.outcomes) == set(self.pushed), "somebody was told nothing"
        stopped = [
            body
            for body, outcome in self.outcomes.items()
            if isinstance(outcome, Failure) and outcome.check(Stopped)
        ]
        requeued = self.source.counts.requeued
        assert len(stopped) - requeued == number


MemorySourceContract = contract(MemoryBench)


@implementer(IEventReceiver)
class Acking:
    """
    A receiver that acks within the delivery, as with a memory bus, but first does C{more}.
    """

    def __init__(self, more: Callable[[IDelivery], None]) -> None:
        self.more = more

    def delivered(self, delivery: IDelivery) -> None:
        """
        See L{IEventReceiver.delivered}.
        """
        self.more(delivery)
        delivery.ack(HERE)

    def confirmed(self, receipts: Sequence[str]) -> None:
        """
        See L{IEventReceiver.confirmed}.
        """


class MemorySourceTests(SynchronousTestCase):
    """
    What only the memory source does.
    """

    def setUp(self) -> None:
        """
        Start a source with narrow bounds.
        """
        self.source = MemorySource(max_messages=3, max_bytes=10)
        self.receiver = Recorder()
        self.source.start(self.receiver)

    def next(self) -> Any:
        """
        The next delivery, which must be there.
        """
        return self.successResultOf(self.receiver.next())

    def test_answers_with_the_position(self) -> None:
        """
        Who pushed a message is told its position, or that it has none.
        """
        logged, ephemeral = self.source.push(b"a"), self.source.push(b"b")
        self.assertNoResult(logged)
        self.next().ack(HERE)
        self.next().ack(None)
        self.assertEqual(self.successResultOf(logged), HERE)
        self.assertIsNone(self.successResultOf(ephemeral))

    def test_bounds_messages(self) -> None:
        """
        One message more than may be in hand is refused, until one is settled.
        """
        pushed = [self.source.push(b"") for _ in range(3)]
        self.failureResultOf(self.source.push(b""), Busy)
        self.next().ack(HERE)
        self.assertNoResult(self.source.push(b""))
        self.assertEqual(self.successResultOf(pushed[0]), HERE)

    def test_bounds_bytes(self) -> None:
        """
        Bodies may fill the bound and not exceed it; what is settled makes room again.
        """
        first = self.source.push(b"12345678")
        self.failureResultOf(self.source.push(b"123"), Busy)
        self.assertNoResult(self.source.push(b"12"))
        self.next().reject("no")
        self.failureResultOf(first, BadEnvelope)
        self.assertNoResult(self.source.push(b"12345678"))

    def test_refuses_before_start(self) -> None:
        """
        A source that nobody listens to takes nothing.
        """
        self.failureResultOf(MemorySource().push(b"{}"), Stopped)

    def test_keeps_order_when_pushed_from_within(self) -> None:
        """
        A message pushed while another is being delivered comes after it.
        """
        source = MemorySource()
        seen: list[bytes] = []
        later: list[Deferred[Position | None]] = []

        def push_more(delivery: IDelivery) -> None:
            if delivery.body == b"first":
                later.append(source.push(b"second"))
            seen.append(delivery.body)

        source.start(Acking(push_more))
        self.assertEqual(self.successResultOf(source.push(b"first")), HERE)
        self.assertEqual(seen, [b"first", b"second"])
        self.assertEqual(self.successResultOf(later[0]), HERE)

    def test_survives_a_receiver_that_raises(self) -> None:
        """
        A bug in the receiver rejects its message, is logged, and does not stop the next one.
        """
        source = MemorySource()

        def stumble(delivery: IDelivery) -> None:
            if delivery.body == b"bad":
                raise ZeroDivisionError

        source.start(Acking(stumble))
        self.failureResultOf(source.push(b"bad"), BadEnvelope)
        self.assertEqual(self.successResultOf(source.push(b"good")), HERE)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_tells_those_who_wait_when_stopped(self) -> None:
        """
        After a stop nobody waits for an answer that will not come.
        """
        waiting = self.source.push(b"a")
        self.successResultOf(self.source.stop())
        self.failureResultOf(waiting, Stopped)
