"""
The main measurement: one event to everybody, one at a time and several in flight, of all
servers in interleaved rounds.
"""

from __future__ import annotations

import sys
from typing import Sequence

from msgspec import Struct

from benchmarks.load import Published
from benchmarks.roster import Peer
from benchmarks.server import Failed
from benchmarks.stage import WARM, Cost, Stage, stage
from benchmarks.wares import reason_of_absence

EVENT_BYTES = 300
IN_FLIGHT = 8


class Window(Struct, frozen=True):
    """
    What deliveries cost in one stretch of publishing.

    @ivar cpu_us: of the server, for each delivery.
    @ivar rate: deliveries in a second.
    @ivar last_ms: from an event's publish to its last delivery, in the middle.
    @ivar wire: bytes for each delivery.
    @ivar load_share: of one core, what the load client used. Near 1 the rate is the load
        client's and not the server's.
    """

    deliveries: int
    cpu_us: float
    rate: float
    last_ms: float
    wire: float
    load_share: float


class Sample(Struct, frozen=True):
    """
    One server in one round.

    @ivar one: one event at a time, the next when everybody has it.
    @ivar many: L{IN_FLIGHT} in flight.
    @ivar batch: likewise, published together in one request; L{None} if it has no such call.
    """

    peer: str
    clients: int
    round: int
    connect_us: float
    resident_kib: float
    one: Window
    many: Window
    batch: Window | None


class Fanout(Struct):
    """
    All rounds.

    @ivar missing: who could not be measured at all, and why.
    @ivar failures: what went wrong in a run.
    """

    samples: list[Sample]
    missing: dict[str, str]
    failures: list[str]


def window(cost: Cost, published: Published) -> Window:
    """
    The figures of one stretch.
    """
    seconds = max(published.seconds, 1e-9)
    return Window(
        published.deliveries,
        cost.cpu_us,
        published.deliveries / seconds,
        published.last_p50 / 1e3,
        published.received / max(published.deliveries, 1),
        published.load_cpu / seconds,
    )


def sample(peer: Peer, clients: int, number: int, seconds: float) -> Sample:
    """
    Measure one server once.

    @param number: of the round.
    @param seconds: about how long each way of publishing is watched.
    @raise Failed: it did not deliver every event to everybody, once and in order.
    """
    with stage(peer, clients) as on:
        connected = on.connect(clients - WARM)
        on.load.publisher()
        on.load.templates([peer.dialect.plain(EVENT_BYTES)])
        one = _window(on, seconds, 1)
        many = _window(on, seconds, IN_FLIGHT)
        batch = None
        if peer.dialect.batches:
            on.load.templates([peer.dialect.plain(EVENT_BYTES, IN_FLIGHT)], IN_FLIGHT)
            batch = _window(on, seconds, IN_FLIGHT, IN_FLIGHT)
        on.check()
    return Sample(
        peer.name,
        clients,
        number,
        connected.cpu_us,
        connected.resident_kib,
        one,
        many,
        batch,
    )


def _window(on: Stage, seconds: float, in_flight: int, multiple: int = 1) -> Window:
    events = on.enough(seconds, in_flight, multiple)
    return window(*on.publish(events, in_flight))


def present(peers: Sequence[Peer], fanout: Fanout) -> list[Peer]:
    """
    Those of C{peers} that are here or could be got here. The others are noted, and told.
    """
    found = []
    for peer in peers:
        reason = reason_of_absence(peer.ware)
        if reason is None:
            found.append(peer)
        else:
            fanout.missing[peer.name] = reason
            say(f"!! MISSING: {peer.name}: {reason}")
    return found


def measure(peers: Sequence[Peer], clients: int, rounds: int, seconds: float) -> Fanout:
    """
    Measure all C{peers}, in each round in another order.
    """
    fanout = Fanout([], {}, [])
    here = present([peer for peer in peers if clients <= peer.most_clients], fanout)
    for number in range(rounds):
        turn = number * len(here) // max(rounds, 1)
        for peer in here[turn:] + here[:turn]:
            try:
                done = sample(peer, clients, number, seconds)
            except Failed as failed:
                fanout.failures.append(f"{peer.name}, {clients} clients: {failed}")
                say(f"!! FAILED: {peer.name}: {failed}")
            else:
                fanout.samples.append(done)
                say(
                    f"  {number + 1}/{rounds} {peer.name:<32} {done.one.cpu_us:8.2f} us one at a "
                    f"time {done.many.cpu_us:8.2f} us {IN_FLIGHT} in flight"
                )
    return fanout


def say(line: str) -> None:
    """
    Tell how it goes, where it does not mix with the results.
    """
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
