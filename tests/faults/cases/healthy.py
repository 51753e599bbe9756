"""Set-ups with nothing wrong, also unusual ones: who cries here is not believed elsewhere."""

import look
from affinity import group, polled, two
from lab import Visit, sound
from look import TEXT
from messages import saying
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
async def origin_right(room):
    """a server that takes pages of one origin alone, and `--origin` names it"""
    return at(await room.echo(origins=["https://app.lab.test"]), origin="https://app.lab.test")


@sound
async def apache_to_tornado(room):
    """Apache with `upgrade=websocket` and `ProxyPreserveHost on`, Tornado behind it checks Origin"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.apache(f"ProxyPreserveHost on\nProxyPass / http://127.0.0.1:{backend}/ upgrade=websocket")
    return at(port, "/ws")
