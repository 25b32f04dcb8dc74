"""
Tests for L{gatewayd.session}: a late answer never undoes a newer command, nor what the
platform has announced since.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.messages import Authenticated, Error, GuildSubscribed, GuildUnsubscribed
from gatewayd.model import Principal
from tests.unit.session_case import Subject, authenticate, live, no, subscribe, unsubscribe, yes

SUBSCRIBED = ("send", GuildSubscribed("g1"))
FORBIDDEN = (
    "send",
    Error("forbidden", "you may not see this guild", event="guild_subscribe", guild_id="g1"),
)


class GuildTests(SynchronousTestCase):
    """
    An authority that takes its time.
    """

    def ignored(self, subject: Subject, number: int) -> None:
        """
        Fail if an answer to that asking makes any difference.
        """
        for grant in (yes("g1"), no("g1"), no("g1", "unavailable"), yes()):
            self.assertEqual(subject.answer("g1", number, grant), [])

    def test_given_up(self) -> None:
        """
        A guild that was given up meanwhile does not come back.
        """
        subject = live()
        number = subject.asks("g1")
        subject.says(unsubscribe("g1"))
        self.ignored(subject, number)
        self.assertEqual(subject.core.guilds, set())

    def test_given_up_and_asked_again(self) -> None:
        """
        Only the answer to the newest question counts, in whichever order answers come.
        """
        subject = live()
        first = subject.asks("g1")
        subject.says(unsubscribe("g1"))
        second = subject.asks("g1")
        self.ignored(subject, first)
        self.assertEqual(subject.answer("g1", second, yes("g1")), [("join", "g1"), SUBSCRIBED])
        self.ignored(subject, first)
        self.ignored(subject, second)
        self.assertEqual(subject.core.guilds, {"g1"})

    def test_asked_twice(self) -> None:
        """
        Of two questions about one guild only the newer is answered.
        """
        subject = live()
        first, second = subject.asks("g1"), subject.asks("g1")
        self.ignored(subject, first)
        self.assertEqual(subject.answer("g1", second, no("g1")), [FORBIDDEN])

    def test_of_another_guild(self) -> None:
        """
        The answer about one guild is none about another.
        """
        subject = live()
        number, other = subject.asks("g1"), subject.asks("g2")
        self.ignored(subject, other)
        self.assertEqual(subject.answer("g2", number, yes("g2")), [])
        self.assertEqual(subject.answer("g1", number, yes("g1")), [("join", "g1"), SUBSCRIBED])

    def test_removed(self) -> None:
        """
        Whoever is removed while being asked about is told no at once, and a yes from before
        lets nobody in.
        """
        subject = live()
        number = subject.asks("g1")
        subject.session.removed("g1", "member_removed")
        self.assertEqual(subject.took(), [FORBIDDEN])
        self.ignored(subject, number)
        self.assertEqual(subject.core.guilds, set())

    def test_added(self) -> None:
        """
        Whoever is added while being asked about is told yes once, and a no from before does
        not unsettle it.
        """
        subject = live()
        number = subject.asks("g1")
        subject.session.added("g1")
        self.assertEqual(subject.took(), [("join", "g1"), SUBSCRIBED])
        self.ignored(subject, number)
        self.assertEqual(subject.core.guilds, {"g1"})

    def test_added_makes_room(self) -> None:
        """
        A guild that was asked about and then added counts once against the limit.
        """
        subject = live(max_guilds=2)
        subject.asks("g1")
        subject.session.added("g1")
        subject.took()
        subject.asks("g2")

    def test_over(self) -> None:
        """
        An answer for a session that has ended is for nobody.
        """
        subject = live()
        number = subject.asks("g1")
        subject.session.end(closing.GOING_AWAY)
        subject.took()
        self.ignored(subject, number)
        self.assertEqual(subject.core.guilds, set())

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["subscribe", "unsubscribe", "added", "removed", "yes", "no"]),
                st.sampled_from(["g1", "g2"]),
                st.integers(0, 3),
            ),
            max_size=40,
        )
    )
    def test_the_newest_counts(self, steps: list[tuple[str, str, int]]) -> None:
        """
        An answer matters if it is to the newest question about that guild, and nothing was
        said about the guild since; otherwise it has no effect at all.
        """
        subject = live(max_guilds=2)
        questions: dict[str, list[int]] = {"g1": [], "g2": []}
        open_question: dict[str, int] = {}
        for what, guild, which in steps:
            if what in ("yes", "no"):
                # The newest, or an older one.
                if which >= len(questions[guild]):
                    continue
                number = questions[guild][-1 - which]
                grant = yes(guild) if what == "yes" else no(guild)
                done = subject.answer(guild, number, grant)
                matters = open_question.get(guild) == number
                self.assertEqual(bool(done), matters)
                self.assertEqual(("join", guild) in done, matters and what == "yes")
                if matters:
                    del open_question[guild]
                continue
            if what == "subscribe":
                for name, *given_ in subject.says(subscribe(guild)):
                    if name == "authorise":
                        questions[guild].append(given_[1])
                        open_question[guild] = given_[1]
                continue
            open_question.pop(guild, None)
            if what == "unsubscribe":
                subject.says(unsubscribe(guild))
                self.assertNotIn(guild, subject.core.guilds)
            elif what == "added":
                subject.session.added(guild)
                self.assertIn(guild, subject.core.guilds)
            else:
                subject.session.removed(guild, "member_removed")
                self.assertNotIn(guild, subject.core.guilds)
            subject.took()


class TokenTests(SynchronousTestCase):
    """
    A fresh token that takes its time to be checked.
    """

    def holds(self, subject: Subject, expires: float, *lost: str) -> list[object]:
        """
        The fresh token holds until C{expires}.

        @return: the effects, without the two that say just that.
        """
        principal = Principal("u1", expires)
        subject.session.renewed(principal, lost)
        done = subject.took()
        said = [("extend", principal), ("send", Authenticated(int(expires * 1000)))]
        self.assertEqual(done[:2], said)
        return [*done[2:]]

    def test_one_after_the_other(self) -> None:
        """
        A token that comes while another is being checked is checked after it, so that the
        newest is the one that stays.
        """
        subject = live()
        self.assertEqual(subject.says(authenticate("first")), [("renew", "first")])
        self.assertEqual(subject.says(authenticate("second")), [])
        self.assertEqual(self.holds(subject, 100.0), [("renew", "second")])
        self.assertEqual(self.holds(subject, 200.0), [])

    def test_the_newest_waits(self) -> None:
        """
        However many tokens come meanwhile, only the newest of them is checked.
        """
        subject = live()
        subject.says(authenticate("first"))
        for token in ("second", None, "newest"):
            self.assertEqual(subject.says(authenticate(token)), [])
        self.assertEqual(self.holds(subject, 100.0), [("renew", "newest")])
        self.assertEqual(self.holds(subject, 200.0), [])

    def test_after_one_that_does_not_hold(self) -> None:
        """
        A token that does not hold is no hindrance to the next.
        """
        subject = live()
        subject.says(authenticate("bad"))
        subject.says(authenticate(None))
        refused = ("send", Error("token_refused", "it has expired", event="authenticate"))
        subject.session.not_renewed("it has expired")
        self.assertEqual(subject.took(), [refused, ("renew", None)])
        subject.session.not_renewed("it has expired")
        self.assertEqual(subject.took(), [refused])
        self.assertEqual(subject.says(authenticate("good")), [("renew", "good")])

    def test_checked_at_once(self) -> None:
        """
        A token may be checked before the question has returned, again and again.
        """
        subject = live()
        session = subject.session
        subject.effects.at_once["renew"] = lambda token: session.renewed(
            Principal("u1", float(token)), ()
        )
        for token in ("100", "200"):
            done = subject.says(authenticate(token))
            self.assertEqual([name for name, *_ in done], ["renew", "extend", "send"])

    def test_takes_guilds_away(self) -> None:
        """
        A guild that the fresh token does not grant is taken away, once, with the reason; one
        that was given up meanwhile is not mentioned.
        """
        subject = live("g1", "g2", "g3")
        subject.says(authenticate("narrower"))
        subject.says(unsubscribe("g2"))
        self.assertEqual(
            self.holds(subject, 100.0, "g1", "g2"),
            [("part", "g1"), ("send", GuildUnsubscribed("g1", "revoked"))],
        )
        self.assertEqual(subject.core.guilds, {"g3"})

    def test_over(self) -> None:
        """
        A session that has ended is not extended, and nothing that waited is checked.
        """
        subject = live("g1")
        subject.says(authenticate("first"))
        subject.says(authenticate("second"))
        subject.session.end(closing.TOKEN_EXPIRED)
        subject.took()
        subject.session.renewed(Principal("u1", 100.0), ("g1",))
        subject.session.not_renewed("it has expired")
        self.assertEqual(subject.took(), [])
