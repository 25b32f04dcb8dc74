"""
Which of the keys that somebody publishes are taken, and for what.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.auth.jwk import MOST_KEYS, BadKeySet, read
from gatewayd.config.values import ASYMMETRIC, SYMMETRIC
from tests.issuer import PAIRS, Issuer, key_set

ALL = (*SYMMETRIC, *ASYMMETRIC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


class TakenTests(SynchronousTestCase):
    """
    Keys that are of use.
    """

    def test_kinds(self) -> None:
        """
        A key of each kind is the very key that was published, by its name.
        """
        for algorithm in PAIRS:
            issuer = Issuer(algorithm, f"name of {algorithm}")
            (key,) = read(key_set(issuer), [algorithm]).keys
            self.assertEqual((key.algorithms, key.kid), ((algorithm,), issuer.kid))
            self.assertEqual(key.material, issuer.public)

    def test_unlimited(self) -> None:
        """
        A key that names no algorithm is for all of its kind that are configured.
        """
        (key,) = read(key_set(Issuer("RS256")), ["HS256", "PS384", "RS256", "ES256"]).keys
        self.assertEqual(key.algorithms, ("PS384", "RS256"))

    def test_limited(self) -> None:
        """
        A key that names one is for that alone.
        """
        (key,) = read(key_set(Issuer("RS256").jwk(alg="PS256")), ALL).keys
        self.assertEqual(key.algorithms, ("PS256",))

    def test_purposes(self) -> None:
        """
        A key that is said to be for signatures, or not said to be for anything, is taken.
        """
        for purpose in (
            {"use": None},
            {"use": "sig", "key_ops": ["verify"]},
            {"use": None, "key_ops": ["verify", "encrypt"]},
        ):
            (key,) = read(key_set(Issuer().jwk(**purpose)), ALL).keys
            self.assertEqual(key.algorithms, ("ES256",))

    def test_nameless(self) -> None:
        """
        A key need not have a name.
        """
        (key,) = read(key_set(Issuer(kid=None)), ALL).keys
        self.assertIsNone(key.kid)

    def test_unknown_fields(self) -> None:
        """
        What else a set or a key says is of no interest.
        """
        jwk = Issuer().jwk(x5c=["abc"], x5t="x", exp=1, use="sig")
        found = read(json.dumps({"keys": [jwk], "issuer": 5}).encode(), ALL)
        self.assertEqual((len(found.keys), found.ignored), (1, ()))


class IgnoredTests(SynchronousTestCase):
    """
    Keys that are left out, for the others' sake.
    """

    def test_alone(self) -> None:
        """
        A key that is not for us is left out with a reason, whatever is wrong, and the good
        one beside it stays.
        """
        issuer, rsa = Issuer(), Issuer("RS256")
        cases: tuple[tuple[Any, str], ...] = (
            (5, "no object"),
            (None, "no object"),
            ({}, "kty"),
            (issuer.jwk(kty="XY"), "kty"),
            (issuer.jwk(kty=["EC"]), "kty"),
            ({"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}, "kty"),
            (issuer.jwk(d="abc"), "private"),
            (rsa.jwk(d="abc", p="x", q="y"), "private"),
            (issuer.jwk(use="enc"), "signatures"),
            (issuer.jwk(use=5), "signatures"),
            (issuer.jwk(key_ops=["sign"]), "signatures"),
            (issuer.jwk(key_ops=[]), "signatures"),
            (issuer.jwk(key_ops="verify"), "signatures"),
            (issuer.jwk(kid=5), "kid"),
            (issuer.jwk(alg="RS256"), "alg"),
            (issuer.jwk(alg="HS256"), "alg"),
            (issuer.jwk(alg="none"), "alg"),
            (issuer.jwk(alg=["ES256"]), "alg"),
            (Issuer("ES384").jwk(), "alg"),
            (issuer.jwk(x=None), "incomplete"),
            (issuer.jwk(x=5), "incomplete"),
            (issuer.jwk(crv=["P-256"]), "incomplete"),
            (issuer.jwk(x="abc"), "read"),
            (issuer.jwk(x="é"), "read"),
            (issuer.jwk(crv="P-1"), "read"),
            (rsa.jwk(e="AA"), "read"),
            (rsa.jwk(n=""), "read"),
            (Issuer("RS256", kind="RSA1024").jwk(), "2048 bits"),
        )
        for bad, why in cases:
            found = read(key_set(bad, issuer.jwk(kid="good")), ["HS256", "ES256", "RS256"])
            self.assertEqual([key.kid for key in found.keys], ["good"], bad)
            (reason,) = found.ignored
            self.assertIn(why, reason)

    def test_told_once(self) -> None:
        """
        The same reason is not told twice.
        """
        found = read(key_set({}, {}, Issuer()), ALL)
        self.assertEqual(len(found.ignored), 1)

    def test_no_confusion(self) -> None:
        """
        No published key is ever for an HMAC, whatever it claims to be.
        """
        for jwk in (Issuer("RS256").jwk(), Issuer().jwk(), Issuer("EdDSA").jwk()):
            (key,) = read(key_set(jwk), ALL).keys
            self.assertTrue(set(key.algorithms).isdisjoint(SYMMETRIC))
            self.assertRaises(BadKeySet, read, key_set({**jwk, "alg": "HS256"}), ALL)
            self.assertRaises(BadKeySet, read, key_set(jwk), SYMMETRIC)


class NoSetTests(SynchronousTestCase):
    """
    What is no key set.
    """

    def test_bodies(self) -> None:
        """
        What is not one, or has no key of use, is told so in a sentence.
        """
        for body in (
            *(b"", b"x", b"null", b"[]", b"{}", b"\xff", b"<html>", b'{"keys": {}}'),
            *(b'{"keys": null}', b'{"keys": []}', b'{"keys": [{}]}', b"[" * 100_000),
            b'{"keys":' + b"[" * 100_000,
        ):
            with self.assertRaises(BadKeySet) as raised:
                read(body, ALL)
            self.assertTrue(str(raised.exception).startswith("it "), raised.exception)

    def test_bound(self) -> None:
        """
        A hundred keys are read; one more makes it no set.
        """
        many = [Issuer(kid=f"k{number}").jwk() for number in range(MOST_KEYS)]
        self.assertEqual(len(read(key_set(*many), ALL).keys), MOST_KEYS)
        self.assertRaises(BadKeySet, read, key_set(*many, Issuer()), ALL)

    @given(
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("kty", "kid", "use", "alg", "key_ops", "x", "n"), json_values)
            | {"crv": st.sampled_from(["P-256", "P-521", "Ed25519", ""]) | json_values}
            | {"kty": st.sampled_from(["EC", "RSA", "OKP", "oct"]) | json_values},
        )
        | json_values
    )
    def test_any_key(self, fields: Any) -> None:
        """
        Whatever is in a set, it does not keep us from the good key beside it.
        """
        jwk = {**Issuer().jwk(), **fields} if isinstance(fields, dict) else fields
        good = Issuer("RS256", "good").jwk()
        found = read(json.dumps({"keys": [jwk, good]}, allow_nan=False).encode(), ALL)
        self.assertEqual(found.keys[-1].kid, "good")
