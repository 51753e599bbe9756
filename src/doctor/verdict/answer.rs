//! Pure: what is wrong with a 101.

use super::front;
use super::{Fix, Party, Step, Verdict};
use crate::doctor::facts::{AnswerFault, Exchange, Facts};

/// The first fault of a 101.
pub(super) fn judge(facts: &Facts) -> Option<Verdict> {
    let handshake = facts.handshake.as_ref().filter(|handshake| handshake.status == Some(101))?;
    let verdict = match handshake.answer_fault {
        Some(fault) => wrong(facts, handshake, fault),
        None if handshake.minor == Some(0) => make(
            "answered-http10",
            "The server agrees to the WebSocket in HTTP/1.0, which browsers do not take: it must be HTTP/1.1.",
        )
        .fix(Fix::new("the server", "Answer with the status line of HTTP/1.1.").lines("HTTP/1.1 101 Switching Protocols")),
        None if !facts.subprotocols.is_empty() && handshake.header("sec-websocket-protocol").is_none() => {
            subprotocol_dropped(facts)
        }
        None => return None,
    };
    Some(verdict.seen(shown(handshake)))
}

fn make(id: &'static str, sentence: impl Into<String>) -> Verdict {
    Verdict::new(id, Party::Server, Step::Answer, sentence)
}

fn wrong(facts: &Facts, handshake: &Exchange, fault: AnswerFault) -> Verdict {
    let values = |name| {
        let all: Vec<&str> = handshake.all(name).collect();
        if all.is_empty() { format!("no {name}") } else { format!("{name}: {}", all.join(", ")) }
    };
    let proxy = Fix::new(
        "the proxy",
        "If the server itself answers rightly, something between takes the header away: look for rules that hide or \
         delete headers of the answer (proxy_hide_header, http-response del-header).",
    );
    match fault {
        AnswerFault::Upgrade => make(
            "upgrade-header-wrong",
            format!("The 101 does not say \"Upgrade: websocket\" ({}), so browsers refuse it.", values("Upgrade")),
        )
        .fix(Fix::new("the server", "Answer with this header.").lines("Upgrade: websocket"))
        .fix(proxy),
        AnswerFault::Connection => make(
            "connection-header-wrong",
            format!("The 101 does not say \"Connection: Upgrade\" ({}), so browsers refuse it.", values("Connection")),
        )
        .fix(Fix::new("the server", "Answer with this header.").lines("Connection: Upgrade"))
        .fix(proxy),
        AnswerFault::Accept => make(
            "accept-wrong",
            "The 101 does not answer this handshake: its Sec-WebSocket-Accept does not belong to the key that was sent.",
        )
        .seen(format!(
            "it says {}, and {} was due",
            values("Sec-WebSocket-Accept"),
            handshake.accept_due.as_deref().unwrap_or_default()
        ))
        .fix(Fix::new(
            "the proxy or CDN",
            "Take this path out of the cache, and remove any line that sets Sec-WebSocket-Key: each handshake has a \
             key of its own, and it must reach the server as it is.",
        ))
        .fix(Fix::new("the server", "Compute the value from the key that came (RFC 6455 section 4.2.2), or let a library do it.")),
        AnswerFault::Protocol => make(
            "subprotocol-wrong",
            format!(
                "The server chose a subprotocol that was not offered ({}), so browsers refuse it.",
                values("Sec-WebSocket-Protocol")
            ),
        )
        .seen(format!("offered: {}", if facts.subprotocols.is_empty() { "none".into() } else { facts.subprotocols.join(", ") }))
        .fix(
            Fix::new("the page", "Offer the one that the server speaks.").lines(&format!(
                "new WebSocket(url, [\"{}\"])",
                handshake.header("sec-websocket-protocol").unwrap_or_default()
            )),
        )
        .fix(Fix::new("the server", "Choose one of those that were offered, or send no Sec-WebSocket-Protocol.")),
        AnswerFault::Extension => make(
            "extension-not-offered",
            format!(
                "The server agrees to an extension that was not offered ({}), so browsers refuse it.",
                values("Sec-WebSocket-Extensions")
            ),
        )
        .fix(Fix::new("the server", "Name only extensions that the client offered, and each at most once.")),
    }
}

fn subprotocol_dropped(facts: &Facts) -> Verdict {
    let offered = facts.subprotocols.join(", ");
    make(
        "subprotocol-wrong",
        format!("A subprotocol was offered ({offered}) and the server chose none, so browsers give the connection up."),
    )
    .fix(Fix::new("the server", "Choose one of those that it speaks, and name it in the answer.").lines(&format!(
        "Sec-WebSocket-Protocol: {}",
        facts.subprotocols.first().map_or("", String::as_str)
    )))
    .fix(Fix::new(
        "the proxy",
        "If the server does that when it is asked directly, the proxy takes Sec-WebSocket-Protocol away: remove that.",
    ))
    .fix(Fix::new("the page", "If the server has no subprotocols, offer none.").lines("new WebSocket(url)"))
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
        None => match (&answer.failure, &answer.not_http) {
            (Some(failure), _) => format!("no connection: {failure}"),
            (None, Some(bytes)) => format!("answered with no HTTP: \"{bytes}\""),
            (None, None) if answer.timed_out => format!("no answer within {} ms", answer.ms),
            (None, None) => format!("closed without an answer after {} ms", answer.ms),
        },
    };
    let telling = front::telling(answer);
    if !telling.is_empty() {
        line.push_str(&format!(" ({})", telling.join(", ")));
    }
    line
}

/// The beginning of a body, as a line of evidence.
pub(super) fn body(answer: &Exchange) -> Option<String> {
    let text: String = answer.body.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = text.chars().take(160).collect();
    (!start.is_empty())
        .then(|| format!("its body: {start}{}", if start.len() < text.len() { " ..." } else { "" }))
}
