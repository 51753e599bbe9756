//! Ordinary requests: what a page around the sockets needs, answered as nginx answers it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::backend::nobody;
use support::conn::get;
use support::{Backend, Conn, Longwire, between, site, until};

/// A GET with keep-alive.
const GET: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// An answer of 200 with this body.
fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A backend that says its name, and what it was asked for.
fn named(name: &'static str) -> std::net::SocketAddr {
    Backend::http(move |head, _| ok(&format!("{name} {}", head.target())))
}

#[test]
fn a_request_passes_with_its_headers_and_body() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_set_header X-Real-IP $remote_addr;"));
    let mut client = Conn::connect(longwire.addr());
    client.send(
        "POST /a%20b/c?x=1&y=%2F HTTP/1.1\r\nHost: Example.com:99\r\nX-Own: kept\r\nCookie: a=1; b=2\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    );
    let (mut server, head) = backend.request();
    assert_eq!(head.start.split(' ').take(2).collect::<Vec<_>>(), ["POST", "/a%20b/c?x=1&y=%2F"]);
    assert_eq!(head.get("host"), backend.addr().to_string(), "nginx's default is $proxy_host");
    assert_eq!(head.get("x-own"), "kept");
    assert_eq!(head.get("cookie"), "a=1; b=2");
    assert_eq!(head.get("x-real-ip"), "127.0.0.1");
    assert_eq!(head.get("content-type"), "text/plain");
    assert_eq!(server.read_body(&head), b"hello");
    server.send("HTTP/1.1 201 Created\r\nX-Answer: yes\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok");
    let (head, body) = client.read_answer();
    assert_eq!((head.status(), body.as_str(), head.get("x-answer")), (201, "ok", "yes"));
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn an_answer_streams() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_buffering off;"));
    let mut client = Conn::connect(longwire.addr());
    client.send(GET);
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.read_head();
    assert_eq!(head.get("content-type"), "text/event-stream");
    // Each event is at the client before the next is made.
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        server.send(format!("{:x}\r\n{event}\r\n", event.len()));
        assert_eq!(client.read_chunk(), event.as_bytes());
    }
    server.send("0\r\n\r\n");
    assert_eq!(client.read_chunk(), b"");
}

#[test]
fn a_request_body_streams() {
    let backend = Backend::new();
    let longwire =
        Longwire::start(&site(backend.addr(), "proxy_request_buffering off; proxy_http_version 1.1;"));
    let mut client = Conn::connect(longwire.addr());
    client.send("PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("4\r\nfour\r\n");
    let (mut server, head) = backend.request();
    assert_eq!(head.get("transfer-encoding"), "chunked");
    assert_eq!(server.read_chunk(), b"four");
    client.send("5\r\nfive!\r\n");
    assert_eq!(server.read_chunk(), b"five!");
    client.send("0\r\n\r\n");
    assert_eq!(server.read_chunk(), b"");
    server.send(ok("taken"));
    assert_eq!(client.read_answer().1, "taken");
}

#[test]
fn large_bodies_pass_whole_both_ways() {
    let backend = Backend::http(|_, body| {
        let text = String::from_utf8_lossy(body).into_owned();
        ok(&text)
    });
    let longwire = Longwire::start(&site(backend, "client_max_body_size 64m;"));
    let body: String = (0..2_000_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let mut client = Conn::connect(longwire.addr());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let (head, answer) = client.read_answer();
    assert_eq!(head.status(), 200);
    assert!(answer == body, "{} bytes of {}", answer.len(), body.len());
}

#[test]
fn a_connection_is_kept_and_closed_as_asked() {
    let longwire = Longwire::start(&site(named("b"), ""));
    let mut client = Conn::connect(longwire.addr());
    for _ in 0..3 {
        assert_eq!(client.ask(GET).1, "b /");
    }
    // Two at once are answered in their order.
    let two = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(client.ask(two).1, "b /1");
    assert_eq!(client.read_answer().1, "b /2");
    let (head, _) = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(head.get("connection"), "close");
    client.expect_end();

    let mut old = Conn::connect(longwire.addr());
    assert_eq!(old.ask("GET / HTTP/1.0\r\n\r\n").1, "b /");
    old.expect_end();
}

#[test]
fn keepalive_timeout_closes_an_idle_connection() {
    let conf = site(named("b"), "").replace("listen", "keepalive_timeout 1s;\n    listen");
    let longwire = Longwire::start(&conf);
    let mut client = Conn::connect(longwire.addr());
    let start = std::time::Instant::now();
    client.ask(GET);
    client.expect_end();
    between(start.elapsed(), 700, 6000);
}

#[test]
fn chunked_answers_and_answers_without_a_length_arrive_whole() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_http_version 1.1;"));
    let mut client = Conn::connect(longwire.addr());
    client.send(GET);
    let (mut server, _) = backend.request();
    server.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
    );
    assert_eq!(client.read_answer().1, "abcde");
    drop(server);

    // The trailers did no harm: the connection goes on. An old backend ends its answer by closing.
    client.send(GET);
    let (mut server, _) = backend.request();
    server.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    server.end_sending();
    assert_eq!(client.read_answer().1, "until the end");
}

#[test]
fn head_and_bodiless_answers_have_no_body() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    let answers = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304),
    ];
    for (method, answer, status) in answers {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (mut server, head) = backend.request();
        assert!(head.start.starts_with(method));
        server.send(answer);
        drop(server);
        let head = client.read_head();
        assert_eq!(head.status(), status);
        if method == "HEAD" {
            assert_eq!(head.get("content-length"), "1234");
        }
    }
    // Nothing lies between the answers: the next one is read where it begins.
    client.send(GET);
    let (mut server, _) = backend.request();
    server.send(ok("next"));
    assert_eq!(client.read_answer().1, "next");
}

#[test]
fn expect_100_continue_is_answered() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    // The body is sent only after the word to go on, whoever gives it.
    let answering = std::thread::spawn(move || {
        let (mut server, head) = backend.request();
        if head.has("expect") {
            server.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        assert_eq!(server.read_body(&head), b"body");
        server.send(ok("got it"));
        server
    });
    assert_eq!(client.read_head().status(), 100);
    client.send("body");
    assert_eq!(client.read_answer().1, "got it");
    answering.join().unwrap();
}

#[test]
fn a_body_over_the_limit_is_413() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "client_max_body_size 10;"));
    let mut client = Conn::connect(longwire.addr());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(client.read_head().status(), 413);
    assert!(backend.was_left_alone());
    // Exactly the limit is allowed.
    let mut client = Conn::connect(longwire.addr());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
    let (mut server, head) = backend.request();
    assert_eq!(server.read_body(&head), b"0123456789");
    server.send(ok("fits"));
    assert_eq!(client.read_answer().1, "fits");
    // A body of unknown length is counted as it comes.
    let mut client = Conn::connect(longwire.addr());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n");
    assert_eq!(client.read_head().status(), 413);
}

#[test]
fn a_backend_that_is_away_is_502() {
    let longwire = Longwire::start(&site(nobody(), ""));
    let (head, body) = get(longwire.addr(), "/");
    assert_eq!(head.status(), 502);
    assert!(body.contains("502 Bad Gateway"), "{body}");
    longwire.wait_log(&["[error]", "onnect", "upstream: \"http://"]);
    // A handshake is answered alike.
    let mut client = Conn::knock(longwire.addr(), "");
    assert_eq!(client.read_head().status(), 502);
}

#[test]
fn a_backend_that_answers_nonsense_is_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\0\u{1}\u{2}\u{3}\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nX: cut",
    ] {
        let backend = Backend::new();
        let longwire = Longwire::start(&site(backend.addr(), ""));
        let mut client = Conn::connect(longwire.addr());
        client.send(GET);
        let (mut server, _) = backend.request();
        server.send(nonsense);
        server.end_sending();
        assert_eq!(client.read_head().status(), 502, "{nonsense:?}");
        longwire.wait_log(&["[error]"]);
    }
}

#[test]
fn a_silent_backend_is_504() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "proxy_read_timeout 1s;"));
    let start = std::time::Instant::now();
    let (head, body) = get(longwire.addr(), "/");
    between(start.elapsed(), 800, 8000);
    assert_eq!(head.status(), 504);
    assert!(body.contains("504 Gateway Time-out"), "{body}");
    longwire.wait_log(&["[error]", "timed out"]);
    // The same holds for a handshake that is never answered.
    assert_eq!(Conn::knock(longwire.addr(), "").read_head().status(), 504);
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_as_whole() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send(GET);
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.");
    drop(server);
    let head = client.read_head();
    assert_eq!(head.get("content-length"), "10");
    assert_eq!(client.read_to_end(), b"half.", "the connection ends, so that the client knows");
}

#[test]
fn a_client_that_leaves_frees_the_backend() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send(GET);
    let (mut server, _) = backend.request();
    drop(client);
    server.expect_end();
}

#[test]
fn return_answers_by_itself() {
    let longwire = Longwire::start(
        "server { listen 127.0.0.1:0; server_name a.test; default_type text/plain;
            location /text { return 200 \"hello $arg_name\"; }
            location /gone { return 410; }
            location /moved { return 301 /there?$args; }
            location /away { return 302 https://elsewhere.test$request_uri; }
            location /plain { return https://plain.test/; }
            location /empty { return 204; }
            location /drop { return 444; }
        }",
    );
    let addr = longwire.addr();
    let (head, body) = get(addr, "/text?name=you");
    assert_eq!((head.status(), body.as_str(), head.get("content-type")), (200, "hello you", "text/plain"));
    let (head, body) = get(addr, "/gone");
    assert_eq!(head.status(), 410);
    assert!(body.contains("<h1>410 Gone</h1>"), "{body}");
    let (head, _) = get(addr, "/moved?a=1");
    assert_eq!(head.status(), 301);
    assert_eq!(
        head.get("location"),
        format!("http://example.com:{}/there?a=1", addr.port()),
        "absolute, as nginx does"
    );
    let (head, _) = get(addr, "/away?x");
    assert_eq!((head.status(), head.get("location")), (302, "https://elsewhere.test/away?x"));
    let (head, _) = get(addr, "/plain");
    assert_eq!((head.status(), head.get("location")), (302, "https://plain.test/"));
    assert_eq!(get(addr, "/empty").0.status(), 204);
    assert_eq!(get(addr, "/nothing").0.status(), 404);
    let mut client = Conn::connect(addr);
    client.send("GET /drop HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect_end();
}

#[test]
fn locations_are_chosen_as_nginx_chooses() {
    let longwire = Longwire::start(
        "server { listen 127.0.0.1:0;
            location / { return 200 root; }
            location = / { return 200 exact; }
            location /images/ { return 200 images; }
            location ^~ /static/ { return 200 static; }
            location ~ \\.png$ { return 200 png; }
            location ~* \\.JPG$ { return 200 jpg; }
            location ~ ^/user/(?<name>[a-z]+)/(\\d+)$ { return 200 \"$name $2\"; }
            location /nested/ { return 200 outer; location /nested/inner/ { return 200 inner; } }
        }",
    );
    for (path, chosen) in [
        ("/", "exact"),
        ("/other", "root"),
        ("/images/a.gif", "images"),
        ("/images/a.png", "png"),
        ("/static/a.png", "static"),
        ("/x.jpg", "jpg"),
        ("/user/ann/7", "ann 7"),
        ("/user/ann/x", "root"),
        ("/nested/x", "outer"),
        ("/nested/inner/x", "inner"),
        ("//images//a.gif", "images"),
        ("/x/../images/./a.gif", "images"),
        ("/%69mages/a.gif", "images"),
    ] {
        assert_eq!(get(longwire.addr(), path).1, chosen, "{path}");
    }
}

#[test]
fn servers_are_chosen_by_name() {
    let server = |names: &str, answer: &str| {
        format!("server {{ listen 127.0.0.1:0; server_name {names}; return 200 \"{answer}\"; }}\n")
    };
    let longwire = Longwire::start(
        &[
            server("first.test", "first"),
            server("exact.test *.wild.test", "named $host"),
            server("www.*", "prefix"),
            server("~^(?<app>[a-z]+)\\.apps\\.test$", "app $app"),
        ]
        .concat(),
    );
    for (host, answer) in [
        ("exact.test", "named exact.test"),
        ("EXACT.test:8080", "named exact.test"),
        ("a.b.wild.test", "named a.b.wild.test"),
        ("www.anything", "prefix"),
        ("chat.apps.test", "app chat"),
        ("unknown.test", "first"),
    ] {
        let mut client = Conn::connect(longwire.addr());
        assert_eq!(client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).1, answer, "{host}");
    }
}

#[test]
fn a_uri_in_proxy_pass_replaces_the_prefix() {
    let backend = named("b");
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0;
            location /app/ {{ proxy_pass http://{backend}/root/; }}
            location /same/ {{ proxy_pass http://{backend}; }}
        }}"
    ));
    assert_eq!(get(longwire.addr(), "/app/x%20y?q=1").1, "b /root/x%20y?q=1");
    assert_eq!(get(longwire.addr(), "/same/x%20y?q=1").1, "b /same/x%20y?q=1");
}

#[test]
fn redirects_of_the_backend_are_brought_home() {
    let backend = Backend::new();
    let location = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let at = backend.addr();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0;
            location /app/ {{ proxy_pass http://{at}/root/; }}
            location /off/ {{ proxy_pass http://{at}/root/; proxy_redirect off; }}
            location /own/ {{ proxy_pass http://{at}; proxy_redirect http://internal.test/ https://public.test/; }}
        }}"
    ));
    let home = format!("http://example.com:{}/app/next", longwire.addr().port());
    for (path, sent, received) in [
        ("/app/x", format!("http://{at}/root/next"), home),
        ("/app/x", "http://elsewhere.test/".into(), "http://elsewhere.test/".into()),
        ("/off/x", format!("http://{at}/root/next"), format!("http://{at}/root/next")),
        ("/own/x", "http://internal.test/a?b".into(), "https://public.test/a?b".into()),
    ] {
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: example.com:{}\r\n\r\n", longwire.addr().port()));
        let (mut server, _) = backend.request();
        server.send(location(&sent));
        assert_eq!(client.read_head().get("location"), received, "{path} {sent}");
    }
}

#[test]
fn error_pages_stand_in() {
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0;
            error_page 502 /sorry;
            error_page 404 =200 /lost;
            location = /sorry {{ internal; return 502 \"back soon\"; }}
            location = /lost {{ return 200 \"nothing here\"; }}
            location /down {{ proxy_pass http://{}; }}
            location /none {{ return 404; }}
            location /named {{ error_page 418 = @tea; return 418; }}
            location @tea {{ return 200 tea; }}
            location /strict {{ proxy_pass http://{}; proxy_intercept_errors on; error_page 500 =503 /busy; }}
            location = /busy {{ return 503 busy; }}
        }}",
        nobody(),
        Backend::http(|_, _| "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops".into()),
    ));
    let ask = |path| {
        let (head, body) = get(longwire.addr(), path);
        (head.status(), body)
    };
    assert_eq!(ask("/down"), (502, "back soon".into()));
    assert_eq!(ask("/none"), (200, "nothing here".into()));
    assert_eq!(ask("/named"), (200, "tea".into()));
    assert_eq!(ask("/strict"), (503, "busy".into()));
    assert_eq!(ask("/sorry"), (200, "nothing here".into()), "internal: 404 from outside");
}

#[test]
fn headers_are_added_and_hidden() {
    let backend = Backend::http(|head, _| {
        let status = if head.target() == "/fail" { "500 Oops" } else { "200 OK" };
        format!(
            "HTTP/1.1 {status}\r\nX-Secret: 1\r\nX-Shown: 1\r\nX-Powered-By: age\r\nContent-Length: 0\r\n\r\n"
        )
    });
    let longwire = Longwire::start(&site(
        backend,
        "add_header X-Good $request_method; add_header X-Always yes always; add_header X-Empty \"\"; \
         proxy_hide_header X-Secret;",
    ));
    let (head, _) = get(longwire.addr(), "/");
    assert_eq!((head.get("x-good"), head.get("x-always"), head.get("x-shown")), ("GET", "yes", "1"));
    assert!(!head.has("x-empty") && !head.has("x-secret"), "{head:#?}");
    assert!(head.has("date"), "{head:#?}");
    let (head, _) = get(longwire.addr(), "/fail");
    assert_eq!((head.status(), head.get("x-always")), (500, "yes"));
    assert!(!head.has("x-good"), "{head:#?}");
}

#[test]
fn headers_to_the_backend_are_set_and_removed() {
    let backend = Backend::new();
    let longwire = Longwire::start(&format!(
        "map $http_user_agent $kind {{ default other; ~*bot bot; }}
        {}",
        site(
            backend.addr(),
            "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
             proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Accept-Encoding \"\"; \
             proxy_set_header X-Kind $kind; proxy_set_header X-None $arg_none;",
        )
    ));
    let mut client = Conn::connect(longwire.addr());
    client.send(
        "GET / HTTP/1.1\r\nHost: Shop.test:81\r\nAccept-Encoding: gzip\r\nX-Forwarded-For: 10.0.0.1\r\n\
         User-Agent: RoBot\r\n\r\n",
    );
    let (_server, head) = backend.request();
    assert_eq!(head.get("host"), "Shop.test:81");
    assert_eq!(head.get("x-forwarded-for"), "10.0.0.1, 127.0.0.1");
    assert_eq!(head.get("x-forwarded-proto"), "http");
    assert_eq!(head.get("x-kind"), "bot");
    assert!(!head.has("accept-encoding") && !head.has("x-none"), "{head:#?}");
}

#[test]
fn what_belongs_to_one_hop_stays_on_it() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut client = Conn::connect(longwire.addr());
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n\r\n",
    );
    let (mut server, head) = backend.request();
    assert!(!head.has("upgrade") && !head.has("keep-alive"), "{head:#?}");
    assert!(!head.has("x-private") && !head.get("connection").contains("X-Private"), "{head:#?}");
    server
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok");
    let (head, body) = client.read_answer();
    assert_eq!(body, "ok");
    assert!(
        !head.get("connection").contains("close"),
        "the client's connection is not the backend's: {head:#?}"
    );
    client.send(GET);
    let (_server, _) = backend.request();
}

#[test]
fn requests_go_round_the_servers_of_an_upstream() {
    let (a, b) = (named("a"), named("b"));
    let longwire = Longwire::start(&format!(
        "upstream both {{ server {a} weight=2; server {b}; }}
        server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://both; }} }}"
    ));
    let mut chosen: Vec<String> = (0..9).map(|_| get(longwire.addr(), "/").1).collect();
    chosen.sort();
    assert_eq!(chosen.iter().filter(|c| c.starts_with('a')).count(), 6, "{chosen:?}");
}

#[test]
fn a_server_that_is_away_is_passed_over() {
    let b = named("b");
    let longwire = Longwire::start(&format!(
        "upstream one_away {{ server {}; server {b}; }}
        upstream spare {{ server {}; server {b} backup; }}
        upstream down {{ server {} down; server {b}; }}
        server {{ listen 127.0.0.1:0;
            location /one {{ proxy_pass http://one_away; }}
            location /spare {{ proxy_pass http://spare; }}
            location /down {{ proxy_pass http://down; }}
        }}",
        nobody(),
        nobody(),
        nobody()
    ));
    for path in ["/one", "/one", "/one", "/spare", "/spare", "/down", "/down"] {
        assert_eq!(get(longwire.addr(), path).1, format!("b {path}"));
    }
}

#[test]
fn a_backend_may_live_in_a_unix_socket() {
    use std::io::{Read, Write};
    let folder = support::Folder::new();
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("app.sock")).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(ok("by unix").as_bytes());
        }
    });
    let conf = "server { listen 127.0.0.1:0; location / { proxy_pass http://unix:DIR/app.sock; } }";
    let longwire = Longwire::start_in(folder, conf, &[]);
    assert_eq!(get(longwire.addr(), "/").1, "by unix");
}

#[test]
fn it_gives_back_what_requests_held() {
    let longwire = Longwire::start(&site(named("b"), ""));
    get(longwire.addr(), "/");
    let mut before = 0;
    until("the first connections are closed", || {
        let now = longwire.open_files();
        std::mem::replace(&mut before, now) == now
    });
    for _ in 0..50 {
        get(longwire.addr(), "/");
    }
    // Connections to the backend may be kept for later, but not one for each request.
    longwire.wait_open_files(before + 4);
}
