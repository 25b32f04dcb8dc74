"""
C{gatewayctl}, as far as it needs no network; the rest is in tests/live/test_ctl.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import jwt
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import __version__
from gatewayd.ctl import main

SECRET = "a secret that is long enough for HS256, and for HS384 as well"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"


def run(*arguments: str, **variables: str) -> Result:
    """
    Run C{gatewayctl}, with no C{GATEWAY_} variable but C{variables}.
    """
    inherited = {name: None for name in os.environ if name.startswith("GATEWAY_")}
    return CliRunner().invoke(main, arguments, env={**inherited, **variables})


class TokenTests(SynchronousTestCase):
    """
    C{gatewayctl token}.
    """

    def claims(self, result: Result, algorithm: str = "HS256", **options: Any) -> dict[str, Any]:
        """
        What the printed token claims, if its signature holds.
        """
        self.assertEqual(result.exit_code, 0, result.output)
        found: dict[str, Any] = jwt.decode(
            result.stdout.strip(), SECRET, algorithms=[algorithm], **options
        )
        return found

    def test_claims(self) -> None:
        """
        It speaks for the user, grants the guilds in their order, and holds for an hour.
        """
        before = int(time.time())
        result = run(
            "token", "--user", "alice", "--guild", "g2", "--guild", "g1", GATEWAY_AUTH_SECRET=SECRET
        )
        claims = self.claims(result)
        issued = claims.pop("iat")
        self.assertTrue(before <= issued <= time.time(), issued)
        self.assertEqual(claims, {"sub": "alice", "guilds": ["g2", "g1"], "exp": issued + 3600})

    def test_expires(self) -> None:
        """
        Its life is what was asked for, written as durations are in the configuration.
        """
        result = run("token", "--user", "a", "--expires", "10 m", GATEWAY_AUTH_SECRET=SECRET)
        claims = self.claims(result)
        self.assertEqual(claims["exp"] - claims["iat"], 600)

    def test_as_configured(self) -> None:
        """
        Secret, algorithm, issuer and audience are those of the file that --config names.
        """
        path = Path(self.mktemp())
        path.write_text(
            f"[auth]\nsecret = {SECRET}\nalgorithms = HS384\n"
            "issuer = https://login.example\naudience = gateway\n"
        )
        result = run("token", "--user", "a", "--config", str(path))
        claims = self.claims(result, "HS384", audience="gateway", issuer="https://login.example")
        self.assertEqual(claims["aud"], "gateway")

    def test_no_secret(self) -> None:
        """
        Without a secret it says what to set, and prints no token.
        """
        result = run("token", "--user", "alice")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("GATEWAY_AUTH_SECRET", result.stderr)

    def test_public_key(self) -> None:
        """
        Where tokens are checked with a public key it says that it cannot make one.
        """
        key = Path(self.mktemp())
        key.write_text(PUBLIC)
        result = run(
            "token",
            "--user",
            "alice",
            GATEWAY_AUTH_ALGORITHMS="EdDSA",
            GATEWAY_AUTH_PUBLIC_KEY_FILE=str(key),
        )
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("private key", result.stderr)

    def test_wrong_durations(self) -> None:
        """
        What is no duration, or none to speak of, is refused with an example of one.
        """
        for text in ("soon", "-1 h", "0", "10 ms"):
            result = run("token", "--user", "a", "--expires", text, GATEWAY_AUTH_SECRET=SECRET)
            self.assertEqual((result.exit_code, result.stdout), (2, ""), text)
            self.assertIn("--expires", result.stderr)


class CheckConfigTests(SynchronousTestCase):
    """
    C{gatewayctl check-config}.
    """

    def test_no_faults(self) -> None:
        """
        Of a configuration that the gateway would start with it says so.
        """
        result = run("check-config", GATEWAY_AUTH_SECRET=SECRET)
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertIn("no faults", result.stdout)

    def test_every_fault(self) -> None:
        """
        All faults are told, a line each, with no word around them.
        """
        path = Path(self.mktemp())
        path.write_text(f"[auth]\nsecret = {SECRET}\n[limits]\nmax_guilds = many\nmax_gilds = 1\n")
        result = run("check-config", "--config", str(path))
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 2, lines)
        for line in lines:
            self.assertTrue(line.startswith(f"{path}"), line)
        self.assertNotIn(SECRET, result.stderr)

    def test_missing_file(self) -> None:
        """
        A file that is not there is a fault like any other.
        """
        result = run("check-config", "--config", "no/such.ini")
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertIn("no/such.ini", result.stderr)

    def test_warnings(self) -> None:
        """
        A variable that was probably meant for the gateway is mentioned, and is no fault.
        """
        result = run("check-config", GATEWAY_AUTH_SECRET=SECRET, GATEWAY_LIMITS_MAX_GILDS="1")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("GATEWAY_LIMITS_MAX_GUILDS", result.stderr)


class FrontTests(SynchronousTestCase):
    """
    What every command has in common.
    """

    def test_version(self) -> None:
        """
        It has the version of the gateway.
        """
        self.assertIn(__version__, run("--version").stdout)

    def test_every_option_is_explained(self) -> None:
        """
        No option of any command leaves a person guessing what it does.
        """
        for name, command in main.commands.items():
            self.assertTrue(command.help, name)
            for parameter in command.params:
                self.assertTrue(getattr(parameter, "help", None), f"{name} {parameter.name}")
