"""Real applications, each by the nginx block of its own documentation (examples/ holds the same blocks)."""

import asyncio
import json
import sys
import uuid

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from house import EXAMPLES, ROOM, case, free_port


def example(name, **changes):
    """A file of examples/ with ports that are free here."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes.values():
        assert old in text, f"{old!r} is not in examples/{name}"
        text = text.replace(old, new)
    return text


@case("a socket.io chat: by WebSocket, by polling, and from one to the other")
async def socket_io(house):
    server = await house.node("chat.js", "server")
    port = (await server.json("port"))["port"]
    longwire = await house.longwire(example(
        "socket.io.conf", listen=("listen 80;", "listen 127.0.0.1:0;"), to=("localhost:3000", f"localhost:{port}")))
    clients = await house.node("chat.js", "clients", f"http://127.0.0.1:{longwire.port}")
    status = await clients.wait(60)
    told = list(clients.jsons())
    assert status == 0 and len(told) == 3, f"{clients.text}\n{longwire.text}"
    for line, begun in zip(told, ("websocket", "polling", "polling")):
        assert line["begun"] == begun and line["heard"].startswith("hello") and line["receipt"] == "delivered", told
    assert [line["transport"] for line in told] == ["websocket", "polling", "websocket"], told
    return ", ".join(f"{line['begun']} to {line['transport']}" for line in told)


@case("a cell of Jupyter is executed through its kernel's WebSocket")
async def jupyter(house):
    port, token = free_port(), uuid.uuid4().hex
    environment = {f"JUPYTER_{kind}_DIR": str(house.folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {"HOME": str(house.folder), "JUPYTER_PATH": str(ROOM / "venv" / "share" / "jupyter")}
    server = await house.start(
        sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        f"--IdentityProvider.token={token}", "--ServerApp.allow_remote_access=True",
        f"--ServerApp.root_dir={house.folder}", name="jupyter", env=environment)
    await server.line(lambda line: True if "is running at" in line else None, 60)
    longwire = await house.longwire(example(
        "jupyter.conf", listen=("listen 80;", "listen 127.0.0.1:0;"), to=("127.0.0.1:8888", f"127.0.0.1:{port}")))
    base = f"http://127.0.0.1:{longwire.port}"

    status, said = await house.run("curl", "-sS", "--noproxy", "*", "-m", "60", "-X", "POST", "-H",
                                   f"Authorization: token {token}", "-H", "Content-Type: application/json", "-d",
                                   '{"name":"python3"}', f"{base}/api/kernels", bound=90)
    assert status == 0, said
    kernel = json.loads(said)["id"]

    session = uuid.uuid4().hex
    code = "print(6 * 7)"
    request = {
        "header": {"msg_id": uuid.uuid4().hex, "username": "u", "session": session, "msg_type": "execute_request",
                   "version": "5.3", "date": "2026-01-01T00:00:00Z"},
        "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
        "content": {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                    "allow_stdin": False, "stop_on_error": True},
    }
    url = f"ws://127.0.0.1:{longwire.port}/api/kernels/{kernel}/channels?session_id={session}&token={token}"
    async with connect(url, proxy=None, origin=base) as socket:
        await socket.send(json.dumps(request))
        printed, replied = "", None
        async with asyncio.timeout(60):
            while not (printed.endswith("\n") and replied):
                message = json.loads(await socket.recv())
                if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                    continue
                if message["msg_type"] == "stream":
                    printed += message["content"]["text"]
                if message["msg_type"] == "execute_reply":
                    replied = message["content"]["status"]
    assert (printed, replied) == ("42\n", "ok"), (printed, replied)
    await house.run("curl", "-sS", "--noproxy", "*", "-m", "60", "-X", "DELETE", "-H", f"Authorization: token {token}",
                    f"{base}/api/kernels/{kernel}", bound=90)
    return f"{code} gave {printed.strip()}"


@case("a single-page app: files, API and WebSocket from one server")
async def single_page_app(house):
    root = house.folder / "app"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<title>app</title>")
    (root / "assets" / "main-1a2b.js").write_text("start()")
    (root / "robots.txt").write_text("User-agent: *\n")

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        told = json.dumps({"path": head.split()[1].decode(), "proto": "X-Forwarded-Proto: http\r\n".lower() in head.decode().lower()})
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(told)}\r\n"
                     f"Connection: close\r\n\r\n{told}".encode())
        await writer.drain()
        writer.close()

    async def chat(socket):
        async for message in socket:
            await socket.send(f"{socket.request.path}: {message}")

    api = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with api, serve(chat, "127.0.0.1", 0) as sockets:
        longwire = await house.longwire(example(
            "single-page-app.conf", listen=("listen 80;", "listen 127.0.0.1:0;"), root=("/var/www/app", str(root)),
            api=("127.0.0.1:3000", f"127.0.0.1:{api.sockets[0].getsockname()[1]}"),
            ws=("127.0.0.1:3001", f"127.0.0.1:{sockets.sockets[0].getsockname()[1]}")))
        base = f"127.0.0.1:{longwire.port}"

        async def get(path):
            status, said = await house.run("curl", "-sS", "--noproxy", "*", "-m", "30", "-i", f"http://{base}{path}")
            assert status == 0, said
            head, body = said.replace("\r\n", "\n").split("\n\n", 1)
            return int(head.split()[1]), head.lower(), body

        for path in ("/", "/index.html", "/users/7/settings"):
            status, head, body = await get(path)
            assert (status, body) == (200, "<title>app</title>") and "cache-control: no-cache" in head, (path, head, body)
        status, head, body = await get("/assets/main-1a2b.js")
        assert (status, body) == (200, "start()") and "immutable" in head and "max-age=31536000" in head, head
        assert (await get("/assets/gone.js"))[0] == 404
        assert (await get("/robots.txt"))[2] == "User-agent: *\n"
        status, _, body = await get("/api/users?page=2")
        assert (status, json.loads(body)) == (200, {"path": "/api/users?page=2", "proto": True}), body
        async with connect(f"ws://{base}/ws?room=1", proxy=None) as client:
            await client.send("hello")
            assert await client.recv() == "/ws?room=1: hello"
    return "files, fallback, API and WebSocket"
