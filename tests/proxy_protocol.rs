//! Who the client is, told by the proxy in front: the PROXY protocol, before TLS and before HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Read as _;

use support::frames::upgrade_request;
use support::tls::Identity;
use support::{Backend, Conn, Longwire, site};

const HEADERS: &str = "proxy_set_header X-Client $proxy_protocol_addr:$proxy_protocol_port;\n\
    proxy_set_header X-Server $proxy_protocol_server_addr:$proxy_protocol_server_port;\n\
    proxy_set_header X-Peer $remote_addr;";

/// A proxy whose connections have to begin with the header.
fn behind_another(backend: &Backend) -> Longwire {
    let at = backend.addr();
    Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0 proxy_protocol; location / {{ proxy_pass http://{at}; {HEADERS} }} }}"
    ))
}

/// The header as version 2 writes it, for a client 192.0.2.7:4711 of a server 198.51.100.1:443.
fn version_2() -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n".as_slice();
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];
    [signature, &[0x21, 0x11, 0, 12], &addresses].concat()
}

#[test]
fn a_tunnel_opens_behind_either_version() {
    let backend = Backend::new();
    let longwire = behind_another(&backend);
    for header in [b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(), version_2()] {
        let mut client = Conn::connect(longwire.addr());
        // Header and request in one segment: what stands behind the header belongs to HTTP.
        client.send([header, upgrade_request("/", "").into_bytes()].concat());
        let (mut server, head) = backend.tunnel();
        assert_eq!(head.get("x-client"), "192.0.2.7:4711");
        assert_eq!(head.get("x-server"), "198.51.100.1:443");
        assert_eq!(head.get("x-peer"), "127.0.0.1", "only set_real_ip_from changes $remote_addr");
        client.expect_tunnel();
        client.send_text("hello");
        assert_eq!(server.read_frame().text(), "hello");
    }
}

#[test]
fn a_header_without_addresses_leaves_the_variables_empty() {
    let backend = Backend::new();
    let longwire = behind_another(&backend);
    let mut client = Conn::connect(longwire.addr());
    client.send("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (_server, head) = backend.request();
    assert_eq!(head.get("x-client"), ":");
}

#[test]
fn a_connection_without_the_header_ends_with_a_line_in_the_log() {
    let backend = Backend::new();
    let longwire = behind_another(&backend);
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect_end();
    longwire.wait_log(&[
        "[error]",
        "broken PROXY protocol header",
        "while reading PROXY protocol, client: 127.0.0.1",
    ]);
    assert!(backend.was_left_alone());
}

#[test]
fn the_header_stands_before_tls() {
    let backend = Backend::new();
    let at = backend.addr();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0 ssl proxy_protocol; location / {{ proxy_pass http://{at}; {HEADERS} }} }}"
    ));
    let mut tcp = Conn::connect(longwire.addr());
    tcp.send(version_2());
    let mut client = support::tls::over_trusting_anyone(tcp.tcp().try_clone().unwrap(), "localhost").unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (_server, head) = backend.request();
    assert_eq!(head.get("x-client"), "192.0.2.7:4711");
}

/// The line of version 1 that a connection to a backend begins with.
fn line(conn: &mut Conn) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(conn.read(1));
    }
    String::from_utf8(line).unwrap()
}

/// What is to be announced of this client.
fn expected(client: &Conn, longwire: &Longwire) -> String {
    let (port, to) = (client.tcp().local_addr().unwrap().port(), longwire.addr().port());
    format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {to}\r\n")
}

#[test]
fn a_backend_is_told_who_the_client_is() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_protocol on;"));
    let mut client = Conn::connect(longwire.addr());
    client.send(upgrade_request("/", ""));
    let mut server = backend.accept();
    assert_eq!(line(&mut server), expected(&client, &longwire));
    let head = server.read_head();
    assert!(server.try_upgrade(&head));
    client.expect_tunnel();
    client.send_text("hello");
    assert_eq!(server.read_frame().text(), "hello");
}

#[test]
fn a_kept_connection_serves_the_client_that_it_announced() {
    const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_protocol v1;"));
    let mut clients: Vec<_> = (0..2).map(|_| Conn::connect(longwire.addr())).collect();
    let mut servers = Vec::new();
    for client in &mut clients {
        client.send(ASK);
        let mut server = backend.accept();
        assert_eq!(line(&mut server), expected(client, &longwire));
        server.read_head();
        server.send(ANSWER);
        let head = client.read_head();
        assert_eq!(client.read_body(&head), b"ok");
        servers.push(server);
    }
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        client.send(ASK);
        // No second header: the connection goes on.
        assert_eq!(server.read_head().start, "GET / HTTP/1.1");
        server.send(ANSWER);
        assert_eq!(client.read_head().status(), 200);
    }
    assert!(backend.was_left_alone());
}

#[test]
fn version_2_stands_before_tls() {
    let backend = Backend::new();
    let identity = Identity::new(&["a"]);
    let configuration = site(backend.addr(), "proxy_protocol v2;").replace("http://", "https://");
    let longwire = Longwire::start(&configuration);
    let mut client = Conn::connect(longwire.addr());
    client.send("GET /tls HTTP/1.1\r\nHost: a\r\n\r\n");
    let server = backend.accept();
    // Past the connection's own buffer: what follows is for TLS.
    let mut header = [0; 28];
    server.tcp().read_exact(&mut header).unwrap();
    let (port, to) =
        (client.tcp().local_addr().unwrap().port().to_be_bytes(), longwire.addr().port().to_be_bytes());
    assert_eq!(header[..16], version_2()[..16]);
    assert_eq!(header[16..], [&[127, 0, 0, 1, 127, 0, 0, 1][..], &port, &to].concat());
    let mut server = identity.accept(server).unwrap();
    assert_eq!(server.read_head().start, "GET /tls HTTP/1.1");
}

#[test]
fn a_client_told_by_a_proxy_in_front_is_passed_on() {
    let backend = Backend::new();
    let at = backend.addr();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0 proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
            location / {{ proxy_pass http://{at}; proxy_protocol on; }} }}"
    ));
    let mut client = Conn::connect(longwire.addr());
    client.send("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = backend.accept();
    let port = longwire.addr().port();
    assert_eq!(line(&mut server), format!("PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 4711 {port}\r\n"));
}
