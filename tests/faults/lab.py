"""What a case stands on: programs that end with it, small servers, certificates, and the list of cases.

Every program is started here and ended by its own id, also when the run itself is killed. Waits are for events, each
with a bound.
"""

import asyncio
import contextlib
import ctypes
import dataclasses
import functools
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "nginx"))
import programs  # noqa: E402
from programs import procs  # noqa: E402

# Where Debian puts servers, for those who are not root.
os.environ["PATH"] += ":/usr/sbin:/sbin"
ROOMS = {"NODE_ROOM": str(ROOT / "target" / "interop" / "node"), "SOCKJS_ROOM": str(ROOT / "target" / "faults" / "node")}
# What clients do to the servers is no news here.
QUIET = logging.getLogger("longwire-faults")
QUIET.disabled = True
logging.getLogger("tornado.access").disabled = True
SOUND = "sound"
CASES = []


class Skip(Exception):
    """The case cannot be set up here, and why."""


@dataclasses.dataclass
class Visit:
    """What the doctor is given, and what a client of our own sees there: `shows` is searched in its words, or is a
    coroutine function that looks itself and gives such words."""

    url: str
    shows: object
    origin: str = None
    headers: tuple = ()
    subprotocol: str = None
    ca: str = None
    resolve: str = None
    idle: float = 0
    more: tuple = ()
    resolver: str = None
    # What must stand in what the doctor says, beside the verdict.
    says: tuple = ()
    # A coroutine function of what the doctor reported, which gives what is wrong with it, or None.
    then: object = None

    def arguments(self):
        found = [self.url, *self.more]
        for name in ("origin", "subprotocol", "ca", "resolve"):
            if value := getattr(self, name):
                found += [f"--{name}", str(value)]
        for header in self.headers:
            found += ["--header", header]
        if self.idle:
            found += ["--idle", f"{self.idle:g}s"]
        return found


@dataclasses.dataclass
class Case:
    name: str
    setting: str
    verdicts: tuple
    run: object
    missed: str = None


def fault(*verdicts, missed=None):
    """Puts a coroutine on the list: a set-up, told in its first line, with its true cause. Several verdicts only where
    nobody outside could tell them apart. `missed` says what the doctor says of it today, and why that is wrong."""

    def register(function):
        name = function.__name__.strip("_").replace("_", "-")
        setting = " ".join(function.__doc__.split())
        assert all(name != case.name for case in CASES), f"two cases are called {name}"
        CASES.append(Case(name, setting, verdicts, function, missed))
        return function

    return register


def sound(function):
    """A set-up with nothing wrong."""
    return fault(SOUND)(function)


class Lab:
    """The room of one case."""

    def __init__(self, certificates):
        self.certificates = certificates
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="longwire-faults-"))
        self.stack = contextlib.AsyncExitStack()
        self.programs, self.troubles = [], []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for program in reversed(self.programs):
            # In a thread: the servers of this process go on meanwhile.
            trouble = await asyncio.to_thread(program.stop)
            if trouble and program.name.startswith("longwire"):
                self.troubles.append(f"longwire {trouble}: {program.log[-800:]}")
        await self.stack.aclose()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- programs -----------------------------------------------------------------------------------------------

    async def start(self, name, command, *ports, env=None):
        program = Program(f"{name}-{len(self.programs)}", list(map(str, command)), self.folder, env)
        self.programs.append(program)
        return await program.ready(ports)

    def write(self, name, text):
        path = self.folder / f"{len(self.programs)}-{name}"
        path.write_text(text)
        return path

    async def nginx(self, inside, version="old", master=False, connections=512):
        """nginx on this inside of its http block, in which PORT stands for its port; gives the port. The `old` one is
        Debian's, the `new` one comes from PyPI."""
        port = programs.free_port()
        folder = self.folder / f"nginx-{len(self.programs)}"
        folder.mkdir()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        scratch = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        head = "worker_processes 1;\n" if master else "master_process off;\n"
        file = self.write(
            "nginx.conf",
            f"daemon off; {head} pid {folder}/pid; error_log stderr info; worker_shutdown_timeout 1s;\n"
            f"events {{ worker_connections {connections}; }}\nhttp {{ access_log off; {scratch}\n"
            f"{self._words(inside, PORT=port)}\n}}\n",
        )
        if version == "old":
            program = programs.older_nginx()
            if not program:
                raise Skip("Debian's nginx is not installed")
            command = [program, "-p", folder, "-e", "stderr", "-c", file]
        else:
            if not (program := newest_nginx()):
                raise Skip("the newest nginx cannot be had")
            command = [program, "-p", folder, "-c", file]
        await self.start("nginx", command, port)
        return port

    async def server(self, inside, **more):
        """nginx with one server."""
        return await self.nginx(f"server {{ listen 127.0.0.1:PORT; {inside} }}", **more)

    async def haproxy(self, text):
        """HAProxy on these sections, with timeouts of a minute before them; PORT stands for its port."""
        port = programs.free_port()
        frame = (
            "global\n maxconn 500\ndefaults\n mode http\n timeout connect 2s\n timeout client 60s\n timeout server 60s\n"
            " timeout tunnel 3600s\n"
        )
        file = self.write("haproxy.cfg", frame + self._words(text, PORT=port))
        await self.start("haproxy", ["haproxy", "-db", "-f", file], port)
        return port

    async def caddy(self, text, port=None):
        """Caddy on these sites; PORT stands for its port."""
        port = port or programs.free_port()
        options = "{\n admin off\n auto_https off\n}\n" if "admin" not in text else ""
        file = self.write("Caddyfile", options + self._words(text, PORT=port))
        environment = {"XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), "HOME": str(self.folder)}
        command = ["caddy", "run", "--config", file, "--adapter", "caddyfile"]
        await self.start("caddy", command, port, env=environment)
        return port

    async def apache(self, text):
        """Apache with what a proxy needs and these directives, as one process."""
        port = programs.free_port()
        modules = ("mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel", "headers", "rewrite")
        loads = "".join(f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so\n" for each in modules)
        frame = f"ServerName localhost\nListen 127.0.0.1:{port}\nPidFile apache.pid\nErrorLog /dev/stderr\nLogLevel warn\n"
        file = self.write("apache.conf", f"ServerRoot {self.folder}\n{loads}{frame}{text}\n")
        await self.start("apache", ["apache2", "-X", "-f", file], port)
        return port

    async def longwire(self, inside):
        """Longwire on this inside of its http block."""
        port = programs.free_port()
        file = self.write(
            "longwire.conf",
            "worker_processes 1; error_log stderr info; events {}\n"
            f"http {{ access_log off; {self._words(inside, PORT=port)} }}\n",
        )
        await self.start("longwire", [programs.LONGWIRE, "-c", file, "-p", self.folder], port)
        return port

    async def node(self, script="backend.js", **options):
        """A server in Node."""
        port = programs.free_port()
        words = {key: str(value) if isinstance(value, pathlib.Path) else value for key, value in options.items()}
        command = ["node", HERE / "node" / script, json.dumps(words)]
        await self.start("node", command, port, env=ROOMS | {"PORT": str(port)})
        return port

    async def echo(self, **options):
        """Node's ws, which says back what it hears."""
        return await self.node(**options)

    # --- servers of this process ----------------------------------------------------------------------------------

    async def serve(self, handler, tls=None, host="127.0.0.1"):
        """A small server: `handler(reader, writer)` for each connection; its errors are the client's business."""
        running = set()

        async def run(reader, writer):
            running.add(asyncio.current_task())
            try:
                await handler(reader, writer)
            except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.CancelledError, asyncio.TimeoutError):
                pass
            finally:
                running.discard(asyncio.current_task())
                writer.close()

        async def end():
            server.close()
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

        server = await asyncio.start_server(run, host, 0, ssl=tls)
        self.stack.push_async_callback(end)
        return server.sockets[0].getsockname()[1]

    async def websockets(self, handler, **options):
        """Python's websockets."""
        from websockets.asyncio.server import serve

        server = await self.stack.enter_async_context(serve(handler, "127.0.0.1", 0, logger=QUIET, **options))
        return server.sockets[0].getsockname()[1]

    def tornado(self, routes, **settings):
        """Tornado, which asks by itself whether the page's host is its own."""
        import tornado.httpserver
        import tornado.netutil
        import tornado.web

        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server = tornado.httpserver.HTTPServer(tornado.web.Application(routes, **settings))
        server.add_sockets(sockets)
        self.stack.callback(server.stop)
        return sockets[0].getsockname()[1]

    # --- the rest ---------------------------------------------------------------------------------------------------

    def certificate(self, name):
        return self.certificates.get(name)

    @staticmethod
    def dead_port():
        """A port at which nobody listens."""
        return programs.free_port()

    @staticmethod
    def _words(text, **words):
        for word, value in words.items():
            text = text.replace(word, str(value))
        return text


@functools.cache
def newest_nginx():
    """The nginx from PyPI, which is installed where it is missing; None where it cannot be had."""
    try:
        return programs.nginx()
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return None


class Program(programs.Program):
    """A program that is asked to end when the run is killed, so that those with children take these along."""

    def __init__(self, name, command, folder, env):
        self.name, self.log_path = name, folder / f"{name}.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder,
                env={**os.environ, **(env or {})}, preexec_fn=_end_with_parent,
            )  # fmt: skip

    async def ready(self, ports):
        """Waits until all ports take connections. Asking the kernel for its table would be slow where many are open."""
        loop = asyncio.get_running_loop()
        until = loop.time() + programs.START
        for port in ports:
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    if self.process.poll() is not None or loop.time() > until:
                        self.stop()
                        raise RuntimeError(f"{self.name} does not listen on {port}:\n{self.log[-3000:]}") from None
                    # sleep is the promise: a server without a word of readiness can only be asked again.
                    await asyncio.sleep(0.02)
        return self

    def signal(self, number):
        self.process.send_signal(number)


def _end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


async def run(*command, bound, cwd):
    """Runs a command to its end: status, standard output, standard error."""
    child = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, cwd=cwd,
        stderr=asyncio.subprocess.PIPE, preexec_fn=procs.die_with_parent,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(child.communicate(), bound)
    except asyncio.TimeoutError:
        child.kill()
        await child.wait()
        return None, "", f"did not end within {bound:g} s"
    return child.returncode, out.decode(errors="replace"), err.decode(errors="replace")
