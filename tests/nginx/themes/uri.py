"""What becomes of the target of a request line: decoding, dots, slashes, escaping again."""

from theme import case, each, get, raw

TARGETS = [
    "/",
    "/a",
    "/a/",
    "/a//b",
    "//a",
    "///",
    "/a/./b",
    "/a/../b",
    "/a/b/../../c",
    "/a/.",
    "/a/..",
    "/./",
    "/..",
    "/../a",
    "/a/../..",
    "/a/../../b",
    "/a%2e%2e/b",
    "/a/%2e%2e/b",
    "/a/.%2e/b",
    "/a/%2E",
    "/a%2Fb",
    "/a%2f%2e%2e%2fb",
    "/a%20b",
    "/a%25b",
    "/a%2520b",
    "/a%3Fb?c",
    "/a%23b",
    "/a?b?c",
    "/a?",
    "/?",
    "/??",
    "/a%0ab",
    "/a%0d%0ab",
    "/a%00b",
    "/a%",
    "/a%2",
    "/a%zz",
    "/a%2x",
    "/...",
    "/.../b",
    "/.a",
    "/..a",
    "/a/..b",
    "/a/...",
    "/a+b%2B",
    "/a;b=c",
    "/%C3%A9",
    "/%c3%a9",
    "/%ff",
    "/%80%FF",
    "/a%22%3C%3E%5C%5E%60%7B%7C%7D%7Fb",
    '/a"b',
    "/a\\b",
    "/a{b}",
    "/a|b",
    "/a'b",
    "/a(b)*!$&,:@=b",
    "/a~b_c-d",
    "/%41%5a",
    "/a?%41=%zz",
    "/a?b=%",
    "/a?x={y}",
    "/a?x='y'",
    "/%2F",
    "/%2F%2F",
    "/a%2F%2Fb",
    "/.%2e/a",
    "/a/%2e./",
    "/%2",
    "/%",
    "*",
    "http://example.test/a?b",
    "http://EXAMPLE.test:80/a/../b?c",
    "http://other.test",
    "https://example.test/x",
    "http://example.test:99/a",
    "ftp://example.test/x",
    "http:///x",
    "http://exa mple.test/x",
    "http://user@example.test/",
    "http://[::1]/x",
    "HTTP://example.test/a",
    "x",
    "",
    "a/b",
    "/a\tb",
]
# What hyper's type for targets cannot hold, and nginx takes.
RARE = [
    "/a#b",
    "/a#b?c",
    "/a?b#c",
    "/a`b",
    '/a?x="y"',
    "http://other.test?q",
    "http://example.test/#f",
    "/<a>",
    "/a<b",
    "/a>b?c=<d>",
    "/a^b",
    "/a?x=^",
    "/\xc3\xa9",
    "/a\xff",
    "/a?\xc3\xa9",
    "/\x80/../b",
    '/a?x="<>^`{|}\\',
    "/a[b]",
    "/a?b=\xff<",
]

TELL = '"$uri|$request_uri|$args|$is_args|$document_uri|$query_string"'


def targets(*more):
    return [raw(f"GET {target} HTTP/1.1\r\nHost: example.test\r\n\r\n") for target in [*TARGETS, *RARE, *more]]


CASES = [
    case("variables", f"location / {{ default_type text/plain; return 200 {TELL}; }}", *targets()),
    case(
        "as sent",
        "location / { proxy_pass http://BACKEND; }",
        *targets(),
        *[
            get(sent).differs("backend-target-is-valid", {"uri": sent}, {"uri": gone})
            for sent, gone in (("/a#b?c", "/a"), ('/<a>?"', "/%3Ca%3E?%22"), ("/\xff?`<", "/%FF?`%3C"), ("/`", "/%60"))
        ],
    ),
    case("replaced", "location / { proxy_pass http://BACKEND/new/; }", *targets()),
    case("root replaced", "location /a { proxy_pass http://BACKEND/; } location / { return 404; }", *targets()),
    case(
        "kept slashes", f"merge_slashes off; location / {{ default_type text/plain; return 200 {TELL}; }}", *targets()
    ),
    case(
        "kept slashes before a backend",
        "merge_slashes off; location /a/ { proxy_pass http://BACKEND/; }",
        "/a//b",
        "/a///b/",
        "/a//../b",
        "/a/..//a/b",
        "/a/%2F/b",
        "/a//",
        "/a/",
        "/a/b%20//c",
    ),
    case(
        "in a redirect",
        "location / { return 301 $uri; } location /q { return 302 http://x.test$request_uri; }",
        *each(get, "/a%20b", "/%C3%A9", "/a%3Fb", "/q%20a?b=%20c", "/q?a#b", "//host/x", "/a%5Cb"),
        get("/a%0d%0aX:y").differs("values-stay-on-their-line", {"header X": "y"}, {"header X": None, "status": 301}),
    ),
    case(
        "in a header",
        'location / { add_header X-Uri "$uri"; add_header X-Args "$args"; proxy_set_header X-Uri "$uri"; proxy_set_header X-Args "$args"; '
        "proxy_set_header X-Request-Uri $request_uri; proxy_pass http://BACKEND; }",
        *each(get, "/a%20b?c=%20d", "/a/../b//c?x", "/%C3%A9", "/a%25b", "/a", "/a%09b"),
    ),
]

PIECES = [
    "/",
    "/",
    "/",
    "a",
    "b",
    "..",
    ".",
    "%2e",
    "%2F",
    "%20",
    "%25",
    "%3f",
    "%23",
    "?",
    "&",
    "=",
    "+",
    ";",
    "%C3%A9",
    "%ff",
    "%7B",
    "{",
    '"',
    "#",
    "<",
    "\xff",
    "\xc3\xa9",
    "%0a",
    "x.y",
    "~",
    "//",
    "/../",
    "/./",
    "%",
    "%4",
    ":",
    "@",
]


def generate(random):
    found = []
    for _ in range(120):
        found.append("/" + "".join(random.choice(PIECES) for _ in range(random.randrange(1, 9))))
    requests = [raw(f"GET {target} HTTP/1.1\r\nHost: example.test\r\n\r\n") for target in found]
    return [
        case("generated, as sent", "location / { proxy_pass http://BACKEND; }", *requests),
        case("generated, replaced", "location / { proxy_pass http://BACKEND/p; }", *requests),
        case("generated, variables", f"location / {{ default_type text/plain; return 200 {TELL}; }}", *requests[:60]),
        case(
            "generated, slashes kept", "merge_slashes off; location / { proxy_pass http://BACKEND/; }", *requests[60:]
        ),
    ]
