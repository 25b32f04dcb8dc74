"""
What a connection asks of the world, and what it does with answers that come late, or not at
all, or when everything has changed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.connection import Connection
from gatewayd.metrics import by_label
from gatewayd.model import Change, Membership, Principal
from tests.stand_ins import Instance, RecordingSink, event, say

LEAVES = Membership(Change.LEAVE, ("g1",), ("u1",))


class ConnectionTestCase(SynchronousTestCase):
    """
    Connections of an instance whose neighbours answer when they are told to.
    """

    def setUp(self) -> None:
        """
        Make the instance.
        """
        self.clock = Clock()
        self.make()

    def make(self, **terms: Any) -> None:
        """
        Make it anew.
        """
        self.instance = Instance(self.clock, **terms)
        self.authority = self.instance.authority

    def identify(
        self, *guilds: str, token: str | None = None, **data: Any
    ) -> tuple[Connection, RecordingSink]:
        """
        A client that has said C{identify}, answered or not.
        """
        connection, sink = self.instance.connect()
        token = token or self.instance.token("u1", *guilds)
        say(connection, "identify", userId="u1", token=token, guildIds=list(guilds), **data)
        return connection, sink

    def codes(self, sink: RecordingSink) -> list[int]:
        """
        The codes with which a client was closed.
        """
        return [one.code for one in sink.closings]


class IdentifyTests(ConnectionTestCase):
    """
    Whom to believe, and what they may see.
    """

    def test_asks(self) -> None:
        """
        The authority is asked once, about the guilds asked for, as many as there may be.
        """
        self.make(max_guilds=2)
        self.identify("g1", "g2", "g3")
        self.assertEqual(self.authority.asked, [("g1", "g2")])

    def test_refused_before_asking(self) -> None:
        """
        Nobody asks about the guilds of one whose token does not hold, is another's, or who has
        connections enough.
        """
        self.make(connections_per_user=1)
        _, unknown = self.identify("g1", token="x")
        _, other = self.identify("g1", token=self.instance.token("u2", "g1"))
        self.identify()
        self.authority.asked.clear()
        _, crowded = self.identify("g1")
        self.assertEqual(self.authority.asked, [])
        self.assertEqual(
            [self.codes(sink) for sink in (unknown, other, crowded)], [[4004], [4004], [4023]]
        )

    def test_no_limit(self) -> None:
        """
        Zero connections for each user is no limit.
        """
        self.make(connections_per_user=0)
        sinks = [self.identify()[1] for _ in range(100)]
        self.assertEqual([sink.closings for sink in sinks], [[]] * 100)

    def test_slow_answers(self) -> None:
        """
        C{identified} comes when both have answered, and nothing is heard before.
        """
        token: Deferred[Principal] = Deferred()
        self.instance.authenticator.known["slow"] = token
        self.authority.holding = True
        _, sink = self.identify("g1", token="slow")
        self.instance.hear(event("m", "g1"))
        self.assertEqual(self.authority.asked, [])
        token.callback(Principal("u1", self.instance.wall() + 60, frozenset({"g1"})))
        self.instance.hear(event("m", "g1"))
        self.assertEqual(len(sink.messages), 1)
        self.authority.answer()
        place = self.instance.hear(event("m", "g1"))
        self.assertEqual(len(sink.heard("identified")), 1)
        self.assertEqual(sink.ids, [place])

    def test_too_slow(self) -> None:
        """
        The time to identify includes theirs.
        """
        self.authority.holding = True
        _, sink = self.identify("g1")
        self.instance.wait(10.1)
        self.assertEqual(self.codes(sink), [4021])
        self.authority.answer()
        self.assertEqual(len(sink.messages), 1)
        self.assertEqual(len(self.instance.registry), 0)

    def test_gone_meanwhile(self) -> None:
        """
        Who has gone when the answer comes, is not let in.
        """
        self.authority.holding = True
        connection, sink = self.identify("g1")
        connection.lost(None)
        self.authority.answer()
        self.assertEqual(len(sink.messages), 1)
        self.assertEqual((len(self.instance.registry), len(self.instance.census)), (0, 0))
        self.assertEqual(len(self.instance.timetable), 0)

    def test_removed_meanwhile(self) -> None:
        """
        Who is removed from a guild while the authority is thinking does not get it, whatever
        it says in the end.
        """
        self.authority.holding = True
        _, sink = self.identify("g1", "g2")
        self.clock.advance(1)
        self.instance.moves("guild_member.remove", LEAVES)
        self.authority.answer()
        [identified] = sink.heard("identified")
        self.assertEqual(identified["guildIds"], ["g2"])
        self.assertEqual(identified["denied"], [{"guildId": "g1", "reason": "revoked"}])
        self.instance.hear(event("m", "g1"))
        self.assertEqual(sink.ids, [])

    def test_older_token(self) -> None:
        """
        A token from before a removal does not let its user back in, and one from after it does;
        so it does when they are added again.
        """
        old = self.instance.token("u1", "g1")
        self.clock.advance(5)
        self.instance.moves("guild_member.remove", LEAVES)
        self.clock.advance(5)
        new = self.instance.token("u1", "g1")
        granted = [self.identify("g1", token=token)[1] for token in (old, new)]
        self.instance.moves("guild_member.add", Membership(Change.JOIN, ("g1",), ("u1",)))
        granted.append(self.identify("g1", token=old)[1])
        self.assertEqual(
            [sink.heard("identified")[0]["guildIds"] for sink in granted], [[], ["g1"], ["g1"]]
        )

    def test_waits_for_the_log(self) -> None:
        """
        Who wants to resume waits until the log has been read; who does not, does not.
        """
        self.instance.filling = Deferred()
        first = self.instance.hear(event("m", "g1"), fresh=False)
        _, fresh = self.identify("g1")
        _, returning = self.identify("g1", lastEventId=first)
        missed = self.instance.hear(event("m", "g1"), fresh=False)
        self.assertEqual(len(fresh.heard("identified")), 1)
        self.assertEqual(returning.heard("identified"), [])
        self.instance.filling.callback(None)
        self.assertEqual(returning.ids, [missed])

    def test_what_it_is_called(self) -> None:
        """
        What a client calls itself is kept for those who look.
        """
        connection, _ = self.identify("g1", client="app/1.0")
        self.assertEqual((connection.client, connection.user), ("app/1.0", "u1"))
        self.assertEqual(connection.address, "192.0.2.1")

    def test_counted(self) -> None:
        """
        Denials are counted by their reason, resumes by their outcome, and errors by their code.
        """
        first = self.instance.hear(event("m", "g1"))
        self.authority.denied = {"g2": "forbidden", "g3": "unavailable", "g4": "forbidden"}
        connection, _ = self.identify("g1", "g2", "g3", "g4", lastEventId=first)
        self.identify("g1", lastEventId="1-1")
        say(connection, "guild_subscribe", guildId="g2")
        say(connection, "dance")
        metrics = self.instance.metrics
        self.assertEqual(by_label(metrics.denials), {"forbidden": 3, "unavailable": 1})
        self.assertEqual(by_label(metrics.resumes), {"yes": 1, "no": 1})
        self.assertEqual(by_label(metrics.client_errors), {"forbidden": 1, "unknown_event": 1})


class FaultTests(ConnectionTestCase):
    """
    Neighbours that fail as they should not.
    """

    def check(self, sink: RecordingSink) -> None:
        """
        Check that a client was closed for a fault of ours, which is in the log.
        """
        self.assertEqual(self.codes(sink), [4000])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_authenticator(self) -> None:
        """
        An authenticator that fails costs its client the connection, and nobody else.
        """
        other, heard = self.identify("g1")
        self.instance.authenticator.known["bad"] = ZeroDivisionError()
        self.check(self.identify("g1", token="bad")[1])
        say(other, "heartbeat")
        self.assertEqual(heard.heard("heartbeat_ack"), [{}])

    def test_authority(self) -> None:
        """
        So does an authority, at C{identify} and at C{guild_subscribe}.
        """
        connection, sink = self.identify("g1")
        self.authority.failing = ZeroDivisionError()
        self.check(self.identify("g1")[1])
        say(connection, "guild_subscribe", guildId="g2")
        self.check(sink)

    def test_renewal(self) -> None:
        """
        And at C{authenticate}.
        """
        connection, sink = self.identify("g1")
        self.instance.authenticator.known["bad"] = ZeroDivisionError()
        say(connection, "authenticate", token="bad")
        self.check(sink)

    def test_late(self) -> None:
        """
        One that fails when its client has gone is logged, and that is all.
        """
        self.authority.holding = True
        connection, _ = self.identify("g1")
        connection.lost(1000)
        self.authority.failing = ZeroDivisionError()
        self.authority.answer()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(by_label(self.instance.metrics.closes), {"1000": 1})


class GuildTests(ConnectionTestCase):
    """
    Answers about guilds.
    """

    def test_removed_meanwhile(self) -> None:
        """
        Who is removed from a guild while the authority is thinking about it is told no, once,
        whatever it says in the end.
        """
        connection, sink = self.identify("g2", token=self.instance.token("u1", "g1", "g2"))
        self.authority.holding = True
        say(connection, "guild_subscribe", guildId="g1")
        self.clock.advance(1)
        self.instance.moves("guild_member.remove", LEAVES)
        self.authority.answer()
        self.assertEqual([one["code"] for one in sink.heard("error")], ["forbidden"])
        self.assertEqual(sink.heard("guild_subscribed"), [])
        self.instance.hear(event("m", "g1"))
        self.assertEqual(len(sink.ids), 1, "the event of the removal, and no more")

    def test_revoked(self) -> None:
        """
        A guild from which the user was removed after the token was issued is not subscribed to
        with it.
        """
        connection, sink = self.identify("g2", token=self.instance.token("u1", "g1", "g2"))
        self.clock.advance(1)
        self.instance.moves("guild_member.remove", LEAVES)
        say(connection, "guild_subscribe", guildId="g1")
        self.assertEqual([one["code"] for one in sink.heard("error")], ["revoked"])

    def test_several_at_once(self) -> None:
        """
        Answers are matched with their questions in whatever order they come.
        """
        connection, sink = self.identify(token=self.instance.token("u1", "g1", "g3"))
        self.authority.holding = True
        for guild in ("g1", "g2", "g3"):
            say(connection, "guild_subscribe", guildId=guild)
        for _ in range(3):
            self.authority.answer(-1)
        self.assertEqual(sink.heard("guild_subscribed"), [{"guildId": "g3"}, {"guildId": "g1"}])
        self.assertEqual([one["guildId"] for one in sink.heard("error")], ["g2"])

    def test_asked_twice(self) -> None:
        """
        Of two questions about one guild the newer one's answer counts, and there is one.
        """
        connection, sink = self.identify(token=self.instance.token("u1", "g1"))
        self.authority.holding = True
        say(connection, "guild_subscribe", guildId="g1")
        say(connection, "guild_subscribe", guildId="g1")
        self.authority.answer()
        self.assertEqual(sink.heard("guild_subscribed"), [])
        self.authority.answer()
        self.assertEqual(sink.heard("guild_subscribed"), [{"guildId": "g1"}])


class TokenTests(ConnectionTestCase):
    """
    How long a token lasts.
    """

    def test_leeway(self) -> None:
        """
        A session lives for as much longer than its token as that may be checked late.
        """
        self.make(leeway=5.0, heartbeat_interval=1000.0)
        _, sink = self.instance.session("u1", lifetime=100)
        self.instance.wait(104)
        self.assertEqual(sink.closings, [])
        self.instance.wait(2)
        self.assertEqual(self.codes(sink), [4006])

    def test_clock_set_back(self) -> None:
        """
        Where the wall clock is set back meanwhile, the token lasts until its time has come by
        that clock, and its end is told in time.
        """
        self.make(heartbeat_interval=10_000.0)
        _, sink = self.instance.session("u1", lifetime=100)
        self.instance.drift = -1000
        self.instance.wait(200)
        self.assertEqual((sink.heard("token_expiring"), sink.closings), ([], []))
        self.instance.wait(900 - 58)
        self.assertEqual(len(sink.heard("token_expiring")), 1)
        self.instance.wait(60)
        self.assertEqual(self.codes(sink), [4006])

    def test_set_back_after_the_warning(self) -> None:
        """
        It is the same where that happens after its end was told.
        """
        self.make(heartbeat_interval=10_000.0)
        _, sink = self.instance.session("u1", lifetime=100)
        self.instance.wait(50)
        self.instance.drift = -1000
        self.instance.wait(100)
        self.assertEqual(sink.closings, [])
        self.instance.wait(1000)
        self.assertEqual(self.codes(sink), [4006])

    def test_far(self) -> None:
        """
        A token that lasts longer than any connection costs no appointment.
        """
        self.instance.session("u1", lifetime=100)
        before = len(self.instance.timetable)
        self.instance.session("u2", lifetime=1e11)
        self.assertEqual((before, len(self.instance.timetable)), (2, 3))

    def test_renewed_late(self) -> None:
        """
        A renewal that is answered when the session has ended changes nothing.
        """
        connection, sink = self.identify("g1")
        self.authority.holding = True
        say(connection, "authenticate", token=self.instance.token("u1", "g1"))
        connection.end(closing.DISCONNECTED)
        self.authority.answer()
        self.assertEqual(sink.heard("authenticated"), [])
        self.assertEqual(self.codes(sink), [4022])
        connection.lost(None)
        self.assertEqual(len(self.instance.timetable), 0)

    def test_renewed_after_removal(self) -> None:
        """
        A fresh token from before a removal does not bring back what was lost by it.
        """
        fresh = self.instance.token("u1", "g1", "g2")
        connection, sink = self.identify("g1", "g2")
        self.clock.advance(1)
        self.instance.moves("guild_member.remove", LEAVES)
        say(connection, "authenticate", token=fresh)
        self.assertEqual(len(sink.heard("authenticated")), 1)
        self.assertEqual(connection.guilds, {"g2"})


class EndTests(ConnectionTestCase):
    """
    How it ends.
    """

    def test_over(self) -> None:
        """
        When it has been ended, nothing is served, heard or ended any more.
        """
        connection, sink = self.identify("g1")
        connection.end(closing.DISCONNECTED)
        before = sink.written
        for name in ("heartbeat", "dance", "identify", "authenticate"):
            say(connection, name)
        connection.received(b"\xff", True)
        connection.added("g2")
        connection.removed("g1", "revoked")
        connection.end(closing.INTERNAL)
        self.instance.hear(event("m", "g1", also=("u1",)))
        self.instance.wait(120)
        self.assertEqual(sink.written, before)
        self.assertEqual(self.codes(sink), [4022])

    def test_room_at_once(self) -> None:
        """
        One that is being closed is nobody's audience, but counts as a connection until it has
        gone.
        """
        connection, _ = self.identify("g1")
        connection.end(closing.DISCONNECTED)
        self.assertEqual(len(self.instance.registry), 0)
        self.assertEqual(len(self.instance.census.of_user("u1")), 1)
        connection.lost(4022)
        self.assertEqual(self.instance.census.of_user("u1"), [])

    def test_counted(self) -> None:
        """
        It is counted by the code with which we closed it, else by the client's, else as 1006.
        """
        for ended, code in ((closing.DISCONNECTED, 1000), (None, 1001), (None, None)):
            connection, _ = self.identify("g1")
            if ended is not None:
                connection.end(ended)
            connection.lost(code)
        for made_up in (3000, 3999, 4999, 2999):
            self.instance.connect()[0].lost(made_up)
        self.assertEqual(
            by_label(self.instance.metrics.closes), {"4022": 1, "1001": 1, "1006": 1, "other": 4}
        )
