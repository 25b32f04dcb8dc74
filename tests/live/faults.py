"""
A bad network between two parties that know nothing of it: a TCP proxy that can stop passing
things on, in the ways networks do.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Callable, cast
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.live.processes import free_port
from tests.live.waiting import eventually, reactor, within


class Mode(Enum):
    """
    What the proxy does with connections.
    """

    FORWARD = "forward"
    SWALLOW = "swallow"
    STALL = "stall"
    REFUSE = "refuse"


class _Delay:
    """
    Does things in their order, each no sooner than a delay after it was put here.
    """

    def __init__(self) -> None:
        self._todo: deque[tuple[float, Callable[[], None]]] = deque()
        self._timer: IDelayedCall | None = None

    def put(self, delay: float, act: Callable[[], None]) -> None:
        if not delay and not self._todo:
            act()
            return
        self._todo.append((reactor.seconds() + delay, act))
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._todo:
            wait = max(0.0, self._todo[0][0] - reactor.seconds())
            self._timer = reactor.callLater(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        while self._todo and self._todo[0][0] <= reactor.seconds():
            self._todo.popleft()[1]()
        self._arm()

    def clear(self) -> None:
        self._todo.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@implementer(IPushProducer)
class _End(Protocol):
    """
    One of a link's two connections.

    @ivar other: the other one, once that is made.
    """

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.other: _End | None = None
        self.lost = False
        self.outgoing = _Delay()
        self._full = False

    @property
    def wire(self) -> Connection:
        return cast(Connection, self.transport)

    def connectionMade(self) -> None:
        self.link.made(self)

    def dataReceived(self, data: bytes) -> None:
        self.link.carry(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.outgoing.clear()
        self.link.ended(self, reason.check(ConnectionDone) is not None)

    # The other side's buffer, which we fill, tells us when it is full.

    def pauseProducing(self) -> None:
        self._full = True
        self.flow()

    def resumeProducing(self) -> None:
        self._full = False
        self.flow()

    def stopProducing(self) -> None:
        """
        The other side is gone, of which L{_Link.ended} is told as well.
        """

    def flow(self) -> None:
        """
        Read, or do not.
        """
        if self.lost:
            return
        waits = self._full or self.link.stalled or self.other is None
        if waits and not self.link.deaf:
            self.wire.pauseProducing()
        else:
            self.wire.resumeProducing()

    def finish(self) -> None:
        """
        Close once all is written.
        """
        if not self.lost:
            # As long as somebody is registered to write more, it would not close.
            self.wire.unregisterProducer()
            self.wire.loseConnection()

    def write(self, data: bytes) -> None:
        if not self.lost:
            self.wire.write(data)

    def abort(self) -> None:
        if not self.lost:
            self.wire.abortConnection()


class _Link:
    """
    A client's connection to us and ours to the server.

    @ivar deaf: nothing that is said on it is passed on any more, closing it included.
    @ivar unheard: nothing that its client says is.
    """

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.deaf = proxy.mode is Mode.SWALLOW
        self.stalled = proxy.mode is Mode.STALL
        self.unheard = False
        self.near = _End(self)
        self.far = _End(self)
        self.dialling: Deferred[_End] | None = None

    def made(self, end: _End) -> None:
        if end is self.near:
            self.proxy.links.add(self)
            self.proxy.accepted += 1
            end.flow()
            if not self.deaf:
                self._dial()
            return
        self.near.other, self.far.other = self.far, self.near
        for each in (self.near, self.far):
            other = each.other
            assert other is not None
            each.wire.registerProducer(other, True)
            each.flow()

    def _dial(self) -> None:
        endpoint = TCP4ClientEndpoint(reactor, self.proxy.host, self.proxy.target, timeout=10)
        self.dialling = connectProtocol(endpoint, self.far)
        self.dialling.addErrback(lambda _failure: self.near.abort())

    def carry(self, end: _End, data: bytes) -> None:
        other = end.other
        if self.unheard and end is self.near:
            return
        if not self.deaf and other is not None:
            other.outgoing.put(self.proxy.lag, lambda: other.write(data))

    def ended(self, end: _End, clean: bool) -> None:
        other = end.other
        if other is None:
            if self.dialling is not None:
                self.dialling.cancel()
            self.proxy.forget(self)
        elif other.lost:
            self.proxy.forget(self)
        elif not self.deaf:
            other.outgoing.put(self.proxy.lag, other.finish if clean else other.abort)

    def cut(self) -> None:
        for end in (self.near, self.far):
            if end.transport is not None:
                end.outgoing.clear()
                end.abort()

    def flow(self) -> None:
        for end in (self.near, self.far):
            if end.transport is not None:
                end.flow()


class FaultProxy(Factory):
    """
    Listens in front of a server, and passes everything on until it is told otherwise.

    @ivar port: where to connect instead of the server's; it never changes.
    @ivar links: the connections there are.
    @ivar accepted: how many there have been.
    """

    noisy = False

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        """
        @param target: the server's port.
        """
        self.host = host
        self.target = target
        self.port = free_port()
        self.mode = Mode.FORWARD
        self.lag = 0.0
        self.links: set[_Link] = set()
        self.accepted = 0
        self._listening: IListeningPort | None = None
        self._original: str | None = None
        self._listen()

    @classmethod
    def before(cls, url: str) -> FaultProxy:
        """
        A proxy in front of the server that C{url} names.
        """
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        proxy = cls(address.port, address.hostname)
        proxy._original = url
        return proxy

    @property
    def url(self) -> str:
        """
        The server's URL with our port in place of its own.
        """
        assert self._original is not None, "made by a port, not a URL"
        return self._original.replace(f":{self.target}", f":{self.port}")

    def forward(self) -> None:
        """
        Pass everything on, at once. What stalled goes on; what was refused is accepted; but a
        connection of which something was swallowed stays deaf.
        """
        self._become(Mode.FORWARD)

    def delay(self, seconds: float) -> None:
        """
        Pass everything on, C{seconds} late, each way.
        """
        self._become(Mode.FORWARD, seconds)

    def swallow(self) -> None:
        """
        Be a black hole: read and throw away, both ways, and keep every socket open, whatever the
        other side does with its own. New connections are accepted, and not made to the server.
        """
        for link in self.links:
            link.deaf = True
        self._become(Mode.SWALLOW)

    def unhear(self) -> None:
        """
        Throw away whatever the clients of the present connections say from now on, and pass on
        what the server says.
        """
        for link in self.links:
            link.unheard = True

    def stall(self) -> None:
        """
        Read nothing, so that everything waits, in the senders' buffers at last: a partition that
        will heal. New connections are made, and stall.
        """
        self._become(Mode.STALL)

    async def refuse(self) -> None:
        """
        Listen no more, and cut what there is: the server's host is up, the server is not.
        """
        self._become(Mode.REFUSE)
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await within(5, "the proxy to listen no more", maybeDeferred(listening.stopListening))
        await self.cut()

    async def cut(self) -> None:
        """
        Reset every connection. New ones fare as before.
        """
        doomed = set(self.links)
        for link in doomed:
            link.cut()
        await eventually(lambda: self.links.isdisjoint(doomed), "connections to be reset")

    async def connected(self, number: int = 1, timeout: float = 10.0) -> None:
        """
        Wait until there are just so many connections.
        """
        await eventually(
            lambda: len(self.links) == number, f"{number} connections through the proxy", timeout
        )

    async def close(self) -> None:
        """
        Listen no more, cut everything, and come to rest.
        """
        await self.refuse()
        await self.connected(0)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        Somebody connected.
        """
        return _Link(self).near

    def forget(self, link: _Link) -> None:
        """
        Both of its connections are gone.
        """
        self.links.discard(link)

    def _listen(self) -> None:
        self._listening = reactor.listenTCP(self.port, self, interface="127.0.0.1")

    def _become(self, mode: Mode, lag: float = 0.0) -> None:
        self.mode, self.lag = mode, lag
        if mode is not Mode.REFUSE and self._listening is None:
            self._listen()
        for link in self.links:
            link.stalled = mode is Mode.STALL
            link.flow()
