//! What a tunnel does, one promise per test. Read from top to bottom it is the documentation of the machine.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use longwire_wire::Side::{Backend, Client};
use longwire_wire::SideState::{Drop, Finish, Open};
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

// Pings

#[test]
fn a_silent_end_is_pinged_and_its_answer_swallowed() {
    let mut world = World::new(options());
    world.pass(30 * SECOND - 1);
    assert!(world.seen(Client).is_empty());
    world.pass(1);
    let ping = world.ping(Client);
    world.ping(Backend);
    world.pass(70_000);
    world.read(Client, &pong(Client, &ping));
    assert!(world.wire.backend.is_empty());
    let stats = world.tunnel.stats().client;
    assert_eq!((stats.pings, stats.pongs, stats.control), (1, 1, 0));
    assert_eq!((stats.rtt.count, stats.rtt.last, stats.rtt.mean()), (1, 70_000, 70_000));
}

#[test]
fn an_end_that_speaks_is_not_pinged() {
    let mut world = World::new(options());
    for _ in 0..10 {
        world.pass(20 * SECOND);
        world.read(Client, &text(Client, "here"));
        world.seen(Backend);
        assert!(world.seen(Client).is_empty());
    }
}

#[test]
fn our_pong_is_known_however_it_is_cut() {
    for side in Side::BOTH {
        let len = pong(side, &[0; 8]).len();
        for (first, second) in (0..=len).flat_map(|first| (first..=len).map(move |second| (first, second))) {
            let mut world = World::new(options());
            world.pass(30 * SECOND);
            world.seen(side.other());
            let answer = pong(side, &world.ping(side));
            let around = [text(side, "before"), answer.clone(), text(side, "after")].concat();
            let start = text(side, "before").len();
            let (a, b) = (start + first, start + second);
            for piece in [&around[..a], &around[a..b], &around[b..]] {
                world.read(side, piece);
            }
            let expected = [text(side, "before"), text(side, "after")].concat();
            assert_eq!(world.wire[side.other()], expected, "cut at {first} and {second}");
            assert_eq!(world.tunnel.stats()[side].pongs, 1);
        }
    }
}

#[test]
fn our_pong_is_cut_out_of_the_middle_of_a_read() {
    let mut world = World::new(options());
    world.pass(30 * SECOND);
    let answer = pong(Client, &world.ping(Client));
    world.seen(Backend);
    world.read(Client, &[text(Client, "before"), answer, text(Client, "after")].concat());
    assert_eq!(world.wire.backend, [text(Client, "before"), text(Client, "after")].concat());
    assert!(world.plan.own().is_empty()); // nothing was copied
}

#[test]
fn a_pong_of_the_application_passes_untouched() {
    for side in Side::BOTH {
        for last in 0..9 {
            let mut world = World::new(options());
            world.pass(30 * SECOND);
            world.seen(side.other());
            let mut payload = world.ping(side);
            match payload.get_mut(last) {
                Some(byte) => *byte ^= 1,
                None => payload.push(0),
            }
            let theirs = pong(side, &payload);
            let known = theirs.len() - 8 + last; // the byte that gives it away
            for (at, byte) in theirs.iter().enumerate() {
                world.read(side, &[*byte]);
                assert!(
                    last == 8 || (world.wire[side.other()].len() == at + 1) == (at >= known),
                    "held at {at}"
                );
            }
            assert_eq!(world.wire[side.other()], theirs);
            assert_eq!((world.tunnel.stats()[side].pongs, world.tunnel.stats()[side].control), (0, 1));
        }
    }
}

#[test]
fn a_ping_waits_for_the_end_of_a_frame_but_not_of_a_message() {
    let mut world = World::new(never_idle());
    let half = frame(Client, false, OpCode::Text, b"half a message");
    let (head, tail) = half.split_at(9);
    world.read(Client, head);
    world.pass(100 * SECOND); // the backend is silent and the frame to it stands still
    assert_eq!(world.wire.backend, head);
    assert!(world.tunnel.poll_timeout() > Some(world.now)); // a driver need not spin
    let rest = [tail, &frame(Client, true, OpCode::Continuation, b"!")].concat();
    world.read(Client, &rest);
    let opcodes: Vec<_> = world.seen(Backend).into_iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [OpCode::Text, OpCode::Ping, OpCode::Continuation]);
}

#[test]
fn a_ping_that_waited_is_not_sent_to_an_end_that_spoke() {
    let mut world = World::new(options());
    let message = text(Client, "hello");
    world.read(Client, &message[..9]);
    world.pass(31 * SECOND);
    world.read(Backend, &text(Backend, "I am here"));
    world.read(Client, &message[9..]);
    assert_eq!(world.wire.backend, message);
}

#[test]
fn a_ping_that_waited_does_not_move_the_clock_earlier() {
    let mut world = acquainted(never_idle());
    let message = text(Client, "hello");
    world.pass(29 * SECOND);
    world.read(Client, &message[..9]);
    world.pass(2 * SECOND); // the ping to the backend is due, and waits for the end of the message
    world.read(Client, &message[9..]); // `World::read` compares the clock before and after
    assert_eq!(world.seen(Backend).last().unwrap().opcode, OpCode::Ping);
}

#[test]
fn a_ping_goes_before_a_header_that_is_held() {
    let mut world = World::new(options());
    let message = text(Client, "hello");
    world.read(Client, &message[..3]);
    world.pass(30 * SECOND);
    world.ping(Backend);
    world.read(Client, &message[3..]);
    assert_eq!(world.wire.backend, message);
}

// Dead peers

/// Both ends answered a ping, at a time when neither owes anything.
fn acquainted(options: Options) -> World {
    let mut world = World::new(options);
    world.pass(30 * SECOND);
    for side in Side::BOTH {
        let payload = world.ping(side);
        world.read(side, &pong(side, &payload));
    }
    world
}

/// Lets the other side answer, up to this moment.
fn pass_with_answers(world: &mut World, side: Side, us: u64) {
    for _ in 0..us / SECOND {
        world.pass(SECOND);
        if world.tunnel.wants_read(side) {
            for ping in world.seen(side).into_iter().filter(|frame| frame.opcode == OpCode::Ping) {
                world.read(side, &pong(side, &ping.payload));
            }
        }
    }
}

#[test]
fn a_client_that_stops_answering_is_gone() {
    let mut world = acquainted(options());
    pass_with_answers(&mut world, Backend, 39 * SECOND);
    assert_eq!(world.sides(), (Open, Open));
    world.pass(SECOND);
    assert_eq!(world.sides(), (Drop, Open));
    assert_eq!(world.farewell(Backend), (1001, "client gone".into()));
    world.read(Backend, &close(Backend, 1001));
    assert_eq!(world.sides(), (Drop, Finish));
    assert_eq!(world.story(), (Party::Client, Cause::DeadPeer));
    let outcome = world.tunnel.outcome().unwrap();
    assert_eq!((outcome.code_from, outcome.code_to), ([None, Some(1001)], [None, Some(1001)]));
}

#[test]
fn a_backend_that_stops_answering_is_gone() {
    let mut world = acquainted(options());
    pass_with_answers(&mut world, Client, 39 * SECOND);
    world.pass(SECOND);
    assert_eq!(world.farewell(Client), (1014, "backend gone".into()));
    assert_eq!(world.sides(), (Open, Drop));
    world.pass(5 * SECOND); // no answer
    assert_eq!(world.sides(), (Finish, Drop));
    assert_eq!(world.story(), (Party::Backend, Cause::DeadPeer));
    assert_eq!(world.tunnel.poll_timeout(), None);
}

#[test]
fn a_frozen_end_is_found_within_two_intervals() {
    let patient = Ping { interval_us: 30 * SECOND, timeout_us: 3600 * SECOND };
    let mut world = acquainted(Options { ping: Some(patient), ..never_idle() });
    world.pass(60 * SECOND);
    assert_eq!(world.tunnel.side(Client), Drop);
}

#[test]
fn an_end_that_never_answered_is_asked_again_but_not_judged() {
    let mut world = World::new(never_idle());
    world.pass(30 * SECOND);
    let first = world.ping(Client);
    for _ in 0..5 {
        world.pass(30 * SECOND);
        assert_eq!(world.ping(Client), first);
    }
    assert_eq!(world.sides(), (Open, Open));
    // It wakes up and answers all of them: none leaks, none measures, and from now on it is judged.
    world.seen(Backend);
    for _ in 0..6 {
        world.read(Client, &pong(Client, &first));
    }
    assert!(world.wire.backend.is_empty());
    assert_eq!((world.tunnel.stats().client.pongs, world.tunnel.stats().client.rtt.count), (6, 0));
    world.pass(40 * SECOND);
    assert_eq!(world.tunnel.side(Client), Drop);
}

#[test]
fn a_late_pong_is_no_answer_to_the_ping_that_is_out() {
    let mut world = World::new(never_idle());
    world.pass(60 * SECOND);
    let late = world.seen(Client)[1].payload.clone();
    world.read(Client, &pong(Client, &late)); // answers one of two
    world.pass(30 * SECOND);
    assert_ne!(world.ping(Client), late);
    world.read(Client, &pong(Client, &late)); // answers the other: a sign of life, no more
    world.pass(30 * SECOND);
    assert_eq!(world.tunnel.side(Client), Drop);
}

#[test]
fn an_interval_of_nothing_means_no_pings() {
    let mut world =
        World::new(Options { ping: Some(Ping { interval_us: 0, timeout_us: 1 }), ..never_idle() });
    world.pass(3600 * SECOND);
    assert!(world.wire.client.is_empty() && world.wire.backend.is_empty());
}

#[test]
fn any_byte_extends_the_deadline_of_a_pong() {
    let mut world = acquainted(never_idle());
    world.pass(39 * SECOND);
    assert_eq!(world.tunnel.stats().client.pings, 2);
    world.read(Client, &text(Client, "busy"));
    world.read(Backend, &text(Backend, "busy"));
    world.pass(30 * SECOND - 1);
    assert_eq!(world.sides(), (Open, Open));
    assert_eq!(world.tunnel.stats().client.pings, 2); // one at a time
    world.pass(1);
    assert_eq!(world.tunnel.side(Client), Drop);
}

#[test]
fn an_end_that_dies_in_a_frame_leaves_no_place_for_a_close() {
    let mut world = acquainted(options());
    let message = text(Client, "hello");
    world.read(Client, &message[..8]);
    pass_with_answers(&mut world, Backend, 0);
    world.pass(60 * SECOND);
    assert_eq!(world.tunnel.side(Client), Drop);
    assert!(world.wire.backend.starts_with(&message[..8]));
    assert_eq!(world.wire.backend.len(), 8);
    assert_eq!(world.tunnel.side(Backend), Finish);
}

// Silence

#[test]
fn pongs_keep_a_quiet_tunnel_open() {
    let mut world = World::new(options());
    for _ in 0..600 {
        world.pass(SECOND);
        for side in Side::BOTH {
            for ping in world.seen(side) {
                world.read(side, &pong(side, &ping.payload));
            }
        }
    }
    assert_eq!(world.sides(), (Open, Open));
    assert_eq!(world.tunnel.stats().client.pongs, 20);
}

#[test]
fn without_pings_only_bytes_count() {
    let mut world = World::new(without_pings());
    world.pass(59 * SECOND);
    world.read(Backend, &text(Backend, "tick"));
    world.seen(Client);
    world.pass(60 * SECOND - 1);
    assert_eq!(world.sides(), (Open, Open));
    assert!(!world.tunnel.is_ending());
    world.pass(1);
    let sentence = Cause::Idle.to_string();
    assert_eq!(world.farewell(Client), (1001, sentence.clone()));
    assert_eq!(world.farewell(Backend), (1001, sentence));
    world.read(Client, &close(Client, 1001));
    assert_eq!(world.sides(), (Finish, Open));
    world.pass(5 * SECOND - 1);
    assert_eq!(world.sides(), (Finish, Open));
    world.pass(1);
    assert_eq!(world.story(), (Party::Proxy, Cause::Idle));
}

// Blocked writes

#[test]
fn a_write_that_stays_blocked_drops_its_end() {
    let mut world = World::new(without_pings());
    world.blocked(Client, true);
    world.pass(59 * SECOND);
    world.blocked(Client, true);
    world.pass(59 * SECOND);
    world.blocked(Client, false);
    world.pass(SECOND);
    assert_eq!(world.tunnel.side(Client), Drop);
    assert_eq!(world.farewell(Backend), (1001, "client gone".into()));
    world.pass(5 * SECOND);
    assert_eq!(world.story(), (Party::Client, Cause::WriteBlocked));
}

#[test]
fn a_write_that_was_blocked_once_is_forgiven() {
    let mut world = World::new(Options { ping: None, ..never_idle() });
    world.blocked(Backend, false);
    world.pass(59 * SECOND);
    world.flushed(Backend);
    world.pass(3600 * SECOND);
    assert_eq!(world.sides(), (Open, Open));
}

#[test]
fn an_end_that_is_not_read_from_is_not_judged() {
    let mut world = acquainted(Options { write_us: [600 * SECOND; 2], ..never_idle() });
    world.pass(30 * SECOND);
    let ping = world.ping(Backend);
    let other = world.ping(Client);
    world.read(Client, &pong(Client, &other));
    world.blocked(Client, false); // so the driver stops reading from the backend, whose pong waits
    world.pass(309 * SECOND);
    assert_eq!(world.sides(), (Open, Open));
    assert!(world.seen(Backend).is_empty() && world.seen(Client).is_empty());
    world.flushed(Client);
    world.pass(9 * SECOND);
    world.read(Backend, &pong(Backend, &ping));
    assert_eq!(world.sides(), (Open, Open));
    assert_eq!(world.tunnel.stats().backend.rtt.count, 1); // the one from before
}

#[test]
fn an_end_that_takes_bytes_slowly_is_alive() {
    let mut world = acquainted(never_idle());
    world.pass(39 * SECOND); // both have a second left to answer
    world.read(Backend, &text(Backend, "much"));
    world.blocked(Client, false);
    world.pass(SECOND / 2);
    world.flushed(Client);
    world.pass(20 * SECOND);
    world.read(Backend, &text(Backend, "more")); // so that only the client is late
    world.pass(10 * SECOND - 1);
    assert_eq!(world.tunnel.side(Client), Open);
    world.pass(1);
    assert_eq!(world.tunnel.side(Client), Drop);
}

// The end of a connection

#[test]
fn the_close_of_the_application_passes_untouched() {
    let mut world = World::new(options());
    let (asked, answered) = (close(Client, 4001), close(Backend, 4001));
    world.read(Client, &asked);
    assert_eq!(world.wire.backend, asked);
    world.read(Backend, &text(Backend, "one more thing"));
    world.seen(Client);
    world.read(Backend, &answered);
    assert_eq!(world.wire.client, answered);
    assert_eq!(world.sides(), (Open, Open)); // the server ends TCP
    world.eof(Backend);
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.story(), (Party::Client, Cause::Closed));
    let outcome = world.tunnel.outcome().unwrap();
    assert_eq!((outcome.code_from, outcome.code_to), ([Some(4001), Some(4001)], [None, None]));
}

#[test]
fn the_code_of_a_close_is_read_however_it_is_cut() {
    for side in Side::BOTH {
        for cut in 0..close(side, 4660).len() {
            let mut world = World::new(options());
            world.read(side, &close(side, 4660)[..cut]);
            world.read(side, &close(side, 4660)[cut..]);
            world.eof(side);
            assert_eq!(world.tunnel.outcome().unwrap().code_from[side.index()], Some(4660));
        }
    }
}

#[test]
fn after_both_closes_tcp_has_a_few_seconds() {
    let mut world = World::new(options());
    world.read(Backend, &frame(Backend, true, OpCode::Close, b""));
    world.read(Client, &frame(Client, true, OpCode::Close, b""));
    world.pass(5 * SECOND - 1);
    assert_eq!(world.sides(), (Open, Open));
    world.pass(1);
    assert_eq!(world.story(), (Party::Backend, Cause::Closed));
    assert_eq!(world.tunnel.outcome().unwrap().code_from, [Some(1005), Some(1005)]);
}

#[test]
fn after_a_close_nothing_passes_and_nobody_is_pinged() {
    let mut world = World::new(options());
    world.read(Client, &[close(Client, 1000), text(Client, "too late")].concat());
    world.read(Client, &text(Client, "too late"));
    assert_eq!(world.wire.backend, close(Client, 1000));
    world.seen(Backend);
    world.pass(60 * SECOND - 1);
    assert!(world.seen(Client).is_empty() && world.seen(Backend).is_empty());
    // The backend never answers: the client hears from us instead, the backend has had its Close.
    world.pass(1);
    assert_eq!(world.farewell(Client).0, 1001);
    assert_eq!(world.tunnel.side(Client), Finish);
    assert!(world.seen(Backend).is_empty());
    world.pass(5 * SECOND);
    assert_eq!(world.story(), (Party::Proxy, Cause::Idle));
}

#[test]
fn an_end_of_stream_after_a_close_ends_both() {
    let mut world = World::new(options());
    world.read(Client, &close(Client, 1000));
    world.eof(Client);
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.wire.backend, close(Client, 1000));
    assert_eq!(world.story(), (Party::Client, Cause::Closed));
}

#[test]
fn an_end_of_stream_as_the_answer_to_a_close_is_told_to_who_closed() {
    let mut world = World::new(options());
    world.read(Backend, &close(Backend, 1000));
    world.eof(Client);
    assert_eq!(world.farewell(Backend), (1001, Cause::Closed.to_string()));
    assert_eq!(world.sides(), (Finish, Finish)); // the backend's Close is here already
    assert_eq!(world.story(), (Party::Backend, Cause::Closed));
}

#[test]
fn an_end_of_stream_without_a_close_is_told_to_the_other() {
    let mut world = World::new(options());
    world.eof(Backend);
    assert_eq!(world.sides(), (Open, Finish));
    assert_eq!(world.farewell(Client), (1014, "backend gone".into()));
    world.read(Client, &text(Client, "did not know yet"));
    assert!(world.wire.backend.is_empty());
    world.read(Client, &close(Client, 1014));
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.story(), (Party::Backend, Cause::Fin));
}

#[test]
fn an_error_drops_its_end() {
    let mut world = World::new(options());
    world.read(Client, &text(Client, "hi")[..1]); // held, and never to be completed
    world.error(Client);
    assert_eq!(world.sides(), (Drop, Open));
    assert_eq!(world.farewell(Backend), (1001, "client gone".into()));
    world.eof(Backend);
    assert_eq!(world.story(), (Party::Client, Cause::Reset));
}

#[test]
fn an_end_of_stream_inside_a_frame_leaves_no_place_for_a_close() {
    let mut world = World::new(options());
    world.read(Client, &text(Client, "hi")[..7]);
    world.eof(Client);
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.wire.backend.len(), 7);
}

#[test]
fn a_shutdown_is_told_to_both_at_a_boundary() {
    let mut world = World::new(options());
    let message = text(Backend, "hello");
    world.read(Backend, &message[..4]);
    world.close(CloseCode::SERVICE_RESTART, Cause::Shutdown);
    assert_eq!(world.farewell(Backend), (1012, Cause::Shutdown.to_string()));
    world.read(Client, &close(Client, 1000)); // not an answer yet, but it will do
    assert!(world.wire.backend.is_empty());
    world.read(Backend, &[&message[4..], &text(Backend, "more"), &close(Backend, 1012)].concat());
    let seen = world.seen(Client);
    assert_eq!(seen[0].raw, message);
    assert_eq!(seen[1].close(), Some((1012, Cause::Shutdown.sentence())));
    assert_eq!(seen.len(), 2);
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.story(), (Party::Proxy, Cause::Shutdown));
    assert_eq!(world.tunnel.outcome().unwrap().code_from, [Some(1000), Some(1012)]);
}

#[test]
fn a_boundary_that_cannot_come_is_not_awaited() {
    let mut world = World::new(options());
    world.read(Backend, &text(Backend, "hello")[..4]);
    world.close(CloseCode::GOING_AWAY, Cause::Drain);
    world.eof(Backend);
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.tunnel.outcome().unwrap().code_to, [None, Some(1001)]);
}

#[test]
fn a_boundary_is_not_awaited_for_ever() {
    let mut world = World::new(options());
    world.read(Backend, &text(Backend, "hello")[..4]);
    world.close(CloseCode::GOING_AWAY, Cause::Drain);
    world.pass(5 * SECOND);
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.wire.client.len(), 4);
}

#[test]
fn nonsense_after_our_close_ends_the_waiting() {
    let mut world = World::new(options());
    world.blocked(Client, false);
    world.close(CloseCode::GOING_AWAY, Cause::Drain);
    world.read(Client, b"GET / HTTP/1.1");
    assert_eq!(world.sides(), (Finish, Open));
    world.eof(Backend);
    assert_eq!(world.story(), (Party::Proxy, Cause::Drain));
    assert_eq!(world.tunnel.poll_timeout(), None);
}

#[test]
fn what_is_dropped_stays_dropped() {
    let mut world = World::new(options());
    world.eof(Client);
    assert_eq!(world.tunnel.side(Client), Finish);
    world.error(Client);
    assert_eq!(world.tunnel.side(Client), Drop);
    world.eof(Client);
    assert_eq!(world.tunnel.side(Client), Drop);
}

#[test]
fn a_close_of_the_application_that_was_passing_takes_the_place_of_ours() {
    let mut world = World::new(options());
    let theirs = close(Backend, 1000);
    world.read(Backend, &theirs[..3]);
    world.close(CloseCode::GOING_AWAY, Cause::Shutdown);
    world.seen(Backend);
    world.read(Backend, &theirs[3..]);
    assert_eq!(world.wire.client, theirs);
    assert_eq!(world.sides(), (Open, Finish));
    world.read(Client, &close(Client, 1000));
    assert_eq!(world.sides(), (Finish, Finish));
    assert_eq!(world.tunnel.outcome().unwrap().code_to, [None, Some(1001)]);
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
    assert_eq!(world.tunnel.stats().backend.rtt.last, 9 * SECOND);
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
