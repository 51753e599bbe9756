"""Handshakes that are sent elsewhere: no browser follows them."""

import broken
from lab import Visit, fault

PASS = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    " proxy_set_header Host $http_host;"
)


@fault("redirect-to-https")
async def http_to_https(room):
    """the plain port of nginx redirects everything to https"""
    backend = await room.echo()
    made = room.certificate("plain")
    tls = room.dead_port()
    port = await room.nginx(
        f"server {{ listen 127.0.0.1:PORT; return 301 https://$host:{tls}$request_uri; }}\n"
        f"server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {made.cert}; ssl_certificate_key {made.key};"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^301 to https://", ca=str(made.ca))


@fault("redirect-to-https")
async def caddy_to_https(room):
    """Caddy redirects the plain port to https"""
    tls = room.dead_port()
    port = await room.caddy(f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n redir https://127.0.0.1:{tls}{{uri}} 308\n}}\n")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^308 to https://")


@fault("redirect-slash")
async def slash_missing(room):
    """`location /ws/` with `proxy_pass`, and the URL ends in `/ws`: nginx redirects to `/ws/`"""
    backend = await room.echo()
    port = await room.server(f"location /ws/ {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^301 to http://.*/ws/:")


@fault("redirect-slash")
async def slash_too_many(room):
    """the application redirects paths with a slash at their end (308), and the URL has one"""

    async def handler(reader, writer):
        line, headers = await broken.head(reader)
        path = line.split()[1]
        if path.endswith("/"):
            writer.write(broken.response(308, "", f"Location: {path.rstrip('/')}"))
        elif path == "/ws" and broken.is_websocket(headers):
            writer.write(broken.switching(headers))
            await reader.read(-1)
        else:
            writer.write(broken.response(404, "Not Found"))

    return Visit(f"ws://127.0.0.1:{await room.serve(handler)}/ws/", "^308 to /ws:")


@fault("redirect-to-https")
async def haproxy_to_https(room):
    """HAProxy redirects by `redirect scheme https`"""
    port = await room.haproxy("listen l\n bind 127.0.0.1:PORT\n http-request redirect scheme https\n")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^302 to https://")


@fault("redirect-login")
async def login_page(room):
    """the application sends who has no session to its login page"""

    async def handler(reader, writer):
        line, headers = await broken.head(reader)
        if "session=" in headers.get("cookie", "") and broken.is_websocket(headers):
            writer.write(broken.switching(headers))
            await reader.read(-1)
        elif "/login" in line:
            writer.write(broken.response(200, "<form method=post><input type=password name=password></form>"))
        else:
            writer.write(broken.response(302, "", "Location: /login?next=/ws"))

    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{await room.serve(handler)}; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^302 to (http://[^/]*)?/login")


@fault("redirect-elsewhere")
async def canonical_host(room):
    """the bare name is redirected to another host"""
    port = await room.server("return 301 http://www.lab.invalid$request_uri;")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^301 to http://www.lab.invalid")


@fault("redirect-loop")
async def https_to_itself(room):
    """nginx ends TLS without telling by X-Forwarded-Proto, and the application redirects https to itself"""
    async def handler(reader, writer):
        line, headers = await broken.head(reader)
        if headers.get("x-forwarded-proto") == "https":
            writer.write(broken.response(200, "hello"))
        else:
            writer.write(broken.response(301, "", f"Location: https://{headers['host']}{line.split()[1]}"))

    backend, made = await room.serve(handler), room.certificate("plain")
    port = await room.nginx(
        f"server {{ listen 127.0.0.1:PORT ssl; ssl_certificate {made.cert}; ssl_certificate_key {made.key};"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}"
    )
    return Visit(f"wss://127.0.0.1:{port}/ws", "^301 to https://", ca=str(made.ca))


@fault("redirect-slash")
async def slash_missing_at_longwire(room):
    """Longwire with `location /ws/`, and the URL ends in `/ws`"""
    backend = await room.echo()
    port = await room.longwire(f"server {{ listen 127.0.0.1:PORT; location /ws/ {{ proxy_pass http://127.0.0.1:{backend}; }} }}")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^301 to ")


@fault("redirect-to-https")
async def apache_to_https(room):
    """Apache redirects by `RewriteRule`"""
    port = await room.apache("RewriteEngine on\nRewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [R=301,L]")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^301 to https://")


@fault("redirect-login")
async def haproxy_to_login(room):
    """HAProxy sends who has no session to /accounts/signin"""
    port = await room.haproxy(
        "listen l\n bind 127.0.0.1:PORT\n http-request redirect location /accounts/signin?next=%[path]"
        " unless { req.cook(session) -m found } or { path_beg /accounts }\n"
        f" server s 127.0.0.1:{await room.echo(page='<form><input type=password></form>')}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^302 to /accounts/signin")
