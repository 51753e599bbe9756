//! The live page.

use super::answer::{self, Answer};
use super::ask::Ask;

/// `GET /`.
pub(super) async fn index(_: Ask) -> Answer {
    answer::text("text/html; charset=utf-8", include_str!("index.html"))
}

/// `GET /page.css`.
pub(super) async fn style(_: Ask) -> Answer {
    answer::text("text/css; charset=utf-8", include_str!("page.css"))
}

/// `GET /page.js`.
pub(super) async fn script(_: Ask) -> Answer {
    answer::text("text/javascript; charset=utf-8", include_str!("page.js"))
}
