"""
One frame to many sockets: the hot loop of the house.

What it costs to write an event to a client is the kernel's six microseconds, and whatever is
spent around it, ten thousand times. Measured on one machine, one event at a time, in
microseconds of user CPU for each delivery: Autobahn's C{sendMessage} 12, C{transport.write} 8,
C{socket.send} behind a check of the transport's buffers 1.6, and the plain loop below 0.3.

So the loop hands the frame straight to the kernel, without a call of ours for each delivery and
without a check: a sink whose transport holds something, or encrypts, or is about to go, has no
descriptor but -1, which the kernel refuses, and then the sink does it the long way. The kernel
took less than all of it: the sink keeps the rest, and has no descriptor until that is gone.

What is broadcast in one turn of the reactor is written in the next, which begins at once: so
events that came together leave together, in one write for each client, and their bytes are
joined once for all clients that get the same ones. That is worth most of the cost when it is
busy, and nothing is waited for when it is not.

A guild of fifty thousand would keep the reactor for a third of a second. So a turn ends after
a few milliseconds and the next goes on, and because what is to be written later waits its
turn behind it, the order on each connection stays what it was.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Callable, NamedTuple, Sequence

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from gatewayd.interfaces import IBroadcaster, ISink
from gatewayd.ws.deflate import deflated

SLICE = 0.003
"""
Seconds of writing after which others get their turn of the reactor.
"""

CHUNK = 256
"""
Sinks between two looks at the clock.
"""

ROUND = 64
"""
Broadcasts that are joined at most.
"""

MAX_WAITING = 2048
"""
Broadcasts that may wait. With more of them, whoever brings the next one waits for them: then
the events wait in the socket from Redis, and not in our memory.
"""


class _Broadcast(NamedTuple):
    frame: bytes
    sinks: Sequence[ISink]
    published: float


@implementer(IBroadcaster)
class Broadcaster:
    """
    See the module.

    @ivar deflating: connections that have negotiated compression. Without any, nobody is asked.
    """

    def __init__(self, clock: IReactorTime, written: Callable[[float], None]) -> None:
        """
        @param written: told of each broadcast that has been written to all of its sinks: when
            it was published.
        """
        self._clock = clock
        self._written = written
        self._waiting: deque[_Broadcast] = deque()
        # Of the round that is being written: what is left, and what will be done with it.
        self._writing: deque[tuple[bytes, Sequence[ISink]]] = deque()
        self._at = 0
        self._done: list[float] = []
        self._scheduled = False
        self.deflating = 0

    @property
    def busy(self) -> bool:
        """
        Whether something waits to be written.
        """
        return self._scheduled

    def broadcast(self, frame: bytes, sinks: Sequence[ISink], published: float = 0.0) -> None:
        """
        See L{IBroadcaster.broadcast}.
        """
        if self.deflating:
            self._divide(frame, sinks, published)
        else:
            self._waiting.append(_Broadcast(frame, sinks, published))
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._turn)
        elif len(self._waiting) > MAX_WAITING:
            self._write_until(float("inf"))

    def _divide(self, frame: bytes, sinks: Sequence[ISink], published: float) -> None:
        """
        Have a compressed twin of C{frame} made, if anybody is to get it.
        """
        packed = [sink for sink in sinks if sink.deflates]
        if packed:
            sinks = [sink for sink in sinks if not sink.deflates]
            self._waiting.append(_Broadcast(deflated(frame), packed, 0.0))
        self._waiting.append(_Broadcast(frame, sinks, published))

    def _turn(self) -> None:
        if self._write_until(self._clock.seconds() + SLICE):
            self._scheduled = False
        else:
            self._clock.callLater(0, self._turn)

    def _write_until(self, deadline: float) -> bool:
        """
        Write what waits.

        @return: whether that was all; if not, the deadline came first.
        """
        seconds = self._clock.seconds
        while self._writing or self._waiting:
            if not self._writing:
                self._begin_round()
            data, sinks = self._writing[0]
            at = self._at
            _write(data, sinks[at : at + CHUNK] if at or len(sinks) > CHUNK else sinks)
            self._at = at + CHUNK
            if self._at >= len(sinks):
                self._writing.popleft()
                self._at = 0
                if not self._writing:
                    self._end_round()
            if seconds() >= deadline:
                return not self._writing and not self._waiting
        return True

    def _begin_round(self) -> None:
        count = min(ROUND, len(self._waiting))
        taken = [self._waiting.popleft() for _ in range(count)]
        self._done = [each.published for each in taken if each.published]
        self._writing.extend(joined(taken))

    def _end_round(self) -> None:
        done, self._done = self._done, []
        for published in done:
            self._written(published)


def _write(data: bytes, sinks: Sequence[ISink]) -> None:
    write, size = os.write, len(data)
    for sink in sinks:
        try:
            taken = write(sink.fd, data)
        except OSError:
            # No descriptor, a full socket, or one that is gone.
            sink.send(data)
        else:
            if taken != size:
                sink.keep(data[taken:])


def joined(broadcasts: Sequence[_Broadcast]) -> list[tuple[bytes, Sequence[ISink]]]:
    """
    What is to be written to whom, so that nobody is written to twice: all that one sink is to
    get as one piece, in order, and each different piece made once.
    """
    first = broadcasts[0]
    if all(each.sinks == first.sinks for each in broadcasts):
        # One, or several for the same guild. Equal lists compare in nanoseconds an item.
        return [(b"".join([each.frame for each in broadcasts]), first.sinks)]
    wanted: dict[ISink, int] = {}
    get = wanted.get
    for number, each in enumerate(broadcasts):
        bit = 1 << number
        for sink in each.sinks:
            wanted[sink] = get(sink, 0) | bit
    groups: dict[int, list[ISink]] = {}
    for sink, bits in wanted.items():
        groups.setdefault(bits, []).append(sink)
    frames = [each.frame for each in broadcasts]
    return [
        (b"".join([frame for number, frame in enumerate(frames) if bits >> number & 1]), sinks)
        for bits, sinks in groups.items()
    ]
