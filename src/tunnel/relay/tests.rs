//! Two applications speak at random through a relay, over streams with moods: nothing is lost, nothing of ours lands
//! inside a frame, each side is told why it ends, and it always ends. `LONGWIRE_SEED=n` repeats a failure.

mod peer;
mod stream;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use longwire_wire::frame::{OpCode, Violation};
use longwire_wire::{Cause, CloseCode, Options, Pair, Party, Ping, Side, Time};
use tokio::io::{AsyncReadExt as _, duplex};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::route::facts::Peer as Client;
use crate::tunnel::About;
use crate::tunnel::drive::BUFFER;
use crate::tunnel::speech::{frames, is_our_ping, script};
use peer::*;
use stream::Moody;

const SECOND: u64 = 1_000_000;

/// What waits for one end: a read, the header bytes held before it, and frames of ours.
const MOST_PENDING: usize = BUFFER + 300;

/// What one run is made of.
#[derive(Clone)]
struct Setting {
    options: Options,
    peers: Pair<Manners>,
    /// How much each application says.
    bytes: Pair<usize>,
    /// When the proxy ends it, in milliseconds.
    close_ms: Option<u64>,
    /// Room in the socket buffers of each end.
    room: Pair<usize>,
}

/// What came of it.
struct Run {
    report: Report,
    /// How long it lived.
    took: Duration,
    peers: Pair<Rc<Peer>>,
}

fn options(ping: Option<Ping>) -> Options {
    Options {
        ping,
        idle_us: 300 * SECOND,
        write_us: [60 * SECOND; 2],
        close_us: 60 * SECOND,
        max_message: Some(MAX_MESSAGE),
        rate: None,
        rsv: 0,
    }
}

fn live() -> Arc<Live> {
    let client = Client::Unix(String::new());
    Arc::new(Live::new(About { id: 1, client, opened_us: 0, place: Arc::default(), tls: [None; 2] }))
}

fn manners(finish: Finish) -> Manners {
    Manners {
        finish,
        answers_pings: true,
        answers_close: true,
        ends_tcp: true,
        pause_ms: 0,
        reads: (100_000, 0),
    }
}

/// Plays a setting under a clock that is paused: it jumps to the next timer whenever nobody has anything to do.
fn play(setting: Setting, rng: &mut Rng) -> Run {
    clock::now_us(); // begins before any paused clock does
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), async {
        let scripts = Pair {
            client: script(rng, Side::Client, setting.bytes.client),
            backend: script(rng, Side::Backend, setting.bytes.backend),
        };
        let early = Pair { client: early(rng, &scripts.client), backend: early(rng, &scripts.backend) };
        let peers = Pair {
            client: Rc::new(Peer::new(Side::Client, setting.peers.client)),
            backend: Rc::new(Peer::new(Side::Backend, setting.peers.backend)),
        };
        let mut end = |side: Side, script| {
            let (near, far) = duplex(setting.room[side]);
            spawn_local(peers[side].clone().live(far, script, early[side].len(), rng.fork()));
            let kept = rng.bool().then(Vec::new);
            let broken = peers[side].broken.clone();
            Moody { pipe: near, rng: rng.fork(), naps: Default::default(), kept, broken }
        };
        let streams =
            Pair { client: end(Side::Client, scripts.client), backend: end(Side::Backend, scripts.backend) };
        let tunnel = Tunnel::new(setting.options, Time(clock::now_us()));
        let live = live();
        if let Some(ms) = setting.close_ms {
            let live = live.clone();
            spawn_local(async move {
                sleep(Duration::from_millis(ms)).await;
                live.close(CloseCode::GOING_AWAY, Cause::Shutdown);
            });
        }
        let ends = Ends { streams, early };
        let begun = Instant::now();
        // A task of its own, so that only its own wakers wake it.
        let relay = spawn_local(async move { watched(Relay::new(tunnel, ends, &live)).await });
        let report = timeout(Duration::from_secs(100_000), relay).await.expect("an end").unwrap();
        let took = begun.elapsed();
        // What was written to the ends is still on its way through them.
        sleep(Duration::from_secs(10_000)).await;
        Run { report, took, peers }
    })
}

/// Some of the first bytes, mostly none.
fn early(rng: &mut Rng, script: &[Vec<u8>]) -> Bytes {
    let mut all = script.concat();
    all.truncate(if rng.bool() { 0 } else { rng.usize(..=all.len()) });
    all.into()
}

/// Drives a relay, and looks into it after each step.
async fn watched<S: AsyncRead + AsyncWrite + Unpin>(mut relay: Relay<'_, S>) -> Report {
    let (mut now, mut steps) = (0, 0);
    poll_fn(|cx| {
        let report = relay.poll(cx);
        for side in Side::BOTH {
            let Some(rest) = &relay.drive.ends[side].rest else { continue };
            let pending = &rest.pending;
            assert!(pending.len() <= MOST_PENDING, "{} bytes wait for {side:?}", pending.len());
            assert!(!pending.is_empty() || pending.capacity() == 0, "memory is held for nothing");
            assert!(!rest.is_empty(), "memory is held for nothing");
        }
        steps = if now == clock::now_us() { steps + 1 } else { 0 };
        now = clock::now_us();
        assert!(steps < 50_000, "it turns on the spot");
        report
    })
    .await
}

impl Run {
    /// The frames that a side heard from the other application, and what was ours.
    fn heard(&self, side: Side) -> Heard {
        let wire = self.peers[side].wire.borrow();
        let (found, rest) = frames(&wire);
        let mut heard = Heard { part: rest.len(), ..Heard::default() };
        let close_is_ours = self.report.outcome.code_to[side.index()].is_some();
        for (header, raw) in found {
            assert!(!heard.closed, "a frame follows a Close");
            heard.closed = header.opcode == OpCode::Close;
            if is_our_ping(&header) || heard.closed && close_is_ours {
                assert_eq!(header.mask.is_some(), side == Side::Backend);
                heard.pings += u64::from(!heard.closed);
                heard.our_close = heard.closed;
            } else {
                heard.said.extend(raw);
            }
        }
        heard.said.extend(rest);
        heard
    }

    /// What an application said and the other one may hear.
    fn said(&self, side: Side) -> Vec<u8> {
        let mut said = self.peers[side].said.borrow().clone();
        let answers_us = self.report.outcome.code_to[side.index()].is_some();
        said.truncate(self.peers[side].answer_at.get().filter(|_| answers_us).unwrap_or(said.len()));
        said
    }

    fn check(&self) {
        for side in Side::BOTH {
            if !matches!(self.peers[side].manners.finish, Finish::Reset | Finish::Deaf | Finish::Vanish) {
                self.check_side(side);
            }
        }
        self.check_outcome();
    }

    fn check_side(&self, side: Side) {
        let (heard, said) = (self.heard(side), self.said(side.other()));
        let finish = Side::BOTH.map(|side| self.peers[side].manners.finish);
        let (own, others) = (finish[side.index()], finish[side.other().index()]);
        assert!(said.starts_with(&heard.said), "{side:?} heard what was not said, or not in order");
        // Who ended its own stream may not be told all that was on its way to it.
        if own == Finish::Stay || own == Finish::Close {
            assert_eq!(heard.pings, u64::from(self.report.stats[side].pings));
            let expected = self.expected_code(side);
            let code = self.report.outcome.code_to[side.index()];
            let broken_off =
                matches!(others, Finish::HalfFrame | Finish::Reset | Finish::Deaf | Finish::Vanish);
            if !(broken_off && heard.part > 0) {
                assert_eq!(code, expected, "{side:?}, {:?}", self.report.outcome);
            }
            assert_eq!(heard.our_close, code.is_some(), "{side:?}: the Close arrives");
        }
        let whole = match others {
            Finish::Stay => own == Finish::Close,
            Finish::Reset | Finish::Deaf | Finish::Vanish => false,
            _ => true,
        };
        if whole {
            assert_eq!(heard.said.len(), said.len(), "{side:?} heard not all, {:?}", self.report.outcome);
        }
    }

    /// The code of our Close to a side, by who ended it and why.
    fn expected_code(&self, side: Side) -> Option<u16> {
        let outcome = &self.report.outcome;
        let own = outcome.ended_by == side.into();
        let gone = if side == Side::Client { 1014 } else { 1001 };
        match outcome.cause {
            Cause::Closed => None,
            Cause::ProtocolViolation(_) if own => Some(1002),
            Cause::MessageTooBig if own => Some(1009),
            Cause::TooFast if own => Some(1008),
            _ if own => None,
            _ if outcome.ended_by == Party::Proxy => Some(1001),
            _ => Some(gone),
        }
    }

    /// It ended by whom it was to end, and for that reason.
    fn check_outcome(&self) {
        let outcome = &self.report.outcome;
        let ender = Side::BOTH.into_iter().find(|&side| self.peers[side].manners.finish != Finish::Stay);
        let Some(ender) = ender else {
            let by_proxy = outcome.ended_by == Party::Proxy;
            return assert!(
                by_proxy && matches!(outcome.cause, Cause::Shutdown | Cause::Idle),
                "{outcome:?}"
            );
        };
        let cause = match self.peers[ender].manners.finish {
            Finish::Stay | Finish::Close | Finish::CloseThenFin => Cause::Closed,
            Finish::Fin | Finish::HalfFrame => Cause::Fin,
            Finish::Reset | Finish::Deaf => Cause::Reset,
            Finish::Violate => Cause::ProtocolViolation(Violation::ReservedOpcode),
            Finish::TooBig => Cause::MessageTooBig,
            Finish::Vanish => {
                let found = matches!(outcome.cause, Cause::DeadPeer | Cause::WriteBlocked | Cause::Idle);
                return assert!(found, "{outcome:?}");
            }
        };
        assert_eq!((outcome.ended_by, outcome.cause), (ender.into(), cause));
    }
}

#[derive(Default)]
struct Heard {
    /// Without what is ours.
    said: Vec<u8>,
    /// Bytes of a frame that was broken off.
    part: usize,
    pings: u64,
    closed: bool,
    our_close: bool,
}

/// Plays and checks `count` settings, each from a seed that is printed should it fail.
fn repeat(count: u64, setting: impl Fn(&mut Rng) -> Setting, check: impl Fn(&Run)) {
    struct Failed(Cell<u64>);
    impl Drop for Failed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("LONGWIRE_SEED={}", self.0.get());
            }
        }
    }
    let given = std::env::var("LONGWIRE_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = given.unwrap_or_else(clock::unix_us);
    let failed = Failed(Cell::new(first));
    for seed in first..first + count {
        failed.0.set(seed);
        let mut rng = Rng::with_seed(seed);
        let setting = setting(&mut rng);
        check(&play(setting, &mut rng));
    }
}

fn any_setting(rng: &mut Rng) -> Setting {
    use Finish::*;
    let finish = *rng
        .choice(&[Stay, Close, CloseThenFin, Fin, HalfFrame, Reset, Deaf, Vanish, Violate, TooBig])
        .unwrap();
    let by_client = rng.bool();
    let ours = matches!(finish, Stay);
    // Only what is written to an end shows that it is deaf.
    let pings = (rng.bool() || finish == Deaf)
        .then(|| Ping { interval_us: rng.u64(3..6) * SECOND, timeout_us: 3 * SECOND });
    let mut peer = |ends: bool| Manners {
        // Who never answered a ping is not called dead, and a stream that often naps is not called idle.
        answers_pings: rng.bool() || finish == Vanish,
        // Without an answer, a Close of an application has no end but the idle timer.
        answers_close: rng.bool() || matches!(finish, Close | CloseThenFin),
        ends_tcp: rng.bool(),
        pause_ms: *rng.choice(&[0, 10, 5000]).unwrap(),
        reads: *rng.choice(&[(100_000, 0), (3000, 10), (100, 0)]).unwrap(),
        ..manners(if ends { finish } else { Stay })
    };
    let peers = Pair { client: peer(by_client), backend: peer(!by_client) };
    let mut bytes = || *rng.choice(&[0, 1000, 30_000, 300_000]).unwrap();
    let bytes = Pair { client: bytes(), backend: bytes() };
    let mut room = || *rng.choice(&[100, 1000, 16_000]).unwrap();
    let room = Pair { client: room(), backend: room() };
    // Nobody ends what answers pings; without them the idle timer does.
    let close_ms = (ours && (rng.u8(..8) > 0 || pings.is_some())).then(|| rng.u64(..20_000));
    Setting { options: options(pings), peers, bytes, close_ms, room }
}

#[test]
fn whatever_happens_bytes_and_closes_arrive() {
    repeat(100, any_setting, Run::check);
}

/// The ends with a pair of applications: one that says much, and one that takes a few bytes a second, with rests that
/// are long but shorter than the write timer.
fn slow(from: Side, finish: Finish, bytes: usize, close_ms: Option<u64>) -> Setting {
    let mut setting = Setting {
        options: Options { close_us: 5 * SECOND, write_us: [12 * SECOND; 2], ..options(None) },
        peers: Pair {
            client: manners(finish),
            backend: Manners { reads: (10_000, 3000), ..manners(Finish::Stay) },
        },
        bytes: Pair { client: bytes, backend: 0 },
        close_ms,
        room: Pair { client: 100_000, backend: 16_000 },
    };
    if from == Side::Backend {
        let Setting { peers, bytes, room, .. } = &mut setting;
        std::mem::swap(&mut peers.client, &mut peers.backend);
        std::mem::swap(&mut bytes.client, &mut bytes.backend);
        std::mem::swap(&mut room.client, &mut room.backend);
    }
    setting
}

#[test]
fn a_slow_reader_hears_all_that_was_said_before_the_end() {
    for finish in [Finish::Close, Finish::CloseThenFin, Finish::Fin, Finish::HalfFrame] {
        for from in Side::BOTH {
            repeat(1, |_| slow(from, finish, 1_000_000, None), Run::check);
        }
    }
}

/// The time for an answer to a Close is over long before the Close arrives.
#[test]
fn a_slow_reader_hears_our_close_behind_all_that_waits() {
    let told = Cell::new(0);
    for from in Side::BOTH {
        let check = |run: &Run| {
            let to = from.other();
            let heard = run.heard(to);
            assert!(run.said(from).starts_with(&heard.said));
            assert_eq!(heard.our_close, run.report.outcome.code_to[to.index()] == Some(1001));
            assert!(heard.our_close || heard.part > 0, "no frame was unfinished, so a Close had its place");
            told.set(told.get() + u64::from(heard.our_close));
        };
        repeat(20, |rng| slow(from, Finish::Stay, 50_000, Some(rng.u64(5000..30_000))), check);
    }
    assert!(told.get() > 5, "only {} Closes of 40", told.get());
}

/// That a ping cannot be written may be all that ever happens: the other end is told all the same.
#[test]
fn an_end_that_fails_without_a_word_ends_the_tunnel() {
    let silent = |client, backend| Setting {
        options: options(Some(Ping { interval_us: 3 * SECOND, timeout_us: 3 * SECOND })),
        peers: Pair { client: manners(client), backend: manners(backend) },
        bytes: Pair { client: 0, backend: 0 },
        close_ms: None,
        room: Pair { client: 100, backend: 100 },
    };
    repeat(20, |_| silent(Finish::Deaf, Finish::Stay), Run::check);
    repeat(20, |_| silent(Finish::Stay, Finish::Deaf), Run::check);
}

/// Neither end answers a Close or ends TCP. The clock was set to the idle timer, which is far off.
#[test]
fn ends_that_do_nothing_are_not_waited_for() {
    let dull = || Manners { answers_close: false, ends_tcp: false, ..manners(Finish::Stay) };
    let setting = |_: &mut Rng| Setting {
        options: Options { close_us: 5 * SECOND, ..options(None) },
        peers: Pair { client: dull(), backend: dull() },
        bytes: Pair { client: 0, backend: 0 },
        close_ms: Some(1000),
        room: Pair { client: 1000, backend: 1000 },
    };
    repeat(10, setting, |run| {
        run.check();
        assert!(run.took < Duration::from_secs(1 + 5 + 2 + 1), "{:?}", run.took);
    });
}

/// Of what a stream took, a few bytes leave at a time: that is progress, though the stream takes no more.
#[test]
fn a_few_bytes_at_a_time_are_progress() {
    let setting = |_: &mut Rng| {
        let mut setting = slow(Side::Client, Finish::Close, 3000, None);
        setting.peers.backend.reads = (10, 3000);
        setting.room.backend = 10;
        setting.options.idle_us = 100_000 * SECOND;
        setting.options.close_us = 100_000 * SECOND;
        setting
    };
    repeat(20, setting, |run| run.check());
}

#[test]
fn an_end_that_takes_nothing_is_dropped() {
    let setting = |_: &mut Rng| {
        let mut setting = slow(Side::Client, Finish::Stay, 200_000, None);
        setting.peers.backend.reads = (1, u64::MAX >> 32);
        setting
    };
    repeat(10, setting, |run| {
        let outcome = run.report.outcome;
        assert_eq!((outcome.ended_by, outcome.cause), (Party::Backend, Cause::WriteBlocked));
        assert_eq!(outcome.code_to, [Some(1014), None]);
        assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
    });
}

/// Two megabytes came with the head and the backend takes all of them: nothing but the relay itself wakes it.
#[tokio::test(start_paused = true)]
async fn much_at_once_goes_on_by_itself() {
    let said = script(&mut Rng::with_seed(1), Side::Client, 2_000_000).concat();
    let (client, _far) = duplex(1);
    let (backend, mut heard) = duplex(4_000_000);
    let early = Pair { client: said.clone().into(), backend: Bytes::new() };
    let ends = Ends { streams: Pair { client, backend }, early };
    let live = live();
    let tunnel = Tunnel::new(options(None), Time(clock::now_us()));
    let driver = tokio::spawn(async move { relay(tunnel, ends, &live).await });
    let mut wire = vec![0; said.len()];
    timeout(Duration::from_secs(1), heard.read_exact(&mut wire)).await.expect("all of it at once").unwrap();
    assert!(wire == said);
    driver.abort();
}
