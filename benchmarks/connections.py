"""
What a client costs by being there: connecting, memory, heartbeats.
"""

from __future__ import annotations

import time
from statistics import median

from msgspec import Struct

from benchmarks.dialects import GATEWAYD_UNIDENTIFIED
from benchmarks.roster import OURS
from benchmarks.stage import WARM, Membership, stage
from benchmarks.tokens import identifications, verification_cost

GUILDS = Membership(rooms=1000, each=3)
"""
A thousand guilds, three of them for each client.
"""
HEARTBEAT = 30.0
"""
Seconds between two heartbeats, the gateway's default.
"""


class Connecting(Struct, frozen=True):
    """
    The server's CPU for one client, in microseconds.

    @ivar handshake: until C{ready}.
    @ivar identified: until C{identified}, the handshake included.
    @ivar token: what of that is the checking of the token.
    """

    clients: int
    handshake: float
    identified: float
    token: float

    @property
    def beside_token(self) -> float:
        """
        What remains.
        """
        return self.identified - self.token


class Idle(Struct, frozen=True):
    """
    Clients that are there and say nothing but that they are.

    @ivar resident_kib: of memory for each.
    @ivar core_percent: of one core, for all of them together; L{None} if it was not looked at.
    """

    clients: int
    resident_kib: float
    core_percent: float | None


def connecting(clients: int, rounds: int) -> Connecting:
    """
    Connect C{clients} to a gateway, each of three guilds.

    @raise Failed: that does not work.
    """
    handshakes, identified, tokens = [], [], []
    for _ in range(rounds):
        with stage(OURS, clients, GUILDS, dialect=GATEWAYD_UNIDENTIFIED) as on:
            handshakes.append(on.connect(clients - WARM).cpu_us)
        with stage(OURS, clients, GUILDS) as on:
            identified.append(on.connect(clients - WARM).cpu_us)
        tokens.append(verification_cost(list(identifications(200, GUILDS.of))) * 1e6)
    return Connecting(clients, median(handshakes), median(identified), median(tokens))


def idle(clients: int, *, heartbeats: bool) -> Idle:
    """
    Let C{clients} of a gateway, each of three guilds, do nothing.

    @param heartbeats: whether to watch them for as long as it takes to send each one a
        heartbeat.
    @raise Failed: that does not work.
    """
    # The first thousand fill what Python keeps for reuse, and the measured ones come on top.
    before = min(1000, clients // 10)
    with stage(OURS, clients, GUILDS) as on:
        on.connect(before - WARM)
        cost = on.connect(clients - before)
        percent = None
        if heartbeats:
            # The second interval: in the first one the connecting itself is not over everywhere.
            time.sleep(HEARTBEAT / 3)
            began, used = time.monotonic(), on.server.account()
            time.sleep(HEARTBEAT)
            used = on.server.account().since(used)
            percent = 100 * used.cpu / (time.monotonic() - began)
        on.check()
    return Idle(clients, cost.resident_kib, percent)
