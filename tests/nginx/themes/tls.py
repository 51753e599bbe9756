"""TLS towards clients, as requests show it."""

from theme import case, each, get, raw, ws

SSL = "ssl_certificate CERT; ssl_certificate_key KEY;"

CASES = [
    case(
        "variables",
        f'server {{ listen 127.0.0.1:PORT ssl; server_name one; {SSL} location / {{ default_type text/plain; return 200 "$scheme|$https|$ssl_server_name|$server_name|$host|$server_port|$ssl_session_reused"; }} location /p {{ proxy_set_header X-Proto $scheme; proxy_set_header X-Https $https; proxy_pass http://BACKEND; }} location /r {{ return 301 /x; }} location /s/ {{ proxy_pass http://BACKEND; }} }}'
        + f"server {{ listen 127.0.0.1:PORT ssl; server_name two; {SSL} return 200 two; }}",
        *[each_.over_tls("one") for each_ in each(get, "/", "/p", "/r", "/s", "/s/")],
        get("/", host="one").over_tls("one"),
        get("/", host="two").over_tls("two"),
        get("/", host="nobody").over_tls("nobody"),
        ws("/p").over_tls().differs("upgrade-without-ritual", {"status": 200}, {"status": 101}),
        get("/", host=None, version="1.0").over_tls(),
    ),
    case(
        "plain HTTP on a port for TLS",
        f"server {{ listen 127.0.0.1:PORT ssl; {SSL} location / {{ proxy_pass http://BACKEND; }} }} server {{ listen 127.0.0.1:PORT2 ssl; {SSL} error_page 497 301 =307 https://$host:PORT2$request_uri; location / {{ return 200 x; }} }}",
        get("/"),
        ws("/"),
        get("/a?b").but(port="PORT2"),
        ws("/a").but(port="PORT2"),
        get("/", method="POST", body="abc"),
        raw("nonsense\r\n\r\n"),
    ),
    case(
        "both on one server",
        f'server {{ listen 127.0.0.1:PORT; listen 127.0.0.1:PORT2 ssl; server_name both; {SSL} location / {{ default_type text/plain; return 200 "$scheme $server_port $https"; }} }}',
        get("/"),
        get("/").over_tls().but(port="PORT2"),
        get("/").but(port="PORT2"),
    ),
    case(
        "to backends",
        "location / { proxy_pass https://SECURE; } location /name { proxy_ssl_server_name on; proxy_ssl_name example.test; proxy_pass https://SECURE; } location /verify { proxy_ssl_verify on; proxy_ssl_trusted_certificate CERT; proxy_ssl_name localhost; proxy_pass https://SECURE; } location /wrong { proxy_ssl_verify on; proxy_ssl_trusted_certificate CERT; proxy_ssl_name other.test; proxy_pass https://SECURE; } location /plain { proxy_pass https://BACKEND; } location /tls { proxy_pass http://SECURE; }",
        *each(get, "/", "/name", "/verify", "/wrong"),
    ),
]
