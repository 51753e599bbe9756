"""gzip, as far as heads and decoded bodies show it."""

from theme import answering, case, each, get, head

WANTED = "gzip"
LONG = "some words that compress well " * 100
HTTP = "gzip_types text/plain application/json;"

CASES = [
    case(
        "on",
        f'gzip on; gzip_min_length 20; location / {{ proxy_pass http://BACKEND; }} location /r {{ default_type text/plain; return 200 "{LONG}"; }} location /off {{ gzip off; proxy_pass http://BACKEND; }} location /vary {{ gzip_vary on; proxy_pass http://BACKEND; }}',
        *[
            answering(path, "Content-Type: " + kind, body=LONG, lines=lines).but(unseen=("body", "content-length"))
            for path in ("/", "/off", "/vary")
            for kind in ("text/html", "text/plain", "image/png")
            for lines in ((), ("Accept-Encoding: gzip",), ("Accept-Encoding: gzip;q=0",))
        ],
        answering("/", "Content-Type: text/html", "Content-Encoding: br", body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", body="short", lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", 'ETag: "x"', body=LONG, lines=("Accept-Encoding: gzip",)).but(
            unseen=("body", "content-length")
        ),
        answering("/", "Content-Type: text/html", status=404, body=LONG, lines=("Accept-Encoding: gzip",)).but(
            unseen=("body", "content-length")
        ),
        answering("/", "Content-Type: text/html", status=500, body=LONG, lines=("Accept-Encoding: gzip",)),
        answering("/", "Content-Type: text/html", body=LONG, lines=("Accept-Encoding: gzip", "Via: 1.1 x")),
    )
]
