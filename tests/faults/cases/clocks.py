"""Sockets that end by a clock: the doctor holds them for some seconds."""

import asyncio
import signal

import broken
import look
from lab import Visit, fault

PASS = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


def holding(wanted, seconds=3.2, busy=None):
    """Holds a silent socket and a busy one, and tells how each ended."""

    async def shows(visit):
        silent, pinging = await asyncio.gather(look.held(visit, seconds), look.held(visit, seconds, 0.4))
        return f"silent: {silent}; busy: {pinging}"

    shows.wanted = wanted
    return shows


IDLE = r"^silent: (FIN|RST|closed \d+) after [123]\.\d s; busy: open$"
LIFETIME = r"^silent: (FIN|RST|closed \d+) after [234]\.\d s; busy: (FIN|RST|closed \d+) after [234]\.\d s$"


@fault("idle-timer")
async def nginx_read_timeout(room):
    """nginx with `proxy_read_timeout 2s` in front of a server that sends no pings"""
    port = await room.server(
        f"location / {{ proxy_pass http://127.0.0.1:{await room.echo()}; {PASS} proxy_read_timeout 2s; }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/", holding(IDLE), idle=5, says=("proxy_read_timeout",))


@fault("idle-timer")
async def haproxy_timeout_tunnel(room):
    """HAProxy with `timeout tunnel 2s`"""
    backend = await room.echo()
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT\n timeout tunnel 2s\n server s 127.0.0.1:{backend}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/", holding(IDLE), idle=5)


@fault("idle-timer")
async def haproxy_timeout_client(room):
    """HAProxy with `timeout client 2s` and no `timeout tunnel`"""
    backend = await room.echo()
    port = await room.haproxy(
        "defaults\n mode http\n timeout connect 2s\n timeout client 2s\n timeout server 60s\n"
        f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{backend}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/", holding(IDLE), idle=5)


@fault("idle-timer")
async def longwire_without_pings(room):
    """Longwire with `websocket_ping off` and `proxy_read_timeout 2s`"""
    backend = await room.echo()
    port = await room.longwire(
        "server { listen 127.0.0.1:PORT; websocket_ping off; proxy_read_timeout 2s;"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/", holding(IDLE), idle=5)


@fault("idle-timer")
async def apache_timeout(room):
    """Apache with `Timeout 2`"""
    backend = await room.echo()
    port = await room.apache(f"Timeout 2\nProxyPass / http://127.0.0.1:{backend}/ upgrade=websocket")
    return Visit(f"ws://127.0.0.1:{port}/", holding(IDLE), idle=5)


@fault("idle-timer")
async def application_drops_the_silent(room):
    """the application closes with 1000 who says nothing for 2 s"""

    async def handler(reader, writer):
        _, headers = await broken.head(reader)
        if not broken.is_websocket(headers):
            return writer.write(broken.response(426, "Upgrade Required"))
        writer.write(broken.switching(headers))
        state = {}
        try:
            while True:
                first, payload = await asyncio.wait_for(broken.read_frame(reader), 2)
                writer.write(broken.echo(first, payload, state))
                if first & 15 == 8:
                    return
        except asyncio.TimeoutError:
            writer.write(broken.frame(8, (1000).to_bytes(2, "big") + b"idle"))
            await writer.drain()

    return Visit(f"ws://127.0.0.1:{await room.serve(handler)}/", holding(IDLE), idle=5)


@fault("idle-timer")
async def application_wants_messages(room):
    """the application closes who sends no message for 2 s, and pings do not count"""

    async def handler(websocket):
        while True:
            try:
                await websocket.send(await asyncio.wait_for(websocket.recv(), 2))
            except asyncio.TimeoutError:
                return await websocket.close(4408, "no heartbeat")

    async def shows(visit):
        websocket = await look.handshake(visit)
        loop = asyncio.get_running_loop()
        began, answers = loop.time(), []
        while loop.time() < began + 3:
            websocket.send(look.TEXT, b"tick")
            answers.append(await websocket.next())
            # sleep is the promise: a client that says something does it by the clock.
            await asyncio.sleep(0.5)
        websocket.close()
        return f"pinging: {await look.held(visit, 3.2, 0.4)}; sending: {set(answers)}"

    shows.wanted = r"^pinging: closed 4408 after [123]\.\d s; sending: \{'text 4'\}$"
    return Visit(f"ws://127.0.0.1:{await room.websockets(handler, compression=None)}/", shows, idle=5)


@fault("lifetime-limit")
async def application_limits_the_lifetime(room):
    """the application closes every socket after 3 s, busy or not"""
    port = await room.echo(close=[1000, "time is over", 3000])
    return Visit(f"ws://127.0.0.1:{port}/", holding(LIFETIME, 5), idle=7)


@fault("lifetime-limit")
async def load_balancer_limits_the_lifetime(room):
    """a load balancer cuts every connection after 3 s, busy or not, without a Close frame"""
    port = await room.serve(broken.Relay(await room.echo(), cut=3))
    return Visit(f"ws://127.0.0.1:{port}/", holding(LIFETIME, 5), idle=7)


class Crowd:
    """An application that knows how many sockets are open, so that something can happen to all of them."""

    def __init__(self):
        self.open = set()

    async def handler(self, websocket):
        self.open.add(websocket)
        try:
            async for message in websocket:
                await websocket.send(message)
        finally:
            self.open.discard(websocket)

    async def settled(self):
        """Waits until there are several, and nobody has come or gone for a while."""
        before, since = set(), 0
        while since < 12:
            # sleep is the promise: that the number stays is seen by looking again.
            await asyncio.sleep(0.1)
            since = since + 1 if len(before) > 2 and before == self.open else 0
            before = set(self.open)


def together(room, crowd, action):
    """`action` ends all sockets: ours while we look, and later those that the doctor holds."""

    async def later():
        await crowd.settled()
        await action()

    async def shows(visit):
        early, late = await look.handshake(visit), await look.handshake(visit)
        await action()
        ends = await asyncio.gather(look.ended(early, 5), look.ended(late, 5, 0.4))
        task = asyncio.create_task(later())
        room.stack.callback(task.cancel)
        return "; ".join(ends)

    shows.wanted = r"^(FIN|RST|closed \d+) after \d\.\d s; (FIN|RST|closed \d+) after \d\.\d s$"
    return shows


@fault("closed-together")
async def nginx_reloaded(room):
    """nginx is reloaded while sockets are open, with `worker_shutdown_timeout 1s`"""
    crowd = Crowd()
    backend = await room.websockets(crowd.handler)
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}", master=True)
    program = room.programs[-1]

    async def reload():
        program.signal(signal.SIGHUP)

    return Visit(f"ws://127.0.0.1:{port}/", together(room, crowd, reload), idle=7)


@fault("closed-together")
async def application_restarted(room):
    """the application is restarted while sockets are open: 1001 to all of them"""
    crowd = Crowd()

    async def restart():
        await asyncio.gather(*(each.close(1001, "restart") for each in list(crowd.open)), return_exceptions=True)

    port = await room.websockets(crowd.handler)
    return Visit(f"ws://127.0.0.1:{port}/", together(room, crowd, restart), idle=7)


@fault("silent-drop")
async def forgotten_without_a_word(room):
    """a middle box forgets the connection after 2 s: nothing passes any more, and no end is told"""
    port = await room.serve(broken.Relay(await room.echo(), black=2))

    async def shows(visit):
        websocket = await look.handshake(visit)
        # sleep is the promise: the box forgets by the clock.
        await asyncio.sleep(2.5)
        websocket.send(look.TEXT, b"anybody?")
        came = await websocket.next(2)
        websocket.close()
        return came

    shows.wanted = "^nothing$"
    return Visit(f"ws://127.0.0.1:{port}/", shows, idle=5)


@fault("hop-breaks", "upgrade-stripped")
async def proxy_breaks_what_works_directly(room):
    """compared by `--through` and `--direct`: the server itself is sound, nginx in front of it passes nothing on"""
    backend = await room.echo()
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; }}")
    url = f"ws://127.0.0.1:{port}/"
    return Visit(url, "^426", more=("--through", url, "--direct", f"ws://127.0.0.1:{backend}/"))


@fault("hop-breaks", "idle-timer")
async def proxy_has_the_timer(room):
    """compared by `--through` and `--direct` with sockets held: nginx has `proxy_read_timeout 2s`, the server no timer"""
    backend = await room.echo()
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} proxy_read_timeout 2s; }}")
    url = f"ws://127.0.0.1:{port}/"
    return Visit(url, holding(IDLE), idle=5, more=("--through", url, "--direct", f"ws://127.0.0.1:{backend}/"))


@fault("wrong-path", "hop-breaks")
async def both_hops_lack_the_path(room):
    """compared by `--through` and `--direct`: the path is wrong at the server too, nginx in front is sound"""
    backend = await room.echo(path="/ws", page="hello")
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}")
    url = f"ws://127.0.0.1:{port}/chat"
    return Visit(url, "^404", more=("--through", url, "--direct", f"ws://127.0.0.1:{backend}/chat"))
