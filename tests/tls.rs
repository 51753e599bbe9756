//! Tunnels over TLS: every byte passes on both legs, by whatever library the peer speaks, and keys may change within.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use support::backend::switching;
use support::duplex::Duplex;
use support::frames::{BINARY, KEY, upgrade_request};
use support::tls::Identity;
use support::{Backend, Conn, Folder, Frame, Longwire, close, run, seed, text, until};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The program with TLS on both sides.
fn secured(identity: &Identity, backend: &str) -> Longwire {
    secured_with(identity, backend, "")
}

fn secured_with(identity: &Identity, backend: &str, more: &str) -> Longwire {
    let folder = Folder::new();
    identity.write(&folder, "site");
    Longwire::start_in(
        folder,
        &format!(
            "error_log stderr info;\n{more}\nserver {{ listen 127.0.0.1:0 ssl; ssl_certificate DIR/site.crt; \
             ssl_certificate_key DIR/site.key; ssl_protocols TLSv1.2 TLSv1.3; location / {{ proxy_pass {backend}; \
             proxy_ssl_protocols TLSv1.2 TLSv1.3; }} }}"
        ),
        &[],
    )
}

/// A tunnel with TLS on both legs; the pump drives it.
fn tunnel(
    versions: [&'static SupportedProtocolVersion; 2],
    identity: &Identity,
) -> (Longwire, Duplex, Duplex) {
    let backend = Backend::new();
    let longwire = secured(identity, &format!("https://{}", backend.addr()));
    let client = Duplex::connect(longwire.addr(), identity, versions[0]);
    client.conn(true).send(upgrade_request("/", ""));
    let server = Duplex::accept(&backend.accept(), identity, versions[1]);
    let mut conn = server.conn(false);
    conn.read_head();
    conn.send(switching(KEY, ""));
    client.conn(true).expect_tunnel();
    longwire.wait_log(&["tunnel opened"]);
    assert!(!longwire.log().contains("stays with the runtime"), "{}", longwire.log());
    (longwire, client, server)
}

/// Sends `count` messages, and changes keys now and then in the middle of one.
fn talk(duplex: &Duplex, masks: bool, count: usize, mut random: fastrand::Rng) {
    let mut conn = duplex.conn(masks);
    for _ in 0..count {
        let bytes = message(&mut random).bytes(conn.mask());
        let at = random.usize(..bytes.len());
        if random.u16(..200) == 0 {
            conn.send(&bytes[..at]);
            duplex.refresh();
            conn.send(&bytes[at..]);
        } else {
            conn.send(&bytes);
        }
    }
}

fn listen(duplex: &Duplex, masks: bool, count: usize, mut random: fastrand::Rng) {
    let mut conn = duplex.conn(masks);
    for number in 0..count {
        let expected = message(&mut random).payload;
        // As `talk` does, so that both stay in step.
        let len = Frame::new(BINARY, &expected).bytes((!masks).then_some([0; 4])).len();
        random.usize(..len);
        random.u16(..200);
        assert!(conn.read_frame().payload == expected, "message {number} differs");
    }
}

fn message(random: &mut fastrand::Rng) -> Frame {
    let len = match random.u8(..50) {
        0 => random.usize(..100_000),
        1..10 => random.usize(..10_000),
        _ => random.usize(..300),
    };
    let mut payload = vec![0; len];
    random.fill(&mut payload);
    Frame::new(BINARY, payload)
}

#[test]
fn every_message_passes_both_ways_at_once() {
    let mut random = fastrand::Rng::with_seed(seed());
    let identity = Identity::new(&["example.com"]);
    for (versions, count, narrow) in [
        ([&TLS13, &TLS13], 10_000, false),
        ([&TLS12, &TLS12], 10_000, false),
        ([&TLS13, &TLS12], 100, true),
        ([&TLS12, &TLS13], 100, true),
    ] {
        let (_longwire, client, server) = tunnel(versions, &identity);
        if narrow {
            // Hardly any record leaves in one piece.
            for tcp in [&client.tcp, &server.tcp] {
                socket2::SockRef::from(&**tcp).set_recv_buffer_size(16 * 1024).unwrap();
            }
        }
        let (up, down) = (random.fork(), random.fork());
        std::thread::scope(|scope| {
            scope.spawn(|| talk(&client, true, count, up.clone()));
            scope.spawn(|| listen(&server, false, count, up.clone()));
            scope.spawn(|| talk(&server, false, count, down.clone()));
            scope.spawn(|| listen(&client, true, count, down.clone()));
        });
    }
}

/// What comes together with the heads is not lost, wherever the last record is cut.
#[test]
fn early_bytes_pass_once() {
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        for cut in [0, 1, 4, 5, 6, 20, 5000] {
            let backend = Backend::new();
            let longwire = secured(&identity, &format!("https://{}", backend.addr()));
            let client = Duplex::connect(longwire.addr(), &identity, version);
            let mut mouth = client.conn(true);
            // Together in one record, in records of their own, and one that is cut.
            let first = [upgrade_request("/", "").as_bytes(), &text("one").bytes(mouth.mask())].concat();
            let mut wire = client.records(&first);
            wire.extend(client.records(&text("two").bytes(mouth.mask())));
            let long = text(&"three".repeat(2000)).bytes(mouth.mask());
            let last = client.records(&long);
            wire.extend(&last[..cut]);
            client.send_raw(&wire);

            let server = Duplex::accept(&backend.accept(), &identity, version);
            let mut conn = server.conn(false);
            conn.read_head();
            let first = [switching(KEY, "").as_bytes(), &text("uno").bytes(None)].concat();
            let mut wire = server.records(&first);
            wire.extend(server.records(&text("due").bytes(None)));
            let back = server.records(&text(&"tre".repeat(3000)).bytes(None));
            wire.extend(&back[..cut]);
            server.send_raw(&wire);

            mouth.expect_tunnel();
            assert_eq!(conn.read_frame().text(), "one");
            assert_eq!(conn.read_frame().text(), "two");
            assert_eq!(mouth.read_frame().text(), "uno");
            assert_eq!(mouth.read_frame().text(), "due");
            client.send_raw(&last[cut..]);
            server.send_raw(&back[cut..]);
            assert_eq!(conn.read_frame().text(), "three".repeat(2000));
            assert_eq!(mouth.read_frame().text(), "tre".repeat(3000));
            assert!(!longwire.log().contains("stays with the runtime"), "{}", longwire.log());
        }
    }
}

/// A record that was altered ends the tunnel: its sender hears an alert, the other end a Close.
#[test]
fn an_altered_record_ends_the_tunnel() {
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        let (longwire, client, server) = tunnel([version, version], &identity);
        let mut bad = client.records(&text("good").bytes(Some([1; 4])));
        *bad.last_mut().unwrap() ^= 1;
        client.send_raw(&bad);
        server.conn(false).expect_close(1001);
        let error = client.clone().read(&mut [0; 100]).unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
        longwire.wait_log(&[
            "tunnel ended by the client: connection broke, fault of the client: it sent a TLS record that cannot be",
        ]);
    }
}

/// The closing line says what the end that broke has said or done.
#[test]
fn faults_are_told_by_name() {
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        // A peer that finds fault with what it got tells so by an alert.
        let (longwire, client, server) = tunnel([version, version], &identity);
        let garbage = [&[23, 3, 3, 0, 30][..], &[1; 30]].concat();
        let alert = {
            let mut tls = server.tls.lock().unwrap();
            tls.read_tls(&mut &garbage[..]).unwrap();
            tls.process_new_packets().unwrap_err();
            let mut alert = Vec::new();
            tls.write_tls(&mut alert).unwrap();
            alert
        };
        server.send_raw(&alert);
        client.conn(true).expect_close(1014);
        longwire.wait_log(&[
            "[error]",
            "tunnel ended by the backend: connection broke, fault of the backend: it sent the TLS alert bad_record_mac (20)",
        ]);
        // No records at all.
        let (longwire, client, server) = tunnel([version, version], &identity);
        client.send_raw(b"GET / HTTP/1.1\r\n\r\n");
        server.conn(false).expect_close(1001);
        longwire.wait_log(&["fault of the client: it sent a TLS message that must not come now"]);
        // An end of TCP alone is an end, with a hint.
        let (longwire, client, server) = tunnel([version, version], &identity);
        client.conn(true).end();
        server.conn(false).expect_close(1001);
        longwire.wait_log(&["connection ended without a Close frame (and without close_notify)"]);
        // A reset is told as the system says it.
        let (longwire, client, server) = tunnel([version, version], &identity);
        socket2::SockRef::from(&*client.tcp).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        server.conn(false).expect_close(1001);
        longwire.wait_log(&["tunnel ended by the client: connection broke (104: Connection reset by peer)"]);
    }
}

/// A client that changed keys so often before the tunnel that its own are not found: it is told to the logs and to the
/// backend. Nobody does that but to harm.
#[test]
fn a_connection_that_cannot_be_taken_over_is_told() {
    let identity = Identity::new(&["example.com"]);
    let backend = Backend::new();
    let longwire = secured_with(&identity, &format!("http://{}", backend.addr()), "access_log access.log;");
    let client = Duplex::connect(longwire.addr(), &identity, &TLS13);
    for piece in upgrade_request("/", "").as_bytes().chunks(2) {
        client.refresh();
        client.send_raw(&client.records(piece));
    }
    let mut conn = backend.accept();
    conn.read_head();
    conn.send(switching(KEY, ""));
    conn.expect_close(1001);
    longwire.wait_log(&["[error]", "TLS of the client cannot go on: the key does not follow"]);
    longwire.wait_log(&["tunnel ended by the client"]);
    until("the access log has its line", || longwire.folder().read("access.log").contains(" 101 "));
}

/// A peer that closes TLS in order hears the same; one that only ends TCP is understood as well.
#[test]
fn ends_in_order() {
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        for in_order in [true, false] {
            let (_longwire, client, server) = tunnel([version, version], &identity);
            if in_order {
                client.tls.lock().unwrap().send_close_notify();
                client.send_raw(&client.records(b""));
                let mut wire = Vec::new();
                client.tls.lock().unwrap().write_tls(&mut wire).unwrap();
                client.send_raw(&wire);
            } else {
                client.conn(true).end_sending();
            }
            let mut conn = server.conn(false);
            conn.expect_close(1001);
            // Ok(0) is close_notify; without it rustls tells an unexpected end.
            assert_eq!(server.clone().read(&mut [0; 100]).unwrap(), 0, "close_notify to the backend");
        }
    }
}

const PYTHON: &str = r#"
import hashlib, os, random, socket, ssl, struct, sys
context = ssl._create_unverified_context()
version = ssl.TLSVersion.TLSv1_2 if sys.argv[2] == "1.2" else ssl.TLSVersion.TLSv1_3
context.minimum_version = context.maximum_version = version
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
tls = context.wrap_socket(plain, server_hostname="example.com", suppress_ragged_eofs=False)
tls.sendall(sys.argv[3].encode())
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += tls.recv(1)
assert b" 101 " in head, head

def exactly(count):
    data = bytearray()
    while len(data) < count:
        piece = tls.recv(count - len(data))
        assert piece, "the stream ended"
        data += piece
    return bytes(data)

def frame(opcode, payload):
    size = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size)
    return head + bytes(4) + payload

def answer():
    while True:
        first, size = exactly(2)
        size = struct.unpack("!H", exactly(2))[0] if size == 126 else size
        payload = exactly(size)
        if first != 0x89:
            return first & 15, payload
        tls.sendall(frame(10, payload))

sent, got = hashlib.sha256(), hashlib.sha256()
for _ in range(100):
    batch = [os.urandom(random.choice([0, 1, 100, 1000, 5000])) for _ in range(100)]
    tls.sendall(b"".join(frame(2, payload) for payload in batch))
    for payload in batch:
        sent.update(payload)
        got.update(answer()[1])
assert sent.digest() == got.digest(), "what came back differs"
tls.sendall(frame(8, struct.pack("!H", 1000)))
assert answer() == (8, struct.pack("!H", 1000))
assert tls.recv(1) == b"", "an end in order, by close_notify"
print("passed", tls.version())
"#;

#[test]
fn python_speaks_through_it() {
    if run(Command::new("python3").args(["-c", "import ssl"])).0 != Some(0) {
        return println!("SKIPPED: there is no Python with ssl");
    }
    let identity = Identity::new(&["example.com"]);
    let longwire = secured(&identity, &format!("http://{}", Backend::echo()));
    for version in ["1.2", "1.3"] {
        let port = longwire.addr().port().to_string();
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON, &port, version, &upgrade_request("/", "")]);
        let (status, said, errors) = run(&mut command);
        assert_eq!((status, said), (Some(0), format!("passed TLSv{version}\n")), "{errors}");
    }
    assert!(!longwire.log().contains("stays with the runtime"), "{}", longwire.log());
}

/// OpenSSL changes keys, and asks for ours, by its command `K`.
#[test]
fn openssl_updates_keys() {
    if run(Command::new("openssl").arg("version")).0 != Some(0) {
        return println!("SKIPPED: there is no openssl");
    }
    let identity = Identity::new(&["example.com"]);
    let longwire = secured(&identity, &format!("http://{}", Backend::echo()));
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &longwire.addr().to_string(), "-tls1_3", "-servername", "example.com"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut errors = BufReader::new(client.stderr.take().unwrap());
    input.write_all(upgrade_request("/", "").as_bytes()).unwrap();
    let mut line = Vec::new();
    while !line.starts_with(b"HTTP/1.1 101") {
        line.clear();
        assert!(output.read_until(b'\n', &mut line).unwrap() > 0, "no answer");
    }
    for round in 0..5 {
        input.write_all(b"K\n").unwrap();
        let mut said = String::new();
        while !said.contains("KEYUPDATE") {
            said.clear();
            assert!(errors.read_line(&mut said).unwrap() > 0, "the command is not taken");
        }
        let message = format!("message {round}\n");
        input.write_all(&text(&message).bytes(Some([9; 4]))).unwrap();
        line.clear();
        while !line.ends_with(message.as_bytes()) {
            assert!(output.read_until(b'\n', &mut line).unwrap() > 0, "no echo in round {round}");
        }
    }
    input.write_all(&close(1000, "").bytes(Some([0; 4]))).unwrap();
    drop(input);
    client.wait().unwrap();
}

/// Without buffers, keys and counters are all that TLS adds. rustls alone would hold more than this for each.
#[test]
fn an_idle_tunnel_holds_no_buffer() {
    const TUNNELS: usize = 200;
    let identity = Identity::new(&["example.com"]);
    for version in VERSIONS {
        let longwire = secured(&identity, &format!("http://{}", Backend::echo()));
        let open = || {
            let mut conn = identity.connect_by(longwire.addr(), "example.com", &[version]).unwrap();
            conn.send(upgrade_request("/", ""));
            conn.expect_tunnel();
            conn.expect_echo("hello");
            conn
        };
        // What is made once is made before measuring.
        let mut tunnels: Vec<Conn> = std::iter::repeat_with(open).take(50).collect();
        let before = longwire.memory_kib();
        tunnels.extend(std::iter::repeat_with(open).take(TUNNELS));
        let each = (longwire.memory_kib() - before) as f64 / TUNNELS as f64;
        assert!(each < 9.0, "a tunnel costs {each} KiB");
        println!("a tunnel costs {each} KiB");
    }
}
