"""
The client for asyncio.

It is built on C{websockets}, which C{pip install 'gatewayd[client]'} brings: it has a pure
protocol core of its own, no dependencies, and tells why an upgrade was refused. Nothing here
imports Twisted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, Awaitable, Callable, Coroutine, Iterable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

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

_log = logging.getLogger("gatewayd.client")


class GatewayClient(Shell):
    """
    A client that stays connected: C{await client.run()}.

    Listeners may be coroutine functions. They are started in the order of the events and not
    waited for.
    """

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        See L{Shell.__init__}.
        """
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
            clock=clock,
        )
        self._socket: _Socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[None] | None = None
        self._token_task: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        # asyncio itself holds tasks only weakly.
        self._listening: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """
        Connect, and stay connected until L{close} or cancellation.

        @raise ClientError: the gateway said not to come back, or there is no token any more.
        """
        if self._done is not None:
            raise RuntimeError("this client runs already")
        self._done = asyncio.get_running_loop().create_future()
        try:
            self._connect()
            await self._done
        finally:
            self._close()
            self._done = None
            if self._token_task is not None:
                self._token_task.cancel()
            if self._connections:
                await asyncio.wait(self._connections, timeout=2 * FAREWELL)

    async def close(self) -> None:
        """
        Be closed, now. L{run} returns once the connection is gone.
        """
        self._close()

    async def subscribe(self, guild_id: str) -> None:
        """
        Hear a guild, on this connection and every later one. Returns when it is heard.

        @raise ClientError: the gateway denies it, or the client closed.
        """
        await self._settled(Want, guild_id)

    async def unsubscribe(self, guild_id: str) -> None:
        """
        Hear a guild no more. Returns when no event of it will follow.
        """
        await self._settled(Leave, guild_id)

    def _settled(self, kind: type[Want] | type[Leave], guild_id: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribing(kind, guild_id, future)
        return future

    # ----------------------------------------------------------- see L{Shell}

    def _open(self, attempt: int) -> None:
        self._socket = _Socket(self, attempt)
        _spawn(self._socket.run(), self._connections)

    def _send(self, text: str) -> None:
        if self._socket is not None:
            self._socket.outgoing.put_nowait(text)

    def _drop(self, code: int, reason: str) -> None:
        if self._socket is not None:
            self._socket.leave(code, reason)
            self._socket = None

    def _wake(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._tick)

    def _await_token(self, answer: Awaitable[str]) -> None:
        async def wait() -> None:
            try:
                token = await answer
            except (Exception, asyncio.CancelledError) as error:
                self.refused(error)
            else:
                self.answered(token)

        self._token_task = asyncio.get_running_loop().create_task(wait())

    def _resolve(self, future: asyncio.Future[None], error: ClientError | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def _ended(self, error: ClientError | None) -> None:
        if self._done is not None:
            self._resolve(self._done, error)

    def _follow(self, result: object) -> None:
        if not isinstance(result, Awaitable):
            return

        async def wait() -> None:
            try:
                await result
            except Exception as error:
                self._listener_failed("an event", error)

        _spawn(wait(), self._listening)

    def _complain(self, text: str, error: BaseException) -> None:
        expected = isinstance(error, ClientError)
        _log.warning("%s", text, exc_info=None if expected else error)


def _spawn(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


class _Socket:
    """
    One attempt's connection.
    """

    def __init__(self, client: GatewayClient, attempt: int) -> None:
        self.client = client
        self.attempt = attempt
        self.outgoing: asyncio.Queue[str] = asyncio.Queue()
        self.connection: ClientConnection | None = None
        self._dialling: asyncio.Task[ClientConnection] | None = None
        self._left = False

    async def run(self) -> None:
        lost = Lost(self.attempt)
        try:
            self._dialling = asyncio.ensure_future(self._dial())
            connection = self.connection = await self._dialling
            if not self._left:
                self.client.receive(Opened(self.attempt))
                lost = await self._converse(connection)
        except asyncio.CancelledError:
            if not self._left:
                raise
        except InvalidStatus as error:
            answer = error.response
            why = refused(answer.status_code, answer.headers.get("Retry-After"), time.time())
            lost = Lost(self.attempt, error=why)
        except Exception as error:
            # The resolver's, the socket's, TLS's and the handshake's: all are no connection.
            why = ClientError("unreachable", f"no connection: {error}")
            why.__cause__ = error
            lost = Lost(self.attempt, error=why)
        finally:
            if self.connection is not None:
                await self.connection.close()
        self.client.receive(lost)

    async def _dial(self) -> ClientConnection:
        # The core has all the timeouts, and heartbeats take the place of pings.
        return await connect(
            self.client.url,
            open_timeout=None,
            ping_interval=None,
            close_timeout=FAREWELL,
            max_size=LARGEST,
        )

    async def _converse(self, connection: ClientConnection) -> Lost:
        writer = asyncio.ensure_future(self._write(connection))
        try:
            while True:
                text = await connection.recv(decode=False)
                self.client.receive(Text(self.attempt, text))
        except ConnectionClosed:
            code, reason = connection.close_code or 1006, connection.close_reason or ""
            return Lost(self.attempt, code, reason)
        finally:
            writer.cancel()

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                await connection.send(await self.outgoing.get())
        except ConnectionClosed:
            pass  # The reader tells.

    def leave(self, code: int, reason: str) -> None:
        self._left = True
        if self.connection is not None:
            _spawn(self.connection.close(code, reason), self.client._connections)
        elif self._dialling is not None:
            self._dialling.cancel()
