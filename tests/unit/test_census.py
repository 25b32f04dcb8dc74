"""
Every connection is counted from its handshake to its end, and found by its user meanwhile.
"""

from __future__ import annotations

from itertools import count

from attrs import define, field
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.census import Census
from tests.log_strategies import USERS, users

_numbers = count(1)


@define(eq=False)
class Resident:
    """
    A connection.
    """

    user: str = ""
    session_id: str = field(factory=lambda: f"s{next(_numbers)}")


class CensusMachine(RuleBasedStateMachine):
    """
    A census beside two lists.
    """

    strangers: Bundle[Resident] = Bundle("strangers")
    identified: Bundle[Resident] = Bundle("identified")

    def __init__(self) -> None:
        super().__init__()
        self.census: Census[Resident] = Census()
        self.open: list[Resident] = []
        self.known: list[Resident] = []

    @rule(target=strangers)
    def opened(self) -> Resident:
        """
        Somebody connects.
        """
        one = Resident()
        self.census.opened(one)
        self.open.append(one)
        return one

    @rule(target=identified, one=consumes(strangers), user=users)
    def identify(self, one: Resident, user: str) -> Resident:
        """
        It says who it is.
        """
        one.user = user
        self.census.identified_as(one)
        self.known.append(one)
        return one

    @rule(one=consumes(strangers))
    def stranger_gone(self, one: Resident) -> None:
        """
        It goes without saying who it was.
        """
        self.census.gone(one)
        self.census.gone(one)
        self.open.remove(one)

    @rule(one=consumes(identified))
    def gone(self, one: Resident) -> None:
        """
        It goes, and that is said twice.
        """
        self.census.gone(one)
        self.census.gone(one)
        self.open.remove(one)
        self.known.remove(one)

    @invariant()
    def agrees(self) -> None:
        """
        Everybody is there, once, and nobody else.
        """
        census = self.census
        assert [*census] == self.open
        assert len(census) == len(self.open)
        assert census.identified == len(self.known)
        assert census.users == len({one.user for one in self.known})
        for user in USERS:
            expected = [one for one in self.known if one.user == user]
            assert census.of_user(user) == expected
            assert census.count_of(user) == len(expected)


class CensusTests(SynchronousTestCase):
    """
    Who is connected.
    """

    def test_agrees_with_lists(self) -> None:
        """
        After any comings and goings it knows all connections in the order in which they were
        opened, and those of each user in the order in which they were identified.
        """
        run_state_machine_as_test(CensusMachine, settings=settings(deadline=None, max_examples=60))

    def test_can_be_changed_while_it_is_read(self) -> None:
        """
        Connections that are closed one after the other go meanwhile.
        """
        census: Census[Resident] = Census()
        for _ in range(3):
            one = Resident("u1")
            census.opened(one)
            census.identified_as(one)
        for one in census:
            census.gone(one)
        self.assertEqual((len(census), census.users), (0, 0))
