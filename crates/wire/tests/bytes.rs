//! What passes, what is held, and what is refused. One promise per test: read from top to bottom, it is documentation.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use longwire_wire::Side::{Backend, Client};
use longwire_wire::SideState::Finish;
use longwire_wire::frame::OpCode;
use longwire_wire::*;
use support::*;

// Bytes

#[test]
fn a_message_passes_in_place() {
    let mut world = World::new(options());
    let two = [text(Client, "hello"), text(Client, "again")].concat();
    world.read(Client, &two);
    assert!(world.plan.whole());
    assert_eq!(world.wire.backend, two);
    let stats = world.tunnel.stats();
    assert_eq!((stats.client.bytes, stats.client.messages), (two.len() as u64, 2));
}

#[test]
fn only_a_part_of_a_header_is_held() {
    let mut world = World::new(options());
    let message = frame(Client, true, OpCode::Binary, &[7; 70_000]);
    for (at, byte) in message.iter().enumerate() {
        world.read(Client, &[*byte]);
        let passed = if at < 13 { 0 } else { at + 1 };
        assert_eq!(world.wire.backend.len(), passed);
    }
    assert_eq!(world.wire.backend, message);
}

#[test]
fn payload_is_skipped_by_arithmetic() {
    let mut world = World::new(options());
    world.read(Backend, &[0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    for _ in 0..10 {
        world.read(Backend, &[0x88; 1000]); // would be nonsense if it were read as headers
        assert!(world.plan.whole());
    }
}

// Who breaks the rules

#[test]
fn a_violation_is_told_to_who_broke_the_rules() {
    use frame::Violation::*;
    let client = |head: &[u8]| [head, &[0; 4]].concat();
    let cases: Vec<(Side, Vec<u8>, Violation)> = vec![
        (Client, vec![0x81, 0x02, b'h', b'i'], Unmasked),
        (Backend, vec![0x81, 0x82, 0, 0, 0, 0, b'h', b'i'], Masked),
        (Client, client(&[0x83, 0x80]), ReservedOpcode),
        (Backend, vec![0x8F, 0x00], ReservedOpcode),
        (Client, client(&[0x09, 0x80]), FragmentedControl),
        (Backend, vec![0x89, 126, 0, 126], LongControl),
        (Client, client(&[0x88, 0x81]), HalfCloseCode),
        (Client, client(&[0x80, 0x80]), StrayContinuation),
        (Backend, vec![0x01, 0x01, b'a', 0x81, 0x01, b'b'], UnfinishedMessage),
        (Backend, vec![0xC1, 0x00], ReservedBits),
        (Client, client(&[0x91, 0x80]), ReservedBits),
        (Backend, vec![0x82, 126, 0, 125], NonMinimalLength),
        (Client, client(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), NonMinimalLength),
        (Backend, vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], HugeLength),
    ];
    for (side, wrong, violation) in cases {
        let before = text(side, "fine so far");
        let stream = [&before[..], &wrong].concat();
        for cut in 0..stream.len() {
            let mut world = World::new(options());
            let passed = if violation == UnfinishedMessage { stream.len() - 3 } else { before.len() };
            world.read(side, &stream[..cut]);
            world.read(side, &stream[cut..]);
            let (code, _) = world.farewell(side);
            assert_eq!(code, 1002, "{violation} cut at {cut}");
            let other = world.seen(side.other());
            assert_eq!(
                other.iter().map(|frame| frame.raw.len()).sum::<usize>() - other.last().unwrap().raw.len(),
                passed
            );
            let gone = if side == Client { (1001, "client gone") } else { (1014, "backend gone") };
            assert_eq!(other.last().unwrap().close(), Some(gone));
            assert_eq!(world.tunnel.side(side), Finish);
            world.read(side.other(), &close(side.other(), gone.0));
            assert_eq!(world.story(), (side.into(), Cause::ProtocolViolation(violation)));
        }
    }
}

#[test]
fn negotiated_bits_pass() {
    let mut world = World::new(Options { rsv: 0b100, ..options() });
    world.read(Backend, &[0xC1, 0x01, b'x']);
    assert!(world.plan.whole());
    world.read(Backend, &[0xA1, 0x01, b'x']);
    world.farewell(Backend);
}

#[test]
fn a_message_over_the_limit_is_refused_whole_or_in_fragments() {
    let limited = Options { max_message: Some(10), ..options() };
    let mut world = World::new(limited);
    let fits = [
        frame(Client, false, OpCode::Text, b"12345"),
        pong(Client, b"between fragments"),
        frame(Client, true, OpCode::Continuation, b"67890"),
        text(Client, "1234567890"),
    ];
    for frame in &fits {
        world.read(Client, frame);
    }
    assert_eq!(world.wire.backend, fits.concat());
    world.seen(Backend);
    world.read(Client, &frame(Client, false, OpCode::Binary, b"12345"));
    world.read(Client, &frame(Client, false, OpCode::Continuation, b"678901"));
    assert_eq!(world.farewell(Client), (1009, "message larger than allowed".into()));
    assert_eq!(world.seen(Backend).last().unwrap().close(), Some((1001, "client gone")));
    world.pass(5 * SECOND);
    assert_eq!(world.story(), (Party::Client, Cause::MessageTooBig));
}

#[test]
fn what_comes_too_fast_is_refused_between_two_frames() {
    let rate = Some(Rate { frames_milli: 1000, burst: 2, bytes: 100 });
    let mut world = World::new(Options { rate, ..options() });
    let fits = [text(Client, "one"), pong(Client, b"two"), frame(Client, false, OpCode::Text, b"three")];
    world.read(Client, &fits.concat());
    // The backend has no rate.
    (0..10).for_each(|_| world.read(Backend, &text(Backend, "much")));
    world.seen(Client);
    let long = frame(Client, true, OpCode::Continuation, b"too much");
    let (begun, rest) = long.split_at(1);
    world.read(Client, begun);
    world.read(Client, rest);
    assert_eq!(world.wire.backend[..fits.concat().len()], fits.concat());
    assert_eq!(world.farewell(Client), (1008, "sent more at a time than allowed".into()));
    assert_eq!(world.seen(Backend).last().unwrap().close(), Some((1001, "client gone")));
    world.pass(5 * SECOND);
    assert_eq!(world.story(), (Party::Client, Cause::TooFast));
}

#[test]
fn a_rate_is_kept_over_time_and_for_bytes() {
    let rate = Some(Rate { frames_milli: 1000, burst: 1, bytes: 10 });
    let mut world = World::new(Options { rate, ..never_idle() });
    for _ in 0..20 {
        world.read(Client, &text(Client, "1234567890"));
        world.pass(SECOND);
    }
    assert!(!world.tunnel.is_ending());
    let saved = world.tunnel.save(world.now);
    world.tunnel = Tunnel::restore(&saved, world.now).unwrap();
    world.read(Client, &text(Client, "1234567890"));
    // A Close is never too much.
    let mut closing = world.tunnel.clone();
    let mut plan = Plan::default();
    closing.handle_read(
        Client,
        &frame(Client, true, OpCode::Close, &[3, 232]),
        world.now,
        &mut || [0; 12],
        &mut plan,
    );
    assert!(plan.whole());
    world.read(Client, &text(Client, "1"));
    assert_eq!(world.farewell(Client).0, 1008);
}

// Plain data

#[test]
fn a_saved_tunnel_goes_on_in_another_process() {
    let mut world = acquainted(options());
    world.read(Client, &text(Client, "hello")[..3]);
    world.pass(35 * SECOND); // pings are out, five seconds are left
    let ping = world.ping(Backend);
    let saved = world.tunnel.save(world.now);
    world.now = Time(40 * SECOND);
    world.tunnel = Tunnel::restore(&saved, world.now).unwrap();
    world.read(Client, &text(Client, "hello")[3..]);
    assert_eq!(world.wire.backend, text(Client, "hello"));
    world.wire.backend.clear();
    world.pass(4 * SECOND);
    world.read(Backend, &pong(Backend, &ping));
    assert!(world.seen(Client).len() == 1); // its ping from before, nothing else
    assert_eq!(u64::from(world.tunnel.stats().backend.rtt.last), 9 * SECOND);
    // An origin that lies after the last ping shortens that one round trip and nothing else.
    let mut tunnel = Tunnel::restore(&saved, Time(0)).unwrap();
    assert_eq!(tunnel.poll_timeout(), Some(Time(5 * SECOND)));
    tunnel.handle_read(Backend, &pong(Backend, &ping), Time(7), &mut || [0; 12], &mut world.plan);
    assert_eq!(tunnel.stats().backend.rtt.last, 7);
}

#[test]
fn bytes_that_are_no_tunnel_are_refused() {
    let world = acquainted(options());
    let saved = world.tunnel.save(world.now);
    assert_eq!(Tunnel::restore(&saved, world.now).as_ref(), Ok(&world.tunnel));
    for end in 0..saved.len() {
        assert_eq!(Tunnel::restore(&saved[..end], world.now), Err(RestoreError::Truncated));
    }
    let newer = Tunnel::restore(&[&[200], &saved[1..]].concat(), world.now);
    assert_eq!(newer, Err(RestoreError::Version(200)));
    assert_eq!(Tunnel::restore(&[&saved[..], &[0]].concat(), world.now), Err(RestoreError::Excess));
    assert!(saved.len() < 700, "{} bytes", saved.len());
    assert!(size_of::<Tunnel>() < 1000, "{} bytes", size_of::<Tunnel>());
}
