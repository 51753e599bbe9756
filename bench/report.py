"""The table and the picture."""

import html
import os
import platform
import re
import statistics

# What a row's name ends with when more is better.
MORE_IS_BETTER = "per CPU second"


def machine():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"model name\s*: (.*)", file.read())
    with open("/proc/meminfo") as file:
        memory = int(file.read().split()[1]) // (1 << 20)
    processor = found.group(1) if found else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {memory} GiB, Linux {platform.release().split('-')[0]}"


def medians(results):
    """row -> peer -> median, rows in the order in which they came."""
    rows = {}
    for name, values in results.items():
        for row, each in values.items():
            rows.setdefault(row, {})[name] = statistics.median(each)
    return dict(sorted(rows.items(), key=lambda item: order(item[0])))


def order(row):
    """Memory, costs, times, handshakes."""
    kinds = ["process", "idle", "kept", "echo", "rate", "half", "200 at", "broadcast", "handshakes"]
    sizes = [" 64 B", " 1 KB", " 16 KB", " 256 KB"]
    kind = next((n for n, kind in enumerate(kinds) if row.startswith(kind)), len(kinds))
    size = next((n for n, size in enumerate(sizes) if size in row), 0)
    return kind, " tls" in row and not row.startswith("handshakes"), size, row if row.startswith("echo") else ""


def better(row, a, b):
    return a > b if MORE_IS_BETTER in row else a < b


def table(facts, results, problems):
    rows = medians(results)
    names = [name for name in ["longwire", "nginx", "haproxy", "envoy", "caddy", "traefik", "direct"] if name in results]
    lines = [f"# Longwire beside its peers, {facts['date']}", ""]
    lines += [f"{facts['machine']}, load average {facts['load']}. {facts['note']}".strip(), ""]
    lines += [
        f"Medians of {facts['rounds']} round(s){', the short form' if facts['quick'] else ''}; one worker or thread each; "
        "all on loopback; the entry's headers. The best proxy of a row is bold. Longwire runs one pump thread beside "
        "one thread for handshakes. CPU us is the processor time of the proxy for one message there and back, in microseconds.",
        "",
    ]
    if not facts["counters"]:
        lines += [
            "This machine has no hardware counters: there are no kernel instructions and no cycles here; the user "
            "instructions of the programs that valgrind can run are valgrind's.",
            "",
        ]
    lines += ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row, values in rows.items():
        lines.append(f"| {row} | " + " | ".join(cell(row, name, values) for name in names) + " |")
    lines += ["", "## Where Longwire is worse", ""]
    lines += worse(rows) or ["Nowhere in this run."]
    if problems:
        lines += ["", "## What did not work", ""] + [f"- {problem}" for problem in dict.fromkeys(problems)]
    return "\n".join(lines) + "\n"


def best(row, values):
    proxies = {name: value for name, value in values.items() if name != "direct"}
    pick = max if MORE_IS_BETTER in row else min
    return pick(proxies, key=proxies.get) if proxies else None


def cell(row, name, values):
    if name not in values:
        return "-"
    text = number(values[name])
    return f"**{text}**" if name == best(row, values) and len(values) > 1 else text


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def worse(rows):
    """Every row that another proxy wins by more than a twentieth."""
    lines = []
    for row, values in rows.items():
        first = best(row, values)
        if "longwire" not in values or first in (None, "longwire"):
            continue
        ours, theirs = values["longwire"], values[first]
        if better(row, theirs, ours * (1.05 if MORE_IS_BETTER in row else 0.95)):
            lines.append(f"- {row}: {number(ours)}, {first} {number(theirs)}")
    return lines


def plot(results):
    """Bars, one panel a row, for the rows that say most."""
    rows = medians(results)
    picks = ["idle tunnel, plain, KB", "idle tunnel, tls, KB"]
    picks += [f"echo {size}, {leg}, CPU us" for size in ("64 B", "16 KB") for leg in ("plain", "tls")]
    picks += ["half rate, plain, p99 us", "handshakes per CPU second, tls full"]
    panels = [panel(row, rows[row]) for row in picks if row in rows]
    width, high = 420, 190
    height = high * ((len(panels) + 1) // 2)
    body = "".join(
        f'<g transform="translate({width * (n % 2)},{high * (n // 2)})">{bars}</g>' for n, bars in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
    )


def panel(row, values):
    top = max(values.values()) or 1
    parts = [f'<text x="10" y="20" font-weight="bold">{html.escape(row)}</text>']
    for n, (name, value) in enumerate(values.items()):
        y, length = 30 + 21 * n, max(230 * value / top, 1)
        color = "#1769aa" if name == "longwire" else "#b0b8c0"
        parts.append(f'<text x="70" y="{y + 13}" text-anchor="end">{name}</text>')
        parts.append(f'<rect x="78" y="{y}" width="{length:.1f}" height="16" fill="{color}"/>')
        parts.append(f'<text x="{84 + length:.1f}" y="{y + 13}">{number(value)}</text>')
    return "".join(parts)
