"""The live view as a person sees it: Chromium, thousands of tunnels that move, and one that is closed from the table."""

import asyncio
import json
import pathlib
import resource
import urllib.request

from house import BINARY, ROOM, Skip, case, free_port

TUNNELS = 3000
RATE = 3000        # messages a second, all of them together
LONGEST = 200      # milliseconds that a task of the page may take
CALM = 2           # times its processor time that what the page does may take for that to be its own fault
DESCRIPTORS = 16_000


def room_for_all():
    """Every process that is started from now on may have as many descriptors as all these tunnels take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        raise Skip(f"{DESCRIPTORS} descriptors are needed, and the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


def asked(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


@case(f"Chromium shows {TUNNELS} tunnels that move, stays responsive, and closes one from the table", alone=True)
async def live(house):
    load = pathlib.Path(BINARY).with_name("longwire-load")
    if not load.exists():
        raise Skip(f"{load} is not built: cargo build -p longwire-load")
    room_for_all()
    backends = [free_port(), free_port()]
    for port in backends:
        await house.start(load, "backend", "--listen", f"127.0.0.1:{port}", name="backend")
    node = await house.node_echo()
    admin = free_port()
    token = house.write("token", "a-token-of-this-test\n")
    token.chmod(0o600)
    servers = "".join(f"server 127.0.0.1:{port};" for port in backends)
    longwire = await house.longwire(f"""
        worker_rlimit_nofile {DESCRIPTORS};
        events {{ worker_connections {DESCRIPTORS}; }}
        http {{
            access_log off;
            admin 127.0.0.1:{admin} token={token};
            upstream app {{ least_conn; {servers} }}
            server {{
                listen 127.0.0.1:0;
                websocket_ping 2s;
                location / {{ proxy_pass http://app; }}
                location /one/ {{ proxy_pass http://127.0.0.1:{node.port}; }}
            }}
        }}""", listens=2)
    [port] = [p for p in longwire.ports if p != admin]

    crowd = await house.start(load, "echo", "--url", f"ws://127.0.0.1:{port}/", "--connections", TUNNELS, "--rate", RATE,
                              "--seconds", 45, "--hold", "--json", name="load", stdin=asyncio.subprocess.PIPE)
    await crowd.line(lambda line: "ready" in line or None, 60)
    one = await house.node("waits.js", f"ws://127.0.0.1:{port}/one/")
    local = (await one.json("local"))["local"]

    page = await house.node("live.js", f"http://127.0.0.1:{admin}/", TUNNELS + 1, ROOM, local, "a-token-of-this-test")
    await page.json("watching", 60)
    crowd.child.stdin.write(b"go\n")
    await crowd.child.stdin.drain()

    shown = (await page.json("shown", 120))["shown"]
    counters = await asyncio.to_thread(asked, admin, "/api/counters")
    listed = await asyncio.to_thread(asked, admin, "/api/tunnels?limit=1")
    assert shown["open"] == shown["total"] == counters["open"] == listed["total"] == TUNNELS + 1, (shown, counters["open"], listed["total"])
    assert shown["opened"] == counters["opened"] == TUNNELS + 1, (shown, counters["opened"])
    assert sorted(shown["backends"]) == [1, TUNNELS // 2, TUNNELS // 2], shown
    assert abs(shown["messages"] - 2 * RATE) < 0.2 * RATE, f"{shown['messages']} messages a second are shown, {2 * RATE} are sent"
    assert shown["ping"].endswith(("µs", "ms")), shown

    await page.json("closed", 60)
    told = await one.json("closed")
    assert told == {"closed": 4321, "reason": "told from the table"}, told
    gone = await node.json("closed")
    assert gone == {"closed": 4321, "reason": "told from the table"}, gone
    measured = await page.json("tasks", 60)
    tasks, cpu, stretch = measured["tasks"], measured["cpu"], measured["stretch"]
    longest = max(tasks, default=0)
    assert 0 < cpu <= LONGEST / 2, f"a task of the page took {cpu} ms of processor time"
    # Where the page has to wait for the processor, how long its tasks take says nothing of the page.
    assert longest <= LONGEST or stretch > CALM, f"a task of the page took {longest} ms; all over 50 ms: {tasks}"

    assert await page.wait(120) == 0, page.text
    problems = [line for line in page.jsons() if {"error", "console", "elsewhere"} & line.keys()]
    assert not problems, problems
    done = await crowd.json("count", 120)
    assert done["failed"] == 0, done
    counters = await asyncio.to_thread(asked, admin, "/api/counters")
    # What was on its way when the load ended was carried, and counted by nobody there.
    extra = counters["messages"]["from_client"] - done["count"]
    assert 0 <= extra <= TUNNELS, (counters["messages"], done["count"])
    return (f"longest task {longest:.0f} ms, {len(tasks)} over 50 ms, at most {cpu:.0f} ms of processor time in one, "
            f"all took {stretch:.1f} times theirs; {done['count']} messages; pictures in {ROOM}/live-*.png")
