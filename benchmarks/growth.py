"""
How the costs grow: with clients, guilds, guilds of a user, the size of an event.
"""

from __future__ import annotations

from statistics import median
from typing import Callable, Iterator, NamedTuple, Sequence

from msgspec import Struct

from benchmarks.connections import GUILDS
from benchmarks.fanout import EVENT_BYTES, say
from benchmarks.limits import most_clients, possible
from benchmarks.roster import FLOOR, OURS, STOCK, Peer
from benchmarks.server import Failed
from benchmarks.stage import WARM, Membership, stage

CLIENTS = (100, 300, 1000, 3000, 10_000, 20_000)
PRIVATE_GUILDS = (0, 1, 10, 50, 100)
GUILDS_EACH = (1, 3, 10, 30, 100, 200)
SIZES = (128, 512, 2048, 8192, 32_768, 65_536)
MODEST = 1000
"""
Clients where it is not their number that grows.
"""
AUDIENCE = 100
"""
Clients that an event is for where guilds of a user grow, so that nothing else does.
"""
CONNECTED = (100, 1000, 3000, 10_000)
STEP = 500
"""
Clients that connect for one point of the cost of connecting.
"""
WINDOWS = 3
"""
A point is the median of so many stretches.
"""


class Point(Struct, frozen=True):
    """
    @ivar y: microseconds of the server's CPU.
    """

    x: float
    y: float


class Line(Struct, frozen=True):
    """
    One server, or one kind of cost.
    """

    name: str
    points: list[Point]


class Curve(Struct, frozen=True):
    """
    One picture.

    @ivar name: of its file.
    @ivar title: what is seen.
    @ivar x: what grows.
    @ivar y: what is paid.
    """

    name: str
    title: str
    x: str
    y: str
    lines: list[Line]


class Growth(Struct):
    """
    All pictures.
    """

    curves: list[Curve]
    failures: list[str]


class _Case(NamedTuple):
    x: float
    clients: int = MODEST
    membership: Membership = Membership()
    size: int = EVENT_BYTES


def measure(seconds: float) -> Growth:
    """
    Measure everything that grows.

    @param seconds: about how long each point is watched.
    """
    growth = Growth([], [])
    sizes = sorted({possible(clients)[0] for clients in CLIENTS})
    cheap = (FLOOR, OURS, STOCK)
    per_delivery = "CPU for a delivery, microseconds"
    for name, title, x, peers, cases in (
        (
            "clients",
            "A delivery, by how many clients hear it",
            "clients of one guild",
            cheap,
            [_Case(n, n) for n in sizes],
        ),
        (
            "guilds",
            f"A delivery to {MODEST} clients of one guild, by how many guilds there are besides",
            "guilds",
            (OURS,),
            [_Case(1 + n * MODEST, membership=Membership(1, 1, n)) for n in PRIVATE_GUILDS],
        ),
        (
            "guilds-of-a-user",
            f"A delivery to {AUDIENCE} of {MODEST} clients, by how many guilds each is in",
            "guilds of a user",
            (OURS,),
            [_Case(n, membership=Membership(n * MODEST // AUDIENCE, n)) for n in GUILDS_EACH],
        ),
        (
            "event-size",
            f"A delivery to {MODEST} clients, by the size of the event",
            "bytes of an event",
            cheap,
            [_Case(n, size=n) for n in SIZES],
        ),
    ):
        lines = [_line(growth, peer, cases, seconds) for peer in peers]
        growth.curves.append(Curve(name, title, x, per_delivery, lines))
    growth.curves.append(
        Curve(
            "connecting",
            "Connecting, by how many clients are there already",
            "clients there already",
            "CPU for a client, microseconds",
            [Line(OURS.name, list(_kept(growth, OURS.name, _connecting)))],
        )
    )
    growth.curves.append(
        Curve(
            "identifying",
            "Connecting, by how many guilds a user is in",
            "guilds of a user",
            "CPU for a client, microseconds",
            [Line(OURS.name, list(_kept(growth, OURS.name, _identifying)))],
        )
    )
    return growth


def _line(growth: Growth, peer: Peer, cases: Sequence[_Case], seconds: float) -> Line:
    return Line(
        peer.name,
        list(_kept(growth, peer.name, lambda: (_point(peer, case, seconds) for case in cases))),
    )


def _kept(growth: Growth, name: str, points: Callable[[], Iterator[Point]]) -> Iterator[Point]:
    """
    The points before the first failure, which is noted.
    """
    try:
        for point in points():
            say(f"  {name:<32} {point.x:>9g}: {point.y:8.2f} us")
            yield point
    except Failed as failed:
        growth.failures.append(f"{name}: {failed}")
        say(f"!! FAILED: {growth.failures[-1]}")


def _point(peer: Peer, case: _Case, seconds: float) -> Point:
    with stage(peer, case.clients, case.membership) as on:
        on.connect(case.clients - WARM)
        on.load.publisher()
        on.load.templates([peer.dialect.plain(case.size)])
        events = on.enough(seconds / WINDOWS, 1)
        costs = [on.publish(events, 1)[0].cpu_us for _ in range(WINDOWS)]
        on.check()
        return Point(case.x, median(costs))


def _connecting() -> Iterator[Point]:
    clients = min(most_clients(), CLIENTS[-1])
    there = [n for n in CONNECTED if n + STEP < clients] + [clients - STEP]
    with stage(OURS, clients, GUILDS) as on:
        for n in there:
            on.connect(n - on.load.clients)
            yield Point(n, on.connect(STEP).cpu_us)
        on.check()


def _identifying() -> Iterator[Point]:
    for n in GUILDS_EACH:
        with stage(OURS, MODEST, Membership(n * MODEST // AUDIENCE, n)) as on:
            yield Point(n, on.connect(MODEST - WARM).cpu_us)
