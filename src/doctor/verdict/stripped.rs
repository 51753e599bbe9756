//! Pure: a proxy that does not pass the handshake on, against a path where no WebSocket is. Both look alike from outside:
//! an ordinary answer to an ordinary request.

use super::answer::shown;
use super::front::{self, Front};
use super::refused::{evidence, make, wrong_path};
use super::{Fix, Party, Verdict, remedy};
use crate::doctor::facts::{Exchange, Facts};
use crate::doctor::target::Target;

/// What servers say that got a request without Upgrade where they expect one.
const WORDS: &[&str] = &[
    "upgrade required",
    "upgrade header",
    "connection header",
    "upgrade only to",
    "not a websocket",
    "missing upgrade",
    "'upgrade' token",
    "not using the websocket protocol",
    "expected websocket",
    "websocket upgrade",
    "websocket handshake",
    "websocket server",
    "websocket connection",
    "websocket request",
    "websocket client",
    "connection id required",
    "must be \"upgrade\"",
    "must be \"websocket\"",
];

/// One of both.
pub(super) fn judge(facts: &Facts, handshake: &Exchange, target: &Target) -> Option<Verdict> {
    let status = handshake.status?;
    let front = front::front(facts);
    let like_page = facts.page().is_some_and(|page| page.is_like(handshake));
    let elsewhere = facts.paths.iter().find(|page| page.answer.is_open());
    let stripped = || upgrade_stripped(facts, handshake, target, front);
    Some(match status {
        426 => stripped(),
        505 => stripped(),
        400 if complains(handshake, target) => stripped(),
        _ if elsewhere.is_some() => wrong_path(facts, handshake, elsewhere),
        200..=299 if is_page(handshake) && facts.nowhere().is_some_and(|page| page.is_like(handshake)) => {
            page_fallback(facts, handshake)
        }
        // The server knows the path for plain requests, and treated the handshake as one.
        200..=299 if like_page && front.is_some_and(drops_by_itself) => stripped(),
        200..=299 if is_page(handshake) => page_fallback(facts, handshake),
        200..=299 => wrong_path(facts, handshake, None),
        404 | 405 | 410 if front::wrote(handshake) => wrong_path(facts, handshake, None),
        404 | 405 | 410 if like_page && front.is_some_and(drops_by_itself) => stripped(),
        404 | 405 | 410 => wrong_path(facts, handshake, None),
        400 if facts.page().is_some_and(|page| page.status == Some(426)) => {
            wrong_path(facts, handshake, None)
        }
        400 if like_page && front.is_some_and(drops_by_itself) => stripped(),
        _ => return None,
    })
}

/// Proxies that pass no upgrade on unless they are told to.
fn drops_by_itself(front: Front) -> bool {
    matches!(
        front,
        Front::Nginx | Front::Apache | Front::Envoy | Front::Varnish | Front::Iis | Front::Aws | Front::Azure
    )
}

fn complains(handshake: &Exchange, target: &Target) -> bool {
    let text = handshake.body.to_ascii_lowercase();
    // engine.io's words for a transport that does not fit the request.
    let engine = text.contains("\"code\":3") && target.path.contains("transport=websocket");
    engine || WORDS.iter().any(|word| text.contains(word))
}

fn is_page(answer: &Exchange) -> bool {
    let html = answer.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
    let start = answer.body.trim_start().get(..15).unwrap_or_default().to_ascii_lowercase();
    html || start.starts_with("<!doctype html") || start.starts_with("<html")
}

fn upgrade_stripped(facts: &Facts, handshake: &Exchange, target: &Target, front: Option<Front>) -> Verdict {
    let name = front.map_or("a proxy", Front::name);
    let sentence = match handshake.status {
        Some(505) => format!(
            "The server gets the handshake in HTTP/1.0: {name} in front does not pass it on as HTTP/1.1."
        ),
        _ => format!(
            "The server does not see that a WebSocket is wanted: {name} in front does not pass the headers Upgrade and \
             Connection on."
        ),
    };
    let page = facts.page().filter(|page| page.is_like(handshake));
    let same = page.map(|_| {
        "a plain GET at the same path gets the very same answer: the server saw no difference".to_owned()
    });
    let hedge = (!complains(handshake, target) && !matches!(handshake.status, Some(426 | 505))).then(|| {
        "a server that has no WebSocket at this path would look the same from outside: ask it directly to be sure".to_owned()
    });
    make("upgrade-stripped", Party::Proxy, sentence)
        .seen_all(evidence(handshake))
        .seen_all(same)
        .seen_all(hedge)
        .fixes(remedy::upgrade(front, target))
}

fn page_fallback(facts: &Facts, handshake: &Exchange) -> Verdict {
    let path = &handshake.path;
    let nowhere = facts.nowhere().filter(|page| page.is_like(handshake));
    let proof = nowhere
        .map(|page| format!("a path that cannot exist ({}) gets the same page: {}", page.path, shown(page)));
    make(
        "page-fallback",
        Party::Proxy,
        format!("The handshake at {path} gets the application's page: what answers for unknown paths took it, no WebSocket server."),
    )
    .seen_all(evidence(handshake))
    .seen_all(proof)
    .fix(
        Fix::new("nginx", "Send the path to the server of the WebSocket, beside the location that has try_files.").lines(&format!(
            "location {path} {{\n    proxy_pass http://127.0.0.1:3000;\n    proxy_http_version 1.1;\n    \
             proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection upgrade;\n    \
             proxy_set_header Host $http_host;\n}}"
        )),
    )
    .fix(Fix::new("Caddy", "Send the path to the server of the WebSocket before files are tried.").lines(&format!(
        "handle {path}* {{\n    reverse_proxy 127.0.0.1:3000\n}}"
    )))
    .fix(Fix::new("the page or the client", "If the WebSocket is at another path, ask there."))
}
