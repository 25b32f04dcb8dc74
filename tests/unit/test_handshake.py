"""
What a handshake may hold, how it is refused, and whose pages may connect.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import from_regex, none, one_of, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.ws.handshake import Origins, has_smuggled_lines, refusal

REQUEST = b"GET / HTTP/1.1\r\nHost: gateway:3005\r\nUser-Agent: Mozilla/5.0 (X11)\r\nAccept:\t*/*"

names = from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True)
values = from_regex(r"[\t\x20-\x7e\xa0-\xff]{0,30}", fullmatch=True)


class SmuggledLinesTests(SynchronousTestCase):
    """
    Headers within headers.
    """

    def test_plain(self) -> None:
        """
        A request as browsers send it holds none.
        """
        self.assertFalse(has_smuggled_lines(REQUEST))

    @given(names, values)
    def test_any_header(self, name: str, value: str) -> None:
        """
        Neither does any header that RFC 9110 knows, its values in ISO 8859-1 included.
        """
        line = f"{name}: {value}".encode("latin-1")
        self.assertFalse(has_smuggled_lines(REQUEST + b"\r\n" + line))

    def test_separators(self) -> None:
        """
        Each of the octets at which Python's C{splitlines} splits is found, wherever it stands.
        """
        for octet in range(256):
            line = b"User-Agent: a" + bytes((octet,)) + b"Origin: x"
            if len(line.decode("latin-1").splitlines()) > 1:
                self.assertTrue(has_smuggled_lines(REQUEST + b"\r\n" + line), octet)
                self.assertTrue(has_smuggled_lines(line + b"\r\n" + REQUEST), octet)

    def test_space_in_names(self) -> None:
        """
        A folded line is found, and so is white space before or in a header's name or before
        its colon.
        """
        for line in (b" Origin: x", b"\tOrigin: x", b"Origin : x", b"Origin\t: x", b"X Origin: x"):
            self.assertTrue(has_smuggled_lines(REQUEST + b"\r\n" + line), line)

    @given(
        from_regex(r"([a-z:]|\r\n[A-Z]:|[ \t\xe9\xa0]|[\r\n\x0b\x1c\x85]){0,12}", fullmatch=True)
    )
    def test_agrees_with_the_parser(self, tail: str) -> None:
        """
        In what passes, lines end where CRLF is and nowhere else.
        """
        request = REQUEST.decode() + "\r\nX:" + tail + "."
        if not has_smuggled_lines(request.encode("latin-1")):
            self.assertEqual(request.splitlines(), request.split("\r\n"))


class RefusalTests(SynchronousTestCase):
    """
    The answer that says no.
    """

    def test_whole_responses(self) -> None:
        """
        A refusal is a whole response without a body, which announces the end of the connection.
        """
        for status, phrase in ((400, b"Bad Request"), (403, b"Forbidden"), (505, None)):
            head, end, body = refusal(status).partition(b"\r\n\r\n")
            line, *fields = head.split(b"\r\n")
            self.assertTrue(line.startswith(b"HTTP/1.1 %d " % status))
            self.assertTrue(phrase is None or line.endswith(phrase))
            self.assertEqual(sorted(fields), [b"Connection: close", b"Content-Length: 0"])
            self.assertEqual((end, body), (b"\r\n\r\n", b""))

    def test_retry_after(self) -> None:
        """
        It says when to come back, in seconds, where that is known.
        """
        self.assertIn(b"\r\nRetry-After: 5\r\n", refusal(503, 5))
        self.assertNotIn(b"Retry-After", refusal(403))

    def test_what_would_do(self) -> None:
        """
        It says what would have done, where the status demands that (RFC 9110, section 15.5).
        """
        self.assertIn(b"\r\nAllow: GET\r\n", refusal(405))
        self.assertIn(b"\r\nUpgrade: websocket\r\n", refusal(426))
        self.assertIn(b"\r\nSec-WebSocket-Version: 13\r\n", refusal(426))


class OriginsTests(SynchronousTestCase):
    """
    Whose pages may connect.
    """

    def test_any(self) -> None:
        """
        C{*} allows every origin, and none at all.
        """
        for origin in ("https://evil.example", "null", "nonsense", "", None):
            self.assertTrue(Origins(("*",)).allow(origin))

    def test_without_origin(self) -> None:
        """
        A client that is no browser has no origin and needs none, whatever is allowed; Autobahn
        calls that an empty one.
        """
        for allowed in (("https://app.example.com",), ("null",), ()):
            self.assertTrue(Origins(allowed).allow(None))
            self.assertTrue(Origins(allowed).allow(""))

    def test_exact(self) -> None:
        """
        An origin is allowed where scheme, host and port are, the usual port being the same as
        none, in whatever case.
        """
        origins = Origins(("https://App.example.com", "http://localhost:8080"))
        for origin in (
            *("https://app.example.com", "https://app.example.com:443"),
            *("HTTPS://APP.EXAMPLE.COM", "http://localhost:8080"),
        ):
            self.assertTrue(origins.allow(origin), origin)
        for origin in (
            *("http://app.example.com", "https://app.example.com:8443", "https://example.com"),
            *("https://app.example.com.evil.example", "https://evil-app.example.com"),
            *("https://sub.app.example.com", "http://localhost", "http://localhost:80", "null"),
            *("https://app.example.com@evil.example", "wss://app.example.com", "app.example.com"),
            "http://app.example.com:443",
        ):
            self.assertFalse(origins.allow(origin), origin)

    def test_under(self) -> None:
        """
        C{*.} allows every host under a name, but not the name itself, nor one that merely ends
        alike.
        """
        origins = Origins(("https://*.example.com",))
        for origin in ("https://a.example.com", "https://a.b.example.com:443"):
            self.assertTrue(origins.allow(origin), origin)
        for origin in (
            *("https://example.com", "https://evilexample.com", "http://a.example.com"),
            *("https://a.example.com.evil.example", "https://a.example.com:8443"),
            *("http://a.example.com:443", "wss://a.example.com"),
        ):
            self.assertFalse(origins.allow(origin), origin)

    def test_null(self) -> None:
        """
        C{null}, which is what a sandboxed page says, is allowed only by that very word.
        """
        self.assertTrue(Origins(("null",)).allow("null"))
        self.assertFalse(Origins(("https://app.example.com",)).allow("null"))
        self.assertFalse(Origins(("null",)).allow("https://app.example.com"))

    def test_nonsense(self) -> None:
        """
        What is no origin at all is not allowed.
        """
        origins = Origins(("https://app.example.com", "https://*.example.com", "null"))
        for origin in ("https://[", "https://a:b", "https://:99999", "//", "https://", "x y", "*"):
            self.assertFalse(origins.allow(origin), origin)

    @given(one_of(none(), text(max_size=40), sampled_from(["https://[::", "h://a:99999999"])))
    def test_any_text(self, origin: str | None) -> None:
        """
        Whatever is said to be an origin gets an answer; no random text is the one allowed.
        """
        self.assertEqual(Origins(("https://app.example.com",)).allow(origin), not origin)
