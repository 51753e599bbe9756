//! A small name server, over UDP and TCP, whose records a test changes while it runs.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a name has.
#[derive(Clone)]
pub enum Record {
    Address(IpAddr),
    Alias(String),
    /// Priority, weight, port, target.
    Service(u16, u16, u16, String),
}

/// A running name server.
pub struct Dns {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    records: Mutex<HashMap<String, (u32, Vec<Record>)>>,
    /// Answers do not fit into a datagram.
    cut: AtomicBool,
    silent: AtomicBool,
    stopped: AtomicBool,
    questions: AtomicUsize,
    over_tcp: AtomicUsize,
}

impl Dns {
    pub fn new() -> Dns {
        // The same port for both, which somebody else may have taken for one of them.
        let (udp, tcp) = std::iter::repeat_with(|| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap());
            tcp.ok().map(|tcp| (udp, tcp))
        })
        .flatten()
        .next()
        .unwrap();
        let addr = udp.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        std::thread::spawn(move || its.serve_udp(&udp));
        let its = shared.clone();
        std::thread::spawn(move || its.serve_tcp(&tcp));
        Dns { addr, shared }
    }

    /// A name has these records from now on; none: there is no such name.
    pub fn set(&self, name: &str, ttl: u32, records: impl IntoIterator<Item = Record>) {
        let records: Vec<Record> = records.into_iter().collect();
        let mut all = self.shared.records.lock().unwrap();
        match records.is_empty() {
            true => all.remove(name),
            false => all.insert(name.to_owned(), (ttl, records)),
        };
    }

    pub fn cut(&self, on: bool) {
        self.shared.cut.store(on, Ordering::SeqCst);
    }

    pub fn silence(&self, on: bool) {
        self.shared.silent.store(on, Ordering::SeqCst);
    }

    pub fn questions(&self) -> usize {
        self.shared.questions.load(Ordering::SeqCst)
    }

    pub fn over_tcp(&self) -> usize {
        self.shared.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.addr);
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", self.addr));
    }
}

pub fn address(text: &str) -> Record {
    Record::Address(text.parse().unwrap())
}

impl Shared {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            if self.silent.load(Ordering::SeqCst) {
                continue;
            }
            let answer = self.answer(&buffer[..length], self.cut.load(Ordering::SeqCst));
            let _ = socket.send_to(&answer, from);
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        for mut stream in listener.incoming().flatten() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            if stream.read_exact(&mut question).is_ok() {
                self.over_tcp.fetch_add(1, Ordering::SeqCst);
                let answer = self.answer(&question, false);
                let _ = stream.write_all(&[&(answer.len() as u16).to_be_bytes(), &answer[..]].concat());
            }
        }
    }

    /// The answer to a question of one name.
    fn answer(&self, question: &[u8], cut: bool) -> Vec<u8> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let (name, end) = read_name(question, 12);
        let kind = u16::from_be_bytes([question[end], question[end + 1]]);
        let all = self.records.lock().unwrap();
        let known = all.get(&name);
        let (ttl, records) = known.cloned().unwrap_or_default();
        let fitting: Vec<_> = records.iter().filter_map(|record| data(record, kind)).collect();
        let mut answer = question[..2].to_vec();
        let flags: u16 = 0x8180 | if cut { 0x0200 } else { 0 } | if known.is_none() { 3 } else { 0 };
        let count = if cut { 0 } else { fitting.len() as u16 };
        for word in [flags, 1, count, 0, 0] {
            answer.extend(word.to_be_bytes());
        }
        answer.extend(&question[12..end + 4]);
        for (kind, data) in fitting.iter().filter(|_| !cut) {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
        }
        answer
    }
}

/// Type and bytes of a record, where a question of this type asks for it. An alias answers all of them.
fn data(record: &Record, kind: u16) -> Option<(u16, Vec<u8>)> {
    let found = match record {
        Record::Address(IpAddr::V4(ip)) => (1, ip.octets().to_vec()),
        Record::Address(IpAddr::V6(ip)) => (28, ip.octets().to_vec()),
        Record::Alias(name) => return Some((5, name_bytes(name))),
        Record::Service(priority, weight, port, target) => {
            let mut bytes: Vec<u8> =
                [priority, weight, port].iter().flat_map(|word| word.to_be_bytes()).collect();
            bytes.extend(name_bytes(target));
            (33, bytes)
        }
    };
    (found.0 == kind).then_some(found)
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn read_name(bytes: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while bytes[at] != 0 {
        let length = usize::from(bytes[at]);
        labels.push(String::from_utf8_lossy(&bytes[at + 1..at + 1 + length]).to_ascii_lowercase());
        at += 1 + length;
    }
    (labels.join("."), at + 1)
}
