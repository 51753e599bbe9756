//! The process's clock: microseconds since it started. Only this file asks the system for the time.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the first call in this process. Monotonic.
pub fn now_us() -> u64 {
    Instant::now().saturating_duration_since(origin()).as_micros() as u64
}

/// The tokio instant that stands for `us` of [`now_us`].
pub fn instant(us: u64) -> tokio::time::Instant {
    // Within a century: tokio's clock cannot count to the end of time.
    tokio::time::Instant::from_std(origin() + Duration::from_micros(us.min(3_155_760_000_000_000)))
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Microseconds of a duration.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
