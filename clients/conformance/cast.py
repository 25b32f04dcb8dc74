"""
The application's side of a case: clients in another process, told what to do and telling what
they see over a WebSocket of their own.

A driver connects to C{/control} and says C{{"driver": NAME, "can": [...]}}. Then it is told, always
with the number of a C{client}, C{{"do": "make", "url": ..., "options": {...}}}, once and first, and
what else L{clients.conformance.script} lists; and it says, with that number, what the client
C{saw}, or that there was a C{fault}.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Callable, NoReturn

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from clients.conformance.matching import Mismatch

KINDS = (
    *("state", "event", "resync", "done", "token", "guildSubscribed", "guildUnsubscribed"),
    *("kept", "error"),
)
"""
By the first of these members that it has, a thing seen is known for what it is.
"""

INCIDENTAL = ("error", "kept")
"""
What may be seen without a step that speaks of it.
"""

PATIENCE = 10.0
"""
Seconds for anything to happen. Nothing takes as long; a machine may be busy.
"""


def kind_of(seen: dict[str, Any]) -> str:
    """
    What a thing seen is.

    @raise Mismatch: nothing that there is.
    """
    for kind in KINDS:
        if kind in seen:
            return kind
    raise Mismatch(f"nothing is known of {seen!r}")


class Events:
    """
    What happened and was not looked at yet, for one who waits.
    """

    def __init__(self, clock: IReactorTime, what: str) -> None:
        self._clock = clock
        self._what = what
        self._had: deque[Any] = deque()
        self._waiting: Deferred[Any] | None = None

    def __len__(self) -> int:
        return len(self._had)

    def put(self, one: Any) -> None:
        """
        It happened.
        """
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(one)
        else:
            self._had.append(one)

    def next(self, patience: float = PATIENCE) -> Deferred[Any]:
        """
        The next one.

        @raise Mismatch: there is none, for too long.
        """
        if self._had:
            return succeed(self._had.popleft())

        def late(_result: object, _timeout: float) -> NoReturn:
            self._waiting = None
            raise Mismatch(f"{self._what}: waited for it, and there was none")

        deferred: Deferred[Any] = Deferred()
        self._waiting = deferred
        return deferred.addTimeout(patience, self._clock, onTimeoutCancel=late)

    def rest(self) -> list[Any]:
        """
        All that nobody looked at.
        """
        return list(self._had)


class Actor:
    """
    One client.
    """

    def __init__(self, identifier: int, say: Callable[..., None], clock: IReactorTime) -> None:
        self.identifier = identifier
        self._say = say
        self._seen = {kind: Events(clock, f"the application should see {kind}") for kind in KINDS}

    def do(self, verb: str, **more: Any) -> None:
        """
        Have it do something.
        """
        self._say(client=self.identifier, do=verb, **more)

    def told(self, seen: dict[str, Any]) -> None:
        """
        It saw something.
        """
        self._seen[kind_of(seen)].put(seen)

    def sees(self, kind: str, patience: float = PATIENCE) -> Deferred[dict[str, Any]]:
        """
        The next thing of this kind.
        """
        return self._seen[kind].next(patience)

    def unspoken(self, kind: str) -> list[Any]:
        """
        What it saw and nobody asked for.
        """
        return self._seen[kind].rest()


class Cast:
    """
    A driver, and the clients in it.

    @ivar name: of the SDK, and where it runs.
    @ivar can: what not all drivers can.
    """

    def __init__(
        self,
        name: str,
        can: list[str],
        send: Callable[[str], None],
        dismiss: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        """
        @param dismiss: ends the control connection, and so the driver.
        """
        self.name = name
        self.can = can
        self.dismiss = dismiss
        self._send = send
        self._clock = clock
        self._actors: list[Actor] = []
        self.faults: list[str] = []

    def actor(self, url: str, options: dict[str, Any]) -> Actor:
        """
        A new client.
        """
        actor = Actor(len(self._actors), self._say, self._clock)
        self._actors.append(actor)
        actor.do("make", url=url, options=options)
        return actor

    def _say(self, **message: Any) -> None:
        self._send(json.dumps(message))

    def told(self, text: bytes) -> None:
        """
        One of its clients saw something.
        """
        message = json.loads(text)
        if "fault" in message:
            self.faults.append(message["fault"])
        else:
            self._actors[message["client"]].told(message["saw"])
