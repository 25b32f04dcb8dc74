"""
Something that happens once, and that any number may wait for.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed


class Once:
    """
    A Deferred that more than one can wait on, and that each can give up on alone.
    """

    def __init__(self) -> None:
        self.happened = False
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """
        Fires when it happens; at once if it has.
        """
        if self.happened:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def happen(self) -> None:
        """
        It happens. Only the first time counts.
        """
        if self.happened:
            return
        self.happened = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
