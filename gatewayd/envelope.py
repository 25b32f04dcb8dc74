"""
What a microservice published, read once: its name, its audience, and its data untouched
(protocol, section 2).

The envelope is decoded by schema. C{data} stays the bytes it was; only where the audience
has to be read from it is it looked into, and then for six fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Sequence, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from gatewayd.errors import BadEnvelope
from gatewayd.model import Audience, Change, Event, Membership, Provenance

Id = Annotated[str, Meta(min_length=1, max_length=64)] | int
Ids = list[Id]
MAX_NAME = 128
MAX_RECIPIENTS = 100_000

RESERVED = frozenset(
    {
        *("ready", "identified", "heartbeat", "heartbeat_ack", "guild_subscribed"),
        *("guild_unsubscribed", "error", "token_expiring", "authenticated", "reconnect"),
    }
)
"""
The gateway's own words. An event with one of these names would let a microservice, or
whoever can make it publish, speak to clients as the gateway.
"""

_ABOUT_A_USER = frozenset({"guild.create", "user.update", "presence.update", "voice.server.update"})
_MEMBERSHIPS = frozenset(
    {"guild_member.add", "guild_member.remove", "guild.create", "guild.delete"}
)


class _Envelope(Struct):
    event: str | None = None
    data: Raw = Raw(b"{}")
    guild_id: Id | None | UnsetType = UNSET
    guildId: Id | None | UnsetType = UNSET
    guild_ids: Ids | None | UnsetType = UNSET
    guildIds: Ids | None | UnsetType = UNSET
    user_id: Id | None | UnsetType = UNSET
    userId: Id | None | UnsetType = UNSET
    user_ids: Ids | None | UnsetType = UNSET
    userIds: Ids | None | UnsetType = UNSET
    exclude_user_ids: Ids | None | UnsetType = UNSET
    excludeUserIds: Ids | None | UnsetType = UNSET


class _Hints(Struct):
    """
    What C{data} may say about its own audience. Typed loosely: C{data} is the publisher's,
    and a field that happens to share a name with one of ours is no fault of theirs.
    """

    guild_id: Any = UNSET
    guildId: Any = UNSET
    guild_ids: Any = UNSET
    guildIds: Any = UNSET
    id: Any = UNSET
    recipient_ids: Any = UNSET
    recipientIds: Any = UNSET
    user_id: Any = UNSET
    userId: Any = UNSET
    user: Any = UNSET


_envelopes = msgspec.json.Decoder(_Envelope)
_hints = msgspec.json.Decoder(_Hints)
_NO_HINTS = _Hints()


def decode(
    body: bytes,
    *,
    routing_key: str = "",
    uid: str,
    now: float,
    ephemeral: frozenset[str] = frozenset(),
    max_bytes: int | None = None,
    provenance: Provenance | None = None,
) -> Event:
    """
    Read one envelope.

    @param routing_key: the event's name where the body gives none.
    @param uid: see L{Event.uid}.
    @param now: seconds since the epoch.
    @param ephemeral: names of events that are never logged.
    @param max_bytes: the longest body taken; L{None} for any.
    @param provenance: see L{Event.provenance}.

    @raise BadEnvelope: it cannot be decoded, or is for nobody.
    """
    if max_bytes is not None and len(body) > max_bytes:
        raise BadEnvelope(f"the body has {len(body)} bytes, more than {max_bytes}")
    envelope = _read(body)
    name = envelope.event or routing_key
    _check_name(name)
    data = bytes(envelope.data)

    guilds: Sequence[str] | None
    users: Sequence[str] | None
    guilds = _named(envelope.guildId, envelope.guild_id, envelope.guildIds, envelope.guild_ids)
    users = _named(envelope.userId, envelope.user_id, envelope.userIds, envelope.user_ids)
    excluded = _ids(envelope.excludeUserIds) + _ids(envelope.exclude_user_ids)
    about_user = name.startswith("guild_member.") or name in _ABOUT_A_USER
    unnamed = guilds is None and users is None
    # Read only where it is needed: where the envelope names the audience, a guildId of another
    # kind in data is no fault.
    guilds_from_data = unnamed or (guilds is None and name in _MEMBERSHIPS)
    hints = _look_into(data) if guilds_from_data or about_user else _NO_HINTS
    data_guilds = _data_guilds(hints, name.startswith("guild.")) if guilds_from_data else ()
    if unnamed:
        guilds, users = _data_audience(hints, data_guilds)
    subject = _subject(hints) if about_user else ()

    audience = Audience(
        guilds=_once(guilds or ()),
        users=_once(users or ()),
        also=subject,
        excluded=_once(excluded),
    )
    if not (audience.guilds or audience.users or audience.also):
        raise BadEnvelope(f"{name} has no audience: neither the envelope nor data names one")
    if len(audience.users) + len(audience.guilds) > MAX_RECIPIENTS:
        raise BadEnvelope(f"{name} names more than {MAX_RECIPIENTS} guilds and users")
    return Event(
        name=name,
        audience=audience,
        data=data,
        uid=uid,
        ephemeral=name in ephemeral,
        membership=_membership(name, audience.guilds or data_guilds, subject or audience.users),
        published=now,
        provenance=provenance,
    )


def _read(body: bytes) -> _Envelope:
    try:
        # msgspec passes over what it does not decode without looking at its encoding;
        # clients would close with 1007 on it.
        body.decode("utf-8", "strict")
        return _envelopes.decode(body)
    except UnicodeDecodeError as error:
        raise BadEnvelope(f"the body is not UTF-8 (byte {error.start})") from None
    except msgspec.ValidationError as error:
        raise BadEnvelope(f"the envelope does not fit: {error}") from None
    except msgspec.DecodeError as error:
        raise BadEnvelope(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise BadEnvelope("the body is nested too deeply") from None


def _check_name(name: str) -> None:
    if not name:
        raise BadEnvelope("no name: neither event nor a routing key is given")
    if len(name) > MAX_NAME:
        raise BadEnvelope(f"the event's name has more than {MAX_NAME} characters")
    if name in RESERVED:
        raise BadEnvelope(f"{name} is the gateway's own word and cannot be published")


def _named(*given: Any) -> list[str] | None:
    """
    All ids that the spellings of one thing name together, or L{None} where none is given.

    An empty list is not the same as nothing: C{userIds: []} beside a guild means a private
    event for no one, and taking it for absent would show it to the whole guild.
    """
    present = [value for value in given if value is not UNSET and value is not None]
    if not present:
        return None
    named: list[str] = []
    for value in present:
        named += _ids(value)
    if not named:
        raise BadEnvelope("an audience is given but empty, so the event is for nobody")
    return named


def _ids(value: Any) -> list[str]:
    if value is UNSET or value is None:
        return []
    if isinstance(value, list):
        return [_id(one) for one in value]
    return [_id(value)]


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadEnvelope("an id is neither a string nor an integer")
    try:
        text = str(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits.
        text = ""
    if not 0 < len(text) <= 64:
        raise BadEnvelope("an id is not of 1 to 64 characters")
    return text


def _look_into(data: bytes) -> _Hints:
    if not data.lstrip().startswith(b"{"):
        return _NO_HINTS
    try:
        return _hints.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadEnvelope(f"data cannot be read: {error}") from None


def _data_guilds(hints: _Hints, of_guild: bool) -> tuple[str, ...]:
    spellings = (hints.guildId, hints.guild_id, hints.guildIds, hints.guild_ids)
    found = _named(*spellings)
    if found is None and of_guild:
        found = _named(hints.id)
    return _once(found or ())


def _data_audience(
    hints: _Hints, guilds: tuple[str, ...]
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    if guilds:
        return guilds, None
    users = _named(hints.recipientIds, hints.recipient_ids)
    if users is None:
        users = _named(hints.userId, hints.user_id)
    return None, users


def _subject(hints: _Hints) -> tuple[str, ...]:
    """
    The user whom an event is about: C{data.userId}, or C{data.user.id}.
    """
    named = _ids(hints.userId) + _ids(hints.user_id)
    if not named and isinstance(hints.user, dict):
        named = _ids(hints.user.get("id"))
    return _once(named)


_Value = TypeVar("_Value")


def _once(values: Sequence[_Value]) -> tuple[_Value, ...]:
    return tuple(dict.fromkeys(values))


def _membership(name: str, guilds: tuple[str, ...], users: tuple[str, ...]) -> Membership | None:
    if not guilds:
        return None
    match name:
        case "guild_member.add" | "guild.create":
            return Membership(Change.JOIN, guilds, users) if users else None
        case "guild_member.remove":
            return Membership(Change.LEAVE, guilds, users) if users else None
        case "guild.delete":
            return Membership(Change.DELETE, guilds)
    return None
