//! `GET /api/live`: what happens, over a WebSocket.

use http::StatusCode;

use super::answer::{self, Answer};
use super::ask::Ask;

/// Answers.
pub(super) async fn open(ask: Ask) -> Answer {
    let _ = ask.arrival;
    answer::error(StatusCode::NOT_IMPLEMENTED, "the live view is not there yet")
}
