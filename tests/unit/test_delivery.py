"""
What was heard on the bus reaches those it is for: in order, each once, and nothing left out.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd import closing
from gatewayd.delivery import REPLAY_BATCH
from gatewayd.history import History
from gatewayd.interfaces import (
    IAuthenticator,
    IBroadcaster,
    IBusListener,
    IGuildAuthority,
    ISink,
)
from gatewayd.metrics import quantiles, value
from gatewayd.model import Change, Membership, Position
from tests.stand_ins import (
    Instance,
    PlainBroadcaster,
    RecordingSink,
    ScriptedAuthenticator,
    ScriptedAuthority,
    event,
    say,
)

BOUND = 100_000


class DeliveryTestCase(SynchronousTestCase):
    """
    An instance that hears.
    """

    def setUp(self) -> None:
        """
        Make it.
        """
        self.clock = Clock()
        self.make()

    def make(self, max_events: int = 5000) -> None:
        """
        Make it anew.

        @param max_events: that its history holds.
        """
        history = History(window=600, max_events=max_events, max_bytes=1 << 24)
        self.instance = Instance(self.clock, history=history, max_buffered=BOUND)
        self.hear = self.instance.hear
        self.session = self.instance.session


class HearingTests(DeliveryTestCase):
    """
    What is heard while sessions are live.
    """

    def test_interfaces(self) -> None:
        """
        It listens to a bus; and what stands in for its neighbours is what they are.
        """
        self.assertTrue(verifyObject(IBusListener, self.instance.delivery))
        self.assertTrue(verifyObject(ISink, RecordingSink()))
        self.assertTrue(verifyObject(IBroadcaster, PlainBroadcaster()))
        self.assertTrue(verifyObject(IAuthenticator, ScriptedAuthenticator()))
        self.assertTrue(verifyObject(IGuildAuthority, ScriptedAuthority()))

    def test_audiences(self) -> None:
        """
        An event reaches those it is for, each once, and nobody else.
        """
        sinks = {
            name: self.session(name[0], *guilds)[1]
            for name, guilds in {
                "a": ["g1", "g2"],
                "a, elsewhere": ["g1"],
                "b": ["g2"],
                "c": ["g3"],
            }.items()
        }
        for heard, reached in (
            (event("m", "g1"), ["a", "a, elsewhere"]),
            (event("m", "g1", "g2"), ["a", "a, elsewhere", "b"]),
            (event("m", users=("a",)), ["a", "a, elsewhere"]),
            (event("m", "g2", users=("a", "c")), ["a"]),
            (event("m", "g2", excluded=("b",)), ["a"]),
            (event("m", "g3", also=("b",)), ["b", "c"]),
            (event("m", "g4"), []),
        ):
            place = self.hear(heard)
            self.assertEqual(
                [name for name, sink in sinks.items() if sink.ids.count(place) == 1], reached
            )

    def test_wanted(self) -> None:
        """
        Who asked for some events only, gets no others.
        """
        _, choosy = self.session("u1", "g1", events=["message.*", "!message.delete"])
        _, other = self.session("u2", "g1")
        for name in ("message.create", "message.delete", "typing.start"):
            self.hear(event(name, "g1"))
        self.assertEqual(len(choosy.heard("message.create")), 1)
        self.assertEqual(len(choosy.ids), 1)
        self.assertEqual(len(other.ids), 3)

    def test_as_published(self) -> None:
        """
        The data is what was published, byte for byte; the guild is named where it is one.
        """
        _, sink = self.session("u1", "g1", "g2")
        self.hear(event("m", "g1", data={"text": "é\u2028</script>"}))
        self.hear(event("m", "g1", "g2", data=[1, None]))
        first, second = sink.messages[2:]
        self.assertEqual((first["guildId"], first["data"]), ("g1", {"text": "é\u2028</script>"}))
        self.assertEqual(second["data"], [1, None])
        self.assertNotIn("guildId", second)

    def test_ephemeral(self) -> None:
        """
        An ephemeral event is delivered in its place, without an id, and is not kept.
        """
        _, sink = self.session("u1", "g1")
        before = self.hear(event("m", "g1"))
        self.hear(event("typing.start", "g1", ephemeral=True))
        self.hear(event("m", "g1"))
        names = [message["event"] for message in sink.messages[2:]]
        self.assertEqual(names, ["m", "typing.start", "m"])
        self.assertNotIn("id", sink.messages[3])
        _, later = self.session("u2", "g1", lastEventId=before)
        self.assertEqual(len(later.ids), 1)
        self.assertEqual(later.heard("typing.start"), [])

    def test_counted(self) -> None:
        """
        Deliveries and their bytes are counted once for each that was reached, and how long it
        took once for each event.
        """
        sinks = [self.session(f"u{n}", "g1")[1] for n in range(3)]
        before = sum(len(sink.written) for sink in sinks)
        self.hear(event("m", "g1", published=self.instance.wall() - 0.25))
        metrics = self.instance.metrics
        self.assertEqual(value(metrics.deliveries), 3)
        written = sum(len(sink.written) for sink in sinks) - before
        self.assertEqual(value(metrics.delivered_bytes), written)
        [median] = quantiles(metrics.latency, (0.5,))
        assert median is not None
        self.assertTrue(0.2 <= median <= 0.3)

    def test_heartbeat(self) -> None:
        """
        A heartbeat tells how far the log has come, whoever the events were for.
        """
        _, sink = self.session("u1", "g1")
        self.instance.wait(30)
        last = [self.hear(event("m", "elsewhere")) for _ in range(3)][-1]
        connection, _ = self.session("u2", "g1")
        self.instance.wait(29)
        self.assertEqual(len(sink.heard("heartbeat")), 1)
        say(connection, "heartbeat_ack")
        _, fresh = self.session("u3", "g1")
        self.instance.wait(30)
        self.assertEqual(fresh.heard("heartbeat"), [{"lastEventId": last}])

    def test_fault(self) -> None:
        """
        An entry that cannot be delivered, as one out of the log's order, is logged and costs no
        other.
        """
        _, sink = self.session("u1", "g1")
        self.hear(event("m", "g1"))
        self.hear(event("m", "g1"), position=Position(1, 0))
        self.hear(event("m", "g1"))
        self.assertEqual(len(sink.ids), 2)
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)


class LateTests(DeliveryTestCase):
    """
    What is read from the log late.
    """

    def test_at_start(self) -> None:
        """
        What the log held when the instance started can be replayed.
        """
        first, *missed = [self.hear(event("m", "g1"), fresh=False) for _ in range(4)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        self.assertEqual(sink.ids, missed)

    def test_since(self) -> None:
        """
        A session that was let in while the log could not be read hears of what is then read of
        it only that which is newer than itself.
        """
        before = self.instance.position()
        self.clock.advance(5)
        _, sink = self.session("u1", "g1")
        self.clock.advance(5)
        after = self.instance.position()
        self.hear(event("m", "g1"), fresh=False, position=before)
        self.assertEqual(sink.ids, [])
        self.hear(event("m", "g1"), fresh=False, position=after)
        self.assertEqual(sink.ids, [str(after)])

    def test_since_is_for_late_ones(self) -> None:
        """
        What comes fresh is delivered even where the log's clock is behind this instance's.
        """
        self.hear(event("m", "g1"))
        self.instance.drift = 60
        _, sink = self.session("u1", "g1")
        self.instance.drift = 0
        fresh = self.hear(event("m", "g1"))
        self.assertEqual(sink.ids, [fresh])

    def test_age(self) -> None:
        """
        What is read late is as old in the history as it is in the log.
        """
        place = self.instance.position()
        self.clock.advance(400)
        self.hear(event("m", "g1"), fresh=False, position=place)
        self.hear(event("m", "g1"))
        self.instance.history.expire(self.clock.seconds() + 250)
        self.assertEqual(len(self.instance.history), 1)


class BrokenLogTests(DeliveryTestCase):
    """
    A log that begins anew.
    """

    def test_incomplete(self) -> None:
        """
        Where events may have been missed, every session is closed with 4000, live or still
        being replayed to; who has not identified may stay.
        """
        first = self.hear(event("m", "g1"))
        for _ in range(3):
            self.hear(event("m", "g1", size=BOUND // 3))
        _, live = self.session("u1", "g1")
        _, behind = self.session("u2", "g1", lastEventId=first)
        _, waiting = self.instance.connect()
        self.assertEqual(self.instance.delivery.behind, 1)
        self.instance.delivery.begun(self.instance.position(), False)
        self.assertEqual(live.closings, [closing.UPSTREAM])
        self.assertEqual(behind.closings, [closing.UPSTREAM])
        self.assertEqual(waiting.closings, [])
        self.assertEqual(self.instance.delivery.behind, 0)
        self.assertEqual(self.instance.delivery.broken, 1)
        before = live.written + behind.written
        self.hear(event("m", "g1"))
        self.assertEqual(live.written + behind.written, before)

    def test_complete(self) -> None:
        """
        Where nothing was missed, live sessions go on; one in the middle of a replay, which can
        no longer be finished, is closed.
        """
        first = self.hear(event("m", "g1"))
        for _ in range(3):
            self.hear(event("m", "g1", size=BOUND // 3))
        _, live = self.session("u1", "g1")
        _, behind = self.session("u2", "g1", lastEventId=first)
        self.instance.delivery.begun(self.instance.position(), True)
        self.assertEqual((live.closings, behind.closings), ([], [closing.UPSTREAM]))
        self.assertEqual(self.instance.delivery.broken, 0)
        place = self.hear(event("m", "g1"))
        self.assertEqual(live.ids, [place])

    def test_ids_of_before(self) -> None:
        """
        An id of before is not known any more: the guilds are named in which something may be
        missing.
        """
        first = self.hear(event("m", "g1"))
        self.instance.delivery.begun(self.instance.position(), True)
        place = self.hear(event("m", "g1"))
        _, sink = self.session("u1", "g1", "g2", lastEventId=first)
        [identified] = sink.heard("identified")
        self.assertEqual(identified["resume"]["recovered"], False)
        self.assertEqual(sorted(identified["resume"]["resync"]), ["g1", "g2"])
        self.assertEqual(sink.ids, [place])


class ReplayTests(DeliveryTestCase):
    """
    A client that returns.
    """

    def test_then_live(self) -> None:
        """
        What was missed comes first, oldest first, and then what is new.
        """
        first, *missed = [self.hear(event("m", "g1")) for _ in range(5)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        live = [self.hear(event("m", "g1")) for _ in range(2)]
        self.assertEqual(sink.ids, [*missed, *live])
        [identified] = sink.heard("identified")
        self.assertEqual(
            identified["resume"], {"recovered": True, "replayed": len(missed), "resync": []}
        )
        self.assertEqual(sink.messages[1]["event"], "identified")

    def test_only_its_own(self) -> None:
        """
        Only that is replayed which the session may see and wants, and it is counted so.
        """
        first = self.hear(event("m", "g1"))
        wanted = self.hear(event("m", "g1"))
        self.hear(event("other", "g1"))
        self.hear(event("m", "g2"))
        self.hear(event("m", "g1", excluded=("u1",)))
        mine = self.hear(event("m", users=("u1",)))
        _, sink = self.session("u1", "g1", events=["m"], lastEventId=first)
        self.assertEqual(sink.ids, [wanted, mine])
        self.assertEqual(sink.heard("identified")[0]["resume"]["replayed"], 2)

    def test_paced(self) -> None:
        """
        No more is sent than the client reads: at most half of what it may have unsent.
        """
        first, *missed = [self.hear(event("m", "g1", size=9000)) for _ in range(40)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        while self.instance.delivery.behind:
            self.assertTrue(0 < sink.unsent <= BOUND // 2 + 10_000)
            before = len(sink.ids)
            sink.leave()
            self.assertGreaterEqual(len(sink.ids), before)
        self.assertEqual(sink.ids, missed)

    def test_in_turns(self) -> None:
        """
        No more than so many events are replayed to one client at once.
        """
        first, *missed = [self.hear(event("m", "g1", data=0)) for _ in range(REPLAY_BATCH + 10)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        self.assertEqual(sink.ids, missed[:REPLAY_BATCH])
        sink.read()
        self.assertEqual(sink.ids, missed)

    def test_overtaken(self) -> None:
        """
        What is heard during a paced replay comes after what was missed, and nothing comes
        twice.
        """
        first, *missed = [self.hear(event("m", "g1", size=30_000)) for _ in range(9)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        self.assertNotEqual(sink.ids, missed)
        for _ in range(20):
            missed.append(self.hear(event("m", "g1", size=10_000)))
            sink.leave()
        sink.read()
        self.assertEqual(self.instance.delivery.behind, 0)
        missed.append(self.hear(event("m", "g1")))
        self.assertEqual(sink.ids, missed)

    def test_big_ones(self) -> None:
        """
        Two events that each may be sent, but not both at once, are not sent both at once: a
        client that reads is not closed for what it was sent.
        """
        sizes = (45_000, 60_000, 95_000, 10, 99_000)
        first, *missed = [self.hear(event("m", "g1", size=size)) for size in (0, *sizes)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        while self.instance.delivery.behind:
            self.assertLessEqual(sink.unsent, BOUND)
            sink.leave()
        self.assertEqual(sink.ids, missed)

    def test_guild_lost(self) -> None:
        """
        From a guild that the session loses during a replay nothing more is replayed, but the
        event that tells of the loss.
        """
        first = self.hear(event("m", "g1"))
        kept, lost = [], []
        for _ in range(5):
            kept.append(self.hear(event("m", "g1", size=20_000)))
            lost.append(self.hear(event("m", "g2", size=20_000)))
        _, sink = self.session("u1", "g1", "g2", lastEventId=first)
        had = [place for place in sink.ids if place in lost]
        self.assertTrue(0 < len(had) < 5)
        told = self.instance.moves(
            "guild_member.remove", Membership(Change.LEAVE, ("g2",), ("u1",))
        )
        sink.read()
        self.assertEqual([place for place in sink.ids if place not in kept], [*had, told])
        self.assertEqual([place for place in sink.ids if place in kept], kept)
        self.assertEqual(
            sink.heard("guild_unsubscribed"), [{"guildId": "g2", "reason": "member_removed"}]
        )

    def test_guild_deleted(self) -> None:
        """
        The same where the guild is deleted for everyone; the event itself, which tells of it, is
        of that guild and not replayed either.
        """
        first = self.hear(event("m", "g1"))
        lost = [self.hear(event("m", "g2", size=60_000)) for _ in range(3)]
        kept = self.hear(event("m", "g1"))
        _, sink = self.session("u1", "g1", "g2", lastEventId=first)
        self.instance.moves("guild.delete", Membership(Change.DELETE, ("g2",)))
        sink.read()
        self.assertNotIn(lost[-1], sink.ids)
        self.assertIn(kept, sink.ids)
        self.assertEqual(
            sink.heard("guild_unsubscribed"), [{"guildId": "g2", "reason": "guild_deleted"}]
        )

    def test_outrun(self) -> None:
        """
        A client that reads more slowly than events leave the history is closed as too slow: it
        would miss some.
        """
        self.make(max_events=10)
        first = self.hear(event("m", "g1"))
        for _ in range(9):
            self.hear(event("m", "g1", size=30_000))
        _, sink = self.session("u1", "g1", lastEventId=first)
        for _ in range(10):
            self.hear(event("m", "g1"))
        sink.read()
        self.assertEqual(sink.closings, [closing.TOO_SLOW])
        self.assertEqual(self.instance.delivery.behind, 0)

    def test_outrun_by_what_is_not_its_own(self) -> None:
        """
        What leaves the history and was for others closes nobody.
        """
        self.make(max_events=10)
        first, *missed = [self.hear(event("m", "g1", size=30_000)) for _ in range(5)]
        _, sink = self.session("u1", "g1", lastEventId=first)
        sink.leave()
        for _ in range(5):
            self.hear(event("m", "elsewhere"))
        sink.read()
        self.assertEqual(sink.closings, [])
        self.assertEqual(sink.ids, missed)

    def test_gone(self) -> None:
        """
        A client that goes away in the middle of its replay leaves nothing behind.
        """
        first, *_ = [self.hear(event("m", "g1", size=30_000)) for _ in range(9)]
        connection, sink = self.session("u1", "g1", lastEventId=first)
        self.assertEqual(self.instance.delivery.behind, 1)
        connection.lost(None)
        self.assertEqual(self.instance.delivery.behind, 0)
        before = sink.written
        sink.read()
        self.assertEqual(sink.written, before)

    @given(
        integers(0, 12),
        lists(sampled_from(["g1", "g2", "other", "mine", "leave", "join g3", "g3"]), max_size=40),
    )
    def test_no_gap_and_no_duplicate(self, begin: int, steps: list[str]) -> None:
        """
        However reading and publishing come together, from wherever it resumes: a client gets
        all that is its own, once, in order.
        """
        self.make()
        audiences = {
            **{guild: lambda guild=guild: event("m", guild, size=9000) for guild in ("g1", "g2")},  # type: ignore[misc]
            "other": lambda: event("m", "g9", size=9000),
            "mine": lambda: event("m", users=("u1",), size=9000),
        }
        past = ["g1", "g2", "other", "mine"] * 3
        places = [(kind, self.hear(audiences[kind]())) for kind in ["other", *past]]
        connection, sink = self.instance.session("u1", "g1", "g2", lastEventId=places[begin][1])
        due = [place for kind, place in places[begin + 1 :] if kind != "other"]
        joined = False
        for step in steps:
            if step == "leave":
                sink.leave()
            elif step == "join g3":
                joined = True
                connection.added("g3")
            elif step == "g3":
                place = self.hear(event("m", "g3", size=9000))
                # Before it joined they are not its own.
                due += [place] if joined else []
            else:
                place = self.hear(audiences[step]())
                due += [place] if step != "other" else []
        sink.read()
        self.assertEqual([place for place in sink.ids if place in due], due)
        self.assertEqual(len(set(sink.ids)), len(sink.ids))
        self.assertEqual(sink.ids, sorted(sink.ids, key=lambda place: Position.parse(place) or ()))
