//! The process's clock: microseconds since it started. Only this file asks the system for the time.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Microseconds since the first call in this process. Monotonic.
///
/// It is the clock of the runtime's timers, so that a test which pauses those pauses this as well.
pub fn now_us() -> u64 {
    Instant::now().saturating_duration_since(origin()).as_micros() as u64
}

/// The instant that stands for `us` of [`now_us`].
pub fn instant(us: u64) -> Instant {
    // Within a century: tokio's clock cannot count to the end of time.
    origin() + Duration::from_micros(us.min(3_155_760_000_000_000))
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
    // Not the runtime's: a paused one may have run ahead of the others.
    *ORIGIN.get_or_init(|| std::time::Instant::now().into())
}
