"""What the interop cases stand on: processes with bounded waits, a running longwire, and the list of cases.

A process is always ended by its own id. Waits are for events (a line, an end), each with a bound.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "interop"
ROOM = ROOT / "target" / "interop"
NODE = HERE / "node"
EXAMPLES = ROOT / "examples"
BINARY = os.environ.get("LONGWIRE", str(ROOT / "target" / "debug" / "longwire"))
WAIT = 30.0

# Where Debian puts servers, for those who are not root.
os.environ["PATH"] += ":/usr/sbin:/sbin"

CASES = []
_given = set()


class Skip(Exception):
    """The case cannot run here, and why."""


def case(name, alone=False):
    """Puts a coroutine on the list. `alone` keeps others away: for cases that use fixed ports or the whole machine."""

    def register(function):
        CASES.append((name, function, alone))
        return function

    return register


class Process:
    """A child process whose output lines can be waited for."""

    def __init__(self, child, name):
        self.child, self.name, self.lines, self.ended = child, name, [], False
        self.news = asyncio.Condition()
        pipes = [p for p in (child.stdout, child.stderr) if p]
        self.readers = [asyncio.create_task(self._read(p)) for p in pipes]
        self.open_pipes = len(pipes)

    async def _read(self, pipe):
        while line := await pipe.readline():
            async with self.news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.news.notify_all()
        async with self.news:
            self.open_pipes -= 1
            self.ended = self.open_pipes == 0
            self.news.notify_all()

    async def line(self, wanted, bound=WAIT):
        """Waits for a line for which `wanted` gives something, and gives that."""
        seen = 0
        async with self.news:
            end = time.monotonic() + bound
            while True:
                for line in self.lines[seen:]:
                    if (found := wanted(line)) is not None:
                        return found
                seen = len(self.lines)
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    raise AssertionError(f"{self.name} never said it; it said:\n" + "\n".join(self.lines[-40:]))
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.news.wait(), left)

    async def json(self, key, bound=WAIT):
        """Waits for a JSON line with this key, and gives the whole object."""

        def wanted(line):
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and (key in value or "error" in value):
                    return value
            return None

        value = await self.line(wanted, bound)
        assert key in value, f"{self.name}: {value}"
        return value

    def jsons(self):
        """The JSON lines so far."""
        for line in self.lines:
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    async def wait(self, bound=WAIT):
        status = await asyncio.wait_for(self.child.wait(), bound)
        await asyncio.gather(*self.readers)
        return status

    @property
    def text(self):
        return "\n".join(self.lines)

    async def stop(self):
        if self.child.returncode is None:
            # By its id: the child's own kill() would take the status away from whoever waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.pid, signal.SIGKILL)
        await self.child.wait()
        for reader in self.readers:
            reader.cancel()


class House:
    """Everything that a case starts; it is ended with the case."""

    def __init__(self):
        self.stack = contextlib.AsyncExitStack()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="longwire-interop-"))
        self.started = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()
        for process in reversed(self.started):
            await process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start(self, *command, name=None, env=None, stdin=None):
        environment = os.environ | {"NODE_ROOM": str(ROOM / "node")} | (env or {})
        child = await asyncio.create_subprocess_exec(
            *map(str, command), env=environment, stdin=stdin or asyncio.subprocess.DEVNULL, cwd=self.folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 24)
        process = Process(child, name or pathlib.Path(str(command[0])).name)
        self.started.append(process)
        return process

    async def run(self, *command, bound=WAIT, stdin=b"", env=None):
        """Runs a command to its end: status and everything it said."""
        child = await asyncio.create_subprocess_exec(
            *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=self.folder,
            stderr=asyncio.subprocess.STDOUT, env=os.environ | {"NODE_ROOM": str(ROOM / "node")} | (env or {}))
        try:
            out, _ = await asyncio.wait_for(child.communicate(stdin), bound)
        except asyncio.TimeoutError:
            child.kill()
            await child.wait()
            raise AssertionError(f"{command[0]} did not end within {bound} s")
        return child.returncode, out.decode(errors="replace")

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    async def longwire(self, configuration, listens=1):
        """Runs longwire with this configuration: the process, and the ports it listens on."""
        file = self.write("longwire.conf", configuration)
        return await self.longwire_with("-c", file, "-p", self.folder, listens=listens)

    async def longwire_with(self, *arguments, listens=1):
        process = await self.start(BINARY, *arguments, name="longwire")
        ports = []

        def listening(line):
            if found := re.search(r"listening on \S*:(\d+)", line):
                ports.append(int(found[1]))
            return ports if len(ports) >= listens else None

        # `line` looks at each line once, so each port is counted once.
        await process.line(listening)
        process.port = ports[0]
        process.ports = ports
        return process

    async def node(self, script, *arguments, env=None):
        return await self.start("node", NODE / script, *arguments, name=script, env=env)

    async def node_echo(self, *arguments, port=0):
        process = await self.node("echo.js", *arguments, env={"PORT": str(port)})
        process.port = (await process.json("port"))["port"]
        return process

    async def nginx(self, inside):
        """Runs nginx in the foreground with this inside of its http block. PORT stands for a free port."""
        port = free_port()
        scratch = "".join(f"{kind}_temp_path {self.folder}/{kind};\n"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file = self.write("nginx.conf", f"""
            daemon off; master_process off; pid {self.folder}/nginx.pid; error_log stderr info;
            events {{}}
            http {{ access_log off; {scratch} {inside.replace('PORT', str(port))} }}""")
        process = await self.start("nginx", "-p", self.folder, "-e", "stderr", "-c", file)
        process.port = port
        await accepting(port, process)
        return process

    def certificate(self, name="example.com"):
        """A self-signed certificate made by OpenSSL: paths of chain and key."""
        chain, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        return self.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                        "-keyout", key, "-out", chain), chain, key


def site(port, directives=""):
    """A server that passes everything to one port."""
    return f"server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://127.0.0.1:{port}; {directives} }} }}\n"


def free_port():
    """A port that nobody uses, below those that the system gives to clients and to who asks for any."""
    while (port := random.SystemRandom().randrange(10_000, 32_000)) in _given or not bindable(port):
        pass
    _given.add(port)
    return port


def bindable(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


async def accepting(port, process, bound=WAIT):
    """Waits until somebody accepts connections on a port of a server that does not say when it is ready."""
    end = time.monotonic() + bound
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            assert not process.ended and time.monotonic() < end, f"{process.name} never listened:\n{process.text}"
            # sleep is the promise: a server without a word of readiness can only be asked again.
            await asyncio.sleep(0.02)


async def main():
    """Runs the cases whose names hold a word of the command line, or all, and counts."""
    words = sys.argv[1:]
    chosen = [c for c in CASES if not words or any(w in c[0] for w in words)]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    # Two cores: a few at a time, or every timing becomes a guess.
    room = asyncio.Semaphore(4)

    async def one(name, function):
        async with room:
            start = time.monotonic()
            house = House()
            try:
                async with house:
                    note = await asyncio.wait_for(function(house), 240)
                outcome, detail = "passed", note or ""
            except Skip as why:
                outcome, detail = "skipped", str(why)
            except Exception as error:  # a case may fail in any way; all others still run
                outcome = "failed"
                detail = f"{type(error).__name__}: {error}"
                logs = [p for p in house.started if p.name == "longwire"]
                detail += "".join("\n--- longwire ---\n" + "\n".join(p.lines[-15:]) for p in logs)
            counts[outcome] += 1
            took = time.monotonic() - start
            print(f"{outcome:8} {name} ({took:.1f} s){': ' if detail else ''}{detail}", flush=True)

    await asyncio.gather(*(one(name, function) for name, function, alone in chosen if not alone))
    for name, function, alone in chosen:
        if alone:
            await one(name, function)
    print(f"interop: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["failed"] or not any(counts.values()) else 0
