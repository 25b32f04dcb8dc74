"""
How much a client may say, and how.
"""

from __future__ import annotations

import json
from typing import Any

from gatewayd.metrics import value
from gatewayd.session import MAX_EARLY, MAX_UNKNOWN
from gatewayd.ws.protocol import CONTROL_FRAMES_PER_MINUTE, EMPTY_FRAMES_PER_MINUTE
from tests.stand_ins import BINARY, CLOSE, PING, PONG, TEXT, client_frame, event
from tests.wire.ws_case import Client, GatewayTestCase

HEARTBEAT = client_frame(b'{"event":"heartbeat","data":{}}')


class RateTests(GatewayTestCase):
    """
    How often.
    """

    terms = {"messages_per_minute": 20}  # noqa: RUF012 - read only

    def test_messages(self) -> None:
        """
        As many messages a minute as are allowed are answered, C{identify} among them, and one
        more is too many.
        """
        client = self.session("u1", "g1")
        client.send(HEARTBEAT * 19)
        self.assertEqual(len(client.heard("heartbeat_ack")), 19)
        self.assertIsNone(client.close)
        client.send(HEARTBEAT)
        self.assertEqual(client.code, 4008)
        self.assertEqual(value(self.instance.metrics.rate_limited), 1)

    def test_later(self) -> None:
        """
        After two minutes in which it says little, a client may say as much again.
        """
        client = self.session("u1", "g1")
        for _ in range(3):
            client.send(HEARTBEAT * 15)
            for _ in range(4):
                self.loop.wait(30)
                client.say("heartbeat_ack")
        self.assertEqual(len(client.heard("heartbeat_ack")), 45)
        self.assertIsNone(client.close)

    def test_before_identify(self) -> None:
        """
        It is the same for who has not identified.
        """
        client = self.connect()
        client.send(client_frame(b'{"event":"identify","data":{}}') * 21)
        self.assertEqual(client.code, 4008)
        self.assertEqual(len(client.heard("error")), 20)

    def test_nothing_after(self) -> None:
        """
        Of what came in one packet with the message that was too many, nothing is served, and
        what comes after is not even read.
        """
        client = self.session("u1", "g1")
        client.send(HEARTBEAT * 5000)
        self.assertEqual(len(client.heard("heartbeat_ack")), 19)
        client.send(HEARTBEAT * 5000, client_frame(b"\x0f\xa8", CLOSE))
        self.assertEqual(client.code, 4008)
        self.loop.wait(3)
        self.assertTrue(client.kernel.closed)

    def test_others(self) -> None:
        """
        One client's flood is nobody else's limit.
        """
        other = self.session("u1", "g1")
        flooder = self.session("u1", "g1")
        flooder.send(HEARTBEAT * 100)
        other.send(HEARTBEAT * 19)
        self.assertEqual((flooder.code, other.close), (4008, None))


class FrameTests(GatewayTestCase):
    """
    Frames that are no messages.
    """

    def test_pings(self) -> None:
        """
        Pings are answered with what they hold, and too many of them close the connection.
        """
        client = self.session("u1", "g1")
        client.send(*(client_frame(b"%d" % n, PING) for n in range(5)))
        pongs = [frame.payload for frame in client.frames if frame.opcode == PONG]
        self.assertEqual(pongs, [b"0", b"1", b"2", b"3", b"4"])
        client.send(client_frame(b"", PING) * 2000)
        self.assertEqual(client.code, 4008)
        pongs = [frame.payload for frame in client.frames if frame.opcode == PONG]
        self.assertEqual(len(pongs), CONTROL_FRAMES_PER_MINUTE)

    def test_pongs(self) -> None:
        """
        So do too many pongs, which nobody asked for.
        """
        client = self.session("u1", "g1")
        client.send(client_frame(b"x", PONG) * 5)
        self.assertIsNone(client.close)
        client.send(client_frame(b"x" * 100, PONG) * 2000)
        self.assertEqual(client.code, 4008)

    def test_steady_pings(self) -> None:
        """
        Somebody who pings every second may do so for ever.
        """
        client = self.session("u1", "g1")
        for _ in range(300):
            client.send(client_frame(b"", PING))
            client.say("heartbeat_ack")
            self.loop.wait(1)
        self.assertIsNone(client.close)

    def test_fragments(self) -> None:
        """
        Fragments without end are no way around the limits, not even empty ones: they never
        become a message, and too many of them close the connection.
        """
        client = self.session("u1", "g1")
        client.send(client_frame(b"", TEXT, fin=False))
        client.send(client_frame(b"", 0, fin=False) * (EMPTY_FRAMES_PER_MINUTE - 1))
        self.assertIsNone(client.close)
        client.send(client_frame(b"", 0, fin=False) * 5000)
        self.assertEqual(client.code, 4008)

    def test_fragmented_messages(self) -> None:
        """
        So do many messages of two fragments each, where they are under the limit of messages.
        """
        client = self.session("u1", "g1")
        halves = client_frame(b'{"event":"heart', TEXT, fin=False) + client_frame(b'beat_ack"}', 0)
        client.send(halves * 100)
        self.assertIsNone(client.close)
        client.send(halves * 1000)
        self.assertEqual(client.code, 4008)


class SizeTests(GatewayTestCase):
    """
    How much at once.
    """

    max_message = 1000

    def message(self, size: int) -> bytes:
        """
        A command of so many octets.
        """
        text = b'{"event":"heartbeat","data":{},"x":"%s"}'
        return text % (b"x" * (size - len(text) + 2))

    def test_largest(self) -> None:
        """
        A message of exactly the limit is served, in one frame or in several.
        """
        client = self.session("u1", "g1")
        message = self.message(1000)
        self.assertEqual(len(message), 1000)
        client.send(client_frame(message))
        client.send(client_frame(message[:600], TEXT, fin=False) + client_frame(message[600:], 0))
        self.assertEqual(len(client.heard("heartbeat_ack")), 2)

    def test_too_large(self) -> None:
        """
        One octet more closes the connection with 1009 and is not served, in one frame or in
        several.
        """
        message = self.message(1001)
        for frames in (
            [client_frame(message)],
            [client_frame(message[:600], TEXT, fin=False), client_frame(message[600:], 0)],
            [client_frame(b"x", TEXT, fin=False), *[client_frame(b"x" * 100, 0, fin=False)] * 10],
        ):
            client = self.session("u1", "g1")
            client.send(*frames)
            self.assertEqual(client.code, 1009)
            self.assertEqual(client.heard("heartbeat_ack"), [])

    def test_announced(self) -> None:
        """
        A frame that merely announces to be huge is refused before any of it has come.
        """
        for size in (1001, 65536, 2**32, 2**62):
            client = self.session("u1", "g1")
            length = b"\xfe" + size.to_bytes(2, "big") if size < 65536 else None
            client.send(b"\x81" + (length or b"\xff" + size.to_bytes(8, "big")) + b"mask")
            self.assertEqual(client.code, 1009, size)

    def test_goes_on_sending(self) -> None:
        """
        Who goes on sending what is too large, is cut off all the same.
        """
        client = self.session("u1", "g1")
        client.send(b"\x81\xff" + (2**40).to_bytes(8, "big") + b"mask")
        for _ in range(20):
            client.send(b"x" * 65536)
        self.assertEqual(client.code, 1009)
        self.loop.wait(5)
        self.assertTrue(client.kernel.closed)


class FormTests(GatewayTestCase):
    """
    What messages may look like.
    """

    def closed_by(self, *frames: bytes) -> tuple[int | None, Client]:
        """
        The code with which a session is closed for sending C{frames}.
        """
        client = self.session("u1", "g1")
        client.send(*frames)
        return client.code, client

    def test_not_json(self) -> None:
        """
        Whatever is no JSON object closes the connection with 4002.
        """
        for text in (
            *(
                b"",
                b" ",
                b"x",
                b"{",
                b"[]",
                b"null",
                b"1",
                b'"identify"',
                b"{}{}",
                b"\xef\xbb\xbf{}",
            ),
            *(b'{"event":"a",}', b"{'event':'a'}", b'{"event":NaN}', b'{"event":"a","n":1e400}x'),
            *(b"[" * 10_000, b'{"a":' * 3000, b'{"event":"\x01"}'),
        ):
            code, client = self.closed_by(client_frame(text))
            self.assertEqual(code, 4002, text[:40])
            self.assertEqual(client.heard("error"), [], text[:40])

    def test_binary(self) -> None:
        """
        So does a binary message, even if it holds the right text.
        """
        code, client = self.closed_by(client_frame(b'{"event":"heartbeat"}', BINARY))
        self.assertEqual(code, 4002)
        self.assertEqual(client.heard("heartbeat_ack"), [])

    def test_bad_text(self) -> None:
        """
        Text that is not UTF-8 closes it with 1007, as soon as that can be seen.
        """
        bad: tuple[tuple[bytes, ...], ...] = (
            (client_frame(b'{"event":"\xff"}'),),
            (client_frame(b"\xed\xa0\x80"),),
            (client_frame(b"\xc0\xaf"),),
            (client_frame(b'{"event":"\xc3'),),
            (client_frame(b"{", TEXT, fin=False), client_frame(b"\xff", 0, fin=False)),
        )
        for frames in bad:
            code, client = self.closed_by(*frames)
            self.assertEqual(code, 1007, frames)
            self.hear(event("m", "g1"))
            self.assertEqual(client.ids, [])

    def test_protocol_errors(self) -> None:
        """
        What RFC 6455 forbids closes it with 1002.
        """
        text = b'{"event":"heartbeat","data":{}}'
        for frame in (
            bytes((0x81, len(text))) + text,
            b"\xc1" + client_frame(text)[1:],
            client_frame(text, 3),
            client_frame(text, 0),
            client_frame(b"", 11),
            client_frame(b"", PING, fin=False),
            client_frame(b"x" * 126, PING),
            client_frame(text, TEXT, fin=False) + client_frame(text),
            b"\x81\xfe\x00\x05mask12345",
        ):
            code, client = self.closed_by(frame)
            self.assertEqual(code, 1002, frame)
            self.assertEqual(client.heard("heartbeat_ack"), [])

    def test_bad_close(self) -> None:
        """
        A close frame that is itself against the rules ends the connection at once.
        """
        for payload in (b"\x03", b"\x03\xed", b"\x00\x00", b"\xff\xff", b"\x03\xe8\xff"):
            client = self.session("u1", "g1")
            client.send(client_frame(payload, CLOSE))
            self.assertTrue(client.kernel.closed, payload)

    def test_unknown_events(self) -> None:
        """
        Some unknown events are explained; too many of them close the connection with 4001.
        """
        client = self.session("u1", "g1")
        for number in range(MAX_UNKNOWN):
            client.say(f"dance.{number}")
        self.assertEqual(len(client.heard("error")), MAX_UNKNOWN)
        self.assertIsNone(client.close)
        client.say("dance")
        self.assertEqual(client.code, 4001)

    def test_bad_data_is_no_unknown_event(self) -> None:
        """
        Mistakes in known events are explained as often as they are made.
        """
        client = self.session("u1", "g1")
        for _ in range(MAX_UNKNOWN * 3):
            client.say("guild_subscribe")
        self.assertEqual(len(client.heard("error")), MAX_UNKNOWN * 3)
        self.assertIsNone(client.close)


class RoomTests(GatewayTestCase):
    """
    How much of everything a client may have.
    """

    terms = {  # noqa: RUF012 - read only
        "max_guilds": 3,
        "connections_per_user": 2,
        "messages_per_minute": 0,
    }

    def test_guilds(self) -> None:
        """
        One guild too many is an error, until another one is left.
        """
        client = self.connect()
        token = self.instance.token("u1", *(f"g{n}" for n in range(9)))
        client.say("identify", userId="u1", token=token, guildIds=["g1", "g2"])
        client.say("guild_subscribe", guildId="g3")
        client.say("guild_subscribe", guildId="g4")
        self.assertEqual(client.heard("guild_subscribed"), [{"guildId": "g3"}])
        [error] = client.heard("error")
        self.assertEqual((error["code"], error["guildId"]), ("too_many_guilds", "g4"))
        client.say("guild_unsubscribe", guildId="g1")
        client.say("guild_subscribe", guildId="g4")
        self.assertEqual(len(client.heard("guild_subscribed")), 2)

    def test_guilds_in_question(self) -> None:
        """
        Guilds that are still being asked about count: a slow authority is no way around it.
        """
        client = self.session("u1", "g1")
        self.instance.authority.holding = True
        for number in range(2, 9):
            client.say("guild_subscribe", guildId=f"g{number}")
        self.assertEqual(len(client.heard("error")), 5)
        self.assertEqual(len(self.instance.authority.asked), 3)

    def test_connections(self) -> None:
        """
        One connection too many of a user is closed with 4023, until another one leaves; other
        users do not notice.
        """
        first, _ = self.session("u1"), self.session("u1")
        self.assertEqual(self.identify(self.connect()).code, 4023)
        self.session("u2")
        first.hang_up()
        self.assertIsNone(self.identify(self.connect()).close)

    def test_connections_in_question(self) -> None:
        """
        A slow authority is no way around that either: of connections that identify at the same
        time no more than are allowed come in.
        """
        self.instance.authority.holding = True
        clients = [self.identify(self.connect()) for _ in range(5)]
        for _ in range(5):
            self.instance.authority.answer()
        self.loop.settle()
        self.assertEqual([client.code for client in clients], [None, None, 4023, 4023, 4023])

    def identify(self, client: Client) -> Client:
        """
        Have C{client} identify as the same user as all others.
        """
        client.say("identify", userId="u1", token=self.instance.token("u1"), guildIds=[])
        return client

    def test_early(self) -> None:
        """
        What a client says while its C{identify} is being answered is served after it, in
        order; but only so much of it.
        """
        self.instance.authority.holding = True
        client, other = self.identify(self.connect()), self.identify(self.connect())
        client.send(HEARTBEAT * MAX_EARLY)
        client.say("dance")
        other.send(HEARTBEAT * (MAX_EARLY + 1))
        self.assertEqual(other.code, 4008)
        self.instance.authority.answer()
        self.loop.settle()
        names = [message["event"] for message in client.messages]
        self.assertEqual(names, ["ready", "error", "identified"] + ["heartbeat_ack"] * MAX_EARLY)

    def test_identify_list(self) -> None:
        """
        A list of guilds beyond all measure is an error, whatever the size of the message.
        """
        client = self.connect()
        data: dict[str, Any] = {"userId": "u1", "token": "t", "guildIds": [1] * 8000}
        client.send(client_frame(json.dumps({"event": "identify", "data": data}).encode()))
        self.assertEqual(client.code, 1009)
