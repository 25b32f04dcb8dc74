"""
A message from RabbitMQ, and what is written on it if it ends with the dead letters.
"""

from __future__ import annotations

from typing import Any, Protocol

from pika import BasicProperties
from pika.data import encode_value
from zope.interface import implementer

from gatewayd.interfaces import IDelivery
from gatewayd.model import Position

KEPT = (
    "content_type",
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "timestamp",
    "type",
    "app_id",
)
"""
Of the original's properties. Not its C{expiration}, by which it would vanish from the dead
letters, and not its C{user_id}: the broker closes the channel for one that is not ours.
"""

MAX_PROPERTIES = 64 * 1024
"""
Bytes. All properties have to fit into one frame, and the broker's ends at 128 KiB.
"""

MAX_REASON = 1000

MAX_DEPTH = 32
"""
Tables in tables. Whether pika can encode what it has decoded depends, without a bound, on how
deep in the stack each is done.
"""


class Settling(Protocol):
    """
    What a message's verbs are carried out by: the consumer it came to.

    @ivar id: like no other consumer's.
    """

    id: str

    @property
    def usable(self) -> bool:
        """
        Whether the broker would still understand a settlement.
        """

    def acked(self, tag: int) -> None:
        """
        C{tag} was published.
        """

    def rejected(self, message: RabbitDelivery) -> None:
        """
        It has to go to the dead letters.
        """

    def buried(self, tag: int) -> None:
        """
        C{tag} is with the dead letters.
        """

    def requeued(self, tag: int) -> None:
        """
        C{tag} goes back.
        """

    def stamp(self) -> dict[str, str]:
        """
        Headers that say who rejects, and when.
        """


@implementer(IDelivery)
class RabbitDelivery:
    """
    One message, to be settled on the channel it came by, once.

    @ivar key: the routing key as pika gives it: bytes, where it is not UTF-8.
    """

    __slots__ = (
        "_exchange",
        "_headers",
        "_properties",
        "_settled",
        "_settling",
        "body",
        "key",
        "message_id",
        "redelivered",
        "routing_key",
        "tag",
    )

    def __init__(self, settling: Settling, method: Any, properties: Any, body: bytes) -> None:
        self.body = body
        self.key: str | bytes = method.routing_key
        self.routing_key = _text(self.key)
        self.message_id = None if properties.message_id is None else _text(properties.message_id)
        self.redelivered: bool = method.redelivered
        self.tag: int = method.delivery_tag
        self._exchange: str = method.exchange
        self._properties = properties
        self._settling = settling
        self._settled = False
        self._headers: dict[str, Any] = {}

    def ack(self, position: Position | None) -> None:
        """
        See L{IDelivery.ack}.
        """
        if self._first():
            self._settling.acked(self.tag)

    def reject(self, reason: str) -> None:
        """
        See L{IDelivery.reject}.
        """
        if self._first():
            self._headers = {
                "x-reason": reason[:MAX_REASON],
                "x-exchange": self._exchange,
                "x-routing-key": self.key,
                **self._settling.stamp(),
            }
            self._settling.rejected(self)

    def requeue(self) -> None:
        """
        See L{IDelivery.requeue}.
        """
        if self._first():
            self._settling.requeued(self.tag)

    @property
    def receipt(self) -> str:
        """
        See L{IDelivery}.
        """
        return f"{self._settling.id}:{self.tag}"

    @property
    def live(self) -> bool:
        """
        See L{IDelivery}.
        """
        return self._settling.usable

    @property
    def wanted(self) -> bool:
        """
        Whether the broker still waits for this settlement.
        """
        return self._settling.usable

    def epitaph(self) -> Any:
        """
        The properties of the dead letter: the original's, with ours.
        """
        return epitaph(self._properties, self._headers)

    def buried(self) -> None:
        """
        The dead letter is with the broker; so the original may go.
        """
        self._settling.buried(self.tag)

    def _first(self) -> bool:
        first = not self._settled
        self._settled = True
        return first


def epitaph(original: Any, headers: dict[str, Any]) -> Any:
    """
    @param original: pika's C{BasicProperties} of a message.
    @param headers: more headers, which go before the original's of these names.
    @return: persistent C{BasicProperties} which pika can encode and a frame can hold,
        whatever the original's are.
    """
    kept = {name: getattr(original, name) for name in KEPT}
    theirs = {name: _encodable(value) for name, value in (original.headers or {}).items()}
    properties = BasicProperties(**kept, headers=theirs | headers, delivery_mode=2)
    if sum(map(len, properties.encode())) <= MAX_PROPERTIES:
        return properties
    return BasicProperties(**kept, headers={**headers, "x-headers": "dropped"}, delivery_mode=2)


def _encodable(value: Any) -> Any:
    """
    Not all that pika decodes can it encode: a large float, which it makes an integer, for one.
    """
    if not _shallow(value, MAX_DEPTH):
        return "nested too deeply"
    try:
        encode_value([], value)
    except Exception:
        return str(value)
    return value


def _shallow(value: Any, depth: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_shallow(one, depth - 1) for one in inner)


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")
