//! Where one message ends and the next begins, what is sent once only, and that every wait has an end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Backend, Conn, Longwire, site};

/// An answer of 200 with this body.
fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A length without its body would make the second backend take the next request for the body.
#[test]
fn a_body_that_is_gone_is_not_announced_to_a_second_backend() {
    let first = Backend::new();
    let second = Backend::new();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0;
            location / {{ proxy_pass http://{}; proxy_intercept_errors on; error_page 503 = @second; }}
            location @second {{ proxy_pass http://{}; }}
        }}",
        first.addr(),
        second.addr()
    ));
    for framing in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("POST /x HTTP/1.1\r\nHost: a\r\n{framing}"));
        let (mut server, _) = first.request();
        server.send("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.read_head().status(), 502);
        longwire.wait_log(&["[error]", "request body", "gone"]);
    }
    assert!(second.was_left_alone());
    // Without a body the second one is asked.
    let mut client = Conn::connect(longwire.addr());
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    first.request().0.send("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    second.request().0.send(ok("second"));
    assert_eq!(client.read_answer().1, "second");
}

#[test]
fn the_chunked_body_of_a_get_passes() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let (mut server, head) = backend.request();
    assert_eq!(head.get("transfer-encoding"), "chunked");
    assert_eq!(server.read_chunk(), b"hello");
    server.send(ok("found"));
    assert_eq!(client.read_answer().1, "found");
}

/// A kept connection that breaks after the request went out says nothing of what the backend did with it.
#[test]
fn what_may_have_had_an_effect_is_sent_once() {
    let (a, b) = (Backend::new(), Backend::new());
    let longwire = Longwire::start(&format!(
        "upstream both {{ server {}; server {}; keepalive 4; }}
        server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://both; }} }}",
        a.addr(),
        b.addr()
    ));
    let mut kept = Vec::new();
    for backend in [&a, &b] {
        let mut client = Conn::connect(longwire.addr());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut server, _) = backend.request();
        server.send(ok("kept"));
        assert_eq!(client.read_answer().1, "kept");
        kept.push(server);
    }
    let mut client = Conn::connect(longwire.addr());
    client.send("POST /order HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(kept[0].read_head().start.starts_with("POST /order"));
    drop(kept.remove(0));
    assert_eq!(client.read_head().status(), 502);
    assert_eq!(kept[0].read_for(Duration::from_millis(200)), b"", "sent a second time");
    assert!(b.was_left_alone());
}

/// A backend may answer before it has the whole body, and then never take the rest of it.
#[test]
fn a_connection_that_still_takes_a_body_is_not_shared() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "upstream one {{ server {}; keepalive 4; }}
        server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://one; }} }}",
        backend.addr()
    ));
    let mut uploading = Conn::connect(longwire.addr());
    uploading.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nsome");
    let (mut first, _) = backend.request();
    first.send(ok("early"));
    assert_eq!(uploading.read_answer().1, "early");
    let mut other = Conn::connect(longwire.addr());
    other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut second, head) = backend.request();
    assert_eq!(head.target(), "/other");
    second.send(ok("another connection"));
    assert_eq!(other.read_answer().1, "another connection");
}

/// Without `keepalive` the connection ends with the answer, whatever of the request is still on its way.
#[test]
fn an_early_answer_ends_a_connection_that_is_not_kept() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "upstream one {{ server {}; keepalive 0; }}
        server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://one; }} }}",
        backend.addr()
    ));
    let mut client = Conn::connect(longwire.addr());
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n1234");
    let (mut server, head) = backend.request();
    assert_eq!(head.get("connection"), "close");
    assert_eq!(server.read(4), b"1234");
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
    assert_eq!(client.read_answer().1, "early");
    server.expect_end();
}

/// Bytes that one parser takes for a trailer and another for a request must be neither.
#[test]
fn a_trailer_cannot_hide_a_request() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\n\n\
         POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n\
         POST /evil HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n",
    );
    let (head, _) = client.read_answer();
    assert_eq!(head.status(), 400);
    client.expect_end();
    while let Some(mut server) = backend.accept_within(Duration::from_millis(200)) {
        let seen = String::from_utf8_lossy(&server.read_to_end()).into_owned();
        assert!(!seen.contains("/evil"), "{seen}");
    }
}

/// A head that comes behind a request has its time from when it is waited for.
#[test]
fn the_time_of_a_head_begins_when_it_is_waited_for() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0; client_header_timeout 1s; location / {{ proxy_pass http://{}; }} }}",
        backend.addr()
    ));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    client.send("GET /2 HTTP/1.1\r\n");
    // Longer than a head may take.
    assert_eq!(server.read_for(Duration::from_millis(1300)), b"");
    server.send(ok("one"));
    assert_eq!(client.read_answer().1, "one");
    client.send("Host: a\r\n\r\n");
    assert_eq!(server.read_head().target(), "/2");
    server.send(ok("two"));
    assert_eq!(client.read_answer().1, "two");
}

/// A client that does not read its answer holds a connection to the backend, but not for ever.
#[test]
fn a_client_that_takes_nothing_is_left_after_send_timeout() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0; send_timeout 1s; error_log stderr info; location / {{ proxy_pass http://{}; }} }}",
        backend.addr()
    ));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    while server.try_send(&[b'x'; 65536]).is_ok() {}
    longwire.wait_log(&["[info]", "client timed out (send_timeout)"]);
}
