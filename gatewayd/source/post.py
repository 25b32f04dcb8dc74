"""
Publishing to the exchange that we consume: what the gateway itself has to say there.

By a connection of its own, as with the dead letters: a broker short of memory does not read
from connections that publish, and acks would wait with what is published.
"""

from __future__ import annotations

from typing import Any

from pika import BasicProperties
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gatewayd.source.broker import Broker
from gatewayd.source.link import Channel, Link, LinkError

LIFETIME_MS = 10_000
"""
Milliseconds after which the broker drops what nobody has consumed: it is of no use later.
"""

PATIENCE = 5.0
"""
Seconds for the broker to take a message. One that is short of memory takes none.
"""


class Post:
    """
    Publishes what may get lost. It connects when it has something to publish, and again with
    the next when that did not work.

    @ivar link: the connection, if there is one.
    """

    log = Logger()

    def __init__(self, broker: Broker, exchange: str) -> None:
        self._broker = broker
        self._exchange = exchange
        self.link: Link | None = None
        self._channel: Channel | None = None
        self._busy = False

    async def send(self, body: bytes, key: str) -> None:
        """
        @raise LinkError: it was not taken; or the one before it is under way still.
        """
        if self._busy:
            raise LinkError("the message before this one is under way still")
        self._busy = True
        try:
            sending = Deferred.fromCoroutine(self._send(body, key))
            await sending.addTimeout(PATIENCE, self._broker.reactor)
        except Exception as error:
            self.close()
            if isinstance(error, LinkError):
                raise
            raise LinkError(f"RabbitMQ did not take it: {type(error).__name__}") from None
        finally:
            self._busy = False

    async def _send(self, body: bytes, key: str) -> None:
        channel = self._channel
        if channel is None or not channel.usable:
            self.close()
            self.link = await self._broker.connect("canary")
            channel = await self.link.open()
            await channel.call("confirm_delivery")
            self._channel = channel
        await channel.call(
            "basic_publish",
            exchange=self._exchange,
            routing_key=key,
            body=body,
            properties=self._properties(),
        )

    def _properties(self) -> Any:
        return BasicProperties(
            content_type="application/json", delivery_mode=1, expiration=str(LIFETIME_MS)
        )

    def close(self) -> None:
        """
        Disconnect.
        """
        link, self.link, self._channel = self.link, None, None
        if link is not None:
            link.abort()
