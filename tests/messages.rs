//! A hundred thousand messages of any kind pass the proxy and come back as they were: plain, and with TLS on either leg.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use support::backend::switching;
use support::duplex::Duplex;
use support::frames::{BINARY, CONTINUATION, KEY, PING, PONG, TEXT, upgrade_request};
use support::tls::Identity;
use support::{Backend, Conn, Folder, Longwire, run, seed};

/// Messages of one test.
const MESSAGES: usize = 100_000;
/// The longest message.
const LONGEST: usize = 70_000;

type Version = &'static SupportedProtocolVersion;

/// One end of a tunnel: bytes over TCP, or over TLS by rustls.
enum End {
    Plain(TcpStream),
    Tls(Duplex),
}

impl End {
    fn reader(&self) -> Box<dyn Read + Send> {
        match self {
            End::Plain(tcp) => Box::new(tcp.try_clone().unwrap()),
            End::Tls(duplex) => Box::new(duplex.clone()),
        }
    }

    fn writer(&self) -> Box<dyn Write + Send> {
        match self {
            End::Plain(tcp) => Box::new(tcp.try_clone().unwrap()),
            End::Tls(duplex) => Box::new(duplex.clone()),
        }
    }

    fn refresh(&self) {
        if let End::Tls(duplex) = self {
            duplex.refresh();
        }
    }
}

/// A frame as it is read: first byte and unmasked payload. `None` at the end of the stream.
fn read_frame(from: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    from.read_exact(&mut head).ok()?;
    let mut long = [0; 8];
    let len = match head[1] & 0x7f {
        126 => from.read_exact(&mut long[6..]).map(|()| u64::from_be_bytes(long)).unwrap(),
        127 => from.read_exact(&mut long).map(|()| u64::from_be_bytes(long)).unwrap(),
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        from.read_exact(&mut mask).unwrap();
    }
    let mut payload = vec![0; len as usize];
    from.read_exact(&mut payload).unwrap();
    if mask != [0; 4] {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    Some((head[0], payload))
}

/// `masks`: as a client. Keys of zeros are as good as any where the peer is to send back what it got.
fn write_frame(to: &mut impl Write, first: u8, payload: &[u8], masks: Option<[u8; 4]>) {
    let bit = if masks.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..126 => to.write_all(&[first, bit | len as u8]),
        len @ 126..0x1_0000 => to.write_all(&[&[first, bit | 126][..], &(len as u16).to_be_bytes()].concat()),
        len => to.write_all(&[&[first, bit | 127][..], &(len as u64).to_be_bytes()].concat()),
    }
    .unwrap();
    let Some(mask) = masks else { return to.write_all(payload).unwrap() };
    to.write_all(&mask).unwrap();
    let masked: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    to.write_all(&masked).unwrap();
}

/// What one side said or heard: messages in order, put together, and control frames among them.
#[derive(Default)]
struct Heard {
    hasher: DefaultHasher,
    messages: usize,
    open: Vec<u8>,
    opcode: u8,
}

impl Heard {
    fn frame(&mut self, first: u8, payload: &[u8]) {
        match first & 15 {
            PING | PONG => (first, payload).hash(&mut self.hasher),
            opcode => {
                if opcode != CONTINUATION {
                    self.opcode = opcode;
                }
                self.open.extend_from_slice(payload);
                if first & 0x80 != 0 {
                    (self.opcode, &self.open[..]).hash(&mut self.hasher);
                    self.open.clear();
                    self.messages += 1;
                }
            }
        }
    }
}

/// Sends random messages: text and binary, whole and in fragments, with pings between these.
fn talk(end: &End, mut random: fastrand::Rng, masks: bool) -> Heard {
    let mut said = Heard::default();
    let mut out = BufWriter::with_capacity(64 * 1024, end.writer());
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(2 * LONGEST).collect();
    let letters: Vec<u8> = noise.iter().map(|byte| b'a' + byte % 26).collect();
    for number in 0..MESSAGES {
        let len = match random.u16(..1000) {
            0 => random.usize(..=LONGEST),
            1..10 => random.usize(..10_000),
            10..100 => random.usize(..1000),
            _ => random.usize(..130),
        };
        let (opcode, pool) = if random.bool() { (TEXT, &letters) } else { (BINARY, &noise) };
        let start = random.usize(..=LONGEST);
        let mut rest = &pool[start..start + len];
        let mut first = opcode;
        loop {
            let last = random.u8(..4) > 0;
            let (piece, more) = rest.split_at(if last { rest.len() } else { random.usize(..=rest.len()) });
            first |= if last { 0x80 } else { 0 };
            let mask = if masks { random.u32(..).to_be_bytes() } else { [0; 4] };
            write_frame(&mut out, first, piece, Some(mask));
            said.frame(first, piece);
            if last {
                break;
            }
            if random.u8(..8) == 0 {
                let ping = &noise[..random.usize(..126)];
                write_frame(&mut out, 0x80 | PING, ping, Some(mask));
                said.frame(0x80 | PING, ping);
            }
            (first, rest) = (CONTINUATION, more);
        }
        if random.u8(..16) == 0 {
            out.flush().unwrap();
        }
        if number % 9_973 == 5_000 {
            // What was written stands before it, what comes goes on in the middle of anything.
            end.refresh();
        }
    }
    out.flush().unwrap();
    said
}

fn listen(end: &End) -> Heard {
    let mut heard = Heard::default();
    let mut from = BufReader::with_capacity(64 * 1024, end.reader());
    while heard.messages < MESSAGES {
        let (first, payload) = read_frame(&mut from).expect("the stream ended");
        heard.frame(first, &payload);
    }
    heard
}

/// Sends every frame back, and changes keys now and then.
fn echo(end: &End) {
    let mut from = BufReader::with_capacity(64 * 1024, end.reader());
    let mut out = BufWriter::with_capacity(64 * 1024, end.writer());
    let mut frames = 0;
    while let Some((first, payload)) = read_frame(&mut from) {
        write_frame(&mut out, first, &payload, None);
        frames += 1;
        if frames % 20_011 == 0 {
            end.refresh();
        }
        if from.buffer().is_empty() && out.flush().is_err() {
            return;
        }
    }
}

/// The program with what it listens on and passes to.
fn proxy(identity: &Identity, listen: &str, backend: &str) -> Longwire {
    let folder = Folder::new();
    identity.write(&folder, "site");
    let server = format!(
        "error_log stderr info;\nserver {{ listen 127.0.0.1:0{listen}; ssl_certificate DIR/site.crt; \
         ssl_certificate_key DIR/site.key; location / {{ proxy_pass {backend}; }} }}"
    );
    Longwire::start_in(folder, &server, &[])
}

fn open(longwire: &Longwire, identity: &Identity, version: Option<Version>) -> End {
    let end = match version {
        None => End::Plain(TcpStream::connect(longwire.addr()).unwrap()),
        Some(version) => End::Tls(Duplex::connect(longwire.addr(), identity, version)),
    };
    end.writer().write_all(upgrade_request("/", "").as_bytes()).unwrap();
    end
}

fn read_head(end: &End) -> String {
    let (mut head, mut byte, mut from) = (Vec::new(), [0], end.reader());
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Messages to a backend that sends them back; `legs`: TLS to the client and to the backend.
fn pass(legs: [Option<Version>; 2]) {
    let random = fastrand::Rng::with_seed(seed());
    let identity = Identity::new(&["example.com"]);
    let backend = Backend::new();
    let scheme = if legs[1].is_some() { "https" } else { "http" };
    let ssl = if legs[0].is_some() { " ssl" } else { "" };
    let longwire = proxy(&identity, ssl, &format!("{scheme}://{}", backend.addr()));
    let client = open(&longwire, &identity, legs[0]);
    let conn: Conn = backend.accept();
    let server = match legs[1] {
        None => End::Plain(conn.tcp().try_clone().unwrap()),
        Some(version) => End::Tls(Duplex::accept(&conn, &identity, version)),
    };
    read_head(&server);
    server.writer().write_all(switching(KEY, "").as_bytes()).unwrap();
    assert!(read_head(&client).starts_with("HTTP/1.1 101 "));
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&server));
        let talking = scope.spawn(|| talk(&client, random, true));
        let heard = listen(&client);
        let said = talking.join().unwrap();
        assert_eq!(heard.messages, said.messages);
        assert_eq!(heard.hasher.finish(), said.hasher.finish(), "what came back differs");
        conn.tcp().shutdown(std::net::Shutdown::Both).unwrap();
    });
    assert!(!longwire.log().contains("stays with the runtime"), "{}", longwire.log());
}

#[test]
fn plain() {
    pass([None, None]);
}

#[test]
fn tls13_client() {
    pass([Some(&TLS13), None]);
}

#[test]
fn tls12_client() {
    pass([Some(&TLS12), None]);
}

#[test]
fn https_backend() {
    pass([None, Some(&TLS13)]);
}

#[test]
fn both_legs() {
    pass([Some(&TLS12), Some(&TLS12)]);
}

/// What both programs in Python begin with: frames over OpenSSL.
const FRAMES: &str = r#"
import hashlib, os, random, socket, ssl, struct, sys

def read_frame(stream):
    first, size = stream.read(2)
    masked, size = size & 128, size & 127
    if size >= 126:
        size = struct.unpack("!H" if size == 126 else "!Q", stream.read(2 if size == 126 else 8))[0]
    if masked:
        assert stream.read(4) == bytes(4), "keys of zeros were agreed on"
    payload = stream.read(size)
    assert len(payload) == size, "the stream ended"
    return first, payload

def frame(first, payload, bit):
    size = len(payload)
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + (bytes(4) if bit else b"") + payload
"#;

/// A client that sends messages and gets them back.
const PYTHON_CLIENT: &str = r#"
context = ssl._create_unverified_context()
version = ssl.TLSVersion.TLSv1_2 if sys.argv[2] == "1.2" else ssl.TLSVersion.TLSv1_3
context.minimum_version = context.maximum_version = version
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
tls = context.wrap_socket(plain, server_hostname="example.com")
random = random.Random(int(sys.argv[4]))
tls.sendall(sys.argv[3].encode())
stream = tls.makefile("rb", 65536)
assert b" 101 " in stream.readline()
while stream.readline() != b"\r\n":
    pass
noise, sent, got, messages = random.randbytes(140_000), hashlib.sha256(), hashlib.sha256(), 0
while messages < int(sys.argv[5]):
    batch, frames = [], 0
    while sum(map(len, batch)) < 60_000:
        size = random.choice([0, 1, 100, 125, 126, 200, 300]) if random.random() < 0.99 else random.randrange(70_001)
        start, opcode = random.randrange(70_000), random.choice([1, 2])
        payload = noise[start:start + size]
        sent.update(bytes([opcode]) + payload)
        if random.random() < 0.8:
            parts = [frame(128 | opcode, payload, 128)]
        else:
            cut = random.randrange(size + 1)
            parts = [frame(opcode, payload[:cut], 128), frame(128, payload[cut:], 128)]
        batch += parts
        frames += len(parts)
        messages += 1
    tls.sendall(b"".join(batch))
    for _ in range(frames):
        first, payload = read_frame(stream)
        got.update((bytes([first & 15]) if first & 15 else b"") + payload)
assert sent.digest() == got.digest(), "what came back differs"
print("passed", tls.version())
"#;

/// A backend that takes one connection and sends all frames back.
const PYTHON_BACKEND: &str = r#"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/site.crt", sys.argv[1] + "/site.key")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
tls = context.wrap_socket(listener.accept()[0], server_side=True)
tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
stream = tls.makefile("rb", 65536)
while stream.readline() != b"\r\n":
    pass
tls.sendall(sys.argv[2].encode())
while True:
    first, payload = read_frame(stream)
    tls.sendall(frame(first, payload, 0))
    if first == 0x88:
        break
"#;

fn python(program: &str) -> Option<Command> {
    if run(Command::new("python3").args(["-c", "import ssl"])).0 != Some(0) {
        println!("SKIPPED: there is no Python with ssl");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg("-c").arg([FRAMES, program].concat());
    Some(command)
}

#[test]
fn openssl_client() {
    let identity = Identity::new(&["example.com"]);
    let backend = Backend::new();
    let longwire = proxy(&identity, " ssl", &format!("http://{}", backend.addr()));
    for version in ["1.2", "1.3"] {
        let Some(mut command) = python(PYTHON_CLIENT) else { return };
        let port = longwire.addr().port().to_string();
        let (seed, count) = ((seed() >> 1).to_string(), (MESSAGES / 2).to_string());
        command.args([&port, version, &upgrade_request("/", ""), &seed, &count]);
        let (status, said, errors) = std::thread::scope(|scope| {
            let python = scope.spawn(|| run(&mut command));
            let conn = backend.accept();
            let server = End::Plain(conn.tcp().try_clone().unwrap());
            read_head(&server);
            server.writer().write_all(switching(KEY, "").as_bytes()).unwrap();
            echo(&server);
            python.join().unwrap()
        });
        assert_eq!((status, said), (Some(0), format!("passed TLSv{version}\n")), "{errors}");
    }
    assert!(!longwire.log().contains("stays with the runtime"), "{}", longwire.log());
}

#[test]
fn openssl_backend() {
    let Some(mut command) = python(PYTHON_BACKEND) else { return };
    let identity = Identity::new(&["example.com"]);
    let folder = Folder::new();
    identity.write(&folder, "site");
    command.arg(folder.path()).arg(switching(KEY, "")).stdout(Stdio::piped());
    let mut backend = command.spawn().unwrap();
    let mut port = String::new();
    BufReader::new(backend.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let longwire = proxy(&identity, "", &format!("https://127.0.0.1:{}", port.trim()));
    let client = open(&longwire, &identity, None);
    assert!(read_head(&client).starts_with("HTTP/1.1 101 "));
    let random = fastrand::Rng::with_seed(seed());
    std::thread::scope(|scope| {
        let talking = scope.spawn(|| talk(&client, random, false));
        let heard = listen(&client);
        let said = talking.join().unwrap();
        assert_eq!(heard.hasher.finish(), said.hasher.finish(), "what came back differs");
    });
    write_frame(&mut client.writer(), 0x88, &[], Some([0; 4]));
    assert!(backend.wait().unwrap().success());
    assert!(!longwire.log().contains("stays with the runtime"), "{}", longwire.log());
}
