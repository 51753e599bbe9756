//! What a tunnel takes along through an upgrade of the program: its place in a frame, timers, counts, the Close under way.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use support::backend::switching;
use support::duplex::Duplex;
use support::frames::{CLOSE, KEY, PING, upgrade_request};
use support::lineage::Lineage;
use support::tls::Identity;
use support::{Backend, Conn, Folder, Frame, WAIT, between, close, site, text, until};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The program with a pid file around a site.
fn start(http: &str) -> Lineage {
    Lineage::start(Folder::new(), &whole(http), &[])
}

fn whole(http: &str) -> String {
    format!("pid DIR/longwire.pid;\nevents {{}}\nhttp {{\n{http}}}\n")
}

/// The program with an open tunnel: its client and its backend.
fn with_tunnel(directives: &str) -> (Lineage, Conn, Conn) {
    let backend = Backend::new();
    let line = start(&site(backend.addr(), directives));
    let (client, server) = open(&line, &backend);
    (line, client, server)
}

fn open(line: &Lineage, backend: &Backend) -> (Conn, Conn) {
    let mut client = Conn::knock(line.longwire.addr(), "");
    let (mut server, _) = backend.tunnel();
    client.expect_tunnel();
    // After the 101 alone it may still be a handshake, which goes over later.
    client.send_text("here");
    assert_eq!(server.read_frame().text(), "here");
    (client, server)
}

fn upgrade(line: &Lineage, tunnels: usize) {
    let upgraded = line.upgrade();
    assert_eq!(upgraded.tunnels, tunnels, "{}", upgraded.said);
    line.wait_gone(upgraded.before);
}

/// Wherever a frame is cut, in both directions at once: in its header, in its payload, behind a fragment.
#[test]
fn a_frame_that_is_cut_goes_on() {
    let (line, mut client, mut server) = with_tunnel("");
    let message = "half of it and the other half ".repeat(20);
    let bytes = [text(&message).bytes(client.mask()), text(&message).bytes(None)];
    for cut in [1, 2, 3, 4, 6, 7, 8, 9, 300] {
        client.send(&bytes[0][..cut]);
        server.send(&bytes[1][..cut]);
        // What is known to be a frame is passed on at once.
        if cut > 8 {
            client.see(cut);
            server.see(cut);
        }
        upgrade(&line, 1);
        client.send(&bytes[0][cut..]);
        server.send(&bytes[1][cut..]);
        assert_eq!(server.read_frame().text(), message, "cut at {cut}");
        assert_eq!(client.read_frame().text(), message, "cut at {cut}");
    }
    client.send_frame(&Frame { fin: false, ..text("first, ") });
    let first = server.read_frame();
    upgrade(&line, 1);
    client.send_frame(&Frame::new(PING, "between"));
    client.send_frame(&Frame::new(0, "second"));
    // A second text in place of the rest would have been an error.
    let rest = server.read_frame();
    assert_eq!(
        (first.fin, first.text(), rest.opcode, rest.payload),
        (false, "first, ", 0, b"second".to_vec())
    );
}

/// Wherever a TLS record is cut, on both legs, and with keys that were changed before.
#[test]
fn a_record_that_is_cut_goes_on() {
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        let backend = Backend::new();
        let folder = Folder::new();
        identity.write(&folder, "site");
        let addr = backend.addr();
        let http = format!(
            "server {{ listen 127.0.0.1:0 ssl; ssl_certificate DIR/site.crt; ssl_certificate_key DIR/site.key; \
             ssl_protocols TLSv1.2 TLSv1.3; location / {{ proxy_pass https://{addr}; proxy_ssl_protocols TLSv1.2 \
             TLSv1.3; }} }}\n"
        );
        let line = Lineage::start(folder, &whole(&http), &[]);
        let client = Duplex::connect(line.longwire.addr(), &identity, version);
        let mut mouth = client.conn(true);
        mouth.send(upgrade_request("/", ""));
        let server = Duplex::accept(&backend.accept(), &identity, version);
        let mut conn = server.conn(false);
        conn.read_head();
        conn.send(switching(KEY, ""));
        mouth.expect_tunnel();
        mouth.send_text("here");
        assert_eq!(conn.read_frame().text(), "here");

        let message = "half of it and the other half ".repeat(100);
        for (round, cut) in [1, 3, 5, 6, 13, 14, 100, 1000].into_iter().enumerate() {
            if round % 3 == 1 {
                client.refresh();
                server.refresh();
            }
            let up = client.records(&text(&message).bytes(mouth.mask()));
            let down = server.records(&text(&message).bytes(None));
            client.send_raw(&up[..cut]);
            server.send_raw(&down[..cut]);
            upgrade(&line, 1);
            client.send_raw(&up[cut..]);
            server.send_raw(&down[cut..]);
            assert_eq!(conn.read_frame().text(), message, "cut at {cut}");
            assert_eq!(mouth.read_frame().text(), message, "cut at {cut}");
        }
        // The end in order is spoken by the last process.
        mouth.send_frame(&close(1000, "bye"));
        conn.expect_close(1000);
        assert_eq!(mouth.read_frame().close_code(), Some(1000));
        assert_eq!(client.clone().read(&mut [0; 10]).unwrap(), 0, "close_notify");
    }
}

/// What was read from one end and not taken by the other goes over, and so does the pressure.
#[test]
fn what_an_end_has_not_taken_goes_over() {
    let (line, mut client, mut server) = with_tunnel("websocket_ping off;");
    socket2::SockRef::from(server.tcp()).set_recv_buffer_size(32 * 1024).unwrap();
    let mut sender = client.tcp().try_clone().unwrap();
    let messages: Vec<String> = (0..700).map(|n| format!("{n} ").repeat(10_000)).collect();
    let (mask, sent) = (client.mask(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for message in &messages {
                sender.write_all(&text(message).bytes(mask)).unwrap();
                sent.fetch_add(1, SeqCst);
            }
        });
        for (number, message) in messages.iter().enumerate() {
            if [20, 120].contains(&number) {
                // All buffers on the way are full when nothing more is taken for a while.
                let (mut before, mut looks) = (0, 0);
                until("the client has to wait", || {
                    let now = sent.load(SeqCst);
                    looks = if now == before { looks + 1 } else { 0 };
                    before = now;
                    looks == 60
                });
                assert!(before < messages.len(), "too little to fill all buffers");
                upgrade(&line, 1);
            }
            assert!(server.read_frame().text() == message, "message {number} differs");
        }
    });
    server.send_text("all there");
    assert_eq!(client.read_frame().text(), "all there");
}

#[test]
fn the_ping_timer_goes_on() {
    let (line, mut client, mut server) = with_tunnel("websocket_ping 6s; proxy_read_timeout 60s;");
    let began = Instant::now();
    // sleep is the promise: the timer is half over.
    std::thread::sleep(Duration::from_millis(3000));
    upgrade(&line, 1);
    for end in [&mut client, &mut server] {
        let ping = end.try_read_raw_frame().unwrap();
        assert_eq!(ping.opcode, PING, "{ping:?}");
        // Begun anew it would be more than 9 s.
        between(began.elapsed(), 5000, 8900);
        end.send_frame(&Frame::new(10, &ping.payload));
    }
    // The pongs are known as answers to a ping, and are passed on to nobody.
    upgrade(&line, 1);
    client.send_text("next");
    assert_eq!(server.read_frame().text(), "next");
}

/// A ping before the upgrade, its pong after it: the new process knows it for its own, and measures.
#[test]
fn a_pong_of_the_old_process_is_not_passed_on() {
    let (line, mut client, mut server) = with_tunnel("websocket_ping 2s; proxy_read_timeout 60s;");
    let ping = client.try_read_raw_frame().unwrap();
    upgrade(&line, 1);
    client.send_frame(&Frame::new(10, &ping.payload));
    client.send_text("behind the pong");
    loop {
        let frame = server.try_read_raw_frame().unwrap();
        if frame.opcode != PING {
            assert_eq!(frame.text(), "behind the pong");
            break;
        }
    }
}

#[test]
fn the_idle_timer_goes_on() {
    let (line, mut client, mut server) = with_tunnel("websocket_ping off; proxy_read_timeout 6s;");
    let began = Instant::now();
    // sleep is the promise: the timer is half over.
    std::thread::sleep(Duration::from_millis(3000));
    upgrade(&line, 1);
    client.expect_close(1001);
    between(began.elapsed(), 5000, 8900);
    server.expect_close(1001);
}

/// Counts of messages and bytes, when it was opened and by whom: one line for the whole life.
#[test]
fn counts_and_lines_go_on() {
    let format = "log_format own '$connection $status $request $websocket_close_code \
                  $websocket_messages_received/$websocket_messages_sent $bytes_sent $websocket_duration';\naccess_log DIR/access.log own;\n";
    let backend = Backend::new();
    let line = start(&format!("{format}{}", site(backend.addr(), "")));
    let (mut client, mut server) = open(&line, &backend);
    let began = Instant::now();
    for round in 0..3 {
        for message in ["one", "two"] {
            client.send_text(message);
            server.read_frame();
        }
        server.send_text("back");
        client.read_frame();
        if round < 2 {
            upgrade(&line, 1);
        }
    }
    // A format of the new configuration is for what begins with it.
    client.send_frame(&close(1000, ""));
    server.expect_close(1000);
    assert_eq!(client.read_frame().close_code(), Some(1000));
    let ended = line.longwire.wait_log(&["tunnel ended"]);
    assert!(
        ended.contains("from client 7 messages, 72 bytes")
            && ended.contains("from backend 3 messages, 22 bytes"),
        "{ended}"
    );
    assert!(ended.contains("*1 ") && ended.contains("client: 127.0.0.1"), "{ended}");
    until("the access log has its line", || !line.folder().read("access.log").is_empty());
    let log = line.folder().read("access.log");
    let fields: Vec<&str> = log.trim().split(' ').collect();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(&fields[..6], ["1", "101", "GET", "/", "HTTP/1.1", "1000"], "{log}");
    assert_eq!(fields[6], "7/3", "{log}");
    let duration: f64 = fields[8].parse().unwrap();
    assert!((duration - began.elapsed().as_secs_f64()).abs() < 2.0, "{log}");
}

/// Numbers of connections are never given twice, and what counts connections goes on.
#[test]
fn numbers_and_slots_go_on() {
    let http = format!(
        "limit_conn_zone $binary_remote_addr zone=all:1m;\nlimit_conn_status 429;\nupstream one {{ server {} max_conns=3; \
         }}\nserver {{ listen 127.0.0.1:0; location / {{ proxy_pass http://one; }} location /two {{ limit_conn all 2; \
         proxy_pass http://one; }} location = /status {{ stub_status; }} }}\n",
        Backend::echo()
    );
    let line = start(&http);
    let knock = |path: &str| {
        let mut client = Conn::connect(line.longwire.addr());
        client.send(upgrade_request(path, ""));
        let status = client.read_head().status();
        if status == 101 {
            client.expect_echo("here");
        }
        (client, status)
    };
    let (first, second) = (knock("/two"), knock("/two"));
    assert_eq!((first.1, second.1), (101, 101));
    assert_eq!(knock("/two").1, 429, "limit_conn");
    upgrade(&line, 2);
    assert_eq!(knock("/two").1, 429, "limit_conn counts those that came over");
    let third = knock("/");
    assert_eq!(third.1, 101);
    assert_eq!(knock("/").1, 502, "max_conns counts those that came over");
    upgrade(&line, 3);
    assert_eq!(knock("/").1, 502, "max_conns");
    drop(first);
    let mut fourth = None;
    until("both slots are free again", || {
        fourth = Some(knock("/two")).filter(|(_, status)| *status == 101);
        fourth.is_some()
    });
    assert_eq!(knock("/").1, 502, "one was freed, and one was taken");
    let (head, status) = support::conn::get(line.longwire.addr(), "/status");
    assert_eq!(head.status(), 200);
    let accepted: u64 = status.lines().nth(2).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!((10..60).contains(&accepted), "{status}");
    let log = line.longwire.log();
    let opened = log.lines().filter(|l| l.contains("tunnel opened"));
    let numbers: Vec<&str> = opened.filter_map(|l| l.split_once('*')?.1.split(' ').next()).collect();
    let mut different = numbers.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!((numbers.len(), different.len()), (4, 4), "{numbers:?}");
}

/// The application's own Close is under way: one end has sent it, the other has not answered.
#[test]
fn a_close_handshake_goes_on() {
    for from_client in [true, false] {
        let (line, mut client, mut server) = with_tunnel("");
        let (one, other) = if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        one.send_frame(&close(3000, "thanks"));
        let told = other.read_frame();
        assert_eq!(told.close_code(), Some(3000));
        upgrade(&line, 1);
        other.send_frame(&close(3000, ""));
        assert_eq!(one.read_frame().close_code(), Some(3000));
        one.expect_end();
        other.expect_end();
        line.longwire.wait_log(&["tunnel ended", "3000"]);
    }
}

/// Close frames of the proxy are out, one end has answered: the other's answer is awaited by the new process, and not for longer.
#[test]
fn a_close_of_the_proxy_goes_on() {
    let (line, mut client, mut server) =
        with_tunnel("websocket_ping off; proxy_read_timeout 1s; websocket_close_timeout 6s;");
    assert_eq!(client.read_frame().close_code(), Some(1001));
    let began = Instant::now();
    assert_eq!(server.read_frame().close_code(), Some(1001));
    server.send_frame(&close(1001, ""));
    // sleep is the promise: a part of the time for the answer is over.
    std::thread::sleep(Duration::from_millis(3000));
    upgrade(&line, 1);
    client.expect_end();
    between(began.elapsed(), 5000, 8900);
    server.expect_end();
}

/// A backend that is to go: who was given a time before the upgrade ends then, each once.
#[test]
fn the_schedule_of_a_drain_goes_on() {
    let (going, staying) = (Backend::new(), Backend::new());
    let http = |drain: &str| {
        format!(
            "websocket_drain 6s;\nupstream both {{ server {} {drain}; server {} backup; }}\nserver {{ listen \
             127.0.0.1:0; location / {{ proxy_pass http://both; }} }}\n",
            going.addr(),
            staying.addr()
        )
    };
    let line = start(&http(""));
    let mut tunnels: Vec<(Conn, Conn)> = (0..12).map(|_| open(&line, &going)).collect();
    line.longwire.reload(&whole(&http("drain")));
    let began = Instant::now();
    // sleep is the promise: some have been told.
    std::thread::sleep(Duration::from_millis(2000));
    let from = line.longwire.log().len();
    let upgraded = line.upgrade();
    // Some with the Close under way: nobody has answered yet.
    assert_eq!(upgraded.tunnels, 12, "{}", upgraded.said);
    std::thread::scope(|scope| {
        let ends: Vec<_> = tunnels
            .iter_mut()
            .map(|(client, server)| {
                scope.spawn(move || {
                    client.expect_close(1012);
                    server.expect_close(1012);
                    began.elapsed()
                })
            })
            .collect();
        let mut times: Vec<Duration> = ends.into_iter().map(|end| end.join().unwrap()).collect();
        times.sort_unstable();
        println!("{times:?}");
        assert!(times[11] < Duration::from_secs(8), "the schedule began anew: {times:?}");
        assert!(times[11] > Duration::from_millis(4500), "{times:?}");
    });
    line.wait_gone(upgraded.before);
    assert!(!line.longwire.log()[from..].contains("cut"), "{}", &line.longwire.log()[from..]);
    // And the new process knows that this server gets nothing more.
    let mut client = Conn::knock(line.longwire.addr(), "");
    let (_server, _) = staying.tunnel();
    client.expect_tunnel();
}

/// Requests end in the process that began them, kept connections end when nothing is in work, handshakes become tunnels
/// and go over then.
#[test]
fn requests_end_and_handshakes_follow() {
    let backend = Backend::new();
    let line = start(&site(backend.addr(), ""));
    let addr = line.longwire.addr();
    let mut busy = Conn::connect(addr);
    busy.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut busy_server, _) = backend.request();
    let mut idle = Conn::connect(addr);
    idle.send("GET /idle HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut idle_server, _) = backend.request();
    idle_server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(idle.read_head().status(), 204);
    let mut late = Conn::knock(addr, "");
    let (mut late_server, late_head) = backend.request();
    let (mut client, mut server) = open(&line, &backend);

    let from = line.longwire.log().len();
    let upgraded = line.upgrade();
    assert_eq!(upgraded.tunnels, 1, "{}", upgraded.said);
    idle.expect_end();
    client.send_text("in the new one");
    assert_eq!(server.read_frame().text(), "in the new one");
    // Newcomers are of the new process.
    let (mut fresh, mut fresh_server) = open(&line, &backend);

    busy_server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone");
    assert_eq!(busy.read_answer().1, "done");
    busy.expect_end();
    late_server.send(switching(late_head.get("sec-websocket-key"), ""));
    late.expect_tunnel();
    line.wait_gone(upgraded.before);
    let said = &line.longwire.log()[from..];
    assert!(said.contains("went over, 1 of them later; 0 stay"), "{said}");
    for (client, server) in [(&mut late, &mut late_server), (&mut fresh, &mut fresh_server)] {
        client.send_text("there");
        assert_eq!(server.read_frame().text(), "there");
        server.send_text("and back");
        assert_eq!(client.read_frame().text(), "and back");
    }
}

/// A second upgrade, a reload, a graceful end: each is for the process that serves.
#[test]
fn signals_are_for_the_process_that_serves() {
    use nix::sys::signal::Signal;
    let backend = Backend::new();
    let line = start(&site(backend.addr(), "websocket_drain 1s;"));
    let (mut client, mut server) = open(&line, &backend);
    upgrade(&line, 1);
    // By the pid file, as an operator does.
    let command = |word: &str| {
        let file = line.folder().path().join("longwire.conf");
        let mut command = support::longwire();
        let (status, _, said) =
            support::run(command.args(["-s", word, "-c"]).arg(file).arg("-p").arg(line.folder().path()));
        assert_eq!(status, Some(0), "{said}");
    };
    let from = line.longwire.log().len();
    command("reload");
    line.wait_said(from, &["reload done"]);
    let before = line.pid();
    let said = line.once_alone(|| {
        let from = line.longwire.log().len();
        command("upgrade");
        line.wait_said(from, &["tunnels handed over", "nothing changes"])
    });
    assert!(said.contains("handed over: 1"), "{said}");
    line.wait_gone(before);
    let last: i32 = line.folder().read("longwire.pid").trim().parse().unwrap();
    command("quit");
    client.expect_close(1001);
    server.expect_close(1001);
    line.wait_gone(last);
    assert!(!line.folder().path().join("longwire.pid").exists(), "the pid file goes with the last process");
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(last), Signal::SIGKILL);
}

/// A session that began before a reload, or in the process before, is resumed after it.
#[test]
fn session_tickets_work_across_reload_and_upgrade() {
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        let folder = Folder::new();
        identity.write(&folder, "site");
        let http = "server { listen 127.0.0.1:0 ssl; ssl_certificate DIR/site.crt; ssl_certificate_key DIR/site.key; \
                    ssl_protocols TLSv1.2 TLSv1.3; location / { return 200 hello; } }\n";
        let line = Lineage::start(folder, &whole(http), &[]);
        let config = Arc::new(identity.client_config(&[version]));
        let addr = line.longwire.addr();
        assert_eq!(visit(addr, &config), HandshakeKind::Full);
        assert_eq!(visit(addr, &config), HandshakeKind::Resumed);
        line.longwire.reload(&whole(&format!("# again\n{http}")));
        assert_eq!(visit(addr, &config), HandshakeKind::Resumed, "after a reload, {version:?}");
        let upgraded = line.upgrade();
        line.wait_gone(upgraded.before);
        assert_eq!(visit(addr, &config), HandshakeKind::Resumed, "after an upgrade, {version:?}");
    }
}

/// A request over TLS: how the handshake went.
fn visit(addr: SocketAddr, config: &Arc<ClientConfig>) -> HandshakeKind {
    let name = ServerName::try_from("example.com").unwrap();
    let tls = ClientConnection::new(config.clone(), name).unwrap();
    let tcp = std::net::TcpStream::connect(addr).unwrap();
    tcp.set_read_timeout(Some(WAIT)).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, tcp);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Tickets of TLS 1.3 come with the answer.
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer));
    stream.conn.handshake_kind().unwrap()
}

/// What came over from another process ends as if it had begun here.
#[test]
fn a_tunnel_that_came_over_is_told_to_go() {
    let (line, mut client, mut server) = with_tunnel("websocket_drain 1s;");
    upgrade(&line, 1);
    line.signal(nix::sys::signal::Signal::SIGQUIT);
    for end in [&mut client, &mut server] {
        let frame = end.expect_close(1001);
        assert_eq!(frame.opcode, CLOSE);
    }
    line.wait_gone(line.pid());
}

/// A program of another version: it says these versions of the protocol and of tunnels, and then what it must.
const OTHER_VERSION: &str = r#"exec python3 -c '
import socket, struct, sys
s = socket.socket(fileno=0)
def say(kind, body):
    s.sendall(struct.pack("<IHBB", len(body), 0, kind, 0) + body)
def exactly(count):
    data = b""
    while len(data) < count:
        piece = s.recv(count - len(data))
        if not piece: sys.exit()
        data += piece
    return data
say(1, b"LWUP" + bytes([PROTOCOL, PROTOCOL, TUNNELS, TUNNELS]) + struct.pack("<I", 3) + b"9.9")
while True:
    length, _, kind, _ = struct.unpack("<IHBB", exactly(8))
    body = exactly(length)
    if kind == 4: say(5, struct.pack("<II", 2, 0))
    if kind == 9: say(10, body[:4])
'"#;

#[test]
fn a_program_that_speaks_otherwise_is_not_followed() {
    let (line, mut client, mut server) = with_tunnel("");
    line.put_script(&OTHER_VERSION.replace("PROTOCOL", "9").replace("TUNNELS", "1"));
    let said = line.fail_upgrade();
    assert!(said.contains("versions 9 to 9"), "{said}");
    client.send_text("still here");
    assert_eq!(server.read_frame().text(), "still here");
}

/// What the new program cannot read stays, and is told to come back over the time of a drain.
#[test]
fn tunnels_in_an_unknown_format_stay_and_are_drained() {
    let (line, mut client, mut server) = with_tunnel("websocket_drain 2s;");
    let old = line.pid();
    line.put_script(&OTHER_VERSION.replace("PROTOCOL", "1").replace("TUNNELS", "99"));
    let upgraded = line.upgrade();
    assert_eq!(upgraded.tunnels, 0, "{}", upgraded.said);
    client.send_text("still here");
    assert_eq!(server.read_frame().text(), "still here");
    client.expect_close(1012);
    server.expect_close(1012);
    line.wait_gone(old);
}
