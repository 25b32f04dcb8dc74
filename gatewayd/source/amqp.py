"""
Events from RabbitMQ: one durable queue, one active consumer among all instances.
"""

from __future__ import annotations

import random as _random
import time
from typing import Any, Callable

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.interfaces import IEventReceiver, IEventSource
from gatewayd.retry import Backoff, Outage
from gatewayd.source.broker import HANDSHAKE, Broker
from gatewayd.source.consumer import Consumer
from gatewayd.source.counts import Counts
from gatewayd.source.deadletters import DeadLetters
from gatewayd.source.link import Channel, Link, LinkError
from gatewayd.source.once import Once
from gatewayd.source.post import Post

INITIAL_WAIT = 0.2
MAXIMUM_WAIT = 10.0
"""
Bounds of the waits between attempts, in seconds.
"""

HEALTHY = 5.0
"""
Seconds that a connection must have worked for the waits to begin anew, or a broker that
accepts us and dies of it would be asked without a pause.
"""

SETTING_UP = 10.0
"""
Seconds for all declarations.
"""

RENEWAL = 30.0
"""
Seconds from one time of declaring exchange and binding to the next. When they are deleted the
broker tells nobody, and what is published then is lost.
"""

HANDOVER = 1.0
"""
Seconds that L{RabbitSource.pause} waits for what was handed on, so that the next consumer
gets what follows after it and not before.
"""

FLUSH = 3.0
"""
Seconds that L{RabbitSource.stop} waits for what was handed on.
"""

PARTING = 1.0


@implementer(IEventSource)
class RabbitSource:
    """
    Consumes a queue for as long as it is not stopped, whatever happens to the broker.

    @ivar counts: what it has done so far.
    """

    log = Logger()
    name = "rabbitmq"

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        exchange: str,
        exchange_type: str,
        queue: str,
        dead_letter_exchange: str,
        prefetch: int,
        instance: str,
        random: Callable[[], float] = _random.random,
        wall: Callable[[], float] = time.time,
        handshake: float = HANDSHAKE,
        renewal: float = RENEWAL,
    ) -> None:
        """
        @param reactor: provides L{IReactorTime}, L{IReactorTCP} and a name resolver.
        @param url: C{amqp[s]://USER:PASSWORD@HOST:PORT/VHOST}
        @param exchange_type: C{topic} or C{fanout}.
        @param prefetch: how many messages may be unsettled.
        @param instance: who this is, for the operator of the broker.
        @param random: a number in [0, 1), to spread reconnects.
        @param wall: seconds since the epoch, for the dead letters.
        @param handshake: seconds for each step of connecting.
        @param renewal: seconds between declarations of the exchange and the binding.
        """
        self.counts = Counts()
        self._reactor = reactor
        self._broker = Broker(reactor, url, instance, handshake)
        self._exchange = exchange
        self._exchange_type = exchange_type
        self._queue = queue
        self._prefetch = prefetch
        self._renewal = renewal
        self._instance = instance
        self._wall = wall
        self._backoff = Backoff(INITIAL_WAIT, MAXIMUM_WAIT, random)
        self._outage = Outage()
        self._dead_letters = DeadLetters(
            self._broker,
            dead_letter_exchange,
            Backoff(INITIAL_WAIT, MAXIMUM_WAIT, random),
        )
        self._post = Post(self._broker, exchange)
        self._receiver: IEventReceiver | None = None
        self._supervision: Deferred[None] | None = None
        self._link: Link | None = None
        self._consumer: Consumer | None = None
        self._since: float = reactor.seconds()
        self._paused = False
        self._stopped: Once | None = None

    def start(self, receiver: IEventReceiver) -> None:
        """
        See L{IEventSource.start}.
        """
        if self._receiver is not None or self._paused:
            return
        self._receiver = receiver
        self._since = self._reactor.seconds()
        self._supervision = Deferred.fromCoroutine(self._supervise(receiver))
        self._supervision.addErrback(self._supervision_failed)

    def status(self) -> dict[str, Any]:
        """
        See L{IReadiness.status}. Of several instances one is active, and the others are C{ok}
        as well; C{active} is L{None} where the broker has not let us know yet.
        """
        consumer = self._consumer
        status: dict[str, Any] = {
            "status": "connecting" if consumer is None else "ok",
            "since": round(self._reactor.seconds() - self._since, 3),
            "active": None if consumer is None or self._paused else consumer.active or None,
            "unacked": 0 if consumer is None else consumer.unsettled,
        }
        if self._stopped is not None:
            status["error"] = "stopped"
        elif consumer is None:
            status["error"] = self._outage.error or "not connected yet"
        if self._paused:
            status["paused"] = True
        links = (self._link, self._post.link)
        if self._dead_letters.blocked or any(link is not None and link.blocked for link in links):
            status["blocked"] = True
        if self._dead_letters:
            status["dead_letters"] = len(self._dead_letters)
        if self._dead_letters.outage.error is not None:
            status["dead_letters_error"] = self._dead_letters.outage.error
        return status

    def post(self, body: bytes, key: str) -> Deferred[None]:
        """
        See L{IEventSource.post}.
        """
        if self._consumer is None:
            return fail(LinkError("RabbitMQ is away"))
        return Deferred.fromCoroutine(self._post.send(body, key))

    def superseded(self, consumer: str) -> None:
        """
        What C{consumer} is given will not be published: another has taken over from it. If it is
        still ours, we have not noticed yet that its connection is lost; or the broker has gone
        back to it, and then a new one will do.
        """
        if self._consumer is not None and self._consumer.id == consumer and self._link is not None:
            self._link.abort()

    def pause(self) -> Deferred[None]:
        """
        See L{IEventSource.pause}.
        """
        return Deferred.fromCoroutine(self._retire(HANDOVER))

    def stop(self) -> Deferred[None]:
        """
        See L{IEventSource.stop}.
        """
        if self._stopped is None:
            self._stopped = Once()
            stopping = Deferred.fromCoroutine(self._stop(self._stopped))
            stopping.addErrback(
                lambda why: self.log.failure("RabbitMQ was not left in good order", why)
            )
        return self._stopped.wait()

    async def _retire(self, grace: float) -> None:
        self._paused = True
        if self._consumer is not None:
            await self._consumer.retire(grace)
        elif self._supervision is not None:
            self._supervision.cancel()

    async def _stop(self, stopped: Once) -> None:
        try:
            await self._retire(FLUSH)
            if self._link is not None:
                await self._link.part(PARTING)
            await self._dead_letters.stop()
            self._post.close()
            if self._supervision is not None:
                self._supervision.cancel()
        finally:
            stopped.happen()

    async def _supervise(self, receiver: IEventReceiver) -> None:
        while True:
            try:
                await self._consume(receiver)
            except LinkError as error:
                self._complain(error.reason)
            except CancelledError:
                raise
            except Exception:
                self.log.failure("A bug ended the consuming")
                self._complain("the gateway failed; its log says how")
            if self._paused:
                return
            await deferLater(self._reactor, self._backoff.next())

    async def _consume(self, receiver: IEventReceiver) -> None:
        """
        Connect, set up, and hand on what comes until that ends.

        @raise LinkError: why it ended.
        """
        link = await self._broker.connect("events")
        self._link = link
        try:
            channel, consumer = await self._set_up(link, receiver)
            self._consumer = consumer
            self._begun()
            running = Deferred.fromCoroutine(consumer.run())
            # Should pika fail to tell the consumer of it, the loss still ends it.
            link.lost.wait().addCallback(lambda _: running.cancel())
            renewing = Deferred.fromCoroutine(self._renew(channel))
            renewing.addErrback(lambda why: why.trap(CancelledError, LinkError) and None)
            try:
                await running
            finally:
                renewing.cancel()
        except CancelledError:
            if not link.lost.happened:
                raise
            raise link.error(ConnectionError()) from None
        finally:
            if self._consumer is not None:
                self._consumer = None
                now = self._reactor.seconds()
                if now - self._since >= HEALTHY:
                    self._backoff.reset()
                self._since = now
            self._link = None
            link.abort()

    async def _set_up(self, link: Link, receiver: IEventReceiver) -> tuple[Channel, Consumer]:
        setting_up = Deferred.fromCoroutine(self._declare(link, receiver))
        try:
            return await setting_up.addTimeout(SETTING_UP, self._reactor)
        except TimedOut as error:
            raise link.error(error) from None

    async def _declare(self, link: Link, receiver: IEventReceiver) -> tuple[Channel, Consumer]:
        channel = await link.open()
        await channel.call(
            "queue_declare",
            queue=self._queue,
            durable=True,
            arguments={"x-single-active-consumer": True},
        )
        await self._bind(channel)
        await channel.call("basic_qos", prefetch_count=self._prefetch)
        consumer = Consumer(
            self._reactor,
            channel,
            receiver,
            self._dead_letters,
            self.counts,
            self._instance,
            self._wall,
            self._prefetch,
        )
        await consumer.begin(self._queue)
        return channel, consumer

    async def _bind(self, channel: Channel) -> None:
        await channel.call(
            "exchange_declare",
            exchange=self._exchange,
            exchange_type=self._exchange_type,
            durable=True,
        )
        await channel.call(
            "queue_bind", queue=self._queue, exchange=self._exchange, routing_key="#"
        )

    async def _renew(self, channel: Channel) -> None:
        """
        Bind again and again. Where that is refused it ends the channel, and so the consuming.
        """
        while True:
            await deferLater(self._reactor, self._renewal)
            if self._paused:
                return
            await self._bind(channel)

    def _begun(self) -> None:
        self.counts.connects += 1
        now = self._reactor.seconds()
        self._since = now
        lasted = self._outage.over(now)
        if lasted is None:
            self.log.info(
                "Consuming queue {queue!r} of RabbitMQ at {address}",
                queue=self._queue,
                address=self._broker.account.address,
            )
        else:
            self.log.info(
                "RabbitMQ at {address} is back after {lasted:.1f} s",
                address=self._broker.account.address,
                lasted=lasted,
            )

    def _complain(self, reason: str) -> None:
        if self._outage.failed(reason, self._reactor.seconds()) and not self._paused:
            self.log.error("No events: {reason}; trying again", reason=reason)

    def _supervision_failed(self, why: Any) -> None:
        if not why.check(CancelledError):
            self.log.failure("Consuming has ended for good", why)
