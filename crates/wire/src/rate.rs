//! How much an end may send in a time: a leaky bucket of frames and one of bytes.

use crate::timer::Time;

/// Billionths in a frame, so that a rate in thousandths of frames leaks without a rest in every microsecond.
const FRAME: u64 = 1_000_000_000;
/// Millionths in a byte.
const BYTE: u64 = 1_000_000;

/// What an end may send.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Thousandths of frames in a second, on average. Control frames count too, but a Close and answers to our pings.
    pub frames_milli: u64,
    /// Frames that may be ahead of that.
    pub burst: u64,
    /// Bytes of payload in a second, and at once; `u64::MAX` for no limit.
    pub bytes: u64,
}

/// What an end has sent lately.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bucket {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// When that was so.
    pub(crate) at: Time,
}

impl Bucket {
    pub(crate) fn new(now: Time) -> Bucket {
        Bucket { frames: 0, bytes: 0, at: now }
    }

    /// A frame with a payload of so many bytes begins: whether it keeps to the rate.
    pub(crate) fn take(&mut self, rate: &Rate, bytes: u64, now: Time) -> bool {
        let us = now.since(self.at);
        self.at = self.at.max(now);
        let level = |level: u64, leak: u64, more: u64| {
            level.saturating_sub(leak.saturating_mul(us)).saturating_add(more)
        };
        self.frames = level(self.frames, rate.frames_milli, FRAME);
        self.bytes = level(self.bytes, rate.bytes, bytes.saturating_mul(BYTE));
        self.frames <= rate.burst.saturating_add(1).saturating_mul(FRAME)
            && self.bytes <= rate.bytes.saturating_mul(BYTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { frames_milli: 10_000, burst: 2, bytes: u64::MAX };

    #[test]
    fn frames_may_come_a_burst_ahead() {
        let mut bucket = Bucket::new(Time(0));
        let mut take = |us| bucket.take(&RATE, 0, Time(us));
        assert_eq!([0, 0, 0, 0].map(&mut take), [true, true, true, false]);
        // What was refused counts as well: it ends the tunnel.
        assert_eq!([100_000, 500_000].map(take), [false, true]);
    }

    /// However short the pieces of time are, none is lost.
    #[test]
    fn time_adds_up() {
        let slow = Rate { frames_milli: 16, burst: 9, bytes: u64::MAX };
        let mut bucket = Bucket::new(Time(0));
        (0..5).for_each(|_| assert!(bucket.take(&slow, 0, Time(0))));
        for us in 1..=1000 {
            bucket.frames -= FRAME;
            assert!(bucket.take(&slow, 0, Time(us)));
        }
        assert_eq!(bucket.frames, 5 * FRAME - 16 * 1000);
    }

    #[test]
    fn bytes_have_a_rate_of_their_own() {
        let rate = Rate { frames_milli: 1_000_000, burst: 1000, bytes: 1000 };
        let mut bucket = Bucket::new(Time(0));
        let mut take = |us, bytes| bucket.take(&rate, bytes, Time(us));
        assert!(take(0, 600) && take(0, 400) && take(500_000, 500) && take(600_000, 100));
        assert!(!take(600_000, 1));
        assert!(!Bucket::new(Time(0)).take(&rate, u64::MAX, Time(0)));
        let unlimited = Rate { bytes: u64::MAX, ..rate };
        assert!(Bucket::new(Time(0)).take(&unlimited, u64::MAX, Time(0)));
    }
}
