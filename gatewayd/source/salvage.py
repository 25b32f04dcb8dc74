"""
Reading what pika cannot.

A header table with one value that pika's decoder does not take (a timestamp in milliseconds is
enough: the year 55840) would end the connection; after the message's redelivery the next one,
and so on for ever.
"""

from __future__ import annotations

import struct
from typing import Any

from pika import frame, spec

_CONTENT = (spec.BasicProperties.FLAG_CONTENT_TYPE, spec.BasicProperties.FLAG_CONTENT_ENCODING)
"""
The properties that come before the table.
"""


def without_headers(buffer: bytes) -> tuple[int, Any] | None:
    """
    Decode the content header frame that C{buffer} begins with, with a table in place of its own
    that says so.

    @return: like pika's C{decode_frame}; L{None} if it is another frame, or has no table.
    """
    kind, channel, size = struct.unpack_from(">BHL", buffer)
    payload = buffer[7 : 7 + size]
    if kind != spec.FRAME_HEADER or len(payload) < 14:
        return None
    body_size, flags = struct.unpack_from(">4xQH", payload)
    if not flags & spec.BasicProperties.FLAG_HEADERS:
        return None
    at = 14
    for flag in _CONTENT:
        if flags & flag:
            at += 1 + payload[at]
    (table,) = struct.unpack_from(">L", payload, at)
    flags &= ~spec.BasicProperties.FLAG_HEADERS
    properties = spec.BasicProperties()
    properties.decode(struct.pack(">H", flags) + payload[14:at] + payload[at + 4 + table :])
    properties.headers = {"x-headers": "unreadable"}
    return 7 + size + 1, frame.Header(channel, body_size, properties)
