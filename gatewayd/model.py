"""
The words of this house: frozen values that every layer may speak of.

They are msgspec structs because two of them travel between instances; a header on
C{gateway_events} is decoded for every event on every instance, and msgspec does that in
a sixth of a microsecond where the standard library's json takes five.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec


class Position(NamedTuple):
    """
    A place in the log. Its text form, C{"1732307000123-0"}, is the event id that clients
    keep: a Redis stream id, and the same on every instance.

    @ivar ms: milliseconds since the epoch by the log's own clock.
    @ivar seq: counts what shares a millisecond.
    """

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """
        The position that C{text} names, or L{None} if it is not an event id at all.
        """
        ms, dash, seq = text.partition("-")
        if not dash or not 0 < len(ms) <= 20 or not 0 < len(seq) <= 20:
            return None
        if not (ms.isascii() and ms.isdigit() and seq.isascii() and seq.isdigit()):
            return None
        return cls(int(ms), int(seq))


ORIGIN = Position(0, 0)


class Audience(msgspec.Struct, frozen=True, array_like=True):
    """
    Who an event is for (protocol, section 2).

    Its members are: the subscribers of any of C{guilds} (or, where C{users} is given too,
    only those of C{users} who are subscribed to one of them); with no C{guilds}, every
    session of C{users}; beside these, every session of C{also}; and never one of C{excluded}.
    """

    guilds: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def reaches(self, user: str, guilds: frozenset[str] | set[str]) -> bool:
        """
        Whether a session of C{user}, subscribed to C{guilds}, is in this audience.
        """
        if user in self.excluded:
            return False
        if user in self.also:
            return True
        if self.users and user not in self.users:
            return False
        if not self.guilds:
            return bool(self.users)
        return any(guild in guilds for guild in self.guilds)


class Change(Enum):
    """
    What a membership event does to live sessions.
    """

    JOIN = "join"
    LEAVE = "leave"
    DELETE = "delete"


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """
    The effect of C{guild_member.add/remove} and C{guild.create/delete} on live sessions.

    @ivar users: who joins or leaves; of no meaning for L{Change.DELETE}, which is everyone.
    """

    change: Change
    guilds: tuple[str, ...]
    users: tuple[str, ...] = ()


class Provenance(msgspec.Struct, frozen=True):
    """
    Where an event came from whose publisher gave it no id, so that one which a broker delivers
    again is not published again. A broker does so only to another consumer, after the first
    one's end, and says that it does.

    @ivar consumer: who was given it.
    @ivar digest: of all that was given.
    @ivar redelivered: some consumer was given it before.
    """

    consumer: str
    digest: str
    redelivered: bool


class Event(msgspec.Struct, frozen=True):
    """
    One published event, on its way from a source to the bus.

    @ivar name: such as C{message.create}.
    @ivar data: the JSON value the microservice published, byte for byte.
    @ivar uid: what makes publishing it idempotent: the publisher's C{message_id}, or an id
        given when it was first seen, so that a retry after a lost answer is not a second event.
    @ivar ephemeral: it is never logged and carries no id.
    @ivar published: seconds since the epoch when this gateway took it from its source.
    @ivar provenance: for a broker's event without a C{message_id}; it stays with the instance
        that publishes.
    """

    name: str
    audience: Audience
    data: bytes
    uid: str
    ephemeral: bool = False
    membership: Membership | None = None
    published: float = 0.0
    provenance: Provenance | None = None


class Entry(msgspec.Struct, frozen=True):
    """
    One event as every instance hears it.

    @ivar position: its place in the log; L{None} for an ephemeral event.
    """

    position: Position | None
    event: Event


class Principal(msgspec.Struct, frozen=True):
    """
    Whom a token speaks for, and until when.

    @ivar guilds: the token's C{guilds} claim; L{None} where it has none.
    @ivar expires: seconds since the epoch.
    @ivar issued: seconds since the epoch; L{None} where the token does not say.
    @ivar token_id: the C{jti} claim.
    """

    user: str
    expires: float
    guilds: frozenset[str] | None = None
    issued: float | None = None
    token_id: str | None = None


class Denial(msgspec.Struct, frozen=True, rename="camel"):
    """
    A guild that was asked for and not granted.

    @ivar reason: C{forbidden}, C{unavailable}, C{revoked} or C{too_many_guilds}.
    """

    guild_id: str
    reason: str


class Grant(msgspec.Struct, frozen=True):
    """
    An authority's answer.

    @ivar granted: in the order asked, each once.
    """

    granted: tuple[str, ...] = ()
    denied: tuple[Denial, ...] = ()
