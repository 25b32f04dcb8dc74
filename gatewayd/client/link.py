"""
One attempt at a connection, and all that is known of it.
"""

from __future__ import annotations

from enum import Enum

from attrs import define

from gatewayd.client.errors import ClientError
from gatewayd.client.liveness import Liveness


class Step(Enum):
    """
    What an attempt waits for: the word for when it takes too long, and a sentence.
    """

    TOKEN = ("token_timeout", "the token function has not answered in time")
    SOCKET = ("connect_timeout", "no connection in time")
    READY = ("ready_timeout", "the gateway did not say ready in time")
    IDENTIFIED = ("identify_timeout", "the gateway did not answer identify in time")

    @property
    def late(self) -> ClientError:
        """
        It took too long.
        """
        return ClientError(*self.value)


@define(eq=False)
class Link:
    """
    Nothing outlives it: the next attempt begins with a new one, in which no question is open,
    no answer outstanding and no advice given.

    @ivar step: what it waits for; L{None} once the session is live.
    @ivar deadline: when that must have come.
    @ivar token: the one to identify with.
    @ivar interval: between the gateway's heartbeats.
    @ivar liveness: watches the live session.
    @ivar since: when that began.
    @ivar leave_at: when to go, where the gateway asked for it.
    @ivar come_back_at: and when to come back.
    @ivar renew_at: when to ask for a fresh token again.
    @ivar renewing: whether the token function is being asked for a fresh one.
    """

    attempt: int
    step: Step | None
    deadline: float
    token: str | None = None
    interval: float = 30.0
    liveness: Liveness | None = None
    since: float | None = None
    leave_at: float | None = None
    come_back_at: float | None = None
    renew_at: float | None = None
    renewing: bool = False

    def expect(self, step: Step, deadline: float) -> None:
        """
        Wait for the next thing.
        """
        self.step = step
        self.deadline = deadline

    @property
    def open(self) -> bool:
        """
        Whether there is, or soon will be, a socket.
        """
        return self.step is not Step.TOKEN

    @property
    def due(self) -> float | None:
        """
        When to look at it again.
        """
        times = [self.leave_at, self.renew_at]
        times.append(self.deadline if self.step is not None else None)
        times.append(self.liveness.due if self.liveness is not None else None)
        return min((one for one in times if one is not None), default=None)
