"""Whether nginx does what the rules of `longwire check` say: each rule's bad and good configuration, with a real nginx, real
servers behind it and a real client.

    tests/check/run.py [--show] [--write] [RULE...]

Words choose rules; `--show` prints what was seen, `--write` writes it to docs/check-shown.md, whose rows are the rules.
With LONGWIRE, the program, each rule's bad configuration is also run with the fix that `longwire check` gives. NGINX names another new nginx; the system's is the old one. The configurations are
crates/conf/tests/check/RULE/{bad,good}.conf; each is run as it is, with its addresses moved aside.
"""

import asyncio
import collections
import contextlib
import importlib
import pathlib
import re
import resource
import shutil
import ssl
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "nginx")]

import programs  # noqa: E402
from findings import findings, fixed  # noqa: E402
from proofs import PROOFS  # noqa: E402
from servers import Servers  # noqa: E402
from stand import Nginx, Skip, Stand, Wrong, prepared  # noqa: E402

RULES = programs.ROOT / "crates" / "conf" / "tests" / "check"
PAGE = programs.ROOT / "docs" / "check-shown.md"
AT_ONCE = 4
# A proof that waits for nginx's own minute, and needs nothing but time.
SLOW = ("read-timeout-short",)
# The proof needs words of good.conf that a fix may choose otherwise.
NO_MORE = ()
INTRODUCTION = """# What nginx does

Each rule of `longwire check` has a bad and a good configuration (`crates/conf/tests/check/RULE/`). `tests/check/run.py` runs both with a
real nginx, real servers behind it and a real client, and then the bad one with the fix that the rule gives. This is what it saw of the
bad ones with {}; with the good ones and the fixed ones nothing of the kind happened. `--write` writes this page.

| rule | what happened |
|---|---|
"""
for module in ("starting", "handshakes", "ways", "times", "numbers"):
    importlib.import_module(f"proofs.{module}")


class House:
    """What all proofs share: servers, a certificate, and where clients and taps connect from, if that matters."""

    source = None

    async def __aenter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="longwire-check-"))
        self.certificate = programs.certificate(str(self.folder))
        self.context, self.named = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
        for context in (self.context, self.named):
            context.load_cert_chain(self.certificate["cert"], self.certificate["key"])
        self.named.sni_callback = lambda _, name, __: None if name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        self.servers = await Servers().__aenter__()
        return self

    async def __aexit__(self, *_):
        await self.servers.__aexit__()
        shutil.rmtree(self.folder, ignore_errors=True)


class Room:
    """One rule and one nginx."""

    def __init__(self, house, rule, nginx, good=None):
        self.house, self.rule, self.nginx, self.servers, self.good = house, rule, nginx, house.servers, good

    def text(self, which):
        if which == "good" and self.good:
            return self.good
        return (RULES / self.rule / f"{which}.conf").read_text()

    def stand(self, which, kinds=None, **more):
        return Stand(self.text(which), self.nginx, self.house, kinds, **more)

    async def refusal(self, which):
        """What nginx says when it does not take a configuration; None when it does."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="longwire-check-"))
        try:
            file = folder / "nginx.conf"
            file.write_text(prepared(self.text(which), folder, self.house.certificate))
            ok, said = await asyncio.to_thread(programs.check, "nginx", file, folder, self.nginx.path)
            return None if ok or "syntax is ok" in said else said.split("[emerg] ")[-1].strip().splitlines()[0]
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def nginxes():
    found = [Nginx(programs.nginx())]
    if older := programs.older_nginx():
        found.append(Nginx(older))
    return found


def repaired(rule):
    """bad.conf with the fix that `longwire check` gives; None where it gives none."""
    path = RULES / rule / "bad.conf"
    for each in findings(path)["findings"]:
        if each["rule"] == rule and rule not in NO_MORE and (text := fixed(path.read_text(), path, each.get("fix"))):
            return text
    return None


def page(seen):
    """What was seen, as a table."""
    rows = []
    for rule, by_nginx in sorted(seen.items()):
        # What is drawn anew in each run says nothing.
        said = {name: re.sub(r"\d+#\d+: | in /tmp/\S+", "", text).replace("|", "\\|") for name, text in by_nginx.items()}
        said = {name: re.sub(r"(?<=:)\d{5}\b", "PORT", text) for name, text in said.items()}
        texts = sorted(said.items(), reverse=True)
        same = len({re.sub(r"\d+(\.\d+)? (of|s|ms)\b", "", text) for text in said.values()}) == 1
        text = texts[0][1] if same else "; ".join(f"{name}: {text}" for name, text in texts)
        rows.append(f"| [`{rule}`](check/{rule}.md) | {text} |")
    return INTRODUCTION.format(" and ".join(sorted({name for by_nginx in seen.values() for name in by_nginx}))) + "\n".join(rows) + "\n"


async def main(words):
    show, write = "--show" in words, "--write" in words
    words = [word for word in words if not word.startswith("--")]
    began = time.monotonic()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    rules = sorted(path.name for path in RULES.iterdir() if path.is_dir() and (not words or path.name in words))
    seen = collections.defaultdict(dict)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(house, rule, nginx, good=None):
        async with contextlib.nullcontext() if rule in SLOW else gate:
            since = time.monotonic()
            try:
                said, end = await PROOFS[rule](Room(house, rule, nginx, good)), "passed"
            except Wrong as wrong:
                said, end = str(wrong), "failed"
            except Skip as skip:
                said, end = str(skip), "skipped"
            except Exception:
                said, end = traceback.format_exc(), "failed"
        counts[end] += 1
        if end == "passed" and not good:
            seen[rule][str(nginx)] = said
        if show or end != "passed":
            print(f"{'FAIL ' if end == 'failed' else 'skip ' if end == 'skipped' else ''}{rule}{' with its fix' if good else ''} ({nginx}, {time.monotonic() - since:.1f} s): {said}", flush=True)

    async with House() as house:
        known = [rule for rule in rules if rule in PROOFS]
        work = [one(house, rule, nginx) for rule in known for nginx in nginxes()]
        # The older one needs more.
        work += [one(house, rule, nginxes()[-1], good) for rule in known if (good := repaired(rule))]
        await asyncio.gather(*work)
    for rule in rules:
        if rule not in PROOFS:
            counts["failed"] += 1
            print(f"FAIL {rule}: there is no proof of it")
    for rule in sorted(PROOFS.keys() - set(rules)) if not words else ():
        counts["failed"] += 1
        print(f"FAIL {rule}: a proof of a rule that has no configurations")
    if write:
        PAGE.write_text(page(seen))
    rows = set(re.findall(r"^\| \[`([a-z0-9.-]+)`\]", PAGE.read_text(), re.MULTILINE)) if PAGE.exists() else set()
    for rule in sorted(rows ^ set(rules)) if not words else ():
        counts["failed"] += 1
        print(f"FAIL {rule}: docs/check-shown.md is not up to date: run tests/check/run.py --write")
    print(f"check: {len(rules)} rules in {time.monotonic() - began:.0f} s")
    print(f"check: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
