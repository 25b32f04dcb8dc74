"""
The load client (C{load/}), driven from here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Iterable, NamedTuple

from benchmarks.builds import BUILD
from benchmarks.dialects import Dialect
from benchmarks.server import Failed, Server

PARALLEL = 48
"""
Handshakes under way at a time. Some servers let only 50 connections wait to be accepted.
"""
PATIENCE = 20.0


class Published(NamedTuple):
    """
    What became of some events, as the clients saw it.

    @ivar seconds: from the first publish to the last delivery.
    @ivar received: bytes that all clients got.
    @ivar chunks: how many reads that took.
    @ivar last_p50: microseconds from an event's publish to its last delivery, in the middle.
    @ivar load_cpu: seconds of CPU that the load client used.
    """

    events: int
    deliveries: int
    seconds: float
    received: int
    chunks: int
    first_p50: float
    last_p50: float
    last_p99: float
    load_cpu: float


class Load:
    """
    Started by C{with}.

    @ivar clients: how many are connected.
    @ivar compressing: how many of them agreed with the server on compression.

    All methods raise L{Failed} where something went wrong with any client
    at all: a failed handshake, a connection lost, an event that came twice or not.
    """

    def __init__(self, server: Server, patience: float = PATIENCE) -> None:
        """
        @param patience: seconds without any progress after which a method gives up.
        """
        self._server = server
        self._patience = patience
        self._dialect = server.peer.dialect
        self._process: subprocess.Popen[str] | None = None
        self.clients = 0
        self.compressing = 0

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [str(BUILD / "load")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        site = self._server.site
        self.speak(self._dialect)
        if site.deflate:
            self._tell("deflate", 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def speak(self, dialect: Dialect) -> None:
        """
        Connect clients and publish as C{dialect} says, from now on.
        """
        self._dialect = dialect
        site = self._server.site
        self._tell("server", "127.0.0.1", site.web, _hex(dialect.path), _hex(dialect.headers))
        self._tell("binary", int(dialect.binary))
        self._tell("forget")
        for verb, rules in (("step", dialect.steps), ("reply", dialect.replies)):
            for rule in rules:
                send = "line" if rule.send is None else _hex(rule.send)
                self._tell(verb, _hex(rule.expect), send)

    def lines(self, lines: Iterable[str]) -> None:
        """
        What each client says where its dialect leaves it to the client.
        """
        path: Path = self._server.site.folder / "lines"
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in lines)
        self._tell("lines", path)

    def rooms(self, count: int, each: int) -> None:
        """
        Put client C{c} into the rooms C{c * each} to C{c * each + each - 1} of C{count}, round
        and round; event C{n} then goes to room C{n % count}.
        """
        self._tell("rooms", count, each)

    def connect(self, count: int) -> float:
        """
        Connect C{count} more clients.

        @return: how many seconds it took.
        """
        answer = self._ask("connect", count, PARALLEL, self._patience)
        self.clients += count
        if answer["live"] != self.clients:
            raise Failed(f"{answer['live']} of {self.clients} clients connected")
        self.compressing = answer["compressing"]
        return float(answer["seconds"])

    def publisher(self) -> None:
        """
        Connect the publisher.
        """
        dialect = self._dialect
        kind = "http" if dialect.http else "plain"
        port = self._server.publishing_port
        if dialect.answer is not None:
            self._tell("answer", _hex(dialect.answer.expect), _hex(dialect.answer.send or ""))
        self._tell("publisher", "127.0.0.1", port, _hex(dialect.greeting), kind)

    def templates(self, requests: Iterable[str], events_each: int = 1) -> None:
        """
        What publishes events, taken in turn.
        """
        self._tell("template", 0, "-")
        for request in requests:
            self._tell("template", events_each, _hex(request))

    def publish(self, events: int, in_flight: int) -> Published:
        """
        Publish C{events}, each as soon as fewer than C{in_flight} are under way, and return when
        every client has had all that are for it.
        """
        answer = self._ask("publish", events, in_flight, self._patience)
        if answer["deliveries"] != answer["due"]:
            raise Failed(f"{answer['deliveries']} of {answer['due']} deliveries came")
        return Published(
            answer["events"],
            answer["deliveries"],
            answer["seconds"],
            answer["bytes"],
            answer["chunks"],
            answer["first_us"]["p50"],
            answer["last_us"]["p50"],
            answer["last_us"]["p99"],
            answer["load_cpu"],
        )

    def check(self) -> None:
        """
        See that nothing came that should not have, and that every client is still there.
        """
        answer = self._ask("state")
        if answer["live"] != self.clients:
            raise Failed(f"{answer['live']} of {self.clients} clients are still connected")

    def close(self) -> None:
        """
        Cut every client's connection.
        """
        self._ask("close")
        self.clients = 0

    def _tell(self, *words: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{' '.join(map(str, words))}\n")
        self._process.stdin.flush()

    def _ask(self, *words: object) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        self._tell(*words)
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the load client ended")
        answer: dict[str, Any] = json.loads(line)
        if answer["trouble"] or any(answer.get(each) for each in ("gaps", "repeats", "strays")):
            raise Failed(f"{answer['trouble'] or answer}")
        return answer


def _hex(text: str) -> str:
    return text.encode().hex() or "-"
