"""
How much may be sent over HTTP, by whom, and how slowly.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from gatewayd.errors import Busy
from gatewayd.model import Position
from tests.wire.http_case import (
    AUTHORIZATION,
    MIB,
    Wire,
    WireTestCase,
)


class BodyTests(WireTestCase):
    """
    How much is let in.
    """

    def post(self, path: bytes, *fields: bytes) -> bytes:
        """
        The head of a request with the token.
        """
        lines = b"".join(field + b"\r\n" for field in fields)
        return b"POST %s HTTP/1.1\r\nHost: h\r\n%s%s\r\n" % (path, AUTHORIZATION, lines)

    def test_announced_too_large(self) -> None:
        """
        A body announced as too large is a 413 before a byte of it is read.
        """
        self.wire.send(self.post(b"/events", b"Content-Length: %d" % (MIB + 1)))
        self.assertIn(str(MIB), self.refused(413)["detail"])

    def test_absurdly_announced(self) -> None:
        """
        So is one announced as larger than any integer.
        """
        self.wire.send(self.post(b"/events", b"Content-Length: " + b"9" * 400))
        self.refused(413)

    def test_largest(self) -> None:
        """
        An event list of exactly the limit is taken, in however many pieces.
        """
        envelope = b'{"event":"m","data":"' + b"x" * (MIB - 23) + b'"}'
        self.assertEqual(len(envelope), MIB)
        self.wire.send(self.post(b"/events", b"Content-Length: %d" % MIB))
        for start in range(0, MIB, 100_000):
            self.wire.send(envelope[start : start + 100_000])
        self.assertEqual(self.answer().status, 202)
        self.assertEqual(self.operations.asked, [("publish", [envelope])])

    def test_chunked(self) -> None:
        """
        A body in chunks is taken like any other.
        """
        head = self.post(b"/events", b"Transfer-Encoding: chunked")
        self.wire.send(head, b"4\r\n[{},\r\n3\r\n{}]\r\n0\r\n\r\n")
        self.assertEqual(self.answer().status, 202)
        self.assertEqual(self.operations.asked, [("publish", [b"{}", b"{}"])])

    def test_chunked_without_end(self) -> None:
        """
        A body in chunks is a 413 as soon as it is over the limit, and no more than the
        limit is ever held.
        """
        self.wire.send(self.post(b"/events", b"Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(16):
            self.wire.send(chunk)
        self.assertEqual(self.wire.value(), b"")
        self.wire.send(b"1\r\n")
        self.assertEqual(self.wire.value(), b"")
        self.wire.send(b"x", b"\r\n", chunk * 100)
        self.assertLessEqual(self.wire.channel.requests[0].content.tell(), MIB)
        self.refused(413)

    def test_chunked_over_and_ended_at_once(self) -> None:
        """
        A body in chunks that is over the limit and complete in one piece is refused too.
        """
        head = self.post(b"/drain", b"Transfer-Encoding: chunked")
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        self.wire.send(head + chunk * 2 + b"0\r\n\r\n")
        self.refused(413)

    def test_elsewhere(self) -> None:
        """
        The calls that need no body may have a small one: to be ignored, not refused.
        """
        self.wire.send(self.post(b"/drain", b"Content-Length: 4096"), b"x" * 4096)
        self.assertEqual(self.answer().status, 202)
        self.assertEqual(self.operations.asked, [("drain",)])
        self.operations.asked.clear()
        for path in (b"/drain", b"/health", b"/events/", b"/nothing", b"//events"):
            self.reconnect()
            self.wire.send(self.post(path, b"Content-Length: 4097"))
            self.refused(413)

    def test_query_does_not_matter(self) -> None:
        """
        The room for a body goes by the path, in whatever form the target names it.
        """
        for target in (b"/events?x=/y", b"http://h:3006/events", b"HTTP://h/events?x"):
            self.reconnect()
            body = b'"' + b"x" * 9998 + b'"'
            self.wire.send(self.post(target, b"Content-Length: 10000"), body)
            self.assertEqual(self.answer().status, 202, target)
            self.assertEqual(self.operations.asked, [("publish", [body])])

    def test_form(self) -> None:
        """
        A form is never parsed, whatever it claims to be.
        """
        self.wire.send(
            self.post(
                b"/drain", b"Content-Type: multipart/form-data; boundary=", b"Content-Length: 4"
            ),
            b"oops",
        )
        self.assertEqual(self.answer().status, 202)

    def test_bearer_before_body(self) -> None:
        """
        A sender without the token is told so before its body is read, even in one piece
        with it.
        """
        for sent in (b"", b'{"event":', b'{"event":"m"}', b'{"event":"m"}GET / HTTP/1.1\r\n\r\n'):
            self.reconnect()
            self.wire.send(b"POST /events HTTP/1.1\r\nContent-Length: 13\r\n\r\n" + sent)
            self.assertEqual(self.answer().headers["www-authenticate"], "Bearer")
            self.refused(401)

    def test_type_before_body(self) -> None:
        """
        So is one who announces something else than JSON.
        """
        self.wire.send(self.post(b"/events", b"Content-Length: 13", b"Content-Type: text/csv"))
        self.refused(415)

    def test_expectation(self) -> None:
        """
        A sender that waits to be asked for its body is asked only if it will be read.
        """
        expect = b"Expect: 100-continue"
        self.wire.send(self.post(b"/events", b"Content-Length: 2", expect))
        self.assertEqual(self.wire.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wire.clear()
        self.wire.send(b"{}")
        self.assertEqual(self.answer().status, 202)

        self.reconnect()
        self.wire.send(self.post(b"/events", b"Content-Length: 99999999", expect))
        self.refused(413)


class PaceTests(WireTestCase):
    """
    How slowly one may send, and how long one may wait.
    """

    def drip(self, sent: bytes) -> None:
        """
        Send a byte a second, for fourteen.
        """
        for byte in sent:
            self.wire.send(bytes([byte]))
            self.clock.advance(1)
        self.assertEqual(len(sent), 14)
        self.assertEqual(self.wire.value(), b"")

    def test_slow_request_line(self) -> None:
        """
        A request line has no longer than a whole request.
        """
        self.drip(b"GET /health?xx")
        self.wire.send(b"x")
        self.clock.advance(1)
        self.refused(408)

    def test_slow_head(self) -> None:
        """
        Nor have the header fields.
        """
        self.wire.send(b"GET /health HTTP/1.1\r\n")
        self.drip(b"X: 23456789012")
        self.wire.send(b"x")
        self.clock.advance(1)
        self.refused(408)

    def test_slow_body(self) -> None:
        """
        Nor has the body.
        """
        self.wire.send(b"POST /events HTTP/1.1\r\n" + AUTHORIZATION + b"Content-Length: 99\r\n\r\n")
        self.drip(b'{"event": "mes')
        self.wire.send(b"s")
        self.clock.advance(1)
        self.refused(408)

    def test_slow_answer(self) -> None:
        """
        The sender's time is over when the request is whole; that the answer takes its own
        cuts nobody off.
        """
        gathered: Deferred[dict[str, Any]] = Deferred()
        self.operations.outcomes["stats"] = gathered
        self.clock.advance(14)
        self.wire.send(b"GET /stats HTTP/1.1\r\n")
        self.clock.advance(14)
        self.wire.send(b"\r\n")
        self.clock.advance(14)
        self.assertEqual(self.wire.value(), b"")
        gathered.callback({})
        self.assertEqual(self.answer().status, 200)
        self.assertFalse(self.wire.disconnecting)

    def test_each_request_has_its_time(self) -> None:
        """
        A connection that is kept gets the whole time for its next request.
        """
        for _ in range(3):
            self.wire.clear()
            self.wire.send(b"GET /health HTTP/1.1\r\n")
            self.clock.advance(14)
            self.wire.send(b"\r\n")
            self.assertEqual(self.answer().status, 200)
        self.clock.advance(14)
        self.assertFalse(self.wire.disconnecting)

    def test_pipelined_and_unfinished(self) -> None:
        """
        A request that was begun while the one before it was being answered gets its time
        from then on, and no more.
        """
        gathered: Deferred[dict[str, Any]] = Deferred()
        self.operations.outcomes["stats"] = gathered
        self.wire.send(b"GET /stats HTTP/1.1\r\n\r\nGET /hea")
        self.clock.advance(10)
        gathered.callback({})
        self.wire.clear()
        self.operations.asked.clear()
        self.wire.send(b"l")
        self.clock.advance(15)
        self.refused(408)

    def test_idle(self) -> None:
        """
        A connection without a request on it is closed after a minute, without a word.
        """
        self.wire.send(b"GET /health HTTP/1.1\r\n\r\n")
        self.wire.clear()
        self.clock.advance(59)
        self.assertFalse(self.wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.wire.value(), b"")

    def test_client_leaves_while_sending(self) -> None:
        """
        A client that goes away in the middle of a request leaves nothing behind.
        """
        for sent in (
            b"",
            b"GE",
            b"GET / HTTP/1.1\r\nX: y",
            b"POST /drain HTTP/1.1\r\n" + AUTHORIZATION + b"Content-Length: 9\r\n\r\nx",
        ):
            wire = Wire(self.site)
            if sent:
                wire.send(sent)
            wire.lose(ConnectionLost())
        self.wire.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.site.connections, 0)

    def test_client_leaves_while_waiting(self) -> None:
        """
        A client that goes away before its answer changes nothing: what it asked for is not
        cancelled, and neither its success nor a foreseen failure is news.
        """
        for outcome in ([Position(1, 0)], Busy("later")):
            cancelled: list[object] = []
            work: Deferred[Any] = Deferred(cancelled.append)
            self.operations.outcomes["publish"] = work
            wire = Wire(self.site)
            wire.send(b"POST /events HTTP/1.1\r\n" + AUTHORIZATION + b"Content-Length: 2\r\n\r\n{}")
            wire.lose(ConnectionLost())
            self.assertEqual(cancelled, [])
            if isinstance(outcome, Exception):
                work.errback(outcome)
            else:
                work.callback(outcome)
            self.assertEqual(wire.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])
        self.wire.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fault_after_client_left(self) -> None:
        """
        A fault that nobody waits for any more is still logged.
        """
        work: Deferred[Any] = Deferred()
        self.operations.outcomes["stats"] = work
        self.wire.send(b"GET /stats HTTP/1.1\r\n\r\n")
        self.wire.lose(ConnectionLost())
        work.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
