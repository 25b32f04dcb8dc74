"""
Values that the ledger and its accounts speak of.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from attrs import define

from gatewayd.model import Audience, Position


class Violation(Enum):
    """
    What may not happen.
    """

    LOSS = "losses"
    """An event that was due never came, and the client was not told that it might not."""
    DOUBLE = "doubles"
    """An event came twice, or is twice in the log."""
    REORDERING = "reorderings"
    """An event came after one that was published later, or ids did not grow."""
    LEAK = "leaks"
    """An event came to somebody whom it was not for."""
    DISHONESTY = "dishonesties"
    """A client was told something that is not so."""


@define(eq=False)
class Publication:
    """
    One event.

    @ivar number: its place in the order of publishing.
    @ivar data: the JSON that was published; its C{n} is the number.
    @ivar confirmed: the broker has it, for certain. Of others it is not known.
    @ivar position: its place in the log, once some client was told.
    """

    number: int
    name: str
    audience: Audience
    data: bytes
    ephemeral: bool
    confirmed: bool = False
    position: Position | None = None


class Span(NamedTuple):
    """
    Numbers of events, first and last included, for which a guild was subscribed to.

    @ivar after: what lies up to here in the log was before it, whatever its number.
    @ivar next: the number of the next event to be published when it began.
    """

    since: int
    until: int | None
    after: Position
    next: int

    def holds(self, publication: Publication) -> bool:
        """
        Whether it was subscribed to when this was published.
        """
        number, position = publication.number, publication.position
        return (
            self.since <= number
            and (self.until is None or number <= self.until)
            and (number >= self.next if position is None else position > self.after)
        )


class Gap(NamedTuple):
    """
    What a client was told may be missing, when it came back.

    @ivar asked: the newest id that it had.
    @ivar had: the largest number that it had.
    @ivar head: how far the log had come.
    @ivar next: the number of the next event to be published then.
    """

    asked: Position
    had: int
    head: Position
    next: int
    resync: frozenset[str]

    def covers(self, publication: Publication) -> bool:
        """
        Whether it was told of this event that it may be missing.
        """
        position = publication.position
        if position is None:
            return self.had < publication.number < self.next
        return position <= self.head and (position > self.asked or self.asked > self.head)
