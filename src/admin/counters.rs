//! `GET /api/counters`: what the process has counted, as JSON.

use serde_json::json;

use super::answer::{self, Answer};
use super::ask::Ask;

/// Answers.
pub(super) async fn show(ask: Ask) -> Answer {
    answer::json(&json!({ "open": ask.service.tunnels.count() }))
}
