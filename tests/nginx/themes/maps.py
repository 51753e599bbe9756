"""`map`: the order of its patterns, and the idiom of the upgrade."""

from theme import case, each, get, ws

HTTP = """
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
map $arg_k $plain { default d; a 1; B 2; "" empty; "c d" 3; $arg_other other; \\default escaped; ~^re(.+)$ "re-$1"; ~*^CASE "case"; "~^(?<cap>x+)y" "cap-$cap"; e "${arg_other}-$uri"; }
map $host $hosts { hostnames; default d; example.test exact; *.example.test sub; .both.test both; www.* www; *.deep.example.test deep; ~\\.re\\.test$ re; }
map $http_origin $allowed { default 0; "~^https://([a-z]+\\.)?good\\.test$" 1; }
map "$arg_a:$arg_b" $both { default -; "1:2" yes; "~^1:" one; ":" none; }
map $plain $chained { default no; 1 one; re-x rex; }
map $arg_k $nodefault { a 1; }
map $args $volatile_map { volatile; default "$args"; }
map $request_method $limit { POST post; default ""; }
map $http_user_agent $bot { default 0; ~*(bot|crawl) 1; }
"""

CASES = [
    case(
        "patterns",
        'location / { default_type text/plain; return 200 "$plain|$chained|$nodefault|$both|$cap"; }',
        *each(
            get,
            "/",
            "/?k=a",
            "/?k=A",
            "/?k=b",
            "/?k=B",
            "/?k=c%20d",
            "/?k=c+d",
            "/?k=rex",
            "/?k=re",
            "/?k=REx",
            "/?k=caseX",
            "/?k=xxz",
            "/?k=default",
            "/?k=e&other=o",
            "/u?k=e",
            "/?a=1&b=2",
            "/?a=1&b=3",
            "/?a=2&b=2",
            "/?k=a&a=1",
            "/?other=q&k=q",
            "/?k=",
        ),
        get("/?k=xxy").but(wanted="captures of a map outside of it"),
    ),
    case(
        "hosts",
        'location / { default_type text/plain; return 200 "$hosts"; }',
        *[
            get("/", host=host)
            for host in (
                "example.test",
                "a.example.test",
                "a.b.example.test",
                "x.deep.example.test",
                "both.test",
                "x.both.test",
                "xboth.test",
                "www.any",
                "www.a.b",
                "x.re.test",
                "EXAMPLE.test",
                "other",
                "example.test.",
            )
        ],
    ),
    case(
        "upgrade",
        "location / { proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header X-Allowed $allowed; proxy_set_header X-Bot $bot; proxy_set_header X-Limit $limit; proxy_pass http://BACKEND; }",
        ws("/"),
        get("/"),
        ws("/", "Origin: https://a.good.test"),
        ws("/", "Origin: https://good.test.evil"),
        get("/", "User-Agent: GoogleBot"),
        get("/", method="POST", body="x"),
        ws("/chat?room=1", "Sec-WebSocket-Protocol: a, b"),
        get(
            "/",
            "Upgrade: WebSocket",
            "Connection: upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        get(
            "/",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ),
    case(
        "as a status of another place",
        'location / { default_type text/plain; return 200 "$volatile_map|$limit|$bot"; }',
        "/?x",
        get("/", method="POST"),
        get("/?y", "User-Agent: crawler"),
    ),
]
