"""
Asking a site over recording operations: with treq where the message is what matters, as
bytes on a transport where the bytes are.
"""

from __future__ import annotations

import json
from http.client import HTTPResponse
from io import BytesIO
from typing import Any, Iterator, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.http import build
from gatewayd.http.site import Channel, Site
from tests.doubles import RecordingOperations

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
AUTHORIZATION = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
MIB = 1024 * 1024

PUBLIC = ("/", "/health", "/health/live", "/health/ready", "/stats", "/metrics")
PROTECTED = (
    ("POST", "/events"),
    ("POST", "/users/u1/disconnect"),
    ("POST", "/drain"),
    ("GET", "/users/u1"),
    ("GET", "/guilds/g1"),
)


class Answer:
    """
    A response, with its body read.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """
        The body's JSON.
        """
        return json.loads(self.body)


class HTTPTestCase(SynchronousTestCase):
    """
    A site over recording operations, and what both kinds of test need.
    """

    admin_token: str | None = TOKEN
    public = True

    def setUp(self) -> None:
        """
        Make the site.
        """
        self.operations = RecordingOperations()
        self.clock = Clock()
        self.site = build(
            self.operations,
            admin_token=self.admin_token,
            clock=self.clock,
            public=self.public,
        )
        self.events = self.enterContext(capturedLogs())

    def problem(self, answer: Answer, status: int) -> dict[str, Any]:
        """
        Check that C{answer} is a problem with this status, and return it.
        """
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        told = cast("dict[str, Any]", answer.json())
        self.assertLessEqual({"type", "title", "status", "detail", "instance"}, set(told))
        self.assertEqual(told["status"], status)
        return told


class CallsTestCase(HTTPTestCase):
    """
    Requests made with treq, over the real routes.
    """

    def setUp(self) -> None:
        """
        Make the client.
        """
        super().setUp()
        self.treq: Any = StubTreq(self.site.resource)

    def begin(self, method: str, path: str, **how: Any) -> Deferred[Any]:
        """
        Make a request that may not be answered at once.
        """
        return cast("Deferred[Any]", self.treq.request(method, "http://gateway:3006" + path, **how))

    def settle(self, begun: Deferred[Any]) -> Answer:
        """
        The answer to a request begun.
        """
        self.treq.flush()
        response = self.successResultOf(begun)
        body = self.successResultOf(self.treq.content(response))
        headers = {
            name.decode().lower(): ", ".join(value.decode() for value in values)
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, headers, body)

    def ask(self, method: str, path: str, **how: Any) -> Answer:
        """
        Make a request and take its answer.
        """
        return self.settle(self.begin(method, path, **how))

    def publish(self, data: bytes, **headers: str) -> Answer:
        """
        Publish with the token.
        """
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/events", data=data, headers=BEARER | more)


class Wire(StringTransport):
    """
    One client's connection to a site, as bytes.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        channel = site.buildProtocol(None)
        if channel is None:
            raise AssertionError("the site refused the connection")
        self.channel: Channel = channel
        self.lost = False
        channel.makeConnection(self)

    def send(self, *pieces: bytes) -> None:
        """
        Have the site receive C{pieces}, one after the other.
        """
        for piece in pieces:
            self.channel.dataReceived(piece)

    def answers(self, *methods: str) -> Iterator[Answer]:
        """
        What came back, read by the standard library.

        @param methods: those of the requests, C{GET} where not said.
        """
        stream = BytesIO(self.value())
        asked = iter(methods)
        while stream.tell() < len(stream.getvalue()):
            response = HTTPResponse(_Socket(stream), method=next(asked, "GET"))  # type: ignore[arg-type]
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            length = 0 if response.length is None else response.length
            yield Answer(response.status, headers, stream.read(length))

    def lose(self, why: Exception | None = None) -> None:
        """
        Have the client go away.
        """
        self.lost = True
        self.channel.connectionLost(Failure(why or ConnectionDone()))


class _Socket:
    """
    As much of a socket as L{HTTPResponse} looks for, and one that stays open after it.
    """

    def __init__(self, stream: BytesIO) -> None:
        self._stream = stream

    def makefile(self, mode: str) -> Any:
        """
        The stream, which is not to be closed by who read one answer from it.
        """
        stream = self._stream

        class Open:
            readline = staticmethod(stream.readline)
            read = staticmethod(stream.read)
            close = flush = staticmethod(lambda: None)

        return Open()


class WireTestCase(HTTPTestCase):
    """
    Requests as bytes, over the whole site.
    """

    def setUp(self) -> None:
        """
        Connect.
        """
        super().setUp()
        self.wire = Wire(self.site)

    def reconnect(self) -> None:
        """
        Go on over a connection of its own.
        """
        if not self.wire.lost:
            self.wire.lose()
        self.operations.asked.clear()
        self.wire = Wire(self.site)

    def answer(self, method: str = "GET") -> Answer:
        """
        The one answer that came.
        """
        [answer] = self.wire.answers(method)
        return answer

    def refused(self, status: int) -> dict[str, Any]:
        """
        Check that the request was refused and the connection is on its way out: the answer
        says so, nothing more is read, and after a while it is cut.
        """
        answer = self.answer()
        told = self.problem(answer, status)
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertFalse(self.wire.disconnecting)
        self.wire.send(b"x" * 4096, b"\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
        self.assertEqual(len(list(self.wire.answers())), 1)
        self.clock.advance(2)
        self.assertTrue(self.wire.disconnecting)
        self.wire.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.operations.asked, [])
        return told
