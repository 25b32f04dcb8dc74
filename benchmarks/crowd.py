"""
Clients of one or more gateways in one process, for events that somebody else publishes.

The load client in C knows when an event was published because it publishes it. Here each event
carries that itself, by the clock that all processes of a machine share; and like there, each
client's events are checked: all, once and in order.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from base64 import b64encode
from collections import Counter
from typing import Iterator, Sequence

import msgspec

from benchmarks.dialects import guild
from benchmarks.events import DIGITS, NAME
from benchmarks.tokens import identifications

GUILD = guild(0)
"""
All clients are in it.
"""
EVENT_BYTES = 300
PATIENCE = 20.0
"""
Seconds without an event after which no more will come.
"""
STRAGGLERS = 0.3
"""
Seconds to look for what should not come.
"""
STEP = 10_000
"""
Nanoseconds to which latencies are told apart.
"""
STAMP_DIGITS = 18

_MARK = b"@"
_CHUNK = 1 << 18
_HEAD = 10
"""
Bytes, of the longest head of a frame; nothing of interest is shorter as a whole.
"""
_CLOSE = 0x88
_ACK = b'{"event":"heartbeat_ack","data":{}}'


class Order(msgspec.Struct, frozen=True):
    """
    Whom to connect where, and what to wait for.

    @ivar gateways: ports, each with the number of its clients.
    """

    gateways: list[tuple[int, int]]
    events: int


class Seen(msgspec.Struct, frozen=True):
    """
    What the clients got.

    @ivar wrong: the first thing that was not as it should be; empty if all was.
    @ivar p50: milliseconds from an event's publishing to a client's having it.
    @ivar ended: when the last event came, by C{time.monotonic_ns}.
    @ivar cpu: seconds that these clients used themselves.
    """

    deliveries: int
    wrong: str
    p50: float
    p99: float
    most: float
    ended: int
    cpu: float


class Wrong(Exception):
    """
    A client was not given what it should have been.
    """


def body(number: int, at: int) -> bytes:
    """
    What is published: L{EVENT_BYTES} of them.

    @param at: now, by C{time.monotonic_ns}.
    """
    head = f'{{"event":"{NAME}","guildId":"{GUILD}","data":{{"id":"@{number:0{DIGITS}}@'
    head += f'{at:0{STAMP_DIGITS}}","channelId":"c1","content":"'
    return f'{head}{"x" * (EVENT_BYTES - len(head) - 3)}"}}}}'.encode()


class Client:
    """
    One connection.
    """

    __slots__ = ("_fd", "_rest", "next", "socket")

    def __init__(self, port: int, line: str) -> None:
        """
        Connect and identify.

        @raise Wrong: that did not work.
        """
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fd = self.socket.fileno()
        self._rest = b""
        self.next = 0
        key = b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "\r\n".encode()
        )
        self._expect(b'"event":"ready"')
        self.socket.sendall(_frame(line.encode()))
        self._expect(b'"denied":[]')

    def _expect(self, wanted: bytes) -> None:
        got = b""
        while wanted not in got:
            data = self.socket.recv(_CHUNK)
            if not data:
                raise Wrong(f"a client was not let in: {got[-300:]!r}")
            got += data

    def read(self) -> Iterator[int]:
        """
        When each event was published that has come.
        """
        came = os.read(self._fd, _CHUNK)
        if not came:
            raise Wrong("a client's connection was closed")
        data = self._rest + came if self._rest else came
        at, length = 0, len(data)
        while length - at >= _HEAD:
            start, size = at + 2, data[at + 1]
            if size == 126:
                start, size = at + 4, data[at + 2] << 8 | data[at + 3]
            elif size == 127:
                start, size = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            end = start + size
            if end > length:
                break
            mark = data.find(_MARK, start, end)
            if mark >= 0:
                stamp = mark + DIGITS + 2
                self._count(int(data[mark + 1 : stamp - 1]))
                yield int(data[stamp : stamp + STAMP_DIGITS])
            else:
                self._other(data[at], data[start:end])
            at = end
        self._rest = data[at:]

    def _count(self, number: int) -> None:
        if number != self.next:
            raise Wrong(f"a client got event {number} when {self.next} was next")
        self.next = number + 1

    def _other(self, first: int, payload: bytes) -> None:
        if first == _CLOSE:
            raise Wrong(f"a client was closed with {payload!r}")
        if b'"heartbeat"' in payload:
            self.socket.sendall(_frame(_ACK))


def _frame(payload: bytes) -> bytes:
    # A mask of zeros leaves it as it is.
    head = bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big")
    if len(payload) < 126:
        head = bytes((0x81, 0x80 | len(payload)))
    return head + bytes(4) + payload


def connected(gateways: Sequence[tuple[int, int]]) -> list[Client]:
    """
    The clients, identified and subscribed.
    """
    ports = [port for port, count in gateways for _ in range(count)]
    lines = identifications(len(ports), lambda _: [GUILD])
    return [Client(port, line) for port, line in zip(ports, lines, strict=True)]


def watch(clients: Sequence[Client], events: int) -> Seen:
    """
    Take what comes until every client has had C{events}.
    """
    latencies: Counter[int] = Counter()
    by_fd = {client.socket.fileno(): client for client in clients}
    wrong, most, ended = "", 0, 0
    due, deliveries = events * len(clients), 0
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        began = time.process_time()
        try:
            while deliveries < due:
                ready = poll.poll(PATIENCE)
                # By now all of them are here. That they are looked at one after the other is
                # no fault of who sent them.
                now = time.monotonic_ns()
                if not ready:
                    raise Wrong(f"{deliveries} of {due} deliveries came")
                for fd, _ in ready:
                    for published in by_fd[fd].read():
                        latency = now - published
                        latencies[latency // STEP] += 1
                        deliveries += 1
                        if latency > most:
                            most = latency
                ended = now
            for fd, _ in poll.poll(STRAGGLERS):
                if _MARK in os.read(fd, _CHUNK):
                    raise Wrong("a client got more than was published")
        except (Wrong, OSError) as error:
            wrong = str(error)
        used = time.process_time() - began
    p50, p99 = (_quantile(latencies, share) for share in (0.5, 0.99))
    return Seen(deliveries, wrong, p50, p99, most / 1e6, ended, used)


def _quantile(latencies: Counter[int], share: float) -> float:
    left = share * latencies.total()
    for step in sorted(latencies):
        left -= latencies[step]
        if left <= 0:
            return (step + 1) * STEP / 1e6
    return 0.0


def main(order: str) -> None:
    """
    Connect, say so, watch, and tell what was seen.
    """
    wanted = msgspec.json.decode(order, type=Order)
    clients = connected(wanted.gateways)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    seen = watch(clients, wanted.events)
    sys.stdout.write(f"{msgspec.json.encode(seen).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
