"""Sockets that open, and do not carry what a socket carries."""

import broken
import look
from lab import Visit, fault
from look import PING, TEXT

PASS = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
LONG = b"long " * 200_000


def saying(*frames, wanted):
    """Sends frames and looks at what comes back first."""

    async def shows(visit):
        return await look.said(visit, *frames)

    shows.wanted = wanted
    return shows


def at(port, shows):
    return Visit(f"ws://127.0.0.1:{port}/", shows)


@fault("message-limit")
async def ws_takes_16_kb(room):
    """Node's ws with `maxPayload` 16 KB: 1009"""
    return at(await room.echo(maxPayload=16384), saying((TEXT, LONG[:65536]), wanted="^closed 1009$"))


@fault("message-limit")
async def python_takes_256_kb_behind_haproxy(room):
    """Python's websockets with `max_size` 256 KB behind HAProxy: 1009 at 1 MB"""

    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message)

    backend = await room.websockets(handler, max_size=1 << 18)
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n")
    return at(port, saying((TEXT, LONG), wanted="^closed 1009$"))


@fault("message-limit")
async def long_messages_cut(room):
    """the connection is broken without a Close frame when a message is longer than 128 KB"""

    def handle(first, payload, state):
        return None if len(payload) > 1 << 17 else broken.echo(first, payload, state)

    return at(await room.serve(broken.talking(handle)), saying((TEXT, LONG), wanted="^(RST|FIN)$"))


@fault("message-limit")
async def longwire_takes_32_kb(room):
    """Longwire with `websocket_max_message 32k` in front"""
    backend = await room.echo()
    port = await room.longwire(
        "server { listen 127.0.0.1:PORT; websocket_max_message 32k;"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return at(port, saying((TEXT, LONG[:65536]), wanted="^closed 1009$"))


@fault("fragments-broken")
async def fragments_refused(room):
    """the server closes with 1002 when a message comes in fragments"""

    def handle(first, payload, state):
        whole = first & 0x80 and first & 15
        return broken.echo(first, payload, state) if whole else broken.frame(8, (1002).to_bytes(2, "big"))

    frames = ((TEXT, b"one", {"fin": False}), (0, b"two"))
    return at(await room.serve(broken.talking(handle)), saying(*frames, wanted="^closed 1002$"))


@fault("fragments-broken")
async def fragments_taken_for_messages(room):
    """the server says back each fragment as if it were a message of its own"""

    def handle(first, payload, state):
        return broken.frame(1, payload) if first & 15 in (0, 1) else broken.echo(first, payload, state)

    frames = ((TEXT, b"one", {"fin": False}), (0, b"two"))
    return at(await room.serve(broken.talking(handle)), saying(*frames, wanted="^text 3$"))


@fault("compression-broken")
async def compression_agreed_and_refused(room):
    """the server agrees to permessage-deflate, and closes with 1002 when a message is compressed"""

    def handle(first, payload, state):
        return broken.frame(8, (1002).to_bytes(2, "big")) if first & 0x40 else broken.echo(first, payload, state)

    handler = broken.talking(handle, Sec_WebSocket_Extensions="permessage-deflate")
    frames = ((TEXT, b"\xf2H\xcd\xc9\xc9\x07\x00", {"rsv": 4}),)
    return at(await room.serve(handler), saying(*frames, wanted="^closed 1002$"))


@fault("compression-broken")
async def compressed_garbage(room):
    """the server agrees to permessage-deflate, and what it compresses cannot be inflated"""

    def handle(first, payload, state):
        given = broken.echo(first, payload, state)
        return broken.frame(1, b"\xff\xfe\xfd\xfc" * 4, rsv=4) if first & 15 in (0, 1, 2) and given else given

    handler = broken.talking(handle, Sec_WebSocket_Extensions="permessage-deflate")
    return at(await room.serve(handler), saying((TEXT, b"hello"), wanted="^text 16 compressed$"))


@fault("ping-unanswered")
async def pings_unanswered(room):
    """the server says back messages and never answers a ping"""

    def handle(first, payload, state):
        return b"" if first & 15 == 9 else broken.echo(first, payload, state)

    return at(await room.serve(broken.talking(handle)), saying((PING, b"x"), wanted="^nothing$"))


@fault("frames-held")
async def frames_held_until_16_kb(room):
    """a proxy between holds what the server says until 16 KB are there"""
    backend = await room.echo()
    port = await room.serve(broken.Relay(backend, hold=16384))
    return at(port, saying((TEXT, b"hello"), wanted="^nothing$"))


@fault("frames-held", "ping-unanswered")
async def frames_held_for_ever(room):
    """behind the 101 nothing passes any more from the server to the client"""
    backend = await room.echo()
    port = await room.serve(broken.Relay(backend, hold=1 << 30))
    return at(port, saying((TEXT, b"hello"), wanted="^nothing$"))


@fault("message-limit")
async def ws_takes_100_kb_when_inflated(room):
    """Node's ws with permessage-deflate and `maxPayload` 100 KB, behind nginx: 1009 at 1 MB"""
    backend = await room.echo(deflate=True, maxPayload=100_000)
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}")
    return at(port, saying((TEXT, LONG), wanted="^closed 1009$"))


@fault("ping-unanswered")
async def pings_unanswered_behind_caddy(room):
    """a server behind Caddy that greets, says back messages and never answers a ping"""

    def handle(first, payload, state):
        return b"" if first & 15 == 9 else broken.echo(first, payload, state)

    backend = await room.serve(broken.talking(handle))
    port = await room.caddy(f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy 127.0.0.1:{backend}\n}}\n")
    return at(port, saying((PING, b"x"), wanted="^nothing$"))
