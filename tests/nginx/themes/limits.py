"""limit_req and limit_conn, as far as one request after the other shows them."""

from theme import case, each, get, ws

HTTP = """
limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;
limit_req_zone $arg_key zone=key:1m rate=1r/m;
limit_req_zone $binary_remote_addr zone=burst:1m rate=1r/m;
limit_req_zone $binary_remote_addr zone=code:1m rate=1r/m;
limit_req_zone $binary_remote_addr zone=dry:1m rate=1r/m;
limit_conn_zone $binary_remote_addr zone=conn:1m;
"""

CASES = [
    case(
        "rate",
        "location / { limit_req zone=one; proxy_pass http://BACKEND; }",
        *each(get, "/1", "/2", "/3"),
        ws("/4"),
        get("/5").but(address="127.0.0.1"),
    ),
    case(
        "by key",
        "location / { limit_req zone=key; proxy_pass http://BACKEND; }",
        *each(get, "/?key=a", "/?key=a", "/?key=b", "/?key=", "/", "/?key=b"),
    ),
    case(
        "burst",
        "location / { limit_req zone=burst burst=2 nodelay; proxy_pass http://BACKEND; }",
        *[get(f"/{i}") for i in range(5)],
    ),
    case(
        "status",
        "limit_req_status 429; location / { limit_req zone=code; error_page 429 /slow; proxy_pass http://BACKEND; } location /slow { return 200 slow; }",
        *each(get, "/1", "/2"),
    ),
    case(
        "dry run",
        "location / { limit_req_dry_run on; limit_req zone=dry; add_header X-Limit $limit_req_status; proxy_pass http://BACKEND; }",
        *each(get, "/1", "/2"),
    ),
    case(
        "connections",
        "location / { limit_conn conn 1; add_header X-Limit $limit_conn_status; proxy_pass http://BACKEND; } location /none { limit_conn_status 444; limit_conn conn 1; proxy_pass http://BACKEND; }",
        *each(get, "/1", "/2", "/none"),
    ),
]
