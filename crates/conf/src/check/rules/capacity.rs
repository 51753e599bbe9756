//! Pure: connections, descriptors and ports, counted for the WebSockets that are wished for.

use crate::diagnostic::Severity::{Error, Warning};
use crate::source::Span;
use crate::value;

use super::super::fix;
use super::super::road::{Road, label, place};
use super::super::site::Site;
use super::super::{Edit, Found, Rule};
use super::balance::servers;

pub(super) const RULES: &[&Rule] = &[&WORKER_CONNECTIONS_LOW, &DESCRIPTORS_LOW, &SOURCE_PORTS];

static WORKER_CONNECTIONS_LOW: Rule = Rule {
    id: "worker-connections-low",
    severity: Error,
    summary: "`worker_connections` is too low for the WebSockets that are wished for (`--tunnels N`)",
    why: "A WebSocket takes two connections of its worker for as long as it lives: one from the client, one to the backend. When a worker \
has none left, new clients are dropped with `worker_connections are not enough` in the log. Unless said it is 512.",
    ignore: "Never, if as many are really wished for.",
    find: worker_connections_low,
};

static DESCRIPTORS_LOW: Rule = Rule {
    id: "descriptors-low",
    severity: Warning,
    summary: "A worker may open fewer descriptors than its connections take",
    why: "Each connection is a descriptor. The limit of a process is `worker_rlimit_nofile`, or else what the system gives, 1024 as a rule. \
Beyond it new clients fail with `Too many open files` in the log. `--tunnels N` asks for two descriptors for each WebSocket and a few more.",
    ignore: "The service sets a higher limit (`LimitNOFILE` in its unit).",
    find: descriptors_low,
};

static SOURCE_PORTS: Rule = Rule {
    id: "source-ports",
    severity: Error,
    summary: "There are not enough ports towards a backend for the WebSockets that are wished for (`--tunnels N`)",
    why: "Connections from one address to one address and port differ by their source port only, and Linux gives 28232 of them \
(`net.ipv4.ip_local_port_range` 32768 to 60999). When they are used up, connecting fails with `Cannot assign requested address` and clients \
get 502. More servers or ports in the group, several source addresses (`proxy_bind`), or a Unix socket help.",
    ignore: "The range was widened enough.",
    find: source_ports,
};

/// nginx's default of `worker_connections`.
const CONNECTIONS: u64 = 512;
/// What a process may open unless somebody says more.
const DESCRIPTORS: u64 = 1024;
/// Descriptors of a worker besides those of its connections: listening sockets, logs, channels.
const SPARE: u64 = 32;
/// Ports of `net.ipv4.ip_local_port_range` as Linux has it.
const PORTS: u64 = 60_999 - 32_768 + 1;

/// The workers of a configuration.
struct Workers {
    number: u64,
    connections: u64,
    /// Where the number of connections is said, or its block.
    place: Span,
}

/// `None` where that is not known: in a part of a configuration, or where `auto` says nothing.
fn workers(site: &Site<'_>) -> Option<Workers> {
    let main = &site.blocks[0];
    let (_, block) = site.named("events").next()?;
    if !site.whole || block.own("include").is_some() || !site.roads.iter().any(Road::is_websocket) {
        return None;
    }
    let number = match main.own("worker_processes").and_then(|said| said.args.first()) {
        Some(word) if word.value == "auto" => site.wishes.cores?,
        Some(word) => value::number(&word.value).filter(|number| *number > 0)?,
        None => 1,
    };
    let said = block.own("worker_connections");
    let word = said.and_then(|said| said.args.first());
    let connections = word.map_or(Some(CONNECTIONS), |word| value::number(&word.value))?;
    let place = said.map_or(block.span(), |said| said.span);
    Some(Workers { number, connections, place })
}

/// Says another number of connections.
fn set_connections(site: &Site<'_>, number: u64) -> Option<Edit> {
    let (events, block) = site.named("events").next()?;
    match block.own("worker_connections").and_then(|said| said.args.first()) {
        Some(word) => Some(fix::replace(word.span, number.to_string())),
        None => fix::into_block(site, events, &[], &[format!("worker_connections {number};")]),
    }
}

/// Up to the next number that looks chosen.
fn round(number: u64) -> u64 {
    number.div_ceil(1024).saturating_mul(1024)
}

fn worker_connections_low(site: &Site<'_>) -> Vec<Found> {
    let (Some(wanted), Some(workers)) = (site.wishes.tunnels, workers(site)) else { return Vec::new() };
    let Workers { number, connections, .. } = workers;
    let there = number.saturating_mul(connections);
    if wanted.saturating_mul(2) <= there {
        return Vec::new();
    }
    let holds = there / 2;
    let message =
        format!("{number} workers with {connections} connections each hold {holds} WebSockets, not {wanted}");
    let edit = set_connections(site, round(wanted.saturating_mul(2).div_ceil(number)));
    vec![Found::new(workers.place, "a WebSocket takes two", message).fix(edit)]
}

fn descriptors_low(site: &Site<'_>) -> Vec<Found> {
    let Some(workers) = workers(site) else { return Vec::new() };
    let main = &site.blocks[0];
    let said = main.own("worker_rlimit_nofile");
    let word = said.and_then(|said| said.args.first());
    let limit = word.and_then(|word| value::number(&word.value)).unwrap_or(DESCRIPTORS);
    let wanted = site.wishes.tunnels.map(|wanted| wanted.saturating_mul(2).div_ceil(workers.number) + SPARE);
    let needed = wanted.unwrap_or(workers.connections).max(workers.connections);
    if limit >= needed || main.own("include").is_some() {
        return Vec::new();
    }
    let whose = if said.is_some() { "" } else { ", the limit that a process has as a rule" };
    let message =
        format!("a worker may open {limit} descriptors{whose}, and its connections take up to {needed}");
    let right = round(needed + SPARE);
    let line = format!("worker_rlimit_nofile {right};");
    let edit = match word {
        Some(word) => Some(fix::replace(word.span, right.to_string())),
        None => main.items.first().map(|first| fix::above(site, first, &[line])),
    };
    let at = said.map_or(workers.place, |said| said.span);
    vec![Found::new(at, "", message).fix(edit)]
}

fn source_ports(site: &Site<'_>) -> Vec<Found> {
    let Some(wanted) = site.wishes.tunnels else { return Vec::new() };
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket()) {
        let at = place(site, road);
        let (number, name, span) = match road.target.group.map(|group| &site.blocks[group]) {
            Some(group) => {
                let servers = servers(group);
                if servers
                    .iter()
                    .any(|server| server.args.first().is_some_and(|word| word.value.starts_with("unix:")))
                {
                    continue;
                }
                (servers.len() as u64, road.target.host, group.span())
            }
            None => (1, road.target.host, at),
        };
        let is_unknown = road.target.host.starts_with("unix:") || road.target.host.contains('$');
        let there = number.saturating_mul(PORTS);
        if is_unknown || wanted <= there || site.nearest(road.block, "proxy_bind").is_some() {
            continue;
        }
        let message = format!("from one address there are {there} ports towards \"{name}\", not {wanted}");
        let help =
            "more servers or ports in its group, \"proxy_bind\" with several addresses, or a Unix socket";
        found.push(Found::new(span, label(site, road.location), message).help(help));
    }
    found
}
