//! Two ends, joined.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::close::CloseCode;
use crate::frame::{Header, OpCode};
use crate::outcome::{Cause, Ending, Farewell, Outcome, Stats};
use crate::ping::Pinger;
use crate::plan::{OwnFrame, Plan};
use crate::rate::{Bucket, Rate};
use crate::save::{self, RestoreError};
use crate::scanner::{Rules, Run, Scanner, Step};
use crate::side::{Pair, Party, Side};
use crate::timer::{Time, Timer, Timers};

/// A deadline noticed this many microseconds late says nothing about the ends.
pub const LATE_US: u64 = 2_000_000;

/// Microseconds that a driver has to read what waited while the proxy was asleep.
pub const GRACE_US: u64 = 1_000_000;

/// How a tunnel behaves. Shared by the tunnels that behave alike; a new configuration changes new tunnels only.
///
/// `u64::MAX` microseconds mean never.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
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
    /// How much a client may send; more ends the tunnel with Close 1008. It costs a client's frames the short ways.
    pub rate: Option<Rate>,
}

impl Options {
    /// The pings to send: `None` also for an interval of 0, and no timeout above the interval.
    pub(crate) fn ping(&self) -> Option<Ping> {
        let ping = self.ping.filter(|ping| ping.interval_us > 0)?;
        Some(Ping { timeout_us: ping.timeout_us.min(ping.interval_us), ..ping })
    }
}

/// When to ping an end, and how long to wait for it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
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
    pub(crate) options: Arc<Options>,
    pub(crate) ends: Pair<End>,
    /// Without what `End::heard` has to add.
    pub(crate) timers: Timers,
    pub(crate) stats: Stats,
    /// What the client has sent lately, where there is a rate.
    pub(crate) bucket: Option<Box<Bucket>>,
    /// Until the end is decided: the Close that is to come.
    pub(crate) planned: Option<Box<Planned>>,
    /// Set as soon as the end is decided.
    pub(crate) ending: Option<Box<Ending>>,
}

/// An end that the proxy has set a time for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// When both ends are to be told.
    pub at: Time,
    /// What they are told.
    pub farewell: Farewell,
}

/// One end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// Follows what it sends.
    pub(crate) scanner: Scanner,
    /// Our pings to it.
    pub(crate) pinger: Pinger,
    /// When bytes came from it, where the timers do not know that yet; else [`Time::NEVER`]. So a message costs one
    /// store, and the timers are moved when somebody looks at them.
    pub(crate) heard: Time,
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
    pub fn new(options: impl Into<Arc<Options>>, now: Time) -> Tunnel {
        let options = options.into();
        let end = || End {
            scanner: Scanner::default(),
            pinger: Pinger::default(),
            heard: Time::NEVER,
            life: Life::Open,
            blocked: false,
        };
        let mut timers = Timers::default();
        timers.set(Timer::Idle, now.after(options.idle_us));
        if let Some(ping) = options.ping() {
            for side in Side::BOTH {
                timers.set(Timer::Ping(side), now.after(ping.interval_us));
            }
        }
        let ends = Pair { client: end(), backend: end() };
        let bucket = options.rate.map(|_| Box::new(Bucket::new(now)));
        Tunnel { options, ends, timers, stats: Stats::default(), bucket, planned: None, ending: None }
    }

    /// `bytes` were read from `from`. Fills `plan` with what is to be written to the other end, in order.
    ///
    /// `random` gives the payload of a ping and a mask; it is called only when a frame of ours goes out.
    #[inline(always)]
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
        let rules = Rules { from, rsv: self.options.rsv, max_message: self.options.max_message };
        if self.passes(from.other()) && self.ends[from].scanner.is_one_message(bytes, &rules) {
            self.stats[from].messages += 1;
            plan.push_input(0..bytes.len());
        } else {
            self.handle_frames(from, bytes, &rules, now, random, plan);
        }
    }

    /// Frames may go to this end uncounted, and nothing of ours wants the next boundary there.
    #[inline]
    fn passes(&self, to: Side) -> bool {
        let counted = to == Side::Backend && self.bucket.is_some();
        let to = &self.ends[to];
        to.life == Life::Open && !to.pinger.due && !counted
    }

    fn handle_frames(
        &mut self,
        from: Side,
        bytes: &[u8],
        rules: &Rules,
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
        plan: &mut Plan,
    ) {
        let mut at = 0;
        loop {
            at += self.run(from, bytes.get(at..).unwrap_or_default(), rules, plan, at);
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return };
            match self.step(from, rest, rules, now, random, (plan, at)) {
                Some(take) => at += take,
                None => return,
            }
        }
    }

    /// Lets the frames of messages pass, as far as nothing is to be looked at. `at`: where `rest` stands in the input.
    #[inline]
    fn run(&mut self, from: Side, rest: &[u8], rules: &Rules, plan: &mut Plan, at: usize) -> usize {
        if !self.passes(from.other()) {
            return 0;
        }
        let Run { take, messages } = self.ends[from].scanner.run(rest, rules);
        self.stats[from].messages += messages;
        plan.push_input(at..at + take);
        take
    }

    /// At most one frame. Gives how many bytes it took of `rest`, if more can pass behind them.
    #[cold]
    fn step(
        &mut self,
        from: Side,
        rest: &[u8],
        rules: &Rules,
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
        (plan, at): (&mut Plan, usize),
    ) -> Option<usize> {
        self.settle_heard();
        let to = from.other();
        if let Some(frame) = self.poll_transmit(to, now, random) {
            plan.push_own(&frame);
        }
        let receives = self.ends[to].life.receives();
        let end = &mut self.ends[from];
        if end.life.is_done() || end.scanner.is_over() {
            return None; // what follows a Close or a violation goes nowhere
        }
        match end.scanner.step(rest, rules, end.pinger.payloads()) {
            Step::Forward { header: Some(header), .. } if !self.keeps_rate(from, &header, now) => {
                self.ends[from].scanner.refuse();
                self.faulted(from, Cause::TooFast, now);
                None
            }
            Step::Forward { held, take, header } => {
                if receives {
                    plan.push_own(&held);
                    plan.push_input(at..at + take);
                }
                self.count(from, header);
                if self.ends[from].scanner.is_over() {
                    self.closed(from, now);
                }
                Some(take)
            }
            Step::Hold => None,
            Step::Pong { take, payload } => {
                plan.round_trip = self.answered(from, payload, now).or(plan.round_trip);
                Some(take)
            }
            Step::Fault(cause) => {
                self.faulted(from, cause, now);
                None
            }
        }
    }

    /// Whether a frame that begins keeps to the rate of its end. A Close always does.
    fn keeps_rate(&mut self, from: Side, header: &Header, now: Time) -> bool {
        match (from, self.options.rate, &mut self.bucket) {
            (Side::Client, Some(rate), Some(bucket)) if header.opcode != OpCode::Close => {
                bucket.take(&rate, header.len, now)
            }
            _ => true,
        }
    }

    /// `from` ended its stream (FIN, or TLS close_notify): it will send no more.
    pub fn handle_eof(&mut self, from: Side, now: Time) {
        self.settle_heard();
        self.left(from, Life::Finish, Cause::Fin, now);
    }

    /// Reading from or writing to `from` failed: nothing can be sent there any more.
    pub fn handle_error(&mut self, from: Side, now: Time) {
        self.settle_heard();
        self.left(from, Life::Drop, Cause::Reset, now);
    }

    /// `to` did not take all that was to be written. Call again whenever more was tried, with `moved` saying whether
    /// it took some: that restarts the write timer.
    ///
    /// While an end is blocked the other one is taken to be not read from, and thus not judged by its silence.
    pub fn handle_blocked(&mut self, to: Side, moved: bool, now: Time) {
        self.settle_heard();
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
            self.settle_heard();
            self.timers.stop(Timer::Write(to));
            self.progressed(to, now);
            // The pong of the other end may have waited unread all the while.
            if let Some(ping) = self.options.ping() {
                self.timers.extend(Timer::Pong(to.other()), now.after(ping.timeout_us));
            }
        }
    }

    /// Does what [`Tunnel::poll_timeout`] asked for, as far as it is time. Harmless when it is early.
    ///
    /// When it is late by more than [`LATE_US`] the proxy itself was asleep (stopped, paused, starved), and the bytes
    /// that would have met the deadline may wait unread: what has expired gets [`GRACE_US`] more.
    pub fn handle_timeout(&mut self, now: Time) {
        self.settle_heard();
        if let Some(planned) = self.planned.take_if(|planned| planned.at <= now) {
            self.close(planned.farewell, now);
        }
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
    pub fn close(&mut self, farewell: impl Into<Farewell>, now: Time) {
        let Farewell { code, cause, words } = farewell.into();
        if self.ending.is_none() {
            self.settle_heard();
            self.end(Party::Proxy, cause, Pair { client: Life::Due(code), backend: Life::Due(code) }, now);
            if let Some(ending) = &mut self.ending {
                ending.words = words;
            }
        }
    }

    /// The proxy wants the tunnel to end at this time: then as [`Tunnel::close`]. A later plan takes the place of the one
    /// before; [`Time::NEVER`] takes it back. Does nothing when the tunnel is ending already.
    pub fn close_at(&mut self, farewell: impl Into<Farewell>, at: Time) {
        if self.ending.is_none() {
            self.planned = (at != Time::NEVER).then(|| Box::new(Planned { at, farewell: farewell.into() }));
        }
    }

    /// The end that the proxy has set a time for, until it comes.
    pub fn planned(&self) -> Option<&Planned> {
        self.planned.as_deref()
    }

    /// A frame of ours that goes to `to` now, behind all that is pending there. At most one at a time is due.
    #[inline]
    pub fn poll_transmit(
        &mut self,
        to: Side,
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
    ) -> Option<OwnFrame> {
        match self.ends[to].life {
            Life::Open if self.ends[to].pinger.due => self.transmit(to, now, random),
            Life::Due(_) => self.transmit(to, now, random),
            _ => None,
        }
    }

    #[cold]
    fn transmit(&mut self, to: Side, now: Time, random: &mut impl FnMut() -> [u8; 12]) -> Option<OwnFrame> {
        if !self.ends[to.other()].scanner.at_boundary() {
            return None;
        }
        self.settle_heard();
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
        let mut timers = self.timers.clone();
        self.heard_by(&mut timers);
        let planned = self.planned.as_ref().map(|planned| planned.at);
        timers.next().into_iter().chain(planned).min()
    }

    /// When a byte last came from either end, answers to our pings included. `None` where nothing depends on it: once it
    /// is ending, or without an idle time.
    pub fn heard_at(&self) -> Option<Time> {
        let heard = Side::BOTH.map(|side| Some(self.ends[side].heard).filter(|at| *at != Time::NEVER));
        let known = self.timers.at(Timer::Idle).map(|idle| Time(idle.0.saturating_sub(self.options.idle_us)));
        heard.into_iter().flatten().chain(known).max()
    }

    /// The end of the tunnel is decided, though Close frames may still be under way.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// How it is going to end, as far as that is decided: [`Tunnel::outcome`] while Close frames are under way.
    pub fn ending(&self) -> Option<&Outcome> {
        self.ending.as_ref().map(|ending| &ending.outcome)
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
        self.ending().filter(|_| done)
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The options it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Lets its options be those of others that behave alike.
    pub fn share(&mut self, with: impl FnOnce(Options) -> Arc<Options>) {
        self.options = with(*self.options);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every open connection costs this much.
    #[test]
    fn a_tunnel_is_small() {
        assert!(size_of::<Tunnel>() <= 304, "{} bytes", size_of::<Tunnel>());
    }
}
