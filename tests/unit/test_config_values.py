"""
Tests for what single keys take: L{gatewayd.config.values} and L{gatewayd.config.urls}.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from pika import URLParameters
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.config import Config, Defaults, RedisServer, parse
from gatewayd.config.keys import KEYS
from gatewayd.config.urls import amqp_url, redis_server
from gatewayd.config.values import WrongValue, duration, duration_text, size, size_text
from gatewayd.errors import ConfigError

PORTS = st.integers(1, 65535)
HOSTS = st.sampled_from(["localhost", "10.0.0.1", "my-redis_1.internal", "::1"])


def value_of(key: str, text: str) -> Any:
    """
    What C{text} makes of a key; L{None} where it is refused.

    @param key: such as C{limits.max_guilds}.
    """
    section, name = key.split(".")
    environment = {"GATEWAY_REDIS_URL": "redis://host", KEYS[section][name].variable: text}
    try:
        made = parse("", "x.ini", environment, Defaults("host", 1))
    except ConfigError:
        return None
    return getattr(getattr(made, section), name)


class PlainTests(SynchronousTestCase):
    """
    Numbers, durations, sizes, words.
    """

    def check(self, key: str, taken: dict[str, object], refused: tuple[str, ...]) -> None:
        """
        Fail unless each text makes its value, or is refused.
        """
        for text, value in taken.items():
            self.assertEqual(value_of(key, text), value, (key, text))
        for text in refused:
            self.assertIsNone(value_of(key, text), (key, text))

    def test_durations(self) -> None:
        """
        Durations are in seconds, whatever unit they are written in.
        """
        self.check(
            "history.window",
            {"30": 30.0, " 30 s ": 30.0, "1.5s": 1.5, "5000 ms": 5.0, "10 m": 600.0, "1 h": 3600.0},
            ("", "ten", "1 d", "-1", "1e3", "inf", "nan", "\u0663", "1 s 2", "8785 h", "9" * 40),
        )

    def test_sizes(self) -> None:
        """
        Sizes are in bytes, whatever unit they are written in.
        """
        self.check(
            "history.max_bytes",
            {"1048576": 1048576, "64 MiB": 64 * 1024**2, "16KiB": 16384, "1 MB": 10**6, "7 B": 7},
            (
                "",
                "1 TB",
                "1.5 MB",
                "-1",
                "0",
                "1 MB, or so",
                "8 kbit",
                "1_000",
                "mib",
                "1048577 GiB",
            ),
        )

    def test_numbers(self) -> None:
        """
        Whole numbers are written in plain digits and kept to their range.
        """
        self.check("gateway.workers", {"1": 1, "256": 256}, ("0", "257", "-1", "1.0", "0x1", ""))
        self.check("rabbitmq.prefetch", {"1": 1, "65535": 65535}, ("0", "65536", "1_0"))
        self.check("limits.max_connections", {"0": 0, "9": 9}, ("-1", "many", "9" * 400))
        self.check("limits.max_buffered_bytes", {"1": 1}, ("0",))
        self.check("gateway.heartbeat_interval", {"0.01": 0.01}, ("0", "9 ms"))
        self.check("gateway.identify_timeout", {"10 ms": 0.01}, ("0 s",))
        self.check("redis.dedup_window", {"1": 1.0}, ("0",))
        self.check("auth.leeway", {"0": 0.0}, ("-1 s",))

    def test_switches(self) -> None:
        """
        Yes and no have their usual words.
        """
        yes = dict.fromkeys(["yes", "true", "ON", "1"], True)
        no = dict.fromkeys(["no", "False", "off", "0"], False)
        self.check("redis.cluster_keys", {**yes, **no}, ("", "2", "maybe"))

    def test_choices(self) -> None:
        """
        Where there is a choice only its words are taken.
        """
        self.check("rabbitmq.exchange_type", {"topic": "topic", "fanout": "fanout"}, ("direct", ""))
        self.check("auth.guild_authority", {"redis": "redis", "token": "token"}, ("Token", "none"))

    def test_algorithms(self) -> None:
        """
        Algorithms stand on lines, between commas or spaces; C{none} is never one.
        """
        self.check(
            "auth.algorithms",
            {
                "HS256": ("HS256",),
                "RS256, ES512\nEdDSA PS384": ("RS256", "ES512", "EdDSA", "PS384"),
            },
            ("", "none", "HS256 none", "hs256", "ES521"),
        )

    def test_events(self) -> None:
        """
        Names of events stand on lines, between commas or spaces; there may be none.
        """
        self.check(
            "events.ephemeral",
            {"a.b,c.d": ("a.b", "c.d"), "a.b\nc\td a.b": ("a.b", "c", "d"), "": ()},
            ("typing.*", "x" * 65),
        )

    def test_origins(self) -> None:
        """
        Origins are made what a browser sends, and what no browser sends is refused.
        """
        self.check(
            "gateway.allowed_origins",
            {
                "*": ("*",),
                "": (),
                "HTTPS://Example.com:443, http://[::1]:80 null": (
                    *("https://example.com", "http://[::1]", "null"),
                ),
                "http://a:8080 app://b https://c:80": ("http://a:8080", "app://b", "https://c:80"),
                "https://*.Example.com": ("https://*.example.com",),
            },
            (
                *("example.com", "https://example.com/", "https://a:port", "https://a.*.com"),
                "https://*example.com",
            ),
        )

    def test_networks(self) -> None:
        """
        Addresses and networks of either family, and nothing that names more than it seems to.
        """
        self.check(
            "gateway.trusted_proxies",
            {
                "": (),
                "10.0.0.1 192.168.0.0/16": ("10.0.0.1/32", "192.168.0.0/16"),
                "::1,fd00::/8": ("::1/128", "fd00::/8"),
            },
            ("10.0.0.1/8", "localhost", "10.0.0", "10.0.0.0/33"),
        )

    def test_text(self) -> None:
        """
        Text is one line without quotes around it, as long as its place allows.
        """
        self.check("auth.issuer", {"an issuer": "an issuer", "": None}, ("a\nb", '"a"', "a\0b"))
        self.check("redis.channel", {"a" * 255: "a" * 255}, ("", "a" * 256, "\u00e9" * 128, "'a'"))
        self.check("gateway.instance", {"a.B-1:2@c_d": "a.B-1:2@c_d"}, ("a b", "x" * 101, "\u00e9"))
        self.check("auth.authority_key", {"{g}{guildId}": "{g}{guildId}"}, ("", "guild:%s"))

    def test_secrets(self) -> None:
        """
        A secret is taken as it is, but a PEM key never as a secret, and a token only as what a
        header can hold.
        """
        made = value_of("auth.secret", " a #;%= \u00e9 ")
        self.assertEqual(made.get_secret_value(), " a #;%= \u00e9 ")
        self.check("auth.secret", {}, ("-----BEGIN PUBLIC KEY-----", "a\nb"))
        made = value_of("http.admin_token", "aZ09._~+/-==")
        self.assertEqual(made.get_secret_value(), "aZ09._~+/-==")
        self.check("http.admin_token", {}, ("a b", "a=b", "\u00e9", "a\n"))

    @given(st.floats(0, 31622400.0).map(lambda seconds: float(f"{seconds:g}")))
    def test_duration_text(self, seconds: float) -> None:
        """
        A default duration is written as a text that makes it again.
        """
        if "e" not in f"{seconds:g}":
            self.assertEqual(duration(duration_text(seconds)), seconds)

    @given(
        st.one_of(
            st.integers(0, 10**15 - 1),
            st.just(1024**5),
            st.integers(0, 10**6).map(lambda n: n * 1024),
        )
    )
    def test_size_text(self, count: int) -> None:
        """
        A default size is written as a text that makes it again.
        """
        self.assertEqual(size(size_text(count)), count)

    def test_values_in_code(self) -> None:
        """
        Code may give values as they are, under the same bounds.
        """
        made = Config.model_validate({"limits": {"max_guilds": 3}, "gateway": {"drain_time": 2}})
        self.assertEqual((made.limits.max_guilds, made.gateway.drain_time), (3, 2.0))
        for wrong in ({"max_guilds": -1}, {"max_guilds": 1.0}, {"max_guild": 1}):
            with self.assertRaises(ValueError):
                Config.model_validate({"limits": wrong})


class URLTests(SynchronousTestCase):
    """
    Addresses.
    """

    def test_redis(self) -> None:
        """
        An address of Redis says where, which database and as whom.
        """
        for url, expected in {
            "redis://host": RedisServer("host", 6379, False, 0, None, None),
            "REDISS://Host:1/": RedisServer("host", 1, True, 0, None, None),
            "redis://:p%40ss@[::1]:7/15": RedisServer("::1", 7, False, 15, None, "p@ss"),
            "redis://me:a@b@host/3": RedisServer("host", 6379, False, 3, "me", "a@b"),
        }.items():
            self.assertEqual(redis_server(url), expected)

    @given(HOSTS, PORTS, st.integers(0, 99), st.text(min_size=1, max_size=9), st.text(min_size=1))
    def test_redis_round_trip(
        self, host: str, port: int, database: int, username: str, password: str
    ) -> None:
        """
        Any user and password can be written.
        """
        place = f"[{host}]" if ":" in host else host
        user = f"{quote(username, safe='')}:{quote(password, safe='')}"
        self.assertEqual(
            redis_server(f"rediss://{user}@{place}:{port}/{database}"),
            RedisServer(host, port, True, database, username, password),
        )

    def test_redis_of_config(self) -> None:
        """
        The section of Redis reads its address out.
        """
        made = parse("[redis]\nurl = redis://host/1", "x.ini", {}, Defaults("host", 1))
        self.assertEqual(made.redis.server, RedisServer("host", 6379, False, 1, None, None))
        self.assertIsNone(Config().redis.server)

    def test_refused(self) -> None:
        """
        What a library would misread, or read only half, is refused.
        """
        for key, urls in {
            "redis.url": (
                *("host", "http://host", "redis:host", "redis://", "redis://host:", "redis://:1"),
                *("redis://host:0", "redis://host:65536", "redis://host:x", "redis://host/x"),
                *("redis://host/1/2", "redis://user@host", "redis://:@host", "redis://@host"),
                *("redis://host?db=1", "redis://host#1", "redis://ho st", "redis://h\u00f6st"),
                *(
                    "redis://:%ff@host",
                    "redis://[::1",
                    "redis://a,b",
                    "redis://:\u00e9@host",
                    "redis://host/\n",
                ),
            ),
            "rabbitmq.url": (
                *("host", "redis://host", "amqp://", "amqp://user@host", "amqp://:p@host"),
                *("amqp://host/a/b", "amqp://host/%ff", "amqp://host?heartbeat=1", "amqp://host:0"),
            ),
            "auth.jwks_url": ("host", "ftp://host", "https://u:p@host", "https:///x", "http://h#f"),
        }.items():
            for url in urls:
                self.assertIsNone(value_of(key, url), url)
        self.assertEqual(value_of("auth.jwks_url", "https://h/x?y=z"), "https://h/x?y=z")

    @given(
        st.sampled_from(["amqp", "amqps"]),
        st.one_of(
            st.just(""),
            st.tuples(st.text(), st.text()).map(
                lambda both: ":".join(quote(part, safe="") for part in both) + "@"
            ),
        ),
        HOSTS.map(lambda host: f"[{host}]" if ":" in host else host),
        st.one_of(st.just(""), PORTS.map(":{}".format)),
        st.sampled_from(["", "/", "/%2F", "/vhost", "/a%2Fb", "//", "/a/b"]),
    )
    def test_amqp(self, scheme: str, user: str, host: str, port: str, path: str) -> None:
        """
        pika takes every address that is taken here, and sees the host that was written.
        """
        url = f"{scheme}://{user}{host}{port}{path}"
        try:
            amqp_url(url)
        except WrongValue:
            return
        self.assertEqual(URLParameters(url).host, host.strip("[]"))
