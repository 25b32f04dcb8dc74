"""
tornado on uvloop: python tornado_server.py WEB CONTROL
"""

import asyncio
import sys

import uvloop
from lines import serve_lines
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

web, control = map(int, sys.argv[1:])
clients = set()


class Client(WebSocketHandler):
    def open(self):
        self.set_nodelay(True)
        clients.add(self)

    def on_close(self):
        clients.discard(self)


def broadcast(line):
    for client in clients:
        client.write_message(line)


async def main():
    application = Application([("/", Client)], log_function=lambda handler: None)
    HTTPServer(application).add_sockets(bind_sockets(web, "127.0.0.1", backlog=1024))
    await serve_lines(control, broadcast)
    await asyncio.get_running_loop().create_future()


uvloop.run(main())
