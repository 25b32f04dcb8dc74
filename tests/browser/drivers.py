"""
The drivers of all SDKs: what they need, how they are built and started, and the clients in them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import AsyncIterator, Callable, NamedTuple, Sequence

import pytest

from clients.conformance.cast import Cast
from clients.conformance.theatre import Theatre
from tests.live.conftest import absent
from tests.live.processes import Child, run
from tests.live.waiting import reactor, together, within

ROOT = Path(__file__).parents[2]
JS = ROOT / "clients" / "js"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def no_node() -> str | None:
    """
    What to install for Node, or L{None}.
    """
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "Node 20 is not installed; run: apt-get install nodejs npm"
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if int(version.removeprefix("v").partition(".")[0] or 0) < 20:
        return f"Node is {version.strip()}, and the SDK needs 20; install a newer nodejs"
    return None


def no_chromium() -> str | None:
    """
    What to install for Chromium, or L{None}.
    """
    if not Path(CHROMIUM).exists():
        return "Chromium is not installed; run: apt-get install chromium"
    return no_node()


def nothing() -> None:
    """
    What Python's own drivers need.
    """


class Driver(NamedTuple):
    """
    One SDK, where it runs.

    @ivar command: starts it, given the control URL.
    @ivar missing: what to install for it first, or L{None}.
    """

    command: Sequence[str]
    missing: Callable[[], str | None] = nothing


DRIVERS = {
    "asyncio": Driver([sys.executable, "-m", "clients.conformance.drivers.asyncio"]),
    "twisted": Driver([sys.executable, "-m", "clients.conformance.drivers.twisted"]),
    "node": Driver(["node", str(JS / "build/conformance/node.js")], no_node),
    "chromium": Driver(["node", str(JS / "conformance/browser.mjs")], no_chromium),
}


def there(*names: str) -> list[str]:
    """
    Those drivers of C{names} that can run here. Of the others it is said aloud that they were not
    tested.
    """
    found = []
    for name in names:
        missing = DRIVERS[name].missing()
        if missing is None:
            found.append(name)
        else:
            absent.add(missing)
    return found


def need(name: str) -> None:
    """
    Skip the test if a driver cannot run here.
    """
    if not there(name):
        pytest.skip(str(DRIVERS[name].missing()))


async def command(*words: str, timeout: float = 100.0) -> str:
    """
    Run a command in the TypeScript SDK's directory.

    @return: what it printed.
    @raise AssertionError: it did not succeed.
    """
    program = shutil.which(words[0])
    assert program is not None, f"{words[0]} is not there"
    code, output = await run([program, *words[1:]], os.environ, JS, timeout)
    assert code == 0, f"{' '.join(words)} ended with {code}:\n{output}"
    return output


_SOURCES = ("src", "test", "conformance", "scripts")


async def build() -> None:
    """
    Have the TypeScript SDK built, and its tests and drivers bundled; and its tools installed. Does
    nothing where that is done, and waits for another test run that is at it.
    """
    key = hashlib.sha256(str(JS).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"gatewayd-js-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = JS / "build" / ".stamp"
        if stamp.exists() and stamp.read_text() == _state():
            return
        installed = JS / "node_modules" / ".package-lock.json"
        if not installed.exists() or _versions(installed) != _versions(JS / "package-lock.json"):
            await command("npm", "ci", "--no-audit", "--no-fund")
        await command("npm", "run", "--silent", "build")
        await command("node", "scripts/bundle.mjs")
        stamp.write_text(_state())


def _state() -> str:
    """
    What the build depends on, in a few characters.
    """
    files = [*JS.glob("*.json"), *(one for name in _SOURCES for one in (JS / name).rglob("*.*s"))]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _versions(lock: Path) -> dict[str, str]:
    packages = json.loads(lock.read_text())["packages"]
    return {
        name: one["version"]
        for name, one in packages.items()
        if name and not one.get("optional") and "version" in one
    }


@asynccontextmanager
async def theatre(directory: Path, *names: str) -> AsyncIterator[tuple[Theatre, dict[str, Cast]]]:
    """
    A theatre with the drivers C{names}, ready to be told what to do.

    @param directory: takes their logs.
    """
    if any(DRIVERS[name].missing is not nothing for name in names):
        await build()
    stage = Theatre(reactor)
    children: list[Child] = []
    casts: dict[str, Cast] = {}
    try:
        for name in names:
            arguments = [*DRIVERS[name].command, stage.control]
            arguments[0] = shutil.which(arguments[0]) or arguments[0]
            log = directory / f"{name}.log"
            log.touch()
            child = Child(arguments, os.environ, ROOT, log)
            children.append(child)
            casts[name] = await within(60, f"{name} to come", stage.casts.next(60))
        yield stage, casts
        for cast in casts.values():
            cast.dismiss()
        for child in children:
            await within(20, f"{child.arguments} to end", child.ended.wait())
            assert child.ended.value == 0, child.log()
    finally:
        await together(*(child.kill() for child in children))
        await stage.close()
