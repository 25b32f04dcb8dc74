"""
How to try again: after a wait that grows and that no two instances share, and saying why
once instead of at every attempt.

Pure: whoever uses these brings the randomness, the clock and the log.
"""

from __future__ import annotations

from typing import Callable

REPEAT = 60.0
"""
Seconds after which an outage that goes on is worth another line in the log.
"""


class Backoff:
    """
    How long to wait before the next attempt.

    Each wait is drawn from the upper half of a bound that doubles. The random half keeps
    instances that lost the same broker from coming back to it in step (Twisted's own
    C{backoffPolicy} adds the same second of jitter to ten seconds as to a tenth of one); the
    fixed half keeps an unlucky draw from being a hot loop.
    """

    def __init__(self, initial: float, maximum: float, random: Callable[[], float]) -> None:
        """
        @param initial: the first bound, in seconds.
        @param maximum: the bound that is never exceeded, in seconds.
        @param random: answers with a number in [0, 1), as L{random.random} does.
        """
        self._initial = initial
        self._maximum = maximum
        self._random = random
        self._bound = initial

    def next(self) -> float:
        """
        Seconds to wait now; the bound of the wait after it is twice as high.
        """
        bound = min(self._bound, self._maximum)
        self._bound = bound * 2
        return bound * (1 + self._random()) / 2

    def reset(self) -> None:
        """
        Begin again at the first bound: what was tried has been well for a while.
        """
        self._bound = self._initial


class Outage:
    """
    Why something that should be there is not, and whether the log has heard of it.

    @ivar error: the reason, one sentence; L{None} while all is well.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        self._since = 0.0
        self._told = 0.0

    def failed(self, error: str, now: float) -> bool:
        """
        It failed, at C{now} seconds of any steady clock.

        @return: whether to log it: it is new, or was last told a minute ago.
        """
        if self.error is None:
            self._since = now
        elif self.error == error and now - self._told < REPEAT:
            return False
        self.error = error
        self._told = now
        return True

    def over(self, now: float) -> float | None:
        """
        It works.

        @return: how many seconds the outage lasted, to be logged once; L{None} if there
            was none.
        """
        if self.error is None:
            return None
        self.error = None
        return now - self._since
