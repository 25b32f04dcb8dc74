"""
One question to every instance, and what each of them answers.

A question goes by the backchannel and is asked once. Who is expected to answer is known from
the roster; who did not in time is named, so that nobody takes half an answer for a whole one.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gatewayd.errors import Busy
from gatewayd.interfaces import IBackchannel, IRoster

PATIENCE = 2.0
"""
Seconds for the other instances to answer.
"""

MAX_OUTSTANDING = 64

ASK, ANSWER = "ask", "answer"


class Answers(NamedTuple):
    """
    What came of a question.

    @ivar values: by instance, this one first.
    @ivar missing: instances that are known and did not answer in time.
    @ivar complete: everybody who is known has answered, and could be asked at all.
    """

    values: dict[str, Any]
    missing: tuple[str, ...]
    complete: bool


class _Ask(msgspec.Struct, frozen=True):
    id: str
    instance: str
    question: str
    subject: str


class _Answer(msgspec.Struct, frozen=True):
    id: str
    instance: str
    value: msgspec.Raw


class _Asked:
    """
    A question whose answers are being gathered.

    @ivar expected: who has yet to answer; L{None} until that is known.
    """

    def __init__(self) -> None:
        self.expected: set[str] | None = None
        self.values: dict[str, Any] = {}
        self.done: Deferred[None] = Deferred()

    def expect(self, instances: set[str]) -> None:
        self.expected = instances - set(self.values)
        self._look()

    def take(self, instance: str, value: Any) -> None:
        self.values.setdefault(instance, value)
        if self.expected is not None:
            self.expected.discard(instance)
            self._look()

    def _look(self) -> None:
        if not self.expected and not self.done.called:
            self.done.callback(None)


@define(eq=False)
class Survey:
    """
    This instance's side: it asks, and it answers.

    @ivar instance: its name.
    @ivar answering: answers a question about a subject, with JSON. Raises L{LookupError} for
        a question that it does not know, which then is not answered: an older version says
        nothing rather than something else.
    @ivar new_id: makes ids that no other instance makes.
    """

    instance: str
    channel: IBackchannel
    roster: IRoster
    clock: IReactorTime
    new_id: Callable[[], str]
    answering: Callable[[str, str], Any]
    _asked: dict[str, _Asked] = field(factory=dict)

    _log = Logger()

    def start(self) -> None:
        """
        Begin to answer.
        """
        self.channel.told = self._told

    async def ask(self, question: str, subject: str) -> Answers:
        """
        Ask everybody, this instance first.

        @raise Busy: too many questions are being asked already.
        """
        if len(self._asked) >= MAX_OUTSTANDING:
            raise Busy("too many questions are being asked")
        own = self.answering(question, subject)
        number = self.new_id()
        # Listening before anything is said or awaited: an answer may come at once.
        asked = self._asked[number] = _Asked()
        try:
            rows = await self.roster.rows()
            others = {str(row["instance"]) for row in rows} - {self.instance}
            payload = msgspec.json.encode(_Ask(number, self.instance, question, subject))
            could = await self.channel.tell(ASK, payload)
            if could:
                asked.expect(others)
                await asked.done.addTimeout(PATIENCE, self.clock, lambda *_: None)
            missing = others - set(asked.values)
        finally:
            del self._asked[number]
        values = {self.instance: own, **asked.values}
        return Answers(values, tuple(sorted(missing)), could and not missing)

    def _told(self, kind: str, payload: bytes) -> None:
        if kind == ASK:
            self._answer(payload)
        elif kind == ANSWER:
            self._answered(payload)

    def _answer(self, payload: bytes) -> None:
        try:
            ask = _asks.decode(payload)
        except (ValueError, RecursionError):
            return
        if ask.id in self._asked:
            # Our own: answered before it was asked.
            return
        try:
            value = self.answering(ask.question, ask.subject)
        except LookupError:
            return
        answer = _Answer(ask.id, self.instance, msgspec.Raw(msgspec.json.encode(value)))
        telling = self.channel.tell(ANSWER, msgspec.json.encode(answer))
        telling.addErrback(lambda why: self._log.failure("Could not answer", why))

    def _answered(self, payload: bytes) -> None:
        try:
            answer = _answers.decode(payload)
            asked = self._asked.get(answer.id)
            if asked is not None:
                asked.take(answer.instance, msgspec.json.decode(answer.value))
        except (ValueError, RecursionError):
            return


_asks = msgspec.json.Decoder(_Ask)
_answers = msgspec.json.Decoder(_Answer)
