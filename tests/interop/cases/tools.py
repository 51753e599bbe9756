"""Tools that speak HTTP and TLS their own way: curl and OpenSSL."""

import asyncio
import json

from house import case, site


def seen(headers):
    """What the backend saw of a request, from the head that curl dumped."""
    line = next(l for l in headers.split("\n") if l.lower().startswith("x-seen:"))
    return json.loads(line.split(":", 1)[1])


async def curl(house, *arguments, stdin=b""):
    """curl's status of the answer, all heads, and the body."""
    heads, body = house.folder / "heads", house.folder / "body"
    status, said = await house.run("curl", "-sS", "--noproxy", "*", "-D", heads, "-o", body, "-m", "20", *arguments,
                                   stdin=stdin)
    assert status == 0, said
    return heads.read_text(), body.read_bytes()


@case("curl --http2 asks for h2c and is answered by HTTP/1.1")
async def h2c(house):
    backend = await house.node_echo()
    longwire = await house.longwire(site(
        backend.port, "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;"))
    heads, body = await curl(house, "--http2", f"http://127.0.0.1:{longwire.port}/x")
    assert heads.startswith("HTTP/1.1 200") and body == b"hello", heads
    headers = seen(heads)["headers"]
    assert "upgrade" not in headers and "upgrade" not in headers.get("connection", "").lower(), headers
    assert "http2-settings" not in headers or "http2-settings" not in headers.get("connection", "").lower(), headers


@case("curl sends a chunked body, and one that waits for 100 Continue")
async def bodies(house):
    backend = await house.node_echo()
    longwire = await house.longwire(site(backend.port, "client_max_body_size 64m;"))
    url = f"http://127.0.0.1:{longwire.port}/up"
    body = bytes(range(256)) * 8192
    heads, echoed = await curl(house, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", "@-", url,
                               stdin=body)
    assert echoed == body and "HTTP/1.1 200" in heads, heads
    heads, echoed = await curl(house, "-H", "Expect: 100-continue", "--expect100-timeout", "15", "--data-binary", "@-",
                               url, stdin=body)
    assert heads.startswith("HTTP/1.1 100 Continue"), heads
    assert echoed == body, heads
    return f"{len(body)} bytes each"


@case("curl keeps its connection and reads HEAD answers")
async def kept(house):
    backend = await house.node_echo()
    longwire = await house.longwire(site(backend.port))
    url = f"http://127.0.0.1:{longwire.port}"
    status, said = await house.run("curl", "-sS", "-v", "--noproxy", "*", "-m", "20", f"{url}/a", f"{url}/b")
    assert status == 0 and "Re-using existing" in said or "Reusing existing" in said, said
    status, said = await house.run("curl", "-sS", "-I", "--noproxy", "*", "-m", "20", f"{url}/a")
    assert status == 0 and said.startswith("HTTP/1.1 200"), said


@case("OpenSSL's client by TLS 1.2 and 1.3, with the certificate of the name it asks for")
async def openssl(house):
    backend = await house.node_echo()
    servers = ""
    for name in ("one.test", "two.test"):
        making, chain, key = house.certificate(name)
        status, said = await making
        assert status == 0, said
        servers += (f"server {{ listen 127.0.0.1:0 ssl; server_name {name}; ssl_certificate {chain}; "
                    f"ssl_certificate_key {key}; location / {{ proxy_pass http://127.0.0.1:{backend.port}; }} }}\n")
    longwire = await house.longwire(servers)
    request = b"GET / HTTP/1.1\r\nHost: two.test\r\nConnection: close\r\n\r\n"

    async def client(flag, name):
        return await house.run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{longwire.port}", flag, "-servername", name, "-CAfile",
            house.folder / f"{name}.crt", "-verify_return_error", "-verify_hostname", name, "-ign_eof",
            stdin=request.replace(b"two.test", name.encode()))

    for flag, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        for name in ("one.test", "two.test"):
            status, said = await client(flag, name)
            assert "Verification: OK" in said and version in said and "HTTP/1.1 200" in said, f"{flag} {name}: {said}"
    status, said = await client("-tls1_1", "one.test")
    assert "HTTP/1.1 200" not in said, said
    return "two names, two versions; 1.1 refused"


@case("a thousand idle sockets of Python cost little and are all answered")
async def thousand(house):
    from websockets.asyncio.client import connect

    backend = await house.node_echo()
    longwire = await house.longwire("worker_rlimit_nofile 8192; events {} http { " + site(backend.port) + " }")
    url = f"ws://127.0.0.1:{longwire.port}/"
    limit = asyncio.Semaphore(50)

    async def one():
        async with limit:
            return await connect(url, proxy=None, compression=None, ping_interval=None, open_timeout=60)

    before = memory(longwire)
    clients = await asyncio.gather(*(one() for _ in range(1000)))
    after = memory(longwire)
    for client in clients:
        await client.send("x")
    for client in clients:
        assert await client.recv() == "x"
    async def end(client):
        async with limit:
            await client.close()
    await asyncio.gather(*(end(client) for client in clients))
    return f"{(after - before) / 1000:.1f} KiB each in this build"


def memory(process):
    """Memory that a process has filled, in KiB."""
    with open(f"/proc/{process.child.pid}/smaps_rollup") as rollup:
        return int(next(l for l in rollup if l.startswith("Pss_Anon:")).split()[1])
