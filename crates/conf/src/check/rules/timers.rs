//! Pure: how long a WebSocket may be silent, and what is left of it when nobody answers.

use std::time::Duration;

use crate::diagnostic::Severity::{Note, Warning};
use crate::source::Span;
use crate::value;

use super::super::fix;
use super::super::listen::{Listen, listens};
use super::super::road::{App, Road, is_plain, label, place};
use super::super::site::Site;
use super::super::{Edit, Found, Rule};

pub(super) const RULES: &[&Rule] = &[
    &READ_TIMEOUT_SHORT,
    &DEAD_PEERS_STAY,
    &SHUTDOWN_TIMEOUT_UNSET,
    &SHUTDOWN_TIMEOUT_SHORT,
    &TCP_NODELAY_OFF,
];

static READ_TIMEOUT_SHORT: Rule = Rule {
    id: "read-timeout-short",
    severity: Warning,
    summary: "A WebSocket that is silent for a minute is cut",
    why: "`proxy_read_timeout` (60 s unless said) counts from the last byte that the backend sent, for WebSockets too. When it runs out \
nginx closes both connections without a Close frame, and the browser reports 1006. Socket.IO, SignalR and ActionCable ping oftener than \
that and are not concerned; a WebSocket of your own probably does not.\n\n\
Longwire pings both ends itself, and an end that answers is not silent: there the line does no harm.",
    ignore: "The application sends something, or pings, well within the time.",
    find: read_timeout_short,
};

static DEAD_PEERS_STAY: Rule = Rule {
    id: "dead-peers-stay",
    severity: Note,
    summary: "Nobody notices when the other end of a WebSocket is gone",
    why: "With a long `proxy_read_timeout` a client that vanished without a word (a closed lid, a lost network) keeps its connection, its \
two descriptors and its place at the backend until the time runs out. TCP keepalive finds it within minutes: `listen ... so_keepalive=on` \
towards clients, `proxy_socket_keepalive on` towards backends.\n\n\
Longwire pings both ends itself and ends what no longer answers.",
    ignore: "The application pings, and closes what does not answer.",
    find: dead_peers_stay,
};

static SHUTDOWN_TIMEOUT_UNSET: Rule = Rule {
    id: "shutdown-timeout-unset",
    severity: Note,
    summary: "After each reload the old workers stay as long as their WebSockets do",
    why: "A reload starts new workers; the old ones stay until their last connection has ended, which for WebSockets may be days. Each \
reload leaves another set of them, with all their memory. `worker_shutdown_timeout` sets an end to that, and cuts what is still open then.\n\n\
Longwire keeps WebSockets over a reload in the one process it has.",
    ignore: "Reloads are rare, or memory is plenty.",
    find: shutdown_timeout_unset,
};

static SHUTDOWN_TIMEOUT_SHORT: Rule = Rule {
    id: "shutdown-timeout-short",
    severity: Warning,
    summary: "Each reload cuts all WebSockets shortly afterwards, all at once",
    why: "When `worker_shutdown_timeout` runs out after a reload, the old workers close what is still open: all WebSockets in the same \
moment, without a Close frame, and all clients come back together. A renewed certificate is enough of a reload.",
    ignore: "Clients reconnect by themselves, at random times, and the backend can take them all.",
    find: shutdown_timeout_short,
};

static TCP_NODELAY_OFF: Rule = Rule {
    id: "tcp-nodelay-off",
    severity: Warning,
    summary: "Small messages wait for the acknowledgement of earlier ones",
    why: "With `tcp_nodelay off` a small message is held back while an earlier one is not acknowledged, up to 40 ms and more. WebSocket \
messages are small as a rule. The default is `on`.",
    ignore: "Latency does not matter.",
    find: tcp_nodelay_off,
};

/// nginx's default of `proxy_read_timeout`.
const DEFAULT: Duration = Duration::from_secs(60);
/// A time from which on an end that is gone is a burden.
const LONG: Duration = Duration::from_secs(3600);
/// A WebSocket that is cut so soon after a reload was cut by it.
const SHORT_SHUTDOWN: Duration = Duration::from_secs(300);

/// Roads that are worth a word about how well they carry WebSockets: not those of files and questions, if there are others.
pub(super) fn worth_a_word<'s, 't>(site: &'s Site<'t>) -> impl Iterator<Item = &'s Road<'t>> {
    let carrying = || site.roads.iter().filter(|road| road.is_websocket());
    let others = carrying().any(|road| !is_plain(site, road.location));
    carrying().filter(move |road| !others || !is_plain(site, road.location))
}

/// How often what speaks over a road pings by itself.
fn pings_every(app: App) -> Option<Duration> {
    match app {
        App::SocketIo | App::SockJs => Some(Duration::from_secs(25)),
        App::SignalR => Some(Duration::from_secs(15)),
        App::Cable => Some(Duration::from_secs(3)),
        App::Other => None,
    }
}

fn read_timeout(site: &Site<'_>, road: &Road<'_>) -> Duration {
    site.value(road.block, "proxy_read_timeout").and_then(value::time).unwrap_or(DEFAULT)
}

fn read_timeout_short(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        let timeout = read_timeout(site, road);
        let said = site.nearest(road.block, "proxy_read_timeout");
        let pinged = pings_every(road.app).is_some_and(|interval| timeout > interval);
        if timeout > DEFAULT || pinged || (said.is_none() && site.is_unknown(road.block)) {
            continue;
        }
        let seconds = timeout.as_secs_f64();
        let message = format!("a WebSocket on which the backend is silent for {seconds} s is cut");
        let line = vec!["proxy_read_timeout 1h;".to_owned()];
        let (span, label, edit) = match said {
            None => {
                let edit = fix::into_block(site, road.location, &["proxy_set_header", "proxy_pass"], &line);
                (place(site, road), "60 s is the default of proxy_read_timeout".to_owned(), edit)
            }
            Some(directive) => {
                let edit = directive.args.first().map(|word| fix::replace(word.span, "1h"));
                (directive.span, label(site, road.block), edit)
            }
        };
        let help = "or let the application ping oftener than that; Longwire does so by itself";
        found.push(Found::new(span, label, message).help(help).fix(edit));
    }
    found
}

fn dead_peers_stay(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        let Some(directive) = site.nearest(road.block, "proxy_read_timeout") else { continue };
        let Some(server) = site.enclosing(road.block, "server") else { continue };
        let by_backend = site.value(road.block, "proxy_socket_keepalive") == Some("on");
        let listens = listens(site, server);
        let by_clients = listens.iter().all(|listen| is_kept(site, &listen.address));
        if read_timeout(site, road) < LONG || (by_clients && by_backend) || pings_every(road.app).is_some() {
            continue;
        }
        let mut edits: Vec<Edit> = listens.iter().filter_map(|listen| keep(site, &listen.address)).collect();
        if !by_backend {
            let line = vec!["proxy_socket_keepalive on;".to_owned()];
            edits.push(fix::below(site, directive, &line));
        }
        let message =
            "a client or backend that vanishes keeps its WebSocket open until proxy_read_timeout runs out";
        found.push(Found::new(directive.span, label(site, road.block), message).fix(edits));
    }
    found
}

/// The `listen`s of an address: options of its socket hold for all servers at it, and are said once.
fn at<'s, 't>(site: &'s Site<'t>, address: &str) -> Vec<&'s Listen<'t>> {
    site.listens.get(address).into_iter().flatten().filter(|listen| !listen.has("quic")).collect()
}

fn is_kept(site: &Site<'_>, address: &str) -> bool {
    let listens = at(site, address);
    let options = |listen: &&Listen<'_>| listen.option("so_keepalive").is_some_and(|value| value != "off");
    // A socket of the same machine needs none, and one for HTTP/3 has none.
    address.starts_with("unix:") || listens.is_empty() || listens.iter().any(options)
}

/// `so_keepalive=on` for an address, unless nobody can say where.
fn keep(site: &Site<'_>, address: &str) -> Option<Edit> {
    if is_kept(site, address) {
        return None;
    }
    let listens = at(site, address);
    let owner = listens.iter().find(|listen| listen.has_options()).or(listens.first())?;
    let said = owner.said?;
    if let Some(word) = said.args.iter().find(|word| word.value.starts_with("so_keepalive=")) {
        return Some(fix::replace(word.span, "so_keepalive=on"));
    }
    let end = said.args.last()?.span;
    Some(fix::replace(Span { start: end.end, ..end }, " so_keepalive=on"))
}

fn shutdown_timeout_unset(site: &Site<'_>) -> Vec<Found> {
    let said = site.blocks[0].own("worker_shutdown_timeout").is_some();
    let carries = site.roads.iter().any(Road::is_websocket);
    let Some((http, _)) = site.named("http").next() else { return Vec::new() };
    let Some(head) =
        site.blocks[http].head.filter(|_| !said && carries && !site.blocks[0].all("include").any(|_| true))
    else {
        return Vec::new();
    };
    let first = site.blocks[0]
        .items
        .first()
        .map(|first| fix::above(site, first, &["worker_shutdown_timeout 1h;".to_owned()]));
    let message = "after a reload the old workers stay as long as their WebSockets do: \"worker_shutdown_timeout\" is not set";
    vec![Found::new(head.span, "", message).fix(first)]
}

fn shutdown_timeout_short(site: &Site<'_>) -> Vec<Found> {
    let Some(directive) = site.blocks[0].own("worker_shutdown_timeout") else { return Vec::new() };
    let Some(word) = directive.args.first() else { return Vec::new() };
    let Some(time) = value::time(&word.value).filter(|time| *time < SHORT_SHUTDOWN) else {
        return Vec::new();
    };
    if !site.roads.iter().any(Road::is_websocket) {
        return Vec::new();
    }
    let message = format!("each reload cuts all WebSockets at once, {} s later", time.as_secs_f64());
    vec![Found::new(directive.span, "", message).fix([fix::replace(word.span, "1h")])]
}

fn tcp_nodelay_off(site: &Site<'_>) -> Vec<Found> {
    let roads = worth_a_word(site);
    let found = roads.filter_map(|road| {
        let directive = site.nearest(road.block, "tcp_nodelay")?;
        let word = directive.args.first().filter(|word| word.value == "off")?;
        let message = "small messages wait for the acknowledgement of earlier ones";
        Some(
            Found::new(directive.span, label(site, road.block), message).fix([fix::replace(word.span, "on")]),
        )
    });
    found.collect()
}
