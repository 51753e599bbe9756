//! What two processes say to each other during an upgrade, and how it looks as bytes.
//!
//! A message is a head of 8 bytes and a body, written as in [`crate::saved`]: numbers are little-endian, bytes and
//! texts stand behind their length (u32), lists behind their count (u32), what may be missing behind a flag.
//! Descriptors travel beside the first byte of the message that they belong to.
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
//! | 1 | new | Hello | `LWUP`, u8 lowest and u8 highest version of this protocol, u8 lowest and u8 highest format of tunnels that it reads, text: its version for people | |
//! | 2 | new | Refused | text: why it will not serve | |
//! | 3 | old | Sockets | list of addresses as configured: u8 kind (0: TCP, 1: Unix), bytes: address as text, or path | one each |
//! | 4 | old | State | u8 version of this protocol that is spoken from here on, u64 accepted connections, u64 requests, bytes: keys of tickets, what may be missing: bytes, path of the pid file | pid file |
//! | 5 | new | Ready | u32 listening sockets that it took, u32 that it bound itself | |
//! | 6 | old | Batch | list of tunnels: u8 sockets, bytes: what it is ([`Parcel`](crate::tunnel::Parcel)) | of all tunnels, in their order |
//! | 7 | new | Taken | u32 tunnels that it holds, list of others: u32 place in the batch; text: why (of the first) | |
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
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::net::Endpoint;
use crate::saved::{Malformed, Reader, Writer};

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
    Ready { taken: u32, bound: u32 },
    Batch(Vec<Bundle>),
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
pub(super) struct Bundle {
    /// How many of the batch's descriptors are its own: of the client, then of the backend, where they are open.
    pub(super) sockets: u8,
    /// What it is. Holds secrets.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many tunnels the new process holds of it.
    pub(super) taken: u32,
    /// Places of those that it could not read.
    pub(super) others: Vec<u32>,
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
    /// The body is not what such a message has.
    Malformed(Malformed),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unknown(kind) => write!(f, "message {kind} is unknown to this version"),
            Fault::TooLong => f.write_str("a message is longer than any may be"),
            Fault::Malformed(why) => write!(f, "a message is malformed: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Malformed> for Fault {
    fn from(why: Malformed) -> Fault {
        Fault::Malformed(why)
    }
}

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
            return Err(Malformed::Invalid("head").into());
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
        let mut w = Writer::with_capacity(HEAD + 256);
        w.raw(&[0; HEAD]);
        let kind = self.write(&mut w);
        let mut bytes = w.finish();
        let len = bytes.len() - HEAD;
        if len > MAX_BODY || descriptors > MAX_DESCRIPTORS {
            return Err(Fault::TooLong);
        }
        let [a, b, c, d] = (len as u32).to_le_bytes();
        let [e, f] = (descriptors as u16).to_le_bytes();
        bytes[..HEAD].copy_from_slice(&[a, b, c, d, e, f, kind, 0]);
        Ok(bytes)
    }

    fn write(&self, w: &mut Writer) -> u8 {
        match self {
            Message::Hello(Hello { protocol, tunnels, name }) => {
                w.raw(&MAGIC);
                w.raw(protocol);
                w.raw(tunnels);
                w.text(name);
                1
            }
            Message::Refused(why) => {
                w.text(cut(why));
                2
            }
            Message::Sockets(endpoints) => {
                w.list(endpoints.iter(), write_endpoint);
                3
            }
            Message::State(state) => {
                w.u8(state.protocol);
                w.u64(state.accepted);
                w.u64(state.requests);
                w.bytes(&state.tickets);
                w.option(state.pid_file.as_ref(), |w, path| w.bytes(path.as_os_str().as_bytes()));
                4
            }
            Message::Ready { taken, bound } => {
                w.u32(*taken);
                w.u32(*bound);
                5
            }
            Message::Batch(tunnels) => {
                w.list(tunnels.iter(), |w, tunnel| {
                    w.u8(tunnel.sockets);
                    w.bytes(&tunnel.bytes);
                });
                6
            }
            Message::Taken(Taken { taken, others, reason }) => {
                w.u32(*taken);
                w.list(others.iter(), |w, place| w.u32(*place));
                w.text(cut(reason));
                7
            }
            Message::Short { came, sent } => {
                w.u32(*came);
                w.u32(*sent);
                8
            }
            Message::Go { tunnels, serial } => {
                w.u32(*tunnels);
                w.u64(*serial);
                9
            }
            Message::Running { tunnels } => {
                w.u32(*tunnels);
                10
            }
            Message::Over { accepted, requests } => {
                w.u64(*accepted);
                w.u64(*requests);
                11
            }
        }
    }

    /// A message from its head and body.
    pub(super) fn decode(head: Head, body: &[u8]) -> Result<Message, Fault> {
        let mut r = Reader::new(body);
        let message = match head.kind {
            1 => {
                if r.array()? != MAGIC {
                    return Err(Malformed::Invalid("greeting").into());
                }
                Message::Hello(Hello {
                    protocol: r.array()?,
                    tunnels: r.array()?,
                    name: r.text()?.to_owned(),
                })
            }
            2 => Message::Refused(r.text()?.to_owned()),
            3 => Message::Sockets(r.list(read_endpoint)?),
            4 => Message::State(State {
                protocol: r.u8()?,
                accepted: r.u64()?,
                requests: r.u64()?,
                tickets: Zeroizing::new(r.bytes()?.to_vec()),
                pid_file: r.option(read_path)?,
            }),
            5 => Message::Ready { taken: r.u32()?, bound: r.u32()? },
            6 => Message::Batch(r.list(|r| {
                let sockets = r.u8()?;
                Ok(Bundle { sockets, bytes: Zeroizing::new(r.bytes()?.to_vec()) })
            })?),
            7 => Message::Taken(Taken {
                taken: r.u32()?,
                others: r.list(Reader::u32)?,
                reason: r.text()?.to_owned(),
            }),
            8 => Message::Short { came: r.u32()?, sent: r.u32()? },
            9 => Message::Go { tunnels: r.u32()?, serial: r.u64()? },
            10 => Message::Running { tunnels: r.u32()? },
            11 => Message::Over { accepted: r.u64()?, requests: r.u64()? },
            other => return Err(Fault::Unknown(other)),
        };
        r.end()?;
        Ok(message)
    }
}

/// As much of a text as one may have.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn write_endpoint(w: &mut Writer, endpoint: &Endpoint) {
    match endpoint {
        Endpoint::Tcp(address) => {
            w.u8(0);
            w.text(&address.to_string());
        }
        Endpoint::Unix(path) => {
            w.u8(1);
            w.bytes(path.as_os_str().as_bytes());
        }
    }
}

fn read_endpoint(r: &mut Reader<'_>) -> Result<Endpoint, Malformed> {
    match r.u8()? {
        0 => r.text()?.parse().map(Endpoint::Tcp).map_err(|_| Malformed::Invalid("address")),
        1 => read_path(r).map(Endpoint::Unix),
        _ => Err(Malformed::Invalid("kind of address")),
    }
}

fn read_path(r: &mut Reader<'_>) -> Result<PathBuf, Malformed> {
    r.bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
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
            accepted: 1 << 40,
            requests: 7,
            tickets: Zeroizing::new(vec![9; 80]),
            pid_file: Some("/run/longwire.pid".into()),
        };
        let bundle = |sockets, byte, len| Bundle { sockets, bytes: Zeroizing::new(vec![byte; len]) };
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
            Message::Batch(vec![bundle(2, 1, 300), bundle(0, 2, 0), bundle(1, 3, 3_000)]),
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
                assert_eq!(
                    Message::decode(head, &body[..end]),
                    Err(Malformed::Truncated.into()),
                    "{}",
                    message.name()
                );
            }
            let more = [body, &[0]].concat();
            assert_eq!(Message::decode(head, &more), Err(Malformed::Excess.into()), "{}", message.name());
        }
    }

    #[test]
    fn heads_and_fields_have_bounds() {
        let decode = |bytes: [u8; HEAD]| Head::decode(bytes);
        assert_eq!(decode([1, 0, 64, 0, 0, 0, 1, 0]), Err(Fault::TooLong));
        assert_eq!(decode([0, 0, 0, 0, 241, 0, 1, 0]), Err(Fault::TooLong));
        assert_eq!(decode([0, 0, 0, 0, 0, 0, 1, 1]), Err(Malformed::Invalid("head").into()));
        assert_eq!(Message::decode(head(&[0, 0, 0, 0, 0, 0, 99, 0]), &[]), Err(Fault::Unknown(99)));
        let huge = Bundle { sockets: 2, bytes: Zeroizing::new(vec![0; MAX_BODY]) };
        assert_eq!(Message::Batch(vec![huge]).encode(2), Err(Fault::TooLong));
        assert_eq!(Message::Running { tunnels: 1 }.encode(MAX_DESCRIPTORS + 1), Err(Fault::TooLong));
        let refused = head(&[0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(Message::decode(refused, b"\x01\0\0\0\xff"), Err(Malformed::Invalid("text").into()));
        let sockets = head(&[0, 0, 0, 0, 0, 0, 3, 0]);
        assert_eq!(
            Message::decode(sockets, b"\x01\0\0\0\x00\x01\0\0\0x"),
            Err(Malformed::Invalid("address").into())
        );
        assert_eq!(
            Message::decode(sockets, b"\x01\0\0\0\x02\0\0\0\0"),
            Err(Malformed::Invalid("kind of address").into())
        );
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
