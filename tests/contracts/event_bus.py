"""
What every event bus does (L{gatewayd.interfaces.IEventBus}), and every roster.

Plain classes, with neither trial's nor pytest's base: the bus in memory is tested by the
one, the bus in Redis by the other.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Callable, Sequence

from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gatewayd.errors import Stopped
from gatewayd.interfaces import IBusListener, IEventBus, IRoster
from gatewayd.model import (
    ORIGIN,
    Audience,
    Change,
    Entry,
    Event,
    Membership,
    Position,
    Provenance,
)

_numbers = count(1)


def event(name: str = "message.create", **facts: Any) -> Event:
    """
    An event like no other.
    """
    number = next(_numbers)
    facts.setdefault("audience", Audience(guilds=("g1",)))
    facts.setdefault("data", b'{"n": %d}' % number)
    facts.setdefault("uid", f"uid-{number}")
    return Event(name, **facts)


def given(consumer: str, digest: str, *, again: bool = False) -> Event:
    """
    An event whose publisher gave it no id, as a consumer was given it.
    """
    return event(provenance=Provenance(consumer, digest.ljust(32, "."), again))


def events(number: int, **facts: Any) -> list[Event]:
    """
    So many of them.
    """
    return [event(**facts) for _ in range(number)]


@implementer(IBusListener)
class Hearer:
    """
    A listener that remembers.

    @ivar entries: what it heard.
    @ivar fresh: for each entry, whether it was.
    @ivar begins: what was said of the log's beginning.
    @ivar doing: what it does, beside, with each entry.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.fresh: list[bool] = []
        self.begins: list[tuple[Position, bool]] = []
        self.doing: Callable[[Entry], object] = lambda entry: None
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        See L{IBusListener}.
        """
        self.entries.append(entry)
        self.fresh.append(fresh)
        self.doing(entry)
        waiting, self._waiting = self._waiting, []
        for number, one in waiting:
            if len(self.entries) >= number:
                one.callback(None)
            else:
                self._waiting.append((number, one))

    def begun(self, position: Position, complete: bool) -> None:
        """
        See L{IBusListener}.
        """
        self.begins.append((position, complete))

    def has(self, number: int) -> Deferred[None]:
        """
        Fires when it has heard so many events, in all.
        """
        if len(self.entries) >= number:
            return succeed(None)
        one: Deferred[None] = Deferred()
        self._waiting.append((number, one))
        return one

    @property
    def events(self) -> list[Event]:
        """
        The events of L{entries}.
        """
        return [entry.event for entry in self.entries]

    @property
    def uids(self) -> list[str]:
        """
        The uids of L{entries}.
        """
        return [entry.event.uid for entry in self.entries]

    @property
    def positions(self) -> list[Position]:
        """
        The positions of L{entries}, where they have one.
        """
        return [entry.position for entry in self.entries if entry.position is not None]


class EventBusContract:
    """
    The behaviour of a bus.
    """

    def new_bus(self) -> IEventBus:
        """
        A bus, not started, of one more instance on the same log. Whoever implements this also
        stops it in the end.
        """
        raise NotImplementedError

    async def started(self, hearer: Hearer | None = None) -> tuple[IEventBus, Hearer]:
        """
        A bus that has read the log, and who listens to it.
        """
        bus, hearer = self.new_bus(), hearer or Hearer()
        bus.start(hearer)
        await bus.filled()
        return bus, hearer

    async def test_is_one(self) -> None:
        """
        It provides the interface, and its name is the one of C{/health}.
        """
        bus, _ = await self.started()
        assert verifyObject(IEventBus, bus)
        assert bus.name == "redis"
        assert bus.status()["status"] in ("ok", "none")

    async def test_every_listener_hears_each_once_in_order(self) -> None:
        """
        What one instance publishes, all hear, in the order of publishing, each once.
        """
        one, at_one = await self.started()
        two, at_two = await self.started()
        first, second, third = events(3), events(1), events(600)
        await one.publish(first)
        await two.publish(second)
        await one.publish(third)
        await gatherResults([at_one.has(604), at_two.has(604)])
        assert at_one.events == at_two.events == first + second + third
        assert all(at_one.fresh)
        assert all(at_two.fresh)

    async def test_positions_grow_and_are_those_heard(self) -> None:
        """
        Positions are answered in order, only ever grow, and are those that listeners hear; the
        head is the newest.
        """
        bus, hearer = await self.started()
        answers = [*await bus.publish(events(5)), *await bus.publish(events(5))]
        await hearer.has(10)
        assert answers == hearer.positions
        assert sorted(set(hearer.positions)) == hearer.positions
        assert hearer.positions[0] > hearer.begins[0][0]
        assert bus.head == hearer.positions[-1]

    async def test_nothing_of_an_event_is_lost(self) -> None:
        """
        An event is heard as it was published: its data byte for byte, audience and effect.
        """
        bus, hearer = await self.started()
        sent = [
            event(data=b'{\n "a":\t"\\u00e9 \xc3\xa9" }\r\n\x00\xff'),
            event(data=b""),
            event(uid="ein Name: mit\n\u00fc \u2603", name="gr\u00fc\u00dfe"),
            event(
                "guild_member.remove",
                audience=Audience(("g1", "g2"), ("u1",), ("u2",), ("u3",)),
                membership=Membership(Change.LEAVE, ("g1",), ("u2",)),
                published=1732307000.125,
            ),
            event(audience=Audience(users=("u1",)), data=b"x" * 2_000_000),
        ]
        await bus.publish(sent)
        await hearer.has(len(sent))
        assert hearer.events == sent

    async def test_same_uid_is_published_once(self) -> None:
        """
        An event whose uid was published before is answered with the first one's position, and
        not heard again, whoever publishes it, be it in the same call.
        """
        one, at_one = await self.started()
        two, _ = await self.started()
        first, other, last = events(3)
        [position] = await one.publish([first])
        again = event(uid=first.uid)
        answers = await two.publish([again, other, again, other])
        assert answers[0] == answers[2] == position
        assert answers[1] == answers[3] != position
        await two.publish([last])
        await at_one.has(3)
        assert at_one.events == [first, other, last]

    async def test_what_a_consumer_left_unsettled_is_not_published_again(self) -> None:
        """
        Of what the next consumer is given again, that which was published is not published a
        second time, be it by another instance; the rest is. Equal events count each.
        """
        one, at_one = await self.started()
        two, _ = await self.started()
        first = [given("c1", digest) for digest in "aabc"]
        await one.publish(first)
        again = [given("c2", digest, again=True) for digest in "aabcda"]
        await two.publish(again[:1])
        await two.publish(again[1:])
        await two.publish([last := event()])
        await at_one.has(7)
        assert at_one.uids == [each.uid for each in (*first, *again[4:], last)]

    async def test_what_was_settled_is_not_taken_for_another(self) -> None:
        """
        An event that no broker will deliver again does not stand for a later one that equals
        it; nor does any, once the next consumer is given something new.
        """
        bus, hearer = await self.started()
        first = [given("c1", digest) for digest in "xyz"]
        await bus.publish(first)
        settled = given("c1", "last")
        await bus.publish([settled], [first[0].uid])
        again = [given("c2", digest, again=digest != "new") for digest in ("x", "y", "new", "z")]
        await bus.publish(again)
        await hearer.has(7)
        assert hearer.uids == [each.uid for each in (*first, settled, again[0], *again[2:])]

    async def test_what_was_left_is_left_to_whoever_comes(self) -> None:
        """
        A consumer that ends before it has settled what it was given again leaves that, too;
        and an event that it publishes a second time with the same uid is still one.
        """
        bus, hearer = await self.started()
        [first] = [given("c1", "a")]
        await bus.publish([first])
        second = given("c2", "a", again=True)
        await bus.publish([second])
        await bus.publish([second])
        await bus.publish([given("c3", "a", again=True), last := event()])
        await hearer.has(2)
        assert hearer.uids == [first.uid, last.uid]

    async def test_ephemeral_has_no_position_and_keeps_its_place(self) -> None:
        """
        An ephemeral event is heard by all in its place among the others, has no position, is
        published once, and leaves nothing in the log.
        """
        one, at_one = await self.started()
        _, at_two = await self.started()
        sent = [
            event(),
            event(ephemeral=True),
            event(ephemeral=True),
            event(),
            event(ephemeral=True),
        ]
        answers = await one.publish(sent)
        assert [answer is None for answer in answers] == [e.ephemeral for e in sent]
        assert await one.publish(sent) == answers
        await gatherResults([at_one.has(5), at_two.has(5)])
        assert at_one.events == at_two.events == sent
        late = Hearer()
        await self.started(late)
        assert late.events == [sent[0], sent[3]]

    async def test_late_starter_hears_the_log(self) -> None:
        """
        An instance that starts late first hears, as not fresh, what the log holds, from where
        it was told that the log begins; then it is filled, and hears what comes.
        """
        one, at_one = await self.started()
        old, new = events(700), events(2)
        await one.publish(old)
        two, hearer = self.new_bus(), Hearer()
        assert two.head == ORIGIN
        fresh_when_filled: list[int] = []
        filled = two.filled()
        filled.addCallback(lambda _: fresh_when_filled.append(len(hearer.entries)))
        two.start(hearer)
        await filled
        assert fresh_when_filled == [700]
        assert hearer.begins == at_one.begins
        await two.filled()
        await one.publish(new)
        await gatherResults([hearer.has(702), at_one.has(702)])
        assert hearer.events == old + new
        assert hearer.fresh == [False] * 700 + [True] * 2
        assert hearer.positions == at_one.positions

    async def test_trimmed_log_begins_later(self) -> None:
        """
        What no instance needs any more may go; who starts then is told where the log begins,
        and hears all that is after it.
        """
        one, at_one = await self.started()
        answers = await one.publish(events(1000))
        needed = answers[900]
        assert needed is not None
        one.trim = lambda: needed  # type: ignore[attr-defined]
        await one.publish(events(1))
        _, late = await self.started()
        [(begin, complete)] = late.begins
        assert complete
        assert at_one.positions[0] <= begin < needed
        assert late.positions == [each for each in at_one.positions if each > begin]

    async def test_publishing_from_within_hearing(self) -> None:
        """
        A listener may publish: all still hear all in the same order, and none while it is
        hearing another.
        """
        one, two = self.new_bus(), self.new_bus()
        first, answering = Hearer(), Hearer()
        depth = 0
        outcomes: list[Deferred[Any]] = []

        def answer(entry: Entry) -> None:
            nonlocal depth
            assert depth == 0
            depth += 1
            if entry.event.name == "question":
                outcomes.append(one.publish([event("answer", ephemeral=True), event("answer")]))
            depth -= 1

        answering.doing = answer
        one.start(answering)
        two.start(first)
        await gatherResults([one.filled(), two.filled()])
        questions = events(5, name="question")
        await one.publish(questions)
        await gatherResults([answering.has(15), first.has(15)])
        assert first.events == answering.events
        assert sorted(e.name for e in first.events) == ["answer"] * 10 + ["question"] * 5
        assert [e for e in first.events if e.name == "question"] == questions
        await gatherResults(outcomes)

    async def test_no_events(self) -> None:
        """
        Publishing nothing is done at once.
        """
        bus, _ = await self.started()
        assert await bus.publish([]) == []

    async def test_stopped(self) -> None:
        """
        A bus that was stopped publishes nothing and hears nothing; stopping it again is
        harmless; the others go on.
        """
        one, at_one = await self.started()
        two, at_two = await self.started()
        await one.publish(events(1))
        await gatherResults([at_one.has(1), at_two.has(1)])
        await one.stop()
        await one.stop()
        for nothing_or_something in ([], events(1)):
            try:
                await one.publish(nothing_or_something)
            except Stopped:
                pass
            else:
                raise AssertionError("it published")
        await two.publish(events(1))
        await at_two.has(2)
        assert len(at_one.entries) == 1

    async def test_stopping_from_within_hearing(self) -> None:
        """
        A listener may stop its bus; it hears no more then, though there is more.
        """
        one, at_one = await self.started()
        two, at_two = await self.started()
        stops: list[Deferred[None]] = []
        at_one.doing = lambda entry: stops.append(one.stop())
        await two.publish(events(10))
        await gatherResults([at_one.has(1), at_two.has(10)])
        await gatherResults(stops)
        assert len(at_one.entries) == 1

    async def test_telling(self) -> None:
        """
        What one instance tells, all are told, and no listener hears it.
        """
        one, at_one = await self.started()
        two, _ = await self.started()
        told: list[tuple[str, str, bytes]] = []
        done: Deferred[None] = Deferred()

        def take(who: str, kind: str, payload: bytes) -> None:
            told.append((who, kind, payload))
            if len(told) == 2:
                done.callback(None)

        one.told = lambda *what: take("one", *what)  # type: ignore[attr-defined]
        two.told = lambda *what: take("two", *what)  # type: ignore[attr-defined]
        payload = b'{"user": "u1"}\n\x00'
        assert await one.tell("disconnect", payload)  # type: ignore[attr-defined]
        await done
        assert sorted(told) == [("one", "disconnect", payload), ("two", "disconnect", payload)]
        assert at_one.entries == []


class RosterContract:
    """
    The behaviour of a roster.
    """

    async def new_rosters(self) -> Sequence[IRoster]:
        """
        The rosters of two instances, which see each other.
        """
        raise NotImplementedError

    async def test_rows(self) -> None:
        """
        Each instance's newest row is shown to all.
        """
        one, two = await self.new_rosters()
        assert verifyObject(IRoster, one)
        assert await one.rows() == []
        await one.announce({"instance": "b", "sessions": 1})
        await two.announce({"instance": "a", "sessions": 2, "note": "\u2603\n"})
        await one.announce({"instance": "b", "sessions": 3})
        expected = [
            {"instance": "a", "sessions": 2, "note": "\u2603\n"},
            {"instance": "b", "sessions": 3},
        ]
        assert await one.rows() == expected
        assert await two.rows() == expected
        await one.withdraw("b")
        assert await two.rows() == expected[:1]
