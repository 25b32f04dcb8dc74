"""
Values as the protocol allows them, and bytes as nobody should send them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from gatewayd.model import Audience, Entry, Event, Position

characters = st.characters(codec="utf-8")
"""
All but lone surrogates, which no UTF-8 can hold.
"""

strings = st.text(characters, max_size=20)
ids = st.text(characters, min_size=1, max_size=64)
"""
Ids as the gateway keeps them.
"""

numbers = st.integers(-(10**63) + 1, 10**64 - 1)
"""
Ids as JSON integers: in decimal, none is longer than 64 characters.
"""

given_ids = ids | numbers
few_ids = st.lists(given_ids, min_size=1, max_size=4)
names = st.sampled_from(
    ["message.create", "typing.start", "channel.delete", "poll.vote"]
) | st.text(characters, min_size=1, max_size=128).map("x.{}".format).map(lambda name: name[:128])
"""
Names of events that move nobody and bear on nobody.
"""

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(strings, json_values, max_size=4)

_SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\r\n:")])


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Any] = json_values) -> bytes:
    """
    One of C{values} as JSON, in one of the ways to write it.
    """
    text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()), separators=draw(_SEPARATORS))
    return text.encode()


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """
    One of C{texts} with a piece of it replaced by anything.
    """
    text = draw(texts)
    start = draw(st.integers(0, len(text)))
    stop = draw(st.integers(start, min(len(text), start + 8)))
    return text[:start] + draw(st.binary(max_size=4)) + text[stop:]


def nested(depth: int) -> bytes:
    """
    A JSON value that many arrays deep.
    """
    return b"[" * depth + b"]" * depth


TOO_DEEP = nested(100_000)
"""
Deeper than any parser that recurses can go.
"""

positions = st.builds(Position, st.integers(0, 10**20 - 1), st.integers(0, 10**20 - 1))

_few = st.lists(st.sampled_from(["1", "2", "3"]), max_size=2, unique=True).map(tuple)
audiences = st.builds(Audience, guilds=_few, users=_few, also=_few, excluded=_few)
"""
Audiences of guilds and users from the same three ids, so that they overlap.
"""

events = st.builds(
    Event, name=ids, audience=audiences, data=written(), uid=st.just("uid"), ephemeral=st.booleans()
)
entries = st.builds(Entry, position=st.none() | positions, event=events)
