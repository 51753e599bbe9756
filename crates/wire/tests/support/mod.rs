//! A tunnel under a virtual clock, between two wires that keep all that was written to them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use longwire_wire::frame::{Header, MAX_HEADER, OpCode, apply_mask};
use longwire_wire::*;

pub const SECOND: u64 = 1_000_000;

/// The key of every frame that a simulated client sends.
const KEY: [u8; 4] = [0xA1, 0x00, 0x5B, 0xFF];

/// Pings every 30 s with 10 s to answer, idle after 60 s, 60 s for writes, 5 s for a Close.
pub fn options() -> Options {
    Options {
        ping: Some(Ping { interval_us: 30 * SECOND, timeout_us: 10 * SECOND }),
        idle_us: 60 * SECOND,
        write_us: [60 * SECOND; 2],
        close_us: 5 * SECOND,
        max_message: None,
        rate: None,
        rsv: 0,
    }
}

pub fn without_pings() -> Options {
    Options { ping: None, ..options() }
}

/// Never idle, so that only what a test is about can end the tunnel.
pub fn never_idle() -> Options {
    Options { idle_us: 1_000_000_000 * SECOND, ..options() }
}

/// A frame as that side sends it.
pub fn frame(from: Side, fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mask = (from == Side::Client).then_some(KEY);
    let mut head = [0; MAX_HEADER];
    let size = Header { fin, rsv: 0, opcode, mask, len: payload.len() as u64 }.write(&mut head);
    let mut payload = payload.to_vec();
    apply_mask(mask.unwrap_or_default(), 0, &mut payload);
    [&head[..size], &payload].concat()
}

pub fn text(from: Side, payload: &str) -> Vec<u8> {
    frame(from, true, OpCode::Text, payload.as_bytes())
}

pub fn pong(from: Side, payload: &[u8]) -> Vec<u8> {
    frame(from, true, OpCode::Pong, payload)
}

pub fn close(from: Side, code: u16) -> Vec<u8> {
    frame(from, true, OpCode::Close, &code.to_be_bytes())
}

/// A frame as it was received.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    pub opcode: OpCode,
    pub masked: bool,
    pub payload: Vec<u8>,
    /// As on the wire.
    pub raw: Vec<u8>,
}

impl Seen {
    /// Code and reason of a Close.
    pub fn close(&self) -> Option<(u16, &str)> {
        let (code, reason) =
            self.payload.split_first_chunk::<2>().filter(|_| self.opcode == OpCode::Close)?;
        Some((u16::from_be_bytes(*code), std::str::from_utf8(reason).unwrap()))
    }
}

/// The complete frames at the beginning, and what is left.
pub fn frames(mut bytes: &[u8]) -> (Vec<Seen>, &[u8]) {
    let mut seen = Vec::new();
    while let Some((header, size)) = Header::parse(bytes).unwrap() {
        let end = size + header.len as usize;
        let Some(raw) = bytes.get(..end) else { break };
        let mut payload = raw[size..].to_vec();
        apply_mask(header.mask.unwrap_or_default(), 0, &mut payload);
        let masked = header.mask.is_some();
        seen.push(Seen { opcode: header.opcode, masked, payload, raw: raw.to_vec() });
        bytes = &bytes[end..];
    }
    (seen, bytes)
}

pub struct World {
    pub tunnel: Tunnel,
    pub now: Time,
    /// What was written to each side and not looked at yet.
    pub wire: Pair<Vec<u8>>,
    /// The payload of every ping that we may have sent.
    pub payloads: Vec<[u8; 8]>,
    pub plan: Plan,
}

impl World {
    pub fn new(options: Options) -> World {
        let now = Time(1_000 * SECOND);
        World {
            tunnel: Tunnel::new(options, now),
            now,
            wire: Pair::default(),
            payloads: Vec::new(),
            plan: Plan::default(),
        }
    }

    /// Bytes are read from that side.
    pub fn read(&mut self, from: Side, bytes: &[u8]) {
        let World { tunnel, now, wire, payloads, plan } = self;
        let (before, began) = (tunnel.poll_timeout(), tunnel.is_ending());
        tunnel.handle_read(from, bytes, *now, &mut || random(payloads), plan);
        for segment in plan.segments(bytes) {
            assert!(!segment.is_empty());
            wire[from.other()].extend_from_slice(segment);
        }
        if began == tunnel.is_ending() {
            assert!(
                tunnel.poll_timeout() >= before || tunnel.poll_timeout().is_none(),
                "a read moved the clock earlier"
            );
        }
        self.transmit();
    }

    /// Time passes; every deadline is met on its microsecond.
    pub fn pass(&mut self, us: u64) {
        let until = self.now.after(us);
        let mut steps = 0;
        while let Some(at) = self.tunnel.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.tunnel.handle_timeout(self.now);
            self.transmit();
            steps += 1;
            assert!(steps < 10_000, "the clock stands still: {:?}", self.tunnel);
        }
        self.now = until;
    }

    pub fn eof(&mut self, from: Side) {
        self.tunnel.handle_eof(from, self.now);
        self.transmit();
    }

    pub fn error(&mut self, from: Side) {
        self.tunnel.handle_error(from, self.now);
        self.transmit();
    }

    pub fn close(&mut self, code: CloseCode, cause: Cause) {
        self.tunnel.close((code, cause), self.now);
        self.transmit();
    }

    pub fn close_at(&mut self, code: CloseCode, cause: Cause, at: Time) {
        self.tunnel.close_at((code, cause), at);
        self.transmit();
    }

    pub fn blocked(&mut self, to: Side, moved: bool) {
        self.tunnel.handle_blocked(to, moved, self.now);
        self.transmit();
    }

    pub fn flushed(&mut self, to: Side) {
        self.tunnel.handle_flushed(to, self.now);
        self.transmit();
    }

    pub fn transmit(&mut self) {
        let World { tunnel, now, wire, payloads, .. } = self;
        for side in Side::BOTH {
            while let Some(frame) = tunnel.poll_transmit(side, *now, &mut || random(payloads)) {
                wire[side].extend_from_slice(&frame);
            }
        }
    }

    /// The frames that came since the last look; nothing may be left unfinished.
    pub fn seen(&mut self, side: Side) -> Vec<Seen> {
        let bytes = std::mem::take(&mut self.wire[side]);
        let (seen, rest) = frames(&bytes);
        assert!(rest.is_empty(), "unfinished frame {rest:?}");
        seen
    }

    /// The one Ping that came since the last look.
    pub fn ping(&mut self, side: Side) -> Vec<u8> {
        let seen = self.seen(side);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].opcode, OpCode::Ping);
        assert_eq!(seen[0].masked, side == Side::Backend);
        seen[0].payload.clone()
    }

    /// The one Close that came since the last look.
    pub fn farewell(&mut self, side: Side) -> (u16, String) {
        let seen = self.seen(side);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].masked, side == Side::Backend);
        let (code, reason) = seen[0].close().unwrap();
        (code, reason.to_string())
    }

    pub fn sides(&self) -> (SideState, SideState) {
        (self.tunnel.side(Side::Client), self.tunnel.side(Side::Backend))
    }

    pub fn story(&self) -> (Party, Cause) {
        let outcome = self.tunnel.outcome().expect("the tunnel has ended");
        (outcome.ended_by, outcome.cause)
    }
}

/// Both ends answered a ping, at a time when neither owes anything.
pub fn acquainted(options: Options) -> World {
    let mut world = World::new(options);
    world.pass(30 * SECOND);
    for side in Side::BOTH {
        let payload = world.ping(side);
        world.read(side, &pong(side, &payload));
    }
    world
}

/// Twelve bytes that never repeat, and whose payload is on record.
fn random(payloads: &mut Vec<[u8; 8]>) -> [u8; 12] {
    let n = payloads.len() as u64 + 1;
    let payload = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    payloads.push(payload);
    let mut bytes = [0x5A; 12];
    bytes[..8].copy_from_slice(&payload);
    bytes
}

/// From `LONGWIRE_SEED`, or from the clock.
pub fn seed() -> u64 {
    match std::env::var("LONGWIRE_SEED") {
        Ok(seed) => seed.parse().expect("LONGWIRE_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    }
}

/// Runs `test` with seeds from [`seed`] on; prints the seed of one that fails.
pub fn with_seeds(count: u64, test: impl Fn(fastrand::Rng)) {
    let first = seed();
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        let run = std::panic::AssertUnwindSafe(|| test(fastrand::Rng::with_seed(seed)));
        if let Err(failure) = std::panic::catch_unwind(run) {
            eprintln!("fails with LONGWIRE_SEED={seed}");
            std::panic::resume_unwind(failure);
        }
    }
}
