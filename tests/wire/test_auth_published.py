"""
Published keys: fetched in the background, replaced, kept through every trouble of their
service, and never a burden to it.
"""

from __future__ import annotations

import jwt
from twisted.internet.defer import Deferred

from gatewayd.auth.keys import HeldKeys, Keyring
from gatewayd.auth.published import (
    AWAKENED,
    MOST_TRIED,
)
from gatewayd.auth.tokens import TokenAuthenticator
from gatewayd.errors import TokenRefused
from tests.issuer import Issuer, claims, key_set
from tests.wire.auth_case import COOLDOWN, INTERVAL, PATIENCE, PublishedTestCase

SECRET = "correct-horse-battery-staple-and-more-of-it"


class FetchTests(PublishedTestCase):
    """
    Keys come and go.
    """

    def test_start(self) -> None:
        """
        The keys are there once fetched, and clients that come later cost the service nothing.
        """
        self.keys.start()
        for _ in range(10):
            self.holds(self.issuer)
        self.assertEqual(self.fetches, 1)
        self.assertEqual(self.service.asked[0].method, b"GET")

    def test_rotation(self) -> None:
        """
        At each interval the set is fetched again: a new key is taken, an old one as long as it
        is published.
        """
        self.keys.start()
        self.service.body = key_set(self.issuer, self.second)
        self.clock.advance(INTERVAL)
        self.holds(self.issuer)
        self.holds(self.second)
        self.service.body = key_set(self.second)
        self.clock.advance(INTERVAL)
        self.refused(self.issuer)
        self.holds(self.second)

    def test_same_name(self) -> None:
        """
        A key that takes another's place under its name is the one that counts.
        """
        self.keys.start()
        impostor = Issuer(number=2)
        self.refused(impostor)
        self.service.body = key_set(impostor)
        self.clock.advance(INTERVAL)
        self.refused(self.issuer)
        self.holds(impostor)

    def test_spread(self) -> None:
        """
        Instances that started together do not stay in step.
        """
        self.keys._random = lambda: 0.5
        self.keys.start()
        self.clock.advance(INTERVAL * 0.94)
        self.assertEqual(self.fetches, 1)
        self.clock.advance(INTERVAL * 0.02)
        self.assertEqual(self.fetches, 2)

    def test_refresh(self) -> None:
        """
        They can be fetched at any time, once at a time, and the next interval begins then.
        """
        self.keys.start()
        self.clock.advance(INTERVAL / 2)
        self.service.silent = True
        self.keys.refresh()
        self.keys.refresh()
        self.assertEqual(self.fetches, 2)
        self.service.release()
        self.clock.advance(INTERVAL * 0.9)
        self.assertEqual(self.fetches, 2)
        self.clock.advance(INTERVAL * 0.1)
        self.assertEqual(self.fetches, 3)

    def test_stop(self) -> None:
        """
        After the end nothing is fetched, nobody waits, and no timer is left.
        """
        self.service.silent = True
        self.keys.start()
        waiting = self.authenticating(self.issuer)
        self.successResultOf(Deferred.fromCoroutine(self.keys.stop()))
        self.failureResultOf(waiting, TokenRefused)
        self.keys.refresh()
        self.assertEqual((self.fetches, self.clock.getDelayedCalls()), (1, []))
        self.service.flush()
        self.assertEqual(self.service.gone, 1)

    def test_both(self) -> None:
        """
        Beside them, a secret checks its own tokens without ever asking the service.
        """
        both = ["HS256", "ES256"]
        ring = Keyring(HeldKeys.of(SECRET, both), self.published(*both))
        self.checks = TokenAuthenticator(ring, both)
        good, bad = (jwt.encode(claims(), key, "HS256") for key in (SECRET, SECRET[::-1]))
        self.assertEqual(self.successResultOf(self.checks.authenticate(good)).user, "u1")
        self.failureResultOf(self.checks.authenticate(bad), TokenRefused)
        self.assertEqual((self.fetches, self.clock.getDelayedCalls()), (0, []))


class FirstTests(PublishedTestCase):
    """
    Clients that are there before the keys.
    """

    def setUp(self) -> None:
        """
        The first fetch is under way.
        """
        super().setUp()
        self.service.silent = True
        self.keys.start()

    def test_thousand(self) -> None:
        """
        A thousand wait for the same fetch, and all are served by it.
        """
        waiting = [self.authenticating(self.issuer) for _ in range(1000)]
        self.clock.advance(1)
        self.assertEqual(self.fetches, 1)
        self.service.release()
        while self.clock.getDelayedCalls()[0].getTime() <= self.clock.seconds():
            self.clock.advance(0)
        self.assertEqual({self.successResultOf(one).user for one in waiting}, {"u1"})
        self.assertEqual(self.fetches, 1)
        # None of their timers: only that of the next fetch.
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_in_turns(self) -> None:
        """
        They do not all go on in one turn of the reactor.
        """
        waiting = [self.authenticating(self.issuer) for _ in range(AWAKENED * 2)]
        self.service.release()
        self.assertEqual(sum(one.called for one in waiting), AWAKENED)
        self.clock.advance(0)
        self.assertEqual(sum(one.called for one in waiting), AWAKENED * 2)

    def test_hung(self) -> None:
        """
        Nobody waits longer than a few seconds; the token is refused with the reason that it
        is not at fault.
        """
        waiting = self.authenticating(self.issuer)
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        reason = self.failureResultOf(waiting, TokenRefused).value.reason
        self.assertIn("cannot be fetched now", reason)
        self.assertEqual(self.keys._waiting, {})

    def test_second_try(self) -> None:
        """
        A client that waits while a first try fails is served by the second.
        """
        waiting = self.authenticating(self.issuer)
        self.service.status = 500
        self.service.release()
        self.assertNoResult(waiting)
        self.service.status, self.service.silent = 200, False
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(waiting).user, "u1")

    def test_hung_forever(self) -> None:
        """
        A fetch that hangs is given up, and tried again.
        """
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.fetches, 2)
        self.service.silent = False
        self.clock.pump([1.0] * 10)
        self.holds(self.issuer)

    def test_unasked(self) -> None:
        """
        A token that no published key could be for does not wait.
        """
        self.assertEqual(self.refused(Issuer("RS256")), "it does not verify")


class UnknownTests(PublishedTestCase):
    """
    Tokens by a key that is not there.
    """

    def setUp(self) -> None:
        """
        The first key is there.
        """
        super().setUp()
        self.keys.start()

    def test_learned(self) -> None:
        """
        A new key's first token has the set fetched again, and holds; whoever comes meanwhile
        waits for the same fetch, those with an old key do not.
        """
        self.service.body = key_set(self.issuer, self.second)
        self.service.silent = True
        waiting = [self.authenticating(self.second) for _ in range(20)]
        self.holds(self.issuer)
        self.assertEqual(self.fetches, 2)
        self.service.release()
        self.assertEqual({self.successResultOf(one).user for one in waiting}, {"u1"})
        self.assertEqual(self.fetches, 2)

    def test_flood(self) -> None:
        """
        A flood of invented keys has the set fetched once in a cool-down; within that, each is
        refused at once and leaves nothing behind.
        """
        timers = len(self.clock.getDelayedCalls())
        for number in range(500):
            self.assertIn("not among those published", self.refused(self.second, kid=f"x{number}"))
            self.clock.advance(COOLDOWN / 1000)
        self.assertEqual(self.fetches, 2)
        self.assertEqual(len(self.clock.getDelayedCalls()), timers)
        self.clock.advance(COOLDOWN / 2 + 1)
        self.refused(self.second, kid="y")
        self.assertEqual(self.fetches, 3)

    def test_flood_while_down(self) -> None:
        """
        A service that fails does not get more of it.
        """
        self.service.status = 500
        self.refused(self.second)
        self.assertEqual(self.fetches, 2)
        for _ in range(100):
            self.refused(self.second)
        self.assertEqual(self.fetches, 2)

    def test_hung(self) -> None:
        """
        Waiting for an unknown key is bounded, and nobody with a known one waits.
        """
        self.service.silent = True
        waiting = self.authenticating(self.second)
        self.clock.advance(PATIENCE + 0.1)
        self.failureResultOf(waiting, TokenRefused)
        self.holds(self.issuer)

    def test_known_name(self) -> None:
        """
        A bad signature by a known name is refused without asking anybody.
        """
        self.refused(Issuer(number=2))
        self.assertEqual(self.fetches, 1)

    def test_known_name_other_algorithm(self) -> None:
        """
        Nor is anybody asked for a token whose algorithm is not its key's.
        """
        rsa = Issuer("RS256", "r1")
        self.service.body = key_set(rsa.jwk(alg="RS256"))
        self.keys = self.published("RS256", "PS256")
        self.keys.start()
        self.checks = TokenAuthenticator(self.keys, ["RS256", "PS256"])
        self.holds(rsa)
        before = self.fetches
        self.assertEqual(self.refused(rsa, alg="PS256"), "it does not verify")
        self.assertEqual(self.fetches, before)


class NamelessTests(PublishedTestCase):
    """
    Tokens and keys without names.
    """

    def test_token(self) -> None:
        """
        A token that does not name its key is tried with all that fit.
        """
        self.service.body = key_set(self.issuer, self.second)
        self.keys.start()
        self.holds(self.issuer, kid=None)
        self.holds(self.second, kid=None)
        self.assertEqual(self.fetches, 1)

    def test_key(self) -> None:
        """
        A key without a name is tried on tokens whose key has no other.
        """
        self.service.body = key_set(Issuer(kid=None), self.second)
        self.keys.start()
        self.holds(self.issuer)
        self.holds(self.issuer, kid=None)
        self.refused(self.issuer, kid="k2")

    def test_several(self) -> None:
        """
        If more fit than are worth trying, the token has to say which.
        """
        keys = [Issuer(kid=f"n{number}", number=number) for number in range(MOST_TRIED + 1)]
        self.service.body = key_set(*keys)
        self.keys.start()
        self.holds(keys[0])
        for _ in range(10):
            self.assertIn("does not name its key", self.refused(keys[0], kid=None))
        self.assertEqual(self.fetches, 1)
