"""geo, split_clients and realip: variables out of addresses."""

from theme import case, each, get, raw, ws

HTTP = """
geo $geo { default d; 127.0.0.1/32 one; 127.0.0.0/30 few; 127.0.0.0/8 loop; 192.0.2.0/24 doc; ::1 six; }
geo $arg_ip $arg { default none; 10.0.0.0/8 ten; 10.1.0.0/16 ten-one; 10.1.2.3 host; 2001:db8::/32 v6; delete 10.9.0.0/16; }
geo $arg_ip $ranges { ranges; default none; 10.0.0.0-10.0.0.9 low; 10.0.0.5-10.0.0.5 five; }
geo $http_x_forwarded_for $proxied { proxy 127.0.0.0/8; default none; 192.0.2.0/24 doc; }
split_clients "$arg_k" $split { 10% a; 20% b; 0.5% c; * rest; }
split_clients "$remote_addr$arg_k" $half { 50% left; * ""; }
"""
TELL = 'default_type text/plain; return 200 "$geo|$arg|$ranges|$split|$half";'

CASES = [
    case(
        "addresses",
        f"server {{ listen PORT; location / {{ {TELL} }} }}",
        *[get("/").but(address=f"127.0.0.{last}") for last in (1, 2, 3, 4, 9)],
        *each(
            get,
            "/?ip=10.0.0.1",
            "/?ip=10.1.0.1",
            "/?ip=10.1.2.3",
            "/?ip=10.9.1.1",
            "/?ip=10.0.0.5",
            "/?ip=10.0.0.9",
            "/?ip=10.0.0.10",
            "/?ip=2001:db8::1",
            "/?ip=bad",
            "/?ip=",
            "/",
        ),
    ),
    case("shares", f"location / {{ {TELL} }}", *[get(f"/?k={i}") for i in range(30)], get("/?k="), get("/?k=%20")),
    case(
        "real addresses",
        """
        server {
            listen PORT; set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;
            location / { default_type text/plain; return 200 "$remote_addr|$realip_remote_addr|$proxy_add_x_forwarded_for|$geo"; }
            location /rec { real_ip_recursive on; default_type text/plain; return 200 "$remote_addr"; }
            location /own { real_ip_header X-Real-IP; default_type text/plain; return 200 "$remote_addr"; }
            location /strange { set_real_ip_from 10.0.0.0/8; default_type text/plain; return 200 "$remote_addr"; }
            location /p { proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://BACKEND; }
        }
        """,
        *[
            get(path, *lines)
            for path in ("/", "/rec", "/own", "/strange", "/p")
            for lines in (
                (),
                ("X-Forwarded-For: 192.0.2.7",),
                ("X-Forwarded-For: 192.0.2.7, 127.0.0.9",),
                ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.8"),
                ("X-Real-IP: 192.0.2.9",),
                ("X-Forwarded-For: bad",),
                ("X-Forwarded-For: 192.0.2.7:99",),
                ("X-Forwarded-For: [2001:db8::1]:5",),
            )
        ],
        ws("/p", "X-Forwarded-For: 192.0.2.7"),
    ),
    case(
        "real addresses of the PROXY protocol",
        """
        server {
            listen 127.0.0.1:PORT proxy_protocol; set_real_ip_from 127.0.0.0/8; real_ip_header proxy_protocol;
            location / { default_type text/plain; return 200 "$remote_addr|$proxy_protocol_addr|$realip_remote_addr"; }
        }
        """,
        raw("PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        raw("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
]
