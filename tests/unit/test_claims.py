"""
The guilds that a token claims are those that it gets.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import lists, none, sampled_from, sets
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.auth.claims import ClaimedGuilds
from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Denial, Grant, Principal

some_guild = sampled_from(["g1", "g2", "g3", "G1", "1"])


class ClaimedGuildsTests(SynchronousTestCase):
    """
    L{ClaimedGuilds}.
    """

    def ask(self, claimed: set[str] | None, asked: list[str]) -> Grant:
        """
        What a user whose token claims C{claimed} gets of C{asked}.
        """
        guilds = None if claimed is None else frozenset(claimed)
        return self.successResultOf(ClaimedGuilds().allowed(Principal("u1", 2e9, guilds), asked))

    def test_interface(self) -> None:
        """
        It is a guild authority.
        """
        self.assertTrue(verifyObject(IGuildAuthority, ClaimedGuilds()))

    def test_divides(self) -> None:
        """
        What was asked is divided into granted and forbidden, each in the order asked.
        """
        self.assertEqual(
            self.ask({"g1", "g3", "g5"}, ["g3", "g2", "g1", "g0"]),
            Grant(("g3", "g1"), (Denial("g2", "forbidden"), Denial("g0", "forbidden"))),
        )

    def test_no_claim(self) -> None:
        """
        A token without the claim, or with an empty one, grants nothing.
        """
        for claimed in (None, set[str]()):
            self.assertEqual(self.ask(claimed, ["g1"]), Grant((), (Denial("g1", "forbidden"),)))

    def test_nothing_asked(self) -> None:
        """
        Nothing is granted that was not asked for.
        """
        self.assertEqual(self.ask({"g1"}, []), Grant((), ()))

    @given(none() | sets(some_guild), lists(some_guild, unique=True))
    def test_never_widens(self, claimed: set[str] | None, asked: list[str]) -> None:
        """
        Every guild asked for is granted or denied, exactly one of the two, and none is granted
        that the token does not claim.
        """
        grant = self.ask(claimed, asked)
        denied = [denial.guild_id for denial in grant.denied]
        self.assertEqual(sorted([*grant.granted, *denied]), sorted(asked))
        self.assertLessEqual(set(grant.granted), claimed or set())
        self.assertTrue(set(denied).isdisjoint(claimed or ()))
