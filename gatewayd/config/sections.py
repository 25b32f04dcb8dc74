"""
The sections of the configuration: each key with its default and what it means.

The descriptions, a sentence or two each, are what the sample file and the reference page are
made of. What one key demands of another is in L{gatewayd.config.rules}.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from gatewayd.config.kinds import (
    Algorithms,
    AmqpURL,
    Bytes,
    Endpoints,
    EventNames,
    ExchangeType,
    GuildAuthority,
    HttpURL,
    Instance,
    KeyPattern,
    Level,
    Name,
    Networks,
    OptionalText,
    Origins,
    RedisURL,
    Seconds,
    Secret,
    Switch,
    Token,
    Whole,
)
from gatewayd.config.urls import RedisServer, redis_server


class _Frozen(BaseModel):
    # hide_input_in_errors: pydantic's own message would show a secret to whoever logs it.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class Gateway(_Frozen):
    """
    C{[gateway]}: the WebSocket side.
    """

    listen: Endpoints = Field(
        default=("tcp:3005",),
        min_length=1,
        description="Where clients connect: Twisted server endpoints, one a line.",
    )
    instance: Instance = Field(
        default="",
        description="What this process calls itself in /health, metrics and logs. Left empty it "
        "is the host's name and the process id.",
    )
    workers: Whole = Field(
        default=1,
        ge=1,
        le=256,
        description="How many processes share the listening port; more than one needs [redis] url.",
    )
    heartbeat_interval: Seconds = Field(
        default=30.0,
        ge=0.01,
        description="How often each client gets a heartbeat, which it must answer before the next.",
    )
    identify_timeout: Seconds = Field(
        default=10.0,
        ge=0.01,
        description="How long a client may take to identify before it is closed with 4021.",
    )
    allowed_origins: Origins = Field(
        default=("*",),
        description="The origins whose web pages may connect, such as https://example.com or "
        "https://*.example.com; * allows all. Clients that are not browsers send none and are not asked.",
    )
    compression: Switch = Field(
        default=False,
        description="Whether clients may ask for compressed messages (permessage-deflate). An "
        "event is compressed once for all of them.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="The addresses or networks of proxies whose X-Forwarded-For tells where a "
        "client comes from; from all others it is not looked at. A haproxy: endpoint needs none.",
    )
    log_level: Level = Field(
        default="info", description="The least grave of what is logged: debug, info, warn or error."
    )
    drain_time: Seconds = Field(
        default=10.0,
        ge=0,
        description="How long a stop takes at most, so that clients reconnect elsewhere little by "
        "little.",
    )


class Http(_Frozen):
    """
    C{[http]}: health, statistics, the dashboard and administration.
    """

    listen: Endpoints = Field(
        default=("tcp:3006:interface=127.0.0.1",),
        min_length=1,
        description="Where the HTTP API answers: Twisted server endpoints, one a line.",
    )
    admin_token: Token = Field(
        default=None,
        description="What administrators and POST /events send as bearer token. Without one those "
        "calls answer 403.",
    )
    admin_token_file: OptionalText = Field(
        default=None, description="A file that holds the admin token, instead of admin_token."
    )
    public_stats: Switch = Field(
        default=True,
        description="Whether /stats, /metrics and all that /health tells are for everybody. If "
        "not, they are for the bearer of the admin token, and /health tells others its status only.",
    )


class Auth(_Frozen):
    """
    C{[auth]}: whom to believe, and what they may see.

    @ivar public_key: in PEM, what L{gatewayd.config.read} found in C{public_key_file}; not a
        key of the ini file.
    """

    algorithms: Algorithms = Field(
        default=("HS256",),
        min_length=1,
        description="The JWT algorithms that are taken; no token chooses another. HS* are checked "
        "with the secret, all others with a public key.",
    )
    secret: Secret = Field(
        default=None,
        description="The shared secret of HS* tokens, of 32 bytes or more. Better given by "
        "secret_file or as GATEWAY_AUTH_SECRET than written here.",
    )
    secret_file: OptionalText = Field(
        default=None, description="A file that holds the secret, instead of secret."
    )
    public_key_file: OptionalText = Field(
        default=None, description="A file with the public key, in PEM, of RS*, PS*, ES* or EdDSA."
    )
    jwks_url: HttpURL = Field(
        default=None,
        repr=False,
        description="Where the public keys are fetched, and fetched again, as a JWK set.",
    )
    issuer: OptionalText = Field(
        default=None, description="What a token's iss claim must be; empty asks for none."
    )
    audience: OptionalText = Field(
        default=None, description="What a token's aud claim must be or hold; empty asks for none."
    )
    leeway: Seconds = Field(
        default=0.0,
        ge=0,
        description="How far the issuer's clock may differ from ours.",
    )
    guild_authority: GuildAuthority = Field(
        default="token",
        description="Who tells which guilds a user may see: the token's guilds claim (token), a "
        "Redis set for each guild (redis) or a membership service (http).",
    )
    authority_url: HttpURL = Field(
        default=None,
        repr=False,
        description="The membership service of guild_authority = http.",
    )
    authority_key: KeyPattern = Field(
        default="guild:{guildId}:members",
        description="The Redis set of guild_authority = redis that holds a guild's members.",
    )
    expiry_warning: Seconds = Field(
        default=60.0,
        ge=0,
        description="How long before its token expires a client is told so.",
    )
    public_key: str | None = None


class RabbitMQ(_Frozen):
    """
    C{[rabbitmq]}: where the microservices publish.
    """

    url: AmqpURL = Field(
        default=None,
        description="The broker, as amqp://USER:PASSWORD@HOST:5672/VHOST or amqps. Without one "
        "events come by POST /events alone.",
    )
    exchange: Name = Field(
        default="discord_events",
        description="The durable exchange that the microservices publish to.",
    )
    exchange_type: ExchangeType = Field(
        default="topic", description="The type of that exchange, topic or fanout."
    )
    queue: Name = Field(
        default="gateway",
        description="The durable queue that all instances share; one of them consumes it at a "
        "time, so that order is kept.",
    )
    dead_letter_exchange: Name = Field(
        default="discord_events.dead",
        description="The exchange that gets what cannot become an event, with the reason.",
    )
    prefetch: Whole = Field(
        default=1000,
        ge=1,
        le=65535,
        description="How many messages may be under way, unacknowledged.",
    )


class Redis(_Frozen):
    """
    C{[redis]}: what the instances share.
    """

    url: RedisURL = Field(
        default=None,
        description="The server, as redis://USER:PASSWORD@HOST:6379/0 or rediss. Without one this "
        "process is alone, with a log of its own.",
    )
    channel: Name = Field(
        default="gateway_events",
        description="The channel that every instance hears; the log is the stream of this name "
        "with :log behind it.",
    )
    dedup_window: Seconds = Field(
        default=300.0,
        ge=1,
        description="How long a message_id is remembered, so that publishing twice makes one event.",
    )
    cluster_keys: Switch = Field(
        default=False,
        description="Whether keys share a hash tag, as Redis Cluster demands.",
    )

    @property
    def server(self) -> RedisServer | None:
        """
        What L{url} says.
        """
        return None if self.url is None else redis_server(self.url.get_secret_value())


class History(_Frozen):
    """
    C{[history]}: the recent events that a client who comes back can be told. The first bound
    that is reached holds.
    """

    window: Seconds = Field(default=600.0, ge=1, description="How long an event can be replayed.")
    max_events: Whole = Field(
        default=100_000, ge=1, description="How many events are kept at most."
    )
    max_bytes: Bytes = Field(
        default=64 * 1024**2,
        ge=1,
        description="How much memory the kept events may take in each process.",
    )


class Events(_Frozen):
    """
    C{[events]}: what is particular to some of them.
    """

    ephemeral: EventNames = Field(
        default=("typing.start",),
        description="The events that are worth nothing later: never logged, never replayed.",
    )


class Limits(_Frozen):
    """
    C{[limits]}: what a client may ask of us.
    """

    max_message_bytes: Bytes = Field(
        default=16384, ge=1, description="The longest message a client may send."
    )
    messages_per_minute: Whole = Field(
        default=120,
        ge=0,
        description="How many messages a client may send in a minute; 0 is no limit.",
    )
    max_buffered_bytes: Bytes = Field(
        default=1024**2,
        ge=1,
        description="How much may wait for a slow client before it is closed with 4020.",
    )
    max_buffered_total: Bytes = Field(
        default=256 * 1024**2,
        ge=1,
        description="How much may wait for all slow clients together; beyond it those with most "
        "are closed with 4020.",
    )
    max_guilds: Whole = Field(
        default=200, ge=0, description="How many guilds one connection may be subscribed to."
    )
    connections_per_user: Whole = Field(
        default=20, ge=0, description="How many connections a user may have; 0 is no limit."
    )
    connections_per_address: Whole = Field(
        default=0,
        ge=0,
        description="How many connections one address may have; 0, no limit, suits a gateway "
        "behind a proxy.",
    )
    max_connections: Whole = Field(
        default=0,
        ge=0,
        description="How many connections this instance takes at all; 0 is no limit.",
    )
    max_unidentified: Whole = Field(
        default=10_000,
        ge=0,
        description="How many connections may not have identified yet; 0 is no limit.",
    )
    subscribes_per_minute: Whole = Field(
        default=60,
        ge=0,
        description="How many guilds a client may subscribe to in a minute, beside those it "
        "identifies with; 0 is no limit.",
    )


class Config(_Frozen):
    """
    The whole configuration.

    @ivar path: of the ini file that it was read from; not a section.
    """

    gateway: Gateway = Gateway()
    http: Http = Http()
    auth: Auth = Auth()
    rabbitmq: RabbitMQ = RabbitMQ()
    redis: Redis = Redis()
    history: History = History()
    events: Events = Events()
    limits: Limits = Limits()
    path: str | None = Field(default=None, exclude=True)
