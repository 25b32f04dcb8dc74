"""
What the data of every event looks like, and how to listen for it.

Made from docs/asyncapi.yaml by C{python -m clients.generate}. Change that, not this.
"""

from __future__ import annotations

from typing import Any, Callable, Literal, NotRequired, TypedDict, overload

from gatewayd.client.effects import Meta, Resync, StateChange
from gatewayd.client.errors import ClientError


class Nothing(TypedDict):
    """
    No members.
    """


class Ready(TypedDict):
    """
    Terms of the connection.

    @ivar sessionId: for logs and support.
    @ivar heartbeatInterval: milliseconds between heartbeats.
    @ivar identifyTimeout: milliseconds in which to identify.
    @ivar instance: which gateway this is.
    @ivar version: of the gateway.
    @ivar protocol: of this protocol.
    """

    sessionId: str
    heartbeatInterval: int
    identifyTimeout: int
    instance: str
    version: str
    protocol: int


class Identified(TypedDict):
    """
    What the session may hear.

    @ivar sessionId: the same as in ready.
    @ivar guildIds: granted, in the order asked.
    @ivar denied: the others.
    """

    sessionId: str
    userId: str
    guildIds: list[str]
    denied: list[Denial]
    lastEventId: str
    resume: NotRequired[Resume]


class Denial(TypedDict):
    """
    A guild that is not granted.

    @ivar reason: a word: forbidden, revoked, too_many_guilds, unavailable.
    """

    guildId: str
    reason: str


class Resume(TypedDict):
    """
    What became of the last event id that the client sent.

    @ivar recovered: everything missed is replayed.
    @ivar replayed: how many events follow.
    @ivar resync: guilds in which something may have been missed.
    """

    recovered: bool
    replayed: int
    resync: list[str]


class Heartbeat(TypedDict):
    """
    The log's head.
    """

    lastEventId: str


class GuildSubscribed(TypedDict):
    """
    A guild that is heard.
    """

    guildId: str


class GuildUnsubscribed(TypedDict):
    """
    A guild that is not heard any more.

    @ivar reason: where the client did not ask for it.
    """

    guildId: str
    reason: NotRequired[Literal["member_removed", "guild_deleted", "revoked"]]


class Complaint(TypedDict):
    """
    Why a message could not be served.

    @ivar code: a word, such as forbidden, unknown_event, invalid_data, rate_limited.
    @ivar message: one sentence for a person.
    @ivar event: what it answers.
    @ivar retryAfter: milliseconds.
    """

    code: str
    message: str
    event: NotRequired[str]
    guildId: NotRequired[str]
    retryAfter: NotRequired[int]


class TokenExpiring(TypedDict):
    """
    How long the token still holds.

    @ivar expiresIn: milliseconds.
    """

    expiresIn: int


class Authenticated(TypedDict):
    """
    How long the fresh token holds.

    @ivar expiresAt: milliseconds since the epoch.
    """

    expiresAt: int


class Reconnect(TypedDict):
    """
    Why and when to come back.

    @ivar reason: why.
    @ivar retryAfter: milliseconds, different for each session.
    """

    reason: Literal["shutdown", "drain", "upstream"]
    retryAfter: int


class User(TypedDict):
    """
    A user, as far as others see them.

    @ivar username: the name to log in with.
    @ivar displayName: the name to show.
    @ivar avatarUrl: their picture.
    """

    id: str
    username: NotRequired[str]
    displayName: NotRequired[str]
    avatarUrl: NotRequired[str | None]


class MessageCreate(TypedDict):
    """
    A new message.

    @ivar recipientIds: of a direct message, outside of any guild.
    @ivar content: the text.
    """

    id: str
    channelId: str
    guildId: NotRequired[str]
    recipientIds: NotRequired[list[str]]
    author: NotRequired[User]
    content: NotRequired[str]
    createdAt: NotRequired[str]


class MessageUpdate(TypedDict):
    """
    A message, with what changed.

    @ivar recipientIds: of a direct message, outside of any guild.
    @ivar content: the text now.
    """

    id: str
    channelId: str
    guildId: NotRequired[str]
    recipientIds: NotRequired[list[str]]
    content: NotRequired[str]
    editedAt: NotRequired[str]


class MessageDelete(TypedDict):
    """
    A message that is no more.

    @ivar recipientIds: of a direct message, outside of any guild.
    """

    id: str
    channelId: str
    guildId: NotRequired[str]
    recipientIds: NotRequired[list[str]]


class TypingStart(TypedDict):
    """
    Who types where.
    """

    channelId: str
    userId: str
    guildId: NotRequired[str]
    startedAt: NotRequired[str]


class PresenceUpdate(TypedDict):
    """
    Whether a user is there.

    @ivar status: such as online, idle, dnd, offline.
    """

    userId: str
    guildId: NotRequired[str]
    status: str


class UserUpdate(TypedDict):
    """
    A user's profile now.
    """

    userId: str
    user: NotRequired[User]


class GuildCreate(TypedDict):
    """
    A guild, and who joined or created it.

    @ivar name: to show.
    """

    id: str
    name: NotRequired[str]
    ownerId: NotRequired[str]
    userId: NotRequired[str]


class GuildUpdate(TypedDict):
    """
    A guild, with what changed.

    @ivar name: to show.
    """

    id: str
    name: NotRequired[str]
    ownerId: NotRequired[str]


class GuildDelete(TypedDict):
    """
    A guild that is no more.
    """

    id: str


class ChannelCreate(TypedDict):
    """
    A new channel.

    @ivar name: to show.
    @ivar type: such as text or voice.
    """

    id: str
    guildId: NotRequired[str]
    name: NotRequired[str]
    type: NotRequired[str]


class ChannelUpdate(TypedDict):
    """
    A channel, with what changed.

    @ivar name: to show.
    @ivar type: such as text or voice.
    """

    id: str
    guildId: NotRequired[str]
    name: NotRequired[str]
    type: NotRequired[str]


class ChannelDelete(TypedDict):
    """
    A channel that is no more.
    """

    id: str
    guildId: NotRequired[str]


class GuildMemberAdd(TypedDict):
    """
    A user who is a member now.
    """

    guildId: str
    userId: str
    user: NotRequired[User]
    joinedAt: NotRequired[str]


class GuildMemberRemove(TypedDict):
    """
    A user who is no member any more.
    """

    guildId: str
    userId: str


class VoiceStateUpdate(TypedDict):
    """
    Where a user speaks and listens.

    @ivar channelId: the voice channel; null for none any more.
    @ivar muted: does not speak.
    @ivar deafened: does not listen.
    """

    userId: str
    guildId: NotRequired[str]
    channelId: NotRequired[str | None]
    muted: NotRequired[bool]
    deafened: NotRequired[bool]


class VoiceServerUpdate(TypedDict):
    """
    Where to connect for voice.

    @ivar endpoint: the server; null while there is none.
    @ivar token: to connect with.
    """

    guildId: str
    userId: NotRequired[str]
    endpoint: NotRequired[str | None]
    token: NotRequired[str]


class Identify(TypedDict):
    """
    Who, what, and from where.

    @ivar token: a JWT whose sub is the user id.
    @ivar guildIds: to hear from the beginning.
    @ivar events: names, or prefixes such as message.*, with ! to leave out.
    @ivar client: free text for /stats.
    """

    userId: str
    token: str
    guildIds: list[str]
    lastEventId: NotRequired[str]
    events: NotRequired[list[str]]
    client: NotRequired[str]


class GuildCommand(TypedDict):
    """
    Which guild.
    """

    guildId: str


class Authenticate(TypedDict):
    """
    A fresh token.

    @ivar token: a JWT for the same user.
    """

    token: str


class TypedEvents:
    """
    C{on}, with a type for each event there is.
    """

    @overload
    def on(
        self, name: Literal["*"], callback: Callable[[Any, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["state"], callback: Callable[[StateChange, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["resync"], callback: Callable[[Resync, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["error"], callback: Callable[[ClientError, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["message.create"], callback: Callable[[MessageCreate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["message.update"], callback: Callable[[MessageUpdate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["message.delete"], callback: Callable[[MessageDelete, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["typing.start"], callback: Callable[[TypingStart, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["presence.update"], callback: Callable[[PresenceUpdate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["user.update"], callback: Callable[[UserUpdate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["guild.create"], callback: Callable[[GuildCreate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["guild.update"], callback: Callable[[GuildUpdate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["guild.delete"], callback: Callable[[GuildDelete, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["channel.create"], callback: Callable[[ChannelCreate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["channel.update"], callback: Callable[[ChannelUpdate, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["channel.delete"], callback: Callable[[ChannelDelete, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["guild_member.add"], callback: Callable[[GuildMemberAdd, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self,
        name: Literal["guild_member.remove"],
        callback: Callable[[GuildMemberRemove, Meta], object],
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self,
        name: Literal["voice.state.update"],
        callback: Callable[[VoiceStateUpdate, Meta], object],
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self,
        name: Literal["voice.server.update"],
        callback: Callable[[VoiceServerUpdate, Meta], object],
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["guild_subscribed"], callback: Callable[[GuildSubscribed, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self,
        name: Literal["guild_unsubscribed"],
        callback: Callable[[GuildUnsubscribed, Meta], object],
    ) -> Callable[[], None]: ...

    @overload
    def on(
        self, name: Literal["token_expiring"], callback: Callable[[TokenExpiring, Meta], object]
    ) -> Callable[[], None]: ...

    @overload
    def on(self, name: str, callback: Callable[[object, Meta], object]) -> Callable[[], None]: ...

    def on(self, name: str, callback: Callable[[Any, Meta], object]) -> Callable[[], None]:
        """
        Call C{callback(data, meta)} for every event of that name.

        @param name: of an event; C{*} for all events of the platform; C{state}, C{resync},
            C{error}, C{guild_subscribed} or C{guild_unsubscribed} for what the client itself
            has to say.
        @return: call it to end that.
        """
        return self._add_listener(name, callback)

    def _add_listener(
        self, name: str, listener: Callable[[Any, Meta], object]
    ) -> Callable[[], None]:
        raise NotImplementedError
