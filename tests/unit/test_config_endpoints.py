"""
Tests for L{gatewayd.config.endpoints}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.config.endpoints import endpoint
from gatewayd.config.values import WrongValue

PARTS = st.sampled_from(
    [
        *(
            "3005",
            "0",
            "65535",
            "65536",
            "x",
            "port=1",
            "/a=b",
            "address=/a=b",
            "interface=127.0.0.1",
            "interface=\\:\\:1",
        ),
        *("backlog=2048", "backlog=x", "mode=660", "mode=9", "lockfile=0", "/run/ws", "address=/a"),
        *("privateKey=a", "key=", "=", "\\", "", "haproxy", "::1"),
    ]
)


class EndpointTests(SynchronousTestCase):
    """
    Descriptions of server endpoints.
    """

    def test_taken(self) -> None:
        """
        What is known is taken, and what some plugin may know.
        """
        for text in (
            *("tcp:3005", "tcp:port=3005:interface=127.0.0.1:backlog=2048", "tcp6:3005"),
            *("unix:/run/gateway.sock:mode=660", r"tcp6:3005:interface=\:\:1"),
            *("systemd:domain=INET:index=0", "systemd:INET6:name=ws", "haproxy:tcp:3005"),
            *(
                "ssl:443:privateKey=a.pem:certKey=b.pem",
                "onion:80:controlPort=9051",
                "unix:address=/a=b",
            ),
        ):
            self.assertEqual(endpoint(text), text)

    def test_refused(self) -> None:
        """
        What cannot be opened is refused, and it is said what was expected.
        """
        for text, expected in {
            "3005": "such as tcp:3005",
            "tcp": "such as tcp:3005",
            "tcp:": "from 0 to 65535 as its port",
            "tcp:interface=::1": r"a colon in a value is written \:",
            "tcp:1:a:5:c": r"expected fewer parts",
            "tcp:interface=a": "a port behind tcp:",
            "tcp:65536": "from 0 to 65535",
            "tcp:3005:port=3006": "one port",
            "tcp:3005:bakclog=5": "only port, interface, backlog",
            "tcp:3005\\": "behind the last backslash",
            "unix:": "a path",
            "unix:/x:mode=999": "octal",
            "systemd:domain=INET": "either index or name",
            "systemd:INET:index=0:name=a": "either index or name",
            "haproxy:tcp:x": "from 0 to 65535",
            "haproxy:": "such as tcp:3005",
        }.items():
            wrong = self.assertRaises(WrongValue, endpoint, text)
            self.assertIn(expected, str(wrong))

    @given(st.sampled_from(["tcp", "tcp6", "unix", "haproxy:tcp"]), st.lists(PARTS, max_size=3))
    def test_like_twisted(self, kind: str, parts: list[str]) -> None:
        """
        Twisted can open what is taken here.
        """
        text = ":".join([kind, *parts])
        try:
            endpoint(text)
        except WrongValue:
            return
        reactor = MemoryReactorClock()
        self.successResultOf(serverFromString(reactor, text).listen(Factory()))
        self.assertEqual(len(reactor.tcpServers + reactor.unixServers), 1)

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_path(self, path: str) -> None:
        """
        A path may hold anything, as Twisted quotes it.
        """
        reactor = MemoryReactorClock()
        text = endpoint(f"unix:{quoteStringArgument(path).replace('=', chr(92) + '=')}")
        self.successResultOf(serverFromString(reactor, text).listen(Factory()))
        self.assertEqual(reactor.unixServers[0][0], path)
