"""A client of Python in a process of its own, so that it can be frozen: silent, and tells of each ping."""

import asyncio
import json
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode


class Telling(ClientConnection):
    """Says how many pings have come; they are answered before this is called."""

    pings = 0

    def process_event(self, event):
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
            print(json.dumps({"ping": self.pings}), flush=True)


async def main():
    async with connect(sys.argv[1], ping_interval=None, proxy=None, create_connection=Telling) as client:
        print(json.dumps({"opened": True}), flush=True)
        await client.wait_closed()


asyncio.run(main())
