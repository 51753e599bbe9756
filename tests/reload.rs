//! A reload: another generation in the same process, of which nobody who is connected notices anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::{SocketAddr, TcpStream};

use nix::sys::signal::Signal;
use support::conn::get;
use support::{Backend, Conn, Longwire, WAIT, site, until};

/// A server that answers this text.
fn says(text: &str) -> String {
    format!("server {{ listen 127.0.0.1:0; location / {{ return 200 {text}; }} }}\n")
}

/// The address in a line `... listening on 127.0.0.1:43127`.
fn listening(log: &str) -> SocketAddr {
    let (_, address) = log.split_once("] ").and_then(|_| log.split_once(": listening on ")).unwrap();
    address.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_kept_connection_is_served_by_the_new_configuration() {
    let longwire = Longwire::start(&says("one"));
    let mut client = Conn::connect(longwire.addr());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "one");
    for text in ["two", "three"] {
        longwire.reload(&says(text));
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, text);
        assert_eq!(get(longwire.addr(), "/").1, text);
    }
}

#[test]
fn a_request_in_work_ends_as_it_began() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "add_header X-Generation one;"));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    longwire.reload(&says("two"));
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let (head, body) = client.read_answer();
    assert_eq!((head.get("x-generation"), body.as_str()), ("one", "done"));
    assert!(!head.has("connection"), "the connection stays: {head:?}");
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "two");
}

/// A handshake that waits for its backend becomes a tunnel of the configuration that it began with.
#[test]
fn tunnels_and_handshakes_are_left_alone() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut early = Conn::knock(longwire.addr(), "");
    let (mut early_server, _) = backend.tunnel();
    early.expect_tunnel();
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, head) = backend.request();
    longwire.reload(&says("two"));
    server.send(support::backend::switching(head.get("sec-websocket-key"), ""));
    client.expect_tunnel();
    for (client, server) in [(&mut client, &mut server), (&mut early, &mut early_server)] {
        client.send_text("there");
        assert_eq!(server.read_frame().text(), "there");
        server.send_text("and back");
        assert_eq!(client.read_frame().text(), "and back");
    }
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told_as_by_a_test() {
    let longwire = Longwire::start(&says("one"));
    let missing =
        "server { listen 127.0.0.1:0 ssl; ssl_certificate DIR/none.pem; ssl_certificate_key DIR/none.key; }";
    let name = "upstream a { server does-not-exist.invalid; }\nserver { listen 127.0.0.1:0; location / { proxy_pass http://a; } }";
    let log = "error_log DIR/none/error.log;\nevents {}\nhttp { server { listen 127.0.0.1:0; } }";
    let mut client = Conn::connect(longwire.addr());
    for (bad, said) in [
        ("server {\n  listn 80;\n}", &["[emerg]", "unknown directive \"listn\"", "longwire.conf:2"][..]),
        (missing, &["[emerg]", "none.pem", "longwire.conf:1"]),
        (name, &["[emerg]", "host not found: \"does-not-exist.invalid\"", "longwire.conf:1"]),
        (log, &["[emerg]", "none/error.log"]),
    ] {
        let log = longwire.reload(bad);
        assert!(log.lines().any(|line| said.iter().all(|part| line.contains(part))), "{said:?} in:\n{log}");
        assert!(log.contains("reload failed"), "{log}");
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "one");
    }
    longwire.reload(&says("two"));
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "two");
}

/// Nothing is given up unless everything new can be had.
#[test]
fn an_address_that_cannot_be_bound_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let longwire = Longwire::start(&says("one"));
    let two =
        format!("server {{ listen 127.0.0.2:0; listen {}; return 200 two; }}", taken.local_addr().unwrap());
    let log = longwire.reload(&two);
    assert!(log.contains("[emerg]") && log.contains("bind()") && log.contains("reload failed"), "{log}");
    assert_eq!(get(longwire.addr(), "/").1, "one");
    drop(taken);
    let log = longwire.reload(&two);
    assert!(log.contains("not listening on 127.0.0.1:"), "{log}");
    assert_eq!(get(listening(&log), "/").1, "two");
}

#[test]
fn who_came_by_an_address_that_is_gone_leaves_after_the_request_in_work() {
    let backend = Backend::new();
    let both = "server { listen 127.0.0.2:0; return 200 other; }\n";
    let longwire = Longwire::start(&format!("{}{both}", site(backend.addr(), "")));
    let addr = longwire.addr_on("127.0.0.1");
    let mut busy = Conn::connect(addr);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    let mut idle = Conn::connect(addr);
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut idle_server, _) = backend.request();
    idle_server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(idle.read_head().status(), 204);
    let mut tunnel = Conn::knock(addr, "");
    let (mut end, _) = backend.tunnel();
    tunnel.expect_tunnel();
    let mut fresh = Conn::connect(addr);

    longwire.reload(both);
    idle.expect_end();
    until("nobody listens there", || TcpStream::connect(addr).is_err());
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone");
    let (head, body) = busy.read_answer();
    assert_eq!((head.get("connection"), body.as_str()), ("close", "done"));
    busy.expect_end();
    // It was let in, so it is answered, by those who let it in.
    fresh.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    assert_eq!(fresh.read_answer().1, "last");
    fresh.expect_end();
    tunnel.send_text("still here");
    assert_eq!(end.read_frame().text(), "still here");
    assert_eq!(get(longwire.addr_on("127.0.0.2"), "/").1, "other");
}

/// A connection that began without TLS is none of a port that has it now.
#[test]
fn who_came_under_other_terms_leaves() {
    let longwire = Longwire::start(&says("plain"));
    let mut client = Conn::connect(longwire.addr());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "plain");
    longwire.reload("server { listen 127.0.0.1:0 ssl; return 200 secret; }");
    client.expect_end();
    assert_eq!(get(longwire.addr(), "/").0.status(), 400);
    let mut client = support::tls::connect_trusting_anyone(longwire.addr(), "localhost").unwrap();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "secret");
    longwire.reload(&says("again"));
    client.expect_end();
    assert_eq!(get(longwire.addr(), "/").1, "again");
}

#[test]
fn what_a_process_settles_at_its_start_is_said_to_stay() {
    let whole = |main: &str| format!("{main}\nevents {{}}\nhttp {{ {} }}", says("x"));
    let longwire = Longwire::start(&whole("pid DIR/a.pid; worker_processes 1;"));
    let log = longwire.reload(&whole("pid DIR/b.pid; worker_processes 2;"));
    for name in ["pid", "worker_processes"] {
        let told = |line: &str| line.contains("[warn]") && line.contains(&format!("\"{name}\" stays"));
        assert!(log.lines().any(told), "{name} in:\n{log}");
    }
    assert_eq!(longwire.folder().read("a.pid").trim(), longwire.pid().to_string());
    assert!(!longwire.folder().path().join("b.pid").exists());
    let log = longwire.reload(&whole("pid DIR/a.pid; worker_processes 1;"));
    assert!(!log.contains("[warn]"), "{log}");
}

/// A storm of signals is a few reloads, and the last file wins.
#[test]
fn signals_that_come_during_a_reload_are_one_more() {
    let mut longwire = Longwire::start(&says("one"));
    for _ in 0..200 {
        longwire.signal(Signal::SIGHUP);
    }
    longwire.folder().write("longwire.conf", says("two"));
    longwire.signal(Signal::SIGHUP);
    until("the last one is in force", || get(longwire.addr(), "/").1 == "two");
    longwire.signal(Signal::SIGTERM);
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}
