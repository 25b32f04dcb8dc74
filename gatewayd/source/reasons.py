"""
What went wrong between us and RabbitMQ, in one sentence for the person who runs the gateway:
what happened, where, and which setting to look at.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pika import exceptions
from twisted.internet import defer, error

LONGEST = 300
"""
Characters of foreign text in a sentence of ours.
"""

ACCESS_REFUSED = 403
NOT_FOUND = 404
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530


class Account(NamedTuple):
    """
    Where we go, and as whom; all of the URL that may be told.

    @ivar address: C{host:port}.
    """

    address: str
    user: str
    vhost: str
    tls: bool


class Progress(Enum):
    """
    How far a connection had come.
    """

    NOWHERE = 0
    CONNECTED = 1
    """TCP is established."""
    SPEAKING = 2
    """The peer has introduced itself in AMQP."""


def explain(cause: BaseException, here: Account, progress: Progress) -> str:
    """
    Name C{cause} in one sentence. It holds no password: neither pika's errors nor the
    broker's texts repeat one.
    """
    if isinstance(cause, exceptions.ConnectionClosedByBroker):
        return _closed_connection(cause.reply_code, _text(cause.reply_text), here)
    if isinstance(cause, exceptions.ChannelClosedByBroker):
        return _closed_channel(cause.reply_code, _text(cause.reply_text), here)
    if isinstance(cause, exceptions.ConsumerCancelled):
        return (
            f"RabbitMQ at {here.address} cancelled our consumer: "
            "its queue was deleted, or moved to another node"
        )
    if progress is Progress.NOWHERE:
        return _unreachable(cause, here)
    if progress is Progress.CONNECTED:
        return _not_amqp(cause, here)
    if isinstance(cause, (exceptions.AMQPHeartbeatTimeout, TimeoutError, defer.TimeoutError)):
        return f"RabbitMQ at {here.address} has fallen silent"
    if isinstance(cause, (error.ConnectionDone, error.ConnectionLost)):
        return f"the connection to RabbitMQ at {here.address} was lost"
    return f"RabbitMQ at {here.address}: {_named(cause)}"


def _closed_connection(code: int, text: str, here: Account) -> str:
    if code == ACCESS_REFUSED and "Login" in text:
        return (
            f"RabbitMQ at {here.address} refused the login of user {here.user!r}: "
            "check user and password in [rabbitmq] url"
        )
    if code == NOT_ALLOWED:
        return (
            f"RabbitMQ at {here.address} refused virtual host {here.vhost!r} ({text}): "
            f"check it in [rabbitmq] url, and the permissions of user {here.user!r}"
        )
    return f"RabbitMQ at {here.address} closed the connection: {text} ({code})"


def _closed_channel(code: int, text: str, here: Account) -> str:
    advice = {
        ACCESS_REFUSED: f"give user {here.user!r} that permission",
        NOT_FOUND: "it has been deleted, or [rabbitmq] names the wrong one",
    }.get(code)
    if code == PRECONDITION_FAILED and "inequivalent arg" in text:
        advice = "it exists with other properties: delete it there, or set another in [rabbitmq]"
        if "'type' for exchange" in text:
            advice = "set [rabbitmq] exchange_type to what exists, or exchange to another name"
    told = f"RabbitMQ at {here.address} refused: {text} ({code})"
    return f"{told}; {advice}" if advice else told


def _unreachable(cause: BaseException, here: Account) -> str:
    if isinstance(cause, error.DNSLookupError):
        why = "its name is not known; check the host in [rabbitmq] url"
    elif isinstance(cause, error.ConnectionRefusedError):
        why = "nothing listens there; is RabbitMQ running, is [rabbitmq] url right?"
    elif isinstance(cause, (error.TimeoutError, error.TCPTimedOutError)):
        why = "it does not answer"
    else:
        why = _named(cause)
    return f"cannot connect to RabbitMQ at {here.address}: {why}"


def _not_amqp(cause: BaseException, here: Account) -> str:
    if isinstance(cause, (TimeoutError, defer.TimeoutError)):
        return f"{here.address} accepted the connection and then said nothing"
    if not isinstance(cause, (error.ConnectionDone, error.ConnectionLost)):
        return f"{'TLS' if here.tls else 'AMQP'} with {here.address} failed: {_named(cause)}"
    guess = "does it speak TLS?" if here.tls else "is it RabbitMQ, and not its TLS port?"
    return f"{here.address} closed the connection before it spoke AMQP; {guess}"


def _named(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {_text(cause.args or cause)}"


def _text(foreign: object) -> str:
    return " ".join(str(foreign).split())[:LONGEST]
