"""
A session from C{ready} on, as a client sees it.
"""

from __future__ import annotations

import json
from typing import Any

from gatewayd.history import History
from gatewayd.model import Change, Membership
from tests.stand_ins import CLOSE, EPOCH, PING, PONG, TEXT, client_frame, event
from tests.wire.ws_case import Client, GatewayTestCase


class FlowTests(GatewayTestCase):
    """
    From C{ready} to C{identified}.
    """

    terms = {"max_guilds": 3}  # noqa: RUF012 - read only

    def test_ready(self) -> None:
        """
        C{ready} comes at once, first, alone, and with everything in it.
        """
        client = self.connect()
        self.assertEqual(
            client.messages,
            [
                {
                    "event": "ready",
                    "data": {
                        "sessionId": "session-1",
                        "heartbeatInterval": 30000,
                        "identifyTimeout": 10000,
                        "instance": "gateway-1",
                        "version": "1.2.3",
                        "protocol": 1,
                    },
                }
            ],
        )

    def test_identified(self) -> None:
        """
        C{identify} is answered with the session, the user, the guilds that are granted, in the
        order asked, and how far the log has come; no guild is denied and nothing resumed.
        """
        head = self.hear(event("m", "g9"))
        client = self.session("u1", "g3", "g1", "g2")
        self.assertEqual(
            client.messages[1:],
            [
                {
                    "event": "identified",
                    "data": {
                        "sessionId": client.heard("ready")[0]["sessionId"],
                        "userId": "u1",
                        "guildIds": ["g3", "g1", "g2"],
                        "denied": [],
                        "lastEventId": head,
                    },
                }
            ],
        )

    def identified(self, token: str, *guilds: Any, **data: Any) -> dict[str, Any]:
        """
        The answer to an C{identify}.
        """
        client = self.connect()
        client.say("identify", token=token, guildIds=list(guilds), **data)
        [identified] = client.heard("identified")
        return dict(identified)

    def test_denied(self) -> None:
        """
        What is not granted is denied, each guild with its reason: what is over the limit too,
        whatever the authority would say of it, and what was revoked since the token was issued.
        """
        token = self.instance.token("u1", "g1", "g2", "g4", "g5")
        self.instance.authority.denied["g3"] = "unavailable"
        self.instance.moves("guild_member.remove", Membership(Change.LEAVE, ("g2",), ("u1",)))
        told = self.identified(token, "g2", "g1", "g3", "g4", "g5", userId="u1")
        self.assertEqual(told["guildIds"], ["g1"])
        self.assertEqual(
            sorted((one["guildId"], one["reason"]) for one in told["denied"]),
            [
                ("g2", "revoked"),
                ("g3", "unavailable"),
                ("g4", "too_many_guilds"),
                ("g5", "too_many_guilds"),
            ],
        )
        told = self.identified(token, "x", "g1", "y", userId="u1")
        self.assertEqual(told["guildIds"], ["g1"])
        self.assertEqual(
            told["denied"],
            [{"guildId": "x", "reason": "forbidden"}, {"guildId": "y", "reason": "forbidden"}],
        )

    def test_numbers(self) -> None:
        """
        A number where an id is expected is its digits; what is asked for twice is granted once.
        """
        told = self.identified(self.instance.token("12", "7"), 7, "7", 7, userId=12)
        self.assertEqual((told["userId"], told["guildIds"]), ("12", ["7"]))

    def test_second_try(self) -> None:
        """
        An C{identify} that cannot be read is explained, and may be sent again.
        """
        client = self.connect()
        for data in (
            {"token": "t"},
            {"userId": "", "guildIds": []},
            {"userId": "u", "guildIds": 5},
        ):
            client.say("identify", **data)
        for error in client.heard("error"):
            self.assertEqual((error["code"], error["event"]), ("invalid_data", "identify"))
            self.assertTrue(error["message"])
        self.assertEqual(len(client.heard("error")), 3)
        client.say("identify", userId="u1", token=self.instance.token("u1"), guildIds=[])
        self.assertEqual(len(client.heard("identified")), 1)

    def test_unknown_fields(self) -> None:
        """
        Fields that nobody knows are ignored, in C{data} and beside it.
        """
        client = self.connect()
        data = {"userId": "u1", "token": self.instance.token("u1"), "guildIds": [], "x": [None]}
        client.send(client_frame(json.dumps({"x": 1, "event": "identify", "data": data}).encode()))
        self.assertEqual(len(client.heard("identified")), 1)


class MessageTests(GatewayTestCase):
    """
    What a live session says and hears.
    """

    def test_events(self) -> None:
        """
        An event reaches every connection of those it is for, as one frame, and nobody else.
        """
        phone, desktop = self.session("u1", "g1"), self.session("u1", "g1", "g2")
        other, waiting = self.session("u2", "g2"), self.connect()
        place = self.hear(event("message.create", "g1", data={"text": "é"}))
        expected = {"event": "message.create", "id": place, "guildId": "g1", "data": {"text": "é"}}
        for client in (phone, desktop):
            self.assertEqual(client.messages[-1], expected)
            self.assertEqual(client.frames[-1][:2], (True, TEXT))
        for client in (other, waiting):
            self.assertEqual(client.ids, [])

    def test_many_at_once(self) -> None:
        """
        Events that are heard together arrive in their order, and so does what the gateway
        itself says meanwhile.
        """
        client = self.session("u1", "g1", "g2")
        places = [self.instance.hear(event("m", f"g{1 + n % 2}", size=n * 5)) for n in range(200)]
        client.say("heartbeat")
        self.assertEqual(client.ids, places)
        self.assertEqual(client.messages[-1], {"event": "heartbeat_ack", "data": {}})

    def test_subscribe(self) -> None:
        """
        C{guild_subscribe} is answered and lets events flow; C{guild_unsubscribe} is answered
        and ends that.
        """
        client = self.connect()
        token = self.instance.token("u1", "g1", "g2")
        client.say("identify", userId="u1", token=token, guildIds=["g1"])
        self.hear(event("m", "g2"))
        client.say("guild_subscribe", guildId="g2")
        self.assertEqual(client.heard("guild_subscribed"), [{"guildId": "g2"}])
        place = self.hear(event("m", "g2"))
        client.say("guild_unsubscribe", guildId="g2")
        self.assertEqual(client.heard("guild_unsubscribed"), [{"guildId": "g2"}])
        self.hear(event("m", "g2"))
        self.assertEqual(client.ids, [place])

    def test_subscribe_again(self) -> None:
        """
        To subscribe or unsubscribe twice is answered the same way, and harms nothing.
        """
        client = self.session("u1", "g1")
        client.say("guild_subscribe", guildId="g1")
        client.say("guild_unsubscribe", guildId="g9")
        self.assertEqual(client.heard("guild_subscribed"), [{"guildId": "g1"}])
        self.assertEqual(client.heard("guild_unsubscribed"), [{"guildId": "g9"}])
        self.hear(event("m", "g1"))
        self.assertEqual(len(client.ids), 1)

    def test_subscribe_denied(self) -> None:
        """
        A guild that is not granted is an error that names it, and the connection stays.
        """
        client = self.session("u1", "g1")
        self.instance.authority.denied["g3"] = "unavailable"
        for guild in ("g2", "g3"):
            client.say("guild_subscribe", guildId=guild)
        self.assertEqual(
            [(one["code"], one["event"], one["guildId"]) for one in client.heard("error")],
            [("forbidden", "guild_subscribe", "g2"), ("unavailable", "guild_subscribe", "g3")],
        )
        self.hear(event("m", "g2", "g3"))
        self.assertEqual(client.ids, [])

    def test_late_answer(self) -> None:
        """
        The authority's answer to what the client has taken back since changes nothing.
        """
        client = self.session("u1", "g1", "g2")
        client.say("guild_unsubscribe", guildId="g2")
        self.instance.authority.holding = True
        client.say("guild_subscribe", guildId="g2")
        client.say("guild_unsubscribe", guildId="g2")
        self.instance.authority.answer()
        self.hear(event("m", "g2"))
        self.assertEqual((client.heard("guild_subscribed"), client.ids), ([], []))

    def test_membership(self) -> None:
        """
        Who is added to a guild is told so before the event and hears it; who is removed hears
        the event, is told so, and hears nothing more.
        """
        client = self.session("u1", "g1")
        self.instance.moves("guild_member.add", Membership(Change.JOIN, ("g2",), ("u1",)))
        self.instance.hear(event("m", "g2"))
        self.instance.moves("guild_member.remove", Membership(Change.LEAVE, ("g2",), ("u1",)))
        self.instance.moves("guild.delete", Membership(Change.DELETE, ("g1",)))
        self.hear(event("m", "g1", "g2"))
        self.assertEqual(
            [message["event"] for message in client.messages[2:]],
            [
                *("guild_subscribed", "guild_member.add", "m"),
                *("guild_member.remove", "guild_unsubscribed"),
                *("guild.delete", "guild_unsubscribed"),
            ],
        )
        self.assertEqual(
            client.heard("guild_unsubscribed"),
            [
                {"guildId": "g2", "reason": "member_removed"},
                {"guildId": "g1", "reason": "guild_deleted"},
            ],
        )

    def test_unintelligible(self) -> None:
        """
        What is JSON and no command is explained, and the connection stays.
        """
        client = self.session("u1", "g1")
        for text, code, name in (
            (b'{"event":"dance","data":{}}', "unknown_event", "dance"),
            (b'{"event":"guild_subscribe","data":{}}', "invalid_data", "guild_subscribe"),
            (b'{"event":"guild_subscribe"}', "invalid_data", "guild_subscribe"),
            (b'{"event":5}', "invalid_data", None),
            (b"{}", "invalid_data", None),
        ):
            client.send(client_frame(text))
            error = client.heard("error")[-1]
            self.assertEqual((error["code"], error.get("event")), (code, name))
        self.hear(event("m", "g1"))
        self.assertEqual(len(client.ids), 1)

    def test_fragments(self) -> None:
        """
        A message in fragments is one message, whatever comes between them.
        """
        client = self.session("u1", "g1")
        text = '{"event":"heartbeat","data":{},"x":"é"}'.encode()
        pieces = [text[:3], text[3:-3], b"", text[-3:]]
        client.send(client_frame(pieces[0], TEXT, fin=False))
        client.send(client_frame(b"!", PING) + client_frame(pieces[1], 0, fin=False))
        client.send(client_frame(pieces[2], 0, fin=False) + client_frame(pieces[3], 0))
        self.assertEqual(len(client.heard("heartbeat_ack")), 1)
        self.assertIn((True, PONG, b"!"), client.frames)

    def test_in_one_packet(self) -> None:
        """
        Several messages in one packet are all heard, and one in several packets is one.
        """
        client = self.session("u1", "g1")
        frame = client_frame(b'{"event":"heartbeat","data":{}}')
        client.send(frame * 3)
        client.send(*(bytes((octet,)) for octet in frame))
        self.assertEqual(len(client.heard("heartbeat_ack")), 4)

    def test_leaves(self) -> None:
        """
        A close of the client's is answered with a close, and the connection ends at once.
        """
        for payload in (b"", b"\x03\xe8", b"\x03\xe9bye", b"\x0f\xa1"):
            client = self.session("u1", "g1")
            client.send(client_frame(payload, CLOSE))
            self.assertEqual(client.code, 1000)
            self.assertEqual(client.kernel.closed, "orderly")
        self.assertEqual(self.closes, {"1000": 4})


class HeartbeatTests(GatewayTestCase):
    """
    Heartbeats, both ways.
    """

    def test_heartbeats(self) -> None:
        """
        A heartbeat comes every interval, counted from when the client identified, and tells how
        far the log has come; who answers stays.
        """
        client = self.session("u1", "g1")
        heads = []
        for number in range(1, 4):
            heads.append(self.hear(event("m", "elsewhere")))
            self.loop.wait(29.5)
            self.assertEqual(len(client.heard("heartbeat")), number - 1)
            self.loop.wait(0.6)
            client.say("heartbeat_ack")
        told = [one["lastEventId"] for one in client.heard("heartbeat")]
        self.assertEqual(told, heads)
        self.assertIsNone(client.close)

    def test_unanswered(self) -> None:
        """
        Who does not answer one before the next is due is closed, whatever else it says.
        """
        dead, alive = self.session("u1", "g1"), self.session("u2", "g1")
        self.loop.wait(31)
        alive.say("heartbeat_ack")
        dead.say("heartbeat")
        self.loop.wait(30)
        self.assertEqual((dead.code, alive.close), (4009, None))
        self.assertEqual(len(dead.heard("heartbeat")), 1)

    def test_own_pace(self) -> None:
        """
        Each has its own beat, whenever the others came.
        """
        clients: list[Client] = []
        for _ in range(5):
            clients.append(self.session("u1"))
            self.loop.wait(5)
        self.loop.wait(6)
        self.assertEqual([len(one.heard("heartbeat")) for one in clients], [1, 0, 0, 0, 0])
        self.loop.wait(10)
        self.assertEqual([len(one.heard("heartbeat")) for one in clients], [1, 1, 1, 0, 0])

    def test_of_the_client(self) -> None:
        """
        A client's own heartbeat is answered at once, and does not count as an answer.
        """
        client = self.session("u1", "g1")
        client.say("heartbeat")
        self.assertEqual(client.heard("heartbeat_ack"), [{}])
        self.loop.wait(61)
        self.assertEqual(client.code, 4009)

    def test_unasked_answer(self) -> None:
        """
        An answer to no heartbeat is of no meaning, with or without C{data}.
        """
        client = self.session("u1", "g1")
        client.send(client_frame(b'{"event":"heartbeat_ack"}'))
        client.send(client_frame(b'{"event":"heartbeat_ack","data":null}'))
        self.assertEqual(len(client.messages), 2)


class TokenTests(GatewayTestCase):
    """
    Tokens that run out.
    """

    def test_expires(self) -> None:
        """
        A session is told once that its token will expire, and in how many milliseconds, and is
        closed when it has.
        """
        client = self.session("u1", "g1", lifetime=70)
        self.loop.wait(9)
        self.assertEqual(client.heard("token_expiring"), [])
        self.loop.wait(2)
        [told] = client.heard("token_expiring")
        self.assertTrue(59_800 <= told["expiresIn"] <= 60_000, told)
        self.keep_alive(client, 58)
        self.assertEqual(len(client.heard("token_expiring")), 1)
        self.assertIsNone(client.close)
        self.loop.wait(1.5)
        self.assertEqual(client.code, 4006)

    def keep_alive(self, client: Client, seconds: int) -> None:
        """
        Let time pass, and answer heartbeats.
        """
        for _ in range(seconds):
            self.loop.wait(1)
            client.say("heartbeat_ack")

    def test_short(self) -> None:
        """
        A token that lives for less than the warning is warned of at once.
        """
        client = self.session("u1", "g1", lifetime=20)
        self.loop.wait(0.2)
        [told] = client.heard("token_expiring")
        self.assertTrue(19_500 <= told["expiresIn"] <= 20_000)
        self.loop.wait(20)
        self.assertEqual(client.code, 4006)

    def test_renewed(self) -> None:
        """
        With a fresh token the session goes on until that one expires, which is told in time.
        """
        client = self.session("u1", "g1", lifetime=70)
        self.keep_alive(client, 20)
        client.say("authenticate", token=self.instance.token("u1", "g1", lifetime=100))
        self.assertEqual(
            client.heard("authenticated"), [{"expiresAt": round((EPOCH + 120) * 1000)}]
        )
        self.keep_alive(client, 55)
        self.assertEqual(len(client.heard("token_expiring")), 2)
        self.assertIsNone(client.close)
        self.keep_alive(client, 44)
        self.assertIsNone(client.close)
        self.loop.wait(2)
        self.assertEqual(client.code, 4006)

    def test_not_renewed(self) -> None:
        """
        A token that does not hold, or is somebody else's, is an error; the old one goes on.
        """
        client = self.session("u1", "g1", lifetime=70)
        for token in ("no such", self.instance.token("u2", "g1"), None, 5):
            client.say("authenticate", token=token)
        self.assertEqual(
            [(one["code"], one["event"]) for one in client.heard("error")],
            [("token_refused", "authenticate")] * 4,
        )
        self.assertEqual(client.heard("authenticated"), [])
        self.keep_alive(client, 69)
        self.loop.wait(2)
        self.assertEqual(client.code, 4006)

    def test_renewed_for_less(self) -> None:
        """
        A guild that the fresh token no longer grants is lost, and one that cannot be asked
        about is kept.
        """
        client = self.session("u1", "g1", "g2", "g3")
        self.instance.authority.denied["g3"] = "unavailable"
        client.say("authenticate", token=self.instance.token("u1", "g1"))
        self.assertEqual(
            client.heard("guild_unsubscribed"), [{"guildId": "g2", "reason": "revoked"}]
        )
        places = [self.hear(event("m", guild)) for guild in ("g1", "g2", "g3")]
        self.assertEqual(client.ids, [places[0], places[2]])


class ResumeTests(GatewayTestCase):
    """
    Clients that return.
    """

    def past(self) -> History:
        """
        A short one.
        """
        return History(window=600, max_events=10, max_bytes=1 << 24)

    def test_resumes(self) -> None:
        """
        Who returns with the id it had last gets what it missed, then what is new; and may do so
        with the head that a heartbeat told.
        """
        client = self.session("u1", "g1")
        first = self.hear(event("m", "g1"))
        client.hang_up()
        missed = [self.hear(event("m", "g1")) for _ in range(3)]
        client = self.session("u1", "g1", lastEventId=first)
        new = self.hear(event("m", "g1"))
        self.assertEqual(client.ids, [*missed, new])
        self.loop.wait(31)
        [told] = client.heard("heartbeat")
        client.hang_up()
        client = self.session("u1", "g1", lastEventId=told["lastEventId"])
        [identified] = client.heard("identified")
        self.assertEqual(identified["resume"], {"recovered": True, "replayed": 0, "resync": []})

    def test_too_late(self) -> None:
        """
        Who returns when the log no longer reaches back that far is told so, with the guilds in
        which it missed something, and gets what there is.
        """
        first = self.hear(event("m", "g1"))
        self.hear(event("m", "g2"))
        kept = [self.hear(event("m", "g1")) for _ in range(10)]
        client = self.session("u1", "g1", "g2", "g3", lastEventId=first)
        [identified] = client.heard("identified")
        self.assertEqual(
            identified["resume"], {"recovered": False, "replayed": 10, "resync": ["g2"]}
        )
        self.assertEqual(client.ids, kept)

    def returns(self, last: object) -> Client:
        """
        A client that has identified with C{lastEventId}, answered or not.
        """
        client = self.connect()
        token = self.instance.token("u1", "g1", "g2")
        client.say("identify", userId="u1", token=token, guildIds=["g1", "g2"], lastEventId=last)
        return client

    def test_strange_ids(self) -> None:
        """
        An id that is not of this log recovers nothing, and every guild is named.
        """
        self.hear(event("m", "g1"))
        for strange in ("x", "", "9999999999999-0", "1-0", 5, "-", "1" * 64):
            client = self.returns(strange)
            self.loop.wait(4)
            [identified] = client.heard("identified")
            self.assertFalse(identified["resume"]["recovered"], strange)
            self.assertEqual(sorted(identified["resume"]["resync"]), ["g1", "g2"])

    def test_ahead(self) -> None:
        """
        Who has an event from another instance, that this one is about to hear, is served when
        it has.
        """
        self.hear(event("m", "g1"))
        ahead = self.instance.position()
        client = self.returns(str(ahead))
        self.loop.wait(1)
        self.assertEqual(client.heard("identified"), [])
        self.hear(event("m", "g1"), position=ahead)
        new = self.hear(event("m", "g1"))
        [identified] = client.heard("identified")
        self.assertTrue(identified["resume"]["recovered"])
        self.assertEqual(client.ids, [new])

    def test_authorised_afresh(self) -> None:
        """
        Nothing is replayed of a guild that the client may no longer see.
        """
        client = self.session("u1", "g1", "g2")
        first = self.hear(event("m", "g1"))
        client.hang_up()
        self.hear(event("m", "g2"))
        self.instance.authority.denied["g2"] = "forbidden"
        place = self.hear(event("m", "g1"))
        client = self.session("u1", "g1", "g2", lastEventId=first)
        self.assertEqual(client.ids, [place])
