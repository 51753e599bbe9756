"""A configuration with its ports and its backends moved aside, and the paths that its locations are for."""

import re

import programs
from configuration import edited, parse, sample, walk, with_includes

# What a configuration may say about 127.0.0.1 that is no address of a backend.
NO_BACKEND = {
    "listen",
    "allow",
    "deny",
    "set_real_ip_from",
    "resolver",
    "server_name",
    "geo",
    "if",
    "return",
    "rewrite",
    "access_log",
    "error_log",
}
BACKEND = re.compile(
    r"(?P<scheme>https?://)?(?:(?P<host>127\.0\.0\.1|localhost)(?::(?P<port>\d+))?|unix:(?P<path>[^:;\s]+):?)(?![\w.])"
)


class Copy:
    """A copy of a configuration, with its ports and its backends moved aside."""

    def __init__(self, text, folder):
        text = with_includes(text, folder)
        self.ports, self.backends, self.secure, self.folder = {}, {}, set(), folder
        self.tree = parse(text)
        groups = {each.args[0]: each for each in walk(self.tree) if each.name == "upstream" and each.args}
        passes = [each.args[0] for each in walk(self.tree) if each.name == "proxy_pass" and each.args]
        secure_groups = {re.sub(r"^https://([^/:?]+).*$", r"\1", url) for url in passes if url.startswith("https://")}
        edits = []
        for each in walk(self.tree):
            if each.name == "listen" and each.args:
                edits.append((each.words[0].start, each.words[0].end, self._listen(each.args[0])))
            elif each.name in ("daemon", "master_process"):
                edits.append((each.start, each.end, ""))
            elif each.name not in NO_BACKEND:
                in_group = next((name for name, group in groups.items() if each in (group.block or ())), None)
                for word in each.words:
                    moved = BACKEND.sub(lambda found: self._backend(found, in_group in secure_groups), word.text)
                    if moved != word.text:
                        edits.append((word.start, word.end, f'"{moved}"'))
        self.text = edited(text, edits)

    def _listen(self, address):
        if address.startswith("unix:"):
            return f"unix:{self.folder}/{programs.free_port()}.sock"
        host, colon, port = address.rpartition(":") if re.search(r":\d+$", address) else ("", "", address)
        if not port.isdigit():
            host, colon, port = address, ":", "80"
        if host and host not in ("*", "[::]", "[::1]", "localhost") and not host.startswith("127."):
            host = "127.0.0.1"
        return f"{host}{colon}{self.ports.setdefault(int(port), None) or self._port(int(port))}"

    def _port(self, port):
        self.ports[port] = programs.free_port()
        return self.ports[port]

    def _backend(self, found, secure):
        scheme = found["scheme"] or ""
        secure = secure or scheme == "https://"
        name = found["path"] or found["port"] or ("443" if secure else "80")
        if name not in self.backends:
            self.backends[name] = programs.free_port()
        if secure:
            self.secure.add(name)
        return f"{scheme}127.0.0.1:{self.backends[name]}"

    def where(self, server):
        """The port of a server and whether it speaks TLS there, TLS before plain."""
        listens = [
            each.args
            for each in server.inside("listen")
            if each.args and not each.args[0].startswith("unix:") and "quic" not in each.args
        ]
        listens = sorted(listens or [["80"]], key=lambda args: "ssl" not in args)
        port = re.search(r"(\d+)$", listens[0][0].split("]")[-1])
        return self.ports.get(int(port[1]) if port else 80), "ssl" in listens[0] or any(
            each.args == ["on"] for each in server.inside("ssl")
        )


def names(server):
    for each in server.inside("server_name"):
        for name in each.args:
            if name.startswith("~"):
                if made := sample(name[1:]):
                    yield made
            elif name not in ("", "_") and "$" not in name:
                yield name.replace("*", "x").lstrip(".")


def proxies(location):
    """Whether a location proxies itself, also within `if`."""
    return any(
        each.name == "proxy_pass" or (each.name in ("if", "limit_except") and proxies(each))
        for each in location.block or ()
    )


def path_of(location):
    """A path that the location is for."""
    *kind, text = location.args
    if text.startswith("@"):
        return None
    if not kind and text.startswith("~"):
        kind, text = re.match(r"(~\*?)(.*)", text).groups()
        kind = [kind]
    elif not kind and text.startswith(("=", "^~")):
        kind, text = re.match(r"(=|\^~)(.*)", text).groups()
        kind = [kind]
    if kind and kind[0].startswith("~"):
        made = sample(text)
        path = made if made is None or made.startswith("/") else "/" + made
        return path and path.replace(" ", "%20")
    if kind == ["="]:
        return text + "?a=b"
    return text + ("some/path?a=b%20c" if text.endswith("/") else "/more?a=b%20c")
