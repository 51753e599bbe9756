//! How a tunnel ends, and what each end is told. One promise per test: read from top to bottom, it is documentation.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use longwire_wire::Side::{Backend, Client};
use longwire_wire::SideState::{Drop, Finish, Open};
use longwire_wire::frame::OpCode;
use longwire_wire::*;
use support::*;

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
    assert!(!world.tunnel.wants_read(Backend) && world.tunnel.wants_read(Client));
    assert_eq!(world.tunnel.outcome(), None); // one end is still there
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

#[test]
fn a_planned_end_comes_in_its_time_and_at_a_boundary() {
    let mut world = World::new(options());
    world.close_at(CloseCode::SERVICE_RESTART, Cause::Drain, world.now.after(20 * SECOND));
    let message = text(Backend, "hello");
    world.read(Backend, &message[..4]);
    world.pass(20 * SECOND - 1);
    assert!(!world.tunnel.is_ending() && world.wire.backend.is_empty());
    assert_eq!(world.tunnel.planned().unwrap().at, world.now.after(1));
    // Another process goes on with it.
    world.tunnel = Tunnel::restore(&world.tunnel.save(world.now), world.now).unwrap();
    world.pass(1);
    assert_eq!(world.farewell(Backend), (1012, Cause::Drain.to_string()));
    assert_eq!(world.wire.client.len(), 4);
    world.read(Backend, &message[4..]);
    assert_eq!(world.seen(Client)[1].close(), Some((1012, Cause::Drain.sentence())));
    for side in Side::BOTH {
        world.read(side, &close(side, 1012));
    }
    assert_eq!(world.story(), (Party::Proxy, Cause::Drain));
}

#[test]
fn an_operator_s_words_are_said() {
    let words = Some("the room is closed".into());
    let farewell = Farewell { words, ..(CloseCode(4001), Cause::Operator).into() };
    for planned in [false, true] {
        let mut world = World::new(options());
        let message = text(Backend, "hello");
        world.read(Backend, &message[..4]);
        if planned {
            world.tunnel.close_at(farewell.clone(), world.now.after(SECOND));
            world.tunnel = Tunnel::restore(&world.tunnel.save(world.now), world.now).unwrap();
            world.pass(SECOND);
        } else {
            world.tunnel.close(farewell.clone(), world.now);
            world.transmit();
        }
        let told = (4001, "the room is closed".to_owned());
        assert_eq!(world.farewell(Backend), told);
        // The client is in the middle of a frame, and another process tells it.
        world.tunnel = Tunnel::restore(&world.tunnel.save(world.now), world.now).unwrap();
        world.read(Backend, &message[4..]);
        assert_eq!(world.seen(Client)[1].close(), Some((4001, "the room is closed")));
    }
}

#[test]
fn it_is_known_when_an_end_was_heard() {
    let mut world = World::new(options());
    assert_eq!(world.tunnel.heard_at(), Some(world.now));
    world.pass(SECOND);
    world.read(Client, &text(Client, "hello"));
    let heard = world.now;
    assert_eq!(world.tunnel.heard_at(), Some(heard));
    world.pass(SECOND);
    assert_eq!(world.tunnel.heard_at(), Some(heard));
    world.close(CloseCode::GOING_AWAY, Cause::Operator);
    assert_eq!(world.tunnel.planned(), None);
}

#[test]
fn a_plan_gives_way_to_a_later_one_and_to_an_end_that_comes_before_it() {
    let mut world = World::new(without_pings());
    let at = |world: &World, seconds| world.now.after(seconds * SECOND);
    world.close_at(CloseCode::SERVICE_RESTART, Cause::Drain, at(&world, 5));
    world.close_at(CloseCode::GOING_AWAY, Cause::Shutdown, at(&world, 10));
    world.pass(10 * SECOND - 1);
    assert!(!world.tunnel.is_ending());
    world.close_at(CloseCode::GOING_AWAY, Cause::Shutdown, Time::NEVER);
    world.pass(SECOND);
    assert!(!world.tunnel.is_ending() && world.tunnel.planned().is_none());
    world.close_at(CloseCode::SERVICE_RESTART, Cause::Drain, at(&world, 5));
    world.eof(Client);
    assert_eq!((world.farewell(Backend).0, world.tunnel.planned()), (1001, None));
    // What is ending makes no plans.
    world.close_at(CloseCode::SERVICE_RESTART, Cause::Drain, at(&world, 1));
    assert_eq!(world.tunnel.planned(), None);
}

/// The clock that stood still says nothing of the ends, but a plan is ours.
#[test]
fn a_plan_that_was_slept_through_is_kept_at_once() {
    let mut world = acquainted(options());
    world.close_at(CloseCode::GOING_AWAY, Cause::Shutdown, world.now.after(SECOND));
    world.now = world.now.after(3600 * SECOND);
    world.tunnel.handle_timeout(world.now);
    world.transmit();
    for side in Side::BOTH {
        assert_eq!(world.farewell(side), (1001, Cause::Shutdown.to_string()));
        world.read(side, &close(side, 1001));
    }
    assert_eq!(world.story(), (Party::Proxy, Cause::Shutdown));
}
