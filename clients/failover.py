"""
How long clients are away when their gateway dies: C{python -m clients.failover [--clients N]}.

Two gateways share a Redis. All clients are on the first, which is killed; their next attempts go to
the second, as a load balancer would have them. Measured is the time from the kill to C{ready}, with
the SDK's full jitter and without any.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Callable

import jwt

from gatewayd.client.asyncio import GatewayClient
from gatewayd.client.effects import Meta, State, StateChange

SECRET = "a secret for one measurement, and long enough for it"
ROOT = Path(__file__).parents[1]
BATCH = 50
"""
Clients that connect at a time at the beginning, which is not what is measured.
"""

GRAIN = 0.1
"""
Seconds in which arrivals are counted for the peak.
"""


def free_port() -> int:
    """
    A TCP port on which nobody listens now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Instance:
    """
    A gateway in a process of its own.
    """

    def __init__(self, directory: Path, name: str, redis: int) -> None:
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/"
        self._http = free_port()
        self._config = directory / f"{name}.ini"
        self._log = directory / f"{name}.log"
        self._config.write_text(
            f"[gateway]\nlisten = tcp:{self.port}:interface=127.0.0.1\ninstance = {name}\n"
            f"[http]\nlisten = tcp:{self._http}:interface=127.0.0.1\n"
            f"[auth]\nsecret = {SECRET}\n"
            f"[redis]\nurl = redis://127.0.0.1:{redis}/0\n"
        )

    async def start(self) -> None:
        """
        Start it, and return when it is ready.
        """
        twistd = Path(sys.executable).with_name("twistd")
        with self._log.open("w") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(twistd), "--nodaemon", "--pidfile=", "gateway"),
                *("--config", str(self._config)),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        for _ in range(200):
            if await asyncio.to_thread(self._ready):
                return
            await asyncio.sleep(0.1)
        raise SystemExit(f"the gateway did not start:\n{self._log.read_text()}")

    def _ready(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._http}/health/ready", timeout=1)
        except OSError:
            return False
        return True

    async def end(self) -> None:
        """
        Kill it.
        """
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


class Crowd:
    """
    Clients that went away together.

    @ivar tries: when each attempt began, in seconds after the kill.
    @ivar back: when each client was ready again.
    """

    def __init__(self, count: int, draw: Callable[[], float], first: str, second: str) -> None:
        self._second = second
        self._killed = float("inf")
        self._all_ready = asyncio.Event()
        self._ready = 0
        self.tries: list[float] = []
        self.back: list[float] = []
        self.clients = [self._client(f"user-{number}", draw, first) for number in range(count)]

    def _client(self, user: str, draw: Callable[[], float], url: str) -> GatewayClient:
        claims = {"sub": user, "guilds": ["g1"], "exp": int(time.time()) + 3600}
        token = jwt.encode(claims, SECRET, "HS256")
        client = GatewayClient(url, user_id=user, token=token, guild_ids=["g1"], random=draw)

        def changed(change: StateChange, _meta: Meta) -> None:
            since = time.monotonic() - self._killed
            if change.state is State.WAITING:
                client.url = self._second
            elif change.state is State.CONNECTING and since > 0:
                self.tries.append(since)
            elif change.state is State.READY:
                if since > 0:
                    self.back.append(since)
                self._ready += 1
                if self._ready == len(self.clients):
                    self._all_ready.set()

        client.on("state", changed)
        client.on("error", lambda _error, _meta: None)
        return client

    async def gather(self) -> list[asyncio.Task[None]]:
        """
        Have all connect, a batch at a time.
        """
        tasks = []
        for start in range(0, len(self.clients), BATCH):
            tasks += [asyncio.create_task(c.run()) for c in self.clients[start : start + BATCH]]
            while self._ready < len(tasks):
                await asyncio.sleep(0.01)
        return tasks

    async def survive(self, kill: Instance) -> None:
        """
        Have their gateway killed, and wait until all are back.
        """
        self._ready = 0
        self._all_ready.clear()
        self._killed = time.monotonic()
        await kill.end()
        await asyncio.wait_for(self._all_ready.wait(), 120)


async def measure(count: int, draw: Callable[[], float], directory: Path) -> Crowd:
    """
    One kill, and what became of the clients.
    """
    port = free_port()
    redis = await asyncio.create_subprocess_exec(
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""),
        stdout=asyncio.subprocess.DEVNULL,
    )
    one, two = Instance(directory, "one", port), Instance(directory, "two", port)
    try:
        await asyncio.gather(one.start(), two.start())
        crowd = Crowd(count, draw, one.url, two.url)
        tasks = await crowd.gather()
        await crowd.survive(one)
        for client in crowd.clients:
            await client.close()
        await asyncio.gather(*tasks)
        return crowd
    finally:
        await one.end()
        await two.end()
        redis.terminate()
        await redis.wait()


def told(name: str, crowd: Crowd) -> str:
    """
    One line of figures.
    """
    ordered = sorted(crowd.back)
    peak = max(Counter(int(one / GRAIN) for one in crowd.tries).values())
    return (
        f"{name:>14}: median {statistics.median(ordered):.2f} s, "
        f"p95 {ordered[int(len(ordered) * 0.95)]:.2f} s, last {ordered[-1]:.2f} s; "
        f"{len(crowd.tries)} attempts, at most {peak} begun in {GRAIN:g} s"
    )


async def main(count: int) -> None:
    """
    Both ways.
    """
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed; run: apt-get install redis-server")
    print(f"{count} clients, from the kill of their gateway to ready on another:")
    for name, draw in (("full jitter", random.random), ("no jitter", lambda: 1.0)):
        with tempfile.TemporaryDirectory() as directory:
            print(told(name, await measure(count, draw, Path(directory))), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    asyncio.run(main(parser.parse_args().clients))
