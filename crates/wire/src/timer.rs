//! The deadlines of a tunnel: an enum and a table.

use alloc::boxed::Box;

use crate::side::Side;

/// Microseconds since an origin that the caller chose. The caller's clock never runs backwards.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(pub u64);

impl Time {
    /// Later than any other.
    pub const NEVER: Time = Time(u64::MAX);

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

    fn place(self) -> Place {
        match self {
            Timer::Idle => Place::Always(0),
            Timer::Ping(side) => Place::Always(1 + side.index()),
            Timer::Write(side) => Place::Seldom(side.index()),
            Timer::Pong(side) => Place::Seldom(2 + side.index()),
            Timer::Close(side) => Place::Seldom(4 + side.index()),
        }
    }
}

/// Where a deadline stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Place {
    /// In the tunnel.
    Always(usize),
    /// In memory that is held only while one of these runs.
    Seldom(usize),
}

/// When each timer expires. One that is set to [`Time::NEVER`] does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timers {
    always: [Time; 3],
    /// Until one of these timers starts again, nothing is held for them.
    seldom: Option<Box<[Time; 6]>>,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { always: [Time::NEVER; 3], seldom: None }
    }
}

impl Timers {
    /// Starts the timer, or moves it.
    pub fn set(&mut self, timer: Timer, at: Time) {
        match timer.place() {
            Place::Always(place) => self.always[place] = at,
            Place::Seldom(_) if at == Time::NEVER => self.stop(timer),
            Place::Seldom(place) => {
                self.seldom.get_or_insert_with(|| Box::new([Time::NEVER; 6]))[place] = at;
            }
        }
    }

    /// Stops the timer.
    pub fn stop(&mut self, timer: Timer) {
        match timer.place() {
            Place::Always(place) => self.always[place] = Time::NEVER,
            Place::Seldom(place) => {
                if let Some(seldom) = &mut self.seldom {
                    seldom[place] = Time::NEVER;
                    self.seldom.take_if(|seldom| seldom.iter().all(|at| *at == Time::NEVER));
                }
            }
        }
    }

    /// When the timer expires, if it runs.
    pub fn at(&self, timer: Timer) -> Option<Time> {
        let at = match timer.place() {
            Place::Always(place) => self.always[place],
            Place::Seldom(place) => self.seldom.as_ref().map_or(Time::NEVER, |seldom| seldom[place]),
        };
        Some(at).filter(|at| *at != Time::NEVER)
    }

    /// Moves a timer that runs to `at`, unless it is later already.
    pub fn extend(&mut self, timer: Timer, at: Time) {
        if let Some(old) = self.at(timer) {
            self.set(timer, at.max(old));
        }
    }

    /// Moves every timer that has expired to `at`.
    pub fn postpone(&mut self, now: Time, at: Time) {
        let seldom = self.seldom.iter_mut().flat_map(|seldom| seldom.iter_mut());
        for expired in self.always.iter_mut().chain(seldom).filter(|old| **old <= now) {
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
        let seldom = self.seldom.iter().flat_map(|seldom| seldom.iter());
        self.always.iter().chain(seldom).min().copied().filter(|at| *at != Time::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timer_has_a_place_of_its_own() {
        let mut timers = Timers::default();
        for (place, timer) in Timer::ALL.into_iter().enumerate() {
            timers.set(timer, Time(place as u64));
        }
        for (place, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timers.at(timer), Some(Time(place as u64)));
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

    #[test]
    fn nothing_is_held_for_timers_that_do_not_run() {
        let mut timers = Timers::default();
        for timer in Timer::ALL {
            timers.set(timer, Time::NEVER);
            assert_eq!(timers, Timers::default(), "{timer:?}");
            timers.set(timer, Time(7));
            timers.stop(timer);
            assert_eq!(timers, Timers::default(), "{timer:?}");
        }
    }
}
