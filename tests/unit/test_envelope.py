"""
Tests for L{gatewayd.envelope}: the name of an event, its facts, and its data.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import envelope
from gatewayd.model import Event
from tests.strategies import names, objects, written

PLATFORM = (
    *("message.create", "message.update", "message.delete", "typing.start", "presence.update"),
    *("user.update", "guild.create", "guild.update", "guild.delete", "channel.create"),
    *("channel.update", "channel.delete", "guild_member.add", "guild_member.remove"),
    *("voice.state.update", "voice.server.update"),
)


def decode(body: bytes | dict[str, Any], routing_key: str = "", **options: Any) -> Event:
    """
    The event in C{body}.
    """
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return envelope.decode(text, routing_key=routing_key, uid="uid", now=7.5, **options)


class EventTests(SynchronousTestCase):
    """
    The parts of an event beside its audience.
    """

    def test_platform(self) -> None:
        """
        Every event of the platform is taken.
        """
        for name in PLATFORM:
            body = {"event": name, "guildId": "g1", "data": {"userId": "u1"}}
            self.assertEqual(decode(body).name, name)

    @given(names)
    def test_any_name(self, name: str) -> None:
        """
        The set of names is data, not code: one that nobody has heard of is taken too.
        """
        self.assertEqual(decode({"event": name, "guildId": "g1"}).name, name)

    @given(names)
    def test_name_from_the_routing_key(self, name: str) -> None:
        """
        Where the body gives no name, the routing key is it.
        """
        for body in ({}, {"event": None}, {"event": ""}):
            self.assertEqual(decode({**body, "guildId": "g1"}, routing_key=name).name, name)

    def test_body_before_routing_key(self) -> None:
        """
        The name in the body counts, whatever the routing key is.
        """
        event = decode({"event": "poll.open", "guildId": "g1"}, routing_key="poll.close")
        self.assertEqual(event.name, "poll.open")

    def test_effects_of_the_routing_key(self) -> None:
        """
        A name from the routing key has all the effects of one in the body.
        """
        body = {"data": {"guildId": "g1", "userId": "u1"}}
        event = decode(body, "guild_member.remove")
        self.assertEqual(event, decode({"event": "guild_member.remove", **body}))
        self.assertIsNotNone(event.membership)

    def test_facts(self) -> None:
        """
        The uid and the time are those given, and only a name listed as ephemeral is.
        """
        body = {"event": "typing.start", "guildId": "g1"}
        event = decode(body)
        self.assertEqual((event.uid, event.published, event.ephemeral), ("uid", 7.5, False))
        self.assertTrue(decode(body, ephemeral=frozenset({"typing.start"})).ephemeral)
        self.assertFalse(decode(body, ephemeral=frozenset({"typing"})).ephemeral)

    def test_unknown_fields(self) -> None:
        """
        What is not ours in an envelope is passed over.
        """
        body = {"event": "poll.open", "guildId": "g1", "trace": {"guildId": "g2"}, "userid": 5}
        self.assertEqual(decode(body), decode({"event": "poll.open", "guildId": "g1"}))

    @given(written(), written(objects))
    def test_data_byte_for_byte(self, data: bytes, other: bytes) -> None:
        """
        Any JSON value is data, and it stays the bytes that it was, wherever it stands.
        """
        for body in (
            b'{"event":"poll.open","guildId":"g1","data":%s}' % data,
            b' {"data" : %s\n, "guildId": "g1", "other": %s, "event": "poll.open"} '
            % (data, other),
        ):
            self.assertEqual(decode(body).data, data)

    def test_data_is_not_interpreted(self) -> None:
        """
        What a parser would change stays: numbers, escapes, order, repeated keys, spaces.
        """
        for data in (
            *(b"1.0", b"1E+2", b"-0", b"9" * 5000, b"1e999", b'"\\u0041\\/"', b'{"b":1,"a":2}'),
            *(b'{"a":1,"a":2}', b"[ 1 ,\n2 ]", '"\u00e9\U0001f600"'.encode(), b"null", b'""'),
        ):
            self.assertEqual(decode(b'{"guildId":"g1","data":%s}' % data, "poll.open").data, data)

    def test_no_data(self) -> None:
        """
        An event without data has an empty object for it.
        """
        self.assertEqual(decode({"event": "poll.open", "guildId": "g1"}).data, b"{}")
