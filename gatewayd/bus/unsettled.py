"""
Which events a broker may deliver again, although they are published: what C{publish.lua} keeps
in Redis, for the log in memory.
"""

from __future__ import annotations

from collections import Counter
from typing import Iterable

from gatewayd.errors import Superseded
from gatewayd.model import Event

MAX_PAST = 100
"""
Consumers that are over, and are remembered to be.
"""


class Unsettled:
    """
    What the present consumer published and has not settled, and what those before it left so.
    """

    def __init__(self) -> None:
        self._consumer = ""
        self._past: dict[str, None] = {}
        self._own: dict[str, str] = {}
        self._inherited: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._own) + self._inherited.total()

    def settle(self, uids: Iterable[str]) -> None:
        """
        These will not be delivered again.
        """
        for uid in uids:
            self._own.pop(uid, None)

    def check(self, events: Iterable[Event]) -> None:
        """
        See whether C{events} may be published.

        @raise Superseded: the consumer that they came by has a successor.
        """
        for event in events:
            if event.provenance is not None and event.provenance.consumer in self._past:
                raise Superseded(event.provenance.consumer)

    def again(self, event: Event) -> bool:
        """
        Whether C{event} was published before, by a consumer that did not come to settle it. If
        not, it is remembered as published now.
        """
        provenance = event.provenance
        if provenance is None:
            return False
        if provenance.consumer != self._consumer:
            if len(self._past) == MAX_PAST:
                del self._past[next(iter(self._past))]
            self._past[self._consumer] = None
            self._consumer = provenance.consumer
            self._inherited.update(self._own.values())
            self._own.clear()
        digest = provenance.digest
        self._own[event.uid] = digest
        if not provenance.redelivered:
            # What is delivered again comes first, and in its order: there is no more of it.
            self._inherited.clear()
            return False
        if not self._inherited[digest]:
            return False
        self._inherited[digest] -= 1
        return True
