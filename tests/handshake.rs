//! The handshake: what the backend sees, which answers open a tunnel, and that nothing passes before one is open.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::backend::switching;
use support::frames::{KEY, accept_key, upgrade_request};
use support::tls::{self, Identity};
use support::{Backend, Conn, Folder, Longwire, site, text};

/// The configuration that many guides give, word for word.
const ENTRY: &str = include_str!("../examples/entry.conf");

/// The entry with free ports in place of 443 and 3000.
fn entry(backend: std::net::SocketAddr, certificate: &str) -> String {
    let listen = format!("listen 127.0.0.1:0 ssl;{certificate}");
    ENTRY.replace("listen 443 ssl;", &listen).replace("127.0.0.1:3000", &backend.to_string())
}

#[test]
fn the_entry_carries_messages_over_wss() {
    let backend = Backend::new();
    let identity = Identity::new(&["example.com"]);
    let folder = Folder::new();
    identity.write(&folder, "site");
    let certificate = "ssl_certificate DIR/site.crt; ssl_certificate_key DIR/site.key;";
    let longwire = Longwire::start_in(folder, &entry(backend.addr(), certificate), &[]);

    let mut client = identity.connect(longwire.addr(), "example.com").unwrap();
    client.send(upgrade_request("/ws/chat?room=1", "Origin: https://example.com\r\n"));
    let (mut server, head) = backend.tunnel();
    client.expect_tunnel();

    assert_eq!(head.start, "GET /ws/chat?room=1 HTTP/1.1");
    assert_eq!(head.get("upgrade"), "websocket");
    assert_eq!(head.get("connection").to_ascii_lowercase(), "upgrade");
    assert_eq!(head.get("host"), "example.com");
    assert_eq!(head.get("x-real-ip"), "127.0.0.1");
    assert_eq!(head.get("origin"), "https://example.com");
    assert_eq!(head.get("sec-websocket-key"), KEY);
    assert_eq!(head.get("sec-websocket-version"), "13");

    client.send_text("hello over TLS");
    assert_eq!(server.read_frame().text(), "hello over TLS");
    server.send_text("and back");
    assert_eq!(client.read_frame().text(), "and back");
}

#[test]
fn the_entry_without_a_certificate_still_serves() {
    let backend = Backend::echo();
    let longwire = Longwire::start(&entry(backend, ""));
    let mut client = tls::connect_trusting_anyone(longwire.addr(), "example.com").unwrap();
    client.send(upgrade_request("/ws/", ""));
    client.expect_tunnel();
    client.expect_echo("self-signed");
}

#[test]
fn both_versions_of_tls_carry_it() {
    let backend = Backend::echo();
    let identity = Identity::new(&["example.com"]);
    let folder = Folder::new();
    identity.write(&folder, "site");
    let certificate = "ssl_certificate DIR/site.crt; ssl_certificate_key DIR/site.key;";
    let longwire = Longwire::start_in(folder, &entry(backend, certificate), &[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = identity.connect_by(longwire.addr(), "example.com", &[version]).unwrap();
        client.send(upgrade_request("/ws/", ""));
        client.expect_tunnel();
        client.expect_echo(&format!("{:?}", version.version));
    }
}

#[test]
fn upgrading_needs_no_directive() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let more = "Sec-WebSocket-Protocol: chat, mqtt\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                Cookie: a=1\r\nAuthorization: Basic eDp5\r\nX-Own: kept\r\n";
    let mut client = Conn::knock(longwire.addr(), more);
    let (mut server, head) = backend.request();
    for (name, value) in [
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "chat, mqtt"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("cookie", "a=1"),
        ("authorization", "Basic eDp5"),
        ("x-own", "kept"),
        ("host", &backend.addr().to_string()),
    ] {
        assert_eq!(head.get(name), value, "{head:#?}");
    }
    let chosen =
        "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Answer: 1\r\n";
    server.send(switching(KEY, chosen));
    let answer = client.expect_tunnel();
    assert_eq!(answer.get("sec-websocket-protocol"), "mqtt");
    assert_eq!(answer.get("sec-websocket-extensions"), "permessage-deflate");
    assert_eq!(answer.get("x-answer"), "1");
}

#[test]
fn names_in_the_ritual_have_no_case_and_may_stand_in_lists() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send(format!(
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    ));
    let (mut server, head) = backend.request();
    assert_eq!(head.get("upgrade").to_ascii_lowercase(), "websocket");
    server.send(format!(
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nupgrade: WEBSOCKET\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        accept_key(KEY)
    ));
    client.expect_tunnel();
    client.send_text("x");
    assert_eq!(server.read_frame().text(), "x");
}

/// Answers 101 that open no tunnel, and a word of the sentence that the error log says about each.
#[test]
fn a_wrong_101_is_a_502_and_the_log_says_whose_fault() {
    let right = accept_key(KEY);
    let wrong = accept_key("AAAAAAAAAAAAAAAAAAAAAA==");
    let usual = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let accept = format!("Sec-WebSocket-Accept: {right}\r\n");
    let cases = [
        (format!("{usual}Sec-WebSocket-Accept: {wrong}\r\n"), "Sec-WebSocket-Accept"),
        (format!("{usual}Sec-WebSocket-Accept: {}\r\n", right.to_lowercase()), "Sec-WebSocket-Accept"),
        (usual.to_string(), "Sec-WebSocket-Accept"),
        (format!("{usual}{accept}{accept}"), "Sec-WebSocket-Accept"),
        (format!("Connection: Upgrade\r\n{accept}"), "Upgrade"),
        (format!("Upgrade: websocket\r\n{accept}"), "Connection"),
        (format!("Upgrade: websocket\r\nConnection: close\r\n{accept}"), "Connection"),
        (format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{accept}"), "Upgrade"),
        (format!("{usual}{accept}Sec-WebSocket-Protocol: soap\r\n"), "soap"),
        (format!("{usual}{accept}Sec-WebSocket-Protocol: chat, mqtt\r\n"), "chat, mqtt"),
        (format!("{usual}{accept}Sec-WebSocket-Extensions: x-secret\r\n"), "x-secret"),
    ];
    for (answer, word) in cases {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::knock(longwire.addr(), "Sec-WebSocket-Protocol: chat, mqtt\r\n");
        let (mut server, _) = backend.request();
        server.send(format!("HTTP/1.1 101 Switching Protocols\r\n{answer}\r\n"));
        let head = client.read_head();
        assert_eq!(head.status(), 502, "{answer}");
        server.expect_end();
        let line = longwire.wait_log(&["[error]", word]);
        assert!(line.contains("backend"), "says whose fault it is: {line}");
        assert!(!longwire.log().contains("tunnel opened"), "{answer}");
    }
}

#[test]
fn a_101_that_nobody_asked_for_is_a_502() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    server.send(switching(KEY, ""));
    assert_eq!(client.read_head().status(), 502);
}

/// Whatever a backend answers instead of 101 is between it and the client.
#[test]
fn other_answers_pass_as_they_are() {
    let cases = [
        (400, "Bad Request", "X-Why: key\r\n"),
        (401, "Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n"),
        (403, "Forbidden", "X-Why: origin\r\n"),
        (426, "Upgrade Required", "Sec-WebSocket-Version: 13\r\n"),
        (301, "Moved Permanently", "X-Where: elsewhere\r\n"),
        (503, "Service Unavailable", "Retry-After: 7\r\n"),
        (200, "OK", "X-Why: no socket here\r\n"),
    ];
    for (status, phrase, header) in cases {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::knock(longwire.addr(), "");
        let (mut server, _) = backend.request();
        server.send(format!("HTTP/1.1 {status} {phrase}\r\n{header}Content-Length: 5\r\n\r\nsorry"));
        let (head, body) = client.read_answer();
        let (name, value) = header.trim_end().split_once(": ").unwrap();
        assert_eq!((head.status(), body.as_str(), head.get(name)), (status, "sorry", value));
        assert!(!longwire.log().contains("tunnel opened"));
    }
}

/// What a client sends right behind its request head reaches the backend once a tunnel is open, and never otherwise.
#[test]
fn early_bytes_wait_for_the_tunnel() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    let mut bytes = upgrade_request("/", "").into_bytes();
    bytes.extend(text("early").bytes(client.mask()));
    client.send(bytes);
    let (mut server, head) = backend.request();
    // The promise is that nothing comes, so some time has to pass.
    assert_eq!(server.read_for(std::time::Duration::from_millis(300)), b"", "bytes before the answer");
    assert!(server.try_upgrade(&head));
    assert_eq!(server.read_frame().text(), "early");
    client.expect_tunnel();
    server.send_text("late");
    assert_eq!(client.read_frame().text(), "late");
}

/// What a backend sends right behind its 101 is the beginning of the tunnel.
#[test]
fn early_bytes_of_the_backend_pass() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, _) = backend.request();
    let mut bytes = switching(KEY, "").into_bytes();
    bytes.extend(text("at once").bytes(None));
    server.send(bytes);
    client.expect_tunnel();
    assert_eq!(client.read_frame().text(), "at once");
}

#[test]
fn early_bytes_never_reach_a_backend_that_declines() {
    let smuggled = "GET /private HTTP/1.1\r\nHost: a\r\n\r\n";
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", 426),
        ("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 403),
        (wrong, 502),
    ] {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("{}{smuggled}", upgrade_request("/", "")));
        let (mut server, _) = backend.request();
        server.send(answer);
        let (head, _) = client.read_answer();
        assert_eq!(head.status(), status);
        // One answer, then the end: the bytes behind the handshake are no request.
        client.expect_end();
        drop(longwire);
        assert_eq!(server.read_to_end(), b"", "{answer}");
        assert!(backend.was_left_alone(), "a second connection to the backend: {answer}");
    }
}

/// Handshakes that are none: refused before a backend hears of them, whatever it would answer.
#[test]
fn a_fake_upgrade_never_reaches_the_backend() {
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let cases = [
        ("wrong version", "GET", 1, format!("Sec-WebSocket-Version: 1337\r\n{key}"), 426),
        ("no version", "GET", 1, key.clone(), 426),
        ("two versions", "GET", 1, format!("{version}{version}{key}"), 426),
        ("no key", "GET", 1, version.into(), 400),
        ("short key", "GET", 1, format!("{version}Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        ("two keys", "GET", 1, format!("{version}{key}{key}"), 400),
        ("by POST", "POST", 1, format!("{version}{key}Content-Length: 0\r\n"), 400),
        ("by HTTP/1.0", "GET", 0, format!("{version}{key}"), 400),
    ];
    for (name, method, minor, headers, status) in cases {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::connect(longwire.addr());
        client.send(format!(
            "{method} / HTTP/1.{minor}\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\r\n\
             GET /private HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let (head, _) = client.read_answer();
        assert_eq!(head.status() / 100, 4, "{name}: {head:#?}");
        if name.contains("version") {
            assert_eq!((head.status(), head.get("sec-websocket-version")), (status, "13"), "{name}");
        }
        client.expect_end();
        assert!(backend.was_left_alone(), "{name}");
    }
}

/// An upgrade to HTTP/2 in clear text would let a client speak past every rule of the proxy.
#[test]
fn h2c_is_never_upgraded() {
    let ritual = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                  proxy_set_header Connection $http_connection;";
    for directives in ["", ritual] {
        for upgrade in ["h2c", "h2c, websocket/13", "TLS/1.0", "h2c,foo"] {
            let backend = Backend::new();
            let longwire = Longwire::start(&site(backend.addr(), directives));
            let mut client = Conn::connect(longwire.addr());
            client.send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: {upgrade}\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
            ));
            let (mut server, head) = backend.request();
            assert!(!head.has("upgrade"), "{directives} {upgrade}: {head:#?}");
            assert!(!head.get("connection").to_ascii_lowercase().contains("upgrade"), "{head:#?}");
            // Even a backend that would speak it anyway is not listened to.
            server.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
            assert_eq!(client.read_head().status(), 502);
        }
    }
}

/// The tunnel's two ends and its opening are in the error log.
#[test]
fn the_log_tells_of_each_tunnel() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, _) = backend.tunnel();
    client.expect_tunnel();
    longwire.wait_log(&["[notice]", "tunnel opened"]);
    client.send_text("one");
    server.read_frame();
    client.send_frame(&support::close(4001, "enough"));
    assert_eq!(server.read_frame().close_code(), Some(4001));
    server.send_frame(&support::close(4001, "enough"));
    drop(server);
    client.expect_close(4001);
    let ended = longwire.wait_log(&["tunnel ended"]);
    assert!(ended.contains("[notice]") && ended.contains("4001") && ended.contains("client"), "{ended}");
}

/// TLS to the backend: trusted as told, refused where the certificate belongs to somebody else.
#[test]
fn a_backend_may_speak_tls() {
    let identity = Identity::new(&["backend.test"]);
    let verify =
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate DIR/backend.crt; proxy_ssl_server_name on;";
    for (directives, good) in [
        (String::new(), true),
        (format!("{verify} proxy_ssl_name backend.test;"), true),
        (format!("{verify} proxy_ssl_name other.test;"), false),
    ] {
        let backend = Backend::new();
        let folder = Folder::new();
        identity.write(&folder, "backend");
        let conf = site(backend.addr(), &directives).replace("proxy_pass http:", "proxy_pass https:");
        let longwire = Longwire::start_in(folder, &conf, &[]);
        let mut client = Conn::knock(longwire.addr(), "");
        let secured = identity.accept(backend.accept());
        if !good {
            assert_eq!(client.read_head().status(), 502);
            longwire.wait_log(&["[error]", "ertificate"]);
            continue;
        }
        let mut server = secured.unwrap();
        let head = server.read_head();
        assert!(server.try_upgrade(&head));
        client.expect_tunnel();
        client.send_text("secured");
        assert_eq!(server.read_frame().text(), "secured");
        server.send_text("and back");
        assert_eq!(client.read_frame().text(), "and back");
    }
}

/// A server that is dead beside one that takes the handshake is told of, but not as a handshake that failed.
#[test]
fn a_handshake_that_another_server_took_has_not_failed() {
    let backend = Backend::new();
    let dead = support::backend::nobody();
    let group = format!("upstream pair {{ server {dead}; server {}; }}", backend.addr());
    let longwire = Longwire::start(&format!(
        "{group}\nserver {{ listen 127.0.0.1:0; location / {{ proxy_pass http://pair; }} }}"
    ));
    let mut client = Conn::knock(longwire.addr(), "");
    let (_server, _) = backend.tunnel();
    client.expect_tunnel();
    let opened = longwire.wait_log(&["tunnel opened"]);
    assert!(opened.contains(&format!("upstream: \"http://{}/\"", backend.addr())), "{opened}");
    let log = longwire.log();
    assert!(log.contains("something else is tried, client: 127.0.0.1"), "{log}");
    assert!(log.contains(&format!("upstream: \"http://{dead}/\"")), "{log}");
    assert!(!log.contains("handshake failed"), "{log}");
}

/// One line for a handshake that failed, with the backend that was asked, also where several were.
#[test]
fn a_failed_handshake_has_one_line() {
    let dead = [support::backend::nobody(), support::backend::nobody()];
    let group = format!("upstream pair {{ server {}; server {}; }}", dead[0], dead[1]);
    let longwire = Longwire::start(&format!(
        "{group}\nserver {{ listen 127.0.0.1:0; location / {{ proxy_pass http://pair; }} }}"
    ));
    let mut client = Conn::knock(longwire.addr(), "");
    assert_eq!(client.read_head().status(), 502);
    let line = longwire.wait_log(&[
        "handshake failed",
        "fault of the backend",
        "connect() failed (111: Connection refused)",
    ]);
    assert!(dead.iter().any(|d| line.contains(&format!("upstream: \"http://{d}/\""))), "{line}");
    assert_eq!(longwire.log().matches("handshake failed").count(), 1, "{}", longwire.log());
}

/// Who is not let in by the application is no reason to wake anybody.
#[test]
fn a_refusal_by_the_backend_is_no_fault() {
    for (status, words) in [
        (
            "401 Unauthorized",
            ["[warn]", "handshake failed, refused by the backend: it answered 401 instead of 101"],
        ),
        (
            "403 Forbidden",
            ["[warn]", "handshake failed, refused by the backend: it answered 403 instead of 101"],
        ),
        (
            "400 Bad Request",
            ["[error]", "handshake failed, fault of the backend: it answered 400 instead of 101"],
        ),
    ] {
        let backend = Backend::new();
        let longwire = Longwire::start(&format!(
            "server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://{}; }} }}",
            backend.addr()
        ));
        let mut client = Conn::knock(longwire.addr(), "");
        let mut asked = backend.accept();
        asked.read_head();
        asked.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        client.read_head();
        longwire.wait_log(&words);
    }
}

/// A path that the configuration cuts is told: the backend cannot know what was wanted.
#[test]
fn a_path_that_was_changed_is_told() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0; location /ws {{ proxy_pass http://{0}/; }} location /as {{ proxy_pass http://{0}; }} }}",
        backend.addr()
    ));
    for (path, told) in [
        ("/ws?a=1", "instead of 101 at \"/\", which the configuration made of \"/ws\": is this the path"),
        ("/as?a=1", "instead of 101: is this the path"),
    ] {
        let mut client = Conn::connect(longwire.addr());
        client.send(upgrade_request(path, ""));
        let mut asked = backend.accept();
        asked.read_head();
        asked.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        client.read_head();
        longwire.wait_log(&[told]);
    }
}

/// The page that is sent hides nothing of what went wrong before it.
#[test]
fn an_error_page_keeps_the_cause() {
    let dead = support::backend::nobody();
    let folder = support::Folder::new();
    std::fs::write(folder.path().join("50x.html"), "sorry").expect("page");
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0; root {}; error_page 500 502 503 504 /50x.html; error_page 403 @no; error_page 405 /none.html;
            location / {{ proxy_pass http://{dead}; }} location /said {{ return 405; }}
            location /denied {{ deny all; proxy_pass http://{dead}; }} location @no {{ return 403; }}
            location = /50x.html {{ internal; }} location = /none.html {{ internal; }} }}",
        folder.path().display()
    ));
    for (path, status, words) in [
        ("/", 502, ["fault of the backend", "while connecting to upstream (error_page led to /50x.html)"]),
        ("/denied", 403, ["fault of the client", "(error_page led to @no)"]),
        ("/said", 404, ["\"return 405\" in", "(error_page led to /none.html)"]),
    ] {
        let mut client = Conn::connect(longwire.addr());
        client.send(upgrade_request(path, ""));
        assert_eq!(client.read_head().status(), status, "{path}");
        longwire.wait_log(&words);
    }
    let log = longwire.log();
    assert_eq!(log.matches("handshake failed").count(), 3, "{log}");
    assert!(!log.contains("something else is tried") && log.contains("/none.html\" failed (2: "), "{log}");
}

/// What people do wrong most often is told in words that help.
#[test]
fn frequent_mistakes_are_explained() {
    let longwire = Longwire::start(
        "server { listen 127.0.0.1:0; location /ws/ { proxy_pass http://127.0.0.1:9; } location /no { return 204; } }",
    );
    for (path, status, words) in [
        ("/ws", 301, ["fault of the configuration", "301 to \"/ws/\"", "do not follow redirects"]),
        ("/no", 204, ["fault of the configuration", "\"return 204\"", "nothing is proxied"]),
        ("/x", 404, ["fault of the configuration", "no location", "\"/x\""]),
    ] {
        let mut client = Conn::connect(longwire.addr());
        client.send(upgrade_request(path, ""));
        assert_eq!(client.read_head().status(), status, "{path}");
        longwire.wait_log(&words);
    }
    let mut client = Conn::connect(longwire.addr());
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.read_head().status(), 400);
    longwire.wait_log(&["client spoke TLS to a port without it"]);
}

/// A plain request to a TLS port is told as what it is, and a TLS handshake that fails is in the server's own log.
#[test]
fn mistakes_with_tls_are_explained() {
    let longwire = Longwire::start(
        "http { error_log stderr info; server { listen 127.0.0.1:0 ssl; location / { proxy_pass http://127.0.0.1:9; } } } events {}",
    );
    let mut client = Conn::knock(longwire.addr(), "");
    assert_eq!(client.read_head().status(), 400);
    longwire.wait_log(&["fault of the client", "plain HTTP to a port for TLS", "wss://"]);
    let mut client = Conn::connect(longwire.addr());
    client.send(b"\x16\x03\x01\x00\x02\x01\x00");
    client.end_sending();
    longwire.wait_log(&["[info]", "SSL handshake failed"]);
}

/// A backend's 426 says what it wants; other answers lose what belongs to the hop.
#[test]
fn a_426_keeps_its_upgrade() {
    for (status, kept) in [("426 Upgrade Required", true), ("400 Bad Request", false)] {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::knock(longwire.addr(), "");
        let (mut server, _) = backend.request();
        server.send(format!(
            "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(client.read_head().has("upgrade"), kept, "{status}");
    }
}
