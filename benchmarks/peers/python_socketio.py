"""
python-socketio on aiohttp and uvloop: python python_socketio.py WEB CONTROL
"""

import asyncio
import json
import sys

import socketio
import uvloop
from aiohttp import web as http
from lines import serve_lines_in_turn

web, control = map(int, sys.argv[1:])


async def main():
    server = socketio.AsyncServer(
        async_mode="aiohttp", transports=["websocket"], http_compression=False, ping_interval=300
    )
    app = http.Application()
    server.attach(app)

    async def broadcast(line):
        event = json.loads(line)
        await server.emit(event["event"], event["data"])

    runner = http.AppRunner(app, access_log=None)
    await runner.setup()
    await http.TCPSite(runner, "127.0.0.1", web, backlog=1024).start()
    await serve_lines_in_turn(control, broadcast)
    await asyncio.get_running_loop().create_future()


uvloop.run(main())
