"""Neighbours: compression between real ends, and nginx in front of and behind longwire."""

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from house import case, site

TEXT = "compresses well, " * 4000


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def talk(port):
    """A compressed conversation of Python's client: the extensions agreed on."""
    async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        for message in (TEXT, "short", "", b"\0\1\2" * 50000, "äöü€😀" * 1000):
            await client.send(message)
            assert await client.recv() == message
        return [type(e).__name__ for e in client.protocol.extensions]


@case("permessage-deflate: Python and Node, each as client and as server")
async def compression(house):
    async with serve(echo, "127.0.0.1", 0, compression="deflate") as python:
        node = await house.node_echo("deflate")
        for name, port in (("Python", python.sockets[0].getsockname()[1]), ("Node", node.port)):
            folder = house.folder / name
            folder.mkdir()
            file = folder / "longwire.conf"
            file.write_text(site(port))
            longwire = await house.longwire_with("-c", file, "-p", folder)
            assert await talk(longwire.port) == ["PerMessageDeflate"], f"Python to {name}"
            client = await house.node("client.js", f"ws://127.0.0.1:{longwire.port}/", "0", "deflate")
            assert "permessage-deflate" in (await client.json("opened"))["opened"], client.text
            assert (await client.json("echo"))["length"] == 5018, client.text
            # The compressed text is a small part of what was said.
            await client.wait()
            assert any("tunnel ended" in line for line in longwire.lines), longwire.text
    return "four pairs"


def upgrade(port, more=""):
    return f"""server {{ listen 127.0.0.1:PORT; location / {{
        proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade"; proxy_set_header Host $host; {more} }} }}"""


@case("nginx in front: its read timeout of 3 s meets no silence")
async def nginx_in_front(house):
    backend = await house.node_echo("deflate")
    longwire = await house.longwire(site(backend.port, "websocket_ping 1s;"))
    front = await house.nginx(upgrade(longwire.port, "proxy_read_timeout 3s;"))
    assert await talk(front.port) == ["PerMessageDeflate"]
    client = await house.node("client.js", f"ws://127.0.0.1:{front.port}/", "8")
    assert (await client.json("echo"))["echo"] == "after the silence"
    return "8 s of silence through both"


@case("nginx behind: its read timeout of 3 s meets no silence")
async def nginx_behind(house):
    backend = await house.node_echo("deflate")
    behind = await house.nginx(upgrade(backend.port, "proxy_read_timeout 3s; proxy_send_timeout 3s;"))
    longwire = await house.longwire(site(behind.port, "websocket_ping 1s;"))
    assert await talk(longwire.port) == ["PerMessageDeflate"]
    client = await house.node("client.js", f"ws://127.0.0.1:{longwire.port}/", "8")
    assert (await client.json("echo"))["echo"] == "after the silence"
    return "8 s of silence through both"


@case("many messages at once between Python and Node arrive whole and in order")
async def many(house):
    backend = await house.node_echo("deflate")
    longwire = await house.longwire(site(backend.port))

    async def one(number):
        async with connect(f"ws://127.0.0.1:{longwire.port}/", proxy=None) as client:
            messages = [f"{number}/{n} " + "x" * (n * 37 % 9000) for n in range(100)]
            sending = asyncio.create_task(send_all(client, messages))
            for message in messages:
                assert await client.recv() == message
            await sending

    await asyncio.gather(*(one(n) for n in range(20)))
    return "20 sockets, 100 messages each"


async def send_all(client, messages):
    for message in messages:
        await client.send(message)
