"""
Tests for L{gatewayd.config.read}.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping

from twisted.trial.unittest import SynchronousTestCase

from gatewayd.config import Config, read
from gatewayd.config.reading import LONGEST_CONFIGURATION, LONGEST_SECRET
from gatewayd.errors import ConfigError

PEM = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"


class ReadTests(SynchronousTestCase):
    """
    Files.
    """

    def setUp(self) -> None:
        """
        A folder for the files.
        """
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def file(self, name: str, content: str | bytes) -> str:
        """
        Write a file, and tell its whole name.
        """
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def faults_of(
        self, path: str | None, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """
        What is wrong, with the folder's name left out.
        """
        error = self.assertRaises(ConfigError, read, path, environment or {})
        return [fault.replace(f"{self.folder}/", "") for fault in error.faults]

    def test_secret_files(self) -> None:
        """
        The content of the named files is taken, without the newline at its end and no other.
        """
        for content in ("se cret ", "se cret \n", "se cret \r\n"):
            self.file("secret", content)
            self.file("token", "token\n")
            self.file("key.pem", PEM)
            path = self.file(
                "x.ini",
                "[auth]\nsecret_file = secret\npublic_key_file = key.pem\n"
                f"[http]\nadmin_token_file = {self.folder / 'token'}\n",
            )
            made = read(path, {})
            assert made.auth.secret is not None
            assert made.http.admin_token is not None
            self.assertEqual(made.auth.secret.get_secret_value(), "se cret ")
            self.assertEqual(made.http.admin_token.get_secret_value(), "token")
            self.assertEqual(made.auth.public_key, PEM.strip())
            self.assertNotIn("se cret", repr(made))

    def test_relative_names(self) -> None:
        """
        A name in the file starts at its folder, one in a variable at the working directory.
        """
        self.file("secret", "near")
        Path("secret").write_text("here", "utf-8")
        path = self.file("x.ini", "[auth]\nsecret_file = secret\n")
        self.assertEqual(self.secret(read(path, {})), "near")
        self.assertEqual(self.secret(read(path, {"GATEWAY_AUTH_SECRET_FILE": "secret"})), "here")

    def secret(self, made: Config) -> str | None:
        """
        The plain secret of a configuration.
        """
        return None if made.auth.secret is None else made.auth.secret.get_secret_value()

    def test_without_a_file(self) -> None:
        """
        The environment alone can be enough.
        """
        made = read(None, {"GATEWAY_AUTH_SECRET": "secret"})
        self.assertEqual(self.secret(made), "secret")
        self.assertTrue(made.gateway.instance.endswith(f"-{os.getpid()}"))

    def test_byte_order_mark(self) -> None:
        """
        The mark that some editors leave at the beginning is no part of the text.
        """
        path = self.file("x.ini", "\ufeff[auth]\nsecret = a\n")
        self.assertEqual(self.secret(read(path, {})), "a")

    def test_no_configuration(self) -> None:
        """
        A file that cannot be read as text is the only fault told: all others would follow
        from it.
        """
        folder = str(self.folder / "folder")
        os.mkdir(folder)
        for path, fault in {
            str(self.folder / "none"): "none: cannot be read: No such file or directory",
            folder: "folder: cannot be read: Is a directory",
            self.file("latin", b"[auth]\n\nissuer = \xe9\n"): (
                "latin: expected UTF-8; line 3 of the file is not"
            ),
            self.file("huge", "\n" * (LONGEST_CONFIGURATION + 1)): (
                "huge: expected a file of at most 1048576 bytes"
            ),
        }.items():
            self.assertEqual(self.faults_of(path), [fault])

    def test_bad_secret_files(self) -> None:
        """
        Files that hold no secret, token or key are faults beside all others, without a word
        of what they hold, and no key is called missing where one was tried.
        """
        self.file("empty", "\n")
        self.file("two lines", "7Qsecret\nb\n")
        self.file("latin", b"7Qsecret\xe9")
        self.file("huge", "7Qsecret" * LONGEST_SECRET)
        self.file("private.pem", "-----BEGIN PRIVATE KEY-----\n7Qsecret\n")
        self.file("key.pem", PEM)
        for secret, reason in {
            "none": "cannot be read: No such file or directory",
            "empty": "expected a secret on one line",
            "two lines": "expected a secret on one line",
            "latin": "expected UTF-8; line 1 of the file is not",
            "huge": "expected a file of at most 65536 bytes",
            "key.pem": "expected a shared secret, not a PEM key; that is for public_key_file",
        }.items():
            path = self.file(
                "x.ini",
                f"[auth]\nsecret_file = {secret}\npublic_key_file = private.pem\n"
                "[http]\nadmin_token_file = two lines\n[limits]\nmax_guilds = x\n",
            )
            self.assertEqual(
                self.faults_of(path),
                [
                    'x.ini: [limits] max_guilds = "x": expected a whole number, 0 or more',
                    'x.ini: [http] admin_token_file = "two lines": '
                    "expected letters, digits and . _ ~ + / - on one line, with = at its end",
                    f'x.ini: [auth] secret_file = "{secret}": {reason}',
                    'x.ini: [auth] public_key_file = "private.pem": '
                    "holds a private key; the gateway must only have the public one",
                ],
            )

    def test_fault_of_a_variable(self) -> None:
        """
        A file that a variable names is a fault of the variable.
        """
        self.assertEqual(
            self.faults_of(None, {"GATEWAY_AUTH_SECRET_FILE": "/none"}),
            [
                'GATEWAY_AUTH_SECRET_FILE: [auth] secret_file = "/none": '
                "cannot be read: No such file or directory"
            ],
        )

    def test_key_required(self) -> None:
        """
        Without a key to check tokens with nothing starts, unless it is only to be looked at.
        """
        path = self.file("x.ini", "[limits]\nmax_guilds = x\n")
        faults = self.faults_of(path)
        self.assertEqual(len(faults), 2)
        self.assertIn("no key to check tokens with", faults[1])
        path = self.file("x.ini", "")
        self.assertIsNone(read(path, {}, require_key=False).auth.secret)
