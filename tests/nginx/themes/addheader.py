"""`add_header`: which statuses, which level, which values."""

from theme import answering, case, each, get, head, ws

STATUSES = (
    *range(200, 205),
    *(206,),
    *range(300, 305),
    *(307, 308, 400, 401, 403, 404, 409, 418, 429, 500, 502, 503, 504),
)

CASES = [
    case(
        "statuses of a backend",
        "add_header X-Plain p; add_header X-Always a always; location / { proxy_pass http://BACKEND; }",
        *[answering("/", status=status, body="" if status in (204, 304) else "text") for status in STATUSES],
    ),
    case(
        "statuses made here",
        "add_header X-Plain p; add_header X-Always a always;"
        + "".join(
            f"location = /{status} {{ return {status}; }} location = /t{status} {{ return {status} text; }}"
            for status in STATUSES
        ),
        *each(get, *[f"/{lead}{status}" for status in STATUSES for lead in ("", "t") if status != 304]),
        get("/304").differs("no-length-without-body", {"header Content-Length": "0"}, {"header Content-Length": None}),
        head("/200"),
        head("/404"),
    ),
    case(
        "inheritance",
        """
        add_header X-Server s always;
        location /all { proxy_pass http://BACKEND; }
        location /own { add_header X-Own o; proxy_pass http://BACKEND; }
        location /nest { add_header X-Nest n; location /nest/in { return 200 in; } location /nest/own { add_header X-In i; return 200 own; } }
        location /dead { add_header X-Own o always; add_header X-Lost l; proxy_pass http://DEAD; }
        location /missing/ { add_header X-Own o always; proxy_pass http://BACKEND; }
        """,
        *each(get, "/all", "/own", "/nest", "/nest/in", "/nest/own", "/dead", "/missing", "/missing/x", "/none"),
    ),
    case(
        "values",
        """
        location / {
            add_header X-Host $host; add_header X-Uri $uri; add_header X-Empty $arg_none; add_header X-Twice 1; add_header X-Twice 2;
            add_header X-Status $status; add_header X-Upstream $upstream_status; 
            add_header X-From-Backend $upstream_http_x_own; add_header X-Echo echo; add_header Cache-Control "no-store";
            add_header Server mine; add_header X-Text "a b; c=\\"d\\"";
            proxy_pass http://BACKEND;
        }
        location /etag { add_header ETag changed; add_header Last-Modified changed; proxy_pass http://BACKEND; }
        location /noetag { add_header ETag ""; add_header Last-Modified ""; proxy_pass http://BACKEND; }
        location /length { add_header Content-Type a/b; proxy_pass http://BACKEND; }
        location /security {
            add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;
            add_header X-Frame-Options SAMEORIGIN; add_header X-Content-Type-Options nosniff always;
            add_header Content-Security-Policy "default-src 'self'; connect-src ws: wss:" always;
            proxy_pass http://BACKEND;
        }
        """,
        *each(get, "/", "/a%20b?c", "/security", "/security/x"),
        answering("/", "X-Own: theirs", "Cache-Control: private", body="x"),
        answering("/etag", 'ETag: "x"', "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", body="x"),
        get("/etag"),
        answering("/noetag", 'ETag: "x"', "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", body="x"),
        get("/noetag"),
        get("/length"),
        answering("/length", "Content-Type: c/d", body="x"),
        answering("/security", "X-Frame-Options: DENY", status=404, body="x"),
        answering("/", status=404, body="x"),
    ),
    case(
        "on the answer of a handshake",
        """
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        location /plain { add_header X-Plain p; proxy_pass http://BACKEND; }
        location /always { add_header X-Always a always; proxy_pass http://BACKEND; }
        """,
        ws("/plain"),
        ws("/always"),
    ),
    case(
        "cross-origin answers",
        """
        location / {
            add_header Access-Control-Allow-Origin $http_origin always;
            add_header Access-Control-Allow-Methods "GET, POST, OPTIONS" always;
            proxy_pass http://BACKEND;
        }
        """,
        get("/", "Origin: https://a.test"),
        get("/"),
        get("/", "Origin: https://a.test", method="OPTIONS"),
        answering("/", status=500, body="x", lines=("Origin: null",)),
    ),
]
