"""
Clients that read slowly, or not at all: what it costs them, and that it costs nobody else.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory

from gatewayd.metrics import value
from gatewayd.model import Change, Membership
from gatewayd.ws.protocol import GRACE
from tests.stand_ins import CLOSE, PING, PONG, client_frame, event
from tests.wire.ws_case import Client, GatewayTestCase

MESSAGES = 10
"""
The most messages that a step of the property below says.
"""


class SlowTestCase(GatewayTestCase):
    """
    What is common to slow clients.
    """

    def narrow(self, client: Client) -> Client:
        """
        Leave so little room in the kernel for C{client} that frames are often cut in two.
        """
        client.kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return client

    def overwhelm(self, size: int = 9000) -> list[str]:
        """
        Have events heard until one more client is too slow, and return their ids.
        """
        slow, places = self.slow, list[str]()
        for _ in range(2 * self.max_buffered // size):
            places.append(self.hear(event("m", "g1", size=size)))
            if self.slow > slow:
                return places
        raise AssertionError("nobody is too slow")

    @property
    def slow(self) -> int:
        """
        How many were closed for being too slow, as counted.
        """
        return value(self.instance.metrics.slow)


class BoundTests(SlowTestCase):
    """
    How much may wait for a client.
    """

    def test_in_bytes(self) -> None:
        """
        A client is closed when more bytes wait for it than may, be it in many events or in few,
        and not before.
        """
        for size in (10, 900, 33_000, 99_800):
            witness, client = self.session("u2", "g1"), self.session("u1", "g1")
            had = witness.octets
            client.stall()
            slow = self.slow
            while witness.octets - had <= self.max_buffered:
                self.assertEqual(self.slow, slow, witness.octets - had)
                self.hear(event("m", "g1", size=size))
            self.assertEqual(self.slow, slow + 1, size)
            self.assertIsNone(witness.close)
            witness.hang_up()

    def test_reads_again(self) -> None:
        """
        One that reads again before that has lost nothing, and has as much room as before.
        """
        client = self.session("u1", "g1")
        places = []
        for _ in range(5):
            client.stall()
            places += [self.hear(event("m", "g1", size=9000)) for _ in range(10)]
            client.go_on()
        self.assertEqual(client.ids, places)
        self.assertIsNone(client.close)

    def test_told(self) -> None:
        """
        One that is closed and reads in time learns why, behind all that waited for it; it can
        resume from there.
        """
        client = self.session("u1", "g1")
        places = [self.hear(event("m", "g1"))]
        client.stall()
        places += self.overwhelm()
        missed = [self.hear(event("m", "g1")) for _ in range(3)]
        self.loop.wait(GRACE / 2)
        client.go_on()
        self.assertEqual(client.code, 4020)
        self.assertEqual(client.ids, places)
        client = self.session("u1", "g1", lastEventId=client.ids[-1])
        self.assertEqual(client.ids, missed)

    def test_cut_off(self) -> None:
        """
        One that does not read even then is cut off.
        """
        client = self.session("u1", "g1")
        client.stall()
        self.overwhelm()
        self.loop.wait(GRACE + 0.1)
        self.assertEqual(client.kernel.closed, "reset")
        self.assertEqual(self.closes, {"4020": 1})

    def test_leaves(self) -> None:
        """
        One that says goodbye and does not read is cut off too.
        """
        client = self.session("u1", "g1")
        client.stall()
        self.hear(event("m", "g1", size=9000))
        client.send(client_frame(b"\x03\xe8", CLOSE))
        self.hear(event("m", "g1"))
        self.loop.wait(GRACE + 0.1)
        self.assertEqual(client.kernel.closed, "reset")

    def test_replies_count(self) -> None:
        """
        It is the same for what the gateway itself says.
        """
        self.instance.authority.denied["x" * 64] = "forbidden"
        client = self.session("u1", "g1")
        client.stall()
        self.hear(event("m", "g1", size=self.max_buffered - 1500))
        for _ in range(20):
            client.say("guild_subscribe", guildId="x" * 64)
        self.assertEqual(self.slow, 1)

    def test_pongs_do_not_gather(self) -> None:
        """
        Pongs are left out where a client has as much as may wait for it; that is not by itself
        a reason to close it.
        """
        client = self.session("u1", "g1")
        client.stall()
        self.hear(event("m", "g1", size=self.max_buffered - 1000))
        client.send(client_frame(b"x" * 125, PING) * 100)
        self.assertEqual(self.slow, 0)
        client.go_on()
        pongs = [frame for frame in client.frames if frame.opcode == PONG]
        self.assertTrue(0 < len(pongs) < 12)
        self.assertIsNone(client.close)

    def test_others(self) -> None:
        """
        Whoever reads gets everything, in order, whatever becomes of those who do not.
        """
        clients = [self.session(f"u{n}", "g1") for n in range(9)]
        for client in clients[::3]:
            client.stall()
        places = [self.hear(event("m", "g1", size=9000)) for _ in range(30)]
        self.assertEqual(self.slow, 3)
        for number, client in enumerate(clients):
            if number % 3:
                self.assertEqual(client.ids, places)
                self.assertIsNone(client.close)

    def test_gone_in_the_middle(self) -> None:
        """
        So it is where some of them are gone, and nobody has noticed yet.
        """
        clients = [self.session(f"u{n}", "g1") for n in range(6)]
        for number in range(20):
            self.instance.hear(event("m", "g1", size=9000))
            if number == 10:
                for client in clients[::2]:
                    client.leave()
        self.loop.settle()
        for client in clients[1::2]:
            self.assertEqual(len(client.ids), 20)


class TotalTests(SlowTestCase):
    """
    How much may wait for all clients together.
    """

    max_total = 150_000

    def test_largest_goes(self) -> None:
        """
        When more waits for all together than may, those for whom most does are closed, and only
        as many as have to be.
        """
        clients = [self.session(f"u{n}", "g1", f"own-{n}") for n in range(4)]
        for client in clients:
            client.stall()
        self.hear(event("m", "own-2", size=20_000))
        for _ in range(3):
            self.hear(event("m", "g1", size=10_000))
        self.assertEqual(self.slow, 0)
        self.hear(event("m", "g1", size=10_000))
        self.assertEqual(self.slow, 1)
        for client in clients:
            client.go_on()
        self.assertEqual([client.code for client in clients], [None, None, 4020, None])

    def test_what_was_read_counts_no_more(self) -> None:
        """
        What clients have read meanwhile does not count.
        """
        clients = [self.session(f"u{n}", "g1") for n in range(4)]
        for _ in range(5):
            for client in clients:
                client.stall()
            self.hear(event("m", "g1", size=30_000))
            for client in clients:
                client.go_on()
        self.assertEqual(self.slow, 0)


class PiecesTests(SlowTestCase):
    """
    Clients that read a little at a time.
    """

    def test_in_pieces(self) -> None:
        """
        However little the kernel takes at a time, frames arrive whole and in order.
        """
        client = self.narrow(self.session("u1", "g1"))
        places = []
        for number in range(120):
            client.stalled = True
            places.append(self.hear(event("m", "g1", size=number * 37)))
            client.read(3000)
            if number % 7 == 0:
                client.say("heartbeat")
        client.go_on()
        self.assertEqual(client.ids, places)
        self.assertEqual(len(client.heard("heartbeat_ack")), 18)

    def test_bigger_than_the_kernel(self) -> None:
        """
        An event that is larger than the kernel's buffer and smaller than what may wait arrives.
        """
        client = self.narrow(self.session("u1", "g1"))
        places = [self.hear(event("m", "g1", size=90_000)) for _ in range(5)]
        self.assertEqual(client.ids, places)

    def test_longer_than_a_turn(self) -> None:
        """
        Writing to very many that takes longer than a turn may, goes on in the next ones; the
        order of what each client gets stays what it was, answers included.
        """
        clients = [self.session(f"u{n}", "g1", f"own-{n}") for n in range(8)]
        due: list[list[str]] = [[] for _ in clients]
        self.loop.drag = 0.001
        for number in range(150):
            if number % 3:
                place = self.instance.hear(event("m", "g1"))
                for each in due:
                    each.append(place)
            else:
                owner = number // 3 % len(clients)
                due[owner].append(self.instance.hear(event("m", f"own-{owner}")))
            if number % 10 == 0:
                [connection] = self.instance.census.of_user(f"u{number // 10 % len(clients)}")
                connection.removed("g1", "revoked")
                connection.added("g1")
            self.loop.turn()
        self.loop.settle()
        self.loop.drag = 0.0
        for client, places in zip(clients, due, strict=True):
            self.assertEqual(client.ids, places)
            moves = [one for one in client.messages[2:] if "id" not in one]
            self.assertEqual(len(moves) % 2, 0)

    @settings(max_examples=40)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("event"), st.integers(0, 12_000)),
                st.tuples(st.just("other"), st.integers(0, 6_000)),
                st.tuples(st.just("read"), st.integers(1, 30_000)),
                st.tuples(st.just("say"), st.integers(1, MESSAGES)),
                st.tuples(st.sampled_from(["join", "part", "turn"]), st.just(0)),
            ),
            max_size=40,
        )
    )
    def test_any_pace(self, steps: list[tuple[str, int]]) -> None:
        """
        However events come, and however the client reads and what it says meanwhile: it gets
        all that it is subscribed to, in order and once, up to its close if there is one; and no
        event of a guild outside its subscription, as the answers delimit it.
        """
        client = self.narrow(self.session("u1", "g1"))
        client.stalled = True
        due, joined = [], False
        for what, size in steps:
            match what:
                case "event":
                    due.append(self.instance.hear(event("m", "g1", size=size)))
                case "other":
                    place = self.instance.hear(event("m", "g2", size=size))
                    due += [place] if joined else []
                case "read":
                    client.read(size)
                case "say":
                    client.send(client_frame(b'{"event":"heartbeat","data":{}}') * size)
                case "join" | "part":
                    joined = what == "join"
                    self.move(joined)
                case "turn":
                    self.loop.settle()
        client.go_on()
        if client.close is None:
            self.assertEqual(client.ids, due)
        else:
            self.assertIn(client.code, (4020, 4008))
            self.assertEqual(client.ids, due[: len(client.ids)])
        self.delimited(client)
        client.hang_up()

    def move(self, joined: bool) -> None:
        """
        Have the user of all clients join C{g2}, or leave it.
        """
        for connection in self.instance.census.of_user("u1"):
            if joined:
                connection.added("g2")
            else:
                connection.removed("g2", "member_removed")

    def delimited(self, client: Client) -> None:
        """
        Check that events of C{g2} came only while it was subscribed to.
        """
        subscribed = False
        for message in client.messages:
            if message["event"] in ("guild_subscribed", "guild_unsubscribed"):
                subscribed = message["event"] == "guild_subscribed"
            if message.get("guildId") == "g2":
                self.assertTrue(subscribed)


class ReplayTests(SlowTestCase):
    """
    Clients that return and have missed more than may wait.
    """

    def missed(self, count: int, size: int = 9000) -> list[str]:
        """
        The ids of so many events, of which a client is to have the first.
        """
        return [self.hear(event("m", "g1", size=size)) for _ in range(count)]

    def returns(self, last: str, *guilds: str) -> Client:
        """
        A client that returns, with little room, and does not read for now.
        """
        client = self.narrow(self.connect())
        client.stalled = True
        token = self.instance.token("u1", "g1", "g2")
        client.say(
            "identify",
            userId="u1",
            token=token,
            guildIds=list(guilds) or ["g1"],
            lastEventId=last,
        )
        return client

    def waiting(self) -> int:
        """
        What waits for the one session that there is.
        """
        [connection] = self.instance.census.of_user("u1")
        return int(connection.sink.backlog())

    def test_all_of_it(self) -> None:
        """
        Who reads gets all of it, many times what may wait.
        """
        first, *missed = self.missed(100)
        client = self.returns(first)
        client.go_on()
        self.assertEqual(client.ids, missed)
        live = self.hear(event("m", "g1"))
        self.assertEqual(client.ids[-1], live)

    def test_as_it_reads(self) -> None:
        """
        Who reads slowly gets it slowly: never more waits for it than may.
        """
        first, *missed = self.missed(60)
        client = self.returns(first)
        for _ in missed:
            if self.instance.delivery.behind:
                self.assertTrue(0 < self.waiting() <= self.max_buffered)
            client.read(20_000)
            self.loop.settle()
        client.go_on()
        self.assertEqual(client.ids, missed)

    def test_events_meanwhile(self) -> None:
        """
        What is heard meanwhile comes after it, once.
        """
        first, *places = self.missed(40)
        client = self.returns(first)
        for _ in range(30):
            places.append(self.hear(event("m", "g1", size=5000)))
            client.read(15_000)
        client.go_on()
        places.append(self.hear(event("m", "g1")))
        self.assertEqual(client.ids, places)
        self.assertIsNone(client.close)

    def test_big_events(self) -> None:
        """
        Events of nearly the size that may wait close nobody who reads.
        """
        first, *missed = self.missed(8, size=70_000)
        client = self.returns(first)
        client.go_on()
        self.assertEqual(client.ids, missed)
        self.assertIsNone(client.close)

    def test_too_big(self) -> None:
        """
        One that is larger than what may wait can be sent to nobody who reads slowly: it closes
        who comes to it, and nothing else fails.
        """
        first, *_ = self.missed(8)
        self.hear(event("m", "g1", size=2 * self.max_buffered))
        client = self.returns(first)
        for _ in range(20):
            client.read(10_000)
            self.loop.settle()
        client.go_on()
        self.assertEqual(client.code, 4020)
        self.assertEqual(self.slow, 1)

    def test_guild_lost(self) -> None:
        """
        Who loses a guild meanwhile gets nothing more of it than what waits already.
        """
        first = self.hear(event("m", "g1"))
        for number in range(40):
            self.hear(event("m", f"g{1 + number % 2}", size=9000))
        client = self.returns(first, "g1", "g2")
        self.instance.moves("guild_member.remove", Membership(Change.LEAVE, ("g2",), ("u1",)))
        client.go_on()
        names = [(message["event"], message.get("guildId")) for message in client.messages]
        self.assertEqual(names.count(("m", "g1")), 20)
        end = names.index(("guild_unsubscribed", None))
        self.assertNotIn(("m", "g2"), names[end:])
        self.assertIn(("m", "g2"), names[:end])

    def test_stays(self) -> None:
        """
        Who does not read at all is not closed for what is kept back from it, only when it does
        not answer heartbeats.
        """
        first, *_ = self.missed(40)
        client = self.returns(first)
        self.loop.wait(20)
        self.assertEqual((self.slow, client.kernel.closed), (0, ""))
        self.loop.wait(45)
        self.assertEqual(client.kernel.closed, "reset")
        self.assertEqual(self.closes, {"4009": 1})

    def test_heartbeat_meanwhile(self) -> None:
        """
        A heartbeat in the middle of it tells no more than what the client has had: who goes
        away and resumes from there misses nothing.
        """
        first, *missed = self.missed(40)
        client = self.returns(first)
        self.loop.wait(31)
        for _ in range(100):
            if client.heard("heartbeat"):
                break
            client.read(5_000)
            self.loop.turn()
        [told] = client.heard("heartbeat")
        had = client.ids
        client.hang_up()
        self.assertTrue(0 < len(had) < len(missed))
        self.assertEqual(told["lastEventId"], had[-1])
        client = self.session("u1", "g1", lastEventId=told["lastEventId"])
        self.assertEqual([*had, *client.ids], missed)

    def test_outrun(self) -> None:
        """
        Who reads more slowly than events leave the history is closed as too slow.
        """
        first, *_ = self.missed(40)
        client = self.returns(first)
        for _ in range(1000):
            self.instance.hear(event("m", "g1"))
        client.go_on()
        self.assertEqual(client.code, 4020)

    def test_goes_away(self) -> None:
        """
        Who goes away in the middle of it leaves nothing behind.
        """
        first, *_ = self.missed(40)
        client = self.returns(first)
        self.assertEqual(self.instance.delivery.behind, 1)
        client.hang_up()
        self.assertEqual(self.instance.delivery.behind, 0)


class TLSClient(Client):
    """
    A client that speaks TLS, by the standard library.
    """

    def __init__(self, loop: Any, factory: Any) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going)
        super().__init__(loop, factory)
        self._take(b"")
        loop.settle()

    def send(self, *pieces: bytes) -> None:
        """
        Send C{pieces}, each in a record of its own.
        """
        for piece in pieces:
            self._tls.write(piece)
            super().send(self._going.read())

    def _take(self, data: bytes) -> None:
        self._coming.write(data)
        try:
            self._tls.do_handshake()
            while read := self._tls.read(65536):
                self._had += read
        except ssl.SSLWantReadError:
            pass
        super().send(self._going.read())


def certified() -> CertificateOptions:
    """
    A certificate, of itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    # Twisted takes both, and is typed for pyOpenSSL's own only.
    return CertificateOptions(privateKey=cast(Any, key), certificate=cast(Any, certificate))


class EncryptedTests(SlowTestCase):
    """
    The same over TLS, where not a byte may pass by the encryption.
    """

    def encrypted(self, user: str, *guilds: str) -> TLSClient:
        """
        A client that has identified over TLS.
        """
        factory = TLSMemoryBIOFactory(certified(), False, self.factory, clock=self.loop)
        client = TLSClient(self.loop, factory)
        self.assertEqual(client.upgrade().status, 101)
        token = self.instance.token(user, *guilds)
        client.say("identify", userId=user, token=token, guildIds=list(guilds))
        self.assertEqual(len(client.heard("identified")), 1)
        return client

    def test_hears(self) -> None:
        """
        Events and answers arrive in their order, small and large.
        """
        client, plain = self.encrypted("u1", "g1"), self.session("u2", "g1")
        places = [self.instance.hear(event("m", "g1", size=size * 80)) for size in range(30)]
        client.say("heartbeat")
        for one in (client, plain):
            self.assertEqual(one.ids, places)
        self.assertEqual(len(client.heard("heartbeat_ack")), 1)

    def test_lags(self) -> None:
        """
        One that does not read is closed when more waits for it than may, and cut off.
        """
        client, plain = self.encrypted("u1", "g1"), self.session("u2", "g1")
        client.stall()
        before = plain.octets
        self.overwhelm()
        self.assertGreater(plain.octets - before, self.max_buffered * 0.9)
        self.loop.wait(GRACE + 0.1)
        self.assertEqual(client.kernel.closed, "reset")
        self.assertEqual((self.closes, plain.close), ({"4020": 1}, None))

    def test_reads_in_time(self) -> None:
        """
        One that reads before it is cut off learns why.
        """
        client = self.encrypted("u1", "g1")
        client.stall()
        places = self.overwhelm()
        client.go_on()
        self.assertEqual(client.ids, places)
        self.assertEqual(client.code, 4020)
