"""
Tests for L{gatewayd.envelope}: what can never become an event is refused, and nothing else
happens.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import envelope, frames
from gatewayd.errors import BadEnvelope
from gatewayd.model import Entry, Position
from tests.strategies import (
    TOO_DEEP,
    damaged,
    few_ids,
    given_ids,
    json_values,
    names,
    nested,
    written,
)
from tests.unit.test_envelope import PLATFORM, decode

AUDIENCE_FIELDS = (
    *("guildId", "guild_id", "guildIds", "guild_ids", "userId", "user_id", "userIds"),
    *("user_ids", "excludeUserIds", "exclude_user_ids", "recipientIds", "recipient_ids"),
    *("id", "user"),
)


@st.composite
def lookalikes(draw: st.DrawFn) -> dict[str, Any]:
    """
    Objects with our fields' names, and in them what should be, or anything.
    """
    fields = draw(st.lists(st.sampled_from(AUDIENCE_FIELDS), max_size=3))
    return {
        field: draw((few_ids if field.endswith("ds") else given_ids) | json_values)
        for field in fields
    }


@st.composite
def envelopes(draw: st.DrawFn) -> dict[str, Any]:
    """
    Envelopes, nearly.
    """
    envelope = draw(lookalikes())
    if draw(st.booleans()):
        envelope["event"] = draw(st.sampled_from(PLATFORM) | names | json_values)
    if draw(st.booleans()):
        envelope["data"] = draw(lookalikes() | json_values)
    return envelope


class PoisonTests(SynchronousTestCase):
    """
    What can never become an event is refused with a reason, and with nothing else.
    """

    def refused(self, body: bytes | dict[str, Any], why: str, **options: Any) -> None:
        """
        Fail unless C{body} is refused, with C{why} in the reason.
        """
        error = self.assertRaises(BadEnvelope, decode, body, **options)
        self.assertIn(why, error.reason)

    def test_not_json(self) -> None:
        """
        A body that is not JSON is refused, also where only data is not.
        """
        for body in (b"", b" ", b"hello", b"{", b'{"event"}', b"{'a':1}", b'{"a":1}}', b"\x00"):
            self.refused(body, "not JSON")
        for data in (b"NaN", b"01", b'"\\q"', b'"\n"', b"[1,]", b'{"a":1,}', b"tru", b'"\\ud800"'):
            self.refused(b'{"event":"x.y","guildId":"g1","data":%s}' % data, "not JSON")
        self.refused(b'\xef\xbb\xbf{"event":"x.y","guildId":"g1"}', "not JSON")

    def test_not_utf8(self) -> None:
        """
        Bytes that are not UTF-8 are refused wherever they stand: a client that was sent them
        would have to close with 1007.
        """
        for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"):
            self.refused(b'{"event":"x.y","guildId":"g1","data":{"a":["%s"]}}' % bad, "UTF-8")
            self.refused(b'{"event":"x%s","guildId":"g1"}' % bad, "UTF-8")
            self.refused(b'{"event":"x.y","guildId":"g1","%s":1}' % bad, "UTF-8")
        self.refused('{"event":"x.y","guildId":"g1"}'.encode("utf-16"), "UTF-8")

    def test_too_deep(self) -> None:
        """
        A body nested more deeply than we can follow is refused wherever that is.
        """
        for body in (
            b'{"event":"x.y","guildId":"g1","data":%s}',
            b'{"event":"x.y","guildId":"g1","other":%s}',
            b'{"event":"user.update","data":{"userId":"u1","user":%s}}',
        ):
            self.refused(body % TOO_DEEP, "too deeply")
        for body in (b"%s", b'{"event":%s}', b'{"event":"x.y","guildIds":[%s]}'):
            self.refused(body % TOO_DEEP, "does not fit")

    def test_as_deep_as_anybody_needs(self) -> None:
        """
        Data a hundred levels deep is taken.
        """
        data = nested(100)
        self.assertEqual(decode(b'{"guildId":"g1","data":%s}' % data, "x.y").data, data)

    def test_not_an_object(self) -> None:
        """
        JSON that is no object is refused.
        """
        for body in (b"null", b"true", b"5", b'"x"', b"[]", b'[{"event":"x.y","guildId":"g1"}]'):
            self.refused(body, "does not fit")

    def test_wrong_types(self) -> None:
        """
        A field of ours that is of another kind is refused with the field's name.
        """
        wrong: dict[str, tuple[Any, ...]] = {
            "event": (5, True, [], {}),
            "guildId": (True, 1.5, [], ["g1"], {}, ""),
            "guild_id": (False, {"id": "g1"}),
            "guildIds": ("g1", 5, {}, [None], [["g1"]], [1.5], [True], [""]),
            "guild_ids": ("g1",),
            "userId": (True, 1.5, ["u1"], {}, ""),
            "user_id": ({},),
            "userIds": ("u1", [{}], [False]),
            "user_ids": ("u1",),
            "excludeUserIds": ("u1", 5, [None], [""]),
            "exclude_user_ids": ("u1",),
        }
        for field, values in wrong.items():
            for value in values:
                body = {"event": "x.y", "guildId": "g1", field: value}
                self.refused(body, field)

    def test_no_name(self) -> None:
        """
        An event with a name nowhere is refused.
        """
        self.refused({"guildId": "g1"}, "no name")
        self.refused({"guildId": "g1", "event": ""}, "no name")

    def test_name_too_long(self) -> None:
        """
        A name has 128 characters at most, by whichever way it comes.
        """
        longest = "\u00e9" * 128
        self.assertEqual(decode({"guildId": "g1"}, longest).name, longest)
        self.refused({"guildId": "g1"}, "128", routing_key=longest + "a")
        self.refused({"guildId": "g1", "event": longest + "a"}, "128")

    def test_our_own_words(self) -> None:
        """
        Nobody can publish what would look like the gateway speaking.
        """
        for name in (
            *("ready", "identified", "heartbeat", "heartbeat_ack", "error", "reconnect"),
            *("guild_subscribed", "guild_unsubscribed", "token_expiring", "authenticated"),
        ):
            self.refused({"event": name, "guildId": "g1"}, name)
            self.refused({"guildId": "g1"}, name, routing_key=name)

    def test_body_too_long(self) -> None:
        """
        A body over the limit is refused; one of just that length is not.
        """
        body = b'{"event":"x.y","guildId":"g1"}'
        self.assertEqual(decode(body, max_bytes=len(body)).name, "x.y")
        self.refused(body, f"{len(body)} bytes", max_bytes=len(body) - 1)

    def test_id_too_long(self) -> None:
        """
        An id has 1 to 64 characters, as a string or in decimal, in the envelope or in data.
        """
        longest: tuple[str | int, ...] = ("\U0001f600" * 64, 10**64 - 1, -(10**63) + 1)
        for one in longest:
            for body in ({"guildId": one}, {"userIds": [one]}, {"data": {"guildId": one}}):
                audience = decode(body, "x.y").audience
                self.assertEqual((*audience.guilds, *audience.users), (str(one),))
        for bad, why in {"a" * 65: "64", "": ">= 1", 10**64: "64", -(10**63): "64"}.items():
            for field, value in (
                ("guildId", bad),
                ("userIds", ["u", bad]),
                ("excludeUserIds", [bad]),
            ):
                self.refused({field: value}, why, routing_key="x.y")
            self.refused({"data": {"userId": bad}}, "1 to 64", routing_key="x.y")
        for where in (b'{"guildId":%s}', b'{"data":{"guildId":%s}}', b'{"excludeUserIds":[%s]}'):
            self.refused(where % (b"9" * 5000), "out of range", routing_key="x.y")

    def test_too_many(self) -> None:
        """
        An audience of more guilds and users than anybody has is refused.
        """
        many = list(range(envelope.MAX_RECIPIENTS))
        self.assertEqual(len(decode({"userIds": many}, "x.y").audience.users), len(many))
        self.refused({"userIds": many, "guildId": "g1"}, "more than", routing_key="x.y")

    def test_tells_nothing_of_the_content(self) -> None:
        """
        A reason goes into headers and logs; what users wrote is not in it.
        """
        for body in (
            b'{"event":"x.y","data":{"content":"hunter2"}}',
            b'{"event":"x.y","guildId":{"a":"hunter2"}}',
            b'{"event":"x.y","guildIds":"hunter2"}',
            b'{"event":"x.y","data":{"guildId":["hunter2",1.5]}}',
            b'{"event":"x.y","data":{"content":"hunter2',
            b'{"event":"x.y","data":{"content":"hunter2\xff"}}',
            b'{"event":"x.y","data":{"guildId":"hunter2%s"}}' % (b"a" * 64),
        ):
            error = self.assertRaises(BadEnvelope, decode, body)
            self.assertNotIn("hunter2", error.reason)


class TotalityTests(SynchronousTestCase):
    """
    Whatever is published becomes a sound event or is refused with a reason.
    """

    def check(self, body: bytes, routing_key: str = "") -> None:
        """
        Fail unless C{body} is refused, or is an event that can be sent to clients.
        """
        try:
            event = decode(body, routing_key)
        except BadEnvelope as error:
            self.assertTrue(error.reason)
            return
        self.assertTrue(event.data == b"{}" or event.data in body)
        audience = event.audience
        self.assertTrue(audience.guilds or audience.users or audience.also)
        for named in (audience.guilds, audience.users, audience.also, audience.excluded):
            self.assertEqual(len(set(named)), len(named))
            self.assertTrue(all(0 < len(one) <= 64 for one in named))
        heard = json.loads(frames.event_payload(Entry(Position(1, 2), event)))
        self.assertEqual(heard["event"], event.name)
        self.assertTrue(0 < len(event.name) <= 128)
        self.assertEqual(heard["data"], json.loads(event.data))

    @given(st.binary(), names)
    @example(b"\xef\xbb\xbf{}", "x.y")
    @example(b"[" * 500_000, "x.y")
    def test_any_bytes(self, body: bytes, routing_key: str) -> None:
        """
        Any bytes.
        """
        self.check(body, routing_key)

    @given(written(), st.sampled_from(PLATFORM))
    def test_any_json(self, body: bytes, routing_key: str) -> None:
        """
        Any JSON.
        """
        self.check(body, routing_key)

    @given(written(envelopes()), st.sampled_from(PLATFORM))
    def test_anything_in_our_fields(self, body: bytes, routing_key: str) -> None:
        """
        Objects with our fields' names and anything in them.
        """
        self.check(body, routing_key)

    @given(damaged(written(envelopes())), st.sampled_from(PLATFORM))
    def test_damaged(self, body: bytes, routing_key: str) -> None:
        """
        Envelopes that something has happened to.
        """
        self.check(body, routing_key)
