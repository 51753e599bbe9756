"""Silence: with pings it is no reason to end, without them the read timeout ends it with a Close frame."""

import asyncio
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from house import case, site

SILENCE = 21  # seconds; four times the read timeout
PINGED = "proxy_read_timeout 5s; websocket_ping 2s;"
UNPINGED = "proxy_read_timeout 5s; websocket_ping off;"


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def python_client(port, silence):
    """A socket of Python that sends nothing for a while: the echo after it, or the code that ended it."""
    start = time.monotonic()
    async with connect(f"ws://127.0.0.1:{port}/", ping_interval=None, proxy=None) as client:
        try:
            await asyncio.wait_for(client.recv(), silence)
            raise AssertionError("a message out of nothing")
        except asyncio.TimeoutError:
            await client.send("after the silence")
            return {"echo": await client.recv()}
        except ConnectionClosed as end:
            return {"closed": end.rcvd and end.rcvd.code, "took": time.monotonic() - start}


async def three(house, directives, silence):
    """Sockets of Python, Node and Chromium, silent at once: what became of each."""
    async with serve(echo, "127.0.0.1", 0, ping_interval=None) as backend:
        longwire = await house.longwire(site(backend.sockets[0].getsockname()[1], directives))
        url = f"ws://127.0.0.1:{longwire.port}/"
        node = await house.node("client.js", url, silence)
        chromium = await house.node("browser.js", "silent", url, silence)

        async def of(process):
            await process.wait(silence + 60)
            told = [t for t in process.jsons() if "echo" in t or "closed" in t or "error" in t]
            assert told, f"{process.name}: {process.text}"
            return told[0]

        python, node, chromium = await asyncio.gather(python_client(longwire.port, silence), of(node), of(chromium))
        return {"Python": python, "Node": node, "Chromium": chromium}, longwire


@case(f"silent sockets of Python, Node and Chromium live past {SILENCE} s with a read timeout of 5 s")
async def silence_is_no_reason(house):
    ends, _ = await three(house, PINGED, SILENCE)
    for name, told in ends.items():
        assert str(told.get("echo", "")).startswith("after the silence"), f"{name}: {told}"
    return ", ".join(ends)


@case("with websocket_ping off the read timeout of 5 s ends all three with Close 1001")
async def without_pings_it_ends(house):
    ends, longwire = await three(house, UNPINGED, SILENCE)
    for name, told in ends.items():
        assert told.get("closed") == 1001, f"{name}: {told}"
    assert 4 < ends["Python"]["took"] < 12, ends["Python"]
    ended = [line for line in longwire.lines if "tunnel ended" in line]
    assert len(ended) == 3, longwire.text
    return f"Python after {ends['Python']['took']:.1f} s; reasons: {ends['Node'].get('reason')!r}"
