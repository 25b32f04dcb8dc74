"""
Tests for L{gatewayd.session}: every state and every input.
"""

from __future__ import annotations

from typing import Any, Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.commands import Heartbeat, HeartbeatAck
from gatewayd.errors import BadCommand
from gatewayd.messages import (
    Authenticated,
    Error,
    GuildSubscribed,
    GuildUnsubscribed,
    TokenExpiring,
)
from gatewayd.messages import HeartbeatAck as Answer
from gatewayd.model import Principal
from gatewayd.session import Inputs, Session
from tests.unit.session_case import (
    CREDENTIALS,
    NO,
    PRINCIPAL,
    Subject,
    authenticate,
    identifying,
    live,
    subscribe,
    unsubscribe,
    waiting,
    yes,
)


def over() -> Subject:
    """
    A session that was ended.
    """
    subject = live("g1")
    subject.session.end(closing.GOING_AWAY)
    subject.took()
    return subject


def gone() -> Subject:
    """
    A session whose connection was lost.
    """
    subject = live("g1")
    subject.session.lost()
    subject.took()
    return subject


STATES: dict[str, Callable[[], Subject]] = {
    "waiting": waiting,
    "identifying": identifying,
    "live": lambda: live("g1"),
    "over": over,
    "gone": gone,
}

FRESH = Principal("u1", 2000.0)
UNKNOWN = BadCommand("unknown_event", "no such event", "nonsense")
UNNAMED = BadCommand("invalid_data", "`event` must be a string")
UNFIT_IDENTIFY = BadCommand("invalid_data", "no userId", "identify")

INPUTS: dict[str, Callable[[Session], None]] = {
    "identify": lambda s: s.identify(CREDENTIALS),
    "command: heartbeat": lambda s: s.command(Heartbeat()),
    "command: heartbeat_ack": lambda s: s.command(HeartbeatAck()),
    "command: guild_subscribe": lambda s: s.command(subscribe("g2")),
    "command: guild_subscribe again": lambda s: s.command(subscribe("g1")),
    "command: guild_unsubscribe": lambda s: s.command(unsubscribe("g1")),
    "command: authenticate": lambda s: s.command(authenticate("fresh")),
    "unfit: unknown": lambda s: s.unfit(UNKNOWN),
    "unfit: unnamed": lambda s: s.unfit(UNNAMED),
    "unfit: identify": lambda s: s.unfit(UNFIT_IDENTIFY),
    "accepted": lambda s: s.accepted(CREDENTIALS, PRINCIPAL, yes("g1")),
    "refused": lambda s: s.refused(closing.TOKEN_REFUSED),
    "answered": lambda s: s.answered("g2", 1, yes("g2")),
    "answered: no": lambda s: s.answered("g1", 1, NO),
    "renewed": lambda s: s.renewed(FRESH, ("g1", "g2")),
    "not_renewed": lambda s: s.not_renewed("it has expired"),
    "added": lambda s: s.added("g2"),
    "added: again": lambda s: s.added("g1"),
    "removed": lambda s: s.removed("g1", "member_removed"),
    "removed: another": lambda s: s.removed("g2", "guild_deleted"),
    "expiring": lambda s: s.expiring(60000),
    "end": lambda s: s.end(closing.DISCONNECTED),
    "lost": lambda s: s.lost(),
}
"""
What can happen, by the input's name and what is special about it.
"""


def complaint(error: BadCommand) -> tuple[str, Error]:
    """
    The effect of telling the client what was wrong.
    """
    message = Error(error.code, error.reason)
    if error.event is not None:
        message.event = error.event
    return ("send", message)


REFUSED_HERE = [("close", closing.NOT_IDENTIFIED)]
ENDED = [("close", closing.DISCONNECTED)]
EFFECTS: dict[str, dict[str, tuple[list[tuple[Any, ...]], str]]] = {
    "waiting": {
        "identify": ([("authenticate", CREDENTIALS)], "identifying"),
        "command: heartbeat": (REFUSED_HERE, "over"),
        "command: heartbeat_ack": (REFUSED_HERE, "over"),
        "command: guild_subscribe": (REFUSED_HERE, "over"),
        "command: guild_subscribe again": (REFUSED_HERE, "over"),
        "command: guild_unsubscribe": (REFUSED_HERE, "over"),
        "command: authenticate": (REFUSED_HERE, "over"),
        "unfit: unknown": (REFUSED_HERE, "over"),
        "unfit: unnamed": (REFUSED_HERE, "over"),
        "unfit: identify": ([complaint(UNFIT_IDENTIFY)], "waiting"),
        "end": (ENDED, "over"),
        "lost": ([], "over"),
    },
    "identifying": {
        "identify": ([("close", closing.IDENTIFIED_TWICE)], "over"),
        "unfit: unknown": ([complaint(UNKNOWN)], "identifying"),
        "unfit: unnamed": ([complaint(UNNAMED)], "identifying"),
        "unfit: identify": ([complaint(UNFIT_IDENTIFY)], "identifying"),
        "accepted": ([("enter", CREDENTIALS, PRINCIPAL, yes("g1"))], "live"),
        "refused": ([("close", closing.TOKEN_REFUSED)], "over"),
        "end": (ENDED, "over"),
        "lost": ([], "over"),
    },
    "live": {
        "identify": ([("close", closing.IDENTIFIED_TWICE)], "over"),
        "command: heartbeat": ([("send", Answer())], "live"),
        "command: heartbeat_ack": ([("acknowledged",)], "live"),
        "command: guild_subscribe": ([("authorise", "g2", 1)], "live"),
        "command: guild_subscribe again": ([("send", GuildSubscribed("g1"))], "live"),
        "command: guild_unsubscribe": (
            [("part", "g1"), ("send", GuildUnsubscribed("g1"))],
            "live",
        ),
        "command: authenticate": ([("renew", "fresh")], "live"),
        "unfit: unknown": ([complaint(UNKNOWN)], "live"),
        "unfit: unnamed": ([complaint(UNNAMED)], "live"),
        "unfit: identify": ([complaint(UNFIT_IDENTIFY)], "live"),
        "renewed": (
            [
                ("extend", FRESH),
                ("send", Authenticated(2_000_000)),
                ("part", "g1"),
                ("send", GuildUnsubscribed("g1", "revoked")),
            ],
            "live",
        ),
        "not_renewed": (
            [("send", Error("token_refused", "it has expired", event="authenticate"))],
            "live",
        ),
        "added": ([("join", "g2"), ("send", GuildSubscribed("g2"))], "live"),
        "removed": (
            [("part", "g1"), ("send", GuildUnsubscribed("g1", "member_removed"))],
            "live",
        ),
        "expiring": ([("send", TokenExpiring(60000))], "live"),
        "end": (ENDED, "over"),
        "lost": ([], "over"),
    },
    "over": {},
    "gone": {},
}
"""
What each input does in each state, and the state after it. What is not here does nothing.
"""


def state_of(subject: Subject) -> str:
    """
    The state that a session shows from outside, by the first of these that it heeds. It is
    not the same afterwards.
    """
    for name, state in (("expiring", "live"), ("accepted", "identifying"), ("identify", "waiting")):
        INPUTS[name](subject.session)
        if subject.took():
            return state
    return "over"


class TableTests(SynchronousTestCase):
    """
    Every input in every state.
    """

    def test_is_whole(self) -> None:
        """
        The table of inputs has all that there are.
        """
        declared = {name for name in vars(Inputs) if not name.startswith("_")}
        self.assertEqual({name.partition(":")[0] for name in INPUTS}, declared)
        for effects in EFFECTS.values():
            self.assertEqual({*effects} - {*INPUTS}, set())

    def test_states_are_told_apart(self) -> None:
        """
        Each state is the one that it is made to be.
        """
        shown = {name: state_of(make()) for name, make in STATES.items()}
        self.assertEqual(shown, {name: name for name in STATES} | {"gone": "over"})

    def test_each(self) -> None:
        """
        Each input has in each state the effects it should, raises nothing, answers nothing,
        and leads to the state it should.
        """
        for state, make in STATES.items():
            for name, happens in INPUTS.items():
                subject = make()
                unmoved: tuple[list[tuple[Any, ...]], str] = ([], state)
                effects, after = EFFECTS[state].get(name, unmoved)
                answer: object = happens(subject.session)
                self.assertIsNone(answer)
                self.assertEqual(subject.took(), effects, f"{name} in {state}")
                expected = "over" if after == "gone" else after
                self.assertEqual(state_of(subject), expected, f"{name} in {state}")

    def test_guilds(self) -> None:
        """
        What a session is subscribed to is what it was told.
        """
        for name, guilds in {
            "added": {"g1", "g2"},
            "removed": set(),
            "removed: another": {"g1"},
            "command: guild_unsubscribe": set(),
            "command: guild_subscribe": {"g1"},
            "renewed": set(),
            "not_renewed": {"g1"},
        }.items():
            subject = live("g1")
            INPUTS[name](subject.session)
            self.assertEqual(subject.core.guilds, guilds, name)


happenings = st.lists(st.sampled_from(sorted(INPUTS)), max_size=30)
at_once = st.dictionaries(
    st.sampled_from(["send", "authenticate", "enter", "authorise", "join", "part", "renew"]),
    st.sampled_from(sorted(INPUTS)),
    max_size=3,
)
"""
What happens before an effect has returned.
"""


class AnyOrderTests(SynchronousTestCase):
    """
    Whatever happens, in whatever order, and while something else is happening.
    """

    def run_through(self, happening: list[str], at_once: dict[str, str]) -> Subject:
        """
        A session to which all this has happened.
        """
        subject = waiting()
        left = 20

        def also(name: str) -> Callable[..., None]:
            def happens(*given: object) -> None:
                nonlocal left
                # Or one would lead to the other for ever.
                left -= 1
                if left > 0:
                    INPUTS[name](subject.session)

            return happens

        subject.effects.at_once = {effect: also(name) for effect, name in at_once.items()}
        for name in happening:
            INPUTS[name](subject.session)
        return subject

    @given(happenings, at_once)
    def test_ends_once(self, happening: list[str], at_once: dict[str, str]) -> None:
        """
        Nothing raises, and after the close there is nothing more: no message, no second close.
        """
        effects = [name for name, *_ in self.run_through(happening, at_once).effects.done]
        if "close" in effects:
            self.assertEqual(effects.index("close"), len(effects) - 1)

    @given(happenings, happenings, at_once)
    def test_stays_over(self, before: list[str], after: list[str], at_once: dict[str, str]) -> None:
        """
        What happens after the connection was lost has no effect.
        """
        subject = self.run_through([*before, "lost"], at_once)
        subject.took()
        for name in after:
            INPUTS[name](subject.session)
        self.assertEqual(subject.took(), [])

    @given(happenings, at_once)
    def test_enters_once(self, happening: list[str], at_once: dict[str, str]) -> None:
        """
        Nothing of a guild is done before the session has entered, which it does once, and for
        which its token has been asked about.
        """
        effects = [name for name, *_ in self.run_through(happening, at_once).effects.done]
        self.assertLessEqual(effects.count("enter"), 1)
        self.assertLessEqual(effects.count("authenticate"), 1)
        entered = effects.index("enter") if "enter" in effects else len(effects)
        before = effects[:entered]
        self.assertEqual({"join", "part", "authorise", "renew"} & {*before}, set())
        if "enter" in effects:
            self.assertIn("authenticate", before)

    @given(happenings, at_once)
    def test_says_what_it_does(self, happening: list[str], at_once: dict[str, str]) -> None:
        """
        What the client is told of its guilds, what flows, and what the session remembers are
        the same.
        """
        subject = self.run_through(["identify", "accepted", *happening], at_once)
        told: set[str] = set()
        flows: set[str] = set()
        for name, *given_ in subject.effects.done:
            match name, given_:
                case "enter", [_, _, grant]:
                    told, flows = {*grant.granted}, {*grant.granted}
                case "join", [guild]:
                    flows.add(guild)
                case "part", [guild]:
                    flows.remove(guild)
                case "send", [GuildSubscribed(guild_id=guild)]:
                    told.add(guild)
                    self.assertIn(guild, flows)
                case "send", [GuildUnsubscribed(guild_id=guild)]:
                    told.discard(guild)
                    self.assertNotIn(guild, flows)
        self.assertEqual(told, flows)
        self.assertEqual(flows, subject.core.guilds)
