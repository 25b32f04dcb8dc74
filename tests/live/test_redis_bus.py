"""
Tests for L{gatewayd.bus.redis} against a real Redis.
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Sequence

import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint

from gatewayd.bus.redis import RedisBus
from gatewayd.bus.roster import RedisRoster
from gatewayd.bus.scripts import Keys
from gatewayd.config.urls import RedisServer
from gatewayd.interfaces import IEventBus, IRoster
from tests.contracts.event_bus import EventBusContract, RosterContract
from tests.live.brokers import Redis
from tests.live.waiting import reactor, together

CHANNEL = "gateway_events"


def bus_at(port: int, instance: str = "one", **options: Any) -> RedisBus:
    """
    A bus, not started, of a Redis on this machine.
    """
    server = RedisServer("127.0.0.1", port, False, 0, None, None)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5)
    keys = options.pop("keys", Keys(CHANNEL))
    return RedisBus(reactor, endpoint, server, keys, instance=instance, **options)


class TestContract(EventBusContract, RosterContract):
    """
    The bus in Redis is an event bus, and its roster a roster.
    """

    port: int
    buses: list[RedisBus]

    @pytest_twisted.async_yield_fixture(autouse=True)
    async def _redis(self, redis: Redis) -> AsyncIterator[None]:
        type(self).port, type(self).buses = redis.port, []
        yield
        await together(*(bus.stop() for bus in self.buses))

    def new_bus(self) -> IEventBus:
        """
        Another bus on the same log.
        """
        self.buses.append(bus_at(self.port, f"bus{len(self.buses)}"))
        return self.buses[-1]

    async def new_rosters(self) -> Sequence[IRoster]:
        """
        Two, each by the connection of its own bus.
        """
        for _ in range(2):
            await self.started()
        keys = Keys(CHANNEL)
        return [RedisRoster(reactor, bus.commands, keys) for bus in self.buses]
