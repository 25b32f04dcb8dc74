"""
What it costs the gateway to take an event, before anybody hears it.
"""

from __future__ import annotations

from msgspec import Struct

from benchmarks.fanout import EVENT_BYTES, IN_FLIGHT
from benchmarks.load import Load
from benchmarks.roster import OURS
from benchmarks.server import Server

EVENTS = 1600


class Publishing(Struct, frozen=True):
    """
    The gateway's CPU for an event that is for nobody here, in microseconds.

    @ivar alone: in a request of its own.
    @ivar together: several in a request.
    """

    alone: float
    together: float


def measure() -> Publishing:
    """
    Publish to a guild without anybody in it.

    @raise Failed: that does not work.
    """
    with Server(OURS) as server, Load(server) as load:
        load.publisher()
        costs = []
        for count in (1, IN_FLIGHT):
            load.templates([OURS.dialect.plain(EVENT_BYTES, count)], count)
            # The first ones pay for what Python does once.
            load.publish(EVENTS // 4, count)
            before = server.account()
            load.publish(EVENTS, count)
            costs.append(server.account().since(before).cpu / EVENTS * 1e6)
    return Publishing(*costs)
