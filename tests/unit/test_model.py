"""
Tests for L{gatewayd.model}: places in the log, and who an event is for.
"""

from __future__ import annotations

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.model import ORIGIN, Audience, Change, Membership, Position
from tests.strategies import audiences, positions

subscriptions = st.frozensets(st.sampled_from(["1", "2", "3"]))
users = st.sampled_from(["1", "2", "3", "4"])


class PositionTests(SynchronousTestCase):
    """
    Event ids.
    """

    def test_text(self) -> None:
        """
        An event id is two decimal numbers with a dash between them.
        """
        self.assertEqual(str(Position(1732307000123, 4)), "1732307000123-4")
        self.assertEqual(Position.parse("1732307000123-4"), Position(1732307000123, 4))

    @given(positions)
    def test_comes_back(self, position: Position) -> None:
        """
        What a client was told it can give back.
        """
        self.assertEqual(Position.parse(str(position)), position)

    def test_junk(self) -> None:
        """
        What is no event id is told apart from one, and nothing else happens.
        """
        for text in (
            *("", "-", "1", "1-", "-1", "--", "1--1", "1-1-1", "-1-1", "+1-1", "1_0-1"),
            *(" 1-1", "1-1\n", "1 -1", "1.0-1", "0x1-1", "a-b", "1-\u0661", "\u00b2-1", "\uff11-1"),
            *("1" * 21 + "-1", "1-" + "1" * 21, "9" * 5000 + "-0", "\ud800-1"),
        ):
            self.assertIsNone(Position.parse(text), repr(text))

    @given(
        st.text()
        | st.text(alphabet="0123456789-\u0660 ", max_size=24)
        | st.from_regex(r"[0-9]{1,21}-[0-9]{1,21}\n?", fullmatch=True)
    )
    def test_parses_ids_only(self, text: str) -> None:
        """
        A text is a position if and only if it is two numbers of at most 20 digits.
        """
        well_formed = re.fullmatch(r"[0-9]{1,20}-[0-9]{1,20}", text) is not None
        self.assertEqual(Position.parse(text) is not None, well_formed)

    def test_order(self) -> None:
        """
        Positions are in the order of the log, which is not that of their texts.
        """
        texts = ["0-1", "9-0", "9-2", "9-10", "10-0", "100-0"]
        parsed = [Position.parse(text) for text in texts]
        self.assertEqual(sorted(filter(None, reversed(parsed))), parsed)

    @given(positions)
    def test_origin(self, position: Position) -> None:
        """
        Nothing is before the origin.
        """
        self.assertTrue(position >= ORIGIN)


class AudienceTests(SynchronousTestCase):
    """
    Who is reached.
    """

    def check(self, audience: Audience, reached: dict[str, str], missed: dict[str, str]) -> None:
        """
        Fail unless each user, subscribed to the guilds named after it, is reached or missed.
        """
        for sessions, expected in ((reached, True), (missed, False)):
            for user, guilds in sessions.items():
                reaches = audience.reaches(user, frozenset(guilds.split()))
                self.assertEqual(reaches, expected, (audience, user, guilds))

    def test_guild(self) -> None:
        """
        An event for a guild reaches its subscribers and nobody else.
        """
        self.check(
            Audience(guilds=("g1",)),
            reached={"ann": "g1", "bob": "g0 g1 g2"},
            missed={"eve": "g2", "joe": "", "g1": ""},
        )

    def test_guilds(self) -> None:
        """
        An event for several guilds reaches the subscribers of any of them.
        """
        self.check(
            Audience(guilds=("g1", "g2")),
            reached={"ann": "g1", "bob": "g2", "cat": "g1 g2"},
            missed={"eve": "g3", "joe": ""},
        )

    def test_users(self) -> None:
        """
        An event for users reaches them whatever they are subscribed to.
        """
        self.check(
            Audience(users=("ann", "bob")),
            reached={"ann": "", "bob": "g1"},
            missed={"eve": "g1", "joe": ""},
        )

    def test_users_of_a_guild(self) -> None:
        """
        An event for users and a guild reaches those users where they are subscribed to it.
        """
        self.check(
            Audience(guilds=("g1", "g2"), users=("ann", "bob")),
            reached={"ann": "g1", "bob": "g2 g3"},
            missed={"eve": "g1", "joe": ""},
        )
        self.check(Audience(guilds=("g1",), users=("ann",)), {}, missed={"ann": "g2"})

    def test_whom_it_is_about(self) -> None:
        """
        Whom an event is about is reached beside all others, subscribed or not.
        """
        self.check(
            Audience(guilds=("g1",), also=("ann",)),
            reached={"ann": "", "bob": "g1"},
            missed={"eve": "g2"},
        )
        self.check(
            Audience(guilds=("g1",), users=("bob",), also=("ann",)),
            reached={"ann": "g2", "bob": "g1"},
            missed={"eve": "g1"},
        )
        self.check(Audience(also=("ann",)), reached={"ann": ""}, missed={"bob": "g1"})

    def test_excluded(self) -> None:
        """
        Whom an event leaves out it does not reach, by whatever way it could.
        """
        for audience in (
            Audience(guilds=("g1",), excluded=("ann",)),
            Audience(users=("ann", "bob"), excluded=("ann",)),
            Audience(guilds=("g1",), users=("ann", "bob"), excluded=("ann",)),
            Audience(guilds=("g1",), also=("ann",), excluded=("ann",)),
        ):
            self.check(audience, reached={"bob": "g1"}, missed={"ann": "g1"})

    def test_nobody(self) -> None:
        """
        An audience that names nobody reaches nobody.
        """
        self.check(Audience(), {}, missed={"ann": "g1", "bob": ""})
        self.check(Audience(excluded=("ann",)), {}, missed={"ann": "g1", "bob": "g1"})

    @given(audiences, users, subscriptions)
    def test_takes_a_set(self, audience: Audience, user: str, guilds: frozenset[str]) -> None:
        """
        A live session's set of guilds does as well as a frozen one.
        """
        self.assertEqual(audience.reaches(user, set(guilds)), audience.reaches(user, guilds))

    @given(audiences, users, subscriptions, subscriptions)
    def test_more_guilds_lose_nothing(
        self, audience: Audience, user: str, guilds: frozenset[str], more: frozenset[str]
    ) -> None:
        """
        Whoever is reached is still reached when subscribed to more.
        """
        if audience.reaches(user, guilds):
            self.assertTrue(audience.reaches(user, guilds | more))

    @given(audiences, users, subscriptions)
    def test_reached_for_a_reason(
        self, audience: Audience, user: str, guilds: frozenset[str]
    ) -> None:
        """
        Whoever is reached is named, or subscribed to a guild of an event without named users.
        """
        if audience.reaches(user, guilds):
            self.assertNotIn(user, audience.excluded)
            named = user in (*audience.users, *audience.also)
            self.assertTrue(named or (not audience.users and guilds & {*audience.guilds}))

    @given(audiences)
    def test_travels(self, audience: Audience) -> None:
        """
        Another instance reads the audience that this one wrote.
        """
        text = msgspec.json.encode(audience)
        self.assertEqual(msgspec.json.decode(text, type=Audience), audience)


class MembershipTests(SynchronousTestCase):
    """
    Who comes and goes.
    """

    @given(st.builds(Membership, st.sampled_from(Change)))
    def test_travels(self, membership: Membership) -> None:
        """
        Another instance reads the change that this one wrote.
        """
        text = msgspec.json.encode(membership)
        self.assertEqual(msgspec.json.decode(text, type=Membership), membership)
