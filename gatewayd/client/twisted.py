"""
The client for Twisted, by Autobahn.
"""

from __future__ import annotations

import random
import time
from typing import Any, Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure

from gatewayd.client.errors import ClientError
from gatewayd.client.inputs import Leave, Lost, Opened, Text, Want
from gatewayd.client.options import Timing
from gatewayd.client.shell import Shell, Store, TokenFunction
from gatewayd.client.upgrades import refused

__all__ = ["GatewayClient"]

LARGEST = 16 * 1024 * 1024
"""
Bytes of a message that are taken. A gateway sends none of that size.
"""

FAREWELL = 2.0
"""
Seconds for a close frame to be answered.
"""


class GatewayClient(Shell):
    """
    A client that stays connected: C{await client.run()}.

    Listeners may be coroutine functions, and may return Deferreds. They are started in the
    order of the events and not waited for.
    """

    _log = Logger("gatewayd.client")

    def __init__(
        self,
        url: str,
        *,
        user_id: str,
        token: str | TokenFunction,
        guild_ids: Iterable[str] = (),
        events: Iterable[str] = (),
        client: str | None = None,
        last_event_id: str | None = None,
        store: Store | None = None,
        timing: Timing | None = None,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] | None = None,
        reactor: Any = None,
    ) -> None:
        """
        See L{Shell.__init__}.

        @param reactor: the global one, if none is given.
        """
        if reactor is None:
            from twisted.internet import reactor  # noqa: TID251 - a user's convenience
        super().__init__(
            url,
            user_id=user_id,
            token=token,
            guild_ids=guild_ids,
            events=events,
            client=client,
            last_event_id=last_event_id,
            store=store,
            timing=timing,
            random=random,
            clock=clock or reactor.seconds,
        )
        self._reactor = reactor
        self._socket: _Socket | None = None
        self._sockets: set[_Socket] = set()
        self._timer: IDelayedCall | None = None
        self._token: Deferred[None] | None = None
        self._done: Deferred[None] | None = None
        self._outcome: ClientError | None = None
        self._closed = False

    def run(self) -> Deferred[None]:
        """
        Connect, and stay connected until L{close} or cancellation.

        @return: fires when the connection is gone; fails with L{ClientError} if the gateway
            said not to come back, or there is no token any more.
        """
        if self._done is not None:
            raise RuntimeError("this client runs already")
        done: Deferred[None] = Deferred(lambda _: self._close())
        self._done, self._outcome, self._closed = done, None, False
        self._connect()
        return done

    def close(self) -> None:
        """
        Be closed, now. What L{run} returned fires once the connection is gone.
        """
        self._close()

    def subscribe(self, guild_id: str) -> Deferred[None]:
        """
        Hear a guild, on this connection and every later one.

        @return: fires when it is heard; fails with L{ClientError} if the gateway denies it, or
            the client closed.
        """
        return self._settled(Want, guild_id)

    def unsubscribe(self, guild_id: str) -> Deferred[None]:
        """
        Hear a guild no more.

        @return: fires when no event of it will follow.
        """
        return self._settled(Leave, guild_id)

    def _settled(self, kind: type[Want] | type[Leave], guild_id: str) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        self._subscribing(kind, guild_id, deferred)
        return deferred

    # ----------------------------------------------------------- see L{Shell}

    def _open(self, attempt: int) -> None:
        self._socket = _Socket(self, attempt)
        self._sockets.add(self._socket)
        self._socket.dial(self._reactor, self.url)

    def _send(self, text: str) -> None:
        if self._socket is not None:
            self._socket.say(text)

    def _drop(self, code: int, reason: str) -> None:
        if self._socket is not None:
            self._socket.leave(code, reason)
            self._socket = None

    def _wake(self, seconds: float | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self._reactor.callLater(seconds, self._tick)

    def _await_token(self, answer: Awaitable[str]) -> None:
        async def wait() -> None:
            try:
                token = await answer
            except Exception as error:
                self.refused(error)
            else:
                self.answered(token)

        self._token = ensureDeferred(wait())
        self._token.addErrback(self.bug)

    def _resolve(self, future: Deferred[None], error: ClientError | None) -> None:
        if error is None:
            future.callback(None)
        else:
            future.errback(error)

    def _ended(self, error: ClientError | None) -> None:
        self._outcome, self._closed = error, True
        if self._token is not None:
            self._token.cancel()
        self.gone(None)

    def _follow(self, result: object) -> None:
        if not isinstance(result, Awaitable):
            return

        async def wait() -> None:
            try:
                await result
            except Exception as error:
                self._listener_failed("an event", error)

        ensureDeferred(wait()).addErrback(self.bug)

    def _complain(self, text: str, error: BaseException) -> None:
        if isinstance(error, ClientError):
            self._log.warn("{text}", text=text)
        else:
            self._log.failure("{text}", Failure(error), text=text)

    def bug(self, failure: Failure) -> None:
        """
        The client itself failed.
        """
        self._log.failure("the client failed", failure)

    def gone(self, socket: _Socket | None) -> None:
        """
        A socket is no more, or there may be none left.
        """
        if socket is not None:
            self._sockets.discard(socket)
        if self._closed and not self._sockets and self._done is not None:
            done, self._done = self._done, None
            # One that was cancelled has fired.
            if not done.called:
                self._resolve(done, self._outcome)


class _Socket:
    """
    One attempt's connection.
    """

    def __init__(self, client: GatewayClient, attempt: int) -> None:
        self.client = client
        self.attempt = attempt
        self.protocol = _Protocol(self)
        self._dialling: Deferred[Any] | None = None
        self._reactor: Any = None
        self._abort: IDelayedCall | None = None
        self._left = False

    def dial(self, reactor: Any, url: str) -> None:
        self._reactor = reactor
        factory = WebSocketClientFactory(url, reactor=reactor)
        factory.noisy = False
        factory.protocol = lambda: self.protocol  # type: ignore[assignment]
        # The core has all the timeouts, and heartbeats take the place of pings.
        factory.setProtocolOptions(
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            serverConnectionDropTimeout=FAREWELL,
            maxMessagePayloadSize=LARGEST,
            tcpNoDelay=True,
        )
        self._dialling = _endpoint(reactor, url).connect(factory)
        self._dialling.addCallbacks(self._connected, self._not_connected)
        self._dialling.addErrback(self.client.bug)

    def _connected(self, _protocol: object) -> None:
        self._dialling = None
        if self._left:
            self.protocol.dropConnection(abort=True)

    def _not_connected(self, failure: Failure) -> None:
        self._dialling = None
        why = ClientError("unreachable", f"no connection: {failure.getErrorMessage()}")
        why.__cause__ = failure.value
        self.ended(Lost(self.attempt, error=why))

    def opened(self) -> None:
        if not self._left:
            self.client.receive(Opened(self.attempt))

    def heard(self, text: bytes) -> None:
        if not self._left:
            self.client.receive(Text(self.attempt, text))

    def ended(self, lost: Lost) -> None:
        if self._abort is not None and self._abort.active():
            self._abort.cancel()
        self.client.gone(self)
        self.client.receive(lost)

    def say(self, text: str) -> None:
        self.protocol.sendMessage(text.encode())

    def leave(self, code: int, reason: str) -> None:
        self._left = True
        if self._dialling is not None:
            self._dialling.cancel()
        elif self.protocol.state == WebSocketClientProtocol.STATE_OPEN:
            self.protocol.sendClose(code, reason)
            # A socket with nobody at its other end would wait for its buffer to drain.
            self._abort = self._reactor.callLater(FAREWELL, self.protocol.abort)
        else:
            self.protocol.abort()


def _endpoint(reactor: Any, url: str) -> IStreamClientEndpoint:
    parts = urlsplit(url)
    assert parts.hostname is not None
    secure = parts.scheme == "wss"
    endpoint = HostnameEndpoint(reactor, parts.hostname, parts.port or (443 if secure else 80))
    return wrapClientTLS(optionsForClientTLS(parts.hostname), endpoint) if secure else endpoint


class _Protocol(WebSocketClientProtocol):
    """
    Autobahn's side of a L{_Socket}.
    """

    transport: Any

    def __init__(self, socket: _Socket) -> None:
        super().__init__()
        self._of = socket

    def onOpen(self) -> None:
        """
        The handshake is done.
        """
        self._of.opened()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        One message.
        """
        self._of.heard(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        The TCP connection is gone.
        """
        attempt, status = self._of.attempt, getattr(self, "http_status_line", "").split()
        if len(status) > 1 and status[1].isdigit() and status[1] != "101":
            header = self.http_headers.get("retry-after")
            lost = Lost(attempt, error=refused(int(status[1]), header, time.time()))
        else:
            # Autobahn says 1006 of every end that was not in perfect order, whatever the
            # server's close frame said before.
            code, reason = self.remoteCloseCode or code or 1006, self.remoteCloseReason or reason
            lost = Lost(attempt, code, reason or "")
        self._of.ended(lost)

    def abort(self) -> None:
        """
        Be gone.
        """
        if self.transport is not None:
            self.transport.abortConnection()
