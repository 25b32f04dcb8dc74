"""
A history beside the plain list of all that it was ever given.
"""

from __future__ import annotations

from typing import Any

from attrs import define
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import floats, integers, none, sampled_from

from gatewayd.history import NAMED, OVERHEAD, History, _Sliding
from gatewayd.model import ORIGIN, Audience, Entry, Event, Position
from tests.log_strategies import GUILDS, USERS, audiences, subscribed, users

WINDOW = 10.0
LARGE = 1_000


def names(audience: Audience) -> int:
    """
    How many guilds and users an audience names.
    """
    return sum(map(len, (audience.guilds, audience.users, audience.also, audience.excluded)))


@define
class Kept:
    """
    An entry that was appended.

    @ivar size: bytes that it counts for.
    """

    position: Position
    audience: Audience
    entry: Entry
    arrival: float
    size: int
    gone: bool = False


class HistoryMachine(RuleBasedStateMachine):
    """
    Appending, evicting, beginning anew and asking, in any order.

    @ivar kept: all since the log began.
    @ivar begun: where that was; L{None} before the first time.
    @ivar serials: of all entries that were ever answered with, under any log.
    """

    history: History
    max_events: int
    max_bytes: int
    max_marks: int

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.kept: list[Kept] = []
        self.begun: Position | None = None
        self.head = ORIGIN
        self.serials: dict[int, Entry] = {}

    @initialize(
        events=integers(1, 8),
        room=integers(OVERHEAD, 8 * OVERHEAD),
        marks=integers(0, 5),
    )
    def make(self, events: int, room: int, marks: int) -> None:
        """
        A history with these bounds.
        """
        self.max_events, self.max_bytes, self.max_marks = events, room, marks
        self.history = History(window=WINDOW, max_events=events, max_bytes=room, max_marks=marks)

    # What happens to it

    @rule(step=integers(0, 3))
    def begin(self, step: int) -> None:
        """
        The log is another one, or was trimmed under us.
        """
        self.head = Position(self.head.ms + step, self.head.seq)
        self.history.begin(self.head)
        self.begun = self.head
        self.kept = []

    @rule(
        audience=audiences,
        size=sampled_from([2, 50, LARGE]),
        step=integers(0, 2),
        late=floats(0, 15),
    )
    def append(self, audience: Audience, size: int, step: int, late: float) -> None:
        """
        An event is heard, perhaps late.
        """
        if self.begun is None:
            self.begin(1)
        ms, seq = self.head
        self.head = Position(ms + step, seq + 1)
        entry = Entry(self.head, Event("e", audience, b"x" * size, "uid"))
        # What is read from the log comes in its order.
        arrival = max([self.now - late, *(one.arrival for one in self.kept[-1:])])
        self.history.append(entry, arrival)
        cost = size + OVERHEAD + NAMED * max(0, names(audience) - 1)
        self.kept.append(Kept(self.head, audience, entry, arrival, cost))
        held = self.held
        while len(held) > self.max_events or sum(one.size for one in held) > self.max_bytes:
            held.pop(0).gone = True

    @rule(step=floats(0, 12))
    def expire(self, step: float) -> None:
        """
        Time goes by.
        """
        self.now += step
        self.history.expire(self.now)
        for one in self.held:
            if one.arrival >= self.now - WINDOW:
                break
            one.gone = True

    @property
    def held(self) -> list[Kept]:
        """
        What has not been evicted.
        """
        return [one for one in self.kept if not one.gone]

    @property
    def floor(self) -> Position:
        """
        The position after which everything is held.
        """
        evicted = [one.position for one in self.kept if one.gone]
        return max([*evicted, self.begun or ORIGIN])

    # What it is asked

    @rule(user=users, guilds=subscribed, back=none() | integers(-2, 12), between=integers(0, 1))
    def ask(self, user: str, guilds: frozenset[str], back: int | None, between: int) -> None:
        """
        A client returns with the id of one of the last events, one that was none, one from
        before the log or after it, or nothing of the kind.
        """
        last = self._position(back, between)
        missed = self.history.missed(last, user, guilds)
        entries = [self.history.at(serial) for serial in missed.entries]
        self.serials.update(
            (serial, entry)
            for serial, entry in zip(missed.entries, entries, strict=True)
            if entry is not None
        )
        assert missed.entries == sorted({*missed.entries})
        assert len({*missed.resync}) == len(missed.resync)
        assert {*missed.resync} <= guilds
        if last is None or self.begun is None or last > self.head:
            assert not missed.recovered
            assert entries == []
            assert {*missed.resync} == guilds
            return
        theirs = [
            one for one in self.kept if one.position > last and one.audience.reaches(user, guilds)
        ]
        assert entries == [one.entry for one in theirs if not one.gone]
        assert missed.recovered == (last >= self.floor)
        if missed.recovered:
            assert not any(one.gone for one in theirs)
            assert missed.resync == ()
            return
        self._check_resync(last, guilds, theirs, {*missed.resync})

    def _check_resync(
        self, last: Position, guilds: frozenset[str], theirs: list[Kept], named: set[str]
    ) -> None:
        assert self.begun is not None
        lost = {guild for one in theirs if one.gone for guild in one.audience.guilds}
        assert lost & guilds <= named, "a guild was left out"
        if last < self.begun:
            assert named == guilds
            return
        evicted = [one for one in self.kept if one.gone]
        concerned = {g for one in evicted if one.position > last for g in one.audience.guilds}
        if len({g for one in evicted for g in one.audience.guilds}) <= self.max_marks:
            assert named == concerned & guilds, "a guild was named for nothing"
        else:
            assert named in (concerned & guilds, guilds)

    def _position(self, back: int | None, between: int) -> Position | None:
        if back is None:
            return None
        positions = [self.begun or ORIGIN, *(one.position for one in self.kept)]
        if back < 0:
            return Position(self.head.ms - back, 0)
        if back >= len(positions):
            return Position(max(0, positions[0].ms - 1), between)
        ms, seq = positions[-1 - back]
        # With 1, one that lies between two entries, unless the next is just that.
        return Position(ms, seq + between)

    # What holds

    @invariant()
    def agrees(self) -> None:
        """
        What it tells of itself is what the list has.
        """
        history, held = self.history, self.held
        assert len(history) == len(held)
        assert history.bytes == sum(one.size for one in held)
        assert history.begun == (self.begun is not None)
        assert history.head == self.head
        assert history.floor == self.floor
        assert history.span == (held[-1].arrival - held[0].arrival if held else 0)
        for position in (ORIGIN, self.floor, self.head, Position(self.head.ms + 1, 0)):
            known = self.begun is not None and self.floor <= position <= self.head
            assert history.knows(position) == known

    @invariant()
    def keeps_no_garbage(self) -> None:
        """
        In the indices is what is held and nothing else, and no list is more than half empty.
        """
        history, held = self.history, self.held
        for guild in GUILDS:
            expected = [n for n, one in enumerate(held) for g in one.audience.guilds if g == guild]
            self._check(history._by_guild.get(guild), expected)
        for user in USERS:
            expected = []
            for number, one in enumerate(held):
                also = one.audience.also
                bears = also if one.audience.guilds else {*one.audience.users, *also}
                expected += [number for name in bears if name == user]
            self._check(history._by_user.get(user), expected)
        assert len(history._marks) <= self.max_marks
        self._check_room(history._entries)
        self._check_room(history._positions)
        self._check_room(history._arrivals)

    def _check(self, serials: _Sliding[int] | None, expected: list[int]) -> None:
        if serials is None:
            assert expected == []
            return
        assert expected, "an empty list was kept"
        first = self.history._first
        assert [serials[number] - first for number in range(len(serials))] == expected
        self._check_room(serials)

    def _check_room(self, items: _Sliding[Any]) -> None:
        assert len(items._items) <= 2 * len(items) + 1

    @invariant()
    def a_serial_is_for_ever(self) -> None:
        """
        What a serial stood for is there or gone, and never replaced by another.
        """
        held = {id(one.entry) for one in self.held}
        for serial, entry in self.serials.items():
            assert self.history.at(serial) is (entry if id(entry) in held else None)
