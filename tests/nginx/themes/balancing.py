"""Which backend is chosen by hash, address, count and cookie, and who is asked next."""

from theme import answering, case, each, get, post, ws

HTTP = """
upstream ip { ip_hash; server BACKEND; server BACKEND2; server BACKEND3; }
upstream ipw { ip_hash; server BACKEND weight=2; server BACKEND2 down; server BACKEND3; }
upstream hashed { hash $arg_k; server BACKEND; server BACKEND2; server BACKEND3; }
upstream hashedw { hash $arg_k; server BACKEND weight=3; server BACKEND2; }
upstream ring { hash $arg_k consistent; server BACKEND; server BACKEND2; server BACKEND3 weight=2; }
upstream least { least_conn; server BACKEND; server BACKEND2 weight=2; }
upstream two { server BACKEND; server BACKEND2; }
upstream three { server BACKEND max_fails=0; server BACKEND2 max_fails=0; server BACKEND3 max_fails=0; }
upstream route { sticky route $cookie_r $arg_r; server BACKEND route=a; server BACKEND2 route=b; }
upstream cookie { sticky cookie srv expires=1h domain=.example.test path=/ httponly; server BACKEND; server BACKEND2; }
upstream named { sticky cookie srv; server BACKEND route=a; server BACKEND2 route=b; }
upstream draining { sticky cookie srv; server BACKEND route=a; server BACKEND2 route=b drain; }
upstream halfdead { hash $arg_k; server BACKEND; server DEAD max_fails=0; }
"""
RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
KEYS = [f"/?k={key}" for key in range(20)]

CASES = [
    case(
        "by address",
        "server { listen PORT; location / { proxy_pass http://ip; } location /w { proxy_pass http://ipw; } }",
        *[
            get(path).but(address=f"127.0.{third}.{last}")
            for path in ("/", "/w")
            for third in (0, 1, 2, 77)
            for last in (1, 2)
        ],
    ),
    case(
        "by key",
        RITUAL + "location / { proxy_pass http://hashed; }",
        *each(get, *KEYS),
        *each(ws, *KEYS[:4]),
        get("/"),
        get("/?k="),
    ),
    case("by key and weight", "location / { proxy_pass http://hashedw; }", *each(get, *KEYS)),
    case(
        "on a ring",
        RITUAL + "location / { proxy_pass http://ring; }",
        *each(get, *KEYS),
        *each(ws, *KEYS[:4]),
        get("/"),
    ),
    case("by connections", "location / { proxy_pass http://least; }", *[get(f"/{i}") for i in range(9)]),
    case(
        "by route",
        "location / { proxy_pass http://route; }",
        get("/?r=a"),
        get("/?r=b"),
        get("/", "Cookie: r=b"),
        get("/", "Cookie: r=a"),
        get("/?r=b", "Cookie: r=b"),
    ),
    case(
        "by cookie, to a server that drains",
        RITUAL + "location / { proxy_pass http://draining; }",
        get("/"),
        get("/", "Cookie: srv=b"),
        ws("/"),
        ws("/?EIO=4&sid=x", "Cookie: srv=b"),
        ws("/", "Cookie: srv=b").differs(
            "no-tunnels-to-who-drains",
            {"status": 101, "header Set-Cookie": "srv=b"},
            {"status": 101, "header Set-Cookie": "srv=a"},
        ),
        get("/?EIO=4", "Cookie: srv=b").differs(
            "no-tunnels-to-who-drains",
            {"status": 200, "header Set-Cookie": "srv=b"},
            {"status": 200, "header Set-Cookie": "srv=a"},
        ),
    ),
    case("half dead", "location / { proxy_pass http://halfdead; }", *each(get, *KEYS[:8])),
    case(
        "next",
        """
        location /codes { proxy_next_upstream error timeout http_500 http_502 http_503 http_504 http_404 http_429 http_403; proxy_pass http://three; }
        location /off { proxy_next_upstream off; proxy_pass http://three; }
        location /non { proxy_next_upstream error http_500 non_idempotent; proxy_pass http://three; }
        location /tries { proxy_next_upstream error http_500; proxy_next_upstream_tries 2; proxy_pass http://three; }
        location /invalid { proxy_next_upstream error invalid_header; proxy_pass http://three; }
        """,
        *[answering("/codes", status=status, body="x") for status in (500, 502, 503, 504, 404, 429, 403, 400)],
        answering("/off", status=500, body="x"),
        answering("/off", drop=True).but(wanted="a kept connection that was closed counts as a try"),
        answering("/codes", status=500, body="x", method="POST"),
        answering("/non", status=500, body="x", method="POST"),
        answering("/tries", status=500, body="x"),
        answering("/invalid", raw="HTTP/1.1 200 OK\r\nbad header\r\n\r\n"),
    ),
    case(
        "next, of servers that say nothing",
        """
        location /off { proxy_next_upstream off; proxy_pass http://fresh1; }
        location /tries { proxy_next_upstream error; proxy_next_upstream_tries 2; proxy_pass http://fresh2; }
        location /get { proxy_pass http://fresh3; }
        location /post { proxy_pass http://fresh4; }
        location /non { proxy_next_upstream error non_idempotent; proxy_pass http://fresh5; }
        """,
        answering("/off", drop=True),
        answering("/tries", drop=True),
        answering("/get", drop=True),
        answering("/post", drop=True, method="POST"),
        answering("/non", drop=True, method="POST"),
        # Each has a group of its own, without connections that were kept.
        http="".join(
            f"upstream fresh{i} {{ server BACKEND; server BACKEND2; server BACKEND3; }}\n" for i in range(1, 6)
        ),
    ),
    case(
        "by cookie",
        RITUAL + "location / { proxy_pass http://cookie; } location /named { proxy_pass http://named; }",
        *each(get, "/", "/", "/named", "/named"),
        get("/named", "Cookie: srv=b"),
        get("/named", "Cookie: srv=a"),
        get("/named", "Cookie: srv=unknown"),
        ws("/named", "Cookie: srv=b"),
        ws("/"),
    ),
]
