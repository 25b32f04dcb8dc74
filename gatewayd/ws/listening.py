"""
A client that listens: it identifies, answers heartbeats, and hands on what it hears.

It is there for a person who wants to see what the gateway sends (C{gatewayctl listen}). It
does not come back after a close and it does not resume, so it is no SDK.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""
Far more than a gateway sends; it bounds what a server that is none can make us hold.
"""


class Ending(NamedTuple):
    """
    How a connection ended, as RFC 6455 section 7.1.5 and 7.1.6 name it.

    @ivar code: 1006 where there was no close frame; C{reason} then says why not.
    """

    code: int
    reason: str


class Listener(WebSocketClientProtocol):
    """
    One connection, from C{ready} to its end.

    @param identify: the C{data} of its C{identify}.
    @param heard: gets the text of each message but heartbeats, as it came.
    @ivar ended: fires with the L{Ending} of the connection.
    """

    def __init__(self, identify: Mapping[str, Any], heard: Callable[[str], None]) -> None:
        super().__init__()
        self._identify = identify
        self._heard = heard
        self._stranger = False
        self.ended: Deferred[Ending] = Deferred()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Called by Autobahn with each whole message.
        """
        try:
            event = msgspec.json.decode(payload, type=_Message).event
        except msgspec.MsgspecError:
            self._stranger = True
            self.dropConnection(abort=True)
            return
        if event == "heartbeat":
            self._say("heartbeat_ack", {})
            return
        self._heard(payload.decode())
        if event == "ready":
            self._say("identify", self._identify)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        Called by Autobahn once, at the end, however it came about.
        """
        if self._stranger:
            reason = "what answers there does not speak as a gateway does"
        self.ended.callback(Ending(1006 if code is None else code, reason or ""))

    def _say(self, event: str, data: Mapping[str, Any]) -> None:
        self.sendMessage(msgspec.json.encode({"event": event, "data": data}))


class _Message(msgspec.Struct):
    event: str


def listener_factory(
    reactor: IReactorTime, url: str, identify: Mapping[str, Any], heard: Callable[[str], None]
) -> WebSocketClientFactory:
    """
    What connects a L{Listener}.
    """
    factory = WebSocketClientFactory(url, reactor=reactor)
    # Autobahn declares a class, and calls whatever is there.
    factory.protocol = lambda: Listener(identify, heard)  # type: ignore[assignment]
    factory.setProtocolOptions(
        maxMessagePayloadSize=MAX_MESSAGE_BYTES, failByDrop=False, closeHandshakeTimeout=3
    )
    return factory


async def listen(
    reactor: Any, url: str, identify: Mapping[str, Any], heard: Callable[[str], None]
) -> Ending:
    """
    Connect to C{url} (C{ws} or C{wss}), listen, and return how it ended.

    @raise ValueError: C{url} is no such address.
    @raise twisted.internet.error.ConnectError: nobody answers there.
    """
    factory = listener_factory(reactor, url, identify, heard)
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if host is None:
        raise ValueError(f"{url} names no host")
    secure = parts.scheme == "wss"
    endpoint: IStreamClientEndpoint = HostnameEndpoint(
        reactor, host, port or (443 if secure else 80)
    )
    if secure:
        endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
    listener = cast(Listener, await endpoint.connect(factory))
    return await listener.ended
