"""The application behind both programs: it answers with what it saw.

An ordinary request gets a JSON of port, method, URI, headers in order and body; a WebSocket handshake gets 101 and the same
JSON as its first message, then its messages back. A request may ask for another answer with `X-Answer`, a JSON with any of:
status, reason, headers (pairs), body, chunked, close (no length: the body ends with the connection), raw (the whole answer),
drop (nothing at all), version; of a tunnel: tunnel ("ends": it says something and ends the connection without a Close).
"""

import asyncio
import base64
import hashlib
import json
import ssl

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEAD_LIMIT = 1 << 20


class Backend:
    """One listening port. What arrives is in `seen` until somebody takes it."""

    def __init__(self, name, port, context=None):
        self.name, self.port, self.context = name, port, context
        self.seen = []
        self.tasks = set()
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=HEAD_LIMIT, ssl=self.context, reuse_address=True
        )
        return self

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def take(self):
        """What arrived since the last time."""
        seen, self.seen = self.seen, []
        return seen

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (
            OSError,
            ValueError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ssl.SSLError,
            asyncio.CancelledError,
        ):
            # A connection ended, or all of this does.
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _one(self, reader, writer):
        """Serves one request; whether there may be another."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, uri, version = (
            lines[0].split(" ", 1)[0],
            lines[0].split(" ", 1)[1].rsplit(" ", 1)[0],
            lines[0].rsplit(" ", 1)[1],
        )
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        body = await read_body(reader, headers)
        request = {
            "backend": self.name,
            "method": method,
            "uri": uri,
            "version": version,
            "headers": headers,
            "body": body.decode("latin-1"),
        }
        self.seen.append(request)
        wish = json.loads(value(headers, "x-answer") or "{}")
        if (value(headers, "upgrade") or "").lower() == "websocket" and wish.keys() <= {"tunnel"}:
            await self._websocket(reader, writer, headers, request, wish.get("tunnel"))
            return False
        return await answer(writer, method, wish, request)

    async def _websocket(self, reader, writer, headers, request, wish):
        key = (value(headers, "sec-websocket-key") or "").encode("latin-1")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        if protocol := value(headers, "sec-websocket-protocol"):
            head += f"Sec-WebSocket-Protocol: {protocol.split(',')[0].strip()}\r\n"
        writer.write((head + "X-Backend: yes\r\n\r\n").encode("latin-1") + frame(1, json.dumps(request).encode()))
        if wish == "ends":
            writer.write(frame(1, b"the last words"))
            return
        while True:
            opcode, payload = await read_frame(reader)
            if opcode == 9:
                writer.write(frame(10, payload))
            elif opcode != 10:
                writer.write(frame(opcode, payload))
            await writer.drain()
            if opcode == 8:
                return


def value(headers, name):
    """The first value of a header."""
    return next((value for known, value in headers if known.lower() == name), None)


async def read_body(reader, headers):
    if (value(headers, "transfer-encoding") or "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while (await reader.readline()).strip():
            pass
        return body
    return await reader.readexactly(int(value(headers, "content-length") or 0))


async def answer(writer, method, wish, request):
    if wish.get("drop"):
        return False
    if raw := wish.get("raw"):
        writer.write(raw.encode("latin-1"))
        await writer.drain()
        return False
    status = wish.get("status", 200)
    headers = list(wish.get("headers", []))
    body = wish.get("body")
    if body is None:
        body = json.dumps(request)
        headers += [("Content-Type", "application/json"), ("X-Echo", "yes")]
    body = body.encode("latin-1")
    bodiless = method == "HEAD" or status in (204, 304) or status < 200
    close = wish.get("close") or request["version"] == "HTTP/1.0"
    if wish.get("chunked"):
        headers.append(("Transfer-Encoding", "chunked"))
        middle = len(body) // 2
        pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif not wish.get("close") and status not in (204, 304):
        headers.append(("Content-Length", str(len(body))))
    if close:
        headers.append(("Connection", "close"))
    lines = [f"HTTP/{wish.get('version', '1.1')} {status} {wish.get('reason', 'Whatever')}"]
    lines += [f"{name}: {text}" for name, text in headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if bodiless else body))
    await writer.drain()
    return not close


def frame(opcode, payload, mask=None):
    """A frame, short or medium."""
    head = bytes([0x80 | opcode])
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    else:
        head += bytes([flag | 126]) + len(payload).to_bytes(2, "big")
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + (mask or b"") + payload


async def read_frame(reader):
    first, second = await reader.readexactly(2)
    length = second & 127
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    elif length == 127:
        length = int.from_bytes(await reader.readexactly(8), "big")
    mask = await reader.readexactly(4) if second & 128 else b"\0\0\0\0"
    payload = await reader.readexactly(length)
    return first & 15, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
