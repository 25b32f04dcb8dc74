"""
The process: how it starts, what it says when it cannot, and how it ends.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
import pytest_twisted

from tests.live.client import connect
from tests.live.daemon import ADMIN_TOKEN, Daemon
from tests.live.fleet import Fleet
from tests.live.waiting import eventually


async def refusal(gateway: Fleet, **options: Any) -> tuple[Daemon, int, str]:
    """
    A gateway that does not start, its exit code, and what it said.
    """
    one = await gateway(until=None, **options)
    code = await one.wait_ended()
    text = one.log()
    assert "Traceback" not in text
    return one, code, text


@pytest_twisted.ensureDeferred
async def test_no_key(gateway: Fleet) -> None:
    """
    Without a key to check tokens with it does not start, and says what to set.
    """
    _, code, text = await refusal(gateway, config={"auth": {"secret": None}})
    assert code == 2
    assert "secret_file" in text
    assert "GATEWAY_AUTH_SECRET" in text


@pytest_twisted.ensureDeferred
async def test_all_faults_at_once(gateway: Fleet) -> None:
    """
    Every fault of the configuration is told, each with file, section, key and what was
    expected; the value of a secret is not.
    """
    one, code, text = await refusal(
        gateway,
        config={
            "gateway": {"heartbeat_interval": "soon", "colour": "blue"},
            "limits": {"max_guilds": "-1"},
            "http": {"admin_token": "two words"},
            "nonsense": {"a": 1},
        },
    )
    assert code == 2
    lines = [line for line in text.splitlines() if str(one.config) in line]
    assert len(lines) == 5, text
    for word in ("heartbeat_interval", "colour", "max_guilds", "admin_token", "nonsense"):
        assert sum(word in line for line in lines) == 1, word
    assert "two words" not in text


@pytest_twisted.ensureDeferred
async def test_no_such_file(gateway: Fleet) -> None:
    """
    A configuration file that is not there is named.
    """
    one = await gateway(until=None)
    await one.kill()
    one.config.unlink()
    await one.start(until=None)
    assert await one.wait_ended() == 2
    assert f"{one.config}: cannot be read" in one.log()


@pytest.mark.parametrize("section", ["gateway", "http"])
@pytest_twisted.ensureDeferred
async def test_port_taken(section: str, gateway: Fleet) -> None:
    """
    A port that another process has ends the start with exit code 1, and says which key names it.
    """
    first = await gateway()
    port = first.ws_port if section == "gateway" else first.http_port
    listen = f"tcp:{port}:interface=127.0.0.1"
    _, code, text = await refusal(gateway, config={section: {"listen": listen}})
    assert code == 1
    assert listen in text
    assert "in use" in text
    assert f"[{section}] listen" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest_twisted.ensureDeferred
async def test_stops_well(number: signal.Signals, gateway: Fleet) -> None:
    """
    Asked to stop, it tells its clients when to come back, closes them with 1001, and ends
    with 0.
    """
    one = await gateway(config={"gateway": {"drain_time": "1 s"}})
    live, silent = await connect(one.ws_port), await connect(one.ws_port)
    await live.identify("alice", ["g1"])
    one.signal(number)
    goodbye = await live.expect("reconnect")
    assert goodbye.data["reason"] == "shutdown"
    assert 0 <= goodbye.data["retryAfter"] <= 1000
    assert (await live.closed).code == 1001
    assert (await silent.closed).code == 1001
    assert await one.wait_ended() == 0


@pytest_twisted.ensureDeferred
async def test_drain_by_http(gateway: Fleet) -> None:
    """
    C{POST /drain} does the same: not ready at once, and in the end the process is gone.
    """
    one = await gateway(config={"gateway": {"drain_time": "2 s"}})
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    assert (await one.request("POST", "/drain", token=ADMIN_TOKEN)).status == 202

    async def draining() -> bool:
        answer = await one.request("GET", "/health")
        return answer.status == 503 and answer.json()["status"] == "draining"

    await eventually(draining, "/health to tell of the drain")
    assert (await one.request("GET", "/health/ready")).status == 503
    assert (await one.request("GET", "/health/live")).status == 200
    await client.expect("reconnect")
    assert (await client.closed).code == 1001
    assert await one.wait_ended() == 0


@pytest_twisted.ensureDeferred
async def test_second_signal(gateway: Fleet) -> None:
    """
    Asked twice, it does not wait for the drain.
    """
    one = await gateway(config={"gateway": {"drain_time": "600 s"}})
    client = await connect(one.ws_port)
    await client.identify("alice", ["g1"])
    one.signal(signal.SIGTERM)
    await client.expect("reconnect")
    one.signal(signal.SIGTERM)
    assert await one.wait_ended() == 1
    await client.closed


@pytest_twisted.ensureDeferred
async def test_environment_wins(gateway: Fleet) -> None:
    """
    A key in the environment wins over the file.
    """
    one = await gateway(environment={"GATEWAY_GATEWAY_INSTANCE": "other-name"})
    assert (await one.health())["instance"] == "other-name"
    client = await connect(one.ws_port)
    assert (await client.expect("ready")).data["instance"] == "other-name"
