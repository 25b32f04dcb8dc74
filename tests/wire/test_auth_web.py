"""
Asking a web service costs what it may cost, whatever the service does.
"""

from __future__ import annotations

import gzip
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IAgent
from zope.interface import implementer

from gatewayd.auth.web import NoAnswer, Web
from tests.web_service import URL, Service


class WebTestCase(SynchronousTestCase):
    """
    A service, and the way to it.
    """

    def setUp(self) -> None:
        """
        Make both.
        """
        self.clock = Clock()
        self.service = Service(b"hello")
        self.web = self.service.web(self.clock)

    def asking(self, method: str = "GET", body: bytes | None = None) -> Deferred[bytes]:
        """
        Ask.
        """
        return Deferred.fromCoroutine(self.web.ask(method, URL, body))

    def unanswered(self, asking: Deferred[bytes]) -> str:
        """
        Why there was no answer; no timer is left behind.
        """
        failure = self.failureResultOf(asking, NoAnswer)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn("zzsecretzz", str(failure.value))
        return str(failure.value)


class AskingTests(WebTestCase):
    """
    Questions that are answered.
    """

    def test_get(self) -> None:
        """
        The answer's body comes as it was sent.
        """
        self.assertEqual(self.successResultOf(self.asking()), b"hello")
        (asked,) = self.service.asked
        self.assertEqual((asked.method, asked.uri), (b"GET", b"/path?key=zzsecretzz"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_post(self) -> None:
        """
        So does the question's, as JSON, and nothing is asked for but a plain answer.
        """
        self.assertEqual(self.successResultOf(self.asking("POST", b'{"a":1}')), b"hello")
        (asked,) = self.service.asked
        self.assertEqual((asked.method, asked.body), (b"POST", b'{"a":1}'))
        self.assertEqual(asked.headers[b"Content-Type"], [b"application/json"])
        self.assertEqual(asked.headers[b"Accept-Encoding"], [b"identity"])
        self.assertEqual(asked.headers[b"Content-Length"], [b"7"])

    def test_longest(self) -> None:
        """
        An answer may be as long as the limit.
        """
        self.service.body = b"x" * 1000
        self.assertEqual(len(self.successResultOf(self.asking())), 1000)

    def test_no_cookies(self) -> None:
        """
        A cookie is not taken.
        """
        self.service.headers["Set-Cookie"] = "a=b; Path=/"
        for _ in range(2):
            self.successResultOf(self.asking())
        self.assertNotIn(b"Cookie", self.service.asked[1].headers)


class BoundsTests(WebTestCase):
    """
    Services that do not answer as they should.
    """

    def test_status(self) -> None:
        """
        Any status but 200 is no answer, and a redirection leads nowhere.
        """
        self.service.headers["Location"] = "http://elsewhere.example/"
        for status in (201, 204, 301, 302, 307, 400, 401, 404, 429, 500, 503):
            self.service.status = status
            self.assertIn(str(status), self.unanswered(self.asking()))
        self.assertEqual({asked.uri for asked in self.service.asked}, {b"/path?key=zzsecretzz"})

    def test_too_long(self) -> None:
        """
        One that says that it is too long, and one that does not say how long it is, are both
        given up, and their connections with them.
        """
        self.service.body = b"x" * 1001
        self.assertIn("1000 bytes", self.unanswered(self.asking()))
        self.service.silent = True
        asking = self.asking()
        self.service.say(b"x" * 400, b"x" * 400, b"x" * 400)
        self.assertIn("1000 bytes", self.unanswered(asking))
        self.service.flush()
        self.assertEqual(self.service.gone, 1)

    def test_too_long_by_far(self) -> None:
        """
        Nobody waits for what is announced to be too long, or for what an error has to say.
        """
        self.service.silent = True
        for number, (status, length) in enumerate(((200, "1001"), (500, "10"), (404, "99999"))):
            asking = self.asking()
            self.service.status, self.service.headers["Content-Length"] = status, length
            self.service.say(b"hello")
            self.unanswered(asking)
            self.service.flush()
            self.assertEqual(self.service.gone, number + 1)

    def test_compressed(self) -> None:
        """
        What is compressed is not unpacked: it could be of any size.
        """
        self.service.body = gzip.compress(b"x" * 100_000)
        self.assertLess(len(self.service.body), 1000)
        for encoding in ("gzip", "GZIP", "gzip, gzip", "br", "identity, gzip"):
            self.service.headers["Content-Encoding"] = encoding
            self.assertIn("compressed", self.unanswered(self.asking()))
        self.service.headers["Content-Encoding"] = "identity"
        self.assertEqual(self.successResultOf(self.asking()), self.service.body)

    def test_silent(self) -> None:
        """
        A service that says nothing is given up in time, and so is the connection to it.
        """
        self.service.silent = True
        asking = self.asking()
        self.clock.advance(4.9)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.assertEqual(self.unanswered(asking), "no answer within 5 s")
        self.service.flush()
        self.assertEqual((len(self.service.asked), self.service.gone), (1, 1))

    def test_stops_halfway(self) -> None:
        """
        So is one that stops in the middle of its answer.
        """
        self.service.silent = True
        asking = self.asking()
        self.service.headers["Content-Length"] = "10"
        self.service.say(b"hello")
        self.clock.advance(4.9)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.assertEqual(self.unanswered(asking), "no answer within 5 s")
        self.service.flush()
        self.assertEqual(self.service.gone, 1)

    def test_broken_off(self) -> None:
        """
        An answer that ends before its end is none.
        """
        self.service.silent = True
        asking = self.asking()
        self.service.headers["Content-Length"] = "10"
        self.service.say(b"hello")
        self.service.hang_up()
        self.unanswered(asking)

    def test_cancelled(self) -> None:
        """
        Whoever asked can change their mind; the connection goes.
        """
        self.service.silent = True
        asking = self.asking()
        asking.cancel()
        self.failureResultOf(asking)
        self.service.flush()
        self.assertEqual(self.service.gone, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turns(self) -> None:
        """
        No more questions than allowed are under way; the others wait, and their time runs.
        """
        self.web = self.service.web(self.clock, at_once=2)
        self.service.silent = True
        asking = [self.asking() for _ in range(5)]
        self.assertEqual(len(self.service.asked), 2)
        self.service.release()
        self.assertEqual([self.successResultOf(one) for one in asking[:2]], [b"hello"] * 2)
        self.assertEqual(len(self.service.asked), 4)
        self.clock.advance(5)
        for one in asking[2:]:
            self.failureResultOf(one, NoAnswer)
        self.service.flush()
        self.service.silent = False
        self.successResultOf(self.asking())


@implementer(IAgent)
class Failing:
    """
    A way on which each question comes to an error, in turn.
    """

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def request(
        self, method: bytes, uri: bytes, headers: object = None, bodyProducer: object = None
    ) -> Deferred[Any]:
        """
        The next error.
        """
        return fail(self.errors.pop(0))


class TroubleTests(SynchronousTestCase):
    """
    Services that cannot be reached.
    """

    def unanswered(self, *errors: Exception) -> str:
        """
        What is said of it.
        """
        self.agent = Failing(*errors)
        web = Web(Clock(), self.agent, patience=5, longest=10, at_once=1)
        asking = Deferred.fromCoroutine(web.ask("POST", URL, b"{}"))
        return str(self.failureResultOf(asking, NoAnswer).value)

    def test_sentences(self) -> None:
        """
        What the network says is passed on; what the service said is not.
        """
        self.assertIn("refused", self.unanswered(ConnectError(string="refused")))
        self.assertIn("lookup", self.unanswered(DNSLookupError("no results")))
        said = self.unanswered(ValueError(b"zzsecretzz"))
        self.assertIn("does not speak HTTP", said)
        self.assertNotIn("zzsecretzz", said)

    def test_once_more(self) -> None:
        """
        A question on a connection that ended before any answer is put once more, and only
        once.
        """
        lost = ResponseNeverReceived([Failure(ConnectError(string="refused"))])
        self.assertIn("refused", self.unanswered(lost, lost, lost))
        self.assertEqual(len(self.agent.errors), 1)
