"""
How an instance keeps in step with the log: what to read next, and what of all it is given
to hear, in which order.

Pure: it is fed the messages of the channel as they come and pages of the stream as they
were asked for. Every message and every entry names the one before it, so one rule covers a
lost subscription, a trimmed log and an overflowing buffer alike: what does not follow the
last one heard has to wait until the log was read up to it.
"""

from __future__ import annotations

from collections import deque
from typing import Sequence

from zope.interface import implementer

from gatewayd.bus.inquiry import Look, Opened, Page
from gatewayd.bus.uids import Uids
from gatewayd.bus.wire import Message, Row
from gatewayd.interfaces import IBusListener
from gatewayd.model import ORIGIN, Entry, Position

MAX_BUFFERED = 10_000
MAX_BUFFERED_BYTES = 8 << 20
"""
Of the channel's messages, while the log is being read. When there are more, they are
dropped and read from the log.
"""

MAX_PAGE = 500
PAGE_BYTES = 1 << 20
"""
A page of the log that was larger makes the next one shorter.
"""


@implementer(IBusListener)
class Nobody:
    """
    Hears nothing: before the start, and after the end.
    """

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        Let it go.
        """

    def begun(self, position: Position, complete: bool) -> None:
        """
        Let it go.
        """


class Follower:
    """
    @ivar listener: who hears.
    @ivar log: the id of the log that is followed; empty at first.
    @ivar last: everything up to here was heard, or its loss was told.
    @ivar live: what comes by the channel is heard as it comes.
    @ivar filled: what the log held at start has been heard.
    @ivar length: entries in the log, when it was last looked at.
    @ivar heard: events heard.
    @ivar catchups: times that the log was read because the channel was not enough.
    @ivar gaps: times that the channel brought what did not follow.
    @ivar breaks: times that entries were found gone, or the log a new one.
    @ivar repeats: events not heard because an earlier log had brought them.
    @ivar foreign: messages and entries, well-formed, that are no part of the log.
    @ivar overflows: times that the buffer was full.
    """

    def __init__(self, dedup_window: float) -> None:
        """
        @param dedup_window: seconds that the log remembers uids.
        """
        self.listener: IBusListener = Nobody()
        self.log = ""
        self.last = ORIGIN
        self.live = False
        self.filled = False
        self.length = 0
        self.heard = self.catchups = self.gaps = self.breaks = 0
        self.repeats = self.foreign = self.overflows = 0
        self._begun = False
        self._newest = ORIGIN
        self._start = ORIGIN
        self._before: Position | None = None
        self._uids = Uids(int(dedup_window * 1000))
        # What to read
        self._looking = True
        self._torn = False
        self._subscription = 0
        self._cursor: Position | None = None
        self._end = ORIGIN
        self._doubted: Position | None = None
        self._page = MAX_PAGE // 5
        # What came by the channel and has to wait
        self._buffer: deque[tuple[int, Message]] = deque()
        self._buffered = 0
        self._received = 0
        self._overflowed = False

    # What to do next

    def look(self) -> Look:
        """
        What to ask of the log, now.
        """
        told = max(self.last, self._newest)
        return Look(self.log, self._newest, told, self._torn, self._subscription, self._received)

    def wanted(self) -> Look | Page | None:
        """
        What to read next; L{None} if nothing needs to be read. Ask again after each answer.
        """
        if self._looking:
            return self.look()
        if not self.live:
            return Page(self._cursor, self._page, self._subscription)
        return None

    def check(self) -> None:
        """
        Look at the log, though nothing is known to be amiss. What comes is heard meanwhile.
        """
        self._looking = True

    def subscribed(self) -> None:
        """
        The channel is heard from now on; what it said before may have been missed.
        """
        self._subscription += 1
        self.live = False
        self._looking = True

    def published(self, position: Position) -> None:
        """
        We have put something into the log.
        """
        if position > self._newest:
            self._newest = position

    # What comes

    def receive(self, message: Message) -> None:
        """
        Take what the channel brought.
        """
        self._received += 1
        if self.live:
            if message.prev == self.last:
                self._hear(message.position, message.entry)
                return
            if self._stale(message):
                self._pass(message)
                return
            self.gaps += 1
            self.live = False
            self._looking = True
        self._buffer.append((self._received, message))
        self._buffered += message.size
        if len(self._buffer) > MAX_BUFFERED or self._buffered > MAX_BUFFERED_BYTES:
            self._buffer.clear()
            self._buffered = 0
            self._overflowed = True
            self.overflows += 1

    def looked(self, look: Look, opened: Opened) -> None:
        """
        Take the answer to C{look}.
        """
        # What was published between this look and a newer subscription, neither has seen.
        self._looking = look.subscription != self._subscription
        self._torn = False
        self.length = opened.length
        if self.log != opened.log and look[:3] != self.look()[:3]:
            # What we have learned since we asked, a new log has to know before we go over to it.
            self._looking = True
            return
        unheard = self._drop_foreign(look, opened.head)
        if not self.log:
            self.log, self._start = opened.log, opened.start
        elif opened.log != self.log:
            self._break(opened, unheard)
        elif self._lacks(opened.prior):
            # Another instance had heard more of the log before this one than we have.
            self._begin(self.last, False)
        if opened.head != opened.start:
            # It is a log's entry, and not merely where it began.
            self.published(opened.head)
        self._end = opened.head
        self._cursor = self.last if self._begun else None
        if self._looking or self.live:
            return
        if self._begun and self.last == opened.head:
            self._caught_up()
        elif self.filled:
            self.catchups += 1

    def read(self, page: Page, rows: Sequence[Row]) -> None:
        """
        Take the entries that C{page} asked for.
        """
        for row in rows:
            if not self._next(row):
                return
            self._cursor = row.position
        if self._begun and self._cursor is not None and self._cursor < self.last:
            # The channel has brought us further than the pages; by a slow network, and under
            # load, reading again what was heard might never come to an end.
            self._cursor = self.last
        weight = sum(row.size for row in rows)
        if weight > PAGE_BYTES:
            self._page = max(1, page.size // 2)
        elif weight < PAGE_BYTES // 4:
            self._page = min(MAX_PAGE, page.size * 2)
        if len(rows) < page.size and page.subscription == self._subscription:
            if not self._begun:
                self._begin(self._end, True)
            elif self.last < self._end:
                self._lose(self._end)
            self._caught_up()

    # Within

    def _next(self, row: Row) -> bool:
        """
        Take one entry of the log; false if it shows that the log is not what it was.
        """
        if row.prev is None:
            self.foreign += 1
            return True
        self._drain()
        if row.prev > max(self.last, self._end) and row.prev != self._doubted:
            # It follows what was not there when we looked: this may be another log by now.
            self._doubted = row.prev
            self._looking = True
            return False
        if not self._begun:
            self._begin(row.prev, True)
            self._drain()
        if row.position <= self.last:
            return True
        if row.prev < self.last:
            # What we have heard is not in it: Redis went back to an earlier state, and has
            # been written to since.
            self.breaks += 1
            self._torn = self._looking = True
            return False
        if row.prev > self.last:
            self._lose(row.prev)
        if row.entry is None:
            self._lose(row.position)
        else:
            self._hear(row.position, row.entry)
        return True

    def _hear(self, position: Position | None, entry: Entry) -> None:
        """
        Let the listener hear what follows C{last}.
        """
        if position is not None:
            self.last = position
            if position > self._newest:
                self._newest = position
        uid, ms = entry.event.uid, self.last.ms
        if self._uids.known(uid, ms):
            self.repeats += 1
            return
        self._uids.add(uid, ms)
        self.heard += 1
        self.listener.heard(entry, self.filled)

    def _stale(self, message: Message) -> bool:
        """
        Whether its place has been passed.
        """
        if message.position is None:
            return message.prev < self.last
        return message.position <= self.last

    def _drain(self) -> None:
        """
        Hear what the channel brought, as far as it follows.
        """
        while self._buffer:
            _, message = self._buffer[0]
            stale = self._stale(message)
            if not stale and message.prev != self.last:
                return
            self._buffer.popleft()
            self._buffered -= message.size
            if stale:
                self._pass(message)
            else:
                self._hear(message.position, message.entry)

    def _pass(self, message: Message) -> None:
        """
        Let go of what came too late. An entry of an earlier log that we went over from without
        it is one that we miss.
        """
        position = message.position
        if position is not None and position <= self._start and self._lacks(position):
            self._begin(self.last, False)

    def _caught_up(self) -> None:
        """
        The log was read to its end, as it was then.
        """
        self._drain()
        if self._buffer or self._overflowed:
            self._overflowed = False
            self._looking = True
        else:
            self.live = self.filled = True

    def _drop_foreign(self, look: Look, head: Position) -> bool:
        """
        Drop what had come before we asked and yet is not in the log: it never will be.

        @return: whether some of it was an entry.
        """
        kept: deque[tuple[int, Message]] = deque()
        entries = False
        for number, message in self._buffer:
            if number > look.received or (message.position or message.prev) <= head:
                kept.append((number, message))
            else:
                self.foreign += 1
                self._buffered -= message.size
                entries = entries or message.position is not None
        self._buffer = kept
        return entries

    def _break(self, opened: Opened, unheard: bool) -> None:
        """
        Go over to a new log.
        """
        self.breaks += 1
        self.live = False
        self._uids.broke(opened.start.ms)
        missing = (
            unheard or self._overflowed or self._lacks(opened.prior) or self._lacks(self._newest)
        )
        if self._begun and (self._before is None or self.last > self._start):
            self._before = self.last
        self.log, self._start = opened.log, opened.start
        if self._begun:
            self._begin(opened.start, not missing)

    def _lacks(self, position: Position) -> bool:
        """
        Whether an entry there, in this log or one before it, was neither heard nor told to be
        lost.
        """
        if position > self._start:
            return self.last < position
        return self._before is not None and self._before < position

    def _lose(self, position: Position) -> None:
        """
        What was before C{position}, inclusive, cannot be heard any more.
        """
        self.breaks += 1
        self._begin(position, False)

    def _begin(self, position: Position, complete: bool) -> None:
        self._begun = True
        self.last = position
        if not complete:
            # Whoever was told that something is missing need not be told again, whatever it was.
            self._before = self._start
        self.listener.begun(position, complete)
