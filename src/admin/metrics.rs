//! `GET /metrics`: what the process has counted, as Prometheus reads it.

use super::answer::{self, Answer};
use super::ask::Ask;
use crate::scrape;

/// Answers.
pub(super) async fn render(ask: Ask) -> Answer {
    answer::text(scrape::CONTENT_TYPE, scrape::text(&scrape::gather(&ask.service).await))
}
