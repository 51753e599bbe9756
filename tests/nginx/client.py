"""The client of both programs: it sends exactly the bytes that it is told to, and reads what comes back."""

import asyncio
import dataclasses
import gzip
import ssl

from backend import frame, read_frame

PATIENCE = 5.0
LISTENS = 3.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclasses.dataclass
class Answer:
    """One answer. `end` says what became of the connection: open, closed, or why there is no answer."""

    status: int = 0
    reason: str = ""
    version: str = ""
    headers: list = dataclasses.field(default_factory=list)
    body: bytes = b""
    end: str = "open"
    interim: list = dataclasses.field(default_factory=list)
    messages: list = dataclasses.field(default_factory=list)
    # It answers HEAD: there is a length, but nothing that has it.
    bodiless: bool = False

    def values(self, name):
        return [value for known, value in self.headers if known.lower() == name.lower()]


class Broken(Exception):
    """The bytes that came are no answer."""


def insecure(alpn=None):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


async def ask(port, request):
    """Sends a request and gives its answers, as many as it asks for."""
    if request.http2:
        return [await by_curl(port, request)]
    tls = insecure() if request.tls else None
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(
                request.address, port, ssl=tls, server_hostname=request.sni if tls else None, limit=1 << 24
            ),
            PATIENCE,
        )
    except (OSError, asyncio.TimeoutError) as error:
        return [Answer(end=f"no connection ({type(error).__name__})")]
    answers = []
    try:
        await asyncio.wait_for(_talk(reader, writer, request, answers), PATIENCE)
    except asyncio.TimeoutError:
        answers.append(Answer(end="silence"))
    except (asyncio.IncompleteReadError, OSError):
        answers.append(Answer(end="closed in the middle of an answer"))
    except (Broken, ValueError) as error:
        answers.append(Answer(end=f"no HTTP: {error}"))
    finally:
        writer.close()
    return answers


async def by_curl(port, request):
    """The same request over HTTP/2."""
    head, _, body = request.bytes.decode("latin-1").partition("\r\n\r\n")
    method, target, _ = head.split("\r\n")[0].split(" ")
    host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
    command = ["curl", "-sS", "-i", "--noproxy", "*", "-k", "-m", str(int(PATIENCE)), "--path-as-is", "-A", "", "-H", "Accept:"]
    command += ["--http2" if request.tls else "--http2-prior-knowledge", "--connect-to", f"::{request.address}:{port}"]
    command += ["--head"] if method == "HEAD" else ["-X", method]
    for line in head.split("\r\n")[1:]:
        if not line.lower().startswith(("host:", "content-length:")):
            command += ["-H", line]
    if body:
        command += ["-H", "Content-Type:", "--data-binary", "@-"]
    scheme = "https" if request.tls else "http"
    curl = await asyncio.create_subprocess_exec(
        *command,
        f"{scheme}://{host}{target}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await curl.communicate(body.encode("latin-1"))
    if curl.returncode:
        return Answer(end=f"curl ends with {curl.returncode}: {said.decode(errors='replace').strip()}")
    head, _, body = out.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    version, status, *reason = lines[0].split(" ", 2)
    headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
    return unpacked(Answer(int(status), "".join(reason), version, headers, body, bodiless=method == "HEAD"))


async def _talk(reader, writer, request, answers):
    writer.write(request.bytes + (frame(1, b"one there and back", b"\1\2\3\4") if request.early else b""))
    later = request.later
    for method in request.methods:
        answer = await read_answer(reader, method)
        while answer.status and 100 <= answer.status < 200 and answer.status != 101:
            interim = answer.status
            if later:
                writer.write(later)
                later = b""
            answer = await read_answer(reader, method)
            answer.interim.append(interim)
        answers.append(answer)
        if answer.status == 101:
            await _messages(reader, writer, answer, request)
        if answer.end != "open":
            return


async def _messages(reader, writer, answer, request):
    """The backend's first message, and then as the request wants it: one there and back and a closing handshake, or only to
    listen until the connection ends."""
    mask = b"\1\2\3\4"
    answer.messages.append((await read_frame(reader))[1].decode("latin-1"))
    if request.listens:
        await _listen(reader, writer if request.listens == "awake" else None, answer)
        return
    if not request.early:
        writer.write(frame(1, b"one there and back", mask))
    while (came := await read_frame(reader))[0] == 9:
        writer.write(frame(10, came[1], mask))
    answer.messages.append(came[1].decode("latin-1"))
    writer.write(frame(8, b"\x03\xe8", mask))
    while (came := await read_frame(reader))[0] == 9:
        pass
    answer.messages.append(f"opcode {came[0]}: {came[1]!r}")
    answer.end = "closed"


async def _listen(reader, writer, answer):
    """Everything that comes, for three seconds at most; Pings and Close are answered by whoever is awake; pings are not told."""
    answer.end = "closed"
    try:
        async with asyncio.timeout(LISTENS):
            while True:
                opcode, payload = await read_frame(reader)
                if opcode != 9:
                    told = payload[:2] if opcode == 8 else payload
                    answer.messages.append(f"opcode {opcode}: {told!r}")
                if writer and opcode in (8, 9):
                    writer.write(frame(10 if opcode == 9 else 8, payload, b"\1\2\3\4"))
    except TimeoutError:
        answer.end = "open"
    except (asyncio.IncompleteReadError, OSError):
        pass


async def read_answer(reader, method):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Broken(f"{error.partial[:200]!r}") from None
        return Answer(end="closed without an answer")
    except ConnectionResetError:
        return Answer(end="closed without an answer")
    lines = head.decode("latin-1").split("\r\n")[:-2]
    version, status, *reason = lines[0].split(" ", 2)
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise Broken(f"header line {line!r}")
        headers.append((name, value.strip()))
    answer = Answer(int(status), "".join(reason), version, headers, bodiless=method == "HEAD")
    connection = ",".join(answer.values("connection")).lower()
    if "close" in connection or (version == "HTTP/1.0" and "keep-alive" not in connection):
        answer.end = "closed"
    if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
        if answer.status == 101 or answer.status < 200:
            answer.end = "open"
        return answer
    if answer.values("transfer-encoding"):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            answer.body += await reader.readexactly(size)
            await reader.readexactly(2)
        while (await reader.readuntil(b"\r\n")) != b"\r\n":
            pass
    elif lengths := answer.values("content-length"):
        answer.body = await reader.readexactly(int(lengths[0]))
    else:
        answer.body = await reader.read(-1)
        answer.end = "closed"
    return unpacked(answer)


def unpacked(answer):
    """The same with the body as it was before it was compressed: two programs need not pack it alike."""
    if answer.values("content-encoding") == ["gzip"] and not answer.bodiless:
        answer.body = gzip.decompress(answer.body)
    return answer
