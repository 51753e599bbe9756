"""WebSocket handshakes: what starts a tunnel, and what comes back when none does."""

from theme import KEY, answering, case, each, get, raw, ws

RITUAL = """
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection "upgrade";
"""
HTTP = "map $http_upgrade $cu { default upgrade; '' close; }"
RIGHT = {
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: Upgrade",
    "version": "Sec-WebSocket-Version: 13",
    "key": f"Sec-WebSocket-Key: {KEY}",
}


def but(target="/", **changes):
    """A handshake with some of its lines changed or left out (None)."""
    return get(target, *[line for line in {**RIGHT, **changes}.values() if line is not None])


CASES = [
    case(
        "the entry that everybody copies",
        """
        location /ws/ {
            proxy_pass http://BACKEND;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $cu;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 3600s;
            proxy_send_timeout 3600s;
        }
        """,
        *each(ws, "/ws/", "/ws/chat?room=a%20b", "/ws", "/other", "/ws/../ws/x"),
        get("/ws/"),
        ws("/ws/", "Sec-WebSocket-Protocol: chat, superchat"),
        ws("/ws/", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
        ws("/ws/", "Origin: http://a.test", "Cookie: a=1", "Cookie: b=2"),
        ws("/ws/", "Authorization: Bearer x"),
        ws("/ws/", host="EXAMPLE.test:8080"),
        ws("/ws/", "X-Forwarded-For: 192.0.2.1"),
        ws("http://example.test/ws/x"),
    ),
    case(
        "spelling of the ritual",
        RITUAL + "location / { proxy_pass http://BACKEND; }",
        but(upgrade="Upgrade: WebSocket"),
        but(upgrade="upgrade: WEBSOCKET"),
        but(connection="Connection: upgrade"),
        but(connection="connection: keep-alive, Upgrade"),
        but(connection="Connection: Upgrade, keep-alive"),
        but(key=f"sec-websocket-key: {KEY}", version="sec-websocket-version: 13"),
        but(upgrade="Upgrade:  websocket "),
    ),
    case(
        "what breaks the rules",
        RITUAL + "location / { proxy_pass http://BACKEND; }",
        but(key=None).differs("handshakes-are-checked", {"status": 101}, {"status": 400, "requests": 0}),
        but(key="Sec-WebSocket-Key: short").differs(
            "handshakes-are-checked", {"status": 101}, {"status": 400, "requests": 0}
        ),
        but(version="Sec-WebSocket-Version: 8").differs(
            "handshakes-are-checked", {"status": 101}, {"status": 426, "header Sec-WebSocket-Version": "13"}
        ),
        but(version=None).differs("handshakes-are-checked", {"status": 101}, {"status": 426, "requests": 0}),
        ws("/", method="POST").differs("handshakes-are-checked", {"status": 101}, {"status": 400, "requests": 0}),
        but(connection=None).differs(
            "upgrade-needs-both", {"sent Upgrade": "websocket", "status": 101}, {"sent Upgrade": None, "status": 200}
        ),
    ),
    case(
        "no ritual",
        'location / { proxy_pass http://BACKEND; } location /off { proxy_set_header Upgrade ""; proxy_pass http://BACKEND; } location /v { proxy_http_version 1.0; proxy_pass http://BACKEND; }',
        ws("/").differs(
            "upgrade-without-ritual",
            {"status": 200, "sent Upgrade": None},
            {"status": 101, "sent Upgrade": "websocket", "sent Connection": "upgrade"},
        ),
        ws("/off"),
        get("/off"),
        get("/v").differs(
            "backend-http-1-1", {"sent version": "HTTP/1.0", "sent Connection": None}, {"sent version": "HTTP/1.1"}
        ),
    ),
    case(
        "answers that are no 101",
        RITUAL + "location / { proxy_pass http://BACKEND; }",
        answering("/", status=403, body="no", lines=tuple(RIGHT.values())).differs(
            "failed-handshakes-close", {"end": "open", "status": 403}, {"end": "closed", "status": 403}
        ),
        *[
            answering("/", status=status, body="" if status in (204, 304) else "why", lines=tuple(RIGHT.values()))
            for status in (200, 204, 301, 302, 304, 400, 401, 403, 404, 426, 429, 500, 502, 503)
        ],
        answering("/", "Location: http://BACKEND/login", status=302, body="", lines=tuple(RIGHT.values())),
        answering(
            "/", "Upgrade: websocket", "Sec-WebSocket-Version: 13", status=426, body="", lines=tuple(RIGHT.values())
        ),
        answering("/", "WWW-Authenticate: Basic realm=x", status=401, body="", lines=tuple(RIGHT.values())),
        answering("/", drop=True, lines=tuple(RIGHT.values())),
        answering("/", chunked=True, status=403, body="not you", lines=tuple(RIGHT.values())),
        answering("/", close=True, status=403, body="not you", lines=tuple(RIGHT.values())),
    ),
    case(
        "answers that look like 101",
        RITUAL + "location / { proxy_pass http://BACKEND; }",
        answering("/", raw="HTTP/1.1 101 Switching Protocols\r\n\r\n", lines=tuple(RIGHT.values())).differs(
            "answers-are-checked", {"end": "closed in the middle of an answer"}, {"status": 502}
        ),
        answering(
            "/", raw="HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        ).differs("answers-are-checked", {"end": "silence"}, {"status": 502}),
    ),
    case(
        "inheritance",
        RITUAL + """
        location /inherits { proxy_pass http://BACKEND; }
        location /loses { proxy_set_header Host $host; proxy_pass http://BACKEND; }
        location /repeats { proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://BACKEND; }
        """,
        *each(ws, "/inherits", "/repeats"),
        ws("/loses").differs("upgrade-without-ritual", {"status": 200}, {"status": 101}),
    ),
    case(
        "through places",
        RITUAL + """
        location /slash/ { proxy_pass http://BACKEND/; }
        location /http { return 301 https://$host$request_uri; }
        location /forbidden { return 403; }
        location /page { error_page 502 = @spare; proxy_pass http://DEAD; }
        location @spare { proxy_pass http://BACKEND2; }
        location = /exact { proxy_pass http://BACKEND/to; }
        location ~ ^/sock/(\\w+)$ { proxy_pass http://BACKEND2/$1; }
        """,
        *each(ws, "/slash/a", "/slash", "/http", "/forbidden", "/page/x", "/exact?a", "/sock/js", "/none"),
    ),
    case(
        "over TLS",
        "server { listen 127.0.0.1:PORT ssl; server_name example.test; ssl_certificate CERT; ssl_certificate_key KEY;"
        + RITUAL
        + "proxy_set_header X-Proto $scheme; location / { proxy_pass http://BACKEND; } location /s/ { proxy_pass https://SECURE; } }",
        ws("/").over_tls(),
        ws("/s/x").over_tls(),
        get("/").over_tls(),
        ws("/nope").but(text="GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    case(
        "several backends",
        RITUAL + "location / { proxy_pass http://several; } location /dead { proxy_pass http://halfdead; }",
        *each(ws, "/", "/", "/", "/", "/dead", "/dead", "/dead"),
        http="upstream several { server BACKEND; server BACKEND2; } upstream halfdead { server DEAD; server BACKEND3; }",
    ),
    case(
        "versions of HTTP",
        RITUAL + "location / { proxy_pass http://BACKEND; }",
        ws("/", version="1.0").differs("handshakes-are-checked", {"status": 101}, {"status": 400}),
    ),
    case(
        "what a tunnel does",
        RITUAL
        + "location / { proxy_pass http://BACKEND; } location /idle { proxy_read_timeout 1s; proxy_pass http://BACKEND; }",
        ws("/").but(early=True),
        ws("/", 'X-Answer: {"tunnel": "ends"}')
        .but(listens="awake")
        .differs(
            "ends-are-told",
            {"status": 101, "end": "closed", "last message": "opcode 1: b'the last words'"},
            {"status": 101, "end": "closed", "last message": "opcode 8: b'\\x03\\xf6'"},
        ),
        ws("/idle")
        .but(listens="awake")
        .differs("pings-keep-tunnels", {"status": 101, "end": "closed"}, {"status": 101, "end": "open"}),
    ),
    case(
        "constants of the ritual",
        "location / { proxy_set_header Upgrade websocket; proxy_set_header Connection Upgrade; proxy_pass http://BACKEND; }",
        ws("/"),
        get("/").differs(
            "only-handshakes-upgrade", {"sent Upgrade": "websocket"}, {"sent Upgrade": None, "status": 200}
        ),
    ),
]
