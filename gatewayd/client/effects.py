"""
What the core has its shell do, and what the shell has the application hear.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from gatewayd.client.errors import ClientError


class State(StrEnum):
    """
    Where a client is. Its values are the words of all SDKs.
    """

    IDLE = "idle"
    """Not told to connect yet."""
    CONNECTING = "connecting"
    """Getting a token, a socket, and the gateway's C{ready}."""
    IDENTIFYING = "identifying"
    """C{identify} is sent."""
    READY = "ready"
    """The session is live."""
    WAITING = "waiting"
    """Between two attempts."""
    CLOSED = "closed"
    """By the application, or by a gateway that said not to come back."""


class Meta(NamedTuple):
    """
    What comes with an event beside its data.

    @ivar name: such as C{message.create}.
    @ivar id: its place in the log; L{None} for what is never logged, such as C{typing.start}.
    @ivar guild_id: where it is for one guild.
    """

    name: str
    id: str | None = None
    guild_id: str | None = None


class StateChange(NamedTuple):
    """
    The data of C{state}.

    @ivar retry_in: seconds until the next attempt, in L{State.WAITING}.
    @ivar error: what ended the attempt or the session before.
    """

    state: State
    previous: State
    retry_in: float | None = None
    error: ClientError | None = None


class Resync(NamedTuple):
    """
    The data of C{resync}: something may have been missed in these guilds, so fetch them.
    """

    guild_ids: tuple[str, ...]


# ------------------------------------------------------------------------------ effects


class Ask(NamedTuple):
    """
    Call the application's token function, and tell the core what comes of it.
    """


class Open(NamedTuple):
    """
    Open a socket. All that is told of it carries the number of this attempt.
    """

    attempt: int


class Send(NamedTuple):
    """
    Send a text message on the socket there is.
    """

    text: str


class Drop(NamedTuple):
    """
    Be done with the socket, whether it answers or not. Nothing more is told of it.
    """

    code: int
    reason: str


class Emit(NamedTuple):
    """
    Call the application's listeners.

    @ivar local: it is the client's own word, such as C{state}, and no event of the platform.
    """

    meta: Meta
    data: Any
    local: bool = False


class Settle(NamedTuple):
    """
    A C{subscribe} or C{unsubscribe} is done, or failed.
    """

    ref: int
    error: ClientError | None


class Keep(NamedTuple):
    """
    Put this into the application's store: resume from here.
    """

    last_event_id: str


Effect = Ask | Open | Send | Drop | Emit | Settle | Keep
