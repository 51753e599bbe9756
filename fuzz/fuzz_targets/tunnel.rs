//! The input drives a tunnel: what both sides say, how it is cut, time, and everything that can happen to a socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire_wire::frame::{Header, OpCode};
use longwire_wire::*;

const SECOND: u64 = 1_000_000;

struct Fuzz {
    tunnel: Tunnel,
    now: Time,
    plan: Plan,
    /// All that each side said, and all that was written to it.
    said: Pair<Vec<u8>>,
    wire: Pair<Vec<u8>>,
    frames: u64,
}

impl Fuzz {
    fn read(&mut self, from: Side, bytes: &[u8]) {
        self.said[from].extend(bytes);
        let Fuzz { tunnel, now, plan, wire, frames, .. } = self;
        tunnel.handle_read(from, bytes, *now, &mut || random(frames), plan);
        plan.segments(bytes).for_each(|segment| wire[from.other()].extend(segment));
    }

    fn transmit(&mut self) {
        let Fuzz { tunnel, now, wire, frames, .. } = self;
        for side in Side::BOTH {
            while let Some(frame) = tunnel.poll_transmit(side, *now, &mut || random(frames)) {
                wire[side].extend(&*frame);
            }
        }
    }

    fn pass(&mut self, us: u64) {
        let until = self.now.after(us);
        while let Some(at) = self.tunnel.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.tunnel.handle_timeout(self.now);
            self.transmit();
            assert!(self.tunnel.poll_timeout().is_none_or(|next| next > self.now));
        }
        self.now = until;
    }

    fn answer(&mut self, from: Side) {
        let payload = self.frames.to_be_bytes();
        let mask: &[u8] = if from == Side::Client { &[0; 4] } else { &[] };
        self.read(from, &[&[0x8A, 8 | mask.len() as u8 * 32], mask, &payload].concat());
    }
}

/// Payloads that the input is unlikely to hold by chance.
fn random(frames: &mut u64) -> [u8; 12] {
    *frames += 1;
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&frames.to_be_bytes());
    bytes
}

/// What was written is frames; of ours there are only pings and at most one Close; the rest was said, in this order.
fn check(wire: &[u8], said: &[u8], frames: u64, own_close: Option<u16>) {
    let (mut at, mut passed) = (0, 0);
    let mut closed = false;
    while let Some((header, size)) = Header::parse(&wire[at..]).expect("nothing invalid passes") {
        assert!(!closed, "nothing follows a Close");
        closed = header.opcode == OpCode::Close;
        let end = (at as u64).saturating_add(size as u64).saturating_add(header.len).min(wire.len() as u64)
            as usize;
        let frame = &wire[at..end];
        at = end;
        let number = frame.last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
        let ping = header.opcode == OpCode::Ping && header.len == 8 && (1..=frames).contains(&number);
        let close = closed && own_close.is_some();
        if ping || close {
            continue;
        }
        // Skips what was swallowed: pongs of ours.
        let found = said[passed..].windows(frame.len()).position(|window| window == frame);
        passed += found.expect("what passes was said") + frame.len();
    }
    assert_eq!(at, wire.len(), "no part of a header passes");
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, mut rest)) = input.split_first() else { return };
    let options = Options {
        ping: (how & 1 == 0).then_some(Ping { interval_us: 30 * SECOND, timeout_us: 10 * SECOND }),
        idle_us: 75 * SECOND,
        write_us: [60 * SECOND; 2],
        close_us: 5 * SECOND,
        max_message: (how & 2 == 0).then_some(1000),
        rate: None,
        rsv: how >> 5,
    };
    let (said, wire) = Default::default();
    let (now, plan) = (Time(1000 * SECOND), Plan::default());
    let mut fuzz = Fuzz { tunnel: Tunnel::new(options, now), now, plan, said, wire, frames: 0 };
    while let [what, amount, more @ ..] = rest {
        let (side, amount) = (Side::BOTH[usize::from(*what) & 1], usize::from(*amount));
        rest = more;
        match (what >> 1) % 16 {
            0 => fuzz.tunnel.handle_eof(side, fuzz.now),
            1 => fuzz.tunnel.handle_error(side, fuzz.now),
            2 => fuzz.tunnel.handle_blocked(side, amount & 1 == 0, fuzz.now),
            3 => fuzz.tunnel.handle_flushed(side, fuzz.now),
            4 if amount == 0 => fuzz.tunnel.close((CloseCode::SERVICE_RESTART, Cause::Shutdown), fuzz.now),
            4 => {
                let at = fuzz.now.after(amount as u64 * SECOND / 4);
                fuzz.tunnel.close_at((CloseCode::SERVICE_RESTART, Cause::Drain), at);
            }
            5 => {
                let saved = fuzz.tunnel.save(fuzz.now);
                assert_eq!(Tunnel::restore(&saved, fuzz.now).as_ref(), Ok(&fuzz.tunnel));
            }
            6 => fuzz.answer(side),
            7..9 => fuzz.pass(amount as u64 * SECOND / 4),
            _ => {
                let (bytes, more) = rest.split_at(amount.min(rest.len()));
                fuzz.read(side, bytes);
                rest = more;
            }
        }
        fuzz.transmit();
    }
    fuzz.pass(1000 * SECOND);
    let outcome = fuzz.tunnel.outcome().expect("an end");
    for side in Side::BOTH {
        check(&fuzz.wire[side], &fuzz.said[side.other()], fuzz.frames, outcome.code_to[side.index()]);
    }
    let _ = Tunnel::restore(input, fuzz.now);
});
