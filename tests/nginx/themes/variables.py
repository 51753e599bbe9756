"""Variables, where they are the same in every run."""

from theme import answering, case, each, get, post, ws

NAMES = (
    (
        "args query_string is_args uri document_uri request_uri request request_method scheme https host http_host server_name server_port server_addr server_protocol remote_addr remote_user content_length content_type "
        "http_user_agent http_referer http_cookie http_x_custom http_x_forwarded_for http_upgrade http_connection http_none arg_a arg_B arg_none cookie_sid cookie_SID cookie_none proxy_add_x_forwarded_for connection_requests request_length "
        "binary_remote_addr status body_bytes_sent nginx_version_ proxy_protocol_addr limit_rate pipe http_accept_language http_authorization sent_http_x ssl_protocol request_completion uri"
    )
    .replace("nginx_version_ ", "")
    .replace("binary_remote_addr ", "")
    .replace("limit_rate ", "")
    .split()
)

TELL = "default_type text/plain; return 200 '" + "|".join(f"{name}=${name}" for name in NAMES) + "';"
SET = "".join(f"proxy_set_header V-{name.replace('_', '-')} ${name};" for name in NAMES)

REQUESTS = [
    *each(
        get,
        "/",
        "/p/a%20b?a=1&b=2&B=3",
        "/?a=",
        "/?a",
        "/?a=%20&a=2",
        "/?ba=1&a=2",
        "/?A=upper",
        "/??a=1",
        "/?",
        "/?&&",
        "/x?a=1;b=2",
    ),
    get("/", "Cookie: sid=1; other=2"),
    get("/", "Cookie: other=2;sid=3;SID=4"),
    get("/", "Cookie: asid=1; sid=2"),
    get("/", "Cookie: sid"),
    get("/", "Cookie: sid=a,b; x"),
    get("/", "Cookie: x=1", "Cookie: sid=5"),
    get("/", "Cookie: sid = 5 ; y"),
    get("/", "X-Custom: a", "X-Custom: b"),
    get("/", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"),
    get("/", "User-Agent: x", "Referer: http://r/"),
    get("/", "Authorization: Basic dXNlcjpwYXNz"),
    get("/", "Authorization: Basic !"),
    get("/", "Authorization: Bearer x"),
    get("/", "Content-Type: a/b"),
    post("/", "", "Content-Type: a/b"),
    get("/", host="OTHER.test:99"),
    get("/", host=None, version="1.0"),
    get("/", "Accept-Language: de", "Accept-Language: en"),
    ws("/"),
    get("/", "Connection: close"),
    get("http://h.test/x?y"),
    get("/", "User-Agent: a", "User-Agent: b"),
    get("/", "Referer: a", "Referer: b"),
    get("/", "Authorization: Basic dXNlcjo="),
    get("/", "Authorization: basic dXNlcjpwYXNz"),
    get("/", "X-Forwarded-For: "),
    get("/", "Upgrade: x", "Connection: y"),
    get("/", method="DELETE"),
]

CASES = [
    case("in a return", f"location / {{ {TELL} }}", *REQUESTS),
    case(
        "in headers for a backend",
        f"location / {{ proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; {SET} proxy_pass http://BACKEND; }}",
        *[each_ for each_ in REQUESTS],
    ),
    case(
        "of the answer",
        """
        location / { add_header V-Status $status; add_header V-Upstream $upstream_status; add_header V-Addr $upstream_addr; add_header V-X $upstream_http_x_own; add_header V-Cookie $upstream_cookie_sid; add_header V-Length $upstream_response_length;
                     add_header V-Proxy "$proxy_host $proxy_port"; add_header V-Cache "[$upstream_cache_status]"; proxy_pass http://BACKEND; }
        location /sent { add_header V-Sent $sent_http_x_own; add_header V-Type $sent_http_content_type; add_header V-SentLength $sent_http_content_length; proxy_pass http://BACKEND; }
        location /dead { add_header V-Upstream $upstream_status always; add_header V-Addr $upstream_addr always; proxy_pass http://DEAD; }
        location /none { add_header V-Upstream "[$upstream_status]" always; return 404; }
        """,
        get("/"),
        answering("/", "X-Own: 1", "Set-Cookie: sid=9; Path=/", body="x"),
        answering("/", "X-Own: 1", "X-Own: 2", body="x"),
        answering("/", "Location: http://BACKEND/x", status=302, body=""),
        get("/dead"),
        get("/none"),
        answering("/", chunked=True, body="x"),
        *[
            request
            for request in (
                answering("/sent", "X-Own: 1", body="x"),
                answering("/sent", "X-Own: 1", "X-Own: 2", body="x"),
                answering("/sent", "Location: http://BACKEND/x", status=302, body=""),
            )
        ],
    ),
    case(
        "captures",
        """
        location ~ ^/(?<first>[^/]+)/(\\d+)(/.*)?$ { default_type text/plain; return 200 "$first|$1|$2|$3|$4"; }
        location ~* ^/(x)(y)?$ { default_type text/plain; return 200 "$1|$2|$3"; }
        location / { default_type text/plain; return 200 "$first|$1"; }
        """,
        *each(get, "/a/1", "/a/1/b", "/a%20b/2/c%2Fd", "/x", "/XY", "/other", "/%C3%A9/3"),
    ),
    case(
        "texts",
        """location / { default_type text/plain; return 200 "a$arg_a b${arg_a}c \\"q\\" 'q' \\\\ \\n ;{}#"; }""",
        "/?a=1",
        "/",
    ),
]
