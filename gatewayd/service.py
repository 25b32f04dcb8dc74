"""
The house put together: the one file that knows which part of which world is behind each seam.

It is a L{MultiService}. Its children start and listen by themselves; that they stop in order,
and not all at once, is L{Gateway.stopService}'s part.
"""

from __future__ import annotations

import random
import secrets
import time
from itertools import count
from typing import Any, Callable

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gatewayd import __version__, canary
from gatewayd import http as http_world
from gatewayd.beats import Beats
from gatewayd.bus.link import endpoint_of
from gatewayd.bus.memory import MemoryBus, MemoryLog, MemoryRoster
from gatewayd.bus.redis import RedisBus
from gatewayd.bus.roster import RedisRoster
from gatewayd.bus.scripts import Keys
from gatewayd.bus.sets import RedisSets
from gatewayd.canary import Canary
from gatewayd.census import Census
from gatewayd.config import Config
from gatewayd.connection import Commons, Terms
from gatewayd.delivery import Delivery
from gatewayd.drain import Drain
from gatewayd.errors import Stopped
from gatewayd.history import History
from gatewayd.ingest import Ingest
from gatewayd.interfaces import IEventBus, IEventSource, IRoster
from gatewayd.membership import Memberships
from gatewayd.metrics import Metrics
from gatewayd.operations import Operations
from gatewayd.registry import Registry
from gatewayd.revocations import Revocations
from gatewayd.services import Consuming, Following, Listener
from gatewayd.source.amqp import RabbitSource
from gatewayd.source.memory import MemorySource
from gatewayd.timetable import Timetable
from gatewayd.trust import Trust
from gatewayd.ws.broadcast import Broadcaster
from gatewayd.ws.factory import Door, GatewayFactory
from gatewayd.ws.handshake import Origins

ANNOUNCE = 2
"""
Seconds between two showings of an instance's row.
"""

FILL_PATIENCE = 5.0
"""
Seconds that a returning client waits for the log to be read, before it is served without.
"""

FLUSH = 3.0
"""
Seconds for what was taken to be published and acked, at the end.
"""


class Gateway(MultiService):
    """
    One instance.

    @ivar operations: what HTTP and the root ask of it.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        leave: Callable[[], None],
        fail: Callable[[], None],
        listening: Any = None,
    ) -> None:
        """
        @param reactor: connects, and listens for operators; its clock times everything.
        @param listening: listens for clients, if it is not the reactor that does.
        @param leave: stops the process in good order.
        @param fail: does so, too, and has it end as one that failed.
        """
        super().__init__()
        self.config = config
        self._clock: IReactorTime = reactor
        self._stopping: Deferred[None] | None = None
        self._ticks = 0
        metrics = Metrics()
        # Of connections, which are all that each of its users needs them to be.
        census: Census[Any] = Census()
        registry: Registry[Any] = Registry()
        revocations = Revocations()
        limits, gateway = config.limits, config.gateway
        self.history = History(
            window=config.history.window,
            max_events=config.history.max_events,
            max_bytes=config.history.max_bytes,
        )
        bus, self._roster, sets = _bus(config, reactor, self.history)
        self.bus: IEventBus = bus
        self._trust = Trust(config, reactor, sets)
        broadcaster = Broadcaster(reactor, lambda published: self.delivery.written(published))
        by_hand = MemorySource()
        self.source: IEventSource = _rabbit(config, reactor) or by_hand
        self._sources = [self.source] if self.source is by_hand else [by_hand, self.source]
        self._canary = Canary(gateway.instance, self.source, bus, reactor, metrics)
        self.delivery = Delivery(
            clock=reactor,
            wall=time.time,
            history=self.history,
            registry=registry,
            memberships=Memberships(census, registry, revocations, self._trust.authority),
            broadcaster=broadcaster,
            metrics=metrics,
            canary=self._canary,
            max_buffered=limits.max_buffered_bytes,
        )
        new_id = _ids()
        self.ingest = Ingest(
            bus=bus,
            metrics=metrics,
            wall=time.time,
            new_uid=new_id,
            ephemeral=frozenset({*config.events.ephemeral, canary.NAME}),
            max_bytes=limits.max_buffered_bytes // 2,
            broken=fail,
            superseded=self._superseded,
        )
        self._timetable = Timetable()
        self._beats = Beats(reactor, self._timetable, self._chores, self.delivery.beaten)
        self._commons = Commons(
            terms=_terms(config),
            clock=reactor,
            wall=time.time,
            new_id=lambda: secrets.token_hex(16),
            filled=self._filled,
            census=census,
            delivery=self.delivery,
            revocations=revocations,
            timetable=self._timetable,
            metrics=metrics,
            authenticator=self._trust.authenticator,
            authority=self._trust.authority,
            log=Logger(namespace="gatewayd.connection"),
        )
        self._factory = GatewayFactory(
            self._commons,
            Door(
                origins=Origins(gateway.allowed_origins),
                max_message_bytes=limits.max_message_bytes,
                max_buffered_bytes=limits.max_buffered_bytes,
                max_buffered_total=limits.max_buffered_total,
                max_connections=limits.max_connections,
                max_unidentified=limits.max_unidentified,
                connections_per_address=limits.connections_per_address,
                trusted_proxies=gateway.trusted_proxies,
                compression=gateway.compression,
            ),
            reactor,
            broadcaster,
        )
        metrics.gauge(
            "buffered_bytes",
            "Bytes that clients have not taken yet.",
            self._factory.pressure.recount,
        )
        self.operations = Operations(
            instance=gateway.instance,
            version=__version__,
            clock=reactor,
            wall=time.time,
            upstreams=(self.source, bus, *self._trust.upstreams, self._canary),
            roster=self._roster,
            census=census,
            delivery=self.delivery,
            ingest=self.ingest,
            metrics=metrics,
            push=by_hand.push_all,
            leave=leave,
            new_id=new_id,
            channel=bus,
        )
        self._drain = Drain(
            clock=reactor,
            census=census,
            drain_time=gateway.drain_time,
            random=random.random,
            shut=self._shut,
        )
        self._compose(
            reactor,
            listening or reactor,
            http_world.build(
                self.operations,
                admin_token=_revealed(config.http.admin_token),
                public=config.http.public_stats,
                clock=reactor,
            ),
        )

    def _compose(self, reactor: Any, listening: Any, site: Any) -> None:
        self._add("redis", Following(self.bus, self.delivery))
        for source in self._sources:
            self._add(
                "rabbitmq" if source is self.source else "events", Consuming(source, self.ingest)
            )
        for where, by, factory, endpoints in (
            ("gateway", listening, self._factory, self.config.gateway.listen),
            ("http", reactor, site, self.config.http.listen),
        ):
            for number, description in enumerate(endpoints):
                listener = Listener(by, description, f"[{where}] listen", factory)
                self._add(f"{where}-{number}" if number else where, listener)

    def _add(self, name: str, service: Service) -> None:
        service.setName(name)
        service.setServiceParent(self)

    # -------------------------------------------------------------------- life

    def startService(self) -> None:
        """
        Begin to serve. What is not there yet, RabbitMQ or Redis, is waited for while clients
        connect already.
        """
        self.operations.survey.start()
        self._trust.start()
        super().startService()
        self.operations.serving = True
        self._beats.start()
        self._canary.start()
        gateway = self.config.gateway
        self._log.info(
            "gatewayd {version}, instance {instance}: clients at {ws}, operators at {http}",
            version=__version__,
            instance=gateway.instance,
            ws=", ".join(gateway.listen),
            http=", ".join(self.config.http.listen),
        )

    def reload(self) -> None:
        """
        Read the keys anew that tokens are checked with.
        """
        self._trust.reload()

    def stopService(self) -> Deferred[None]:
        """
        Drain, then stop: nobody new is let in, nothing more is consumed, every client is told
        when to come back and closed within C{drain_time}; then what was taken is published
        and acked, and the upstreams are left.
        """
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        self._drain.shut_door()
        self._canary.stop()
        pausing = [source.pause() for source in self._sources]
        try:
            await self._drain.connections()
            for paused in pausing:
                await paused
            await self.ingest.idle().addTimeout(FLUSH, self._clock, lambda *_: None)
        except Exception:
            self._log.failure("The drain was cut short")
        self.ingest.stop()
        for source in self._sources:
            await source.stop()
        self._beats.stop()
        await self._trust.stop()
        await self._roster.withdraw(self.config.gateway.instance)
        await MultiService.stopService(self)
        self._log.info("stopped")

    def _superseded(self, consumer: str) -> None:
        if isinstance(self.source, RabbitSource):
            self.source.superseded(consumer)

    def _shut(self) -> None:
        self._factory.draining = True
        self.operations.draining = True

    def _filled(self) -> Deferred[None]:
        filled = self.bus.filled().addTimeout(FILL_PATIENCE, self._clock, lambda *_: None)
        # The bus is being stopped; so will the client be.
        return filled.addErrback(lambda why: why.trap(Stopped) and None)

    def _chores(self, now: float) -> None:
        self.history.expire(now)
        self._ticks += 1
        if self._ticks % ANNOUNCE == 0:
            self.operations.announce()


def _ids() -> Callable[[], str]:
    """
    Ids that no other process makes, for a tenth of what a random one costs.
    """
    nonce, numbers = secrets.token_hex(8), count(1)
    return lambda: f"{nonce}-{next(numbers)}"


def _bus(config: Config, reactor: Any, history: History) -> tuple[Any, IRoster, RedisSets | None]:
    server = config.redis.server
    dedup_window, most = config.redis.dedup_window, config.history.max_events
    if server is None:
        log = MemoryLog(reactor, time.time, dedup_window=dedup_window, max_length=most)
        memory = MemoryBus(log)
        memory.trim = lambda: history.floor
        return memory, MemoryRoster(reactor), None
    keys = Keys(config.redis.channel, config.redis.cluster_keys)
    bus = RedisBus(
        reactor,
        endpoint_of(reactor, server),
        server,
        keys,
        instance=config.gateway.instance,
        dedup_window=dedup_window,
        max_length=most,
    )
    bus.trim = lambda: history.floor
    return bus, RedisRoster(reactor, bus.commands, keys), RedisSets(reactor, bus.commands)


def _rabbit(config: Config, reactor: Any) -> IEventSource | None:
    rabbitmq = config.rabbitmq
    url = _revealed(rabbitmq.url)
    if url is None:
        return None
    return RabbitSource(
        reactor,
        url,
        exchange=rabbitmq.exchange,
        exchange_type=rabbitmq.exchange_type,
        queue=rabbitmq.queue,
        dead_letter_exchange=rabbitmq.dead_letter_exchange,
        prefetch=rabbitmq.prefetch,
        instance=config.gateway.instance,
    )


def _terms(config: Config) -> Terms:
    gateway, limits = config.gateway, config.limits
    return Terms(
        instance=gateway.instance,
        version=__version__,
        heartbeat_interval=gateway.heartbeat_interval,
        identify_timeout=gateway.identify_timeout,
        expiry_warning=config.auth.expiry_warning,
        leeway=config.auth.leeway,
        messages_per_minute=limits.messages_per_minute,
        subscribes_per_minute=limits.subscribes_per_minute,
        max_guilds=limits.max_guilds,
        connections_per_user=limits.connections_per_user,
    )


def _revealed(secret: Any) -> str | None:
    return None if secret is None else str(secret.get_secret_value())
