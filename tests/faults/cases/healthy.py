"""Set-ups with nothing wrong, also unusual ones: who cries here is not believed elsewhere."""

import asyncio
import signal

import broken
import look
from affinity import group, polled, two
from clocks import Reloads, holding
from lab import Skip, Visit, sound
from look import TEXT
from messages import LONG, saying
from reach import resolver, words_at
from refused import tornado_echo

PASS = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
    " proxy_set_header Host $http_host;"
)
MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }\n"
OPEN = "^101, open$"


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


def at(port, path="/", shows=OPEN, **more):
    return Visit(f"ws://127.0.0.1:{port}{path}", shows, **more)


def secure(room, port, shows=OPEN, path="/", **more):
    return Visit(
        f"wss://app.test:{port}{path}", shows, ca=str(room.certificate("good").ca),
        resolve=f"app.test:{port}:127.0.0.1", **more,
    )  # fmt: skip


def site(backend, more=""):
    return f"{MAP} server {{ listen 127.0.0.1:PORT; {more} location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}"


def tls(made, more=""):
    return f"listen 127.0.0.1:PORT ssl{more}; ssl_certificate {made.cert}; ssl_certificate_key {made.key};"


@sound
async def node_alone(room):
    """Node's ws, which says back what it hears"""
    return at(await room.echo(), shows=saying((TEXT, b"hello"), wanted="^text 5$"))


@sound
async def python_alone(room):
    """Python's websockets, with compression"""
    return at(await room.websockets(echo))


@sound
async def tornado_alone(room):
    """Tornado, which compares the page's Origin with Host"""
    return at(room.tornado([(r"/ws", tornado_echo())]), "/ws")


@sound
async def nginx_in_front(room):
    """Debian's nginx with the well-known lines, Node's ws behind it"""
    return at(await room.nginx(site(await room.echo())))


@sound
async def new_nginx_in_front(room):
    """the newest nginx, Python's websockets behind it"""
    return at(await room.nginx(site(await room.websockets(echo)), version="new"))


@sound
async def nginx_in_front_of_tornado(room):
    """nginx passes Host with its port, Tornado checks Origin"""
    return at(await room.nginx(site(room.tornado([(r"/ws", tornado_echo())]))), "/ws")


@sound
async def haproxy_in_front(room):
    """HAProxy, Node's ws behind it"""
    backend = await room.echo(page="hello")
    return at(await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n"))


@sound
async def caddy_in_front(room):
    """Caddy, Node's ws behind it"""
    backend = await room.echo()
    return at(await room.caddy(f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy 127.0.0.1:{backend}\n}}\n"))


@sound
async def apache_in_front(room):
    """Apache with `ProxyPass ... upgrade=websocket`, Node's ws behind it"""
    backend = await room.echo(page="hello")
    return at(await room.apache(f"ProxyPass / http://127.0.0.1:{backend}/ upgrade=websocket"))


@sound
async def longwire_in_front(room):
    """Longwire with `proxy_pass` alone, Node's ws behind it"""
    backend = await room.echo()
    return at(await room.longwire(f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"))


@sound
async def two_proxies(room):
    """nginx, Longwire behind it, Python's websockets behind that"""
    backend = await room.websockets(echo)
    inner = await room.longwire(f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}")
    return at(await room.nginx(site(inner)))


@sound
async def nginx_tls(room):
    """nginx with TLS and a chain of two certificates"""
    backend = await room.echo()
    made = room.certificate("good")
    port = await room.nginx(f"{MAP} server {{ {tls(made)} location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}")
    return secure(room, port)


@sound
async def tls_1_2_alone(room):
    """nginx with TLS 1.2 and nothing newer"""
    backend = await room.echo()
    made = room.certificate("good")
    port = await room.nginx(
        f"{MAP} server {{ {tls(made)} ssl_protocols TLSv1.2; location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}"
    )
    return secure(room, port)


@sound
async def nginx_http2(room):
    """nginx with TLS and `http2` beside HTTP/1.1 in ALPN"""
    backend = await room.echo()
    made = room.certificate("good")
    port = await room.nginx(
        f"{MAP} server {{ {tls(made, ' http2')} location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}"
    )
    return secure(room, port)


@sound
async def haproxy_http2(room):
    """HAProxy with TLS and `alpn h2,http/1.1`, which takes WebSockets over HTTP/2 too"""
    backend = await room.echo()
    pem = room.certificate("good").pem
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT ssl crt {pem} alpn h2,http/1.1\n server s 127.0.0.1:{backend}\n"
    )
    return secure(room, port)


@sound
async def caddy_http2(room):
    """Caddy with TLS and HTTP/2, Python's websockets behind it"""
    backend = await room.websockets(echo)
    made = room.certificate("good")
    port = await room.caddy(
        f"https://app.test:PORT {{\n bind 127.0.0.1\n tls {made.cert} {made.key}\n reverse_proxy 127.0.0.1:{backend}\n}}\n"
    )
    return secure(room, port)


@sound
async def longwire_http2(room):
    """Longwire with TLS and `http2 on`"""
    backend = await room.echo()
    made = room.certificate("good")
    port = await room.longwire(
        f"server {{ {tls(made)} http2 on; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return secure(room, port)


@sound
async def node_tls(room):
    """Node's ws with TLS of its own and no ALPN"""
    made = room.certificate("good")
    return secure(room, await room.echo(cert=made.cert, key=made.key))


@sound
async def https_url(room):
    """the URL is written with https"""
    made = room.certificate("good")
    visit = secure(room, await room.echo(cert=made.cert, key=made.key))
    visit.url = visit.url.replace("wss:", "https:")
    return visit


@sound
async def subprotocol_given(room):
    """a GraphQL server that wants its subprotocol and gets it, and closes with 4400 what is not its JSON"""
    backend = await room.echo(subprotocol="graphql-transport-ws", strict=True, json=True, mute=True)
    return at(backend, "/graphql", subprotocol="graphql-transport-ws")


@sound
async def subprotocol_python(room):
    """Python's websockets with two subprotocols, of which the client offers one, behind nginx"""
    backend = await room.websockets(echo, subprotocols=["chat.v2", "chat.v1"])
    return at(await room.nginx(site(backend)), subprotocol="chat.v1")


@sound
async def socketio_alone(room):
    """one socket.io server, with the URL that its client uses"""
    return at(await room.node(kind="socket.io"), "/socket.io/?EIO=4&transport=websocket")


@sound
async def socketio_ip_hash(room):
    """two socket.io servers behind nginx with `ip_hash`"""
    port = await room.nginx(group(await two(room, "socket.io"), "ip_hash;"))

    async def shows(visit):
        return f"{await polled(visit)}; {await look.words(visit)}"

    shows.wanted = "^(200 , ){3}200 ; 101, open$"
    return at(port, "/socket.io/?EIO=4&transport=websocket", shows)


@sound
async def socketio_haproxy_cookie(room):
    """two socket.io servers behind HAProxy with a cookie"""
    ports = await two(room, "socket.io")
    servers = "".join(f" server s{port} 127.0.0.1:{port} cookie s{port}\n" for port in ports)
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT\n balance roundrobin\n cookie SRV insert indirect nocache\n{servers}"
    )
    return at(port, "/socket.io/?EIO=4&transport=websocket")


@sound
async def socketio_haproxy_source(room):
    """two socket.io servers behind HAProxy with `balance source`"""
    servers = "".join(f" server s{port} 127.0.0.1:{port}\n" for port in await two(room, "socket.io"))
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n balance source\n{servers}")
    return at(port, "/socket.io/?EIO=4&transport=websocket")


@sound
async def socketio_caddy_cookie(room):
    """two socket.io servers behind Caddy with `lb_policy cookie`"""
    servers = " ".join(f"127.0.0.1:{port}" for port in await two(room, "socket.io"))
    port = await room.caddy(
        f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy {servers} {{\n lb_policy cookie\n }}\n}}\n"
    )
    return at(port, "/socket.io/?EIO=4&transport=websocket")


@sound
async def socketio_websocket_alone(room):
    """two socket.io servers that take WebSockets alone (`transports: ["websocket"]`), in turns: no session to lose"""
    port = await room.nginx(group(await two(room, "socket.io", settings={"transports": ["websocket"]})))
    return at(port, "/socket.io/?EIO=4&transport=websocket")


@sound
async def socketio_longwire_ip_hash(room):
    """two socket.io servers behind Longwire with `ip_hash`"""
    servers = "".join(f"server 127.0.0.1:{port}; " for port in await two(room, "socket.io"))
    port = await room.longwire(
        f"upstream app {{ ip_hash; {servers} }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://app; }} }}"
    )
    return at(port, "/socket.io/?EIO=4&transport=websocket")


@sound
async def sockjs_alone(room):
    """one SockJS server, at its raw WebSocket"""
    return at(await room.node(kind="sockjs"), "/sockjs/websocket")


@sound
async def token_given(room):
    """a server that asks for a token, which is given by `--header`"""
    return at(await room.echo(token="Bearer right"), headers=("Authorization: Bearer right",))


@sound
async def cookie_given(room):
    """a server behind nginx that asks for a session, which is given by a cookie"""
    return at(await room.nginx(site(await room.echo(cookie="session=abc"))), headers=("Cookie: session=abc",))


@sound
async def token_in_the_url(room):
    """a server at a path of its own that asks for a token in the URL's query"""
    return at(await room.nginx(site(await room.echo(query="token=abc"))), "/v2/rooms/7/live?token=abc&x=%2F")


@sound
async def rate_limited_with_room(room):
    """nginx with `limit_req` of 10 a second and a burst of 20, and `limit_conn 10`"""
    zones = "limit_req_zone $binary_remote_addr zone=r:1m rate=10r/s; limit_conn_zone $binary_remote_addr zone=c:1m;\n"
    limits = "limit_req zone=r burst=20 nodelay; limit_conn c 10;"
    return at(await room.nginx(zones + site(await room.echo(), limits)))


@sound
async def origin_right(room):
    """a server that takes pages of one origin alone, and `--origin` names it"""
    return at(await room.echo(origins=["https://app.lab.test"]), origin="https://app.lab.test")


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
        state = {}
        while True:
            first, payload = await broken.read_frame(reader)
            writer.write(broken.echo(first, payload, state))
            if first & 15 == 8:
                return

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
        state = {}
        while True:
            first, payload = await broken.read_frame(reader)
            writer.write(broken.echo(first, payload, state))
            if first & 15 == 8:
                return

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
        state = {}
        while True:
            first, payload = await broken.read_frame(reader)
            writer.write(broken.echo(first, payload, state))
            if first & 15 == 8:
                return

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
        state = {}
        while True:
            first, payload = await broken.read_frame(reader)
            writer.write(broken.echo(first, payload, state))
            if first & 15 == 8:
                return

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
        state = {}
        while True:
            first, payload = await broken.read_frame(reader)
            writer.write(broken.echo(first, payload, state))
            if first & 15 == 8:
                return

    return at(await room.serve(handler))


@sound
async def apache_to_tornado(room):
    """Apache with `upgrade=websocket` and `ProxyPreserveHost on`, Tornado behind it checks Origin"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.apache(f"ProxyPreserveHost on\nProxyPass / http://127.0.0.1:{backend}/ upgrade=websocket")
    return at(port, "/ws")


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
    backend = await room.echo()
    port = await room.longwire(f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}")
    program = room.programs[-1]

    async def reload():
        program.signal(signal.SIGHUP)

    async def shows(visit):
        Reloads(room, reload, 0.5)
        held = await look.held(visit, 2)
        Reloads(room, reload, 3)
        return held

    shows.wanted = "^open$"
    return at(port, shows=shows, idle=5)


@sound
async def both_hops(room):
    """compared by `--through` and `--direct`: both are sound"""
    backend = await room.echo()
    url = f"ws://127.0.0.1:{await room.nginx(site(backend))}/"
    return Visit(url, OPEN, more=("--through", url, "--direct", f"ws://127.0.0.1:{backend}/"))


