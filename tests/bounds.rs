//! Where one message ends and the next begins, what is sent once only, and that every wait has an end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::backend::nobody;
use support::frames::upgrade_request;
use support::{Backend, Conn, Longwire, site, until};

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

/// Two lengths at once are how one message is taken for two; nginx answers 502 as well.
#[test]
fn an_answer_with_two_lengths_is_no_answer() {
    for framing in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::connect(longwire.addr());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut server, _) = backend.request();
        server.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
        assert_eq!(client.read_head().status(), 502, "{framing}");
        longwire.wait_log(&["[error]", "Transfer-Encoding"]);
        server.expect_end();
    }
}

/// Whoever leaves early has a line in the access log, and the backend hears of it.
#[test]
fn a_client_that_leaves_is_logged_and_its_backend_let_go() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "log_format own '$request $status'; access_log DIR/access.log own;\n{}",
        site(backend.addr(), "")
    ));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    drop(client);
    server.expect_end();
    let lines = || longwire.folder().read("access.log");
    until("the first line is there", || lines() == "GET /slow HTTP/1.1 499\n");
    let client = Conn::knock(longwire.addr(), "");
    let (mut server, _) = backend.request();
    drop(client);
    server.expect_end();
    longwire.wait_log(&["[error]", "WebSocket handshake failed, fault of the client: it left"]);
    until("both lines are there", || lines().lines().count() == 2);
    assert_eq!(lines(), "GET /slow HTTP/1.1 499\nGET / HTTP/1.1 499\n");
}

/// What nginx writes of an ordinary request, in bytes and seconds.
#[test]
fn lengths_and_times_of_requests_are_logged() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "log_format own '$request_length $upstream_response_length $upstream_response_time';
        access_log DIR/access.log own;\n{}",
        site(backend.addr(), "")
    ));
    let request = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let mut client = Conn::connect(longwire.addr());
    client.send(request);
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    client.read_head();
    // The promise is that this time is counted.
    assert_eq!(server.read_for(Duration::from_millis(300)), b"body");
    server.send("hello");
    assert_eq!(client.read(10), b"hellohello");
    until("the line is there", || longwire.folder().read("access.log").ends_with('\n'));
    let line = longwire.folder().read("access.log");
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[..2], [&*request.len().to_string(), "10"]);
    assert!(fields[2].parse::<f64>().unwrap() >= 0.25, "{line}");
}

/// An answer that breaks off in the middle is told in the error log.
#[test]
fn a_broken_answer_is_told() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_read_timeout 1s;"));
    for (leaves, word) in [(true, "prematurely closed"), (false, "timed out")] {
        let mut client = Conn::connect(longwire.addr());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut server, _) = backend.request();
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        if leaves {
            drop(server);
            client.read_to_end();
        } else {
            client.read_to_end();
        }
        longwire.wait_log(&["[error]", word, "while reading upstream"]);
    }
}

/// Every handshake that fails has one line that says whose fault it was.
#[test]
fn each_failed_handshake_has_one_line() {
    let nobody = nobody();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0;
            location /away {{ proxy_pass http://{nobody}; }}
            location /inside {{ internal; proxy_pass http://{nobody}; }}
            location /dir/ {{ proxy_pass http://{nobody}; }}
            location /said {{ return 403; }}
        }}"
    ));
    for (path, fault, status) in [
        ("/away", "backend", 502),
        ("/inside", "configuration", 404),
        ("/dir", "configuration", 301),
        ("/said", "configuration", 403),
        ("/none", "configuration", 404),
    ] {
        let before = longwire.log().lines().count();
        let mut client = Conn::connect(longwire.addr());
        client.send(upgrade_request(path, ""));
        assert_eq!(client.read_answer().0.status(), status, "{path}");
        until("the line is there", || longwire.log().lines().count() > before);
        let log = longwire.log();
        let lines: Vec<&str> = log.lines().skip(before).collect();
        let wanted = format!("WebSocket handshake failed, fault of the {fault}: ");
        assert!(lines.len() == 1 && lines[0].contains(&wanted), "{path}: {lines:?}");
    }
}

/// As nginx answers them: a tunnel of no rules, and an echo of credentials.
#[test]
fn connect_and_trace_are_not_allowed() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    for method in ["CONNECT", "TRACE"] {
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.read_answer().0.status(), 405);
        client.expect_end();
        longwire.wait_log(&["[error]", method]);
    }
    assert!(backend.was_left_alone());
}

/// A request line that nothing behind the first look would take is refused with words, too.
#[test]
fn a_target_that_is_no_uri_is_told() {
    let longwire = Longwire::start(&site(nobody(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET http://[x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_answer().0.status(), 400);
    longwire.wait_log(&["[error]", "client sent invalid request line", "URI"]);
}

/// nginx passes on what no URI may hold; the backend gets it escaped, and the log shows what was sent.
#[test]
fn a_target_with_bytes_that_no_uri_holds_is_served() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    // In pieces: the bytes of a target may come one by one.
    client.send("GET /<x");
    client.send(">?\"#y HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, head) = backend.request();
    assert_eq!(head.target(), "/%3Cx%3E?%22");
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.read_head().status(), 204);
}

/// An answer that cannot be understood is not asked for again elsewhere, as with nginx's `proxy_next_upstream`; a
/// connection that breaks before an answer is.
#[test]
fn only_what_broke_is_tried_elsewhere() {
    for (answer, status) in [("garbage\r\n\r\n", 502), ("", 200)] {
        let (first, second) = (Backend::new(), Backend::new());
        let longwire = Longwire::start(&format!(
            "upstream pair {{ server {}; server {}; }} server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://pair; }} }}",
            first.addr(),
            second.addr()
        ));
        let mut client = Conn::connect(longwire.addr());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut server, _) = first.request();
        server.send(answer);
        server.end();
        if status == 200 {
            let (mut server, _) = second.request();
            server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        assert_eq!(client.read_head().status(), status, "{answer:?}");
        assert!(status == 200 || second.was_left_alone());
    }
}
