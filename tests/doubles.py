"""
Stand-ins for what is behind a seam, which remember what they were asked.
"""

from __future__ import annotations

from typing import Any, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from gatewayd.interfaces import IOperations
from gatewayd.model import Position


@implementer(IOperations)
class RecordingOperations:
    """
    Operations that answer as they are told to.

    @ivar asked: every call but the questions about health: its name, then its arguments.
    @ivar outcomes: by the name of a call, what it comes to: a value, an exception to fail
        with, or a L{Deferred}.
    @ivar readiness: what L{IOperations.ready} says.
    @ivar condition: what L{IOperations.health} says.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.outcomes: dict[str, Any] = {}
        self.readiness = (True, "")
        self.condition: dict[str, Any] = {"status": "ok"}

    def _come_to(self, name: str, usual: Any, *arguments: Any) -> Deferred[Any]:
        self.asked.append((name, *arguments))
        outcome = self.outcomes.get(name, usual)
        if isinstance(outcome, Deferred):
            return outcome
        return fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)

    def health(self) -> dict[str, Any]:
        """
        See L{IOperations.health}.
        """
        return self.condition

    def ready(self) -> tuple[bool, str]:
        """
        See L{IOperations.ready}.
        """
        return self.readiness

    def stats(self) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.stats}.
        """
        return self._come_to("stats", {"status": "ok", "cluster": []})

    def exposition(self) -> tuple[bytes, str]:
        """
        See L{IOperations.exposition}.
        """
        return b"up 1\n", "text/plain; version=0.0.4; charset=utf-8"

    def publish(self, bodies: Sequence[bytes]) -> Deferred[list[Position | None]]:
        """
        See L{IOperations.publish}.
        """
        positions = [Position(1000, seq) for seq, _ in enumerate(bodies)]
        return self._come_to("publish", positions, list(bodies))

    def user(self, user: str) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.user}.
        """
        return self._come_to("user", {"userId": user, "sessions": []}, user)

    def guild(self, guild: str) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.guild}.
        """
        return self._come_to("guild", {"guildId": guild, "sessions": []}, guild)

    def disconnect(self, user: str) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.disconnect}.
        """
        return self._come_to("disconnect", {"disconnected": 0}, user)

    def drain(self) -> None:
        """
        See L{IOperations.drain}.
        """
        self.asked.append(("drain",))
