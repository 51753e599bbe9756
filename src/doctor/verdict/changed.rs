//! Pure: handshakes that are answered with 101 once one thing about them is changed.

use super::answer::shown;
use super::front::{self, Front};
use super::refused::{evidence, make};
use super::{Fix, Party, Verdict, remedy};
use crate::doctor::facts::{Exchange, Facts};
use crate::doctor::target::Target;

/// As many changed handshakes that succeed show that it is not the change that helped.
const BY_CHANCE: usize = 4;

/// A change of one thing that helped.
pub(super) fn changed(facts: &Facts, target: &Target) -> Option<Verdict> {
    let handshake = facts.handshake.as_ref()?;
    let helped: Vec<_> = facts.variations.iter().filter(|one| one.answer.is_open()).collect();
    let first = helped.first()?;
    if helped.len() >= BY_CHANCE.min(facts.variations.len()) {
        let sentence = format!(
            "The same handshake sometimes works and sometimes does not ({} of {} repeated ones did): one of several \
             servers behind is wrong.",
            helped.len(),
            facts.variations.len()
        );
        return Some(make("flapping", Party::Server, sentence).seen_all(evidence(handshake)).fix(Fix::new(
            "the proxy",
            "Ask each server of the group directly (doctor URL --resolve HOST:PORT:ADDRESS), and repair or take out the \
             one that refuses.",
        )));
    }
    let proof = format!("{}: {}", first.what, shown(&first.answer));
    let front = front::front(facts);
    let verdict = match first.id.as_str() {
        "no-origin" => origin_refused(facts, front),
        "version-8" => wrong_version(handshake),
        "subprotocols" => {
            let chosen = first.answer.header("sec-websocket-protocol").unwrap_or("one of its own");
            make(
                "subprotocol-needed",
                Party::Client,
                format!(
                    "The server refuses a handshake that offers no subprotocol; with \"{chosen}\" it agrees."
                ),
            )
            .fix(
                Fix::new("the page", "Offer it.")
                    .lines(&format!("new WebSocket(\"{target}\", [\"{chosen}\"])")),
            )
            .fix(Fix::new(
                "the proxy",
                "If the page does offer it, the proxy takes Sec-WebSocket-Protocol away: remove that.",
            ))
        }
        "no-subprotocol" => make(
            "subprotocol-wrong",
            Party::Client,
            format!(
                "The server refuses the subprotocol that is offered ({}).",
                facts.subprotocols.join(", ")
            ),
        )
        .fix(
            Fix::new("the page", "Offer what the server speaks, or nothing.")
                .lines(&format!("new WebSocket(\"{target}\")")),
        ),
        "host-localhost" => host_refused(target, front),
        other => {
            let header = match other {
                "no-extensions" => "Sec-WebSocket-Extensions",
                "browser-name" => "User-Agent",
                _ => "Connection",
            };
            make(
                "header-refused",
                Party::Server,
                format!(
                    "The handshake is refused because of its header {header}; {} it is taken.",
                    first.what
                ),
            )
            .fix(Fix::new(
                "the server, or a filter in front",
                format!("Correct the rule that looks at {header}: what was sent is what browsers send."),
            ))
        }
    };
    Some(verdict.seen_all(evidence(handshake)).seen(proof))
}

pub(super) fn origin_refused(facts: &Facts, front: Option<Front>) -> Verdict {
    let origin = facts.origin.as_deref().unwrap_or_default();
    let verdict = make(
        "origin-refused",
        Party::Server,
        format!("The server refuses pages of {origin}: without the header Origin it agrees."),
    )
    .fix(Fix::new("the server", "Add the page's origin to those that may open a WebSocket.").lines(origin));
    let verdict = match front {
        Some(Front::Longwire) => verdict.fix(
            Fix::new("Longwire", "If the proxy is who refuses, add it there.")
                .lines(&format!("websocket_origins {origin};")),
        ),
        _ => verdict,
    };
    let verdict = if facts.own_origin { verdict.fix(remedy::host(front)) } else { verdict };
    verdict.fix(Fix::new(
        "the page",
        "If another page is meant to be refused, all is well: try with --origin as that page has it.",
    ))
}

pub(super) fn host_refused(target: &Target, front: Option<Front>) -> Verdict {
    let host = &target.host;
    make(
        "host-refused",
        Party::Server,
        format!("The server does not answer for the name {host}: as localhost it agrees."),
    )
    .fix(Fix::new("the server", "Allow the name.").lines(&format!(
        "Vite:    server: {{ allowedHosts: [\"{host}\"] }}\nwebpack: devServer: {{ allowedHosts: [\"{host}\"] }}\n\
         Django:  ALLOWED_HOSTS = [\"{host}\"]"
    )))
    .fix(remedy::host(front))
}

pub(super) fn wrong_version(handshake: &Exchange) -> Verdict {
    let spoken: Vec<&str> = handshake.all("sec-websocket-version").collect();
    let spoken = if spoken.is_empty() { "another".into() } else { spoken.join(", ") };
    make(
        "wrong-version",
        Party::Server,
        format!("The server speaks version {spoken} of the protocol; browsers speak 13 (RFC 6455)."),
    )
    .fix(Fix::new(
        "the server",
        "Replace its WebSocket library: version 13 has been the only one since 2011.",
    ))
}

/// The handshake of one browser works, that of another does not.
pub(super) fn of_another_browser(facts: &Facts) -> Option<Verdict> {
    let one = facts.variation("keep-alive")?;
    let works = facts.handshake.as_ref().is_some_and(Exchange::is_open);
    // A limit that is reached, or a server that fails, says nothing about a header.
    let refused = one.answer.status.is_some_and(|status| (200..500).contains(&status) && status != 429);
    if !works || !refused {
        return None;
    }
    Some(
        make(
            "header-refused",
            Party::Proxy,
            "The handshake of Chrome works and that of Firefox is refused: something compares the header Connection as a \
             text, where it is a list.",
        )
        .seen(format!("with Connection: Upgrade it works; {}: {}", one.what, shown(&one.answer)))
        .fix(
            Fix::new("Caddy", "Match it as one word of several.")
                .lines("@websocket {\n    header Connection *Upgrade*\n    header Upgrade websocket\n}"),
        )
        .fix(Fix::new("HAProxy", "Match it as one word of several.").lines("acl websocket hdr(Connection) -i upgrade"))
        .fix(Fix::new("the server", "Split the header at its commas, and compare without case (RFC 6455 section 4.2.1).")),
    )
}
