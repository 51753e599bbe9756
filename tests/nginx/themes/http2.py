"""Servers that offer HTTP/2, asked in HTTP/1.1: `http2 on` changes nothing for those who do not ask for it."""

from theme import case, get, ws

RITUAL = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"

CASES = [
    case(
        "over TLS",
        "server { listen 127.0.0.1:PORT ssl; http2 on; ssl_certificate CERT; ssl_certificate_key KEY; "
        + RITUAL
        + ' location / { proxy_set_header X-H2 "[$http2]"; proxy_set_header Upgrade $http_upgrade; '
        + "proxy_set_header Connection upgrade; proxy_pass http://BACKEND; } }",
        get("/").over_tls(),
        ws("/").over_tls(),
        get("/"),
    ),
    case(
        "parameter of listen",
        "server { listen 127.0.0.1:PORT ssl http2; ssl_certificate CERT; ssl_certificate_key KEY; "
        + RITUAL
        + " location / { proxy_pass http://BACKEND; } }",
        get("/").over_tls(),
        ws("/").over_tls(),
    ),
]
