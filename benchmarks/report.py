"""
The page of results, made of what was measured last.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Iterator, TypeVar

import msgspec

from benchmarks import summary
from benchmarks.bandwidth import Bandwidth
from benchmarks.builds import BUILD, HERE
from benchmarks.connections import Connecting, Idle
from benchmarks.fanout import EVENT_BYTES, IN_FLIGHT, Fanout
from benchmarks.growth import Growth
from benchmarks.publishing import Publishing
from benchmarks.tables import heading

RESULTS = BUILD / "results"
DOCS = HERE.parent / "docs" / "benchmarks"

T = TypeVar("T")


class Fanouts(msgspec.Struct):
    """
    By how many clients.

    @ivar taken: when, and where.
    """

    taken: str
    rounds: int
    by_clients: dict[int, Fanout]
    notes: list[str]


class Clients(msgspec.Struct):
    """
    What clients of the gateway cost.
    """

    publishing: Publishing | None
    connecting: Connecting | None
    idle: Idle | None
    failures: list[str]


def keep(results: msgspec.Struct) -> None:
    """
    Keep what was measured, in place of what was before.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    _path(type(results)).write_bytes(msgspec.json.format(msgspec.json.encode(results)))


def kept(kind: type[T]) -> T | None:
    """
    What was measured last of this kind.
    """
    try:
        return msgspec.json.decode(_path(kind).read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.ValidationError):
        return None


def _path(kind: type) -> Path:
    return RESULTS / f"{kind.__name__.lower()}.json"


def machine() -> str:
    """
    Where and when this is, in one sentence.
    """
    cpu = "an unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    node = _said("node", "--version").lstrip("v")
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}: {os.cpu_count()} cores of {cpu}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
        + (f", node {node}" if node else "")
    )


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def write() -> Path:
    """
    Write the page.
    """
    DOCS.mkdir(parents=True, exist_ok=True)
    path = DOCS / "results.rst"
    path.write_text("\n".join(_parts()), encoding="utf-8")
    return path


def _parts() -> Iterator[str]:
    yield heading("Benchmarks", "=")
    yield (
        "Made by ``make bench``; do not edit. All servers and the load client share one machine\n"
        "and talk over its loopback interface. CPU is user and system time of all processes of\n"
        "the server over exactly the publishing, by the operating system's accounts, in\n"
        "microseconds for each delivery; *x C* is that beside a C program that only loops over\n"
        "``send(2)`` with one prebuilt frame, in the same round; figures are medians of rounds\n"
        "in which every server had its turn, and *from-to* is the lowest and the highest of\n"
        "them. In every run each client's events are checked: all, once, in order. A rate with\n"
        "a plus is the load client's, which was at its own limit. Rates and times are of two\n"
        "programs that share the machine; ratios of CPU are what to compare.\n"
    )
    fanouts = kept(Fanouts)
    if fanouts is not None:
        yield from _fanouts(fanouts)
    clients = kept(Clients)
    if clients is not None:
        yield from _clients(clients)
    found = kept(Bandwidth)
    if found is not None:
        yield from _bandwidth(found)
    growth = kept(Growth)
    if growth is not None:
        yield from _growth(growth)


def _fanouts(fanouts: Fanouts) -> Iterator[str]:
    yield f"{fanouts.taken}. {fanouts.rounds} rounds.\n"
    yield from _warnings(fanouts.notes)
    for clients, fanout in fanouts.by_clients.items():
        if not fanout.samples:
            continue
        yield heading(f"{clients:,} clients, events of {EVENT_BYTES} bytes, one at a time")
        yield summary.one_at_a_time(fanout)
        yield heading(f"{clients:,} clients, {IN_FLIGHT} events in flight")
        yield summary.in_flight(fanout)
        yield heading(f"{clients:,} clients, each of them")
        yield summary.clients(fanout)
    missing = {k: v for each in fanouts.by_clients.values() for k, v in each.missing.items()}
    yield from _warnings([f"Missing: {name}: {reason}" for name, reason in missing.items()])
    yield from _warnings(
        [failure for each in fanouts.by_clients.values() for failure in each.failures]
    )


def _clients(clients: Clients) -> Iterator[str]:
    if clients.publishing is not None:
        yield heading("Taking an event by POST /events")
        yield (
            "What the gateway spends on an event before anybody hears it; the tables above hold\n"
            "it too, divided by the clients.\n"
        )
        yield summary.publishing(clients.publishing)
    if clients.connecting is not None:
        yield heading("Connecting to gatewayd, three guilds each")
        yield summary.connecting(clients.connecting)
    if clients.idle is not None:
        yield heading("Identified clients of three guilds that do nothing")
        yield summary.idle(clients.idle)
    yield from _warnings(clients.failures)


def _bandwidth(found: Bandwidth) -> Iterator[str]:
    yield heading("Bandwidth")
    yield (
        f"Messages as people write them, {found.data_bytes:.0f} bytes of data on average, no two\n"
        "alike, one at a time; bytes on the wire and CPU for each delivery.\n"
    )
    if found.wires:
        yield summary.bandwidth(found)
    yield from _warnings(found.failures)


def _growth(growth: Growth) -> Iterator[str]:
    yield heading("Growth")
    for curve in growth.curves:
        yield f".. image:: {curve.name}.png\n   :alt: {curve.title}\n"
    yield from _warnings(growth.failures)


def _warnings(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield ".. warning:: " + " ".join(text.split()) + "\n"
