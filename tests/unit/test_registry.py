"""
An event is for those whom its audience reaches, each once, and for nobody else.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

from attrs import define
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import none, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import interest
from gatewayd.interest import Interest
from gatewayd.model import Audience, Event
from gatewayd.registry import Registry
from tests.log_strategies import GUILDS, audiences, guilds, subscribed, users

NAMES = ("message.create", "message.delete", "typing.start")
INTERESTS = [interest.of(["message.*"]), interest.of(["!message.create"]), interest.of([])]


@define(eq=False)
class Member:
    """
    A session, as the registry knows it.
    """

    user: str
    interest: Interest | None = None


def event(audience: Audience, name: str = "message.create") -> Event:
    """
    An event for this audience.
    """
    return Event(name, audience, b"{}", "uid")


class RegistryMachine(RuleBasedStateMachine):
    """
    A registry beside a dictionary of its members' guilds.
    """

    members: Bundle[Member] = Bundle("members")

    def __init__(self) -> None:
        super().__init__()
        self.registry: Registry[Member] = Registry()
        self.model: dict[Member, set[str]] = {}

    @rule(target=members, user=users, interest=none() | sampled_from(INTERESTS), of=subscribed)
    def enter(self, user: str, interest: Interest | None, of: frozenset[str]) -> Member:
        """
        A session goes live.
        """
        member = Member(user, interest)
        self.registry.enter(member, of)
        self.model[member] = set(of)
        return member

    @rule(member=consumes(members))
    def leave(self, member: Member) -> None:
        """
        It ends, and says so twice.
        """
        self.registry.leave(member)
        self.registry.leave(member)
        del self.model[member]

    @rule(member=members, guild=guilds)
    def join(self, member: Member, guild: str) -> None:
        """
        It subscribes to a guild, which it may have done before.
        """
        self.registry.join(member, guild)
        self.model[member].add(guild)

    @rule(member=members, guild=guilds)
    def part(self, member: Member, guild: str) -> None:
        """
        It unsubscribes, also from what it was not subscribed to.
        """
        self.registry.part(member, guild)
        self.model[member].discard(guild)

    @rule(user=users, guild=guilds)
    def stay_outside(self, user: str, guild: str) -> None:
        """
        One that has not entered does not get in by another way.
        """
        member = Member(user)
        self.registry.join(member, guild)
        self.registry.part(member, guild)
        self.registry.leave(member)

    @rule(audience=audiences, name=sampled_from(NAMES))
    def publish(self, audience: Audience, name: str) -> None:
        """
        An event goes to those it reaches and who want it.
        """
        expected = [
            member
            for member, of in self.model.items()
            if audience.reaches(member.user, of)
            and (member.interest is None or member.interest.wants(name))
        ]
        assert Counter(self.registry.audience(event(audience, name))) == Counter(expected)

    @invariant()
    def agrees(self) -> None:
        """
        What it tells of itself is what the dictionary has, and nothing is kept of who left.
        """
        registry, heard = self.registry, Counter[str]()
        for of in self.model.values():
            heard.update(of)
        assert len(registry) == len(self.model)
        assert registry.members() == [*self.model]
        assert registry.guilds == len(heard)
        assert registry.subscriptions == heard.total()
        assert dict(registry.busiest(len(GUILDS))) == heard
        for guild in GUILDS:
            assert {*registry.hearing(guild)} == {m for m, of in self.model.items() if guild in of}
            assert len(registry.hearing(guild)) == heard[guild]
        assert {*registry._by_user} == {member.user for member in self.model}
        assert registry._choosy == sum(member.interest is not None for member in self.model)


class RegistryTests(SynchronousTestCase):
    """
    Who hears what.
    """

    def test_agrees_with_a_dictionary(self) -> None:
        """
        After any comings and goings, an event of any audience reaches exactly the members that
        L{Audience.reaches} says it does, each once.
        """
        run_state_machine_as_test(
            RegistryMachine, settings=settings(deadline=None, max_examples=60)
        )

    def test_knows_every_form_of_audience(self) -> None:
        """
        Of guilds, users, also and excluded, each may be there or not.
        """
        registry: Registry[Member] = Registry()
        members: dict[Member, frozenset[str]] = {}
        for user in ("u1", "u2", "u3"):
            for of in ((), ("g1",), ("g1", "g2")):
                member = Member(user)
                members[member] = frozenset(of)
                registry.enter(member, of)
        for parts in product(
            [(), ("g1",), ("g2", "g1"), ("g9",)],
            [(), ("u1",), ("u1", "u2", "u9")],
            [(), ("u2",), ("u3", "u1")],
            [(), ("u1",), ("u3", "u9")],
        ):
            audience = Audience(*parts)
            expected = [one for one, of in members.items() if audience.reaches(one.user, of)]
            self.assertEqual(Counter(registry.audience(event(audience))), Counter(expected))

    def test_tells_two_sessions_of_a_user_apart(self) -> None:
        """
        Members are compared by identity, whatever they hold.
        """
        registry: Registry[Member] = Registry()
        one, other = Member("u1"), Member("u1")
        registry.enter(one, ["g1"])
        registry.enter(other, ["g1"])
        self.assertEqual(registry.audience(event(Audience(("g1",)))), [one, other])
        registry.leave(one)
        self.assertEqual(registry.audience(event(Audience(users=("u1",)))), [other])

    def test_an_audience_may_leave_while_it_is_told(self) -> None:
        """
        Members who leave, because they are told and are too slow, do not disturb the list of
        those who are still to be told.
        """
        registry: Registry[Member] = Registry()
        for _ in range(3):
            registry.enter(Member("u1"), ["g1"])
        told = 0
        for member in registry.audience(event(Audience(("g1",)))):
            registry.leave(member)
            told += 1
        self.assertEqual((told, len(registry)), (3, 0))

    def test_names_the_busiest_guilds(self) -> None:
        """
        They come with their sizes, the largest first, in order of name where they are alike,
        and no more than were asked for.
        """
        registry: Registry[Member] = Registry()
        for of in (["g1", "g2", "g3"], ["g3", "g2"], ["g3"]):
            registry.enter(Member("u1"), of)
        registry.enter(Member("u2"), ["g0"])
        self.assertEqual(registry.busiest(3), [("g3", 3), ("g2", 2), ("g0", 1)])
