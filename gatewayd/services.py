"""
The parts of a gateway that Twisted starts and stops: what listens, what consumes, what follows
the log.
"""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError

from gatewayd.config.endpoints import with_backlog
from gatewayd.delivery import Delivery
from gatewayd.errors import GatewayError
from gatewayd.interfaces import IEventBus, IEventReceiver, IEventSource

BACKLOG = 2048
"""
Connections that wait to be accepted.
"""


class CannotListen(GatewayError):
    """
    An address is not to be had.
    """


class Listener(StreamServerEndpointService):
    """
    Listens by an endpoint string. Twisted's own logs a failure to listen and leaves the
    daemon running without a listener.
    """

    def __init__(self, reactor: Any, description: str, key: str, factory: Any) -> None:
        """
        @param key: where the description is configured.
        """
        self._description = description
        self._key = key
        try:
            endpoint = serverFromString(reactor, with_backlog(description, BACKLOG))
        except Exception as error:
            raise CannotListen(f"{key} = {description} is no endpoint: {error}") from None
        super().__init__(endpoint, factory)

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise CannotListen: somebody else does, or one may not.
        """
        self._raiseSynchronously = True
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CannotListen(
                f"cannot listen on {self._description}: {reason}. Stop what has it, or change "
                f"{self._key} (or {_variable(self._key)})."
            ) from None
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {self._description}: {error}. See {self._key}."
            ) from None


class Following(Service):
    """
    The bus: the publisher to Redis and the subscriber, or the log in memory.
    """

    def __init__(self, bus: IEventBus, delivery: Delivery) -> None:
        self._bus = bus
        self._delivery = delivery

    def startService(self) -> None:
        """
        Begin to hear.
        """
        super().startService()
        self._bus.start(self._delivery)

    def stopService(self) -> Deferred[None]:
        """
        Hear nothing more, and publish nothing.
        """
        super().stopService()
        return self._bus.stop()


class Consuming(Service):
    """
    A source of events: the consumer of RabbitMQ, or what is given to this process by hand.
    """

    def __init__(self, source: IEventSource, receiver: IEventReceiver) -> None:
        self._source = source
        self._receiver = receiver

    def startService(self) -> None:
        """
        Begin to take events.
        """
        super().startService()
        self._source.start(self._receiver)

    def stopService(self) -> Deferred[None]:
        """
        Take no more.
        """
        super().stopService()
        return self._source.stop()


def _variable(key: str) -> str:
    section, name = key.replace("[", "").split("] ")
    return f"GATEWAY_{section}_{name}".upper()
