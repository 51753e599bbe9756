"""Servers that do not want this client, this page, this name, or anybody now."""

import broken
import look
from lab import Visit, fault

PASS = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
HOST = "proxy_set_header Host $http_host;"


def at(port, shows, path="/", **more):
    return Visit(f"ws://127.0.0.1:{port}{path}", shows, **more)


def tornado_echo():
    import tornado.websocket

    class Echo(tornado.websocket.WebSocketHandler):
        async def on_message(self, message):
            await self.write_message(message, isinstance(message, bytes))

    return Echo


# --- Origin and Host --------------------------------------------------------------------------------------------


@fault("origin-refused")
async def origin_not_listed(room):
    """Node's ws takes pages of one origin (`verifyClient`): 403 to a page of another"""
    backend = await room.echo(origins=["https://app.lab.test"])
    return at(backend, "^403", origin="https://evil.lab.test")


@fault("origin-refused")
async def origin_not_listed_python(room):
    """Python's websockets with `origins=[...]`: 403 to the page at its own address"""

    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message)

    backend = await room.websockets(handler, origins=["https://app.lab.test", None])
    return at(backend, "^403")


@fault("origin-refused")
async def origin_by_nginx(room):
    """nginx refuses pages by an `if ($http_origin ...)`: 403"""
    backend = await room.echo()
    port = await room.server(
        'if ($http_origin !~ "^(https://app\\.lab\\.test)?$") { return 403; }\n'
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}"
    )
    return at(port, "^403: .*nginx")


@fault("origin-refused")
async def host_not_passed_on(room):
    """nginx without `proxy_set_header Host`: Tornado compares Origin with a Host that is the upstream's, 403"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.nginx(
        f"upstream app {{ server 127.0.0.1:{backend}; }}\n"
        f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://app; {PASS} }} }}"
    )
    return at(port, "^403: ", path="/ws", says=("proxy_set_header Host",))


@fault("origin-refused")
async def host_without_its_port(room):
    """nginx at a port that is not 80 with `Host $host`: the port is lost, Tornado refuses the page's Origin"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} proxy_set_header Host $host; }}")
    return at(port, "^403: ", path="/ws", says=("$http_host",))


@fault("origin-refused")
async def origin_by_longwire(room):
    """Longwire with `websocket_origins` for another page: 403"""
    backend = await room.echo()
    port = await room.longwire(
        "server { listen 127.0.0.1:PORT; websocket_origins https://app.lab.test;"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return at(port, "^403: ")


@fault("origin-refused")
async def origin_refused_after_the_handshake(room):
    """the application opens the socket, looks at Origin then, and closes with 1008"""
    return at(await room.echo(late=["https://app.lab.test"]), "^101, closed 1008$", origin="https://evil.lab.test")


@fault("host-refused")
async def development_server_checks_host(room):
    """a development server that answers for `localhost` alone: 403 "Invalid Host header\""""
    return at(await room.echo(hosts=["localhost"], page="hello"), "^403: .*Invalid Host header")


@fault("forbidden")
async def denied_by_address(room):
    """nginx with `deny all`"""
    backend = await room.echo()
    port = await room.server(f"deny all; location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}")
    return at(port, "^403: ", path="/ws")


@fault("forbidden")
async def haproxy_denies_upgrades(room):
    """HAProxy denies handshakes (`http-request deny if { hdr(upgrade) -i websocket }`), other requests pass"""
    backend = await room.echo(page="hello")
    port = await room.haproxy(
        "listen l\n bind 127.0.0.1:PORT\n http-request deny if { hdr(upgrade) -i websocket }\n"
        f" server s 127.0.0.1:{backend}\n"
    )
    return at(port, "^403: ")


@fault("header-refused")
async def extensions_refused(room):
    """a server that answers 400 where Sec-WebSocket-Extensions is offered"""

    def answer(headers):
        if "sec-websocket-extensions" in headers:
            return broken.response(400, "Bad Request")
        return broken.switching(headers)

    return at(await room.serve(broken.answering(answer)), "^400: ")


@fault("header-refused")
async def connection_compared_as_text(room):
    """Caddy sends on as a WebSocket what has exactly `Connection: Upgrade`; Firefox says `keep-alive, Upgrade`: 404"""
    backend = await room.echo()
    port = await room.caddy(
        "http://127.0.0.1:PORT {\n bind 127.0.0.1\n @websocket {\n header Connection Upgrade\n"
        f" header Upgrade websocket\n }}\n handle @websocket {{\n reverse_proxy 127.0.0.1:{backend}\n }}\n"
        ' handle {\n respond "Not Found" 404\n }\n}\n'
    )

    async def shows(visit):
        return f"{await look.words(visit)}; {await look.words(visit, Connection='keep-alive, Upgrade')}"

    shows.wanted = "^101, open; 404: "
    return at(port, shows)


# --- who it is --------------------------------------------------------------------------------------------------


@fault("login-required")
async def basic_password(room):
    """nginx with `auth_basic`: 401"""
    users = room.write("users", "anna:{PLAIN}secret\n")
    backend = await room.echo()
    port = await room.server(
        f'auth_basic "lab"; auth_basic_user_file {users}; '
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}"
    )
    return at(port, "^401: ", path="/ws")


@fault("login-required")
async def token_missing(room):
    """Node's ws asks for a token in Authorization: 401"""
    return at(await room.echo(token="Bearer right"), "^401")


@fault("login-required")
async def auth_request_refuses(room):
    """nginx with `auth_request`, whose answer is 401"""
    backend = await room.echo()
    port = await room.server(
        f"location / {{ auth_request /auth; proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}\n"
        "location = /auth { internal; return 401; }"
    )
    return at(port, "^401: ", path="/ws")


# --- subprotocols -----------------------------------------------------------------------------------------------


@fault("subprotocol-needed")
async def subprotocol_missing(room):
    """Python's websockets refuses who offers no subprotocol: 400"""
    from websockets.exceptions import NegotiationError

    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message)

    def select(connection, offered):
        if "graphql-transport-ws" not in offered:
            raise NegotiationError("missing subprotocol")
        return "graphql-transport-ws"

    return at(await room.websockets(handler, select_subprotocol=select), "^400: ")


@fault("subprotocol-needed")
async def subprotocol_missing_after_the_handshake(room):
    """a GraphQL server opens the socket, and closes it with 4406 for want of a subprotocol"""
    backend = await room.echo(subprotocol="graphql-transport-ws", strict=True)
    return at(backend, "^101, closed 4406", path="/graphql")


@fault("subprotocol-wrong")
async def subprotocol_dropped_by_proxy(room):
    """nginx takes Sec-WebSocket-Protocol away: the answer names none, and browsers give up"""
    backend = await room.echo(subprotocol="chat.v1")
    port = await room.server(
        f'location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} proxy_set_header Sec-WebSocket-Protocol ""; }}'
    )
    return at(port, "^101 with wrong Protocol: None", subprotocol="chat.v1")


@fault("subprotocol-wrong")
async def subprotocol_never_offered(room):
    """a server that names a subprotocol which the client did not offer"""
    port = await room.serve(broken.answering(lambda headers: broken.switching(headers, "Sec-WebSocket-Protocol: chat")))
    return at(port, "^101 with wrong Protocol: chat")


@fault("origin-refused")
async def origin_of_a_file(room):
    """a page from a file or a sandbox has the Origin `null`, and the server does not take it"""
    return at(await room.echo(origins=["https://app.lab.test"]), "^403", origin="null")


@fault("login-required")
async def password_at_caddy(room):
    """Caddy with `basicauth`: 401"""
    backend = await room.echo()
    # The hash is of the word "secret".
    port = await room.caddy(
        "http://127.0.0.1:PORT {\n bind 127.0.0.1\n basicauth {\n"
        " anna JDJhJDE0JEVhZ0xRaUlFd0JxNDlmSzZQVzRPZS5lbFhPZnZGTkNNOFdWQUhGbzJYaW5rNHEuVnBLT0lt\n }\n"
        f" reverse_proxy 127.0.0.1:{backend}\n}}\n"
    )
    return at(port, "^401")


@fault("login-required")
async def password_at_longwire(room):
    """Longwire with `auth_basic`: 401"""
    users = room.write("users", "anna:{PLAIN}secret\n")
    backend = await room.echo()
    port = await room.longwire(
        f'server {{ listen 127.0.0.1:PORT; auth_basic "lab"; auth_basic_user_file {users};'
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return at(port, "^401: ")


@fault("forbidden")
async def referer_wanted(room):
    """nginx with `valid_referers`: browsers send no Referer with a handshake, 403"""
    backend = await room.echo()
    port = await room.server(
        "valid_referers server_names app.lab.test; if ($invalid_referer) { return 403; }"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} {HOST} }}"
    )
    return at(port, "^403: ")
