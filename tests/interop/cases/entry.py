"""The configuration that many guides give, word for word, on the ports that it names."""

import asyncio
import ssl

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from house import BINARY, EXAMPLES, Skip, bindable, case


def entry():
    """The block itself, without the comment above it in the example."""
    return "\n".join(l for l in (EXAMPLES / "entry.conf").read_text().split("\n") if not l.startswith("#")).lstrip()


def trusting():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@case("the entry word for word: wss on 443, a backend on 3000", alone=True)
async def entry_on_its_ports(house):
    text = entry()
    assert text.startswith("map $http_upgrade $connection_upgrade {") and "listen 443 ssl;" in text
    file = house.write("entry.conf", text)
    status, said = await house.run(BINARY, "-t", "-c", file, "-p", house.folder)
    assert status == 0 and "test is successful" in said, said
    assert "warn" in said and "certificate" in said, f"no warning about the certificate: {said}"
    if not bindable(443) or not bindable(3000):
        raise Skip("port 443 or 3000 cannot be bound here")

    seen = asyncio.get_running_loop().create_future()

    async def backend(socket):
        if not seen.done():
            seen.set_result((socket.request.path, socket.request.headers))
        async for message in socket:
            await socket.send(f"echo of {message}")

    async with serve(backend, "127.0.0.1", 3000):
        await house.longwire_with("-c", file, "-p", house.folder)
        async with connect("wss://example.com/ws/chat?room=1", host="127.0.0.1", port=443, ssl=trusting(),
                           proxy=None) as client:
            for number in range(3):
                await client.send(f"message {number}")
                assert await client.recv() == f"echo of message {number}"
        path, headers = await seen
        assert path == "/ws/chat?room=1", path
        assert headers["Upgrade"] == "websocket", headers
        assert headers["Connection"].lower() == "upgrade", headers
        assert headers["Host"] == "example.com", headers
        assert headers["X-Real-IP"] == "127.0.0.1", headers
        # Node's client too.
        node = await house.node("client.js", "wss://127.0.0.1:443/ws/", "0")
        assert (await node.json("echo"))["length"] > 5000
    warning = next(line for line in said.split("\n") if "certificate" in line)
    return f"backend saw Upgrade, Connection, Host, X-Real-IP; -t: {warning.strip()[:120]}"
