"""
Tests for L{gatewayd.envelope}: who an event is for.
"""

from __future__ import annotations

from typing import Any, Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.errors import BadEnvelope
from gatewayd.model import Audience
from tests.strategies import few_ids, given_ids, json_values
from tests.unit.test_envelope import decode

GUILDS = ("guildId", "guild_id", "guildIds", "guild_ids")
USERS = ("userId", "user_id", "userIds", "user_ids")
EXCLUDED = ("excludeUserIds", "exclude_user_ids")
RECIPIENTS = ("recipientIds", "recipient_ids")
ABOUT_A_USER = (
    *("guild_member.add", "guild_member.remove", "guild_member.update"),
    *("guild.create", "user.update", "presence.update", "voice.server.update"),
)
OTHERS = ("message.create", "typing.start", "channel.update", "voice.state.update", "poll.open")


def spelt(fields: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """
    Objects in which at least one of C{fields} is given.
    """
    every = {field: few_ids if field.endswith(("Ids", "ids")) else given_ids for field in fields}
    return st.fixed_dictionaries({}, optional=every).filter(bool)


def ids_in(fields: dict[str, Any], of: tuple[str, ...]) -> set[str]:
    """
    All ids that an envelope, or data, gives in the fields called C{of}.
    """
    given = [fields[field] for field in of if field in fields]
    return {str(one) for ids in given for one in (ids if isinstance(ids, list) else [ids])}


def audience_of(name: str, data: Any = None, **fields: Any) -> Audience:
    """
    The audience of an event with these fields in its envelope.
    """
    return decode({**fields, "data": {} if data is None else data}, name).audience


class Case(SynchronousTestCase):
    """
    Compares audiences.
    """

    def same(
        self,
        audience: Audience,
        guilds: Iterable[str] = (),
        users: Iterable[str] = (),
        also: Iterable[str] = (),
        excluded: Iterable[str] = (),
    ) -> None:
        """
        Fail unless C{audience} holds just these, each once.
        """
        expected = (guilds, users, also, excluded)
        held = (audience.guilds, audience.users, audience.also, audience.excluded)
        self.assertEqual(list(map(sorted, held)), [sorted(set(ids)) for ids in expected])


class NamedTests(Case):
    """
    The envelope names the audience.
    """

    @given(spelt(GUILDS))
    def test_guilds(self, fields: dict[str, Any]) -> None:
        """
        Guilds in any spelling are the audience, each once, integers as their decimals.
        """
        self.same(audience_of("message.create", **fields), guilds=ids_in(fields, GUILDS))

    @given(spelt(USERS))
    def test_users(self, fields: dict[str, Any]) -> None:
        """
        Users in any spelling are the audience, each once.
        """
        self.same(audience_of("message.create", **fields), users=ids_in(fields, USERS))

    @given(spelt(GUILDS), spelt(USERS))
    def test_users_of_guilds(self, guilds: dict[str, Any], users: dict[str, Any]) -> None:
        """
        Guilds and users together are both in the audience, which then means users of a guild.
        """
        audience = audience_of("message.create", **guilds, **users)
        self.same(audience, guilds=ids_in(guilds, GUILDS), users=ids_in(users, USERS))
        guild, user = audience.guilds[0], audience.users[0]
        self.assertTrue(audience.reaches(user, {guild}))
        self.assertFalse(audience.reaches(user, set()))
        self.assertFalse(audience.reaches("another " + user, {guild}))

    @given(spelt(GUILDS), spelt(EXCLUDED))
    def test_excluded(self, guilds: dict[str, Any], excluded: dict[str, Any]) -> None:
        """
        Excluded users in either spelling are left out.
        """
        audience = audience_of("message.create", **guilds, **excluded)
        left_out = ids_in(excluded, EXCLUDED)
        self.same(audience, guilds=ids_in(guilds, GUILDS), excluded=left_out)
        for user in left_out:
            self.assertFalse(audience.reaches(user, {*audience.guilds}))

    def test_order(self) -> None:
        """
        What is named keeps the order in which it was.
        """
        audience = audience_of("x.y", guildIds=["c", "a", "c", "b"], userIds=["z", 1, "1", "y"])
        self.assertEqual(audience, Audience(guilds=("c", "a", "b"), users=("z", "1", "y")))

    def test_null(self) -> None:
        """
        A null is the same as nothing.
        """
        nothing = dict.fromkeys((*GUILDS, *USERS, *EXCLUDED))
        self.same(audience_of("x.y", **{**nothing, "guildId": "g1"}), guilds=["g1"])
        self.same(audience_of("x.y", {"guildId": "g2"}, **nothing), guilds=["g2"])

    def test_empty(self) -> None:
        """
        An empty list is not the same as nothing: an event for no users of a guild is never
        shown to all of the guild.
        """
        empty: tuple[dict[str, Any], ...] = (
            {"guildId": "g1", "userIds": []},
            {"guildIds": [], "userId": "u1"},
            {"guild_ids": []},
            {"user_ids": []},
        )
        for fields in empty:
            self.assertRaises(BadEnvelope, audience_of, "x.y", {"guildId": "g2"}, **fields)
        self.same(audience_of("x.y", guildId="g1", excludeUserIds=[]), guilds=["g1"])

    @given(st.dictionaries(st.sampled_from((*GUILDS, *USERS, *RECIPIENTS, "id")), json_values))
    def test_data_is_not_asked(self, data: dict[str, Any]) -> None:
        """
        Where the envelope names an audience, data says nothing about it, whatever it holds.
        """
        for name in (*OTHERS, "guild.update", "guild.delete"):
            self.same(audience_of(name, data, guildId="g1"), guilds=["g1"])
        for name in OTHERS:
            self.same(audience_of(name, data, userId="u1"), users=["u1"])

    @given(st.dictionaries(st.sampled_from((*GUILDS, *RECIPIENTS, "id")), json_values))
    def test_data_is_asked_for_a_user_only(self, data: dict[str, Any]) -> None:
        """
        Where the envelope names an audience and the event bears on a user, only that user is
        read from data.
        """
        for name in ("presence.update", "user.update", "voice.server.update"):
            named = {"guildIds": ["g1"], "userIds": ["u1"]}
            audience = audience_of(name, {**data, "userId": "u2"}, **named)
            self.same(audience, guilds=["g1"], users=["u1"], also=["u2"])


class FromDataTests(Case):
    """
    The envelope names no audience, so data does.
    """

    @given(spelt(GUILDS), spelt((*RECIPIENTS, "userId", "user_id")), st.sampled_from(OTHERS))
    def test_guilds(self, guilds: dict[str, Any], users: dict[str, Any], name: str) -> None:
        """
        Guilds in data come first: then its users do not narrow them.
        """
        self.same(audience_of(name, guilds | users), guilds=ids_in(guilds, GUILDS))

    @given(spelt(RECIPIENTS), spelt(("userId", "user_id")), st.sampled_from(OTHERS))
    def test_recipients(self, recipients: dict[str, Any], users: dict[str, Any], name: str) -> None:
        """
        Without a guild, its recipients are the audience, before its user.
        """
        expected = ids_in(recipients, RECIPIENTS)
        self.same(audience_of(name, recipients | users), users=expected)
        self.same(audience_of(name, recipients), users=expected)

    @given(spelt(("userId", "user_id")), st.sampled_from(OTHERS))
    def test_user(self, users: dict[str, Any], name: str) -> None:
        """
        Without recipients, its user is the audience.
        """
        self.same(audience_of(name, users), users=ids_in(users, ("userId", "user_id")))

    @given(given_ids)
    def test_id_of_a_guild(self, guild: str | int) -> None:
        """
        In the data of guild events, C{id} is a guild's.
        """
        for name in ("guild.create", "guild.update", "guild.delete", "guild.anything"):
            self.same(audience_of(name, {"id": guild}), guilds=[str(guild)])

    def test_id_of_anything_else(self) -> None:
        """
        In the data of all other events, C{id} is no guild's.
        """
        for name in (*OTHERS, "guild", "guilds.update", "guild_member.add", "user.update"):
            self.assertRaises(BadEnvelope, audience_of, name, {"id": "g1"})
            self.same(audience_of(name, {"id": "m1", "guildId": "g1"}), guilds=["g1"])

    def test_excluded(self) -> None:
        """
        Excluding alone names no audience, so data still does.
        """
        audience = audience_of("typing.start", {"guildId": "g1"}, excludeUserIds=["u1"])
        self.same(audience, guilds=["g1"], excluded=["u1"])
        self.assertRaises(BadEnvelope, audience_of, "typing.start", excludeUserIds=["u1"])

    def test_null(self) -> None:
        """
        A null in data is the same as nothing: a direct message may well have a null guild.
        """
        data = {"guildId": None, "guild_ids": None, "recipientIds": ["u1", 2]}
        self.same(audience_of("message.create", data), users=["u1", "2"])

    def test_empty(self) -> None:
        """
        Empty lists in data are for nobody, and not for whoever is named after them.
        """
        for data in ({"recipientIds": [], "userId": "u1"}, {"guildIds": [], "userId": "u1"}):
            self.assertRaises(BadEnvelope, audience_of, "message.create", data)

    def test_not_deeper(self) -> None:
        """
        Only the fields of data itself count, not those of objects in it.
        """
        data = {"message": {"guildId": "g1"}, "user": {"id": "u1"}, "author": {"userId": "u1"}}
        for name in OTHERS:
            self.assertRaises(BadEnvelope, audience_of, name, data)

    @given(json_values.filter(lambda value: not isinstance(value, dict)))
    def test_not_an_object(self, data: Any) -> None:
        """
        Data that is no object names nobody.
        """
        for name in ("message.create", "guild.update", "presence.update"):
            self.assertRaises(BadEnvelope, decode, {"data": data}, name)
            self.same(decode({"guildId": "g1", "data": data}, name).audience, guilds=["g1"])

    def test_wrong_types(self) -> None:
        """
        What should be an id in data and is not is refused where it is needed.
        """
        for field in ("guildId", "guild_ids", "recipientIds", "user_id"):
            for bad in (True, False, 1.5, {}, {"id": "g1"}, [None], [["g1"]], ""):
                self.assertRaises(BadEnvelope, audience_of, "message.create", {field: bad})


class AboutAUserTests(Case):
    """
    Events that bear on a member or a user reach that user as well.
    """

    @given(spelt(("userId", "user_id")), st.sampled_from(ABOUT_A_USER))
    def test_user(self, users: dict[str, Any], name: str) -> None:
        """
        The user named in data is reached beside the guild, wherever that is named.
        """
        also = ids_in(users, ("userId", "user_id"))
        self.same(audience_of(name, users, guildId="g1"), guilds=["g1"], also=also)
        self.same(audience_of(name, users | {"guildId": "g1"}), guilds=["g1"], also=also)
        self.same(audience_of(name, users, userIds=["u1"]), users=["u1"], also=also)

    @given(given_ids, st.sampled_from(ABOUT_A_USER))
    def test_user_object(self, user: str | int, name: str) -> None:
        """
        The user may be an object with an id as well.
        """
        data = {"user": {"id": user, "name": "Ann"}}
        self.same(audience_of(name, data, guildId="g1"), guilds=["g1"], also=[str(user)])
        self.same(audience_of(name, data), also=[str(user)])
        self.assertTrue(audience_of(name, data).reaches(str(user), set()))

    def test_user_id_before_user_object(self) -> None:
        """
        Where data has both, C{userId} is the user.
        """
        for user, also in (("u1", "u1"), (None, "u2")):
            data = {"userId": user, "user": {"id": "u2"}}
            audience = audience_of("presence.update", data, guildId="g1")
            self.same(audience, guilds=["g1"], also=[also])

    def test_user_is_no_object(self) -> None:
        """
        A C{user} of some other kind is the publisher's own and names nobody.
        """
        for user in ("u1", 5, None, [], [{"id": "u1"}], {}, {"id": None}, {"name": "Ann"}):
            audience = audience_of("presence.update", {"user": user}, guildId="g1")
            self.same(audience, guilds=["g1"])

    def test_excluded(self) -> None:
        """
        Whom the envelope excludes is not reached, even if the event is about them.
        """
        named = {"guildId": "g1", "excludeUserIds": ["u1"]}
        audience = audience_of("presence.update", {"userId": "u1"}, **named)
        self.same(audience, guilds=["g1"], also=["u1"], excluded=["u1"])
        self.assertFalse(audience.reaches("u1", {"g1"}))

    @given(st.sampled_from((*OTHERS, "guild.update", "guild.delete", "message.update")))
    def test_others(self, name: str) -> None:
        """
        All other events do not reach the user in their data for that alone.
        """
        data = {"userId": "u1", "user": {"id": "u2"}}
        self.same(audience_of(name, data, guildId="g1"), guilds=["g1"])
        self.same(audience_of(name, {**data, "guildId": "g1"}), guilds=["g1"])
