"""
What every L{IEventSource} does, said once: for the memory source under trial, for RabbitMQ
against a real broker.

Each behaviour is a coroutine function that takes a L{Bench}; its docstring is the promise.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Protocol, Sequence

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gatewayd.interfaces import IDelivery, IEventReceiver, IEventSource
from gatewayd.model import Position

HERE = Position(7, 0)


@implementer(IEventReceiver)
class Recorder:
    """
    A receiver that settles nothing by itself.

    @ivar receipts: those that were confirmed.
    """

    def __init__(self) -> None:
        self.receipts: list[str] = []
        self._queue: DeferredQueue[Any] = DeferredQueue()

    def delivered(self, delivery: IDelivery) -> None:
        """
        Keep it for L{next}.
        """
        self._queue.put(delivery)

    def confirmed(self, receipts: Sequence[str]) -> None:
        """
        See L{IEventReceiver.confirmed}.
        """
        self.receipts.extend(receipts)

    def next(self) -> Deferred[Any]:
        """
        The next delivery, of whatever source.
        """
        return self._queue.get()

    @property
    def waiting(self) -> int:
        """
        How many deliveries nobody has asked for yet.
        """
        return len(self._queue.pending)


class Bench(Protocol):
    """
    A source with what is before and behind it.

    @ivar source: started, with C{receiver}.
    """

    source: Any
    receiver: Recorder

    async def publish(self, body: bytes, key: str = "", message_id: str | None = None) -> None:
        """
        Make the source deliver C{body}, if it delivers at all.
        """

    async def dead(self) -> tuple[bytes, str]:
        """
        The next message that was rejected, and why, as a person would find them.
        """

    async def given_back(self, body: bytes) -> None:
        """
        See that the message, which was requeued, can be had again by whoever wants it.
        """

    async def left(self, number: int) -> None:
        """
        See that after the source's end so many messages are without a settlement.
        """


Behaviour = Callable[[Bench], Coroutine[Deferred[Any], Any, None]]


async def looks_like_a_source(bench: Bench) -> None:
    """
    It provides IEventSource, and what it delivers IDelivery.
    """
    assert verifyObject(IEventSource, bench.source)
    await bench.publish(b"{}")
    delivery = await bench.receiver.next()
    assert verifyObject(IDelivery, delivery)
    delivery.ack(HERE)


async def delivers_in_order(bench: Bench) -> None:
    """
    Messages are delivered in the order published, each once.
    """
    bodies = [b'{"n": %d}' % number for number in range(250)]
    for body in bodies:
        await bench.publish(body)
    deliveries = [await bench.receiver.next() for _ in bodies]
    assert [delivery.body for delivery in deliveries] == bodies
    assert not any(delivery.redelivered for delivery in deliveries)
    for delivery in deliveries:
        delivery.ack(HERE)
    await bench.source.stop()
    await bench.left(0)
    assert bench.receiver.waiting == 0
    assert bench.source.counts.deliveries == bench.source.counts.acked == len(bodies)


async def carries_what_was_published(bench: Bench) -> None:
    """
    A delivery has the body byte for byte, the routing key and the message id.
    """
    body = '{"data": "na\u00efve \U0001f600"}'.encode() + bytes(range(256))
    await bench.publish(body, "message.create", "id-1")
    await bench.publish(b"")
    first, second = await bench.receiver.next(), await bench.receiver.next()
    assert (first.body, first.routing_key, first.message_id) == (body, "message.create", "id-1")
    assert (second.body, second.routing_key, second.message_id) == (b"", "", None)
    first.ack(HERE)
    second.ack(None)


async def settles_once(bench: Bench) -> None:
    """
    Only the first settlement of a delivery counts, in whatever order they are settled.
    """
    for body in (b"a", b"b", b"c", b"d"):
        await bench.publish(body)
    a, b, c, d = [await bench.receiver.next() for _ in range(4)]
    for delivery in (d, b, c, a):
        delivery.ack(HERE)
        delivery.requeue()
        delivery.reject("no")
        delivery.ack(HERE)
    await bench.publish(b"e")
    e = await bench.receiver.next()
    assert e.body == b"e"
    e.ack(HERE)
    await bench.source.stop()
    await bench.left(0)
    counts = bench.source.counts
    assert (counts.acked, counts.requeued, counts.rejected) == (5, 0, 0)


async def gives_back_what_is_requeued(bench: Bench) -> None:
    """
    A requeued message can be had again, and those around it are not touched.
    """
    for body in (b"a", b"b", b"c"):
        await bench.publish(body)
    a, b, c = [await bench.receiver.next() for _ in range(3)]
    c.ack(HERE)
    b.requeue()
    await bench.given_back(b"b")
    a.ack(HERE)
    await bench.source.stop()
    await bench.left(0)
    assert bench.source.counts.requeued == 1


async def keeps_what_is_rejected(bench: Bench) -> None:
    """
    A rejected message can be found, with the reason, and is not delivered again.
    """
    await bench.publish(b"not json", "guild.create")
    await bench.publish(b"{}")
    bad, good = await bench.receiver.next(), await bench.receiver.next()
    bad.reject("it is not JSON")
    assert await bench.dead() == (b"not json", "it is not JSON")
    good.ack(HERE)
    await bench.source.stop()
    await bench.left(0)
    assert bench.source.counts.rejected == 1


async def takes_nothing_when_paused(bench: Bench) -> None:
    """
    After a pause nothing is delivered; what was delivered before can still be settled.
    """
    await bench.publish(b"before")
    before = await bench.receiver.next()
    await bench.source.pause()
    await bench.source.pause()
    await bench.publish(b"after")
    before.ack(HERE)
    await bench.source.stop()
    await bench.left(1)
    assert bench.receiver.waiting == 0
    assert bench.source.counts.acked == 1


async def flushes_when_stopped(bench: Bench) -> None:
    """
    What was settled just before a stop is settled for good; the rest is given back.
    """
    for number in range(10):
        await bench.publish(b"%d" % number)
    deliveries = [await bench.receiver.next() for _ in range(10)]
    await bench.source.pause()
    for delivery in deliveries[:7]:
        delivery.ack(HERE)
    await bench.source.stop()
    await bench.left(3)


async def forgives_what_comes_late(bench: Bench) -> None:
    """
    Once it is stopped, a second stop, a pause, a start and all settlements do nothing.
    """
    for body in (b"a", b"b", b"c"):
        await bench.publish(body)
    a, b, c = [await bench.receiver.next() for _ in range(3)]
    await bench.source.stop()
    a.ack(HERE)
    b.reject("too late")
    c.requeue()
    await bench.source.stop()
    await bench.source.pause()
    bench.source.start(bench.receiver)
    await bench.left(3)
    counts = bench.source.counts
    assert (counts.acked, counts.rejected, counts.requeued) == (0, 0, 0)


async def tells_its_status(bench: Bench) -> None:
    """
    Its status says what the seam allows it to say, while it runs and when it has stopped.
    """
    assert bench.source.name == "rabbitmq"
    assert bench.source.status()["status"] in ("ok", "none")
    await bench.source.stop()
    assert bench.source.status()["status"] in ("connecting", "none")


BEHAVIOURS: tuple[Behaviour, ...] = (
    looks_like_a_source,
    delivers_in_order,
    carries_what_was_published,
    settles_once,
    gives_back_what_is_requeued,
    keeps_what_is_rejected,
    takes_nothing_when_paused,
    flushes_when_stopped,
    forgives_what_comes_late,
    tells_its_status,
)


def contract(maker: Callable[[], Bench]) -> type[SynchronousTestCase]:
    """
    The behaviours as a test case, for a bench in which nothing has to be waited for.
    """

    def test(behaviour: Behaviour) -> Callable[[SynchronousTestCase], None]:
        def run(case: SynchronousTestCase) -> None:
            case.successResultOf(Deferred.fromCoroutine(behaviour(maker())))

        run.__doc__ = behaviour.__doc__
        return run

    body: dict[str, Any] = {f"test_{each.__name__}": test(each) for each in BEHAVIOURS}
    return type(
        "EventSourceContract", (SynchronousTestCase,), {"__module__": maker.__module__, **body}
    )
