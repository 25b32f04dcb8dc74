"""
What Redis does with the log: C{open.lua}, C{publish.lua}, C{XRANGE} and the channel, and what
may befall a Redis.

The scripts are followed line by line, but for provenance, which does not bear on who hears
what, and for the nodes of the stream, which are smaller.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any, Sequence

from gatewayd.bus.inquiry import Look, Opened, Page
from gatewayd.bus.wire import header_of
from gatewayd.model import ORIGIN, Event, Position

NODE = 2
"""
Entries of the stream that are trimmed together.
"""

FAR = 1_000_000
"""
More entries than a log here ever has.
"""

Channel = deque[bytes]
"""
What a subscription has still to bring.
"""


def encoded(position: Position | None) -> bytes:
    """
    A position as the scripts write it; C{-} for an ephemeral event's.
    """
    return b"-" if position is None else str(position).encode()


class Facts:
    """
    The hash beside the stream.
    """

    def __init__(self, log: str, start: Position, prior: Position) -> None:
        self.log = log
        self.start = self.head = start
        self.prior = prior


class State:
    """
    All that a Redis holds.

    @ivar entries: the stream; L{None} where there is no such key.
    @ivar last: the stream's last generated id.
    @ivar seen: by uid, what its first publishing was answered.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[Position, list[bytes]]] | None = None
        self.last = ORIGIN
        self.facts: Facts | None = None
        self.seen: dict[str, bytes] = {}


class RedisBooks:
    """
    One Redis.

    @ivar ms: its clock.
    @ivar state: what it holds.
    @ivar channels: of all subscriptions that there are.
    @ivar logs: how many it has begun.
    """

    def __init__(self) -> None:
        self.ms = 1_000_000
        self.state = State()
        self.channels: list[Channel] = []
        self.logs = 0

    # What instances ask

    def open(self, look: Look) -> Opened:
        """
        C{open.lua}.
        """
        facts = self.state.facts
        known = facts is not None and facts.log == look.log
        if facts is None or self.state.entries is None or (look.torn and known):
            return self._begin(look, known)
        if look.told > (facts.head if known else facts.start):
            return self._begin(look, known)
        if not known and look.newest > facts.prior:
            facts.prior = look.newest
            self.tell(b"!log")
        return self._answer(facts)

    def _begin(self, look: Look, known: bool) -> Opened:
        state, floor, newest = self.state, look.told, look.newest
        if state.facts is not None:
            newest = max(newest, state.facts.prior)
            floor = max(floor, state.facts.head)
            if state.facts.head != state.facts.start:
                newest = max(newest, state.facts.head)
        start = Position(self.ms, 0) if self.ms > floor.ms else Position(floor.ms, floor.seq + 1)
        if look.torn and known:
            newest = start
        self.logs += 1
        state.entries, state.last = [], start
        state.facts = Facts(f"log-{self.logs}", start, newest)
        self.tell(b"!log")
        return self._answer(state.facts)

    def _answer(self, facts: Facts) -> Opened:
        length = len(self.state.entries or ())
        return Opened(facts.log, facts.start, facts.head, facts.prior, length)

    def publish(
        self, known: str, events: Sequence[Event], *, floor: Position = ORIGIN, most: int = FAR
    ) -> list[bytes] | None:
        """
        C{publish.lua}.
        """
        state, facts = self.state, self.state.facts
        if facts is None or facts.log != known or state.entries is None:
            return None
        answers: list[bytes] = []
        head = facts.head
        for event in events:
            first = state.seen.get(event.uid)
            if first is not None:
                answers.append(b"=" + first)
                continue
            header, before = header_of(event), encoded(facts.head)
            position = None
            if not event.ephemeral:
                position = facts.head = self.add(b"p", before, b"h", header, b"d", event.data)
            place = state.seen[event.uid] = encoded(position)
            self.tell(b"%s %s %s\n%s" % (place, before, header, event.data))
            answers.append(place)
        if facts.head != head:
            below = sum(1 for position, _ in state.entries if position < floor)
            self.trim(max(below, len(state.entries) - most))
        return answers

    def read(self, page: Page) -> list[Any]:
        """
        C{XRANGE}.
        """
        rows = [
            [encoded(position), fields]
            for position, fields in self.state.entries or ()
            if page.after is None or position > page.after
        ]
        return rows[: page.size]

    def tell(self, payload: bytes) -> None:
        """
        C{PUBLISH}.
        """
        for channel in self.channels:
            channel.append(payload)

    def leave(self, channel: Channel) -> None:
        """
        C{UNSUBSCRIBE}.
        """
        self.channels = [one for one in self.channels if one is not channel]

    def add(self, *fields: bytes) -> Position:
        """
        C{XADD}.
        """
        state = self.state
        ms, seq = state.last
        position = Position(self.ms, 0) if self.ms > ms else Position(ms, seq + 1)
        state.last = position
        if state.entries is None:
            state.entries = []
        state.entries.append((position, list(fields)))
        return position

    def trim(self, surplus: int) -> None:
        """
        C{XTRIM}, of as many of the oldest as whole nodes hold.
        """
        if self.state.entries and surplus > 0:
            del self.state.entries[: surplus - surplus % NODE]

    # What befalls it

    def flush(self) -> None:
        """
        C{FLUSHALL}.
        """
        self.state = State()

    def lose_stream(self) -> None:
        """
        C{DEL}, of the stream.
        """
        self.state.entries, self.state.last = None, ORIGIN

    def lose_facts(self) -> None:
        """
        C{DEL}, of its facts.
        """
        self.state.facts = None

    def snapshot(self) -> State:
        """
        What it holds now.
        """
        return deepcopy(self.state)

    def restart(self, state: State) -> None:
        """
        Start again with what a snapshot held. A fail-over to a replica that was behind looks
        like this too.
        """
        self.state = deepcopy(state)
        self.channels = []
