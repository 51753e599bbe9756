"""What a finding in somebody's configuration claims, and how it is shown: by the rule's id."""

import dataclasses
import re

from configuration import edited, parse, walk, with_includes
from moved import names, path_of
from proofs.ways import poll
from stand import Skip, Stand, must, prepared

HERE = "X-Longwire-Here"
# Somebody whom a password file of a test knows.
MEMBER = "Authorization: Basic dXNlcjpwYXNz"
LIBRARIES = ("ws", "websockets")
# Rules about files that nginx does not take, and what it says then.
REFUSED = {
    "map-missing": "unknown",
    "map-misplaced": "is not allowed here",
    "if-directive": ("is not allowed here", "cannot have URI part"),
    "ws-scheme": "invalid URL prefix",
    "proxy-pass-uri": "cannot have URI part",
}


@dataclasses.dataclass
class Claim:
    """One finding of severity error, at one of its places. `run` is the configuration that nginx runs."""

    rule: str
    path: object
    lines: list
    labels: str
    run: str
    house: object
    folder: object
    nginx: object

    def location(self):
        """The way to the location of this place: the server's number, and the locations' arguments from outside in."""
        text = self.path.read_text(errors="replace")
        starts = [0]
        for line in text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        ways = []
        for line in self.lines:
            for number, server in enumerate(each for each in walk(parse(text)) if each.name == "server" and each.block):
                ways += [(number, way) for way in _ways(server, starts[line - 1], starts[line])]
            if not any(way for _, way in ways):
                # A line elsewhere, a group's: the finding names the location that it is about.
                ways += self._named(parse(text))
        if not ways:
            raise Skip("stands in no location")
        # The first line that is in a location; else in a server.
        return max(ways, key=lambda way: bool(way[1]))

    def _named(self, tree):
        for number, server in enumerate(each for each in walk(tree) if each.name == "server" and each.block):
            for each in server.inside("location"):
                if re.search(rf"location {re.escape(' '.join(each.args))}(?!\S)", self.labels):
                    yield number, (each.args,)

    def marked(self, text):
        """The text with a mark in the location, the server and the location."""
        text = with_includes(text, self.folder)
        number, way = self.location()
        found = [each for each in walk(parse(text)) if each.name == "server" and each.block is not None]
        server = found[number] if number < len(found) else None
        inside = server
        for args in way:
            inside = next((each for each in inside.inside("location") if each.args == args), None) if inside else None
        if inside is None:
            raise Skip("the location is not in the text with its included files")
        if inside is server:
            return text, server, None
        after = text.index("{", inside.words[-1].end) + 1
        return edited(text, [(after, after, f" add_header {HERE} yes always; ")]), server, inside

    def stand(self, text, **more):
        if self.rule != "resolver-missing":
            text = resolvable(text)
        text = apart(text)
        more["kinds"] = {port: "app" for port in permitting(text)} | (more.get("kinds") or {})
        return Stand(text, self.nginx, self.house, master=False, folder=self.folder, **more)

    async def refusal(self):
        import programs

        file = self.folder / "refused.conf"
        file.write_text(prepared(self.run, self.folder, self.house.certificate))
        ok, said = programs.check("nginx", file, self.folder, self.nginx.path)
        return None if ok or "syntax is ok" in said else said.split("[emerg] ")[-1].splitlines()[0]


def resolvable(text):
    """The text with an address in the place of hosts that only a name server would know."""
    tree = parse(text)
    groups = {each.args[0] for each in walk(tree) if each.name == "upstream" and each.args}
    edits = []
    for each in walk(tree):
        if each.name == "proxy_pass" and each.args and "$" in each.args[0]:
            found = re.match(r"(https?://)([A-Za-z][\w.-]*)(?=[/$])", each.args[0])
            if found and found[2] not in (*groups, "localhost"):
                there = text.index(found[2], each.words[0].start + len(found[1]))
                edits.append((there, there + len(found[2]), "127.0.0.1:9999"))
    return edited(text, edits)


def permitting(text):
    """The ports of servers that auth_request asks: they say yes to everything."""
    tree = parse(text)
    asked = {each.args[0] for each in walk(tree) if each.name == "auth_request" and each.args}
    groups = {each.args[0]: each for each in walk(tree) if each.name == "upstream" and each.args}
    for location in (each for each in walk(tree) if each.name == "location" and each.args[-1] in asked):
        for each in location.inside("proxy_pass"):
            host = re.sub(r"^https?://([^/$]*).*$", r"\1", each.args[0])
            servers = [server.args[0] for server in groups[host].inside("server")] if host in groups else [host]
            yield from (server.rpartition(":")[2] if ":" in server else "80" for server in servers)


def apart(text):
    """The text with a port of its own for each server of a group, where several were given the same one to run here."""
    edits = []
    for group in (each for each in walk(parse(text)) if each.name == "upstream"):
        seen = set()
        for each in group.inside("server"):
            address = each.args[0]
            while address in seen:
                host, _, port = address.partition(":")
                address = f"{host}:{int(port or 80) + 1000}"
            seen.add(address)
            edits.append((each.words[0].start, each.words[0].end, address))
    return edited(text, edits)


def _ways(block, start, end, way=()):
    """The ways to the innermost blocks that hold the line."""
    if not (block.start < end and start < block.end):
        return
    inner = [
        found
        for each in block.block or ()
        if each.name == "location" and each.block is not None
        for found in _ways(each, start, end, (*way, each.args))
    ]
    # A line that only begins a block belongs to it.
    yield from inner or [way]


def paths_to(server, location):
    """Paths that should lead to a location, the plainest first."""
    if location is None:
        return ["/"]
    if location.args[0].startswith("@"):
        outer = [
            each
            for each in walk(server.block)
            if each.name == "location"
            and any(location.args[0] in inner.args for inner in each.block or () if inner.name in ("try_files", "error_page"))
        ]
        return [path for each in outer for path in paths_to(server, each)]
    plain = location.args[-1] if location.args[0][0] in "/=^" and location.args[-1].startswith("/") else None
    made = path_of(location)
    return [path for path in dict.fromkeys([plain, made]) if path]


async def ask(claim, text, server_kind, judge=None, **more):
    """A handshake to the location: (what came, whether the location had it, the requests that servers got)."""
    marked, server, location = claim.marked(text)
    host = next(iter(names(server)), "example.com")
    async with claim.stand(marked, default=server_kind, **more) as stand:
        port, tls = stand.copy.where(server)
        best = None
        for path in paths_to(server, location):
            tunnel = await stand.handshake(path, "Origin: https://" + host, port=port, host=host, tls=tls)
            got = tunnel, bool(tunnel.answer.values(HERE)), stand.seen()
            if best is None or (got[1] and not best[1]) or (got[2] and not best[2]):
                best = got
        if best is None:
            raise Skip("no path to this location is known")
        if judge:
            judge(stand)
        return best


async def breaks(claim, truth, libraries=LIBRARIES, reaches=True, **more):
    """Every handshake to the location fails, and servers got what `truth` says."""
    said = []
    for library in libraries:
        tunnel, here, seen = await ask(claim, claim.run, library, **more)
        must(tunnel.status != 101, f"{library} answers 101")
        if not seen and (reaches or not here):
            raise Skip(f"the handshake does not get as far as the {'server' if here else 'location'}: {tunnel}")
        for request in seen:
            must(truth(request), f"{library} got {request}")
        said.append(f"{tunnel} from {library}" + ("" if seen else ", which got nothing"))
    return ", ".join(said)


def no_upgrade(request):
    return (request.header("upgrade") or "").lower() != "websocket"


def no_connection(request):
    return "upgrade" not in (request.header("connection") or "").lower()


async def old_http(claim):
    if claim.nginx.version >= (1, 29, 7):
        raise Skip(f"{claim.nginx} speaks HTTP/1.1 by default, and an older one does not take the file")
    return await breaks(claim, lambda request: request.version == "HTTP/1.0", ("websockets",))


async def socketio(claim):
    marked, server, location = claim.marked(claim.run)
    host = next(iter(names(server)), "example.com")
    kinds = {}
    async with claim.stand(marked, default="sio") as stand:
        port, tls = stand.copy.where(server)
        # Every second backend is the other server of the application.
        group = [name for name in stand.copy.backends]
    kinds = {name: ("sio", "sio2")[number % 2] for number, name in enumerate(group)}
    async with claim.stand(marked, kinds=kinds, default="sio") as stand:
        port, tls = stand.copy.where(server)
        statuses, body = await poll(stand, port=port, host=host, tls=tls)
    must(400 in statuses and b"Session ID unknown" in body, f"{statuses} {body}")
    return f"with the sid: {' '.join(map(str, statuses))}"


async def shadowed(claim):
    tunnel, here, seen = await ask(claim, claim.run, "ws")
    must(not here, "the handshake comes to the location")
    must(tunnel.status != 101, "101 from the other location")
    return f"another location has it: {tunnel}"


async def args_lost(claim):
    _, here, seen = await ask(claim, claim.run, "ws")
    if not seen:
        raise Skip("no server got anything")
    must(all("?" not in request.uri for request in seen), f"the backend got {seen[-1]}")
    return f"the backend got {seen[-1].uri}"


async def resolver(claim):
    logs = []
    tunnel, here, _ = await ask(claim, claim.run, "ws", lambda stand: logs.append(stand.program.log))
    must(tunnel.status == 502, f"{tunnel}")
    return f"{tunnel}"


async def tls_mismatch(claim):
    """A port that is known for no TLS has none, one that is known for TLS has it."""
    return await breaks(claim, lambda request: False, reaches=False, plain=("80", "8080", "3000"), secure=("443", "8443"))


async def fastcgi(claim):
    tunnel, _, _ = await ask(claim, claim.run, "ws")
    must(tunnel.status != 101, f"{tunnel}")
    return f"{tunnel}"


async def refused(claim):
    said = await claim.refusal()
    words = REFUSED[claim.rule]
    must(said is not None, "nginx takes the file")
    must(any(word in said for word in ((words,) if isinstance(words, str) else words)), f"nginx says {said}")
    return f"nginx does not start: {said}"


async def read_timeout(claim):
    """A whole minute, as in nginx."""
    marked, server, location = claim.marked(claim.run)
    host = next(iter(names(server)), "example.com")
    async with claim.stand(marked, default="ws") as stand:
        port, tls = stand.copy.where(server)
        for path in paths_to(server, location):
            tunnel = await stand.handshake(path, port=port, host=host, tls=tls)
            if tunnel.status == 101:
                ended = await tunnel.end(64)
                must(ended is not None, "still open after 64 s")
                must(ended[0].endswith("without Close"), f"{ended[0]} after {ended[1]:.1f} s")
                return f"{ended[0]} after {ended[1]:.1f} s"
    raise Skip(f"no handshake succeeds: {tunnel}")


async def ordinary(claim, truth):
    """What servers get of an ordinary request is as `truth` says."""
    marked, server, location = claim.marked(claim.run)
    host = next(iter(names(server)), "example.com")
    async with claim.stand(marked, default="app") as stand:
        port, tls = stand.copy.where(server)
        for path in paths_to(server, location):
            await stand.get(path, port=port, host=host, tls=tls)
            if seen := stand.seen():
                must(any(truth(each) for each in seen), f"the backend got {seen[-1]}")
                return f"the backend got {seen[-1]}"
    raise Skip("no server gets anything")


async def slash(claim):
    marked, server, location = claim.marked(claim.run)
    host = next(iter(names(server)), "example.com")
    path = location.args[-1].rstrip("/")
    async with claim.stand(marked) as stand:
        port, tls = stand.copy.where(server)
        tunnel = await stand.handshake(path, port=port, host=host, tls=tls)
    must(tunnel.status in (301, 302), f"{tunnel} for {path}")
    return f"{tunnel} for {path} to {tunnel.answer.values('location')}"


async def spread(claim):
    marked, server, location = claim.marked(claim.run)
    host = next(iter(names(server)), "example.com")
    async with claim.stand(marked, default="websockets") as stand:
        port, tls = stand.copy.where(server)
        path = paths_to(server, location)[0]
        for _ in range(12):
            await stand.handshake(path, port=port, host=host, tls=tls)
        counts = {tap.name: len(tap.take()) for tap in stand.taps}
    if len(stand.taps) < 2:
        raise Skip(f"the servers have one address here: {counts}")
    must(sum(bool(count) for count in counts.values()) > 1, f"{counts}")
    return f"twelve handshakes of one client: {counts}"


async def handshakes(claim, server_kind, truth, headers=(), before=False, how=lambda stand, host, port: host):
    """A handshake with some headers, after an ordinary request if `before`: what came is as `truth` says."""
    marked, server, location = claim.marked(claim.run)
    name = next(iter(names(server)), "example.com")
    async with claim.stand(marked, default=server_kind) as stand:
        port, tls = stand.copy.where(server)
        host = how(stand, name, port)
        for path in paths_to(server, location):
            if before:
                await stand.get(path, port=port, host=host, tls=tls)
                stand.seen()
            origin = ("https" if tls else "http") + "://" + host
            more = [line.format(origin=origin) for line in headers]
            tunnel = await stand.handshake(path, *more, port=port, host=host, tls=tls)
            seen = stand.seen()
            if seen or tunnel.answer.values(HERE):
                must(truth(tunnel, seen), f"{tunnel}; the backend got {[str(each) for each in seen]}")
                return f"{tunnel}; the backend got {[str(each) for each in seen]}"
    raise Skip(f"the handshake does not get as far as the location: {tunnel}")


def host_refused(tunnel, seen):
    # Without `Connection: upgrade` no server gets as far as looking at Origin.
    return tunnel.status == 403 or any(no_connection(request) for request in seen)


def with_port(stand, host, port):
    return f"{host}:{port}"


CLAIMS = {
    "host-missing": lambda claim: handshakes(claim, "tornado", host_refused, ("Origin: {origin}",)),
    "host-port-lost": lambda claim: handshakes(claim, "tornado", host_refused, ("Origin: {origin}",), how=with_port),
    "origin-unchecked": lambda claim: handshakes(
        claim, "ws", lambda tunnel, seen: tunnel.status == 101, ("Origin: https://elsewhere.example", MEMBER)
    ),
    "cache-on-path": lambda claim: handshakes(
        claim, "app", lambda tunnel, seen: tunnel.status == 200 and not seen, before=True
    ),
    "error-page-hides": lambda claim: handshakes(claim, "refuses", lambda tunnel, seen: tunnel.status != 401),
    "host-twice": lambda claim: handshakes(claim, "tornado", lambda tunnel, seen: tunnel.status == 400),
    "read-timeout-short": read_timeout,
    "connection-upgrade-always": lambda claim: ordinary(
        claim, lambda request: not no_connection(request) and not request.header("upgrade")
    ),
    "upgrade-literal": lambda claim: ordinary(claim, lambda request: not no_upgrade(request)),
    "slash-redirect": slash,
    "no-stickiness": spread,
    "upgrade-missing": lambda claim: breaks(claim, no_upgrade),
    "headers-lost": lambda claim: breaks(claim, lambda request: no_upgrade(request) or no_connection(request)),
    "connection-missing": lambda claim: breaks(claim, no_connection),
    "upgrade-twice": lambda claim: breaks(claim, lambda request: len(request.all("upgrade")) > 1),
    "handshake-header-dropped": lambda claim: breaks(claim, lambda request: True),
    "http-version-1.0": old_http,
    "http-version-2": lambda claim: breaks(claim, no_upgrade),
    "http2-only": lambda claim: breaks(claim, lambda request: True, reaches=False),
    "socketio-no-stickiness": socketio,
    "location-shadowed": shadowed,
    "args-lost": args_lost,
    "resolver-missing": resolver,
    "tls-to-plain-port": tls_mismatch,
    "plain-to-tls-port": tls_mismatch,
    "fastcgi-path": fastcgi,
    **dict.fromkeys(REFUSED, refused),
}
