"""Processes that end with the benchmark, and what the kernel counts for them."""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
NAMES = {
    "instructions:u": "user instructions",
    "instructions:k": "kernel instructions",
    "cycles:u": "user cycles",
    "cycles:k": "kernel cycles",
}
EVENTS = list(NAMES)


def die_with_parent():
    """Runs in the child: a benchmark that is killed leaves nobody behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(argv, log, env=None, **more):
    return subprocess.Popen(
        argv, stderr=log, env={**os.environ, **(env or {})}, preexec_fn=die_with_parent, **more
    )


def stop(process, patience=5):
    """Ends one process that was started here, by its id."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count):
    """Ports that nobody uses now. They are released together, so they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for_port(port, process, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"ended at once with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after {seconds} s")


UPGRADE = (
    "GET / HTTP/1.1\r\nHost: localhost:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def wait_for_upgrade(port, seconds=20):
    """A proxy that listens may still be reading its routes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), 5) as probe:
            probe.settimeout(5)
            probe.sendall(UPGRADE.format(port).encode())
            if probe.recv(100).startswith(b"HTTP/1.1 101"):
                return
        time.sleep(0.1)
    raise RuntimeError(f"no WebSocket was opened in {seconds} s")


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Pss: +(\d+)", file.read(), re.M).group(1))


def settled_pss_kb(pid, seconds=10):
    """PSS once it has stayed the same for a second; what a process frees later does not count for it."""
    until, last, since = time.monotonic() + seconds, pss_kb(pid), time.monotonic()
    while time.monotonic() < until and time.monotonic() < since + 1:
        time.sleep(0.2)
        now = pss_kb(pid)
        if abs(now - last) > 64:
            last, since = now, time.monotonic()
    return pss_kb(pid)


def cpu(pid):
    """Microseconds on a processor: all, exact; and the user's and the kernel's, by samples of the timer."""
    exact = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                exact += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    user, system = int(fields[11]), int(fields[12])
    return exact / 1000, user * 1e6 / CLOCK_TICKS, system * 1e6 / CLOCK_TICKS


def perf_works():
    """Virtual machines often have no counters: perf then prints "<not supported>"."""
    if not shutil.which("perf"):
        return False
    ran = subprocess.run(["perf", "stat", "-x,", "-e", ",".join(EVENTS), "true"], capture_output=True, text=True)
    return ran.returncode == 0 and "<not" not in ran.stderr


class Counters:
    """Counts what a process uses between two moments."""

    def __init__(self, pid, perf, folder):
        self.pid, self.file, self.perf = pid, folder / "perf.csv", None
        if perf:
            argv = ["perf", "stat", "-x,", "-o", str(self.file), "-e", ",".join(EVENTS), "-p", str(pid)]
            self.perf = start(argv, subprocess.DEVNULL)
            time.sleep(0.3)
        self.before = cpu(pid)

    def end(self, messages):
        """What one message cost."""
        messages = max(messages, 1)
        total, user, system = (b - a for a, b in zip(self.before, cpu(self.pid)))
        result = {"CPU us": total / messages}
        if user + system >= 1e6:
            # The timer's samples say something only when there are many.
            result["CPU us in user"] = total * user / (user + system) / messages
        if self.perf:
            self.perf.send_signal(signal.SIGINT)
            self.perf.wait(10)
            for line in self.file.read_text().splitlines():
                fields = line.split(",")
                if len(fields) > 2 and fields[0].isdigit() and fields[2] in NAMES:
                    result[NAMES[fields[2]]] = int(fields[0]) / messages
        return result


class Load:
    """The clients: ready once all connections are open, and told when to begin."""

    def __init__(self, program, log, kind, url, **options):
        argv = [program, kind, "--url", url, "--hold", "--json"]
        for name, value in options.items():
            argv += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self.process = start(argv, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            stop(self.process)
            raise RuntimeError("the clients could not connect")

    def run(self, seconds=120):
        """Begins, and waits for the result."""
        try:
            out, _ = self.process.communicate("go\n", timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no result after {seconds} s") from None
        finally:
            stop(self.process)
        if self.process.returncode:
            raise RuntimeError("the clients failed")
        return json.loads(out)
