"""
RabbitMQ as the microservices use it: publishing events with confirms, and looking into queues.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pika
from pika.adapters.twisted_connection import TwistedChannel, TwistedProtocolConnection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.live.waiting import reactor, within

EXCHANGE = "discord_events"


class Connection:
    """
    An AMQP connection with one channel, which confirms what is published on it.
    """

    def __init__(self, protocol: TwistedProtocolConnection, channel: TwistedChannel) -> None:
        self.channel = channel
        self._protocol = protocol

    @classmethod
    async def open(cls, url: str, timeout: float = 10.0) -> Connection:
        """
        @raise Exception: whatever keeps one from connecting; pika says little about it.
        @raise Late: the broker did not answer in C{timeout} seconds.
        """
        # pika leaves connecting to us, and so ignores the address in its parameters.
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        protocol = TwistedProtocolConnection(pika.URLParameters(url), custom_reactor=reactor)
        endpoint = TCP4ClientEndpoint(reactor, address.hostname, address.port, timeout=timeout)
        await connectProtocol(endpoint, protocol)
        try:
            # It has no timeout of its own for a broker that accepts and says nothing.
            await within(timeout, f"AMQP from {address.hostname}:{address.port}", protocol.ready)
            channel = await within(timeout, "an AMQP channel", protocol.channel())
            # Numbers are given to confirms from here on, so nothing may be published before.
            await within(timeout, "publisher confirms", channel.confirm_delivery())
        except BaseException:
            protocol.transport.abortConnection()
            raise
        return cls(protocol, channel)

    async def close(self, timeout: float = 5.0) -> None:
        """
        Disconnect, with a word where the broker still listens. Twice is harmless.
        """
        if self._protocol.transport is None or not self._protocol.is_open:
            return
        closed: Deferred[object] = Deferred()
        # Its own Deferred fires with an exception as its result, even in good order.
        self._protocol.closed.addBoth(lambda _: closed.callback(None))
        self._protocol.close()
        try:
            await within(timeout, "the AMQP connection to close", closed)
        finally:
            self._protocol.transport.abortConnection()


class Publisher:
    """
    A microservice.
    """

    def __init__(self, connection: Connection, exchange: str) -> None:
        self.connection = connection
        self.exchange = exchange

    @classmethod
    async def open(cls, url: str, exchange: str = EXCHANGE, timeout: float = 10.0) -> Publisher:
        """
        Connect, and declare the exchange as the protocol has it: a durable topic exchange.
        """
        connection = await Connection.open(url, timeout)
        try:
            await within(
                timeout,
                f"exchange {exchange}",
                connection.channel.exchange_declare(exchange, "topic", durable=True),
            )
        except BaseException:
            await connection.close()
            raise
        return cls(connection, exchange)

    async def publish(
        self,
        event: str,
        data: object,
        *,
        message_id: str | None = None,
        routed: bool = True,
        timeout: float = 10.0,
        **envelope: object,
    ) -> None:
        """
        Publish one event, and return once the broker has it on its books.

        @param data: any JSON value, or C{bytes} that hold one and are passed on as they are.
        @param routed: fail if no queue took it, as when no gateway was there yet to bind one.
        @param envelope: the other fields of the body: C{guildId}, C{userIds} ...
        """
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        head = json.dumps({"event": event, **envelope}).encode()
        await self.publish_body(
            head[:-1] + b', "data": ' + raw + b"}",
            event,
            message_id=message_id,
            routed=routed,
            timeout=timeout,
        )

    async def publish_body(
        self,
        body: bytes,
        routing_key: str,
        *,
        message_id: str | None = None,
        headers: dict[str, Any] | None = None,
        routed: bool = True,
        timeout: float = 10.0,
    ) -> None:
        """
        Publish what need not be an event at all.

        @raise pika.exceptions.UnroutableError: no queue took it, and C{routed}.
        @raise pika.exceptions.NackError: the broker refused it.
        @raise Late: no confirm came in C{timeout} seconds. It may have been published.
        """
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=pika.DeliveryMode.Persistent.value,
            message_id=message_id,
            headers=headers,
        )
        confirmed = self.connection.channel.basic_publish(
            self.exchange, routing_key, body, properties, mandatory=routed
        )
        await within(timeout, f"the confirm of {routing_key}", confirmed)

    async def close(self) -> None:
        """
        Disconnect.
        """
        await self.connection.close()


class Delivery(NamedTuple):
    """
    One message as a consumer got it.
    """

    body: bytes
    routing_key: str
    message_id: str | None
    headers: dict[str, Any]
    redelivered: bool

    def json(self) -> Any:
        """
        The body, decoded.
        """
        return json.loads(self.body)


class Consumer:
    """
    Takes messages off a queue, each acknowledged as it is returned.
    """

    def __init__(self, connection: Connection, queue: Any) -> None:
        self.connection = connection
        self._queue = queue

    @classmethod
    async def of_queue(cls, url: str, queue: str, timeout: float = 10.0) -> Consumer:
        """
        Consume from a queue that exists, such as one of dead letters.
        """
        connection = await Connection.open(url, timeout)
        return await cls._consume(connection, queue, timeout)

    @classmethod
    async def of_exchange(
        cls, url: str, exchange: str = EXCHANGE, routing_key: str = "#", timeout: float = 10.0
    ) -> Consumer:
        """
        Consume all that is published to an exchange that exists, from now on, by way of a queue
        that goes when this consumer does.
        """
        connection = await Connection.open(url, timeout)
        channel = connection.channel
        try:
            declared = await within(
                timeout, "a private queue", channel.queue_declare("", exclusive=True)
            )
            queue = declared.method.queue
            await within(
                timeout,
                f"a binding to {exchange}",
                channel.queue_bind(queue, exchange, routing_key),
            )
        except BaseException:
            await connection.close()
            raise
        return await cls._consume(connection, queue, timeout)

    @classmethod
    async def _consume(cls, connection: Connection, queue: str, timeout: float) -> Consumer:
        try:
            consuming = connection.channel.basic_consume(queue)
            deliveries, _tag = await within(timeout, f"messages of {queue}", consuming)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, deliveries)

    async def next(self, timeout: float = 5.0) -> Delivery:
        """
        The next message.

        @raise Late: there was none in C{timeout} seconds.
        """
        got = await within(timeout, "a message in the queue", self._queue.get())
        channel, method, properties, body = got
        channel.basic_ack(method.delivery_tag)
        return Delivery(
            body,
            method.routing_key,
            properties.message_id,
            dict(properties.headers or {}),
            method.redelivered,
        )

    async def close(self) -> None:
        """
        Disconnect.
        """
        await self.connection.close()
