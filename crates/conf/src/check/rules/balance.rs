//! Pure: several servers behind one name.

use std::collections::HashSet;

use crate::diagnostic::Severity::{Error, Note, Warning};
use crate::source::Span;
use crate::tree::Directive;

use super::super::eval::{self, Request};
use super::super::fix;
use super::super::road::{App, Carries, Road, label};
use super::super::site::{Block, Site};
use super::super::{Edit, Found, Rule};
use super::timers::worth_a_word;

pub(super) const RULES: &[&Rule] = &[&SOCKETIO_NO_STICKINESS, &NO_STICKINESS, &KEEPALIVE_ENDED];

static SOCKETIO_NO_STICKINESS: Rule = Rule {
    id: "socketio-no-stickiness",
    severity: Error,
    summary: "Socket.IO goes to several servers in turn",
    why: "Socket.IO begins with polling: the first request gets a session id, which only the server that gave it knows. The next request, and \
the handshake, must reach the same server; elsewhere they get 400 `Session ID unknown`. `ip_hash`, or `hash` of something that stays the \
same for a client, sees to that.",
    ignore: "All clients are made with `transports: [\"websocket\"]`, so that no polling comes first.",
    find: socketio_no_stickiness,
};

static NO_STICKINESS: Rule = Rule {
    id: "no-stickiness",
    severity: Note,
    summary: "A client that reconnects may reach another server",
    why: "An open WebSocket stays where it is. When it breaks, the next one goes to whichever server is next, which knows nothing of the \
first. SockJS and SignalR ask over HTTP before the handshake, and need the same server for both (a warning there).",
    ignore: "The servers share what they know of a client, or need to know nothing.",
    find: no_stickiness,
};

static KEEPALIVE_ENDED: Rule = Rule {
    id: "keepalive-ended",
    severity: Note,
    summary: "`keepalive` has no effect, because ordinary requests say `Connection: close`",
    why: "The `map` that many guides give sends `close` where no upgrade is asked for. The backend then closes each connection after one \
answer, and `keepalive` in the `upstream` keeps nothing. An empty value sends no `Connection` at all, which in HTTP/1.1 means to keep it.",
    ignore: "The location serves WebSockets only.",
    find: keepalive_ended,
};

/// Servers of a group that get requests as long as all are well.
pub(super) fn servers<'t>(block: &Block<'t>) -> Vec<&'t Directive> {
    let is_out = |server: &&Directive| {
        !server.args.iter().any(|word| matches!(word.value.as_str(), "down" | "backup"))
    };
    block.all("server").filter(is_out).collect()
}

/// Whether a group brings a client back to the same server; an unknown way counts as one.
fn is_sticky(block: &Block<'_>) -> bool {
    if ["ip_hash", "sticky", "sticky_cookie_insert", "include"].iter().any(|name| block.own(name).is_some()) {
        return true;
    }
    let Some(key) = block.own("hash").and_then(|hash| hash.args.first()) else {
        return block.items.iter().any(|item| item.name.value.ends_with("_by_lua_block"));
    };
    // These differ between the requests of one client.
    let moving = |name: &&str| {
        matches!(
            *name,
            "request_uri"
                | "uri"
                | "args"
                | "query_string"
                | "request_id"
                | "arg_sid"
                | "msec"
                | "document_uri"
        )
    };
    !eval::variables(&key.value).iter().any(moving)
}

/// Groups of several servers without stickiness, with the roads to them.
fn scattered<'s, 't>(site: &'s Site<'t>) -> impl Iterator<Item = (&'s Road<'t>, &'s Block<'t>)> {
    let roads = worth_a_word(site).filter_map(|road| Some((road, &site.blocks[road.target.group?])));
    roads.filter(|(_, group)| servers(group).len() > 1 && !is_sticky(group))
}

/// `ip_hash`, in place of another method.
fn stick(site: &Site<'_>, group: &Block<'_>) -> Vec<Edit> {
    if group.all("server").any(|server| server.args.iter().any(|word| word.value == "backup")) {
        // No method that sticks may stand beside a backup.
        return Vec::new();
    }
    let method = ["least_conn", "random", "least_time", "hash"].iter().find_map(|name| group.own(name));
    match (method, group.items.first()) {
        (Some(method), _) => vec![fix::replace(method.span, "ip_hash")],
        (None, Some(first)) => vec![fix::above(site, first, &["ip_hash;".to_owned()])],
        (None, None) => Vec::new(),
    }
}

fn name(group: &Block<'_>) -> (String, Span) {
    let name = group.head.and_then(|head| head.args.first());
    (name.map_or_else(String::new, |word| word.value.clone()), group.span())
}

fn socketio_no_stickiness(site: &Site<'_>) -> Vec<Found> {
    let roads = scattered(site).filter(|(road, _)| road.app == App::SocketIo);
    let found = roads.map(|(road, group)| {
        let (name, span) = name(group);
        let message = format!(
            "Socket.IO goes to the {} servers of \"{name}\" in turn: 400 \"Session ID unknown\"",
            servers(group).len()
        );
        Found::new(span, format!("asked by {}", label(site, road.location)), message).fix(stick(site, group))
    });
    found.collect()
}

fn no_stickiness(site: &Site<'_>) -> Vec<Found> {
    let socketio = scattered(site).filter(|(road, _)| road.app == App::SocketIo);
    let told: HashSet<Option<usize>> = socketio.map(|(road, _)| road.target.group).collect();
    let roads = scattered(site).filter(|(road, _)| !told.contains(&road.target.group));
    let found = roads.map(|(road, group)| {
        let (name, span) = name(group);
        let (asks, severity) = match road.app {
            App::SockJs => ("SockJS asks over HTTP first, and may reach another server then", Warning),
            App::SignalR => {
                ("SignalR negotiates over HTTP first, and may reach another server then", Warning)
            }
            _ => ("a client that reconnects may reach another server", Note),
        };
        let message = format!("the servers of \"{name}\" are taken in turn: {asks}");
        let label = format!("asked by {}", label(site, road.location));
        Found::new(span, label, message).severity(severity).fix(stick(site, group))
    });
    found.collect()
}

fn keepalive_ended(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.carries == Carries::Declared) {
        let Some(kept) = road.target.group.and_then(|group| site.blocks[group].own("keepalive")) else {
            continue;
        };
        let (Some(header), Some(typed)) = (road.header("Connection"), road.header_value("Connection")) else {
            continue;
        };
        let sent = eval::value(site, road.block, typed, Request::Ordinary);
        if !sent.is_some_and(|sent| sent.eq_ignore_ascii_case("close"))
            || super::super::road::is_only_for_websockets(site, road.location)
        {
            continue;
        }
        let (_, line, _) = site.sources.locate(kept.span);
        let message = format!(
            "ordinary requests say \"Connection: close\", so that \"keepalive\" (line {line}) keeps nothing"
        );
        let edit = empty_entry(site, typed).map(|span| fix::replace(span, "''"));
        found.push(Found::new(header.span, label(site, road.block), message).fix(edit));
    }
    found
}

/// The value that a map has for nothing, if the header is a variable of it.
fn empty_entry(site: &Site<'_>, typed: &str) -> Option<Span> {
    let (_, map) = site.named("map").find(|(_, map)| {
        map.head.and_then(|head| head.args.get(1)).is_some_and(|word| word.value == typed)
    })?;
    let entry = map.items.iter().find(|entry| entry.name.value.is_empty())?;
    entry.args.first().map(|word| word.span)
}
