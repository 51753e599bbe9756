"""The servers behind nginx: real ones, each with a tap before it that notes what nginx asked for."""

import asyncio
import json
import logging
import os
import ssl

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import websockets
from websockets.asyncio.server import serve

import programs

MODULES = os.environ.get("NODE_MODULES", str(programs.ROOT / "target" / "interop" / "node" / "node_modules"))
HEAD_LIMIT = 1 << 16


class Servers:
    """All kinds of servers, by name: those of servers.js, `websockets` (Python's library) and `tornado`, which looks at Origin."""

    async def __aenter__(self):
        self.node = await asyncio.create_subprocess_exec(
            "node",
            str(programs.ROOT / "tests" / "check" / "servers.js"),
            MODULES,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.ports = json.loads(await self.node.stdout.readline())
        # What they say about handshakes that are meant to fail is not for the eye.
        for name in ("websockets", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.websockets = await serve(_echo, "127.0.0.1", 0, ping_interval=None)
        self.ports["websockets"] = self.websockets.sockets[0].getsockname()[1]
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        self.tornado = tornado.httpserver.HTTPServer(tornado.web.Application([(".*", _Echo)]))
        self.tornado.add_sockets(sockets)
        self.ports["tornado"] = sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.websockets.close()
        self.tornado.stop()
        self.node.stdin.close()
        await self.node.wait()


async def _echo(socket):
    try:
        await socket.send("hello")
        async for message in socket:
            await socket.send(message)
            if message == "pair":
                # sleep is the promise: two small messages, one soon after the other.
                await asyncio.sleep(0.002)
                await socket.send(message)
    except websockets.ConnectionClosed:
        pass


class _Echo(tornado.websocket.WebSocketHandler):
    def open(self, *_):
        self.write_message("hello")

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


class FastCgi:
    """A FastCGI server that agrees to every upgrade, and then gives back what comes: `asked` counts the requests."""

    def __init__(self):
        self.asked = 0

    async def __call__(self, reader, writer):
        try:
            while (record := await reader.readexactly(8))[1] != 5:
                await reader.readexactly(int.from_bytes(record[4:6], "big") + record[6])
            self.asked += 1
            head = b"Status: 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            writer.write(b"\1\6\0\1" + len(head).to_bytes(2, "big") + b"\0\0" + head)
            await _pipe(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Names(asyncio.DatagramProtocol):
    """A name server that knows one address for every name."""

    def __init__(self, address):
        self.address = bytes(int(part) for part in address.split("."))

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        end = data.index(b"\0", 12) + 5
        ipv4 = data[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + self.address if ipv4 else b""
        counts = b"\0\1" + (b"\0\1" if ipv4 else b"\0\0") + bytes(4)
        self.transport.sendto(data[:2] + b"\x81\x80" + counts + data[12:end] + answer, sender)


class Request:
    """The head of a request, as a server got it."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.uri, self.version = (lines[0].split(" ") + ["", "", ""])[:3]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]

    def header(self, name):
        return next(iter(self.all(name)), None)

    def all(self, name):
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def __str__(self):
        return f"{self.method} {self.uri} {self.version} {self.headers}"


class Tap:
    """A port before a server. `requests` are the heads that came, `connections` how many connections."""

    def __init__(self, name, port, target, context=None, source=None):
        self.name, self.port, self.target, self.context, self.source = name, port, target, context, source
        self.requests, self.connections, self.tasks, self.server = [], 0, set(), None

    async def start(self):
        self.server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self.context, limit=HEAD_LIMIT, backlog=1024
        )
        return self

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def take(self):
        taken, self.requests = self.requests, []
        return taken

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        self.connections += 1
        back = None
        try:
            answers, back = await asyncio.open_connection(
                "127.0.0.1", self.target, local_addr=self.source and self.source()
            )
            await asyncio.gather(self._heads(reader, back), _pipe(answers, writer))
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            # A connection ended, or all of this does.
            pass
        finally:
            self.tasks.discard(task)
            for each in filter(None, (writer, back)):
                each.close()

    async def _heads(self, reader, back):
        """Passes the bytes on as they come, and notes every head until one asks for an upgrade."""
        seen, skip, over = b"", 0, False
        while data := await reader.read(65536):
            back.write(data)
            await back.drain()
            seen += b"" if over else data
            while not over and len(seen) >= skip and b"\r\n\r\n" in seen[skip:]:
                head, _, seen = seen[skip:].partition(b"\r\n\r\n")
                request = Request(head)
                self.requests.append(request)
                skip, over = int(request.header("content-length") or 0), bool(request.header("upgrade"))
            over = over or len(seen) > HEAD_LIMIT
        back.write_eof()


async def _pipe(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
