"""
What travels between instances: an event as one message on the channel and one entry of the
stream, and back.

A message is C{ID PREV HEADER}, a newline, and the event's data as it was published. C{ID}
is its place in the log, or C{-} for an ephemeral event; C{PREV} is the log's head before
it. Each message thus names the one it follows, and whoever has not had that one knows that
something is missing, without counting anything. A stream entry holds the same four in the
fields C{p}, C{h} and C{d}, its id being the stream's own.

The header is one line of JSON, an array; what a later version appends to it, this one
ignores. Nobody parses the data.
"""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import msgspec

from gatewayd.errors import GatewayError
from gatewayd.model import Audience, Entry, Event, Membership, Position

MAX_BATCH_EVENTS = 256
MAX_BATCH_BYTES = 1 << 20
"""
What one script call carries at most: while it runs, Redis does nothing else.
"""


class Undecodable(GatewayError):
    """
    Something on the channel or in the stream that no gateway put there, or one whose
    language this version does not speak.
    """


class Message(msgspec.Struct, frozen=True, gc=False):
    """
    One event as the channel brought it.

    @ivar position: L{None} for an ephemeral one.
    @ivar prev: the log's head before it.
    @ivar size: bytes of header and data.
    """

    position: Position | None
    prev: Position
    entry: Entry
    size: int


class Row(msgspec.Struct, frozen=True, gc=False):
    """
    One entry of the stream.

    @ivar prev: the log's head before it; L{None} for what no gateway put there, which is no
        part of the log.
    @ivar entry: L{None} for what this version of the gateway cannot decode.
    @ivar size: bytes of header and data.
    """

    position: Position
    prev: Position | None
    entry: Entry | None
    size: int


class _Header(msgspec.Struct, frozen=True, array_like=True):
    name: str
    published: float
    audience: Audience
    membership: Membership | None
    uid: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Header).decode


def header_of(event: Event) -> bytes:
    """
    Everything about C{event} but its data and whether it is ephemeral.
    """
    return _encode(
        _Header(event.name, event.published, event.audience, event.membership, event.uid)
    )


def position_of(text: bytes) -> Position:
    """
    The position that C{text} names.

    @raise Undecodable: it names none.
    """
    ms, dash, seq = text.partition(b"-")
    # bytes.isdigit knows only ASCII, and is false for the empty string.
    if not dash or len(ms) > 20 or len(seq) > 20 or not ms.isdigit() or not seq.isdigit():
        raise Undecodable("not a position")
    return Position(int(ms), int(seq))


def message_of(payload: bytes) -> Message:
    """
    What a message on the channel says.

    @raise Undecodable: it is none of ours.
    """
    parts = payload.split(b" ", 2)
    if len(parts) != 3:
        raise Undecodable("not ID PREV HEADER")
    place, before, rest = parts
    prev = position_of(before)
    if place == b"-":
        position = None
    else:
        position = position_of(place)
        if position <= prev:
            raise Undecodable("it follows itself")
    header, _, data = rest.partition(b"\n")
    return Message(position, prev, _entry(position, header, data), len(rest))


def row_of(answer: Sequence[Any]) -> Row:
    """
    What an entry of the stream says.

    @param answer: one of those that C{XRANGE} answers with.
    """
    place, pairs = answer
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    position = position_of(place)
    try:
        prev = position_of(fields.get(b"p", b""))
    except Undecodable:
        prev = position
    if prev >= position:
        return Row(position, None, None, 0)
    header, data = fields.get(b"h", b""), fields.get(b"d", b"")
    try:
        entry = _entry(position, header, data)
    except Undecodable:
        entry = None
    return Row(position, prev, entry, len(header) + len(data))


def _entry(position: Position | None, header: bytes, data: bytes) -> Entry:
    try:
        said = _decode(header)
    except (ValueError, RecursionError) as error:
        # msgspec's own errors are ValueErrors, and so are those of a string's bad UTF-8.
        raise Undecodable("no such header") from error
    ephemeral = position is None
    return Entry(
        position,
        Event(said.name, said.audience, data, said.uid, ephemeral, said.membership, said.published),
    )


def batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """
    C{events}, in order, in pieces that one script call may carry. An event that is larger
    than a piece should be goes alone.
    """
    first = size = 0
    for index, event in enumerate(events):
        weight = _weight(event)
        if index > first and (index - first == MAX_BATCH_EVENTS or size + weight > MAX_BATCH_BYTES):
            yield events[first:index]
            first, size = index, 0
        size += weight
    if events:
        yield events[first:]


def _weight(event: Event) -> int:
    """
    Bytes of data and, about, of header: its audience may name a hundred thousand.
    """
    audience = event.audience
    names = (audience.guilds, audience.users, audience.also, audience.excluded)
    return len(event.data) + sum(len(name) + 3 for some in names for name in some)
