"""
An event that an earlier log held is known by its uid, for as long as the window lasts.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import integers, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.bus.uids import MAX_UIDS, Uids

WINDOW = 20
NAMES = ("a", "b", "c", "d")


class UidsMachine(RuleBasedStateMachine):
    """
    The uids beside the time at which each was heard last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uids = Uids(WINDOW)
        self.ms = 1_000
        self.heard: dict[str, int] = {}
        self.before: dict[str, int] = {}

    @rule(name=sampled_from(NAMES), step=integers(0, WINDOW))
    def hear(self, name: str, step: int) -> None:
        """
        An event comes by, as the follower has it: not heard where it is known.
        """
        self.ms += step
        expected = name in self.before and self.ms - self.before[name] <= WINDOW
        assert self.uids.known(name, self.ms) == expected
        if not expected:
            self.uids.add(name, self.ms)
            self.heard[name] = self.ms

    @rule(step=integers(0, 2 * WINDOW))
    def break_off(self, step: int) -> None:
        """
        A new log begins.
        """
        self.ms += step
        self.uids.broke(self.ms)
        self.before = {**self.before, **self.heard}

    @invariant()
    def keeps_what_it_may_need(self) -> None:
        """
        Of what was heard lately, nothing has been forgotten.
        """
        held = self.uids._before | self.uids._old | self.uids._young
        for name, ms in self.heard.items():
            assert self.ms - ms > WINDOW or held[name] == ms


class UidsTests(SynchronousTestCase):
    """
    What is remembered, and for how long.
    """

    def test_agrees_with_the_times(self) -> None:
        """
        However many logs there are, a uid is known just if an earlier one held it, no longer
        ago than the window.
        """
        run_state_machine_as_test(UidsMachine, settings=settings(deadline=None, max_examples=60))

    def test_does_not_know_what_this_log_holds(self) -> None:
        """
        Within one log it is Redis that sees to it that none comes twice.
        """
        uids = Uids(WINDOW)
        uids.add("a", 1_000)
        self.assertFalse(uids.known("a", 1_001))
        uids.broke(1_002)
        self.assertTrue(uids.known("a", 1_003))
        self.assertFalse(uids.known("b", 1_003))

    def test_outlives_a_second_break(self) -> None:
        """
        What the log before the last held is known as well.
        """
        uids = Uids(WINDOW)
        uids.add("a", 1_000)
        uids.broke(1_001)
        uids.add("b", 1_002)
        uids.broke(1_003)
        self.assertTrue(uids.known("a", 1_004))
        self.assertTrue(uids.known("b", 1_004))

    def test_forgets_after_the_window(self) -> None:
        """
        A uid is known up to the window and no longer, and then costs nothing.
        """
        uids = Uids(WINDOW)
        uids.add("a", 1_000)
        uids.broke(1_010)
        self.assertTrue(uids.known("a", 1_000 + WINDOW))
        self.assertFalse(uids.known("a", 1_001 + WINDOW))
        self.assertFalse(uids.known("a", 1_011 + WINDOW))
        self.assertEqual(uids._before, {})

    def test_is_bounded(self) -> None:
        """
        However many come within the window, it keeps no more than its bound before a break, and
        no more than that after: the newest.
        """
        uids = Uids(1 << 60)
        for number in range(3 * MAX_UIDS):
            uids.add(f"u{number}", 1_000)
        self.assertLessEqual(len(uids._old) + len(uids._young), MAX_UIDS)
        uids.broke(1_000)
        for number in range(MAX_UIDS):
            uids.add(f"v{number}", 1_000)
        uids.broke(1_000)
        self.assertLessEqual(len(uids._before), MAX_UIDS)
        self.assertTrue(uids.known(f"v{MAX_UIDS - 1}", 1_000))
        self.assertFalse(uids.known("u0", 1_000))

    def test_old_ones_go_as_new_ones_come(self) -> None:
        """
        Without any break, what is older than twice the window is not kept.
        """
        uids = Uids(WINDOW)
        for ms in range(1_000, 2_000):
            uids.add(f"u{ms}", ms)
        self.assertLessEqual(len(uids._old) + len(uids._young), 2 * (WINDOW + 2))
