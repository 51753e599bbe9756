//! A pump in a world that a seed makes up: the kernel, the clock, the applications and other threads are played, the
//! pump's own code is all real. What a kernel may do this one does: edges come late, together, or for nothing; writes
//! are short; connections end at any call; the process is stopped for a while. `check` says what must hold.
//!
//! One seed is one world. A run plays some hundred, from a seed that it prints. `LONGWIRE_SEED=n` plays one again and
//! prints what happens in it, `LONGWIRE_SEEDS=n` plays as many as one likes:
//!
//! ```text
//! LONGWIRE_SEEDS=100000 cargo test --lib a_pump_survives_any_world -- --nocapture
//! ```

mod check;
mod counting;
mod parking;
mod peer;
mod pipe;
mod tls;
mod world;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fastrand::Rng;
use longwire_wire::{Options, Pair, Ping, Time, Tunnel};

use super::*;
use crate::clock;
use crate::tls::MAX_RECORD;
use crate::tunnel::drive::{Ends, Report};
use crate::tunnel::pump::{Inbox, Secure, Socket};
use crate::tunnel::speech::script;
use crate::tunnel::table::{About, Keeper, Place};
use check::{Past, look};
use counting::Counting;
use parking::unpark;
use peer::{Finish, MAX_MESSAGE, Manners, Peer};
use pipe::Pipe;
use tls::Tls;
use world::{Errand, Known, Port, Sim, World, lock};

const SECOND: u64 = 1_000_000;
/// Worlds of a run in which nobody says how many.
const WORLDS: u64 = 200;

/// One of these.
fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// Less than one of these.
fn within(rng: &mut Rng, of: &[u64]) -> u64 {
    let most = one(rng, of);
    rng.u64(..most)
}

/// How much goes on in a world.
struct Size {
    tunnels: usize,
    bytes: usize,
}

fn size(rng: &mut Rng) -> Size {
    match rng.u8(..8) {
        0 => Size { tunnels: rng.usize(8..20), bytes: 3000 },
        1 => Size { tunnels: rng.usize(1..3), bytes: 300_000 },
        _ => Size { tunnels: rng.usize(1..5), bytes: 30_000 },
    }
}

fn options(rng: &mut Rng) -> Options {
    Options {
        ping: rng
            .bool()
            .then(|| Ping { interval_us: rng.u64(2..6) * SECOND, timeout_us: rng.u64(1..4) * SECOND }),
        idle_us: rng.u64(10..60) * SECOND,
        write_us: [rng.u64(4..8) * SECOND; 2],
        close_us: rng.u64(2..5) * SECOND,
        max_message: Some(MAX_MESSAGE),
        rate: None,
        rsv: 0,
    }
}

fn manners(rng: &mut Rng) -> Manners {
    use Finish::*;
    let ends = [Close, CloseThenFin, Fin, HalfFrame, Abort, Reset, Vanish, Violate, TooBig];
    Manners {
        finish: if rng.bool() { Stay } else { one(rng, &ends) },
        reset_at: (rng.u8(..10) == 0).then(|| rng.u32(1..60)),
        pongs: one(rng, &[0, 1, 3, u32::MAX, u32::MAX, u32::MAX]),
        answers_close: rng.u8(..4) > 0,
        ends_tcp: rng.bool(),
        follows: rng.u8(..4) > 0,
        pace_us: one(rng, &[0, 0, 1000, 200_000, 4 * SECOND]),
        reads: one(rng, &[(100_000, 0), (3000, 5000), (2000, 1000), (1000, SECOND)]),
    }
}

/// Notes that a tunnel has ended.
struct Watch {
    number: usize,
    place: Place,
    world: Arc<Mutex<World>>,
    reports: Arc<Mutex<Vec<(usize, Report, u64)>>>,
}

impl Keeper for Watch {
    fn save(&self, _: u64) -> Option<Vec<u8>> {
        Some(self.number.to_le_bytes().into())
    }

    fn id(&self) -> u64 {
        self.number as u64
    }

    fn about(&self) -> About {
        About {
            id: self.number as u64,
            client: crate::route::facts::Peer::Unix(String::new()),
            opened_us: 0,
            place: Arc::new(self.place.clone()),
            tls: [None; 2],
        }
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn ended(self: Box<Self>, report: &Report) {
        let mut world = lock(&self.world);
        world.known[self.number].ended = true;
        let report = Report { outcome: report.outcome, stats: report.stats, reason: None };
        self.reports.lock().unwrap().push((self.number, report, world.now_us));
    }
}

/// Everything that is decided before a world begins to move.
struct Stage {
    kernel: Sim,
    thread: Thread<Sim>,
    home: Handle<Sim>,
    options: Vec<Options>,
    reports: Arc<Mutex<Vec<(usize, Report, u64)>>>,
}

fn stage(seed: u64, loud: bool) -> Stage {
    let mut rng = Rng::with_seed(seed);
    let size = size(&mut rng);
    let woken = Arc::new(AtomicBool::new(false));
    let inbox = Arc::new(Inbox { messages: Mutex::default(), waker: woken.clone() });
    let now_us = rng.u64(1..1 << 40);
    let world = Arc::new(Mutex::new(World {
        pauses: rng.u8(..3) == 0,
        inbox: Some(inbox.clone()),
        loud,
        ..World::new(rng.fork(), now_us)
    }));
    let home = Handle { inbox, tunnels: Arc::new(AtomicUsize::new(size.tunnels)) };
    let thread = Thread::new(now_us, home.clone());
    let kernel = Sim { world, woken };
    let mut stage = Stage { kernel, thread, home, options: Vec::new(), reports: Arc::default() };
    for number in 0..size.tunnels {
        stage.set(number, &mut rng, size.bytes);
    }
    if rng.bool() {
        let parks = rng.u8(1..20);
        let world = &mut *lock(&stage.kernel.world);
        world
            .errands
            .extend((0..parks).map(|_| {
                (now_us + within(&mut rng, &[2000, 100_000, SECOND, 60 * SECOND]), 0, Errand::Park)
            }));
    }
    for _ in 0..one(&mut rng, &[0, 0, 1, 2]) {
        let mut world = lock(&stage.kernel.world);
        let at = world.now_us + rng.u64(..100 * SECOND);
        world.errands.push((at, 0, Errand::Drain));
    }
    stage
}

impl Stage {
    /// Sets up one more tunnel.
    fn set(&mut self, number: usize, rng: &mut Rng, bytes: usize) {
        let world = &mut *lock(&self.kernel.world);
        let now = world.now_us;
        let options = options(rng);
        let unwatched = rng.u8(..100) == 0;
        let mut end = |side: Side| {
            let most = one(rng, &[0, bytes / 50, bytes / 2, bytes]);
            let script = script(rng, side, most);
            let mut peer = Peer::new(side, manners(rng), script);
            let (early, rest) = if rng.u8(..4) == 0 { early(&mut peer, rng) } else { Default::default() };
            let rooms = [300, 4000, 60_000, 200_000];
            let room = (one(rng, &rooms), one(rng, &rooms));
            let fd = world.pipes.len();
            let port = Port { world: self.kernel.world.clone(), fd };
            let (line, rest) = if rng.u8(..4) == 0 {
                let (mut far, opener, sealer) = Tls::pair(rng, side == Side::Backend);
                let rest = far.seal(&rest);
                peer.tls = Some(far);
                (Line::Tls(Box::new(Secure::fresh(port, opener, sealer))), rest)
            } else {
                (Line::Plain(Socket::new(port)), rest)
            };
            let mut pipe = Pipe::new(peer, room, rng, now);
            pipe.unwatched = unwatched;
            pipe.tongue.extend(rest);
            // A record that is cut waits for its rest, and whole ones may follow that.
            pipe.most_read += early.len() + if pipe.peer.tls.is_some() { MAX_RECORD } else { 0 };
            world.pipes.push(pipe);
            (line, early)
        };
        let (client, backend) = (end(Side::Client), end(Side::Backend));
        // Later ones take the places of those that have ended.
        let at = now + if number == 0 { 0 } else { within(rng, &[1, 10_000, 60 * SECOND]) };
        world.errands.push((at, number, Errand::Place));
        if rng.u8(..3) == 0 {
            world.errands.push((now + within(rng, &[50_000, 40 * SECOND]), number, Errand::Close));
        }
        if rng.u8(..12) == 0 {
            world.errands.push((now + within(rng, &[50_000, 40 * SECOND]), number, Errand::Cut));
        }
        // It ends at the latest; one that has ended already does not care.
        world.errands.push((at + rng.u64(60 * SECOND..200 * SECOND), number, Errand::Close));
        let watch = Watch {
            number,
            place: Place::default(),
            world: self.kernel.world.clone(),
            reports: self.reports.clone(),
        };
        let ends = Ends {
            streams: Pair { client: client.0, backend: backend.0 },
            early: Pair { client: client.1, backend: backend.1 },
        };
        let drive = Drive::new(Tunnel::new(options, Time(at)), ends);
        world.known.push(Known::new(Box::new(Slot::new(drive, Box::new(watch)))));
        self.options.push(options);
    }
}

/// Some of what the peer says first came with the head already. Gives that, and what is left of its last frame.
fn early(peer: &mut Peer, rng: &mut Rng) -> (Bytes, Vec<u8>) {
    let all: usize = peer.script.iter().map(Vec::len).sum();
    let most = rng.usize(..=all);
    let mut early = Vec::new();
    while early.len() < most
        && let Some(frame) = peer.script.pop_front()
    {
        early.extend(frame);
    }
    peer.said.extend(&early);
    let rest = early.split_off(most);
    (early.into(), rest)
}

/// Plays a world to its end; gives what tells it from others.
fn play(seed: u64, loud: bool) -> u64 {
    let Stage { mut kernel, mut thread, home, options, reports } = stage(seed, loud);
    let world = kernel.world.clone();
    let watch =
        |number| Watch { number, place: Place::default(), world: world.clone(), reports: reports.clone() };
    let mut counting = Counting::default();
    for round in 0.. {
        assert!(round < 100_000, "it does not end");
        if round % 5 == 0 {
            counting.ask(&mut thread);
        }
        assert!(thread.round(&mut kernel), "it stops by itself");
        counting.look();
        unpark(&world, &home, watch);
        let mut world = lock(&world);
        look(&thread, &mut world);
        if world.errands.is_empty()
            && thread.slots.is_empty()
            && reports.lock().unwrap().len() == options.len()
        {
            break;
        }
    }
    home.inbox.leave(Message::Stop);
    assert!(!thread.round(&mut kernel), "it does not stop");
    assert_eq!(home.tunnels.load(Relaxed), 0);
    let mut world = lock(&world);
    while world.next_us() != pipe::NEVER {
        world.step();
    }
    let mut reports = std::mem::take(&mut *reports.lock().unwrap());
    let mut carried = Traffic::default();
    reports.iter().for_each(|(_, report, _)| carried += Traffic::from(&report.stats));
    counting.close(&mut thread, carried);
    reports.sort_by_key(|(number, ..)| *number);
    assert!(reports.iter().map(|(number, ..)| *number).eq(0..options.len()), "each is reported once");
    for (number, report, at_us) in &reports {
        world.note(format_args!("{number}: {:?} at {at_us}", report.outcome));
        Past { number: *number, options: options[*number], report, at_us: *at_us, world: &world }.check();
    }
    world.trace
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn a_pump_survives_any_world() {
    let given = variable("LONGWIRE_SEED");
    let count = variable("LONGWIRE_SEEDS").unwrap_or(if given.is_some() { 1 } else { WORLDS });
    let first = given.unwrap_or_else(clock::unix_us);
    println!("LONGWIRE_SEED={first}");
    let mut failed = Vec::new();
    for seed in first..first.saturating_add(count) {
        if std::panic::catch_unwind(|| play(seed, given.is_some() && count == 1)).is_err() {
            println!("LONGWIRE_SEED={seed} failed");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} worlds of {count} failed: {failed:?}", failed.len());
}

/// Tunnels that came back from parking were judged by timers before anybody had looked what their sockets had become.
#[test]
fn worlds_that_once_failed_survive() {
    for seed in [5_000_034, 5_000_356, 5_002_769, 5_003_102, 5_003_527] {
        play(seed, false);
    }
}

/// What a seed says is said again.
#[test]
fn a_seed_makes_one_world() {
    let first = variable("LONGWIRE_SEED").unwrap_or_else(clock::unix_us);
    println!("LONGWIRE_SEED={first}");
    for seed in first..first + 5 {
        assert_eq!(play(seed, false), play(seed, false));
    }
}
