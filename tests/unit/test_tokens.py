"""
Which tokens hold, what they say, and that everything else is refused and nothing worse.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any, Callable, cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.auth.minting import mint
from gatewayd.auth.tokens import FARTHEST, LONGEST, TokenAuthenticator
from gatewayd.errors import TokenRefused
from gatewayd.interfaces import IAuthenticator
from gatewayd.model import Principal

SECRET = "correct-horse-battery-staple-and-more-of-it"
AN_HOUR = 3600

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def signed(payload: bytes, header: bytes = b'{"alg":"HS256"}', secret: str = SECRET) -> str:
    """
    A token made by hand of any two texts, its signature right for HS256.
    """
    message = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    mac = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return (message + b"." + urlsafe_b64encode(mac).rstrip(b"=")).decode()


def claims(**said: Any) -> dict[str, Any]:
    """
    Claims that hold for an hour, with C{said} beside or instead; L{None} leaves one out.
    """
    usual = {"sub": "u1", "exp": int(time.time()) + AN_HOUR}
    return {name: value for name, value in (usual | said).items() if value is not None}


def token(**said: Any) -> str:
    """
    L{claims} as a token.
    """
    return signed(json.dumps(claims(**said)).encode())


def pem(key: Any) -> tuple[str, str]:
    """
    A private key and its public one.
    """
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class TokensTestCase(SynchronousTestCase):
    """
    An authenticator with a secret.
    """

    def setUp(self) -> None:
        """
        Make it.
        """
        self.authenticator = TokenAuthenticator(SECRET, ["HS256"])

    def principal(self, token: object) -> Principal:
        """
        Whom a token speaks for.
        """
        return self.successResultOf(self.authenticator.authenticate(token))

    def refused(self, token: object) -> str:
        """
        Why it is refused.
        """
        failure = self.failureResultOf(self.authenticator.authenticate(token), TokenRefused)
        return cast(TokenRefused, failure.value).reason


class HoldingTests(TokensTestCase):
    """
    Tokens that hold.
    """

    def test_interface(self) -> None:
        """
        The authenticator is one.
        """
        self.assertTrue(verifyObject(IAuthenticator, self.authenticator))

    def test_claims(self) -> None:
        """
        The principal is what the claims say.
        """
        now = int(time.time())
        made = token(exp=now + 60, iat=now - 5, jti="t1", guilds=["g1", 2, "g1"])
        self.assertEqual(
            self.principal(made),
            Principal("u1", now + 60, frozenset({"g1", "2"}), now - 5, "t1"),
        )

    def test_bare(self) -> None:
        """
        C{sub} and C{exp} are enough; what is not said is not made up.
        """
        principal = self.principal(token())
        self.assertEqual(
            (principal.guilds, principal.issued, principal.token_id), (None, None, None)
        )

    def test_no_guilds(self) -> None:
        """
        A token that lists no guild is not one that says nothing of guilds.
        """
        self.assertEqual(self.principal(token(guilds=[])).guilds, frozenset())

    def test_not_addressed(self) -> None:
        """
        Where neither issuer nor audience is configured, whatever a token says of them will do.
        """
        self.assertEqual(self.principal(token(aud="somebody", iss="else")).user, "u1")

    def test_addressed(self) -> None:
        """
        Where they are, C{iss} must be the one and C{aud} be or hold the other.
        """
        self.authenticator = TokenAuthenticator(SECRET, ["HS256"], issuer="i", audience="a")
        for audience in ("a", ["a"], ["b", "a"]):
            self.assertEqual(self.principal(token(iss="i", aud=audience)).user, "u1")
        for said, why in (
            ({"aud": "a"}, "iss"),
            ({"iss": "i"}, "aud"),
            ({"iss": "j", "aud": "a"}, "iss"),
            ({"iss": ["i"], "aud": "a"}, "iss"),
            ({"iss": "i", "aud": "b"}, "aud"),
            ({"iss": "i", "aud": []}, "aud"),
            ({"iss": "i", "aud": {"a": 1}}, "aud"),
            ({"iss": "i", "aud": 5}, "aud"),
        ):
            self.assertIn(why, self.refused(token(**said)), said)

    def test_minted(self) -> None:
        """
        What C{gatewayctl token} mints holds, and says what it was told to.
        """
        secret = SECRET + SECRET
        self.authenticator = TokenAuthenticator(secret, ["HS384"], issuer="i", audience="a")
        now = time.time()
        made = mint(
            secret,
            "HS384",
            user="u1",
            guilds=["g1"],
            now=now,
            lifetime=60.9,
            issuer="i",
            audience="a",
        )
        self.assertEqual(
            self.principal(made), Principal("u1", int(now) + 60, frozenset({"g1"}), int(now))
        )

    def test_longest(self) -> None:
        """
        A token of any usual length is taken.
        """
        made = token(guilds=[f"{10**18 + n}" for n in range(200)])
        self.assertLess(len(made), LONGEST)
        self.assertEqual(len(self.principal(made).guilds or ()), 200)


class TimesTests(TokensTestCase):
    """
    When tokens hold.
    """

    def test_expired(self) -> None:
        """
        A token is over when its C{exp} has come.
        """
        self.assertIn("expired", self.refused(token(exp=int(time.time()) - 1)))
        self.assertIn("expired", self.refused(token(exp=int(time.time()))))
        self.assertIn("expired", self.refused(token(exp=-(10**400))))

    def test_not_yet(self) -> None:
        """
        It does not hold before its C{nbf}, or before it was issued.
        """
        for claim in ("nbf", "iat"):
            later = int(time.time()) + AN_HOUR // 2
            self.assertIn("not hold yet", self.refused(token(**{claim: later})))
            self.principal(token(**{claim: later - AN_HOUR}))

    def test_leeway(self) -> None:
        """
        All three are taken with the leeway that is configured, and no more.
        """
        self.authenticator = TokenAuthenticator(SECRET, ["HS256"], leeway=AN_HOUR)
        now = int(time.time())
        for said in ({"exp": now - 60}, {"nbf": now + 60}, {"iat": now + 60}):
            self.principal(token(**said))
        for said in ({"exp": now - 4000}, {"nbf": now + 4000}, {"iat": now + 4000}):
            self.refused(token(**said))

    def test_far(self) -> None:
        """
        One that never expires in any real sense does so in the far future, whatever integer,
        float or string says it, and is a number to count with.
        """
        for exp in (10**18, 10**400, 1e300, "9" * 400):
            self.assertEqual(self.principal(token(exp=exp)).expires, FARTHEST, exp)

    def test_text(self) -> None:
        """
        A time in quotes is what it says.
        """
        exp = int(time.time()) + AN_HOUR
        self.assertEqual(self.principal(token(exp=str(exp))).expires, exp)


class ForgedTests(TokensTestCase):
    """
    Tokens that somebody else made.
    """

    def test_no_signature(self) -> None:
        """
        C{none} is no algorithm, however it is spelled and whether or not something is behind
        the last dot.
        """
        for alg in ("none", "None", "NONE", "nOnE", ""):
            header = json.dumps({"alg": alg}).encode()
            forged = signed(json.dumps(claims()).encode(), header)
            self.refused(forged)
            self.refused(forged.rpartition(".")[0] + ".")

    def test_other_secret(self) -> None:
        """
        A signature by another secret, or of other claims, does not verify.
        """
        good = token().split(".")
        other = signed(json.dumps(claims()).encode(), secret=SECRET + "x")
        swapped = ".".join((good[0], token(sub="u2").split(".")[1], good[2]))
        for forged in (other, swapped, ".".join(good[:2]), ".".join((*good[:2], ""))):
            self.refused(forged)

    def test_other_algorithm(self) -> None:
        """
        An algorithm that is not configured is not taken, even with the right secret.
        """
        made = jwt.encode(claims(), SECRET + SECRET, "HS512")
        self.authenticator = TokenAuthenticator(SECRET + SECRET, ["HS256"])
        self.refused(made)
        self.authenticator = TokenAuthenticator(SECRET + SECRET, ["HS256", "HS512"])
        self.assertEqual(self.principal(made).user, "u1")

    def test_public_key_as_secret(self) -> None:
        """
        Whoever signs with our public key as if it were a secret gets nowhere: neither where
        only its own algorithm is taken, nor where somebody configured both kinds.
        """
        _, public = pem(rsa.generate_private_key(65537, 2048))
        forged = signed(json.dumps(claims()).encode(), secret=public)
        for algorithms in (["RS256"], ["RS256", "HS256"]):
            self.authenticator = TokenAuthenticator(public, algorithms)
            self.refused(forged)
        self.assertRaises(jwt.InvalidKeyError, TokenAuthenticator, public, ["HS256"])

    def test_key_pairs(self) -> None:
        """
        With a public key, what its private one signed holds and what another one signed does
        not.
        """
        kinds: dict[str, Callable[[], Any]] = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        for algorithm, generate in kinds.items():
            private, public = pem(generate())
            other, _ = pem(generate())
            self.authenticator = TokenAuthenticator(public, [algorithm])
            self.assertEqual(self.principal(jwt.encode(claims(), private, algorithm)).user, "u1")
            self.refused(jwt.encode(claims(), other, algorithm))
            self.refused(token())

    def test_demanding_header(self) -> None:
        """
        A token that demands an extension which nobody here knows is refused, not half
        understood.
        """
        for header in (b'{"alg":"HS256","crit":["x"],"x":1}', b'{"alg":"HS256","b64":false}'):
            self.refused(signed(json.dumps(claims()).encode(), header))


class NonsenseTests(TokensTestCase):
    """
    What is hardly a token at all.
    """

    def test_no_string(self) -> None:
        """
        Any JSON value but a string is refused with a reason that helps.
        """
        for value in (None, True, 0, 1.5, [], ["a"], {}, {"token": "x"}, "", b"bytes"):
            self.assertIn("string", self.refused(value))

    def test_too_long(self) -> None:
        """
        What is longer than any token is refused before anyone looks into it.
        """
        self.assertEqual(self.refused("x" * 5_000_000), "it is too long")
        self.assertEqual(self.refused(token(guilds=["g" * 60] * 150)), "it is too long")

    def test_strange_texts(self) -> None:
        """
        Text that cannot be a token, such as half a character, is refused like any other.
        """
        good = token()
        for text in (
            *("a", "a.b", "a.b.c", "....", "\ud800", "\ud800.b.c", "a.\udfff.c", "é.ü.ß", "\0"),
            *(f"{good}\ud800", f"\ud800{good}", good + ".", "." + good, good[:-1]),
        ):
            self.refused(text)

    def test_strange_parts(self) -> None:
        """
        So is a token whose parts are not the JSON objects they should be, its signature
        notwithstanding.
        """
        holding = json.dumps(claims()).encode()
        for header in (b"", b"[]", b"null", b"{", b'{"alg":5}', b'{"alg":["HS256"]}', b"[" * 3000):
            self.refused(signed(holding, header))
        for payload in (b"", b"[]", b"null", b'"u1"', b"{", b"\xff", b"[" * 3000, b'{"exp":1e400}'):
            self.refused(signed(payload))

    def test_needed(self) -> None:
        """
        What is needed and missing is named.
        """
        self.assertIn("sub", self.refused(token(sub=None)))
        self.assertIn("exp", self.refused(token(exp=None)))
        self.assertIn("exp", self.refused(signed(b'{"sub":"u1","exp":null}')))

    def test_wrong_types(self) -> None:
        """
        A claim of the wrong type is refused, never taken for something else.
        """
        wrong: tuple[dict[str, Any], ...] = (
            *({"sub": 5}, {"sub": ""}, {"sub": []}, {"sub": True}, {"sub": "u" * 65}),
            *({"exp": []}, {"exp": {}}, {"exp": "soon"}, {"exp": True}),
            *({"nbf": []}, {"nbf": "x"}, {"iat": []}, {"iat": {}}, {"iat": "x"}),
            *({"guilds": "g1"}, {"guilds": {"g1": 1}}, {"guilds": 5}, {"guilds": [True]}),
            *({"guilds": [None]}, {"guilds": [["g1"]]}, {"guilds": [1.5]}, {"jti": 5}),
        )
        for said in wrong:
            self.refused(token(**said))

    @given(
        st.fixed_dictionaries(
            {"sub": st.just("u1") | json_values, "exp": st.just(2e9) | json_values},
            optional=dict.fromkeys(("iat", "nbf", "iss", "aud", "guilds", "jti", "x"), json_values),
        )
    )
    def test_any_claims(self, claimed: dict[str, Any]) -> None:
        """
        Whatever a token claims, it is refused or speaks for a user until a real time.
        """
        try:
            principal = self.authenticator.principal(signed(json.dumps(claimed).encode()))
        except TokenRefused:
            return
        self.assertEqual(principal.user, claimed["sub"])
        self.assertTrue(time.time() < principal.expires <= FARTHEST)

    @given(st.text(st.characters(), max_size=60) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*"))
    def test_any_text(self, text: str) -> None:
        """
        No text is worse than refused.
        """
        self.refused(text)

    def test_secrecy(self) -> None:
        """
        No reason holds anything of the token.
        """
        for made in (
            *("zzsecretzz", "zz.secret.zz", signed(b'{"zzsecretzz":1}')),
            *(token(sub=["zzsecretzz"]), token(guilds="zzsecretzz"), token(exp="zzsecretzz")),
            token(jti=["zzsecretzz"]),
        ):
            self.assertNotIn("secret", self.refused(made))
