"""
Tests for L{gatewayd.config.parse}: defaults, faults and the environment.
"""

from __future__ import annotations

from typing import Mapping

from twisted.trial.unittest import SynchronousTestCase

from gatewayd import config
from gatewayd.config import Config, Defaults
from gatewayd.config.draft import MOST_FAULTS
from gatewayd.config.keys import KEYS, all_keys
from gatewayd.errors import ConfigError


def parse(text: str, environment: Mapping[str, str] | None = None) -> Config:
    """
    The configuration of an ini file called C{x.ini}.
    """
    return config.parse(text, "x.ini", environment or {}, Defaults("host.example", 42))


def faults_of(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """
    What is wrong with an ini file called C{x.ini}.
    """
    try:
        parse(text, environment)
    except ConfigError as error:
        return list(error.faults)
    return []


class DefaultsTests(SynchronousTestCase):
    """
    What holds where nothing is said.
    """

    def test_contract(self) -> None:
        """
        Every key has the default that the protocol's page gives it, and there are no others.
        """
        expected: dict[str, dict[str, object]] = {
            "gateway": {
                "listen": ("tcp:3005",),
                "instance": "host.example-42",
                "workers": 1,
                "heartbeat_interval": 30.0,
                "identify_timeout": 10.0,
                "allowed_origins": ("*",),
                "compression": False,
                "trusted_proxies": (),
                "log_level": "info",
                "drain_time": 10.0,
            },
            "http": {
                "listen": ("tcp:3006:interface=127.0.0.1",),
                "admin_token": None,
                "admin_token_file": None,
                "public_stats": True,
            },
            "auth": {
                "algorithms": ("HS256",),
                "secret": None,
                "secret_file": None,
                "public_key_file": None,
                "jwks_url": None,
                "issuer": None,
                "audience": None,
                "leeway": 0.0,
                "guild_authority": "token",
                "authority_url": None,
                "authority_key": "guild:{guildId}:members",
                "expiry_warning": 60.0,
            },
            "rabbitmq": {
                "url": None,
                "exchange": "discord_events",
                "exchange_type": "topic",
                "queue": "gateway",
                "dead_letter_exchange": "discord_events.dead",
                "prefetch": 1000,
            },
            "redis": {
                "url": None,
                "channel": "gateway_events",
                "dedup_window": 300.0,
                "cluster_keys": False,
            },
            "history": {"window": 600.0, "max_events": 100000, "max_bytes": 67108864},
            "events": {"ephemeral": ("typing.start",)},
            "limits": {
                "max_message_bytes": 16384,
                "messages_per_minute": 120,
                "max_buffered_bytes": 1048576,
                "max_buffered_total": 268435456,
                "max_guilds": 200,
                "connections_per_user": 20,
                "connections_per_address": 0,
                "max_connections": 0,
                "max_unidentified": 10000,
                "subscribes_per_minute": 60,
            },
        }
        self.assertEqual(parse("").model_dump(exclude={"auth": {"public_key"}}), expected)
        self.assertEqual(
            {section: set(keys) for section, keys in KEYS.items()},
            {section: set(keys) for section, keys in expected.items()},
        )

    def test_instance_is_a_label(self) -> None:
        """
        Whatever the host is called, the default instance could be written in a file.
        """
        made = Defaults("a host\n\u00e9" * 50, 4194304).instance
        self.assertEqual(parse(f"[gateway]\ninstance = {made}").gateway.instance, made)

    def test_frozen(self) -> None:
        """
        A configuration does not change.
        """
        with self.assertRaises(ValueError):
            parse("").limits.max_guilds = 3


class FaultTests(SynchronousTestCase):
    """
    What a person is told.
    """

    def test_wrong_kind(self) -> None:
        """
        A fault names the file, the section, the key, the value, and what was expected.
        """
        self.assertEqual(
            faults_of("[limits]\nmax_guilds = many"),
            ['x.ini: [limits] max_guilds = "many": expected a whole number, 0 or more'],
        )

    def test_all_at_once(self) -> None:
        """
        One reading finds the faults of syntax, of names, of values and between keys, in
        every section and in the environment.
        """
        text = (
            "[gatway]\n[gateway]\nlisten = tcp:x\n tcp:1\n y\nworkers = 2\nworkers\n[limts]\n"
            "[auth]\nalgorithm = HS256\nleeway = -1\n[history]\nmax_bytes = 1 TB\n"
        )
        self.assertEqual(
            faults_of(text, {"GATEWAY_RABBITMQ_PREFETCH": "0"}),
            [
                "x.ini:1: [gatway]: unknown section; did you mean [gateway]?",
                "x.ini:7: expected key = value",
                "x.ini:8: [limts]: unknown section; did you mean [limits]?",
                "x.ini:10: [auth] algorithm: unknown key; did you mean algorithms?",
                'x.ini: [gateway] listen = "tcp:x": expected a number from 0 to 65535 as its port',
                'x.ini: [gateway] listen = "y": '
                "expected a server endpoint such as tcp:3005, beginning with its kind",
                'x.ini: [auth] leeway = "-1": '
                "expected a duration such as 30 s, 500 ms, 10 m or 1 h, 0 s or more",
                'GATEWAY_RABBITMQ_PREFETCH: [rabbitmq] prefetch = "0": '
                "expected a whole number, 1 to 65535",
                'x.ini: [history] max_bytes = "1 TB": '
                "expected a size such as 65536, 64 KiB or 1 MB, 1 or more",
                'x.ini: [gateway] workers = "2": '
                "more than one process needs [redis] url, by which they share their events",
            ],
        )

    def test_key_of_another_section(self) -> None:
        """
        Whoever put a key in the wrong section is told the right one.
        """
        self.assertEqual(
            faults_of("[gateway]\nmax_guilds = 3\n"),
            ["x.ini:2: [gateway] max_guilds: unknown key; did you mean max_guilds of [limits]?"],
        )

    def test_nothing_like_it(self) -> None:
        """
        Where no name is close, none is proposed.
        """
        self.assertEqual(
            faults_of("[gateway]\nfoo = 3\n[DEFAULT]\nworkers = 2\n"),
            ["x.ini:2: [gateway] foo: unknown key", "x.ini:3: [DEFAULT]: unknown section"],
        )

    def test_one_line(self) -> None:
        """
        A fault is one line of printable ASCII and of bearable length, whatever the value.
        """
        for value in ("a\u2028\x1b[31m\u00e9", "x" * 5000, "1\n 2"):
            (fault,) = faults_of("", {"GATEWAY_LIMITS_MAX_GUILDS": value})
            self.assertTrue(fault.isascii() and fault.isprintable(), repr(fault))
            self.assertLess(len(fault), 250)

    def test_bounded(self) -> None:
        """
        A file that is no configuration at all is not repeated in full.
        """
        faults = faults_of("nonsense\n" * (MOST_FAULTS + 7))
        self.assertEqual(len(faults), MOST_FAULTS + 1)
        self.assertEqual(faults[-1], "x.ini: and 7 faults more")

    def test_a_fault_hides_no_other(self) -> None:
        """
        A key that is refused is not also said to be missing.
        """
        text = "[gateway]\nworkers = 2\n[redis]\nurl = redis://host:port\n"
        (fault,) = faults_of(text)
        self.assertStartsWith(fault, "x.ini: [redis] url: expected")

    def assertStartsWith(self, text: str, beginning: str) -> None:
        """
        Fail unless C{text} begins so.
        """
        self.assertEqual(text[: len(beginning)], beginning)


class EnvironmentTests(SynchronousTestCase):
    """
    C{GATEWAY_SECTION_KEY}.
    """

    def test_wins(self) -> None:
        """
        A variable wins over the file, even over a value that would be a fault.
        """
        made = parse("[limits]\nmax_guilds = many", {"GATEWAY_LIMITS_MAX_GUILDS": "3"})
        self.assertEqual(made.limits.max_guilds, 3)

    def test_every_key(self) -> None:
        """
        Every key can be given by its variable.
        """
        for key in all_keys():
            self.assertEqual(key.variable, f"GATEWAY_{key.section.upper()}_{key.name.upper()}")
            (fault,) = faults_of("", {key.variable: "\udcff"})
            self.assertIn(f"{key.variable}: [{key.section}] {key.name}", fault)

    def test_empty(self) -> None:
        """
        An empty variable is given all the same: it takes an optional key away, and is a fault
        where there must be a value.
        """
        text = "[redis]\nurl = redis://host\n[limits]\nmax_guilds = 3\n"
        self.assertIsNone(parse(text, {"GATEWAY_REDIS_URL": ""}).redis.url)
        self.assertEqual(
            faults_of(text, {"GATEWAY_LIMITS_MAX_GUILDS": ""}),
            [
                'GATEWAY_LIMITS_MAX_GUILDS: [limits] max_guilds = "": '
                "expected a whole number, 0 or more"
            ],
        )

    def test_others_are_no_faults(self) -> None:
        """
        Variables that only begin like ours are left alone, and only those that are nearly
        ours are warned of.
        """
        kubernetes = {
            f"GATEWAY_{service}{end}": "tcp://10.0.0.1:3005"
            for service in ("", "HTTP_", "AUTH_", "REDIS_", "RABBITMQ_", "EVENTS_", "WS_")
            for end in (
                *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_3005_TCP"),
                *("PORT_3005_TCP_ADDR", "PORT_3005_TCP_PORT", "PORT_3005_TCP_PROTO"),
            )
        }
        self.assertEqual(config.warnings(parse("", kubernetes), kubernetes), ())
        others = dict.fromkeys(
            ["GATEWAY_VERSION", "GATEWAY_API_URL", "GATEWAY_IMAGE", "GATEWAY_LISTENING"], "1"
        )
        self.assertEqual(config.warnings(parse("", others), others), ())
        mistakes = {
            "GATEWAY_WORKERS": "GATEWAY_GATEWAY_WORKERS",
            "GATEWAY_REDIS_ULR": "GATEWAY_REDIS_URL",
            "GATEWAY_LIMIT_MAX_GUILDS": "GATEWAY_LIMITS_MAX_GUILDS",
            "GATEWAY_AUTH_SECRET_FIL": "GATEWAY_AUTH_SECRET_FILE",
        }
        for variable, meant in mistakes.items():
            environment = {variable: "1", **kubernetes, "PATH": "/bin"}
            self.assertEqual(
                config.warnings(parse("", environment), environment),
                (f"{variable} is no variable of ours; did you mean {meant}?",),
            )
