//! The tunnel: every byte passes, nothing is hoarded, what breaks the protocol ends with the right code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::backend::switching;
use support::frames::{BINARY, CLOSE, CONTINUATION, KEY, PING, TEXT};
use support::tls::Identity;
use support::{Backend, Conn, Folder, Frame, Longwire, WAIT, close, seed, site, text, until};

/// A proxy with these directives between a client and a backend, both in the test's hands.
fn tunnel(directives: &str) -> (Longwire, Conn, Conn) {
    extended_tunnel(directives, "", "")
}

/// Same with headers of the client's request and of the backend's answer.
fn extended_tunnel(directives: &str, asked: &str, agreed: &str) -> (Longwire, Conn, Conn) {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), directives));
    let mut client = Conn::knock(longwire.addr(), asked);
    let (mut server, _) = backend.request();
    server.send(switching(KEY, agreed));
    client.expect_tunnel();
    (longwire, client, server)
}

/// Frames of all kinds and lengths that are allowed, as bytes.
fn random_frames(random: &mut fastrand::Rng, masked: bool, total: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut within = false;
    while bytes.len() < total || within {
        let control = random.u8(..10) == 0;
        let length = match random.u8(..10) {
            _ if control => random.usize(..=125),
            0 => random.usize(65_530..65_545),
            1 => random.usize(120..130),
            2 => random.usize(..200_000),
            _ => random.usize(..2000),
        };
        let fin = control || random.bool();
        let opcode = match (control, within) {
            (true, _) => PING,
            (false, true) => CONTINUATION,
            (false, false) if random.bool() => TEXT,
            (false, false) => BINARY,
        };
        if !control {
            within = !fin;
        }
        let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let mask = masked.then(|| random.u32(..).to_be_bytes());
        bytes.extend(Frame { fin, ..Frame::new(opcode, payload) }.bytes(mask));
    }
    bytes
}

/// Sends in pieces of any size, so that headers are cut in all places.
fn send_in_pieces(conn: &mut Conn, bytes: &[u8], random: &mut fastrand::Rng) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = match random.u8(..4) {
            0 => random.usize(1..20),
            1 => random.usize(1..2000),
            _ => random.usize(1..100_000),
        };
        let (now, later) = rest.split_at(piece.min(rest.len()));
        conn.send(now);
        rest = later;
    }
}

#[test]
fn every_byte_passes_both_ways_at_once() {
    let mut random = fastrand::Rng::with_seed(seed());
    let (_longwire, mut client, mut server) = tunnel("");
    let up = random_frames(&mut random, true, 4 << 20);
    let down = random_frames(&mut random, false, 4 << 20);
    let (up_expected, down_expected) = (up.clone(), down.clone());
    let (mut client_random, mut server_random) = (random.fork(), random.fork());
    let (mut client_reader, mut server_reader) =
        (Conn::new(client.tcp().try_clone().unwrap()), Conn::new(server.tcp().try_clone().unwrap()));
    std::thread::scope(|scope| {
        scope.spawn(move || send_in_pieces(&mut client, &up, &mut client_random));
        scope.spawn(move || send_in_pieces(&mut server, &down, &mut server_random));
        scope.spawn(move || {
            assert!(server_reader.read(up_expected.len()) == up_expected, "bytes of the client differ")
        });
        scope.spawn(move || {
            assert!(client_reader.read(down_expected.len()) == down_expected, "bytes of the backend differ")
        });
    });
}

/// Bytes that the proxy holds for a reader that sleeps stay in the kernel: its own memory does not grow.
#[test]
fn a_sleeping_reader_costs_no_memory() {
    const MESSAGE: usize = 1 << 20;
    const MESSAGES: usize = 200;
    for client_reads in [true, false] {
        let (longwire, mut client, mut server) = tunnel("");
        // One message each way, so that what is made once is made before measuring.
        client.send_text("warm");
        server.read_frame();
        server.send_text("up");
        client.read_frame();
        let before = longwire.memory_kib();

        let (mut reader, mut writer) = if client_reads { (client, server) } else { (server, client) };
        let frame = Frame::new(BINARY, vec![7; MESSAGE]).bytes(writer.mask());
        let sent = Arc::new(AtomicU64::new(0));
        let progress = Arc::clone(&sent);
        let sender = std::thread::spawn(move || {
            for _ in 0..MESSAGES {
                for piece in frame.chunks(64 * 1024) {
                    writer.send(piece);
                    progress.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            }
            writer
        });
        // The sender is stuck when nothing has moved for a while: that is what a sleeping reader does to it.
        let mut last = u64::MAX;
        until("the sender is held up", || {
            // sleep is the promise: nothing moves for 300 ms.
            std::thread::sleep(Duration::from_millis(300));
            let now = sent.load(Ordering::Relaxed);
            std::mem::replace(&mut last, now) == now && now > 0
        });
        assert!(last < (MESSAGE * MESSAGES) as u64, "nothing held the sender up");
        let grown = longwire.memory_kib() - before;
        assert!(grown < 1000, "grew by {grown} KiB while the reader slept (client reads: {client_reads})");

        for _ in 0..MESSAGES {
            assert_eq!(reader.read_frame().payload.len(), MESSAGE);
        }
        let _writer = sender.join().unwrap();
        let grown = longwire.memory_kib() - before;
        assert!(grown < 1000, "grew by {grown} KiB after 200 MiB (client reads: {client_reads})");
    }
}

/// What was sent before the end arrives before the end.
#[test]
fn a_client_that_ends_its_sending_half_is_gone() {
    let (longwire, mut client, mut server) = tunnel("");
    client.send_text("last words");
    client.end_sending();
    assert_eq!(server.read_frame().text(), "last words");
    server.expect_close(1001);
    client.expect_end();
    longwire.wait_log(&["tunnel ended", "client"]);
}

#[test]
fn a_backend_that_ends_its_sending_half_is_gone() {
    let (_longwire, mut client, mut server) = tunnel("");
    server.send_text("last words");
    server.end_sending();
    assert_eq!(client.read_frame().text(), "last words");
    client.expect_close(1014);
    server.expect_end();
}

/// Codes and reasons of the applications pass untouched, and nothing is added.
#[test]
fn the_close_of_the_applications_is_theirs() {
    let empty = Frame::new(CLOSE, "");
    let mute = Frame::new(CLOSE, 1000u16.to_be_bytes());
    for frame in
        [close(1000, "done"), close(4711, "a reason that is ours: äöü"), close(3000, ""), mute, empty]
    {
        for client_begins in [true, false] {
            let (longwire, client, server) = tunnel("");
            let (mut first, mut second) = if client_begins { (client, server) } else { (server, client) };
            first.send_frame(&frame);
            let got = second.read_frame();
            assert_eq!((got.opcode, &got.payload), (CLOSE, &frame.payload));
            second.send_frame(&frame);
            let echo = first.read_frame();
            assert_eq!((echo.opcode, &echo.payload), (CLOSE, &frame.payload));
            // The backend ends TCP first, as section 7.1.1 of RFC 6455 has it; the end reaches the client.
            let (client, server) = if client_begins { (first, second) } else { (second, first) };
            drop(server);
            let mut client = client;
            client.expect_end();
            drop(client);
            let by = if client_begins { "client" } else { "backend" };
            let line = longwire.wait_log(&["tunnel ended", by]);
            assert!(line.contains("[notice]"), "a good end is a notice: {line}");
        }
    }
}

/// Bytes that break RFC 6455, as a client would send them.
fn violations_of_a_client() -> Vec<(&'static str, Vec<u8>)> {
    let mask = Some([1, 2, 3, 4]);
    let frame =
        |fin, rsv, opcode, payload: &[u8]| Frame { fin, rsv, ..Frame::new(opcode, payload) }.bytes(mask);
    vec![
        ("unmasked", text("x").bytes(None)),
        ("reserved data opcode", frame(true, 0, 3, b"x")),
        ("reserved control opcode", frame(true, 0, 11, b"x")),
        ("RSV1 without an extension", frame(true, 4, TEXT, b"x")),
        ("RSV2", frame(true, 2, TEXT, b"x")),
        ("RSV3", frame(true, 1, BINARY, b"x")),
        ("fragmented ping", frame(false, 0, PING, b"x")),
        ("long ping", frame(true, 0, PING, &[0; 126])),
        ("continuation of nothing", frame(true, 0, CONTINUATION, b"x")),
        ("text within a message", [frame(false, 0, TEXT, b"x"), frame(true, 0, TEXT, b"y")].concat()),
        ("length 5 in two bytes", vec![0x82, 0xfe, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]),
        ("length 5 in eight bytes", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]),
        ("length with its highest bit", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0]),
        ("Close of one byte", frame(true, 0, CLOSE, b"x")),
    ]
}

#[test]
fn a_client_that_breaks_the_protocol_gets_1002() {
    for (name, bytes) in violations_of_a_client() {
        let (longwire, mut client, mut server) = tunnel("");
        client.send_text("good");
        client.send(&bytes);
        assert_eq!(server.read_frame().text(), "good", "{name}");
        if name == "text within a message" {
            assert_eq!(server.read_frame().payload, b"x", "its first fragment was good");
        }
        server.expect_close(1001); // to the backend its client is gone
        client.expect_close(1002);
        let line = longwire.wait_log(&["tunnel ended", "client"]);
        assert!(!line.contains("[notice]"), "{name}: worse than a notice: {line}");
    }
}

#[test]
fn a_backend_that_breaks_the_protocol_gets_1002() {
    let cases = [
        ("masked", text("x").bytes(Some([1, 2, 3, 4]))),
        ("reserved opcode", Frame::new(5, "x").bytes(None)),
        ("RSV1 without an extension", Frame { rsv: 4, ..text("x") }.bytes(None)),
        ("continuation of nothing", Frame::new(CONTINUATION, "x").bytes(None)),
        ("not WebSocket at all", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in cases {
        let (longwire, mut client, mut server) = tunnel("");
        server.send(&bytes);
        client.expect_close(1014); // to the client its backend is gone
        server.expect_close(1002);
        let line = longwire.wait_log(&["tunnel ended", "backend"]);
        assert!(!line.contains("[notice]"), "{name}: worse than a notice: {line}");
    }
}

#[test]
fn a_message_over_the_limit_is_1009() {
    let fragment = |opcode, fin, length| Frame { fin, ..Frame::new(opcode, vec![b'x'; length]) };
    for client_sends in [true, false] {
        let ends = || {
            let (longwire, client, server) = tunnel("websocket_max_message 1k;");
            let (from, to) = if client_sends { (client, server) } else { (server, client) };
            (longwire, from, to)
        };
        let gone = if client_sends { 1001 } else { 1014 };

        let (_longwire, mut from, mut to) = ends();
        from.send_frame(&fragment(BINARY, true, 1024));
        assert_eq!(to.read_frame().payload.len(), 1024, "the limit itself is allowed");
        from.send_frame(&fragment(BINARY, true, 1025));
        from.expect_close(1009);
        to.expect_close(gone);

        // Fragments count together; a control frame between them does not.
        let (_longwire, mut from, mut to) = ends();
        from.send_frame(&fragment(BINARY, false, 1000));
        from.send_frame(&Frame::new(PING, vec![b'x'; 100]));
        from.send_frame(&fragment(CONTINUATION, false, 24));
        from.send_frame(&fragment(CONTINUATION, true, 1));
        assert_eq!(to.read_frame().payload.len(), 1000);
        assert_eq!(to.read_frame().payload.len(), 24);
        assert_eq!(to.pings, 1);
        to.expect_close(gone);
        // The answer to the ping came before the verdict.
        let mut verdict = from.read_frame();
        if verdict.opcode != CLOSE {
            verdict = from.read_frame();
        }
        assert_eq!(verdict.close_code(), Some(1009));
    }
}

/// The header alone tells that a message is too long: its bytes are not waited for.
#[test]
fn a_length_bomb_is_refused_at_its_header() {
    let (_longwire, mut client, _server) = tunnel("websocket_max_message 1m;");
    client.send([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
    client.expect_close(1009);
}

#[test]
fn compressed_frames_pass_where_compression_was_agreed_on() {
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (_longwire, mut client, mut server) = extended_tunnel("", deflate, deflate);
    let compressed = Frame { rsv: 4, ..Frame::new(TEXT, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]) };
    client.send_frame(&compressed);
    let got = server.read_frame();
    assert_eq!((got.rsv, &got.payload), (4, &compressed.payload));
    server.send_frame(&compressed);
    let got = client.read_frame();
    assert_eq!((got.rsv, &got.payload), (4, &compressed.payload));
    // RSV2 was agreed on by nobody.
    client.send_frame(&Frame { rsv: 2, ..text("x") });
    client.expect_close(1002);
}

/// Many at once, each with its own messages, and everything given back at the end.
#[test]
fn many_tunnels_stay_apart_and_leave_nothing_behind() {
    let backend = Backend::echo();
    let longwire = Longwire::start(&site(backend, ""));
    Conn::open(longwire.addr()).expect_echo("warm");
    until("the first tunnel is gone", || longwire.log().contains("tunnel ended"));
    let before = longwire.open_files();
    let mut clients: Vec<Conn> = (0..200).map(|_| Conn::open(longwire.addr())).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send_text(&format!("{round}/{number}"));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read_frame().text(), format!("{round}/{number}"));
        }
    }
    for client in &mut clients {
        client.send_frame(&close(1000, ""));
        client.expect_close(1000);
    }
    longwire.wait_open_files(before);
}

/// An end that takes nothing for its time is let go, and the other is told.
#[test]
fn an_end_that_reads_nothing_is_let_go() {
    for client_sleeps in [true, false] {
        let (longwire, client, server) = tunnel(
            "send_timeout 1s; proxy_send_timeout 1s; websocket_ping off; websocket_close_timeout 1s; \
             lingering_timeout 1s;",
        );
        let (sleeper, mut writer) = if client_sleeps { (client, server) } else { (server, client) };
        let frame = Frame::new(BINARY, vec![7; 1 << 13]).bytes(writer.mask());
        // Writes until the connection ends. What comes while the answer to the Close is awaited is discarded, at
        // gigabytes a second: only time bounds how much that is.
        let give_up = Instant::now() + WAIT;
        let mut stopped = false;
        while !stopped && Instant::now() < give_up {
            stopped = writer.try_send(&frame).is_err();
        }
        assert!(stopped, "nobody held the writer up (client sleeps: {client_sleeps})");
        let line = longwire.wait_log(&["tunnel ended", "took no data"]);
        let sleeping = if client_sleeps { "by the client" } else { "by the backend" };
        assert!(line.contains(sleeping), "{line}");
        drop(sleeper);
    }
}

/// Large messages over TLS, and small ones after them, arrive whole and in order.
#[test]
fn every_byte_passes_over_tls() {
    let mut random = fastrand::Rng::with_seed(seed());
    let identity = Identity::new(&["example.com"]);
    let folder = Folder::new();
    identity.write(&folder, "site");
    let secured = "listen 127.0.0.1:0 ssl; ssl_certificate DIR/site.crt; ssl_certificate_key DIR/site.key;";
    let conf = site(Backend::echo(), "").replace("listen 127.0.0.1:0;", secured);
    let longwire = Longwire::start_in(folder, &conf, &[]);
    let mut client = identity.connect(longwire.addr(), "example.com").unwrap();
    client.send(support::frames::upgrade_request("/", ""));
    client.expect_tunnel();
    for _ in 0..20 {
        let length = random.choice([0, 1, 125, 126, 16_383, 16_384, 65_535, 65_536, 1 << 20]).unwrap_or(0);
        let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        client.send_frame(&Frame::new(BINARY, &payload));
        assert!(client.read_frame().payload == payload, "a message of {length} bytes differs");
    }
}
