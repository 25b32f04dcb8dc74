"""
Which key checks which token: chosen by the kind of its algorithm, never one for the other.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.auth.keys import HeldKeys, Key, Keyring, Material, uses
from gatewayd.config.values import ASYMMETRIC, SYMMETRIC
from gatewayd.errors import ConfigError, TokenRefused
from tests.issuer import PAIRS, Issuer

SECRET = "correct-horse-battery-staple-and-more-of-it"
ALL = (*SYMMETRIC, *ASYMMETRIC)


class File:
    """
    What the configuration gives; it can be changed, and be unreadable.
    """

    def __init__(self, secret: str | None = None, public_key: str | None = None) -> None:
        self.secret = secret
        self.public_key = public_key
        self.faults: list[str] = []

    def __call__(self) -> Material:
        """
        Read it.
        """
        if self.faults:
            raise ConfigError(self.faults)
        return Material(self.secret, self.public_key)


class UsesTests(SynchronousTestCase):
    """
    What a public key can be for.
    """

    def test_kinds(self) -> None:
        """
        A key is for the algorithms of its own kind and curve alone, and none is for an HMAC.
        """
        for algorithm, kind in PAIRS.items():
            expected = tuple(name for name in ALL if PAIRS.get(name) == kind)
            self.assertEqual(uses(Issuer(algorithm).public, ALL), expected, algorithm)
        self.assertEqual(uses(Issuer("EdDSA", kind="Ed448").public, ALL), ("EdDSA",))

    def test_no_key(self) -> None:
        """
        What is no public key is for nothing.
        """
        for thing in (SECRET, SECRET.encode(), None, Issuer().pem):
            self.assertEqual(uses(thing, ALL), ())

    def test_configured(self) -> None:
        """
        A key is not for an algorithm that nobody configured.
        """
        self.assertEqual(uses(Issuer("RS256").public, ["PS512", "HS256", "ES256"]), ("PS512",))


class HeldTests(SynchronousTestCase):
    """
    The keys of the configuration.
    """

    def test_both_kinds(self) -> None:
        """
        With a secret and a public key, each is tried on its own kind of tokens and on no
        others, whatever those call their key.
        """
        issuer = Issuer("RS256")
        keys = HeldKeys(["HS256", "RS256", "ES256"], File(SECRET, issuer.pem))
        for kid in (None, "k1"):
            (secret,) = keys.known("HS256", kid)
            self.assertEqual((secret.algorithms, secret.material), (("HS256",), SECRET.encode()))
            (public,) = keys.known("RS256", kid)
            self.assertEqual(public.algorithms, ("RS256",))
            self.assertEqual(public.material, issuer.public)
        for algorithm in ("ES256", "HS512", "PS256", "none", ""):
            self.assertEqual(list(keys.known(algorithm, None)), [], algorithm)

    def test_sought(self) -> None:
        """
        There is nothing to wait for.
        """
        keys = HeldKeys(["HS256"], File(SECRET))
        self.failureResultOf(keys.sought("HS256", "k1"), TokenRefused)

    def test_no_confusion(self) -> None:
        """
        A key in the place of the other kind, or of no kind, stops the start with the name of
        what is wrong, and without its content.
        """
        rsa, curve = Issuer("RS256").pem, Issuer("ES256").pem
        for algorithm, material, about in (
            ("HS256", Material(secret=rsa), "secret"),
            ("HS256", Material(secret=curve), "secret"),
            ("HS256", Material(secret="ssh-rsa AAAAB3NzaC1yc2EAAAA"), "secret"),
            ("HS256", Material(secret='{"kty":"RSA","n":"abc"}'), "secret"),
            ("HS256", Material(secret=""), "secret"),
            ("RS256", Material(public_key=SECRET), "public_key_file"),
            ("RS256", Material(public_key=curve), "public_key_file"),
            ("ES384", Material(public_key=curve), "public_key_file"),
            ("RS256", Material(public_key=rsa.replace("A", "B")), "public_key_file"),
        ):
            with self.assertRaises(ConfigError) as raised:
                HeldKeys([algorithm], lambda material=material: material)  # type: ignore[misc]
            (fault,) = raised.exception.faults
            self.assertIn(f"[auth] {about}: expected", fault)
            self.assertNotIn(SECRET, fault)
            self.assertNotIn("BEGIN", fault)

    def test_every_fault(self) -> None:
        """
        Both faults are told at once.
        """
        with self.assertRaises(ConfigError) as raised:
            HeldKeys(["HS256", "RS256"], File(Issuer().pem, SECRET))
        self.assertEqual(len(raised.exception.faults), 2)

    def test_short_secret(self) -> None:
        """
        A short secret is taken: that it is short is a warning of the configuration.
        """
        (key,) = HeldKeys(["HS256"], File("short")).known("HS256", None)
        self.assertEqual(key.material, b"short")

    def test_unused(self) -> None:
        """
        A public key that no configured algorithm asks for does no harm.
        """
        keys = HeldKeys(["HS256"], File(SECRET, Issuer("RS256").pem))
        self.assertEqual(list(keys.known("RS256", None)), [])

    def test_secrecy(self) -> None:
        """
        Neither a key nor what it is made from shows itself in a log.
        """
        material = Material(SECRET, Issuer().pem)
        keys = HeldKeys(["HS256"], lambda: material)
        shown = f"{material!r} {keys!r} {keys.known('HS256', None)!r} {Key(('HS256',), SECRET)!r}"
        self.assertNotIn(SECRET, shown)
        self.assertNotIn("BEGIN", shown)


class ReloadTests(SynchronousTestCase):
    """
    New keys without a restart.
    """

    def test_replaced(self) -> None:
        """
        What the files hold now takes the place of what they held.
        """
        file = File(SECRET)
        keys = HeldKeys(["HS256"], file)
        file.secret = SECRET[::-1]
        self.assertEqual(keys.known("HS256", None)[0].material, SECRET.encode())
        self.assertTrue(keys.reload())
        (key,) = keys.known("HS256", None)
        self.assertEqual(key.material, SECRET[::-1].encode())

    def test_unreadable(self) -> None:
        """
        A file that cannot be read replaces nothing, and is told as an error; when it can be
        read again, so it is.
        """
        file = File(SECRET)
        keys = HeldKeys(["HS256"], file)
        file.faults = ["gateway.ini: [auth] secret_file: cannot be read", "another"]
        file.secret = SECRET[::-1]
        with capturedLogs() as logged:
            self.assertFalse(keys.reload())
        self.assertEqual([event["fault"] for event in logged], file.faults)
        self.assertEqual({event["log_level"] for event in logged}, {LogLevel.error})
        self.assertEqual(keys.known("HS256", None)[0].material, SECRET.encode())
        file.faults = []
        self.assertTrue(keys.reload())
        self.assertEqual(keys.known("HS256", None)[0].material, SECRET[::-1].encode())

    def test_useless(self) -> None:
        """
        Nor does a key of the wrong kind replace anything, not even the one of the other kind
        that came with it and would do.
        """
        file = File(SECRET, Issuer("RS256").pem)
        keys = HeldKeys(["HS256", "RS256"], file)
        file.secret, file.public_key = SECRET[::-1], Issuer("ES256").pem
        self.assertFalse(keys.reload())
        self.assertEqual(keys.known("HS256", None)[0].material, SECRET.encode())
        self.assertEqual(keys.known("RS256", None)[0].material, Issuer("RS256").public)


class Published:
    """
    Published keys, which also remember what was sought.
    """

    def __init__(self, *keys: Key) -> None:
        self.keys = keys
        self.asked: list[tuple[str, str | None]] = []
        self.answer: Deferred[None] = Deferred()

    def known(self, algorithm: str, kid: str | None) -> list[Key]:
        """
        Those for the algorithm.
        """
        return [key for key in self.keys if algorithm in key.algorithms]

    def sought(self, algorithm: str, kid: str | None) -> Deferred[None]:
        """
        As told.
        """
        self.asked.append((algorithm, kid))
        return self.answer


class KeyringTests(SynchronousTestCase):
    """
    Keys from files and published keys together.
    """

    def test_together(self) -> None:
        """
        A token is tried with what fits it from both, and what is not there is sought where
        keys are published.
        """
        issuer = Issuer("RS256")
        published = Published(Key(("RS256",), "public"), Key(("ES256",), "other"))
        ring = Keyring(HeldKeys(["HS256", "RS256"], File(SECRET, issuer.pem)), published)
        self.assertEqual(
            [key.material for key in ring.known("RS256", "k1")], [issuer.public, "public"]
        )
        self.assertEqual([key.material for key in ring.known("HS256", None)], [SECRET.encode()])
        self.assertIs(ring.sought("RS256", "k9"), published.answer)
        self.assertEqual(published.asked, [("RS256", "k9")])
