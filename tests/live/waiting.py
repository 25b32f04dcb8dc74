"""
How a live test waits: for something that happens, never for time to pass, and never for ever.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Generic, NoReturn, TypeVar, cast, overload

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import deferLater

T = TypeVar("T")

Waitable = Coroutine["Deferred[Any]", Any, T] | Deferred[T]

reactor = cast(PosixReactorBase, _reactor)
"""
The reactor that pytest-twisted runs, with a type: to a type checker Twisted's own is a module.
"""


class Late(AssertionError):
    """
    What a test waited for did not happen in the time it had.
    """


def started(work: Waitable[T]) -> Deferred[T]:
    """
    A Deferred for C{work}, whose first part has run when this returns.
    """
    return work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)


def within(seconds: float, what: str, work: Waitable[T]) -> Deferred[T]:
    """
    C{work}, cancelled after C{seconds}.

    @param what: completes the sentence I{I waited for ...}.
    @raise Late: it took longer.
    """

    def late(_result: object, _timeout: float) -> NoReturn:
        raise Late(f"waited {seconds:g} s for {what}")

    return started(work).addTimeout(seconds, reactor, onTimeoutCancel=late)


async def together(*works: Waitable[T]) -> list[T]:
    """
    The results of all C{works}, which run at the same time; or the first failure among them.
    """
    try:
        return await gatherResults([started(work) for work in works], consumeErrors=True)
    except FirstError as first:
        # What failed is of interest, not that it was one of several.
        first.subFailure.raiseException()


@overload
async def eventually(
    check: Callable[[], Waitable[T]],
    what: str,
    timeout: float = ...,
    every: float = ...,
    unless: Callable[[], None] | None = ...,
) -> T: ...


@overload
async def eventually(
    check: Callable[[], T],
    what: str,
    timeout: float = ...,
    every: float = ...,
    unless: Callable[[], None] | None = ...,
) -> T: ...


async def eventually(
    check: Callable[[], Any],
    what: str,
    timeout: float = 10.0,
    every: float = 0.05,
    unless: Callable[[], None] | None = None,
) -> Any:
    """
    Ask C{check} again and again until its answer is true, and return that.

    For what lives in another process and tells nobody when it changes.

    @param unless: called before each time; it raises when there is no more hope.
    @raise Late: no answer was true within C{timeout} seconds.
    """
    deadline = reactor.seconds() + timeout
    while True:
        if unless is not None:
            unless()
        answer = check()
        if isinstance(answer, (Coroutine, Deferred)):
            answer = await within(max(deadline - reactor.seconds(), every), what, answer)
        if answer:
            return answer
        if reactor.seconds() >= deadline:
            raise Late(f"waited {timeout:g} s for {what}; the last answer was {answer!r}")
        await deferLater(reactor, every)


class Moment(Generic[T]):
    """
    Something that happens once, for which any number may wait, each with a Deferred of its own.
    """

    def __init__(self) -> None:
        self.value: T | None = None
        self.past = False
        self._waiting: list[Deferred[T]] = []

    def now(self, value: T) -> None:
        """
        It happens. A second time is no time.
        """
        if self.past:
            return
        self.value, self.past = value, True
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(value)

    def wait(self) -> Deferred[T]:
        """
        Fires with the value when it happens, or at once if it has.
        """
        if self.past:
            return succeed(cast(T, self.value))
        deferred: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(deferred)
        return deferred
