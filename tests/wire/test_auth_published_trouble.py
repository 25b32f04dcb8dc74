"""
Published keys whose service is in trouble, and what an operator is told of it.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from gatewayd.auth.published import (
    LONGEST,
)
from gatewayd.errors import TokenRefused
from gatewayd.interfaces import IReadiness
from tests.issuer import Issuer, key_set
from tests.wire.auth_case import INTERVAL, PATIENCE, STALE, PublishedTestCase


class TroubleTests(PublishedTestCase):
    """
    A service in trouble.
    """

    def troubles(self) -> list[dict[str, Any]]:
        """
        What it may do instead of answering.
        """
        private = self.second.jwk(d="abc")
        return [
            {"status": 500},
            {"status": 301},
            {"status": 204},
            {"body": b"<html>not JSON</html>"},
            {"body": b""},
            {"body": b"[" * 50_000},
            {"body": b'{"keys": []}'},
            {"body": b'{"keys": {}}'},
            {"body": key_set(private)},
            {"body": key_set({"kty": "oct", "k": "abc"})},
            {"body": key_set(Issuer("RS256"))},
            {"body": b" " * (LONGEST + 1)},
            {"headers": {"Content-Encoding": "gzip"}},
            {"silent": True},
        ]

    def test_kept(self) -> None:
        """
        Whatever it does instead of answering, the keys that are there go on to work, for as
        long as it takes, and what it answers afterwards is taken.
        """
        self.keys.start()
        for trouble in self.troubles():
            for name, value in trouble.items():
                setattr(self.service, name, value)
            for _ in range(40):
                self.clock.advance(INTERVAL / 10)
            self.holds(self.issuer)
            self.assertEqual(self.keys.status()["status"], "ok", trouble)
            self.service.status, self.service.silent, self.service.headers = 200, False, {}
            self.service.body = key_set(self.issuer)
            for _ in range(10):
                self.clock.advance(INTERVAL / 10)
            self.assertLess(self.keys.status()["age"], INTERVAL, trouble)

    def test_none_yet(self) -> None:
        """
        Whatever it does instead of answering at first, no token is taken, and no more often
        than at every turn is it asked.
        """
        for trouble in self.troubles():
            self.setUp()
            for name, value in trouble.items():
                setattr(self.service, name, value)
            self.keys.start()
            for _ in range(60):
                self.clock.advance(1)
            self.assertLess(self.fetches, 15, trouble)
            waiting = self.authenticating(self.second)
            self.clock.advance(PATIENCE)
            self.failureResultOf(waiting, TokenRefused)

    def test_backoff(self) -> None:
        """
        It is tried again soon, then less and less often, and after a success at the interval;
        the next time it fails, soon again.
        """
        self.service.status = 500
        self.keys.start()
        waits = []
        for _ in range(8):
            (call,) = self.clock.getDelayedCalls()
            waits.append(call.getTime() - self.clock.seconds())
            self.clock.advance(waits[-1])
        self.assertEqual(waits, [0.5, 1.0, 2.0, 4.0, 7.5, 7.5, 7.5, 7.5])
        self.service.status = 200
        self.clock.advance(7.5)
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime() - self.clock.seconds(), INTERVAL)
        self.service.status = 500
        self.clock.advance(INTERVAL)
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime() - self.clock.seconds(), 0.5)

    def test_told(self) -> None:
        """
        An outage is one line in the log, and its end another, neither with the address, which
        may hold a secret.
        """
        with capturedLogs() as logged:
            self.service.status = 500
            self.keys.start()
            for _ in range(20):
                self.clock.advance(1)
            self.service.status = 200
            self.clock.advance(10)
            self.clock.advance(INTERVAL)
        levels = [event["log_level"] for event in logged]
        self.assertEqual(levels, [LogLevel.warn, LogLevel.info])
        self.assertNotIn("zzsecretzz", str(logged))

    def test_change_told(self) -> None:
        """
        Another set is a line in the log; the same set again is not.
        """
        with capturedLogs() as logged:
            self.keys.start()
            self.clock.advance(INTERVAL)
            self.service.body = key_set(self.issuer, self.second, {"kty": "oct"})
            self.clock.advance(INTERVAL)
            self.clock.advance(INTERVAL)
        self.assertEqual([event["count"] for event in logged], [1, 2])
        self.assertIn("kty", logged[1]["but"])


class StatusTests(PublishedTestCase):
    """
    What an operator is told.
    """

    def test_interface(self) -> None:
        """
        Published keys are something that the gateway depends on.
        """
        self.assertTrue(verifyObject(IReadiness, self.keys))

    def test_first(self) -> None:
        """
        Without keys it is not well, and says why.
        """
        self.assertEqual(self.keys.status(), {"status": "connecting", "error": "not fetched yet"})
        self.service.status = 503
        self.keys.start()
        self.assertEqual(
            self.keys.status(), {"status": "connecting", "error": "it answered with status 503"}
        )

    def test_stale(self) -> None:
        """
        With keys it is well, whatever the service does, until they are too old.
        """
        self.keys.start()
        self.assertEqual(self.keys.status(), {"status": "ok", "keys": 1, "age": 0})
        self.service.status = 503
        for _ in range(int(STALE / 10)):
            self.clock.advance(10)
        self.assertEqual(self.keys.status(), {"status": "ok", "keys": 1, "age": STALE})
        self.clock.advance(1)
        self.assertEqual(
            self.keys.status(),
            {
                "status": "connecting",
                "keys": 1,
                "age": STALE + 1,
                "error": "it answered with status 503",
            },
        )
        self.service.status = 200
        self.clock.advance(20)
        self.assertEqual(self.keys.status()["status"], "ok")
