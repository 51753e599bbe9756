"""HTTP/1 as clients speak it: versions, methods, bodies, heads that break the rules."""

from theme import case, each, get, head, post, raw

ECHO = "location / { proxy_pass http://BACKEND; } location /here { return 200 here; } location /none { return 404; }"
H = "Host: example.test\r\n"

CASES = [
    case(
        "versions",
        ECHO,
        get("/", version="1.0"),
        get("/", version="1.0", host=None),
        get("/here", "Connection: keep-alive", version="1.0"),
        get("/", "Connection: keep-alive", version="1.0"),
        get("/", "Connection: close"),
        get("/here", "Connection: close"),
        get("/", host=None),
        get("/", version="0.9"),
        get("/", version="1"),
        get("/", version="1.x"),
        get("/", version="1.2").differs("strict-request-line", {"status": 200}, {"status": 400}),
        get("/", version="2.0"),
        get("/", version="11"),
        raw("GET /here\r\n\r\n").differs("no-http-0-9", {"end": "no HTTP: b'here'"}, {"status": 400}),
        *[
            raw(f"{line}\r\n" + H + "\r\n").differs("strict-request-line", {"status": 200}, {"status": 400})
            for line in ("GET / HTTP/1.1 ", "GET  / HTTP/1.1", "GET /  HTTP/1.1")
        ],
        raw("get / HTTP/1.1\r\n" + H + "\r\n"),
        raw("GET / http/1.1\r\n" + H + "\r\n"),
        raw("\r\n\r\nGET / HTTP/1.1\r\n" + H + "\r\n"),
        raw("GET / HTTP/1.1\n" + "Host: example.test\n\n"),
        raw("GET\t/ HTTP/1.1\r\n" + H + "\r\n"),
        raw("GET / HTTP/01.1\r\n" + H + "\r\n"),
        get("/here", version="1.0").differs("version-of-the-answer", {"version": "HTTP/1.1"}, {"version": "HTTP/1.0"}),
    ),
    case(
        "methods",
        ECHO,
        *[
            get(path, method=method)
            for method in (
                "OPTIONS",
                "DELETE",
                "PUT",
                "PATCH",
                "TRACE",
                "PROPFIND",
                "X-OWN",
                "M_Y",
                "Get",
                "FOO",
                "PURGE",
                "COPY",
                "UNLOCK",
                "G*T",
                "G'T",
            )
            for path in ("/", "/here")
        ],
        *each(head, "/", "/here", "/none", "/%zz"),
        raw("CONNECT example.test:443 HTTP/1.1\r\n" + H + "\r\n").differs(
            "connect-is-refused", {"status": 405}, {"status": 400}
        ),
        get("/", method="CONNECT").differs("connect-is-refused", {"status": 400}, {"status": 405}),
        raw("OPTIONS * HTTP/1.1\r\n" + H + "\r\n"),
    ),
    case(
        "bodies",
        ECHO,
        post("/", "abc"),
        post("/", ""),
        post("/here", "abc"),
        post("/none", "abc"),
        get("/", body="abc"),
        post("/", "x" * 70000),
        post("/", "abc", "Content-Type: text/plain"),
        get("/", "Transfer-Encoding: chunked", method="POST", body="3\r\nabc\r\n0\r\n\r\n").differs(
            "bodies-are-streamed",
            {"sent Content-Length": "3", "status": 200},
            {"sent Transfer-Encoding": "chunked", "status": 200},
        ),
        post("/here", "3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        post("/", "zz\r\n", "Transfer-Encoding: chunked"),
        post("/", "-1\r\n", "Transfer-Encoding: chunked"),
        get("/", "Expect: 100-continue", "Content-Length: 3", method="POST").but(later=b"abc"),
        get("/here", "Expect: 100-continue", "Content-Length: 3", method="POST").differs(
            "unread-bodies-close", {"end": "open", "status": 200}, {"end": "closed", "status": 200}
        ),
        post("/", "3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked").differs(
            "bodies-are-streamed", {"sent Transfer-Encoding": None}, {"sent Content-Length": None}
        ),
        post("/here", "abc").differs(
            "unread-bodies-close", {"end": "open", "status": 200}, {"end": "closed", "status": 200}
        ),
        get("/", "Expect: 100-Continue", "Content-Length: 3", method="POST").but(later=b"abc"),
        post("/", "abc", "Expect: nonsense"),
    ),
    case(
        "who ends where",
        ECHO,
        post("/", "abc", "Content-Length: 3", "Content-Length: 3"),
        post("/", "abc", "Content-Length: 3", "Content-Length: 4"),
        post("/", "abc", "Content-Length: 3, 3"),
        post("/", "abc", "Content-Length: +3"),
        post("/", "abc", "Content-Length: -3"),
        post("/", "abc", "Content-Length: 3x"),
        post("/", "abc", "Content-Length: 0x3"),
        post("/", "abc", "Content-Length:"),
        post("/", "abc", "Content-Length: 99999999999999999999"),
        post("/", "abc", "Content-Length : 3"),
        post("/", "3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 3"),
        post("/", "3\r\nabc\r\n0\r\n\r\n", "Content-Length: 3", "Transfer-Encoding: chunked"),
        post("/", "abc", "Transfer-Encoding: gzip"),
        post("/", "abc", "Transfer-Encoding: gzip, chunked"),
        post("/", "abc", "Transfer-Encoding: identity", "Content-Length: 3"),
        post("/", "0\r\n\r\n", "Transfer-Encoding: chunked, chunked"),
        post("/", "0\r\n\r\n", "Transfer-Encoding: xchunked"),
        post("/", "0\r\n\r\n", "Transfer-Encoding:\x0bchunked").differs(
            "strict-heads", {"status": 501}, {"status": 400}
        ),
        post("/", "0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        post("/", "0\r\n\r\n", "Transfer-Encoding: chunked", version="1.0"),
        post("/", "0\r\n\r\n", "Transfer-Encoding : chunked"),
        get("/", "Transfer-Encoding:"),
    ),
    case(
        "heads",
        ECHO,
        raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        raw("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A : 1\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + " X-A: 1\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A: 1\r\n folded\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A\r\n\r\n").differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\n" + H + ": 1\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A: a\x00b\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A: a\x01b\r\n\r\n").differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\n" + H + "X-A: a\x7fb\r\n\r\n").differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\n" + H + "X A: 1\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A: a\rb\r\n\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X\xe9: 1\r\n\r\n").differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\n" + H + '"X": 1\r\n\r\n').differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\n" + H + "(X): 1\r\n\r\n").differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\n" + H + "X[]: 1\r\n\r\n").differs("strict-heads", {"status": 200}, {"status": 400}),
        raw("GET / HTTP/1.1\r\nHost:example.test\r\n\r\n"),
        raw("GET / HTTP/1.1\r\nHOST:\texample.test\t\r\n\r\n").differs(
            "tabs-around-values", {"status": 400}, {"status": 200}
        ),
        raw("GET / HTTP/1.1\r\n" + H + "".join(f"X-{i}: {i}\r\n" for i in range(60)) + "\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-A: 1\n\r\n"),
        raw("POST / HTTP/1.1\r\n" + H + "\r\nabc"),
        raw("\x16\x03\x01\x02\x00"),
        raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        raw("SSH-2.0-x\r\n\r\n"),
        raw("GET\r\n\r\n"),
        raw(" GET / HTTP/1.1\r\n" + H + "\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "X-Long: " + "x" * 8300 + "\r\n\r\n").differs(
            "size-of-heads", {"status": 400}, {"status": 200}
        ),
        raw("GET /" + "x" * 8300 + " HTTP/1.1\r\n" + H + "\r\n").differs(
            "size-of-heads", {"status": 414}, {"status": 200}
        ),
        raw("GET /here?" + "x" * 7000 + " HTTP/1.1\r\n" + H + "\r\n"),
        raw("GET / HTTP/1.1\r\n" + H + "".join(f"X-{i}: " + "x" * 7000 + "\r\n" for i in range(6)) + "\r\n"),
    ),
    case(
        "one after the other",
        ECHO,
        raw(("GET /here HTTP/1.1\r\n" + H + "\r\n") * 3, "GET", "GET", "GET"),
        raw("GET / HTTP/1.1\r\n" + H + "\r\nGET /none HTTP/1.1\r\n" + H + "\r\n", "GET", "GET"),
        raw(
            "POST / HTTP/1.1\r\n" + H + "Content-Length: 3\r\n\r\nabcGET /here HTTP/1.1\r\n" + H + "\r\n", "POST", "GET"
        ),
        raw(
            "HEAD /here HTTP/1.1\r\n"
            + H
            + "\r\nGET /here HTTP/1.1\r\n"
            + H
            + "Connection: close\r\n\r\nGET /here HTTP/1.1\r\n"
            + H
            + "\r\n",
            "HEAD",
            "GET",
            "GET",
        ),
        raw("GET /here HTTP/1.1\r\n" + H + "\r\n\r\n\r\nGET /none HTTP/1.1\r\n" + H + "\r\n", "GET", "GET"),
        raw("GET /here HTTP/1.1\r\n" + H + "\r\nbad\r\n\r\n", "GET", "GET"),
        raw("GET /here HTTP/1.0\r\n\r\nGET /here HTTP/1.0\r\n\r\n", "GET", "GET"),
        raw("GET /here HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /here HTTP/1.0\r\n\r\n", "GET", "GET"),
    ),
    case(
        "limits",
        "client_max_body_size 10; keepalive_requests 2; location / { proxy_pass http://BACKEND; } location /here { return 200 here; } location /big { client_max_body_size 0; proxy_pass http://BACKEND; } location /page { error_page 413 /here; proxy_pass http://BACKEND; }",
        post("/", "x" * 10),
        post("/", "x" * 11),
        post("/big", "x" * 11),
        post("/here", "x" * 11),
        post("/page", "x" * 11),
        raw(("GET /here HTTP/1.1\r\n" + H + "\r\n") * 3, "GET", "GET", "GET"),
        get("/", "Expect: 100-continue", "Content-Length: 11", method="POST"),
        post("/", "b\r\n12345678901\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    ),
    case(
        "no keep-alive",
        "keepalive_timeout 0; location / { proxy_pass http://BACKEND; } location /here { return 200 here; }",
        *each(get, "/", "/here"),
        head("/"),
    ),
    case(
        "header of keep-alive",
        "keepalive_timeout 65 60; location /here { return 200 here; }",
        get("/here").differs("keep-alive-header", {"header Keep-Alive": "timeout=60"}, {"header Keep-Alive": None}),
    ),
    case(
        "small heads",
        "client_header_buffer_size 1k; large_client_header_buffers 2 2k; location / { return 200 x; }",
        get("/", "X: " + "x" * 500),
        get("/" + "x" * 1500),
        get("/" + "x" * 2100).differs("size-of-heads", {"status": 414}, {"status": 200}),
        get("/", "X: " + "x" * 2100).differs("size-of-heads", {"status": 400}, {"status": 200}),
        get("/", "X: " + "x" * 1500, "Y: " + "y" * 1500, "Z: " + "z" * 1500),
    ),
]
