//! Two simulated ends speak at random through a tunnel: nothing is lost, nothing of ours leaks, nothing is broken.
//! `LONGWIRE_SEED=n` repeats a failure.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::VecDeque;

use longwire_wire::frame::{Header, MAX_HEADER, OpCode, apply_mask};
use longwire_wire::scanner::{Rules, Run, Scanner, Step};
use longwire_wire::*;
use support::*;

/// An end with its application.
struct End {
    side: Side,
    /// What it says is cut anywhere, so a frame may be partly out.
    pending: VecDeque<u8>,
    /// All that its application has said, and its frames that have been begun.
    said: Vec<u8>,
    /// All that arrived from the other application, without our pings.
    heard: Vec<u8>,
    /// Pings of ours that it has not answered.
    pings: Vec<Vec<u8>>,
    /// It answers every ping at once, unless it never answers.
    answers: bool,
    in_message: bool,
}

impl End {
    fn new(side: Side, answers: bool) -> End {
        let (pending, said, heard, pings) = Default::default();
        End { side, pending, said, heard, pings, answers, in_message: false }
    }

    /// Begins one more frame of its application.
    fn speak(&mut self, rng: &mut fastrand::Rng, payloads: &[[u8; 8]]) {
        let control = [OpCode::Ping, OpCode::Pong][rng.usize(..2)];
        let (fin, opcode) = match rng.u8(..10) {
            0..3 => (true, control),
            _ if self.in_message => (rng.bool(), OpCode::Continuation),
            _ => (rng.bool(), if rng.bool() { OpCode::Text } else { OpCode::Binary }),
        };
        let mut payload = vec![0; length(rng, opcode.is_control())];
        rng.fill(&mut payload);
        if opcode == OpCode::Pong
            && let Some(ours) = payloads.last().filter(|_| rng.bool())
        {
            payload = nearly(rng, ours);
        }
        if !opcode.is_control() {
            self.in_message = !fin;
        }
        let frame = random_frame(rng, self.side, fin, opcode, payload);
        self.said.extend(&frame);
        self.pending.extend(frame);
    }

    /// Answers our pings, at the end of the frame that is out.
    fn answer(&mut self) {
        for payload in std::mem::take(&mut self.pings) {
            if self.answers {
                self.pending.extend(pong(self.side, &payload));
            }
        }
    }

    /// Looks at what the tunnel wrote.
    fn listen(&mut self, wire: &mut Vec<u8>, payloads: &[[u8; 8]]) {
        let (seen, rest) = frames(wire);
        let rest = rest.len();
        for frame in seen {
            if frame.opcode == OpCode::Ping && payloads.iter().any(|ours| *ours == *frame.payload) {
                assert_eq!(frame.masked, self.side == Side::Backend);
                self.pings.push(frame.payload);
            } else {
                self.heard.extend(frame.raw);
            }
        }
        wire.drain(..wire.len() - rest);
    }
}

fn length(rng: &mut fastrand::Rng, control: bool) -> usize {
    match rng.u8(..20) {
        0..8 => rng.usize(..20),
        8..12 => rng.usize(..126),
        12..15 => 8,
        15 => 125,
        _ if control => 0,
        16 => 126 + rng.usize(..3),
        17 => 65_534 + rng.usize(..4),
        18 => rng.usize(..100_000),
        _ => 0,
    }
}

/// A pong of the application that looks like ours for as long as possible.
fn nearly(rng: &mut fastrand::Rng, ours: &[u8; 8]) -> Vec<u8> {
    let mut payload = ours.to_vec();
    match rng.u8(..3) {
        0 => payload.push(0),
        1 => payload.truncate(7),
        _ => payload[rng.usize(..8)] ^= 1 << rng.u8(..8),
    }
    payload
}

fn random_frame(
    rng: &mut fastrand::Rng,
    from: Side,
    fin: bool,
    opcode: OpCode,
    mut payload: Vec<u8>,
) -> Vec<u8> {
    let mask = (from == Side::Client).then(|| rng.u32(..).to_be_bytes());
    let rsv = if opcode.is_control() { 0 } else { rng.u8(..2) << 2 };
    let mut head = [0; MAX_HEADER];
    let size = Header { fin, rsv, opcode, mask, len: payload.len() as u64 }.write(&mut head);
    apply_mask(mask.unwrap_or_default(), 0, &mut payload);
    [&head[..size], &payload].concat()
}

/// Lets up to `most` bytes of an end reach the tunnel, in pieces.
fn deliver(world: &mut World, ends: &mut [End; 2], side: Side, mut most: usize, rng: &mut fastrand::Rng) {
    while most > 0 && !ends[side.index()].pending.is_empty() {
        let scale = [4, 20, 1_000, 200_000][rng.usize(..4)];
        let pending = &mut ends[side.index()].pending;
        let take = rng.usize(1..=scale).min(most).min(pending.len());
        let bytes: Vec<u8> = pending.drain(..take).collect();
        most -= take;
        world.read(side, &bytes);
        let whole = world.plan.whole();
        assert_eq!(whole, world.plan.len() == bytes.len() && world.plan.own().is_empty());
        for end in ends.iter_mut() {
            end.listen(&mut world.wire[end.side], &world.payloads);
        }
        assert_passed(world, &ends[side.index()], &ends[side.other().index()]);
    }
}

/// All that was said has arrived, but for what an end still has to send and at most 13 held bytes.
fn assert_passed(world: &World, from: &End, to: &End) {
    let arrived = to.heard.len() + world.wire[to.side].len();
    let missing = from.said.len() - arrived;
    assert!(missing <= from.pending.len() + 13, "{missing} bytes are missing");
    assert_eq!(to.heard, from.said[..to.heard.len()]);
}

/// Another process takes over, whose clock has another origin.
fn hand_over(world: &mut World, rng: &mut fastrand::Rng) {
    let saved = world.tunnel.save(world.now);
    assert_eq!(Tunnel::restore(&saved, world.now).as_ref(), Ok(&world.tunnel));
    world.now = Time(1_000_000 * SECOND + rng.u64(..1_000_000 * SECOND));
    world.tunnel = Tunnel::restore(&saved, world.now).unwrap();
    assert_eq!(world.tunnel.save(world.now), saved);
}

#[test]
fn whatever_is_said_arrives() {
    with_seeds(300, |mut rng| {
        let mut world = World::new(Options { rsv: 0b100, ..never_idle() });
        let mut ends = Side::BOTH.map(|side| End::new(side, rng.u8(..4) > 0));
        for _ in 0..rng.usize(1..80) {
            let side = Side::BOTH[rng.usize(..2)];
            match rng.u8(..10) {
                0..3 => ends[side.index()].speak(&mut rng, &world.payloads),
                3..7 => {
                    let most = rng.usize(..100_000) >> rng.u8(..16);
                    deliver(&mut world, &mut ends, side, most, &mut rng);
                }
                7 => hand_over(&mut world, &mut rng),
                _ => {
                    // Not longer than a pong may take, and whoever answers has answered before.
                    world.pass(rng.u64(..10 * SECOND));
                    for end in &mut ends {
                        end.listen(&mut world.wire[end.side], &world.payloads);
                        end.answer();
                    }
                    for side in Side::BOTH {
                        if ends[side.index()].answers {
                            if rng.bool() {
                                ends[side.index()].speak(&mut rng, &world.payloads);
                            }
                            deliver(&mut world, &mut ends, side, usize::MAX, &mut rng);
                        }
                    }
                }
            }
            assert!(!world.tunnel.is_ending(), "{:?}", world.tunnel);
        }
        for side in Side::BOTH.into_iter().chain(Side::BOTH) {
            deliver(&mut world, &mut ends, side, usize::MAX, &mut rng);
        }
        let [client, backend] = &ends;
        assert_eq!(client.said, backend.heard);
        assert_eq!(backend.said, client.heard);
        assert!(world.wire.client.is_empty() && world.wire.backend.is_empty());
    });
}

/// Anything at all may happen: no panic, no standing clock, no frame of ours inside a frame, and an end to it all.
#[test]
fn every_tunnel_comes_to_an_end() {
    with_seeds(2000, |mut rng| {
        let rate = rng.bool().then(|| Rate { frames_milli: 500, burst: rng.u64(..50), bytes: 1 << 20 });
        let mut world = World::new(Options { rsv: 0b100, max_message: Some(90_000), rate, ..options() });
        let mut ends = Side::BOTH.map(|side| End::new(side, true));
        for _ in 0..rng.usize(1..60) {
            let side = Side::BOTH[rng.usize(..2)];
            match rng.u8(..33) {
                0..10 => {
                    let end = &mut ends[side.index()];
                    end.speak(&mut rng, &world.payloads);
                    let take = rng.usize(..=end.pending.len());
                    let mut bytes: Vec<u8> = end.pending.drain(..take).collect();
                    if rng.u8(..30) == 0 && !bytes.is_empty() {
                        let place = rng.usize(..bytes.len());
                        bytes[place] ^= 1 << rng.u8(..8);
                    }
                    world.read(side, &bytes);
                }
                10..14 => ends[side.index()].pending.extend(close(side, 1000 + rng.u16(..5))),
                14..20 => world.pass(rng.u64(..20 * SECOND)),
                20 => world.eof(side),
                21 => world.error(side),
                22 => world.close(CloseCode::SERVICE_RESTART, Cause::Shutdown),
                23..25 => world.blocked(side, rng.bool()),
                25..28 => world.flushed(side),
                28 => hand_over(&mut world, &mut rng),
                29 => {
                    let never = rng.u8(..4) == 0;
                    let at = if never { Time::NEVER } else { world.now.after(rng.u64(..30 * SECOND)) };
                    world.close_at(CloseCode::SERVICE_RESTART, Cause::Drain, at);
                }
                _ => {
                    for payload in world.payloads.clone() {
                        world.read(side, &pong(side, &payload));
                    }
                }
            }
        }
        world.pass(1000 * SECOND);
        let outcome = *world.tunnel.outcome().expect("an end");
        assert_eq!(world.tunnel.poll_timeout(), None, "{outcome:?}");
        for side in Side::BOTH {
            assert_well_formed(&world.wire[side], outcome.code_to[side.index()], side);
        }
    });
}

/// Frames in order, of which only the last may be cut short; a Close is the last one, and ours is the one on record.
fn assert_well_formed(wire: &[u8], ours: Option<u16>, to: Side) {
    let (seen, rest) = frames(wire);
    let closes: Vec<_> = seen.iter().filter(|frame| frame.opcode == OpCode::Close).collect();
    assert!(closes.len() <= 1, "{closes:?}");
    assert!(seen.iter().all(|frame| frame.masked == (to == Side::Backend)));
    if let Some(close) = closes.first() {
        assert_eq!(seen.last(), Some(*close));
        assert!(rest.is_empty());
    }
    if let Some(code) = ours {
        assert_eq!(closes[0].close().map(|close| close.0), Some(code));
    }
}

/// One frame at a time, and without the short way for many.
fn steps(scanner: &mut Scanner, rules: &Rules, input: &[u8]) -> (Vec<Step>, u64) {
    let (mut at, mut told, mut messages) = (0, Vec::new(), 0);
    while at < input.len() && !scanner.is_over() {
        let step = scanner.step(&input[at..], rules, [Some(PAYLOAD), None]);
        at += match &step {
            Step::Forward { take, header, .. } => {
                messages += u64::from(header.is_some_and(|header| header.fin && !header.opcode.is_control()));
                *take
            }
            Step::Pong { take, .. } => *take,
            Step::Hold | Step::Fault(_) => input.len() - at,
        };
        told.push(step);
    }
    (told, messages)
}

const PAYLOAD: [u8; 8] = *b"longwire";

/// Frames as an end may send them, sometimes broken.
fn stream(rng: &mut fastrand::Rng, from: Side) -> Vec<u8> {
    let mut end = End::new(from, true);
    for _ in 0..rng.usize(1..12) {
        end.speak(rng, &[PAYLOAD]);
        if rng.u8(..8) == 0 {
            end.pending.extend(pong(from, &PAYLOAD));
        }
    }
    if rng.u8(..8) == 0 {
        end.pending.extend(close(from, 1000));
    }
    let mut bytes: Vec<u8> = end.pending.into();
    if rng.bool() {
        let place = rng.usize(..bytes.len());
        bytes[place] ^= 1 << rng.u8(..8);
    }
    bytes
}

#[test]
fn many_frames_pass_as_one_by_one() {
    with_seeds(1000, |mut rng| {
        let from = Side::BOTH[rng.usize(..2)];
        let max_message = rng.bool().then(|| [130, 1000, 90_000][rng.usize(..3)]);
        let rules = Rules { from, rsv: rng.u8(..8), max_message };
        let bytes = stream(&mut rng, from);
        let (mut short, mut long) = (Scanner::default(), Scanner::default());
        let mut rest = &bytes[..];
        while !rest.is_empty() && !short.is_over() {
            let scale = [4, 20, 1_000, 200_000][rng.usize(..4)];
            let frame = Header::parse(rest).ok().flatten().map(|(header, size)| size + header.len as usize);
            // Now and then exactly one frame, as most reads are.
            let take = frame.filter(|_| rng.bool()).unwrap_or(rng.usize(1..=scale)).min(rest.len());
            let (input, more) = rest.split_at(take);
            rest = more;
            let (before, one) = (short.clone(), short.is_one_message(input, &rules));
            let run = short.run(input, &rules);
            if one {
                assert_eq!((run, &short), (Run { take: input.len(), messages: 1 }, &before));
            } else if let Ok(Some((header, size))) = Header::parse(input) {
                let short_message =
                    header.fin && header.len < 126 && size + header.len as usize == input.len();
                assert!(!short_message || run.messages == 0 || before != short || !before.at_boundary());
            }
            let (told, messages) = steps(&mut long, &rules, &input[..run.take]);
            let goes_on = |step: &Step| matches!(step, Step::Forward { held, .. } if held.is_empty());
            assert!(told.iter().all(goes_on), "{told:?}");
            assert_eq!((messages, &short), (run.messages, &long));
            // What stands behind a run is told alike, and is not for a run.
            let behind = &input[run.take..];
            let first = steps(&mut short.clone(), &rules, behind).0.into_iter().next();
            if let Some(Step::Forward { held, header, .. }) = first
                && held.is_empty()
                && let Some(header) = header.filter(|header| !header.opcode.is_control())
            {
                assert!(header.len > 65_535 || (126..128).contains(&header.len), "{header:?} stopped a run");
            }
            assert_eq!(steps(&mut short, &rules, behind), steps(&mut long, &rules, behind));
            assert_eq!(short, long);
        }
    });
}

/// Reads that end with frames take the short ways, single bytes take none: it must not show.
#[test]
fn how_a_stream_is_cut_changes_nothing() {
    with_seeds(60, |mut rng| {
        let from = Side::BOTH[rng.usize(..2)];
        let max_message = rng.bool().then_some(90_000);
        let bytes = 200_000;
        let rate = rng.bool().then(|| Rate { frames_milli: 1000, burst: rng.u64(1..200), bytes });
        let mut worlds = [0, 1].map(|_| World::new(Options { rsv: 0b100, max_message, rate, ..options() }));
        for _ in 0..rng.usize(1..4) {
            let bytes = stream(&mut rng, from);
            let cuts = [true, false].map(|whole| cut(&bytes, whole));
            let wait = rng.u64(..40 * SECOND);
            for (world, cuts) in worlds.iter_mut().zip(cuts) {
                cuts.iter().for_each(|piece| world.read(from, piece));
                world.pass(wait);
            }
            let [short, long] = &worlds;
            assert_eq!(short.wire, long.wire);
            let [mut few, mut many] = [short, long].map(|world| *world.tunnel.stats());
            if short.tunnel.is_ending() {
                // What is read behind the end is not counted, and of a large read that is less.
                (few[from].bytes, many[from].bytes) = (0, 0);
            }
            assert_eq!(few, many);
            assert_eq!(short.tunnel.poll_timeout(), long.tunnel.poll_timeout());
            assert_eq!(short.tunnel.is_ending(), long.tunnel.is_ending());
        }
    });
}

/// Into frames, as far as they are frames, or into bytes.
fn cut(mut bytes: &[u8], whole: bool) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let frame = Header::parse(bytes).ok().flatten().map(|(header, size)| size + header.len as usize);
        let take = if whole { frame.unwrap_or(bytes.len()).min(bytes.len()) } else { 1 };
        let (piece, rest) = bytes.split_at(take);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// A tunnel that earlier versions saved.
#[test]
fn earlier_versions_are_read() {
    let mut world = acquainted(options());
    world.pass(SECOND);
    world.read(Side::Client, &text(Side::Client, "hello")[..3]);
    let saved = world.tunnel.save(world.now);
    let [5, body @ .., 0, 0, 0, 0, 0, 0] = &saved[..] else {
        panic!(
            "version 2 adds when each end was heard, version 3 the rate and its bucket, version 4 a planned Close, version 5 its words"
        )
    };
    let olds = [(1, 0), (2, 2), (3, 4), (4, 5)];
    for old in olds.map(|(version, none)| [&[version], body, &vec![0; none]].concat()) {
        assert_eq!(Tunnel::restore(&old, world.now).as_ref(), Ok(&world.tunnel));
    }
    assert_eq!(Tunnel::restore(&[6], world.now), Err(RestoreError::Version(6)));
}
