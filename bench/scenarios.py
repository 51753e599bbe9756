"""What is measured for each peer."""

import glob
import re
import shutil
import subprocess
import time

import peers
import procs

NAMES = ["idle", "echo", "rate", "handshakes", "instructions"]
SIZES = {"64": "64 B", "1024": "1 KB", "16384": "16 KB", "262144": "256 KB"}
# Programs that valgrind runs; Go's runtime and Envoy are not worth the wait.
COUNTABLE = ["longwire", "nginx", "haproxy"]


class Bench:
    """A backend, and one peer after the other."""

    def __init__(self, programs, folder, log, quick, only):
        self.programs, self.folder, self.log, self.quick = programs, folder, log, quick
        self.wanted = only or NAMES
        self.perf = procs.perf_works()
        self.problems = []
        (port,) = procs.free_ports(1)
        argv = [programs["longwire-load"], "backend", "--listen", f"127.0.0.1:{port}"]
        self.backend = procs.start(argv, log, stdout=log)
        procs.wait_for_port(port, self.backend)
        self.at = {"backend": port, "folder": str(folder), "longwire": programs["longwire"]}
        self.at.update(peers.certificate(str(folder)))

    def stop(self):
        procs.stop(self.backend)

    def peer(self, name):
        """Yields (what, value) for one peer."""
        if name == "direct":
            yield from self.guard(name, self.rate, f"ws://127.0.0.1:{self.at['backend']}/", "plain")
            return
        for scenario in ("idle", "echo", "rate", "handshakes"):
            if scenario in self.wanted:
                # Each scenario gets a fresh process: memory that an earlier one left would be counted.
                yield from self.guard(name, self.fresh, name, scenario)
        if "instructions" in self.wanted and not self.perf and name in COUNTABLE:
            for leg in ("plain", "tls"):
                yield from self.guard(name, self.instructions, name, leg)

    def guard(self, name, work, *args):
        """What fails is told and left out."""
        try:
            yield from work(*args)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.problems.append(f"{name}: {work.__name__} {' '.join(map(str, args[1:]))}: {error}")
            print("  " + self.problems[-1], flush=True)

    def fresh(self, name, scenario):
        legs = ("plain", "tls")
        if scenario == "idle":
            for leg in legs:
                yield from self.with_peer(name, self.idle, leg)
        else:
            for leg in legs:
                yield from self.with_peer(name, getattr(self, "_" + scenario), leg)

    def with_peer(self, name, work, leg):
        peer = peers.Peer(name, self.at, self.log)
        try:
            yield from work(peer, leg)
        finally:
            peer.stop()

    def load(self, kind, url, **options):
        return procs.Load(self.programs["longwire-load"], self.log, kind, url, **options)

    def idle(self, peer, leg):
        """Memory of the process for each tunnel that is open and silent."""
        count = 1000 if self.quick else 4000
        # What the first connections leave behind is there once, whatever comes.
        self.load("echo", peer.url[leg], connections=10, count=100).run()
        time.sleep(0.5)
        before = procs.pss_kb(peer.pid)
        yield "process PSS, KB", before
        load = self.load("idle", peer.url[leg], connections=count, seconds=0.2)
        time.sleep(1)
        after = procs.pss_kb(peer.pid)
        load.run()
        yield f"idle tunnel, {leg}, KB", (after - before) / count

    def _echo(self, peer, leg):
        """What one message costs there and back."""
        for size, count in (("64", 100_000), ("1024", 60_000), ("16384", 20_000), ("262144", 1500)):
            count = count // 3 if self.quick else count
            load = self.load("echo", peer.url[leg], connections=50, size=size, count=count, seconds=60)
            counters = procs.Counters(peer.pid, self.perf, self.folder)
            result = load.run()
            if result["failed"]:
                self.problems.append(f"{peer.name}: {result['failed']} messages of {size} bytes did not come back")
            for what, value in counters.end(result["count"]).items():
                yield f"echo {SIZES[size]}, {leg}, {what}", value

    def _rate(self, peer, leg):
        yield from self.rate(peer.url[leg], leg)

    def rate(self, url, leg):
        """Times at a fixed rate, from when each message was to be sent."""
        if "rate" not in self.wanted:
            return
        result = self.load("echo", url, connections=100, rate=2000, seconds=2 if self.quick else 10).run()
        for what in ("p50", "p99", "p999"):
            yield f"2000 messages/s, {leg}, {what} us", result[f"{what}_us"]

    def _handshakes(self, peer, leg):
        kinds = {"plain": {}} if leg == "plain" else {"tls full": {"full": True}, "tls resumed": {}}
        for kind, options in kinds.items():
            count = 1000 if self.quick else 4000
            load = self.load("handshakes", peer.url[leg], connections=8, count=count, seconds=30, **options)
            counters = procs.Counters(peer.pid, False, self.folder)
            result = load.run()
            cost = counters.end(result["count"])["cpu_us"]
            if result["failed"]:
                self.problems.append(f"{peer.name}: {result['failed']} {kind} handshakes failed")
            if kind == "tls resumed" and result["resumed"] < result["count"] * 0.9:
                self.problems.append(f"{peer.name}: only {result['resumed']} of {result['count']} sessions resumed")
            yield f"handshakes per CPU second, {kind}", 1e6 / cost

    def instructions(self, name, leg):
        """User instructions of one message, counted by valgrind where the machine has no counters of its own."""
        if not shutil.which("valgrind"):
            raise RuntimeError("valgrind is not installed")
        out = self.folder / f"callgrind.{name}.{leg}"
        wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        peer = peers.Peer(name, self.at, self.log, wrapper)
        try:
            for size, count in (("64", 4000), ("1024", 4000), ("16384", 500), ("262144", 50)):
                load = self.load("echo", peer.url[leg], connections=50, size=size, count=count, seconds=60)
                self.control("--zero", peer.pid)
                result = load.run()
                self.control("--dump", peer.pid)
                yield f"echo {SIZES[size]}, {leg}, user instructions", counted(out) / max(result["count"], 1)
        finally:
            peer.stop()

    def control(self, command, pid):
        # callgrind_control finds its process by vgdb, which also wakes one that waits in epoll.
        subprocess.run(["callgrind_control", command, str(pid)], check=True, timeout=60, stdout=self.log)


def counted(out):
    """The instructions in the newest dump."""
    dumps = sorted(glob.glob(f"{out}.*"), key=lambda name: int(name.rsplit(".", 1)[1].split("-")[0]))
    if not dumps:
        raise RuntimeError("valgrind wrote no counts")
    with open(dumps[-1]) as file:
        found = re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.M)
    return int(found[-1])
