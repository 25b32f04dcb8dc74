"""
The examples of the SDKs' READMEs, run as they stand but for the address and the token.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import pytest_twisted

from tests.browser.drivers import JS, ROOT, build, need
from tests.live.client import token
from tests.live.daemon import ADMIN_TOKEN, Daemon
from tests.live.fleet import Fleet
from tests.live.processes import Child
from tests.live.waiting import eventually

# They build the same directory, one after the other.
pytestmark = pytest.mark.xdist_group("npm")

URL, TOKEN = "ws://localhost:3005/", "eyJhbGciOi..."


def examples(path: Path, language: str) -> list[str]:
    """
    The code blocks of a README in a language.
    """
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def ready_to_run(example: str, daemon: Daemon) -> str:
    """
    An example with an address and a token that are good here.
    """
    assert URL in example
    assert TOKEN in example
    real = example.replace(URL, f"ws://127.0.0.1:{daemon.ws_port}/")
    return real.replace(TOKEN, token("u1", ["g1"]))


async def run_example(gateway: Fleet, tmp_path: Path, command: list[str], example: str) -> None:
    """
    Run an example, and see it hear a message.
    """
    daemon = await gateway()
    script = Path(command[-1])
    script.write_text(ready_to_run(example, daemon), encoding="utf-8")
    log = tmp_path / "log"
    log.touch()
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    child = Child(command, environment, tmp_path, log)
    try:

        async def connected() -> bool:
            assert child.alive, child.log()
            health = await daemon.health()
            return bool(health["connections"]["identified"] == 1)

        await eventually(connected, "the example to connect")
        message = {"id": "m1", "channelId": "c1", "content": "hello from the test"}
        envelope = {"event": "message.create", "guildId": "g1", "data": message}
        await daemon.request("POST", "/events", token=ADMIN_TOKEN, json=envelope)
        await eventually(lambda: "g1 hello from the test" in child.log(), "it to print a message")
    finally:
        await child.kill()


@pytest.mark.parametrize("number", [0, 1], ids=["asyncio", "twisted"])
@pytest_twisted.ensureDeferred
async def test_python(number: int, gateway: Fleet, tmp_path: Path) -> None:
    """
    Each Python example prints the messages of its guild.
    """
    found = examples(ROOT / "clients" / "python" / "README.md", "python")
    assert len(found) == 2
    command = [sys.executable, str(tmp_path / "example.py")]
    await run_example(gateway, tmp_path, command, found[number])


@pytest_twisted.ensureDeferred
async def test_javascript(gateway: Fleet, tmp_path: Path) -> None:
    """
    The JavaScript example prints the messages of its guild, and is of ten lines or so.
    """
    need("node")
    await build()
    (found,) = examples(JS / "README.md", "js")
    assert len(found.splitlines()) <= 12
    node = shutil.which("node")
    assert node is not None
    # In there the package finds itself by its own name.
    script = JS / "build" / "example.mjs"
    await run_example(gateway, tmp_path, [node, str(script)], found)
