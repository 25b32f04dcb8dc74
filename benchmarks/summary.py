"""
The measurements as tables: medians, and how far the rounds were apart.
"""

from __future__ import annotations

from statistics import median
from typing import Callable, Iterator, NamedTuple, Sequence

from benchmarks.bandwidth import Bandwidth
from benchmarks.connections import Connecting, Idle
from benchmarks.fanout import IN_FLIGHT, Fanout, Sample, Window
from benchmarks.publishing import Publishing
from benchmarks.roster import FLOOR
from benchmarks.tables import figure, table

_Pick = Callable[[Sample], Window | None]


class _Row(NamedTuple):
    name: str
    windows: list[Window]
    ratios: list[float]
    samples: list[Sample]

    @property
    def cpu(self) -> float:
        return median(window.cpu_us for window in self.windows)

    def cells(self) -> list[str]:
        costs = [window.cpu_us for window in self.windows]
        keeping_up = max(window.load_share for window in self.windows) < 0.95
        return [
            self.name,
            figure(self.cpu),
            f"{figure(min(costs))}-{figure(max(costs))}",
            figure(median(self.ratios)) if self.ratios else "",
            figure(median(window.rate for window in self.windows)) + ("" if keeping_up else "+"),
            figure(median(window.last_ms for window in self.windows)),
        ]


_HEADS = ["server", "CPU us", "from-to", "x C", "deliveries/s", "all have it, ms"]


def _rows(samples: Sequence[Sample], picks: dict[str, _Pick], floor: _Pick) -> Iterator[_Row]:
    floors = {
        each.round: window.cpu_us
        for each in samples
        if each.peer == FLOOR.name and (window := floor(each)) is not None
    }
    for name in dict.fromkeys(each.peer for each in samples):
        for suffix, pick in picks.items():
            found = [
                (each, window)
                for each in samples
                if each.peer == name and (window := pick(each)) is not None
            ]
            if found:
                yield _Row(
                    name + suffix,
                    [window for _, window in found],
                    [
                        window.cpu_us / floors[each.round]
                        for each, window in found
                        if each.round in floors
                    ],
                    [each for each, _ in found],
                )


def _one(sample: Sample) -> Window:
    return sample.one


def _many(sample: Sample) -> Window:
    return sample.many


def _batch(sample: Sample) -> Window | None:
    return sample.batch


def one_at_a_time(fanout: Fanout) -> str:
    """
    What a delivery costs when the next event is published once everybody has the one before.
    """
    rows = sorted(_rows(fanout.samples, {"": _one}, _one), key=lambda row: row.cpu)
    return table(_HEADS, [row.cells() for row in rows])


def in_flight(fanout: Fanout) -> str:
    """
    What a delivery costs with several events under way.
    """
    picks: dict[str, _Pick] = {"": _many, f", {IN_FLIGHT} in one request": _batch}
    rows = sorted(_rows(fanout.samples, picks, _many), key=lambda row: row.cpu)
    return table(_HEADS, [row.cells() for row in rows])


def clients(fanout: Fanout) -> str:
    """
    What a connection costs each server.
    """
    rows = []
    for row in _rows(fanout.samples, {"": _one}, _one):
        resident = median(each.resident_kib for each in row.samples)
        connect = median(each.connect_us for each in row.samples)
        rows.append((connect, [row.name, figure(connect), figure(resident)]))
    return table(
        ["server", "CPU us to connect", "KiB resident"], [cells for _, cells in sorted(rows)]
    )


def connecting(found: Connecting) -> str:
    """
    What connecting to the gateway costs, in its parts.
    """
    parts = {
        "handshake, until ready": found.handshake,
        "handshake and identify": found.identified,
        "checking the token (HS256), alone": found.token,
        "handshake and identify beside the token": found.beside_token,
    }
    return table(["gatewayd", "CPU us"], [[name, figure(cost)] for name, cost in parts.items()])


def publishing(found: Publishing) -> str:
    """
    What an event costs the gateway that is for nobody.
    """
    return table(
        ["POST /events", "CPU us an event"],
        [
            ["one in a request", figure(found.alone)],
            [f"{IN_FLIGHT} in a request", figure(found.together)],
        ],
    )


def idle(found: Idle) -> str:
    """
    What clients cost that do nothing.
    """
    cells = {"clients": f"{found.clients:,}", "KiB resident each": figure(found.resident_kib)}
    if found.core_percent is not None:
        cells["of one core, with heartbeats, %"] = figure(found.core_percent)
    return table(list(cells), [list(cells.values())])


def bandwidth(found: Bandwidth) -> str:
    """
    What compression saves, and what it costs.
    """
    rows = []
    for wire in found.wires:
        way = "plain" if not wire.deflate else "deflate" if wire.negotiated else "refused"
        rows.append(
            [
                wire.peer,
                way,
                figure(wire.window.wire),
                figure(wire.window.cpu_us),
                figure(wire.resident_kib),
            ]
        )
    return table(["server", "compression", "bytes", "CPU us", "KiB resident"], rows)
