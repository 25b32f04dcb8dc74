"""
Tests for L{gatewayd.envelope}: which events let sessions into guilds, or out of them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.errors import BadEnvelope
from gatewayd.model import Change, Membership
from tests.strategies import given_ids
from tests.unit.test_envelope import PLATFORM, decode

MOVING = ("guild_member.add", "guild_member.remove", "guild.create", "guild.delete")


def membership_of(name: str, data: Any, **fields: Any) -> Membership | None:
    """
    What an event with these fields does to live sessions.
    """
    return decode({**fields, "data": data}, name).membership


class MembershipTests(SynchronousTestCase):
    """
    The effect of an event on live sessions.
    """

    @given(given_ids, given_ids)
    def test_member(self, guild: str | int, user: str | int) -> None:
        """
        A member added joins the guild and one removed leaves it, however they are named.
        """
        for name, change in (
            ("guild_member.add", Change.JOIN),
            ("guild_member.remove", Change.LEAVE),
        ):
            expected = Membership(change, (str(guild),), (str(user),))
            for data, fields in (
                ({"guildId": guild, "userId": user}, {}),
                ({"guild_id": guild, "user_id": user}, {}),
                ({"guildId": guild, "user": {"id": user}}, {}),
                ({"userId": user}, {"guildId": guild}),
                ({"user": {"id": user}}, {"guild_ids": [guild]}),
                ({}, {"guildId": guild, "userId": user}),
                ({"guildId": guild}, {"userIds": [user]}),
            ):
                self.assertEqual(membership_of(name, data, **fields), expected, (data, fields))

    @given(given_ids, given_ids)
    def test_guild_created(self, guild: str | int, user: str | int) -> None:
        """
        Whom a new guild is announced to, or who is named in it, joins it.
        """
        expected = Membership(Change.JOIN, (str(guild),), (str(user),))
        for data, fields in (
            ({"id": guild}, {"userId": user}),
            ({"guildId": guild}, {"user_ids": [user]}),
            ({"id": guild, "userId": user}, {}),
            ({"id": guild, "user": {"id": user}}, {}),
            ({"userId": user}, {"guildId": guild}),
        ):
            found = membership_of("guild.create", data, **fields)
            self.assertEqual(found, expected, (data, fields))

    @given(given_ids)
    def test_guild_deleted(self, guild: str | int) -> None:
        """
        A deleted guild is left by everyone, whomever the event is for.
        """
        expected = Membership(Change.DELETE, (str(guild),))
        for data, fields in (
            ({"id": guild}, {}),
            ({"guildId": guild}, {}),
            ({}, {"guildId": guild}),
            ({"id": guild}, {"userIds": ["u1", "u2"]}),
            ({"id": guild, "userId": "u1"}, {}),
        ):
            found = membership_of("guild.delete", data, **fields)
            self.assertEqual(found, expected, (data, fields))

    def test_several(self) -> None:
        """
        Several guilds and users are all meant.
        """
        fields = {"guildIds": ["g1", "g2"], "userIds": ["u1", "u2"]}
        for name, change in (
            ("guild_member.add", Change.JOIN),
            ("guild_member.remove", Change.LEAVE),
            ("guild.create", Change.JOIN),
        ):
            expected = Membership(change, ("g1", "g2"), ("u1", "u2"))
            self.assertEqual(membership_of(name, {}, **fields), expected)

    def test_envelope_first(self) -> None:
        """
        The guild in the envelope counts before one in data.
        """
        found = membership_of(
            "guild_member.remove", {"guildId": "g2", "userId": "u1"}, guildId="g1"
        )
        self.assertEqual(found, Membership(Change.LEAVE, ("g1",), ("u1",)))

    def test_told_to_others(self) -> None:
        """
        It is the user in data that moves, not those who are told.
        """
        data = {"guildId": "g1", "userId": "u1"}
        found = membership_of("guild_member.remove", data, userIds=["owner", "u1"])
        self.assertEqual(found, Membership(Change.LEAVE, ("g1",), ("u1",)))

    def test_excluded(self) -> None:
        """
        Who is not to hear of a removal is removed all the same.
        """
        data = {"guildId": "g1", "userId": "u1"}
        found = membership_of("guild_member.remove", data, excludeUserIds=["u1"])
        self.assertEqual(found, Membership(Change.LEAVE, ("g1",), ("u1",)))

    def test_hears_of_it(self) -> None:
        """
        A removal reaches the guild and the user removed.
        """
        data = {"guildId": "g1", "userId": "u1"}
        audience = decode({"data": data}, "guild_member.remove").audience
        self.assertTrue(audience.reaches("u1", set()))
        self.assertTrue(audience.reaches("u2", {"g1"}))
        self.assertFalse(audience.reaches("u2", {"g2"}))

    def test_nobody_named(self) -> None:
        """
        Where no user is named, or no guild, the event is delivered and moves nobody.
        """
        for name in ("guild_member.add", "guild_member.remove", "guild.create"):
            self.assertIsNone(membership_of(name, {}, guildId="g1"))
        for name in MOVING:
            self.assertIsNone(membership_of(name, {"userId": "u1"}, userId="u1"))

    def test_no_guess(self) -> None:
        """
        A guild or user that cannot be read is refused, not passed over: the event would seem
        to have removed somebody.
        """
        for data in ({"guildId": {}, "userId": "u1"}, {"guildId": "g1", "userId": [None]}):
            self.assertRaises(BadEnvelope, membership_of, "guild_member.remove", data)
        self.assertRaises(BadEnvelope, membership_of, "guild.delete", {"id": 1.5}, userId="u1")

    @given(st.sampled_from([*sorted({*PLATFORM} - {*MOVING}), "guild_member.update", "guild.add"]))
    def test_others(self, name: str) -> None:
        """
        No other event moves anybody.
        """
        data = {"id": "g1", "guildId": "g1", "userId": "u1", "user": {"id": "u1"}}
        self.assertIsNone(membership_of(name, data))
        self.assertIsNone(membership_of(name, data, guildId="g1", userId="u1"))
