"""
A server that belongs to the tests, whatever it serves.
"""

from __future__ import annotations

import os
import shutil
import signal
from glob import glob
from pathlib import Path
from typing import ClassVar

from tests.live.processes import Child, free_port
from tests.live.waiting import Late, eventually


class ServerFailed(Exception):
    """
    A server ended when nobody had asked it to, or a command to it failed.
    """


def find(*candidates: str) -> str | None:
    """
    The first that exists: a glob pattern for a file, or a command.
    """
    for candidate in candidates:
        for path in sorted(glob(candidate), reverse=True):
            if os.access(path, os.X_OK):
                return path
        if "/" not in candidate and (found := shutil.which(candidate)):
            return found
    return None


class Server:
    """
    One server, which can be started again and again on the same port and the same data.

    @ivar port: on 127.0.0.1.
    @ivar url: for clients; it holds no percent sign, which some configuration parsers expand.
    @cvar boot: seconds that a start may take on a slow machine.
    """

    name: ClassVar[str]
    boot: ClassVar[float]
    url: str

    def __init__(self, directory: Path) -> None:
        """
        @param directory: an empty one, of this server alone.
        """
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir(parents=True)
        self.log_path = directory / "log"
        self.log_path.touch()
        self.port = free_port()
        self.frozen = False
        self._child: Child | None = None

    # What a subclass says of its server.

    @classmethod
    def missing(cls) -> str | None:
        """
        What has to be installed to run it, or L{None}.
        """
        raise NotImplementedError

    def _command(self) -> tuple[list[str], dict[str, str]]:
        """
        What to run, in which environment.
        """
        raise NotImplementedError

    async def _prepared(self) -> None:
        """
        Do what comes before a start.
        """

    async def _answers(self) -> bool:
        """
        Whether a client is served.
        """
        raise NotImplementedError

    # What a test does with it.

    @property
    def running(self) -> bool:
        """
        Whether there is a process, frozen or not.
        """
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int:
        """
        The process that serves.
        """
        return self._alive().pid

    def _alive(self) -> Child:
        if self._child is None or not self._child.alive:
            raise ServerFailed(f"{self.name} on port {self.port} is not running")
        return self._child

    async def start(self) -> None:
        """
        Start, and return when clients are served. If it runs already, see that it is thawed.
        """
        if self.running:
            self.thaw()
        else:
            await self._prepared()
            arguments, environment = self._command()
            self._child = Child(arguments, environment, self.directory, self.log_path)
            self.frozen = False
        what = f"{self.name} on port {self.port}"
        try:
            await eventually(self._answers, what, self.boot, 0.1, unless=self._hopeless)
        except Late as late:
            raise ServerFailed(f"{late}; its log ends:\n{self.log(30)}") from late

    def _hopeless(self) -> None:
        if not self.running:
            raise ServerFailed(f"{self.name} ended at its start; its log ends:\n{self.log(30)}")

    async def stop(self) -> None:
        """
        Stop in good order.
        """
        self.frozen = False
        await self._alive().end(signal.SIGTERM, timeout=30)

    async def kill(self) -> None:
        """
        Stop as in a power failure, except that the kernel still closes the sockets.
        """
        self.frozen = False
        await self._alive().kill()

    def freeze(self) -> None:
        """
        Stop it from doing anything. Its sockets stay open, and new connections are accepted, by
        the kernel, until the backlog is full.
        """
        self._alive().send(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """
        Let it go on.
        """
        self._alive().send(signal.SIGCONT)
        self.frozen = False

    def wipe(self) -> None:
        """
        Lose its data. It must not be running.
        """
        if self.running:
            raise ServerFailed(f"stop or kill {self.name} before its data is wiped")
        shutil.rmtree(self.data)
        self.data.mkdir()

    async def restart(self, wipe: bool = False) -> None:
        """
        Stop in good order, if it runs, and start.
        """
        if self.running:
            await self.stop()
        if wipe:
            self.wipe()
        await self.start()

    async def close(self) -> None:
        """
        End it for good, quickly.
        """
        if self._child is not None:
            await self._child.kill()

    def log(self, lines: int = 0) -> str:
        """
        What it wrote since the first start; only the last C{lines} if that is more than zero.
        """
        text = self.log_path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) if lines else text
