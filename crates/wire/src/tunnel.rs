//! Two ends, joined.

use alloc::vec::Vec;

use crate::close::CloseCode;
use crate::outcome::{Cause, Outcome, Stats};
use crate::ping::Pinger;
use crate::plan::{OwnFrame, Plan};
use crate::save::{self, RestoreError};
use crate::scanner::{Rules, Scanner, Step};
use crate::side::{Pair, Party, Side};
use crate::timer::{Time, Timer, Timers};

/// A deadline noticed this many microseconds late says nothing about the ends.
pub const LATE_US: u64 = 2_000_000;

/// Microseconds that a driver has to read what waited while the proxy was asleep.
pub const GRACE_US: u64 = 1_000_000;

/// How a tunnel behaves. Copied at its start, so that a new configuration changes new tunnels only.
///
/// `u64::MAX` microseconds mean never.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Pings to both ends; `None` sends none.
    pub ping: Option<Ping>,
    /// Neither end sent a byte for this many microseconds: Close 1001 to both. Pongs to our pings count.
    pub idle_us: u64,
    /// How many microseconds a write towards the client and towards the backend may stay blocked without progress.
    pub write_us: [u64; 2],
    /// How many microseconds a boundary, the answer to a Close, or the end of TCP is awaited.
    pub close_us: u64,
    /// The most payload bytes of one message over all its fragments, as on the wire.
    pub max_message: Option<u64>,
    /// RSV bits that the negotiated extensions may use, RSV1 being 0b100.
    pub rsv: u8,
}

/// When to ping an end, and how long to wait for it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Silence of an end, in microseconds, after which it is pinged. 0 sends no pings.
    pub interval_us: u64,
    /// Microseconds that a pong may take. Never more than the interval, so that an end that froze is found within
    /// two intervals.
    pub timeout_us: u64,
}

/// What the driver does with the socket of an end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SideState {
    /// Read and write.
    Open,
    /// Write what is pending, shut down writing, then read and discard until the end of stream or for a few seconds.
    Finish,
    /// It is dead: drop it at once.
    Drop,
}

/// A WebSocket connection that runs through the proxy: two ends, plain data.
///
/// After every `handle_*` the driver asks [`Tunnel::poll_transmit`] for both sides, writes what comes behind all that
/// is pending there, then looks at [`Tunnel::side`] and [`Tunnel::poll_timeout`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    pub(crate) options: Options,
    pub(crate) ends: Pair<End>,
    pub(crate) timers: Timers,
    pub(crate) stats: Stats,
    /// Whose Close frame came first.
    pub(crate) first_close: Option<Side>,
    /// Set as soon as the end is decided.
    pub(crate) ending: Option<Outcome>,
}

/// One end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// Follows what it sends.
    pub(crate) scanner: Scanner,
    /// Our pings to it.
    pub(crate) pinger: Pinger,
    pub(crate) life: Life,
    /// The driver has more to write to it than it takes. Meanwhile the other end is not read from.
    pub(crate) blocked: bool,
}

/// The life of an end.
///
/// ```text
///          our Close waits                 it is out
///   Open ──────────────────▶ Due ───────────────────────▶ Sent
///    │                        │ no boundary in time,        │ answer, end of stream, or time is over
///    │ Close passed both ways ▼ or the answer is here       ▼
///    └────────▶ Closed ────▶ Finish ◀───────────────────────┘
///                 end of TCP
///   any ── error, no pong, write blocked ──▶ Drop
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// Frames flow.
    Open,
    /// A Close of ours goes out at the next boundary.
    Due(CloseCode),
    /// A Close is out; nothing follows it. What this end sends is scanned for its answer and discarded.
    Sent,
    /// The applications closed; TCP is to end.
    Closed,
    /// See [`SideState::Finish`].
    Finish,
    /// See [`SideState::Drop`].
    Drop,
}

impl Life {
    fn is_done(self) -> bool {
        matches!(self, Life::Finish | Life::Drop)
    }

    /// Frames of the other end still go here.
    fn receives(self) -> bool {
        matches!(self, Life::Open | Life::Due(_))
    }
}

impl Tunnel {
    /// A tunnel between two ends that have just shaken hands.
    pub fn new(options: Options, now: Time) -> Tunnel {
        let ping = options.ping.filter(|ping| ping.interval_us > 0);
        let ping = ping.map(|ping| Ping { timeout_us: ping.timeout_us.min(ping.interval_us), ..ping });
        let options = Options { ping, ..options };
        let end = |from| End {
            scanner: Scanner::new(Rules { from, rsv: options.rsv, max_message: options.max_message }),
            pinger: Pinger::default(),
            life: Life::Open,
            blocked: false,
        };
        let mut timers = Timers::default();
        timers.set(Timer::Idle, now.after(options.idle_us));
        for (side, ping) in Side::BOTH.into_iter().zip(ping.into_iter().cycle()) {
            timers.set(Timer::Ping(side), now.after(ping.interval_us));
        }
        Tunnel {
            options,
            ends: Pair { client: end(Side::Client), backend: end(Side::Backend) },
            timers,
            stats: Stats::default(),
            first_close: None,
            ending: None,
        }
    }

    /// `bytes` were read from `from`. Fills `plan` with what is to be written to the other end, in order.
    ///
    /// `random` gives the payload of a ping and a mask; it is called only when a frame of ours goes out.
    pub fn handle_read(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
        plan: &mut Plan,
    ) {
        plan.start(bytes.len());
        if bytes.is_empty() || self.ends[from].life.is_done() {
            return;
        }
        self.heard(from, bytes.len(), now);
        let to = from.other();
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(frame) = self.poll_transmit(to, now, random) {
                plan.push_own(&frame);
            }
            let receives = self.ends[to].life.receives();
            let end = &mut self.ends[from];
            if end.life.is_done() || end.scanner.is_over() {
                return; // what follows a Close or a violation goes nowhere
            }
            match end.scanner.step(rest, end.pinger.payloads()) {
                Step::Forward { held, take, header } => {
                    if receives {
                        plan.push_own(&held);
                        plan.push_input(at..at + take);
                    }
                    at += take;
                    self.count(from, header);
                    if self.ends[from].scanner.is_over() {
                        self.closed(from, now);
                    }
                }
                Step::Hold => return,
                Step::Pong { take, payload } => {
                    at += take;
                    self.answered(from, payload, now);
                }
                Step::Fault(cause) => return self.faulted(from, cause, now),
            }
        }
    }

    /// `from` ended its stream (FIN, or TLS close_notify): it will send no more.
    pub fn handle_eof(&mut self, from: Side, now: Time) {
        self.left(from, Life::Finish, Cause::Fin, now);
    }

    /// Reading from or writing to `from` failed: nothing can be sent there any more.
    pub fn handle_error(&mut self, from: Side, now: Time) {
        self.left(from, Life::Drop, Cause::Reset, now);
    }

    /// `to` did not take all that was to be written. Call again whenever more was tried, with `moved` saying whether
    /// it took some: that restarts the write timer.
    ///
    /// While an end is blocked the other one is taken to be not read from, and thus not judged by its silence.
    pub fn handle_blocked(&mut self, to: Side, moved: bool, now: Time) {
        let end = &mut self.ends[to];
        if end.life.is_done() {
            return;
        }
        let first = !core::mem::replace(&mut end.blocked, true);
        if first {
            self.ends[to.other()].pinger.unmeasured();
        } else if moved {
            self.progressed(to, now);
        }
        if first || moved {
            self.timers.set(Timer::Write(to), now.after(self.options.write_us[to.index()]));
        }
    }

    /// All that was to be written to `to` has been taken. Costs nothing where nothing was blocked.
    pub fn handle_flushed(&mut self, to: Side, now: Time) {
        if core::mem::take(&mut self.ends[to].blocked) {
            self.timers.stop(Timer::Write(to));
            self.progressed(to, now);
            // The pong of the other end may have waited unread all the while.
            if let Some(ping) = self.options.ping {
                self.timers.extend(Timer::Pong(to.other()), now.after(ping.timeout_us));
            }
        }
    }

    /// Does what [`Tunnel::poll_timeout`] asked for, as far as it is time. Harmless when it is early.
    ///
    /// When it is late by more than [`LATE_US`] the proxy itself was asleep (stopped, paused, starved), and the bytes
    /// that would have met the deadline may wait unread: what has expired gets [`GRACE_US`] more.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.timers.next().is_some_and(|at| now.since(at) > LATE_US) {
            return self.timers.postpone(now, now.after(GRACE_US));
        }
        for timer in Timer::ALL {
            if self.timers.take_expired(timer, now) {
                self.expired(timer, now);
            }
        }
    }

    /// The proxy wants the tunnel to end: Close with this code to both ends. Does nothing when it is ending already.
    pub fn close(&mut self, code: CloseCode, reason: Cause, now: Time) {
        if self.ending.is_none() {
            self.end(Party::Proxy, reason, Pair { client: Life::Due(code), backend: Life::Due(code) }, now);
        }
    }

    /// A frame of ours that goes to `to` now, behind all that is pending there. At most one at a time is due.
    pub fn poll_transmit(
        &mut self,
        to: Side,
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
    ) -> Option<OwnFrame> {
        match self.ends[to].life {
            Life::Open if self.ends[to].pinger.due => {}
            Life::Due(_) => {}
            _ => return None,
        }
        if !self.ends[to.other()].scanner.at_boundary() {
            return None;
        }
        match self.ends[to].life {
            Life::Due(code) => Some(self.send_close(to, code, now, random)),
            _ if self.is_blocked() => None,
            _ => self.send_ping(to, now, random),
        }
    }

    /// When [`Tunnel::handle_timeout`] is to be called next.
    ///
    /// Reading moves it later or leaves it, unless the tunnel [begins to end](Tunnel::is_ending) by what was read. So
    /// a driver need not arm its clock anew for every read: it may fire early and ask again.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The end of the tunnel is decided, though Close frames may still be under way.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The driver is to go on reading from this end.
    pub fn wants_read(&self, from: Side) -> bool {
        !self.ends[from].life.is_done()
    }

    /// What the driver does with the socket of this end.
    pub fn side(&self, side: Side) -> SideState {
        match self.ends[side].life {
            Life::Finish => SideState::Finish,
            Life::Drop => SideState::Drop,
            Life::Open | Life::Due(_) | Life::Sent | Life::Closed => SideState::Open,
        }
    }

    /// How it ended, once both sides are [`SideState::Finish`] or [`SideState::Drop`].
    pub fn outcome(&self) -> Option<&Outcome> {
        let done = Side::BOTH.iter().all(|&side| self.ends[side].life.is_done());
        self.ending.as_ref().filter(|_| done)
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The options it was started with, the ping timeout capped.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Everything as bytes, from which [`Tunnel::restore`] continues as if nothing had happened. Times are kept as
    /// distances from `now`.
    pub fn save(&self, now: Time) -> Vec<u8> {
        save::save(self, now)
    }

    /// The tunnel that was saved. `now` may count from another origin, one that lies before the tunnel's last ping.
    pub fn restore(bytes: &[u8], now: Time) -> Result<Tunnel, RestoreError> {
        save::restore(bytes, now)
    }
}
