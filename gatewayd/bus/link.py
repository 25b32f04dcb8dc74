"""
Keeps one connection to Redis: connects, logs in, watches, and begins again.
"""

from __future__ import annotations

import re
from typing import Any, Awaitable, Callable, Generic, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from gatewayd.bus.connection import Connection, Lost, Refused, Subscription, sentence_of
from gatewayd.config.urls import RedisServer
from gatewayd.retry import Backoff, Outage

CONNECT_TIMEOUT = 5.0
INITIAL_DELAY = 0.05
MAX_DELAY = 5.0
HEALTHY = 5.0
"""
Seconds that a connection must have been of use before the waits between attempts begin
anew: one that is refused as soon as it is made should not be made again twenty times a second.
"""

TICK = 1.0
QUIET = 3
SILENT = 6
"""
Ticks without a byte from Redis, after which it is asked for one, and is given up. They are
counted and not measured, so that a process which was itself stopped for a minute does not
blame Redis for it.
"""

_C = TypeVar("_C", Connection, Subscription)


def endpoint_of(reactor: Any, server: RedisServer) -> IStreamClientEndpoint:
    """
    How to connect to C{server}. With TLS, its certificate and name are verified against the
    system's authorities, or those that the environment's C{SSL_CERT_FILE} names.
    """
    endpoint = HostnameEndpoint(reactor, server.host, server.port, timeout=CONNECT_TIMEOUT)
    if not server.tls:
        return endpoint
    wrapped: IStreamClientEndpoint = wrapClientTLS(optionsForClientTLS(server.host), endpoint)
    return wrapped


class Link(Generic[_C]):
    """
    One connection that is there whenever it can be.

    @ivar connection: the one that is of use now, if there is.
    @ivar connects: how many have been.
    @ivar outage: why there is none.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        server: RedisServer,
        build: Callable[[], _C],
        prepare: Callable[[_C], Awaitable[None]],
        *,
        purpose: str,
        client: str,
        random: Callable[[], float],
    ) -> None:
        """
        @param build: makes the protocol.
        @param prepare: what a new connection has to do before it is of use.
        @param purpose: what the connection is for, in the log.
        @param client: the name it is given in Redis' list of clients.
        """
        self._clock = clock
        self._endpoint = endpoint
        self._server = server
        self._prepare: Callable[[_C], Awaitable[None]] = prepare
        self._purpose = purpose
        self._client = re.sub(r"[^!-~]", "-", client)
        self._factory: Factory[_C] = Factory.forProtocol(build)
        # It would tell of its start and its end at each attempt.
        self._factory.noisy = False
        self._backoff = Backoff(INITIAL_DELAY, MAX_DELAY, random)
        self._waiting: list[Deferred[_C]] = []
        self._keeping: Deferred[None] | None = None
        self._stopped = False
        self.connection: _C | None = None
        self.connects = 0
        self.outage = Outage()

    def start(self) -> None:
        """
        Connect, and go on connecting.
        """
        self._keeping = Deferred.fromCoroutine(self._keep())

    async def stop(self) -> None:
        """
        Disconnect for good.
        """
        self._stopped = True
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await keeping

    def usable(self) -> Deferred[_C]:
        """
        Fires with a connection as soon as there is one.
        """
        if self.connection is not None:
            return succeed(self.connection)
        waiting: Deferred[_C] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def failed(self, error: str) -> None:
        """
        Take note that the connection, or what it is for, does not work.
        """
        if self.outage.failed(error, self._clock.seconds()):
            self.log.warn(
                "Redis at {host}:{port}, {purpose}: {error}; will try again",
                host=self._server.host,
                port=self._server.port,
                purpose=self._purpose,
                error=error,
            )

    async def _keep(self) -> None:
        try:
            while True:
                await self._once()
                await deferLater(self._clock, self._backoff.next(), lambda: None)
        except CancelledError:
            pass
        except Exception:
            # Not an error of Redis, which are all caught below, but of ours.
            self.log.failure("The link to Redis, {purpose}, has ended", purpose=self._purpose)

    async def _once(self) -> None:
        """
        One connection, from beginning to end.
        """
        try:
            # The interface promises only some protocol; it is the one that we build.
            connection = cast(_C, await self._endpoint.connect(self._factory))
        except CancelledError:
            raise
        except Exception as error:
            if self._stopped:
                # An attempt to connect that is cancelled may end as one that failed.
                raise CancelledError from None
            self.failed(sentence_of(error))
            return
        watch = LoopingCall(self._tick, connection)
        watch.clock = self._clock
        watching = watch.start(TICK, now=False)
        try:
            await self._login(connection)
            await self._prepare(connection)
            self._up(connection)
            since = self._clock.seconds()
            await connection.gone()
            if self._clock.seconds() - since >= HEALTHY:
                self._backoff.reset()
            self.failed(f"connection lost: {connection.end}")
        except Refused as error:
            self.failed(str(error))
        except Lost:
            await connection.gone()
            self.failed(f"connection lost: {connection.end}")
        finally:
            self.connection = None
            connection.abort("closed")
            await connection.gone()
            watch.stop()
            await watching

    async def _login(self, connection: _C) -> None:
        server = self._server
        if server.password:
            user = [server.username] if server.username else []
            await connection.ask("AUTH", *user, server.password)
        if server.database:
            await connection.ask("SELECT", server.database)
        try:
            await connection.ask("CLIENT", "SETNAME", self._client)
        except Refused as error:
            if error.kind == "NOAUTH":
                # What we would ask next is, without a login, too long to be refused clearly.
                raise
            # A courtesy to whoever reads CLIENT LIST; some logins may not.

    def _up(self, connection: _C) -> None:
        self.connection = connection
        self.connects += 1
        lasted = self.outage.over(self._clock.seconds())
        if lasted is not None:
            self.log.info(
                "Redis at {host}:{port}, {purpose}: well again after {seconds:.1f} s",
                host=self._server.host,
                port=self._server.port,
                purpose=self._purpose,
                seconds=lasted,
            )
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(connection)

    def _tick(self, connection: _C) -> None:
        connection.silence += 1
        if connection.silence == QUIET:
            Deferred.fromCoroutine(connection.ask("PING")).addErrback(lambda _: None)
        elif connection.silence >= SILENT:
            connection.abort("Redis does not answer")
