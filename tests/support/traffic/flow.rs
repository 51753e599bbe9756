//! One direction of a tunnel: what is sent in it, and whether all of that arrives, once and in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use super::super::frames::{BINARY, Frame};

/// Tunnel, direction, number, hash of all before, where the body begins in [`pool`], and its length.
const HEAD: usize = 4 + 1 + 8 + 4 + 4 + 4;

/// What both ends know of one direction.
pub struct Flow {
    tunnel: u32,
    /// From the client to the backend, or the other way.
    up: bool,
    begun: AtomicU64,
    received: AtomicU64,
    /// The longest time that a message was under way since somebody asked, in microseconds.
    longest: AtomicU64,
    /// Messages under way, each with the time when the last piece of it was given to the system.
    under_way: Mutex<VecDeque<(u64, u64)>>,
}

impl Flow {
    pub fn new(tunnel: u32, up: bool) -> Flow {
        let (begun, received, longest) = Default::default();
        Flow { tunnel, up, begun, received, longest, under_way: Mutex::default() }
    }

    /// Messages of which a first byte may be out.
    pub fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    pub fn received(&self) -> u64 {
        self.received.load(SeqCst)
    }

    /// The longest time that a message was under way, and forgets it.
    pub fn take_longest(&self) -> u64 {
        self.longest.swap(0, SeqCst)
    }

    /// Notes that message `number` is out, and that nothing was held back by its sender since `since`.
    pub fn note_sent(&self, number: u64, since: u64) {
        self.under_way.lock().unwrap().push_back((number, since));
    }

    fn note_received(&self, number: u64) {
        let mut under_way = self.under_way.lock().unwrap();
        // A message may be here before its sender has said so: it was quick, and its note goes with the next.
        while let Some((of, since)) = under_way.front().copied().filter(|(of, _)| *of <= number) {
            under_way.pop_front();
            if of == number {
                self.longest.fetch_max(now().saturating_sub(since), SeqCst);
            }
        }
        self.received.store(number + 1, SeqCst);
    }
}

/// Microseconds since the first question; one clock for both ends, which are in one process.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// Bytes that bodies are cut from. A body is known by its place here, so that its receiver can compare all of it.
fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut bytes = vec![0; 256 * 1024];
        fastrand::Rng::with_seed(20_000).fill(&mut bytes);
        bytes
    })
}

/// What the sender of a flow remembers: the next number, and the hash of all that was sent.
#[derive(Default)]
pub struct Sender {
    number: u64,
    hash: u32,
}

impl Sender {
    /// The next message, in one frame or in several.
    pub fn next(&mut self, flow: &Flow, random: &mut fastrand::Rng) -> Vec<Frame> {
        let body = range(random);
        let mut message = Vec::with_capacity(HEAD + body.len());
        message.extend(flow.tunnel.to_le_bytes());
        message.push(flow.up.into());
        message.extend(self.number.to_le_bytes());
        message.extend(self.hash.to_le_bytes());
        message.extend((body.start as u32).to_le_bytes());
        message.extend((body.len() as u32).to_le_bytes());
        message.extend(&pool()[body]);
        self.hash = hash(self.hash, &message);
        self.number += 1;
        flow.begun.store(self.number, SeqCst);
        frames(message, random)
    }

    /// The number of the message that `next` gave last.
    pub fn last(&self) -> u64 {
        self.number - 1
    }
}

/// Mostly short messages, some that fill a TLS record, and now and then 64 KiB.
fn range(random: &mut fastrand::Rng) -> Range<usize> {
    let len = match random.u8(..100) {
        0 => 64 * 1024,
        1..=8 => random.usize(..16_000),
        9..=30 => random.usize(..2000),
        _ => random.usize(..200),
    };
    let at = random.usize(..pool().len() - len);
    at..at + len
}

/// A message in one frame, or cut into two to four.
fn frames(message: Vec<u8>, random: &mut fastrand::Rng) -> Vec<Frame> {
    let mut cuts = vec![0, message.len()];
    if random.u8(..8) == 0 {
        cuts.extend((0..random.usize(1..4)).map(|_| random.usize(..=message.len())));
        cuts.sort_unstable();
    }
    let count = cuts.len() - 1;
    let frame = |(at, range): (usize, &[usize])| Frame {
        fin: at + 1 == count,
        rsv: 0,
        opcode: if at == 0 { BINARY } else { 0 },
        mask: None,
        payload: message[range[0]..range[1]].to_vec(),
    };
    cuts.windows(2).enumerate().map(frame).collect()
}

/// What the receiver of a flow remembers.
#[derive(Default)]
pub struct Receiver {
    number: u64,
    hash: u32,
}

impl Receiver {
    /// Looks at the next message, and says what is wrong with it.
    pub fn take(&mut self, flow: &Flow, message: &[u8]) -> Result<(), String> {
        let short = || format!("a message of {} bytes, all have more", message.len());
        let (head, body) = message.split_at_checked(HEAD).ok_or_else(short)?;
        let field = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (tunnel, up) = (field(0), head[4] == 1);
        let number = u64::from(field(5)) | u64::from(field(9)) << 32;
        let expected = self.number;
        if (tunnel, up) != (flow.tunnel, flow.up) {
            return Err(format!("a message of tunnel {tunnel}, {}", direction(up)));
        }
        match number {
            n if n < expected => return Err(format!("message {n} once more, after {}", expected - 1)),
            n if n > expected => return Err(format!("message {n}, and {expected} did not come")),
            _ => {}
        }
        if field(13) != self.hash {
            return Err(format!("message {number}: its sender sent something else before it"));
        }
        let (at, len) = (field(17) as usize, field(21) as usize);
        let sent = pool().get(at..at + len).ok_or("a body from nowhere")?;
        if body.len() != len {
            return Err(format!("message {number}: {} bytes of its {len}", body.len()));
        }
        if let Some(at) = body.iter().zip(sent).position(|(a, b)| a != b) {
            return Err(format!("message {number}: byte {at} of its {len} is another"));
        }
        self.hash = hash(self.hash, message);
        self.number += 1;
        flow.note_received(number);
        Ok(())
    }
}

pub fn direction(up: bool) -> &'static str {
    if up { "to the backend" } else { "to the client" }
}

/// The running hash of a direction.
fn hash(before: u32, message: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(message);
    hasher.finalize()
}
