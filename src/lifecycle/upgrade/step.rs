//! The steps of the new process, and a way for tests to stop it there.

use std::io::Write as _;
use std::time::Duration;

/// A moment of the new process, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It was started and has said nothing.
    Start,
    /// It has said Hello.
    Hello,
    /// It has the listening sockets and what belongs to the process.
    State,
    /// It has said Ready.
    Ready,
    /// It holds the tunnels of a batch, and has not said so.
    Batch,
    /// It was told to go, and has not answered.
    Go,
    /// It has said Running, and drives.
    Running,
}

/// Stops here for ever when `LONGWIRE_UPGRADE_HALT` names this step, having said so on standard error. For tests of
/// what the other process does then; not in a release.
pub(super) async fn halt(step: Step) {
    if is_asked(step) {
        std::future::pending().await
    }
}

/// How long to wait for the other process: `usual`, or `LONGWIRE_UPGRADE_PATIENCE` in milliseconds. The latter is for
/// tests, too, and not in a release.
pub(super) fn patience(usual: Duration) -> Duration {
    let asked = std::env::var("LONGWIRE_UPGRADE_PATIENCE").ok().filter(|_| cfg!(debug_assertions));
    asked.and_then(|ms| ms.parse().ok()).map_or(usual, Duration::from_millis)
}

/// [`halt`] where no runtime is there yet.
pub(super) fn halt_now(step: Step) {
    while is_asked(step) {
        std::thread::park();
    }
}

fn is_asked(step: Step) -> bool {
    let name = format!("{step:?}");
    let asked = cfg!(debug_assertions)
        && std::env::var("LONGWIRE_UPGRADE_HALT").is_ok_and(|asked| asked.eq_ignore_ascii_case(&name));
    if asked {
        // In one piece: the other process writes to the same place.
        let line = format!("longwire: upgrade halts at {name}, process {}\n", std::process::id());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    asked
}
