//! Pure: what tunnels have carried, added up.

use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use longwire_wire::{SideStats, Stats};

use super::table::Place;

/// All tunnels at a moment, and what they and those before them have carried in this process.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// What was carried. It never falls.
    pub traffic: Traffic,
    /// How many of the open tunnels are about to end.
    pub closing: usize,
    /// How many are open on each way. A way may stand here more than once.
    pub places: Vec<(Arc<Place>, usize)>,
    /// Of each pump: its tunnels, and the microseconds that its thread has been busy.
    pub pumps: Vec<(usize, u64)>,
}

/// What came from both ends, by [`Side::index`](longwire_wire::Side::index).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic(pub [Carried; 2]);

/// What came from one end. Sums wrap, so that a part can be taken off before the whole is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Messages.
    pub messages: u64,
    /// Bytes, frames and all.
    pub bytes: u64,
    /// Pings that were sent to it.
    pub pings: u64,
    /// Answers to these.
    pub pongs: u64,
}

impl Traffic {
    /// Adds what a tunnel has carried.
    #[inline]
    pub(super) fn add(&mut self, stats: &Stats) {
        *self += Traffic::from(stats);
    }

    fn with(&mut self, other: &Traffic, work: impl Fn(u64, u64) -> u64) {
        for (sum, part) in self.0.iter_mut().zip(&other.0) {
            sum.messages = work(sum.messages, part.messages);
            sum.bytes = work(sum.bytes, part.bytes);
            sum.pings = work(sum.pings, part.pings);
            sum.pongs = work(sum.pongs, part.pongs);
        }
    }
}

impl From<&Stats> for Traffic {
    fn from(stats: &Stats) -> Traffic {
        let of = |stats: &SideStats| Carried {
            messages: stats.messages,
            bytes: stats.bytes,
            pings: stats.pings.into(),
            pongs: stats.pongs.into(),
        };
        Traffic([of(&stats.client), of(&stats.backend)])
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.with(&other, u64::wrapping_add);
    }
}

impl SubAssign for Traffic {
    fn sub_assign(&mut self, other: Traffic) {
        self.with(&other, u64::wrapping_sub);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.traffic += other.traffic;
        self.closing += other.closing;
        self.places.extend(other.places);
        self.pumps.extend(other.pumps);
    }
}
