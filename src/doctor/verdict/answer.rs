//! Pure: faults of the handshake and its answer.

use super::front;
use super::{Fix, Party, Step, Verdict};
use crate::doctor::facts::{Exchange, Facts};

/// The first fault.
pub(super) fn judge(facts: &Facts) -> Option<Verdict> {
    let handshake = facts.handshake.as_ref()?;
    if handshake.is_open() {
        return None;
    }
    let status = handshake.status?;
    let sentence = format!("The handshake is answered with {status} instead of 101.");
    Some(
        Verdict::new("could-not-tell", Party::Unknown, Step::Handshake, sentence)
            .seen(shown(handshake))
            .fix(Fix::new("the server", "Look into its log at this moment.")),
    )
}

/// An answer in a line.
pub(super) fn shown(answer: &Exchange) -> String {
    let mut line = match answer.status {
        Some(status) => format!(
            "answered HTTP/1.{} {status} {} after {} ms",
            answer.minor.unwrap_or_default(),
            answer.reason.as_deref().unwrap_or_default(),
            answer.ms
        ),
        None if answer.timed_out => format!("no answer within {} ms", answer.ms),
        None => format!("closed without an answer after {} ms", answer.ms),
    };
    let telling = front::telling(answer);
    if !telling.is_empty() {
        line.push_str(&format!(" ({})", telling.join(", ")));
    }
    line
}
