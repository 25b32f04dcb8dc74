"""
Compression (RFC 7692): negotiated, shared by all who have it, and no way to make the gateway
hold or make more than it may.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.frames import text_frame
from gatewayd.ws.deflate import SMALLEST, acceptable, deflated
from tests.stand_ins import client_frame, event
from tests.wire.ws_case import Client, GatewayTestCase

OFFER = "permessage-deflate; client_max_window_bits"
"""
As browsers have it.
"""


def inflated(payload: bytes) -> bytes:
    """
    One message by itself, as an independent client reads it.
    """
    inflater = zlib.decompressobj(-15)
    return inflater.decompress(payload + b"\x00\x00\xff\xff") + inflater.flush()


def compressed(payload: bytes) -> bytes:
    """
    A compressed frame of a client's.
    """
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return client_frame(data[:-4], 0x41)


class OfferTests(SynchronousTestCase):
    """
    Which offers are taken.
    """

    def test_offers(self) -> None:
        """
        Those for which a message by itself, with the largest window, is right.
        """
        for offer, taken in {
            "permessage-deflate": True,
            OFFER: True,
            "permessage-deflate; client_max_window_bits=10": True,
            'permessage-deflate; client_max_window_bits="15"': True,
            "Permessage-Deflate;server_no_context_takeover;client_no_context_takeover": True,
            "x-other, permessage-deflate": True,
            "permessage-deflate; server_max_window_bits=9, permessage-deflate": True,
            "permessage-deflate; server_max_window_bits=15": False,
            "permessage-deflate; client_max_window_bits=16": False,
            "permessage-deflate; client_max_window_bits=08": False,
            "permessage-deflate; client_max_window_bits; client_max_window_bits": False,
            "permessage-deflate; server_no_context_takeover=1": False,
            "permessage-deflate; unknown": False,
            "x-webkit-deflate-frame": False,
            "": False,
        }.items():
            self.assertEqual(acceptable(offer.encode()), taken, offer)

    @given(st.binary(max_size=60))
    def test_any_bytes(self, offer: bytes) -> None:
        """
        Whatever is offered, it is taken or not.
        """
        self.assertIn(acceptable(offer), (True, False))


class FrameTests(SynchronousTestCase):
    """
    The twin of a frame.
    """

    @given(st.binary(max_size=400) | st.integers(0, 100_000).map(lambda size: b"ab" * size))
    def test_same_message(self, payload: bytes) -> None:
        """
        It holds the same message, is never longer, and is the frame itself where that is small.
        """
        frame = text_frame(payload)
        twin = deflated(frame)
        self.assertLessEqual(len(twin), len(frame))
        if twin != frame:
            self.assertGreaterEqual(len(payload), SMALLEST)
            self.assertEqual(twin[0], 0xC1)
            start = {126: 4, 127: 10}.get(twin[1], 2)
            self.assertEqual(inflated(twin[start:]), payload)

    def test_worth_it(self) -> None:
        """
        What repeats itself becomes shorter.
        """
        frame = text_frame(json.dumps([{"name": "value"}] * 100).encode())
        self.assertLess(len(deflated(frame)), len(frame) // 10)


class SharedTests(GatewayTestCase):
    """
    Clients with compression beside clients without.
    """

    compression = True

    def joined(self, user: str, offer: str | None = OFFER) -> Client:
        """
        A session in guild g1.
        """
        client = self.arrive()
        response = client.upgrade(Sec_WebSocket_Extensions=offer)
        agreed = response.headers.get("sec-websocket-extensions")
        if offer is None:
            self.assertIsNone(agreed)
        else:
            self.assertEqual(
                agreed,
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            )
        token = self.instance.token(user, "g1")
        client.say("identify", userId=user, token=token, guildIds=["g1"])
        return client

    def raw(self, client: Client) -> bytes:
        """
        All that came after the handshake, as it came.
        """
        return client._parts[1]

    def test_each_gets_what_it_can_read(self) -> None:
        """
        Who has negotiated it gets the compressed frame, and the others the plain one, of the
        same event.
        """
        one, two, plain = self.joined("u1"), self.joined("u2"), self.joined("u3", None)
        before = [len(self.raw(client)) for client in (one, two, plain)]
        data = {"content": "words " * 100}
        self.hear(event("message.create", "g1", data=data))
        self.loop.settle()
        first, second, third = (
            self.raw(client)[start:]
            for client, start in zip((one, two, plain), before, strict=True)
        )
        self.assertEqual(first, second)
        self.assertEqual(first[0], 0xC1)
        self.assertLess(len(first), len(third) // 3)
        self.assertEqual(json.loads(inflated(first[2:]))["data"], data)
        self.assertEqual(plain.messages[-1]["data"], data)

    def test_small_ones_are_plain(self) -> None:
        """
        A small event is not worth it, and everybody can read it.
        """
        one = self.joined("u1")
        self.hear(event("message.create", "g1", data={"n": 1}))
        self.loop.settle()
        self.assertEqual(one.messages[-1]["data"], {"n": 1})

    def test_compressed_commands(self) -> None:
        """
        What a client has compressed is understood, each message by itself.
        """
        client = self.joined("u1")
        for _ in range(3):
            client.send(compressed(b'{"event": "heartbeat", "data": {}}'))
        self.assertEqual(len(client.heard("heartbeat_ack")), 3)

    def test_bomb(self) -> None:
        """
        A message that inflates beyond the limit is a 1009, and is not inflated any further.
        """
        client, other = self.joined("u1"), self.joined("u2")
        client.send(compressed(b" " * 50_000_000))
        self.assertEqual(client.code, 1009)
        other.say("heartbeat")
        self.assertEqual(len(other.heard("heartbeat_ack")), 1)

    def test_not_deflate(self) -> None:
        """
        What is marked as compressed and is not is a 1007.
        """
        client = self.joined("u1")
        client.send(client_frame(b"\xff" * 40, 0x41))
        self.assertEqual(client.code, 1007)

    def test_nothing_kept(self) -> None:
        """
        When all who had it are gone, nothing is compressed any more.
        """
        client = self.joined("u1")
        self.assertEqual(self.factory.broadcaster.deflating, 1)
        client.hang_up()
        self.assertEqual(self.factory.broadcaster.deflating, 0)


class OffTests(GatewayTestCase):
    """
    As it is unless configured.
    """

    def test_not_offered(self) -> None:
        """
        An offer is declined, and a compressed frame then is an error.
        """
        client = self.arrive()
        headers: dict[str, Any] = client.upgrade(Sec_WebSocket_Extensions=OFFER).headers
        self.assertNotIn("sec-websocket-extensions", headers)
        client.send(compressed(b'{"event": "heartbeat", "data": {}}'))
        self.assertEqual(client.code, 1002)
