"""
The parts of a client's core, each by itself.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import DataObject, data, floats, lists, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.client import words
from gatewayd.client.backoff import Allowance, Backoff
from gatewayd.client.bookmark import REMEMBERED, Bookmark
from gatewayd.client.effects import Meta
from gatewayd.client.errors import ClientError
from gatewayd.client.listeners import Listeners
from gatewayd.client.options import checked_id, checked_url
from gatewayd.client.subscriptions import Subscriptions
from gatewayd.client.upgrades import seconds


class BackoffTests(SynchronousTestCase):
    """
    Waiting between attempts.
    """

    @given(lists(floats(0, 1, exclude_max=True), max_size=2000), floats(0.01, 10), floats(10, 100))
    def test_is_within_its_bound(self, draws: list[float], initial: float, maximum: float) -> None:
        """
        Whatever is drawn, and however often, no wait is over the maximum or its own bound.
        """
        source = iter(draws)
        backoff = Backoff(initial, maximum, lambda: next(source))
        for count, draw in enumerate(draws):
            bound = min(maximum, initial * 2.0 ** min(count, 60))
            self.assertAlmostEqual(backoff.next(), bound * draw)


class AllowanceTests(SynchronousTestCase):
    """
    Staying below a rate limit.
    """

    @given(lists(floats(0, 5), max_size=300))
    def test_never_more_than_it_says(self, steps: list[float]) -> None:
        """
        In no minute are there more than the burst and sixty seconds' worth.
        """
        allowance, now, taken = Allowance(40, 1.0), 0.0, list[float]()
        for step in steps:
            now += step
            if allowance.take(now):
                taken.append(now)
        for start in taken:
            self.assertLessEqual(sum(start <= one < start + 60 for one in taken), 101)

    def test_says_when_again(self) -> None:
        """
        After a refusal, it gives at the moment it named, and not long before.
        """
        allowance = Allowance(1, 0.5)
        self.assertTrue(allowance.take(100.0))
        self.assertFalse(allowance.take(100.5))
        again = allowance.next()
        self.assertAlmostEqual(again, 102.0, places=2)
        self.assertTrue(allowance.take(again))


class BookmarkTests(SynchronousTestCase):
    """
    Resuming without a loss or a duplicate.
    """

    @given(lists(sampled_from(["publish", "replay", "beat", "lose"]), max_size=80))
    def test_every_event_once(self, actions: list[str]) -> None:
        """
        However often the connection is lost, in replays too, and whatever heartbeats say of the
        log's head meanwhile, each event is heard once and in order.
        """
        log, heard = ["0-0"], list[str]()
        bookmark = Bookmark()
        bookmark.identified("0-0", None)
        sent = beat = 0
        live = True

        def send() -> None:
            nonlocal sent, live
            sent += 1
            live = live or sent == len(log) - 1
            if bookmark.event(log[sent]):
                heard.append(log[sent])

        for action in actions:
            if action == "publish":
                log.append(f"{len(log)}-0")
                if live:
                    send()
            elif action == "replay" and not live:
                send()
            elif action == "beat" and (live or sent > beat):
                # Whoever reads heartbeats in a replay reads events between them.
                beat = sent
                bookmark.heartbeat(log[-1])
            elif action == "lose":
                assert bookmark.last is not None
                sent = beat = log.index(bookmark.last)
                missed = len(log) - 1 - sent
                live = not missed
                bookmark.identified(log[-1], {"recovered": True, "replayed": missed, "resync": []})
        while not live:
            send()
        self.assertEqual(heard, log[1:])

    def test_a_replay_that_fell_short(self) -> None:
        """
        Where fewer events come than were announced, a heartbeat after a whole quiet interval
        counts again.
        """
        bookmark = Bookmark("1-0")
        bookmark.identified("9-0", {"recovered": True, "replayed": 3, "resync": []})
        bookmark.event("2-0")
        bookmark.heartbeat("9-0")
        self.assertEqual(bookmark.last, "2-0")
        bookmark.heartbeat("9-0")
        self.assertEqual(bookmark.last, "9-0")

    def test_memory_is_bounded(self) -> None:
        """
        It remembers the newest ids, and no more of them than it says.
        """
        bookmark = Bookmark()
        for number in range(3 * REMEMBERED):
            bookmark.event(f"{number}-0")
        self.assertEqual(len(bookmark._had), REMEMBERED)
        self.assertFalse(bookmark.event(f"{3 * REMEMBERED - 1}-0"))


class SubscriptionsTests(SynchronousTestCase):
    """
    What is wanted, and what is.
    """

    @given(data())
    def test_becomes_what_is_wanted(self, choice: DataObject) -> None:
        """
        Whatever is wanted and left, however late the gateway answers, and wherever connections
        are lost in between: in the end the session hears just what is wanted, and every wish is
        settled once.
        """
        settled: dict[int, int] = {}

        def settle(ref: int, _error: ClientError | None) -> None:
            settled[ref] = settled.get(ref, 0) + 1

        subscriptions = Subscriptions(["g1", "g2"], Backoff(1, 30, lambda: 0.5), settle)
        now, refs, wire = 0.0, 0, list[tuple[str, str]]()
        subscriptions.identified(["g1", "g2"], [], now)

        def speak() -> None:
            wire.extend(subscriptions.commands(now))

        def answer() -> None:
            name, guild = wire.pop(0)
            if name == "guild_subscribe":
                subscriptions.subscribed(guild)
            else:
                subscriptions.unsubscribed(guild, None)
            speak()

        actions = lists(sampled_from(["want", "leave", "answer", "answer", "lose", "later"]))
        for action in choice.draw(actions):
            now += 1.0
            if action in ("want", "leave"):
                refs += 1
                guild = choice.draw(sampled_from(["g1", "g2", "g3"]))
                getattr(subscriptions, action)(guild, refs)
            elif action == "answer" and wire:
                answer()
            elif action == "later" and wire:
                subscriptions.postpone(wire.pop(0)[1], now)
            elif action == "lose":
                subscriptions.lost()
                wire.clear()
                subscriptions.identified(list(subscriptions.wanted), [], now)
            speak()
        for _ in range(50):
            now += 40.0
            speak()
            while wire:
                answer()
        self.assertEqual(subscriptions.held, set(subscriptions.wanted))
        self.assertEqual(settled, dict.fromkeys(range(1, refs + 1), 1))

    def test_overtaken(self) -> None:
        """
        Where a guild is wanted, left and wanted again before the gateway has answered, the two
        wishes that were overtaken fail.
        """
        told: dict[int, str | None] = {}

        def settle(ref: int, error: ClientError | None) -> None:
            told[ref] = None if error is None else error.code

        subscriptions = Subscriptions([], Backoff(1, 30, lambda: 0.5), settle)
        subscriptions.identified([], [], 0.0)
        subscriptions.want("g1", 1)
        self.assertEqual(list(subscriptions.commands(0.0)), [("guild_subscribe", "g1")])
        subscriptions.leave("g1", 2)
        subscriptions.want("g1", 3)
        subscriptions.subscribed("g1")
        self.assertEqual(told, {1: "unsubscribed", 2: "subscribed", 3: None})

    def test_taken_away_while_wanted_again(self) -> None:
        """
        Whoever waits for a guild that is taken away is told the reason.
        """
        told: list[ClientError | None] = []
        backoff = Backoff(1, 30, lambda: 0.5)
        subscriptions = Subscriptions(["g1"], backoff, lambda _, error: told.append(error))
        subscriptions.identified(["g1"], [], 0.0)
        subscriptions.leave("g1", 1)
        list(subscriptions.commands(0.0))
        subscriptions.want("g1", 2)
        subscriptions.unsubscribed("g1", "guild_deleted")
        codes = [error and error.code for error in told]
        self.assertEqual(sorted(codes, key=str), [None, "guild_deleted"])
        self.assertNotIn("g1", subscriptions.wanted)


class WordsTests(SynchronousTestCase):
    """
    Reading what may be anything.
    """

    @given(text())
    def test_reads_anything(self, raw: str) -> None:
        """
        No text makes the reader raise.
        """
        words.read(raw)
        words.read(raw.encode("utf-8", "surrogatepass"))

    def test_members_of_the_wrong_kind(self) -> None:
        """
        A member that is not what it should be is as good as missing.
        """
        message = words.read('{"event":"x","id":5,"data":{"n":-1,"b":true,"t":7,"l":["a",1,""]}}')
        assert message is not None
        self.assertIsNone(message.id)
        self.assertEqual([message.number("n"), message.number("b")], [None, None])
        self.assertEqual((message.text("t"), message.texts("l")), (None, ("a",)))

    def test_deep(self) -> None:
        """
        JSON nested deeper than any reader goes is no message.
        """
        self.assertIsNone(words.read('{"event":' + "[" * 100_000))


class UpgradesTests(SynchronousTestCase):
    """
    The C{Retry-After} header.
    """

    def test_both_forms(self) -> None:
        """
        Seconds and dates are understood, a date that is past is now, and nonsense is nothing.
        """
        date = "Wed, 21 Oct 2015 07:28:00 GMT"
        self.assertEqual(seconds("120", 0.0), 120.0)
        self.assertEqual(seconds(date, 1445412480.0 - 30), 30.0)
        self.assertEqual(seconds(date, 2e9), 0.0)
        for nonsense in ("", "soon", "-5", "1e9", "9" * 30, "٣"):
            self.assertIsNone(seconds(nonsense, 0.0), nonsense)


class ListenersTests(SynchronousTestCase):
    """
    Who hears what.
    """

    def setUp(self) -> None:
        """
        Listeners that write down what they hear.
        """
        self.failures: list[str] = []
        self.heard: list[str] = []
        self.listeners = Listeners(
            lambda _: None, lambda name, error: self.failures.append(f"{name}: {error}")
        )

    def test_one_that_fails_harms_no_other(self) -> None:
        """
        All listeners hear an event, in their order, whichever of them raises.
        """

        def fail(_data: object, _meta: Meta) -> None:
            raise ValueError("broken")

        self.listeners.add("a", lambda *_: self.heard.append("first"))
        self.listeners.add("a", fail)
        self.listeners.add("*", lambda *_: self.heard.append("last"))
        self.listeners.tell(None, Meta("a"), local=False)
        self.assertEqual(self.heard, ["first", "last"])
        self.assertEqual(self.failures, ["a: broken"])

    def test_removed(self) -> None:
        """
        A listener that was removed, even by one that hears the same event, is not called again;
        removing it twice removes no other.
        """

        def once(_data: object, _meta: Meta) -> None:
            self.heard.append("once")
            remove()

        remove = self.listeners.add("a", once)
        self.listeners.add("a", lambda *_: self.heard.append("always"))
        for _ in range(2):
            self.listeners.tell(None, Meta("a"), local=False)
        remove()
        self.assertEqual(self.heard, ["once", "always", "always"])

    def test_names_of_ours(self) -> None:
        """
        An event of the platform that is named like a word of the client's reaches only those who
        listen for everything.
        """
        self.listeners.add("state", lambda *_: self.heard.append("state"))
        self.listeners.add("*", lambda *_: self.heard.append("*"))
        self.listeners.tell(None, Meta("state"), local=False)
        self.listeners.tell(None, Meta("state"), local=True)
        self.assertEqual(self.heard, ["*", "state"])


class OptionsTests(SynchronousTestCase):
    """
    What an application may get wrong.
    """

    def test_ids(self) -> None:
        """
        An id is a string of 1 to 64 characters.
        """
        self.assertEqual(checked_id("x" * 64), "x" * 64)
        for wrong in ("", "x" * 65, 5, None):
            self.assertRaises(ValueError, checked_id, wrong)

    def test_urls(self) -> None:
        """
        A URL is one of a WebSocket, with a host.
        """
        for right in ("ws://localhost:3005", "wss://gateway.example.com/x"):
            self.assertEqual(checked_url(right), right)
        for wrong in ("http://localhost/", "wss://", "localhost:3005", ""):
            self.assertRaises(ValueError, checked_url, wrong)
