"""
WebSocket text frames, made once and written to everyone (RFC 6455, section 5.2).

A frame holds nothing of any one session. That is what lets an event be encoded once for
ten thousand clients, and replayed by any instance from its history.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from gatewayd.messages import Message
from gatewayd.messages import encode as encode_message
from gatewayd.model import Entry

_TEXT = 0x81  # FIN and opcode 1
_json = msgspec.json.Encoder().encode


def text_frame(payload: bytes) -> bytes:
    """
    One unmasked text frame, as a server sends it.
    """
    length = len(payload)
    if length < 126:
        return bytes((_TEXT, length)) + payload
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


@lru_cache(maxsize=4096)
def _quoted(text: str) -> bytes:
    return _json(text)


def event_payload(entry: Entry) -> bytes:
    """
    A dispatched event as clients read it: C{id} only if it is logged, C{guildId} only if
    its audience is one guild, C{data} byte for byte.
    """
    event = entry.event
    position = entry.position
    guilds = event.audience.guilds
    return b"".join(
        (
            b'{"event":',
            _quoted(event.name),
            b',"id":"%d-%d"' % position if position is not None else b"",
            b',"guildId":' + _quoted(guilds[0]) if len(guilds) == 1 else b"",
            b',"data":',
            event.data,
            b"}",
        )
    )


def of_event(entry: Entry) -> bytes:
    """
    The frame of a dispatched event.
    """
    return text_frame(event_payload(entry))


def of_message(message: Message) -> bytes:
    """
    The frame of a message of the gateway's own.
    """
    return text_frame(encode_message(message))
