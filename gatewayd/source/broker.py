"""
Where RabbitMQ is.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from pika import ConnectionParameters, PlainCredentials
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS

from gatewayd import __version__
from gatewayd.source.link import HEARTBEAT, Link, explained
from gatewayd.source.reasons import Account

HANDSHAKE = 10.0
"""
Seconds for each step of connecting: name and TCP, then TLS and the AMQP handshake.
"""


class _Once(Factory):
    """
    Gives an endpoint the protocol that there already is. Twisted's C{connectProtocol} does so
    too, and logs two lines at each attempt.
    """

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: object) -> Link:
        """
        The one.
        """
        return self._link


class Broker:
    """
    Where RabbitMQ is, and who this instance is there.
    """

    def __init__(self, reactor: Any, url: str, instance: str, handshake: float = HANDSHAKE) -> None:
        """
        @param reactor: provides L{IReactorTime}, L{IReactorTCP} and a name resolver.
        @param url: C{amqp[s]://USER:PASSWORD@HOST:PORT/VHOST}; what is left out is RabbitMQ's
            own default.
        @param instance: shown in RabbitMQ's list of connections.
        @param handshake: seconds for each step of connecting.
        """
        parts = urlsplit(url)
        tls = parts.scheme == "amqps"
        self.reactor = reactor
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (5671 if tls else 5672)
        self.account = Account(
            address=f"{self._host}:{self._port}",
            user=unquote(parts.username or "guest"),
            vhost=unquote(parts.path[1:]) or "/",
            tls=tls,
        )
        self._password = unquote(parts.password or "guest")
        self._instance = instance
        self._handshake = handshake

    async def connect(self, purpose: str) -> Link:
        """
        Make a new connection that is ready for channels.

        @param purpose: told to the broker beside the instance's name.
        @raise LinkError: it is not to be had; whatever there was of it has been aborted.
        """
        link = Link(self.reactor, self._parameters(purpose), self.account)
        # Taken now: pika forgets this Deferred as soon as it has fired.
        ready: Deferred[Any] = link.ready
        try:
            with explained(link):
                await self._endpoint().connect(_Once(link))
                # pika starts no timer of its own before the handshake is over.
                await ready.addTimeout(self._handshake, self.reactor)
        except BaseException:
            link.abort()
            raise
        return link

    def _endpoint(self) -> IStreamClientEndpoint:
        endpoint = HostnameEndpoint(self.reactor, self._host, self._port, timeout=self._handshake)
        if not self.account.tls:
            return endpoint
        return wrapClientTLS(optionsForClientTLS(self._host), endpoint)

    def _parameters(self, purpose: str) -> Any:
        return ConnectionParameters(
            virtual_host=self.account.vhost,
            credentials=PlainCredentials(self.account.user, self._password),
            heartbeat=HEARTBEAT,
            client_properties={
                "connection_name": f"{self._instance} {purpose}",
                "product": "gatewayd",
                "version": __version__,
                "information": "",
            },
        )
