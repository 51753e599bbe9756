//! `GET /api/counters` and `GET /api/history`: what the process has counted, as JSON.

use super::answer::{self, Answer};
use super::ask::Ask;
use crate::scrape;

/// Answers with all counts.
pub(super) async fn show(ask: Ask) -> Answer {
    answer::json(&scrape::gather(&ask.service).await)
}

/// Answers with the last ten minutes.
pub(super) async fn history(_: Ask) -> Answer {
    answer::json(&scrape::HISTORY.points())
}
