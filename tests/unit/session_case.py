"""
A session's machine on its own, with nothing behind it.
"""

from __future__ import annotations

from typing import Any, Callable

from gatewayd.closing import Closing
from gatewayd.commands import (
    Authenticate,
    Credentials,
    FreshToken,
    Guild,
    GuildSubscribe,
    GuildUnsubscribe,
)
from gatewayd.messages import Message
from gatewayd.model import Denial, Grant, Principal
from gatewayd.session import Core, Effects, Session, new_session

CREDENTIALS = Credentials("u1", "token", ["g1", "g2"])
PRINCIPAL = Principal("u1", 1000.0)
NO = Grant((), (Denial("g1", "forbidden"),))


def subscribe(guild: str) -> GuildSubscribe:
    """
    The client begins to hear C{guild}.
    """
    return GuildSubscribe(Guild(guild))


def unsubscribe(guild: str) -> GuildUnsubscribe:
    """
    The client no longer hears C{guild}.
    """
    return GuildUnsubscribe(Guild(guild))


def authenticate(token: object) -> Authenticate:
    """
    The client has a fresh token.
    """
    return Authenticate(FreshToken(token))


def yes(*guilds: str) -> Grant:
    """
    An authority that grants C{guilds}.
    """
    return Grant(guilds)


def no(guild: str, reason: str = "forbidden") -> Grant:
    """
    An authority that denies C{guild}.
    """
    return Grant((), (Denial(guild, reason),))


class RecordingEffects:
    """
    Effects that happen nowhere and are remembered.

    @ivar done: each effect's name, with what it was given.
    @ivar wait: milliseconds to wait for one more subscription.
    @ivar at_once: by the name of an effect, what else happens before it returns: an authority
        that knows the answer, a connection that breaks.
    """

    def __init__(self) -> None:
        self.wait = 0
        self.done: list[tuple[Any, ...]] = []
        self.at_once: dict[str, Callable[..., None]] = {}

    def _do(self, name: str, *given: Any) -> None:
        self.done.append((name, *given))
        if name in self.at_once:
            self.at_once[name](*given)

    def too_soon(self) -> int:
        """
        See L{Effects.too_soon}.
        """
        return self.wait

    def send(self, message: Message) -> None:
        """
        See L{Effects.send}.
        """
        self._do("send", message)

    def authenticate(self, credentials: Credentials) -> None:
        """
        See L{Effects.authenticate}.
        """
        self._do("authenticate", credentials)

    def enter(self, credentials: Credentials, principal: Principal, grant: Grant) -> None:
        """
        See L{Effects.enter}.
        """
        self._do("enter", credentials, principal, grant)

    def authorise(self, guild: str, asked: int) -> None:
        """
        See L{Effects.authorise}.
        """
        self._do("authorise", guild, asked)

    def join(self, guild: str) -> None:
        """
        See L{Effects.join}.
        """
        self._do("join", guild)

    def part(self, guild: str) -> None:
        """
        See L{Effects.part}.
        """
        self._do("part", guild)

    def renew(self, token: object) -> None:
        """
        See L{Effects.renew}.
        """
        self._do("renew", token)

    def extend(self, principal: Principal) -> None:
        """
        See L{Effects.extend}.
        """
        self._do("extend", principal)

    def acknowledged(self) -> None:
        """
        See L{Effects.acknowledged}.
        """
        self._do("acknowledged")

    def close(self, closing: Closing) -> None:
        """
        See L{Effects.close}.
        """
        self._do("close", closing)


class Subject:
    """
    One session, and what comes of it.
    """

    def __init__(self, max_guilds: int = 200) -> None:
        self.effects = RecordingEffects()
        effects: Effects = self.effects
        self.core = Core(effects, max_guilds)
        self.session: Session = new_session(self.core)

    def took(self) -> list[tuple[Any, ...]]:
        """
        The effects since this was last asked.
        """
        done = self.effects.done[:]
        self.effects.done.clear()
        return done

    def says(self, command: Any) -> list[tuple[Any, ...]]:
        """
        The client sends C{command}.

        @return: the effects of it.
        """
        self.session.command(command)
        return self.took()

    def asks(self, guild: str) -> int:
        """
        The client subscribes to C{guild}, which an authority is asked about.

        @return: the number of the asking.
        """
        ((name, asked_about, number),) = self.says(subscribe(guild))
        assert (name, asked_about) == ("authorise", guild)
        assert isinstance(number, int)
        return number

    def answer(self, guild: str, number: int, grant: Grant) -> list[tuple[Any, ...]]:
        """
        The authority answers.

        @return: the effects of it.
        """
        self.session.answered(guild, number, grant)
        return self.took()


def waiting() -> Subject:
    """
    A session that has not identified.
    """
    return Subject()


def identifying() -> Subject:
    """
    A session whose token is being asked about.
    """
    subject = waiting()
    subject.session.identify(CREDENTIALS)
    assert subject.took() == [("authenticate", CREDENTIALS)]
    return subject


def live(*guilds: str, max_guilds: int = 200) -> Subject:
    """
    A session that hears C{guilds}.
    """
    subject = Subject(max_guilds)
    subject.session.identify(CREDENTIALS)
    subject.session.accepted(CREDENTIALS, PRINCIPAL, Grant(guilds))
    subject.took()
    return subject
