"""
Lines from the control port, for servers on asyncio.
"""

import asyncio

_working = set()  # asyncio holds its tasks only weakly


async def serve_lines(port, broadcast):
    """
    Call C{broadcast} with each line, without its end, in order.
    """

    class Lines(asyncio.Protocol):
        rest = b""

        def data_received(self, data):
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                broadcast(line)

    loop = asyncio.get_running_loop()
    return await loop.create_server(Lines, "127.0.0.1", port)


async def serve_lines_in_turn(port, broadcast):
    """
    Await C{broadcast} of each line, one after the other.
    """
    queue = asyncio.Queue()

    async def work():
        while True:
            await broadcast(await queue.get())

    server = await serve_lines(port, queue.put_nowait)
    _working.add(asyncio.ensure_future(work()))
    return server
