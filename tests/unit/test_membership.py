"""
Who joins a guild hears the event that says so, and who leaves hears it as the last.
"""

from __future__ import annotations

from attrs import define, field
from hypothesis import given
from hypothesis.strategies import lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.census import Census
from gatewayd.interest import Interest
from gatewayd.membership import Memberships
from gatewayd.model import Audience, Change, Event, Membership, Principal
from gatewayd.registry import Registry
from gatewayd.revocations import Revocations
from gatewayd.session import LostReason
from tests.log_strategies import GUILDS, USERS, some_guilds, some_users
from tests.stand_ins import ScriptedAuthority


@define(eq=False)
class Session:
    """
    A session that does what it is told at once.

    @ivar told: what it was told, with what it then was subscribed to.
    """

    registry: Registry[Session]
    session_id: str
    user: str
    interest: Interest | None = None
    guilds: set[str] = field(factory=set)
    told: list[tuple[str, str]] = field(factory=list)

    def added(self, guild: str) -> None:
        """
        See L{gatewayd.membership.Movable}.
        """
        self.told.append(("added", guild))
        self.guilds.add(guild)
        self.registry.join(self, guild)

    def removed(self, guild: str, reason: LostReason) -> None:
        """
        See L{gatewayd.membership.Movable}.
        """
        if guild in self.guilds:
            self.told.append((reason, guild))
            self.guilds.discard(guild)
            self.registry.part(self, guild)


class MembershipsTests(SynchronousTestCase):
    """
    An instance with sessions.
    """

    def setUp(self) -> None:
        """
        Nobody is there.
        """
        self.census: Census[Session] = Census()
        self.registry: Registry[Session] = Registry()
        self.revocations = Revocations()
        self.authority = ScriptedAuthority()
        self.memberships = Memberships(self.census, self.registry, self.revocations, self.authority)
        self.behind: list[Session] = []

    def session(self, user: str, *guilds: str, live: bool = True) -> Session:
        """
        A session of C{user}; one that is not live is being replayed to.
        """
        session = Session(self.registry, f"s{len(self.census)}", user, guilds={*guilds})
        self.census.opened(session)
        self.census.identified_as(session)
        if live:
            self.registry.enter(session, guilds)
        else:
            self.behind.append(session)
        return session

    def happens(self, membership: Membership, ms: int = 5_000) -> list[Session]:
        """
        A membership event comes.

        @return: those who hear it.
        """
        self.memberships.before(membership, ms)
        audience = Audience(guilds=membership.guilds, also=membership.users)
        heard = self.registry.audience(Event("e", audience, b"{}", "uid"))
        self.memberships.after(membership, self.behind)
        return heard

    def test_who_joins_hears_it(self) -> None:
        """
        All sessions of the user are subscribed before the event is delivered.
        """
        one, two, other = self.session("u1"), self.session("u1", "g2"), self.session("u2")
        heard = self.happens(Membership(Change.JOIN, ("g1",), ("u1",)))
        self.assertEqual(heard, [one, two])
        self.assertEqual(one.guilds, {"g1"})
        self.assertEqual(two.guilds, {"g1", "g2"})
        self.assertEqual(other.told, [])

    def test_who_leaves_hears_it_as_the_last(self) -> None:
        """
        All sessions of the user lose the guild after the event was delivered, and no others.
        """
        one, other = self.session("u1", "g1", "g2"), self.session("u2", "g1")
        heard = self.happens(Membership(Change.LEAVE, ("g1",), ("u1",)))
        self.assertEqual({*heard}, {one, other})
        self.assertEqual(one.told, [("member_removed", "g1")])
        self.assertEqual(one.guilds, {"g2"})
        self.assertEqual(other.told, [])
        self.assertEqual({*self.registry.hearing("g1")}, {other})

    def test_a_deleted_guild_is_lost_to_all(self) -> None:
        """
        All who are subscribed hear of it and lose the guild.
        """
        sessions = [self.session(user, "g1", "g2") for user in USERS]
        heard = self.happens(Membership(Change.DELETE, ("g1",)))
        self.assertEqual(heard, sessions)
        for session in sessions:
            self.assertEqual(session.told, [("guild_deleted", "g1")])
        self.assertEqual(self.registry.guilds, 1)

    def test_those_behind_are_moved_as_well(self) -> None:
        """
        A session that is being replayed to is not in the registry, and gains and loses guilds
        all the same.
        """
        session = self.session("u1", "g1", "g2", live=False)
        self.happens(Membership(Change.DELETE, ("g1",)))
        self.happens(Membership(Change.LEAVE, ("g2",), ("u1",)))
        self.happens(Membership(Change.JOIN, ("g3",), ("u1",)))
        self.assertEqual(session.guilds, {"g3"})
        self.assertEqual(
            session.told, [("guild_deleted", "g1"), ("member_removed", "g2"), ("added", "g3")]
        )

    def test_takes_note_for_tokens(self) -> None:
        """
        From the event on, a token from before it does not let its user in, whether or not they
        are connected here.
        """
        principal = Principal(user="u1", expires=1e9, issued=1)
        self.happens(Membership(Change.LEAVE, ("g1",), ("u1",)))
        self.assertTrue(self.revocations.bars(principal, "g1"))
        self.happens(Membership(Change.JOIN, ("g1",), ("u1",)))
        self.assertFalse(self.revocations.bars(principal, "g1"))

    def test_the_authority_forgets_what_it_knew(self) -> None:
        """
        An answer that an authority remembers, of each user and guild concerned, or of everyone
        in a guild that is deleted, does not outlive the event.
        """
        for change in (Change.JOIN, Change.LEAVE):
            self.memberships.before(Membership(change, ("g1", "g2"), ("u1", "u2")), 5_000)
            pairs = [("u1", "g1"), ("u2", "g1"), ("u1", "g2"), ("u2", "g2")]
            self.assertEqual(self.authority.forgotten, pairs)
            self.authority.forgotten.clear()
        self.memberships.before(Membership(Change.DELETE, ("g1", "g2")), 5_000)
        self.assertEqual(self.authority.forgotten, [(None, "g1"), (None, "g2")])

    @given(
        lists(
            tuples(sampled_from(Change), some_guilds, some_users),
            max_size=12,
        )
    )
    def test_agrees_with_the_memberships_themselves(
        self, story: list[tuple[Change, tuple[str, ...], tuple[str, ...]]]
    ) -> None:
        """
        After any story, the sessions of a user, live or behind, are subscribed to the guilds
        that the user is a member of.
        """
        self.setUp()
        sessions = [self.session(user, live=live) for user in USERS for live in (True, False)]
        members: set[tuple[str, str]] = set()
        for change, guilds, users in story:
            self.happens(Membership(change, guilds, users))
            named = {(guild, user) for guild in guilds for user in users}
            if change is Change.JOIN:
                members |= named
            elif change is Change.LEAVE:
                members -= named
            else:
                members = {pair for pair in members if pair[0] not in guilds}
        for session in sessions:
            expected = {guild for guild in GUILDS if (guild, session.user) in members}
            self.assertEqual(session.guilds, expected)
        for guild in GUILDS:
            heard = {session.user for session in self.registry.hearing(guild)}
            self.assertEqual(heard, {user for user in USERS if (guild, user) in members})
