"""
What the gateway itself says to clients, as types (protocol, "Server to client").

Dispatched events are not here: their bytes are the publisher's, and L{gatewayd.frames}
wraps them.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gatewayd.model import Denial


class Ready(Struct, rename="camel"):
    """
    Connection established. Times in milliseconds.
    """

    session_id: str
    heartbeat_interval: int
    identify_timeout: int
    instance: str
    version: str
    protocol: int = 1


class Resume(Struct, rename="camel"):
    """
    What became of C{lastEventId}.

    @ivar recovered: everything missed is replayed.
    @ivar replayed: how many events follow.
    @ivar resync: guilds in which something may have been missed.
    """

    recovered: bool
    replayed: int
    resync: tuple[str, ...]


class Identified(Struct, rename="camel"):
    """
    The session is live.
    """

    session_id: str
    user_id: str
    guild_ids: tuple[str, ...]
    denied: tuple[Denial, ...]
    last_event_id: str
    resume: Resume | UnsetType = UNSET


class Heartbeat(Struct, rename="camel"):
    """
    Are you there? And how far the log has come.
    """

    last_event_id: str


class HeartbeatAck(Struct):
    """
    The answer to a client's own heartbeat.
    """


class GuildSubscribed(Struct, rename="camel"):
    """
    Events of this guild follow.
    """

    guild_id: str


class GuildUnsubscribed(Struct, rename="camel"):
    """
    No more events of this guild follow.
    """

    guild_id: str
    reason: Literal["member_removed", "guild_deleted", "revoked"] | UnsetType = UNSET


class Error(Struct, rename="camel"):
    """
    A message of the client's could not be served; the connection stays.

    @ivar retry_after: milliseconds.
    """

    code: str
    message: str
    event: str | UnsetType = UNSET
    guild_id: str | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class TokenExpiring(Struct, rename="camel"):
    """
    Send C{authenticate} with a fresh token within this many milliseconds.
    """

    expires_in: int


class Authenticated(Struct, rename="camel"):
    """
    The fresh token holds, until this time (milliseconds since the epoch).
    """

    expires_at: int


class Reconnect(Struct, rename="camel"):
    """
    Close, wait this many milliseconds, and come back with C{lastEventId}.
    """

    reason: Literal["shutdown", "drain", "upstream"]
    retry_after: int


Message = (
    Ready
    | Identified
    | Heartbeat
    | HeartbeatAck
    | GuildSubscribed
    | GuildUnsubscribed
    | Error
    | TokenExpiring
    | Authenticated
    | Reconnect
)

_NAMES: dict[type, bytes] = {
    Ready: b"ready",
    Identified: b"identified",
    Heartbeat: b"heartbeat",
    HeartbeatAck: b"heartbeat_ack",
    GuildSubscribed: b"guild_subscribed",
    GuildUnsubscribed: b"guild_unsubscribed",
    Error: b"error",
    TokenExpiring: b"token_expiring",
    Authenticated: b"authenticated",
    Reconnect: b"reconnect",
}

_encode = msgspec.json.Encoder().encode


def encode(message: Message) -> bytes:
    """
    C{message} as the JSON text that clients read.
    """
    return b'{"event":"%s","data":%s}' % (_NAMES[type(message)], _encode(message))
