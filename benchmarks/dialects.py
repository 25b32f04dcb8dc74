"""
How each kind of server is spoken to: what a client says after the handshake, and how events
are published.

Those that are no product but an example program of ours all take events the same way, a line
each on a port of their own; the others take them by their own protocol.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

from benchmarks.events import NAME, ROOM, length, plain_data, realistic_data


class Rule(NamedTuple):
    """
    Something to wait for in what the server says, and the answer to it; L{None} is the
    client's own line.
    """

    expect: str
    send: str | None


class Dialect(NamedTuple):
    """
    @ivar request: makes what is written to publish some events, whose data are given.
    @ivar overhead: bytes that a server adds to the data before it delivers them.
    @ivar web: whether events are published on the port where the clients are, too.
    @ivar batches: whether several events fit into one request.
    """

    request: Callable[[Sequence[str]], str]
    overhead: int
    path: str = "/"
    headers: str = ""
    binary: bool = False
    steps: tuple[Rule, ...] = ()
    replies: tuple[Rule, ...] = ()
    greeting: str = ""
    answer: Rule | None = None
    http: bool = False
    web: bool = False
    batches: bool = False

    def plain(self, size: int, count: int = 1) -> str:
        """
        What publishes C{count} events, each of C{size} bytes as the clients get it.
        """
        return self.request([plain_data(size - self.overhead)] * count)

    def realistic(self, count: int) -> list[str]:
        """
        What publishes each of C{count} messages as people write them.
        """
        return [self.request([data]) for data in realistic_data(count)]


def _event(data: str) -> str:
    return f'{{"event":"{NAME}","data":{data}}}'


def _lines(events: Sequence[str]) -> str:
    return "".join(f"{_event(data)}\n" for data in events)


def _post(path: str, body: str, headers: str = "") -> str:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {length(body)}\r\n\r\n{body}"
    )


LINES = Dialect(_lines, len(_event("")))

SOCKET_IO = LINES._replace(
    path="/socket.io/?EIO=4&transport=websocket",
    # What socket.io adds to a name and data: 42["message.create",...]
    overhead=len(f'42["{NAME}",]'),
    steps=(Rule("0{", "40"), Rule("40{", "")),
    replies=(Rule("2", "3"),),
)

NCHAN = Dialect(
    lambda events: "".join(_post("/pub", _event(data)) for data in events),
    len(_event("")),
    path="/sub",
    http=True,
    web=True,
)


def _nats(events: Sequence[str]) -> str:
    return "".join(f"PUB events {length(_event(data))}\r\n{_event(data)}\r\n" for data in events)


NATS = Dialect(
    _nats,
    # MSG events 1 300, two line ends.
    len(_event("")) + len("MSG events 1 300\r\n\r\n"),
    binary=True,
    steps=(
        Rule("INFO", 'CONNECT {"verbose":false,"pedantic":false}\r\nSUB events 1\r\nPING\r\n'),
        Rule("PONG", ""),
    ),
    replies=(Rule("PING", "PONG\r\n"),),
    greeting='CONNECT {"verbose":false,"pedantic":false}\r\n',
    answer=Rule("PING\r\n", "PONG\r\n"),
)

ADMIN_TOKEN = "the-operator-of-the-benchmarks"


def guild(room: int | str) -> str:
    """
    The guild that stands for a room; every one's name is of the same length.
    """
    return f"g{room}" if isinstance(room, str) else f"g{room:06}"


def _gatewayd(events: Sequence[str]) -> str:
    envelopes = [f'{{"event":"{NAME}","guildId":"{guild(ROOM)}","data":{data}}}' for data in events]
    body = envelopes[0] if len(envelopes) == 1 else f"[{','.join(envelopes)}]"
    return _post("/events", body, f"Authorization: Bearer {ADMIN_TOKEN}\r\n")


GATEWAYD = Dialect(
    _gatewayd,
    len(_event("")) + len(',"id":"1700000000000-0","guildId":"g000000"'),
    steps=(Rule('"event":"ready"', None), Rule('"denied":[]', "")),
    replies=(Rule('"event":"heartbeat"', '{"event":"heartbeat_ack","data":{}}'),),
    http=True,
    batches=True,
)

GATEWAYD_UNIDENTIFIED = GATEWAYD._replace(steps=(Rule('"event":"ready"', ""),))
"""
Clients that never say who they are: what the handshake alone costs.
"""
