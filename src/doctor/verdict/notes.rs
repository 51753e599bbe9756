//! Pure: what breaks nothing and is worth knowing.

use super::{Fix, Party, Step, Verdict};
use crate::doctor::facts::{Facts, Outcome};

/// Days before its end at which a certificate is worth a word.
const SOON: u64 = 14;
/// A handshake that takes longer is slow, in milliseconds.
const SLOW: u64 = 1_000;

/// All of them.
pub(super) fn of(facts: &Facts) -> Vec<Verdict> {
    [certificate(facts), slow(facts), http2(facts), message(facts), origin(facts)]
        .into_iter()
        .flatten()
        .collect()
}

fn certificate(facts: &Facts) -> Option<Verdict> {
    let tls = facts.tls.as_ref().filter(|tls| tls.mistrust.is_none())?;
    let leaf = tls.chain.first().filter(|leaf| leaf.days_left < SOON)?;
    let sentence = format!("The certificate ends in {} days ({}).", leaf.days_left, leaf.ends);
    Some(
        Verdict::new("certificate-expires-soon", Party::Certificate, Step::Tls, sentence)
            .fix(Fix::new("the server", "Renew it.").lines("certbot renew")),
    )
}

fn slow(facts: &Facts) -> Option<Verdict> {
    let handshake =
        facts.handshake.as_ref().filter(|handshake| handshake.is_open() && handshake.ms > SLOW)?;
    let sentence =
        format!("The handshake takes {} ms: users wait that long for each reconnect.", handshake.ms);
    Some(Verdict::new("slow-handshake", Party::Server, Step::Handshake, sentence))
}

fn http2(facts: &Facts) -> Option<Verdict> {
    let works = facts.handshake.as_ref().is_some_and(|handshake| handshake.is_open());
    facts.alpn.iter().find(|one| works && one.extended_connect == Some(false))?;
    Some(Verdict::new(
        "h2-no-websocket",
        Party::None,
        Step::Tls,
        "HTTP/2 is spoken here without WebSockets in it: browsers open an HTTP/1.1 connection for each, which works.",
    ))
}

fn message(facts: &Facts) -> Option<Verdict> {
    let text = facts.session.as_ref()?.trial("text").filter(|text| text.outcome == Outcome::Ended)?;
    let ending = super::messages::shown(text.ending.as_ref()?);
    let sentence = "The server ends the connection on a text that it does not know; large messages, fragments and compression were not tried therefore.";
    Some(Verdict::new("text-not-taken", Party::None, Step::Messages, sentence).seen(ending))
}

fn origin(facts: &Facts) -> Option<Verdict> {
    facts.variation("foreign-origin").filter(|one| one.answer.is_open())?;
    Some(
        Verdict::new(
            "origin-unchecked",
            Party::Server,
            Step::Handshake,
            "Pages of any site may open this WebSocket. If it knows users by cookies, another site can act in their name.",
        )
        .fix(Fix::new("the server", "Compare Origin with the sites that may (in Longwire: websocket_origins).")),
    )
}
