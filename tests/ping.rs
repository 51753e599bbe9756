//! Pings: a silent connection lives, a dead one is found, and each end is told the truth about the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use support::frames::{CLOSE, PING, PONG, TEXT};
use support::{Backend, Conn, Frame, Longwire, between, site, text};

/// A proxy with these directives between a client and a backend, both in the test's hands.
fn tunnel(directives: &str) -> (Longwire, Conn, Conn) {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), directives));
    let mut client = Conn::knock(longwire.addr(), "");
    let (server, _) = backend.tunnel();
    client.expect_tunnel();
    (longwire, client, server)
}

#[test]
fn a_silent_connection_outlives_the_read_timeout() {
    let backend = Backend::echo();
    let longwire = Longwire::start(&site(backend, "proxy_read_timeout 2s; websocket_ping 1s;"));
    let start = Instant::now();
    let mut client = Conn::open(longwire.addr());
    client.answer_pings(5); // five intervals are five seconds
    assert!(start.elapsed() > Duration::from_millis(4500), "pings every second, not more often");
    client.expect_echo("still here");
}

#[test]
fn without_pings_the_read_timeout_ends_it_with_a_close() {
    let start = Instant::now();
    let (longwire, mut client, mut server) = tunnel("proxy_read_timeout 1s; websocket_ping off;");
    client.expect_close(1001);
    between(start.elapsed(), 800, 6000);
    server.expect_close(1001);
    longwire.wait_log(&["tunnel ended", "1001", "no traffic"]);
}

#[test]
fn the_read_timeout_counts_both_ways() {
    let (_longwire, mut client, mut server) = tunnel("proxy_read_timeout 2s; websocket_ping off;");
    let start = Instant::now();
    for round in 0..6 {
        // sleep is the promise: one end speaks every 800 ms, which is often enough for both.
        std::thread::sleep(Duration::from_millis(800));
        let (from, to) = if round < 3 { (&mut client, &mut server) } else { (&mut server, &mut client) };
        from.send_text("alive");
        assert_eq!(to.read_frame().text(), "alive");
    }
    assert!(start.elapsed() > Duration::from_secs(4));
    client.expect_close(1001);
}

#[test]
fn ends_that_answer_no_pings_are_idle() {
    let start = Instant::now();
    let (_longwire, mut client, mut server) = tunnel("proxy_read_timeout 1s; websocket_ping 300ms;");
    (client.answers_pings, server.answers_pings) = (false, false);
    client.expect_close(1001);
    between(start.elapsed(), 800, 6000);
    server.expect_close(1001);
}

/// A peer that never answered a ping may be one that cannot: it is not judged by pings.
#[test]
fn a_peer_that_never_answered_is_not_dead() {
    let (_longwire, mut client, mut server) = tunnel("proxy_read_timeout 60s; websocket_ping 200ms;");
    (client.answers_pings, server.answers_pings) = (false, false);
    // sleep is the promise: ten intervals without a pong.
    std::thread::sleep(Duration::from_secs(2));
    client.send_text("I never answer");
    assert_eq!(server.read_frame().text(), "I never answer");
    server.send_text("neither do I");
    assert_eq!(client.read_frame().text(), "neither do I");
    assert!(client.pings > 0 && server.pings > 0);
}

#[test]
fn a_frozen_client_is_found_and_its_backend_told() {
    let (longwire, mut client, mut server) = tunnel("websocket_ping 1s;");
    let frozen = std::thread::spawn(move || {
        client.answer_pings(2);
        (client, Instant::now()) // from here on it reads nothing and says nothing
    });
    server.expect_close(1001);
    let told_at = Instant::now();
    let (client, since) = frozen.join().unwrap();
    // Two intervals, and room for a busy machine.
    between(told_at - since, 300, 2000 + 3000);
    let line = longwire.wait_log(&["tunnel ended", "client", "no pong"]);
    assert!(line.contains(" ms (2 of 3 answered)"), "the round trips are told: {line}");
    drop(client);
}

#[test]
fn a_frozen_backend_is_found_and_its_client_told() {
    let (longwire, mut client, mut server) = tunnel("websocket_ping 1s;");
    let frozen = std::thread::spawn(move || {
        server.answer_pings(2);
        (server, Instant::now())
    });
    client.expect_close(1014);
    let told_at = Instant::now();
    let (_server, since) = frozen.join().unwrap();
    between(told_at - since, 300, 2000 + 3000);
    longwire.wait_log(&["tunnel ended", "backend", "no pong"]);
}

#[test]
fn a_backend_that_vanishes_gives_its_client_1014() {
    for reset in [false, true] {
        let (longwire, mut client, server) = tunnel("");
        if reset {
            server.reset()
        } else {
            drop(server)
        }
        client.expect_close(1014);
        longwire.wait_log(&["tunnel ended", "1014"]);
    }
}

#[test]
fn a_client_that_vanishes_gives_its_backend_1001() {
    for reset in [false, true] {
        let (longwire, client, mut server) = tunnel("");
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        server.expect_close(1001);
        longwire.wait_log(&["tunnel ended", "1001"]);
    }
}

/// Our pings are ours: nothing of them reaches the other end, and each end gets its own.
#[test]
fn our_pongs_go_nowhere() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping 1s;");
    let mut payloads = Vec::new();
    for _ in 0..3 {
        let ping = client.try_read_raw_frame().unwrap();
        assert_eq!((ping.opcode, ping.payload.len()), (PING, 8), "{ping:?}");
        client.send_frame(&Frame::new(PONG, &ping.payload));
        payloads.push(ping.payload);
    }
    payloads.sort();
    payloads.dedup();
    assert_eq!(payloads.len(), 3, "each ping has a payload of its own");
    client.send_text("after three pongs");
    // `read_frame` takes pings and would give back a pong.
    let frame = server.read_frame();
    assert_eq!((frame.opcode, frame.text()), (TEXT, "after three pongs"));
    assert!(server.pings > 0, "the backend is pinged too");
}

/// The application's own pings and pongs are messages between the two ends.
#[test]
fn the_pings_of_the_application_pass() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping 30s;");
    let longest = "x".repeat(125);
    for payload in ["", "beat 1", longest.as_str()] {
        client.send_frame(&Frame::new(PING, payload));
        let ping = server.try_read_raw_frame().unwrap();
        assert_eq!((ping.opcode, ping.payload.as_slice()), (PING, payload.as_bytes()));
        server.send_frame(&Frame::new(PONG, payload));
        let pong = client.try_read_raw_frame().unwrap();
        assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, payload.as_bytes()));
        // A pong that answers nothing is a heartbeat of the application.
        server.send_frame(&Frame::new(PONG, payload));
        assert_eq!(client.try_read_raw_frame().unwrap().payload, payload.as_bytes());
    }
}

/// A pong of the application passes even while one of our pings is out.
#[test]
fn a_pong_that_is_not_ours_passes() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping 300ms;");
    let ping = client.try_read_raw_frame().unwrap();
    client.send_frame(&Frame::new(PONG, "12345678")); // as long as ours, and not ours
    client.send_frame(&Frame::new(PONG, &ping.payload));
    let frame = server.read_frame();
    assert_eq!((frame.opcode, frame.payload.as_slice()), (PONG, b"12345678".as_slice()));
    client.send_text("next");
    assert_eq!(server.read_frame().text(), "next");
}

/// A ping goes out between frames, never into one.
#[test]
fn a_ping_waits_for_the_end_of_a_frame() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping 1s;");
    let message = "slow ".repeat(2000);
    let bytes = text(&message).bytes(client.mask());
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    client.send(first);
    client.answers_pings = false;
    // The client is pinged meanwhile, which shows that intervals pass.
    assert_eq!(client.try_read_raw_frame().unwrap().opcode, PING);
    client.send(rest);
    assert_eq!(server.read_frame().text(), message);

    // Same towards the client.
    let bytes = text(&message).bytes(None);
    let (first, rest) = bytes.split_at(7);
    server.send(first);
    assert_eq!(server.try_read_raw_frame().unwrap().opcode, PING);
    server.send(rest);
    assert_eq!(client.read_frame().text(), message);
}

/// Between the fragments of a message a ping may stand, and the message stays whole.
#[test]
fn fragments_survive_pings() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping 1s;");
    let fragment = |opcode, fin, payload: &str| Frame { fin, ..Frame::new(opcode, payload) };
    server.send_frame(&fragment(TEXT, false, "one "));
    client.answers_pings = true;
    assert_eq!(client.read_frame().payload, b"one ");
    client.answer_pings(2);
    server.send_frame(&fragment(0, false, "two "));
    assert_eq!(client.read_frame().payload, b"two ");
    client.answer_pings(1);
    server.send_frame(&fragment(0, true, "three"));
    let last = client.read_frame();
    assert_eq!((last.fin, last.payload.as_slice()), (true, b"three".as_slice()));
}

/// With `off` no ping is ever sent.
#[test]
fn off_sends_no_pings() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping off; proxy_read_timeout 1s;");
    let frame = client.try_read_raw_frame().unwrap();
    assert_eq!(frame.opcode, CLOSE, "{frame:?}");
    assert_eq!(server.try_read_raw_frame().unwrap().opcode, CLOSE);
}

/// A ping that waited for the end of a frame, and left between two frames of one read, is due as promptly as others.
#[test]
fn a_ping_between_two_frames_has_its_deadline() {
    let (_longwire, mut client, mut server) = tunnel("websocket_ping 3s timeout=1s;");
    client.answer_pings(1);
    let bytes = text("one").bytes(None);
    let (first, rest) = bytes.split_at(3);
    server.send(first);
    // The backend's own pings tell the time: by the second one the client's has become due, and waits.
    for _ in 0..2 {
        while server.try_read_raw_frame().unwrap().opcode != PING {}
    }
    server.send([rest, &text("two").bytes(None)].concat());
    client.answers_pings = false;
    assert_eq!(client.try_read_raw_frame().unwrap().payload, b"one");
    assert_eq!(client.try_read_raw_frame().unwrap().opcode, PING);
    let asked = Instant::now();
    assert_eq!(server.read_frame().close_code(), Some(1001));
    assert!(asked.elapsed() < Duration::from_millis(2500), "after {:?}", asked.elapsed());
}
