// Made from docs/asyncapi.yaml by `python -m clients.generate`. Change that, not this.

/** 1 to 64 characters. */
export type Id = string;

/** A place in the log. Opaque; on one connection it only ever grows. */
export type EventId = string;

/** RFC 3339. */
export type Time = string;

/** No members. */
export interface Nothing {
  [more: string]: unknown;
}

/** Terms of the connection. */
export interface Ready {
  /** For logs and support. */
  sessionId: string;
  /** Milliseconds between heartbeats. */
  heartbeatInterval: number;
  /** Milliseconds in which to identify. */
  identifyTimeout: number;
  /** Which gateway this is. */
  instance: string;
  /** Of the gateway. */
  version: string;
  /** Of this protocol. */
  protocol: number;
  [more: string]: unknown;
}

/** What the session may hear. */
export interface Identified {
  /** The same as in ready. */
  sessionId: string;
  userId: Id;
  /** Granted, in the order asked. */
  guildIds: Id[];
  /** The others. */
  denied: Denial[];
  lastEventId: EventId;
  resume?: Resume;
  [more: string]: unknown;
}

/** A guild that is not granted. */
export interface Denial {
  guildId: Id;
  /** A word: forbidden, revoked, too_many_guilds, unavailable. */
  reason: string;
  [more: string]: unknown;
}

/** What became of the last event id that the client sent. */
export interface Resume {
  /** Everything missed is replayed. */
  recovered: boolean;
  /** How many events follow. */
  replayed: number;
  /** Guilds in which something may have been missed. */
  resync: Id[];
  [more: string]: unknown;
}

/** The log's head. */
export interface Heartbeat {
  lastEventId: EventId;
  [more: string]: unknown;
}

/** A guild that is heard. */
export interface GuildSubscribed {
  guildId: Id;
  [more: string]: unknown;
}

/** A guild that is not heard any more. */
export interface GuildUnsubscribed {
  guildId: Id;
  /** Where the client did not ask for it. */
  reason?: "member_removed" | "guild_deleted" | "revoked";
  [more: string]: unknown;
}

/** Why a message could not be served. */
export interface Complaint {
  /** A word, such as forbidden, unknown_event, invalid_data, rate_limited. */
  code: string;
  /** One sentence for a person. */
  message: string;
  /** What it answers. */
  event?: string;
  guildId?: Id;
  /** Milliseconds. */
  retryAfter?: number;
  [more: string]: unknown;
}

/** How long the token still holds. */
export interface TokenExpiring {
  /** Milliseconds. */
  expiresIn: number;
  [more: string]: unknown;
}

/** How long the fresh token holds. */
export interface Authenticated {
  /** Milliseconds since the epoch. */
  expiresAt: number;
  [more: string]: unknown;
}

/** Why and when to come back. */
export interface Reconnect {
  /** Why. */
  reason: "shutdown" | "drain" | "upstream";
  /** Milliseconds, different for each session. */
  retryAfter: number;
  [more: string]: unknown;
}

/** A user, as far as others see them. */
export interface User {
  id: Id;
  /** The name to log in with. */
  username?: string;
  /** The name to show. */
  displayName?: string;
  /** Their picture. */
  avatarUrl?: string | null;
  [more: string]: unknown;
}

/** A new message. */
export interface MessageCreate {
  id: Id;
  channelId: Id;
  guildId?: Id;
  /** Of a direct message, outside of any guild. */
  recipientIds?: Id[];
  author?: User;
  /** The text. */
  content?: string;
  createdAt?: Time;
  [more: string]: unknown;
}

/** A message, with what changed. */
export interface MessageUpdate {
  id: Id;
  channelId: Id;
  guildId?: Id;
  /** Of a direct message, outside of any guild. */
  recipientIds?: Id[];
  /** The text now. */
  content?: string;
  editedAt?: Time;
  [more: string]: unknown;
}

/** A message that is no more. */
export interface MessageDelete {
  id: Id;
  channelId: Id;
  guildId?: Id;
  /** Of a direct message, outside of any guild. */
  recipientIds?: Id[];
  [more: string]: unknown;
}

/** Who types where. */
export interface TypingStart {
  channelId: Id;
  userId: Id;
  guildId?: Id;
  startedAt?: Time;
  [more: string]: unknown;
}

/** Whether a user is there. */
export interface PresenceUpdate {
  userId: Id;
  guildId?: Id;
  /** Such as online, idle, dnd, offline. */
  status: string;
  [more: string]: unknown;
}

/** A user's profile now. */
export interface UserUpdate {
  userId: Id;
  user?: User;
  [more: string]: unknown;
}

/** A guild, and who joined or created it. */
export interface GuildCreate {
  id: Id;
  /** To show. */
  name?: string;
  ownerId?: Id;
  userId?: Id;
  [more: string]: unknown;
}

/** A guild, with what changed. */
export interface GuildUpdate {
  id: Id;
  /** To show. */
  name?: string;
  ownerId?: Id;
  [more: string]: unknown;
}

/** A guild that is no more. */
export interface GuildDelete {
  id: Id;
  [more: string]: unknown;
}

/** A new channel. */
export interface ChannelCreate {
  id: Id;
  guildId?: Id;
  /** To show. */
  name?: string;
  /** Such as text or voice. */
  type?: string;
  [more: string]: unknown;
}

/** A channel, with what changed. */
export interface ChannelUpdate {
  id: Id;
  guildId?: Id;
  /** To show. */
  name?: string;
  /** Such as text or voice. */
  type?: string;
  [more: string]: unknown;
}

/** A channel that is no more. */
export interface ChannelDelete {
  id: Id;
  guildId?: Id;
  [more: string]: unknown;
}

/** A user who is a member now. */
export interface GuildMemberAdd {
  guildId: Id;
  userId: Id;
  user?: User;
  joinedAt?: Time;
  [more: string]: unknown;
}

/** A user who is no member any more. */
export interface GuildMemberRemove {
  guildId: Id;
  userId: Id;
  [more: string]: unknown;
}

/** Where a user speaks and listens. */
export interface VoiceStateUpdate {
  userId: Id;
  guildId?: Id;
  /** The voice channel; null for none any more. */
  channelId?: string | null;
  /** Does not speak. */
  muted?: boolean;
  /** Does not listen. */
  deafened?: boolean;
  [more: string]: unknown;
}

/** Where to connect for voice. */
export interface VoiceServerUpdate {
  guildId: Id;
  userId?: Id;
  /** The server; null while there is none. */
  endpoint?: string | null;
  /** To connect with. */
  token?: string;
  [more: string]: unknown;
}

/** Who, what, and from where. */
export interface Identify {
  userId: Id;
  /** A JWT whose sub is the user id. */
  token: string;
  /** To hear from the beginning. */
  guildIds: Id[];
  lastEventId?: EventId;
  /** Names, or prefixes such as message.*, with ! to leave out. */
  events?: string[];
  /** Free text for /stats. */
  client?: string;
  [more: string]: unknown;
}

/** Which guild. */
export interface GuildCommand {
  guildId: Id;
  [more: string]: unknown;
}

/** A fresh token. */
export interface Authenticate {
  /** A JWT for the same user. */
  token: string;
  [more: string]: unknown;
}

/** What happens on the platform, by name. Add your own events by declaration merging. */
export interface Events {
  /** A message was sent. */
  "message.create": MessageCreate;
  /** A message was edited. */
  "message.update": MessageUpdate;
  /** A message was deleted. */
  "message.delete": MessageDelete;
  /** A user started typing. Ephemeral, so it has no id and is never replayed. */
  "typing.start": TypingStart;
  /** A user's status changed. */
  "presence.update": PresenceUpdate;
  /** A user's profile was updated. */
  "user.update": UserUpdate;
  /** A guild was created or joined. Its user's live sessions are subscribed to it. */
  "guild.create": GuildCreate;
  /** A guild's settings changed. */
  "guild.update": GuildUpdate;
  /** A guild was deleted. Every session is unsubscribed from it. */
  "guild.delete": GuildDelete;
  /** A channel was created. */
  "channel.create": ChannelCreate;
  /** A channel was updated. */
  "channel.update": ChannelUpdate;
  /** A channel was deleted. */
  "channel.delete": ChannelDelete;
  /** A member joined. That user's live sessions are subscribed to the guild. */
  "guild_member.add": GuildMemberAdd;
  /** A member left. From then on that user gets nothing of the guild. */
  "guild_member.remove": GuildMemberRemove;
  /** A user's voice state changed. */
  "voice.state.update": VoiceStateUpdate;
  /** Where a user's voice connection goes. */
  "voice.server.update": VoiceServerUpdate;
}

/** What the gateway itself says. */
export interface Told {
  /** The connection is established; identify now. */
  "ready": Ready;
  /** The session is live. */
  "identified": Identified;
  /** Are you there? And how far the log has come. */
  "heartbeat": Heartbeat;
  /** The answer to a client's own heartbeat. */
  "heartbeat_ack": Nothing;
  /** Events of this guild follow. Because the client asked, or because the user became a member. */
  "guild_subscribed": GuildSubscribed;
  /** No more events of this guild follow. */
  "guild_unsubscribed": GuildUnsubscribed;
  /** A message of the client's could not be served. The connection stays. */
  "error": Complaint;
  /** Send authenticate with a fresh token before this one expires. */
  "token_expiring": TokenExpiring;
  /** The fresh token holds. */
  "authenticated": Authenticated;
  /** Close, and come back with the last event id. */
  "reconnect": Reconnect;
}

/** What a client says. */
export interface Commands {
  /** Who the client is, what it wants to hear, and where it left off. */
  "identify": Identify;
  /** The answer to the gateway's heartbeat. */
  "heartbeat_ack": Nothing;
  /** Is the gateway there? */
  "heartbeat": Nothing;
  /** Begin to hear a guild. */
  "guild_subscribe": GuildCommand;
  /** No longer hear a guild. */
  "guild_unsubscribe": GuildCommand;
  /** A newer token for the same user, without reconnecting. */
  "authenticate": Authenticate;
}
