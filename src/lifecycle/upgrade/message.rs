//! What two processes say to each other during an upgrade, and how it looks as bytes.
//!
//! A message is a head of 8 bytes and a body. Numbers are little-endian, text is UTF-8, `bytes` is a u32 length and as
//! many bytes. Descriptors travel beside the first byte of the message that they belong to.
//!
//! | head | |
//! |---|---|
//! | u32 | length of the body, at most [`MAX_BODY`] |
//! | u16 | descriptors that come along, at most [`MAX_DESCRIPTORS`] |
//! | u8 | which message |
//! | u8 | 0 |
//!
//! Version 1 of the protocol; "old" is the process that serves, "new" the one that it has started:
//!
//! | | from | message | body | descriptors |
//! |---|---|---|---|---|
//! | 1 | new | Hello | `LWUP`, u8 lowest and u8 highest version of this protocol, u8 lowest and u8 highest format of tunnels that it reads, bytes: its version for people | |
//! | 2 | new | Refused | bytes: why it will not serve | |
//! | 3 | old | Sockets | u16 count, then for each: u8 kind (0: TCP, 1: Unix), bytes: address as text or path, as configured | one each |
//! | 4 | old | State | u8 version of this protocol that is spoken from here on, u32 tunnels that may come, u64 accepted connections, u64 requests, bytes: keys of tickets, u8 whether the pid file comes along, bytes: its path | pid file |
//! | 5 | new | Ready | u16 listening sockets that it took, u16 that it bound itself | |
//! | 6 | old | Batch | u16 count, then for each tunnel: u8 sockets, bytes: what it is | of all tunnels, in their order |
//! | 7 | new | Taken | u16 tunnels that it took, u16 count of others, then for each: u16 place in the batch; bytes: why (of the first) | |
//! | 8 | new | Short | u32 descriptors that came, u32 that were sent: it has reached a limit | |
//! | 9 | old | Go | u32 tunnels that it holds now, u64 where its numbers of connections begin | |
//! | 10 | new | Running | u32 tunnels that it drives from now on | |
//! | 11 | old | Over | u64 connections and u64 requests since State, to be counted | |
//!
//! Sockets may come several times, or never. Hello keeps its form in all versions: a new version of the protocol is
//! a new number in it, and whoever speaks it speaks the one before as well. A message that is not in the table, is
//! longer or shorter than its fields, or comes when another is due ends the upgrade.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::net::Endpoint;

/// The version of the protocol that is spoken.
pub(super) const VERSION: u8 = 1;
/// Most bytes of a body: a tunnel is a few hundred bytes, or some hundred thousand when an end does not read.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;
/// Most descriptors of a message; the kernel takes 253.
pub(super) const MAX_DESCRIPTORS: usize = 240;
/// Bytes before a body.
pub(super) const HEAD: usize = 8;
/// Most bytes of a text for people.
const MAX_TEXT: usize = 4096;
/// What a Hello begins with.
const MAGIC: [u8; 4] = *b"LWUP";

/// A message; see the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Hello(Hello),
    Refused(String),
    Sockets(Vec<Endpoint>),
    State(State),
    Ready { taken: u16, bound: u16 },
    Batch(Vec<Packed>),
    Taken(Taken),
    Short { came: u32, sent: u32 },
    Go { tunnels: u32, serial: u64 },
    Running { tunnels: u32 },
    Over { accepted: u64, requests: u64 },
}

/// Who the new process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    /// Versions of the protocol that it speaks, lowest and highest.
    pub(super) protocol: [u8; 2],
    /// Formats of tunnels that it reads, lowest and highest.
    pub(super) tunnels: [u8; 2],
    /// Its version, for people.
    pub(super) name: String,
}

/// What belongs to the process and to no tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The version of the protocol that is spoken from here on.
    pub(super) protocol: u8,
    /// Tunnels that may come.
    pub(super) tunnels: u32,
    /// Connections accepted, ever.
    pub(super) accepted: u64,
    /// Requests, ever.
    pub(super) requests: u64,
    /// Keys of session tickets.
    pub(super) tickets: Zeroizing<Vec<u8>>,
    /// Path of the pid file whose descriptor comes along.
    pub(super) pid_file: Option<PathBuf>,
}

/// A tunnel on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// How many of the batch's descriptors are its own: of the client, then of the backend, where they are open.
    pub(super) sockets: u8,
    /// What it is. Holds secrets.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many tunnels the new process holds of it.
    pub(super) taken: u16,
    /// Places of those that it could not read.
    pub(super) others: Vec<u16>,
    /// Why the first of them could not be read.
    pub(super) reason: String,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No message has this number.
    Unknown(u8),
    /// A body or its descriptors are more than a message may have.
    TooLong,
    /// The body ends inside of a field.
    Truncated,
    /// The body goes on behind the last field.
    Excess,
    /// A field has a value that it cannot have; says which.
    Invalid(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unknown(kind) => write!(f, "message {kind} is unknown to this version"),
            Fault::TooLong => f.write_str("a message is longer than any may be"),
            Fault::Truncated => f.write_str("a message ends too early"),
            Fault::Excess => f.write_str("a message goes on behind its end"),
            Fault::Invalid(what) => write!(f, "a message has an impossible {what}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the body.
    pub(super) len: usize,
    /// Descriptors that come along.
    pub(super) descriptors: usize,
    kind: u8,
}

impl Head {
    pub(super) fn decode(bytes: [u8; HEAD]) -> Result<Head, Fault> {
        let [a, b, c, d, e, f, kind, zero] = bytes;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let descriptors = u16::from_le_bytes([e, f]).into();
        if zero != 0 {
            return Err(Fault::Invalid("head"));
        }
        if len > MAX_BODY || descriptors > MAX_DESCRIPTORS {
            return Err(Fault::TooLong);
        }
        Ok(Head { len, descriptors, kind })
    }
}

impl Message {
    /// Its name in the table.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Message::Hello(_) => "Hello",
            Message::Refused(_) => "Refused",
            Message::Sockets(_) => "Sockets",
            Message::State(_) => "State",
            Message::Ready { .. } => "Ready",
            Message::Batch(_) => "Batch",
            Message::Taken(_) => "Taken",
            Message::Short { .. } => "Short",
            Message::Go { .. } => "Go",
            Message::Running { .. } => "Running",
            Message::Over { .. } => "Over",
        }
    }

    /// Head and body, announcing this many descriptors. Wiped when dropped.
    pub(super) fn encode(&self, descriptors: usize) -> Result<Zeroizing<Vec<u8>>, Fault> {
        // Room for all, so that no part of a secret stays behind in a smaller buffer.
        let mut w = Writer(Zeroizing::new(Vec::with_capacity(HEAD + self.most())));
        w.0.extend_from_slice(&[0; HEAD]);
        let kind = self.write(&mut w);
        let len = w.0.len() - HEAD;
        if len > MAX_BODY || descriptors > MAX_DESCRIPTORS {
            return Err(Fault::TooLong);
        }
        let [a, b, c, d] = (len as u32).to_le_bytes();
        let [e, f] = (descriptors as u16).to_le_bytes();
        w.0[..HEAD].copy_from_slice(&[a, b, c, d, e, f, kind, 0]);
        Ok(w.0)
    }

    /// At least as many bytes as the body has, where it holds secrets.
    fn most(&self) -> usize {
        match self {
            Message::Batch(tunnels) => 2 + tunnels.iter().map(|tunnel| 5 + tunnel.bytes.len()).sum::<usize>(),
            Message::State(state) => {
                64 + state.tickets.len() + state.pid_file.as_ref().map_or(0, |path| path.as_os_str().len())
            }
            _ => 64,
        }
    }

    fn write(&self, w: &mut Writer) -> u8 {
        match self {
            Message::Hello(Hello { protocol, tunnels, name }) => {
                w.put(&MAGIC);
                w.put(protocol);
                w.put(tunnels);
                w.text(name);
                1
            }
            Message::Refused(why) => {
                w.text(why);
                2
            }
            Message::Sockets(endpoints) => {
                w.count(endpoints.len());
                endpoints.iter().for_each(|endpoint| w.endpoint(endpoint));
                3
            }
            Message::State(state) => {
                w.put(&[state.protocol]);
                w.put(&state.tunnels.to_le_bytes());
                w.put(&state.accepted.to_le_bytes());
                w.put(&state.requests.to_le_bytes());
                w.bytes(&state.tickets);
                w.put(&[state.pid_file.is_some().into()]);
                w.path(state.pid_file.as_deref().unwrap_or(Path::new("")));
                4
            }
            Message::Ready { taken, bound } => {
                w.put(&taken.to_le_bytes());
                w.put(&bound.to_le_bytes());
                5
            }
            Message::Batch(tunnels) => {
                w.count(tunnels.len());
                for tunnel in tunnels {
                    w.put(&[tunnel.sockets]);
                    w.bytes(&tunnel.bytes);
                }
                6
            }
            Message::Taken(Taken { taken, others, reason }) => {
                w.put(&taken.to_le_bytes());
                w.count(others.len());
                others.iter().for_each(|place| w.put(&place.to_le_bytes()));
                w.text(reason);
                7
            }
            Message::Short { came, sent } => {
                w.put(&came.to_le_bytes());
                w.put(&sent.to_le_bytes());
                8
            }
            Message::Go { tunnels, serial } => {
                w.put(&tunnels.to_le_bytes());
                w.put(&serial.to_le_bytes());
                9
            }
            Message::Running { tunnels } => {
                w.put(&tunnels.to_le_bytes());
                10
            }
            Message::Over { accepted, requests } => {
                w.put(&accepted.to_le_bytes());
                w.put(&requests.to_le_bytes());
                11
            }
        }
    }

    /// A message from its head and body.
    pub(super) fn decode(head: Head, body: &[u8]) -> Result<Message, Fault> {
        let mut r = Reader(body);
        let message = match head.kind {
            1 => {
                if r.array()? != MAGIC {
                    return Err(Fault::Invalid("greeting"));
                }
                Message::Hello(Hello { protocol: r.array()?, tunnels: r.array()?, name: r.text()? })
            }
            2 => Message::Refused(r.text()?),
            3 => Message::Sockets(r.each(|r| r.endpoint())?),
            4 => Message::State(State {
                protocol: r.u8()?,
                tunnels: r.u32()?,
                accepted: r.u64()?,
                requests: r.u64()?,
                tickets: Zeroizing::new(r.bytes()?.to_vec()),
                pid_file: match (r.u8()?, r.path()?) {
                    (0, _) => None,
                    (1, path) => Some(path),
                    _ => return Err(Fault::Invalid("flag")),
                },
            }),
            5 => Message::Ready { taken: r.u16()?, bound: r.u16()? },
            6 => Message::Batch(r.each(|r| {
                let sockets = r.u8()?;
                Ok(Packed { sockets, bytes: Zeroizing::new(r.bytes()?.to_vec()) })
            })?),
            7 => Message::Taken(Taken { taken: r.u16()?, others: r.each(Reader::u16)?, reason: r.text()? }),
            8 => Message::Short { came: r.u32()?, sent: r.u32()? },
            9 => Message::Go { tunnels: r.u32()?, serial: r.u64()? },
            10 => Message::Running { tunnels: r.u32()? },
            11 => Message::Over { accepted: r.u64()?, requests: r.u64()? },
            other => return Err(Fault::Unknown(other)),
        };
        if r.0.is_empty() { Ok(message) } else { Err(Fault::Excess) }
    }
}

struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// More than fit are never sent: a message has fewer descriptors than that.
    fn count(&mut self, count: usize) {
        self.put(&(count as u16).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.put(&(bytes.len() as u32).to_le_bytes());
        self.put(bytes);
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    fn text(&mut self, text: &str) {
        let end = text.floor_char_boundary(MAX_TEXT);
        self.bytes(&text.as_bytes()[..end]);
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        match endpoint {
            Endpoint::Tcp(address) => {
                self.put(&[0]);
                self.text(&address.to_string());
            }
            Endpoint::Unix(path) => {
                self.put(&[1]);
                self.path(path);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn path(&mut self) -> Result<PathBuf, Fault> {
        self.bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
    }

    fn text(&mut self) -> Result<String, Fault> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Fault::Invalid("text"))?;
        if text.len() > MAX_TEXT { Err(Fault::TooLong) } else { Ok(text.to_owned()) }
    }

    fn endpoint(&mut self) -> Result<Endpoint, Fault> {
        match self.u8()? {
            0 => self.text()?.parse().map(Endpoint::Tcp).map_err(|_| Fault::Invalid("address")),
            1 => self.path().map(Endpoint::Unix),
            _ => Err(Fault::Invalid("kind of address")),
        }
    }

    /// A count and as many things. Nothing is set aside for what was only announced.
    fn each<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let count = self.u16()?;
        (0..count).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> Head {
        Head::decode(*bytes.first_chunk().unwrap()).unwrap()
    }

    /// One of each, with every field different from nothing.
    fn all() -> Vec<Message> {
        let unix = Endpoint::Unix(PathBuf::from("/run/a.sock"));
        let state = State {
            protocol: 1,
            tunnels: 2000,
            accepted: 1 << 40,
            requests: 7,
            tickets: Zeroizing::new(vec![9; 80]),
            pid_file: Some("/run/longwire.pid".into()),
        };
        let packed = |sockets, byte, len| Packed { sockets, bytes: Zeroizing::new(vec![byte; len]) };
        vec![
            Message::Hello(Hello { protocol: [1, 2], tunnels: [3, 4], name: "0.2.0".into() }),
            Message::Refused("longwire.conf:3: unknown directive".into()),
            Message::Sockets(vec![
                Endpoint::Tcp("127.0.0.1:80".parse().unwrap()),
                Endpoint::Tcp("[fe80::1%2]:443".parse().unwrap()),
                unix,
            ]),
            Message::State(State { pid_file: None, ..state.clone() }),
            Message::State(state),
            Message::Ready { taken: 2, bound: 1 },
            Message::Batch(vec![packed(2, 1, 300), packed(0, 2, 0), packed(1, 3, 3_000)]),
            Message::Taken(Taken { taken: 98, others: vec![3, 77], reason: "a format of its own".into() }),
            Message::Short { came: 100, sent: 200 },
            Message::Go { tunnels: 2000, serial: 1 << 33 },
            Message::Running { tunnels: 2000 },
            Message::Over { accepted: 3, requests: 4 },
        ]
    }

    #[test]
    fn messages_come_back_as_they_were() {
        for message in all() {
            let bytes = message.encode(3).unwrap();
            let head = head(&bytes);
            assert_eq!((head.len, head.descriptors), (bytes.len() - HEAD, 3), "{}", message.name());
            assert_eq!(Message::decode(head, &bytes[HEAD..]), Ok(message));
        }
    }

    /// The bytes are what another version reads: they change only with a number in Hello.
    #[test]
    fn bytes_are_those_of_version_1() {
        let hello = Message::Hello(Hello { protocol: [1, 1], tunnels: [1, 2], name: "x".into() });
        assert_eq!(**hello.encode(0).unwrap(), *b"\x0d\0\0\0\0\0\x01\0LWUP\x01\x01\x01\x02\x01\0\0\0x");
        let go = Message::Go { tunnels: 258, serial: 3 };
        assert_eq!(**go.encode(0).unwrap(), *b"\x0c\0\0\0\0\0\x09\0\x02\x01\0\0\x03\0\0\0\0\0\0\0");
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_no_message() {
        for message in all() {
            let bytes = message.encode(0).unwrap();
            let (head, body) = (head(&bytes), &bytes[HEAD..]);
            for end in 0..body.len().min(400) {
                assert_eq!(Message::decode(head, &body[..end]), Err(Fault::Truncated), "{}", message.name());
            }
            let more = [body, &[0]].concat();
            assert_eq!(Message::decode(head, &more), Err(Fault::Excess), "{}", message.name());
        }
    }

    #[test]
    fn heads_and_fields_have_bounds() {
        let decode = |bytes: [u8; HEAD]| Head::decode(bytes);
        assert_eq!(decode([1, 0, 64, 0, 0, 0, 1, 0]), Err(Fault::TooLong));
        assert_eq!(decode([0, 0, 0, 0, 241, 0, 1, 0]), Err(Fault::TooLong));
        assert_eq!(decode([0, 0, 0, 0, 0, 0, 1, 1]), Err(Fault::Invalid("head")));
        assert_eq!(Message::decode(head(&[0, 0, 0, 0, 0, 0, 99, 0]), &[]), Err(Fault::Unknown(99)));
        let huge = Packed { sockets: 2, bytes: Zeroizing::new(vec![0; MAX_BODY]) };
        assert_eq!(Message::Batch(vec![huge]).encode(2), Err(Fault::TooLong));
        assert_eq!(Message::Running { tunnels: 1 }.encode(MAX_DESCRIPTORS + 1), Err(Fault::TooLong));
        let refused = head(&[0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(Message::decode(refused, b"\x01\0\0\0\xff"), Err(Fault::Invalid("text")));
        let sockets = head(&[0, 0, 0, 0, 0, 0, 3, 0]);
        assert_eq!(Message::decode(sockets, b"\x01\0\x00\x01\0\0\0x"), Err(Fault::Invalid("address")));
        assert_eq!(Message::decode(sockets, b"\x01\0\x02\0\0\0\0"), Err(Fault::Invalid("kind of address")));
    }

    #[test]
    fn long_words_are_cut_between_letters() {
        let why = "ä".repeat(MAX_TEXT);
        let bytes = Message::Refused(why).encode(0).unwrap();
        let Ok(Message::Refused(told)) = Message::decode(head(&bytes), &bytes[HEAD..]) else { panic!() };
        assert_eq!(told, "ä".repeat(MAX_TEXT / 2));
    }

    /// Whatever bytes come, an answer comes back, and nothing panics.
    #[test]
    fn noise_is_read_without_harm() {
        let seed = std::env::var("LONGWIRE_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| fastrand::u64(..));
        println!("seed: LONGWIRE_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let all = all();
        for _ in 0..20_000 {
            let message = random.choice(&all).unwrap();
            let mut bytes = message.encode(0).unwrap().to_vec();
            bytes.truncate(600);
            for _ in 0..random.usize(1..4) {
                let at = random.usize(HEAD..bytes.len());
                bytes[at] = random.u8(..);
            }
            if let Ok(read) = Message::decode(head_of(message, &mut random), &bytes[HEAD..]) {
                // What can be read can be written and read again.
                let again = read.encode(0).unwrap();
                assert_eq!(Message::decode(head(&again), &again[HEAD..]), Ok(read));
            }
        }
    }

    fn head_of(message: &Message, random: &mut fastrand::Rng) -> Head {
        let bytes = message.encode(0).unwrap();
        Head { kind: if random.u8(..) < 30 { random.u8(..14) } else { head(&bytes).kind }, ..head(&bytes) }
    }
}
