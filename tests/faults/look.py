"""A client of our own that tells in a few words what a browser would meet, so that a set-up is known to show its fault.

It shares nothing with the doctor: it is made of sockets and of Python's ssl.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import urllib.parse

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PATIENCE = 4.0
# How long nothing comes on a WebSocket that stays open.
SETTLE = 0.4
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Trouble(Exception):
    """It ended before a WebSocket was open; the words say how."""


class Socket:
    """An open WebSocket: frames as they are."""

    def __init__(self, reader, writer, status, headers):
        self.reader, self.writer, self.status, self.headers = reader, writer, status, headers

    def send(self, opcode, payload=b"", fin=True, rsv=0):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([fin << 7 | rsv << 4 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
        long = int.from_bytes((mask * (size // 4 + 1))[:size], "big") if size else 0
        body = (int.from_bytes(payload, "big") ^ long).to_bytes(size, "big") if size else b""
        self.writer.write(head + mask + body)

    async def frame(self):
        """One frame: opcode with its upper bits, and payload; None at the end of the connection."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            if second & 0x80:
                await self.reader.readexactly(4)
            return first, await self.reader.readexactly(size)
        except asyncio.IncompleteReadError:
            return None

    async def next(self, bound=PATIENCE):
        """What comes next, in words: `text 5`, `pong`, `closed 1009`, `FIN`, `RST`, `nothing`."""
        try:
            found = await asyncio.wait_for(self.frame(), bound)
        except asyncio.TimeoutError:
            return "nothing"
        except OSError:
            return "RST"
        if found is None:
            return "FIN"
        first, payload = found
        opcode = first & 15
        if opcode == CLOSE:
            return f"closed {int.from_bytes(payload[:2], 'big') if payload else 1005}"
        names = {0: "continuation", TEXT: "text", BINARY: "binary", PING: "ping", PONG: "pong"}
        bits = "" if first & 0x70 == 0 else " compressed"
        return f"{names.get(opcode, 'opcode ' + str(opcode))} {len(payload)}{bits}"

    def close(self):
        self.writer.close()


def _place(visit):
    url = urllib.parse.urlsplit(visit.url)
    secure = url.scheme in ("wss", "https")
    port = url.port or (443 if secure else 80)
    host = url.hostname
    address = host
    if visit.resolve:
        name, _, rest = visit.resolve.partition(":")
        if name == host:
            address = rest.partition(":")[2]
    path = url.path or "/"
    return secure, host, address, port, path + (f"?{url.query}" if url.query else "")


async def connect(visit, alpn=()):
    """A connection to where the visit goes."""
    secure, host, address, port, _ = _place(visit)
    context = None
    if secure:
        context = ssl.create_default_context(cafile=visit.ca)
        if alpn:
            context.set_alpn_protocols(list(alpn))
    try:
        opening = asyncio.open_connection(
            address, port, ssl=context, server_hostname=host if secure else None, limit=1 << 24
        )
        return await asyncio.wait_for(opening, PATIENCE)
    except asyncio.TimeoutError:
        raise Trouble("tcp timeout") from None
    except socket.gaierror as error:
        raise Trouble(f"dns: {error.strerror}") from None
    except ssl.SSLCertVerificationError as error:
        raise Trouble(f"tls: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Trouble(f"tls: {error.reason}") from None
    except ConnectionRefusedError:
        raise Trouble("refused") from None
    except OSError as error:
        raise Trouble(f"tcp: {error}") from None


def request(visit, key, **changed):
    """The handshake of a browser; a header changed to None is left out."""
    secure, host, _, port, path = _place(visit)
    authority = host if port == (443 if secure else 80) else f"{host}:{port}"
    headers = {
        "Host": authority,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Origin": visit.origin or f"{'https' if secure else 'http'}://{authority}",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol": visit.subprotocol,
        "User-Agent": "Mozilla/5.0",
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return f"GET {path} HTTP/1.1\r\n" + "\r\n".join([*lines, *visit.headers]) + "\r\n\r\n"


async def handshake(visit, **changed):
    """An open WebSocket, or Trouble with what came instead."""
    reader, writer = await connect(visit)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(request(visit, key, **changed).encode("latin-1"))
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    except asyncio.TimeoutError:
        writer.close()
        raise Trouble("no answer in time") from None
    except asyncio.IncompleteReadError as error:
        writer.close()
        raise Trouble(f"not http: {error.partial[:40]!r}" if error.partial else "ended without an answer") from None
    except OSError as error:
        writer.close()
        raise Trouble(f"ended without an answer: {error.strerror}" if not isinstance(error, ssl.SSLError)
                      else f"tls: {error.reason}") from None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if not words[0].startswith("HTTP/") or len(words) < 2:
        writer.close()
        raise Trouble(f"not http: {lines[0][:40]!r}")
    headers = {}
    for line in lines[1:]:
        if ":" in line:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
    if words[1] != "101":
        body = b""
        with contextlib.suppress(Exception):
            body = await asyncio.wait_for(reader.read(2000), SETTLE if headers.get("content-length") == "0" else PATIENCE)
        writer.close()
        where = f" to {headers['location']}" if "location" in headers else ""
        raise Trouble(f"{words[1]}{where}: {body[:2000].decode('latin-1')!r}")
    wrong = []
    if words[0] != "HTTP/1.1":
        wrong.append(words[0])
    if headers.get("upgrade", "").lower() != "websocket":
        wrong.append(f"Upgrade: {headers.get('upgrade')}")
    if "upgrade" not in headers.get("connection", "").lower():
        wrong.append(f"Connection: {headers.get('connection')}")
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    if headers.get("sec-websocket-accept") != accept:
        wrong.append("Accept")
    offered = [part.strip() for part in (visit.subprotocol or "").split(",") if part.strip()]
    if headers.get("sec-websocket-protocol", "") not in (offered or [""]):
        wrong.append(f"Protocol: {headers.get('sec-websocket-protocol')}")
    extension = headers.get("sec-websocket-extensions")
    if extension and not extension.startswith("permessage-deflate"):
        wrong.append(f"Extensions: {extension}")
    if wrong:
        writer.close()
        raise Trouble("101 with wrong " + ", ".join(wrong))
    return Socket(reader, writer, 101, headers)


async def words(visit, settle=SETTLE, **changed):
    """What a browser would meet: `refused`, `tls: ...`, `426: ...`, `101, open`, `101, closed 4401`, ..."""
    try:
        websocket = await handshake(visit, **changed)
    except Trouble as trouble:
        return str(trouble)
    try:
        while True:
            came = await websocket.next(settle)
            if came == "nothing":
                return "101, open"
            if came.startswith(("closed", "FIN", "RST")):
                return f"101, {came}"
    finally:
        websocket.close()


async def said(visit, *frames, bound=PATIENCE):
    """Sends frames (opcode, payload, options) and tells what came back first."""
    try:
        websocket = await handshake(visit)
    except Trouble as trouble:
        return str(trouble)
    try:
        for opcode, payload, *options in frames:
            websocket.send(opcode, payload, **(options[0] if options else {}))
        return await websocket.next(bound)
    finally:
        websocket.close()


async def held(visit, seconds, every=None):
    """Holds a WebSocket, with a ping from us every so often if wished: how it ended, and when."""
    try:
        websocket = await handshake(visit)
    except Trouble as trouble:
        return str(trouble)
    return await ended(websocket, seconds, every)


async def ended(websocket, seconds, every=None):
    """How an open WebSocket ends within some seconds, and when."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def ping():
        while every:
            # sleep is the promise: a client that pings does it by the clock.
            await asyncio.sleep(every)
            websocket.send(PING, b"p")

    pinging = asyncio.create_task(ping())
    try:
        while (left := began + seconds - loop.time()) > 0:
            came = await websocket.next(left)
            if came.startswith(("closed", "FIN", "RST")):
                return f"{came} after {loop.time() - began:.1f} s"
        return "open"
    finally:
        pinging.cancel()
        websocket.close()


async def get(visit, path, method="GET", body=b"", headers=()):
    """A plain request: status, headers, body."""
    secure, host, _, port, _ = _place(visit)
    reader, writer = await connect(visit)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", *headers]
    if method == "POST":
        lines += [f"Content-Length: {len(body)}", "Content-Type: text/plain"]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    data = await asyncio.wait_for(reader.read(1 << 20), PATIENCE)
    while more := await asyncio.wait_for(reader.read(1 << 20), PATIENCE):
        data += more
    writer.close()
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), lines[1:], rest


async def over_http2(visit):
    """The handshake of RFC 8441, in frames of our own: `announced` or not, and whether the answer is 200."""
    _, host, _, port, path = _place(visit)
    reader, writer = await connect(visit, ["h2"])

    def frame(kind, flags, stream, payload):
        writer.write(len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)

    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    frame(4, 0, 0, b"")
    announced = None
    try:
        while True:
            head = await asyncio.wait_for(reader.readexactly(9), PATIENCE)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags = head[3], head[4]
            if kind == 4 and not flags & 1:
                settings = {payload[at : at + 2]: payload[at + 2 : at + 6] for at in range(0, len(payload), 6)}
                announced = settings.get(b"\0\x08") == b"\0\0\0\x01"
                frame(4, 1, 0, b"")
                fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path),
                          (":authority", f"{host}:{port}"), ("sec-websocket-version", "13")]  # fmt: skip
                # Each field as a literal that is not indexed.
                block = b"".join(b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in fields)
                frame(1, 4, 1, block)
            elif kind == 1:
                status = "200" if b"\x88" in payload[:4] else "not 200"
                return f"{'announced' if announced else 'not announced'}, {status}"
            elif kind in (3, 7):
                return f"{'announced' if announced else 'not announced'}, reset"
    finally:
        writer.close()
