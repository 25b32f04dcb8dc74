"""
A token from before a removal does not let its user back in; one from after it does.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, integers, lists, none, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.model import Change, Membership, Principal
from gatewayd.revocations import Revocations
from tests.log_strategies import GUILDS, USERS, some_guilds, some_users

G1 = ("g1",)
U1 = ("u1",)


def issued(at: float | None, user: str = "u1") -> Principal:
    """
    Whom a token speaks for that was issued then.
    """
    return Principal(user=user, expires=1e9, issued=at)


changes = tuples(sampled_from(Change), some_guilds, some_users, booleans())


class RevocationsTests(SynchronousTestCase):
    """
    What ended while tokens that claim it are about.
    """

    def setUp(self) -> None:
        """
        Nothing has ended.
        """
        self.revocations = Revocations()

    def record(self, change: Change, ms: int, guild: str = "g1", user: str = "u1") -> None:
        """
        Something happens at C{ms}.
        """
        users = () if change is Change.DELETE else (user,)
        self.revocations.record(Membership(change, (guild,), users), ms)

    def barred(self, at: float | None = 0, guild: str = "g1", user: str = "u1") -> bool:
        """
        Whether a token that was issued then is of no use for C{guild}.
        """
        return self.revocations.bars(issued(at, user), guild)

    def test_bars_nobody_at_first(self) -> None:
        """
        Where nothing has ended, every token holds.
        """
        self.assertFalse(self.barred(0))
        self.assertFalse(self.barred(None))
        self.assertEqual(len(self.revocations), 0)

    def test_a_removal_bars_that_user_from_that_guild(self) -> None:
        """
        It bars no other user, and from no other guild.
        """
        self.record(Change.LEAVE, 5_000)
        self.assertTrue(self.barred(4))
        self.assertFalse(self.barred(4, user="u2"))
        self.assertFalse(self.barred(4, guild="g2"))

    def test_a_deletion_bars_everyone(self) -> None:
        """
        Of a guild that was deleted, nobody is a member.
        """
        self.record(Change.DELETE, 5_000)
        self.assertTrue(self.barred(4))
        self.assertTrue(self.barred(4, user="u2"))
        self.assertFalse(self.barred(4, guild="g2"))

    def test_a_later_token_holds(self) -> None:
        """
        Tokens are told apart by when they were issued, in whole seconds: one of the second of
        the removal may be from before it, and is refused; one of the next second holds.
        """
        for change in (Change.LEAVE, Change.DELETE):
            self.revocations = Revocations()
            self.record(change, 5_400)
            self.assertTrue(self.barred(4))
            self.assertTrue(self.barred(5))
            self.assertFalse(self.barred(5.5))
            self.assertFalse(self.barred(6))
            self.record(change, 7_000)
            self.assertTrue(self.barred(7))
            self.assertFalse(self.barred(7.001))

    def test_a_token_that_does_not_say_is_from_before(self) -> None:
        """
        Without an C{iat}, no token can prove that it is later.
        """
        self.record(Change.LEAVE, 5_000)
        self.assertTrue(self.barred(None))

    def test_joining_ends_it(self) -> None:
        """
        Who has joined again since, removed or deleted, comes in with the old token; until they
        are removed once more.
        """
        for end in (Change.LEAVE, Change.DELETE):
            self.record(end, 5_000)
            self.record(Change.JOIN, 6_000)
            self.assertFalse(self.barred(4))
            self.record(Change.LEAVE, 7_000)
            self.assertTrue(self.barred(4))

    def test_joining_is_for_one(self) -> None:
        """
        One who joins a guild that was deleted and made again lets in no other.
        """
        self.record(Change.DELETE, 5_000)
        self.record(Change.JOIN, 6_000, user="u2")
        self.assertTrue(self.barred(4))
        self.assertFalse(self.barred(4, user="u2"))

    def test_the_order_within_a_millisecond_counts(self) -> None:
        """
        What follows in the log counts as later, also when the clock does not show it.
        """
        self.record(Change.DELETE, 5_000)
        self.record(Change.JOIN, 5_000)
        self.assertFalse(self.barred(4))
        self.record(Change.DELETE, 5_000)
        self.assertTrue(self.barred(4))

    def test_keeps_no_more_than_its_limit(self) -> None:
        """
        Past it the oldest removals go, deletions likewise; one that is renewed is new.
        """
        self.revocations = Revocations(limit=3)
        for change in (Change.LEAVE, Change.DELETE):
            for guild in ("g1", "g2", "g3", "g1", "g4"):
                self.record(change, 5_000, guild)
        self.assertEqual(len(self.revocations), 6)
        self.assertEqual([self.barred(0, guild) for guild in GUILDS], [True, False, True, True])

    def test_joins_are_bounded_and_err_to_refusing(self) -> None:
        """
        Those who joined a deleted guild are kept no longer than the limit either; who is
        forgotten needs a new token.
        """
        self.revocations = Revocations(limit=2)
        self.record(Change.DELETE, 5_000)
        for user in ("u1", "u2", "u3"):
            self.record(Change.JOIN, 6_000, user=user)
        self.assertEqual([self.barred(4, user=user) for user in USERS], [True, False, False, True])
        self.assertFalse(self.barred(6))

    @given(lists(changes, max_size=20), none() | integers(0, 12))
    def test_agrees_with_the_whole_story(
        self, story: list[tuple[Change, tuple[str, ...], tuple[str, ...], bool]], at: int | None
    ) -> None:
        """
        After any story, a token is barred if something ended its user's membership that was not
        before it, and nothing has let them in since.
        """
        revocations, ms = Revocations(), 1_000
        ended: dict[tuple[str, str], int] = {}
        for change, guilds, users, later in story:
            ms += 500 * later
            revocations.record(Membership(change, guilds, users), ms)
            for guild in guilds:
                for user in USERS if change is Change.DELETE else users:
                    if change is Change.JOIN:
                        ended.pop((guild, user), None)
                    else:
                        ended[guild, user] = ms
        for guild in GUILDS:
            for user in USERS:
                end = ended.get((guild, user))
                barred = end is not None and (at is None or at * 1000 <= end)
                self.assertEqual(revocations.bars(issued(at, user), guild), barred)
