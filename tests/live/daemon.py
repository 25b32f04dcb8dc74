"""
A gateway as an operator runs it: C{twistd gateway} in a process of its own, with a configuration
file, watched from outside.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from tests.live.client import SECRET
from tests.live.processes import Child, free_port
from tests.live.waiting import Late, eventually, reactor, within

ROOT = Path(__file__).parents[2]
ADMIN_TOKEN = "the-token-of-the-operator-of-these-tests"

Sections = Mapping[str, Mapping[str, object]]


class DaemonFailed(AssertionError):
    """
    A gateway did not start, or ended by itself.
    """


class Answer(NamedTuple):
    """
    An HTTP answer.
    """

    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """
        The body, decoded.
        """
        return json.loads(self.body)


class Daemon:
    """
    One instance.

    @ivar name: its C{instance}.
    @ivar ws_port: where clients connect.
    @ivar http_port: where operators do.
    @ivar config: the file it was given.
    """

    def __init__(
        self,
        directory: Path,
        name: str = "gateway",
        *,
        rabbitmq: str = "",
        redis: str = "",
        config: Sections | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """
        @param directory: an empty one, of this instance alone; it runs there.
        @param rabbitmq: a URL; empty for none.
        @param redis: a URL; empty for none.
        @param config: by section and key. It wins over what is set here, and a value of L{None}
            leaves a key out.
        @param environment: beside our own, from which every C{GATEWAY_} variable is taken.
        @param command: what to run instead of C{twistd gateway}.
        """
        self.directory = directory
        self.name = name
        self.ws_port = free_port()
        self.http_port = free_port()
        self.config = directory / "gateway.ini"
        self.log_path = directory / "log"
        self.log_path.touch()
        self._environment = dict(environment or {})
        self._command = command
        self._child: Child | None = None
        self.configure(
            {
                "gateway": {
                    "listen": f"tcp:{self.ws_port}:interface=127.0.0.1",
                    "instance": name,
                },
                "http": {
                    "listen": f"tcp:{self.http_port}:interface=127.0.0.1",
                    "admin_token": ADMIN_TOKEN,
                },
                "auth": {"secret": SECRET},
                "rabbitmq": {"url": rabbitmq},
                "redis": {"url": redis},
            },
            config or {},
        )

    def configure(self, *layers: Sections) -> None:
        """
        Write the configuration file anew, for the next start. Later layers win.
        """
        merged: dict[str, dict[str, object]] = {}
        for layer in layers:
            for section, keys in layer.items():
                merged.setdefault(section, {}).update(keys)
        lines: list[str] = []
        for section, keys in merged.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
        self.config.write_text("\n".join(lines) + "\n")

    # Its life.

    async def start(self, until: str | None = "ready", timeout: float = 20.0) -> None:
        """
        Start, and return when C{GET /health/UNTIL} answers 200.

        @param until: C{ready}, C{live}, or L{None} not to wait for anything.
        @raise DaemonFailed: it ended before, or took too long. The text holds its log.
        """
        twistd = str(Path(sys.executable).with_name("twistd"))
        default = [twistd, "--nodaemon", "--pidfile=", "gateway", "--config", str(self.config)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        # The plugin is found by the path, whether or not the package is installed.
        path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        environment |= self._environment
        self._child = Child(self._command or default, environment, self.directory, self.log_path)
        if until is None:
            return
        try:
            await eventually(
                lambda: self._says_yes(f"/health/{until}"),
                f"{self.name} to be {until}",
                timeout,
                unless=self._hopeless,
            )
        except Late as late:
            raise DaemonFailed(f"{late}; its log ends:\n{self.log(50)}") from late

    def _hopeless(self) -> None:
        if not self.running:
            assert self._child is not None
            code = self._child.ended.value
            raise DaemonFailed(f"{self.name} ended with {code}; its log ends:\n{self.log(50)}")

    @property
    def running(self) -> bool:
        """
        Whether there is a process, frozen or not.
        """
        return self._child is not None and self._child.alive

    @property
    def died(self) -> int | None:
        """
        Its return code, if it ended and nobody had asked it to.
        """
        if self._child is None or self._child.alive or self._child.expected:
            return None
        return self._child.ended.value

    @property
    def pid(self) -> int:
        """
        The process, which with several workers is the one that started the others.
        """
        return self._process().pid

    def _process(self) -> Child:
        if self._child is None:
            raise DaemonFailed(f"{self.name} was never started")
        return self._child

    def stop(self, timeout: float = 20.0) -> Deferred[int]:
        """
        Ask it to end, with SIGTERM, and fire with its return code: negative is a signal, which
        under twistd is how a stop in good order ends.

        @raise Late: it did not end in C{timeout} seconds, and has been killed.
        """
        return self._process().end(signal.SIGTERM, timeout)

    def wait_ended(self, timeout: float = 20.0) -> Deferred[int]:
        """
        Fires with its return code when it ends by itself, as a test expects it to.
        """
        child = self._process()
        child.expected = True
        return within(timeout, f"{self.name} to end", child.ended.wait())

    def kill(self) -> Deferred[int]:
        """
        SIGKILL.
        """
        return self._process().kill()

    def freeze(self) -> None:
        """
        Stop it from doing anything, its sockets open.
        """
        self._process().send(signal.SIGSTOP)

    def thaw(self) -> None:
        """
        Let it go on.
        """
        self._process().send(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """
        Any other signal, to the process itself.
        """
        self._process().send(number, group=False)

    async def close(self) -> None:
        """
        End it, whatever state it is in, and leave nothing behind.
        """
        if self._child is not None:
            await self._child.kill()

    # What it says.

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        timeout: float = 5.0,
        **options: Any,
    ) -> Answer:
        """
        @param token: for C{Authorization: Bearer}.
        @param json: a body.
        @param options: more for L{treq.client.HTTPClient.request}, such as C{data} or C{headers}.
        """
        if token is not None:
            options.setdefault("headers", {})["Authorization"] = f"Bearer {token}"
        if json is not None:
            options["json"] = json

        async def work() -> Answer:
            # No pool, so that no connection is left over when the test ends.
            client = HTTPClient(Agent(reactor, connectTimeout=timeout))
            url = f"http://127.0.0.1:{self.http_port}{path}"
            response = await client.request(method, url, **options)
            return Answer(response.code, response.headers, await treq.content(response))

        return await within(timeout, f"{method} {path} of {self.name}", work())

    async def _says_yes(self, path: str) -> bool:
        try:
            return (await self.request("GET", path, timeout=2)).status == 200
        except Exception:
            # Not listening yet.
            return False

    async def health(self) -> Any:
        """
        C{GET /health}, whatever its status.
        """
        return (await self.request("GET", "/health")).json()

    async def stats(self) -> Any:
        """
        C{GET /stats}.
        """
        return (await self.request("GET", "/stats")).json()

    def log(self, lines: int = 0) -> str:
        """
        What it logged since its first start; only the last C{lines} if that is more than zero.
        """
        text = self.log_path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) if lines else text

    def complaints(self, allowed: Sequence[str] = ()) -> list[str]:
        """
        The entries of its log that tell of a bug, but for those in which a pattern of C{allowed}
        is found.
        """
        # What it prints line by line to standard error is one entry, whatever twistd makes of it.
        text = _STDERR.sub("", self.log())
        return [
            entry
            for entry in _ENTRY.split(text)
            if _BUG.search(entry) and not any(re.search(each, entry) for each in allowed)
        ]


_ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d[T ]|\{)", re.MULTILINE)
"""
Where a log entry begins: with a time, or, if it is JSON, a brace. What follows belongs to it.
"""

_STDERR = re.compile(r"(?<=\n)\S+ \[stderr#error\] (?!Traceback)")

_BUG = re.compile(r"Traceback|Unhandled|was never awaited|Unexpected error")
