"""
Every way this gateway ends a connection: one table, from which the protocol page, the
tests and the SDKs take theirs (protocol, "Close codes").
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ComeBack(Enum):
    """
    What a client should do after a close.
    """

    NO = "no"
    YES = "yes"
    RESUME = "resume"
    LATER = "later"
    """After a wait."""
    NEW_TOKEN = "new token"
    NEW_TOKEN_RESUME = "new token, resume"


class Closing(NamedTuple):
    """
    A close code with the reason that goes into the close frame.

    @ivar code: RFC 6455 section 7.4; 4000 and up are ours.
    @ivar reason: at most 123 bytes of UTF-8 (RFC 6455 section 5.5).
    @ivar come_back: what the client should do next.
    """

    code: int
    reason: str
    come_back: ComeBack


GOING_AWAY = Closing(1001, "shutting down", ComeBack.RESUME)
BAD_UTF8 = Closing(1007, "not UTF-8", ComeBack.NO)
TOO_BIG = Closing(1009, "message too big", ComeBack.YES)
INTERNAL = Closing(4000, "internal error", ComeBack.RESUME)
UPSTREAM = Closing(4000, "events may have been missed", ComeBack.RESUME)
UNKNOWN_EVENTS = Closing(4001, "too many unknown events", ComeBack.NO)
NOT_JSON = Closing(4002, "not a JSON object", ComeBack.NO)
NOT_IDENTIFIED = Closing(4003, "identify first", ComeBack.NO)
TOKEN_REFUSED = Closing(4004, "token refused", ComeBack.NEW_TOKEN)
IDENTIFIED_TWICE = Closing(4005, "already identified", ComeBack.YES)
TOKEN_EXPIRED = Closing(4006, "token expired", ComeBack.NEW_TOKEN_RESUME)
RATE_LIMITED = Closing(4008, "too many messages", ComeBack.LATER)
HEARTBEAT_MISSED = Closing(4009, "heartbeat not answered", ComeBack.RESUME)
TOO_SLOW = Closing(4020, "too slow: unsent data over the limit", ComeBack.RESUME)
IDENTIFY_TIMEOUT = Closing(4021, "not identified in time", ComeBack.YES)
DISCONNECTED = Closing(4022, "disconnected by an operator", ComeBack.NO)
TOO_MANY_CONNECTIONS = Closing(4023, "too many connections", ComeBack.LATER)

TABLE: tuple[Closing, ...] = (
    GOING_AWAY,
    BAD_UTF8,
    TOO_BIG,
    INTERNAL,
    UNKNOWN_EVENTS,
    NOT_JSON,
    NOT_IDENTIFIED,
    TOKEN_REFUSED,
    IDENTIFIED_TWICE,
    TOKEN_EXPIRED,
    RATE_LIMITED,
    HEARTBEAT_MISSED,
    TOO_SLOW,
    IDENTIFY_TIMEOUT,
    DISCONNECTED,
    TOO_MANY_CONNECTIONS,
)
"""
One row a code. (L{UPSTREAM} is 4000 with a reason that says more.)
"""


def because(closing: Closing, why: str) -> Closing:
    """
    The same closing with a reason that says more, cut to what a close frame may hold.
    """
    reason = f"{closing.reason}: {why}".encode()[:123].decode("utf-8", "ignore")
    return closing._replace(reason=reason)
