//! Pure: which server a handshake gets to, and in which HTTP.

use std::collections::HashMap;

use crate::diagnostic::Severity::{Error, Warning};

use super::super::listen::{Listen, listens, names};
use super::super::site::Site;
use super::super::{Found, Rule};

pub(super) const RULES: &[&Rule] = &[&SERVER_SHADOWED, &HTTP2_ONLY];

static SERVER_SHADOWED: Rule = Rule {
    id: "server-shadowed",
    severity: Error,
    summary: "A server with WebSockets never gets a request, because an earlier one has its address and names",
    why: "Of two servers with the same `listen` and the same `server_name` nginx takes the first and ignores the other; its log says \
`conflicting server name ... ignored`, as a warning that is easily missed. (A warning here where the first has WebSockets as well.)",
    ignore: "Never: one of the two has no effect.",
    find: server_shadowed,
};

static HTTP2_ONLY: Rule = Rule {
    id: "http2-only",
    severity: Error,
    summary: "A server with WebSockets can be spoken to in HTTP/2 or HTTP/3 only",
    why: "nginx has no WebSockets over HTTP/2 or HTTP/3 (the extended CONNECT of RFC 8441 and RFC 9220), so a client needs HTTP/1.1. On \
`listen 443 ssl http2` a browser simply opens another connection in HTTP/1.1, and all is well. But a port with `http2` and without `ssl` \
takes nothing but HTTP/2 before nginx 1.25.1, and one with `quic` nothing but HTTP/3.",
    ignore: "nginx is 1.25.1 or newer: there a plain port with `http2` takes HTTP/1.1 as well.",
    find: http2_only,
};

fn server_shadowed(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut first: HashMap<(String, String), usize> = HashMap::new();
    for (server, block) in site.named("server") {
        let (asked, names) = (listens(site, server), names(site, server));
        let pairs =
            asked.iter().flat_map(|listen| names.iter().map(|name| (listen.address.clone(), name.clone())));
        let takers: Vec<usize> = pairs.map(|pair| *first.entry(pair).or_insert(server)).collect();
        let Some(&taker) = takers.first().filter(|_| takers.iter().all(|taker| *taker != server)) else {
            continue;
        };
        if !site.carrying.contains(&server) {
            continue;
        }
        let (_, line, _) = site.sources.locate(site.blocks[taker].span());
        let message =
            format!("this server never gets a request: the one of line {line} has its address and its names");
        let severity = if site.carrying.contains(&taker) { Warning } else { Error };
        found.push(Found::new(block.span(), "", message).severity(severity));
    }
    found
}

fn http2_only(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    // What is said of an address anywhere holds for all servers at it.
    let anywhere = |address: &str, parameter: &str| {
        let mut all = site.listens.get(address).into_iter().flatten();
        all.any(|listen| !listen.has("quic") && listen.has(parameter))
    };
    for (server, block) in site.named("server") {
        let asked = listens(site, server);
        let is_shut = |listen: &Listen<'_>| {
            listen.has("quic") || (anywhere(&listen.address, "http2") && !anywhere(&listen.address, "ssl"))
        };
        if !asked.iter().all(is_shut) || !site.carrying.contains(&server) {
            continue;
        }
        let message = if asked.iter().all(|listen| listen.has("quic")) {
            "HTTP/3 alone has no WebSockets in nginx: a \"listen\" with \"ssl\" is missing"
        } else {
            "before nginx 1.25.1 this port takes HTTP/2 only, in which nginx has no WebSockets"
        };
        let span = asked.iter().find_map(|listen| listen.said).map_or(block.span(), |said| said.span);
        found.push(Found::new(span, "", message));
    }
    found
}
