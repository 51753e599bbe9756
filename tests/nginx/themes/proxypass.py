"""Which URI and which backend a `proxy_pass` comes to."""

from theme import case, each, get, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
HTTP = """
upstream group { server BACKEND2; }
map $arg_to $to { default "BACKEND"; two "BACKEND2"; group "group"; upper "GROUP"; dead "DEAD"; }
"""

CASES = [
    case(
        "uri parts",
        """
        location /none { proxy_pass http://BACKEND; }
        location /slash { proxy_pass http://BACKEND/; }
        location /slash2/ { proxy_pass http://BACKEND/; }
        location /path { proxy_pass http://BACKEND/other; }
        location /path2/ { proxy_pass http://BACKEND/other; }
        location /path3 { proxy_pass http://BACKEND/other/; }
        location /args { proxy_pass http://BACKEND/x?fixed=1; }
        location /onlyargs { proxy_pass http://BACKEND?fixed=1; }
        location = /exact { proxy_pass http://BACKEND/to; }
        location = /exact2 { proxy_pass http://BACKEND; }
        location ^~ /strong/ { proxy_pass http://BACKEND2/; }
        location /space/ { proxy_pass "http://BACKEND/a b/"; }
        location /escaped/ { proxy_pass http://BACKEND/a%20b/; }
        location /upper { proxy_pass HTTP://BACKEND/Up; }
        location /group/ { proxy_pass http://group/; }
        location /group2/ { proxy_pass http://group; }
        location /secure { proxy_pass https://SECURE; }
        location /secure2/ { proxy_pass https://SECURE/s/; }
        """,
        *each(
            get,
            "/none",
            "/none/a?b",
            "/nonea",
            "/slash",
            "/slash/a",
            "/slasha?b",
            "/slash2",
            "/slash2/",
            "/slash2/a?b",
            "/path",
            "/path/a",
            "/patha?b=c",
            "/path2/",
            "/path2/a",
            "/path3",
            "/path3/a",
            "/args",
            "/args?own=2",
            "/args/a?own=2",
            "/exact",
            "/exact?a",
            "/exact/x",
            "/exact2?a",
            "/strong/a",
            "/strong/",
            "/escaped/x",
            "/escaped/%20x",
            "/upper/x",
            "/group/a",
            "/group2/a?b",
            "/secure/a?b",
            "/secure2/x",
            "/slash2/%2e%2e/none",
            "/slash2/a/../b",
            "/slash2//a",
            "/slash2/a%20b",
            "/slash2/a%2Fb",
            "/none/a%2Fb",
            "/path2/%C3%A9?%C3%A9",
        ),
        get("/space/x").differs(
            "backend-target-is-valid", {"status": 200, "uri": "/a b/x"}, {"status": 200, "uri": "/a%20b/x"}
        ),
        get("/onlyargs/x?y").differs("backend-target-is-valid", {"uri": "?fixed=1/x?y"}, {"uri": "/?fixed=1/x?y"}),
    ),
    case(
        "expressions and names",
        """
        location ~ ^/re/(.*)$ { proxy_pass http://BACKEND; }
        location ~ ^/part/(?<rest>.*)$ { proxy_pass http://BACKEND/got/$rest; }
        location ~ ^/num/([a-z]+)/(\\d+)$ { proxy_pass http://BACKEND/$2/$1; }
        location ~ ^/keep/(.*)$ { proxy_pass http://BACKEND/k/$1$is_args$args; }
        location ~* ^/CASE { proxy_pass http://BACKEND2; }
        location /e { error_page 404 = @named; return 404; }
        location /e2 { error_page 404 = /re/page?x=1; return 404; }
        location @named { proxy_pass http://BACKEND2; }
        """,
        *each(
            get,
            "/re/a%20b?c",
            "/re/../re/x",
            "/part/a/b?c",
            "/part/",
            "/num/abc/12",
            "/num/abc/x",
            "/keep/a?b=c",
            "/keep/a",
            "/case/x",
            "/Case",
            "/e/x%20y?z",
            "/e2?own",
            "/re/a//b",
        ),
        get("/part/a%20b").differs("backend-target-is-valid", {"uri": "/got/a b"}, {"uri": "/got/a%20b"}),
        get("/part/%C3%A9"),
    ),
    case(
        "variables",
        """
        location /v { proxy_pass http://$to; }
        location /u { proxy_pass http://$to/fixed; }
        location /q { proxy_pass http://$to/?q=$arg_q; }
        location /r { proxy_pass http://$to$request_uri; }
        location /n { proxy_pass http://$to$uri$is_args$args; }
        location /w { proxy_pass $arg_whole; }
        """,
        *each(
            get,
            "/v/a%20b?c",
            "/v/a?to=two",
            "/v?to=group",
            "/v?to=dead",
            "/u/x?y",
            "/u?to=two",
            "/q?q=1",
            "/q?q=%20&to=group",
            "/r/a%20b?c=d",
            "/r//x?to=two",
            "/n/a?b",
            "/n/a/../b?c",
            "/w?whole=http://BACKEND2",
            "/w?whole=http://BACKEND2/x/y",
            "/w?whole=BACKEND",
            "/w?whole=",
            "/w",
            "/w?whole=ftp://BACKEND",
            "/w?whole=http://",
            "/w?whole=https://SECURE/s",
            "/w?whole=http://BACKEND?x",
        ),
        get("/v?to=upper"),
    ),
    case(
        "nested",
        """
        location /out/ {
            proxy_pass http://BACKEND/o/;
            location /out/in/ { proxy_pass http://BACKEND2/i/; }
            location ~ \\.php$ { proxy_pass http://BACKEND3; }
            location /out/bare/ { }
        }
        """,
        *each(get, "/out/x", "/out/in/x", "/out/x.php", "/out/in/x.php", "/out/in", "/out", "/out/bare/x", "/out/bare"),
    ),
    case(
        "handshakes",
        f"""
        {RITUAL}
        location /none {{ proxy_pass http://BACKEND; }}
        location /slash/ {{ proxy_pass http://BACKEND/; }}
        location /path/ {{ proxy_pass http://BACKEND/ws/; }}
        location ~ ^/re/(.*)$ {{ proxy_pass http://BACKEND/r/$1; }}
        location /v {{ proxy_pass http://$to; }}
        location /secure {{ proxy_pass https://SECURE; }}
        location /e {{ error_page 404 = @named; return 404; }}
        location @named {{ proxy_pass http://BACKEND2; }}
        """,
        *each(
            ws,
            "/none/a?b",
            "/slash/a%20b?c=d",
            "/slash",
            "/path/x/y?token=abc%2F",
            "/re/abc?d",
            "/v/x?to=two",
            "/v/x?to=dead",
            "/secure/x",
            "/none/../slash/x",
            "/e/x?y",
            "/none//x",
            "/slash//x",
        ),
    ),
    case(
        "method and body",
        """
        location / { proxy_pass http://BACKEND; }
        location /method { proxy_method PUT; proxy_pass http://BACKEND; }
        location /nobody { proxy_pass_request_body off; proxy_pass http://BACKEND; }
        location /noheaders { proxy_pass_request_headers off; proxy_pass http://BACKEND; }
        location /neither { proxy_pass_request_headers off; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_pass http://BACKEND; }
        """,
        *[
            get("/x", method=method)
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "LOCK")
        ],
        get("/x", method="POST", body="abc"),
        get("/x", method="PUT", body=""),
        get("/x", method="GET", body="abc"),
        get("/x", method="DELETE", body="abc"),
        get("/x", method="HEAD"),
        get("/method/x"),
        get("/method/x", method="POST", body="abc"),
        get("/nobody/x", "X-A: 1", method="POST", body="abc").differs(
            "no-length-without-body", {"end": "silence", "requests": 0}, {"status": 200, "sent Content-Length": None}
        ),
        get("/noheaders/x", "X-A: 1", "Cookie: a=b", method="POST", body="abc"),
        get("/neither", "X-A: 1", method="POST", body="abc"),
        get("/x", method="POST", body="x" * 20000),
        get("/x", method="OPTIONS", body="abc"),
    ),
]
