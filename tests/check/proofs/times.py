"""Timers, what happens at a reload, and what is held back."""

import asyncio
import os
import pathlib
import time

from proofs import proof
from stand import PATIENCE, must


@proof("read-timeout-short")
async def read_timeout(room):
    """A whole minute: the default itself is what is claimed."""
    async with room.stand("bad") as bad, room.stand("good") as good:
        silent, pinging, patient = [await stand.handshake("/ws/") for stand in (bad, bad, good)]

        async def ping():
            while True:
                pinging.ping()
                # sleep is the promise: a client that pings every 20 s.
                await asyncio.sleep(20)

        pings = asyncio.create_task(ping())
        try:
            ended, *kept = await asyncio.gather(*(tunnel.end(70) for tunnel in (silent, pinging, patient)))
        finally:
            pings.cancel()
        must(ended is not None, "bad.conf: still open after 70 s")
        how, seconds = ended
        must(59 < seconds < 70 and how == "FIN without Close", f"bad.conf: {how} after {seconds:.1f} s")
        must(kept[0] is None, f"bad.conf: one with pings ended: {kept[0]}")
        must(kept[1] is None, f"good.conf: {kept[1]}")
    return f"silent: {how} after {seconds:.1f} s; with pings every 20 s it stays open"


@proof("shutdown-timeout-unset")
async def shutdown_unset(room):
    async with room.stand("bad") as stand:
        tunnel = await stand.handshake("/ws/")
        old = await stand.reload()
        must(await tunnel.end(8) is None and old & stand.workers(), "bad.conf: the old worker is gone")
        must(await tunnel.echo(), "bad.conf: the tunnel is dead")
    async with room.stand("good", changes=((r"(worker_shutdown_timeout) [^;]+", r"\1 3s"),)) as stand:
        tunnel = await stand.handshake("/ws/")
        old = await stand.reload()
        ended = await tunnel.end(20)
        must(ended and ended[1] > 2, f"good.conf, with 3 s: {ended}")
        await stand.gone(old)
    return "8 s after a reload the old worker lives on with its tunnel; with a limit (3 s here) it ends"


@proof("shutdown-timeout-short")
async def shutdown_short(room):
    async with room.stand("bad") as bad, room.stand("good") as good:
        tunnels = await bad.many(10, "/ws/")
        patient = await good.handshake("/ws/")
        await bad.reload()
        await good.reload()
        reloaded = time.monotonic()
        ends = await asyncio.gather(*(tunnel.end(25) for tunnel in tunnels))
        kept = await patient.end(1)
        must(all(ends), f"bad.conf: {ends}")
        must({how for how, _ in ends} <= {"FIN without Close", "RST without Close"}, f"bad.conf: {ends}")
        closed = [tunnel.opened + seconds - reloaded for tunnel, (_, seconds) in zip(tunnels, ends)]
        must(4 < min(closed) and max(closed) - min(closed) < 1, f"bad.conf: ends at {closed}")
        must(kept is None, f"good.conf: {kept}")
    return f"all ten end {min(closed):.1f} s after the reload, within {1000 * (max(closed) - min(closed)):.0f} ms, without a Close"


@proof("dead-peers-stay")
async def dead_peers(room):
    for which, wanted in (("bad", False), ("good", True)):
        async with room.stand(which) as stand:
            tunnel = await stand.handshake("/ws/")
            must(tunnel.status == 101, f"{which}.conf: {tunnel}")
            until = time.monotonic() + PATIENCE
            # A socket shows one timer, and the keepalive's last: what is not acknowledged yet has one of its own.
            while len(timers := keepalive_timers(stand)) != 2 or any(timer != wanted for timer in timers):
                if time.monotonic() > until:
                    break
                # sleep is the promise: the kernel is asked again.
                await asyncio.sleep(0.05)
            must(len(timers) == 2 and all(timer == wanted for timer in timers), f"{which}.conf: keepalive {timers}")
    return "neither socket of the tunnel has a keepalive timer"


def keepalive_timers(stand):
    """Whether the kernel has a keepalive timer for each of the sockets of nginx's worker that are connected."""
    own = set()
    for worker in stand.workers():
        for link in pathlib.Path(f"/proc/{worker}/fd").iterdir():
            own.add(os.readlink(link))
    found = []
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # Established, of this process; the first number of the timer is 2 for keepalive.
        if fields[3] == "01" and f"socket:[{fields[9]}]" in own:
            found.append(fields[5].startswith("02"))
    return found


@proof("tcp-nodelay-off")
async def nodelay_off(room):
    gaps = {}
    for which in ("bad", "good"):
        async with room.stand(which, default="websockets") as stand:
            tunnel = await stand.handshake("/ws/pairs")
            gaps[which] = await pairs(tunnel)
            # On a busy machine a message is late for other reasons, too, but not time after time.
            for _ in range(4 if which == "good" else 0):
                gaps[which] = min(gaps[which], await pairs(tunnel))
    must(gaps["bad"] > 0.02 > gaps["good"], f"gaps: {gaps}")
    return f"the second of two small messages comes {1000 * gaps['bad']:.0f} ms after the first; with nodelay {1000 * gaps['good']:.1f} ms"


async def pairs(tunnel, times=9):
    """The middle time between the first and the second message, when a server sends two with 2 ms between them."""
    from backend import frame, read_frame
    from stand import MASK

    waits = []
    for _ in range(times):
        tunnel.writer.write(frame(1, b"pair", MASK))
        async with asyncio.timeout(5):
            await read_frame(tunnel.reader)
            began = time.monotonic()
            await read_frame(tunnel.reader)
        waits.append(time.monotonic() - began)
    return sorted(waits)[times // 2]
