"""nginx on a configuration, real servers behind it, and a client that says exactly what came."""

import asyncio
import base64
import hashlib
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import client
import programs
from backend import GUID, frame, read_frame
from configuration import edited, parse, walk
from moved import Copy
from servers import Tap

MASK = b"\1\2\3\4"
PATIENCE = 10.0
# The answer to the key that every handshake of the client has.
ACCEPT = base64.b64encode(hashlib.sha1(client.KEY.encode() + GUID).digest()).decode()
# Files that a configuration names, and that no machine has.
ASIDE = (("/srv/www", "www"), ("/var/cache/nginx", "cache"))
# user:pass
MEMBERS = "user:{PLAIN}pass\n"


class Wrong(Exception):
    """What was claimed is not so."""


class Skip(Exception):
    """This cannot be shown here."""


def must(truth, said):
    if not truth:
        raise Wrong(said)


class Nginx:
    """One nginx program and its version."""

    def __init__(self, path):
        self.path = str(path)
        said = subprocess.run([self.path, "-v"], capture_output=True, text=True).stderr
        self.version = tuple(int(part) for part in re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said).groups())

    def __str__(self):
        return "nginx " + ".".join(map(str, self.version))


class Tunnel:
    """One handshake: its answer, and, if that is 101, the tunnel behind it."""

    def __init__(self, answer, reader=None, writer=None):
        self.answer, self.reader, self.writer = answer, reader, writer
        self.status = answer.status
        self.opened = time.monotonic()

    def __str__(self):
        return str(self.status or self.answer.end)

    async def echo(self, text="there and back"):
        """Whether a message comes back."""
        try:
            self.writer.write(frame(1, text.encode(), MASK))
            async with asyncio.timeout(PATIENCE):
                while (came := await read_frame(self.reader))[0] != 1 or came[1] != text.encode():
                    pass
            return True
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return False

    def ping(self):
        self.writer.write(frame(9, b"", MASK))

    async def end(self, seconds):
        """How it ends within so many seconds, and how long it was open; None when it does not."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    opcode, payload = await read_frame(self.reader)
                    if opcode == 8:
                        how = f"Close {struct.unpack('!H', payload[:2])[0] if payload else 1005}"
                        break
        except TimeoutError:
            return None
        except asyncio.IncompleteReadError:
            how = "FIN without Close"
        except OSError:
            how = "RST without Close"
        return how, time.monotonic() - self.opened

    def close(self):
        if self.writer:
            self.writer.close()


def unmet(answer):
    """What is wrong with a 101, as clients judge it (RFC 6455, section 4.1); None when it is in order."""
    for name, wanted in (("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Accept", ACCEPT.lower())):
        if wanted not in [part.strip().lower() for value in answer.values(name) for part in value.split(",")]:
            return f"101 without {name}"
    return None


class Stand:
    """`async with Stand(...) as stand`: a running nginx. `kinds` says which server is behind which port of the file."""

    def __init__(self, text, nginx, room, kinds=None, default="ws", **more):
        self.text, self.nginx, self.room, self.kinds, self.default = text, nginx, room, kinds or {}, default
        self._more(**more)

    def _more(self, master=True, plain=(), secure=(), changes=(), raw=None, sni=False, folder=None):
        """One process or a master; ports that have no TLS, or have it; other words for some; ports with a server of one's own;
        whether TLS asks for a name; a folder that has all files."""
        self.master, self.plain, self.secure, self.changes = master, plain, secure, changes
        self.raw, self.sni, self.folder = raw or {}, sni, folder
        self.own_folder = folder is None

    async def __aenter__(self):
        if self.own_folder:
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="longwire-check-"))
        self.taps, self.listening, self.program, self.tunnels = [], [], None, []
        try:
            await self._begin()
        except BaseException:
            await self._finish()
            raise
        return self

    async def __aexit__(self, *_):
        await self._finish()

    async def _begin(self):
        self.copy = Copy(prepared(self.text, self.folder, self.room.certificate, self.changes), self.folder)
        # A number of its own for each: several nginx may stand in one folder.
        self.file = self.folder / f"proof.{programs.free_port()}.conf"
        self.file.write_text(self.copy.text)
        for name, port in self.copy.backends.items():
            if server := self.raw.get(name):
                self.listening.append(await asyncio.start_server(server, "127.0.0.1", port))
                continue
            tls = name in self.secure or (name in self.copy.secure and name not in self.plain)
            context = (self.room.named if self.sni else self.room.context) if tls else None
            target = self.room.servers.ports[self.kinds.get(name, self.default)]
            self.taps.append(await Tap(name, port, target, context, self.room.source).start())
        frame = "daemon off;" if self.master else programs.FOREGROUND
        if self.own_folder:
            # Files of a test belong to whoever runs it.
            frame += " pid nginx.pid; error_log stderr notice;" + (" user root;" if self.master else "")
        command = [self.nginx.path, "-p", str(self.folder), "-c", str(self.file), "-g", frame]
        self.program = programs.Program(f"nginx.{self.file.stem}", command, self.folder)
        await self.program.ready(self.copy.ports.values())

    async def _finish(self):
        for tunnel in self.tunnels:
            tunnel.close()
        if self.program:
            await asyncio.to_thread(programs.procs.stop, self.program.process)
        for tap in self.taps:
            await tap.stop()
        for server in self.listening:
            server.close()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def tap(self, name):
        return next(tap for tap in self.taps if tap.name == name)

    def seen(self):
        """All requests that servers got since the last time."""
        return [request for tap in self.taps for request in tap.take()]

    async def handshake(self, path, *headers, port=80, host="example.com", tls=False, greeting=True, patience=PATIENCE):
        """A handshake as browsers send it; a tunnel is open if the status is 101 and the server's first message came."""
        head = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
        head += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {client.KEY}", *headers]
        tunnel = await self._ask(head, port, host, tls, patience)
        if tunnel.status == 101 and (missing := unmet(tunnel.answer)):
            tunnel.answer.end, tunnel.status = missing, 0
        if tunnel.status == 101 and greeting:
            try:
                async with asyncio.timeout(PATIENCE):
                    await read_frame(tunnel.reader)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                tunnel.answer.end, tunnel.status = "101 and then nothing", 0
        return tunnel

    async def get(self, path, *headers, port=80, host="example.com", tls=False, method="GET"):
        """An ordinary request on a connection of its own."""
        tunnel = await self._ask([f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers], port, host, tls)
        return tunnel.answer

    async def _ask(self, head, port, host, tls, patience=PATIENCE):
        context = client.insecure(["http/1.1"]) if tls else None
        writer = None
        try:
            async with asyncio.timeout(patience):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    self.copy.ports.get(port, port),
                    ssl=context,
                    server_hostname=host if tls else None,
                    local_addr=self.room.source and self.room.source(),
                )
                writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
                answer = await client.read_answer(reader, head[0].split(" ")[0])
        except TimeoutError:
            answer = client.Answer(end="silence")
        except (OSError, asyncio.IncompleteReadError, client.Broken, ValueError) as error:
            answer = client.Answer(end=f"no HTTP: {error}")
        tunnel = Tunnel(answer, reader if writer else None, writer)
        if answer.status == 101:
            self.tunnels.append(tunnel)
        else:
            tunnel.close()
        return tunnel

    async def many(self, count, path, at_once=50, patience=PATIENCE):
        """So many handshakes; the tunnels, and the others' answers."""
        gate = asyncio.Semaphore(at_once)

        async def one():
            async with gate:
                return await self.handshake(path, patience=patience)

        return await asyncio.gather(*(one() for _ in range(count)))

    async def reload(self):
        """The file read anew: returns when the new worker serves, with the numbers of the old ones."""
        old = self.workers()
        self.program.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + PATIENCE
        while not self.workers() - old:
            must(time.monotonic() < until, f"no new worker after a reload: {self.program.log[-500:]}")
            # sleep is the promise: the kernel is asked again until there is a new worker.
            await asyncio.sleep(0.05)
        return old

    async def gone(self, workers):
        until = time.monotonic() + PATIENCE
        while workers & self.workers():
            must(time.monotonic() < until, "an old worker stays")
            # sleep is the promise: the kernel is asked again until they are gone.
            await asyncio.sleep(0.05)

    def workers(self):
        pid = self.program.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in children}


def prepared(text, folder, certificate, changes=()):
    """A configuration as nginx takes it: in a frame if it has none, with files that are there."""
    for old, new in changes:
        text, count = re.subn(old, new, text)
        must(count, f"the configuration does not say `{old}` any more")
    for path, name in ASIDE:
        if path in text:
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "index.html").write_text("a page\n")
            text = text.replace(path, str(folder / name))
    if "/etc/nginx/members" in text:
        (folder / "members").write_text(MEMBERS)
        text = text.replace("/etc/nginx/members", str(folder / "members"))
    tree = parse(text)
    edits = []
    for each in walk(tree):
        if each.name in ("ssl_certificate", "ssl_certificate_key") and "/etc/" in each.args[0]:
            file = certificate["key" if each.name.endswith("key") else "cert"]
            edits.append((each.words[0].start, each.words[0].end, str(file)))
    text = edited(text, edits)
    if not any(each.name == "http" for each in tree):
        text = f"events {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n"
    return text
