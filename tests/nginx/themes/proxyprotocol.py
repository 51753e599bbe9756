"""The PROXY protocol in front of a request."""

from theme import case, raw

TELL = (
    'default_type text/plain; return 200 "$remote_addr|$proxy_protocol_addr|$proxy_protocol_port|'
    '$proxy_protocol_server_addr|$proxy_protocol_server_port";'
)
REST = "GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"
V2 = "\r\n\r\n\0\r\nQUIT\n"


def v2(command, family, payload):
    return raw(V2 + chr(command) + chr(family) + chr(len(payload) >> 8) + chr(len(payload) & 255) + payload + REST)


CASES = [
    case(
        "versions",
        f"server {{ listen 127.0.0.1:PORT proxy_protocol; location / {{ {TELL} }} }}",
        raw("PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n" + REST),
        raw("PROXY TCP6 2001:db8::1 2001:db8::2 4000 80\r\n" + REST),
        raw("PROXY UNKNOWN\r\n" + REST),
        raw("PROXY UNKNOWN x y\r\n" + REST),
        raw(REST),
        raw("PROXY TCP4 bad\r\n" + REST),
        raw("PROXY TCP4 192.0.2.7 192.0.2.1 99999 80\r\n" + REST),
        v2(0x21, 0x11, "\xc0\0\x02\x07\xc0\0\x02\x01\x0f\xa0\0P"),
        v2(0x20, 0x00, ""),
        v2(0x21, 0x21, "\x20\x01\x0d\xb8" + "\0" * 11 + "\x01" + "\x20\x01\x0d\xb8" + "\0" * 11 + "\x02\x0f\xa0\0P"),
        v2(0x21, 0x11, "\xc0\0\x02\x07\xc0\0\x02\x01\x0f\xa0\0P\x03\0\x01x"),
        v2(0x31, 0x11, "\0" * 12),
    )
]
