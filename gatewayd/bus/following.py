"""
Drives a L{Follower}: brings it what the channel says and reads the log where it wants to.
"""

from __future__ import annotations

from typing import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gatewayd.bus.connection import Connection, Lost, Refused, Subscription
from gatewayd.bus.follower import Follower, Nobody
from gatewayd.bus.inquiry import Page
from gatewayd.bus.link import INITIAL_DELAY, MAX_DELAY, Link
from gatewayd.bus.scripts import Keys, open_log
from gatewayd.bus.wire import Undecodable, message_of, row_of
from gatewayd.errors import Stopped
from gatewayd.model import ORIGIN, Position
from gatewayd.retry import Backoff, Outage

CHECK = 2.0
"""
Seconds between looks at the log. A log that was wiped while nobody publishes, and a
subscription that is open and yet brings nothing, would not be noticed without.
"""


class Following:
    """
    @ivar outage: why the log cannot be read, although there is a connection.
    @ivar told: takes the kind and the payload of what instances tell each other.
    @ivar undecodable: messages on the channel that no gateway put there.
    @ivar deaf: times that a subscription brought nothing although there was something.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        follower: Follower,
        keys: Keys,
        *,
        instance: str,
        identify: Callable[[], str],
        random: Callable[[], float],
    ) -> None:
        """
        @param identify: makes ids for logs, never the same.
        """
        self._clock = clock
        self._follower = follower
        self._keys = keys
        self._instance = instance
        self._identify = identify
        self._backoff = Backoff(INITIAL_DELAY, MAX_DELAY, random)
        self._asleep: Deferred[bool] | None = None
        self._expected = ORIGIN
        self._filling: list[Deferred[None]] = []
        self.told: Callable[[str, bytes], None] = lambda kind, payload: None
        self.outage = Outage()
        self.undecodable = self.deaf = 0

    # What the links do with a new connection

    async def greet(self, connection: Connection) -> None:
        """
        Find out which log there is now, and that we may do what we will have to.
        """
        await self.look(connection, self._instance)

    async def subscribe(self, subscription: Subscription) -> None:
        """
        Listen to the channel.
        """
        await subscription.subscribe(self._keys.channel)
        self._follower.subscribed()
        self._wake()

    # What comes by the channel

    def heard(self, payload: bytes) -> None:
        """
        Take a message of the channel, whatever it may be.
        """
        if payload.startswith(b"!"):
            self._control(payload)
            return
        try:
            message = message_of(payload)
        except Undecodable:
            self.undecodable += 1
            return
        self._follower.receive(message)
        if not self._follower.live:
            self._wake()

    def _control(self, payload: bytes) -> None:
        head, _, rest = payload[1:].partition(b"\n")
        kind = head.partition(b" ")[0].decode("ascii", "replace")
        if kind == "log":
            self._follower.check()
            self._wake()
        elif kind.isidentifier():
            if kind != "hello":
                self.told(kind, rest)
        else:
            self.undecodable += 1

    # The log

    async def look(self, connection: Connection, name: str | None = None) -> Position:
        """
        See which log there is, and where its head.
        """
        look = self._follower.look()
        opened = await open_log(connection, self._keys, look, self._identify(), name)
        self._follower.looked(look, opened)
        self._progress()
        return opened.head

    async def _read(self, connection: Connection, page: Page) -> None:
        after = "-" if page.after is None else f"({page.after}"
        rows = await connection.ask("XRANGE", self._keys.log, after, "+", "COUNT", page.size)
        self._follower.read(page, [row_of(row) for row in rows])
        self._progress()

    def filled(self) -> Deferred[None]:
        """
        Fires once what the log held at start has been heard.
        """
        if self._follower.filled:
            return succeed(None)
        filling: Deferred[None] = Deferred(self._filling.remove)
        self._filling.append(filling)
        return filling

    def _progress(self) -> None:
        if self._follower.filled:
            filling, self._filling = self._filling, []
            for one in filling:
                one.callback(None)

    def stop(self) -> None:
        """
        Hear nothing more.
        """
        self._follower.listener = Nobody()
        filling, self._filling = self._filling, []
        for one in filling:
            one.errback(Stopped("the bus was stopped before the log had been read"))

    # The drive

    async def run(self, commands: Link[Connection], subscription: Link[Subscription]) -> None:
        """
        Follow the log. Never ends but by being cancelled.
        """
        while True:
            try:
                await self._step(commands, subscription)
            except CancelledError:
                raise
            except Lost:
                # Its link says so, and the next step waits for the next connection.
                continue
            except Refused as error:
                self._failed(str(error))
            except Exception:
                self.log.failure("Following the log failed")
            else:
                self._well()
                continue
            await deferLater(self._clock, self._backoff.next(), lambda: None)

    async def _step(self, commands: Link[Connection], subscription: Link[Subscription]) -> None:
        listening = await subscription.usable()
        wanted = self._follower.wanted()
        if isinstance(wanted, Page):
            await self._read(await commands.usable(), wanted)
        elif wanted is not None:
            self._expected = await self.look(await commands.usable())
        elif await self._sleep():
            # With silence, or we may only be slow to take what it has brought.
            if listening.silence and self._follower.last < self._expected:
                self.deaf += 1
                listening.abort("the subscription brings nothing, though there is something")
            self._follower.check()

    async def _sleep(self) -> bool:
        """
        Wait for the next check.

        @return: false if something came up before.
        """
        asleep: Deferred[bool] = Deferred()
        self._asleep = asleep
        timer = self._clock.callLater(CHECK, asleep.callback, True)
        try:
            return await asleep
        finally:
            self._asleep = None
            if timer.active():
                timer.cancel()

    def _wake(self) -> None:
        asleep, self._asleep = self._asleep, None
        if asleep is not None:
            asleep.callback(False)

    def _failed(self, error: str) -> None:
        if self.outage.failed(error, self._clock.seconds()):
            self.log.warn("The log in Redis cannot be read: {error}; will try again", error=error)

    def _well(self) -> None:
        self._backoff.reset()
        lasted = self.outage.over(self._clock.seconds())
        if lasted is not None:
            self.log.info("The log in Redis is read again after {seconds:.1f} s", seconds=lasted)
