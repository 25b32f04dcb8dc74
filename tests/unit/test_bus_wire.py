"""
What one instance writes, every other reads as it was; and what nobody should have written ends
in one kind of error.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis.strategies import (
    binary,
    booleans,
    builds,
    floats,
    integers,
    lists,
    none,
    sampled_from,
    text,
    tuples,
)
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.bus.wire import (
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    Undecodable,
    batches,
    header_of,
    message_of,
    position_of,
    row_of,
)
from gatewayd.model import Audience, Change, Event, Membership, Position, Provenance

names = text(max_size=8)
some = lists(names, max_size=3).map(tuple)
memberships = builds(Membership, sampled_from(Change), some, some)
events = builds(
    Event,
    names,
    builds(Audience, some, some, some, some),
    # The data is the publisher's: it may hold anything, also what separates the fields.
    binary(max_size=30) | sampled_from([b"", b"\n", b" \n ", b"- - -"]),
    names,
    booleans(),
    none() | memberships,
    floats(allow_nan=False, allow_infinity=False),
)
numbers = integers(0, 10**20 - 1)
positions = builds(Position, numbers, numbers)
steps = lists(positions, min_size=2, max_size=2, unique=True).map(sorted)
"""
A position, and a later one.
"""


def message(event: Event, position: Position | None, prev: Position) -> bytes:
    """
    What C{publish.lua} puts on the channel.
    """
    place = "-" if position is None else str(position)
    return b"%s %s %s\n%s" % (place.encode(), str(prev).encode(), header_of(event), event.data)


def row(event: Event, position: Position, prev: Position) -> list[Any]:
    """
    How the stream's entry of an event is read.
    """
    fields = [b"p", str(prev).encode(), b"h", header_of(event), b"d", event.data]
    return [str(position).encode(), fields]


class WireTests(SynchronousTestCase):
    """
    There and back.
    """

    @given(events, steps)
    def test_a_message_is_read_as_it_was_written(self, event: Event, step: list[Position]) -> None:
        """
        Whatever an event holds, the channel brings it unchanged, with its place and the one
        before it; an ephemeral event has no place.
        """
        prev, position = step
        place = None if event.ephemeral else position
        read = message_of(message(event, place, prev))
        self.assertEqual((read.position, read.prev), (place, prev))
        self.assertEqual(read.entry.position, place)
        self.assertEqual(read.entry.event, event)
        self.assertEqual(read.size, len(header_of(event)) + 1 + len(event.data))

    @given(events, steps)
    def test_an_entry_is_read_as_it_was_written(self, event: Event, step: list[Position]) -> None:
        """
        The same holds for what the stream has.
        """
        prev, position = step
        read = row_of(row(event, position, prev))
        assert read.entry is not None
        self.assertEqual((read.position, read.prev), (position, prev))
        self.assertEqual(read.entry.position, position)
        self.assertEqual(read.entry.event, msgspec.structs.replace(event, ephemeral=False))
        self.assertEqual(read.size, len(header_of(event)) + len(event.data))

    def test_where_it_came_from_stays_here(self) -> None:
        """
        An event's provenance is for the instance that publishes it.
        """
        event = Event("e", Audience(), b"", "u", provenance=Provenance("c1", "d", False))
        read = message_of(message(event, None, Position(1, 0)))
        self.assertIsNone(read.entry.event.provenance)

    def test_what_a_later_version_adds_is_passed_over(self) -> None:
        """
        A header with more in it is read as far as this version knows it.
        """
        event = Event("e", Audience(("g1",)), b"{}", "u")
        longer = header_of(event)[:-1] + b',{"later":[1]}]'
        read = message_of(b"5-0 4-0 " + longer + b"\n{}")
        self.assertEqual(read.entry.event, event)

    @given(binary(max_size=60))
    def test_anything_else_on_the_channel_is_undecodable(self, payload: bytes) -> None:
        """
        Whatever bytes come, they are a message or one kind of error.
        """
        self.assertRaises(Undecodable, message_of, payload)

    @given(events, integers(0, 200), binary(max_size=3))
    def test_a_damaged_message_is_no_other_error(self, event: Event, at: int, noise: bytes) -> None:
        """
        A message of which a piece was changed is read or it is undecodable.
        """
        payload = message(event, Position(5, 0), Position(4, 0))
        damaged = payload[:at] + noise + payload[at + len(noise) :]
        try:
            read = message_of(damaged)
        except Undecodable:
            return
        self.assertIsInstance(read.entry.event, Event)

    def test_a_message_that_cannot_be(self) -> None:
        """
        What would follow itself or what comes later, has no position, or no header of ours, is
        not one.
        """
        header = header_of(Event("e", Audience(), b"", "u"))
        for payload in (
            b"",
            b"4-0",
            b"4-0 3-0",
            b"4-0 4-0 " + header,
            b"4-0 5-0 " + header,
            b"4-0 - " + header,
            b"4 3-0 " + header,
            b"-4-0 3-0 " + header,
            b"4-0 3-0 {}",
            b"4-0 3-0 []",
            b"4-0 3-0 " + b"[" * 100_000,
            b'4-0 3-0 ["\xff",0,[],null,"u"]',
        ):
            self.assertRaises(Undecodable, message_of, payload)


class PositionTests(SynchronousTestCase):
    """
    Positions as Redis writes them.
    """

    @given(positions)
    def test_is_read_as_it_was_written(self, position: Position) -> None:
        """
        There and back is the same.
        """
        self.assertEqual(position_of(str(position).encode()), position)

    @given(binary(max_size=12) | text(max_size=8).map(str.encode))
    def test_agrees_with_what_clients_send(self, sent: bytes) -> None:
        """
        What is no position for a client's C{lastEventId} is none here.
        """
        expected = Position.parse(sent.decode("latin-1"))
        try:
            read: Position | None = position_of(sent)
        except Undecodable:
            read = None
        self.assertEqual(read, expected)

    def test_is_bounded(self) -> None:
        """
        Nobody is made to read numbers without end.
        """
        for sent in (b"1" * 21 + b"-0", b"0-" + b"1" * 21, b"-", b"1-", b"-1", b"1-2-3", b"1-+2"):
            self.assertRaises(Undecodable, position_of, sent)


class RowTests(SynchronousTestCase):
    """
    Entries of the stream that are not ours.
    """

    event = Event("e", Audience(("g1",)), b"{}", "u")

    def test_one_that_no_gateway_put_there(self) -> None:
        """
        Without a place before it, or with one that cannot be before it, it is no part of the
        log.
        """
        for fields in (
            [],
            [b"name", b"value"],
            [b"p", b"soon", b"h", b"[]", b"d", b""],
            row(self.event, Position(5, 0), Position(5, 0))[1],
            row(self.event, Position(5, 0), Position(6, 0))[1],
        ):
            read = row_of([b"5-0", fields])
            self.assertEqual((read.position, read.prev), (Position(5, 0), None))
            self.assertIsNone(read.entry)

    def test_one_in_another_language(self) -> None:
        """
        One that has its place and cannot be read is known to be there.
        """
        for header in (b"", b"{}", b'["e"]', b"[" * 100_000):
            read = row_of([b"5-0", [b"p", b"4-0", b"h", header, b"d", b"xy"]])
            self.assertEqual((read.position, read.prev), (Position(5, 0), Position(4, 0)))
            self.assertIsNone(read.entry)
            self.assertEqual(read.size, len(header) + 2)

    def test_fields_may_come_in_any_order_and_with_others(self) -> None:
        """
        They are found by their names.
        """
        fields = row(self.event, Position(5, 0), Position(4, 0))[1]
        turned = [b"z", b"later", *fields[4:6], *fields[2:4], *fields[:2]]
        self.assertEqual(row_of([b"5-0", turned]), row_of([b"5-0", fields]))


def event_of(size: int, ids: int = 0) -> Event:
    """
    An event with so much data, for so many users.
    """
    users = tuple(f"user-{number:010}" for number in range(ids))
    return Event("e", Audience(users=users), b"x" * size, "u")


class BatchesTests(SynchronousTestCase):
    """
    What one script call carries.
    """

    @given(
        lists(
            tuples(
                sampled_from([0, 10, MAX_BATCH_BYTES // 3, MAX_BATCH_BYTES, MAX_BATCH_BYTES * 2]),
                integers(0, 5),
            ),
            max_size=8,
        )
    )
    def test_all_are_carried_in_order(self, sizes: list[tuple[int, int]]) -> None:
        """
        Put together again the pieces are what was given; none is empty, and none is larger than
        it may be unless it is a single event.
        """
        some = [event_of(*size) for size in sizes]
        pieces = [list(piece) for piece in batches(some)]
        self.assertEqual([event for piece in pieces for event in piece], some)
        for piece in pieces:
            self.assertTrue(piece)
            total = sum(len(event.data) for event in piece)
            self.assertTrue(len(piece) == 1 or total <= MAX_BATCH_BYTES)

    def test_no_more_than_so_many(self) -> None:
        """
        Small events fill a piece by their number.
        """
        sizes = [len(piece) for piece in batches([event_of(1)] * (2 * MAX_BATCH_EVENTS + 1))]
        self.assertEqual(sizes, [MAX_BATCH_EVENTS, MAX_BATCH_EVENTS, 1])

    def test_fills_a_piece(self) -> None:
        """
        Events that fit together go together.
        """
        half = event_of(MAX_BATCH_BYTES // 2)
        self.assertEqual([len(piece) for piece in batches([half] * 5)], [2, 2, 1])

    def test_counts_whom_they_are_for(self) -> None:
        """
        A header with very many ids is as heavy for Redis as data.
        """
        for piece in batches([event_of(10, 20_000)] * 10):
            sent = sum(len(header_of(event)) + len(event.data) for event in piece)
            self.assertLessEqual(sent, 1.1 * MAX_BATCH_BYTES)

    def test_of_nothing_there_is_none(self) -> None:
        """
        No events, no pieces.
        """
        self.assertEqual(list(batches([])), [])
