"""
The opening handshake: who is let in, and how everybody else is told why not.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

from gatewayd.metrics import by_label
from gatewayd.ws.handshake import MAX_BYTES, TIMEOUT
from gatewayd.ws.protocol import GRACE
from tests.stand_ins import PING, PONG, client_frame
from tests.wire.ws_case import ACCEPT, KEY, UPGRADE, Client, GatewayTestCase

REQUEST = "".join(
    ["GET / HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in UPGRADE.items())]
).encode()


class HandshakeTestCase(GatewayTestCase):
    """
    What is common to refusals.
    """

    def refused(self, client: Client, status: int, retry: bool = False) -> None:
        """
        Check that C{client} was refused, as HTTP has it, and that its connection has ended.
        """
        answer = client.response
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.headers["content-length"], "0")
        self.assertEqual("retry-after" in answer.headers, retry)
        if retry:
            self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.assertEqual(client.frames, [])
        self.assertEqual(client.kernel.closed, "orderly")

    @property
    def refusals(self) -> dict[str, int]:
        """
        The handshakes refused, as counted, by their status.
        """
        return by_label(self.instance.metrics.refusals)


class AcceptTests(HandshakeTestCase):
    """
    Handshakes that succeed.
    """

    def test_accepted(self) -> None:
        """
        The answer is that of RFC 6455, section 4.2.2, and says nothing of what runs here.
        """
        answer = self.arrive().upgrade()
        self.assertEqual(answer.status, 101)
        self.assertEqual(answer.headers.pop("upgrade").lower(), "websocket")
        self.assertEqual(answer.headers.pop("connection").lower(), "upgrade")
        self.assertEqual(answer.headers, {"sec-websocket-accept": ACCEPT})

    def test_strange_headers(self) -> None:
        """
        Headers in UTF-8 or of no meaning are no hindrance, and make no difference.
        """
        expected = self.arrive().upgrade()
        for line in ("X-Name: \u2603", "X-Name: \xe9", "X:", "X-A: b:c, d", "x-forwarded-for: ::1"):
            client = self.arrive()
            client.send(REQUEST + line.encode() + b"\r\n\r\n" + client_frame(b"1", PING))
            self.assertEqual(client.response.status, 101, line)
            self.assertEqual(client.response.headers.keys(), expected.headers.keys())
            self.assertEqual(len(client.heard("ready")), 1)
            self.assertEqual(client.frames[-1], (True, PONG, b"1"))

    def test_any_path(self) -> None:
        """
        Any path will do, and a query is of no meaning: not even one that Autobahn would follow.
        """
        for target in ("/", "/gateway", "/?v=1", "/?redirect=https%3A%2F%2Fevil.example%2F", "*"):
            answer = self.arrive().upgrade(target)
            self.assertEqual(answer.status, 101, target)
            self.assertNotIn("location", answer.headers)

    def test_browsers(self) -> None:
        """
        What browsers send beside is no hindrance.
        """
        answer = self.arrive().upgrade(
            Connection="keep-alive, Upgrade",
            Upgrade="WebSocket",
            Pragma="no-cache",
            User_Agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            Cookie="a=b; c=d",
            Origin="https://app.example.com",
        )
        self.assertEqual(answer.status, 101)

    def test_no_compression(self) -> None:
        """
        Compression is offered and not taken.
        """
        answer = self.arrive().upgrade(
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"
        )
        self.assertEqual(answer.status, 101)
        self.assertNotIn("sec-websocket-extensions", answer.headers)

    def test_in_pieces(self) -> None:
        """
        A handshake that comes octet by octet is a handshake.
        """
        client = self.arrive()
        client.send(*(bytes((octet,)) for octet in REQUEST + b"\r\n"))
        self.assertEqual(client.response.status, 101)
        self.assertEqual(len(client.heard("ready")), 1)

    def test_in_a_hurry(self) -> None:
        """
        Frames that come in one packet with the handshake are heard, in their order.
        """
        client = self.arrive()
        client.send(REQUEST + b"\r\n" + client_frame(b"1", PING) + client_frame(b"2", PING))
        self.assertEqual([frame.payload for frame in client.frames[1:]], [b"1", b"2"])
        self.assertEqual({frame.opcode for frame in client.frames[1:]}, {PONG})


class RequestTests(HandshakeTestCase):
    """
    Requests that are none for a WebSocket.
    """

    def test_malformed(self) -> None:
        """
        Each way to be wrong has its status, and none is answered with the client's own words.
        """
        wrong: tuple[tuple[dict[str, str | None], int], ...] = (
            ({"Upgrade": None}, 426),
            ({"Upgrade": "h2c-zz"}, 400),
            ({"Connection": None}, 400),
            ({"Connection": "zz"}, 400),
            ({"Host": None}, 400),
            ({"Sec-WebSocket-Key": None}, 400),
            ({"Sec-WebSocket-Key": "zz"}, 400),
            ({"Sec-WebSocket-Key": KEY[:-2] + "zz"}, 400),
            ({"Sec-WebSocket-Version": None}, 400),
            ({"Sec-WebSocket-Version": "zz"}, 400),
            ({"Sec-WebSocket-Version": "8"}, 400),
            ({"Sec-WebSocket-Version": "14"}, 400),
        )
        for change, status in wrong:
            client = self.arrive()
            client.upgrade(**change)
            self.refused(client, status)
            self.assertNotIn("zz", str(client.response), change)

    def test_other_requests(self) -> None:
        """
        So has each that is no HTTP/1.1, or is none for a WebSocket at all.
        """
        for line, status in (
            (b"POST / HTTP/1.1", 405),
            (b"HEAD / HTTP/1.1", 405),
            (b"GET / HTTP/1.0", 505),
            (b"GET / HTTP/2.0", 505),
            (b"GET / HTTP/1.1 zz", 400),
            (b"GET /", 400),
            (b"PRI * HTTP/2.0", 405),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
            (b"", 400),
        ):
            client = self.arrive()
            client.send(REQUEST.replace(b"GET / HTTP/1.1", line) + b"\r\n")
            self.refused(client, status)
            self.assertNotIn("zz", str(client.response), line)

    def test_plain_request(self) -> None:
        """
        Whoever comes by with a plain request, such as a health check, is told to upgrade.
        """
        client = self.arrive()
        client.send(b"GET /?redirect=https%3A%2F%2Fevil.example HTTP/1.1\r\nHost: h\r\n\r\n")
        self.refused(client, 426)
        self.assertEqual(client.response.headers["upgrade"], "websocket")
        self.assertNotIn("location", client.response.headers)

    def test_twice(self) -> None:
        """
        A header that may come once only is not taken twice, whatever stands in it.
        """
        for name in ("Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"):
            client = self.arrive()
            client.send(REQUEST + f"{name}: {UPGRADE[name]}\r\n\r\n".encode())
            self.refused(client, 400)
        client = self.arrive()
        client.send(REQUEST + b"Origin: https://a.example\r\nOrigin: https://b.example\r\n\r\n")
        self.refused(client, 400)

    def test_smuggled(self) -> None:
        """
        A header within another, made with whatever Autobahn takes for the end of a line, is
        refused.
        """
        for separator in (
            *(b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\r", b"\n", b"\0"),
            *(b"\r\n ", b"\r\nX: b\r\n\t"),
        ):
            client = self.arrive()
            client.send(REQUEST + b"X: a" + separator + b"Origin: https://a.example\r\n\r\n")
            self.refused(client, 400)
        self.assertEqual(self.refusals, {"400": 11})

    def test_counted(self) -> None:
        """
        Refusals are counted by their status.
        """
        for name in ("Upgrade", "Host", "Upgrade"):
            self.arrive().upgrade(**{name: None})
        self.assertEqual(self.refusals, {"426": 2, "400": 1})

    @given(
        st.lists(
            st.sampled_from(
                [
                    *(f"{name}: {value}".encode() for name, value in UPGRADE.items()),
                    *(b"Origin: null", b"Origin: file:///", b"Origin:", b"Origin: https://[::1"),
                    *(b"Host: [::1]:80", b"Host: :", b"Connection:", b"Upgrade:,,", b":", b"X"),
                    *(
                        b"Sec-WebSocket-Extensions: " + value
                        for value in (b"a;b=", b";", b"a;;b=c")
                    ),
                    b'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits="9',
                    *(b"Sec-WebSocket-Version: " + value for value in (b"1_3", b"+13", b"\xb2")),
                    b"Sec-WebSocket-Protocol: ,",
                    b"X-Forwarded-For: ,",
                ]
            )
            | st.binary(max_size=12),
            max_size=14,
        ),
        st.sampled_from(
            [b"GET / HTTP/1.1", b"GET http://h:x/?%zz;=&#a HTTP/1.1", b"GET  HTTP/1.1"]
        ),
    )
    def test_any_headers(self, lines: list[bytes], first: bytes) -> None:
        """
        Whatever headers come, there is an answer that is whole, or an open WebSocket; and
        nothing fails that should not.
        """
        client = self.arrive()
        client.send(b"\r\n".join([first, *lines, b"", b""]))
        answer = client.response
        self.assertIn(answer.status, (101, 400, 426))
        if answer.status == 101:
            self.assertEqual(len(client.heard("ready")), 1)
        else:
            self.refused(client, answer.status)
        client.hang_up()


class SizeTests(HandshakeTestCase):
    """
    How much a handshake may be, and how long it may take.
    """

    def padded(self, size: int) -> bytes:
        """
        A good request of so many octets, but for the empty line behind it.
        """
        name = b"X-Padding: "
        return REQUEST + name + b"x" * (size - len(REQUEST) - len(name) - 2) + b"\r\n"

    def test_largest(self) -> None:
        """
        A request of exactly the limit is good, and frames behind it do not count.
        """
        client = self.arrive()
        request = self.padded(MAX_BYTES) + b"\r\n"
        client.send(request + client_frame(b"x" * 125, PING) * 100)
        self.assertEqual(client.response.status, 101)
        self.assertEqual(len(client.frames), 101)

    def test_too_large(self) -> None:
        """
        One that is larger is a 431, in one piece or in many.
        """
        request = self.padded(MAX_BYTES + 8) + b"\r\n"
        client = self.arrive()
        client.send(request)
        self.refused(client, 431)
        client = self.arrive()
        client.send(*(request[at : at + 1000] for at in range(0, len(request), 1000)))
        self.refused(client, 431)

    def test_without_end(self) -> None:
        """
        One without an end is refused as soon as it is over the limit, and what comes after is
        not even looked at.
        """
        client = self.arrive()
        client.send(REQUEST)
        for _ in range(40):
            client.send(b"X-Padding: " + b"x" * 487 + b"\r\n")
        self.refused(client, 431)
        self.assertEqual(self.refusals, {"431": 1})

    def test_silence(self) -> None:
        """
        Who connects and says nothing is cut off, and so is who never comes to an end.
        """
        silent, slow = self.arrive(), self.arrive()
        for octet in REQUEST[: int(TIMEOUT)]:
            slow.send(bytes((octet,)))
            self.loop.wait(1)
        self.assertEqual((silent.kernel.closed, slow.kernel.closed), ("reset", "reset"))

    def test_refused_and_silent(self) -> None:
        """
        Who is refused and does not take the answer is cut off a little later.
        """
        client = self.arrive()
        client.stall()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.loop.wait(GRACE * 0.9)
        self.assertEqual(client.kernel.closed, "")
        self.loop.wait(GRACE * 0.2)
        self.assertEqual(client.kernel.closed, "reset")

    def test_refused_once(self) -> None:
        """
        Who is refused is answered once, however many requests there are in the packet.
        """
        client = self.arrive()
        client.send(b"GET / HTTP/1.1\r\n\r\n" * 3 + REQUEST + b"\r\n")
        self.refused(client, 400)
        self.assertEqual(self.refusals, {"400": 1})

    def test_gone_before(self) -> None:
        """
        Who goes away in the middle of a handshake leaves nothing behind.
        """
        client = self.arrive()
        client.send(REQUEST)
        client.hang_up()
        self.assertEqual(self.factory.getConnectionCount(), 0)


class OriginTests(HandshakeTestCase):
    """
    Whose pages may connect.
    """

    origins = ("https://app.example.com", "https://*.example.org")

    def test_allowed(self) -> None:
        """
        A page of an origin that is allowed may connect, and so may a client that is no page.
        """
        for origin in ("https://app.example.com", "https://a.example.org:443", None):
            self.assertEqual(self.arrive().upgrade(Origin=origin).status, 101, origin)

    def test_others(self) -> None:
        """
        Any other page is a 403.
        """
        for origin in (
            *("https://evil.example", "http://app.example.com", "https://app.example.com:8443"),
            *("null", "file:///home/me/page.html", "https://example.org"),
        ):
            client = self.arrive()
            client.upgrade(Origin=origin)
            self.refused(client, 403)
        self.assertEqual(self.refusals, {"403": 6})


class RoomTests(HandshakeTestCase):
    """
    How many may come in.
    """

    max_connections = 3

    def test_full(self) -> None:
        """
        Whoever is one too many is a 429 that says when to come back, until somebody leaves.
        """
        inside = [self.connect() for _ in range(3)]
        client = self.arrive()
        client.upgrade()
        self.refused(client, 429, retry=True)
        inside[1].hang_up()
        self.connect()
        client = self.arrive()
        client.upgrade()
        self.refused(client, 429, retry=True)

    def test_refused_leave_room(self) -> None:
        """
        Those who are refused take nobody's place.
        """
        for _ in range(10):
            self.arrive().upgrade(Host=None)
        for _ in range(3):
            self.connect()

    def test_draining(self) -> None:
        """
        While the instance drains, everybody is a 503 that says when to come back.
        """
        inside, waiting = self.connect(), self.arrive()
        self.factory.draining = True
        waiting.upgrade()
        self.refused(waiting, 503, retry=True)
        inside.send(client_frame(b"", PING))
        self.assertEqual(inside.frames[-1].opcode, PONG)


class AddressTests(HandshakeTestCase):
    """
    How many may come from one address.
    """

    per_address = 2

    def test_one_address(self) -> None:
        """
        One too many from one address is a 429 that says when to come back; other addresses do
        not notice, and it is over when somebody from there leaves.
        """
        first, _ = self.connect("192.0.2.7"), self.connect("192.0.2.7")
        client = self.arrive("192.0.2.7")
        client.upgrade()
        self.refused(client, 429, retry=True)
        self.connect("192.0.2.8")
        first.hang_up()
        self.connect("192.0.2.7")

    def test_headers_are_not_believed(self) -> None:
        """
        What a client says of its own address is of no meaning.
        """
        for number in range(2):
            self.assertEqual(self.arrive().upgrade(X_Forwarded_For=f"1.1.1.{number}").status, 101)
        client = self.arrive()
        client.upgrade(X_Forwarded_For="1.1.1.9")
        self.refused(client, 429, retry=True)

    def test_proxy(self) -> None:
        """
        Behind a proxy that speaks the PROXY protocol it is the client's own address that
        counts, and not the proxy's.
        """
        proxied = HAProxyWrappingFactory(self.factory)

        def come(address: str) -> Client:
            client = self.arrive("10.0.0.1", proxied)
            client.send(f"PROXY TCP4 {address} 10.0.0.1 5000 3005\r\n".encode())
            client.upgrade()
            return client

        first = come("198.51.100.1")
        for address in ("198.51.100.1", "198.51.100.2", "198.51.100.3"):
            self.assertEqual(come(address).response.status, 101, address)
        self.refused(come("198.51.100.1"), 429, retry=True)
        first.hang_up()
        self.assertEqual(come("198.51.100.1").response.status, 101)


class ForwardedTests(HandshakeTestCase):
    """
    Whose word counts for where a client comes from.
    """

    per_address = 1
    proxies = ("10.0.0.0/8", "fd00::/8")

    def status(self, address: str, forwarded: str, **headers: str) -> int:
        """
        What becomes of one more connection from C{address} with this C{X-Forwarded-For}.
        """
        return self.arrive(address).upgrade(X_Forwarded_For=forwarded, **headers).status

    def test_trusted(self) -> None:
        """
        A proxy's word counts, and of several proxies the first one's; what stood there before
        is the client's own and does not.
        """
        self.assertEqual(self.status("10.1.1.1", "198.51.100.1"), 101)
        self.assertEqual(self.status("10.1.1.1", "6.6.6.6, 198.51.100.1"), 429)
        self.assertEqual(self.status("10.2.2.2", "198.51.100.1,10.1.1.1"), 429)
        self.assertEqual(self.status("fd00::1", "198.51.100.2"), 101)
        self.assertEqual(self.status("10.1.1.1", "198.51.100.2", X_Note="\xe4"), 429)

    def test_untrusted(self) -> None:
        """
        Anybody else's does not.
        """
        self.assertEqual(self.status("203.0.113.1", "198.51.100.1"), 101)
        self.assertEqual(self.status("203.0.113.1", "198.51.100.2"), 429)

    def test_nonsense(self) -> None:
        """
        What is no address is not believed either, and leaves it at the proxy's own.
        """
        self.assertEqual(self.status("10.1.1.1", "unknown"), 101)
        self.assertEqual(self.status("10.1.1.1", "1.2.3.4, <script>"), 429)


class UnidentifiedTests(HandshakeTestCase):
    """
    How many may be here without a name.
    """

    unidentified = 2

    def test_handshakes(self) -> None:
        """
        One too many that has not identified is a 429; who identifies makes room.
        """
        first, _ = self.connect(), self.connect()
        client = self.arrive()
        client.upgrade()
        self.refused(client, 429, retry=True)
        client.hang_up()
        token = self.instance.token("u1")
        first.say("identify", userId="u1", token=token, guildIds=[])
        self.connect()

    def test_silent(self) -> None:
        """
        Of those who never send a request, too, only so many are kept.
        """
        waiting = [self.arrive() for _ in range(10)]
        self.loop.settle()
        self.assertEqual(
            [bool(client.kernel.closed) for client in waiting], [False] * 4 + [True] * 6
        )
