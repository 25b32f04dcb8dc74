"""
What can happen to a client. Whatever a shell tells of a socket names the attempt it was opened
for, so that what an old one still has to say is known for what it is.
"""

from __future__ import annotations

from typing import NamedTuple

from gatewayd.client.errors import ClientError


class Connect(NamedTuple):
    """
    The application wants to be connected.
    """


class Close(NamedTuple):
    """
    The application does not want to be connected any more.
    """


class Want(NamedTuple):
    """
    The application wants to hear a guild. C{ref} is for L{Settle<gatewayd.client.effects.Settle>}.
    """

    guild: str
    ref: int


class Leave(NamedTuple):
    """
    The application wants to hear a guild no more.
    """

    guild: str
    ref: int


class Token(NamedTuple):
    """
    The token function has answered.
    """

    value: str


class NoToken(NamedTuple):
    """
    The token function has failed.

    @ivar final: there will never be one.
    """

    error: ClientError
    final: bool = False


class Opened(NamedTuple):
    """
    The socket is open.
    """

    attempt: int


class Text(NamedTuple):
    """
    A text message came.
    """

    attempt: int
    text: str | bytes


class Lost(NamedTuple):
    """
    The socket is no more, or never came to be.

    @ivar code: of the close frame; 1006 where there was none, 1005 where it held none.
    @ivar error: why, where it is known better than by a close code.
    """

    attempt: int
    code: int = 1006
    reason: str = ""
    error: ClientError | None = None


class Network(NamedTuple):
    """
    The machine came online, or went offline.
    """

    online: bool


class Awake(NamedTuple):
    """
    The machine slept, or the page was hidden, and is not any more.
    """


class Tick(NamedTuple):
    """
    Time passed.
    """


Input = (
    Connect | Close | Want | Leave | Token | NoToken | Opened | Text | Lost | Network | Awake | Tick
)
