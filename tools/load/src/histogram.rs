//! Percentiles of times, to within a hundredth, in a few kilobytes.

/// Steps between a power of two and the next.
const STEPS: u64 = 128;

/// Counts nanoseconds in buckets that grow with the value.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; (64 * STEPS) as usize], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one time.
    pub(crate) fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What was counted: the largest microseconds of a bucket, and how many fell into it.
    pub(crate) fn buckets_us(&self) -> impl Iterator<Item = (f64, u64)> {
        let us = |bucket| upper(bucket as u64) as f64 / 1000.0;
        self.buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(at, count)| (us(at), *count))
    }

    /// The time in microseconds that this share (0 to 1) did not exceed.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper(bucket as u64).min(self.max) as f64 / 1000.0;
            }
        }
        self.max as f64 / 1000.0
    }
}

/// Exact below `STEPS`; above it, the power of two and the seven bits behind the first one.
fn bucket(ns: u64) -> usize {
    let shift = ns.max(1).ilog2().saturating_sub(STEPS.ilog2());
    (u64::from(shift) * STEPS + (ns >> shift)) as usize
}

/// The largest time of a bucket.
fn upper(bucket: u64) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    ((bucket - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_a_hundredth_above_its_times() {
        for ns in (0..100_000).chain((0..40).map(|bits| (1 << bits) + 12_345)) {
            let end = upper(bucket(ns) as u64);
            assert!(end >= ns && end <= ns + ns / 100, "{ns} ends at {end}");
        }
    }

    #[test]
    fn percentiles_of_a_known_row() {
        let mut row = Histogram::default();
        (1..=1000).for_each(|n| row.add(n * 1000));
        assert!((500.0..505.0).contains(&row.percentile_us(0.5)));
        assert!((999.0..=1000.0).contains(&row.percentile_us(0.999)));
        assert_eq!(row.count(), 1000);
        assert_eq!(row.buckets_us().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(row.buckets_us().last().is_some_and(|(us, _)| (1000.0..1010.0).contains(&us)));
    }
}
