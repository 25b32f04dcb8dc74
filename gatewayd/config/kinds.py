"""
The kinds of keys there are: each a type that pydantic reads from text, with the words for a
person who wrote something else.
"""

from __future__ import annotations

from typing import Annotated, Any, Callable, Literal

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from gatewayd.config import values
from gatewayd.config.endpoints import endpoint
from gatewayd.config.urls import amqp_url, http_url, redis_url
from gatewayd.config.values import WrongValue, optional, written


class Kind:
    """
    What a key's text may be. It stands in the type of a model's field, where pydantic uses it
    to read text; values that are no text are left to pydantic's own strict checks.

    @ivar expected: completes "expected ...".
    @ivar hidden: whether the value may hold a secret, so that no fault repeats it.
    """

    def __init__(
        self,
        read: Callable[[str], object],
        expected: str,
        write: Callable[[Any], str] = str,
        *,
        hidden: bool = False,
    ) -> None:
        """
        @param read: raises L{WrongValue}.
        @param write: the text that C{read} would make this value from.
        """
        self.read = read
        self.expected = expected
        self.write = write
        self.hidden = hidden

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """
        The schema of the type beside it, behind L{read} (pydantic's name for this).
        """
        return core_schema.no_info_before_validator_function(self._value, handler(source))

    def _value(self, given: object) -> object:
        if not isinstance(given, str):
            return given
        # The environment's bytes that are not UTF-8 come as lone surrogates.
        if not given.isascii() and any("\ud800" <= character <= "\udfff" for character in given):
            raise WrongValue("expected UTF-8")
        return self.read(given)


Whole = Annotated[int, Kind(values.whole, "a whole number")]
Seconds = Annotated[
    float,
    Kind(values.duration, "a duration such as 30 s, 500 ms, 10 m or 1 h", values.duration_text),
]
Bytes = Annotated[int, Kind(values.size, "a size such as 65536, 64 KiB or 1 MB", values.size_text)]
Switch = Annotated[bool, Kind(values.switch, "yes or no", values.switch_text)]
Name = Annotated[str, Kind(values.name, "a name")]
Instance = Annotated[
    str, Kind(values.instance, "at most 100 letters, digits or any of . _ : @ -, or nothing")
]
KeyPattern = Annotated[str, Kind(values.key_pattern, "a key with {guildId} in it")]
OptionalText = Annotated[
    str | None, Kind(optional(values.one_line), "text on one line, or nothing", written)
]
Secret = Annotated[
    SecretStr | None,
    Kind(optional(values.secret), "a secret on one line, or nothing", written, hidden=True),
]
Token = Annotated[
    SecretStr | None,
    Kind(
        optional(values.token),
        "a token of letters, digits and any of . _ ~ + / -, or nothing",
        written,
        hidden=True,
    ),
]
AmqpURL = Annotated[
    SecretStr | None,
    Kind(
        optional(amqp_url),
        "amqp://USER:PASSWORD@HOST:5672/VHOST (amqps for TLS), or nothing",
        written,
        hidden=True,
    ),
]
RedisURL = Annotated[
    SecretStr | None,
    Kind(
        optional(redis_url),
        "redis://USER:PASSWORD@HOST:6379/0 (rediss for TLS), or nothing",
        written,
        hidden=True,
    ),
]
HttpURL = Annotated[
    str | None,
    # Some services take their key in the query.
    Kind(optional(http_url), "https://HOST/PATH, or nothing", written, hidden=True),
]
Endpoints = Annotated[
    tuple[Annotated[str, Kind(endpoint, "a server endpoint such as tcp:3005")], ...],
    Kind(values.lines, "server endpoints such as tcp:3005, one a line", "\n".join),
]
Origins = Annotated[
    tuple[Annotated[str, Kind(values.origin, "an origin such as https://example.com")], ...],
    Kind(values.words, "origins such as https://example.com, or *", " ".join),
]
Networks = Annotated[
    tuple[Annotated[str, Kind(values.network, "an address or network such as 10.0.0.0/8")], ...],
    Kind(values.words, "addresses or networks such as 10.0.0.0/8", " ".join),
]
Algorithms = Annotated[
    tuple[Annotated[str, Kind(values.algorithm, "a JWT algorithm")], ...],
    Kind(values.words, "JWT algorithms such as RS256", " ".join),
]
ExchangeType = Annotated[Literal["topic", "fanout"], Kind(str.strip, "topic or fanout")]
Level = Annotated[
    Literal["debug", "info", "warn", "error"], Kind(str.strip, "debug, info, warn or error")
]
GuildAuthority = Annotated[
    Literal["token", "redis", "http"], Kind(str.strip, "token, redis or http")
]
EventNames = Annotated[
    tuple[Annotated[str, Kind(values.event_name, "an event's name")], ...],
    Kind(values.words, "events' names", " ".join),
]
