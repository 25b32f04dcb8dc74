"""
Tests for what keys of the configuration demand of each other.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gatewayd import config
from gatewayd.config.draft import Draft
from gatewayd.config.keys import KEYS
from tests.unit.test_config import faults_of, parse


def missing_key(text: str) -> list[str]:
    """
    What is wrong with an ini file that is to check tokens.
    """
    draft = Draft(text, "x.ini", {})
    draft.require_key()
    return draft.faults


class RuleTests(SynchronousTestCase):
    """
    What one key demands of another.
    """

    def test_needs_redis(self) -> None:
        """
        Several processes, or grants in Redis, need Redis; with it they are taken.
        """
        for text in ("[gateway]\nworkers = 2", "[auth]\nguild_authority = redis"):
            (fault,) = faults_of(text)
            self.assertIn("[redis] url", fault)
            self.assertEqual(faults_of(f"{text}\n[redis]\nurl = redis://host"), [])

    def test_needs_authority_url(self) -> None:
        """
        A membership service needs an address.
        """
        (fault,) = faults_of("[auth]\nguild_authority = http")
        self.assertIn('guild_authority = "http": this authority needs', fault)
        text = "[auth]\nguild_authority = http\nauthority_url = http://members/"
        self.assertEqual(faults_of(text), [])

    def test_one_of_two(self) -> None:
        """
        A secret is given by itself or by a file; a variable may take one of the two away.
        """
        for section, key, value in (("auth", "secret", "x"), ("http", "admin_token", "x")):
            text = f"[{section}]\n{key} = {value}\n{key}_file = /run/file\n"
            (fault,) = faults_of(text)
            self.assertIn(f'{key}_file = "/run/file": {key} is given as well', fault)
            variable = KEYS[section][f"{key}_file"].variable
            self.assertEqual(faults_of(text, {variable: ""}), [])

    def test_no_key(self) -> None:
        """
        Parsing needs no key to check tokens with; starting does, and says what to set.
        """
        self.assertEqual(faults_of(""), [])
        (fault,) = missing_key("")
        self.assertIn(
            "x.ini: no key to check tokens with: set [auth] secret, secret_file, "
            "public_key_file or jwks_url (or GATEWAY_AUTH_SECRET",
            fault,
        )

    def test_faulty_key(self) -> None:
        """
        A key that was tried is not called missing.
        """
        (fault,) = missing_key("[auth]\nsecret = a\n b\n")
        self.assertIn("[auth] secret: expected", fault)

    def test_key_of_the_right_kind(self) -> None:
        """
        Algorithms of both kinds are each checked with a key of their own, never the public key
        in place of the secret.
        """
        for algorithms, keys, faulty in [
            ("HS256", "secret = x", ""),
            ("HS512", "secret_file = x", ""),
            ("HS256", "public_key_file = x", "HS256 needs secret"),
            ("HS256 RS256", "public_key_file = x", "HS256 needs secret"),
            ("RS256", "jwks_url = https://x", ""),
            ("EdDSA", "public_key_file = x", ""),
            ("ES256, PS512", "secret = x", "ES256 needs public_key_file or jwks_url"),
            ("HS256 RS256", "secret = x", "RS256 needs public_key_file"),
            ("HS256 RS256", "secret = x\njwks_url = https://x", ""),
        ]:
            text = f"[auth]\nalgorithms = {algorithms}\n{keys}\n"
            self.assertEqual(faults_of(text), [])
            found = missing_key(text)
            self.assertEqual(len(found), bool(faulty), text)
            self.assertIn(faulty, "".join(found))

    def test_weak(self) -> None:
        """
        What can be guessed or changed on its way is warned of.
        """
        strong = "[auth]\nsecret = 0123456789abcdef0123456789abcdef\njwks_url = https://x\n"
        self.assertEqual(config.warnings(parse(strong), {}), ())
        near = strong.replace("https://x", "http://localhost:8080/")
        self.assertEqual(config.warnings(parse(near), {}), ())
        weak = (
            "[auth]\nsecret = 0123456789\njwks_url = http://localhost.example\nalgorithms = HS512\n"
            "[http]\nadmin_token = 01234567\n"
        )
        warned = config.warnings(parse(weak), {})
        self.assertEqual(len(warned), 3, warned)
        self.assertIn("shorter than the 64 bytes", warned[0])
        self.assertNotIn("01234567", "".join(warned))
