"""
Which deliveries to acknowledge, in as few frames as AMQP allows.

An C{ack} with C{multiple} settles every delivery of the channel up to its tag, so one frame
may stand for hundreds; at a prefetch of 1000 that is worth a third of the cost of consuming.
What it must never cover is a delivery that is not published yet, and its own tag must not
have been settled before, or the broker closes the channel (406, unknown delivery tag).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Ack(NamedTuple):
    """
    One frame to send.

    @ivar multiple: it settles all that is older, too.
    """

    tag: int
    multiple: bool


class Acks:
    """
    The deliveries of one channel, from handing on to settlement.

    Tags only grow, but need not be settled in order.
    """

    def __init__(self) -> None:
        self._given: deque[int] = deque()
        self._unsettled: set[int] = set()
        self._fresh: list[int] = []

    @property
    def unsettled(self) -> int:
        """
        How many were given and are neither acked nor returned.
        """
        return len(self._unsettled)

    @property
    def fresh(self) -> int:
        """
        How many were acked since the last flush.
        """
        return len(self._fresh)

    def given(self, tag: int) -> None:
        """
        The delivery C{tag} has been handed on.
        """
        self._given.append(tag)
        self._unsettled.add(tag)

    def acked(self, tag: int) -> bool:
        """
        The delivery is done; the next flush tells the broker.

        @return: L{False} if it had been settled before, and nothing was changed.
        """
        if not self._settle(tag):
            return False
        self._fresh.append(tag)
        return True

    def returned(self, tag: int) -> bool:
        """
        The delivery goes back to the broker, which the caller tells at once, with a frame
        of its own: there is no way to say it of a range without its acked neighbours.

        @return: L{False} if it had been settled before, and nothing was changed.
        """
        return self._settle(tag)

    def flush(self) -> list[Ack]:
        """
        The frames that acknowledge all that was acked since the last flush: one for
        everything older than the oldest unsettled delivery, and one each beyond it.
        """
        fresh, self._fresh = self._fresh, []
        oldest = self._given[0] if self._given else None
        below = [tag for tag in fresh if oldest is None or tag < oldest]
        frames = [Ack(max(below), len(below) > 1)] if below else []
        if len(below) < len(fresh):
            done = set(below)
            frames.extend(Ack(tag, False) for tag in fresh if tag not in done)
        return frames

    def _settle(self, tag: int) -> bool:
        if tag not in self._unsettled:
            return False
        self._unsettled.remove(tag)
        while self._given and self._given[0] not in self._unsettled:
            self._given.popleft()
        return True
