"""
Whether there is still anybody at the other end.
"""

from __future__ import annotations

from enum import Enum

PATIENCE = 1.25
"""
Heartbeat intervals without a word after which the gateway is asked.
"""


class Finding(Enum):
    """
    What a look at the clock came to.
    """

    ASK = "ask"
    DEAD = "dead"


class Liveness:
    """
    Notices a connection that is open and leads nowhere. TCP may take a quarter of an hour for
    that, and a browser shows its pages neither pings nor pongs; but a gateway has something to
    say every heartbeat interval.

    Silence alone proves nothing: the machine may have slept, or the clock been set. So the
    gateway is asked first, and only silence after a question is death.
    """

    def __init__(self, interval: float, patience: float, now: float) -> None:
        """
        @param interval: seconds between the gateway's heartbeats.
        @param patience: seconds in which a question must be answered.
        """
        self._quiet = interval * PATIENCE
        self._patience = patience
        self._asked = False
        self.due = now + self._quiet

    def heard(self, now: float) -> None:
        """
        Something came, whatever it is.
        """
        self._asked = False
        self.due = now + self._quiet

    def doubt(self, now: float) -> bool:
        """
        There is reason to ask right now.

        @return: whether to; not if an answer is awaited already.
        """
        if self._asked:
            return False
        self._asked = True
        self.due = now + self._patience
        return True

    def check(self, now: float) -> Finding | None:
        """
        Look at the clock.
        """
        if now < self.due:
            return None
        return Finding.ASK if self.doubt(now) else Finding.DEAD
