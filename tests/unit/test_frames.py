"""
Tests for L{gatewayd.frames}: frames as RFC 6455 has them, and events as the protocol does.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import frames, messages
from gatewayd.model import Audience, Entry, Event, Position
from tests.strategies import entries, ids, names, strings, written

BORDERS = (0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, 1 << 20)
"""
Lengths on both sides of where the header changes.
"""


class Frame(NamedTuple):
    """
    A WebSocket frame, taken apart by RFC 6455, section 5.2.
    """

    fin: bool
    reserved: int
    opcode: int
    masked: bool
    payload: bytes
    header: int
    rest: bytes


def parse(wire: bytes) -> Frame:
    """
    The first frame in C{wire}.
    """
    first, second = wire[0], wire[1]
    size, header = second & 0x7F, 2
    if size == 126:
        size, header = int.from_bytes(wire[2:4], "big"), 4
    elif size == 127:
        size, header = int.from_bytes(wire[2:10], "big"), 10
    return Frame(
        fin=bool(first & 0x80),
        reserved=first >> 4 & 0x7,
        opcode=first & 0xF,
        masked=bool(second & 0x80),
        payload=wire[header : header + size],
        header=header,
        rest=wire[header + size :],
    )


def event_of(
    name: str = "message.create", data: bytes = b"{}", **audience: tuple[str, ...]
) -> Event:
    """
    An event for that audience.
    """
    return Event(name=name, audience=Audience(**audience), data=data, uid="uid")


class TextFrameTests(SynchronousTestCase):
    """
    Frames on the wire.
    """

    def check(self, payload: bytes) -> None:
        """
        Fail unless the frame of C{payload} is one that any client takes.
        """
        wire = frames.text_frame(payload)
        frame = parse(wire)
        self.assertEqual(frame.payload, payload)
        self.assertEqual(frame.rest, b"")
        self.assertEqual((frame.fin, frame.reserved, frame.opcode), (True, 0, 1))
        self.assertFalse(frame.masked, "only clients mask")
        size = len(payload)
        # "The minimal number of bytes MUST be used to encode the length."
        self.assertEqual(frame.header, 2 if size < 126 else 4 if size < 1 << 16 else 10)

    def test_every_class_of_length(self) -> None:
        """
        Payloads on both sides of every border come back whole, with the shortest header.
        """
        for size in BORDERS:
            self.check(b"a" * size)

    @given(st.binary(max_size=300) | st.integers(0, 70_000).map(lambda size: b"\x81" * size))
    @example(b"\x81\x7e\x00\x7e")
    def test_any(self, payload: bytes) -> None:
        """
        Any payload comes back whole.
        """
        self.check(payload)

    def test_as_the_rfc_shows_it(self) -> None:
        """
        The RFC's own example of an unmasked text message.
        """
        self.assertEqual(frames.text_frame(b"Hello"), bytes.fromhex("810548656c6c6f"))

    @given(st.lists(st.sampled_from(BORDERS[:-1]).map(lambda size: b"b" * size), max_size=5))
    def test_one_after_the_other(self, payloads: list[bytes]) -> None:
        """
        Frames written one after the other are read one after the other.
        """
        wire, read = b"".join(map(frames.text_frame, payloads)), []
        while wire:
            frame = parse(wire)
            read.append(frame.payload)
            wire = frame.rest
        self.assertEqual(read, payloads)

    def test_messages(self) -> None:
        """
        A message of the gateway's own travels in one text frame.
        """
        message = messages.GuildSubscribed("g1")
        frame = parse(frames.of_message(message))
        self.assertEqual((frame.opcode, frame.rest), (1, b""))
        self.assertEqual(frame.payload, messages.encode(message))

    @given(entries)
    def test_events(self, entry: Entry) -> None:
        """
        An event travels in one text frame, which is UTF-8, and is the same for everybody.
        """
        wire = frames.of_event(entry)
        frame = parse(wire)
        self.assertEqual((frame.fin, frame.opcode, frame.rest), (True, 1, b""))
        self.assertEqual(frame.payload, frames.event_payload(entry))
        self.assertTrue(frame.payload.decode("utf-8"))
        self.assertEqual(frames.of_event(entry), wire)


class EventPayloadTests(SynchronousTestCase):
    """
    A dispatched event as clients read it.
    """

    def test_whole(self) -> None:
        """
        An event of one guild has its name, its id, the guild, and its data.
        """
        entry = Entry(Position(1732307000123, 4), event_of(data=b'{ "id" :1 }', guilds=("g1",)))
        self.assertEqual(
            frames.event_payload(entry),
            b'{"event":"message.create","id":"1732307000123-4","guildId":"g1","data":{ "id" :1 }}',
        )

    @given(entries)
    def test_fields(self, entry: Entry) -> None:
        """
        There is an id only if the event is logged, a guild only if its audience is one, and
        never anything of who else it is for.
        """
        heard = json.loads(frames.event_payload(entry))
        guilds = entry.event.audience.guilds
        expected = {"event": entry.event.name, "data": json.loads(entry.event.data)}
        if entry.position is not None:
            expected["id"] = str(entry.position)
        if len(guilds) == 1:
            expected["guildId"] = guilds[0]
        self.assertEqual(heard, expected)

    def test_guild(self) -> None:
        """
        One guild is named also where only some of its members, or others too, are reached;
        several guilds, or none, are not.
        """
        for audience, guild in (
            ({"guilds": ("g1",)}, "g1"),
            ({"guilds": ("g1",), "users": ("u1",)}, "g1"),
            ({"guilds": ("g1",), "also": ("u1",), "excluded": ("u2",)}, "g1"),
            ({"guilds": ("g1", "g2")}, None),
            ({"users": ("u1",)}, None),
            ({"also": ("u1",)}, None),
        ):
            payload = frames.event_payload(Entry(None, event_of(**audience)))
            self.assertEqual(json.loads(payload).get("guildId"), guild, audience)

    @given(names, ids, written())
    def test_data_byte_for_byte(self, name: str, guild: str, data: bytes) -> None:
        """
        Data is at the end, as it was published.
        """
        entry = Entry(Position(1, 0), event_of(name, data, guilds=(guild,)))
        self.assertTrue(frames.event_payload(entry).endswith(b',"data":%s}' % data))

    @given(strings.filter(bool), strings.filter(bool))
    def test_any_name(self, name: str, guild: str) -> None:
        """
        Names and guilds may hold quotes, backslashes, controls or anything else.
        """
        for one, other in ((name, guild), (f'"{name}\\', f"{guild}\n\0")):
            entry = Entry(Position(1, 0), event_of(one, guilds=(other,)))
            heard = json.loads(frames.event_payload(entry).decode("utf-8"))
            self.assertEqual((heard["event"], heard["guildId"]), (one, other))

    @given(st.lists(strings.filter(bool), min_size=2, max_size=6))
    def test_names_are_not_mixed_up(self, texts: list[str]) -> None:
        """
        What is remembered of one name or guild is not told of another.
        """
        for _ in range(2):
            for text in texts:
                entry = Entry(None, event_of(text, guilds=(text[::-1],)))
                heard = json.loads(frames.event_payload(entry))
                self.assertEqual((heard["event"], heard["guildId"]), (text, text[::-1]))
