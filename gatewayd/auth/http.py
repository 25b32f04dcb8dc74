"""
The guild authority behind HTTP: a membership service of the platform.

The service is asked C{POST [auth] authority_url}, with C{Content-Type: application/json} and::

    {"userId": "u1", "guildIds": ["g1", "g2"]}

and answers with status 200 and those of the guilds that the user is a member of::

    {"guildIds": ["g2"]}

All guilds of a question, at most C{[limits] max_guilds}, come in one call. Ids are strings; an
integer is taken as its decimal string. Fields that we do not know are ignored, and so are
guilds that were not asked about. Any other answer, or none within L{PATIENCE} seconds, means
that all of them are denied as C{unavailable}. The question changes nothing, and may be put
again. A yes is kept for a few seconds, and forgotten at once when the platform publishes that
the member was removed.
"""

from __future__ import annotations

from typing import Any, Sequence

import msgspec
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.auth.cache import Answers
from gatewayd.auth.grants import grant_of, once_each
from gatewayd.auth.web import NoAnswer, Web
from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Grant, Principal
from gatewayd.retry import Outage

PATIENCE = 3.0
"""
Seconds until an answer must be there.
"""

LONGEST = 256 * 1024
"""
Bytes of an answer. Two hundred ids of 64 characters, each escaped, are 80 KB.
"""

AT_ONCE = 32
"""
Questions under way, and so connections.
"""


class _Answer(msgspec.Struct, rename="camel"):
    guild_ids: list[str | int]


@define(eq=False)
class _Question:
    """
    One that is being asked, perhaps for several.

    @ivar known: what the cache said.
    @ivar doubtful: guilds that were forgotten since; what is heard of them now may be old.
    """

    user: str
    guilds: tuple[str, ...]
    known: dict[str, bool]
    doubtful: set[str] = field(factory=set)
    waiting: list[Deferred[Grant]] = field(factory=list)


@implementer(IGuildAuthority)
class HttpGuilds:
    """
    Grants what the service answers.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        web: Web,
        url: str,
        *,
        keep_yes: float = 10.0,
        keep_no: float = 2.0,
        kept: int = 50_000,
    ) -> None:
        """
        @param web: bounded by L{PATIENCE}, L{LONGEST} and L{AT_ONCE}.
        @param keep_yes: seconds that a yes holds.
        @param keep_no: seconds that a no holds: long enough for a client that asks again and
            again, short enough for one that has just joined.
        @param kept: answers of each kind that are kept.
        """
        self._clock = clock
        self._web = web
        self._url = url
        self._yes = Answers(kept, keep_yes)
        self._no = Answers(kept, keep_no)
        self._outage = Outage()
        self._asking: dict[str, list[_Question]] = {}
        self._running: set[Deferred[Any]] = set()

    def allowed(self, principal: Principal, guilds: Sequence[str]) -> Deferred[Grant]:
        """
        See L{IGuildAuthority.allowed}. Whoever asks the same at the same time waits for the
        same call.
        """
        user, asked = principal.user, once_each(guilds)
        known = self._known(user, asked)
        if len(known) == len(asked):
            return succeed(grant_of(asked, known))
        waiting: Deferred[Grant] = Deferred()
        for question in self._asking.get(user, ()):
            # One with a doubt began before it, and would not settle it.
            if question.guilds == asked and not question.doubtful:
                question.waiting.append(waiting)
                return waiting
        question = _Question(user, asked, known, waiting=[waiting])
        self._asking.setdefault(user, []).append(question)
        running: Deferred[Any] = Deferred.fromCoroutine(self._put(question))
        self._running.add(running)
        running.addErrback(lambda why: self.log.failure("A question was lost", failure=why))
        running.addBoth(lambda _: self._running.discard(running))
        return waiting

    def forget(self, user: str | None, guild: str) -> None:
        """
        Keep no answer about C{guild}, nor believe one that is on its way: membership has
        changed.

        @param user: L{None} for all.
        """
        self._yes.forget(user, guild)
        self._no.forget(user, guild)
        concerned = self._asking.values() if user is None else [self._asking.get(user, [])]
        for questions in concerned:
            for question in questions:
                if guild in question.guilds:
                    question.doubtful.add(guild)

    async def stop(self) -> None:
        """
        Ask no more. Who waits is denied.
        """
        for running in list(self._running):
            running.cancel()
        await self._web.stop()

    def _known(self, user: str, asked: tuple[str, ...]) -> dict[str, bool]:
        now = self._clock.seconds()
        known = {}
        for guild in asked:
            # A no first: of two answers that differ, which can only be while membership
            # changes, the safe one.
            if self._no.has(user, guild, now):
                known[guild] = False
            elif self._yes.has(user, guild, now):
                known[guild] = True
        return known

    async def _put(self, question: _Question) -> None:
        answers: dict[str, bool] = {}
        try:
            unknown = [guild for guild in question.guilds if guild not in question.known]
            answers = await self._ask(question.user, unknown)
            self._well()
        except NoAnswer as error:
            self._ill(str(error))
        except CancelledError:
            # Stopped: nobody is to blame.
            pass
        except Exception:
            self.log.failure("The membership service could not be asked")
        self._settle(question, answers)

    async def _ask(self, user: str, guilds: Sequence[str]) -> dict[str, bool]:
        body = msgspec.json.encode({"userId": user, "guildIds": guilds})
        answer = await self._web.ask("POST", self._url, body)
        try:
            members = set(map(str, msgspec.json.decode(answer, type=_Answer).guild_ids))
        except (ValueError, RecursionError):
            raise NoAnswer('its answer is not {"guildIds": [...]}') from None
        return {guild: guild in members for guild in guilds}

    def _settle(self, question: _Question, answers: dict[str, bool]) -> None:
        questions = self._asking[question.user]
        questions.remove(question)
        if not questions:
            del self._asking[question.user]
        now = self._clock.seconds()
        told: dict[str, bool | None] = {**question.known, **answers}
        for guild in question.doubtful:
            told[guild] = None
        for guild in answers:
            if guild not in question.doubtful:
                kept = self._yes if answers[guild] else self._no
                kept.add(question.user, guild, now)
        grant = grant_of(question.guilds, told)
        for waiting in question.waiting:
            waiting.callback(grant)

    def _ill(self, error: str) -> None:
        if self._outage.failed(error, self._clock.seconds()):
            self.log.warn(
                "The membership service does not answer: {error}; guilds are denied until it does",
                error=error,
            )

    def _well(self) -> None:
        lasted = self._outage.over(self._clock.seconds())
        if lasted is not None:
            self.log.info(
                "The membership service answers again, after {seconds:.1f} s", seconds=lasted
            )
