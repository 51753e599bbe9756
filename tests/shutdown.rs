//! The end of the process: gentle or at once, each tunnel is told, and nobody waits for ever.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::frames::CLOSE;
use support::{Backend, Conn, Longwire, WAIT, between, longwire, run, site, text, until};

/// Main-context directives around a site that writes its pid file.
fn whole(main: &str, site: &str) -> String {
    format!("pid DIR/longwire.pid;\n{main}\nevents {{}}\nhttp {{\n{site}}}\n")
}

/// A running program with an open tunnel: its client and its backend. Whoever is to go is told at once.
fn with_tunnel(main: &str, directives: &str) -> (Longwire, Conn, Conn) {
    let backend = Backend::new();
    let directives = format!("websocket_drain 0; {directives}");
    let longwire = Longwire::start(&whole(main, &site(backend.addr(), &directives)));
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, _) = backend.tunnel();
    client.expect_tunnel();
    // After the 101 alone it need not be in a pump yet.
    client.send_text("here");
    assert_eq!(server.read_frame().text(), "here");
    (longwire, client, server)
}

#[test]
fn quit_closes_tunnels_with_1001_and_waits_for_them() {
    let (mut longwire, mut client, mut server) = with_tunnel("", "");
    longwire.signal(Signal::SIGQUIT);
    let told = client.read_frame();
    assert_eq!(told.close_code(), Some(1001), "{told:?}");
    assert_eq!(server.read_frame().close_code(), Some(1001));
    // Nobody has answered, so it still waits; new connections are refused.
    assert!(longwire.runs());
    let addr = longwire.addr();
    until("new connections are refused", || TcpStream::connect(addr).is_err());
    for end in [&mut client, &mut server] {
        end.send_frame(&support::close(1001, ""));
        end.expect_end();
    }
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
    longwire.wait_log(&["tunnel ended", "1001"]);
}

#[test]
fn quit_never_breaks_a_frame() {
    let (mut longwire, mut client, mut server) = with_tunnel("", "");
    let message = "long ".repeat(30_000);
    let bytes = text(&message).bytes(None);
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    server.send(first);
    client.see(1000); // the frame is under way
    longwire.signal(Signal::SIGQUIT);
    // The backend's own direction has no frame under way, so it is told first.
    assert_eq!(server.read_frame().close_code(), Some(1001));
    server.send(rest);
    assert_eq!(client.read_frame().text(), message);
    assert_eq!(client.read_frame().close_code(), Some(1001));
    drop((client, server));
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

#[test]
fn quit_lets_a_request_finish() {
    let backend = Backend::new();
    let mut longwire = Longwire::start(&whole("", &site(backend.addr(), "")));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    let mut idle = Conn::connect(longwire.addr());
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut idle_server, _) = backend.request();
    idle_server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(idle.read_head().status(), 204);

    longwire.signal(Signal::SIGQUIT);
    idle.expect_end(); // nothing is under way on it
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let (head, body) = client.read_answer();
    assert_eq!((head.status(), body.as_str()), (200, "done"));
    client.expect_end();
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

/// An end that never answers the Close holds nobody up for longer than it may.
#[test]
fn quit_ends_after_worker_shutdown_timeout() {
    let (mut longwire, mut client, mut server) =
        with_tunnel("worker_shutdown_timeout 1s;", "websocket_close_timeout 60s;");
    let start = Instant::now();
    longwire.signal(Signal::SIGQUIT);
    assert_eq!(client.read_frame().close_code(), Some(1001));
    assert_eq!(server.read_frame().close_code(), Some(1001));
    // Both stay open and silent.
    assert_eq!(longwire.wait_exit(Duration::from_secs(15)).code(), Some(0));
    between(start.elapsed(), 800, 10_000);
}

#[test]
fn the_answer_to_a_close_is_awaited_for_its_time() {
    let (longwire, mut client, mut server) =
        with_tunnel("", "websocket_ping off; proxy_read_timeout 500ms; websocket_close_timeout 2s;");
    assert_eq!(client.read_frame().close_code(), Some(1001));
    let start = Instant::now();
    assert_eq!(server.read_frame().close_code(), Some(1001));
    client.expect_end();
    between(start.elapsed(), 1000, 8000);
    server.expect_end();
    longwire.wait_log(&["tunnel ended"]);
}

#[test]
fn term_and_int_end_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut longwire, mut client, mut server) = with_tunnel("", "");
        let start = Instant::now();
        longwire.signal(signal);
        assert_eq!(longwire.wait_exit(WAIT).code(), Some(0), "{signal}");
        assert!(start.elapsed() < Duration::from_secs(8), "{signal}");
        // With or without a last word, at a frame boundary, and then the end.
        for end in [&mut client, &mut server] {
            while let Some(frame) = end.try_read_frame() {
                assert_eq!((frame.opcode, frame.close_code()), (CLOSE, Some(1001)), "{frame:?}");
            }
        }
    }
}

#[test]
fn signals_go_through_the_pid_file() {
    for (word, polite) in [("quit", true), ("stop", false)] {
        let (mut longwire, mut client, mut server) = with_tunnel("", "");
        let file = longwire.folder().path().join("longwire.conf");
        let pid_file = longwire.folder().path().join("longwire.pid");
        assert_eq!(longwire.folder().read("longwire.pid").trim(), longwire.pid().to_string());
        let (status, _, said) = run(support::longwire()
            .args(["-s", word, "-c"])
            .arg(&file)
            .arg("-p")
            .arg(longwire.folder().path()));
        assert_eq!(status, Some(0), "{said}");
        if polite {
            client.expect_close(1001);
            server.expect_close(1001);
        }
        assert_eq!(longwire.wait_exit(WAIT).code(), Some(0), "{word}");
        assert!(!pid_file.exists(), "the pid file goes with the process");
    }
}

#[test]
fn a_signal_to_nobody_is_an_error() {
    let folder = support::Folder::new();
    let conf = "pid none.pid; events {} http { server { listen 127.0.0.1:0; } }";
    let file = folder.write("longwire.conf", conf);
    let (status, _, said) =
        run(longwire().args(["-s", "quit", "-c"]).arg(&file).arg("-p").arg(folder.path()));
    assert_eq!(status, Some(1));
    assert!(said.contains("none.pid"), "{said}");
    let (status, _, said) = run(longwire().args(["-s", "dance", "-c"]).arg(&file));
    assert_eq!(status, Some(1));
    assert!(said.contains("dance"), "{said}");
}

/// SIGHUP leaves tunnels alone, whatever becomes of the configuration.
#[test]
fn reload_keeps_tunnels() {
    let (mut longwire, mut client, mut server) = with_tunnel("", "");
    longwire.folder().write("longwire.conf", "nonsense;");
    longwire.signal(Signal::SIGHUP);
    longwire.wait_log(&["reload"]);
    assert!(longwire.runs());
    client.send_text("after the reload");
    assert_eq!(server.read_frame().text(), "after the reload");
    server.send_text("both ways");
    assert_eq!(client.read_frame().text(), "both ways");
    Conn::connect(longwire.addr()); // and who comes now is let in
}

/// After `user`, the folder of the pid file may be closed to the process: then the file is emptied.
#[test]
fn a_pid_file_never_names_a_stranger() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let site = "server { listen 127.0.0.1:0; return 204; }";
    let mut longwire = Longwire::start(&whole("user nobody;", site));
    assert_eq!(longwire.folder().read("longwire.pid").trim(), longwire.pid().to_string());
    longwire.signal(Signal::SIGTERM);
    longwire.wait_exit(WAIT);
    assert_eq!(longwire.folder().read("longwire.pid"), "");
}

/// Signals that mean nothing any more do not buy time.
#[test]
fn worker_shutdown_timeout_counts_from_the_first_signal() {
    let (mut longwire, _client, _server) =
        with_tunnel("worker_shutdown_timeout 1s;", "websocket_close_timeout 60s;");
    longwire.signal(Signal::SIGQUIT);
    until("it has ended", || {
        !longwire.runs() || {
            longwire.signal(Signal::SIGUSR1);
            false
        }
    });
}

/// A tunnel that did not answer its Close in time has its lines in the logs as well.
#[test]
fn a_tunnel_that_is_cut_is_told_of() {
    let (mut longwire, client, server) = with_tunnel("", "");
    longwire.signal(Signal::SIGTERM);
    // Neither end answers the Close frames.
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
    let log = longwire.log();
    assert!(log.contains("tunnels that are cut: 1") && log.contains("tunnel ended by the proxy"), "{log}");
    drop((client, server));
}
