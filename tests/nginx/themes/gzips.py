"""gzip, as far as heads and decoded bodies show it."""

from theme import answering, case, get, head

LONG = "some words that compress well " * 100
HTTP = "gzip_types text/plain application/json;"

CASES = [
    case(
        "on",
        f'gzip on; gzip_min_length 20; location / {{ proxy_pass http://BACKEND; }} location /r {{ default_type text/plain; return 200 "{LONG}"; }} location /off {{ gzip off; proxy_pass http://BACKEND; }} location /vary {{ gzip_vary on; proxy_pass http://BACKEND; }}',
        *[
            answering(path, "Content-Type: " + kind, body=LONG, lines=lines)
            for path in ("/", "/off", "/vary")
            for kind in ("text/html", "text/plain", "image/png")
            for lines in ((), ("Accept-Encoding: gzip",), ("Accept-Encoding: gzip;q=0",))
        ],
        answering("/", "Content-Type: text/html", "Content-Encoding: br", body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", body="short", lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", 'ETag: "x"', body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", status=404, body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", status=500, body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", body=LONG, lines=("Accept-Encoding: gzip", "Via: 1.1 x")),
        *[
            get(path, *lines)
            for path in ("/r", "/none", "/files/page.html", "/files/short.html", "/files/a.txt", "/files/a.bin")
            for lines in (("Accept-Encoding: gzip",), ("Accept-Encoding: deflate, gzip;q=0.5", "Range: bytes=2-5"))
        ],
        head("/r", "Accept-Encoding: gzip"),
        head("/files/page.html", "Accept-Encoding: gzip"),
        get("/vary/none", "Accept-Encoding: gzip"),
        get("/files/page.html", "Accept-Encoding: gzip", version="1.0"),
        files={"files/page.html": LONG, "files/short.html": "short", "files/a.txt": LONG, "files/a.bin": LONG},
    ),
    case(
        "who",
        "gzip on; gzip_types *; gzip_disable old.*agent msie6; gzip_http_version 1.0; gzip_min_length 0; location / { proxy_pass http://BACKEND; } location /any { gzip_proxied any; proxy_pass http://BACKEND; } "
        "location /some { gzip_proxied expired; gzip_proxied no-cache auth; proxy_pass http://BACKEND; } location /none { gzip_proxied no_etag no_last_modified private no-store; proxy_pass http://BACKEND; } location /vary { gzip_vary on; add_header Vary Cookie; proxy_pass http://BACKEND; }",
        *[
            answering("/", "Content-Type: x/y; charset=utf-8", body=LONG, lines=("Accept-Encoding: " + value,))
            for value in ("gzip", "x-gzip", "br,gzip", "gzip;q=0.0", "gzip; q=0.001", "gzip;q=1.5", "gzip;q", "gzip ,br", "GZip", "*", "gzip;level=1")
        ],
        *[
            answering("/", "Content-Type: x/y", body=LONG, lines=("Accept-Encoding: gzip", "User-Agent: " + value))
            for value in ("An Old Agent", "Mozilla/4.0 (compatible; MSIE 7.0)", "new")
        ],
        *[
            answering(path, "Content-Type: x/y", *given, body=LONG, lines=("Accept-Encoding: gzip", "Via: 1.1 x", *more))
            for path in ("/", "/any", "/some", "/none")
            for given in (
                (),
                ("Expires: Thu, 01 Jan 1970 00:00:01 GMT",),
                ("Expires: Thu, 31 Dec 2037 23:55:55 GMT", "Cache-Control: no-cache"),
                ("Expires: never",),
                ("Cache-Control: no-cache",),
                ("Cache-Control: max-age=1, no-store",),
                ("Cache-Control: private",),
                ('ETag: "x"',),
                ("Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT",),
            )
            for more in ((), ("Authorization: Basic eDp5",))
        ],
        *[
            answering("/vary", "Content-Type: x/y", *given, body=body, lines=("Accept-Encoding: gzip",))
            for given in ((), ("Vary: Origin",), ("ETag: x",), ('ETag: W/"x"',), ("Accept-Ranges: bytes",))
            for body in (LONG, "")
        ],
        answering("/", "Content-Type: x/y", body=LONG, chunked=True, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: x/y", body=LONG, close=True, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: x/y", status=206, body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: x/y", status=403, body=LONG, lines=("Accept-Encoding: gzip",)),
    ),
]
