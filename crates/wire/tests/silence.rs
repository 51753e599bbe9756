//! Idle tunnels, and ends that take no bytes. One promise per test: read from top to bottom, it is documentation.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use longwire_wire::Side::{Backend, Client};
use longwire_wire::SideState::{Drop, Finish, Open};
use longwire_wire::*;
use support::*;

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

#[test]
fn a_proxy_that_slept_blames_nobody() {
    let mut world = acquainted(options());
    world.pass(30 * SECOND);
    let answers = Side::BOTH.map(|side| pong(side, &world.ping(side)));
    world.now = world.now.after(3600 * SECOND); // stopped by a debugger, a paused container
    world.tunnel.handle_timeout(world.now);
    world.transmit();
    assert!(!world.tunnel.is_ending() && world.seen(Client).is_empty());
    let mut unread = world.tunnel.clone();
    for (side, answer) in Side::BOTH.into_iter().zip(&answers) {
        world.read(side, answer);
    }
    world.pass(30 * SECOND - 1);
    assert_eq!(world.sides(), (Open, Open));
    // Had nothing been waiting there, the verdict would have come after a second.
    unread.handle_timeout(unread.poll_timeout().unwrap());
    assert!(unread.is_ending());
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
