"""
Tests for L{gatewayd.closing}: the protocol's table of close codes.
"""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.closing import TABLE, Closing, ComeBack
from tests.strategies import characters

CODES = {
    1001: ComeBack.RESUME,
    1007: ComeBack.NO,
    1009: ComeBack.YES,
    4000: ComeBack.RESUME,
    4001: ComeBack.NO,
    4002: ComeBack.NO,
    4003: ComeBack.NO,
    4004: ComeBack.NEW_TOKEN,
    4005: ComeBack.YES,
    4006: ComeBack.NEW_TOKEN_RESUME,
    4008: ComeBack.LATER,
    4009: ComeBack.RESUME,
    4020: ComeBack.RESUME,
    4021: ComeBack.YES,
    4022: ComeBack.NO,
    4023: ComeBack.LATER,
}
"""
The protocol's "Close codes", and what a client should do next.
"""

EVERY = [value for value in vars(closing).values() if isinstance(value, Closing)]


class TableTests(SynchronousTestCase):
    """
    What clients are told of the end.
    """

    def test_is_the_protocols(self) -> None:
        """
        The table has the protocol's codes, each once, with its advice.
        """
        self.assertEqual([row.code for row in TABLE], sorted(CODES))
        self.assertEqual({row.code: row.come_back for row in TABLE}, CODES)

    def test_each_by_its_name(self) -> None:
        """
        Each way to end has the code that the protocol gives it.
        """
        named = {
            name: value.code for name, value in vars(closing).items() if isinstance(value, Closing)
        }
        self.assertEqual(
            named,
            {
                "GOING_AWAY": 1001,
                "BAD_UTF8": 1007,
                "TOO_BIG": 1009,
                "INTERNAL": 4000,
                "UPSTREAM": 4000,
                "UNKNOWN_EVENTS": 4001,
                "NOT_JSON": 4002,
                "NOT_IDENTIFIED": 4003,
                "TOKEN_REFUSED": 4004,
                "IDENTIFIED_TWICE": 4005,
                "TOKEN_EXPIRED": 4006,
                "RATE_LIMITED": 4008,
                "HEARTBEAT_MISSED": 4009,
                "TOO_SLOW": 4020,
                "IDENTIFY_TIMEOUT": 4021,
                "DISCONNECTED": 4022,
                "TOO_MANY_CONNECTIONS": 4023,
            },
        )

    def test_one_code_one_advice(self) -> None:
        """
        A code means the same whichever reason comes with it: a client has only the code.
        """
        for way in EVERY:
            self.assertEqual(way.come_back, CODES[way.code], way)

    def test_fits_a_close_frame(self) -> None:
        """
        Every reason says something, and a close frame can hold it.
        """
        for way in EVERY:
            self.assertTrue(0 < len(way.reason.encode()) <= 123, way)


class BecauseTests(SynchronousTestCase):
    """
    A reason that says more.
    """

    def test_says_more(self) -> None:
        """
        What is said is appended; code and advice stay.
        """
        self.assertEqual(
            closing.because(closing.TOKEN_REFUSED, "it has expired"),
            Closing(4004, "token refused: it has expired", ComeBack.NEW_TOKEN),
        )

    @given(st.sampled_from(TABLE), st.text(characters, max_size=200))
    @example(closing.TOKEN_REFUSED, "a" * 200)
    @example(closing.TOKEN_REFUSED, "\u00e9" * 100)
    @example(closing.TOKEN_REFUSED, "a" + "\u00e9" * 100)
    @example(closing.TOKEN_REFUSED, "\U0001f600" * 50)
    def test_always_fits(self, way: Closing, why: str) -> None:
        """
        Whatever is said, as much of it is kept as fits, cut between two characters.
        """
        more = closing.because(way, why)
        whole = f"{way.reason}: {why}"
        self.assertTrue(whole.startswith(more.reason))
        self.assertLessEqual(len(more.reason.encode()), 123)
        if more.reason != whole:
            self.assertGreater(len(whole[: len(more.reason) + 1].encode()), 123)
        self.assertEqual((more.code, more.come_back), (way.code, way.come_back))
