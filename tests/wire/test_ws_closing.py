"""
Every way in which the gateway closes a connection, from the protocol's table of close codes.
"""

from __future__ import annotations

from typing import Callable, Iterator

from twisted.internet.defer import Deferred

from gatewayd import closing
from gatewayd.drain import Drain
from gatewayd.model import Change, Membership
from gatewayd.session import MAX_UNKNOWN
from gatewayd.ws.factory import CLOSE_TIMEOUT
from gatewayd.ws.protocol import GRACE
from tests.stand_ins import BINARY, client_frame, event, say
from tests.wire.ws_case import Client, GatewayTestCase

HEARTBEAT = client_frame(b'{"event":"heartbeat","data":{}}')


class ClosingTests(GatewayTestCase):
    """
    The table, a row for each code: what a client does, or what is done to it, until it is
    closed.
    """

    terms = {"connections_per_user": 3, "messages_per_minute": 60}  # noqa: RUF012 - read only

    @property
    def rows(self) -> dict[int, Callable[[Client], object]]:
        """
        The rows by code. Each takes a client that has just connected.
        """
        return {
            1001: self.drained,
            1007: lambda client: client.send(client_frame(b'{"event":"\xff"}')),
            1009: lambda client: client.send(client_frame(b"x" * (self.max_message + 1))),
            4000: self.failed,
            4001: self.spoke_unknown_words,
            4002: lambda client: client.send(client_frame(b"{", BINARY)),
            4003: lambda client: client.say("heartbeat"),
            4004: lambda client: client.say("identify", userId="u1", token="x", guildIds=[]),
            4005: lambda client: self.identify(client, times=2),
            4006: self.expired,
            4008: lambda client: client.send(HEARTBEAT * 61) if self.identify(client) else None,
            4009: lambda client: self.loop.wait(60.2) if self.identify(client) else None,
            4020: self.lagged,
            4021: lambda client: self.loop.wait(10.2),
            4022: self.disconnected,
            4023: self.crowded,
        }

    def each(self, stalled: bool = False) -> Iterator[tuple[int, Client]]:
        """
        For each row a client that has been closed by it, at a gateway of its own.

        @param stalled: whether it does not read.
        """
        for code, row in self.rows.items():
            client = self.connect()
            if stalled:
                client.stall()
            row(client)
            yield code, client
            self.tearDown()
            self.setUp()

    # ------------------------------------------------------------------- the rows

    def identify(self, client: Client, lifetime: float = 3600, times: int = 1) -> bool:
        """
        Have C{client} identify.
        """
        token = self.instance.token("u1", "g1", lifetime=lifetime)
        for _ in range(times):
            client.say("identify", userId="u1", token=token, guildIds=["g1"])
        return True

    def drained(self, client: Client) -> None:
        """
        The instance shuts down.
        """
        self.identify(client)
        drain = Drain(self.loop, self.instance.census, 0.1, lambda: 0.5, lambda: None)
        Deferred.fromCoroutine(drain.connections())
        self.loop.wait(0.2)

    def failed(self, client: Client) -> None:
        """
        Something fails that should not.
        """
        self.identify(client)
        self.instance.authority.failing = ZeroDivisionError("a bug")
        client.say("guild_subscribe", guildId="g2")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def spoke_unknown_words(self, client: Client) -> None:
        """
        It says what nobody understands.
        """
        self.identify(client)
        for _ in range(MAX_UNKNOWN + 1):
            client.say("dance")

    def expired(self, client: Client) -> None:
        """
        Its token expires.
        """
        self.identify(client, lifetime=10)
        self.loop.wait(10.2)

    def lagged(self, client: Client) -> None:
        """
        It reads too slowly.
        """
        self.identify(client)
        stalled = client.stalled
        if not stalled:
            client.stall()
        for _ in range(12):
            self.hear(event("m", "g1", size=self.max_buffered // 10))
        if not stalled:
            client.go_on()

    def disconnected(self, client: Client) -> None:
        """
        An operator disconnects its user.
        """
        self.identify(client)
        for connection in self.instance.census.of_user("u1"):
            connection.end(closing.DISCONNECTED)
        self.loop.settle()

    def crowded(self, client: Client) -> None:
        """
        Its user has too many connections already.
        """
        for _ in range(3):
            self.session("u1", "g1")
        self.identify(client)

    # ------------------------------------------------------------------ the tests

    def test_complete(self) -> None:
        """
        There is a row for each code of the table, and for no other.
        """
        self.assertEqual(list(self.rows), [row.code for row in closing.TABLE])

    def test_code_and_reason(self) -> None:
        """
        Each closes with its code and a reason in words: the table's own, which may say more, or
        Autobahn's where that is the one to close.
        """
        reasons = {row.code: row.reason for row in closing.TABLE}
        for code, client in self.each():
            assert client.close is not None, code
            self.assertEqual(client.close[0], code)
            if code != closing.TOO_BIG.code:
                self.assertTrue(client.close[1].startswith(reasons[code]), client.close)
            self.assertTrue(0 < len(client.frames[-1].payload) - 2 <= 123)

    def test_answered(self) -> None:
        """
        When the client answers, the connection ends at once; where nothing more is read of a
        client, it ends a little later.
        """
        for code, client in self.each():
            client.answer_close()
            if code == closing.RATE_LIMITED.code:
                self.loop.wait(GRACE + 0.1)
            self.assertTrue(client.kernel.closed, code)

    def test_unanswered(self) -> None:
        """
        A client that does not answer is cut off soon, and not before it could have read why.
        """
        for code, client in self.each():
            if not client.kernel.closed:
                self.loop.wait(GRACE / 2)
                self.assertEqual(client.kernel.closed, "", code)
                self.loop.wait(CLOSE_TIMEOUT)
            self.assertTrue(client.kernel.closed, code)
            self.assertEqual(client.code, code)

    def test_unread(self) -> None:
        """
        So is a client that does not even read, where the close frame cannot leave.
        """
        for code, client in self.each(stalled=True):
            self.loop.wait(CLOSE_TIMEOUT)
            self.assertEqual(client.kernel.closed, "reset", code)
            self.assertEqual(len(self.instance.registry), 3 if code == 4023 else 0)

    def test_nothing_more(self) -> None:
        """
        Whoever is being closed gets nothing more, whatever happens, and is closed once.
        """
        for code, client in self.each():
            before = client.frames
            self.assertEqual(client.code, code)
            for connection in self.instance.census:
                connection.end(closing.INTERNAL)
                say(connection, "heartbeat")
                connection.added("g3")
            self.hear(event("m", "g1", also=("u1",)))
            self.instance.moves("guild_member.remove", Membership(Change.LEAVE, ("g1",), ("u1",)))
            client.say("heartbeat")
            self.loop.wait(1)
            self.assertEqual(client.frames, before, code)

    def test_counted(self) -> None:
        """
        Each is counted once by its code, however it came to its end.
        """
        for code, client in self.each():
            if code % 2:
                client.answer_close()
            client.hang_up()
            self.assertEqual(self.closes, {str(code): 1})

    def test_counted_of_clients(self) -> None:
        """
        What clients close with is counted by its code if that is one of ours or of RFC 6455,
        and not at all distinguished otherwise; who simply goes away counts as 1006.
        """
        for payload in (b"\x03\xe8", b"\x03\xe9", b"\x0b\xb8", b"\x0f\xff", b""):
            self.connect().send(client_frame(payload, 8))
        self.connect().hang_up()
        self.assertEqual(sum(self.closes.values()), 6)
        self.assertEqual(self.closes.get("1006"), 1)
        self.assertLessEqual(set(self.closes), {"1000", "1001", "1005", "1006", "other"})

    def test_upstream(self) -> None:
        """
        Where events may have been missed, every session is closed with 4000 too, and told why.
        """
        clients = [self.session("u1", "g1"), self.session("u2", "g2")]
        waiting = self.connect()
        self.instance.delivery.begun(self.instance.position(), False)
        self.loop.settle()
        for client in clients:
            self.assertEqual(client.close, (4000, closing.UPSTREAM.reason))
        self.assertIsNone(waiting.close)

    def test_token_reasons(self) -> None:
        """
        A token that is refused is closed with a reason that helps, and holds nothing of it.
        """
        client = self.connect()
        client.say("identify", userId="u2", token=self.instance.token("u1"), guildIds=[])
        self.assertEqual(client.close, (4004, "token refused: its sub is not userId"))
        client = self.connect()
        client.say("identify", userId="u1", token="zzsecretzz", guildIds=[])
        assert client.close is not None
        self.assertNotIn("secret", client.close[1])

    def test_drain_tells_first(self) -> None:
        """
        Before it is closed by a drain, a session is told when to come back.
        """
        client = self.connect()
        self.drained(client)
        [told] = client.heard("reconnect")
        self.assertEqual(told["reason"], "shutdown")
        self.assertGreaterEqual(told["retryAfter"], 0)
        self.assertEqual(client.code, 1001)
