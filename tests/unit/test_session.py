"""
Tests for L{gatewayd.session}: what clients do, and what becomes of it.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.commands import Command, Heartbeat, HeartbeatAck
from gatewayd.errors import BadCommand
from gatewayd.messages import Error, GuildSubscribed, GuildUnsubscribed
from gatewayd.messages import HeartbeatAck as Answer
from gatewayd.model import Grant
from gatewayd.session import MAX_EARLY, MAX_UNKNOWN
from tests.unit.session_case import (
    CREDENTIALS,
    PRINCIPAL,
    identifying,
    live,
    no,
    subscribe,
    unsubscribe,
    waiting,
    yes,
)

UNKNOWN = BadCommand("unknown_event", "no such event", "nonsense")
INVALID = BadCommand("invalid_data", "no guildId", "guild_subscribe")
SUBSCRIBED = ("send", GuildSubscribed("g1"))
UNSUBSCRIBED = ("send", GuildUnsubscribed("g1"))


class IdentifyTests(SynchronousTestCase):
    """
    From the connection to the first event.
    """

    def test_enters_with_what_was_granted(self) -> None:
        """
        A session is subscribed to what the authority granted, and not to what was asked.
        """
        subject = identifying()
        grant = Grant(("g2",), no("g1").denied)
        subject.session.accepted(CREDENTIALS, PRINCIPAL, grant)
        self.assertEqual(subject.took(), [("enter", CREDENTIALS, PRINCIPAL, grant)])
        self.assertEqual(subject.core.guilds, {"g2"})

    def test_knows_its_guilds_when_it_enters(self) -> None:
        """
        Entering finds the session's guilds in place: what was missed depends on them.
        """
        subject = identifying()
        seen: list[set[str]] = []
        subject.effects.at_once["enter"] = lambda *given_: seen.append({*subject.core.guilds})
        subject.session.accepted(CREDENTIALS, PRINCIPAL, yes("g1", "g2"))
        self.assertEqual(seen, [{"g1", "g2"}])

    def test_answered_at_once(self) -> None:
        """
        A token may be accepted, or refused, before the question has returned.
        """
        subject = waiting()
        session = subject.session
        subject.effects.at_once["authenticate"] = lambda credentials: session.accepted(
            credentials, PRINCIPAL, yes("g1")
        )
        session.identify(CREDENTIALS)
        self.assertEqual([name for name, *_ in subject.took()], ["authenticate", "enter"])
        subject = waiting()
        session = subject.session
        subject.effects.at_once["authenticate"] = lambda _: session.refused(closing.TOKEN_REFUSED)
        session.identify(CREDENTIALS)
        self.assertEqual(subject.took()[1:], [("close", closing.TOKEN_REFUSED)])

    def test_may_mend_an_identify(self) -> None:
        """
        An C{identify} with a fault in it is answered, and the next one counts.
        """
        subject = waiting()
        for _ in range(MAX_UNKNOWN + 2):
            subject.session.unfit(BadCommand("invalid_data", "no userId", "identify"))
        expected = Error("invalid_data", "no userId", event="identify")
        self.assertEqual(subject.took(), [("send", expected)] * (MAX_UNKNOWN + 2))
        subject.session.identify(CREDENTIALS)
        self.assertEqual(subject.took(), [("authenticate", CREDENTIALS)])

    def test_accepted_too_late(self) -> None:
        """
        A token accepted after the session was ended lets nobody in.
        """
        subject = identifying()
        subject.session.end(closing.IDENTIFY_TIMEOUT)
        subject.session.accepted(CREDENTIALS, PRINCIPAL, yes("g1"))
        self.assertEqual(subject.took(), [("close", closing.IDENTIFY_TIMEOUT)])
        self.assertEqual(subject.core.guilds, set())


class EarlyTests(SynchronousTestCase):
    """
    What a client says while its C{identify} is being answered.
    """

    def test_served_in_order(self) -> None:
        """
        Early commands are served after the session has entered, in the order they came.
        """
        subject = identifying()
        early: tuple[Command, ...] = (
            *(Heartbeat(), subscribe("g1"), unsubscribe("g1"), subscribe("g9"), HeartbeatAck()),
        )
        for command in early:
            self.assertEqual(subject.says(command), [])
        subject.session.accepted(CREDENTIALS, PRINCIPAL, yes("g1"))
        self.assertEqual(
            subject.took(),
            [
                ("enter", CREDENTIALS, PRINCIPAL, yes("g1")),
                ("send", Answer()),
                SUBSCRIBED,
                ("part", "g1"),
                UNSUBSCRIBED,
                ("authorise", "g9", 1),
                ("acknowledged",),
            ],
        )
        self.assertEqual(subject.core.guilds, set())

    def test_not_served_to_who_is_refused(self) -> None:
        """
        Early commands of a client whose token is refused, or who broke off, are dropped.
        """
        for why in (closing.TOKEN_REFUSED, closing.TOO_MANY_CONNECTIONS):
            subject = identifying()
            subject.says(subscribe("g1"))
            subject.session.refused(why)
            self.assertEqual(subject.took(), [("close", why)])
        subject = identifying()
        subject.says(subscribe("g1"))
        subject.effects.at_once["enter"] = lambda *given_: subject.session.end(closing.TOO_SLOW)
        subject.session.accepted(CREDENTIALS, PRINCIPAL, yes())
        self.assertEqual([name for name, *_ in subject.took()], ["enter", "close"])

    def test_bounded(self) -> None:
        """
        No more than so many early commands are kept; one more ends the session.
        """
        subject = identifying()
        for _ in range(MAX_EARLY):
            self.assertEqual(subject.says(Heartbeat()), [])
        self.assertEqual(subject.says(Heartbeat()), [("close", closing.RATE_LIMITED)])


class UnfitTests(SynchronousTestCase):
    """
    What we do not understand.
    """

    def test_unknown_events(self) -> None:
        """
        Unknown events are answered, until there are too many.
        """
        subject = live()
        answer = ("send", Error("unknown_event", "no such event", event="nonsense"))
        for _ in range(MAX_UNKNOWN):
            subject.session.unfit(UNKNOWN)
            self.assertEqual(subject.took(), [answer])
        subject.session.unfit(UNKNOWN)
        self.assertEqual(subject.took(), [("close", closing.UNKNOWN_EVENTS)])

    def test_counted_from_the_first(self) -> None:
        """
        Unknown events count from before the session entered.
        """
        subject = identifying()
        for _ in range(MAX_UNKNOWN):
            subject.session.unfit(UNKNOWN)
        subject.session.accepted(CREDENTIALS, PRINCIPAL, yes())
        subject.took()
        subject.session.unfit(UNKNOWN)
        self.assertEqual(subject.took(), [("close", closing.UNKNOWN_EVENTS)])

    def test_faults_are_not_unknown(self) -> None:
        """
        A known command with a fault in it is answered each time, and never ends a session.
        """
        subject = live()
        for _ in range(3 * MAX_UNKNOWN):
            subject.session.unfit(INVALID)
        answer = ("send", Error("invalid_data", "no guildId", event="guild_subscribe"))
        self.assertEqual(subject.took(), [answer] * (3 * MAX_UNKNOWN))
