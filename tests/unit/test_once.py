"""
Something happens once, to all who wait for it.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import AlreadyCalled
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.source.once import Once


class OnceTests(SynchronousTestCase):
    """
    Waiting for it.
    """

    def setUp(self) -> None:
        """
        It has not happened.
        """
        self.once = Once()

    def test_fires_for_all_who_wait(self) -> None:
        """
        All have waited, and none longer than until it happens.
        """
        waiting = [self.once.wait() for _ in range(3)]
        for one in waiting:
            self.assertNoResult(one)
        self.assertFalse(self.once.happened)
        self.once.happen()
        for one in waiting:
            self.assertIsNone(self.successResultOf(one))
        self.assertTrue(self.once.happened)

    def test_fires_at_once_afterwards(self) -> None:
        """
        Who comes later does not wait.
        """
        self.once.happen()
        self.assertIsNone(self.successResultOf(self.once.wait()))

    def test_happens_once(self) -> None:
        """
        A second time changes nothing.
        """
        waiting = self.once.wait()
        self.once.happen()
        try:
            self.once.happen()
        except AlreadyCalled:
            self.fail("it happened twice")
        self.assertIsNone(self.successResultOf(waiting))

    def test_each_can_give_up_alone(self) -> None:
        """
        One who gives up, or for whom it takes too long, does not keep it from the others; and
        nothing is kept of them.
        """
        clock = Clock()
        impatient, cancelled = self.once.wait(), self.once.wait()
        patient = self.once.wait()
        impatient.addTimeout(1, clock, lambda *_: None)
        cancelled.cancel()
        clock.advance(1)
        self.failureResultOf(cancelled, CancelledError)
        self.assertIsNone(self.successResultOf(impatient))
        self.assertEqual(len(self.once._waiting), 1)
        self.once.happen()
        self.assertIsNone(self.successResultOf(patient))

    def test_one_may_give_up_while_it_happens(self) -> None:
        """
        What the first does when it happens may be to have the others give up, or to wait again.
        """
        first, second, third = (self.once.wait() for _ in range(3))
        again: list[Deferred[None]] = []
        first.addCallback(lambda _: second.cancel())
        first.addCallback(lambda _: again.append(self.once.wait()))
        self.once.happen()
        self.failureResultOf(second, CancelledError)
        self.assertIsNone(self.successResultOf(third))
        self.assertIsNone(self.successResultOf(again[0]))
