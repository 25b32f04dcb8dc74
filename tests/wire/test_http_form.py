"""
What HTTP requests may look like, and what answers do.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent
from twisted.web.resource import Resource

from gatewayd.http import build
from gatewayd.http.site import Site
from tests.wire.http_case import (
    AUTHORIZATION,
    TOKEN,
    Wire,
    WireTestCase,
)


class FormTests(WireTestCase):
    """
    What requests may look like, and what answers do.
    """

    def test_malformed(self) -> None:
        """
        What is not HTTP is a 400, told as every other problem.
        """
        for request in (
            b"nonsense\r\n\r\n",
            b"GET /health HTTP/9.9\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost : h\r\n\r\n",
            b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /health HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 501 + b"\r\n",
            b"GET /health HTTP/1.1\r\n" + (b"X: " + b"y" * 8192 + b"\r\n") * 3 + b"\r\n",
            b"POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            with self.subTest(request[:70]):
                self.reconnect()
                self.wire.send(request + b"GET /health HTTP/1.1\r\n\r\n")
                self.refused(400)

    def test_long_lines(self) -> None:
        """
        A line that is too long says which it was, and is not waited out.
        """
        for head, status in ((b"", 414), (b"GET / HTTP/1.1\r\n", 431)):
            for end in (b"", b"\r\n\r\n"):
                self.reconnect()
                self.wire.send(head + b"x" * 20_000 + end)
                self.refused(status)

    def test_host(self) -> None:
        """
        No name that a client uses for us gets in the way.
        """
        for host in (b"", b"h", b"a..b", b"\xff\xfe", b"x" * 300, b"[::1]:3006", b"xn--\xc3", b"/"):
            self.wire.clear()
            self.wire.send(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            self.assertEqual(self.answer().status, 200, host)
        self.wire.clear()
        self.wire.send(b"GET /health HTTP/1.1\r\n\r\n")
        self.assertEqual(self.answer().status, 200)

    def test_targets(self) -> None:
        """
        A target in absolute form is its path; any other odd one is not found.
        """
        for target, status in (
            (b"http://h:3006/health", 200),
            (b"http://h", 200),
            (b"http://h?x", 200),
            (b"/health?x=%FF", 200),
            (b"/%FF", 404),
            (b"h:443", 404),
            (b"?", 200),
        ):
            self.wire.clear()
            self.wire.send(b"GET " + target + b" HTTP/1.1\r\n\r\n")
            self.assertEqual(self.answer().status, status, target)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_headers(self) -> None:
        """
        Every answer, good or bad, forbids storing it and guessing its type, allows no other
        origin, and does not say what serves it.
        """
        for request in (
            b"GET / HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n",
            b"GET /health HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\n\r\n",
            b"GET /nothing HTTP/1.1\r\n\r\n",
            b"OPTIONS /events HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"POST /drain HTTP/1.1\r\n\r\n",
            b"nonsense\r\n\r\n",
        ):
            self.reconnect()
            self.wire.send(request)
            headers = self.answer().headers
            self.assertEqual(headers["cache-control"], "no-store", request)
            self.assertEqual(headers["x-content-type-options"], "nosniff", request)
            self.assertNotIn("server", headers)
            self.assertEqual([name for name in headers if name.startswith("access-")], [])

    def test_head(self) -> None:
        """
        No byte of a body follows an answer to HEAD, so the next answer is where it belongs.
        """
        for path in (b"/", b"/health", b"/stats", b"/metrics", b"/nothing", b"/users/u1"):
            self.wire.clear()
            self.wire.send(b"HEAD %s HTTP/1.1\r\n\r\n" % path, b"GET /health HTTP/1.1\r\n\r\n")
            head, got = self.wire.answers("HEAD", "GET")
            self.assertGreater(int(head.headers["content-length"]), 0, path)
            self.assertEqual(got.json(), {"status": "ok"})

    def test_pipelined(self) -> None:
        """
        Requests sent without waiting are answered in their order.
        """
        gathered: Deferred[dict[str, Any]] = Deferred()
        self.operations.outcomes["stats"] = gathered
        self.wire.send(b"GET /stats HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
        self.wire.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        self.assertEqual(self.wire.value(), b"")
        gathered.callback({"first": True})
        self.assertEqual(
            [answer.body for answer in self.wire.answers()],
            [b'{"first":true}', b'{"status":"ok"}', b"up 1\n"],
        )

    def test_old_clients(self) -> None:
        """
        HTTP/1.0 gets its answer and the end of the connection.
        """
        self.wire.send(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(self.answer().json(), {"status": "ok"})
        self.assertTrue(self.wire.disconnecting)

    def test_crowd(self) -> None:
        """
        Connections past the limit are not taken; when one goes, another can come.
        """
        site = build(self.operations, admin_token=None, clock=self.clock, max_connections=2)
        first, _ = Wire(site), Wire(site)
        self.assertIsNone(site.buildProtocol(None))
        first.lose()
        Wire(site).send(b"GET /health HTTP/1.1\r\n\r\n")
        self.assertIsNone(site.buildProtocol(None))

    def test_only_this_protocol(self) -> None:
        """
        HTTP/2 is not offered, whose requests would come by no channel of ours.
        """
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])

    def test_quiet(self) -> None:
        """
        Serving and refusing are debug events, without query, token or body; starting and
        stopping leave no timer.
        """
        timers = self.clock.getDelayedCalls()
        self.site.doStart()
        self.assertEqual(self.clock.getDelayedCalls(), timers)
        started = len(self.events)
        head = AUTHORIZATION + b"Content-Length: 9\r\n\r\n"
        self.wire.send(b"POST /events?q=hush HTTP/1.1\r\n" + head + b'["hush!"]')
        self.wire.send(b"POST /events HTTP/1.1\r\nAuthorization: Bearer hush\r\n\r\n")
        self.wire.send(b"GET /\xff HTTP/1.1\r\n\r\n")
        ours = [event for event in self.events[started:] if "gatewayd" in event["log_namespace"]]
        self.assertEqual({event["log_level"] for event in ours}, {LogLevel.debug})
        lines = [formatEvent(event) for event in ours]
        self.assertIn("POST /events 202", lines)
        self.assertIn("POST /events 401", lines)
        for event in self.events:
            self.assertNotIn("hush", repr(event))
            self.assertNotIn(TOKEN, repr(event))
        self.wire.lose()
        self.site.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken_root(self) -> None:
        """
        Even what fails outside of every route is told as a problem, with the id that is in
        the log.
        """

        class Broken(Resource):
            isLeaf = True

            def render(self, request: object) -> bytes:
                raise ZeroDivisionError

        self.wire = Wire(Site(Broken(), lambda *_: 0, self.clock))
        self.wire.send(b"GET / HTTP/1.1\r\n\r\n")
        told = self.problem(self.answer(), 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(told["instance"], [event.get("instance") for event in self.events])
