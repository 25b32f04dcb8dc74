"""
websockets, by its own broadcast(): python websockets_broadcast.py WEB CONTROL
"""

import asyncio
import sys

import uvloop
from lines import serve_lines
from websockets.asyncio.server import broadcast, serve

web, control = map(int, sys.argv[1:])


async def main():
    clients = set()

    async def client(connection):
        clients.add(connection)
        try:
            await connection.wait_closed()
        finally:
            clients.discard(connection)

    options = {"compression": None, "ping_interval": None, "backlog": 1024}
    async with serve(client, "127.0.0.1", web, **options):
        await serve_lines(control, lambda line: broadcast(clients, line.decode()))
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
