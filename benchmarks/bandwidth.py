"""
Compression: bytes on the wire and CPU for each delivery, on messages as people write them.
"""

from __future__ import annotations

from statistics import mean
from typing import Sequence

from msgspec import Struct

from benchmarks.builds import inflates
from benchmarks.events import length, realistic_data
from benchmarks.fanout import Fanout, Window, present, say, window
from benchmarks.roster import Peer
from benchmarks.server import Failed
from benchmarks.stage import WARM, stage

MESSAGES = 200


class Wire(Struct, frozen=True):
    """
    One server, with compression or without.

    @ivar deflate: whether the clients offered it.
    @ivar negotiated: the share of them with whom the server agreed on it.
    @ivar resident_kib: of memory for each client, after all have had events.
    """

    peer: str
    deflate: bool
    negotiated: float
    clients: int
    resident_kib: float
    window: Window


class Bandwidth(Struct):
    """
    All of them.

    @ivar data_bytes: what is in an event, on average.
    """

    data_bytes: float
    wires: list[Wire]
    failures: list[str]


def measure(peers: Sequence[Peer], clients: int, seconds: float) -> Bandwidth:
    """
    Measure those of C{peers} that can compress.
    """
    found = Bandwidth(mean(map(length, realistic_data(MESSAGES))), [], [])
    if not inflates():
        found.failures.append(
            "Compression was NOT MEASURED: the load client was built without zlib. On Debian: "
            "sudo apt-get install zlib1g-dev, then delete benchmarks/build/load"
        )
        say(f"!! {found.failures[-1]}")
        return found
    for peer in present([peer for peer in peers if peer.deflates], Fanout([], {}, [])):
        for deflate in (False, True):
            try:
                done = _wire(peer, deflate, clients, seconds)
            except Failed as failed:
                found.failures.append(f"{peer.name}, compression {deflate}: {failed}")
                say(f"!! FAILED: {found.failures[-1]}")
            else:
                found.wires.append(done)
                way = "compressed" if deflate else "plain"
                say(f"  {peer.name:<32} {way:<10} {done.window.wire:7.1f} bytes a delivery")
    return found


def _wire(peer: Peer, deflate: bool, clients: int, seconds: float) -> Wire:
    with stage(peer, clients, deflate=deflate) as on:
        before = on.server.account()
        on.connect(clients - WARM)
        on.load.publisher()
        on.load.templates(peer.dialect.realistic(MESSAGES))
        events = on.enough(seconds, 1)
        cost, published = on.publish(max(events, MESSAGES), 1)
        held = on.server.account().since(before)
        on.check()
        return Wire(
            peer.name,
            deflate,
            on.load.compressing / on.load.clients,
            clients,
            held.resident / (clients - WARM) / 1024,
            window(cost, published),
        )
