"""`proxy_redirect`, and how a `Location` of one's own is completed."""

from theme import answering, case, each, get

URLS = (
    "http://BACKEND/x",
    "http://BACKEND/",
    "http://BACKEND",
    "http://BACKEND/app/x?y",
    "/app/x",
    "/x",
    "relative",
    "",
    "http://other.test/x",
    "https://BACKEND/x",
    "//host/x",
    "?q",
    "http://BACKEND/two/x",
    "http://example.test/x",
)


def moved(path):
    return [answering(path, f"Location: {url}", status=302, body="x") for url in URLS]


CASES = [
    case("default without a URI", "location /one/ { proxy_pass http://BACKEND; }", *moved("/one/")),
    case("default with a URI", "location /two/ { proxy_pass http://BACKEND/app/; }", *moved("/two/")),
    case("default with a root", "location / { proxy_pass http://BACKEND/; }", *moved("/")),
    case("off", "location / { proxy_redirect off; proxy_pass http://BACKEND/; }", *moved("/")),
    case("expression", "location ~ ^/re { proxy_pass http://BACKEND; }", *moved("/re")),
    case("exact", "location = /ex { proxy_pass http://BACKEND/app; }", *moved("/ex")),
    case("variables", "location /v { proxy_pass http://BACKEND$request_uri; }", *moved("/v")),
    case(
        "rules",
        """
        location /p/ { proxy_redirect http://BACKEND/ http://front.test/p/; proxy_pass http://BACKEND/; }
        location /q/ { proxy_redirect http://BACKEND/ /q/; proxy_redirect /app/ /apps/; proxy_pass http://BACKEND/; }
        location /r/ { proxy_redirect ~^http://[^/]+/(.*)$ https://$host/r/$1; proxy_pass http://BACKEND/; }
        location /s/ { proxy_pass http://BACKEND/app/; proxy_redirect ~*^HTTP://([^/]+)(/x.*)$ $scheme://$http_host$2; proxy_redirect default; }
        location /t/ { proxy_redirect http:// https://; proxy_pass http://BACKEND/; }
        location /u/ { proxy_redirect $scheme://$proxy_host/ $scheme://$host/u/; proxy_pass http://BACKEND/; }
        location /w/ { proxy_redirect / /w/; proxy_pass http://BACKEND/; }
        """,
        *[each_ for path in ("/p/", "/q/", "/r/", "/s/", "/t/", "/u/", "/w/") for each_ in moved(path)],
    ),
    case(
        "other headers",
        "location /one/ { proxy_pass http://BACKEND/; }",
        answering("/one/", "Refresh: 5; url=http://BACKEND/x", body="x"),
        answering("/one/", "Refresh: 5; URL=/x", body="x"),
        answering("/one/", "Refresh: 5", body="x"),
        answering("/one/", "Content-Location: http://BACKEND/x", body="x"),
        answering("/one/", "Location: http://BACKEND/x", status=201, body="x"),
        answering("/one/", "Location: http://BACKEND/x", status=200, body="x"),
        answering("/one/", "Location: http://BACKEND/x", status=404, body="x"),
        answering("/one/", "Location: http://BACKEND/x", "Location: http://BACKEND/y", status=302, body="x"),
        answering("/one/", "Link: <http://BACKEND/x>", body="x"),
    ),
    case(
        "absolute",
        "location / { return 301 /x; } location /p/ { proxy_pass http://BACKEND; }",
        *each(get, "/", "/p"),
        get("/", host="h.test:1"),
        get("/p", host=None, version="1.0"),
        get("/", host=None, version="1.0"),
    ),
    case(
        "not absolute",
        "absolute_redirect off; location / { return 301 /x; } location /p/ { proxy_pass http://BACKEND; } location /q/ { proxy_pass http://BACKEND/; }",
        *each(get, "/", "/p?a"),
        *moved("/q/"),
    ),
    case(
        "no port",
        "port_in_redirect off; location / { return 301 /x; } location /p/ { proxy_pass http://BACKEND; }",
        *each(get, "/", "/p"),
        get("/", host="h.test:1"),
    ),
    case(
        "name of the server",
        "server_name_in_redirect on; location / { return 301 /x; } location /p/ { proxy_pass http://BACKEND; }",
        *each(get, "/", "/p"),
        get("/", host="h.test:1"),
        get("/", host=None, version="1.0"),
    ),
    case(
        "over TLS",
        "server { listen 127.0.0.1:PORT ssl; ssl_certificate CERT; ssl_certificate_key KEY; location / { return 301 /x$uri; } location /p/ { proxy_pass http://BACKEND; } }",
        get("/a").over_tls(),
        get("/p").over_tls(),
        get("/p/x").over_tls(),
        get("/", host="h.test:443").over_tls(),
        get("/p/").over_tls(),
    ),
]
