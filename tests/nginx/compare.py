"""What two programs gave for the same request, brought into a form in which only meaning differs.

Left out are what must differ (Date, the program's name and version) and what docs/differences.md names for every answer: the
order of different header names, `Connection: keep-alive`, how a hop asks its neighbour for keeping or upgrading a connection,
the version of an answer, bytes that no URI may hold, and that Longwire closes after a failed handshake and before a body that nobody reads.
"""

import email.utils
import json
import re

NAME = re.compile(rb"\b(nginx|longwire)(/[0-9.]+)?")
# What belongs to one connection between a proxy and a backend; `upgrade` below says what comes of it.
HOP = ("connection", "upgrade")


def told(request, answers, seen):
    """Everything that counts, as a flat dictionary."""
    facts = {"answers": len(answers)}
    for number, answer in enumerate(answers):
        lead = f"answer {number + 1}: " if len(answers) > 1 else ""
        facts |= {lead + name: value for name, value in of_answer(answer, seen).items()}
        unread = request.has_body and not any(len(each["body"]) for each in seen)
        if answer.status and (answer.status != 101 and request.asks_for_websocket or unread):
            facts.pop(lead + "end")
    facts["requests"] = len(seen)
    for number, request in enumerate(seen):
        lead = f"backend {number + 1}: " if len(seen) > 1 else "backend: "
        facts |= {lead + name: value for name, value in of_request(request).items()}
    return facts


def of_answer(answer, seen):
    facts = {"status": answer.status, "reason": answer.reason, "end": answer.end}
    if answer.version == "HTTP/2":
        facts["version"] = answer.version
    if answer.interim:
        facts["interim"] = answer.interim
    body = answer.body
    echoes = [json.dumps(each).encode() for each in seen] if answer.values("x-echo") else []
    # Of several backends that were asked, a body tells which of them answered.
    echo = body if body in echoes else echoes[-1] if echoes else None
    if echo is not None and body in (echo, b""):
        body = b"what the backend saw" if body else b""
    body = NAME.sub(lambda found: b"PROGRAM/1" if found[2] else b"PROGRAM", body)
    facts["body"] = body.decode("latin-1")
    for name, value in answer.headers:
        name = name.lower()
        if name == "date" or (name == "connection" and answer.status != 101):
            continue
        if name == "server":
            value = NAME.sub(lambda found: b"PROGRAM/1" if found[2] else b"PROGRAM", value.encode()).decode()
        if name == "content-length":
            # Pages carry the program's name, and what the backend saw may differ in what is not compared.
            length = len(echo) if echo is not None and not answer.body else len(answer.body)
            right = int(value) == length and (answer.body or echo is not None)
            value = "right" if right else "some" if answer.bodiless else value
        if name in ("connection", "upgrade"):
            value = value.lower()
        if name == "expires" and (dates := answer.values("date")):
            value = relative(value, dates[0])
        if name == "set-cookie" and (dates := answer.values("date")):
            value = re.sub(r"(?<=; expires=)[^;]+", lambda found: relative(found[0], dates[0]), value)
        facts.setdefault(f"header {name}", []).append(value)
    for number, message in enumerate(answer.messages):
        is_echo = number == 0 and message in map(json.dumps, seen)
        facts[f"message {number + 1}"] = "what the backend saw" if is_echo else message
    return facts


def relative(moment, date):
    """A moment that is counted from now, as seconds from the answer's Date."""
    try:
        ahead = email.utils.parsedate_to_datetime(moment) - email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return moment
    return f"{ahead.total_seconds():.0f} s from now" if abs(ahead.total_seconds()) < 1000 * 86400 else moment


def valid(uri):
    """A URI as a request line may have it: `backend-target-is-valid` of docs/differences.md."""
    uri = re.sub(r"[ \"<>`\x7f-\xff]", lambda found: f"%{ord(found[0]):02X}", uri.partition("#")[0])
    return "/" + uri if uri.startswith("?") else uri


def of_request(request):
    facts = {name: request[name] for name in ("backend", "method", "version", "body")}
    facts["uri"] = valid(request["uri"])
    for name, value in request["headers"]:
        name = name.lower()
        if name not in HOP:
            facts.setdefault(f"header {name}", []).append(value)
    headers = {name.lower(): value.lower() for name, value in request["headers"]}
    facts["asks for a WebSocket"] = headers.get("upgrade") == "websocket" and "upgrade" in headers.get("connection", "")
    return facts


def differences(nginx, longwire):
    """Lines that say what differs; none when nothing does."""
    names = list(nginx) + [name for name in longwire if name not in nginx]
    return [
        f"{name}: nginx {shown(nginx.get(name))}, longwire {shown(longwire.get(name))}"
        for name in names
        if nginx.get(name) != longwire.get(name)
    ]


def shown(value):
    text = "-" if value is None else repr(value)
    return text if len(text) <= 300 else text[:300] + "..."


def unmet(expected, answers, seen):
    """Which of the expectations of a known difference a program does not meet. Looks at what came, not at what counts."""
    answer = answers[-1] if answers else None
    lines = []
    for name, wanted in expected.items():
        word, _, rest = name.partition(" ")
        if word == "header":
            got = answer.values(rest)
        elif name in ("sent version", "sent body"):
            got = [request[rest] for request in seen]
        elif word == "sent":
            got = [value for request in seen for known, value in request["headers"] if known.lower() == rest.lower()]
        elif word == "names":
            got = [known for request in seen for known, _ in request["headers"]]
            if all(each in got for each in wanted):
                continue
        elif name == "last message":
            got = answer.messages[-1] if answer.messages else None
        elif name == "requests":
            got = len(seen)
        elif name in ("uri", "method", "backend"):
            got = seen[-1][name] if seen else None
        elif name == "statuses":
            got = [each.status for each in answers]
        else:
            got = getattr(answer, name)
            if name == "body":
                got = got.decode("latin-1")
                if wanted in got:
                    continue
        if isinstance(got, list) and not isinstance(wanted, list):
            wanted = [] if wanted is None else [wanted]
        if got != wanted:
            lines.append(f"{name} is {shown(got)}, expected {shown(wanted)}")
    return lines
