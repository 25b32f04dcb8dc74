"""
The application's part for L{gatewayd.client.twisted}:
C{python -m clients.conformance.drivers.twisted CONTROL_URL}.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Awaitable

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from clients.conformance.drivers.part import CAN, Done, Parts, Promise, World
from gatewayd.client.twisted import GatewayClient

log = Logger()


def promise() -> Promise:
    """
    See L{World.promise}.
    """
    deferred: Deferred[str] = Deferred()
    return Promise(deferred, deferred.callback, deferred.errback)


def follow(work: Awaitable[None], done: Done) -> None:
    """
    See L{World.follow}.
    """
    deferred: Deferred[Any] = work if isinstance(work, Deferred) else ensureDeferred(work)  # type: ignore[arg-type]

    def failed(failure: Failure) -> None:
        done(failure.value)

    deferred.addCallbacks(lambda _: done(None), failed)
    deferred.addErrback(lambda failure: log.failure("the driver failed", failure))


class Control(WebSocketClientProtocol):
    """
    The connection to the theatre.
    """

    factory: Theatre

    def onOpen(self) -> None:
        """
        Say who we are.
        """
        self.sendMessage(json.dumps({"driver": "twisted", "can": CAN}).encode())
        self.parts = Parts(World(GatewayClient, promise, follow), self.sendMessage)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Do something.
        """
        self.parts.told(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        The play is over.
        """
        self.factory.over.callback(None)


class Theatre(WebSocketClientFactory):
    """
    Who tells us what to do.
    """

    noisy = False

    def __init__(self, url: str, reactor: Any) -> None:
        super().__init__(url, reactor=reactor)
        self.protocol = Control
        self.over: Deferred[None] = Deferred()


async def main(reactor: Any, url: str) -> None:
    """
    Be told what to do until the theatre closes.
    """
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    factory = Theatre(url, reactor=reactor)
    await clientFromString(reactor, f"tcp:{factory.host}:{factory.port}").connect(factory)
    await factory.over


if __name__ == "__main__":
    task.react(lambda reactor: ensureDeferred(main(reactor, sys.argv[1])))
