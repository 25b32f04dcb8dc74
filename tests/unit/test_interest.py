"""
Tests for L{gatewayd.interest}: which names a session asked for.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import interest
from gatewayd.interest import Interest
from tests.strategies import strings

names = st.sampled_from(
    ["message.create", "message.delete", "messages.create", "message", "typing.start", "x", ""]
)
wanted = st.sampled_from(["message.create", "message.*", "message*", "typing.start", "*", "x"])
patterns = wanted | wanted.map("!{}".format) | strings.filter(bool)


class WantsTests(SynchronousTestCase):
    """
    Names and patterns.
    """

    def check(self, asked: list[str], yes: list[str], no: list[str]) -> None:
        """
        Fail unless a session that asked for these patterns wants the one names and not the
        others.
        """
        wants = Interest(frozenset(asked)).wants
        self.assertEqual([name for name in (*yes, *no) if wants(name)], yes)

    def test_name(self) -> None:
        """
        A name stands for itself and nothing else.
        """
        self.check(
            ["message.create"],
            yes=["message.create"],
            no=["message.created", "message", "message.", "Message.create", "xmessage.create", ""],
        )

    def test_prefix(self) -> None:
        """
        A prefix stands for all names that begin with it.
        """
        self.check(
            ["message.*"],
            yes=["message.create", "message.reaction.add", "message."],
            no=["message", "messages.create", "typing.start", "x.message.create"],
        )

    def test_everything(self) -> None:
        """
        A star alone is everything.
        """
        self.check(["*"], yes=["message.create", "x", ""], no=[])

    def test_several(self) -> None:
        """
        Several patterns stand for what any of them does.
        """
        self.check(
            ["message.*", "typing.start"],
            yes=["message.create", "typing.start"],
            no=["typing.stop", "guild.update"],
        )

    def test_left_out(self) -> None:
        """
        With nothing but exclusions, all the rest is wanted.
        """
        self.check(
            ["!typing.start", "!presence.*"],
            yes=["message.create", "typing.stop", "presence"],
            no=["typing.start", "presence.update"],
        )

    def test_leaving_out_wins(self) -> None:
        """
        What is left out stays out, whatever else asks for it.
        """
        self.check(
            ["message.*", "message.create", "!message.create", "*"],
            yes=["message.delete", "x"],
            no=["message.create"],
        )
        self.check(["message.*", "!*"], yes=[], no=["message.create", "x", ""])

    def test_characters_without_meaning(self) -> None:
        """
        Only a star at the end and a mark at the beginning mean anything.
        """
        self.check(["*.create"], yes=["*.create"], no=["message.create", "*.created"])
        self.check(["a.?"], yes=["a.?"], no=["a.b"])
        self.check(["message.[a-z]*"], yes=["message.[a-z]x"], no=["message.create"])
        self.check(["a!b"], yes=["a!b"], no=["a", "b"])
        self.check(["!!x"], yes=["x"], no=["!x"])

    @given(st.frozensets(patterns, min_size=1, max_size=5), names | strings)
    def test_any(self, asked: frozenset[str], name: str) -> None:
        """
        A name is wanted if and only if a pattern without a mark stands for it, or there is
        none such, and no pattern with a mark does.
        """
        plain = [pattern for pattern in asked if pattern[0] != "!"]
        marked = [pattern[1:] for pattern in asked if pattern[0] == "!"]
        asked_for = not plain or any(_stands_for(pattern, name) for pattern in plain)
        left_out = any(_stands_for(pattern, name) for pattern in marked)
        self.assertEqual(Interest(asked).wants(name), asked_for and not left_out)

    @given(st.frozensets(patterns, min_size=1, max_size=4), st.lists(names, max_size=10))
    def test_remembers_right(self, asked: frozenset[str], heard: list[str]) -> None:
        """
        What was decided of other names before makes no difference.
        """
        lasting = Interest(asked)
        for name in heard:
            self.assertEqual(lasting.wants(name), Interest(asked).wants(name))
            self.assertEqual(lasting.wants(name), Interest(asked).wants(name))

    def test_any_number_of_names(self) -> None:
        """
        Publishers may invent names without end: the answers stay right, and what is
        remembered of them has a bound.
        """
        lasting = Interest(frozenset({"a.*", "!a.1*"}))
        for number in (*range(2500), *range(0, 2500, 7)):
            self.assertEqual(lasting.wants(f"a.{number}"), not str(number).startswith("1"))
            self.assertFalse(lasting.wants(f"b.{number}"))
        self.assertLessEqual(len(lasting._decided), 1000)


def _stands_for(pattern: str, name: str) -> bool:
    if pattern[-1:] == "*":
        return name[: len(pattern) - 1] == pattern[:-1]
    return name == pattern


class OfTests(SynchronousTestCase):
    """
    From what a client sent to an interest.
    """

    def test_nothing_asked(self) -> None:
        """
        Who asks for nothing in particular wants everything, at no cost.
        """
        self.assertIsNone(interest.of(None))
        self.assertIsNone(interest.of([]))

    def test_shared(self) -> None:
        """
        The same patterns in any order, or repeated, are one interest; others are another.
        """
        one = interest.of(["message.*", "!message.delete"])
        self.assertIs(interest.of(["!message.delete", "message.*", "message.*"]), one)
        self.assertIsNot(interest.of(["message.*"]), one)

    def test_any_number(self) -> None:
        """
        Clients may invent patterns without end: each gets its own, and what is remembered has
        a bound.
        """
        for number in (*range(1500), *range(0, 1500, 11)):
            mine = interest.of([f"own.{number}"])
            assert mine is not None
            self.assertTrue(mine.wants(f"own.{number}"))
            self.assertFalse(mine.wants(f"own.{number + 1}"))
        self.assertLessEqual(len(interest._known), 1000)
