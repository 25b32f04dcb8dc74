"""
A message whose headers pika cannot decode is read all the same, without them.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, integers, sampled_from
from pika import frame
from pika.exceptions import InvalidFieldTypeException
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.source.salvage import without_headers
from tests.unit.amqp_frames import NO_TABLES, header_frame, properties, table, tables

PLAIN = table((b"k", b"V"))
channels = integers(0, 0xFFFF)
sizes = integers(0, 2**64 - 1)


class SalvageTests(SynchronousTestCase):
    """
    Content header frames.
    """

    @given(channels, sizes, properties(tables), binary(max_size=10))
    def test_is_what_pika_reads_but_for_the_table(
        self, channel: int, size: int, written: bytes, behind: bytes
    ) -> None:
        """
        Of a frame that pika could decode, all is the same but the headers, which say that they
        could not be read; what comes after the frame is left alone.
        """
        buffer = header_frame(channel, size, written)
        consumed, expected = frame.decode_frame(buffer)
        salvaged = without_headers(buffer + behind)
        assert salvaged is not None
        length, header = salvaged
        self.assertEqual(length, consumed)
        self.assertIsInstance(header, frame.Header)
        self.assertEqual(header.channel_number, channel)
        self.assertEqual(header.body_size, size)
        expected.properties.headers = {"x-headers": "unreadable"}
        self.assertEqual(vars(header.properties), vars(expected.properties))

    @given(properties(sampled_from(NO_TABLES)))
    def test_reads_what_pika_cannot(self, written: bytes) -> None:
        """
        Whatever else is in the frame, tables that make pika raise are passed over.
        """
        buffer = header_frame(7, 5, written)
        with self.assertRaises((ValueError, OSError, OverflowError, InvalidFieldTypeException)):
            frame.decode_frame(buffer)
        salvaged = without_headers(buffer)
        assert salvaged is not None
        length, header = salvaged
        self.assertEqual((length, header.channel_number, header.body_size), (len(buffer), 7, 5))
        self.assertEqual(header.properties.headers, {"x-headers": "unreadable"})

    def test_leaves_alone_what_has_no_table(self) -> None:
        """
        A header without a table, and any other frame, are not for it: what pika raised on them
        stands.
        """
        self.assertIsNone(without_headers(header_frame(1, 0, b"\x00\x00")))
        self.assertIsNone(without_headers(header_frame(1, 0, b"")))
        self.assertIsNone(without_headers(frame.Body(1, b"x" * 40).marshal()))
        self.assertIsNone(without_headers(frame.Heartbeat().marshal()))
