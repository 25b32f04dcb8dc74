"""
aiohttp on uvloop: python aiohttp_server.py WEB CONTROL
"""

import asyncio
import sys

import uvloop
from aiohttp import web as http
from lines import serve_lines_in_turn

web, control = map(int, sys.argv[1:])
clients = set()


async def client(request):
    socket = http.WebSocketResponse(compress=False)
    await socket.prepare(request)
    clients.add(socket)
    try:
        async for _ in socket:
            pass
    finally:
        clients.discard(socket)
    return socket


async def broadcast(line):
    text = line.decode()
    for socket in clients:
        await socket.send_str(text)


async def main():
    app = http.Application()
    app.router.add_get("/", client)
    runner = http.AppRunner(app, access_log=None)
    await runner.setup()
    await http.TCPSite(runner, "127.0.0.1", web, backlog=1024).start()
    await serve_lines_in_turn(control, broadcast)
    await asyncio.get_running_loop().create_future()


uvloop.run(main())
