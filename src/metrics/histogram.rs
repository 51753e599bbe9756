//! Pure: how often something took how long.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds for round trips, in microseconds: from one machine to the other end of a poor mobile network.
pub const ROUND_TRIP_BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// Upper bounds for lifetimes of tunnels, in microseconds: the timers of the field (60 s, 100 s, 350 s, 600 s) have
/// bounds right above them, so that a peak there is seen.
pub const DURATION_BOUNDS: [u64; 14] = [
    1_000_000,
    5_000_000,
    15_000_000,
    30_000_000,
    58_000_000,
    65_000_000,
    105_000_000,
    190_000_000,
    360_000_000,
    620_000_000,
    1_800_000_000,
    7_200_000_000,
    28_800_000_000,
    86_400_000_000,
];

/// Round trips.
pub type RoundTrips = Histogram<14>;
/// Lifetimes.
pub type Durations = Histogram<14>;

/// Counts values by upper bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    /// Those above all bounds.
    above: AtomicU64,
    /// All values together.
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// Each upper bound, with how many values are not above it.
    pub cumulative: Vec<(u64, u64)>,
    /// How many values there are.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// An empty one. The bounds rise.
    pub const fn new(bounds: &'static [u64; N]) -> Histogram<N> {
        let counts = [const { AtomicU64::new(0) }; N];
        Histogram { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(at).unwrap_or(&self.above).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// What was counted so far. The sum may be some values ahead or behind.
    pub fn read(&self) -> Buckets {
        let mut count = 0;
        let mut below = |counted: &AtomicU64| {
            count += counted.load(Relaxed);
            count
        };
        let cumulative =
            self.bounds.iter().zip(&self.counts).map(|(bound, counted)| (*bound, below(counted))).collect();
        let count = below(&self.above);
        Buckets { cumulative, count, sum: self.sum.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_below_every_bound_that_is_not_below_it() {
        let histogram = Histogram::new(&[10, 20, 30]);
        [5, 10, 11, 30, 31, 1000].into_iter().for_each(|value| histogram.observe(value));
        let read = histogram.read();
        assert_eq!(read.cumulative, [(10, 2), (20, 3), (30, 4)]);
        assert_eq!((read.count, read.sum), (6, 1087));
    }

    #[test]
    fn bounds_rise() {
        assert!(ROUND_TRIP_BOUNDS.is_sorted() && DURATION_BOUNDS.is_sorted());
    }
}
