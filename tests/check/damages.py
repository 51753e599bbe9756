"""Ways to break the WebSockets of a configuration that carries them: each gives the edits, or None where it does not apply."""

import re

from configuration import walk


def set_headers(block, name):
    return [each for each in block.inside("proxy_set_header") if each.args[0].lower() == name]


def start(block):
    """Just behind the brace that opens a block."""
    return lambda text: text.index("{", block.words[-1].end if block.words else block.start) + 1


def deleted(name):
    def damage(text, server, location):
        return [(each.start, each.end, "") for each in set_headers(location, name)] or None

    return damage


def added(line):
    def damage(text, server, location):
        at = start(location)(text)
        return [(at, at, f" {line} ")]

    return damage


def no_version(text, server, location):
    return [(each.start, each.end, "") for each in location.inside("proxy_http_version")] or None


def no_map(text, server, location):
    """The map of the variable that Connection is set to is taken away."""
    names = [each.args[1] for each in set_headers(location, "connection") if each.args[1].startswith("$")]
    maps = [each for each in walk(server.tree) if each.name == "map" and each.args[1] in names]
    return [(each.start, each.end, "") for each in maps] or None


def moved_up(text, server, location):
    """Upgrade and Connection stand in the server, other headers in the location."""
    both = set_headers(location, "upgrade") + set_headers(location, "connection")
    others = [each for each in location.inside("proxy_set_header") if each not in both]
    if len(both) < 2 or not others:
        return None
    at = start(server)(text)
    return [(each.start, each.end, "") for each in both] + [(at, at, " ".join([""] + [text[e.start : e.end] for e in both]))]


def wrong_connection(text, server, location):
    return [(each.words[1].start, each.words[1].end, "keep-alive") for each in set_headers(location, "connection")] or None


def wrong_upgrade(text, server, location):
    return [(each.words[1].start, each.words[1].end, "$http_connection") for each in set_headers(location, "upgrade")] or None


def twice(text, server, location):
    return [(each.end, each.end, " " + text[each.start : each.end]) for each in set_headers(location, "upgrade")] or None


def ws_scheme(text, server, location):
    passes = [each for each in location.inside("proxy_pass") if each.args[0].startswith("http://")]
    return [(each.words[0].start, each.words[0].end, "ws" + each.args[0][4:]) for each in passes] or None


def shadowed(text, server, location):
    """A regex in the same server takes the path of a prefix location."""
    if location not in server.block or len(location.args) != 1 or not re.fullmatch(r"/[\w.-]+/?[\w./-]*", location.args[0]):
        return None
    at = start(server)(text)
    return [(at, at, f" location ~ ^{re.escape(location.args[0])} {{ proxy_pass http://127.0.0.1:9998; }} ")]


def header_by_if(text, server, location):
    """Upgrade is set by an `if`."""
    found = set_headers(location, "upgrade")
    return [
        (each.start, each.end, "if ($http_upgrade) { " + text[each.start : each.end] + " }") for each in found
    ] or None


DAMAGES = {
    "Upgrade deleted": deleted("upgrade"),
    "Connection deleted": deleted("connection"),
    "proxy_http_version deleted": no_version,
    "proxy_http_version 1.0": lambda text, server, location: [
        (each.words[0].start, each.words[0].end, "1.0") for each in location.inside("proxy_http_version")
    ]
    or None,
    "map deleted": no_map,
    "headers in the server": moved_up,
    "Connection keep-alive": wrong_connection,
    "Upgrade $http_connection": wrong_upgrade,
    "Upgrade twice": twice,
    "ws:// in proxy_pass": ws_scheme,
    "regex over it": shadowed,
    "Upgrade in an if": header_by_if,
    "proxy_hide_header": added("proxy_hide_header Sec-WebSocket-Accept;"),
    "proxy_pass_request_headers off": added("proxy_pass_request_headers off;"),
    "proxy_method": added("proxy_method POST;"),
    "key dropped": added('proxy_set_header Sec-WebSocket-Key "";'),
    "return above": lambda text, server, location: [(start(location)(text),) * 2 + (" return 404; ",)],
    # These break nothing.
    "a header more": added("proxy_set_header X-More 1;"),
    "Connection twice": lambda text, server, location: [
        (each.end, each.end, " " + text[each.start : each.end]) for each in set_headers(location, "connection")
    ]
    or None,
    "a limit more": added("limit_rate 0;"),
}
