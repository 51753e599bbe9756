//! The deadlines of a tunnel: an enum and a table.

use crate::side::Side;

/// Microseconds since an origin that the caller chose. The caller's clock never runs backwards.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(pub u64);

impl Time {
    /// This many microseconds later. Stops at the end of time, so `u64::MAX` means never.
    pub fn after(self, us: u64) -> Time {
        Time(self.0.saturating_add(us))
    }

    /// Microseconds from `earlier` to here; 0 when `earlier` is the later one.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a tunnel may be waiting for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Timer {
    /// What we write to this end has not moved for too long.
    Write(Side),
    /// This end has answered pings before, and now owes a pong.
    Pong(Side),
    /// Neither end has sent a byte for too long.
    Idle,
    /// This end has been silent for an interval: ask whether it is still there.
    Ping(Side),
    /// A Close is on its way to this end, or has come back: do not wait for ever.
    Close(Side),
}

impl Timer {
    /// Every timer, in the order in which those that expire together are handled: what proves that an end is gone
    /// comes before what merely asks.
    pub const ALL: [Timer; 9] = [
        Timer::Write(Side::Client),
        Timer::Write(Side::Backend),
        Timer::Pong(Side::Client),
        Timer::Pong(Side::Backend),
        Timer::Idle,
        Timer::Ping(Side::Client),
        Timer::Ping(Side::Backend),
        Timer::Close(Side::Client),
        Timer::Close(Side::Backend),
    ];

    /// The place in [`Timer::ALL`], always below its length.
    fn index(self) -> usize {
        match self {
            Timer::Write(side) => side.index(),
            Timer::Pong(side) => 2 + side.index(),
            Timer::Idle => 4,
            Timer::Ping(side) => 5 + side.index(),
            Timer::Close(side) => 7 + side.index(),
        }
    }
}

/// When each timer expires.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Timers([Option<Time>; Timer::ALL.len()]);

impl Timers {
    /// Starts the timer, or moves it.
    pub fn set(&mut self, timer: Timer, at: Time) {
        self.0[timer.index()] = Some(at);
    }

    /// Stops the timer.
    pub fn stop(&mut self, timer: Timer) {
        self.0[timer.index()] = None;
    }

    /// When the timer expires, if it runs.
    pub fn at(&self, timer: Timer) -> Option<Time> {
        self.0[timer.index()]
    }

    /// Moves a timer that runs to `at`, unless it is later already.
    pub fn extend(&mut self, timer: Timer, at: Time) {
        if let Some(old) = &mut self.0[timer.index()] {
            *old = at.max(*old);
        }
    }

    /// Moves every timer that has expired to `at`.
    pub fn postpone(&mut self, now: Time, at: Time) {
        for expired in self.0.iter_mut().flatten().filter(|old| **old <= now) {
            *expired = at;
        }
    }

    /// Stops the timer if it has expired, and says whether it had.
    pub fn take_expired(&mut self, timer: Timer, now: Time) -> bool {
        let expired = self.at(timer).is_some_and(|at| at <= now);
        if expired {
            self.stop(timer);
        }
        expired
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.0.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timer_has_a_place_of_its_own() {
        for (place, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer.index(), place);
        }
    }

    #[test]
    fn the_earliest_is_next() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Idle, Time(60));
        timers.set(Timer::Ping(Side::Backend), Time(30));
        timers.extend(Timer::Ping(Side::Client), Time(10)); // does not run, so it stays off
        assert_eq!(timers.next(), Some(Time(30)));
        assert!(!timers.take_expired(Timer::Ping(Side::Backend), Time(29)));
        assert!(timers.take_expired(Timer::Ping(Side::Backend), Time(30)));
        assert_eq!(timers.next(), Some(Time(60)));
    }
}
