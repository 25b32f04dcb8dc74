"""
The Python SDK's two shells, as applications use them: how they end, what they raise, and what
becomes of callbacks. The asyncio one runs in a loop of its own, with the reactor standing still
meanwhile: the gateway is another process.
"""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Coroutine, TypeVar

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from gatewayd.client import ClientError, Meta, State, StateChange, Timing, Unauthorized
from gatewayd.client.asyncio import GatewayClient as AsyncioClient
from gatewayd.client.twisted import GatewayClient as TwistedClient
from tests.live.client import token
from tests.live.daemon import Daemon
from tests.live.fleet import Fleet
from tests.live.waiting import eventually, reactor, within

T = TypeVar("T")

QUICK = Timing(min_delay=0.05, max_delay=0.2)


def arguments(daemon: Daemon, **more: Any) -> dict[str, Any]:
    """
    What a client of C{daemon} is made with.
    """
    usual = {
        "url": f"ws://127.0.0.1:{daemon.ws_port}/",
        "user_id": "u1",
        "token": token("u1", ["g1", "g2"]),
        "guild_ids": ["g1"],
        "timing": QUICK,
    }
    return usual | more


def in_asyncio(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run C{work} in an event loop of its own.
    """

    async def bounded() -> T:
        return await asyncio.wait_for(work(), 15)

    return asyncio.run(bounded())


async def nobody_left(daemon: Daemon) -> None:
    """
    Wait until a gateway has no connections.
    """

    async def none() -> bool:
        health = await daemon.health()
        return bool(health["connections"]["total"] == 0)

    await eventually(none, "the connection to be gone")


async def ready(client: AsyncioClient) -> None:
    """
    Wait until a client is live.
    """
    event = asyncio.Event()

    def changed(change: StateChange, _meta: Meta) -> None:
        if change.state is State.READY:
            event.set()

    remove = client.on("state", changed)
    if client.state is not State.READY:
        await event.wait()
    remove()


async def twisted_ready(client: TwistedClient) -> None:
    """
    Wait until a client is live.
    """
    await eventually(lambda: client.state is State.READY, "the client to be live")


@pytest_twisted.ensureDeferred
async def test_asyncio_runs_until_closed(gateway: Fleet) -> None:
    """
    C{run} returns when the client is closed, after the gateway has heard of it; the client can be
    run again, and not twice at once.
    """
    daemon = await gateway()

    async def scenario() -> None:
        client = AsyncioClient(**arguments(daemon))
        for _ in range(2):
            running = asyncio.create_task(client.run())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError):
                await client.run()
            await ready(client)
            await client.subscribe("g2")
            assert client.guild_ids == ("g1", "g2")
            await client.unsubscribe("g2")
            with pytest.raises(ClientError, match="forbidden"):
                await client.subscribe("g3")
            await client.close()
            await running
            assert client.state is State.CLOSED
        with pytest.raises(ClientError, match="closed"):
            await client.subscribe("g2")

    in_asyncio(scenario)
    await nobody_left(daemon)


@pytest_twisted.ensureDeferred
async def test_asyncio_is_cancelled(gateway: Fleet) -> None:
    """
    A cancelled C{run} leaves no connection behind.
    """
    daemon = await gateway()

    async def scenario() -> None:
        client = AsyncioClient(**arguments(daemon))
        running = asyncio.create_task(client.run())
        await ready(client)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert client.state is State.CLOSED

    in_asyncio(scenario)
    await nobody_left(daemon)


@pytest_twisted.ensureDeferred
async def test_asyncio_raises_what_ended_it(gateway: Fleet) -> None:
    """
    C{run} raises the gateway's refusal, and an application's word that there is no token.
    """
    daemon = await gateway()

    def logged_out() -> str:
        raise Unauthorized

    async def scenario() -> None:
        with pytest.raises(ClientError) as caught:
            await AsyncioClient(**arguments(daemon, token="no token")).run()
        assert caught.value.close_code == 4004
        with pytest.raises(ClientError, match="unauthorized"):
            await AsyncioClient(**arguments(daemon, token=logged_out)).run()

    in_asyncio(scenario)


@pytest_twisted.ensureDeferred
async def test_asyncio_callbacks(gateway: Fleet) -> None:
    """
    Coroutine functions do as token functions and as listeners; one that fails is told as an
    error, and harms nothing.
    """
    daemon = await gateway()

    async def fresh() -> str:
        await asyncio.sleep(0)
        return token("u1", ["g1"])

    async def scenario() -> list[ClientError]:
        client = AsyncioClient(**arguments(daemon, token=fresh))
        errors: list[ClientError] = []
        both = asyncio.Event()

        def failed(error: ClientError, _meta: Meta) -> None:
            errors.append(error)
            if len(errors) == 2:
                both.set()

        async def later(_data: object, _meta: Meta) -> None:
            await asyncio.sleep(0)
            raise KeyError("later")

        def now(_data: object, _meta: Meta) -> None:
            raise KeyError("now")

        client.on("error", failed)
        client.on("guild_subscribed", later)
        client.on("guild_subscribed", now)
        running = asyncio.create_task(client.run())
        await ready(client)
        await client.subscribe("g1")
        await client.unsubscribe("g1")
        await client.subscribe("g1")
        await both.wait()
        assert client.state is State.READY
        await client.close()
        await running
        return errors

    errors = in_asyncio(scenario)
    assert {str(error.__cause__) for error in errors} == {"'now'", "'later'"}
    assert {error.code for error in errors} == {"listener_failed"}


@pytest_twisted.ensureDeferred
async def test_twisted_runs_until_closed(gateway: Fleet) -> None:
    """
    The same with Deferreds.
    """
    daemon = await gateway()
    client = TwistedClient(**arguments(daemon), reactor=reactor)
    for _ in range(2):
        running = client.run()
        with pytest.raises(RuntimeError):
            client.run()
        await twisted_ready(client)
        await client.subscribe("g2")
        assert client.guild_ids == ("g1", "g2")
        await client.unsubscribe("g2")
        with pytest.raises(ClientError, match="forbidden"):
            await client.subscribe("g3")
        client.close()
        await within(10, "run to fire", running)
        assert client.state is State.CLOSED
    with pytest.raises(ClientError, match="closed"):
        await client.subscribe("g2")
    await nobody_left(daemon)


@pytest_twisted.ensureDeferred
async def test_twisted_is_cancelled(gateway: Fleet) -> None:
    """
    A cancelled C{run} leaves no connection and no timer behind.
    """
    daemon = await gateway()
    client = TwistedClient(**arguments(daemon), reactor=reactor)
    running = client.run()
    await twisted_ready(client)
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    await nobody_left(daemon)


@pytest_twisted.ensureDeferred
async def test_twisted_raises_what_ended_it(gateway: Fleet) -> None:
    """
    C{run} fails with the gateway's refusal, and with an application's word that there is no token.
    """
    daemon = await gateway()

    async def logged_out() -> str:
        raise Unauthorized

    with pytest.raises(ClientError) as caught:
        await TwistedClient(**arguments(daemon, token="no token"), reactor=reactor).run()
    assert caught.value.close_code == 4004
    with pytest.raises(ClientError, match="unauthorized"):
        await TwistedClient(**arguments(daemon, token=logged_out), reactor=reactor).run()


@pytest_twisted.ensureDeferred
async def test_twisted_callbacks(gateway: Fleet) -> None:
    """
    Deferreds and coroutine functions do as token functions and listeners; one that fails is told
    as an error, and harms nothing.
    """
    daemon = await gateway()
    answer: Deferred[str] = Deferred()
    reactor.callLater(0, answer.callback, token("u1", ["g1"]))

    def fresh() -> Awaitable[str]:
        return answer

    client = TwistedClient(**arguments(daemon, token=fresh), reactor=reactor)
    causes: list[str] = []

    async def later(_data: object, _meta: Meta) -> None:
        raise KeyError("later")

    def now(_data: object, _meta: Meta) -> None:
        raise KeyError("now")

    client.on("error", lambda error, _: causes.append(str(error.__cause__)))
    client.on("guild_unsubscribed", later)
    client.on("guild_unsubscribed", now)
    running = client.run()
    await twisted_ready(client)
    await client.unsubscribe("g1")
    await eventually(lambda: len(causes) == 2, "both failures to be told")
    assert sorted(causes) == ["'later'", "'now'"]
    client.close()
    await within(10, "run to fire", running)
