"""
Autobahn as it comes: python stock_autobahn.py WEB CONTROL message|prepared deflate|plain
"""

import sys

from twisted.internet import epollreactor

epollreactor.install()

from autobahn.twisted.websocket import (  # noqa: E402
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.compress import (  # noqa: E402
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)
from twisted.internet import protocol, reactor  # noqa: E402
from twisted.protocols.basic import LineOnlyReceiver  # noqa: E402

web, control, way, compression = sys.argv[1:]
clients = set()


class Client(WebSocketServerProtocol):
    def onOpen(self):
        clients.add(self)

    def onClose(self, wasClean, code, reason):
        clients.discard(self)


def accept(offers):
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None


class Control(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 22

    def lineReceived(self, line):
        if way == "prepared":
            prepared = factory.prepareMessage(line, isBinary=False)
            for client in clients:
                client.sendPreparedMessage(prepared)
        else:
            for client in clients:
                client.sendMessage(line, isBinary=False)


factory = WebSocketServerFactory()
factory.protocol = Client
factory.setProtocolOptions(tcpNoDelay=True)
if compression == "deflate":
    factory.setProtocolOptions(perMessageCompressionAccept=accept)
reactor.listenTCP(int(web), factory, backlog=1024, interface="127.0.0.1")
reactor.listenTCP(int(control), protocol.Factory.forProtocol(Control), interface="127.0.0.1")
reactor.run()
