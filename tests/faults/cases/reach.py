"""Names and ports: what goes wrong before a byte is said."""

import asyncio
import socket
import struct

import lab
import look
from lab import Skip, Visit, fault


class Names(asyncio.DatagramProtocol):
    """A name server: gives the addresses it knows, says that a name does not exist, or says nothing at all."""

    def __init__(self, known, mute=False):
        self.known, self.mute = known, mute

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, where):
        if self.mute:
            return
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += data[at] + 1
        kind = struct.unpack(">H", data[at + 1 : at + 3])[0]
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        addresses = self.known.get(".".join(labels).lower())
        answers = b""
        found = 0
        for address in addresses or ():
            if family and (":" in address) == (family == socket.AF_INET6):
                packed = socket.inet_pton(family, address)
                answers += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(packed)) + packed
                found += 1
        flags = 0x8180 if addresses else 0x8183
        self.transport.sendto(
            data[:2] + struct.pack(">HHHHH", flags, 1, found, 0, 0) + data[12 : at + 5] + answers, where
        )


async def resolver(room, address, known, mute=False):
    """A name server of our own and the resolv.conf that names it; the port must be 53, so root it takes."""
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: Names(known, mute), (address, 53))
    except PermissionError:
        raise Skip("port 53 is for root") from None
    room.stack.callback(transport.close)
    status, _, err = await lab.run("unshare", "--mount", "true", bound=5, cwd=room.folder)
    if status != 0:
        raise Skip(f"no mount namespace: {err.strip()}")
    return str(room.write("resolv.conf", f"nameserver {address}\noptions timeout:2 attempts:2\n"))


@fault("url-invalid")
async def url_without_host(room):
    """`wss:///chat`: a URL without a host"""

    async def shows(visit):
        return "no host"

    return Visit("wss:///chat", shows)


@fault("dns-no-such-name")
async def name_unknown(room):
    """a name server says that the name does not exist"""
    conf = await resolver(room, "127.0.0.71", {})
    return Visit("ws://chat.lab.test:8080/ws", "dns", resolver=conf)


@fault("dns-no-answer")
async def name_server_mute(room):
    """no name server answers"""
    conf = await resolver(room, "127.0.0.72", {}, mute=True)
    return Visit("ws://chat.lab.test:8080/ws", "dns", resolver=conf)


@fault("address-dead")
async def second_address_dead(room):
    """the name has two addresses, and at one of them nobody listens"""
    backend = await room.echo()
    conf = await resolver(room, "127.0.0.73", {"chat.lab.test": ["127.0.0.1", "127.0.0.9"]})

    async def shows(visit):
        dead = await words_at(f"ws://127.0.0.9:{backend}/")
        alive = await words_at(f"ws://127.0.0.1:{backend}/")
        return f"{dead}; {alive}"

    shows.wanted = "^refused; 101, open$"
    return Visit(f"ws://chat.lab.test:{backend}/", shows, resolver=conf)


@fault("address-dead")
async def ipv6_address_dead(room):
    """the name has an AAAA record, and the server listens on IPv4 alone"""
    backend = await room.echo()
    conf = await resolver(room, "127.0.0.74", {"chat.lab.test": ["127.0.0.1", "::1"]})

    async def shows(visit):
        return f"{await words_at(f'ws://[::1]:{backend}/')}; {await words_at(f'ws://127.0.0.1:{backend}/')}"

    shows.wanted = "^refused; 101, open$"
    return Visit(f"ws://chat.lab.test:{backend}/", shows, resolver=conf)


async def words_at(url):
    return await look.words(Visit(url, ""))


@fault("tcp-refused")
async def nobody_listens(room):
    """nobody listens at the port"""
    return Visit(f"ws://127.0.0.1:{room.dead_port()}/", "^refused$")


@fault("tcp-timeout")
async def port_filtered(room):
    """connections are swallowed without an answer, as a firewall does that drops (a full queue of a listening socket)"""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    room.stack.callback(server.close)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(server.getsockname())
        room.stack.callback(filler.close)
    return Visit(f"ws://127.0.0.1:{server.getsockname()[1]}/", "^tcp timeout$")


@fault("not-http")
async def ssh_at_the_port(room):
    """another service listens at the port and greets in its own language (SSH)"""

    async def ssh(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        await reader.read(4000)

    port = await room.serve(ssh)
    return Visit(f"ws://127.0.0.1:{port}/", "not http: .*SSH")


@fault("not-http")
async def redis_at_the_port(room):
    """another service listens at the port and complains in its own language (Redis)"""

    async def redis(reader, writer):
        await reader.readuntil(b"\r\n")
        writer.write(b"-ERR wrong number of arguments for 'get' command\r\n")
        await reader.read(4000)

    port = await room.serve(redis)
    return Visit(f"ws://127.0.0.1:{port}/", "not http|ended|no answer")


@fault("no-answer")
async def nginx_444(room):
    """nginx closes without an answer (`return 444` in the server for unknown names)"""
    port = await room.server("return 444;")
    return Visit(f"ws://127.0.0.1:{port}/ws", "^ended without an answer")


@fault("no-answer")
async def backend_resets(room):
    """the server breaks the connection as soon as it has read the handshake"""

    async def handler(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    return Visit(f"ws://127.0.0.1:{await room.serve(handler)}/", "^ended without an answer")


@fault("handshake-hangs")
async def never_answers(room):
    """the server reads the handshake and never answers"""

    async def handler(reader, writer):
        await reader.read(-1)

    return Visit(f"ws://127.0.0.1:{await room.serve(handler)}/", "^no answer in time$")


@fault("handshake-hangs")
async def haproxy_to_mute_backend(room):
    """HAProxy in front of a server that never answers the handshake"""

    async def handler(reader, writer):
        await reader.read(-1)

    backend = await room.serve(handler)
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n")
    return Visit(f"ws://127.0.0.1:{port}/", "^no answer in time$")
