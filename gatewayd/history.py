"""
The recent part of the log, in memory, indexed so that a resume costs what it replays.

Every logged event gets a serial number here. For each guild and each user there is the
list of serials that bear on it, so a client's missed events are found by one binary search
for each of its guilds, however long the log is.

What has been evicted is not forgotten entirely: for each guild the position of the last
event that went is kept, and so a client whose id lies before what is held can still be told
exactly in which of its guilds it missed something. Those marks are bounded as well; where
they too are gone, the answer errs towards naming a guild.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Collection, Generic, Iterator, TypeVar

import msgspec

from gatewayd.model import ORIGIN, Entry, Position

OVERHEAD = 700
"""
Bytes that an entry occupies beside its data: measured with tracemalloc for an event of one
guild, rounded up. L{History} counts them, so that C{max_bytes} bounds memory and not a sum.
"""

NAMED = 250
"""
Bytes for each further guild or user that its audience names, measured likewise, with their
lists below. An event may name a hundred thousand.
"""


class Missed(msgspec.Struct, frozen=True):
    """
    What a returning client can be given.

    @ivar recovered: nothing that it may see lies outside what C{entries} covers.
    @ivar entries: serials, oldest first; see L{History.at}.
    @ivar resync: of the guilds it asked with, those in which something may be missing.
    """

    recovered: bool
    entries: list[int]
    resync: tuple[str, ...]


_Item = TypeVar("_Item")


class _Sliding(Generic[_Item]):
    """
    A list that loses its head cheaply. Not a deque: reaching into the middle of one costs
    in proportion to its length.
    """

    __slots__ = ("_gone", "_items")

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._gone = 0

    def append(self, item: _Item) -> None:
        self._items.append(item)

    def drop_first(self) -> _Item:
        first = self._items[self._gone]
        # What is gone must not be kept alive until the list is compacted.
        self._items[self._gone] = None  # type: ignore[assignment]
        self._gone += 1
        # Compacting at half keeps each removal at constant cost on average.
        if self._gone * 2 >= len(self._items):
            del self._items[: self._gone]
            self._gone = 0
        return first

    def __getitem__(self, index: int) -> _Item:
        return self._items[index + self._gone]

    def __len__(self) -> int:
        return len(self._items) - self._gone


def _size(entry: Entry) -> int:
    audience = entry.event.audience
    named = sum(map(len, (audience.guilds, audience.users, audience.also, audience.excluded)))
    return len(entry.event.data) + OVERHEAD + NAMED * max(0, named - 1)


def _after(serials: _Sliding[int], serial: int) -> list[int]:
    return serials._items[bisect_right(serials._items, serial, lo=serials._gone) :]


class History:
    """
    @ivar head: the newest position held or passed.
    @ivar bytes: what the entries occupy, about.
    """

    def __init__(
        self, *, window: float, max_events: int, max_bytes: int, max_marks: int = 100_000
    ) -> None:
        """
        @param window: seconds that an entry is kept.
        @param max_marks: guilds whose last eviction is remembered.
        """
        self._window = window
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_marks = max_marks
        self._entries: _Sliding[Entry] = _Sliding()
        self._positions: _Sliding[Position] = _Sliding()
        self._arrivals: _Sliding[float] = _Sliding()
        self._first = 0
        self._by_guild: dict[str, _Sliding[int]] = {}
        self._by_user: dict[str, _Sliding[int]] = {}
        self._marks: dict[str, Position] = {}
        self._horizon: Position | None = None
        self._evicted: Position | None = None
        self.head = ORIGIN
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def begun(self) -> bool:
        """
        Whether any log is known yet.
        """
        return self._horizon is not None

    @property
    def span(self) -> float:
        """
        Seconds between the arrivals of the oldest and the newest entry held.
        """
        held = len(self._arrivals)
        return self._arrivals[held - 1] - self._arrivals[0] if held else 0.0

    @property
    def floor(self) -> Position:
        """
        The position after which everything is held: where a log may be trimmed up to.
        """
        return self._evicted or self._horizon or ORIGIN

    def begin(self, position: Position) -> None:
        """
        The log is known from C{position} on, exclusive; forget all before it.
        """
        # Serials go on from where they were: a session in the middle of a replay must find
        # its remaining ones gone, not replaced by others.
        self._first += len(self._entries)
        self._entries, self._positions, self._arrivals = _Sliding(), _Sliding(), _Sliding()
        self._by_guild.clear()
        self._by_user.clear()
        self._marks.clear()
        self._evicted = None
        self._horizon = position
        self.head = position
        self.bytes = 0

    def append(self, entry: Entry, now: float) -> None:
        """
        Take the next entry of the log; ephemeral ones are not for here.

        @param now: seconds, of any clock that does not go back; less than now for an entry
            that is read late from the log.
        """
        position = entry.position
        assert position is not None and position > self.head
        serial = self._first + len(self._entries)
        self._entries.append(entry)
        self._positions.append(position)
        self._arrivals.append(now)
        for index, key in self._keys(entry):
            serials = index.get(key)
            if serials is None:
                serials = index[key] = _Sliding()
            serials.append(serial)
        self.bytes += _size(entry)
        self.head = position
        while len(self._entries) > self._max_events or self.bytes > self._max_bytes:
            self._evict()

    def expire(self, now: float) -> None:
        """
        Let go of what is older than the window.
        """
        oldest = now - self._window
        while len(self._arrivals) and self._arrivals[0] < oldest:
            self._evict()

    def _keys(self, entry: Entry) -> Iterator[tuple[dict[str, _Sliding[int]], str]]:
        audience = entry.event.audience
        for guild in audience.guilds:
            yield self._by_guild, guild
        # Where guilds are given, users only narrows them: the guild's list is enough.
        users = audience.also if audience.guilds else dict.fromkeys(audience.users + audience.also)
        for user in users:
            yield self._by_user, user

    def _evict(self) -> None:
        entry = self._entries.drop_first()
        position = self._positions.drop_first()
        self._arrivals.drop_first()
        self._first += 1
        self.bytes -= _size(entry)
        for index, key in self._keys(entry):
            serials = index[key]
            serials.drop_first()
            if not len(serials):
                del index[key]
        self._evicted = position
        for guild in entry.event.audience.guilds:
            # Re-inserted, so that the order of the dictionary is the order of eviction.
            self._marks.pop(guild, None)
            self._marks[guild] = position
        while len(self._marks) > self._max_marks:
            oldest = next(iter(self._marks))
            self._horizon = self._marks.pop(oldest)

    def knows(self, position: Position) -> bool:
        """
        Whether everything after C{position} is held, and it is a position of this log.
        """
        return self._horizon is not None and self.floor <= position <= self.head

    def missed(self, last: Position | None, user: str, guilds: Collection[str]) -> Missed:
        """
        What a session of C{user}, granted C{guilds}, has not had since C{last}.

        @param last: the newest position it has; L{None} for an id that is not of this log.
        """
        if last is None or self._horizon is None or last > self.head:
            return Missed(recovered=False, entries=[], resync=tuple(guilds))
        entries = self._after(last, user, guilds)
        if last >= self.floor:
            return Missed(recovered=True, entries=entries, resync=())
        if last < self._horizon:
            return Missed(recovered=False, entries=entries, resync=tuple(guilds))
        marks = self._marks
        resync = tuple(guild for guild in guilds if marks.get(guild, ORIGIN) > last)
        return Missed(recovered=False, entries=entries, resync=resync)

    def _after(self, last: Position, user: str, guilds: Collection[str]) -> list[int]:
        serial = self._first + bisect_right(self._positions, last) - 1
        found: set[int] = set()
        for guild in guilds:
            serials = self._by_guild.get(guild)
            if serials is not None:
                found.update(_after(serials, serial))
        serials = self._by_user.get(user)
        if serials is not None:
            found.update(_after(serials, serial))
        granted = frozenset(guilds)
        return [
            one
            for one in sorted(found)
            if self._entries[one - self._first].event.audience.reaches(user, granted)
        ]

    def at(self, serial: int) -> Entry | None:
        """
        The entry with this serial; L{None} once it has been evicted.
        """
        index = serial - self._first
        return self._entries[index] if 0 <= index < len(self._entries) else None
