"""
Instances that follow the log in L{RedisBooks<tests.unit.redis_books.RedisBooks>}: what
L{gatewayd.bus.following} and L{gatewayd.bus.publisher} do with a follower, one step at a time.

A step of the one connection and a step of the other may come in any order, as in life: a
command is sent, then done, then its answer taken; what the channel brings waits until it is
heard.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from gatewayd.bus.follower import Follower
from gatewayd.bus.inquiry import Look, Opened, Page
from gatewayd.bus.wire import Undecodable, message_of, position_of, row_of
from gatewayd.interfaces import IBusListener
from gatewayd.model import ORIGIN, Event, Position
from tests.contracts.event_bus import Hearer
from tests.unit.redis_books import FAR, Channel, RedisBooks

SUBSCRIBED = b"subscribed"
"""
How a subscription begins.
"""

WINDOW = 300.0


class Command:
    """
    One on its way.

    @ivar kind: C{follow} or C{publish}.
    @ivar done: Redis has done it.
    """

    def __init__(self, kind: str, run: Callable[[], Any], take: Callable[[Any], None]) -> None:
        self.kind = kind
        self.done = False
        self._run = run
        self._take = take
        self._answer: Any = None

    def do(self) -> None:
        """
        Redis does it.
        """
        self._answer = self._run()
        self.done = True

    def take(self) -> None:
        """
        The answer arrives.
        """
        self._take(self._answer)


class Instance:
    """
    One gateway.

    @ivar channel: its subscription; L{None} while it has none.
    @ivar deaf: it has one, by which nothing comes any more.
    @ivar greeted: its connection for commands has found out which log there is.
    @ivar pending: what it is to publish, and has not had an answer for.
    @ivar stamped: what becomes of an event each time that Redis is to publish it.
    @ivar told: is called with each event that Redis has put in its place.
    @ivar brought: is called with the uid of each event that the channel brings.
    @ivar answered: is called with the uid of each event that was published for this instance.
    @ivar looked: is called with what is found out of the log.
    """

    def __init__(self, books: RedisBooks, listener: IBusListener) -> None:
        self.books = books
        self.follower = Follower(WINDOW)
        self.follower.listener = listener
        self.channel: Channel | None = None
        self.deaf = False
        self.greeted = False
        self.pending: Sequence[Event] = ()
        self.stamped: Callable[[Event], Event] = lambda event: event
        self.told: Callable[[Event, Position | None], None] = lambda event, position: None
        self.brought: Callable[[str], None] = lambda uid: None
        self.answered: Callable[[str], None] = lambda uid: None
        self.looked: Callable[[Opened], None] = lambda opened: None
        self._commands: deque[Command] = deque()

    # The subscription

    def subscribe(self) -> None:
        """
        Begin a new one.
        """
        self.unsubscribe()
        self.channel = deque([SUBSCRIBED])
        self.books.channels.append(self.channel)

    def unsubscribe(self) -> None:
        """
        Lose it, with what it had still to bring.
        """
        self.deafen()
        self.channel, self.deaf = None, False

    def deafen(self) -> None:
        """
        Have it bring nothing more, and not know.
        """
        if self.channel is not None:
            self.books.leave(self.channel)
            self.deaf = True

    def hear(self) -> bool:
        """
        Take one message.

        @return: whether there was one.
        """
        if not self.channel:
            return False
        payload = self.channel.popleft()
        if payload == SUBSCRIBED:
            self.follower.subscribed()
        elif payload.startswith(b"!"):
            self.follower.check()
        else:
            try:
                message = message_of(payload)
            except Undecodable:
                return True
            self.brought(message.entry.event.uid)
            self.follower.receive(message)
        return True

    # The commands

    def ask(self) -> bool:
        """
        Ask what there is to ask.

        @return: whether anything was asked.
        """
        if any(command.kind == "follow" for command in self._commands):
            return False
        if not self.greeted:
            self.look()
            return True
        wanted = self.follower.wanted() if self.channel is not None else None
        if isinstance(wanted, Page):
            self._read(wanted)
        elif wanted is not None:
            self._look(wanted)
        return wanted is not None

    def look(self) -> None:
        """
        Ask which log there is.
        """
        self._look(self.follower.look())

    def _look(self, look: Look) -> None:
        def take(opened: Opened) -> None:
            self.greeted = True
            self.looked(opened)
            self.follower.looked(look, opened)

        self._commands.append(Command("follow", lambda: self.books.open(look), take))

    def _read(self, page: Page) -> None:
        def take(answer: Sequence[Any]) -> None:
            self.follower.read(page, [row_of(row) for row in answer])

        self._commands.append(Command("follow", lambda: self.books.read(page), take))

    def publish(self, *, floor: Position = ORIGIN, most: int = FAR) -> bool:
        """
        Ask for what is pending to be published, unless that has been asked.

        @return: whether it was asked.
        """
        under_way = any(command.kind == "publish" for command in self._commands)
        if not self.pending or not self.greeted or under_way:
            return False
        known = self.follower.log

        def run() -> list[bytes] | None:
            events = [self.stamped(event) for event in self.pending]
            answers = self.books.publish(known, events, floor=floor, most=most)
            for event, answer in zip(events, answers or (), strict=answers is not None):
                if not answer.startswith(b"="):
                    self.told(event, None if answer == b"-" else position_of(answer))
            return answers

        self._commands.append(Command("publish", run, self._published))
        return True

    def _published(self, answers: list[bytes] | None) -> None:
        if answers is None:
            self.look()
            return
        for event, answer in zip(self.pending, answers, strict=True):
            self.answered(event.uid)
            if not answer.endswith(b"-"):
                self.follower.published(position_of(answer.removeprefix(b"=")))
        self.pending = ()

    def do(self) -> bool:
        """
        Have Redis do the next command.

        @return: whether there was one.
        """
        for command in self._commands:
            if not command.done:
                command.do()
                return True
        return False

    def answer(self) -> bool:
        """
        Take the next answer.

        @return: whether there was one.
        """
        if not self._commands or not self._commands[0].done:
            return False
        self._commands.popleft().take()
        return True

    def cut(self) -> None:
        """
        Lose the connection for commands, and every answer.
        """
        self._commands.clear()
        self.greeted = False

    # All of it

    def turn(self) -> None:
        """
        Ask one question, and see it answered.
        """
        assert self.ask()
        while self.do() or self.answer():
            pass

    def step(self) -> bool:
        """
        Ask, and see it done and answered.

        @return: whether there was anything.
        """
        stepped = self.ask()
        while self.do() or self.answer():
            stepped = True
        return stepped

    def rest(self) -> None:
        """
        Go on until there is nothing to do.

        @raise AssertionError: that does not come.
        """
        for _ in range(1000):
            heard = self.hear()
            asked = self.publish()
            if not (self.step() or heard or asked):
                return
        raise AssertionError("it does not come to rest")


class FollowerCase(SynchronousTestCase):
    """
    One Redis, and instances that follow its log.
    """

    def setUp(self) -> None:
        """
        A Redis that holds nothing yet.
        """
        self.books = RedisBooks()

    def started(self) -> tuple[Instance, Hearer]:
        """
        An instance that is live.
        """
        hearer = Hearer()
        instance = Instance(self.books, hearer)
        instance.subscribe()
        instance.rest()
        return instance, hearer

    def publish(self, *some: Event) -> list[str]:
        """
        Put events into the log by an instance that nobody here knows, a millisecond later.

        @return: their uids.
        """
        self.books.ms += 1
        facts = self.books.state.facts
        assert facts is not None
        assert self.books.publish(facts.log, some) is not None
        return [one.uid for one in some]

    @property
    def head(self) -> Position:
        """
        The newest position in the log.
        """
        facts = self.books.state.facts
        assert facts is not None
        return facts.head

    def wiped(self) -> None:
        """
        Redis forgets everything, a millisecond later.
        """
        self.books.ms += 1
        self.books.flush()

    def checked(self, *instances: Instance) -> None:
        """
        It is time for each to look, twice over: the second time they see what the others had
        to say.
        """
        for _ in range(2):
            for instance in instances:
                instance.follower.check()
                instance.rest()
