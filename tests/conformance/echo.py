"""
A gateway that says back what it is told: all of it is the real one, endpoint, limits and
protocol, but the one object that decides what a message means.

C{python -m tests.conformance.echo FILE} serves what the ini file FILE configures; with
C{patient} after it, also those who send more frames a minute than a gateway takes.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from gatewayd import closing, frames
from gatewayd.closing import Closing
from gatewayd.connection import Connection
from gatewayd.interfaces import ISink
from gatewayd.service import Gateway
from gatewayd.tap import Options, makeService
from gatewayd.ws.backlog import plain_descriptor


class Echo:
    """
    What a L{Connection} is to its protocol, and no more.
    """

    def __init__(self, sink: ISink, patient: bool) -> None:
        """
        @param patient: never mind how often it says something.
        """
        self._sink = sink
        self._patient = patient

    def received(self, payload: bytes, binary: bool) -> None:
        """
        See L{Connection.received}.
        """
        frame = frames.text_frame(payload)
        if binary:
            self._sink.send(bytes((frame[0] + 1,)) + frame[1:])
            return
        try:
            # Of a text in one frame, to look at this is the connection's part.
            payload.decode()
        except UnicodeDecodeError:
            self.end(closing.BAD_UTF8)
        else:
            self._sink.send(frame)

    def end(self, why: Closing) -> None:
        """
        See L{Connection.end}.
        """
        if not self._patient or why is not closing.RATE_LIMITED:
            self._sink.close(why)

    def lost(self, code: int | None) -> None:
        """
        See L{Connection.lost}.
        """


def made(path: str, patient: bool) -> Service:
    """
    The service that twistd would run, with clients that talk to themselves.
    """
    options = Options()
    options.parseOptions(["--config", path])
    service = cast(MultiService, makeService(options))
    [gateway] = [child for child in service if isinstance(child, Gateway)]
    protocol = gateway._factory.protocol

    class EchoProtocol(protocol):  # type: ignore[misc,valid-type]
        def _opened(self) -> None:
            self._descriptor = plain_descriptor(self.transport)
            self._connection = cast(Connection, Echo(self, patient))

    gateway._factory.protocol = EchoProtocol
    return service


def main(reactor: Any, path: str, *words: str) -> Deferred[None]:
    """
    Serve until somebody ends the process.
    """
    service = made(path, "patient" in words)
    service.privilegedStartService()
    service.startService()
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
