"""
Tells C{twistd} that there is a command C{gateway}. Twisted imports this file on every start
of every command of its own, so it imports nothing of ours.
"""

from twisted.application.service import ServiceMaker

gateway = ServiceMaker(
    "gatewayd",
    "gatewayd.tap",
    "A WebSocket gateway: events published to RabbitMQ reach the clients who may see them.",
    "gateway",
)
