"""
The guild authority in a real Redis, and when that is away.
"""

from __future__ import annotations

import random
from typing import AsyncIterator, Awaitable, Callable

import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint

from gatewayd.auth.redis import RedisGuilds
from gatewayd.bus.connection import Connection
from gatewayd.bus.link import Link
from gatewayd.bus.sets import PATIENCE, RedisSets
from gatewayd.config.urls import redis_server
from gatewayd.model import Denial, Grant, Principal
from tests.live.brokers import Redis
from tests.live.waiting import eventually, reactor, together, within

USER = Principal("u1", 2e9)


async def nothing(_connection: Connection) -> None:
    """
    What these connections have to do before they are of use.
    """


class Authorities:
    """
    Makes authorities, connected unless told C{connected=False}; and disconnects them.
    """

    def __init__(self) -> None:
        self._links: list[Link[Connection]] = []

    async def __call__(self, redis: Redis) -> RedisGuilds:
        """
        One more.
        """
        server = redis_server(redis.url)
        link: Link[Connection] = Link(
            reactor,
            TCP4ClientEndpoint(reactor, server.host, server.port, timeout=5),
            server,
            Connection,
            nothing,
            purpose="test",
            client="test",
            random=random.random,
        )
        self._links.append(link)
        link.start()
        await within(10, "Redis", link.usable())
        return RedisGuilds(reactor, RedisSets(reactor, link).are_members)

    async def stop(self) -> None:
        """
        Disconnect.
        """
        await together(*(link.stop() for link in self._links))


@pytest_twisted.async_yield_fixture
async def authority(new_redis: object) -> AsyncIterator[Authorities]:
    """
    Makes authorities.
    """
    made = Authorities()
    yield made
    await made.stop()


def unavailable(*guilds: str) -> Grant:
    """
    That nothing can be said of these.
    """
    return Grant((), tuple(Denial(guild, "unavailable") for guild in guilds))


@pytest_twisted.ensureDeferred
async def test_members(redis: Redis, authority: Authorities) -> None:
    """
    The guilds whose set holds the user are granted, in the order asked, as it is now.
    """
    guilds = await authority(redis)
    await redis.command("SADD", "guild:g1:members", "u1", "u2")
    await redis.command("SADD", "guild:g2:members", "u2")
    await redis.command("SADD", "guild:g3:members", "u1")
    grant = await guilds.allowed(USER, ["g3", "g2", "g1", "g4"])
    denied = (Denial("g2", "forbidden"), Denial("g4", "forbidden"))
    assert grant == Grant(("g3", "g1"), denied)
    await redis.command("SREM", "guild:g1:members", "u1")
    assert (await guilds.allowed(USER, ["g1", "g3"])).granted == ("g3",)


@pytest_twisted.ensureDeferred
async def test_strange_ids(redis: Redis, authority: Authorities) -> None:
    """
    Ids of any text are looked up as they are.
    """
    guilds = await authority(redis)
    for strange in ("*", "g\r\nGET x", "é ü", "g" * 64):
        await redis.command("SADD", f"guild:{strange}:members", "u1")
        grant = await guilds.allowed(USER, [f"{strange}x"[:64] + "y", strange])
        assert grant.granted == (strange,)
    await redis.command("SADD", "guild:g1:members", "*")
    assert not (await guilds.allowed(USER, ["g1", "g*", "g?"])).granted


@pytest_twisted.ensureDeferred
async def test_no_set(redis: Redis, authority: Authorities) -> None:
    """
    A key that is no set says nothing of its guild, and does not hide the others.
    """
    guilds = await authority(redis)
    await redis.command("SADD", "guild:g1:members", "u1")
    await redis.command("SET", "guild:g2:members", "u1")
    grant = await guilds.allowed(USER, ["g1", "g2", "g3"])
    denied = (Denial("g2", "unavailable"), Denial("g3", "forbidden"))
    assert grant == Grant(("g1",), denied)


@pytest_twisted.ensureDeferred
async def test_many(redis: Redis, authority: Authorities) -> None:
    """
    As many guilds as a session may have are asked about together, for many users at once.
    """
    guilds = await authority(redis)
    asked = [f"g{number}" for number in range(200)]
    script = "for n = 0, 199, 2 do redis.call('SADD', 'guild:g' .. n .. ':members', 'u1') end"
    await redis.command("EVAL", script, 0)
    grants = await together(*(guilds.allowed(USER, asked) for _ in range(50)))
    assert {grant.granted for grant in grants} == {tuple(asked[::2])}


@pytest_twisted.ensureDeferred
async def test_away(new_redis: Callable[[], Awaitable[Redis]], authority: Authorities) -> None:
    """
    While Redis is away everything is denied as unavailable, at once; when it is back, its
    answers count.
    """
    redis = await new_redis()
    guilds = await authority(redis)
    await redis.kill()
    denied = unavailable("g1")

    async def noticed() -> bool:
        return await guilds.allowed(USER, ["g1"]) == denied

    await eventually(noticed, "the loss of Redis to be noticed")
    await redis.start()
    await redis.command("SADD", "guild:g1:members", "u1")

    async def back() -> bool:
        return (await guilds.allowed(USER, ["g1"])).granted == ("g1",)

    await eventually(back, "Redis to be asked again")


@pytest_twisted.ensureDeferred
async def test_frozen(new_redis: Callable[[], Awaitable[Redis]], authority: Authorities) -> None:
    """
    A Redis that has stopped in the middle of everything is waited for so long and no longer;
    its late answers are taken for nobody's, and it is asked again when it goes on.
    """
    redis = await new_redis()
    guilds = await authority(redis)
    await redis.command("SADD", "guild:g1:members", "u1")
    redis.freeze()
    grant = await within(
        PATIENCE + 5, "the answer that there is none", guilds.allowed(USER, ["g1", "g2"])
    )
    assert grant == unavailable("g1", "g2")
    redis.thaw()

    async def back() -> bool:
        grant = await guilds.allowed(USER, ["g2", "g1"])
        assert grant.granted in ((), ("g1",))
        return grant == Grant(("g1",), (Denial("g2", "forbidden"),))

    await eventually(back, "Redis to be asked again")
