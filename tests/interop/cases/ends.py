"""Ends of a tunnel that vanish: frozen, killed, gone. The other one is told."""

import asyncio
import os
import signal
import sys
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from house import HERE, case, site

INTERVAL = 2.0


async def frozen(house, start_client):
    """Freezes a client that has answered pings; gives the seconds until its backend was told, and with what."""
    told = asyncio.get_running_loop().create_future()

    async def backend(socket):
        try:
            async for _ in socket:
                pass
        except ConnectionClosed:
            pass
        if not told.done():
            told.set_result((socket.protocol.close_rcvd, time.monotonic()))

    async with serve(backend, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        longwire = await house.longwire(site(port, f"websocket_ping {INTERVAL:.0f}s;"))
        client = await start_client(f"ws://127.0.0.1:{longwire.port}/")
        # Two pings seen by the client: the first was answered for sure.
        await client.line(lambda line: True if '"ping": 2' in line or '"ping":2' in line else None)
        os.kill(client.child.pid, signal.SIGSTOP)
        since = time.monotonic()
        try:
            close, at = await asyncio.wait_for(told, 2 * INTERVAL + 10)
        finally:
            os.kill(client.child.pid, signal.SIGCONT)
        assert close is not None and close.code == 1001, f"told {close}\n{longwire.text}"
        took = at - since
        assert took < 2 * INTERVAL + 2, f"took {took:.1f} s\n{longwire.text}"
        ended = await longwire.line(lambda line: line if "tunnel ended" in line else None)
        return f"told {close.code} {close.reason!r} after {took:.1f} s; log: {ended.split(': ', 1)[-1][:200]}"


@case("a frozen client of Node is found within two intervals and its backend told 1001")
async def frozen_node(house):
    return await frozen(house, lambda url: house.node("client.js", url, "600"))


@case("a frozen client of Python is found within two intervals and its backend told 1001")
async def frozen_python(house):
    return await frozen(house, lambda url: house.start(sys.executable, HERE / "cases" / "python_client.py", url,
                                                       name="python_client.py"))


async def killed(house, backend):
    longwire = await house.longwire(site(backend.port))
    clients = [await connect(f"ws://127.0.0.1:{longwire.port}/", proxy=None) for _ in range(3)]
    for client in clients:
        await client.send("hello")
        assert await client.recv() == "hello"
    os.kill(backend.child.pid, signal.SIGKILL)
    for client in clients:
        try:
            await asyncio.wait_for(client.recv(), 10)
            raise AssertionError("a message from the dead")
        except ConnectionClosed as end:
            told = end.rcvd
        assert told and told.code == 1014, f"told {told}\n{longwire.text}"
    return f"{len(clients)} clients told {told.code} {told.reason!r}"


@case("a backend of Node killed with -9 gives its clients 1014")
async def killed_node(house):
    return await killed(house, await house.node_echo())


@case("a backend of Python killed with -9 gives its clients 1014")
async def killed_python(house):
    backend = await house.start(sys.executable, HERE / "cases" / "python_echo.py", name="python_echo.py")
    backend.port = (await backend.json("port"))["port"]
    return await killed(house, backend)


@case("a client that is killed gives its backend 1001")
async def killed_client(house):
    backend = await house.node_echo()
    longwire = await house.longwire(site(backend.port))
    client = await house.node("client.js", f"ws://127.0.0.1:{longwire.port}/", "600")
    await client.json("opened")
    os.kill(client.child.pid, signal.SIGKILL)
    told = await backend.json("closed")
    assert told["closed"] == 1001, told
    return f"told {told['closed']} {told['reason']!r}"


@case("a graceful end tells clients of Python and Node 1001")
async def graceful(house):
    backend = await house.node_echo()
    longwire = await house.longwire(site(backend.port, "websocket_drain 1s;"))
    url = f"ws://127.0.0.1:{longwire.port}/"
    node = await house.node("client.js", url, "600")
    await node.json("opened")
    async with connect(url, proxy=None) as python:
        os.kill(longwire.child.pid, signal.SIGQUIT)
        try:
            await asyncio.wait_for(python.recv(), 10)
            raise AssertionError("a message out of nothing")
        except ConnectionClosed as end:
            assert end.rcvd and end.rcvd.code == 1001, end.rcvd
    assert (await node.json("closed"))["closed"] == 1001
    assert (await backend.json("closed"))["closed"] == 1001
    assert await longwire.wait() == 0
