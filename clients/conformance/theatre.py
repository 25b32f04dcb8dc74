"""
The server that clients under test connect to, and their drivers.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, NamedTuple, Sequence

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from clients.conformance.cast import Cast, Events
from clients.conformance.matching import Mismatch
from clients.conformance.script import Case
from clients.conformance.stage import Stage

AT_ONCE = 12
"""
Cases played at the same time: most of what they do is wait.
"""


class Outcome(NamedTuple):
    """
    What a case came to.

    @ivar fault: what was wrong; empty if nothing was.
    @ivar played: whether it was for this driver at all.
    """

    name: str
    fault: str = ""
    played: bool = True


class Theatre(WebSocketServerFactory):
    """
    Listens at a free port of this machine.

    @ivar control: the URL for drivers.
    """

    noisy = False

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self._clock = reactor
        self.protocol = _Connection
        # How connections end is what is being tested.
        self.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=2)
        self.casts = Events(reactor, "a driver should come")
        self._stages: list[Stage] = []
        self._listening: IListeningPort = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.url = f"ws://127.0.0.1:{self._listening.getHost().port}"
        self.control = f"{self.url}/control"

    def close(self) -> Deferred[None]:
        """
        Listen no more.
        """
        return self._listening.stopListening() or Deferred()

    def stage(self, path: str) -> Stage | None:
        """
        The one at this path.
        """
        _, _, number = path.rpartition("/")
        known = number.isdigit() and int(number) < len(self._stages)
        return self._stages[int(number)] if known else None

    async def play(self, cast: Cast, cases: Sequence[Case]) -> list[Outcome]:
        """
        Play C{cases} to the clients of one driver.
        """
        fit = [case for case in cases if set(case.needs) <= set(cast.can)]
        outcomes = {case.name: Outcome(case.name, played=case in fit) for case in cases}
        together = [case for case in fit if not case.alone]
        for cases in (together, *([case] for case in fit if case.alone)):
            for outcome in await self._together(cast, cases):
                outcomes[outcome.name] = outcome
        return [*outcomes.values(), *(Outcome("driver", fault) for fault in cast.faults)]

    async def _together(self, cast: Cast, cases: Sequence[Case]) -> list[Outcome]:
        turn = DeferredSemaphore(AT_ONCE)
        stages = [Stage(case, self._clock) for case in cases]

        def work(stage: Stage) -> Deferred[None]:
            self._stages.append(stage)
            url = f"{self.url}/{stage.case.name}/{len(self._stages) - 1}"
            return Deferred.fromCoroutine(stage.play(cast.actor(url, stage.case.options)))

        ended = await DeferredList([turn.run(work, one) for one in stages], consumeErrors=True)
        outcomes = []
        for stage, (_, result) in zip(stages, ended, strict=True):
            fault = _told(result)
            try:
                # By now there was time for what should not have come to come.
                stage.check()
            except Mismatch as error:
                fault = fault or f"later: {error}"
            outcomes.append(Outcome(stage.case.name, fault))
            stage.clear()
        return outcomes


def _told(result: Any) -> str:
    if not isinstance(result, Failure):
        return ""
    mismatch: bool = result.check(Mismatch) is not None
    return result.getErrorMessage() if mismatch else result.getTraceback()


class _Connection(WebSocketServerProtocol):
    """
    A driver's control connection, or a L{Visit<clients.conformance.stage.Visit>}.
    """

    factory: Theatre
    transport: Any
    _cast: Cast | None = None
    _driver = False

    def __init__(self) -> None:
        super().__init__()
        self.ended_at: float | None = None
        self._upgraded: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """
        Somebody is here.
        """
        super().connectionMade()
        self.heard = Events(self.factory._clock, "the client should say something")
        self.ended = Events(self.factory._clock, "the client should leave")

    def onConnect(self, request: Any) -> Any:
        """
        The request is read: everything else is for the script to say.
        """
        self._driver = request.path == "/control"
        if self._driver:
            return None
        stage = self.factory.stage(request.path)
        if stage is None:
            self.refuse(404, {})
        else:
            # Autobahn has to have the Deferred before a step can fire it.
            self.factory._clock.callLater(0, stage.arrived, self)
        return self._upgraded

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        A message.
        """
        if not self._driver:
            self.heard.put(json.loads(payload))
        elif self._cast is None:
            hello = json.loads(payload)
            self._cast = Cast(
                hello["driver"], hello["can"], self.say, self.sendClose, self.factory._clock
            )
            self.factory.casts.put(self._cast)
        else:
            self._cast.told(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        The connection is gone.
        """
        self.ended_at = self.factory._clock.seconds()
        self.ended.put(self.remoteCloseCode or 1006)

    # See L{Visit}.

    def accept(self) -> None:
        """
        Upgrade it.
        """
        self._upgraded.callback(None)

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        """
        Answer with something else than an upgrade.
        """
        phrase = HTTPStatus(status).phrase
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\nContent-Length: 0\r\n{more}\r\n".encode()
        )
        self.transport.loseConnection()

    def say(self, text: str) -> None:
        """
        Send a text message.
        """
        if self.state != self.STATE_OPEN:
            raise Mismatch("the client has left the connection")
        self.sendMessage(text.encode())

    def shut(self, code: int, reason: str) -> None:
        """
        Send a close frame.
        """
        # Autobahn lets applications send fewer codes than there are.
        self.sendCloseFrame(code, reason.encode(), False)

    def reset(self) -> None:
        """
        Reset the TCP connection.
        """
        # It is told of by the kernel's next turn; the script's next step counts on it now.
        self.ended_at = self.ended_at or self.factory._clock.seconds()
        self.transport.abortConnection()

    def mute(self) -> None:
        """
        Read nothing more.
        """
        self.transport.pauseProducing()
