"""
Answers are kept for their time and no longer, forgotten when told, and bounded in number.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.auth.cache import Answers

users = st.sampled_from(["u1", "u2", "u3"])
guilds = st.sampled_from(["g1", "g2", "*"])


class Add(NamedTuple):
    """
    An answer comes.
    """

    user: str
    guild: str


class Forget(NamedTuple):
    """
    One is to be forgotten.
    """

    user: str | None
    guild: str


class Wait(NamedTuple):
    """
    Time passes.
    """

    seconds: float


steps = st.one_of(
    st.builds(Add, users, guilds),
    st.builds(Forget, st.none() | users, guilds),
    st.builds(Wait, st.sampled_from([0.5, 4, 5, 10])),
)


class AnswersTests(SynchronousTestCase):
    """
    The kept answers.
    """

    def test_lifetime(self) -> None:
        """
        An answer holds until its time is over, and from its last repetition on.
        """
        answers = Answers(10, 5)
        answers.add("u1", "g1", 100)
        self.assertTrue(answers.has("u1", "g1", 104.9))
        self.assertFalse(answers.has("u1", "g1", 105))
        answers.add("u1", "g1", 104)
        answers.add("u2", "g1", 107)
        self.assertTrue(answers.has("u1", "g1", 108))

    def test_bound(self) -> None:
        """
        No more than so many are kept; the oldest go.
        """
        answers = Answers(3, 5)
        for number in range(1000):
            answers.add("u1", f"g{number}", 100)
            self.assertLessEqual(len(answers), 3)
        for number in range(1000):
            self.assertEqual(answers.has("u1", f"g{number}", 100), number >= 997)

    def test_repetition_is_bounded(self) -> None:
        """
        What is said and forgotten again and again takes no more room.
        """
        answers = Answers(3, 5)
        for number in range(1000):
            answers.add("u1", "g1", 100)
            answers.forget("u1" if number % 2 else None, "g1")
        self.assertEqual((len(answers), len(answers._order)), (0, 3))
        self.assertEqual(answers._guilds, {})

    def test_nothing_kept(self) -> None:
        """
        Without room nothing is kept.
        """
        answers = Answers(0, 5)
        answers.add("u1", "g1", 100)
        self.assertFalse(answers.has("u1", "g1", 100))

    def test_expired_leave(self) -> None:
        """
        Those whose time is over take no room when others come.
        """
        answers = Answers(1000, 5)
        for number in range(100):
            answers.add("u1", f"g{number}", 100)
        answers.add("u1", "g1", 105)
        self.assertEqual(len(answers), 1)

    @given(st.lists(steps, max_size=40))
    def test_model(self, steps: list[Add | Forget | Wait]) -> None:
        """
        Whatever happens in whatever order, an answer is there exactly if it came less than
        its lifetime ago and was not forgotten since.
        """
        answers = Answers(1000, 5)
        model: dict[tuple[str, str], float] = {}
        now = 0.0
        for step in steps:
            if isinstance(step, Wait):
                now += step.seconds
            elif isinstance(step, Add):
                answers.add(*step, now)
                model[step] = now
            else:
                answers.forget(*step)
                for user, guild in list(model):
                    if guild == step.guild and step.user in (user, None):
                        del model[user, guild]
            for user in ("u1", "u2", "u3"):
                for guild in ("g1", "g2", "*"):
                    expected = now - model.get((user, guild), -100) < 5
                    self.assertEqual(answers.has(user, guild, now), expected)
