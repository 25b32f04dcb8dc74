"""
Stand-ins for what is around the conduct of an instance, an instance made of them, and the
client's side of a WebSocket.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd.canary import Canary
from gatewayd.census import Census
from gatewayd.closing import Closing
from gatewayd.connection import Commons, Connection, Terms
from gatewayd.delivery import Delivery
from gatewayd.errors import TokenRefused
from gatewayd.history import History
from gatewayd.interfaces import (
    IAuthenticator,
    IBroadcaster,
    IBusListener,
    IDelivery,
    IEventBus,
    IGuildAuthority,
    ISink,
)
from gatewayd.membership import Memberships
from gatewayd.metrics import Metrics
from gatewayd.model import (
    ORIGIN,
    Audience,
    Denial,
    Entry,
    Event,
    Grant,
    Membership,
    Position,
    Principal,
)
from gatewayd.registry import Registry
from gatewayd.revocations import Revocations
from gatewayd.source.memory import MemorySource
from gatewayd.timetable import Timetable

EPOCH = 1_700_000_000.0
"""
The wall clock's time when an L{Instance}'s clock is at 0.
"""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

_numbers = count(1)


class Frame(NamedTuple):
    """
    What RFC 6455 section 5.2 puts on the wire.
    """

    fin: bool
    opcode: int
    payload: bytes

    @property
    def json(self) -> Any:
        """
        What a text frame says.
        """
        return json.loads(self.payload.decode("utf-8"))


def frames_in(data: bytes, *, cut: bool = False) -> Iterator[Frame]:
    """
    The frames that a server sent, as a strict client reads them: whole, unmasked, without
    extensions, their lengths in the shortest form, and nothing behind a close frame.

    @param cut: whether there may be the beginning of one more.
    """
    at = 0
    while at < len(data):
        first, second = (data[at : at + 2] + b"\0")[:2]
        assert not first & 0x70, "a reserved bit is set"
        assert not second & 0x80, "a server's frame is masked"
        length, start = second, at + 2
        for marker, size, least in ((126, 2, 126), (127, 8, 65536)):
            if second == marker:
                start += size
                length = int.from_bytes(data[at + 2 : start], "big")
                assert length >= least, "a length is not in its shortest form"
        end = start + length
        if end > len(data):
            assert cut, "the last frame is cut short"
            return
        frame = Frame(bool(first & 0x80), first & 0x0F, data[start:end])
        assert frame.opcode != CLOSE or end == len(data), f"behind the close frame: {data[end:]!r}"
        at = end
        yield frame


def client_frame(
    payload: bytes, opcode: int = TEXT, *, fin: bool = True, mask: bytes = b"\x01\xfe\x37\x80"
) -> bytes:
    """
    One frame as a client sends it.
    """
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 65536:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return bytes((0x80 * fin | opcode,)) + size + mask + masked.to_bytes(length, "big")


def event(
    name: str = "message.create", *guilds: str, data: Any = None, size: int = 0, **facts: Any
) -> Event:
    """
    An event like no other.

    @param guilds: whose subscribers it is for.
    @param size: bytes to make its data bigger by.
    @param facts: other fields of L{Event}, and of its L{Audience}.
    """
    number = next(_numbers)
    value = {"n": number} if data is None else data
    if size:
        value = {**value, "filling": "x" * size}
    audience = {field: facts.pop(field, ()) for field in ("users", "also", "excluded")}
    facts.setdefault("uid", f"uid-{number}")
    return Event(
        name,
        Audience(guilds, **audience),
        json.dumps(value, separators=(",", ":")).encode(),
        **facts,
    )


@implementer(IAuthenticator)
class ScriptedAuthenticator:
    """
    Knows the tokens that it was told of.

    @ivar known: by token, what asking comes to: a L{Principal}, an exception to fail with, or
        a L{Deferred}.
    """

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def authenticate(self, token: object) -> Deferred[Principal]:
        """
        See L{IAuthenticator.authenticate}.
        """
        unknown = TokenRefused("nobody knows it")
        outcome = self.known.get(token, unknown) if isinstance(token, str) else unknown
        if isinstance(outcome, Deferred):
            return outcome
        return fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)


@implementer(IGuildAuthority)
class ScriptedAuthority:
    """
    Grants what the token claims, but for what it was told.

    @ivar denied: the reason for each guild that it denies.
    @ivar asked: the guilds of each question.
    @ivar holding: whether answers wait for L{answer}.
    @ivar failing: what it fails with, although an authority never should.
    @ivar forgotten: whom it was told to know nothing about any more, and in which guild.
    """

    def __init__(self) -> None:
        self.denied: dict[str, str] = {}
        self.asked: list[tuple[str, ...]] = []
        self.holding = False
        self.failing: Exception | None = None
        self.forgotten: list[tuple[str | None, str]] = []
        self._held: list[tuple[Principal, tuple[str, ...], Deferred[Grant]]] = []

    def allowed(self, principal: Principal, guilds: Sequence[str]) -> Deferred[Grant]:
        """
        See L{IGuildAuthority.allowed}.
        """
        self.asked.append(tuple(guilds))
        answer: Deferred[Grant] = Deferred()
        self._held.append((principal, tuple(guilds), answer))
        if not self.holding:
            self.answer(-1)
        return answer

    def forget(self, user: str | None, guild: str) -> None:
        """
        See L{IGuildAuthority.forget}.
        """
        self.forgotten.append((user, guild))

    def answer(self, index: int = 0) -> None:
        """
        Answer one of the questions that wait: the oldest, or the one at C{index}.
        """
        principal, guilds, answer = self._held.pop(index)
        if self.failing is not None:
            answer.errback(self.failing)
            return
        claimed = principal.guilds or ()
        reasons = {guild: "forbidden" for guild in guilds if guild not in claimed} | self.denied
        answer.callback(
            Grant(
                tuple(guild for guild in guilds if guild not in reasons),
                tuple(Denial(guild, reasons[guild]) for guild in guilds if guild in reasons),
            )
        )


@implementer(ISink)
class RecordingSink:
    """
    A client who reads when it is told to.

    @ivar written: all that was sent.
    @ivar closings: every close that was asked for.
    @ivar unsent: how many bytes of it have not left.
    """

    fd = -1
    deflates = False

    def __init__(self) -> None:
        self.live = False
        self.written = b""
        self.closings: list[Closing] = []
        self.unsent = 0
        self._more: Callable[[], bool] | None = None

    def send(self, frame: bytes) -> None:
        """
        See L{ISink.send}.
        """
        if not self.closings:
            self.written += frame
            self.unsent += len(frame)

    # What is said comes in its turn where there is no other.
    say = keep = send

    def backlog(self) -> int:
        """
        See L{ISink.backlog}.
        """
        return self.unsent

    def pull(self, more: Callable[[], bool]) -> None:
        """
        See L{ISink.pull}.
        """
        if not self.closings:
            self._more = more

    def close(self, closing: Closing) -> None:
        """
        See L{ISink.close}.
        """
        self.closings.append(closing)
        self._more = None

    def leave(self) -> None:
        """
        Have all that was sent leave, once.
        """
        self.unsent = 0
        if self._more is not None and not self._more():
            self._more = None

    def read(self) -> None:
        """
        Have all that there is leave, and what comes after it.
        """
        self.leave()
        for _ in range(10_000):
            if self._more is None:
                return
            self.leave()
        raise AssertionError("there is always more")

    @property
    def messages(self) -> list[Any]:
        """
        What was said, in order.
        """
        return [frame.json for frame in frames_in(self.written)]

    def heard(self, name: str) -> list[Any]:
        """
        The data of the messages with this name.
        """
        return [message["data"] for message in self.messages if message["event"] == name]

    @property
    def ids(self) -> list[str]:
        """
        The ids of the events that were dispatched, in order.
        """
        return [message["id"] for message in self.messages if "id" in message]


@implementer(IBroadcaster)
class PlainBroadcaster:
    """
    Sends to each, at once.

    @ivar written: told when what it sent was published.
    """

    def __init__(self, written: Callable[[float], None] = lambda published: None) -> None:
        self.written = written

    def broadcast(self, frame: bytes, sinks: Sequence[ISink], published: float = 0.0) -> None:
        """
        See L{IBroadcaster.broadcast}.
        """
        for sink in sinks:
            sink.send(frame)
        if published:
            self.written(published)


@implementer(IEventBus)
class RecordingBus:
    """
    A bus that answers when it is told to.

    @ivar batches: the events of each publish.
    @ivar settled: the uids that were settled with each.
    """

    name = "redis"
    head = ORIGIN

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.settled: list[list[str]] = []
        self._answers: list[Deferred[list[Position | None]]] = []

    def start(self, listener: IBusListener) -> None:
        """
        See L{IEventBus.start}.
        """

    def filled(self) -> Deferred[None]:
        """
        See L{IEventBus.filled}.
        """
        return succeed(None)

    def publish(
        self, events: Sequence[Event], settled: Sequence[str] = ()
    ) -> Deferred[list[Position | None]]:
        """
        See L{IEventBus.publish}.
        """
        if self._answers:
            raise AssertionError("one publish is outstanding already")
        self.batches.append(list(events))
        self.settled.append(list(settled))
        self._answers.append(Deferred())
        return self._answers[0]

    def answer(self, failing: Exception | None = None) -> None:
        """
        Answer the publish that is outstanding, with positions counted through all batches.
        """
        answer = self._answers.pop()
        if failing is not None:
            answer.errback(failing)
            return
        before = sum(map(len, self.batches[:-1]))
        answer.callback(
            [
                None if event.ephemeral else Position(1000, before + index)
                for index, event in enumerate(self.batches[-1])
            ]
        )

    def stop(self) -> Deferred[None]:
        """
        See L{IEventBus.stop}.
        """
        return succeed(None)

    def status(self) -> dict[str, Any]:
        """
        See L{IEventBus}.
        """
        return {"status": "ok"}


@implementer(IDelivery)
class RecordingDelivery:
    """
    A message whose fate is written down.

    @ivar fate: what it was settled with: its name, and what was said with it.
    """

    redelivered = False
    receipt: str | None = None
    live = True

    def __init__(self, body: bytes, routing_key: str = "", message_id: str | None = None) -> None:
        self.body = body
        self.routing_key = routing_key
        self.message_id = message_id
        self.fate: tuple[Any, ...] | None = None

    def ack(self, position: Position | None) -> None:
        """
        See L{IDelivery.ack}.
        """
        self._settle("ack", position)

    def reject(self, reason: str) -> None:
        """
        See L{IDelivery.reject}.
        """
        self._settle("reject", reason)

    def requeue(self) -> None:
        """
        See L{IDelivery.requeue}.
        """
        self._settle("requeue")

    def _settle(self, *fate: Any) -> None:
        if self.fate is not None:
            raise AssertionError(f"settled as {self.fate} and again as {fate}")
        self.fate = fate


class Instance:
    """
    The conduct of one instance, real but for what is behind its seams.

    @ivar drift: seconds that the wall clock has been moved by.
    @ivar filling: what L{IEventBus.filled} answers.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        broadcaster: IBroadcaster | None = None,
        history: History | None = None,
        max_buffered: int = 1 << 20,
        **terms: Any,
    ) -> None:
        """
        @param terms: those that differ from the defaults of the configuration.
        """
        self.clock = clock
        self.drift = 0.0
        self.filling: Deferred[None] = succeed(None)
        self.authenticator = ScriptedAuthenticator()
        self.authority = ScriptedAuthority()
        self.census: Census[Any] = Census()
        self.registry: Registry[Any] = Registry()
        self.revocations = Revocations()
        self.timetable = Timetable()
        self.metrics = Metrics()
        if history is None:
            history = History(window=600, max_events=1000, max_bytes=1 << 24)
        self.history = history
        self.delivery = Delivery(
            clock=clock,
            wall=self.wall,
            history=self.history,
            registry=self.registry,
            memberships=Memberships(self.census, self.registry, self.revocations, self.authority),
            broadcaster=broadcaster
            or PlainBroadcaster(lambda published: self.delivery.written(published)),
            metrics=self.metrics,
            canary=Canary("gateway-1", MemorySource(), RecordingBus(), clock, self.metrics),
            max_buffered=max_buffered,
        )
        self.delivery.begun(self.position(), True)
        numbers = count(1)
        self.commons = Commons(
            terms=_terms(**terms),
            clock=clock,
            wall=self.wall,
            new_id=lambda: f"session-{next(numbers)}",
            filled=lambda: self.filling,
            census=self.census,
            delivery=self.delivery,
            revocations=self.revocations,
            timetable=self.timetable,
            metrics=self.metrics,
            authenticator=self.authenticator,
            authority=self.authority,
            log=Logger(),
        )

    def wall(self) -> float:
        """
        Seconds since the epoch.
        """
        return EPOCH + self.clock.seconds() + self.drift

    def position(self) -> Position:
        """
        Where the log would put an event now.
        """
        ms, head = int(self.wall() * 1000), self.history.head
        return Position(ms, 0) if ms > head.ms else Position(head.ms, head.seq + 1)

    def hear(self, event: Event, fresh: bool = True, position: Position | None = None) -> str:
        """
        Hear an event on the bus, and return its id.

        @param position: its place in the log, if not the next.
        """
        place = None if event.ephemeral else position or self.position()
        self.delivery.heard(Entry(place, event), fresh)
        return str(place)

    def moves(self, name: str, membership: Membership) -> str:
        """
        Hear an event that is for the membership's first guild and its users, and changes it.
        """
        return self.hear(
            event(name, *membership.guilds, also=membership.users, membership=membership)
        )

    def token(
        self, user: str, *guilds: str, lifetime: float = 3600.0, issued: float | None = None
    ) -> str:
        """
        A token that speaks for C{user} from now on.

        @param lifetime: seconds.
        @param issued: when, instead of now.
        """
        token = f"token-{next(_numbers)}"
        now = self.wall()
        self.authenticator.known[token] = Principal(
            user, now + lifetime, frozenset(guilds), now if issued is None else issued
        )
        return token

    def connect(self, sink: RecordingSink | None = None) -> tuple[Connection, RecordingSink]:
        """
        A client whose handshake is done.
        """
        sink = sink or RecordingSink()
        return Connection(self.commons, sink, "192.0.2.1"), sink

    def session(
        self, user: str, *guilds: str, lifetime: float = 3600.0, **data: Any
    ) -> tuple[Connection, RecordingSink]:
        """
        A client who has identified.

        @param guilds: those it may see, and asks for.
        @param data: other fields of C{identify}.
        """
        connection, sink = self.connect()
        token = self.token(user, *guilds, lifetime=lifetime)
        say(connection, "identify", userId=user, token=token, guildIds=list(guilds), **data)
        return connection, sink

    def wait(self, seconds: float) -> None:
        """
        Let time pass, and have done in it what is due.
        """
        until = self.clock.seconds() + seconds
        while (due := self.timetable.next()) is not None and due <= until:
            self.clock.advance(max(0.0, due - self.clock.seconds()))
            for one in self.timetable.take(self.clock.seconds()):
                one(self.clock.seconds())
            self.delivery.beaten()
        self.clock.advance(until - self.clock.seconds())


def say(connection: Connection, name: str, **data: Any) -> None:
    """
    Have a client say something.
    """
    connection.received(json.dumps({"event": name, "data": data}).encode(), False)


def _terms(**given: Any) -> Terms:
    usual: dict[str, Any] = {
        "instance": "gateway-1",
        "version": "1.2.3",
        "heartbeat_interval": 30.0,
        "identify_timeout": 10.0,
        "expiry_warning": 60.0,
        "leeway": 0.0,
        "messages_per_minute": 120,
        "max_guilds": 200,
        "connections_per_user": 20,
    }
    return Terms(**usual | given)
