//! Limits: how often somebody may come, and how many at once; a tunnel counts until it ends, however it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use support::backend::switching;
use support::conn::get;
use support::frames::KEY;
use support::{Backend, Conn, Folder, Longwire, between, close, site, until};

const HEAD: &str = "limit_conn_zone $binary_remote_addr zone=slots:1m;\n";

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The same on a connection that ends with it.
fn closing(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The status of a GET on a connection of its own.
fn status(longwire: &Longwire, path: &str) -> u16 {
    get(longwire.addr(), path).0.status()
}

/// A proxy with these lines before its server and in its location.
fn limited(backend: std::net::SocketAddr, zones: &str, directives: &str) -> Longwire {
    Longwire::start(&format!("{zones}{}", site(backend, directives)))
}

#[test]
fn the_eleventh_tunnel_of_an_address_gets_503() {
    let longwire = limited(Backend::echo(), HEAD, "limit_conn slots 10;");
    let mut tunnels: Vec<Conn> = (0..10)
        .map(|_| {
            let mut client = Conn::knock(longwire.addr(), "");
            client.expect_tunnel();
            client
        })
        .collect();
    let (head, _) = Conn::knock(longwire.addr(), "").read_answer();
    assert_eq!(head.status(), 503);
    let line = longwire.wait_log(&["WebSocket handshake failed, fault of the client"]);
    assert!(line.contains("limiting connections by zone \"slots\" (limit_conn 10 in "), "{line}");
    assert!(line.contains("longwire.conf:6)"), "{line}");
    // One ends, one may come.
    tunnels.pop().unwrap().send_frame(&close(1000, ""));
    until("the slot is free again", || {
        let (head, _) = Conn::knock(longwire.addr(), "").read_answer();
        head.status() == 101
    });
}

#[test]
fn a_slot_is_free_again_however_its_tunnel_ends() {
    let backend = Backend::new();
    let zones = format!("{HEAD}limit_conn_status 429;\n");
    let longwire = limited(
        backend.addr(),
        &zones,
        "limit_conn slots 1; websocket_max_message 10; websocket_close_timeout 100ms; proxy_read_timeout 60s;",
    );
    // What is given back stays open: an end that does not take part must not hold the slot for ever.
    type End = fn(Conn, Conn) -> Vec<Conn>;
    let ends: [(&str, End); 7] = [
        ("the client leaves", |client, _server| {
            drop(client);
            Vec::new()
        }),
        ("the client leaves, the backend stays", |_client, server| vec![server]),
        ("the client resets", |client, _server| {
            client.reset();
            Vec::new()
        }),
        ("the backend leaves", |mut client, server| {
            drop(server);
            client.expect_close(1014);
            Vec::new()
        }),
        ("the backend resets", |mut client, server| {
            server.reset();
            client.expect_close(1014);
            Vec::new()
        }),
        ("a message is too long", |mut client, _server| {
            client.send_text("more than ten letters");
            client.expect_close(1009);
            Vec::new()
        }),
        ("both agree", |mut client, mut server| {
            client.send_frame(&close(1000, ""));
            assert_eq!(server.read_frame().close_code(), Some(1000));
            server.send_frame(&close(1000, ""));
            assert_eq!(client.read_frame().close_code(), Some(1000));
            Vec::new()
        }),
    ];
    for (how, end) in ends {
        let (client, server) = open(&longwire, &backend);
        let (head, _) = Conn::knock(longwire.addr(), "").read_answer();
        assert_eq!(head.status(), 429, "{how}");
        let rest = end(client, server);
        let (client, server) = open(&longwire, &backend);
        drop((rest, client, server));
    }
}

/// A tunnel, as soon as there is a slot for it.
fn open(longwire: &Longwire, backend: &Backend) -> (Conn, Conn) {
    let (mut client, mut server) = reach(backend, || Conn::knock(longwire.addr(), ""));
    server.send(switching(KEY, ""));
    client.expect_tunnel();
    (client, server)
}

/// A handshake or a request that has come to the backend, as soon as there is a slot for it.
fn reach(backend: &Backend, knock: impl Fn() -> Conn) -> (Conn, Conn) {
    let (mut waiting, mut found) = (None, None);
    until("a slot for one more", || {
        let mut client = waiting.take().unwrap_or_else(&knock);
        if let Some(mut server) = backend.accept_within(Duration::from_millis(20)) {
            server.read_head();
            found = Some((client, server));
        } else if client.read_for(Duration::from_millis(1)).is_empty() {
            // Neither refused nor there yet.
            waiting = Some(client);
        }
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_slot_is_free_again_when_a_request_or_handshake_ends() {
    let backend = Backend::new();
    let longwire = limited(backend.addr(), HEAD, "limit_conn slots 1;");
    // One that is answered.
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    assert_eq!(status(&longwire, "/"), 503);
    server.send(closing("x"));
    assert_eq!(client.read_answer().0.status(), 200);
    // One whose client leaves before the answer.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.request();
    drop(client);
    let (mut client, mut server) = reach(&backend, || Conn::knock(longwire.addr(), ""));
    server.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_answer().0.status(), 401);
    // One that was refused by the backend.
    let (client, server) = open(&longwire, &backend);
    drop((client, server));
}

#[test]
fn slots_are_counted_by_any_key() {
    let backend = Backend::new();
    let zones = "limit_conn_zone $arg_user zone=users:32k;\nlimit_conn_zone $request_method zone=all:32k;\n";
    let longwire = limited(
        backend.addr(),
        zones,
        "limit_conn users 1; limit_conn all 2; limit_conn_log_level info; add_header X-Conn $limit_conn_status always;",
    );
    let request = |user: &str| {
        let mut client = Conn::connect(longwire.addr());
        client.send(format!("GET /?user={user} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let mut ann = request("ann");
    let (mut first, _) = backend.request();
    let refused = request("ann").read_answer().0;
    assert_eq!((refused.status(), refused.get("x-conn")), (503, "REJECTED"));
    let mut bob = request("bob");
    let (mut second, _) = backend.request();
    // The zone of all is used up; what was taken of the other one is given back.
    assert_eq!(request("cat").read_answer().0.status(), 503);
    for (client, server) in [(&mut ann, &mut first), (&mut bob, &mut second)] {
        server.send(closing("x"));
        let head = client.read_answer().0;
        assert_eq!((head.status(), head.get("x-conn")), (200, "PASSED"));
    }
    // A slot is free once its answer has left, of which the client may hear a moment earlier.
    let (mut cat, mut third) = reach(&backend, || request("cat"));
    third.send(closing("x"));
    assert_eq!(cat.read_answer().0.status(), 200);
    // Without a key nothing is counted.
    let log = longwire.log();
    assert!(!log.contains("limiting connections"), "told at info only:\n{log}");
}

#[test]
fn requests_over_the_rate_are_refused() {
    let zones = "limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;\n";
    let longwire = limited(
        Backend::http(|_, _| ok("x")),
        zones,
        "limit_req zone=one burst=2 nodelay; limit_req_status 429; add_header X-Req $limit_req_status always;",
    );
    let answer = || {
        let head = get(longwire.addr(), "/").0;
        (head.status(), head.get("x-req").to_owned())
    };
    for _ in 0..3 {
        assert_eq!(answer(), (200, "PASSED".to_owned()));
    }
    assert_eq!(answer(), (429, "REJECTED".to_owned()));
    longwire.wait_log(&["[error]", "limiting requests, excess: ", "by zone \"one\" (limit_req in "]);
    let (head, _) = Conn::knock(longwire.addr(), "").read_answer();
    assert_eq!(head.status(), 429);
    longwire
        .wait_log(&["WebSocket handshake failed, fault of the client: limiting requests", "zone \"one\""]);
}

#[test]
fn requests_wait_for_their_turn() {
    let zones = "limit_req_zone $arg_key zone=one:1m rate=2r/s;\n";
    let longwire = limited(Backend::http(|_, _| ok("x")), zones, "limit_req zone=one burst=10;");
    let start = Instant::now();
    let mut clients: Vec<Conn> = (0..3)
        .map(|_| {
            let mut client = Conn::connect(longwire.addr());
            client.send("GET /?key=a HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    // Another key waits for nobody.
    assert_eq!(status(&longwire, "/?key=b"), 200);
    for client in &mut clients {
        assert_eq!(client.read_answer().0.status(), 200);
    }
    between(start.elapsed(), 990, 10_000);
    longwire.wait_log(&["[warn]", "delaying request, excess: ", ", by zone \"one\""]);
}

#[test]
fn a_client_that_leaves_while_it_waits_frees_everything() {
    let backend = Backend::new();
    let zones = format!("{HEAD}limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;\n");
    let folder = Folder::new();
    let longwire = Longwire::start_in(
        folder,
        &format!(
            "{zones}access_log access.log;\n{}",
            site(backend.addr(), "limit_req zone=one burst=5; limit_conn slots 9;")
        ),
        &[],
    );
    let files = longwire.open_files();
    let mut first = Conn::connect(longwire.addr());
    first.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(first.read_answer().0.status(), 200);
    drop((first, server));
    let mut waiting = Conn::knock(longwire.addr(), "");
    longwire.wait_log(&["delaying request"]);
    waiting.end();
    longwire.wait_log(&["it left after"]);
    drop(waiting);
    longwire.wait_open_files(files);
    assert!(backend.was_left_alone());
}

#[test]
fn a_dry_run_only_tells() {
    let zones = format!("{HEAD}limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;\n");
    let longwire = limited(
        Backend::http(|_, _| ok("x")),
        &zones,
        "limit_req zone=one; limit_req_dry_run on; limit_conn slots 1; limit_conn_dry_run on; add_header X-Req $limit_req_status;",
    );
    let req = || get(longwire.addr(), "/").0.get("x-req").to_owned();
    assert_eq!([req(), req()], ["PASSED", "REJECTED_DRY_RUN"]);
    longwire.wait_log(&["limiting requests, dry run, excess: ", " by zone \"one\""]);
}
