//! `GET /api`: which process this is.

use serde::Serialize;

use super::answer::{self, Answer};
use super::ask::Ask;
use super::guard::Writing;

#[derive(Serialize)]
struct Overview {
    version: &'static str,
    pid: u32,
    /// Whether things can be changed at this address.
    writing: Writing,
    /// How many are open.
    tunnels: usize,
}

/// Answers.
pub(super) async fn show(ask: Ask) -> Answer {
    answer::json(&Overview {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        writing: ask.writing,
        tunnels: ask.service.tunnels.count(),
    })
}
