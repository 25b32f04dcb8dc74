"""
Whatever befalls a log, its channel and those who follow it, each of them hears in order, each
event once, and of none that it did not hear is it left to think that there was nothing.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.bus.follower import MAX_BUFFERED_BYTES
from gatewayd.bus.wire import Message
from gatewayd.model import Entry, Position
from tests.contracts.event_bus import Hearer, event, events
from tests.unit.follower_world import World
from tests.unit.instances import WINDOW, FollowerCase
from tests.unit.redis_books import encoded


class BreaksTests(FollowerCase):
    """
    A log that something happens to.
    """

    def test_goes_over_to_a_new_log(self) -> None:
        """
        Who heard all of a log that was wiped is told so, and hears what comes in the next,
        whose positions are later.
        """
        instance, hearer = self.started()
        old = self.publish(*events(2))
        instance.rest()
        last = self.head
        self.wiped()
        self.checked(instance)
        new = self.publish(event())
        instance.rest()
        self.assertEqual(hearer.uids, old + new)
        ((position, complete),) = hearer.begins[1:]
        self.assertTrue(complete)
        self.assertGreater(position, last)
        self.assertEqual(instance.follower.breaks, 1)

    def test_tells_who_was_away_that_it_missed_something(self) -> None:
        """
        Of two instances, the one that had not heard all of the old log is told that entries
        are missing, once; the other is told that none are.
        """
        one, heard = self.started()
        other, missed = self.started()
        other.unsubscribe()
        self.publish(event())
        one.rest()
        self.wiped()
        other.subscribe()
        other.rest()
        self.checked(other, one, other)
        self.checked(other, one)
        self.assertEqual([complete for _, complete in heard.begins[1:]], [True])
        self.assertEqual([complete for _, complete in missed.begins[1:]], [True, False])

    def test_a_lost_stream_or_lost_facts_are_a_new_log(self) -> None:
        """
        The log is whole or it is another, whichever of its keys is gone.
        """
        for lose in (self.books.lose_stream, self.books.lose_facts):
            instance, hearer = self.started()
            self.publish(event())
            instance.rest()
            self.books.ms += 1
            lose()
            self.checked(instance)
            self.assertEqual([complete for _, complete in hearer.begins[1:]], [True])

    def test_tells_of_what_was_trimmed_away(self) -> None:
        """
        Who was away for longer than the log reaches back is told from where it is known, and
        hears it from there.
        """
        instance, hearer = self.started()
        instance.unsubscribe()
        self.publish(*events(2))
        cut = self.head
        kept = self.publish(*events(2))
        self.books.trim(2)
        instance.subscribe()
        instance.rest()
        self.assertEqual(hearer.begins[1:], [(cut, False)])
        self.assertEqual(hearer.uids, kept)

    def test_tells_of_what_was_trimmed_away_altogether(self) -> None:
        """
        Nor does it wait for entries of which none is left.
        """
        instance, hearer = self.started()
        instance.unsubscribe()
        self.publish(*events(2))
        self.books.trim(2)
        instance.subscribe()
        instance.rest()
        self.assertEqual(hearer.begins[1:], [(self.head, False)])
        self.assertTrue(instance.follower.live)

    def test_tells_of_what_it_cannot_read(self) -> None:
        """
        An entry in a later version's language is missing, and what follows it is heard.
        """
        instance, hearer = self.started()
        facts = self.books.state.facts
        assert facts is not None
        facts.head = self.books.add(b"p", encoded(facts.head), b"h", b"{}", b"d", b"")
        place = facts.head
        some = self.publish(event())
        instance.rest()
        self.assertEqual(hearer.begins[1:], [(place, False)])
        self.assertEqual(hearer.uids, some)

    def test_notices_a_log_that_went_back(self) -> None:
        """
        After a fail-over to a replica that lacked entries, no position is given twice: there is
        a new log, and who had not heard the lost entries is told.
        """
        one, heard = self.started()
        other, missed = self.started()
        snapshot = self.books.snapshot()
        other.unsubscribe()
        self.publish(event())
        one.rest()
        last = self.head
        self.books.ms += 1
        self.books.restart(snapshot)
        for instance in (one, other):
            instance.cut()
            instance.subscribe()
            instance.rest()
        self.checked(one, other)
        self.assertEqual([complete for _, complete in heard.begins[1:]], [True])
        self.assertIn(False, [complete for _, complete in missed.begins[1:]])
        self.assertGreater(self.head, last)

    def test_notices_a_log_that_went_back_and_was_written_to(self) -> None:
        """
        Entries that follow what this instance has passed are proof of it, though the log's head
        is later than all it has heard. What anyone missed cannot be known then.
        """
        instance, hearer = self.started()
        snapshot = self.books.snapshot()
        self.publish(event())
        instance.rest()
        self.books.ms += 1
        self.books.restart(snapshot)
        self.publish(*events(2))
        instance.cut()
        instance.subscribe()
        instance.rest()
        self.assertEqual(self.books.logs, 2)
        self.assertEqual(hearer.begins[1:], [(self.head, False)])

    def test_does_not_hear_again_what_an_earlier_log_held(self) -> None:
        """
        A publisher that did not have its answer before the log was wiped publishes again.
        """
        instance, hearer = self.started()
        some = event()
        self.publish(some)
        instance.rest()
        self.wiped()
        self.checked(instance)
        self.publish(some)
        after = self.publish(event())
        instance.rest()
        self.assertEqual(hearer.uids, [some.uid, *after])
        self.assertEqual(instance.follower.repeats, 1)
        self.assertEqual(instance.follower.last, self.head)

    def test_hears_again_what_is_published_long_after(self) -> None:
        """
        Past the window, a uid is a new one.
        """
        instance, hearer = self.started()
        some = event()
        self.publish(some)
        instance.rest()
        self.wiped()
        self.checked(instance)
        self.books.ms += int(WINDOW * 1000) + 1
        self.publish(some)
        instance.rest()
        self.assertEqual(hearer.uids, [some.uid] * 2)


class EvidenceTests(FollowerCase):
    """
    Nobody is told that nothing is missing who knows better, or whom another could have told.
    """

    def told(self, hearer: Hearer) -> list[bool]:
        """
        What was said of each new log: whether all of those before it was heard.
        """
        return [complete for _, complete in hearer.begins[1:]]

    def test_what_a_look_had_shown(self) -> None:
        """
        The log had been seen to be longer than was heard of it, and was wiped before it could
        be read.
        """
        instance, hearer = self.started()
        instance.unsubscribe()
        self.publish(event())
        instance.subscribe()
        instance.hear()
        instance.turn()
        self.wiped()
        self.checked(instance)
        self.assertEqual(self.told(hearer), [False])

    def test_what_was_learned_while_asking(self) -> None:
        """
        What this instance published, and heard of only after it had asked which log there is,
        the new log is told; so that another, which did not hear of it at all, is told too.
        """
        one, heard = self.started()
        other, missed = self.started()
        other.unsubscribe()
        one.pending = events(1)
        one.publish()
        one.do()
        one.follower.check()
        one.ask()
        one.hear()
        self.wiped()
        one.do()
        one.answer()
        one.answer()
        one.rest()
        other.subscribe()
        other.rest()
        self.checked(one, other)
        self.assertEqual(self.told(heard), [True])
        self.assertEqual(self.told(missed), [False])

    def test_what_another_knew_when_two_logs_were_lost(self) -> None:
        """
        The log that followed the one with the missing entry was lost as well, and before
        whoever knew of it could say so.
        """
        one, heard = self.started()
        other, missed = self.started()
        other.unsubscribe()
        self.publish(event())
        self.wiped()
        other.subscribe()
        other.rest()
        self.wiped()
        other.follower.check()
        other.rest()
        one.rest()
        self.checked(one, other)
        self.assertEqual(self.told(heard), [True])
        self.assertEqual(self.told(missed), [True, True, False])

    def test_what_came_too_late(self) -> None:
        """
        The channel brings an entry of the old log when the new one is followed already.
        """
        instance, hearer = self.started()
        self.publish(event())
        self.wiped()
        instance.follower.check()
        while instance.step():
            pass
        self.assertEqual(self.told(hearer), [True])
        instance.rest()
        self.assertEqual(self.told(hearer), [True, False])
        self.assertEqual(hearer.entries, [])

    def test_what_waited_to_be_heard(self) -> None:
        """
        The channel had brought an entry that did not follow, and the log was wiped before what
        is between could be read.
        """
        instance, hearer = self.started()
        channel = instance.channel
        assert channel is not None
        self.publish(*events(2))
        channel.popleft()
        instance.hear()
        self.wiped()
        self.checked(instance)
        self.assertEqual(self.told(hearer)[-1], False)

    def test_what_there_was_no_room_for(self) -> None:
        """
        Messages had to be dropped, and the log was wiped before it could be read.
        """
        instance, hearer = self.started()
        place = Position(self.books.ms, 2)
        entry = Entry(place, event())
        message = Message(place, Position(self.books.ms, 1), entry, MAX_BUFFERED_BYTES + 1)
        instance.follower.receive(message)
        self.wiped()
        self.checked(instance)
        self.assertEqual(self.told(hearer), [False])

    def test_a_page_of_another_log(self) -> None:
        """
        What is read may be of a log that has begun since the last look. It is looked again, and
        not taken for a part of the old one, which would have the new log replaced for nothing.
        """
        one, heard = self.started()
        other, _ = self.started()
        one.unsubscribe()
        old = self.publish(event())
        other.rest()
        one.subscribe()
        one.hear()
        one.turn()
        one.ask()
        self.wiped()
        self.checked(other)
        new = self.publish(event())
        one.rest()
        self.checked(other, one)
        self.assertEqual(self.books.logs, 2)
        self.assertEqual(self.told(heard), [False])
        self.assertEqual(heard.uids, new)
        self.assertNotIn(old[0], heard.uids)


class FollowersTests(SynchronousTestCase):
    """
    All of it at once.
    """

    def test_keeps_its_promises_whatever_befalls(self) -> None:
        """
        With connections, subscriptions, instances and whole logs lost at any moment, a log that
        goes back, is trimmed or written to by others: who follows it keeps what it promised, no
        log is begun without need, and in the end everybody is live.
        """
        run_state_machine_as_test(
            World,
            settings=settings(
                deadline=None,
                max_examples=80,
                stateful_step_count=50,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
