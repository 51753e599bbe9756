"""What becomes of a backend's answer on its way to the client."""

from theme import answering, case, each, get, head, raw

PLAIN = "location / { proxy_pass http://BACKEND; }"
STATUSES = (
    *range(200, 208),
    *(300, 301, 302, 303, 304, 305, 307, 308),
    *range(400, 419),
    *(422, 425, 426, 428, 429, 431, 444, 451),
    *range(499, 506),
    *(511, 520, 599, 600, 999),
)
HEADERS = (
    "X-Own: 1",
    "Set-Cookie: a=1; Path=/",
    "Cache-Control: no-store",
    "Expires: 0",
    'ETag: "x"',
    "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
    "Vary: Accept",
    "Content-Type: text/html; charset=utf-8",
    "Content-Type: TEXT/Plain",
    "Content-Encoding: identity",
    "Server: theirs",
    "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    "X-Pad: x",
    "X-Accel-Expires: 1",
    "X-Accel-Charset: utf-8",
    "X-Accel-Buffering: no",
    "X-Accel-Limit-Rate: 100000",
    "X-Powered-By: theirs",
    "Via: 1.1 x",
    "Age: 3",
    "Keep-Alive: timeout=5",
    "Trailer: X-T",
    'Alt-Svc: h3=":443"',
    "Strict-Transport-Security: max-age=1",
    "Access-Control-Allow-Origin: *",
    "Content-Disposition: attachment",
    "Content-Range: bytes 0-1/2",
    "Accept-Ranges: bytes",
    "WWW-Authenticate: Basic",
    "Proxy-Authenticate: Basic",
    "Retry-After: 1",
    "Allow: GET",
    "Link: </a>; rel=preload",
    "X_Under: 1",
    "X.Dot: 1",
    "X-Empty: ",
    "X-High: \xe9",
    "x-lower: 1",
    "Status: 404 Not Found",
    "Content-Length-X: 1",
    "Pragma: no-cache",
    "Warning: 199 x",
    "Transfer-Encoding-X: 1",
    "X-Accel-Redirect-X: 1",
    "Connection-X: 1",
    "Location: http://other.test/",
)

# Of some headers nginx takes the first alone.
TWICE = [
    line.split(":")[0] for line in HEADERS if not line.startswith(("X-Accel", "Content-Type", "X-High", "Trailer"))
]

HTTP = "proxy_cache_path FOLDER/cache keys_zone=cache:1m;"
CASES = [
    case(
        "headers that come twice", PLAIN, *[answering("/", f"{name}: one", f"{name}: two", body="x") for name in TWICE]
    ),
    case(
        "statuses",
        PLAIN,
        *[
            answering("/", status=status, body="" if status in (204, 304) else "text", reason="Own Words")
            for status in STATUSES
        ],
        *[answering("/", status=status, method="HEAD", body="text") for status in (200, 404, 500)],
    ),
    case(
        "headers",
        PLAIN,
        *[answering("/", line, body="x") for line in HEADERS],
        *[
            answering("/", line, body="x").differs(
                "hop-by-hop-answers",
                {"header " + line.split(":")[0]: line.split(": ")[1]},
                {"header " + line.split(":")[0]: None},
            )
            for line in ("Proxy-Connection: close", "Upgrade: h2c", "TE: x")
        ],
        answering("/", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Same: 1", "X-Same: 2", "Vary: a", "Vary: b", body="x"),
        answering("/", *[f"X-{i}: {i}" for i in range(70)], body="x"),
    ),
    case(
        "hidden and passed",
        """
        location /hide { proxy_hide_header X-Own; proxy_hide_header set-cookie; proxy_pass http://BACKEND; }
        location /pass { proxy_pass_header Server; proxy_pass_header Date; proxy_pass_header X-Accel-Expires; proxy_pass http://BACKEND; }
        location /both { proxy_hide_header X-Own; proxy_pass_header X-Own; proxy_pass http://BACKEND; }
        location /nest { proxy_hide_header X-Own; location /nest/in { proxy_hide_header X-Other; proxy_pass http://BACKEND; } location /nest/none { proxy_pass http://BACKEND; } }
        location /replace { proxy_hide_header X-Own; add_header X-Own ours always; proxy_pass http://BACKEND; }
        """,
        *[
            answering(
                path, "X-Own: 1", "X-Other: 2", "Set-Cookie: a=1", "Server: theirs", "X-Accel-Expires: 3", body="x"
            )
            for path in ("/hide", "/pass", "/both", "/nest/in", "/nest/none", "/replace")
        ],
    ),
    case(
        "bodies",
        PLAIN,
        answering("/", body=""),
        answering("/", body="x" * 5000),
        answering("/", chunked=True, body="abc"),
        answering("/", chunked=True, body=""),
        answering("/", chunked=True, body="x" * 5000),
        answering("/", close=True, body="abc"),
        answering("/", close=True, body=""),
        answering("/", chunked=True, body="abc", method="HEAD"),
        answering("/", body="abc", method="HEAD"),
        answering("/", close=True, body="abc", method="HEAD"),
        answering("/", body="abc", version="1.0"),
        answering("/", close=True, body="abc", version="1.0"),
        answering("/", chunked=True, body="abc").but(
            text='GET / HTTP/1.0\r\nHost: a\r\nX-Answer: {"chunked": true, "body": "abc"}\r\n\r\n'
        ),
        answering("/", close=True, body="abc").but(
            text='GET / HTTP/1.0\r\nHost: a\r\nX-Answer: {"close": true, "body": "abc"}\r\n\r\n'
        ),
        answering("/", status=204, body=""),
        answering("/", status=304, body=""),
        answering("/", "Content-Length: 5", status=304, body="").differs(
            "no-length-without-body", {"header Content-Length": "5"}, {"header Content-Length": None}
        ),
    ),
    case(
        "broken",
        PLAIN + " location /own { proxy_pass http://BACKEND3; }",
        answering("/own", drop=True),
        answering("/", raw="nonsense\r\n\r\n").differs(
            "strict-answers",
            {"end": "no HTTP: not enough values to unpack (expected at least 2, got 1)"},
            {"status": 502},
        ),
        answering("/", raw="HTTP/1.1 200 OK\r\nbad header\r\n\r\n"),
        answering("/", raw="HTTP/1.1 xyz OK\r\n\r\n").differs(
            "strict-answers", {"end": "no HTTP: invalid literal for int() with base 10: 'xyz'"}, {"status": 502}
        ),
        answering("/", raw="HTTP/1.1\r\n\r\n").differs(
            "strict-answers",
            {"end": "no HTTP: not enough values to unpack (expected at least 2, got 1)"},
            {"status": 502},
        ),
        answering("/", raw="HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n").differs(
            "strict-answers", {"status": 200}, {"status": 502}
        ),
        answering("/", raw="HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        answering("/", raw="HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        answering("/", raw="HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab"),
        answering(
            "/", raw="HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        ),
        answering("/", raw="HTTP/1.1 200 OK\r\nX: " + "x" * 3000 + "\r\nContent-Length: 0\r\n\r\n"),
        answering("/", raw="HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        answering("/", raw="HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        answering("/", raw="HTTP/1.1 200 OK\nContent-Length: 2\n\nab"),
        answering("/", raw="HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").differs(
            "interim-answers", {"interim": [100]}, {"interim": [], "status": 200}
        ),
        answering(
            "/", raw="HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
        ),
        answering("/", raw="HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
        answering("/", raw="HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab"),
        answering("/", raw="HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n").differs(
            "strict-answers", {"status": 99}, {"status": 502}
        ),
        answering("/", raw="HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n").differs(
            "strict-answers", {"status": 1000}, {"status": 502}
        ),
        answering("/", raw="HTTP/1.0 200 OK\r\n\r\nto the end"),
        answering("/", raw="\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").differs(
            "strict-answers", {"status": 0}, {"status": 200}
        ),
        answering("/", raw="HTTP/1.1 200 OK\r\n folded: x\r\nContent-Length: 0\r\n\r\n"),
        answering("/", raw="HTTP/1.1 200 OK\r\nX-Nul: a\x00b\r\nContent-Length: 0\r\n\r\n"),
        answering("/", raw="HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc").differs(
            "no-length-without-body", {"header Content-Length": "3"}, {"header Content-Length": None, "status": 204}
        ),
        answering("/", raw="nothing").differs("strict-answers", {"end": "silence"}, {"status": 502}),
    ),
    case(
        "dead",
        "location / { proxy_pass http://DEAD; } location /to { proxy_connect_timeout 1; proxy_pass http://DEAD; }",
        get("/"),
        head("/"),
        get("/to"),
        raw("GET / HTTP/1.0\r\n\r\n"),
    ),
    case(
        "without buffers",
        "proxy_buffering off; location / { proxy_pass http://BACKEND; }",
        get("/"),
        answering("/", chunked=True, body="abc"),
        answering("/", close=True, body="abc"),
        answering("/", status=404, body="x"),
    ),
    case(
        "conditions of the client",
        PLAIN,
        get("/", 'If-None-Match: "x"'),
        answering("/", 'ETag: "x"', body="x", lines=('If-None-Match: "x"',)),
        answering(
            "/",
            "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
            body="x",
            lines=("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",),
        ),
        answering("/", body="0123456789", lines=("Range: bytes=0-3",)),
        answering("/", "Accept-Ranges: bytes", body="0123456789", lines=("Range: bytes=0-3",)),
    ),
    case(
        "cache",
        "location / { proxy_cache cache; proxy_cache_valid 200 1m; proxy_pass http://BACKEND; }",
        get("/"),
        get("/").differs("nothing-is-cached", {"status": 200, "requests": 0}, {"status": 200, "requests": 1}),
    ),
]
