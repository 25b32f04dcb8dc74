"""
What stands between the cases and a real gateway, which begins every conversation with C{ready}
where the cases expect silence: it keeps the first frame of each connection to itself.

C{python -m tests.conformance.relay PORT TARGET} listens on the one and connects to the other,
both on this machine.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.protocols.portforward import (
    ProxyClient,
    ProxyClientFactory,
    ProxyFactory,
    ProxyServer,
)


class Upstream(ProxyClient):
    """
    The connection to the gateway.
    """

    _had: bytes | None = b""

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on what the gateway says, without its first frame.
        """
        if self._had is not None:
            self._had += data
            head, end, rest = self._had.partition(b"\r\n\r\n")
            if not end or len(rest) < 4:
                return
            size = rest[1]
            start = 2
            if size == 126:
                size, start = int.from_bytes(rest[2:4], "big"), 4
            if len(rest) < start + size:
                return
            data = head + end + rest[start + size :]
            self._had = None
        super().dataReceived(data)


class UpstreamFactory(ProxyClientFactory):
    """
    Makes an L{Upstream}.
    """

    protocol = Upstream
    noisy = False


class Downstream(ProxyServer):
    """
    The connection of the cases.
    """

    clientProtocolFactory = UpstreamFactory


class Relay(ProxyFactory):
    """
    The listening side.
    """

    protocol = Downstream
    noisy = False


def main(reactor: Any, port: str, target: str) -> Deferred[None]:
    """
    Relay until somebody ends the process.
    """
    reactor.listenTCP(int(port), Relay("127.0.0.1", int(target)), interface="127.0.0.1")
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
