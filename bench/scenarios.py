"""What is measured for each peer."""

import glob
import re
import shutil
import subprocess
import time

import peers
import procs
import worst

NAMES = ["idle", "echo", "rate", "burst", "broadcast", "handshakes", "worst", "instructions"]
SIZES = {"64": "64 B", "1024": "1 KB", "16384": "16 KB", "262144": "256 KB"}
# Programs that valgrind runs; Go's runtime and Envoy are not worth the wait.
COUNTABLE = ["longwire", "nginx", "haproxy"]


LEGS = ("plain", "tls")


class Direct:
    """The backend without a proxy."""

    def __init__(self, url):
        self.name, self.url = "direct", {"plain": url}


class Bench:
    """A backend, and one peer after the other."""

    def __init__(self, programs, folder, log, quick, only):
        self.programs, self.folder, self.log, self.quick = programs, folder, log, quick
        self.wanted = only or NAMES
        self.perf = procs.perf_works()
        self.problems = []
        self.saturation = {}
        (port,) = procs.free_ports(1)
        argv = [programs["longwire-load"], "backend", "--listen", f"127.0.0.1:{port}"]
        self.backend = procs.start(argv, log, stdout=log)
        procs.wait_for_port(port, self.backend)
        self.at = {"backend": port, "folder": str(folder), "longwire": programs["longwire"]}
        self.at.update(peers.certificate(str(folder)))

    def stop(self):
        procs.stop(self.backend)

    def peer(self, name, first):
        """Yields (what, value) for one peer. Instructions do not waver: the first round counts them for all."""
        if name == "direct":
            direct = Direct(f"ws://127.0.0.1:{self.at['backend']}/")
            for scenario in ("rate", "burst", "broadcast"):
                if scenario in self.wanted:
                    yield from self.guard(name, self.works()[scenario], direct, "plain")
            return
        for scenario, work in self.works().items():
            for leg in LEGS if scenario in self.wanted else ():
                yield from self.guard(name, self.fresh, name, leg, work)
        if first and "instructions" in self.wanted and not self.perf and name in COUNTABLE:
            for leg in LEGS:
                yield from self.guard(name, self.instructions, name, leg)

    def works(self):
        return {
            "idle": self.idle,
            "echo": self.echo,
            "rate": self.rate,
            "burst": self.burst,
            "broadcast": self.broadcast,
            "handshakes": self.handshakes,
            "worst": self.worst,
        }

    def guard(self, name, work, *args):
        """What fails is told and left out."""
        try:
            yield from work(*args)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.problems.append(f"{name}: {args[-1].__name__ if callable(args[-1]) else work.__name__}: {error}")
            print("  " + self.problems[-1], flush=True)

    def fresh(self, name, leg, work):
        """Each scenario gets a fresh process: memory that an earlier one left would be counted."""
        peer = peers.Peer(name, self.at, self.log)
        try:
            yield from work(peer, leg)
        finally:
            peer.stop()

    def load(self, kind, url, **options):
        return procs.Load(self.programs["longwire-load"], self.log, kind, url, **options)

    def idle(self, peer, leg):
        """Memory of the process for each tunnel that is open and silent."""
        count = 9000
        # What the first connections leave behind is there once, whatever comes.
        self.load("echo", peer.url[leg], connections=10, count=100).run()
        time.sleep(0.5)
        before = procs.pss_kb(peer.pid)
        yield f"process PSS, {leg}, KB", before
        load = self.load("idle", peer.url[leg], connections=count, seconds=0.2)
        after = procs.settled_pss_kb(peer.pid)
        load.run()
        yield f"idle tunnel, {leg}, KB", (after - before) / count
        left = procs.settled_pss_kb(peer.pid)
        yield f"kept after {count:,} tunnels, {leg}, KB", left - before

    def echo(self, peer, leg):
        """What one message costs there and back."""
        for size, count in (("64", 100_000), ("1024", 60_000), ("16384", 20_000), ("262144", 1500)):
            count = count // 3 if self.quick else count
            load = self.load("echo", peer.url[leg], connections=100, size=size, count=count, seconds=60)
            counters = procs.Counters(peer.pid, self.perf, self.folder)
            result = load.run()
            if result["failed"]:
                self.problems.append(f"{peer.name}: {result['failed']} messages of {size} bytes did not come back")
            for what, value in counters.end(result["count"]).items():
                yield f"echo {SIZES[size]}, {leg}, {what}", value

    def rate(self, peer, leg):
        """Times at half of what nginx can do at most, from when each message was to be sent."""
        seconds = 2 if self.quick else 10
        rate = self.most(leg) // 2
        if peer.name == "nginx":
            yield f"rate, {leg}, messages/s", rate
        result = self.load("echo", peer.url[leg], connections=100, rate=rate, seconds=seconds).run()
        yield from self.times(f"half rate, {leg}", peer, result)

    def most(self, leg):
        """Messages a second through nginx when each connection sends the next one at once."""
        if leg not in self.saturation:
            nginx = peers.Peer("nginx", self.at, self.log)
            try:
                load = self.load("echo", nginx.url[leg], connections=100, count=60_000, seconds=60)
                self.saturation[leg] = int(load.run()["rate"])
            finally:
                nginx.stop()
        return self.saturation[leg]

    def burst(self, peer, leg):
        """All send at once."""
        seconds = 2 if self.quick else 10
        result = self.load("burst", peer.url[leg], connections=200, rate=5, seconds=seconds).run()
        yield from self.times(f"200 at once, {leg}", peer, result, ("p50", "p99"))

    def broadcast(self, peer, leg):
        """One sends, all receive."""
        seconds = 2 if self.quick else 10
        url = peer.url[leg] + "broadcast"
        result = self.load("broadcast", url, connections=500, rate=5, size=200, seconds=seconds).run()
        yield from self.times(f"broadcast to 500, {leg}", peer, result, ("p50", "p99"))

    def times(self, row, peer, result, which=("p50", "p99", "p999")):
        if result["failed"]:
            self.problems.append(f"{peer.name}: {row}: {result['failed']} messages did not come")
        for what in which:
            yield f"{row}, {what} us", result[f"{what}_us"]

    def handshakes(self, peer, leg):
        kinds = {"plain": {}} if leg == "plain" else {"tls full": {"full": True}, "tls resumed": {}}
        for kind, options in kinds.items():
            count = 1000 if self.quick else 4000
            load = self.load("handshakes", peer.url[leg], connections=8, count=count, seconds=30, **options)
            counters = procs.Counters(peer.pid, False, self.folder)
            result = load.run()
            cost = counters.end(result["count"])["CPU us"]
            if result["failed"]:
                self.problems.append(f"{peer.name}: {result['failed']} {kind} handshakes failed")
            if kind == "tls resumed" and result["resumed"] < result["count"] * 0.9:
                self.problems.append(f"{peer.name}: only {result['resumed']} of {result['count']} sessions resumed")
            yield f"handshakes per CPU second, {kind}", 1e6 / cost

    def worst(self, peer, leg):
        """What a byte costs of the streams that looking at frames makes dearest."""
        if leg != "plain":
            return
        port = int(peer.url[leg].rsplit(":", 1)[1].strip("/"))
        links = [worst.connect(port) for _ in range(50)]
        for what, send, count in (("frames", worst.tiny_frames, 4_000_000), ("reads", worst.tiny_reads, 20_000)):
            send(links, count // 20)
            counters = procs.Counters(peer.pid, False, self.folder)
            count = send(links, count // 4 if self.quick else count)
            yield f"worst: {what} of 1 byte, CPU ns a byte", counters.end(count)["CPU us"] * 1000
        for link in links:
            link.close()

    def instructions(self, name, leg):
        """User instructions of one message, counted by valgrind where the machine has no counters of its own."""
        if not shutil.which("valgrind"):
            raise RuntimeError("valgrind is not installed")
        out = self.folder / f"callgrind.{name}.{leg}"
        wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        peer = peers.Peer(name, self.at, self.log, wrapper)
        try:
            for size, count in (("64", 4000), ("1024", 4000), ("16384", 500), ("262144", 50)):
                load = self.load("echo", peer.url[leg], connections=100, size=size, count=count, seconds=60)
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
