//! Compressed answers: as small as they should be, and never held back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Read as _;

use flate2::read::{GzDecoder, MultiGzDecoder};
use support::{Backend, Conn, Longwire, site, until};

const ASK: &str = "GET /x HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    // A stream that goes on has no end yet.
    let _ = GzDecoder::new(packed).read_to_string(&mut text);
    text
}

#[test]
fn events_of_a_stream_arrive_as_they_are_sent() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "gzip on; gzip_types text/event-stream;"));
    let mut client = Conn::connect(longwire.addr());
    client.send(ASK);
    let (mut behind, _) = backend.request();
    behind.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    let head = client.read_head();
    assert_eq!((head.get("content-encoding"), head.get("transfer-encoding")), ("gzip", "chunked"));
    let (mut packed, mut sent) = (Vec::new(), String::new());
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        behind.send(&event);
        sent += &event;
        // The backend sends no more until this one is here.
        while unpacked(&packed) != sent {
            packed.extend(client.read_chunk());
        }
    }
}

#[test]
fn files_are_compressed_and_the_log_says_by_how_much() {
    let folder = support::Folder::new();
    let text = "the same words again and again, ".repeat(40_000);
    folder.write("x", &text);
    let configuration = "log_format facts '$gzip_ratio $body_bytes_sent'; access_log DIR/log facts;
        server { listen 127.0.0.1:0; root DIR; default_type text/html; location /plain { gzip off; alias DIR/x; } gzip on; }";
    let longwire = Longwire::start_in(folder, configuration, &[]);
    let mut client = Conn::connect(longwire.addr());
    client.send(ASK);
    let head = client.read_head();
    let body = client.read_body(&head);
    let mut whole = String::new();
    MultiGzDecoder::new(&body[..]).read_to_string(&mut whole).unwrap();
    assert!(whole == text, "it is unpacked to what it was");
    assert!(body.len() < text.len() / 50, "{}", body.len());
    client.send(ASK.replace("/x", "/plain"));
    let head = client.read_head();
    assert_eq!(client.read_body(&head).len(), text.len());
    let ratio = text.len() as f64 / body.len() as f64;
    let expected = format!("{ratio:.2} {}\n- {}\n", body.len(), text.len());
    until("the log has both lines", || longwire.folder().read("log") == expected);
}
