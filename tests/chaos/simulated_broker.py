"""
RabbitMQ in a few lines: one queue with a single active consumer, which gives again what the last
one did not acknowledge.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Iterator

from attrs import define, field
from zope.interface import implementer

from gatewayd.interfaces import IDelivery, IEventReceiver
from gatewayd.model import Position


@define(eq=False)
class Message:
    """
    One message in the queue.

    @ivar given: some consumer was given it before.
    """

    body: bytes
    routing_key: str
    message_id: str | None
    given: bool = False


@define(eq=False)
class Consumer:
    """
    One channel's consumer.

    @ivar id: like no other's.
    @ivar usable: whether the instance believes that there is a connection. It may learn late
        that there is none.
    @ivar attached: whether there is.
    @ivar unacked: what it was given, by tag, and has not acknowledged as far as the broker knows.
    @ivar acked: tags that it has acknowledged and that are on their way.
    """

    id: str
    receiver: IEventReceiver
    usable: bool = True
    attached: bool = True
    unacked: dict[int, Message] = field(factory=dict)
    acked: list[int] = field(factory=list)
    _tags: Iterator[int] = field(factory=lambda: count(1))

    def take(self, message: Message) -> None:
        """
        Be given a message.
        """
        tag = next(self._tags)
        self.unacked[tag] = message
        self.receiver.delivered(_Delivery(self, tag, message, message.given))


@implementer(IDelivery)
class _Delivery:
    def __init__(self, consumer: Consumer, tag: int, message: Message, redelivered: bool) -> None:
        self.body = message.body
        self.routing_key = message.routing_key
        self.message_id = message.message_id
        self.redelivered = redelivered
        self.receipt = f"{consumer.id}:{tag}"
        self._consumer = consumer
        self._tag = tag

    @property
    def live(self) -> bool:
        return self._consumer.usable

    def ack(self, position: Position | None) -> None:
        self._consumer.acked.append(self._tag)

    def reject(self, reason: str) -> None:
        raise AssertionError(f"{self.body!r} was rejected: {reason}")

    def requeue(self) -> None:
        # Unacknowledged it is given to the next anyway.
        pass


class Broker:
    """
    @ivar consumers: those that are attached; the first is the active one.
    """

    PREFETCH = 6

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self._ready: deque[Message] = deque()
        self._numbers = count(1)

    def publish(self, body: bytes, routing_key: str, message_id: str | None) -> None:
        """
        Take a message from a publisher.
        """
        self._ready.append(Message(body, routing_key, message_id))

    def attach(self, receiver: IEventReceiver) -> Consumer:
        """
        Take on one more consumer.
        """
        consumer = Consumer(f"consumer{next(self._numbers)}", receiver)
        self.consumers.append(consumer)
        return consumer

    def detach(self, consumer: Consumer) -> None:
        """
        The connection of C{consumer} is lost, and with it what it had on its way.
        """
        if not consumer.attached:
            return
        consumer.attached = False
        self.consumers.remove(consumer)
        for _, message in sorted(consumer.unacked.items(), reverse=True):
            message.given = True
            self._ready.appendleft(message)

    def give(self, most: int = PREFETCH) -> bool:
        """
        Give the active consumer what it may have.

        @return: whether there was anything.
        """
        if not self.consumers:
            return False
        active = self.consumers[0]
        room = min(most, self.PREFETCH - len(active.unacked), len(self._ready))
        for _ in range(room):
            active.take(self._ready.popleft())
        return room > 0

    def flush(self, most: int = PREFETCH) -> bool:
        """
        Have the acknowledgements of the active consumer arrive, and it know.

        @return: whether there were any.
        """
        if not self.consumers:
            return False
        active = self.consumers[0]
        arrived, active.acked = active.acked[:most], active.acked[most:]
        for tag in arrived:
            del active.unacked[tag]
        active.receiver.confirmed([f"{active.id}:{tag}" for tag in arrived])
        return bool(arrived)
