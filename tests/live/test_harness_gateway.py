"""
The harness itself: a gateway's process and its clients, tried on a stand-in for a gateway.
"""

from __future__ import annotations

import sys
import time
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_twisted

from tests.live.client import SECRET, Client, Closed, Refused, connect, token
from tests.live.daemon import Daemon, DaemonFailed
from tests.live.fleet import Fleet
from tests.live.waiting import Late, eventually

STAND_IN = [
    str(Path(sys.executable).with_name("twistd")),
    "--nodaemon",
    "--pidfile=",
    "--python",
    str(Path(__file__).with_name("stand_in.py")),
]


async def stand_in(gateway: Fleet, **options: Any) -> Daemon:
    """
    Start a stand-in for a gateway.
    """
    return await gateway(command=STAND_IN, **options)


# ------------------------------------------------------------------------------- the process


@pytest_twisted.ensureDeferred
async def test_waits_until_ready(gateway: Fleet) -> None:
    """
    A start is over when the instance says that it is ready, not when it answers at all.
    """
    daemon = await stand_in(gateway, config={"stand_in": {"ready_after": 3}})
    assert await daemon.health() == {"status": "ok", "pid": daemon.pid}
    assert "starting up" in daemon.log()


@pytest_twisted.ensureDeferred
async def test_stops_in_good_order(gateway: Fleet) -> None:
    """
    SIGTERM is a stop in good order, after which the instance can be started again.
    """
    daemon = await stand_in(gateway)
    pid = daemon.pid
    assert await daemon.stop() in (0, -15)
    assert "Server Shut Down" in daemon.log()
    await daemon.start()
    assert daemon.pid != pid
    assert (await daemon.health())["pid"] == daemon.pid


@pytest_twisted.ensureDeferred
async def test_frozen_instance_is_silent(gateway: Fleet) -> None:
    """
    A frozen instance does not answer, until it is thawed; frozen, it can still be ended.
    """
    daemon = await stand_in(gateway)
    daemon.freeze()
    with pytest.raises(Late):
        await daemon.request("GET", "/health", timeout=0.5)
    daemon.thaw()
    assert (await daemon.health())["status"] == "ok"
    daemon.freeze()
    await daemon.stop()


@pytest_twisted.ensureDeferred
async def test_failed_start_says_why(gateway: Fleet) -> None:
    """
    An instance that ends at its start is reported at once, with its log.
    """
    with pytest.raises(DaemonFailed, match=r"(?s)ended with \d.*told not to start"):
        await stand_in(gateway, config={"stand_in": {"refuse": "yes"}}, allow=["told not to"])
    await gateway.daemons[0].close()
    with pytest.raises(AssertionError, match="ended by itself"):
        await gateway.end()
    gateway.daemons.clear()


@pytest_twisted.ensureDeferred
async def test_slow_start_says_so(gateway: Fleet) -> None:
    """
    An instance that is not ready in time is reported, and is still there to be looked at.
    """
    with pytest.raises(DaemonFailed, match=r"waited [\d.]+ s for gateway-1 to be ready"):
        await stand_in(gateway, config={"stand_in": {"ready_after": 9999}}, timeout=1)
    assert gateway.daemons[0].running


@pytest_twisted.ensureDeferred
async def test_instances_have_names_and_ports_of_their_own(gateway: Fleet) -> None:
    """
    Several instances run side by side.
    """
    daemons = await gateway.many(2, command=STAND_IN)
    assert [each.name for each in daemons] == ["gateway-1", "gateway-2"]
    assert len({each.ws_port for each in daemons} | {each.http_port for each in daemons}) == 4
    assert len({(await each.health())["pid"] for each in daemons}) == 2


def test_configuration_is_what_the_test_says(tmp_path: Path) -> None:
    """
    A test's own keys win over the harness's, and a key it gives as None is left out.
    """
    daemon = Daemon(
        tmp_path,
        "name",
        redis="redis://127.0.0.1:1/0",
        config={"auth": {"secret": None, "leeway": 5}, "http": {"admin_token": "other"}},
    )
    parser = ConfigParser()
    parser.read(daemon.config)
    assert dict(parser["auth"]) == {"leeway": "5"}
    assert parser["http"]["admin_token"] == "other"
    assert parser["http"]["listen"] == f"tcp:{daemon.http_port}:interface=127.0.0.1"
    assert parser["redis"]["url"] == "redis://127.0.0.1:1/0"
    assert parser["rabbitmq"]["url"] == ""


@pytest_twisted.ensureDeferred
async def test_death_of_its_own_fails_the_test(gateway: Fleet) -> None:
    """
    An instance that ends without having been told to fails the test.
    """
    daemon = await stand_in(gateway)
    client = await connect(daemon.ws_port)
    client.send("die")
    await client.closed
    await eventually(lambda: not daemon.running, "the stand-in to die")
    assert daemon.died == 3
    with pytest.raises(AssertionError, match="gateway-1 ended by itself with 3"):
        await gateway.end()
    gateway.daemons.clear()


@pytest_twisted.ensureDeferred
async def test_logged_bug_fails_the_test(gateway: Fleet) -> None:
    """
    A traceback in the log fails the test, the whole entry being shown, unless it is allowed.
    """
    daemon = await stand_in(gateway)
    client = await connect(daemon.ws_port)
    assert daemon.complaints() == []
    client.send("crash")
    client.send("ping")
    await client.expect("ready")
    await client.expect("echo")
    assert daemon.complaints(["made to .rder"]) == []
    assert daemon.complaints(["something else"]) != []
    with pytest.raises(AssertionError, match=r"(?s)An error made to order.*ZeroDivisionError"):
        await gateway.end()
    gateway.daemons.clear()


# ------------------------------------------------------------------------------- the clients


@pytest_twisted.ensureDeferred
async def test_client_identifies_and_answers_heartbeats(gateway: Fleet) -> None:
    """
    A client finds its way through ready and heartbeats to identified, and answers each.
    """
    daemon = await stand_in(gateway)
    client = await connect(daemon.ws_port)
    identified = await client.identify("u1", ["g1", "g2"])
    assert identified.data == {"userId": "u1", "guildIds": ["g1", "g2"]}
    echo = await client.expect("echo")
    assert echo.data == {"heard": {"event": "heartbeat_ack", "data": {}}}
    assert echo.raw.startswith(b'{"event": "echo"')
    assert [each.event for each in client.received] == ["ready", "heartbeat", "identified", "echo"]


@pytest_twisted.ensureDeferred
async def test_client_can_leave_heartbeats_unanswered(gateway: Fleet) -> None:
    """
    Told not to, a client answers no heartbeat, and still C{next} shows it.
    """
    daemon = await stand_in(gateway)
    client = await connect(daemon.ws_port, heartbeats=False)
    client.send("identify", userId="u1", guildIds=[])
    client.send("ping")
    events = [(await client.next()).event for _ in range(4)]
    assert events == ["ready", "heartbeat", "identified", "echo"]
    assert client.received[-1].data["heard"]["event"] == "ping"


@pytest_twisted.ensureDeferred
async def test_expectations_fail(gateway: Fleet) -> None:
    """
    Another event, none, and the end of the connection are each told apart.
    """
    daemon = await stand_in(gateway)
    client = await connect(daemon.ws_port)
    with pytest.raises(AssertionError, match=r"expected identified, got .*ready"):
        await client.expect("identified")
    with pytest.raises(Late, match=r"waited 0\.1 s for identified"):
        await client.expect("identified", timeout=0.1)
    client.send("close", code=4008, reason="too many messages")
    with pytest.raises(Closed, match="4008: 'too many messages'"):
        await client.expect("identified")
    assert await client.closed == (4008, "too many messages")
    assert await client.closed == (4008, "too many messages")


@pytest_twisted.ensureDeferred
async def test_late_message_is_not_lost(gateway: Fleet) -> None:
    """
    A wait that ended without a message leaves the next one to the next wait.
    """
    daemon = await stand_in(gateway)
    client = await connect(daemon.ws_port)
    await client.expect("ready")
    with pytest.raises(Late):
        await client.next(timeout=0.1)
    client.send("ping")
    assert (await client.next()).event == "echo"


@pytest_twisted.ensureDeferred
async def test_refused_upgrade_is_told(gateway: Fleet) -> None:
    """
    An HTTP answer instead of an upgrade is an error, with its status and headers.
    """
    daemon = await stand_in(gateway)
    with pytest.raises(Refused) as caught:
        await connect(daemon.ws_port, path="/full")
    assert caught.value.status == 503
    assert Client.open == set()


@pytest_twisted.ensureDeferred
async def test_paused_client_reads_nothing(gateway: Fleet) -> None:
    """
    While a client is paused nothing is read, and afterwards everything is.
    """
    daemon = await stand_in(gateway)
    slow = await connect(daemon.ws_port, receive_buffer=65536)
    await slow.expect("ready")
    slow.pause()
    slow.send("flood", count=5000)
    other = await connect(daemon.ws_port)
    await other.expect("ready")
    other.send("ping")
    await other.expect("echo")
    assert len(slow.received) == 1
    slow.resume()
    for number in range(5000):
        message = await slow.expect("flood")
        assert message.data["number"] == number
    assert (await slow.close()).code == 1000


def test_token_says_what_it_is_told() -> None:
    """
    A token is signed, names its user and guilds, and is good for an hour, unless told otherwise.
    """
    now = time.time()
    claims = jwt.decode(token("u1", ["g1"]), SECRET, ["HS256"])
    assert (claims["sub"], claims["guilds"]) == ("u1", ["g1"])
    assert now - 2 <= claims["iat"] <= now
    assert claims["exp"] == claims["iat"] + 3600
    bare = jwt.decode(token("u1", exp=None, iat=None, jti="x"), SECRET, ["HS256"])
    assert bare == {"sub": "u1", "jti": "x"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token("u1", secret="another secret, also long enough for it"), SECRET, ["HS256"])
