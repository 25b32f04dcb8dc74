"""
What clients may say, as types (protocol, "Client to server").

One tagged union holds every command; L{decode} turns a text message into one of them or
says what is wrong with it. The happy path is a single pass of msgspec.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gatewayd.errors import BadCommand, NotJSON

Id = Annotated[str, Meta(min_length=1, max_length=64)] | int
"""
A JSON integer where an id is expected is taken as its decimal string.
"""

_SMALLEST, _BIGGEST = -(10**63), 10**64

MAX_ASKED = 10_000
MAX_INTERESTS = 100


class Nothing(Struct, frozen=True):
    """
    C{{}}.
    """


NOTHING = Nothing()


class Credentials(Struct, frozen=True, rename="camel"):
    """
    The data of C{identify}.

    @ivar token: of any type, since one that is missing or no string is a token to refuse
        (4004) and not a message to explain.
    @ivar last_event_id: the newest event id the client has; L{None} to start from now.
    @ivar events: names, or prefixes such as C{message.*}, C{!} leaving out; empty for all.
    @ivar client: free text for C{/stats}.
    """

    user_id: Id
    token: Any = None
    guild_ids: Annotated[list[Id], Meta(max_length=MAX_ASKED)] = []
    last_event_id: Annotated[str, Meta(max_length=64)] | int | None = None
    events: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=MAX_INTERESTS)
        ]
        | None
    ) = None
    client: Annotated[str, Meta(max_length=200)] | None = None

    def __post_init__(self) -> None:
        for one in (self.user_id, *self.guild_ids, self.last_event_id):
            _check(one)

    @property
    def user(self) -> str:
        """
        The user's id as a string.
        """
        return str(self.user_id)

    @property
    def guilds(self) -> tuple[str, ...]:
        """
        The guilds asked for as strings, in the order asked, each once.
        """
        return tuple(dict.fromkeys(map(str, self.guild_ids)))

    @property
    def last(self) -> str | None:
        """
        C{lastEventId} as a string.
        """
        return None if self.last_event_id is None else str(self.last_event_id)


class Guild(Struct, frozen=True, rename="camel"):
    """
    The data of C{guild_subscribe} and C{guild_unsubscribe}.
    """

    guild_id: Id

    def __post_init__(self) -> None:
        _check(self.guild_id)

    @property
    def guild(self) -> str:
        """
        The guild's id as a string.
        """
        return str(self.guild_id)


class FreshToken(Struct, frozen=True):
    """
    The data of C{authenticate}.
    """

    token: Any = None


class Identify(Struct, frozen=True, tag_field="event", tag="identify"):
    """
    Who the client is, what it wants to hear, and where it left off.
    """

    data: Credentials


class HeartbeatAck(Struct, frozen=True, tag_field="event", tag="heartbeat_ack"):
    """
    The answer to the gateway's heartbeat.
    """

    data: Nothing | None = NOTHING


class Heartbeat(Struct, frozen=True, tag_field="event", tag="heartbeat"):
    """
    A client measuring its own round trip.
    """

    data: Nothing | None = NOTHING


class GuildSubscribe(Struct, frozen=True, tag_field="event", tag="guild_subscribe"):
    """
    Begin to hear a guild.
    """

    data: Guild


class GuildUnsubscribe(Struct, frozen=True, tag_field="event", tag="guild_unsubscribe"):
    """
    No longer hear a guild.
    """

    data: Guild


class Authenticate(Struct, frozen=True, tag_field="event", tag="authenticate"):
    """
    A newer token for the same user, without reconnecting.
    """

    data: FreshToken


Command = Identify | HeartbeatAck | Heartbeat | GuildSubscribe | GuildUnsubscribe | Authenticate


class _Named(Struct):
    event: Any = None


_commands = msgspec.json.Decoder(Command)
_named = msgspec.json.Decoder(_Named)
NAMES = frozenset(
    {
        *("identify", "heartbeat_ack", "heartbeat"),
        *("guild_subscribe", "guild_unsubscribe", "authenticate"),
    }
)


def decode(payload: bytes) -> Command:
    """
    Read one text message.

    @raise NotJSON: it is not a JSON object; there is nothing to answer.
    @raise BadCommand: it is one, and no command of ours.
    """
    try:
        command: Command = _commands.decode(payload)
    except msgspec.ValidationError as error:
        raise _explained(payload, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotJSON("not JSON") from None
    return command


def _explained(payload: bytes, why: str) -> BadCommand | NotJSON:
    """
    Say which of the ways to be wrong this was; only bad messages pay for the second look.
    """
    try:
        name = _named.decode(payload).event
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NotJSON("not a JSON object")
    if not isinstance(name, str):
        return BadCommand("invalid_data", "`event` must be a string")
    if name not in NAMES:
        return BadCommand("unknown_event", "no such event", name[:64])
    return BadCommand("invalid_data", why, name)


def _check(value: str | int | None) -> None:
    # Compared, not printed: Python refuses to print an integer of over 4300 digits.
    if isinstance(value, int) and not _SMALLEST < value < _BIGGEST:
        raise ValueError("an id of more than 64 digits")
