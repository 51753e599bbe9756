"""Groups of backends: who is asked, and who next."""

from theme import answering, case, each, get, post, ws

HTTP = """
upstream two { server BACKEND; server BACKEND2; }
upstream weights { server BACKEND weight=3; server BACKEND2; server BACKEND3 weight=2; }
upstream backup { server DEAD; server BACKEND2 backup; }
upstream down { server BACKEND down; server BACKEND2; }
upstream alldown { server BACKEND down; }
upstream dead { server DEAD; server DEAD; }
upstream half { server DEAD max_fails=0; server BACKEND; }
upstream fails { server DEAD max_fails=1 fail_timeout=60s; server BACKEND; }
upstream lone { server BACKEND; }
upstream lonedead { server DEAD max_fails=1 fail_timeout=60s; }
upstream kept { server BACKEND; keepalive 4; }
upstream named.test { server BACKEND2; }
"""

CASES = [
    case("rounds", "location / { proxy_pass http://two; }", *[get(f"/{i}") for i in range(6)]),
    case("weights", "location / { proxy_pass http://weights; }", *[get(f"/{i}") for i in range(14)]),
    case("backup", "location / { proxy_pass http://backup; }", *[get(f"/{i}") for i in range(4)]),
    case(
        "down",
        "location / { proxy_pass http://down; } location /all { proxy_pass http://alldown; }",
        *each(get, "/1", "/2", "/3", "/all"),
        ws("/all"),
    ),
    case("dead", "location / { proxy_pass http://dead; }", *each(get, "/1", "/2", "/3"), post("/", "abc")),
    case(
        "half dead",
        "location / { add_header V-Status $upstream_status; proxy_pass http://half; } location /f { add_header V-Status $upstream_status; proxy_pass http://fails; }",
        *each(get, "/1", "/2", "/3", "/4", "/f1", "/f2", "/f3", "/f4"),
        post("/5", "abc"),
        post("/6", "abc"),
    ),
    case(
        "names",
        "location /l { proxy_pass http://lone/x/; } location /k { proxy_pass http://kept; } location /n { proxy_pass http://named.test; }",
        *each(get, "/l", "/l/a", "/k/1", "/k/2", "/n/x"),
    ),
    case(
        "failing answers",
        "location / { proxy_pass http://two; }",
        answering("/", status=502, body="x"),
        answering("/", status=503, body="x"),
        answering("/", drop=True).but(wanted="a kept connection that was closed counts as a try"),
        answering("/", raw="nonsense\r\n\r\n"),
    ),
    case(
        "a lone server is never given up",
        "location / { add_header V-Addr $upstream_addr always; proxy_pass http://lonedead; }",
        *each(get, "/1", "/2", "/3"),
        ws("/4"),
    ),
]
