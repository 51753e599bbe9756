"""The same configurations and the same requests through nginx and through Longwire, and what differs.

    tests/nginx/run.py [--show] [--wanted] [WORD...]

Words choose themes by name; `--show` prints what nginx gave for every request, `--wanted` what differs where it is not done yet. LONGWIRE and NGINX name the binaries, LONGWIRE_SEED repeats
generated cases. Themes are in themes/ (see theme.py); docs/differences.md lists what differs on purpose, and each of its rows
must be seen here.
"""

import asyncio
import importlib
import os
import pathlib
import re
import secrets
import shutil
import ssl
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "themes")]

import client  # noqa: E402
import compare  # noqa: E402
import programs  # noqa: E402
import theme as kit  # noqa: E402
from backend import Backend  # noqa: E402

AT_ONCE = 3
PAGE = programs.ROOT / "docs" / "differences.md"
FRAME = "worker_processes 1;\nevents {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{}\n}}\n"
WORD = re.compile(r"\b(" + "|".join(kit.WORDS) + r")\b")


class Theme:
    """A theme on its way: cases with ports of their own, backends, results."""

    def __init__(self, name, seed, flags):
        self.shows = flags.__contains__
        module = importlib.import_module(name)
        self.name, self.wanted = name, getattr(module, "WANTED", None)
        self.http = getattr(module, "HTTP", "")
        self.cases = list(getattr(module, "CASES", []))
        if generate := getattr(module, "generate", None):
            self.cases += generate(kit.Random(f"{seed} {name}"))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"longwire-nginx-{name}-"))
        self.passed, self.failed, self.skipped, self.lines, self.met = 0, 0, 0, [], set()
        self.took = 0.0

    def say(self, line):
        self.lines.append(line)

    async def run(self, certificate):
        began = time.monotonic()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate["cert"], certificate["key"])
        names = ("BACKEND", "BACKEND2", "BACKEND3", "SECURE")
        self.backends = [
            await Backend(name, programs.free_port(), context if name == "SECURE" else None).start() for name in names
        ]
        try:
            self.words = {each.name: f"127.0.0.1:{each.port}" for each in self.backends}
            self.words |= {
                "DEAD": f"127.0.0.1:{programs.free_port()}",
                "CERT": certificate["cert"],
                "KEY": certificate["key"],
            }
            await self._compare()
        except RuntimeError as error:
            self.failed += 1
            self.say(f"FAIL {self.name}: {error}")
        finally:
            for each in self.backends:
                await each.stop()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.took = time.monotonic() - began

    async def _compare(self):
        configuration = self._write(self.cases)
        ok, said = programs.check("nginx", configuration, self.folder)
        if not ok:
            raise RuntimeError(f"nginx -t:\n{said}")
        ok, said = programs.check("longwire", configuration, self.folder)
        if not ok:
            if ok is None or not self.wanted:
                raise RuntimeError(f"longwire -t:\n{said[said.find('error:'):]}")
            self._choose()
            configuration = self._write(self.cases)
        if not self.cases:
            return
        given = {name: await self._ask(name, configuration) for name in ("nginx", "longwire")}
        for number, (each, request) in enumerate((c, r) for c in self.cases for r in c.requests):
            self._judge(each, request, given["nginx"][number], given["longwire"][number])

    def _choose(self):
        """Of what is wanted, what Longwire takes already."""
        taken = []
        for each in self.cases:
            if programs.check("longwire", self._write([each]), self.folder)[0]:
                taken.append(each)
            else:
                self.skipped += len(each.requests)
        self.cases = taken

    def _write(self, cases):
        """Gives each case its ports and its folder, and writes the configuration."""
        parts = [self._words(self.http, self.words | {"FOLDER": str(self.folder)})]
        for number, each in enumerate(cases):
            if not hasattr(each, "words"):
                folder = self.folder / str(number)
                each.words = self.words | {
                    "PORT": str(programs.free_port()),
                    "PORT2": str(programs.free_port()),
                    "FOLDER": str(folder),
                }
                for path, text in each.files.items():
                    at = folder / path
                    at.parent.mkdir(parents=True, exist_ok=True)
                    if text is not None:
                        at.write_bytes(self._words(text, each.words).encode("latin-1"))
                        # A time that both programs give alike, whenever they run.
                        os.utime(at, (1_700_000_000, 1_700_000_000))
                    else:
                        at.mkdir(exist_ok=True)
            parts += [self._words(text, each.words) for text in (each.http, each.text) if text]
        path = self.folder / "theme.conf"
        path.write_text(FRAME.format("\n".join(parts)), encoding="latin-1")
        return path

    @staticmethod
    def _words(text, words):
        return WORD.sub(lambda found: words.get(found[0], found[0]), text)

    async def _ask(self, name, configuration):
        """All requests through one of the programs."""
        program = programs.start(name, configuration, self.folder)
        given = []
        try:
            ports = {
                int(port)
                for port in re.findall(r"\blisten [^;]*?(\d+)\b[^;:]*;", configuration.read_text(encoding="latin-1"))
            }
            await program.ready(ports)
            for each in self.cases:
                for request in each.requests:
                    text = self._words(request.text, each.words).encode("latin-1")
                    later = self._words(request.later.decode("latin-1"), each.words).encode("latin-1")
                    port = int(each.words[request.port])
                    answers = await client.ask(port, request.but(bytes=text, later=later))
                    given.append((answers, [seen for backend in self.backends for seen in backend.take()]))
        finally:
            trouble = program.stop()
        if trouble:
            raise RuntimeError(f"{name} {trouble}:\n{program.log[-3000:]}")
        return given

    def _judge(self, each, request, nginx, longwire):
        title = f"{self.name} / {each.name}: {request.title}"
        facts = [compare.told(request, *given) for given in (nginx, longwire)]
        if self.shows("--show"):
            self.say(f"{title}\n        {facts[0]}")
        if request.difference:
            self.met.add(request.difference)
            lines = []
            for name, expected, given in (("nginx", request.nginx, nginx), ("longwire", request.longwire, longwire)):
                expected = {
                    key: self._words(value, each.words) if isinstance(value, str) else value
                    for key, value in expected.items()
                }
                lines += [f"{name}: {line}" for line in compare.unmet(expected, *given)]
            if lines:
                lines.insert(0, f"known as `{request.difference}`, but now")
        else:
            lines = compare.differences(*facts)
            lines = (
                [line for line in lines if not line.split(":")[0].endswith(request.unseen)] if request.unseen else lines
            )
        if not lines:
            self.passed += 1
            if request.wanted:
                self.say(f"{title}\n        passes now: it need not be marked as wanted any more ({request.wanted})")
        elif self.wanted or request.wanted:
            self.skipped += 1
            if self.shows("--wanted"):
                self.say("\n        ".join([f"wanted {title}", *lines]))
        else:
            self.failed += 1
            self.say("\n        ".join([f"FAIL {title}", *lines]))


def rows():
    """The names of the rows in docs/differences.md."""
    return set(re.findall(r"^\| `([a-z0-9-]+)`", PAGE.read_text(), re.MULTILINE)) if PAGE.exists() else set()


async def main(words):
    flags = [word for word in words if word.startswith("--")]
    words = [word for word in words if word not in flags]
    seed = os.environ.get("LONGWIRE_SEED") or str(secrets.randbelow(1_000_000))
    print(f"seed: LONGWIRE_SEED={seed}; nginx: {programs.nginx()}", flush=True)
    names = sorted(path.stem for path in (HERE / "themes").glob("*.py"))
    names = [name for name in names if not words or any(word in name for word in words)]
    with tempfile.TemporaryDirectory(prefix="longwire-nginx-") as scratch:
        certificate = programs.certificate(scratch)
        themes = [Theme(name, seed, flags) for name in names]
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(theme):
            async with gate:
                await theme.run(certificate)
            for line in theme.lines:
                print(line)
            wanted = f" (wanted: {theme.wanted})" if theme.wanted else ""
            print(
                f"{theme.name}: {theme.passed} passed, {theme.failed} failed, {theme.skipped} skipped in {theme.took:.1f} s{wanted}",
                flush=True,
            )
            if theme.wanted and not theme.skipped and not theme.failed:
                print(f"    all of it passes now: delete the line WANTED in themes/{theme.name}.py")

        await asyncio.gather(*map(one, themes))
    passed, failed, skipped = (
        sum(getattr(theme, name) for theme in themes) for name in ("passed", "failed", "skipped")
    )
    met = set().union(*(theme.met for theme in themes))
    for missing in sorted(met - rows()):
        failed += 1
        print(f"FAIL the difference `{missing}` has no row in {PAGE.name}")
    for unseen in sorted(rows() - met if not words else ()):
        failed += 1
        print(f"FAIL the row `{unseen}` of {PAGE.name} was not seen in any case")
    print(f"nginx: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
