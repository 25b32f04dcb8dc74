"""
Tests for L{gatewayd.survey}.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.bus.memory import MemoryBus, MemoryLog, MemoryRoster
from gatewayd.errors import Busy
from gatewayd.survey import ANSWER, ASK, MAX_OUTSTANDING, PATIENCE, Answers, Survey


class SurveyTests(SynchronousTestCase):
    """
    A question goes to everybody, and the answer says who has answered.
    """

    def setUp(self) -> None:
        """
        A log that all share.
        """
        self.clock = Clock()
        self.log = MemoryLog(self.clock, lambda: 1000.0)
        self.roster = MemoryRoster(self.clock)
        self.ids = count(1)

    def instance(self, name: str, *, listens: bool = True, known: bool = True) -> Survey:
        """
        One more instance of the cluster.
        """
        bus = MemoryBus(self.log)
        self.log.join(bus)
        roster = self.roster.beside()
        if known:
            self.successResultOf(roster.announce({"instance": name}))

        def answer(question: str, subject: str) -> Any:
            if question != "echo":
                raise LookupError(question)
            return [name, subject]

        def new_id() -> str:
            return f"{name}-{next(self.ids)}"

        survey = Survey(name, bus, roster, self.clock, new_id, answer)
        if listens:
            survey.start()
        return survey

    def ask(self, survey: Survey, question: str = "echo") -> Deferred[Answers]:
        """
        Ask about C{s}.
        """
        return Deferred.fromCoroutine(survey.ask(question, "s"))

    def test_alone(self) -> None:
        """
        Who is alone answers for all.
        """
        answers = self.successResultOf(self.ask(self.instance("a")))
        self.assertEqual(answers, Answers({"a": ["a", "s"]}, (), True))

    def test_everybody(self) -> None:
        """
        Everybody who is known is asked, whoever asks, and the asker answers once.
        """
        surveys = [self.instance(name) for name in "abc"]
        for survey in surveys:
            answers = self.successResultOf(self.ask(survey))
            self.assertEqual(answers.values, {name: [name, "s"] for name in "abc"})
            self.assertEqual(next(iter(answers.values)), survey.instance)
            self.assertTrue(answers.complete)

    def test_silent(self) -> None:
        """
        Who is known and does not answer is waited for, for a while, and named.
        """
        one, _ = self.instance("a"), self.instance("b", listens=False)
        asking = self.ask(one)
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        answers = self.successResultOf(asking)
        self.assertEqual(answers, Answers({"a": ["a", "s"]}, ("b",), False))

    def test_unknown_question(self) -> None:
        """
        An instance of an older version that does not know the question says nothing.
        """
        one, _ = self.instance("a"), self.instance("b")
        self.assertRaises(LookupError, self.failureResultOf(self.ask(one, "new")).raiseException)
        one.answering = lambda question, subject: 1
        asking = self.ask(one, "new")
        self.clock.advance(PATIENCE)
        self.assertEqual(self.successResultOf(asking).missing, ("b",))

    def test_not_on_the_roster(self) -> None:
        """
        Who is not shown on the roster yet is not waited for.
        """
        one, _ = self.instance("a"), self.instance("b", known=False, listens=False)
        self.assertTrue(self.successResultOf(self.ask(one)).complete)

    def test_nobody_can_be_told(self) -> None:
        """
        Where nobody can be told, the own answer is had, and is said not to be all.
        """
        one, _ = self.instance("a"), self.instance("b")

        class Mute(MemoryBus):
            def tell(self, kind: str, payload: bytes) -> Deferred[bool]:
                return succeed(False)

        one.channel = Mute(self.log)
        answers = self.successResultOf(self.ask(one))
        self.assertEqual(answers, Answers({"a": ["a", "s"]}, ("b",), False))

    def test_garbage(self) -> None:
        """
        What is no question and no answer is passed over, and so is an answer to nothing.
        """
        one = self.instance("a")
        for payload in (b"", b"{", b"[]", b"\xff", b'{"id": "x"}', b"[" * 5000):
            for kind in (ASK, ANSWER, "other"):
                one.channel.told(kind, payload)
        one.channel.told(ANSWER, b'{"id": "nobody-1", "instance": "b", "value": 1}')
        self.assertEqual(self.successResultOf(self.ask(one)).values, {"a": ["a", "s"]})

    def test_bounded(self) -> None:
        """
        Only so many questions are under way; one more is refused.
        """
        one, _ = self.instance("a"), self.instance("b", listens=False)
        asking = [self.ask(one) for _ in range(MAX_OUTSTANDING)]
        self.failureResultOf(self.ask(one), Busy)
        self.clock.advance(PATIENCE)
        for each in asking:
            self.successResultOf(each)
        asking.append(self.ask(one))
        self.assertNoResult(asking[-1])
        self.clock.advance(PATIENCE)
        self.successResultOf(asking[-1])
