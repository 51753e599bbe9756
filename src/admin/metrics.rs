//! `GET /metrics`: what the process has counted, as Prometheus reads it.

use super::answer::{self, Answer};
use super::ask::Ask;

/// Answers.
pub(super) async fn render(ask: Ask) -> Answer {
    let open = ask.service.tunnels.count();
    let body = format!(
        "# HELP longwire_tunnels_open Tunnels that are open.\n# TYPE longwire_tunnels_open gauge\nlongwire_tunnels_open {open}\n"
    );
    answer::text("text/plain; version=0.0.4; charset=utf-8", body)
}
