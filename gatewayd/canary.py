"""
Whether events really come through: one of our own is published now and then where the
microservices publish, and has to come back the way that theirs come.

Open sockets prove little. A queue that lost its binding, a broker that accepts and does not
route, a subscription that Redis has forgotten: all of them look well from here, and nothing
arrives.
"""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.errors import GatewayError
from gatewayd.interfaces import IEventSource, IReadiness
from gatewayd.metrics import Metrics
from gatewayd.model import Event

NAME = "gatewayd.canary"
INTERVAL = 3.0
EAGER = 0.25
"""
Seconds from one to the next, and as long as none comes through.
"""

PATIENCE = 10.0
"""
Seconds without one after which events are taken not to come through: three are missing.
"""


class _Song(msgspec.Struct, frozen=True):
    instance: str
    number: int


@implementer(IReadiness)
@define(eq=False)
class Canary:
    """
    The canary of one instance.

    @ivar source: where it is published.
    @ivar bus: where it comes back.
    """

    instance: str
    source: IEventSource
    bus: IReadiness
    clock: IReactorTime
    metrics: Metrics
    _number: int = 0
    _sent: dict[int, float] = field(factory=dict)
    _heard: float | None = None
    _delay: float | None = None
    _next: IDelayedCall | None = None

    name = "canary"
    _log = Logger()

    def start(self) -> None:
        """
        Begin to send.
        """
        self._tick()

    def stop(self) -> None:
        """
        Send no more.
        """
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _tick(self) -> None:
        # What has lost its way need not be sent after.
        if all(one.status()["status"] != "connecting" for one in (self.source, self.bus)):
            self._send()
        alive = self._heard is not None and self.clock.seconds() - self._heard < INTERVAL * 1.5
        self._next = self.clock.callLater(INTERVAL if alive else EAGER, self._tick)

    def heard(self, event: Event) -> None:
        """
        One has come through, of this instance or another.
        """
        try:
            song = _songs.decode(event.data)
        except msgspec.MsgspecError:
            return
        now = self.clock.seconds()
        sent = self._sent.pop(song.number, None) if song.instance == self.instance else None
        if sent is None:
            return
        # Older ones may come yet, and say nothing new.
        self._sent = {number: at for number, at in self._sent.items() if number > song.number}
        self._heard, self._delay = now, now - sent
        self.metrics.canary.observe(self._delay)

    def status(self) -> dict[str, Any]:
        """
        See L{gatewayd.interfaces.IReadiness.status}; and C{delay}, the seconds that the last
        one took, and C{age}, the seconds since it came.
        """
        now = self.clock.seconds()
        if self._heard is None:
            return {"status": "connecting", "error": "no event has come through yet"}
        age = now - self._heard
        found: dict[str, Any] = {"status": "ok", "delay": self._delay, "age": round(age, 3)}
        if age > PATIENCE:
            found["status"] = "connecting"
            found["error"] = f"no event has come through for {age:.0f} s"
        return found

    def _send(self) -> None:
        self._number += 1
        now = self.clock.seconds()
        self._sent = {number: at for number, at in self._sent.items() if now - at < 60}
        self._sent[self._number] = now
        song = msgspec.json.encode(_Song(self.instance, self._number))
        body = b'{"event":"%s","userIds":["%s"],"data":%s}' % (NAME.encode(), NAME.encode(), song)
        self.source.post(body, NAME).addErrback(self._lost)

    def _lost(self, failure: Failure) -> None:
        # That it is missing will be seen; why, the source says itself.
        if not failure.check(GatewayError):
            self._log.failure("The canary could not be sent", failure)


_songs = msgspec.json.Decoder(_Song)
