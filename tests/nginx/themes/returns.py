"""`return`: codes, texts, places."""

from theme import case, each, get, head, post, ws

CODES = (
    *(200, 201, 204, 206, 300),
    *range(400, 407),
    *range(408, 417),
    *(418, 421, 429, 495, 496, 497),
    *range(499, 506),
    *(507, 599),
)

CASES = [
    case(
        "codes",
        "".join(f"location = /c{code} {{ return {code}; }}\n" for code in (*CODES, 301, 302, 303, 307, 308, 444)),
        *each(get, *[f"/c{code}" for code in (*CODES, 301, 302, 303, 307, 308)]),
        *each(head, "/c404", "/c200", "/c204", "/c503"),
        get("/c444"),
        ws("/c404"),
        ws("/c444"),
        post("/c404", "abc"),
        ws("/c403"),
        get("/c404", version="1.0"),
        get("/c400"),
    ),
    case(
        "texts",
        "default_type text/plain;"
        + "".join(
            f'location = /t{code} {{ return {code} "text of $uri"; }}\n' for code in (*CODES, 301, 302, 303, 307, 308)
        ),
        *each(get, *[f"/t{code}" for code in (*CODES, 301, 302, 303, 307, 308)]),
        *each(head, "/t200", "/t404", "/t301"),
        ws("/t200"),
    ),
    case(
        "redirects",
        """
        location = /u { return 301 http://other.test/x; }
        location = /bare { return http://other.test/y; }
        location = /bare2 { return https://other.test$request_uri; }
        location = /path { return 302 /somewhere?a=b; }
        location = /relative { return 302 relative; }
        location = /empty { return 302 ""; }
        location = /vars { return 307 $scheme://$host:$server_port$uri?$args; }
        location = /host { return 301 https://$host$request_uri; }
        location = /query { return 308 ?x; }
        location = /slashes { return 301 //other.test/; }
        location = /space { return 301 "/a b"; }
        location = /ws { return 301 ws://other.test/; }
        location /c/ { return 301 /d$uri; }
        """,
        *each(
            get,
            "/u",
            "/bare",
            "/bare2",
            "/bare2?a=b",
            "/path",
            "/relative",
            "/empty",
            "/vars?a=%20b",
            "/host?x",
            "/query",
            "/slashes",
            "/space",
            "/ws",
            "/c/%20x?y",
            "/c/é".encode().decode("latin-1"),
        ),
        get("/host", host="EXAMPLE.test:81"),
        get("/path", host=None, version="1.0"),
        get("/path", host="Other.Test:99"),
        ws("/host"),
        post("/host", "abc"),
        head("/u"),
    ),
    case(
        "in a server",
        'return 200 "server $uri"; location / { proxy_pass http://BACKEND; }',
        "/",
        "/x",
        ws("/x"),
        post("/", "abc"),
    ),
    case(
        "redirect of a server",
        "return 301 https://$host$request_uri;",
        "/",
        "/a%20b?c=d",
        ws("/ws"),
        get("/", host="x.test:80"),
        get("/x", version="1.0", host=None),
        head("/x"),
    ),
    case("code of a server", "return 404; error_page 404 /page; location /page { return 200 page; }", "/", "/page"),
    case("close", "location / { return 444; }", "/", ws("/"), head("/")),
    case(
        "types",
        """
        default_type application/json;
        location = /j { return 200 '{"a": 1}'; }
        location = /h { default_type text/html; return 200 "<b>"; }
        location = /e { default_type ""; return 200 "x"; }
        location = /empty { return 200; }
        location = /emptytext { return 200 ""; }
        location = /added { add_header Content-Type text/css; return 200 "x"; }
        location = /err { return 404 "gone"; }
        """,
        *each(get, "/j", "/h", "/e", "/empty", "/emptytext", "/err", "/added"),
    ),
]
