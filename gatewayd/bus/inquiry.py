"""
What a follower asks of the log.
"""

from __future__ import annotations

from typing import NamedTuple

from gatewayd.model import Position


class Look(NamedTuple):
    """
    Ask which log this is. The first four fields are arguments of C{open.lua}.

    @ivar listener: who hears.
    @ivar log: the id of the log as we know it; empty before the first look.
    @ivar newest: the newest entry known to exist, heard or published.
    @ivar told: the newest position that anyone may have been told.
    @ivar torn: the log went back to an earlier state.
    @ivar subscription: how many subscriptions there had been when this was asked.
    @ivar received: how many messages the channel had brought.
    """

    log: str
    newest: Position
    told: Position
    torn: bool
    subscription: int
    received: int


class Page(NamedTuple):
    """
    Read C{size} entries of the stream after this position, or from its beginning.

    @ivar subscription: as in L{Look}.
    """

    after: Position | None
    size: int
    subscription: int


class Opened(NamedTuple):
    """
    The answer to L{Look}: the log's facts (see C{open.lua}).
    """

    log: str
    start: Position
    head: Position
    prior: Position
    length: int
