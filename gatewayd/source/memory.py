"""
Events from this very process: the embedded default, without a broker.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.errors import BadEnvelope, Busy, Stopped
from gatewayd.interfaces import IDelivery, IEventReceiver, IEventSource
from gatewayd.model import Position
from gatewayd.source.counts import Counts

MAX_MESSAGES = 10_000
MAX_BYTES = 64 * 1024 * 1024


@implementer(IEventSource)
class MemorySource:
    """
    Delivers what is pushed into it, in that order, and tells who pushed what became of it.

    @ivar counts: what it has done so far.
    """

    log = Logger()
    name = "rabbitmq"

    def __init__(self, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        """
        @param max_messages: how many may be in hand: pushed and not settled.
        @param max_bytes: of their bodies.
        """
        self.counts = Counts()
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._receiver: IEventReceiver | None = None
        self._open = False
        self._waiting: deque[MemoryDelivery] = deque()
        # In the order they came; a set would settle them in any.
        self._in_hand: dict[MemoryDelivery, None] = {}
        self._bytes = 0
        self._delivering = False

    def start(self, receiver: IEventReceiver) -> None:
        """
        See L{IEventSource.start}.
        """
        if self._receiver is None:
            self._receiver = receiver
            self._open = True
            self.counts.connects += 1

    def push(
        self, body: bytes, routing_key: str = "", message_id: str | None = None
    ) -> Deferred[Position | None]:
        """
        Deliver one message.

        @return: fires when it is published, with its place in the log (L{None}: ephemeral).
        @raise BadEnvelope: it can never become an event.
        @raise Busy: as much is in hand as may be.
        @raise Stopped: nothing is taken, or this was given back.
        """
        if not self._open:
            return fail(Stopped("this gateway takes no events now"))
        if not self._room(1, len(body)):
            return fail(Busy("too many events wait to be published; try again in a moment"))
        delivery = MemoryDelivery(self, body, routing_key, message_id)
        self._in_hand[delivery] = None
        self._bytes += len(body)
        self._waiting.append(delivery)
        self._deliver()
        return delivery.outcome

    def push_all(self, bodies: Sequence[bytes]) -> list[Deferred[Position | None]]:
        """
        Deliver several messages, one after the other; see L{push}.

        @raise Busy: there is no room for all of them, and none is delivered.
        """
        weight = sum(map(len, bodies))
        if not self._room(len(bodies), weight):
            raise Busy("too many events wait to be published; try again in a moment")
        return [self.push(body) for body in bodies]

    def _room(self, messages: int, weight: int) -> bool:
        return (
            len(self._in_hand) + messages <= self._max_messages
            and self._bytes + weight <= self._max_bytes
        )

    def post(self, body: bytes, key: str) -> Deferred[None]:
        """
        See L{IEventSource.post}.
        """
        return self.push(body, key).addCallback(lambda _: None)

    def status(self) -> dict[str, Any]:
        """
        See L{IReadiness.status}: there is no broker, and so none is missed.
        """
        return {"status": "none"}

    def pause(self) -> Deferred[None]:
        """
        See L{IEventSource.pause}.
        """
        self._open = False
        while self._waiting:
            self.settled(self._waiting.popleft(), Stopped("this gateway takes no events now"))
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """
        See L{IEventSource.stop}.
        """
        paused = self.pause()
        for delivery in list(self._in_hand):
            self.settled(delivery, Stopped("this gateway stopped; the event may be published"))
        return paused

    def settled(self, delivery: MemoryDelivery, outcome: Position | Exception | None) -> bool:
        """
        Tell who pushed it.

        @return: L{False} if they know already.
        """
        if delivery not in self._in_hand:
            return False
        del self._in_hand[delivery]
        self._bytes -= len(delivery.body)
        if isinstance(outcome, Exception):
            delivery.outcome.errback(outcome)
        else:
            delivery.outcome.callback(outcome)
        return True

    def _deliver(self) -> None:
        # Whatever is pushed from within a delivery waits for its end, or it would overtake.
        if self._delivering or self._receiver is None:
            return
        self._delivering = True
        try:
            while self._waiting:
                delivery = self._waiting.popleft()
                self.counts.deliveries += 1
                try:
                    self._receiver.delivered(delivery)
                except Exception:
                    self.log.failure("A message could not be received, by a bug")
                    delivery.reject("the gateway failed on it; its log says how")
        finally:
            self._delivering = False


@implementer(IDelivery)
class MemoryDelivery:
    """
    One message that was pushed.
    """

    redelivered = False
    receipt = None
    live = True

    def __init__(
        self, source: MemorySource, body: bytes, routing_key: str, message_id: str | None
    ) -> None:
        self.body = body
        self.routing_key = routing_key
        self.message_id = message_id
        self.outcome: Deferred[Position | None] = Deferred()
        self._source = source

    def ack(self, position: Position | None) -> None:
        """
        See L{IDelivery.ack}.
        """
        if self._source.settled(self, position):
            self._source.counts.acked += 1

    def reject(self, reason: str) -> None:
        """
        See L{IDelivery.reject}.
        """
        if self._source.settled(self, BadEnvelope(reason)):
            self._source.counts.rejected += 1

    def requeue(self) -> None:
        """
        See L{IDelivery.requeue}.
        """
        if self._source.settled(self, Stopped("this gateway gave the event back")):
            self._source.counts.requeued += 1
