//! Bad input: refused with the status that says why, without harm to anybody else, and nothing is left behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Instant;

use support::{Backend, Conn, Longwire, between, seed, site, until};

/// Requests that are wrong, and the status each deserves.
fn wrong_requests() -> Vec<(&'static str, String, u16)> {
    let long = |n| "x".repeat(n);
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let post = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\nabc");
    let get = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n");
    vec![
        ("no host", get(""), 400),
        ("two hosts", get("Host: a\r\nHost: b\r\n"), 400),
        ("two equal hosts", get("Host: a\r\nHost: a\r\n"), 400),
        ("host with a space", get("Host: a b\r\n"), 400),
        ("host with a slash", get("Host: a/b\r\n"), 400),
        ("length and encoding", post(both), 400),
        ("two lengths", post("Content-Length: 3\r\nContent-Length: 4\r\n"), 400),
        ("negative length", post("Content-Length: -3\r\n"), 400),
        ("length with a plus", post("Content-Length: +3\r\n"), 400),
        ("length that is no number", post("Content-Length: three\r\n"), 400),
        ("endless length", post("Content-Length: 99999999999999999999999\r\n"), 400),
        (
            "encoding on HTTP/1.0",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            400,
        ),
        ("space before a colon", get("Host : a\r\n"), 400),
        ("control character in a value", get("Host: a\r\nX: a\u{1}b\r\n"), 400),
        ("bare CR in a value", get("Host: a\r\nX: a\rb\r\n"), 400),
        ("no version", "GET /\u{1} nonsense\r\n\r\n".into(), 400),
        ("not HTTP", "\u{16}\u{3}\u{1}\0\r\n\r\n".into(), 400),
        ("HTTP/2 in clear text", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400),
        ("a long line", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(100_000)), 414),
        ("a long header", get(&format!("Host: a\r\nX: {}\r\n", long(100_000))), 400),
        ("many headers", get(&format!("Host: a\r\n{}", "X: y\r\n".repeat(20_000))), 400),
    ]
}

#[test]
fn wrong_requests_are_refused_and_never_passed_on() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    for (name, request, status) in wrong_requests() {
        let mut client = Conn::connect(longwire.addr());
        // A large head may be refused while it is still being sent.
        let _ = client.try_send(request.as_bytes());
        let head = client.try_read_head().unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(head.status(), status, "{name}: {head:#?}");
        assert_eq!(head.get("connection"), "close", "{name}: what follows cannot be trusted");
        client.read_to_end();
        assert!(backend.was_left_alone(), "{name}: reached the backend");
    }
    // Everybody else is served as before.
    let mut client = Conn::connect(longwire.addr());
    client.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, head) = backend.request();
    assert_eq!(head.target(), "/after");
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.read_head().status(), 204);
}

/// Bytes that could be a second request in the eyes of a backend never become one.
#[test]
fn nothing_is_smuggled_behind_a_body() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 100\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 37\r\n",
        "Content-Length: 0, 37\r\n",
    ] {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n{hidden}"));
        assert!(matches!(client.read_head().status(), 400 | 501), "{headers}");
        client.read_to_end();
        assert!(backend.was_left_alone(), "{headers}");
    }
}

#[test]
fn a_bad_chunk_ends_the_connection() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    for body in ["zz\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "fffffffffffffffff\r\nabc"] {
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{body:?}: {answer}");
    }
}

#[test]
fn a_slow_head_is_408() {
    let backend = Backend::new();
    let conf = site(backend.addr(), "").replace("listen", "client_header_timeout 1s;\n    listen");
    let longwire = Longwire::start(&conf);
    for begun in ["GET / HTTP/1.1\r\nHost: a\r\n", "GET / HT"] {
        let mut client = Conn::connect(longwire.addr());
        let start = Instant::now();
        client.send(begun);
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{begun:?}: {answer:?}");
        between(start.elapsed(), 800, 8000);
    }
    // One who says nothing at all is let go without a word.
    let mut client = Conn::connect(longwire.addr());
    client.expect_end();
    assert!(backend.was_left_alone());
}

/// Byte by byte, each in time: the deadline is for the whole head.
#[test]
fn a_dripping_head_does_not_live_for_ever() {
    let backend = Backend::new();
    let conf = site(backend.addr(), "")
        .replace("listen", "client_header_timeout 1s; lingering_timeout 1s;\n    listen");
    let longwire = Longwire::start(&conf);
    let mut client = Conn::connect(longwire.addr());
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nX: ");
    until("the connection is ended though bytes keep coming", || {
        // sleep is the promise: a byte comes every 50 ms.
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.try_send(b"x").is_err()
    });
    between(start.elapsed(), 800, 12_000);
}

/// Bytes of chance, and good requests with a few bytes changed: no panic, no hang, nothing left open.
#[test]
fn random_garbage_does_no_harm() {
    let mut random = fastrand::Rng::with_seed(seed());
    // As many connections are kept for reuse as were busy at once, up to 32: this backend lets none be kept.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let backend = Backend::http(move |_, _| answer.into());
    let conf =
        site(backend, "").replace("listen", "client_header_timeout 2s; client_body_timeout 2s;\n    listen");
    let longwire = Longwire::start(&conf);
    support::conn::get(longwire.addr(), "/");
    let before = longwire.open_files();
    let good = [
        support::frames::upgrade_request("/", ""),
        "POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y\r\nContent-Length: 0\r\n\r\n".into(),
    ];
    for _ in 0..300 {
        let mut bytes: Vec<u8> = if random.bool() {
            let length = random.usize(1..600);
            std::iter::repeat_with(|| random.u8(..)).take(length).collect()
        } else {
            random.choice(&good).unwrap().clone().into_bytes()
        };
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.insert(at, *random.choice(b"\r\n :\0\t,;%/\xff").unwrap()),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        let mut client = Conn::connect(longwire.addr());
        let _ = client.try_send(&bytes);
        // Half of them leave in the middle, the others wait for whatever comes.
        if random.bool() {
            let _ = client.tcp().shutdown(std::net::Shutdown::Write);
        } else {
            client.reset();
        }
    }
    assert_eq!(support::conn::get(longwire.addr(), "/").1, "ok");
    // A connection or two to the backend may be kept for the next request.
    longwire.wait_open_files(before + 4);
    assert!(!longwire.log().contains("panicked"), "{}", longwire.log());
}

/// Garbage in place of frames, on both sides of a tunnel.
#[test]
fn random_frames_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(seed());
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "websocket_close_timeout 1s;"));
    let before = longwire.open_files();
    for _ in 0..60 {
        let mut client = Conn::knock(longwire.addr(), "");
        let (mut server, _) = backend.tunnel();
        client.expect_tunnel();
        let length = random.usize(1..300);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let sender = if random.bool() { &mut client } else { &mut server };
        let _ = sender.try_send(&bytes);
    }
    longwire.wait_open_files(before + 4);
    assert!(!longwire.log().contains("panicked"), "{}", longwire.log());
}

/// TLS that is none, or breaks off, harms nobody.
#[test]
fn bad_tls_does_no_harm() {
    let identity = support::tls::Identity::new(&["example.com"]);
    let folder = support::Folder::new();
    identity.write(&folder, "site");
    let conf = "server { listen 127.0.0.1:0 ssl; client_header_timeout 2s; ssl_certificate DIR/site.crt;
        ssl_certificate_key DIR/site.key; return 200 ok; }";
    let longwire = Longwire::start_in(folder, conf, &[]);
    let before = longwire.open_files();

    // Plain HTTP where TLS is expected: nginx explains.
    let mut plain = Conn::connect(longwire.addr());
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = String::from_utf8_lossy(&plain.read_to_end()).into_owned();
    assert!(answer.contains("400"), "{answer}");

    let mut random = fastrand::Rng::with_seed(seed());
    for _ in 0..50 {
        let mut client = Conn::connect(longwire.addr());
        let length = random.usize(0..300);
        let mut bytes = vec![22, 3, 1];
        bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
        let _ = client.try_send(&bytes);
    }
    let mut client = identity.connect(longwire.addr(), "example.com").unwrap();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").1, "ok");
    drop(client);
    longwire.wait_open_files(before);
}
