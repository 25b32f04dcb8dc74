"""
Something like a gateway, just enough of one for the harness to be tried on: it is run by
C{twistd --python}, reads the same configuration file, and speaks a few words of the protocol.
"""

from __future__ import annotations

import json
import os
from configparser import ConfigParser
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.application.service import Application, Service
from twisted.application.strports import service
from twisted.internet import reactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

log = Logger()


class Words(WebSocketServerProtocol):
    """
    Answers what L{tests.live.client} says, and echoes what it does not know.
    """

    def onConnect(self, request: Any) -> None:
        """
        Take anybody, but for one path.
        """
        if request.path == "/full":
            raise ConnectionDeny(503, "full")

    def onOpen(self) -> None:
        """
        Begin as a gateway does.
        """
        self.say("ready", sessionId="s1")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        One word.
        """
        message = json.loads(payload)
        event, data = message["event"], message["data"]
        if event == "identify":
            self.say("heartbeat")
            self.say("identified", userId=data["userId"], guildIds=data["guildIds"])
        elif event == "close":
            self.sendClose(data["code"], data["reason"])
        elif event == "crash":
            log.failure("An error made to order", Failure(ZeroDivisionError()))
        elif event == "flood":
            for number in range(data["count"]):
                self.say("flood", number=number, padding="x" * 1000)
        elif event == "die":
            os._exit(3)
        else:
            self.say("echo", heard=message)

    def say(self, event: str, **data: object) -> None:
        """
        Send one message.
        """
        self.sendMessage(json.dumps({"event": event, "data": data}).encode())


class Health(Resource):
    """
    Well, for C{ready_after} questions not yet.
    """

    isLeaf = True

    def __init__(self, ready_after: int) -> None:
        super().__init__()
        self.left = ready_after

    def render_GET(self, request: Request) -> bytes:
        """
        Any path.
        """
        self.left -= 1
        ready = self.left < 0
        request.setResponseCode(200 if ready else 503)
        return json.dumps({"status": "ok" if ready else "unavailable", "pid": os.getpid()}).encode()


class Refusal(Service):
    """
    Does not start.
    """

    def startService(self) -> None:
        """
        Fails.
        """
        raise RuntimeError("told not to start")


config = ConfigParser()
config.read("gateway.ini")
factory = WebSocketServerFactory(reactor=reactor)
factory.protocol = Words

application = Application("stand-in")
if config.getboolean("stand_in", "refuse", fallback=False):
    Refusal().setServiceParent(application)
service(config["gateway"]["listen"], factory).setServiceParent(application)
health = Health(config.getint("stand_in", "ready_after", fallback=0))
service(config["http"]["listen"], Site(health)).setServiceParent(application)
