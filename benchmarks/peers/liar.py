"""
A server that does one thing wrong, for the load client to notice:
python liar.py WEB CONTROL lose|repeat|swap|invent|leave
"""

import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import protocol, reactor
from twisted.protocols.basic import LineOnlyReceiver

web, control, fault = sys.argv[1:]
clients = []
AT = 5


class Client(WebSocketServerProtocol):
    def onOpen(self):
        clients.append(self)


class Control(LineOnlyReceiver):
    delimiter = b"\n"
    count = 0
    held = None

    def lineReceived(self, line):
        for client in clients[:-1]:
            client.sendMessage(line)
        for event in self.falsified(line):
            clients[-1].sendMessage(event)
        self.count += 1

    def falsified(self, line):
        if fault == "swap" and self.count == AT + 1:
            return [line, self.held]
        if self.count != AT:
            return [line]
        if fault == "leave":
            clients[-1].transport.abortConnection()
        self.held = line
        return {
            "lose": [],
            "repeat": [line, line],
            "swap": [],
            "invent": [line, line.replace(b"@0", b"@9")],
            "leave": [],
        }[fault]


factory = WebSocketServerFactory()
factory.protocol = Client
reactor.listenTCP(int(web), factory, interface="127.0.0.1")
reactor.listenTCP(int(control), protocol.Factory.forProtocol(Control), interface="127.0.0.1")
reactor.run()
