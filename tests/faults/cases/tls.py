"""TLS: certificates, versions, ports of the wrong kind, HTTP/2."""

import look
from lab import Visit, fault

PASS = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


async def secure(room, certificate, more=""):
    """nginx with TLS in front of Node's ws; gives the port."""
    backend = await room.echo()
    made = room.certificate(certificate)
    return await room.nginx(
        f"server {{ listen 127.0.0.1:PORT ssl; ssl_certificate {made.cert}; ssl_certificate_key {made.key}; {more}\n"
        f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} proxy_set_header Host $http_host; }} }}"
    )


async def visit(room, port, shows, certificate="good", **more):
    return Visit(
        f"wss://app.test:{port}/", shows, ca=str(room.certificate(certificate).ca),
        resolve=f"app.test:{port}:127.0.0.1", **more,
    )  # fmt: skip


@fault("tls-name-mismatch")
async def certificate_of_another_name(room):
    """nginx shows a certificate for other.test at app.test"""
    return await visit(room, await secure(room, "other-name"), "^tls: Hostname mismatch")


@fault("tls-expired")
async def certificate_expired(room):
    """nginx shows a certificate that has expired"""
    return await visit(room, await secure(room, "expired"), "^tls: certificate has expired")


@fault("tls-not-yet-valid")
async def certificate_from_the_future(room):
    """nginx shows a certificate that is not valid yet"""
    return await visit(room, await secure(room, "not-yet"), "^tls: certificate is not yet valid")


@fault("tls-self-signed")
async def certificate_self_signed(room):
    """nginx shows a certificate that nobody but itself has signed"""
    return await visit(room, await secure(room, "self-signed"), "^tls: self-signed certificate")


@fault("tls-chain-incomplete")
async def chain_without_its_middle(room):
    """`ssl_certificate` has the server's certificate alone, without that of its issuer"""
    return await visit(room, await secure(room, "without-issuer"), "^tls: unable to get local issuer")


@fault("tls-unknown-authority")
async def authority_unknown(room):
    """the certificate is of an authority that the client does not trust"""
    port = await secure(room, "stranger")
    return await visit(room, port, "^tls: (self-signed certificate in|unable to get local issuer)")


@fault("tls-version-old")
async def tls_1_1_alone(room):
    """nginx speaks TLS 1.1 and nothing newer"""
    more = "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
    return await visit(room, await secure(room, "plain", more), "^tls: .*(PROTOCOL|VERSION)")


@fault("tls-client-certificate")
async def nginx_wants_a_client_certificate(room):
    """nginx asks for a client's certificate (`ssl_verify_client on`) and answers 400"""
    more = f"ssl_verify_client on; ssl_client_certificate {room.certificate('plain').ca};"
    return await visit(room, await secure(room, "plain", more), "^400: .*No required SSL certificate")


@fault("tls-client-certificate")
async def haproxy_wants_a_client_certificate(room):
    """HAProxy asks for a client's certificate (`verify required`) and ends the connection with an alert"""
    backend = await room.echo()
    made = room.certificate("plain")
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT ssl crt {made.pem} ca-file {made.ca} verify required\n"
        f" server s 127.0.0.1:{backend}\n"
    )
    return await visit(room, port, "^tls: .*CERTIFICATE_REQUIRED")


@fault("tls-failed")
async def haproxy_strict_sni(room):
    """HAProxy knows no certificate for the name (`strict-sni`) and refuses to speak TLS"""
    backend = await room.echo()
    made = room.certificate("other-name")
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT ssl crt {made.pem} strict-sni\n server s 127.0.0.1:{backend}\n"
    )
    return await visit(room, port, "^tls: ")


@fault("tls-failed")
async def caddy_knows_no_such_name(room):
    """Caddy has no certificate for the name and refuses to speak TLS"""
    backend = await room.echo()
    made = room.certificate("other-name")
    port = await room.caddy(
        f"https://other.test:PORT {{\n bind 127.0.0.1\n tls {made.cert} {made.key}\n reverse_proxy 127.0.0.1:{backend}\n}}\n"
    )
    return await visit(room, port, "^tls: ")


@fault("tls-on-plain-port")
async def wss_to_a_plain_port(room):
    """`wss://` to a port of nginx that has no `ssl`"""
    backend = await room.echo()
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}")
    return await visit(room, port, "^tls: .*(WRONG_VERSION|RECORD)")


@fault("tls-on-plain-port")
async def wss_to_plain_node(room):
    """`wss://` to Node's ws without TLS"""
    return await visit(room, await room.echo(page="hello"), "^tls: .*(WRONG_VERSION|RECORD)")


@fault("plain-on-tls-port")
async def ws_to_the_tls_port_of_nginx(room):
    """`ws://` to nginx's port with `ssl`"""
    port = await secure(room, "plain")
    return Visit(f"ws://127.0.0.1:{port}/", "^400: .*plain HTTP request was sent to HTTPS port")


@fault("plain-on-tls-port")
async def ws_to_the_tls_port_of_haproxy(room):
    """`ws://` to HAProxy's port with `ssl`"""
    backend = await room.echo()
    pem = room.certificate("plain").pem
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT ssl crt {pem}\n server s 127.0.0.1:{backend}\n")
    return Visit(f"ws://127.0.0.1:{port}/", "^(ended without an answer|not http)")


@fault("plain-on-tls-port")
async def ws_to_the_tls_port_of_caddy(room):
    """`ws://` to a port at which Caddy speaks TLS"""
    backend = await room.echo()
    made = room.certificate("plain")
    port = await room.caddy(
        f"https://127.0.0.1:PORT {{\n bind 127.0.0.1\n tls {made.cert} {made.key}\n reverse_proxy 127.0.0.1:{backend}\n}}\n"
    )
    return Visit(f"ws://127.0.0.1:{port}/", "^400: .*HTTP request to an HTTPS server")


@fault("h2-without-extended-connect")
async def http2_alone(room):
    """a Node server that speaks HTTP/2 alone (no `allowHTTP1`) and knows no extended CONNECT"""
    made = room.certificate("plain")
    port = await room.node(kind="h2", cert=made.cert, key=made.key)
    return await visit(room, port, "^(40[0-9]|tls: |ended|not http)")


@fault("h2-without-extended-connect")
async def plain_http2_alone(room):
    """`listen ... http2` without `ssl` in Debian's nginx: the port speaks HTTP/2 alone, in the clear"""
    backend = await room.echo()
    port = await room.nginx(
        f"server {{ listen 127.0.0.1:PORT http2; location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/", "^(not http|ended)")


@fault("h2-connect-broken")
async def http2_websockets_denied(room):
    """HAProxy announces WebSockets over HTTP/2, and a rule refuses what comes that way; HTTP/1.1 works"""
    backend = await room.echo()
    made = room.certificate("good")
    port = await room.haproxy(
        f"listen l\n bind 127.0.0.1:PORT ssl crt {made.pem} alpn h2,http/1.1\n"
        f" http-request deny if HTTP_2.0 {{ hdr(upgrade) -m found }}\n server s 127.0.0.1:{backend}\n"
    )

    async def shows(visit):
        return f"{await look.words(visit)}; over HTTP/2: {await look.over_http2(visit)}"

    shows.wanted = "^101, open; over HTTP/2: announced, not 200"
    return await visit(room, port, shows)


@fault("backend-down")
async def haproxy_speaks_http2_to_nginx(room):
    """HAProxy speaks HTTP/2 to its backend (`proto h2`), an nginx that knows no WebSockets over it: 502"""
    backend = await room.echo()
    inner = await room.nginx(
        f"server {{ listen 127.0.0.1:PORT; http2 on; location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }} }}",
        version="new",
    )
    port = await room.haproxy(f"listen l\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{inner} proto h2\n")
    return Visit(f"ws://127.0.0.1:{port}/", "^502: ")


@fault("backend-down")
async def nginx_speaks_tls_to_a_plain_port(room):
    """nginx with `proxy_pass https://` to a backend that speaks plain HTTP: 502"""
    backend = await room.echo()
    port = await room.server(f"location / {{ proxy_pass https://127.0.0.1:{backend}; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/", "^502: .*nginx")


@fault("tls-to-backend")
async def nginx_speaks_plainly_to_a_tls_port(room):
    """nginx with `proxy_pass http://` to the TLS port of another nginx, whose 400 comes through"""
    backend = await secure(room, "plain")
    port = await room.server(f"location / {{ proxy_pass http://127.0.0.1:{backend}; {PASS} }}")
    return Visit(f"ws://127.0.0.1:{port}/", "^400: .*plain HTTP request was sent to HTTPS port")


@fault("tls-name-mismatch")
async def certificate_without_the_address(room):
    """the URL has an address, and the certificate names only app.test"""
    port = await secure(room, "name-alone")
    return Visit(f"wss://127.0.0.1:{port}/", "^tls: IP address mismatch", ca=str(room.certificate("name-alone").ca))


@fault("tls-expired")
async def issuer_expired(room):
    """the certificate is sound, and that of its issuer has expired"""
    return await visit(room, await secure(room, "old-issuer"), "^tls: certificate has expired")


@fault("tls-client-certificate")
async def caddy_wants_a_client_certificate(room):
    """Caddy asks for a client's certificate (`require_and_verify`) and ends the connection with an alert"""
    backend = await room.echo()
    made = room.certificate("plain")
    port = await room.caddy(
        f"https://app.test:PORT {{\n bind 127.0.0.1\n tls {made.cert} {made.key} {{\n client_auth {{\n"
        f" mode require_and_verify\n trusted_ca_cert_file {made.ca}\n }}\n }}\n reverse_proxy 127.0.0.1:{backend}\n}}\n"
    )
    return await visit(room, port, "^tls: ")


@fault("plain-on-tls-port")
async def ws_to_the_tls_port_of_longwire(room):
    """`ws://` to Longwire's port with `ssl`"""
    backend = await room.echo()
    made = room.certificate("plain")
    port = await room.longwire(
        f"server {{ listen 127.0.0.1:PORT ssl; ssl_certificate {made.cert}; ssl_certificate_key {made.key};"
        f" location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}"
    )
    return Visit(f"ws://127.0.0.1:{port}/", "^400: .*plain HTTP request was sent to HTTPS port")
