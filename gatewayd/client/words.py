"""
What goes over the wire, read with as little faith as a network deserves.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """
    What the gateway said.

    @ivar data: of any type; L{mapping} for what the gateway itself says.
    """

    event: str
    data: Any
    id: str | None
    guild_id: str | None

    @property
    def mapping(self) -> Mapping[str, Any]:
        """
        The data as an object; an empty one if it is none.
        """
        return self.data if isinstance(self.data, dict) else {}

    def text(self, name: str) -> str | None:
        """
        A member of the data that is a string.
        """
        return _text(self.mapping.get(name))

    def number(self, name: str) -> float | None:
        """
        A member of the data that is a number, and not a negative one.
        """
        value = self.mapping.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            return None
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """
        A member of the data that is a list of strings.
        """
        value = self.mapping.get(name)
        return tuple(filter(None, map(_text, value))) if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def read(text: str | bytes) -> Message | None:
    """
    One text message, or L{None} if it is none of this protocol.
    """
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        return None
    return Message(
        value["event"], value.get("data"), _text(value.get("id")), _text(value.get("guildId"))
    )


def write(event: str, **data: Any) -> str:
    """
    A command. What is L{None} is left out.
    """
    kept = {name: value for name, value in data.items() if value is not None}
    return _encode({"event": event, "data": kept}).decode()
