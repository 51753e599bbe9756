"""socket.io and SockJS: sessions that are known to one server of several, and versions that do not fit."""

import json
import random

import look
from lab import Visit, fault

PASS = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    " proxy_set_header Host $http_host;"
)


async def polled(visit):
    """Opens a session by polling and asks for it four times: the statuses."""
    path = "/socket.io/?EIO=4&transport=polling"
    _, _, body = await look.get(visit, path)
    text = body[body.find(b"{") : body.rfind(b"}") + 1]
    session = json.loads(text)["sid"]
    found = []
    for _ in range(4):
        status, _, body = await look.get(visit, f"{path}&sid={session}", "POST", b"40")
        found.append(f"{status} {'unknown' if b'Session ID unknown' in body else ''}")
    return ", ".join(found)


polled.wanted = "400 unknown"


async def two(room, kind, **more):
    return [await room.node(kind=kind, **more) for _ in range(2)]


def group(ports, method=""):
    servers = "".join(f"server 127.0.0.1:{port}; " for port in ports)
    return (
        f"upstream app {{ {method} {servers} }}\n"
        f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://app; {PASS} }} }}"
    )


@fault("socketio-no-affinity")
async def nginx_in_turns(room):
    """two socket.io servers behind nginx, which takes turns (no `ip_hash`)"""
    port = await room.nginx(group(await two(room, "socket.io")))
    return Visit(f"ws://127.0.0.1:{port}/socket.io/", polled, says=("ip_hash",))


@fault("socketio-no-affinity")
async def haproxy_in_turns(room):
    """two socket.io servers behind HAProxy with `balance roundrobin` and no cookie"""
    servers = "".join(f" server s{port} 127.0.0.1:{port}\n" for port in await two(room, "socket.io"))
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n balance roundrobin\n{servers}")
    return Visit(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", polled, says=("cookie",))


@fault("socketio-no-affinity")
async def caddy_at_random(room):
    """two socket.io servers behind Caddy, which chooses at random (no `lb_policy`)"""
    servers = " ".join(f"127.0.0.1:{port}" for port in await two(room, "socket.io"))
    port = await room.caddy(
        f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy {servers} {{\n lb_policy round_robin\n }}\n}}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", polled)


@fault("socketio-version")
async def client_of_version_2(room):
    """a client of socket.io 2 (EIO=3) at a server of version 4"""
    port = await room.node(kind="socket.io")

    async def shows(visit):
        status, _, body = await look.get(visit, "/socket.io/?EIO=3&transport=polling")
        return f"{status} {body.decode()}; {await look.words(visit)}"

    # By WebSocket this server sends 101 and then its HTTP answer, which is no frame.
    shows.wanted = "^400 .*Unsupported protocol version(?!.*open$)"
    return Visit(f"ws://127.0.0.1:{port}/socket.io/?EIO=3&transport=websocket", shows)


async def sockjs_polled(visit):
    """Opens a session by polling and sends to it four times: the statuses."""
    path = f"/sockjs/000/lab{random.randrange(1 << 30)}"
    await look.get(visit, f"{path}/xhr", "POST")
    found = [(await look.get(visit, f"{path}/xhr_send", "POST", b'["hello"]'))[0] for _ in range(4)]
    return ", ".join(map(str, found))


sockjs_polled.wanted = "404"


@fault("sockjs-no-affinity")
async def sockjs_in_turns(room):
    """two SockJS servers behind nginx, which takes turns"""
    port = await room.nginx(group(await two(room, "sockjs")))
    return Visit(f"ws://127.0.0.1:{port}/sockjs/websocket", sockjs_polled)


@fault("socketio-no-affinity")
async def nginx_to_the_least_busy(room):
    """two socket.io servers behind nginx with `least_conn`"""
    port = await room.nginx(group(await two(room, "socket.io"), "least_conn;"))
    return Visit(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", polled, says=("ip_hash",))


@fault("socketio-no-affinity")
async def longwire_in_turns(room):
    """two socket.io servers behind Longwire, which takes turns"""
    servers = "".join(f"server 127.0.0.1:{port}; " for port in await two(room, "socket.io"))
    port = await room.longwire(
        f"upstream app {{ {servers} }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://app; }} }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", polled)
