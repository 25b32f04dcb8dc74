"""
One server with its clients connected, ready to be measured.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Iterator, NamedTuple

from benchmarks.accounts import Account
from benchmarks.dialects import Dialect, guild
from benchmarks.load import Load, Published
from benchmarks.roster import OURS, Peer
from benchmarks.server import Failed, Server
from benchmarks.tokens import identifications

WARM = 50
"""
Clients that connect first and are not measured: whoever is first pays for what is imported,
compiled or allocated once.
"""
MOST_EVENTS = 4000
WARMING = 0.3


class Membership(NamedTuple):
    """
    Which guilds the clients are in; it matters to the gateway alone.

    @ivar rooms: how many guilds events are published to, each in its turn.
    @ivar each: how many of them a client is in.
    @ivar private: how many more guilds a client has to itself.
    """

    rooms: int = 1
    each: int = 1
    private: int = 0

    def of(self, client: int) -> list[str]:
        """
        The guilds of one client. The load client reckons with the same ones (C{load/tally.c}).
        """
        shared = [guild((client * self.each + n) % self.rooms) for n in range(self.each)]
        return shared + [f"p{client}-{n}" for n in range(self.private)]


ONE_GUILD = Membership()
"""
Everybody in it.
"""


class Cost(NamedTuple):
    """
    What a server used, and for how many deliveries or clients.
    """

    used: Account
    over: int

    @property
    def cpu_us(self) -> float:
        """
        Microseconds of CPU for each.
        """
        return self.used.cpu / self.over * 1e6

    @property
    def resident_kib(self) -> float:
        """
        KiB of memory for each.
        """
        return self.used.resident / self.over / 1024


class Stage:
    """
    @ivar server: what is measured.
    @ivar load: who measures.
    """

    def __init__(self, server: Server, load: Load) -> None:
        self.server = server
        self.load = load

    def connect(self, count: int) -> Cost:
        """
        Connect C{count} more clients, and let the server come to rest.
        """
        before = self.server.account()
        self.load.connect(count)
        self.server.settle()
        return Cost(self.server.account().since(before), count)

    def publish(self, events: int, in_flight: int) -> tuple[Cost, Published]:
        """
        Publish, and see what exactly that took.
        """
        before = self.server.account()
        published = self.load.publish(events, in_flight)
        used = self.server.account().since(before)
        return Cost(used, max(published.deliveries, 1)), published

    def enough(self, seconds: float, in_flight: int, multiple: int = 1) -> int:
        """
        How many events fill about C{seconds}. It publishes some to find out, for a third of
        that time, which also lets a just-in-time compiler come to rest.
        """
        events = max(2 * in_flight, 4)
        for share in (WARMING, 1.0):
            took = self.load.publish(events, in_flight).seconds
            wanted = min(int(share * seconds * events / max(took, 1e-6)), MOST_EVENTS)
            events = max(wanted // multiple * multiple, 2 * in_flight, 4)
        return events

    def check(self) -> None:
        """
        See that nothing comes late that should not come at all.
        """
        time.sleep(0.1)
        self.load.check()


@contextmanager
def stage(
    peer: Peer,
    clients: int,
    membership: Membership = ONE_GUILD,
    *,
    deflate: bool = False,
    dialect: Dialect | None = None,
) -> Iterator[Stage]:
    """
    Start a server and a load client, and connect the first few clients. No event can be
    published yet: see L{Load.publisher} and L{Load.templates}.

    @param clients: how many there will be at most.
    @param dialect: another one than the peer's own.
    @raise Failed: it does not work, or what is done with it does not. The text holds the end
        of the server's log.
    """
    with Server(peer, deflate) as server, Load(server) as load:
        try:
            if dialect is not None:
                load.speak(dialect)
            if peer is OURS:
                load.lines(identifications(clients, membership.of))
                load.rooms(membership.rooms, membership.each)
            ready = Stage(server, load)
            ready.connect(WARM)
            yield ready
        except Failed as failed:
            raise Failed(f"{failed}; its log ends:\n{server.log()}") from None
