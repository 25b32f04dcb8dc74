"""
The TypeScript SDK, in Node and in Chromium: its own tests, and the conformance script.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from clients.conformance.script import load
from tests.browser.drivers import build, command, need, theatre
from tests.live.client import token
from tests.live.daemon import ADMIN_TOKEN
from tests.live.fleet import Fleet

# They build the same directory, one after the other.
pytestmark = pytest.mark.xdist_group("npm")


@pytest_twisted.ensureDeferred
async def test_its_own_tests() -> None:
    """
    Its types hold, and its own tests pass.
    """
    need("node")
    await build()
    await command("npx", "tsc", "-p", "tsconfig.json")
    output = await command("node", "--test", "build/test/")
    assert "# fail 0" in output
    assert "# pass 0" not in output


@pytest.mark.parametrize("name", ["node", "chromium"])
@pytest_twisted.ensureDeferred
async def test_conformance(name: str, tmp_path: Path) -> None:
    """
    Every case of the script passes that this platform can play.
    """
    need(name)
    cases = load()
    async with theatre(tmp_path, name) as (stage, casts):
        can = casts[name].can
        outcomes = await stage.play(casts[name], cases)
    faults = [f"{one.name}: {one.fault}" for one in outcomes if one.fault]
    assert not faults, "\n".join(faults)
    played = [case.name for case in cases if "status" in can or "status" not in case.needs]
    assert [one.name for one in outcomes if one.played] == played


@pytest_twisted.ensureDeferred
async def test_a_page_is_reloaded(gateway: Fleet) -> None:
    """
    A page with a store that is left and loaded again hears what happened meanwhile, once.
    """
    need("chromium")
    await build()
    daemon = await gateway()
    await command(
        *("node", "conformance/reload.mjs", f"ws://127.0.0.1:{daemon.ws_port}/"),
        *(f"http://127.0.0.1:{daemon.http_port}/events", ADMIN_TOKEN),
        *("u1", token("u1", ["g1"])),
    )
