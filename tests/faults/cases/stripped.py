"""Proxies that do not pass on what a WebSocket needs: by the lines that are missing, lost, or at the wrong place."""

import re

import broken
from lab import SOUND, Visit, fault
from refused import tornado_echo

LINES = "proxy_set_header Upgrade $http_upgrade"
UPGRADE = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
PASS = f"proxy_http_version 1.1; {UPGRADE} proxy_set_header Host $http_host;"


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


def at(port, path="/ws", shows=""):
    return Visit(f"ws://127.0.0.1:{port}{path}", shows, says=(LINES,))


def cured(room, passing):
    """Writes the lines that the doctor gave into the file, and asks it again: under nginx, and under Longwire."""

    async def then(report, doctor):
        lines = [line for fix in report["verdict"]["fix"] if "nginx" in fix["where"] for line in fix["lines"]]
        text = "\n".join(lines)
        maps = re.findall(r"map [^{]*\{[^}]*\}", text)
        for each in maps:
            text = text.replace(each, "")
        # The lines show a location, and in a comment where its proxy_pass stays.
        text = re.sub("#.*proxy_pass.*", passing, text)
        file = "\n".join(maps) + f"\nserver {{ listen 127.0.0.1:PORT; {text} }}"
        for program in (room.nginx, room.longwire):
            try:
                port = await program(file)
            except RuntimeError as error:
                return f"does not run with the lines given: {error}"
            _, report, out = await doctor(Visit(f"ws://127.0.0.1:{port}/ws", ""))
            if not report or report["verdict"]["id"] != SOUND:
                return f"{program.__name__} with the lines given is not called sound: {out[:600]}"

    return then


@fault("upgrade-stripped")
async def nginx_bare_to_ws(room):
    """Debian's nginx with `proxy_pass` alone, Node's ws behind it; with the doctor's lines it is sound, also in Longwire"""
    passing = f"proxy_pass http://127.0.0.1:{await room.echo()};"
    visit = at(await room.server(f"location / {{ {passing} }}"), shows="^426: .*Upgrade Required")
    visit.then = cured(room, passing)
    return visit


@fault("upgrade-stripped")
async def new_nginx_bare_to_ws(room):
    """the newest nginx (HTTP/1.1 to backends by itself) with `proxy_pass` alone, Node's ws behind it"""
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{await room.echo()}; }}", version="new")
    return at(port, shows="^426: ")


@fault("upgrade-stripped")
async def nginx_bare_to_python(room):
    """nginx with `proxy_pass` alone, Python's websockets behind it; with the doctor's lines it is sound, also in Longwire"""
    passing = f"proxy_pass http://127.0.0.1:{await room.websockets(echo)};"
    visit = at(await room.server(f"location / {{ {passing} }}"), shows="^(426|505): ")
    visit.then = cured(room, passing)
    return visit


@fault("upgrade-stripped")
async def nginx_bare_to_socketio(room):
    """nginx with `proxy_pass` alone, a socket.io server behind it"""
    backend = await room.node(kind="socket.io")
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}")
    return at(port, "/socket.io/?EIO=4&transport=websocket", shows="^400: ")


@fault("upgrade-stripped")
async def nginx_bare_to_application(room):
    """nginx with `proxy_pass` alone, and behind it an application that has a page at the same path"""
    backend = await room.echo(page={"status": 200, "text": "<h1>chat</h1>", "at": "/ws"}, path="/ws")
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}")
    return at(port, shows="^200: ")


@fault("upgrade-stripped")
async def headers_lost_by_inheritance(room):
    """Upgrade and Connection stand in the server, and the location has a `proxy_set_header` of its own: they are lost"""
    backend = await room.echo()
    port = await room.server(
        f"proxy_http_version 1.1; {UPGRADE} "
        f"location /ws {{ proxy_pass http://127.0.0.1:{backend}; proxy_set_header X-Real-IP $remote_addr; }}"
    )
    return at(port, shows="^426: ")


@fault("upgrade-stripped")
async def connection_missing(room):
    """nginx passes Upgrade on, but not Connection"""
    backend = await room.websockets(echo)
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; }"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^426: ", says=("proxy_set_header Connection",))


@fault("upgrade-stripped")
async def connection_emptied_for_keepalive(room):
    """the recipe for `keepalive` (`proxy_set_header Connection ""`) on the path of the WebSocket"""
    backend = await room.echo()
    port = await room.nginx(
        f"upstream u {{ server 127.0.0.1:{backend}; keepalive 8; }}\n"
        "server { listen 127.0.0.1:PORT; location / { proxy_pass http://u; proxy_http_version 1.1;"
        ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection ""; } }'
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^(400|426): ", says=("proxy_set_header Connection",))


@fault("upgrade-stripped")
async def upgrade_missing(room):
    """nginx passes Connection on, but not Upgrade"""
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{await room.echo()}; proxy_http_version 1.1;"
        " proxy_set_header Connection upgrade; }"
    )
    return at(port, shows="^(400|426): ")


@fault("upgrade-stripped", "wrong-path")
async def nginx_bare_to_an_interface(room):
    """nginx with `proxy_pass` alone, and behind it an application that has nothing but the WebSocket at that path: 404"""
    backend = await room.echo(page={"status": 404, "text": '{"detail":"Not Found"}'}, path="/ws")
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}")
    return at(port, shows="^404: .*detail")


@fault("upgrade-stripped")
async def map_turned_around(room):
    """the `map` gives `close` where it should give `upgrade`"""
    backend = await room.echo()
    port = await room.nginx(
        "map $http_upgrade $connection_upgrade { default close; '' upgrade; }\n"
        f"server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; } }"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^(400|426): ", says=("proxy_set_header Connection",))


@fault("upgrade-stripped")
async def http_1_0_to_python(room):
    """Debian's nginx with Upgrade and Connection, but without `proxy_http_version 1.1`, to Python's websockets"""
    backend = await room.websockets(echo)
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {UPGRADE} }}")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^(400|426|50[0-9]): ", says=("proxy_http_version 1.1",))


@fault("upgrade-stripped")
async def location_shadowed(room):
    """`location /ws` has all it needs, but a regular expression (`~ ^/(ws|api)`) takes the path and has not"""
    backend = await room.echo()
    port = await room.server(
        f"location /ws {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}\n"
        f"location ~ ^/(ws|api) {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}"
    )
    return at(port, shows="^426: ")


@fault("upgrade-stripped")
async def two_proxies_second_bare(room):
    """two nginx in a row: the first passes everything on, the second nothing"""
    second = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{await room.echo()}; }}")
    first = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{second}; {PASS} }}")
    return at(first, shows="^426: ")


@fault("upgrade-stripped")
async def haproxy_deletes_upgrade(room):
    """HAProxy takes the header Upgrade away (`http-request del-header`)"""
    backend = await room.echo()
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT\n http-request del-header Upgrade\n server s 127.0.0.1:{backend}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^426: ")


@fault("upgrade-stripped")
async def caddy_deletes_upgrade(room):
    """Caddy takes the header Upgrade away (`header_up -Upgrade`)"""
    backend = await room.echo()
    port = await room.caddy(
        "http://127.0.0.1:PORT {\n bind 127.0.0.1\n request_header -Upgrade\n"
        f" reverse_proxy 127.0.0.1:{backend}\n}}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^426: ")


@fault("upgrade-stripped")
async def apache_bare(room):
    """Apache with `ProxyPass` alone, Node's ws behind it"""
    backend = await room.echo()
    port = await room.apache(f"ProxyPass / http://127.0.0.1:{backend}/")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^(426|400): ", says=("upgrade=websocket",))


@fault("upgrade-stripped", "page-fallback")
async def error_page_hides_426(room):
    """nginx passes nothing on, and `proxy_intercept_errors` hides the backend's 426 behind a page"""
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{await room.echo()}; proxy_intercept_errors on;"
        " error_page 400 426 =200 /oops.html; }\n"
        "location = /oops.html { default_type text/html; return 200 '<h1>Something went wrong</h1>'; }"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^200: .*went wrong")


@fault("wrong-path")
async def proxy_pass_cuts_the_path(room):
    """`location /ws/ { proxy_pass http://app/; }` cuts the path off that the backend serves WebSockets at"""
    backend = await room.echo(path="/ws/", page={"status": 404, "text": "Cannot GET"})
    port = await room.server(f"location /ws/ {{ proxy_pass http://127.0.0.1:{backend}/; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/ws/", "^404: ")


@fault("wrong-path")
async def nginx_has_no_such_location(room):
    """nginx serves WebSockets at /ws, and the URL says /chat: 404 of nginx"""
    backend = await room.echo()
    port = await room.server(
        f"location /ws {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} location / {{ return 404; }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/chat", "^404: ")


@fault("wrong-path")
async def ws_at_another_path(room):
    """Node's ws serves /ws (`path`), and the URL has none: 400"""
    return Visit(f"ws://127.0.0.1:{await room.echo(path='/ws')}/", "^400: ")


@fault("wrong-path")
async def socketio_without_its_path(room):
    """a socket.io server, and the URL lacks /socket.io/"""
    port = await room.node(kind="socket.io")
    return Visit(f"ws://127.0.0.1:{port}/", "^(404|400|ended|no answer)")


@fault("page-fallback")
async def single_page_application(room):
    """nginx has no location for /ws: `try_files` gives the application's page, status 200"""
    root = room.folder / "www"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html><div id=root></div><script src=/app.js></script>")
    port = await room.server(f"root {root}; location / {{ try_files $uri /index.html; }}")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^200: .*div id=root")


@fault("page-fallback")
async def caddy_single_page_application(room):
    """Caddy proxies /api alone: /ws gets the page of the application"""
    root = room.folder / "www"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html><div id=root></div><script src=/app.js></script>")
    port = await room.caddy(
        f"http://127.0.0.1:PORT {{\n bind 127.0.0.1\n reverse_proxy /api/* 127.0.0.1:{room.dead_port()}\n"
        f" root * {root}\n try_files {{path}} /index.html\n file_server\n}}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^200: .*div id=root")


@fault("wrong-version")
async def old_server(room):
    """a server that speaks version 8 of the protocol alone: 426 with Sec-WebSocket-Version: 8"""

    def answer(headers):
        if headers.get("sec-websocket-version") == "8":
            return broken.switching(headers)
        return broken.response(426, "Upgrade Required", "Sec-WebSocket-Version: 8")

    return Visit(f"ws://127.0.0.1:{await room.serve(broken.answering(answer))}/", "^426: ")


@fault("upgrade-stripped")
async def apache_bare_to_socketio(room):
    """Apache with `ProxyPass` alone, a socket.io server behind it"""
    backend = await room.node(kind="socket.io")
    port = await room.apache(f"ProxyPass / http://127.0.0.1:{backend}/")
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    return Visit(url, "^400: ", says=("upgrade=websocket",))


@fault("upgrade-stripped")
async def nginx_bare_to_tornado(room):
    """nginx with `proxy_pass` alone, Tornado behind it: 400"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}")
    return at(port, shows="^400: ")


@fault("upgrade-stripped")
async def connection_missing_to_tornado(room):
    """nginx passes Upgrade and Host on, but not Connection; Tornado behind it: 400"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;"
        " proxy_set_header Upgrade $http_upgrade; proxy_set_header Host $http_host; }"
    )
    return Visit(f"ws://127.0.0.1:{port}/ws", "^400: ", says=("proxy_set_header Connection",))


@fault("wrong-path")
async def unusual_path_behind_nginx(room):
    """nginx passes everything on, and Node's ws serves /v3/stream, not /chat: 400"""
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{await room.echo(path='/v3/stream')}; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/chat", "^400: ")


@fault("wrong-path", "page-fallback")
async def no_websocket_at_all(room):
    """an application in Node that has pages and no WebSocket: 200 at the path of the handshake"""

    async def handler(reader, writer):
        line, _ = await broken.head(reader)
        found = line.split()[1] == "/"
        writer.write(broken.response(200, "<h1>shop</h1>") if found else broken.response(404, "Not Found"))

    return Visit(f"ws://127.0.0.1:{await room.serve(handler)}/", "^200: .*shop")


@fault("wrong-path", "forbidden")
async def tornado_at_another_path(room):
    """Tornado behind a sound nginx has its WebSocket at /ws, and the URL says /wss: 404"""
    backend = room.tornado([(r"/ws", tornado_echo())])
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/wss", "^404: ")
