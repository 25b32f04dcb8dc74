"""
The event bus in Redis: one channel, one stream, two connections.

The subscription listens to the channel; all else, publishing and reading the log, goes by
the other connection. Neither knows of the other's troubles: an instance whose subscription
is broken can still publish, and one that may not publish still hears.
"""

from __future__ import annotations

import secrets
from random import random as system_random
from typing import Any, Callable, Sequence, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.bus.connection import Connection, Lost, Refused, Subscription
from gatewayd.bus.follower import Follower
from gatewayd.bus.following import Following
from gatewayd.bus.link import Link
from gatewayd.bus.publisher import Publisher
from gatewayd.bus.scripts import Keys
from gatewayd.config.urls import RedisServer
from gatewayd.errors import Stopped
from gatewayd.interfaces import IBackchannel, IBusListener, IEventBus
from gatewayd.model import ORIGIN, Event, Position

_T = TypeVar("_T")


@implementer(IEventBus, IBackchannel)
class RedisBus:
    """
    The log and the channel that every instance shares, in Redis 6.2 or later.

    The channel knows no databases: gateways that use one Redis for different platforms need
    different channels, whatever database they select.

    @ivar trim: the position before which this instance does not need the log; whatever
        publishes trims up to there.
    @ivar told: takes the kind and the payload of what any instance told (see L{tell}).
    @ivar commands: the connection for commands, for whoever else has a question to Redis.
    """

    name = "redis"
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        server: RedisServer,
        keys: Keys,
        *,
        instance: str,
        dedup_window: float = 300.0,
        max_length: int = 1_000_000,
        random: Callable[[], float] = system_random,
    ) -> None:
        """
        @param endpoint: where C{server} is (see L{gatewayd.bus.link.endpoint_of}).
        @param server: its login, and its name for the log.
        @param instance: this gateway's name.
        @param dedup_window: seconds that a uid is remembered.
        @param max_length: the most entries the log may have, whatever C{trim} says.
        @param random: answers with a number in [0, 1).
        """
        self._clock = clock
        self._keys = keys
        self.trim: Callable[[], Position] = lambda: ORIGIN
        self._follower = Follower(dedup_window)
        self._following = Following(
            clock,
            self._follower,
            keys,
            instance=instance,
            identify=lambda: secrets.token_hex(8),
            random=random,
        )
        self.commands: Link[Connection] = Link(
            clock,
            endpoint,
            server,
            Connection,
            self._following.greet,
            purpose="commands",
            client=f"gatewayd:{instance}",
            random=random,
        )
        self._subscription: Link[Subscription] = Link(
            clock,
            endpoint,
            server,
            lambda: Subscription(self._following.heard),
            self._following.subscribe,
            purpose="subscription",
            client=f"gatewayd:{instance}:subscription",
            random=random,
        )
        self._publisher = Publisher(
            clock,
            self.commands,
            self._following.look,
            self._follower,
            keys,
            dedup_window=dedup_window,
            max_length=max_length,
            trim=lambda: self.trim(),
            random=random,
        )
        self._publishing: set[Deferred[list[Position | None]]] = set()
        self._run: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None

    @property
    def head(self) -> Position:
        """
        See L{IEventBus}.
        """
        return self._follower.last

    @property
    def told(self) -> Callable[[str, bytes], None]:
        """
        Who takes what instances tell each other.
        """
        return self._following.told

    @told.setter
    def told(self, told: Callable[[str, bytes], None]) -> None:
        self._following.told = told

    def start(self, listener: IBusListener) -> None:
        """
        See L{IEventBus}.
        """
        self._follower.listener = listener
        self.commands.start()
        self._subscription.start()
        running = self._following.run(self.commands, self._subscription)
        self._run = Deferred.fromCoroutine(running)
        self._run.addErrback(lambda reason: reason.trap(CancelledError) and None)

    def filled(self) -> Deferred[None]:
        """
        See L{IEventBus}.
        """
        return self._following.filled()

    def publish(
        self, events: Sequence[Event], settled: Sequence[str] = ()
    ) -> Deferred[list[Position | None]]:
        """
        See L{IEventBus}.
        """
        if self._stopped is not None:
            return fail(Stopped("the bus has been stopped"))
        if not events:
            return succeed([])
        publishing = Deferred.fromCoroutine(self._publish(events, settled))
        self._publishing.add(publishing)
        return publishing.addBoth(self._settled, publishing)

    async def _publish(
        self, events: Sequence[Event], settled: Sequence[str]
    ) -> list[Position | None]:
        try:
            return await self._publisher.publish(events, settled)
        except CancelledError:
            if self._stopped is None:
                raise
            raise Stopped("the bus was stopped while it published") from None

    def _settled(self, result: _T, publishing: Deferred[list[Position | None]]) -> _T:
        self._publishing.discard(publishing)
        return result

    def tell(self, kind: str, payload: bytes) -> Deferred[bool]:
        """
        See L{IBackchannel.tell}.

        @param kind: not C{log} or C{hello}, which are the bus's own.
        """
        return Deferred.fromCoroutine(self._tell(b"!%s\n%s" % (kind.encode("ascii"), payload)))

    async def _tell(self, message: bytes) -> bool:
        connection = self.commands.connection
        if connection is None:
            return False
        try:
            await connection.ask("PUBLISH", self._keys.channel, message)
        except (Lost, Refused) as error:
            self.log.warn("Could not tell the other instances: {error}", error=error)
            return False
        return True

    def stop(self) -> Deferred[None]:
        """
        See L{IEventBus}.
        """
        if self._stopped is None:
            self._stopped = Deferred.fromCoroutine(self._stop())
        again: Deferred[None] = Deferred()
        self._stopped.chainDeferred(again)
        return again

    async def _stop(self) -> None:
        self._following.stop()
        # We may have been called by the listener, from within what is to be cancelled.
        await deferLater(self._clock, 0, lambda: None)
        if self._run is not None:
            self._run.cancel()
        for publishing in list(self._publishing):
            publishing.cancel()
        await self.commands.stop()
        await self._subscription.stop()

    def status(self) -> dict[str, Any]:
        """
        See L{IEventBus}. Beside what it says there, C{log} has the C{head} and the C{length}
        of the log as last seen.
        """
        follower = self._follower
        status: dict[str, Any] = {
            "status": "ok",
            "log": {"head": str(self.head), "length": follower.length},
        }
        error = self._trouble()
        if error is not None:
            status["status"] = "connecting"
            status["error"] = error
        return status

    def _trouble(self) -> str | None:
        """
        The first thing that keeps this bus from working.
        """
        for link in (self.commands, self._subscription):
            if link.connection is None:
                return link.outage.error or "not connected yet"
        outages = (self._publisher.outage.error, self._following.outage.error)
        for error in outages:
            if error is not None:
                return error
        return None if self._follower.live else "reading the log"

    def counts(self) -> dict[str, int]:
        """
        What has happened since the start.
        """
        follower = self._follower
        return {
            "connects": self.commands.connects + self._subscription.connects,
            "published": self._publisher.published,
            "duplicates": self._publisher.duplicates,
            "heard": follower.heard,
            "repeats": follower.repeats,
            "gaps": follower.gaps,
            "catchups": follower.catchups,
            "log_breaks": follower.breaks,
            "overflows": follower.overflows,
            "foreign": follower.foreign,
            "undecodable": self._following.undecodable,
            "deaf": self._following.deaf,
        }
