"""
One consumer on one channel: what it hands on, and how the broker learns what became of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gatewayd.interfaces import IEventReceiver
from gatewayd.source.acks import Acks
from gatewayd.source.counts import Counts
from gatewayd.source.deadletters import DeadLetters
from gatewayd.source.link import Channel, LinkError
from gatewayd.source.message import RabbitDelivery
from gatewayd.source.once import Once

SLICE = 0.004
"""
Seconds of handing on after which others get their turn of the reactor.
"""

ACKS = 100
"""
Acknowledgements that are sent at once; fewer are sent in the next turn of the reactor.
"""

CONFIRMING = 0.1
"""
Seconds from one time of making sure that the broker has the acknowledgements to the next.
"""

ANSWER = 2.0
"""
Seconds for the broker to answer a cancel or close.
"""


class Consumer:
    """
    Takes messages from a channel, in order, until either ends.

    @ivar active: it has been given something: of several consumers of the queue, this is the
        one that gets it.
    @ivar id: like no other consumer's.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        channel: Channel,
        receiver: IEventReceiver,
        dead_letters: DeadLetters,
        counts: Counts,
        instance: str,
        wall: Callable[[], float],
        prefetch: int,
    ) -> None:
        self.active = False
        self.id = token_hex(8)
        self._clock = clock
        self._channel = channel
        self._receiver = receiver
        self._dead_letters = dead_letters
        self._counts = counts
        self._instance = instance
        self._wall = wall
        self._prefetch = prefetch
        self._acks = Acks()
        self._flush: IDelayedCall | None = None
        self._sent: list[int] = []
        self._confirming = False
        self._queue: Any = None
        self._tag = ""
        self._held = False
        self._cancelled = False
        self._not_handed_on: list[Any] = []
        self._all_settled: Once | None = None

    @property
    def usable(self) -> bool:
        """
        Whether the broker would still understand a settlement.
        """
        return self._channel.usable

    @property
    def unsettled(self) -> int:
        """
        Messages handed on, and neither published nor given back nor dead letters yet.
        """
        return self._acks.unsettled if self.usable else 0

    async def begin(self, queue: str) -> None:
        """
        Register with the broker.

        @raise LinkError: it refused.
        """
        self._queue, self._tag = await self._channel.call(
            "basic_consume", queue=queue, consumer_tag=self._instance
        )

    async def run(self) -> None:
        """
        Hand on what comes.

        @raise LinkError: nothing will come any more; never returns otherwise.
        """
        resumed = 0.0
        while not self._held:
            # What waits in pika's queue comes without returning to the reactor.
            message = await self._next()
            if message is None:
                break
            self._hand_on(message)
            if self._clock.seconds() - max(resumed, self._channel.link.heard) > SLICE:
                await deferLater(self._clock, 0)
                resumed = self._clock.seconds()
        await self._channel.link.lost.wait()
        raise self._channel.error(ConnectionError())

    async def retire(self, grace: float) -> None:
        """
        Hand nothing on from now; give back what was not handed on, once what was handed on is
        settled or C{grace} seconds have passed. The latter can be settled still.
        """
        self._held = True
        if self.unsettled:
            self._all_settled = Once()
            try:
                await self._all_settled.wait().addTimeout(grace, self._clock)
            except TimedOut:
                pass
        self.flush()
        if not self.unsettled:
            # The end of a channel ends its consumer and gives back its messages in a single
            # step, so that the next consumer gets them in order. After a cancel it would be
            # given later ones first.
            self._channel.tell("close")
            await self._answered(self._channel.closed.wait())
        elif not self._cancelled:
            self._cancelled = True
            cancelling = Deferred.fromCoroutine(
                self._channel.call("basic_cancel", consumer_tag=self._tag)
            )
            for message in (*self._not_handed_on, *self._queue.pending):
                self._channel.tell("basic_nack", message.method.delivery_tag)
            await self._answered(cancelling)

    def flush(self) -> None:
        """
        Send the acknowledgements that wait.
        """
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        self._flush = None
        for ack in self._acks.flush():
            self._channel.tell("basic_ack", ack.tag, ack.multiple)
        if self._sent and not self._confirming:
            self._confirming = True
            confirming = Deferred.fromCoroutine(self._confirm())
            confirming.addErrback(lambda why: self.log.failure("Acks were not confirmed", why))

    async def _confirm(self) -> None:
        """
        Make sure that the broker has the acknowledgements that were sent. AMQP confirms none;
        but a channel's frames are dealt with in order, so the answer to a question says that
        all before it has been.
        """
        try:
            while self._sent and self.usable:
                sent, self._sent = self._sent, []
                await self._channel.call("basic_qos", prefetch_count=self._prefetch)
                self._receiver.confirmed([f"{self.id}:{tag}" for tag in sent])
                await deferLater(self._clock, CONFIRMING)
        except LinkError:
            # Then they may be delivered again, and are remembered for that.
            pass
        finally:
            self._confirming = False

    # What a message asks for.

    def acked(self, tag: int) -> None:
        """
        Acknowledge C{tag}, soon.
        """
        if self.usable and self._acks.acked(tag):
            self._counts.acked += 1
            self._sent.append(tag)
            self._settled()

    def rejected(self, message: RabbitDelivery) -> None:
        """
        Publish C{message} as a dead letter; it is unsettled until then.
        """
        if self.usable:
            self._counts.rejected += 1
            self._dead_letters.add(message)

    def buried(self, tag: int) -> None:
        """
        Acknowledge C{tag}, which is a dead letter now, soon.
        """
        if self.usable and self._acks.acked(tag):
            self._settled()

    def requeued(self, tag: int) -> None:
        """
        Give C{tag} back at once.
        """
        if self.usable and self._acks.returned(tag):
            self._counts.requeued += 1
            self._channel.tell("basic_nack", tag)
            self._settled()

    def stamp(self) -> dict[str, str]:
        """
        Who rejects, and when.
        """
        now = datetime.fromtimestamp(self._wall(), UTC)
        return {"x-instance": self._instance, "x-time": now.isoformat(timespec="milliseconds")}

    def _settled(self) -> None:
        if self._acks.fresh >= ACKS:
            self.flush()
        elif self._acks.fresh and self._flush is None:
            self._flush = self._clock.callLater(0, self.flush)
        if self._all_settled is not None and not self._acks.unsettled:
            self._all_settled.happen()

    async def _next(self) -> Any:
        """
        The next message; L{None} if it is not to be handed on.
        """
        try:
            message = await self._queue.get()
        except CancelledError:
            raise
        except Exception as error:
            if self._held:
                return None
            raise self._channel.error(error) from None
        if self._held:
            self._not_handed_on.append(message)
            return None
        return message

    def _hand_on(self, message: Any) -> None:
        delivery = RabbitDelivery(self, message.method, message.properties, message.body)
        self.active = True
        self._counts.deliveries += 1
        self._counts.redelivered += delivery.redelivered
        self._acks.given(delivery.tag)
        try:
            self._receiver.delivered(delivery)
        except Exception:
            # A receiver never raises; but were this to end the loop, messages would pile up
            # behind an open channel and nothing would ever say so.
            self.log.failure("A message could not be received, by a bug")
            delivery.reject("the gateway failed on it; its log says how")

    async def _answered(self, answer: Deferred[Any]) -> None:
        try:
            await answer.addTimeout(ANSWER, self._clock)
        except (LinkError, TimedOut):
            self.log.debug("RabbitMQ did not answer, and is left without")
