"""
From a source to the bus: what was delivered is decoded, published in order, and settled.

One publish is outstanding at a time. While it is, what arrives gathers and goes together in
the next; so order is kept without a thought, one round trip serves more events the busier it
is, and an unknown outcome concerns one batch, which the bus tries again by itself.

What is in hand while the bus is away is bounded by the sources: a broker's prefetch, and
the limit of the embedded source.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Callable, Iterator, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd import envelope
from gatewayd.errors import BadEnvelope, Stopped, Superseded
from gatewayd.interfaces import IDelivery, IEventBus, IEventReceiver
from gatewayd.metrics import Metrics
from gatewayd.model import Event, Provenance

BATCH = 256
BATCH_BYTES = 1 << 20
MAX_SETTLED = 2000
"""
Receipts that go with one batch; a script in Redis cannot unpack more than some eight thousand.
"""


@implementer(IEventReceiver)
@define(eq=False)
class Ingest:
    """
    See the module.

    @ivar new_uid: makes an id for an event whose publisher gave none.
    @ivar broken: called if publishing fails for a reason that nobody foresaw: what is in hand
        has been given back, and would come again and again.
    @ivar superseded: called with the id of a consumer that has a successor, and will have nothing
        published any more.
    @ivar max_bytes: the longest body that can become an event. One longer than a client may
        have unsent would close every client it is for.
    """

    bus: IEventBus
    metrics: Metrics
    wall: Callable[[], float]
    new_uid: Callable[[], str]
    ephemeral: frozenset[str]
    max_bytes: int
    broken: Callable[[], None] = lambda: None
    superseded: Callable[[str], None] = lambda consumer: None
    _queue: deque[tuple[IDelivery, Event]] = field(factory=deque)
    _publishing: bool = False
    _stopped: bool = False
    _idle: list[Deferred[None]] = field(factory=list)
    _confirmed: list[str] = field(factory=list)
    _ended: str | None = None

    _log = Logger()

    @property
    def in_hand(self) -> int:
        """
        Events taken and not yet settled, but for the batch being published.
        """
        return len(self._queue)

    def delivered(self, delivery: IDelivery) -> None:
        """
        See L{IEventReceiver.delivered}.
        """
        if self._stopped:
            delivery.requeue()
            return
        try:
            event = self.decode(delivery)
        except BadEnvelope as error:
            self.metrics.rejected.inc()
            delivery.reject(error.reason)
            return
        self._queue.append((delivery, event))
        self._pump()

    def decode(self, delivery: IDelivery) -> Event:
        """
        The event that a delivery holds.

        @raise BadEnvelope: it holds none.
        """
        provenance = None
        uid, receipt = delivery.message_id, delivery.receipt
        if not uid and receipt and len(delivery.body) <= self.max_bytes:
            uid, consumer = receipt, _consumer(receipt)
            key = delivery.routing_key.encode()
            digest = blake2b(key + b"\0" + delivery.body, digest_size=16).hexdigest()
            provenance = Provenance(consumer, digest, delivery.redelivered)
        return envelope.decode(
            delivery.body,
            routing_key=delivery.routing_key,
            uid=uid or self.new_uid(),
            now=self.wall(),
            ephemeral=self.ephemeral,
            max_bytes=self.max_bytes,
            provenance=provenance,
        )

    def confirmed(self, receipts: Sequence[str]) -> None:
        """
        See L{IEventReceiver.confirmed}.
        """
        self._confirmed.extend(receipts)

    def check(self, body: bytes) -> None:
        """
        See whether C{body} can become an event by itself.

        @raise BadEnvelope: it cannot.
        """
        envelope.decode(body, uid="", now=0.0, max_bytes=self.max_bytes)

    def idle(self) -> Deferred[None]:
        """
        Fires when all that was delivered is settled.
        """
        if not self._publishing and not self._queue:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        return waiting

    def stop(self) -> None:
        """
        Give back what has not been published.
        """
        self._stopped = True
        while self._queue:
            self._queue.popleft()[0].requeue()
        self._settled()

    def _pump(self) -> None:
        if self._publishing or not self._queue:
            return
        self._publishing = True
        Deferred.fromCoroutine(self._publish_all()).addErrback(self._failed)

    async def _publish_all(self) -> None:
        try:
            while self._queue and not self._stopped:
                batch = list(self._next_batch())
                if not batch:
                    continue
                confirmed = self._confirmed[:MAX_SETTLED]
                del self._confirmed[:MAX_SETTLED]
                try:
                    positions = await self.bus.publish([event for _, event in batch], confirmed)
                except Superseded as error:
                    # All that came by that consumer its successor was given; what came from
                    # elsewhere is ours alone.
                    self._ended = error.consumer
                    self._queue.extendleft(reversed(batch))
                    self.superseded(error.consumer)
                    continue
                except Exception:
                    # Not known to be published, so it is not acked: whoever gets it next
                    # publishes it, and by its uid or its digest the log holds it once.
                    self._give_back(batch)
                    raise
                self.metrics.published.inc(len(batch))
                for (delivery, _), position in zip(batch, positions, strict=True):
                    delivery.ack(position)
        finally:
            self._publishing = False
            self._settled()

    def _next_batch(self) -> Iterator[tuple[IDelivery, Event]]:
        taken = 0
        for _ in range(BATCH):
            if not self._queue or taken > BATCH_BYTES:
                return
            delivery, event = self._queue.popleft()
            if not delivery.live or _consumer(delivery.receipt or "") == self._ended:
                # It comes again, to this consumer's successor, and behind what came before it.
                continue
            taken += len(event.data)
            yield delivery, event

    def _give_back(self, batch: list[tuple[IDelivery, Event]]) -> None:
        for delivery, _ in batch:
            delivery.requeue()

    def _settled(self) -> None:
        if not self._publishing and not self._queue:
            waiting, self._idle = self._idle, []
            for one in waiting:
                one.callback(None)

    def _failed(self, failure: Failure) -> None:
        self.stop()
        if failure.check(Stopped) is None:
            self._log.failure("publishing failed", failure=failure)
            self.broken()


def _consumer(receipt: str) -> str:
    return receipt.rpartition(":")[0]
