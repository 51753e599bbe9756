"""Every kind of byte where a client may put one: in a host, a target, a method, the name and the value of a header."""

from theme import case, get, raw

# All but line ends; of letters, digits and bytes that are no ASCII a few stand for the rest.
HIGH = [0x80, 0x85, 0x9F, 0xA0, 0xBF, 0xC0, 0xC3, 0xE9, 0xF4, 0xF5, 0xFE, 0xFF]
BYTES = [chr(b) for b in range(128) if b not in (10, 13) and (not chr(b).isalnum() or chr(b) in "09AZaz")] + [
    chr(b) for b in HIGH
]
# What nginx takes and Longwire does not.
NO_TOKEN = '"(),/;<=>?@[\\]{}' + "".join(map(chr, range(0x80, 0x100)))
NO_TEXT = "".join(map(chr, [*range(1, 9), *range(11, 13), *range(14, 32), 127]))
TELL = 'default_type text/plain; return 200 "$host|$uri|$args|$request_uri";'


def strict(request, byte, refused):
    return request.differs("strict-heads", {"status": 200}, {"status": 400}) if byte in refused else request


CASES = [
    case(
        "host",
        f"location / {{ {TELL} }}",
        *[get("/", host=f"a{byte}b.test") for byte in BYTES],
        *[get("/", host=f"h.test:{byte}1") for byte in BYTES],
        *[get("/", host=f"[{byte}1]") for byte in BYTES],
        *[get(f"http://a{byte}b.test/", host="x") for byte in BYTES],
    ),
    case(
        "target",
        f"location / {{ {TELL} }}",
        *[raw(f"GET /a{byte}b HTTP/1.1\r\nHost: x\r\n\r\n") for byte in BYTES],
        *[raw(f"GET /a?b{byte}c HTTP/1.1\r\nHost: x\r\n\r\n") for byte in BYTES],
    ),
    case("method", f"location / {{ {TELL} }}", *[raw(f"G{byte}T / HTTP/1.1\r\nHost: x\r\n\r\n") for byte in BYTES]),
    case(
        "to a backend",
        "location / { proxy_pass http://BACKEND; } location /e/ { proxy_pass http://BACKEND/; }",
        *[get(f"/%{ord(byte):02x}") for byte in BYTES],
        *[get(f"/e/%{ord(byte):02x}") for byte in BYTES],
        *[raw(f"GET /e/{byte} HTTP/1.1\r\nHost: x\r\n\r\n") for byte in BYTES if byte != " "],
        *[strict(get("/", f"X-A: a{byte}b"), byte, NO_TEXT) for byte in BYTES],
    ),
    case(
        "name of a header",
        "location / { proxy_pass http://BACKEND; }",
        *[strict(get("/", f"X{byte}A: 1"), byte, NO_TOKEN) for byte in BYTES],
    ),
]
