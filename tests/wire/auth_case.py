"""
An issuer that publishes its keys, and a membership service, each with what asks it.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.auth import http
from gatewayd.auth.http import HttpGuilds
from gatewayd.auth.published import FETCH_PATIENCE, LONGEST, PublishedKeys
from gatewayd.auth.tokens import TokenAuthenticator
from gatewayd.errors import TokenRefused
from gatewayd.model import Denial, Grant, Principal
from tests.issuer import Issuer, key_set
from tests.web_service import URL, Service

INTERVAL, COOLDOWN, PATIENCE, STALE = 300.0, 30.0, 3.0, 3600.0


class PublishedTestCase(SynchronousTestCase):
    """
    An issuer that publishes its keys, and an authenticator that has only those.
    """

    def setUp(self) -> None:
        """
        Make them; nothing is fetched yet.
        """
        self.clock = Clock()
        self.clock.advance(1000)
        self.issuer, self.second = Issuer(), Issuer(kid="k2", number=2)
        self.service = Service(key_set(self.issuer))
        self.keys = self.published("ES256")
        self.checks = TokenAuthenticator(self.keys, ["ES256"])

    def published(self, *algorithms: str) -> PublishedKeys:
        """
        The published keys.
        """
        keys = PublishedKeys(
            self.clock,
            self.service.web(self.clock, patience=FETCH_PATIENCE, longest=LONGEST),
            URL,
            algorithms,
            interval=INTERVAL,
            cooldown=COOLDOWN,
            patience=PATIENCE,
            stale=STALE,
            random=lambda: 0.0,
        )
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(keys.stop())))
        return keys

    @property
    def fetches(self) -> int:
        """
        How often the service was asked.
        """
        return len(self.service.asked)

    def authenticating(self, issuer: Issuer, **options: Any) -> Deferred[Principal]:
        """
        Ask about a token of C{issuer}'s.
        """
        return self.checks.authenticate(issuer.token(**options))

    def holds(self, issuer: Issuer, **options: Any) -> None:
        """
        A token of C{issuer}'s holds, at once.
        """
        principal = self.successResultOf(self.authenticating(issuer, **options))
        self.assertEqual(principal.user, "u1")

    def refused(self, issuer: Issuer, **options: Any) -> str:
        """
        It is refused, at once; the reason.
        """
        asking = self.authenticating(issuer, **options)
        reason: str = self.failureResultOf(asking, TokenRefused).value.reason
        return reason


def members(*guilds: object) -> bytes:
    """
    The service's answer.
    """
    return json.dumps({"guildIds": guilds}).encode()


def denied(reason: str, *guilds: str) -> tuple[Denial, ...]:
    """
    That these are denied.
    """
    return tuple(Denial(guild, reason) for guild in guilds)


class HttpTestCase(SynchronousTestCase):
    """
    A membership service, and the authority that asks it.
    """

    def setUp(self) -> None:
        """
        The service knows of g1 and g2.
        """
        self.clock = Clock()
        self.service = Service(members("g1", "g2"))
        self.authority = self.of()

    def of(self, **options: Any) -> HttpGuilds:
        """
        An authority.
        """
        web = self.service.web(
            self.clock, patience=http.PATIENCE, longest=http.LONGEST, at_once=http.AT_ONCE
        )
        return HttpGuilds(self.clock, web, URL, **options)

    def asking(self, *guilds: str, user: str = "u1") -> Deferred[Grant]:
        """
        Ask about a user.
        """
        return self.authority.allowed(Principal(user, 2e9), guilds)

    def grant(self, *guilds: str, user: str = "u1") -> Grant:
        """
        What is answered at once.
        """
        return self.successResultOf(self.asking(*guilds, user=user))

    @property
    def questions(self) -> list[Any]:
        """
        What the service was asked.
        """
        return [json.loads(asked.body) for asked in self.service.asked]
