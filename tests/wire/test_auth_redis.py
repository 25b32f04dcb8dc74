"""
Membership in Redis sets: one round trip, a bounded wait, and no more than Redis says.
"""

from __future__ import annotations

from typing import Any, Sequence, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.auth.redis import RedisGuilds
from gatewayd.bus.connection import Connection, Lost
from gatewayd.bus.link import Link
from gatewayd.bus.sets import PATIENCE, RedisSets
from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Denial, Grant, Principal
from gatewayd.retry import Outage


class Wired:
    """
    What is used of a link.
    """

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.outage = Outage()


class SetsTests(SynchronousTestCase):
    """
    Asking a Redis that is played by hand.
    """

    def setUp(self) -> None:
        """
        Connect.
        """
        self.clock = Clock()
        self.link = Wired()
        self.sets = RedisSets(self.clock, cast(Link[Connection], self.link))
        self.transport = StringTransport()
        self.connection = self.link.connection = Connection()
        self.connection.makeConnection(self.transport)

    def asking(self, *keys: str) -> Deferred[list[bool | None]]:
        """
        Ask about u1.
        """
        return self.sets.are_members(keys, "u1")

    def redis_says(self, *replies: bytes) -> None:
        """
        Redis' answers.
        """
        self.connection.dataReceived(b"".join(reply + b"\r\n" for reply in replies))

    def test_one_round_trip(self) -> None:
        """
        All are asked before any is answered, and the answers are in order.
        """
        asking = self.asking("a", "b", "c")
        asked = self.transport.value()
        self.assertEqual(asked.count(b"SISMEMBER"), 3)
        self.assertEqual(
            asked.split(b"\r\n")[:7], [b"*3", b"$9", b"SISMEMBER", b"$1", b"a", b"$2", b"u1"]
        )
        self.redis_says(b":1", b":0", b":1")
        self.assertEqual(self.successResultOf(asking), [True, False, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_none(self) -> None:
        """
        No question has no answer.
        """
        self.assertEqual(self.successResultOf(self.asking()), [])

    def test_refused(self) -> None:
        """
        Where Redis refuses, nobody knows; the others' answers count. It is told once.
        """
        refusal = b"-WRONGTYPE Operation against a key holding the wrong kind of value"
        with capturedLogs() as logged:
            for _ in range(3):
                asking = self.asking("a", "b", "c")
                self.redis_says(b":1", refusal, b":0")
                self.assertEqual(self.successResultOf(asking), [True, None, False])
        (event,) = logged
        self.assertEqual(event["log_level"], LogLevel.warn)

    def test_strange(self) -> None:
        """
        An answer that is none of the two is no yes.
        """
        asking = self.asking("a", "b", "c", "d")
        self.redis_says(b":2", b"+OK", b"$1\r\n1", b"$-1")
        self.assertNotIn(True, self.successResultOf(asking))

    def test_silent(self) -> None:
        """
        A Redis that says nothing is given up in time. What it says too late is nobody's
        answer, and the next one is.
        """
        asking = self.asking("a", "b")
        self.redis_says(b":1")
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        failure = self.failureResultOf(asking, Lost)
        self.assertEqual(str(failure.value), "no answer within 2 s")
        again = self.asking("c")
        self.redis_says(b":1")
        self.assertNoResult(again)
        self.redis_says(b":0")
        self.assertEqual(self.successResultOf(again), [False])

    def test_lost(self) -> None:
        """
        A connection that ends leaves nobody waiting.
        """
        asking = self.asking("a", "b")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(asking, Lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_away(self) -> None:
        """
        Without a connection the answer is no, at once, and says why there is none.
        """
        self.link.connection = None
        self.assertEqual(
            str(self.failureResultOf(self.asking("a"), Lost).value), "not connected yet"
        )
        self.link.outage.failed("refused", 0)
        self.assertEqual(str(self.failureResultOf(self.asking("a"), Lost).value), "refused")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RedisGuildsTests(SynchronousTestCase):
    """
    The authority over sets that are played by hand.
    """

    def setUp(self) -> None:
        """
        Every guild's set is empty.
        """
        self.clock = Clock()
        self.sets: dict[str, set[str]] = {}
        self.asked: list[tuple[Sequence[str], str]] = []
        self.answer: Deferred[Any] | None = None
        self.authority = RedisGuilds(self.clock, self.are_members)

    def are_members(self, keys: Sequence[str], member: str) -> Deferred[list[bool | None]]:
        """
        As the sets have it, or as told.
        """
        self.asked.append((keys, member))
        if self.answer is not None:
            return self.answer
        return succeed([member in self.sets.get(key, ()) for key in keys])

    def grant(self, *guilds: str) -> Grant:
        """
        What is answered about u1.
        """
        asking = self.authority.allowed(Principal("u1", 2e9), guilds)
        return self.successResultOf(asking)

    def test_interface(self) -> None:
        """
        It is a guild authority.
        """
        self.assertTrue(verifyObject(IGuildAuthority, self.authority))

    def test_grant(self) -> None:
        """
        Granted are the guilds whose set has the user, in the order asked, each once, by one
        question.
        """
        self.sets = {"guild:g1:members": {"u1"}, "guild:g2:members": {"u2"}}
        self.sets["guild:g3:members"] = {"u1", "u2"}
        self.assertEqual(
            self.grant("g3", "g2", "g1", "g4", "g3"),
            Grant(("g3", "g1"), (Denial("g2", "forbidden"), Denial("g4", "forbidden"))),
        )
        keys = [f"guild:{guild}:members" for guild in ("g3", "g2", "g1", "g4")]
        self.assertEqual(self.asked, [(keys, "u1")])

    def test_now(self) -> None:
        """
        It is asked afresh each time: what changed counts at once.
        """
        self.sets = {"guild:g1:members": {"u1"}}
        self.assertEqual(self.grant("g1").granted, ("g1",))
        self.sets.clear()
        self.assertEqual(self.grant("g1").granted, ())
        self.authority.forget("u1", "g1")
        self.authority.forget(None, "g1")

    def test_pattern(self) -> None:
        """
        The sets are called as configured, wherever the guild's id stands in it.
        """
        self.authority = RedisGuilds(self.clock, self.are_members, "{{guildId}}:m:{guildId}")
        self.grant("g1")
        self.assertEqual(self.asked[0][0], ["{g1}:m:g1"])

    def test_ids(self) -> None:
        """
        An id is an id: a wildcard or a placeholder means nothing.
        """
        self.sets = {"guild:g1:members": {"u1", "*"}}
        ids = ("*", "g*", "g?", "{guildId}", "g1:members", "", "{0}", "%s")
        self.assertEqual(self.grant(*ids).granted, ())
        self.assertEqual(self.asked[0][0], [f"guild:{one}:members" for one in ids])

    def test_nothing_asked(self) -> None:
        """
        Nobody is bothered with no question.
        """
        self.assertEqual((self.grant(), self.asked), (Grant(), []))

    def test_partly(self) -> None:
        """
        What Redis cannot say of one guild is unavailable; the others' answers count.
        """
        self.answer = succeed([True, None, False])
        self.assertEqual(
            self.grant("g1", "g2", "g3"),
            Grant(("g1",), (Denial("g2", "unavailable"), Denial("g3", "forbidden"))),
        )

    def test_unavailable(self) -> None:
        """
        Whatever goes wrong, everything is denied.
        """
        answers: tuple[Deferred[Any], ...] = (
            *(fail(Lost("away")), fail(ZeroDivisionError()), fail(Exception())),
            *(succeed([True]), succeed([True, True, True]), succeed([]), succeed(None)),
        )
        for answer in answers:
            self.answer = answer
            unavailable = (Denial("g1", "unavailable"), Denial("g2", "unavailable"))
            self.assertEqual(self.grant("g1", "g2"), Grant((), unavailable))

    def test_only_yes(self) -> None:
        """
        Nothing but true is a yes.
        """
        self.answer = succeed([1, "yes", b"1", 2])
        self.assertEqual(self.grant("g1", "g2", "g3", "g4").granted, ())

    def test_told(self) -> None:
        """
        An outage is one line in the log, and its end another.
        """
        with capturedLogs() as logged:
            for _ in range(5):
                self.answer = fail(Lost("away"))
                self.grant("g1")
            self.answer = None
            self.grant("g1")
        levels = [event["log_level"] for event in logged]
        self.assertEqual(levels, [LogLevel.warn, LogLevel.info])
