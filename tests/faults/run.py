"""The fault laboratory: real programs set up with one fault each, or with none, and what `longwire doctor` says of them.

    tests/faults/run.py [--write] [--setup] [WORD...]

Words choose cases by name, set-up or verdict. `--setup` only looks whether each set-up shows its fault; `--write` writes
docs/faults.md, which must be equal to the cases otherwise. LONGWIRE names the binary. `tests/faults/install` brings what
the cases need.
"""

import asyncio
import importlib
import json
import pathlib
import re
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cases")]

import certs  # noqa: E402
import lab  # noqa: E402
import look  # noqa: E402
import programs  # noqa: E402

PARTS = ("reach", "tls", "redirects", "stripped", "refused", "unable", "answers", "messages", "affinity", "clocks", "healthy", "unusual")
AT_ONCE = 4
# How long the doctor may take, beside holding sockets: these are opened one after the other, and spoken to at last.
QUICK = 10.0
PAGE = programs.ROOT / "docs" / "faults.md"
STATUS = {lab.SOUND: 0, "could-not-tell": 2, "url-invalid": 2}
HEAD = """# The fault laboratory

Each of these is set up for real by `tests/faults/run.py`, which asks a client of its own whether the set-up shows what it
should, and then `longwire doctor`. `./test` runs them all; this page is written by `tests/faults/run.py --write`. What each
verdict means is in [doctor.md](doctor.md).
"""


class Result:
    def __init__(self, case):
        self.case, self.outcome, self.lines, self.took, self.given = case, "failed", [], None, None

    def fail(self, line):
        self.lines.append(line)
        return self


async def examine(case, certificates, setup):
    """Sets a case up, sees that it shows its fault, and asks the doctor."""
    result = Result(case)
    try:
        async with lab.Lab(certificates) as room:
            visit = await asyncio.wait_for(case.run(room), 60)
            wanted = visit.shows if isinstance(visit.shows, str) else getattr(visit.shows, "wanted", "")
            # That nothing comes is believed soon; what is to come may be late.
            settle = look.SETTLE if "open" in wanted else look.PATIENCE
            shown = await (visit.shows(visit) if callable(visit.shows) else look.words(visit, settle))
            if not re.search(wanted, shown, re.DOTALL):
                result.fail(f"the set-up shows `{shown}`, not `{wanted}`: the laboratory is at fault")
            elif setup:
                result.outcome = "passed"
                result.fail(f"shows: {shown[:160]}")
            else:
                await ask(room, visit, result)
        if room.troubles:
            result.outcome, result.lines = "failed", result.lines + room.troubles
    except lab.Skip as why:
        result.outcome = "skipped"
        result.fail(str(why))
    except Exception as error:  # a case may fail in any way; all others still run
        result.fail(f"the laboratory is at fault: {type(error).__name__}: {error}")
    return result


async def doctor(room, visit):
    """Runs the doctor: exit status, what it reported or None, what it wrote."""
    command = [programs.LONGWIRE, "doctor", "--json", *visit.arguments()]
    if visit.resolver:
        # Its own resolv.conf, in a mount namespace of its own: root may do that.
        inner = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", inner, "sh", visit.resolver, *command]
    status, out, err = await lab.run(*command, bound=30 + 3 * visit.idle, cwd=room.folder)
    try:
        report = json.loads(out)
        return status, report if "id" in report["verdict"] else None, out
    except (ValueError, KeyError, TypeError):
        return status, None, err or out


async def ask(room, visit, result):
    case = result.case
    began = time.monotonic()
    status, report, out = await doctor(room, visit)
    result.took = time.monotonic() - began
    if not report:
        return result.fail(f"no verdict (status {status}): {out[-600:]}")
    result.given = report["verdict"]["id"]
    if result.given not in case.verdicts:
        result.fail(f"called {result.given}, is {' or '.join(case.verdicts)}: {report['verdict'].get('sentence')}")
    elif status != STATUS.get(result.given, 1):
        result.fail(f"exit status {status}, wanted {STATUS.get(result.given, 1)}")
    for words in visit.says:
        if words not in out:
            result.fail(f"does not say `{words}`")
    if visit.then and not result.lines and (wrong := await visit.then(report, lambda visit: doctor(room, visit))):
        result.fail(wrong)
    if result.took > QUICK + 2 * visit.idle:
        result.fail(f"took {result.took:.1f} s")
    if not result.lines:
        result.outcome = "passed"
    elif case.missed and result.given not in case.verdicts:
        result.outcome = "skipped"
        result.lines.insert(0, f"known: {case.missed}")
    return result


def page():
    """docs/faults.md as the cases have it."""
    parts = [HEAD]
    broken = [case for case in lab.CASES if lab.SOUND not in case.verdicts]
    healthy = [case for case in lab.CASES if lab.SOUND in case.verdicts]
    for title, cases in (("faults", broken), ("sound set-ups", healthy)):
        parts.append(f"\n## {len(cases)} {title}\n\n| Case | Set-up | Verdict |\n|---|---|---|\n")
        for case in cases:
            verdict = " or ".join(f"`{each}`" for each in case.verdicts)
            if case.missed:
                verdict += f" (not told yet: {case.missed})"
            parts.append(f"| `{case.name}` | {case.setting} | {verdict} |\n")
    return "".join(parts)


def matches(case, words):
    text = " ".join((case.name, case.setting, *case.verdicts))
    return not words or any(word in text for word in words)


def summary(results):
    """Of how many faults the cause was named, and how many sound set-ups were called sound."""
    asked = [each for each in results if each.outcome != "skipped" or each.given]
    faults = [each for each in asked if lab.SOUND not in each.case.verdicts]
    healthy = [each for each in asked if lab.SOUND in each.case.verdicts]
    named, right = (sum(each.given in each.case.verdicts for each in group) for group in (faults, healthy))
    times = sorted((each.took, each.case.name) for each in asked if each.took is not None)
    slowest = ", ".join(f"{name} {took:.1f} s" for took, name in reversed(times[-3:]))
    return (
        f"of {len(faults)} faults {named} named, of {len(healthy)} sound set-ups {right} called sound; "
        f"median {times[len(times) // 2][0]:.1f} s, slowest {slowest}" if times else "nobody was asked"
    )  # fmt: skip


async def main(words):
    flags = {word for word in words if word.startswith("--")}
    words = [word for word in words if word not in flags]
    for part in PARTS:
        importlib.import_module(part)
    if "--write" in flags:
        PAGE.write_text(page())
    chosen = [case for case in lab.CASES if matches(case, words)]
    # Before anything is timed: the first time it is installed.
    lab.newest_nginx()
    room = asyncio.Semaphore(AT_ONCE)
    with tempfile.TemporaryDirectory(prefix="longwire-faults-") as folder:
        certificates = certs.Certificates(pathlib.Path(folder))

        async def one(case):
            async with room:
                result = await examine(case, certificates, "--setup" in flags)
            took = f" ({result.took:.1f} s)" if result.took is not None else ""
            called = f": {result.given}" if result.outcome == "passed" and result.given else ""
            print("\n         ".join([f"{result.outcome:8} {case.name}{took}{called}", *result.lines]), flush=True)
            return result

        results = await asyncio.gather(*map(one, chosen))
    counts = {name: sum(each.outcome == name for each in results) for name in ("passed", "failed", "skipped")}
    if not words:
        if not PAGE.exists() or PAGE.read_text() != page():
            counts["failed"] += 1
            print("failed   docs/faults.md is not what the cases say: tests/faults/run.py --write")
        else:
            counts["passed"] += 1
    if "--setup" not in flags:
        print(summary(results))
    print(f"faults: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
