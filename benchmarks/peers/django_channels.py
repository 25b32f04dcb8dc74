"""
Django Channels on daphne, its layer in memory: python django_channels.py WEB CONTROL
"""

import asyncio
import sys

from twisted.internet import asyncioreactor

asyncioreactor.install(asyncio.new_event_loop())

from django.conf import settings  # noqa: E402

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 10_000},
        }
    }
)

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from daphne.server import Server  # noqa: E402
from twisted.internet import protocol, reactor  # noqa: E402
from twisted.internet.defer import Deferred, DeferredQueue  # noqa: E402
from twisted.protocols.basic import LineOnlyReceiver  # noqa: E402

web, control = map(int, sys.argv[1:])
queue = DeferredQueue()


class Client(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("all", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard("all", self.channel_name)

    async def event(self, message):
        await self.send(text_data=message["text"])


class Control(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 22

    def lineReceived(self, line):
        queue.put(line.decode())


async def publish():
    layer = get_channel_layer()
    while True:
        text = await queue.get()
        sending = layer.group_send("all", {"type": "event", "text": text})
        await Deferred.fromFuture(asyncio.ensure_future(sending))


def ready():
    reactor.listenTCP(control, protocol.Factory.forProtocol(Control), interface="127.0.0.1")
    Deferred.fromCoroutine(publish())


Server(
    Client.as_asgi(),
    endpoints=[f"tcp:port={web}:interface=127.0.0.1:backlog=1024"],
    ready_callable=ready,
    ping_interval=0,
    verbosity=0,
).run()
