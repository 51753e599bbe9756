"""Small servers that are wrong in one way each, and relays that do what bad middle boxes do."""

import asyncio
import base64
import hashlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def head(reader):
    """A request's head: its first line, and headers by lower-case names."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = text.split("\r\n")
    headers = {}
    for line in lines[1:]:
        if ":" in line:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
    return lines[0], headers


def accept(headers):
    return base64.b64encode(hashlib.sha1(headers.get("sec-websocket-key", "").encode() + GUID).digest()).decode()


def is_websocket(headers):
    return headers.get("upgrade", "").lower() == "websocket" and "sec-websocket-key" in headers


def response(status, body="", *lines):
    reasons = {101: "Switching Protocols", 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
               404: "Not Found", 426: "Upgrade Required", 429: "Too Many Requests", 500: "Internal Server Error",
               503: "Service Unavailable"}  # fmt: skip
    rest = "" if status == 101 else f"Content-Length: {len(body.encode())}\r\nContent-Type: text/plain\r\n"
    more = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status} {reasons.get(status, 'Other')}\r\n{more}{rest}\r\n{body}".encode()


def switching(headers, *more, first="HTTP/1.1 101 Switching Protocols", **changed):
    """A 101 as it should be; a header changed to None is left out."""
    lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept(headers)}
    lines |= {name.replace("_", "-"): value for name, value in changed.items()}
    text = [first, *(f"{name}: {value}" for name, value in lines.items() if value is not None), *more, "", ""]
    return "\r\n".join(text).encode()


def frame(opcode, payload=b"", fin=True, rsv=0, mask=False):
    size = len(payload)
    text = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        text += bytes([bit | size])
    elif size < 1 << 16:
        text += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        text += bytes([bit | 127]) + size.to_bytes(8, "big")
    # A mask of zeros leaves the bytes as they are.
    return text + (bytes(4) if mask else b"") + payload


async def read_frame(reader):
    """first byte, payload unmasked."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(size)
    if mask and size:
        long = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = (int.from_bytes(payload, "big") ^ long).to_bytes(size, "big")
    return first, payload


def answering(answer, page="the application's page"):
    """A server that gives each handshake the bytes of `answer(headers)` and ends; other requests get a page."""

    async def handler(reader, writer):
        line, headers = await head(reader)
        writer.write(answer(headers) if is_websocket(headers) else response(200, page))
        await writer.drain()
        await asyncio.wait_for(reader.read(1000), 3) if b" 101 " in answer(headers)[:20] else None

    return handler


def talking(handle, **changed):
    """A server whose handshake is right and whose WebSocket is `handle(first, payload)`: bytes to send, None to end
    the connection. Without more it says back what it hears."""

    async def handler(reader, writer):
        _, headers = await head(reader)
        if not is_websocket(headers):
            writer.write(response(426, "Upgrade Required", "Upgrade: websocket"))
            return
        writer.write(switching(headers, **changed))
        state = {}
        while True:
            first, payload = await read_frame(reader)
            given = handle(first, payload, state)
            if given is None:
                writer.transport.abort()
                return
            writer.write(given)
            await writer.drain()
            if first & 15 == 8:
                return

    return handler


def echo(first, payload, state):
    """What a sound server does with a frame."""
    opcode = first & 15
    if opcode == 8:
        return frame(8, payload[:2])
    if opcode == 9:
        return frame(10, payload)
    if opcode == 10:
        return b""
    if opcode in (1, 2):
        state["opcode"], state["whole"] = opcode, b""
    state["whole"] = state.get("whole", b"") + payload
    return frame(state.get("opcode", 1), state["whole"]) if first & 0x80 else b""


async def echo_all(reader, writer):
    """Goes on like a sound server, until it is closed."""
    state = {}
    while True:
        first, payload = await read_frame(reader)
        writer.write(echo(first, payload, state))
        if first & 15 == 8:
            return


class Relay:
    """Carries bytes to a port, and can be told to do it badly."""

    def __init__(self, port, hold=0, cut=None, black=None):
        self.port, self.hold, self.cut, self.black = port, hold, cut, black

    async def __call__(self, reader, writer):
        onward, backward = await asyncio.open_connection("127.0.0.1", self.port)
        loop = asyncio.get_running_loop()
        until = loop.time() + self.black if self.black else None
        directions = [self.carry(reader, backward, 0, until), self.carry(onward, writer, self.hold, until)]
        tasks = [asyncio.create_task(each) for each in directions]
        try:
            await asyncio.wait(tasks, timeout=self.cut, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            backward.close()

    async def carry(self, reader, writer, hold, until):
        """`hold`: after the head of the answer, nothing goes on before so many bytes are there. `until`: then nothing passes."""
        loop = asyncio.get_running_loop()
        waiting = b""
        if hold:
            writer.write(await reader.readuntil(b"\r\n\r\n"))
        while data := await reader.read(1 << 16):
            if until and loop.time() > until:
                continue
            waiting += data
            if len(waiting) >= hold:
                writer.write(waiting)
                await writer.drain()
                waiting = b""
        if until and loop.time() > until:
            # Whoever forgot a connection does not tell of its end either.
            await asyncio.Event().wait()
