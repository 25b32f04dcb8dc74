"""
Tests for what holds of L{gatewayd.config} whatever is written.
"""

from __future__ import annotations

import string

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.config import Auth, Config
from gatewayd.config.keys import KEYS, all_keys
from gatewayd.errors import ConfigError
from tests.unit.test_config import faults_of, parse

NAMES = st.sampled_from([key.name for key in all_keys()])
LINES = st.one_of(
    st.sampled_from([f"[{section}]" for section in KEYS]),
    st.builds("{} = {}".format, NAMES, st.text(max_size=12)),
    st.builds(" {}".format, st.text(max_size=12)),
    st.text(max_size=12),
)
SECRETS = st.text(string.ascii_letters + string.digits, min_size=9).map("7Q{}".format)


class TotalityTests(SynchronousTestCase):
    """
    Nothing that can be written does anything but parse or be told its faults.
    """

    @given(
        st.one_of(st.text(), st.lists(LINES).map("\n".join)),
        st.dictionaries(
            st.sampled_from([key.variable for key in all_keys()]),
            st.text(st.characters(exclude_characters="\0"), max_size=20),
            max_size=3,
        ),
    )
    @example("[gateway]\nlisten =", {})
    @example("[redis]\nurl = redis://[::1", {})
    @example("", {"GATEWAY_RABBITMQ_EXCHANGE": "\udcff"})
    def test_any(self, text: str, environment: dict[str, str]) -> None:
        """
        Any text and environment makes a configuration or a L{ConfigError} that says why not.
        """
        try:
            made = parse(text, environment)
        except ConfigError as error:
            self.assertTrue(error.faults)
        else:
            self.assertIsInstance(made, Config)

    @given(
        SECRETS,
        st.sampled_from(
            [
                "[auth]\nsecret = {}\nlisten = 3",
                "[auth]\nsecret =\n{}\n",
                "[auth]\nsecret = a\n  {}",
                "[auth]\nsecret =\n{}=\n",
                "[auth]\nsecret: {}",
                "[auth]\nsecrte = {}",
                "[gateway]\nsecret = {}",
                "secret = {}",
                "{}",
                "[{}]",
                "[auth] {}",
                "[limits]\nmax_guilds = 5\n  {}",
                "[auth]\nsecret = -----BEGIN {}",
                "[http]\nadmin_token = {} {}",
                "[redis]\nurl = redis://:{}@host:x",
                "[redis]\nurl = redis://{}@host",
                "[redis]\nurl = redis://:{}#@host",
                "[redis]\nurl = http://:{}@host",
                "[redis]\nurl = redis://:{}@host/db",
                "[redis]\nurl = redis://:{}\u2100@host",
                "[redis]\nurl = redis://:{}@[host",
                "[rabbitmq]\nurl = amqp://user:{}@",
                "[rabbitmq]\nurl = amqp://user:{}%ff@host",
                "[rabbitmq]\nurl = amqp://user:{}@host/a/b",
                "[auth]\nauthority_url = https://user:{}@host/",
                "[auth]\njwks_url = https:///?key={}",
            ]
        ),
    )
    @example("q" * 40, "[auth]\nsecret =\n{}=\n")
    def test_no_secret_is_told(self, secret: str, where: str) -> None:
        """
        No fault repeats a secret, wherever it came to stand.
        """
        faults = faults_of(where.format(secret, secret))
        self.assertTrue(faults)
        self.assertNotIn(secret[:8], "\n".join(faults))

    def test_repr(self) -> None:
        """
        A configuration can be logged without telling its secrets.
        """
        made = parse(
            "[auth]\nsecret = 7Qsecret\nauthority_url = https://host/?key=7Qsecret\n"
            "jwks_url = https://host/?key=7Qsecret\n[http]\nadmin_token = 7Qsecret\n"
            "[redis]\nurl = redis://:7Qsecret@host\n[rabbitmq]\nurl = amqp://u:7Qsecret@host\n"
        )
        self.assertEqual(made.auth.secret, SecretStr("7Qsecret"))
        self.assertNotIn("7Qsecret", f"{made!r} {made} {made.redis.server!r}")

    def test_error_in_code(self) -> None:
        """
        Even pydantic's own message about a value given in code does not tell it.
        """
        error = self.assertRaises(ValueError, Auth, secret="a\n7Qsecret")
        self.assertNotIn("7Qsecret", f"{error!r} {error}")
