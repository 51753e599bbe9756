"""Where clients land: beside nginx for 10,000 keys and addresses, and with real applications of several instances."""

import asyncio

from house import case, free_port

KEYS = 10_000
BATCH = 100


def answers(data):
    """The bodies of answers that came one behind the other: each is a single digit."""
    return [part[:1].decode() for part in data.split(b"\r\n\r\n")[1:]]


async def ask(port, requests, source="127.0.0.1"):
    """Sends requests over one connection, some at a time, and gives the digits that came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    found = []
    try:
        for start in range(0, len(requests), BATCH):
            batch = requests[start:start + BATCH]
            writer.write("".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in batch).encode())
            data = b""
            while len(answers(data)) < len(batch) or not data.endswith(b"\n"):
                more = await asyncio.wait_for(reader.read(1 << 16), 30)
                assert more, "the connection ended"
                data += more
            found += answers(data)
    finally:
        writer.close()
    return found


async def ask_all(port, requests):
    """The same over eight connections at once, in order."""
    parts = [requests[start::8] for start in range(8)]
    found = await asyncio.gather(*(ask(port, part) for part in parts))
    return [found[index % 8][index // 8] for index in range(len(requests))]


async def from_everywhere(port, sources):
    """One request from each address of loopback."""
    room = asyncio.Semaphore(32)

    async def one(source):
        async with room:
            return (await ask(port, ["/"], source))[0]

    return await asyncio.gather(*(one(source) for source in sources))


async def both(house, methods, servers):
    """nginx and longwire with the same group: their ports. nginx is its own backends, which answer with their number."""
    ports = [free_port() for _ in servers]
    lines = "".join(f"server 127.0.0.1:{port}{more};" for port, more in zip(ports, servers))
    group = f"upstream u {{ {methods} {lines} }}\n"
    backends = "".join(f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"{number}\\n\"; }} }}\n"
                       for number, port in enumerate(ports))
    passing = "location / { proxy_pass http://u; }"
    limits = "keepalive_requests 100000;"
    nginx = await house.nginx(f"{limits} {group} {backends} server {{ listen 127.0.0.1:PORT; {passing} }}")
    longwire = await house.longwire(f"access_log off; {limits} {group} server {{ listen 127.0.0.1:0; {passing} }}")
    return nginx.port, longwire.port


def compare(ours, theirs, what):
    differing = [index for index, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]]
    assert len(ours) == len(theirs) and not differing, f"{len(differing)} {what} differ: {differing[:5]}"
    spread = ", ".join(f"{name}: {ours.count(name)}" for name in sorted(set(ours)))
    return f"{len(ours)} {what} alike ({spread})"


@case("10,000 keys go where nginx sends them: hash, and hash consistent")
async def hashes(house):
    notes = []
    for method in ("hash $arg_k;", "hash $arg_k consistent;"):
        theirs, ours = await both(house, method, [" weight=3", "", " down", " weight=2"])
        paths = [f"/?k=user-{number * 7919}" for number in range(KEYS)]
        notes.append(compare(await ask_all(ours, paths), await ask_all(theirs, paths), f"keys by {method}"))
    return "; ".join(notes)


@case("10,000 networks go where nginx sends them: ip_hash")
async def networks(house):
    theirs, ours = await both(house, "ip_hash;", ["", " weight=2", ""])
    sources = [f"127.{number // 250 + 1}.{number % 250 + 1}.{number % 200 + 1}" for number in range(KEYS)]
    return compare(await from_everywhere(ours, sources), await from_everywhere(theirs, sources), "networks")


@case("servers take turns in the order of nginx, by odd weights")
async def turns(house):
    notes = []
    for servers in (["", " weight=7", " weight=3"], [" weight=5", " backup", " weight=2", " down"]):
        theirs, ours = await both(house, "", servers)
        paths = ["/"] * 300
        notes.append(compare(await ask(ours, paths), await ask(theirs, paths), "turns"))
    return "; ".join(notes)


async def instances(house, count, ports=None):
    return [await instance(house, name, (ports or {}).get(name, 0)) for name in "abcdefgh"[:count]]


async def instance(house, name, port=0):
    process = await house.node("instances.js", "server", name, env={"PORT": str(port)})
    process.port = (await process.json("port"))["port"]
    process.called = name
    return process


def group(directives, apps):
    servers = "".join(f"server 127.0.0.1:{app.port} fail_timeout=1s;" for app in apps)
    return (f"upstream app {{ {directives} {servers} }}\n"
            "server { listen 127.0.0.1:0; location / { proxy_pass http://app; } }\n")


async def talk(house, longwire, count, options="{}"):
    return await house.start("node", house_script(), "clients", f"http://127.0.0.1:{longwire.port}", count, options,
                             name="clients", stdin=asyncio.subprocess.PIPE)


def house_script():
    from house import NODE
    return NODE / "instances.js"


async def everyone(clients, key, count):
    """Waits until this many clients told this of themselves, and gives what they told."""

    def wanted(_):
        told = {line["client"]: line for line in clients.jsons() if key in line}
        return told if len(told) >= count else None

    return await clients.line(wanted)


@case("socket.io with four instances: ip_hash and a sticky cookie hold it together, and nothing else does")
async def four_instances(house):
    apps = await instances(house, 4)
    notes = []
    for directives, options in (("ip_hash;", "{}"), ("sticky cookie io httponly path=/;", '{"withCredentials":true}'),
                                ("sticky cookie io secret=s3;", '{"withCredentials":true}')):
        longwire = await house.longwire(group(directives, apps))
        clients = await talk(house, longwire, 8, options)
        told = await everyone(clients, "at", 8)
        assert not any("failed" in line or "gone" in line for line in clients.jsons()), clients.text
        places = {line["at"] for line in told.values()}
        notes.append(f"{directives.split(';')[0]}: {len(places)} of four in use")
        await clients.stop()
        await longwire.stop()
    longwire = await house.longwire(group("", apps))
    clients = await talk(house, longwire, 4, '{"reconnection":false}')

    def fails(line):
        return True if "failed" in line or "gone" in line else None

    await clients.line(fails)
    line = await longwire.line(lambda line: line if "stickiness is missing" in line else None)
    assert "Session ID unknown" in line and 'upstream "app"' in line, line
    notes.append("without: " + line.split("] ", 1)[1][:60] + "...")
    return "; ".join(notes)


@case("an instance of socket.io is killed: its clients move, the others do not notice; it returns: new clients come")
async def killed(house):
    apps = await instances(house, 4)
    longwire = await house.longwire(group("sticky cookie io;", apps))
    clients = await talk(house, longwire, 12, '{"withCredentials":true}')
    before = await everyone(clients, "at", 12)
    victim = next(app for app in apps if app.called == before[0]["at"])
    moved = {client for client, line in before.items() if line["at"] == victim.called}
    seen = len(clients.lines)
    await victim.stop()

    def elsewhere(_):
        now = {line["client"]: line["at"] for line in clients.jsons() if "at" in line}
        return now if all(now[client] != victim.called for client in moved) else None

    now = await clients.line(elsewhere)
    noticed = {line["client"] for line in list(clients.jsons()) if "gone" in line}
    assert noticed == moved, f"{noticed - moved} noticed as well:\n" + "\n".join(clients.lines[seen:])
    clients.child.stdin.write(b"say\n")
    answered = await everyone(clients, "answer", 12)
    assert all(answered[client]["answer"] == now[client] for client in now), clients.text
    # As many newcomers as there are servers: one of them at least is offered the dead one, and none notices.
    newcomers = await talk(house, longwire, 4, '{"withCredentials":true}')
    told = await everyone(newcomers, "at", 4)
    assert all(line["at"] != victim.called for line in told.values()), newcomers.text
    assert not any("failed" in line or "gone" in line for line in newcomers.jsons()), newcomers.text
    await newcomers.stop()
    await longwire.line(lambda line: "is left out for" in line or None)
    # New clients come to it again once it is back.
    again = await instance(house, victim.called, victim.port)
    for _ in range(100):
        more = await talk(house, longwire, 4, '{"withCredentials":true}')
        told = await everyone(more, "at", 4)
        await more.stop()
        if any(line["at"] == again.called for line in told.values()):
            log = longwire.text
            assert log.count("is back after") == 1, log
            return f"{len(moved)} of 12 moved"
    raise AssertionError(f"nobody came to {again.called} again:\n{longwire.text}")
