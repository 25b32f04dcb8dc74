"""
Where messages go that can never become an event: to an exchange and a queue of their own,
with the reason, for a person to look at.

They leave by a connection of their own. A broker short of memory blocks connections that
publish, and on a connection that also consumes that would stop the acks.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gatewayd.retry import Backoff, Outage
from gatewayd.source.broker import Broker
from gatewayd.source.link import Channel, Link, LinkError
from gatewayd.source.once import Once
from gatewayd.source.reasons import PRECONDITION_FAILED

MAX_LENGTH = 100_000
"""
Messages the dead-letter queue holds; beyond that the broker drops the oldest.
"""

BATCH = 100
"""
Messages published before their confirms are waited for.
"""

PATIENCE = 30.0
"""
Seconds for the broker to set up, or to confirm a batch. Where it is blocked that takes
longer; then the batch is published again, by a new connection.
"""

IDLE = 60.0
"""
Seconds without a dead letter after which the connection is given up.
"""

PARTING = 2.0
"""
Seconds for a disconnect in good order.
"""


class Letter(Protocol):
    """
    A message for the dead letters.

    @ivar key: the routing key it came with.
    """

    body: bytes
    key: str | bytes

    @property
    def wanted(self) -> bool:
        """
        Whether the broker still waits for its settlement. If not, it has taken the message
        back and will deliver it again, and to publish this one would make it two.
        """

    def epitaph(self) -> Any:
        """
        The properties to publish it with.
        """

    def buried(self) -> None:
        """
        The broker has it, and answers for it.
        """


class DeadLetters:
    """
    Publishes dead letters, each again and again until it is confirmed.

    Their number is bounded by who adds them: each is an unsettled delivery, of which there
    are never more than the prefetch.

    @ivar outage: why they cannot be published now.
    """

    log = Logger()

    def __init__(self, broker: Broker, exchange: str, backoff: Backoff) -> None:
        self.outage = Outage()
        self._broker = broker
        self._reactor = broker.reactor
        self._exchange = exchange
        self._backoff = backoff
        self._letters: deque[Letter] = deque()
        self._under_way = 0
        self._added = Once()
        self._link: Link | None = None
        self._work: Deferred[None] | None = None
        self._stopped = False
        self._returned = 0

    def __len__(self) -> int:
        return len(self._letters) + self._under_way

    @property
    def blocked(self) -> bool:
        """
        Whether the broker is short of memory or disk, and takes no messages.
        """
        return self._link is not None and self._link.blocked

    def add(self, letter: Letter) -> None:
        """
        Take charge of C{letter}. Never raises.
        """
        if self._stopped:
            return
        self._letters.append(letter)
        self._added.happen()
        if self._work is None:
            self._work = Deferred.fromCoroutine(self._publish_all())
            self._work.addErrback(lambda why: why.trap(CancelledError) and None)

    async def stop(self) -> None:
        """
        Disconnect. Letters that are left are unacked still, and so safe with the broker.
        """
        self._stopped = True
        link, work = self._link, self._work
        if work is not None:
            work.cancel()
        if link is not None:
            await link.part(PARTING)

    async def _publish_all(self) -> None:
        try:
            while self._letters:
                try:
                    await self._session()
                except LinkError as error:
                    self._complain(error.reason)
                except CancelledError:
                    raise
                except Exception:
                    self.log.failure("A bug keeps dead letters from being published")
                if self._letters:
                    await deferLater(self._reactor, self._backoff.next())
        finally:
            self._work = None

    async def _session(self) -> None:
        """
        Publish by one connection until there is nothing to publish for a while.

        @raise LinkError: some could not be published.
        """
        link = await self._broker.connect("dead letters")
        self._link = link
        try:
            channel = await self._set_up(link)
            while channel.usable:
                while self._letters:
                    await self._publish_some(channel)
                self._backoff.reset()
                if self.outage.over(self._reactor.seconds()) is not None:
                    self.log.info("Dead letters are published again")
                self._added = Once()
                try:
                    await self._added.wait().addTimeout(IDLE, self._reactor)
                except TimedOut:
                    await link.part(PARTING)
        finally:
            self._link = None
            if not self._stopped:
                link.abort()

    async def _set_up(self, link: Link) -> Channel:
        setting_up = Deferred.fromCoroutine(self._declare(link))
        try:
            return await setting_up.addTimeout(PATIENCE, self._reactor)
        except TimedOut as error:
            raise link.error(error) from None

    async def _declare(self, link: Link) -> Channel:
        name = self._exchange
        await self._exists(link, "exchange", exchange_type="fanout")
        await self._exists(link, "queue", arguments={"x-max-length": MAX_LENGTH})
        channel = await link.open()
        await channel.call("queue_bind", queue=name, exchange=name, routing_key="#")
        channel.on_return(self._came_back)
        # Published before this is answered, a message would make pika miscount the confirms.
        await channel.call("confirm_delivery")
        return channel

    async def _exists(self, link: Link, kind: str, **properties: Any) -> None:
        """
        Declare an exchange or queue, unless there is one of this name with other properties,
        which an operator made so and which serves as well.
        """
        name = {kind: self._exchange}
        channel = await link.open()
        try:
            await channel.call(f"{kind}_declare", durable=True, **name, **properties)
        except LinkError as error:
            if error.code != PRECONDITION_FAILED:
                raise
            channel = await link.open()
            await channel.call(f"{kind}_declare", passive=True, **name)
        channel.tell("close")

    async def _publish_some(self, channel: Channel) -> None:
        """
        Publish the oldest letters and wait for their confirms.

        Of several messages that no queue took, pika reports one and counts the others as
        confirmed. So when one comes back, none of its batch counts: a letter twice is better
        than none.

        @raise LinkError: some were not confirmed; they have been put back.
        """
        batch = [letter for letter in self._take() if letter.wanted]
        returned = self._returned
        confirms = DeferredList(
            [Deferred.fromCoroutine(self._publish(channel, letter)) for letter in batch],
            consumeErrors=True,
        )
        # A list that is cancelled succeeds; this fails.
        confirmed: Deferred[list[tuple[bool, Any]]] = Deferred()
        confirms.chainDeferred(confirmed)
        self._under_way = len(batch)
        try:
            outcomes = await confirmed.addTimeout(PATIENCE, self._reactor)
        except BaseException as error:
            self._letters.extendleft(reversed(batch))
            if isinstance(error, TimedOut):
                raise channel.error(error) from None
            raise
        finally:
            self._under_way = 0
        if self._returned > returned:
            self._letters.extendleft(reversed(batch))
            raise LinkError(f"no queue takes what is published to exchange {self._exchange!r}")
        kept = [letter for letter, (taken, _) in zip(batch, outcomes, strict=True) if not taken]
        self._letters.extendleft(reversed(kept))
        for letter, (taken, _) in zip(batch, outcomes, strict=True):
            if taken:
                letter.buried()
        for taken, failure in outcomes:
            if not taken:
                raise channel.error(failure.value)

    def _take(self) -> list[Letter]:
        return [self._letters.popleft() for _ in range(min(BATCH, len(self._letters)))]

    async def _publish(self, channel: Channel, letter: Letter) -> None:
        await channel.call(
            "basic_publish",
            exchange=self._exchange,
            routing_key=letter.key,
            body=letter.body,
            properties=letter.epitaph(),
            mandatory=True,
        )

    def _came_back(self) -> None:
        self._returned += 1

    def _complain(self, reason: str) -> None:
        if self.outage.failed(reason, self._reactor.seconds()):
            self.log.error(
                "Dead letters cannot be published, {waiting} wait unacked: {reason}",
                waiting=len(self._letters),
                reason=reason,
            )
