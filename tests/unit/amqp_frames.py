"""
Content headers as a publisher may write them, and a broker passes them on: byte by byte, for
what pika would not write.
"""

from __future__ import annotations

import struct

from hypothesis import strategies as st
from pika import frame, spec
from pika.spec import BasicProperties

short = st.binary(max_size=30) | st.text(max_size=10).map(str.encode)
"""
A short string; nobody checks that it is UTF-8.
"""


def short_string(text: bytes) -> bytes:
    """
    One, as it is written.
    """
    return struct.pack("B", len(text)) + text


def sized(data: bytes) -> bytes:
    """
    Something behind its length.
    """
    return struct.pack(">I", len(data)) + data


def table(*fields: tuple[bytes, bytes]) -> bytes:
    """
    A table of names and written values.
    """
    return sized(b"".join(short_string(name) + value for name, value in fields))


_FIXED = st.one_of(
    st.binary(min_size=1, max_size=1).map(b"t".__add__),
    st.binary(min_size=1, max_size=1).map(b"b".__add__),
    st.binary(min_size=2, max_size=2).map(b"s".__add__),
    st.binary(min_size=4, max_size=4).map(b"i".__add__),
    st.binary(min_size=4, max_size=4).map(b"I".__add__),
    st.binary(min_size=8, max_size=8).map(b"l".__add__),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(
        lambda value: b"f" + struct.pack(">f", value)
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(
        lambda value: b"d" + struct.pack(">d", value)
    ),
    st.binary(min_size=5, max_size=5).map(b"D".__add__),
    st.integers(0, 253_402_300_799).map(lambda value: b"T" + struct.pack(">Q", value)),
    st.just(b"V"),
    st.binary(max_size=40).map(lambda text: b"S" + sized(text)),
    st.binary(max_size=40).map(lambda text: b"x" + sized(text)),
)

_names = st.binary(max_size=12)

values = st.recursive(
    _FIXED,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda some: b"A" + sized(b"".join(some))),
        st.lists(st.tuples(_names, inner), max_size=3).map(lambda some: b"F" + table(*some)),
    ),
    max_leaves=6,
)
"""
Values of a table, of every type that pika decodes.
"""

tables = st.lists(st.tuples(_names, values), max_size=4).map(lambda some: table(*some))

NO_TABLES = (
    table((b"when", b"T" + struct.pack(">Q", 1_700_000_000_000))),
    table((b"share", b"d" + struct.pack(">d", float("nan")))),
    table((b"what", b"?")),
)
"""
Tables that pika cannot decode: a time in milliseconds, not a number, an unknown type.
"""


@st.composite
def properties(draw: st.DrawFn, of: st.SearchStrategy[bytes] = tables) -> bytes:
    """
    Flags and properties, among them a table.
    """
    flags, written = BasicProperties.FLAG_HEADERS, b""
    kinds: list[tuple[int, st.SearchStrategy[bytes]]] = [
        (BasicProperties.FLAG_CONTENT_TYPE, short.map(short_string)),
        (BasicProperties.FLAG_CONTENT_ENCODING, short.map(short_string)),
        (BasicProperties.FLAG_HEADERS, of),
        (BasicProperties.FLAG_DELIVERY_MODE, st.binary(min_size=1, max_size=1)),
        (BasicProperties.FLAG_PRIORITY, st.binary(min_size=1, max_size=1)),
        (BasicProperties.FLAG_CORRELATION_ID, short.map(short_string)),
        (BasicProperties.FLAG_REPLY_TO, short.map(short_string)),
        (BasicProperties.FLAG_EXPIRATION, short.map(short_string)),
        (BasicProperties.FLAG_MESSAGE_ID, short.map(short_string)),
        (BasicProperties.FLAG_TIMESTAMP, st.binary(min_size=8, max_size=8)),
        (BasicProperties.FLAG_TYPE, short.map(short_string)),
        (BasicProperties.FLAG_USER_ID, short.map(short_string)),
        (BasicProperties.FLAG_APP_ID, short.map(short_string)),
        (BasicProperties.FLAG_CLUSTER_ID, short.map(short_string)),
    ]
    for flag, value in kinds:
        if flag == BasicProperties.FLAG_HEADERS or draw(st.booleans()):
            flags |= flag
            written += draw(value)
    return struct.pack(">H", flags) + written


def header_frame(channel: int, body_size: int, written: bytes) -> bytes:
    """
    A content header frame of these flags and properties.
    """
    payload = struct.pack(">HHQ", BasicProperties.INDEX, 0, body_size) + written
    return struct.pack(">BHI", spec.FRAME_HEADER, channel, len(payload)) + payload + b"\xce"


def decoded(written: bytes) -> BasicProperties:
    """
    What pika makes of flags and properties.
    """
    properties = BasicProperties()
    properties.decode(written)
    return properties


def reencoded(properties: BasicProperties) -> BasicProperties:
    """
    What another pika makes of them, when they are sent.
    """
    _, header = frame.decode_frame(frame.Header(1, 0, properties).marshal())
    assert isinstance(header, frame.Header)
    return header.properties
