"""What a theme is made of: cases with a piece of configuration each, and requests.

A theme is a file in themes/ with `CASES`, and if need be `HTTP` (text for the http block). One line

    WANTED = "what is missing"

says that Longwire does not have it yet: what differs is then skipped, not failed, until that line is deleted. A single request may be marked so: `get("/x").but(wanted="...")`.

These words stand for addresses and files in configurations and requests: PORT (where the case listens), BACKEND, BACKEND2,
BACKEND3 (host:port of the echoing backends), SECURE (host:port of one with TLS), DEAD (nobody listens there), FOLDER (a folder
that is the case's own), CERT and KEY.
"""

import dataclasses
import json
import random

from client import KEY

WORDS = ("PORT2", "PORT", "BACKEND2", "BACKEND3", "BACKEND", "SECURE", "DEAD", "FOLDER", "CERT", "KEY")


@dataclasses.dataclass
class Request:
    """One connection: bytes to send, and what is known about the answers."""

    text: str
    methods: list
    later: bytes = b""
    tls: bool = False
    # By curl: over TLS where `tls` is set, else at once.
    http2: bool = False
    sni: str = "example.test"
    address: str = "127.0.0.1"
    port: str = "PORT"
    # Known to differ: the name of the row in docs/differences.md, and what each program gives.
    difference: str = ""
    nginx: dict = None
    longwire: dict = None
    # Aspects that are not compared, with the reason beside the case.
    unseen: tuple = ()
    # Not as in nginx yet, and what is missing: a difference is skipped.
    wanted: str = ""
    # Of a tunnel: the first frame comes with the handshake; and whether the client only listens then, "awake" or "asleep".
    early: bool = False
    listens: str = ""
    bytes: bytes = b""

    def differs(self, difference, nginx, longwire):
        """Both programs must give exactly this; the row `difference` of docs/differences.md says why."""
        return dataclasses.replace(self, difference=difference, nginx=nginx, longwire=longwire)

    def but(self, **changes):
        return dataclasses.replace(self, **changes)

    def over_tls(self, sni="example.test"):
        return dataclasses.replace(self, tls=True, sni=sni)

    def over_http2(self, **changes):
        return dataclasses.replace(self, http2=True, **changes)

    @property
    def has_body(self):
        return bool(self.text.partition("\r\n\r\n")[2])

    @property
    def asks_for_websocket(self):
        return "upgrade: websocket" in self.text.lower()

    @property
    def title(self):
        return self.text.replace("\r\n", " | ").strip(" |")[:300]


@dataclasses.dataclass
class Case:
    name: str
    text: str
    requests: list
    http: str = ""
    files: dict = dataclasses.field(default_factory=dict)


def case(name, text, *requests, http="", files=None):
    """A case: `text` is the inside of a server, or whole servers. A request may be just a target."""
    plain = [get(each) if isinstance(each, str) else each for each in requests]
    if not text.lstrip().startswith("server {"):
        text = "server { listen 127.0.0.1:PORT; server_name example.test;\n" + text + "\n}"
    return Case(name, text, plain, http, files or {})


def get(target, *headers, method="GET", host="example.test", version="1.1", body=None):
    """A request as its parts; `headers` are lines."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += headers
    if body is not None and not any(line.lower().startswith(("content-length", "transfer-enc")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return Request("\r\n".join(lines) + "\r\n\r\n" + (body or ""), [method])


def post(target, body, *headers, **more):
    return get(target, *headers, method="POST", body=body, **more)


def head(target, *headers, **more):
    return get(target, *headers, method="HEAD", **more)


def ws(target, *headers, **more):
    """A WebSocket handshake."""
    ritual = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
    return get(target, *ritual, *headers, **more)


def raw(text, *methods):
    """Bytes as they are (Latin-1); `methods`: one for each answer that is to come."""
    return Request(text, list(methods) or ["GET"])


def answering(target, *headers, method="GET", lines=(), **wish):
    """A request to which the backend answers as `wish` says (see backend.py)."""
    if headers:
        wish["headers"] = [line.split(": ", 1) for line in headers]
    return get(target, "X-Answer: " + json.dumps(wish), *lines, method=method)


def each(make, *targets):
    """One request for each of the targets."""
    return [make(target) for target in targets]


class Random(random.Random):
    """Draws for generated cases."""

    def mostly(self, usual, others, share=0.2):
        return self.choice(others) if self.random() < share else usual
