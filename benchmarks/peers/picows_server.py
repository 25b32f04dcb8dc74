"""
picows on uvloop: python picows_server.py WEB CONTROL
"""

import asyncio
import sys

import uvloop
from lines import serve_lines
from picows import WSListener, WSMsgType, ws_create_server

web, control = map(int, sys.argv[1:])
clients = set()


class Client(WSListener):
    def on_ws_connected(self, transport):
        clients.add(transport)

    def on_ws_disconnected(self, transport):
        clients.discard(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())


def broadcast(line):
    for transport in clients:
        transport.send(WSMsgType.TEXT, line)


async def main():
    await ws_create_server(lambda request: Client(), "127.0.0.1", web, backlog=1024)
    await serve_lines(control, broadcast)
    await asyncio.get_running_loop().create_future()


uvloop.run(main())
