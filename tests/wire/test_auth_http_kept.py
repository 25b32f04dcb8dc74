"""
What is kept of a membership service's answers, shared by those who ask, and forgotten.
"""

from __future__ import annotations

from gatewayd.model import Grant
from tests.wire.auth_case import HttpTestCase, denied, members


class KeptTests(HttpTestCase):
    """
    Answers that are kept.
    """

    def test_yes(self) -> None:
        """
        A yes holds for ten seconds, and then is asked for again.
        """
        self.grant("g1")
        self.service.body = members()
        self.clock.advance(9.9)
        self.assertEqual(self.grant("g1"), Grant(("g1",)))
        self.assertEqual(len(self.questions), 1)
        self.clock.advance(0.2)
        self.assertEqual(self.grant("g1"), Grant((), denied("forbidden", "g1")))

    def test_no(self) -> None:
        """
        A no holds for two.
        """
        self.service.body = members()
        self.grant("g1")
        self.service.body = members("g1")
        self.clock.advance(1.9)
        self.assertEqual(self.grant("g1"), Grant((), denied("forbidden", "g1")))
        self.clock.advance(0.2)
        self.assertEqual(self.grant("g1"), Grant(("g1",)))

    def test_rest(self) -> None:
        """
        Only what is not known is asked for; the order is that of all.
        """
        self.grant("g2", "g4")
        self.assertEqual(
            self.grant("g1", "g2", "g3", "g4"),
            Grant(("g1", "g2"), denied("forbidden", "g3", "g4")),
        )
        self.assertEqual(self.questions[1], {"userId": "u1", "guildIds": ["g1", "g3"]})

    def test_own(self) -> None:
        """
        One user's answer is not another's.
        """
        self.grant("g1")
        self.service.body = members()
        self.assertEqual(self.grant("g1", user="u2").granted, ())

    def test_bound(self) -> None:
        """
        No more than so many are kept, of each kind; many refusals do not push out a yes.
        """
        self.authority = self.of(kept=10)
        self.grant("g1")
        for number in range(1000):
            self.grant(f"x{number}")
        asked = len(self.questions)
        self.assertEqual(self.grant("g1").granted, ("g1",))
        self.assertEqual(len(self.questions), asked)
        self.assertEqual((len(self.authority._yes), len(self.authority._no)), (1, 10))


class TogetherTests(HttpTestCase):
    """
    Questions at the same time.
    """

    def test_same(self) -> None:
        """
        A thousand that are the same are one call.
        """
        self.service.silent = True
        waiting = [self.asking("g1", "g3") for _ in range(1000)]
        self.assertEqual(len(self.questions), 1)
        self.service.release()
        for one in waiting:
            expected = Grant(("g1",), denied("forbidden", "g3"))
            self.assertEqual(self.successResultOf(one), expected)
        self.assertEqual(self.authority._asking, {})

    def test_other(self) -> None:
        """
        Another user, or other guilds, are another one.
        """
        self.service.silent = True
        for guilds, user in ((("g1",), "u1"), (("g1",), "u2"), (("g1", "g2"), "u1")):
            self.asking(*guilds, user=user)
        self.assertEqual(len(self.questions), 3)

    def test_one_gives_up(self) -> None:
        """
        Who no longer waits takes nothing from the others.
        """
        self.service.silent = True
        first, second = self.asking("g1"), self.asking("g1")
        first.cancel()
        self.failureResultOf(first)
        self.service.release()
        self.assertEqual(self.successResultOf(second), Grant(("g1",)))


class ForgetTests(HttpTestCase):
    """
    Memberships that change.
    """

    def test_kept(self) -> None:
        """
        What is forgotten is asked again, and only that.
        """
        self.grant("g1", "g2")
        self.grant("g1", user="u2")
        self.service.body = members()
        self.authority.forget("u1", "g1")
        self.assertEqual(self.grant("g1", "g2"), Grant(("g2",), denied("forbidden", "g1")))
        self.assertEqual(self.grant("g1", user="u2"), Grant(("g1",)))

    def test_refusal(self) -> None:
        """
        So is a no, when somebody joins.
        """
        self.grant("g3")
        self.service.body = members("g3")
        self.authority.forget("u1", "g3")
        self.assertEqual(self.grant("g3"), Grant(("g3",)))

    def test_everybody(self) -> None:
        """
        A guild can be forgotten for all.
        """
        for user in ("u1", "u2"):
            self.grant("g1", "g2", user=user)
        self.service.body = members()
        self.authority.forget(None, "g1")
        for user in ("u1", "u2"):
            self.assertEqual(self.grant("g1", "g2", user=user).granted, ("g2",))

    def test_on_its_way(self) -> None:
        """
        An answer that was under way when its guild was forgotten is not believed about it, nor
        kept; about the others it is.
        """
        for user in ("u1", None):
            self.authority = self.of()
            self.service.silent = True
            waiting = self.asking("g1", "g2")
            self.authority.forget(user, "g1")
            self.service.release()
            expected = Grant(("g2",), denied("unavailable", "g1"))
            self.assertEqual(self.successResultOf(waiting), expected)
            self.service.silent, self.service.asked = False, []
            self.grant("g1", "g2")
            self.assertEqual(self.questions, [{"userId": "u1", "guildIds": ["g1"]}])

    def test_known_meanwhile(self) -> None:
        """
        Nor is what was known at the beginning, if it was forgotten before the end.
        """
        self.grant("g1")
        self.service.silent = True
        waiting = self.asking("g1", "g2")
        self.authority.forget("u1", "g1")
        self.service.release()
        expected = Grant(("g2",), denied("unavailable", "g1"))
        self.assertEqual(self.successResultOf(waiting), expected)

    def test_asked_after(self) -> None:
        """
        Who asks after that has a call of their own, and believes its answer.
        """
        self.service.silent = True
        before = self.asking("g1")
        self.authority.forget("u1", "g1")
        after = self.asking("g1")
        self.assertEqual(len(self.questions), 2)
        self.service.release()
        self.assertEqual(self.successResultOf(before).granted, ())
        self.assertEqual(self.successResultOf(after), Grant(("g1",)))

    def test_others(self) -> None:
        """
        Other users' questions, and those about other guilds, go on.
        """
        self.service.silent = True
        waiting = [self.asking("g1", user="u2"), self.asking("g2")]
        self.authority.forget("u1", "g1")
        self.service.release()
        self.assertEqual(
            [self.successResultOf(one) for one in waiting], [Grant(("g1",)), Grant(("g2",))]
        )
