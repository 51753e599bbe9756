//! When an end is pinged, how its answer is known, and what it means when none comes. One promise per test: read from top to bottom, it is documentation.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use longwire_wire::Side::{Backend, Client};
use longwire_wire::SideState::{Drop, Finish, Open};
use longwire_wire::frame::OpCode;
use longwire_wire::*;
use support::*;

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
            let mut round_trips = 0;
            for piece in [&around[..a], &around[a..b], &around[b..]] {
                world.read(side, piece);
                // A driver looks for one only where the input does not pass as it is.
                round_trips += usize::from(!world.plan.whole() && world.plan.take_round_trip() == Some(0));
            }
            assert_eq!(round_trips, 1, "cut at {first} and {second}");
            assert_eq!(world.plan.take_round_trip(), None);
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
