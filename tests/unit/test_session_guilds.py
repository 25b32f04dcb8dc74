"""
Tests for L{gatewayd.session}: how guilds come and go, and how many there may be.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.messages import Error, GuildSubscribed, GuildUnsubscribed
from tests.unit.session_case import Subject, live, no, subscribe, unsubscribe, yes

SUBSCRIBED = ("send", GuildSubscribed("g1"))
UNSUBSCRIBED = ("send", GuildUnsubscribed("g1"))


def denied(guild: str, code: str = "forbidden") -> Error:
    """
    What a client is told whose subscription was not granted.
    """
    return Error(code, "you may not see this guild", event="guild_subscribe", guild_id=guild)


class SubscribeTests(SynchronousTestCase):
    """
    C{guild_subscribe} and C{guild_unsubscribe}.
    """

    def test_granted(self) -> None:
        """
        A guild that is granted flows before the client is told so.
        """
        subject = live()
        number = subject.asks("g1")
        self.assertEqual(subject.answer("g1", number, yes("g1")), [("join", "g1"), SUBSCRIBED])
        self.assertEqual(subject.core.guilds, {"g1"})

    def test_denied(self) -> None:
        """
        A guild that is not granted is an error with the authority's reason, and can be asked
        for again.
        """
        subject = live()
        for reason in ("forbidden", "revoked"):
            number = subject.asks("g1")
            done = subject.answer("g1", number, no("g1", reason))
            self.assertEqual(done, [("send", denied("g1", reason))])
        number = subject.asks("g1")
        ((_, error),) = subject.answer("g1", number, no("g1", "unavailable"))
        self.assertEqual((error.code, error.guild_id), ("unavailable", "g1"))
        self.assertIn("later", error.message)
        self.assertEqual(subject.core.guilds, set())

    def test_too_often(self) -> None:
        """
        Over the rate of subscriptions the answer is when to try again, and nobody is asked.
        """
        subject = live()
        subject.effects.wait = 1500
        ((_, error),) = subject.says(subscribe("g1"))
        self.assertEqual((error.code, error.retry_after), ("rate_limited", 1500))
        self.assertEqual((error.event, error.guild_id), ("guild_subscribe", "g1"))
        subject.effects.wait = 0
        subject.asks("g1")

    def test_no_answer_is_no(self) -> None:
        """
        An authority that says nothing of a guild has not granted it.
        """
        subject = live()
        number = subject.asks("g1")
        self.assertEqual(subject.answer("g1", number, yes()), [("send", denied("g1"))])
        number = subject.asks("g1")
        self.assertEqual(subject.answer("g1", number, yes("g2")), [("send", denied("g1"))])
        self.assertEqual(subject.core.guilds, set())

    def test_answered_at_once(self) -> None:
        """
        An authority may answer before the question has returned.
        """
        subject = live()
        session = subject.session
        subject.effects.at_once["authorise"] = lambda guild, asked: session.answered(
            guild, asked, yes(guild)
        )
        done = subject.says(subscribe("g1"))
        self.assertEqual(done, [("authorise", "g1", 1), ("join", "g1"), SUBSCRIBED])

    def test_twice(self) -> None:
        """
        Subscribing to what flows already is confirmed, and nobody is asked.
        """
        self.assertEqual(live("g1").says(subscribe("g1")), [SUBSCRIBED])

    def test_unsubscribe(self) -> None:
        """
        A guild that is given up stops before the client is told so, and without a reason:
        there is none but the client's.
        """
        subject = live("g1", "g2")
        self.assertEqual(subject.says(unsubscribe("g1")), [("part", "g1"), UNSUBSCRIBED])
        self.assertEqual(subject.core.guilds, {"g2"})
        self.assertEqual(subject.says(unsubscribe("g1")), [UNSUBSCRIBED])

    def test_integer_ids(self) -> None:
        """
        A guild named by an integer is the one named by its decimal string.
        """
        subject = live("5")
        for command in (subscribe("5"), unsubscribe("5")):
            given_as_integer = type(command)(type(command.data)(5))
            ((*_, message),) = subject.says(given_as_integer)[-1:]
            self.assertEqual(message.guild_id, "5")
        self.assertEqual(subject.core.guilds, set())


class LimitTests(SynchronousTestCase):
    """
    C{max_guilds}.
    """

    def refused(self, subject: Subject, guild: str) -> None:
        """
        Fail unless the client is told that it has too many guilds.
        """
        ((name, error),) = subject.says(subscribe(guild))
        self.assertEqual((name, error.code, error.guild_id), ("send", "too_many_guilds", guild))
        self.assertEqual(error.event, "guild_subscribe")

    def test_full(self) -> None:
        """
        A session that has all the guilds it may have gets no more, until it gives one up.
        """
        subject = live("g1", "g2", max_guilds=2)
        self.refused(subject, "g3")
        self.assertEqual(subject.says(subscribe("g1")), [SUBSCRIBED])
        subject.says(unsubscribe("g1"))
        subject.asks("g3")

    def test_questions_count(self) -> None:
        """
        Guilds being asked about count, and count no more when denied or given up.
        """
        subject = live("g1", max_guilds=3)
        second, third = subject.asks("g2"), subject.asks("g3")
        self.refused(subject, "g4")
        self.assertGreater(subject.asks("g2"), third)
        subject.answer("g3", third, no("g3"))
        subject.asks("g4")
        self.refused(subject, "g5")
        subject.says(unsubscribe("g4"))
        self.assertEqual(subject.answer("g2", second, yes("g2")), [])
        subject.asks("g5")

    def test_the_platform_is_not_limited(self) -> None:
        """
        A guild that the platform added its user to is never one too many.
        """
        subject = live("g1", max_guilds=1)
        subject.session.added("g2")
        subject.took()
        self.assertEqual(subject.core.guilds, {"g1", "g2"})
        self.refused(subject, "g3")

    @given(st.lists(st.sampled_from("abcdef"), max_size=40), st.integers(0, 4), st.booleans())
    def test_never_passed(self, guilds: str, limit: int, eager: bool) -> None:
        """
        However it subscribes, and whenever it is answered, a session has no more guilds than
        the limit.
        """
        subject = live(max_guilds=limit)
        for guild in guilds:
            for name, *given_ in subject.says(subscribe(guild)):
                if name == "authorise":
                    asked = given_[1]
                    if eager or asked % 2:
                        subject.answer(guild, asked, yes(guild))
            self.assertLessEqual(len(subject.core.guilds), limit)
        for number in range(len(guilds) + 1):
            for guild in "abcdef":
                subject.answer(guild, number, yes(guild))
        self.assertLessEqual(len(subject.core.guilds), limit)
