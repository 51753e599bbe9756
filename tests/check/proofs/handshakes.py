"""What a backend gets of a handshake, and what comes of it."""

from proofs import proof
from servers import FastCgi
from stand import must

LIBRARIES = ("ws", "websockets")


async def opens(room, path, which="good", servers=LIBRARIES, **more):
    """The configuration carries a WebSocket, with each of the servers behind it."""
    for server in servers:
        async with room.stand(which, default=server, **more) as stand:
            tunnel = await stand.handshake(path)
            must(tunnel.status == 101 and await tunnel.echo(), f"{which}.conf: {tunnel} from {server}")


async def breaks(room, path, truth, servers=LIBRARIES, **more):
    """No server takes the handshake of bad.conf; `truth` is asked of what each got. Gives what the client got."""
    statuses = []
    for server in servers:
        async with room.stand("bad", default=server, **more) as stand:
            tunnel = await stand.handshake(path)
            must(tunnel.status != 101, f"bad.conf: {server} answers 101")
            for request in stand.seen():
                must(truth(request), f"{server} got {request}")
            statuses.append(f"{tunnel} from {server}")
    return ", ".join(statuses)


@proof("upgrade-missing")
async def upgrade_missing(room):
    said = await breaks(room, "/ws/", lambda request: request.header("upgrade") is None)
    await opens(room, "/ws/")
    return f"no Upgrade reaches the backend: {said}"


@proof("connection-missing")
async def connection_missing(room):
    # From 1.29.7 on nginx sends no Connection at all, before that `close`.
    said = await breaks(
        room,
        "/ws/",
        lambda request: request.header("upgrade") == "websocket" and request.header("connection") in (None, "close"),
    )
    await opens(room, "/ws/")
    return f"Upgrade without `Connection: upgrade`: {said}"


@proof("headers-lost")
async def headers_lost(room):
    said = await breaks(
        room, "/ws/", lambda request: request.header("upgrade") is None and request.header("x-real-ip") is not None
    )
    await opens(room, "/ws/")
    return f"X-Real-IP arrives, Upgrade does not: {said}"


@proof("upgrade-twice")
async def upgrade_twice(room):
    said = await breaks(room, "/ws/", lambda request: len(request.all("upgrade")) == 2)
    await opens(room, "/ws/")
    return f"Upgrade arrives twice: {said}"


@proof("http-version-1.0")
async def http_version(room):
    await opens(room, "/ws/")
    async with room.stand("bad", default="websockets") as stand:
        tunnel = await stand.handshake("/ws/")
        [request] = stand.seen()
        if room.nginx.version >= (1, 29, 7):
            must(request.version == "HTTP/1.1" and tunnel.status == 101, f"{tunnel} for {request}")
            return "HTTP/1.1 is the default here: the handshake succeeds"
        must(request.version == "HTTP/1.0" and tunnel.status == 505, f"{tunnel} for {request}")
    async with room.stand("bad", default="ws") as stand:
        tunnel = await stand.handshake("/ws/")
        must(tunnel.status == 101, f"{tunnel} from ws")
    return "the handshake arrives in HTTP/1.0: 505 from websockets, while ws takes it"


@proof("http-version-2")
async def http_version_2(room):
    await opens(room, "/ws/")
    said = await room.refusal("bad")
    if room.nginx.version < (1, 29, 4):
        must(said and "invalid value" in said, f"nginx says {said}")
        return f"nginx does not start: {said}"
    said = await breaks(room, "/ws/", lambda request: request.header("upgrade") is None)
    return f"no handshake reaches the backend: {said}"


@proof("handshake-header-dropped")
async def header_dropped(room):
    said = await breaks(room, "/ws/", lambda request: request.header("sec-websocket-key") is None)
    await opens(room, "/ws/")
    return f"no Sec-WebSocket-Key reaches the backend: {said}"


@proof("tls-to-plain-port")
async def tls_to_plain(room):
    said = await breaks(room, "/ws/", lambda request: False, plain=("80",))
    await opens(room, "/ws/")
    return f"TLS to a server without: {said}"


@proof("plain-to-tls-port")
async def plain_to_tls(room):
    said = await breaks(room, "/ws/", lambda request: False, secure=("443",))
    await opens(room, "/ws/")
    return f"no TLS to a server with: {said}"


@proof("http2-only")
async def http2_only(room):
    async with room.stand("bad") as stand:
        tunnel = await stand.handshake("/ws/")
        if room.nginx.version >= (1, 25, 1):
            must(tunnel.status == 101, f"{tunnel}")
            said = "this nginx takes HTTP/1.1 on such a port as well"
        else:
            must(tunnel.status == 0, f"{tunnel}")
            must("no HTTP" in tunnel.answer.end, f"{tunnel}")
            said = "frames of HTTP/2 in place of an answer"
    async with room.stand("good") as stand:
        tunnel = await stand.handshake("/ws/", port=443, tls=True)
        must(tunnel.status == 101 and await tunnel.echo(), f"good.conf: {tunnel}")
    return said


@proof("fastcgi-path")
async def fastcgi_path(room):
    await opens(room, "/ws/")
    server = FastCgi()
    async with room.stand("bad", raw={"9000": server}) as stand:
        tunnel = await stand.handshake("/ws/", greeting=False)
        must(server.asked, "nothing reached the FastCGI server")
        must(not (tunnel.status == 101 and await tunnel.echo()), f"{tunnel}, and an echo")
        return f"the FastCGI server answers 101, and no message passes: the client got {tunnel}"


@proof("upgrade-literal")
async def upgrade_literal(room):
    async with room.stand("bad", default="app") as stand:
        page = await stand.get("/")
        [request] = stand.seen()
        must(request.header("upgrade") == "websocket", f"the backend got {request}")
        must(page.status == 400, f"bad.conf: {page.status} for an ordinary page")
    async with room.stand("good", default="app") as stand:
        must((await stand.get("/")).status == 200, "good.conf: an ordinary page is broken")
        must((await stand.handshake("/")).status == 101, "good.conf: a handshake is broken")
    return "an ordinary page becomes a broken handshake: 400"


@proof("connection-upgrade-always")
async def connection_always(room):
    async with room.stand("bad", default="app") as stand:
        await stand.get("/")
        [request] = stand.seen()
        must(request.header("connection") == "upgrade" and not request.header("upgrade"), f"the backend got {request}")
    async with room.stand("good", default="app") as stand:
        await stand.get("/")
        [request] = stand.seen()
        must(request.header("connection") != "upgrade", f"the backend got {request}")
        must((await stand.handshake("/")).status == 101, "good.conf: a handshake is broken")
    return "an ordinary request says `Connection: upgrade` and names no protocol"


@proof("host-missing")
async def host_missing(room):
    async with room.stand("bad", default="tornado") as stand:
        tunnel = await stand.handshake("/ws/", "Origin: http://example.com")
        [request] = stand.seen()
        must(request.header("host").startswith("127.0.0.1:"), f"the backend got {request}")
        must(tunnel.status == 403, f"bad.conf: {tunnel} from tornado")
    async with room.stand("good", default="tornado") as stand:
        tunnel = await stand.handshake("/ws/", "Origin: http://example.com")
        must(tunnel.status == 101, f"good.conf: {tunnel} from tornado")
    return "tornado compares Origin with Host: 403"


@proof("host-twice")
async def host_twice(room):
    said = await breaks(room, "/ws/", lambda request: len(request.all("host")) == 2, ("tornado",))
    await opens(room, "/ws/")
    return f"Host arrives twice: {said}"


@proof("host-port-lost")
async def host_port_lost(room):
    # As a browser does on a page of http://example.com:8080.
    async with room.stand("bad", default="tornado") as stand:
        tunnel = await stand.handshake("/ws/", "Origin: http://example.com:8080", port=8080, host="example.com:8080")
        [request] = stand.seen()
        must(request.header("host") == "example.com", f"the backend got {request}")
        must(tunnel.status == 403, f"bad.conf: {tunnel} from tornado")
    async with room.stand("good", default="tornado") as stand:
        tunnel = await stand.handshake("/ws/", "Origin: http://example.com:8080", port=8080, host="example.com:8080")
        must(tunnel.status == 101, f"good.conf: {tunnel} from tornado")
    return "Origin has a port and Host has none: 403 from tornado"


@proof("origin-unchecked")
async def origin_unchecked(room):
    member = "Authorization: Basic dXNlcjpwYXNz"
    async with room.stand("bad") as stand:
        must((await stand.handshake("/ws/")).status == 401, "the password is not asked for")
        tunnel = await stand.handshake("/ws/", member, "Origin: https://elsewhere.example")
        must(tunnel.status == 101, f"bad.conf: {tunnel}")
    async with room.stand("good") as stand:
        tunnel = await stand.handshake("/ws/", member, "Origin: https://elsewhere.example")
        must(tunnel.status == 403, f"good.conf: {tunnel} for a foreign page")
        tunnel = await stand.handshake("/ws/", member, "Origin: https://example.com")
        must(tunnel.status == 101, f"good.conf: {tunnel} for its own page")
    return "a foreign page opens a tunnel with the password that the browser keeps"


@proof("auth-request-upgrade")
async def auth_request(room):
    kinds = {"3000": "ws", "3001": "app"}
    async with room.stand("bad", kinds) as stand:
        tunnel = await stand.handshake("/ws/")
        [request] = stand.tap("3001").take()
        must(request.header("upgrade") == "websocket", f"the server that is asked got {request}")
        must(tunnel.status != 101, f"bad.conf: {tunnel}")
    async with room.stand("good", kinds) as stand:
        good = await stand.handshake("/ws/")
        [request] = stand.tap("3001").take()
        must(request.header("upgrade") is None, f"the server that is asked got {request}")
        must(good.status == 101, f"good.conf: {good}")
    return f"the server that is asked for permission sees a handshake: {tunnel} for the client"


@proof("error-page-hides")
async def error_page(room):
    async with room.stand("bad", default="refuses") as stand:
        bad = await stand.handshake("/ws/")
        must(bad.status == 200, f"bad.conf: {bad}")
    async with room.stand("good", default="refuses") as stand:
        tunnel = await stand.handshake("/ws/")
        must(tunnel.status == 401, f"good.conf: {tunnel}")
    return "the backend's 401 becomes a page with 200"
