//! The process's clock: microseconds since the system started. Only this file asks the system for the time.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Microseconds of the system's monotonic clock: the same for all processes of a machine, so that what one of them notes
/// means the same to its successor.
///
/// It is the clock of the runtime's timers, so that a test which pauses those pauses this as well.
pub fn now_us() -> u64 {
    let (origin, origin_us) = origin();
    origin_us + Instant::now().saturating_duration_since(origin).as_micros() as u64
}

/// The instant that stands for `us` of [`now_us`].
pub fn instant(us: u64) -> Instant {
    let (origin, origin_us) = origin();
    // Within a century: tokio's clock cannot count to the end of time.
    origin + Duration::from_micros(us.saturating_sub(origin_us).min(3_155_760_000_000_000))
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Microseconds that this thread has been running on a processor.
pub fn thread_us() -> u64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    micros(Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32))
}

/// Microseconds of a duration.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The first time that anybody asked, on both clocks.
fn origin() -> (Instant, u64) {
    static ORIGIN: OnceLock<(Instant, u64)> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        let now = clock_gettime(ClockId::Monotonic);
        let us = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32);
        // Not the runtime's: a paused one may have run ahead of the others.
        (std::time::Instant::now().into(), micros(us))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_that_of_the_system() {
        let system = || {
            let now = clock_gettime(ClockId::Monotonic);
            now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
        };
        now_us();
        let (before, now, after) = (system(), now_us(), system());
        // The two clocks were not read at the same moment.
        assert!(before <= now + 100_000 && now <= after + 100_000, "{before} {now} {after}");
        let (_, origin_us) = origin();
        assert_eq!(instant(origin_us + 5) - instant(origin_us), Duration::from_micros(5));
        assert_eq!(instant(0), instant(origin_us), "before it began there is nothing to wait for");
    }
}
