"""
All SDKs against real gateways: what the contract says is what is said, and whatever breaks,
nothing is lost, doubled or out of order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Awaitable, Callable

import pytest
import pytest_twisted
from jsonschema import Draft7Validator
from twisted.internet.task import deferLater

from clients.conformance.cast import Actor, Cast
from clients.generate import SOURCE
from clients.generation.contract import Contract
from tests.browser.drivers import DRIVERS, need, theatre, there
from tests.live.brokers import Redis
from tests.live.client import Message, connect, token
from tests.live.daemon import ADMIN_TOKEN, Daemon
from tests.live.faults import FaultProxy
from tests.live.fleet import Fleet
from tests.live.waiting import eventually, reactor, started, within

NewRedis = Callable[[], Awaitable[Redis]]
NewProxy = Callable[[int], FaultProxy]

CONTRACT = Contract.load(SOURCE)

TIMING = {"minDelay": 50, "maxDelay": 400, "probeTimeout": 700, "connectTimeout": 2000}


async def publish(daemon: Daemon, *envelopes: dict[str, Any]) -> None:
    """
    Publish events at one instance.
    """
    answer = await daemon.request("POST", "/events", token=ADMIN_TOKEN, json=list(envelopes))
    assert answer.status == 202, answer.body


def client_of(cast: Cast, port: int, user: str, *guilds: str, **options: Any) -> Actor:
    """
    A client, told to connect.
    """
    usual = {
        "userId": user,
        "token": token(user, guilds),
        "guildIds": list(guilds),
        "timing": TIMING,
    }
    actor = cast.actor(f"ws://127.0.0.1:{port}/", usual | options)
    actor.do("connect")
    return actor


async def becomes(actor: Actor, state: str) -> dict[str, Any]:
    """
    Wait until a client has come to C{state}.
    """
    while (seen := await actor.sees("state"))["state"] != state:
        pass
    return seen


def validate(said: Message) -> None:
    """
    Whether a message is what the contract says.
    """
    for operation in ("tell", "dispatch"):
        if said.event in [message.name for message in CONTRACT.operation(operation)]:
            Draft7Validator(CONTRACT.payload(operation, said.event)).validate(dict(said))
            return
    raise AssertionError(f"the contract does not know {said.event}")


@pytest_twisted.ensureDeferred
async def test_the_contract_is_kept(gateway: Fleet) -> None:
    """
    Everything that a gateway says, in a session that provokes all of it, is valid by
    docs/asyncapi.yaml, and nothing that the document lists is left out.
    """
    config = {"gateway": {"heartbeat_interval": "1 s"}, "auth": {"expiry_warning": "3598 s"}}
    daemon = await gateway(config=config)
    client = await connect(daemon.ws_port)
    await client.identify("u1", ["g1", "g3"], token=token("u1", ["g1", "g3"]))
    client.send("heartbeat")
    client.send("guild_subscribe", guildId="g9")
    client.send("guild_unsubscribe", guildId="g3")
    client.send("guild_subscribe", guildId="g3")
    client.send("authenticate", token=token("u1", ["g1", "g3"]))
    examples = [message.example for message in CONTRACT.operation("dispatch")]
    # Those that take a membership away come last.
    examples.sort(key=lambda one: one["event"] in ("guild.delete", "guild_member.remove"))
    await publish(
        daemon,
        *({"event": one["event"], "guildId": "g1", "data": one["data"]} for one in examples),
        {"event": "guild_member.remove", "data": {"guildId": "g3", "userId": "u1"}},
    )

    def said() -> set[str]:
        return {message.event for message in client.received}

    wanted = {message.name for op in ("tell", "dispatch") for message in CONTRACT.operation(op)}
    wanted.remove("reconnect")
    await eventually(lambda: said() >= wanted, f"{wanted} to be said", timeout=15)
    stopping = daemon.stop()
    await eventually(lambda: "reconnect" in said(), "a reconnect")
    await client.closed
    await stopping
    for message in client.received:
        validate(message)


@pytest.mark.parametrize("name", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_a_session(name: str, gateway: Fleet, tmp_path: Path) -> None:
    """
    An SDK connects, hears what it may, changes its guilds, and is told no where it may not.
    """
    need(name)
    daemon = await gateway()
    async with theatre(tmp_path, name) as (_, casts):
        actor = client_of(casts[name], daemon.ws_port, "u1", "g1", token=token("u1", ["g1", "g2"]))
        await becomes(actor, "ready")
        actor.do("subscribe", **{"guildId": "g2", "as": "yes"})
        assert (await actor.sees("done")) == {"done": "yes", "error": None}
        actor.do("subscribe", **{"guildId": "g3", "as": "no"})
        assert (await actor.sees("done")) == {"done": "no", "error": "forbidden"}
        actor.do("unsubscribe", **{"guildId": "g1", "as": "out"})
        assert (await actor.sees("done")) == {"done": "out", "error": None}
        await publish(
            daemon,
            *({"event": "message.create", "guildId": g, "data": {"id": g}} for g in ("g1", "g2")),
        )
        seen = await actor.sees("event")
        assert (seen["event"], seen["guildId"], seen["data"]) == (
            *("message.create", "g2"),
            {"id": "g2"},
        )
        assert seen["id"]
        actor.do("close")
        await becomes(actor, "closed")
        assert actor.unspoken("event") == []


@pytest_twisted.ensureDeferred
async def test_tokens_are_renewed(gateway: Fleet, tmp_path: Path) -> None:
    """
    A session outlives its first token by renewing it in place.
    """
    daemon = await gateway(config={"auth": {"expiry_warning": "3598 s"}})
    async with theatre(tmp_path, "asyncio", "twisted", *there("node")) as (_, casts):
        actors = [
            client_of(cast, daemon.ws_port, "u1", "g1", token=None) for cast in casts.values()
        ]
        for number in (1, 2):
            for actor in actors:
                assert (await actor.sees("token"))["token"] == number
                actor.do("token", value=token("u1", ["g1"], jti=f"t{number}"))
            for actor in actors:
                if number == 1:
                    await becomes(actor, "ready")

        async def authenticated() -> bool:
            # Each renewal is taken: the next warning comes two seconds after it.
            return all(actor.unspoken("token") for actor in actors)

        await eventually(authenticated, "a second warning")
        for actor in actors:
            assert actor.unspoken("state") == actor.unspoken("error") == []


class Ledger:
    """
    The messages that one client has heard, by number.
    """

    def __init__(self, name: str, actor: Actor) -> None:
        self.name = name
        self.actor = actor
        self.numbers: list[int] = []
        self.reading = started(self._read())

    async def _read(self) -> None:
        while True:
            seen = await self.actor.sees("event", patience=120)
            self.numbers.append(seen["data"]["n"])


@pytest_twisted.ensureDeferred
async def test_nothing_is_lost(
    gateway: Fleet, new_redis: NewRedis, proxy: NewProxy, tmp_path: Path
) -> None:
    """
    While events are published without a pause, connections are reset, stalled, swallowed and
    refused, and the gateway is drained and killed. Every client of every SDK hears each event
    once and in order, and is never told to fetch anything.
    """
    redis = await new_redis()
    config = {"gateway": {"heartbeat_interval": "1 s", "drain_time": "2 s"}}
    one, two, three = await gateway.many(3, redis=redis, config=config)
    network = proxy(one.ws_port)
    names = ["asyncio", "twisted", *there("node", "chromium")]
    async with theatre(tmp_path, *names) as (_, casts):
        actors = {
            name: client_of(cast, network.port, f"user-{name}", "g1")
            for name, cast in casts.items()
        }
        for actor in actors.values():
            await becomes(actor, "ready")
        ledgers = [Ledger(name, actor) for name, actor in actors.items()]
        published = 0
        stop = False

        async def service() -> None:
            nonlocal published
            while not stop:
                published += 1
                data = {"id": f"m{published}", "n": published}
                await publish(three, {"event": "message.create", "guildId": "g1", "data": data})
                await deferLater(reactor, 0.01)

        async def caught_up(after: str) -> None:
            upto = published

            def all_have() -> bool:
                return all(one.numbers and one.numbers[-1] >= upto for one in ledgers)

            try:
                await eventually(all_have, f"everybody to have {upto} after {after}", timeout=30)
            except AssertionError as late:
                where = {one.name: one.numbers[-1:] for one in ledgers}
                raise AssertionError(f"{late}; they have {where}") from None

        working = started(service())
        await caught_up("the beginning")
        for _ in range(3):
            await network.cut()
        await caught_up("resets")
        network.stall()
        await deferLater(reactor, 1.0)
        network.forward()
        await caught_up("a short stall")
        network.swallow()
        for actor in actors.values():
            await becomes(actor, "waiting")
        network.forward()
        await caught_up("a black hole")
        await network.refuse()
        for actor in actors.values():
            await becomes(actor, "waiting")
        network.forward()
        await caught_up("a refusal")
        draining = one.stop()
        network.target = two.ws_port
        await draining
        await caught_up("a drain")
        network.target = three.ws_port
        await two.kill()
        await caught_up("a kill")
        stop = True
        await within(10, "the service to stop", working)
        await caught_up("everything")
        for ledger in ledgers:
            ledger.reading.addErrback(lambda _: None)
            ledger.reading.cancel()
            assert ledger.numbers == list(range(1, published + 1)), ledger.name
            assert ledger.actor.unspoken("resync") == []
            ledger.actor.do("close")
