"""
The membership service: asked once for many, believed for a moment, and never more than asked.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from gatewayd.auth.http import LONGEST, PATIENCE
from gatewayd.interfaces import IGuildAuthority
from gatewayd.model import Grant
from tests.wire.auth_case import HttpTestCase, denied, members


class AnswerTests(HttpTestCase):
    """
    What is made of the service's answers.
    """

    def test_interface(self) -> None:
        """
        It is a guild authority.
        """
        self.assertTrue(verifyObject(IGuildAuthority, self.authority))

    def test_contract(self) -> None:
        """
        All guilds are asked about in one call, as documented.
        """
        self.grant("g3", "g1")
        (asked,) = self.service.asked
        self.assertEqual((asked.method, asked.uri), (b"POST", b"/path?key=zzsecretzz"))
        self.assertEqual(asked.headers[b"Content-Type"], [b"application/json"])
        self.assertEqual(json.loads(asked.body), {"userId": "u1", "guildIds": ["g3", "g1"]})

    def test_order(self) -> None:
        """
        Granted and denied come in the order asked, each once, whatever the order answered.
        """
        self.service.body = members("g5", "g1", "g3", "g3")
        self.assertEqual(
            self.grant("g3", "g4", "g1", "g3", "g2", "g5", "g4"),
            Grant(("g3", "g1", "g5"), denied("forbidden", "g4", "g2")),
        )

    def test_never_more(self) -> None:
        """
        What was not asked about is not granted, now or later.
        """
        self.service.body = members("g1", "g2", "*", "g*", "")
        self.assertEqual(self.grant("g1"), Grant(("g1",)))
        self.service.body = members()
        self.assertEqual(self.grant("g2"), Grant((), denied("forbidden", "g2")))

    def test_wildcards(self) -> None:
        """
        A wildcard, asked or answered, is an id like any other.
        """
        self.assertEqual(self.grant("*", "g*"), Grant((), denied("forbidden", "*", "g*")))
        self.service.body = members("*")
        self.assertEqual(
            self.grant("g3", "**", user="u2"), Grant((), denied("forbidden", "g3", "**"))
        )
        self.assertEqual(self.grant("*", user="u3"), Grant(("*",)))

    def test_integers(self) -> None:
        """
        An integer is its decimal string.
        """
        self.service.body = members(10**18, 7)
        self.assertEqual(self.grant(str(10**18), "7", "07").granted, (str(10**18), "7"))

    def test_nothing_asked(self) -> None:
        """
        Nobody is bothered with no question.
        """
        self.assertEqual(self.grant(), Grant())
        self.assertEqual(self.questions, [])

    def test_unknown_fields(self) -> None:
        """
        What else the service says is of no interest.
        """
        self.service.body = b'{"roles": {}, "guildIds": ["g1"], "guilds": ["g2"]}'
        self.assertEqual(self.grant("g1", "g2"), Grant(("g1",), denied("forbidden", "g2")))

    def test_longest(self) -> None:
        """
        The longest answer that can be wanted is short enough.
        """
        asked = [f"\U0001f600{number:0>63}" for number in range(200)]
        self.service.body = json.dumps({"guildIds": asked}).encode()
        self.assertEqual(len(self.grant(*asked).granted), 200)


class TroubleTests(HttpTestCase):
    """
    A service that does not answer as it should.
    """

    def test_unavailable(self) -> None:
        """
        Whatever it does instead, all that was asked is denied as unavailable; nothing of that
        is kept, and the next good answer counts.
        """
        unavailable = Grant((), denied("unavailable", "g1", "g2"))
        troubles: tuple[dict[str, Any], ...] = (
            *({"status": status} for status in (201, 204, 302, 400, 403, 404, 429, 500, 503)),
            *(
                {"body": body}
                for body in (
                    *(b"", b"null", b"[]", b"{}", b'["g1"]', b'"g1"', b"true", b"\xff", b"<p>"),
                    *(b'{"guildIds": null}', b'{"guildIds": "g1"}', b'{"guildIds": {"g1": 1}}'),
                    *(members("g1", None), members(True), members(1.5), members(["g1"])),
                    *(b'{"guild_ids": ["g1"]}', b'{"guildIds": ["g1"]}x', b'{"guildIds": ["g1"'),
                    b'{"guildIds": [' + b"1" * 5000 + b"]}",
                    b'{"guildIds":' + b"[" * 100_000,
                    members("g1") + b" " * LONGEST,
                )
            ),
            {"headers": {"Content-Encoding": "gzip"}},
        )
        for trouble in troubles:
            for name, value in trouble.items():
                setattr(self.service, name, value)
            self.assertEqual(self.grant("g1", "g2"), unavailable, trouble)
            self.service.status, self.service.headers = 200, {}
            self.service.body = members("g1", "g2")
            self.assertEqual(self.grant("g1", "g2").granted, ("g1", "g2"), trouble)
            self.authority = self.of()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent(self) -> None:
        """
        It is waited for so long and no longer, also by those who wait for their turn.
        """
        self.service.silent = True
        waiting = [self.asking("g1", user=f"u{number}") for number in range(100)]
        self.assertEqual(len(self.questions), 32)
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(waiting[0])
        self.clock.advance(0.2)
        for one in waiting:
            self.assertEqual(self.successResultOf(one), Grant((), denied("unavailable", "g1")))
        self.assertEqual((self.authority._asking, self.clock.getDelayedCalls()), ({}, []))

    def test_told(self) -> None:
        """
        An outage is one line in the log, and its end another, neither with the address or
        with anything that was said.
        """
        with capturedLogs() as logged:
            self.service.status = 500
            for number in range(10):
                self.grant("g1", user=f"u{number}")
            self.service.status = 200
            self.grant("g1")
        levels = [event["log_level"] for event in logged]
        self.assertEqual(levels, [LogLevel.warn, LogLevel.info])
        self.assertNotIn("zzsecretzz", str(logged))

    def test_stop(self) -> None:
        """
        At the end nobody waits.
        """
        self.service.silent = True
        waiting = self.asking("g1")
        self.successResultOf(Deferred.fromCoroutine(self.authority.stop()))
        self.assertEqual(self.successResultOf(waiting), Grant((), denied("unavailable", "g1")))
        self.assertEqual(self.clock.getDelayedCalls(), [])
