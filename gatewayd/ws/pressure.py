"""
What all clients together have not taken yet. Each is bounded by itself, but ten thousand of
them just below their bound would be ten gigabytes.
"""

from __future__ import annotations

from typing import Protocol

ROOM = 0.9
"""
Of the limit, what is left after making room, so that not every write has to make some.
"""


class Lagging(Protocol):
    """
    A client that has not taken all that was sent to it.
    """

    def backlog(self) -> int:
        """
        Bytes that wait for it.
        """

    def overrun(self) -> None:
        """
        Close it: it is too slow.
        """


class Pressure:
    """
    The sum of all backlogs, kept under a limit at the cost of the largest.

    Between two recounts it only grows, so it errs to looking again too early; a recount costs
    in proportion to the clients that lag, and there is none while all keep up.
    """

    def __init__(self, limit: int) -> None:
        """
        @param limit: bytes.
        """
        self._limit = limit
        self._sum = 0
        self._lagging: dict[Lagging, None] = {}

    def added(self, client: Lagging, size: int) -> None:
        """
        So many more bytes wait for C{client}.
        """
        self._lagging[client] = None
        self._sum += size
        if self._sum > self._limit:
            self.recount()

    def gone(self, client: Lagging) -> None:
        """
        Nothing waits for C{client} any more.
        """
        self._lagging.pop(client, None)

    def recount(self) -> int:
        """
        Look at every client that lags, and if it is too much in all, close those with most.

        @return: the sum, in bytes.
        """
        sizes = {client: client.backlog() for client in self._lagging}
        self._lagging = {client: None for client, size in sizes.items() if size}
        self._sum = sum(sizes.values())
        if self._sum > self._limit:
            for client in sorted(sizes, key=lambda client: sizes[client], reverse=True):
                if self._sum <= self._limit * ROOM:
                    break
                self._sum -= sizes[client]
                self._lagging.pop(client, None)
                client.overrun()
        return self._sum
