"""Set-ups with nothing wrong, but not of the usual kind: servers and applications with habits of their own."""

import asyncio
import signal

import broken
import look
from clocks import Crowd, holding, together
from healthy import at, echo, secure, site, MAP, OPEN, PASS
from lab import Skip, Visit, sound
from look import TEXT
from messages import LONG, saying
from reach import resolver, words_at


@sound
async def rate_limited_with_room(room):
    """nginx with `limit_req` of 10 a second and a burst of 20, and `limit_conn 10`"""
    zones = "limit_req_zone $binary_remote_addr zone=r:1m rate=10r/s; limit_conn_zone $binary_remote_addr zone=c:1m;\n"
    limits = "limit_req zone=r burst=20 nodelay; limit_conn c 10;"
    return at(await room.nginx(zones + site(await room.echo(), limits)))


@sound
async def slow_handshake(room):
    """a server that answers the handshake after 1.5 s, behind nginx"""
    return at(await room.nginx(site(await room.echo(delay=1500))))


@sound
async def big_messages(room):
    """Python's websockets without a limit behind HAProxy: 1 MB there and back"""
    backend = await room.websockets(echo, max_size=None, compression=None)
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n")
    return at(port, shows=saying((TEXT, LONG), wanted="^text 1000000$"))


@sound
async def compression(room):
    """Node's ws with permessage-deflate behind nginx"""
    return at(await room.nginx(site(await room.echo(deflate=True))))


@sound
async def greets_and_is_mute(room):
    """a server that greets and says nothing else, as a feed of prices does"""
    return at(await room.echo(greeting='{"type":"welcome"}', mute=True))


@sound
async def mute(room):
    """a server that hears and never says anything but pongs"""
    return at(await room.echo(mute=True))


@sound
async def closes_what_it_does_not_know(room):
    """a server that greets, and closes with 4400 what is no JSON"""
    return at(await room.echo(greeting='{"hello":1}', json=True, mute=True))


@sound
async def closes_binary_with_1003(room):
    """a server that closes with 1003 or 1008 at the first message it does not know"""

    async def handler(websocket):
        async for message in websocket:
            if not isinstance(message, str):
                return await websocket.close(1003, "text alone")
            if not message.startswith("{"):
                return await websocket.close(1008, "not understood")

    return at(await room.websockets(handler))


@sound
async def capital_letters(room):
    """a server that answers `upgrade: WebSocket` and `connection: upgrade`, as Daphne does"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if not broken.is_websocket(headers):
            return writer.write(broken.response(404, "Not Found"))
        writer.write(broken.switching(headers, Upgrade="WebSocket", Connection="upgrade"))
        await broken.echo_all(reader, writer)

    return at(await room.serve(handler))


@sound
async def answer_in_pieces(room):
    """a server that says `connection: keep-alive, upgrade` in lower case and sends its answer in pieces"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if not broken.is_websocket(headers):
            return writer.write(broken.response(404, "Not Found"))
        answer = broken.switching(headers, Connection="keep-alive, upgrade").decode().split("\r\n")
        text = "\r\n".join([answer[0], *(line.lower() if "accept" not in line.lower() else line for line in answer[1:])])
        for at_byte in range(0, len(text), 40):
            writer.write(text[at_byte : at_byte + 40].encode())
            await writer.drain()
            # sleep is the promise: pieces of their own.
            await asyncio.sleep(0.02)
        await broken.echo_all(reader, writer)

    return at(await room.serve(handler))


@sound
async def robots_refused(room):
    """nginx lets browsers in alone, by User-Agent"""
    more = 'if ($http_user_agent !~* mozilla) { return 403; }'
    return at(await room.nginx(site(await room.echo(), more)))


@sound
async def connection_as_it_came(room):
    """nginx with `proxy_set_header Connection $http_connection`"""
    backend = await room.echo()
    return at(await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; proxy_set_header Host $http_host;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }"
    ))  # fmt: skip


@sound
async def haproxy_carries_bytes(room):
    """HAProxy in `mode tcp`, with TLS ended by the server behind it"""
    made = room.certificate("good")
    backend = await room.echo(cert=made.cert, key=made.key)
    port = await room.haproxy(f"listen l\n mode tcp\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n")
    return secure(room, port)


@sound
async def floods_at_once(room):
    """a server that sends 200 messages as soon as the socket is open, some with the 101 in one packet"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if not broken.is_websocket(headers):
            return writer.write(broken.response(404, "Not Found"))
        writer.write(broken.switching(headers) + b"".join(broken.frame(1, b"price %d" % n) for n in range(200)))
        await broken.echo_all(reader, writer)

    return at(await room.serve(handler))


@sound
async def old_reason_and_cookies(room):
    """a server that answers `101 Web Socket Protocol Handshake` with cookies and `Content-Length: 0`"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if not broken.is_websocket(headers):
            return writer.write(broken.response(404, "Not Found"))
        more = ("Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Length: 0", "Date: Mon, 23 Nov 2026 12:00:00 GMT")
        writer.write(broken.switching(headers, *more, first="HTTP/1.1 101 Web Socket Protocol Handshake"))
        await broken.echo_all(reader, writer)

    return at(await room.serve(handler))


@sound
async def echo_is_late(room):
    """a server that takes a second over each message"""

    async def late(websocket):
        async for message in websocket:
            # sleep is the promise: a slow application.
            await asyncio.sleep(1)
            await websocket.send(message)

    return at(await room.websockets(late))


@sound
async def chat(room):
    """a chat that says what each says to all, with words before it"""
    everybody = set()

    async def handler(websocket):
        everybody.add(websocket)
        try:
            await websocket.send("welcome")
            async for message in websocket:
                text = message if isinstance(message, str) else message.decode(errors="replace")
                for each in list(everybody):
                    await each.send(f"somebody says: {text}")
        finally:
            everybody.discard(websocket)

    return at(await room.nginx(site(await room.websockets(handler))))


@sound
async def greets_in_fragments(room):
    """a server that pings first and greets in three fragments with a ping between"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if not broken.is_websocket(headers):
            return writer.write(broken.response(404, "Not Found"))
        writer.write(broken.switching(headers))
        frame = broken.frame
        writer.write(frame(9, b"you?") + frame(1, b"wel", fin=False) + frame(9) + frame(0, b"co", fin=False) + frame(0, b"me"))
        await broken.echo_all(reader, writer)

    return at(await room.serve(handler))


@sound
async def ipv6_alone(room):
    """a server at an IPv6 address"""
    try:
        port = await room.serve(broken.talking(broken.echo), host="::1")
    except OSError as error:
        raise Skip(f"no IPv6: {error}") from None
    return Visit(f"ws://[::1]:{port}/", OPEN)


@sound
async def two_addresses(room):
    """a name with two addresses, and servers at both"""
    port = await room.echo()
    second = f"server {{ listen 127.0.0.8:{port}; location / {{ proxy_pass http://127.0.0.1:{port}; {PASS} }} }}"
    await room.nginx(f"{MAP} {second} server {{ listen 127.0.0.1:PORT; }}")
    conf = await resolver(room, "127.0.0.75", {"chat.lab.test": ["127.0.0.1", "127.0.0.8"]})

    async def shows(visit):
        return f"{await words_at(f'ws://127.0.0.8:{port}/')}; {await words_at(f'ws://127.0.0.1:{port}/')}"

    shows.wanted = "^101, open; 101, open$"
    return Visit(f"ws://chat.lab.test:{port}/", shows, resolver=conf)


@sound
async def nginx_timer_and_pings(room):
    """nginx with `proxy_read_timeout 2s`, and the server pings every second"""
    port = await room.nginx(site(await room.echo(ping=1000), "proxy_read_timeout 2s;"))
    return at(port, shows=holding("^silent: open; busy: open$"), idle=4)


@sound
async def heartbeat(room):
    """a server that pings every second and cuts off who has not answered the last one"""
    return at(await room.echo(heartbeat=1000), idle=4)


@sound
async def longwire_timer_and_pings(room):
    """Longwire with `proxy_read_timeout 2s` and `websocket_ping 1s`: its own pings keep the socket open"""
    backend = await room.echo()
    port = await room.longwire(
        "server { listen 127.0.0.1:PORT; proxy_read_timeout 2s; websocket_ping 1s;"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return at(port, shows=holding("^silent: open; busy: open$"), idle=4)


@sound
async def longwire_reloaded(room):
    """Longwire is reloaded while sockets are open: they stay"""
    crowd = Crowd()
    backend = await room.websockets(crowd.handler)
    port = await room.longwire(f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}")
    program = room.programs[-1]

    async def reload():
        program.signal(signal.SIGHUP)

    shows = together(room, crowd, reload)
    shows.wanted = "^open; open$"
    return at(port, shows=shows, idle=5)


@sound
async def both_hops(room):
    """compared by `--through` and `--direct`: both are sound"""
    backend = await room.echo()
    url = f"ws://127.0.0.1:{await room.nginx(site(backend))}/"
    return Visit(url, OPEN, more=("--through", url, "--direct", f"ws://127.0.0.1:{backend}/"))
