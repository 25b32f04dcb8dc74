"""
Instances, a Redis, and all that can befall them, for hypothesis to choose from.
"""

from __future__ import annotations

from itertools import count
from typing import Callable, Iterator

import attrs
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from hypothesis.strategies import booleans, integers, lists, sampled_from
from msgspec.structs import replace
from zope.interface import implementer

from gatewayd.bus.inquiry import Opened
from gatewayd.bus.wire import header_of
from gatewayd.interfaces import IBusListener
from gatewayd.model import ORIGIN, Audience, Entry, Event, Position
from tests.unit.instances import SUBSCRIBED, Instance
from tests.unit.redis_books import FAR, RedisBooks, State, encoded


@attrs.define(eq=False)
class Published:
    """
    An event that was put in its place.

    @ivar seen: the instances that the channel, or the log's head, has shown it.
    @ivar answered: the instances that were told that they published it.
    """

    uid: str
    position: Position | None
    seen: set[Instance] = attrs.field(factory=set)
    answered: set[Instance] = attrs.field(factory=set)


@implementer(IBusListener)
class Promises:
    """
    A listener that holds the follower to what is said in L{IBusListener}.

    @ivar uids: of what it heard.
    @ivar begins: what it was told by C{begun}.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._last = 0
        self._place = ORIGIN
        self.uids: set[str] = set()
        self.begins: list[tuple[Position, bool]] = []

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        See L{IBusListener}.
        """
        assert self.begins, "heard before it began"
        assert entry.event.uid not in self.uids, "heard twice"
        self.uids.add(entry.event.uid)
        serial = int(entry.event.data)
        assert serial > self._last, "heard out of order"
        self._last = serial
        if entry.position is not None:
            assert entry.position > self._place, "positions do not grow"
            self._place = entry.position

    def begun(self, position: Position, complete: bool) -> None:
        """
        See L{IBusListener}.
        """
        assert position >= self._place, "it begins before what was heard"
        self._place = position
        self.begins.append((position, complete))
        if not complete and not self._world.excused:
            missing = [one for one in self._world.published if not self.has(one)]
            assert any(one.position <= position for one in missing if one.position), "no reason"

    def has(self, one: Published) -> bool:
        """
        Whether there is nothing to be told of an event: it was heard, or is older than this
        instance, or ephemeral.
        """
        return one.position is None or one.position <= self.begins[0][0] or one.uid in self.uids

    def was_told(self, one: Published) -> bool:
        """
        Whether it was told that an event like this may be missing.
        """
        last = max((place for place, complete in self.begins[1:] if not complete), default=ORIGIN)
        return one.position is None or one.position <= last


class World(RuleBasedStateMachine):
    """
    Three instances, one Redis, and what can come to pass.

    @ivar published: all events that ever were in a log.
    @ivar excused: something is in the log, or was, or seemed to be, that cannot be heard.
    @ivar blows: how often a new log may have had to be begun.
    """

    def __init__(self) -> None:
        super().__init__()
        self.books = RedisBooks()
        self.published: list[Published] = []
        self.excused = False
        self.blows = 1
        self._serials = count(1)
        self._uids = count(1)
        self._saved: State | None = None
        self._torn = False
        self._promises: dict[Instance, Promises] = {}
        self._instances = [self._started() for _ in range(3)]

    def _started(self) -> Instance:
        promises = Promises(self)
        instance = Instance(self.books, promises)
        self._promises[instance] = promises
        instance.stamped = lambda event: replace(event, data=b"%d" % next(self._serials))
        instance.told = lambda event, position: self._put(event.uid, position)

        def looked(opened: Opened) -> None:
            for one in self.published:
                if one.position == opened.head:
                    one.seen.add(instance)

        instance.looked = looked
        instance.brought = lambda uid: self._note(uid, lambda one: one.seen.add(instance))
        instance.answered = lambda uid: self._note(uid, lambda one: one.answered.add(instance))
        return instance

    def _note(self, uid: str, note: Callable[[Published], None]) -> None:
        for one in self.published:
            if one.uid == uid:
                note(one)

    def _put(self, uid: str, position: Position | None) -> None:
        self.published.append(Published(uid, position))

    # What instances do

    @rule(who=integers(0, 2))
    def ask(self, who: int) -> None:
        """
        One sends its next question.
        """
        self._instances[who].ask()

    @rule(who=integers(0, 2))
    def do(self, who: int) -> None:
        """
        Redis does what one has asked.
        """
        self._instances[who].do()

    @rule(who=integers(0, 2))
    def answer(self, who: int) -> None:
        """
        One has an answer.
        """
        self._instances[who].answer()

    @rule(who=integers(0, 2))
    def step(self, who: int) -> None:
        """
        One asks and is answered.
        """
        self._instances[who].step()

    @rule(who=integers(0, 2), number=integers(1, 4))
    def hear(self, who: int, number: int) -> None:
        """
        One hears some of what the channel has for it.
        """
        for _ in range(number):
            self._instances[who].hear()

    @rule(who=integers(0, 2))
    def check(self, who: int) -> None:
        """
        It is time for one to look.
        """
        self._instances[who].follower.check()

    @rule(
        who=integers(0, 2),
        ephemeral=lists(booleans(), min_size=1, max_size=3),
        needed=booleans(),
        most=sampled_from([FAR, FAR, 3, 1]),
    )
    def publish(self, who: int, ephemeral: list[bool], needed: bool, most: int) -> None:
        """
        One publishes, or tries again.
        """
        instance = self._instances[who]
        if not instance.pending:
            instance.pending = [
                Event("e", Audience(), b"", f"u{next(self._uids)}", kind) for kind in ephemeral
            ]
        # A log that went back to an earlier state is not so short that it is trimmed to less.
        if needed or self._torn:
            instance.publish()
        else:
            instance.publish(floor=instance.follower.last, most=most)

    # What befalls instances

    @rule(who=integers(0, 2))
    def cut(self, who: int) -> None:
        """
        One loses its connection for commands.
        """
        self._instances[who].cut()

    @rule(who=integers(0, 2))
    def unsubscribe(self, who: int) -> None:
        """
        One loses its subscription.
        """
        self._instances[who].unsubscribe()

    @rule(who=integers(0, 2))
    def subscribe(self, who: int) -> None:
        """
        One has a new subscription.
        """
        self._instances[who].subscribe()

    @rule(who=integers(0, 2))
    def deafen(self, who: int) -> None:
        """
        One does not notice that it hears nothing.
        """
        self._instances[who].deafen()

    @rule(who=integers(0, 2), number=integers(0, 5))
    def repeat(self, who: int, number: int) -> None:
        """
        The channel brings an entry twice, and the second time late.
        """
        channel = self._instances[who].channel
        if channel is not None and number < len(channel):
            payload = channel[number]
            if payload != SUBSCRIBED and not payload.startswith(b"-"):
                channel.append(payload)

    @rule(who=integers(0, 2))
    def crash(self, who: int) -> None:
        """
        One ends, and another takes its place.
        """
        self._instances[who].unsubscribe()
        self._instances[who] = self._started()

    # What befalls the log

    @rule(ms=integers(1, 50))
    def wait(self, ms: int) -> None:
        """
        Time goes by.
        """
        self.books.ms += ms

    def _blow(self) -> None:
        self.books.ms += 1
        self.blows += 1

    @rule()
    def flush(self) -> None:
        """
        Everything is deleted.
        """
        self._blow()
        self.books.flush()

    @rule()
    def lose_stream(self) -> None:
        """
        Somebody deletes the stream.
        """
        self._blow()
        self.books.lose_stream()

    # The uids stay. One whose publisher has had no answer would then be answered for, later, by
    # a log that does not hold it.
    @precondition(lambda self: not any(instance.pending for instance in self._instances))
    @rule()
    def lose_facts(self) -> None:
        """
        Somebody deletes what is known of it.
        """
        self._blow()
        self.books.lose_facts()

    @rule()
    def save(self) -> None:
        """
        Redis takes a snapshot.
        """
        self._saved = self.books.snapshot()

    @precondition(lambda self: self._saved is not None)
    @rule()
    def restart(self) -> None:
        """
        Redis goes back to it.
        """
        assert self._saved is not None
        self._blow()
        self._torn = self.excused = True
        self.books.restart(self._saved)
        for instance in self._instances:
            instance.cut()
            instance.unsubscribe()

    # What others do to it

    @property
    def _whole(self) -> bool:
        return self.books.state.entries is not None and self.books.state.facts is not None

    @precondition(lambda self: self._whole)
    @rule()
    def scribble(self) -> None:
        """
        Somebody adds to the stream what is no part of the log.
        """
        self.books.add(b"name", b"value")

    @precondition(lambda self: self._whole)
    @rule(low=booleans())
    def intrude(self, low: bool) -> None:
        """
        Somebody adds what looks like a part of it.
        """
        self._blow()
        self.excused = True
        self.books.ms += 5
        before = Position(self.books.ms - 2 if low else 10**12, 0)
        self.books.add(b"p", encoded(before), b"h", b"[]", b"d", b"")

    @rule(ephemeral=booleans())
    def forge(self, ephemeral: bool) -> None:
        """
        Somebody tells the channel of what never was in the log.
        """
        self.excused = True
        header = header_of(Event("e", Audience(), b"", f"u{next(self._uids)}"))
        place = None if ephemeral else Position(10**12, 1)
        self.books.tell(b"%s %d-0 %s\n0" % (encoded(place), 10**12, header))

    @precondition(lambda self: self._whole)
    @rule()
    def speak_of_tomorrow(self) -> None:
        """
        A later version of the gateway publishes what this one cannot read.
        """
        facts = self.books.state.facts
        assert facts is not None
        self.excused = True
        before = encoded(facts.head)
        facts.head = self.books.add(b"p", before, b"h", b"{}", b"d", b"")
        self._put(f"u{next(self._uids)}", facts.head)
        self.books.tell(b"%s %s {}\n" % (encoded(facts.head), before))

    # What holds

    @invariant()
    def begins_no_log_without_need(self) -> None:
        """
        A log is replaced only after something has happened to it.
        """
        assert self.books.logs <= self.blows

    @rule()
    def come_to_rest(self) -> None:
        """
        Nothing more happens for a while, and everything is as it should be.
        """
        for turn in range(4):
            for instance in self._instances:
                # It notices, too, that its subscription brings nothing.
                lacking = turn and instance.follower.last < self._head
                if instance.channel is None or instance.deaf or lacking:
                    instance.subscribe()
                instance.follower.check()
            self._run_out()
        self._torn = False
        for instance in self._instances:
            follower = instance.follower
            assert follower.live
            assert follower.filled
            assert not instance.pending
            assert follower.last == self._head
            for one in self._left_out(instance):
                raise AssertionError(f"{one.uid} was left out")

    @property
    def _head(self) -> Position:
        facts = self.books.state.facts
        return ORIGIN if facts is None else facts.head

    def _run_out(self) -> None:
        for _ in range(1000):
            self.books.ms += 1
            busy = False
            for instance in self._instances:
                while instance.hear():
                    busy = True
                asked = instance.ask()
                published = instance.publish()
                busy = asked or published or busy
                while instance.do() or instance.answer():
                    busy = True
            if not busy:
                return
        raise AssertionError("they do not come to rest")

    def _left_out(self, instance: Instance) -> Iterator[Published]:
        """
        What an instance neither heard nor was told of, though one of those that are left
        knows that it was there.
        """
        promises = self._promises[instance]
        heard = {uid for other in self._instances for uid in self._promises[other].uids}
        for one in self.published:
            if promises.has(one) or promises.was_told(one):
                continue
            if one.uid in heard or instance in one.seen or one.answered & {*self._instances}:
                yield one

    def teardown(self) -> None:
        """
        In the end, all of it holds.
        """
        self.come_to_rest()
