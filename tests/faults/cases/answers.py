"""Answers of status 101 that no browser takes, and sockets that end as soon as they are open."""

import broken
import look
from lab import Visit, fault


async def giving(room, **changed):
    """A server whose 101 has these headers otherwise."""
    return await room.serve(broken.answering(lambda headers: broken.switching(headers, **changed)))


def at(port, shows):
    return Visit(f"ws://127.0.0.1:{port}/", shows)


@fault("accept-wrong")
async def accept_of_another_key(room):
    """a cache between answers with the Sec-WebSocket-Accept of an earlier handshake"""
    port = await giving(room, Sec_WebSocket_Accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    return at(port, "^101 with wrong Accept$")


@fault("accept-wrong")
async def accept_missing(room):
    """the 101 has no Sec-WebSocket-Accept"""
    return at(await giving(room, Sec_WebSocket_Accept=None), "^101 with wrong Accept$")


@fault("accept-wrong")
async def key_changed_by_nginx(room):
    """nginx sets Sec-WebSocket-Key itself (copied from an example), so the Accept fits another key"""
    backend = await room.echo()
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
        " proxy_set_header Sec-WebSocket-Key SGVsbG8sIHdvcmxkIQAAAA==; }"
    )
    return at(port, "^101 with wrong Accept$")


@fault("upgrade-header-wrong")
async def answer_without_upgrade(room):
    """the 101 has no Upgrade"""
    return at(await giving(room, Upgrade=None), "^101 with wrong Upgrade: None$")


@fault("connection-header-wrong")
async def answer_with_keep_alive(room):
    """the 101 says `Connection: keep-alive`"""
    return at(await giving(room, Connection="keep-alive"), "^101 with wrong Connection: keep-alive$")


@fault("connection-header-wrong")
async def connection_taken_from_the_answer(room):
    """HAProxy takes Connection out of the answer (`http-response del-header`)"""
    backend = await room.echo()
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT\n http-response del-header Connection\n server s 127.0.0.1:{backend}\n"
    )
    return at(port, "^101 with wrong Connection: None$")


@fault("extension-not-offered")
async def extension_of_its_own(room):
    """the 101 names an extension that was not offered"""
    return at(await giving(room, Sec_WebSocket_Extensions="x-webkit-deflate-frame"), "^101 with wrong Extensions")


@fault("answered-http10")
async def answer_in_http_1_0(room):
    """the 101 is in HTTP/1.0"""
    port = await giving(room, first="HTTP/1.0 101 Switching Protocols")
    return at(port, "^101 with wrong HTTP/1.0$")


@fault("closed-at-once")
async def closed_with_a_code(room):
    """the application opens the socket and closes it with 4401 for want of a session"""
    return at(await room.echo(close=[4401, "Unauthorized", 0]), "^101, closed 4401$")


@fault("closed-at-once")
async def closed_behind_nginx(room):
    """the application ends the socket without a Close frame as soon as it is open, nginx in front"""
    backend = await room.echo(close=[0, "", 0])
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }"
    )
    return at(port, "^101, (FIN|RST)$")


@fault("closed-at-once")
async def closed_by_an_error(room):
    """the application fails as soon as the socket is open: 1011"""

    async def handler(websocket):
        raise RuntimeError("broken")

    return at(await room.websockets(handler), "^101, closed 1011$")


@fault("masking-wrong")
async def server_masks(room):
    """the server masks its frames"""

    def handle(first, payload, state):
        return broken.frame(first & 15, payload, mask=True)

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if broken.is_websocket(headers):
            writer.write(broken.switching(headers) + broken.frame(1, b"hello", mask=True))
            while True:
                first, payload = await broken.read_frame(reader)
                writer.write(handle(first, payload, None))
        writer.write(broken.response(426, "Upgrade Required"))

    async def shows(visit):
        websocket = await look.handshake(visit)
        head = await websocket.reader.readexactly(2)
        websocket.close()
        return f"masked {head[1] >> 7}"

    shows.wanted = "^masked 1$"
    return at(await room.serve(handler), shows)


@fault("protocol-broken")
async def http_after_the_101(room):
    """behind the 101 comes another HTTP answer instead of frames"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if broken.is_websocket(headers):
            writer.write(broken.switching(headers) + broken.response(200, "<h1>hello</h1>"))
            await reader.read(-1)
        writer.write(broken.response(426, "Upgrade Required"))

    async def shows(visit):
        websocket = await look.handshake(visit)
        data = await websocket.reader.readexactly(8)
        websocket.close()
        return data.decode()

    shows.wanted = "^HTTP/1.1"
    return at(await room.serve(handler), shows)
