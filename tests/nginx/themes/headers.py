"""Headers on their way to the backend: what is set, inherited, dropped, joined."""

from theme import case, each, get, head, post, ws

CLIENT = (
    "X-One: 1",
    "X-Two: 2",
    "X-One: again",
    "Cookie: a=1",
    "Cookie: b=2",
    "Accept: */*",
    "User-Agent: test",
    "Referer: http://r.test/",
)

CASES = [
    case(
        "inheritance",
        """
        proxy_set_header X-Server server;
        proxy_set_header Host $host;
        location /all { proxy_pass http://BACKEND; }
        location /own { proxy_set_header X-Own own; proxy_pass http://BACKEND; }
        location /empty { proxy_set_header X-One ""; proxy_pass http://BACKEND; }
        location /nest {
            proxy_set_header X-Nest nest;
            location /nest/in { proxy_pass http://BACKEND; }
            location /nest/own { proxy_set_header X-In in; proxy_pass http://BACKEND; }
        }
        """,
        *[get(path, *CLIENT) for path in ("/all", "/own", "/empty", "/nest/in", "/nest/own")],
        ws("/all").differs("upgrade-without-ritual", {"status": 200}, {"status": 101}),
        ws("/own").differs("upgrade-without-ritual", {"status": 200}, {"status": 101}),
    ),
    case(
        "values",
        """
        location / {
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Twice one;
            proxy_set_header X-Twice two;
            proxy_set_header x-one "replaced $http_x_one";
            proxy_set_header X-Empty $arg_none;
            proxy_set_header X-Text "a b  c";
            proxy_set_header X-Dollar "${host}x";
            proxy_set_header Accept-Encoding "";
            proxy_pass http://BACKEND;
        }
        """,
        get("/", *CLIENT),
        get("/", "X-Forwarded-For: 192.0.2.1"),
        get("/", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"),
        get("/", "X-Forwarded-For:"),
        get("/", "Accept-Encoding: gzip", "X-Empty: sent"),
        get("/", host="Example.TEST:8080"),
        get("/", host="example.test."),
        get("/", host=None, version="1.0").differs("host-always", {"sent Host": None}, {"sent Host": "BACKEND"}),
        get("/", "X-Real-IP: 1.2.3.4", "x-forwarded-proto: https"),
        get("/", host="EXAMPLE.test"),
    ),
    case(
        "as they come",
        "location / { proxy_pass http://BACKEND; }",
        get("/", *CLIENT),
        get("/", "X-Empty:"),
        get("/", "X-Empty: "),
        get("/", "X-Space:   a  b   "),
        get("/", "X-Tab:\ta\tb"),
        get("/", 'X-Quote: "a, b"; c=d'),
        get("/", "X_Under: 1"),
        get("/", "X.Dot: 1"),
        get("/", "X!Bang: 1", "X-Ok: 2"),
        get("/", "1-Digit: 1"),
        get("/", "X-High: \xe9\xff"),
        get("/", "X-Utf: \xc3\xa9"),
        get("/", "x-lower: 1", "X-UPPER: 2"),
        get("/", "X-Same: a", "x-same: b", "X-SAME: c"),
        get("/", "Content-Type: text/plain"),
        post("/", "abc", "Content-Type: a/b"),
        get("/", "Keep-Alive: timeout=5"),
        get("/", "TE: trailers"),
        get("/", "Expect: 100-continue").differs(
            "continue-when-read", {"interim": [100]}, {"interim": [], "status": 200}
        ),
        get("/", "Date: x"),
        get("/", "Range: bytes=0-1"),
        get("/", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
        get("/", 'If-None-Match: "x"'),
        get("/", 'If-Range: "x"', "Range: bytes=0-"),
        get("/", "Authorization: Basic dTpw"),
        get("/", "Proxy-Authorization: x"),
        get("/", "Via: 1.1 a"),
        get("/", "Max-Forwards: 3"),
        get("/", "Accept-Encoding: gzip, br"),
        get("/", "Cookie: a=1; b=2"),
        get("/", "Cookie: a=1", "Cookie: b=2", "Cookie: c=3"),
        get("/", "X-Forwarded-For: a", "X-Forwarded-For: b"),
        head("/", "X-A: 1"),
        get("/", "Cache-Control: no-cache", "Pragma: no-cache"),
        get("/", "Content-Length: 0"),
        get("/", "Origin: null"),
        get("/", "X-Long: " + "x" * 4000),
        get("/", "Host-Not: x"),
        get("/", "Sec-WebSocket-Key: x", "Sec-WebSocket-Protocol: a, b"),
        get("/", "Trailer: X-T"),
        get("/", "Content-Encoding: gzip"),
        get("/", "Transfer-Encoding-X: chunked"),
        get("/", "X-Comma: a,b, c"),
        get("/", "X-Colon: a:b: c"),
        get("/", "Connection: close"),
        get("/", "Connection: keep-alive"),
        get("/", "Upgrade: h2c"),
        get("/", "Connection: close, X-Hop", "X-Hop: 1").differs(
            "listed-in-connection", {"sent X-Hop": "1"}, {"sent X-Hop": None}
        ),
        get("/", "Proxy-Connection: keep-alive"),
    ),
    case(
        "underscores",
        "underscores_in_headers on; location / { proxy_set_header X-Got $http_x_under; proxy_pass http://BACKEND; }",
        get("/", "X_Under: 1"),
        get("/", "X_Under: 1", "X-Under: 2"),
        get("/", "_: 1"),
        get("/", "X.Dot: 1"),
    ),
    case(
        "no underscores",
        "location / { proxy_set_header X-Got $http_x_under; proxy_pass http://BACKEND; }",
        get("/", "X_Under: 1"),
        get("/", "X_Under: 1", "X-Under: 2"),
        get("/", "_: 1"),
    ),
    case(
        "invalid names kept",
        "ignore_invalid_headers off; location / { proxy_pass http://BACKEND; }",
        get("/", "X_Under: 1"),
        get("/", "X.Dot: 1"),
        get("/", "X!Bang: 1", "X-Ok: 2"),
        get("/", "_: 1"),
    ),
    case(
        "hop by hop set by hand",
        """
        location /plain { proxy_set_header Connection ""; proxy_pass http://BACKEND; }
        location /close { proxy_set_header Connection close; proxy_pass http://BACKEND; }
        location /te { proxy_set_header TE trailers; proxy_pass http://BACKEND; }
        location /keep { proxy_set_header Keep-Alive "timeout=5"; proxy_pass http://BACKEND; }
        location /expect { proxy_set_header Expect $http_expect; proxy_pass http://BACKEND; }
        location /nohost { proxy_set_header Host ""; proxy_pass http://BACKEND; }
        location /ae { proxy_set_header Accept-Encoding identity; proxy_pass http://BACKEND; }
        """,
        get("/plain"),
        get("/close"),
        get("/te"),
        get("/nohost").differs("host-always", {"sent Host": None}, {"sent Host": "BACKEND"}),
        get("/ae", "Accept-Encoding: gzip"),
        get("/ae"),
        get("/keep").differs("proxy-keep-alive-header", {"sent Keep-Alive": "timeout=5"}, {"sent Keep-Alive": None}),
    ),
    case(
        "spelling",
        "location / { proxy_set_header X-Real-IP $remote_addr; proxy_pass http://BACKEND; }",
        get("/", "x-lOwEr: 1").differs(
            "header-spelling", {"names": ["X-Real-IP", "x-lOwEr"]}, {"names": ["X-Real-Ip", "x-lOwEr"]}
        ),
        get("/").differs("keep-alive-header", {"header connection": "keep-alive"}, {"header connection": None}),
    ),
    case(
        "connection to the backend",
        "location / { proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; proxy_pass http://BACKEND; }",
        get("/").differs("backend-connection", {"sent Connection": "upgrade"}, {"sent Connection": None}),
        get("/", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAA").differs(
            "only-websocket-upgrades", {"sent Upgrade": "h2c"}, {"sent Upgrade": None}
        ),
    ),
]
