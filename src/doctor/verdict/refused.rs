//! Pure: handshakes that are not answered with 101.

use super::answer::{body, shown};
use super::changed::changed;
use super::said::said;
use super::unanswered::{tls_again, unanswered};
use super::{Fix, Party, Step, Verdict, redirect, stripped};
use crate::doctor::facts::{Exchange, Facts, Page};

/// The cause, if there was another answer than 101.
pub(super) fn judge(facts: &Facts) -> Option<Verdict> {
    let handshake = facts.handshake.as_ref().filter(|handshake| handshake.status != Some(101))?;
    let target = facts.target.as_ref()?;
    let verdict = tls_again(facts, handshake, target)
        .or_else(|| handshake.status.is_none().then(|| unanswered(facts, handshake, target)))
        .or_else(|| redirect::judge(facts, handshake, target))
        .or_else(|| changed(facts, target))
        .or_else(|| said(facts, handshake, target))
        .or_else(|| stripped::judge(facts, handshake, target))
        .unwrap_or_else(|| unknown(facts, handshake));
    Some(verdict)
}

pub(super) fn make(id: &'static str, fault_of: Party, sentence: impl Into<String>) -> Verdict {
    Verdict::new(id, fault_of, Step::Handshake, sentence)
}

/// The answer with its body, as evidence.
pub(super) fn evidence(answer: &Exchange) -> Vec<String> {
    std::iter::once(format!("the handshake: {}", shown(answer))).chain(body(answer)).collect()
}

/// Where another path opens a WebSocket.
pub(super) fn elsewhere(facts: &Facts) -> Option<&Page> {
    facts.paths.iter().find(|page| page.answer.is_open())
}

/// Where whoever asks is mended.
pub const CLIENT: &str = "the page or the client";

/// Nothing at this path.
pub(super) fn wrong_path(facts: &Facts, handshake: &Exchange, better: Option<&Page>) -> Verdict {
    let path = &handshake.path;
    let page = facts.page().map(|page| format!("a plain GET at the same path: {}", shown(page)));
    let verdict = match better {
        Some(page) => make(
            "wrong-path",
            Party::Client,
            format!("There is no WebSocket at {path}; there is one at {}.", page.path),
        )
        .fix(Fix::new(CLIENT, "If that is the one that is wanted, ask there.").lines(&page.path)),
        None => make("wrong-path", Party::Client, format!("There is no WebSocket at {path}.")).fix(Fix::new(
            CLIENT,
            "Ask at the path that the server has its WebSocket at; libraries add their own (/socket.io/, /cable, /hub).",
        )),
    };
    let open = better.map(|page| format!("{}: {}", page.path, shown(&page.answer)));
    verdict.seen_all(evidence(handshake)).seen_all(page).seen_all(open).fix(Fix::new(
        "the proxy",
        "If the path is right, the proxy sends it elsewhere: look which location takes it, and whether proxy_pass with a \
         path behind the server's name cuts it (with \"proxy_pass http://app/;\" the location's own path is lost). \
         Asked again with --direct ws://BACKEND/PATH, the doctor tells which of the two it is.",
    ))
}

fn unknown(facts: &Facts, handshake: &Exchange) -> Verdict {
    let status = handshake.status.unwrap_or_default();
    let page = facts.page().map(|page| format!("a plain GET at the same path: {}", shown(page)));
    make(
        "could-not-tell",
        Party::Unknown,
        format!(
            "The handshake is answered with {status} instead of 101, and nothing that was tried shows why."
        ),
    )
    .seen_all(evidence(handshake))
    .seen_all(page)
    .fix(Fix::new("the server", "Look into its log, and the proxy's, at this moment."))
}
