"""
The HTTP calls: who may make which, and what comes of it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred

from gatewayd.http import build
from gatewayd.http.resource import Calls
from tests.wire.http_case import (
    BEARER,
    PROTECTED,
    PUBLIC,
    TOKEN,
    CallsTestCase,
)


class PublicTests(CallsTestCase):
    """
    What anyone may ask.
    """

    admin_token = None

    def test_health(self) -> None:
        """
        C{/health} says what the operations say, and is a 503 unless clients are served.
        """
        for status, code in {
            "ok": 200,
            "degraded": 200,
            "draining": 503,
            "unavailable": 503,
        }.items():
            self.operations.condition = {"status": status, "connections": {"total": 3}}
            answer = self.ask("GET", "/health")
            self.assertEqual(answer.status, code, status)
            self.assertEqual(answer.json(), self.operations.condition)
            self.assertEqual(answer.headers["content-type"], "application/json")

    def test_live(self) -> None:
        """
        C{/health/live} is a 200 however bad things are: a restart would not help.
        """
        self.operations.condition = {"status": "unavailable"}
        self.operations.readiness = (False, "no")
        self.assertEqual(self.ask("GET", "/health/live").status, 200)

    def test_ready(self) -> None:
        """
        C{/health/ready} is a 503 that says why, for as long as no client should come.
        """
        self.assertEqual(self.ask("GET", "/health/ready").status, 200)
        self.operations.readiness = (False, "the log is being read")
        answer = self.ask("GET", "/health/ready")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json(), {"ready": False, "reason": "the log is being read"})

    def test_stats(self) -> None:
        """
        C{/stats} is what the operations gather, when they have gathered it.
        """
        gathered: Deferred[dict[str, Any]] = Deferred()
        self.operations.outcomes["stats"] = gathered
        begun = self.begin("GET", "/stats")
        self.assertNoResult(begun)
        gathered.callback({"deliveries": 7, "cluster": [{"instance": "a"}]})
        answer = self.settle(begun)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json(), {"deliveries": 7, "cluster": [{"instance": "a"}]})

    def test_metrics(self) -> None:
        """
        C{/metrics} is the exposition under its own content type.
        """
        answer = self.ask("GET", "/metrics")
        self.assertEqual((answer.status, answer.body), (200, b"up 1\n"))
        self.assertEqual(answer.headers["content-type"], self.operations.exposition()[1])

    def test_page(self) -> None:
        """
        The page's policy allows its one script and one style by hash, its own server to be
        asked, and nothing else.
        """
        answer = self.ask("GET", "/")
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        policy = dict(
            rule.strip().split(" ", 1)
            for rule in answer.headers["content-security-policy"].split(";")
        )
        for kind in ("script", "style"):
            [text] = re.findall(rb"<%s>(.*?)</%s>" % ((kind.encode(),) * 2), answer.body, re.S)
            digest = b64encode(sha256(text).digest()).decode()
            self.assertEqual(policy[f"{kind}-src"], f"'sha256-{digest}'")
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["connect-src"], "'self'")
        self.assertEqual(policy["frame-ancestors"], "'none'")

    def test_page_works_under_its_policy(self) -> None:
        """
        The page has nothing in it that its policy would block: no address of another
        server, no style or event handler in an attribute.
        """
        html = self.ask("GET", "/").body
        self.assertNotRegex(html, rb"(?i)(https?:)?//[a-z0-9]+\.[a-z]")
        self.assertNotRegex(html, rb"(?i)<[^>]*\s(style|on[a-z]+)=")

    def test_head(self) -> None:
        """
        HEAD has the status and the length that GET has.
        """
        for path in PUBLIC:
            got, head = self.ask("GET", path), self.ask("HEAD", path)
            self.assertEqual(head.status, got.status, path)
            self.assertEqual(head.headers["content-length"], str(len(got.body)), path)
            self.assertEqual(head.body, b"", path)

    def test_not_found(self) -> None:
        """
        A path that is not there is a 404, each with an instance of its own.
        """
        told = [
            self.problem(self.ask("GET", path), 404)
            for path in ("/nothing", "/health/", "/users", "/users/u1/nothing", "/%2e%2e/etc")
        ]
        self.assertEqual(len({problem["instance"] for problem in told}), len(told))
        self.assertEqual(told[0]["type"], "about:blank")

    def test_method_not_allowed(self) -> None:
        """
        A method that a path does not have is a 405 that names those it has.
        """
        for method, path, allowed in (
            ("POST", "/health", "GET, HEAD"),
            ("OPTIONS", "/stats", "GET, HEAD"),
            ("GET", "/events", "POST"),
            ("DELETE", "/users/u1", "GET, HEAD"),
        ):
            answer = self.ask(method, path)
            self.problem(answer, 405)
            self.assertEqual(answer.headers["allow"], allowed)

    def test_never_redirects(self) -> None:
        """
        No spelling of a path makes this a redirector.
        """
        for path in ("//evil.example/", "//evil.example/..", "/health//live", "/users//disconnect"):
            answer = self.ask("GET", path)
            self.assertNotIn("location", answer.headers)
            self.problem(answer, 404)

    def test_not_configured(self) -> None:
        """
        Without an admin token the protected calls are a 403 that says what to set.
        """
        for method, path in PROTECTED:
            told = self.problem(self.ask(method, path, headers=BEARER), 403)
            self.assertIn("[http]", told["detail"])
            self.assertIn("admin_token", told["detail"])
        self.assertEqual(self.operations.asked, [])

    def test_empty_token(self) -> None:
        """
        An empty admin token is none: it does not let in a bearer of nothing.
        """
        site = build(self.operations, admin_token="", clock=self.clock)
        self.treq = StubTreq(site.resource)
        answer = self.ask("POST", "/drain", headers={"Authorization": "Bearer "})
        self.problem(answer, 403)


class PrivateTests(CallsTestCase):
    """
    Figures that are not for everybody.
    """

    public = False

    def test_figures(self) -> None:
        """
        C{/stats} and C{/metrics} are for the bearer of the admin token.
        """
        for path in ("/stats", "/metrics"):
            self.problem(self.ask("GET", path), 401)
            self.assertEqual(self.ask("GET", path, headers=BEARER).status, 200)

    def test_health(self) -> None:
        """
        C{/health} tells others whether clients are served, and nothing else.
        """
        self.operations.condition = {"status": "draining", "instance": "i", "rabbitmq": {}}
        answer = self.ask("GET", "/health")
        self.assertEqual((answer.status, answer.json()), (503, {"status": "draining"}))
        answer = self.ask("GET", "/health", headers=BEARER)
        self.assertEqual(answer.json(), self.operations.condition)
        for path in ("/health/live", "/health/ready"):
            self.assertEqual(self.ask("GET", path).status, 200)


class ProtectedTests(CallsTestCase):
    """
    Who may make the calls that change or reveal something.
    """

    def test_refused(self) -> None:
        """
        Whoever does not present the very token gets a 401 that asks for one, and nothing
        is done.
        """
        for given in (
            [],
            ["Bearer"],
            ["Bearer "],
            ["Bearer wrong"],
            [f"Bearer {TOKEN}x"],
            [f"Bearer {TOKEN[:-1]}"],
            [f"Basic {TOKEN}"],
            [TOKEN],
            ["Bearer \N{LATIN SMALL LETTER E WITH ACUTE}"],
            ["Bearer wrong", f"Bearer {TOKEN}"],
        ):
            for method, path in PROTECTED:
                answer = self.ask(method, path, headers={"Authorization": given})
                told = self.problem(answer, 401)
                self.assertTrue(answer.headers["www-authenticate"].startswith("Bearer"))
                self.assertNotIn(TOKEN, json.dumps(told))
        self.assertEqual(self.operations.asked, [])

    def test_admitted(self) -> None:
        """
        The token opens all of them, however the scheme's name is spelled.
        """
        for scheme in ("Bearer", "bearer", "BEARER"):
            for method, path in PROTECTED:
                headers = {"Authorization": f"{scheme} {TOKEN}"}
                answer = self.ask(method, path, headers=headers, data=b"{}")
                self.assertIn(answer.status, (200, 202), path)

    def test_every_route_is_one_or_the_other(self) -> None:
        """
        A route is either on the list of what is everybody's or answers 401.
        """
        routes = list(Calls.app.url_map.iter_rules())
        self.assertEqual(len(routes), len(PUBLIC) + len(PROTECTED))
        for rule in routes:
            path = re.sub("<[^>]*>", "x", rule.rule)
            for method in rule.methods or ():
                expected = {200} if path in PUBLIC else {401}
                self.assertIn(self.ask(method, path).status, expected, path)

    def test_spellings_of_a_path(self) -> None:
        """
        A protected call stays protected under every spelling that reaches it.
        """
        for path in ("//drain", "///drain", "/%64rain", "/drain?x", "/./drain"):
            self.assertIn(self.ask("POST", path).status, (401, 404), path)
        self.assertEqual(self.operations.asked, [])

    def test_user(self) -> None:
        """
        C{GET /users/ID} is what the operations know of this user.
        """
        self.operations.outcomes["user"] = {"userId": "u1", "sessions": [{"instance": "a"}]}
        answer = self.ask("GET", "/users/u1", headers=BEARER)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json(), self.operations.outcomes["user"])

    def test_guild(self) -> None:
        """
        C{GET /guilds/ID} is what the operations know of this guild.
        """
        self.operations.outcomes["guild"] = {"guildId": "g1", "sessions": [1]}
        answer = self.ask("GET", "/guilds/g1", headers=BEARER)
        self.assertEqual((answer.status, answer.json()), (200, {"guildId": "g1", "sessions": [1]}))

    def test_disconnect(self) -> None:
        """
        C{POST /users/ID/disconnect} says how many sessions it closed.
        """
        self.operations.outcomes["disconnect"] = {"disconnected": 2}
        answer = self.ask("POST", "/users/u1/disconnect", headers=BEARER)
        self.assertEqual((answer.status, answer.json()), (200, {"disconnected": 2}))
        self.assertEqual(self.operations.asked, [("disconnect", "u1")])

    def test_drain(self) -> None:
        """
        C{POST /drain} is accepted once it has begun.
        """
        self.assertEqual(self.ask("POST", "/drain", headers=BEARER).status, 202)
        self.assertEqual(self.operations.asked, [("drain",)])

    def test_ids(self) -> None:
        """
        An id in a path is percent-decoded, a slash in it included, and reaches the
        operations as it was.
        """
        longest = "\N{GRINNING FACE}" * 64
        for spelled, meant in (
            ("u1", "u1"),
            ("a%2Fdisconnect", "a/disconnect"),
            ("a%2fb", "a/b"),
            ("%C3%A9", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
            ("100%25", "100%"),
            ("a+b", "a+b"),
            ("..", ".."),
            ("%F0%9F%98%80" * 64, longest),
        ):
            self.operations.asked.clear()
            self.assertEqual(self.ask("GET", f"/users/{spelled}", headers=BEARER).status, 200)
            self.assertEqual(self.operations.asked, [("user", meant)])

    def test_bad_ids(self) -> None:
        """
        An id that is too long, or not UTF-8, is a 400.
        """
        for spelled in ("x" * 65, "%FF", "%ED%A0%80", "%F0%9F%98%80" * 65):
            for method, path in (
                ("GET", f"/users/{spelled}"),
                ("GET", f"/guilds/{spelled}"),
                ("POST", f"/users/{spelled}/disconnect"),
            ):
                self.problem(self.ask(method, path, headers=BEARER), 400)
        self.assertEqual(self.operations.asked, [])
