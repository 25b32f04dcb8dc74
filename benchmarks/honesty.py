"""
Whether the load client notices what it is there to notice: servers that each do one thing
wrong are put before it.
"""

from __future__ import annotations

import sys

from benchmarks.load import Load
from benchmarks.roster import FLOOR, PEERS, Peer
from benchmarks.server import Failed, Server

FAULTS = {
    "lose": "an event that one client does not get",
    "repeat": "an event that one client gets twice",
    "swap": "two events that one client gets in the wrong order",
    "invent": "an event that nobody has published",
    "leave": "a client whose connection is cut",
}
CLIENTS = 5
EVENTS = 20
IN_FLIGHT = 4


def check() -> list[str]:
    """
    Try every fault, and no fault.

    @return: what went unnoticed, and what was noticed where there was nothing.
    """
    wrong = []
    for fault, words in FAULTS.items():
        if _complaint(_liar(fault)) is None:
            wrong.append(f"the load client does not notice {words}")
    complaint = _complaint(FLOOR)
    if complaint is not None:
        wrong.append(f"the load client complains without a reason: {complaint}")
    return wrong


def _liar(fault: str) -> Peer:
    script = str(PEERS / "liar.py")
    return Peer(
        f"a server with {FAULTS[fault]}",
        lambda site: [sys.executable, script, str(site.web), str(site.control), fault],
    )


def _complaint(peer: Peer) -> str | None:
    with Server(peer) as server, Load(server, patience=1.0) as load:
        load.connect(CLIENTS)
        load.publisher()
        load.templates([peer.dialect.plain(300)])
        try:
            load.publish(EVENTS, IN_FLIGHT)
            # What comes too late for one stretch is seen in the next.
            load.publish(EVENTS, IN_FLIGHT)
            load.check()
        except Failed as failed:
            return str(failed)
    return None
