"""Which location, which path, which server a handshake comes to."""

import asyncio
import contextlib
import json

from proofs import proof
from proofs.handshakes import opens
from servers import Names
from stand import must


@proof("location-shadowed")
async def location_shadowed(room):
    for which, port in (("bad", "3001"), ("good", "3000")):
        async with room.stand(which) as stand:
            tunnel = await stand.handshake("/ws/chat")
            [request] = stand.tap(port).take()
            must((tunnel.status == 101) == (which == "good"), f"{which}.conf: {tunnel}")
            if which == "bad":
                must(request.header("upgrade") is None, f"the other backend got {request}")
                said = f"the regex takes /ws/chat to another backend, without Upgrade: {tunnel}"
    return said


@proof("server-shadowed")
async def server_shadowed(room):
    async with room.stand("bad") as stand:
        bad = await stand.handshake("/ws/")
        must(bad.status == 404 and not stand.seen(), f"bad.conf: {bad}")
        must("conflicting server name" in stand.program.log, "nginx does not warn")
    await opens(room, "/ws/")
    return "the first server of that name answers 404"


@proof("slash-redirect")
async def slash_redirect(room):
    async with room.stand("bad") as stand:
        bad = await stand.handshake("/ws")
        must(bad.status == 301 and not stand.seen(), f"bad.conf: {bad}")
        where = bad.answer.values("location")[0]
        must(where.endswith("/ws/"), where)
    await opens(room, "/ws")
    return f"/ws gets 301 to {where}"


@proof("socketio-path-lost")
async def socketio_path(room):
    path = "/socket.io/?EIO=4&transport=websocket"
    async with room.stand("bad", default="sio") as stand:
        bad = await stand.handshake(path)
        [request] = stand.seen()
        must(request.uri == "/?EIO=4&transport=websocket", f"the backend got {request}")
        must(bad.status != 101, f"bad.conf: {bad}")
        polling = await stand.get("/socket.io/?EIO=4&transport=polling")
        must(polling.status == 404, f"bad.conf: {polling.status} for polling")
    async with room.stand("good", default="sio") as stand:
        good = await stand.handshake(path)
        must(good.status == 101, f"good.conf: {good}")
    return f"socket.io gets `/` in place of `/socket.io/`: {bad} for the handshake, 404 for polling"


@proof("path-mangled")
async def path_mangled(room):
    async with room.stand("bad") as stand:
        await stand.handshake("/ws/chat")
        [bad] = stand.seen()
        must(bad.uri == "//chat", f"bad.conf: the backend got {bad}")
    async with room.stand("good") as stand:
        await stand.handshake("/ws/chat")
        [request] = stand.seen()
        must(request.uri == "/chat", f"good.conf: the backend got {request}")
    return f"/ws/chat becomes {bad.uri}"


@proof("args-lost")
async def args_lost(room):
    async with room.stand("bad") as stand:
        await stand.handshake("/ws/?token=secret")
        [bad] = stand.seen()
        must(bad.uri == "/socket", f"bad.conf: the backend got {bad}")
    async with room.stand("good") as stand:
        await stand.handshake("/ws/?token=secret")
        [request] = stand.seen()
        must(request.uri == "/socket?token=secret", f"good.conf: the backend got {request}")
    return "/ws/?token=secret becomes /socket"


@proof("if-trap")
async def if_trap(room):
    origin = "Origin: https://example.com"
    async with room.stand("bad") as stand:
        must((await stand.handshake("/")).status == 101 and stand.tap("3001").take(), "bad.conf: broken without Origin")
        await stand.handshake("/", origin)
        must(stand.tap("3000").take() and not stand.tap("3001").take(), "bad.conf: the first `if` holds")
    async with room.stand("good") as stand:
        tunnel = await stand.handshake("/", origin)
        must(tunnel.status == 101 and stand.tap("3001").take(), f"good.conf: {tunnel}")
    return "a handshake with Origin goes to 3000, as if the first `if` were not there"


@contextlib.asynccontextmanager
async def names(address):
    """The port of a name server."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Names(address), ("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@proof("resolver-missing")
async def resolver_missing(room):
    async with room.stand("bad") as stand:
        bad = await stand.handshake("/ws/")
        must(bad.status == 502 and "no resolver defined" in stand.program.log, f"bad.conf: {bad}")
    async with names("127.0.0.1") as port:
        changes = ((r"127\.0\.0\.53", f"127.0.0.1:{port}"), (":3000", f":{room.servers.ports['ws']}"))
        async with room.stand("good", changes=changes) as stand:
            good = await stand.handshake("/ws/")
            must(good.status == 101, f"good.conf: {good}")
    return "502, and `no resolver defined` in the log"


@proof("sni-missing")
async def sni_missing(room):
    async with room.stand("bad", sni=True) as stand:
        bad = await stand.handshake("/ws/")
        must(bad.status == 502, f"bad.conf: {bad}")
    async with room.stand("good", sni=True) as stand:
        good = await stand.handshake("/ws/")
        must(good.status == 101, f"good.conf: {good}")
    return "a backend that chooses its certificate by name refuses the handshake of TLS: 502"


@proof("no-stickiness")
async def no_stickiness(room):
    async with room.stand("bad") as stand:
        for _ in range(4):
            await stand.handshake("/ws/")
        counts = [len(tap.take()) for tap in stand.taps]
        must(sorted(counts) == [2, 2], f"bad.conf: {counts}")
    async with room.stand("good") as stand:
        for _ in range(4):
            must((await stand.handshake("/ws/")).status == 101, "good.conf: no 101")
        counts = [len(tap.take()) for tap in stand.taps]
        must(sorted(counts) == [0, 4], f"good.conf: {counts}")
    return "four handshakes of one client: two at each server"


async def poll(stand, times=8, **where):
    """A socket.io session opened by polling: the statuses of as many requests with its sid, and of the upgrade."""
    answer = await stand.get("/socket.io/?EIO=4&transport=polling", **where)
    must(answer.status == 200, f"{answer.status} for the first request")
    sid = json.loads(answer.body.decode().removeprefix("0"))["sid"]
    # A message each time, as a client that polls sends it: nothing waits for an answer.
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    answers = [await stand.get(path, "Content-Length: 2\r\n\r\n40", method="POST", **where) for _ in range(times)]
    upgrade = await stand.handshake(f"/socket.io/?EIO=4&transport=websocket&sid={sid}", greeting=False, **where)
    return [each.status for each in answers] + [upgrade.status], next((each.body for each in answers if each.status == 400), b"")


@proof("socketio-no-stickiness")
async def socketio(room):
    kinds = {"3000": "sio", "3001": "sio2"}
    async with room.stand("bad", kinds) as stand:
        statuses, body = await poll(stand)
        must(400 in statuses and b"Session ID unknown" in body, f"bad.conf: {statuses} {body}")
    async with room.stand("good", kinds) as stand:
        good, _ = await poll(stand)
        must(good == [200] * 8 + [101], f"good.conf: {good}")
    return f"with the sid: {' '.join(map(str, statuses))}; {body.decode()}"


@proof("cache-on-path")
async def cache_on_path(room):
    async with room.stand("bad", default="app") as stand:
        must((await stand.handshake("/ws")).status == 101, "bad.conf: broken before anything is kept")
        must((await stand.get("/ws")).status == 200, "bad.conf: no page")
        stand.seen()
        bad = await stand.handshake("/ws")
        must(bad.status == 200 and not stand.seen(), f"bad.conf: {bad}")
    async with room.stand("good", default="app") as stand:
        must((await stand.get("/ws")).status == 200, "good.conf: no page")
        good = await stand.handshake("/ws")
        must(good.status == 101, f"good.conf: {good}")
    return "after an ordinary GET a handshake gets its page from the cache: 200"


@proof("keepalive-ended")
async def keepalive_ended(room):
    counts = []
    for which in ("bad", "good"):
        async with room.stand(which, default="app") as stand:
            for _ in range(5):
                must((await stand.get("/")).status == 200, f"{which}.conf: no page")
            counts.append(stand.taps[0].connections)
            must((await stand.handshake("/")).status == 101, f"{which}.conf: no 101")
    must(counts == [5, 1], f"connections: {counts}")
    return "five requests take five connections to the backend; without `close` one"
