"""
How an instance keeps in step with the log while the log is whole.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.bus.follower import (
    MAX_BUFFERED,
    MAX_BUFFERED_BYTES,
    MAX_PAGE,
    PAGE_BYTES,
    Follower,
    Nobody,
)
from gatewayd.bus.inquiry import Look, Opened, Page
from gatewayd.bus.wire import Message, Row
from gatewayd.interfaces import IBusListener
from gatewayd.model import ORIGIN, Entry, Position
from tests.contracts.event_bus import Hearer, event, events
from tests.unit.instances import WINDOW, FollowerCase, Instance


class FollowerTests(FollowerCase):
    """
    A log that nothing happens to.
    """

    def test_hears_what_the_log_holds_and_then_what_comes(self) -> None:
        """
        An instance hears from the log what was before it, as not fresh, and from the channel
        what comes, as fresh; it is told once where that begins.
        """
        self.started()
        before = self.publish(*events(3))
        instance, hearer = self.started()
        after = self.publish(*events(2))
        instance.rest()
        self.assertEqual(hearer.uids, before + after)
        self.assertEqual(hearer.fresh, [False] * 3 + [True] * 2)
        self.assertEqual(hearer.begins, [(Position(1_000_000, 0), True)])
        self.assertEqual(instance.follower.last, self.head)
        self.assertEqual(instance.follower.heard, 5)

    def test_begins_an_empty_log_at_its_start(self) -> None:
        """
        A log without entries is known from its start on.
        """
        instance, hearer = self.started()
        self.assertEqual(hearer.begins, [(self.head, True)])
        self.assertTrue(instance.follower.filled)
        self.assertTrue(instance.follower.live)

    def test_begins_a_trimmed_log_where_it_was_cut(self) -> None:
        """
        A log that was trimmed before this instance began is known from there on, and nothing
        is missing.
        """
        self.started()
        self.publish(*events(2))
        cut = self.head
        rest = self.publish(*events(2))
        self.books.trim(2)
        _, hearer = self.started()
        self.assertEqual(hearer.begins, [(cut, True)])
        self.assertEqual(hearer.uids, rest)

    def test_hears_what_comes_without_reading(self) -> None:
        """
        While it is live, the channel is enough: nothing is asked.
        """
        instance, hearer = self.started()
        some = self.publish(*events(3))
        while instance.hear():
            pass
        self.assertEqual(hearer.uids, some)
        self.assertIsNone(instance.follower.wanted())

    def test_hears_once_what_the_channel_brings_while_it_reads(self) -> None:
        """
        An event that comes by both ways is heard once, in its place.
        """
        self.started()
        before = self.publish(*events(2))
        hearer = Hearer()
        instance = Instance(self.books, hearer)
        instance.subscribe()
        instance.hear()
        instance.ask()
        instance.do()
        meanwhile = self.publish(*events(2))
        instance.hear()
        instance.rest()
        self.assertEqual(hearer.uids, before + meanwhile)
        self.assertEqual(hearer.begins[1:], [])

    def test_reads_what_the_channel_left_out(self) -> None:
        """
        When what comes does not follow, what is between is read first.
        """
        instance, hearer = self.started()
        channel = instance.channel
        assert channel is not None
        some = self.publish(*events(3))
        channel.popleft()
        channel.popleft()
        instance.rest()
        self.assertEqual(hearer.uids, some)
        self.assertEqual(hearer.fresh, [True] * 3)
        self.assertEqual((instance.follower.gaps, instance.follower.catchups), (1, 1))
        self.assertEqual(hearer.begins[1:], [])

    def test_reads_what_it_missed_while_its_subscription_was_lost(self) -> None:
        """
        What was published between two subscriptions is heard before what comes after.
        """
        instance, hearer = self.started()
        instance.unsubscribe()
        missed = self.publish(*events(2))
        instance.subscribe()
        after = self.publish(*events(2))
        instance.rest()
        self.assertEqual(hearer.uids, missed + after)
        self.assertEqual(instance.follower.catchups, 1)

    def test_does_not_read_where_nothing_was_missed(self) -> None:
        """
        A new subscription to a log that has not moved needs one look and no reading.
        """
        instance, _ = self.started()
        instance.subscribe()
        while instance.hear():
            pass
        self.assertIsInstance(instance.follower.wanted(), Look)
        instance.step()
        self.assertTrue(instance.follower.live)
        self.assertEqual(instance.follower.catchups, 0)

    def test_looks_again_for_a_newer_subscription(self) -> None:
        """
        An answer from before a subscription does not make it live: what was published between
        the two, neither has seen.
        """
        instance, hearer = self.started()
        instance.follower.check()
        instance.ask()
        instance.do()
        instance.unsubscribe()
        missed = self.publish(event())
        instance.subscribe()
        instance.hear()
        instance.answer()
        self.assertFalse(instance.follower.live)
        instance.rest()
        self.assertEqual(hearer.uids, missed)

    def test_an_ephemeral_event_keeps_its_place(self) -> None:
        """
        One that comes while the log is read is heard between the same two as it was published.
        """
        instance, hearer = self.started()
        channel = instance.channel
        assert channel is not None
        first = self.publish(event())
        passing = self.publish(event(ephemeral=True))
        last = self.publish(*events(2))
        channel.popleft()
        instance.rest()
        self.assertEqual(hearer.uids, first + passing + last)
        self.assertIsNone(hearer.entries[1].position)

    def test_an_ephemeral_event_that_comes_too_late_is_let_go(self) -> None:
        """
        Its place has been passed, and it is not heard out of it.
        """
        instance, hearer = self.started()
        channel = instance.channel
        assert channel is not None
        self.publish(event(ephemeral=True))
        some = self.publish(event())
        channel.rotate(1)
        instance.rest()
        self.assertEqual(hearer.uids, some)

    def test_hears_nothing_twice(self) -> None:
        """
        An entry that the channel brings again, at once or later, is not heard again.
        """
        instance, hearer = self.started()
        channel = instance.channel
        assert channel is not None
        some = self.publish(*events(3))
        channel.extend([*channel, channel[0]])
        instance.rest()
        self.assertEqual(hearer.uids, some)
        self.assertEqual(instance.follower.gaps, 0)

    def test_hears_while_it_checks(self) -> None:
        """
        A look at the log, though nothing is amiss, does not hold up what comes.
        """
        instance, hearer = self.started()
        instance.follower.check()
        instance.ask()
        some = self.publish(event())
        instance.hear()
        self.assertEqual(hearer.uids, some)
        instance.do()
        instance.answer()
        self.assertTrue(instance.follower.live)
        self.assertIsNone(instance.follower.wanted())
        self.assertEqual(instance.follower.length, 1)

    def test_does_not_take_what_is_no_part_of_the_log(self) -> None:
        """
        An entry that no gateway put into the stream is passed over and counted.
        """
        instance, hearer = self.started()
        instance.unsubscribe()
        first = self.publish(event())
        self.books.add(b"name", b"value")
        second = self.publish(event())
        instance.subscribe()
        instance.rest()
        self.assertEqual(hearer.uids, first + second)
        self.assertEqual(hearer.begins[1:], [])
        self.assertEqual(instance.follower.foreign, 1)

    def test_does_not_wait_for_what_never_was_in_the_log(self) -> None:
        """
        A message, of an entry or an ephemeral event, that follows nothing is dropped once the
        log shows that it is not there.
        """
        for position in (Position(2_000_000, 1), None):
            instance, hearer = self.started()
            entry = Entry(position, event())
            instance.follower.receive(Message(position, Position(2_000_000, 0), entry, 1))
            some = self.publish(*events(2))
            instance.rest()
            self.assertEqual(hearer.uids[-2:], some)
            self.assertTrue(instance.follower.live)
            self.assertEqual(instance.follower.foreign, 1)

    def test_listens_to_nobody_before_the_start(self) -> None:
        """
        A follower without a listener hears all the same, and nobody minds.
        """
        self.assertTrue(verifyObject(IBusListener, Nobody()))
        instance = Instance(self.books, Nobody())
        instance.subscribe()
        instance.rest()
        self.publish(event())
        instance.rest()
        self.assertEqual(instance.follower.last, self.head)


class BoundsTests(SynchronousTestCase):
    """
    What a follower keeps, and how much it asks for.
    """

    def setUp(self) -> None:
        """
        A follower that is live on a log which begins at second 1.
        """
        self.hearer = Hearer()
        self.follower = Follower(WINDOW)
        self.follower.listener = self.hearer
        self.follower.subscribed()
        self.look(ORIGIN)
        self.read(Page, [])

    def look(self, head: Position) -> None:
        """
        Answer a look with this head.
        """
        look = self.follower.wanted()
        assert isinstance(look, Look)
        start = Position(1000, 0)
        self.follower.looked(look, Opened("log", start, max(head, start), ORIGIN, 0))

    def read(self, kind: type[Page], rows: list[Row]) -> int:
        """
        Answer a page with these rows.

        @return: how many there could have been.
        """
        page = self.follower.wanted()
        assert isinstance(page, kind)
        self.follower.read(page, rows)
        return page.size

    def message(self, number: int, size: int = 1) -> Message:
        """
        The message of entry C{number}.
        """
        position = Position(1000, number)
        before = Position(1000, number - 1)
        return Message(position, before, Entry(position, event()), size)

    def row(self, number: int, size: int = 1) -> Row:
        """
        The row of entry C{number}.
        """
        message = self.message(number)
        assert message.position is not None
        return Row(message.position, message.prev, message.entry, size)

    def held(self, number: int, size: int) -> int:
        """
        Give it so many messages while it has to read, and see how many it heard of them once
        it has read what was before.
        """
        for one in range(number):
            self.follower.receive(self.message(2 + one, size))
        self.look(Position(1000, 1 + number))
        self.read(Page, [self.row(1), self.row(2)])
        return len(self.hearer.entries) - 1

    def test_keeps_what_comes_while_it_reads(self) -> None:
        """
        As many messages as it may keep are all heard.
        """
        self.assertEqual(self.held(MAX_BUFFERED, 1), MAX_BUFFERED)
        self.assertTrue(self.follower.live)
        self.assertEqual(self.follower.overflows, 0)

    def test_drops_what_is_too_many(self) -> None:
        """
        One more, and they are dropped, and read from the log.
        """
        self.follower.receive(self.message(2))
        for number in range(3, MAX_BUFFERED + 3):
            self.follower.receive(self.message(number))
        self.assertEqual(self.follower.overflows, 1)
        self.assertFalse(self.follower.live)
        self.look(Position(1000, 3))
        self.read(Page, [self.row(number) for number in (1, 2, 3)])
        self.assertEqual(len(self.hearer.entries), 3)
        # It had dropped messages, and so looks whether the log had more.
        self.look(Position(1000, 4))
        self.read(Page, [self.row(4)])
        self.assertEqual(len(self.hearer.entries), 4)
        self.assertTrue(self.follower.live)

    def test_drops_what_is_too_large(self) -> None:
        """
        Messages are counted by their size as well.
        """
        half = MAX_BUFFERED_BYTES // 2
        self.assertEqual(self.held(2, half), 2)
        for number in (5, 6, 7):
            self.follower.receive(self.message(number, half))
        self.assertEqual(self.follower.overflows, 1)

    def test_forgets_the_size_of_what_it_let_go(self) -> None:
        """
        What was heard, was stale or proved foreign counts no more.
        """
        part = MAX_BUFFERED_BYTES // 3
        for number in (2, 1, 900):
            self.follower.receive(self.message(number, part))
        self.look(Position(1000, 2))
        self.read(Page, [self.row(1), self.row(2)])
        self.assertTrue(self.follower.live)
        for number in (4, 5, 6):
            self.follower.receive(self.message(number, part))
        self.assertEqual(self.follower.overflows, 0)
        self.assertEqual(self.follower.foreign, 1)

    def sizes(self, weight: int, pages: int) -> list[int]:
        """
        The sizes of so many pages, each full of rows that together weigh C{weight}.
        """
        self.follower.receive(self.message(100_000))
        self.look(Position(1000, 99_999))
        sizes, number = [], 1
        for _ in range(pages):
            page = self.follower.wanted()
            assert isinstance(page, Page)
            rows = [self.row(number + one, weight // page.size) for one in range(page.size)]
            number += page.size
            sizes.append(self.read(Page, rows))
        return sizes

    def test_light_pages_grow(self) -> None:
        """
        Pages of small entries become longer, up to a bound.
        """
        sizes = self.sizes(PAGE_BYTES // 8, 5)
        self.assertEqual(sizes, sorted(sizes))
        self.assertGreater(sizes[1], sizes[0])
        self.assertEqual(sizes[-1], MAX_PAGE)

    def test_heavy_pages_shrink(self) -> None:
        """
        Pages of large entries become shorter, down to one entry.
        """
        sizes = self.sizes(PAGE_BYTES * 2, 12)
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertLess(sizes[1], sizes[0])
        self.assertEqual(sizes[-1], 1)
