"""
The door: what it takes to get a WebSocket here, and what all of them are held to.
"""

from __future__ import annotations

import resource
from ipaddress import ip_address, ip_network
from typing import Any

from attrs import frozen
from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gatewayd.connection import Commons
from gatewayd.ws.broadcast import Broadcaster
from gatewayd.ws.handshake import Origins
from gatewayd.ws.pressure import Pressure
from gatewayd.ws.protocol import GatewayProtocol

CLOSE_TIMEOUT = 4.0
"""
Seconds. Autobahn's timers cut to whole seconds, so its default of 1 may be next to nothing,
and the client is reset before it can read why.
"""
RETRY_AFTER = 5

SPARE_FILES = 1280
"""
Files that clients are not given, so that RabbitMQ and Redis can be connected to again, and
operators can ask what is going on, however many clients there are. Of a low limit, a quarter.
"""


@frozen
class Door:
    """
    Limits on who may come in. Zero is no limit.
    """

    origins: Origins
    max_message_bytes: int
    max_buffered_bytes: int
    max_buffered_total: int
    max_connections: int
    connections_per_address: int
    max_unidentified: int = 0
    trusted_proxies: tuple[str, ...] = ()
    compression: bool = False


class GatewayFactory(WebSocketServerFactory):
    """
    Makes a L{GatewayProtocol} for each connection.

    @ivar compresses: clients may ask for compressed frames.
    @ivar draining: nobody is let in any more.
    @ivar broadcaster: what writes to all of them.
    @ivar pressure: what they have not taken yet, in all.
    """

    protocol: Any = GatewayProtocol
    noisy = False

    def __init__(
        self, commons: Commons, door: Door, clock: IReactorTime, broadcaster: Broadcaster
    ) -> None:
        super().__init__(reactor=clock)
        self.commons = commons
        self.broadcaster = broadcaster
        self.pressure = Pressure(door.max_buffered_total)
        self.door = door
        self.clock = clock
        self.draining = False
        self.compresses = door.compression
        self.our_log = Logger(namespace="gatewayd.ws")
        self._addresses: dict[str, int] = {}
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._room = files - min(SPARE_FILES, files // 4)
        self._trusted = [ip_network(one) for one in door.trusted_proxies]
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            # Looked at where a message is whole, for a fiftieth of the cost.
            utf8validateIncoming=False,
            maxFramePayloadSize=door.max_message_bytes,
            maxMessagePayloadSize=door.max_message_bytes,
            # Otherwise a protocol error ends in a bare TCP close and the client never learns
            # its code.
            failByDrop=False,
            # It is kept by the timetable that keeps everything else.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=CLOSE_TIMEOUT,
            tcpNoDelay=True,
            # Origins are checked in onConnect; Autobahn's own list compares with an explicit
            # port, and any call to this method resets allowNullOrigin.
            allowNullOrigin=True,
            serveFlashSocketPolicy=False,
        )
        # It would tell the library's version to everybody.
        self.server = None
        # Autobahn copies each option to each connection that has none of that name.
        options = {name: getattr(self, name) for name in GatewayProtocol.CONFIG_ATTRS}
        self.protocol = type(GatewayProtocol.__name__, (GatewayProtocol,), options)

    def buildProtocol(self, addr: Any) -> Any:
        """
        A protocol for a new connection; L{None}, which closes it, where files become scarce. All
        other limits are kept when a handshake is whole, and can say so.
        """
        if self.countConnections >= self._room:
            self.commons.metrics.refusals.labels("none").inc()
            return None
        return super().buildProtocol(addr)

    def arrived(self, address: str) -> None:
        """
        A TCP connection came from C{address}.
        """
        self._addresses[address] = self._addresses.get(address, 0) + 1

    def departed(self, address: str) -> None:
        """
        One from C{address} is gone.
        """
        left = self._addresses.get(address, 1) - 1
        if left:
            self._addresses[address] = left
        else:
            self._addresses.pop(address, None)

    def came_from(self, address: str, forwarded: str) -> str:
        """
        Where a client is, whose connection came from C{address}.

        @param forwarded: its C{X-Forwarded-For}, which anybody may send: of what it says only
            that counts which a trusted proxy has added.
        """
        for hop in reversed(forwarded.split(",")):
            if not self._is_proxy(address):
                break
            try:
                address = str(ip_address(hop.strip()))
            except ValueError:
                break
        return address

    def _is_proxy(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)

    @property
    def unidentified(self) -> int:
        """
        Connections of which nobody knows yet whose they are.
        """
        return self.countConnections - self.commons.census.identified

    def refusal(self, origin: str | None, address: str) -> tuple[int, int | None] | None:
        """
        Why a handshake cannot go on.

        @return: an HTTP status and a Retry-After in seconds, or L{None} to let it in.
        """
        door = self.door
        if self.draining:
            return 503, RETRY_AFTER
        if not door.origins.allow(origin):
            return 403, None
        if door.max_connections and self.countConnections > door.max_connections:
            return 429, RETRY_AFTER
        if door.max_unidentified and self.unidentified > door.max_unidentified:
            return 429, RETRY_AFTER
        if (
            door.connections_per_address
            and self._addresses.get(address, 0) > door.connections_per_address
        ):
            return 429, RETRY_AFTER
        return None
