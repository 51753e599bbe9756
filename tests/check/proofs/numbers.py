"""Limits: connections, descriptors, ports."""

import asyncio
import json
import pathlib
import sys

from proofs import proof
from stand import Skip, must

PORTS = pathlib.Path(__file__).parents[1] / "ports.py"


async def at_most(room, words, least, most):
    """bad.conf carries between `least` and `most` of 300 tunnels and says why; good.conf carries all."""
    async with room.stand("bad") as stand:
        tunnels = await stand.many(300, "/ws/", patience=3)
        count = sum(tunnel.status == 101 for tunnel in tunnels)
        must(least <= count <= most, f"bad.conf: {count} of 300 tunnels")
        must(words in stand.program.log, f"bad.conf: the log does not say `{words}`")
    async with room.stand("good") as stand:
        good = sum(tunnel.status == 101 for tunnel in await stand.many(300, "/ws/"))
        must(good == 300, f"good.conf: {good} of 300 tunnels")
    return f"{count} of 300 tunnels open; the log: `{words}`"


@proof("worker-connections-low")
async def worker_connections(room):
    return await at_most(room, "worker_connections are not enough", 200, 256)


@proof("descriptors-low")
async def descriptors(room):
    return await at_most(room, "failed (24:", 200, 256)


@proof("limit-conn-tunnels")
async def limit_conn(room):
    async with room.stand("bad") as stand:
        tunnels = await stand.many(15, "/ws/", at_once=1)
        statuses = [tunnel.status for tunnel in tunnels]
        must(statuses == [101] * 10 + [503] * 5, f"bad.conf: {statuses}")
    async with room.stand("good") as stand:
        statuses = [tunnel.status for tunnel in await stand.many(15, "/ws/", at_once=1)]
        must(statuses == [101] * 15, f"good.conf: {statuses}")
    return "ten tunnels of one address hold all ten places: 503 for the next"


@proof("source-ports")
async def source_ports(room):
    counts, said = {}, ""
    for which in ("bad", "good"):
        work = await asyncio.create_subprocess_exec(
            "unshare",
            "--net",
            sys.executable,
            str(PORTS),
            room.nginx.path,
            which,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await work.communicate()
        if b"Operation not permitted" in errors:
            raise Skip("no network of its own can be made here")
        must(work.returncode == 0, errors.decode()[-1000:])
        told = json.loads(out)
        counts[which], said = told["open"], said or told["said"]
    must(counts["bad"] <= 64 and "(99: " in said, f"{counts} {said}")
    must(counts["good"] == 90, f"good.conf: {counts['good']} of 90")
    return f"with 64 ports {counts['bad']} of 90 tunnels open, with two source addresses all; the log: {said}"
