"""
The client that listens, against Autobahn's server, over a wire in memory.
"""

from __future__ import annotations

import json
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.test.iosim import IOPump, connectedServerAndClient
from twisted.trial.unittest import SynchronousTestCase
from txaio.tx import config as txaio_config

from gatewayd.ws.listening import Ending, Listener, listener_factory

IDENTIFY = {"userId": "alice", "token": "a token", "guildIds": ["g1"]}


class Server(WebSocketServerProtocol):
    """
    Keeps what it is sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Called by Autobahn.
        """
        self.sent.append((isBinary, json.loads(payload)))


class ListenerTests(SynchronousTestCase):
    """
    L{Listener}.
    """

    def setUp(self) -> None:
        """
        Connect one, and shake hands.
        """
        clock = Clock()
        # Autobahn's handshake time-out asks txaio, not the factory, for its clock.
        before = txaio_config.loop
        txaio_config.loop = clock  # type: ignore[assignment]
        self.addCleanup(setattr, txaio_config, "loop", before)
        self.heard: list[str] = []
        clients = listener_factory(clock, "ws://localhost:3005", IDENTIFY, self.heard.append)
        servers = WebSocketServerFactory("ws://localhost:3005", reactor=clock)
        servers.protocol = Server
        self.client: Listener
        self.server: Server
        self.pump: IOPump
        self.client, self.server, self.pump = connectedServerAndClient(
            lambda: cast(Server, servers.buildProtocol(None)),
            lambda: cast(Listener, clients.buildProtocol(None)),
            clock=clock,
        )
        self.pump.flush()

    def says(self, event: str, **data: object) -> str:
        """
        Have the server send a message; return its text.
        """
        text = json.dumps({"event": event, "data": data})
        self.server.sendMessage(text.encode())
        self.pump.flush()
        return text

    def test_identifies_when_ready(self) -> None:
        """
        It waits for C{ready}, and then identifies, once.
        """
        self.assertEqual(self.server.sent, [])
        self.says("ready", sessionId="s")
        self.says("identified")
        self.assertEqual(self.server.sent, [(False, {"event": "identify", "data": IDENTIFY})])

    def test_hears(self) -> None:
        """
        What comes is handed on in order, as it came.
        """
        texts = [self.says("ready"), self.says("identified"), self.says("message.create", id="ü")]
        self.assertEqual(self.heard, texts)

    def test_answers_heartbeats(self) -> None:
        """
        A heartbeat is answered and kept from whoever listens.
        """
        self.says("heartbeat", lastEventId="1-0")
        self.assertEqual(self.server.sent, [(False, {"event": "heartbeat_ack", "data": {}})])
        self.assertEqual(self.heard, [])

    def test_closed(self) -> None:
        """
        A close by the gateway ends it with the code and the reason that the gateway gave.
        """
        self.server.sendClose(4004, "token refused")
        self.pump.flush()
        self.assertEqual(self.successResultOf(self.client.ended), Ending(4004, "token refused"))

    def test_no_gateway(self) -> None:
        """
        A message that no gateway sends ends it, and the reason says so.
        """
        for text in (b"hello", b'["hello"]', b'{"message": "hello"}'):
            self.setUp()
            self.server.sendMessage(text)
            self.pump.flush()
            ending = self.successResultOf(self.client.ended)
            self.assertEqual(ending.code, 1006)
            self.assertIn("gateway", ending.reason)
            self.assertEqual(self.heard, [])

    def test_lost(self) -> None:
        """
        A connection that is simply gone ends it as 1006.
        """
        self.assertNoResult(self.client.ended)
        cast(ITCPTransport, self.server.transport).abortConnection()
        self.pump.flush()
        self.assertEqual(self.successResultOf(self.client.ended).code, 1006)
