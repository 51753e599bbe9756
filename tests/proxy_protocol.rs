//! Who the client is, told by the proxy in front: the PROXY protocol, before TLS and before HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::frames::upgrade_request;
use support::{Backend, Conn, Longwire};

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
