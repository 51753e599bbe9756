"""Which location serves a path, and what a missing slash leads to."""

from theme import case, each, get, ws

CASES = [
    case(
        "a missing slash, where an exact location and a prefix share a path",
        """
        location = /a/ { add_header X-Here exact; return 403; }
        location /a/ { add_header X-Here prefix; proxy_pass http://BACKEND; }
        location /b/ { add_header X-Here prefix; return 403; }
        location = /b/ { add_header X-Here exact; proxy_pass http://BACKEND; }
        location = /c/ { add_header X-Here exact; return 403; }
        location /c/ { add_header X-Here prefix; return 403; }
        location ^~ /d/ { add_header X-Here prefix; proxy_pass http://BACKEND; }
        """,
        *each(get, "/a", "/a/", "/a/x", "/b", "/b/", "/b/x", "/c", "/c/", "/d", "/d/"),
    ),
    case(
        "kinds",
        """
        location = / { return 200 "exact root"; }
        location / { return 200 "root"; }
        location /img/ { return 200 "img"; }
        location ^~ /st/ { return 200 "static"; }
        location ~ \\.gif$ { return 200 "gif"; }
        location ~* \\.JPG$ { return 200 "jpg without case"; }
        location = /exact { return 200 "exact"; }
        location /exact { return 200 "prefix of exact"; }
        location /docs { return 200 "docs"; }
        location /docs/deep { return 200 "deep"; }
        """,
        "/",
        "/x",
        "/img",
        "/img/",
        "/img/a",
        "/st",
        "/exact",
        "/exact/",
        "/exactly",
        "/docs",
        "/docsx",
        "/docs/deep",
        "/docs/deeper",
        "/docs/dee",
        "/DOCS",
        "/?x",
        "//",
        "/./",
        "/a.gif%3Fx",
        *[
            get(path)
            for path in (
                "/img/a.gif",
                "/st/a.gif",
                "/a.jpg",
                "/a.JPG",
                "/a.GIF",
                "/st/../a.gif",
                "/img/%2e%2e/st/a.gif",
                "/a%2egif",
                "/a.gif?x=/st/",
                "/a.gif#x",
            )
        ],
    ),
    case(
        "missing slash",
        """
        location /p/ { proxy_pass http://BACKEND; }
        location = /q/ { proxy_pass http://BACKEND; }
        location /r/ { proxy_pass http://BACKEND; }
        location = /r { return 200 "exact"; }
        location /s/ { return 200 "no proxy"; }
        location ~ ^/t/$ { proxy_pass http://BACKEND; }
        location ~ ^/p$ { return 200 "expression"; }
        location "/u v/" { proxy_pass http://BACKEND; }
        location ^~ /w/ { proxy_pass http://BACKEND/; }
        """,
        *each(
            get,
            "/p",
            "/p?a=b",
            "/p/",
            "/q",
            "/q/",
            "/q/x",
            "/r",
            "/r/",
            "/s",
            "/s/",
            "/t",
            "/t/",
            "/u%20v",
            "/u%20v?x",
            "/w",
            "/w/x",
            "/p%2f",
            "//p",
            "/x/../p",
        ),
        get("/p", host="other.test:8080"),
        get("/p", host=None, version="1.0"),
        ws("/p"),
        ws("/p/").differs("upgrade-without-ritual", {"status": 200}, {"status": 101}),
        get("/p", method="POST", body="abc"),
    ),
]
