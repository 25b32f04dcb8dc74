"""
One case, played: the server's part is played here, and the application's is asked for.
"""

from __future__ import annotations

import json
from typing import Any, Awaitable, Callable, ClassVar, Protocol

from twisted.internet.interfaces import IReactorTime

from clients.conformance.cast import INCIDENTAL, KINDS, Actor, Events, kind_of
from clients.conformance.matching import Mismatch, match
from clients.conformance.script import Case

READY = {
    "sessionId": "session",
    "heartbeatInterval": 30_000,
    "identifyTimeout": 10_000,
    "instance": "conformance",
    "version": "0",
    "protocol": 1,
}

SLACK = 20
"""
Milliseconds by which two clocks that count the same second may differ.
"""


class Visit(Protocol):
    """
    One connection of the client's, as the server has it.

    @ivar heard: messages that came.
    @ivar ended: how it ended: a close code, 1006 for none.
    """

    heard: Events
    ended: Events
    ended_at: float | None

    def accept(self) -> None:
        """
        Upgrade it.
        """

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        """
        Answer with something else than an upgrade.
        """

    def say(self, text: str) -> None:
        """
        Send a text message.
        """

    def shut(self, code: int, reason: str) -> None:
        """
        Send a close frame.
        """

    def reset(self) -> None:
        """
        Reset the TCP connection.
        """

    def mute(self) -> None:
        """
        Read nothing more.
        """


class Stage:
    """
    Where a case is played.
    """

    def __init__(self, case: Case, clock: IReactorTime) -> None:
        self.case = case
        self._clock = clock
        self._arrivals = Events(clock, "the client should connect")
        self._visits: list[Visit] = []
        self._acted = 0.0
        self._cast: Actor | None = None

    @property
    def actor(self) -> Actor:
        """
        The client.
        """
        assert self._cast is not None
        return self._cast

    def arrived(self, visit: Visit) -> None:
        """
        The client connects.
        """
        self._arrivals.put(visit)

    async def play(self, actor: Actor) -> None:
        """
        All steps, in their order.

        @raise Mismatch: something was not as it should be.
        """
        self._cast = actor
        for number, step in enumerate(self.case.steps, 1):
            try:
                await self._play(step)
            except Mismatch as error:
                raise Mismatch(f"step {number} {json.dumps(step)}: {error}") from None
        self.check()

    async def _play(self, step: dict[str, Any]) -> None:
        verbs = [verb for verb in self._verbs if verb in step]
        if not verbs:
            raise ValueError(f"no verb in {step!r}")
        await self._verbs[verbs[0]](self, step)

    def check(self) -> None:
        """
        Whether everything that happened was spoken of; to be asked again when there was time
        for more to happen.
        """
        for kind in KINDS:
            rest = self.actor.unspoken(kind)
            if rest and kind not in INCIDENTAL:
                raise Mismatch(f"and the application saw {rest!r}")
        if self._ended and len(self._arrivals):
            raise Mismatch("a client that is closed connected")
        for visit in self._visits:
            if visit.heard.rest():
                raise Mismatch(f"and the client said {visit.heard.rest()!r}")

    def clear(self) -> None:
        """
        Have nothing left of it.
        """
        self.actor.do("close")
        for visit in (*self._visits, *self._arrivals.rest()):
            visit.reset()

    # ----------------------------------------------------------------- steps

    def _visit(self, step: dict[str, Any]) -> Visit:
        number: int = step.get("on", 0)
        return self._visits[number - 1]

    _ended = False

    async def _arrival(self, after: float = 0) -> Visit:
        # From when the server last did something: a client cannot have begun to wait before, and
        # a busy machine may tell us late of how a connection ended.
        before = self._acted
        visit: Visit = await self._arrivals.next()
        self._visits.append(visit)
        passed = (self._clock.seconds() - before) * 1000
        if passed < after - SLACK:
            raise Mismatch(f"it came after {passed:.0f} ms, expected {after}")
        return visit

    def _act(self) -> None:
        self._acted = self._clock.seconds()

    async def _accept(self, step: dict[str, Any]) -> None:
        (await self._arrival(step["accept"].get("after", 0))).accept()

    async def _refuse(self, step: dict[str, Any]) -> None:
        refusal = step["refuse"]
        visit = await self._arrival()
        self._act()
        visit.refuse(refusal["status"], refusal.get("headers", {}))

    async def _hang(self, step: dict[str, Any]) -> None:
        await self._arrival()

    async def _reset(self, step: dict[str, Any]) -> None:
        live = self._visits and self._visits[-1].ended_at is None
        (self._visits[-1] if live else await self._arrival()).reset()

    async def _ready(self, step: dict[str, Any]) -> None:
        self._say(self._visit(step), "ready", READY | step["ready"])

    async def _session(self, step: dict[str, Any]) -> None:
        session = dict(step["session"])
        asked = session.pop("asked", {})
        interval = session.pop("heartbeatInterval", READY["heartbeatInterval"])
        await self._see({"state": "connecting"})
        visit = await self._arrival(session.pop("after", 0))
        visit.accept()
        self._say(visit, "ready", READY | {"heartbeatInterval": interval})
        identify = await visit.heard.next()
        match({"event": "identify", "data": asked}, identify)
        await self._see({"state": "identifying"})
        usual = {
            "sessionId": READY["sessionId"],
            "userId": identify["data"]["userId"],
            "guildIds": identify["data"]["guildIds"],
            "denied": [],
            "lastEventId": "0-0",
        }
        self._say(visit, "identified", usual | session)
        await self._see({"state": "ready"})

    def _say(self, visit: Visit, event: str, data: Any) -> None:
        visit.say(json.dumps({"event": event, "data": data}))

    async def _says(self, step: dict[str, Any]) -> None:
        self._act()
        self._visit(step).say(json.dumps(step["say"]))

    async def _text(self, step: dict[str, Any]) -> None:
        self._visit(step).say(step["text"])

    async def _hear(self, step: dict[str, Any]) -> None:
        match(step["hear"], await self._visit(step).heard.next())

    async def _shut(self, step: dict[str, Any]) -> None:
        self._act()
        self._visit(step).shut(step["shut"]["code"], step["shut"].get("reason", ""))

    async def _mute(self, step: dict[str, Any]) -> None:
        self._visit(step).mute()

    async def _gone(self, step: dict[str, Any]) -> None:
        code = await self._visit(step).ended.next()
        match(step["gone"], {"code": code})

    async def _do(self, step: dict[str, Any]) -> None:
        more = {name: value for name, value in step.items() if name != "do"}
        self._ended = step["do"] == "close"
        self.actor.do(step["do"], **more)

    async def _saw(self, step: dict[str, Any]) -> None:
        await self._see(step["saw"])

    async def _see(self, expected: dict[str, Any]) -> None:
        seen = await self.actor.sees(kind_of(expected))
        self._ended = seen.get("state", "closed" if self._ended else "") == "closed"
        match(expected, seen)

    async def _none(self, step: dict[str, Any]) -> None:
        rest = self.actor.unspoken(step["none"])
        if rest:
            raise Mismatch(f"the application saw {rest!r}")

    _verbs: ClassVar[dict[str, Callable[[Stage, dict[str, Any]], Awaitable[None]]]] = {
        "accept": _accept,
        "refuse": _refuse,
        "hang": _hang,
        "reset": _reset,
        "ready": _ready,
        "session": _session,
        "say": _says,
        "text": _text,
        "hear": _hear,
        "shut": _shut,
        "mute": _mute,
        "gone": _gone,
        "do": _do,
        "saw": _saw,
        "none": _none,
    }
