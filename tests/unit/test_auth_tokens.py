"""
Tokens by keys of every kind, and every way we know to have one taken by the wrong key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any, Callable, Sequence

import jwt
from cryptography.hazmat.primitives import serialization
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.auth.jwk import read
from gatewayd.auth.keys import HeldKeys, Key, Keyring, KeySource, Material
from gatewayd.auth.tokens import TokenAuthenticator
from gatewayd.config.values import ASYMMETRIC, SYMMETRIC
from gatewayd.errors import TokenRefused
from gatewayd.model import Principal
from tests.issuer import PAIRS, Issuer, claims, key_set

SECRET = "correct-horse-battery-staple-and-more-of-it" * 2
ALL = (*SYMMETRIC, *ASYMMETRIC)


class Shown:
    """
    A key set that is at hand, and remembers what was not in it.

    @ivar later: makes what L{sought} answers with.
    """

    def __init__(self, *keys: Any, algorithms: Sequence[str] = ALL) -> None:
        self._algorithms = algorithms
        self.keys: tuple[Key, ...] = ()
        self.show(*keys)
        self.sought_for: list[tuple[str, str | None]] = []
        self.later: Callable[[], Deferred[None]] = lambda: succeed(None)

    def show(self, *keys: Any) -> None:
        """
        Replace the set.
        """
        self.keys = read(key_set(*keys), self._algorithms).keys

    def known(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """
        Those of that name for that algorithm.
        """
        return [
            key
            for key in self.keys
            if algorithm in key.algorithms and (kid is None or key.kid == kid)
        ]

    def sought(self, algorithm: str, kid: str | None) -> Deferred[None]:
        """
        As told.
        """
        self.sought_for.append((algorithm, kid))
        return self.later()


class KeysTestCase(SynchronousTestCase):
    """
    An authenticator over any keys.
    """

    def authenticator(self, keys: str | KeySource, *algorithms: str) -> None:
        """
        Make it.
        """
        self.checks = TokenAuthenticator(keys, algorithms)

    def holds(self, token: str) -> Principal:
        """
        Whom the token speaks for.
        """
        return self.successResultOf(self.checks.authenticate(token))

    def refused(self, token: str) -> str:
        """
        Why it is refused.
        """
        failure = self.failureResultOf(self.checks.authenticate(token), TokenRefused)
        reason: str = failure.value.reason
        return reason


def forged(secret: bytes, alg: str = "HS256", **header: Any) -> str:
    """
    A token that is signed as HS256 with C{secret}, whatever its header says.
    """
    parts = ({"alg": alg, **header}, claims())
    message = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mac = hmac.new(secret, message, hashlib.sha256).digest()
    return (message + b"." + urlsafe_b64encode(mac).rstrip(b"=")).decode()


class KindsTests(KeysTestCase):
    """
    Every algorithm that can be configured.
    """

    def test_public_key(self) -> None:
        """
        What the private key signed holds by the public key's file, and by a set that has it;
        what another key of its kind signed does not.
        """
        for algorithm in PAIRS:
            issuer, other = Issuer(algorithm), Issuer(algorithm, number=2)
            for keys in (issuer.pem, Shown(issuer)):
                self.authenticator(keys, algorithm)
                self.assertEqual(self.holds(issuer.token()).user, "u1", algorithm)
                self.refused(other.token())

    def test_secret(self) -> None:
        """
        So it is with each HMAC and a secret.
        """
        for algorithm in SYMMETRIC:
            self.authenticator(SECRET, algorithm)
            self.holds(jwt.encode(claims(), SECRET, algorithm))
            self.refused(jwt.encode(claims(), SECRET[::-1], algorithm))

    def test_both_kinds(self) -> None:
        """
        A secret and a public key can be configured together, and each checks its own.
        """
        issuer = Issuer("RS256")
        material = Material(SECRET, issuer.pem)
        algorithms = ["HS256", "RS256"]
        self.authenticator(HeldKeys(algorithms, lambda: material), *algorithms)
        self.holds(issuer.token())
        self.holds(jwt.encode(claims(), SECRET, "HS256"))
        self.refused(Issuer("RS256", number=2).token())
        self.refused(jwt.encode(claims(), SECRET[::-1], "HS256"))

    def test_file_and_set(self) -> None:
        """
        A key from a file and keys from a set can be configured together; a token is tried
        with both, whatever name it gives its key.
        """
        filed, shown = Issuer("ES256"), Issuer("ES256", "k2", number=2)
        keys = Keyring(HeldKeys.of(filed.pem, ["ES256"]), Shown(shown))
        self.authenticator(keys, "ES256")
        for token in (filed.token(), filed.token(kid="k2"), filed.token(kid=None)):
            self.holds(token)
        for token in (shown.token(), shown.token(kid=None)):
            self.holds(token)
        self.refused(Issuer("ES256", number=3).token())

    def test_unknown_algorithm(self) -> None:
        """
        What is no algorithm of ours cannot be configured, least of all none.
        """
        for algorithms in (["none"], ["HS256", "none"], ["HS1"], []):
            self.assertRaises(ValueError, TokenAuthenticator, SECRET, algorithms)


class ConfusionTests(KeysTestCase):
    """
    Tokens that choose for themselves.
    """

    def test_public_key_as_secret(self) -> None:
        """
        Everybody has the public key, in any of its forms; whoever signs with one of those as
        if it were a secret is refused, also where secrets are configured too.
        """
        issuer = Issuer("RS256")
        formats = serialization.PublicFormat
        public = [
            issuer.public.public_bytes(encoding, form)
            for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
            for form in (formats.SubjectPublicKeyInfo, formats.PKCS1)
        ]
        public += [
            *(issuer.pem.strip().encode(), issuer.pem.replace("\n", "").encode()),
            *(json.dumps(issuer.jwk()).encode(), issuer.jwk()["n"].encode()),
            *(key_set(issuer), b"", b"\0" * 32),
        ]
        material = Material(SECRET, issuer.pem)
        both = ["HS256", "RS256"]
        for keys, algorithms in (
            (issuer.pem, ["RS256"]),
            (issuer.pem, ["RS256", "HS256"]),
            (HeldKeys(both, lambda: material), both),
            (Keyring(HeldKeys.of(SECRET, ["HS256"]), Shown(issuer)), both),
            (Shown(issuer), both),
        ):
            self.authenticator(keys, *algorithms)
            self.holds(issuer.token())
            for secret in public:
                for alg in ("HS256", "RS256", "hs256"):
                    self.refused(forged(secret, alg))
                    self.refused(forged(secret, alg, kid="k1"))

    def test_published_secret(self) -> None:
        """
        A secret in a key set is no secret, and checks nothing.
        """
        encoded = urlsafe_b64encode(SECRET.encode()).decode()
        secret = {"kty": "oct", "kid": "s1", "k": encoded, "alg": "HS256"}
        self.authenticator(Shown(secret, Issuer("RS256")), "HS256", "RS256")
        self.refused(forged(SECRET.encode(), kid="s1"))

    def test_none(self) -> None:
        """
        No token does without a signature, however it says so.
        """
        issuer = Issuer("ES256")
        body = issuer.token().split(".")[1]
        for alg in ("none", "None", "NONE", "nOnE", "", "null", None, 0, ["none"], ["ES256"]):
            header = urlsafe_b64encode(json.dumps({"alg": alg, "kid": "k1"}).encode())
            for keys in (issuer.pem, SECRET, Shown(issuer)):
                self.authenticator(keys, "HS256" if keys is SECRET else "ES256")
                for signature in ("", "AA", issuer.token().split(".")[2]):
                    token = f"{header.rstrip(b'=').decode()}.{body}.{signature}"
                    self.refused(token)

    def test_same_key(self) -> None:
        """
        The algorithms of RSA share their keys; only the configured ones are taken, and of a
        published key that names one, only that.
        """
        issuer = Issuer("RS256")
        self.authenticator(issuer.pem, "RS256")
        self.refused(issuer.token(alg="PS256"))
        self.authenticator(issuer.pem, "RS256", "PS256")
        self.holds(issuer.token(alg="PS256"))
        self.authenticator(Shown(issuer.jwk(alg="RS256")), "RS256", "PS256")
        self.holds(issuer.token())
        self.refused(issuer.token(alg="PS256"))

    def test_own_key(self) -> None:
        """
        A key that a token brings along, or says where to find, is not its key.
        """
        ours, theirs = Issuer("ES256"), Issuer("ES256", number=2)
        self.authenticator(Shown(ours), "ES256")
        for header in (
            {"jwk": theirs.jwk()},
            {"jku": "http://127.0.0.1/keys"},
            {"x5u": "http://127.0.0.1/keys"},
            {"x5c": [theirs.pem]},
        ):
            self.refused(theirs.token(header=header))

    def test_names(self) -> None:
        """
        Whatever a token calls its key, it is a name to look up and nothing else.
        """
        issuer = Issuer("ES256")
        shown = Shown(issuer)
        self.authenticator(shown, "ES256")
        for kid in ("../../dev/null", "k1'--", "k1\0", "K1", "", " k1", "*", "k" * 3000, "\udc00"):
            self.refused(issuer.token(kid=kid) if kid else forged(b"x", "ES256", kid=""))
        for wrong in (5, ["k1"], {"a": 1}, True):
            self.refused(forged(b"x", "ES256", kid=wrong))

    def test_two_headers(self) -> None:
        """
        Of a header that says two things, no reading is taken by a key that is not for it.
        """
        issuer = Issuer("RS256")
        self.authenticator(Keyring(HeldKeys.of(SECRET, ["HS256"]), Shown(issuer)), "HS256", "RS256")
        _, body, _ = issuer.token().split(".")
        for text in ('{"alg":"RS256","alg":"HS256"}', '{"alg":"HS256","alg":"RS256"}'):
            message = urlsafe_b64encode(text.encode()).rstrip(b"=") + b"." + body.encode()
            mac = hmac.new(issuer.pem.encode(), message, hashlib.sha256).digest()
            self.refused(f"{message.decode()}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}")


class SoughtTests(KeysTestCase):
    """
    Tokens whose key is not there yet.
    """

    def test_later(self) -> None:
        """
        A token whose key is sought waits for it, and then holds or does not.
        """
        first, second = Issuer("ES256"), Issuer("ES256", "k2", number=2)
        shown = Shown(first)
        self.authenticator(shown, "ES256")
        for found in (True, False):
            shown.show(first)
            later: Deferred[None] = Deferred()
            shown.later = lambda later=later: later  # type: ignore[misc]
            waiting = self.checks.authenticate(second.token())
            self.assertNoResult(waiting)
            self.assertEqual(shown.sought_for.pop(), ("ES256", "k2"))
            if found:
                shown.show(first, second)
            later.callback(None)
            if found:
                self.assertEqual(self.successResultOf(waiting).user, "u1")
            else:
                self.failureResultOf(waiting, TokenRefused)

    def test_in_vain(self) -> None:
        """
        Where it is sought in vain, the reason is what is known of that.
        """
        shown = Shown(Issuer("ES256"))
        shown.later = lambda: fail(TokenRefused("no such key"))
        self.authenticator(shown, "ES256")
        self.assertEqual(self.refused(Issuer("ES256", "k2", number=2).token()), "no such key")

    def test_not_for_nothing(self) -> None:
        """
        Keys are sought only for a token that a key could make good: not for one that is
        refused for what it says, nor for another algorithm, nor for what is no token.
        """
        issuer = Issuer("ES256")
        shown = Shown(issuer)
        self.authenticator(shown, "ES256")
        self.refused(issuer.token(exp=int(time.time()) - 1))
        self.refused(issuer.token(sub="u" * 65))
        self.refused(Issuer("RS256", "k9").token())
        self.refused("x")
        self.refused("x" * 9000)
        self.assertEqual(shown.sought_for, [])
        self.refused(issuer.token(kid="k9"))
        self.assertEqual(shown.sought_for, [("ES256", "k9")])
