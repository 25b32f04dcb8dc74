"""
Whom a running gateway believes: keys that are published, replaced and read anew, and authorities
beside the token.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import AsyncIterator

import pytest
import pytest_twisted
from klein import Klein
from twisted.internet.interfaces import IListeningPort
from twisted.web.server import Request, Site

from tests.issuer import Issuer
from tests.live.brokers import Redis
from tests.live.client import SECRET, Client, connect, token
from tests.live.daemon import ADMIN_TOKEN, Daemon
from tests.live.fleet import Fleet
from tests.live.waiting import eventually, reactor


class Platform:
    """
    The platform's own services, as the gateway knows them: keys, and memberships.

    @ivar keys: the JWK set.
    @ivar members: the guilds of each user.
    @ivar well: whether it answers with anything but errors.
    """

    app = Klein()

    def __init__(self) -> None:
        self.keys: list[object] = []
        self.members: dict[str, set[str]] = {}
        self.well = True
        self.port: IListeningPort = reactor.listenTCP(
            0, Site(self.app.resource()), interface="127.0.0.1"
        )
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"

    @app.route("/keys")
    def jwks(self, request: Request) -> bytes:
        """
        The keys.
        """
        return json.dumps({"keys": self.keys}).encode()

    @app.route("/members", methods=["POST"])
    def memberships(self, request: Request) -> bytes:
        """
        Which of the guilds asked about a user is in.
        """
        if not self.well:
            request.setResponseCode(500)
            return b""
        assert request.content is not None
        asked = json.loads(request.content.read())
        own = self.members.get(asked["userId"], set())
        return json.dumps({"guildIds": [g for g in asked["guildIds"] if g in own]}).encode()


@pytest_twisted.async_yield_fixture
async def platform() -> AsyncIterator[Platform]:
    """
    A platform that listens.
    """
    made = Platform()
    yield made
    stopping = made.port.stopListening()
    assert stopping is not None
    await stopping


async def close_code(port: int, user: str, signed: str) -> int:
    """
    What becomes of a client that identifies with this token: 0 if it is let in.
    """
    client = await connect(port)
    await client.expect("ready")
    client.send("identify", userId=user, token=signed, guildIds=[])
    message = await _next(client)
    return 0 if message == "identified" else (await client.closed).code


async def _next(client: Client) -> str:
    try:
        return (await client.next()).event
    except AssertionError:
        return "closed"


@pytest_twisted.ensureDeferred
async def test_published_keys(gateway: Fleet, platform: Platform) -> None:
    """
    Tokens are checked with the keys that their issuer publishes, also after it has replaced
    them; others', and ones signed with a published key as if it were a secret, are refused.
    """
    old, new, foreign = (Issuer("ES256", kid, number=n) for n, kid in enumerate("abc"))
    platform.keys = [old.jwk()]
    one = await gateway(
        config={"auth": {"secret": None, "algorithms": "ES256", "jwks_url": f"{platform.url}/keys"}}
    )
    assert (await one.health())["jwks"]["status"] == "ok"
    assert await close_code(one.ws_port, "alice", old.token(sub="alice")) == 0
    assert await close_code(one.ws_port, "alice", foreign.token(sub="alice")) == 4004
    assert await close_code(one.ws_port, "alice", token("alice", [])) == 4004
    platform.keys = [new.jwk()]
    one.signal(signal.SIGHUP)

    async def taken() -> bool:
        return await close_code(one.ws_port, "alice", new.token(sub="alice")) == 0

    await eventually(taken, "the new key to be taken")
    assert await close_code(one.ws_port, "alice", old.token(sub="alice")) == 4004


@pytest_twisted.ensureDeferred
async def test_keys_are_read_anew(gateway: Fleet, tmp_path: Path) -> None:
    """
    SIGHUP has a secret's file read anew, without a restart and without losing a client; a file
    that holds none changes nothing.
    """
    file = tmp_path / "secret"
    file.write_text(SECRET)
    one = await gateway(config={"auth": {"secret": None, "secret_file": file}})
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    other = "another secret, of more than the thirty-two bytes that it takes"
    file.write_text(other)
    one.signal(signal.SIGHUP)

    async def taken() -> bool:
        signed = token("alice", [], secret=other)
        return await close_code(one.ws_port, "alice", signed) == 0

    await eventually(taken, "the new secret to be taken")
    assert await close_code(one.ws_port, "alice", token("alice", [])) == 4004
    file.unlink()
    one.signal(signal.SIGHUP)
    await eventually(lambda: "cannot be read" in one.log(), "the missing file to be told")
    assert await taken()
    assert client.ending is None


async def granted(daemon: Daemon, *asked: str) -> tuple[list[str], dict[str, str]]:
    """
    The guilds that alice is granted of those asked for, and why not the others. Her token
    claims all of them.
    """
    client = await connect(daemon.ws_port)
    answer = await client.identify("alice", asked)
    await client.close()
    return answer.data["guildIds"], {d["guildId"]: d["reason"] for d in answer.data["denied"]}


@pytest_twisted.ensureDeferred
async def test_members_in_redis(gateway: Fleet, redis: Redis) -> None:
    """
    Where Redis is the authority, its sets say who is a member, whatever the token claims.
    """
    await redis.command("SADD", "guild:g1:members", "alice")
    await redis.command("SADD", "guild:g2:members", "bob")
    one = await gateway(redis=redis, config={"auth": {"guild_authority": "redis"}})
    assert await granted(one, "g1", "g2", "*") == (["g1"], {"g2": "forbidden", "*": "forbidden"})


@pytest_twisted.ensureDeferred
async def test_members_by_http(gateway: Fleet, platform: Platform) -> None:
    """
    Where a membership service is the authority, it says who is a member; when it fails, nobody
    is, and the reason says so. Who is removed is not remembered as a member.
    """
    platform.members["alice"] = {"g1", "g3"}
    url = f"{platform.url}/members"
    one = await gateway(config={"auth": {"guild_authority": "http", "authority_url": url}})
    assert await granted(one, "g1", "g2") == (["g1"], {"g2": "forbidden"})
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    platform.members["alice"].remove("g1")
    removal = {"event": "guild_member.remove", "guildId": "g1", "data": {"userId": "alice"}}
    await one.request("POST", "/events", token=ADMIN_TOKEN, json=removal)
    await client.expect("guild_member.remove")
    await client.expect("guild_unsubscribed")
    client.send("guild_subscribe", guildId="g1")
    assert (await client.expect("error")).data["code"] == "forbidden"
    platform.well = False
    assert await granted(one, "g4") == ([], {"g4": "unavailable"})


@pytest.mark.parametrize(
    ("auth", "word"),
    [
        ({"guild_authority": "redis"}, "[redis] url"),
        ({"guild_authority": "http"}, "authority_url"),
        ({"algorithms": "RS256"}, "public_key_file"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_named(auth: dict[str, object], word: str, gateway: Fleet) -> None:
    """
    An authority or algorithm without what it needs does not start, and says what to set.
    """
    one = await gateway(until=None, config={"auth": auth})
    assert await one.wait_ended() == 2
    assert word in one.log()
    assert "Traceback" not in one.log()
