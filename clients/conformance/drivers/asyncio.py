"""
The application's part for L{gatewayd.client.asyncio}:
C{python -m clients.conformance.drivers.asyncio CONTROL_URL}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Awaitable

from websockets.asyncio.client import connect

from clients.conformance.drivers.part import CAN, Done, Parts, Promise, World
from gatewayd.client.asyncio import GatewayClient

_tasks: set[asyncio.Task[None]] = set()


def promise() -> Promise:
    """
    See L{World.promise}.
    """
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return Promise(future, future.set_result, future.set_exception)


def follow(work: Awaitable[None], done: Done) -> None:
    """
    See L{World.follow}.
    """

    async def wait() -> None:
        try:
            await work
        except Exception as error:
            done(error)
        else:
            done(None)

    task = asyncio.get_running_loop().create_task(wait())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def main(url: str) -> None:
    """
    Be told what to do until the theatre closes.
    """
    outgoing: asyncio.Queue[bytes] = asyncio.Queue()
    parts = Parts(World(GatewayClient, promise, follow), outgoing.put_nowait)
    async with connect(url, ping_interval=None, max_size=None) as control:
        await control.send(json.dumps({"driver": "asyncio", "can": CAN}))

        async def speak() -> None:
            while True:
                await control.send(await outgoing.get(), text=True)

        speaking = asyncio.create_task(speak())
        async for text in control:
            parts.told(text)
        speaking.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
