"""HTTP/2, by curl; and servers that offer it, asked in HTTP/1.1: `http2 on` changes nothing for those who do not ask."""

from theme import answering, case, each, get, head, post, raw, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;"
PLACES = (
    "location / { "
    + RITUAL
    + """ proxy_set_header X-Facts "$http2 $server_protocol $host $http_host $request_uri $scheme [$http_cookie] [$cookie_b]"; proxy_pass http://BACKEND; }
    location /say { return 200 "$request|$http2|$uri|$args|$host|$server_port|$request_method"; }
    location /to { return 301 /say; }
    location /none { return 404; }
    location /drop { return 444; }
    location /files/ { root FOLDER; }
    location /small { client_max_body_size 3; proxy_pass http://BACKEND; }
    location /host { proxy_set_header Host $host; proxy_pass http://BACKEND; }
    location /empty { return 204; }
"""
)
REQUESTS = [
    *each(get, "/", "/x?y=1", "/say", "/say/../say/%41?q", "/to", "/none", "/files/a.txt", "/files/none", "/empty", "/host"),
    *each(head, "/", "/say", "/none", "/files/a.txt"),
    get("/", "Cookie: a=1; b=2"),
    get("/", "X-Own: 1", "X-Own: 2", "TE: trailers"),
    get("/host", host="other.test"),
    post("/", "a body"),
    post("/small", "3 b"),
    get("/files/a.txt", "Range: bytes=2-4"),
    get("/files/a.txt", "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT"),
    get("/", method="DELETE"),
    get("/", method="OPTIONS"),
    get("/", method="TRACE"),
    answering("/", "Connection: close", "X-A: b", body="text"),
    answering("/", "Set-Cookie: a=1", "Set-Cookie: b=2", chunked=True, body="text"),
    answering("/", close=True, body="text"),
    answering("/", status=204),
    answering("/", status=304, reason="Not Modified"),
    answering("/", "Location: http://BACKEND/there", status=302, body=""),
    answering("/", "Content-Type: text/html", body="text", method="HEAD"),
]
FILES = {"files/a.txt": "some text"}

CASES = [
    case(
        "over TLS",
        "server { listen 127.0.0.1:PORT ssl; http2 on; server_name example.test; ssl_certificate CERT; ssl_certificate_key KEY; "
        + PLACES
        + "}",
        get("/").over_tls(),
        ws("/").over_tls(),
        get("/"),
        *[request.over_http2(tls=True) for request in REQUESTS],
        files=FILES,
    ),
    case(
        "parameter of listen",
        "server { listen 127.0.0.1:PORT ssl http2; ssl_certificate CERT; ssl_certificate_key KEY; "
        + PLACES
        + "}",
        get("/").over_tls(),
        ws("/").over_tls(),
        get("/").over_http2(tls=True),
    ),
    case(
        "not offered",
        "server { listen 127.0.0.1:PORT ssl; ssl_certificate CERT; ssl_certificate_key KEY; " + PLACES + "}",
        get("/").over_http2(tls=True),
    ),
    case(
        "without TLS",
        "http2 on; " + PLACES,
        get("/"),
        ws("/"),
        raw("PRI / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n"),
        raw("PROPFIND / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n", "PROPFIND"),
        *[request.over_http2() for request in REQUESTS],
        files=FILES,
    ),
]
