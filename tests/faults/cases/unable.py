"""Nobody there, too many, or too much: what proxies and servers say of themselves."""

import broken
import look
from lab import Visit, fault
from refused import HOST, PASS, at


@fault("backend-down")
async def nginx_backend_down(room):
    """nobody listens at nginx's backend: 502"""
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{room.dead_port()}; {PASS} }}")
    return at(port, "^502: ", path="/ws")


@fault("backend-down")
async def haproxy_backend_down(room):
    """nobody listens at HAProxy's backend: its 503"""
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n retries 1\n server s 127.0.0.1:{room.dead_port()}\n")
    return at(port, "^503: ")


@fault("backend-down")
async def caddy_backend_down(room):
    """nobody listens at Caddy's backend: 502"""
    dead = room.dead_port()
    port = await room.caddy(f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy 127.0.0.1:{dead}\n}}\n")
    return at(port, "^502: ")


@fault("backend-down")
async def longwire_backend_down(room):
    """nobody listens at Longwire's backend: 502"""
    dead = room.dead_port()
    port = await room.longwire(f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{dead}; }} }}")
    return at(port, "^502: ")


@fault("backend-down")
async def backend_ends_without_answer(room):
    """nginx's backend ends the connection instead of answering: 502"""

    async def handler(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{await room.serve(handler)}; {PASS} }}")
    return at(port, "^502: ")


@fault("backend-slow")
async def nginx_gives_up(room):
    """nginx's backend does not answer the handshake within `proxy_read_timeout`: 504"""

    async def handler(reader, writer):
        await reader.read(-1)

    backend = await room.serve(handler)
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} proxy_read_timeout 500ms; }}"
    )
    return at(port, "^504: ")


@fault("backend-slow")
async def haproxy_gives_up(room):
    """HAProxy's backend does not answer within `timeout server`: 504"""

    async def handler(reader, writer):
        await reader.read(-1)

    backend = await room.serve(handler)
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT\n timeout server 500ms\n server s 127.0.0.1:{backend}\n"
    )
    return at(port, "^504: ")


@fault("backend-slow")
async def caddy_gives_up(room):
    """Caddy's backend does not answer within `response_header_timeout`: 504"""

    async def handler(reader, writer):
        await reader.read(-1)

    backend = await room.serve(handler)
    port = await room.caddy(
        f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy 127.0.0.1:{backend} {{\n transport http {{\n"
        " response_header_timeout 500ms\n }\n }\n}\n"
    )
    return at(port, "^50[24]: ")


@fault("rate-limited")
async def limit_conn_reached(room):
    """`limit_conn` allows one WebSocket for an address, and one is open: nginx's 503"""
    backend = await room.echo()
    port = await room.nginx(
        "limit_conn_zone $binary_remote_addr zone=c:1m;\n"
        f"server {{ listen 127.0.0.1:PORT; limit_conn c 1; location / {{ proxy_pass http://127.0.0.1:{backend};"
        f" {PASS} {HOST} }} }}"
    )
    first = await look.handshake(Visit(f"ws://127.0.0.1:{port}/", ""))
    room.stack.callback(first.close)
    return at(port, "^503: ")


@fault("rate-limited")
async def limit_conn_of_longwire(room):
    """`limit_conn` of Longwire allows one WebSocket for an address, and one is open: 503"""
    backend = await room.echo()
    port = await room.longwire(
        "limit_conn_zone $binary_remote_addr zone=c:1m;\n"
        f"server {{ listen 127.0.0.1:PORT; limit_conn c 1; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    first = await look.handshake(Visit(f"ws://127.0.0.1:{port}/", ""))
    room.stack.callback(first.close)
    return at(port, "^503: ")


@fault("rate-limited")
async def limit_req_reached(room):
    """`limit_req` with `limit_req_status 429`, and the minute's one request is spent"""
    backend = await room.echo()
    port = await room.nginx(
        "limit_req_zone $binary_remote_addr zone=r:1m rate=1r/m; limit_req_status 429;\n"
        f"server {{ listen 127.0.0.1:PORT; limit_req zone=r; location / {{ proxy_pass http://127.0.0.1:{backend};"
        f" {PASS} {HOST} }} }}"
    )
    (await look.handshake(Visit(f"ws://127.0.0.1:{port}/", ""))).close()
    return at(port, "^429: ")


@fault("overloaded")
async def application_says_503(room):
    """the application is full: 503 with Retry-After"""
    port = await room.serve(broken.answering(lambda _: broken.response(503, "too many users", "Retry-After: 30"), "hello"))
    return at(port, "^503: ")


@fault("server-error")
async def application_fails(room):
    """the application fails over the handshake: 500"""
    port = await room.serve(broken.answering(lambda _: broken.response(500, "Internal Server Error"), "hello"))
    return at(port, "^500: ")


@fault("server-error", "overloaded")
async def worker_connections_spent(room):
    """`worker_connections` of nginx are used up by open WebSockets: 500, or the connection ends"""
    backend = await room.echo()
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}", connections=12
    )
    visit = Visit(f"ws://127.0.0.1:{port}/", "")
    for _ in range(12):
        try:
            held = await look.handshake(visit)
        except look.Trouble:
            break
        room.stack.callback(held.close)
    return at(port, "^(500|ended)", says=("worker_connections",))


@fault("head-too-large")
async def cookies_too_large_for_nginx(room):
    """cookies of 9 KB: nginx's 400 "Request Header Or Cookie Too Large\""""
    backend = await room.echo()
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}")
    return at(port, "^400: .*Cookie Too Large", headers=("Cookie: blob=" + "x" * 9000,))


@fault("head-too-large")
async def cookies_too_large_for_node(room):
    """cookies of 20 KB: Node's 431"""
    return at(await room.echo(), "^431", headers=("Cookie: blob=" + "x" * 20000,))


@fault("head-too-large")
async def cookies_too_large_for_haproxy(room):
    """cookies of 20 KB: HAProxy's 400, as they do not fit into its buffer"""
    backend = await room.echo()
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n")
    return at(port, "^400: .*invalid request", headers=("Cookie: blob=" + "x" * 20000,))


@fault("head-too-large")
async def cookies_too_large_for_apache(room):
    """cookies of 9 KB: Apache's 400 "Size of a request header field exceeds server limit\""""
    backend = await room.echo()
    port = await room.apache(f"ProxyPass / http://127.0.0.1:{backend}/ upgrade=websocket")
    return at(port, "^400: ", headers=("Cookie: blob=" + "x" * 9000,))


@fault("head-too-large")
async def url_too_long_for_nginx(room):
    """a token of 9 KB in the URL: nginx's 414"""
    backend = await room.echo()
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}")
    return at(port, "^414: ", path="/ws?token=" + "x" * 9000)


@fault("backend-down")
async def apache_backend_down(room):
    """nobody listens at Apache's backend: its 503"""
    port = await room.apache(f"ProxyPass / http://127.0.0.1:{room.dead_port()}/ upgrade=websocket")
    return at(port, "^503: ")


@fault("backend-slow", "backend-down")
async def apache_gives_up(room):
    """Apache's backend does not answer within `ProxyTimeout`: 502 or 504"""

    async def handler(reader, writer):
        await reader.read(-1)

    backend = await room.serve(handler)
    port = await room.apache(f"ProxyTimeout 1\nProxyPass / http://127.0.0.1:{backend}/ upgrade=websocket")
    return at(port, "^50[24]: ")


@fault("backend-slow")
async def longwire_gives_up(room):
    """Longwire's backend does not answer the handshake within `proxy_read_timeout`: 504"""

    async def handler(reader, writer):
        await reader.read(-1)

    backend = await room.serve(handler)
    port = await room.longwire(
        f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_read_timeout 500ms; }} }}"
    )
    return at(port, "^504: ")


@fault("overloaded", "backend-down")
async def haproxy_queue_full(room):
    """HAProxy's only server has as many connections as `maxconn` allows, and the queue is waited for in vain: 503"""
    backend = await room.echo()
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT\n timeout queue 500ms\n server s 127.0.0.1:{backend} maxconn 1\n"
    )
    held = await look.handshake(Visit(f"ws://127.0.0.1:{port}/", ""))
    room.stack.callback(held.close)
    return at(port, "^503: ")


@fault("rate-limited")
async def haproxy_rate_reached(room):
    """HAProxy counts requests in a stick-table and denies with 429"""
    backend = await room.echo()
    port = await room.haproxy(
        "listen l\n bind 127.0.0.1:PORT\n stick-table type ip size 1k expire 1m store http_req_rate(60s)\n"
        " http-request track-sc0 src\n http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1 }\n"
        f" server s 127.0.0.1:{backend}\n"
    )
    (await look.handshake(Visit(f"ws://127.0.0.1:{port}/", ""))).close()
    return at(port, "^429: ")
