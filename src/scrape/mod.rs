//! Reads all that is counted: for `/metrics`, the API and the live page. Nothing is published while nobody asks.

mod counters;
mod families;
mod history;
mod process;
mod text;

use std::collections::{BTreeMap, HashMap};

pub use counters::*;
pub use families::{ALL as FAMILIES, Family, Kind};
pub use history::{HISTORY, History, Keeper, Point};
pub use text::{CONTENT_TYPE, text};

use crate::clock;
use crate::http::Service;
use crate::metrics::{COUNTS, HandshakeFault, Limit};
use crate::net::Endpoint;
use crate::tunnel::{Tally, Traffic};
use counters::{bounded, merged, seconds};
use process::Usage;

/// All that is counted. Walks past all tunnels, some at a time.
pub async fn gather(service: &Service) -> Counters {
    let tally = service.tunnels.tally().await;
    let mut counters = counted();
    counters.open = service.tunnels.count() as u64;
    carried(&mut counters, tally);
    servers(&mut counters, service);
    let [open, _, working] = service.census.present();
    let [accepted, total] = service.census.own();
    counters.connections = Connections { accepted, open: open as u64 };
    counters.requests = Requests { total, working: working as u64 };
    let usage = Usage::now();
    counters.descriptors = Descriptors { open: usage.descriptors, max: usage.max_descriptors };
    counters.memory_bytes = usage.resident_bytes;
    counters.virtual_bytes = usage.virtual_bytes;
    counters.cpu_seconds = usage.cpu.map(|cpu| cpu.as_secs_f64());
    counters.pump_load = HISTORY.pump_load();
    counters
}

/// What stands in [`COUNTS`].
fn counted() -> Counters {
    use std::sync::atomic::Ordering::Relaxed;
    let opened = COUNTS.handshakes_opened.get();
    let handshakes: Vec<_> = std::iter::once(Handshakes {
        outcome: "opened",
        cause: "none",
        words: "",
        fault: "none",
        count: opened,
    })
    .chain(HandshakeFault::all().map(|fault| Handshakes {
        outcome: "failed",
        cause: fault.id(),
        words: fault.words(),
        fault: fault.of().unwrap_or("none"),
        count: COUNTS.handshakes_failed[fault.index()].get(),
    }))
    .collect();
    let ended: Vec<_> = COUNTS
        .endings
        .read()
        .into_iter()
        .map(|(end, count)| Ended { by: end.by, cause: end.cause, words: end.words, code: end.code, count })
        .collect();
    let sides = |of: fn(usize) -> u64| Sides { client: of(0), backend: of(1) };
    Counters {
        time: seconds(clock::unix_us()),
        started: seconds(COUNTS.began_unix_us.load(Relaxed)),
        configured: seconds(COUNTS.configured_unix_us.load(Relaxed)),
        version: env!("CARGO_PKG_VERSION"),
        opened,
        ended_total: ended.iter().map(|end| end.count).sum(),
        failed: handshakes.iter().skip(1).map(|h| h.count).sum(),
        handshakes,
        answers: COUNTS.answers.read().into_iter().map(|(status, count)| Answers { status, count }).collect(),
        ended,
        round_trip: Sides {
            client: COUNTS.round_trips[0].read().into(),
            backend: COUNTS.round_trips[1].read().into(),
        },
        lifetime: COUNTS.durations.read().into(),
        dead_peers: sides(|side| COUNTS.dead_peers[side].get()),
        limits: Limit::ALL.map(|limit| Hits { limit: limit.name(), count: COUNTS.hits(limit) }).into(),
        tls_failed: COUNTS.tls_failed.get(),
        accepts_failed: COUNTS.accepts_failed.get(),
        reloads: Done { ok: COUNTS.reloads_done.get(), failed: COUNTS.reloads_failed.get() },
        upgrades: Done { ok: COUNTS.upgrades_done.get(), failed: COUNTS.upgrades_failed.get() },
        spans: Spans {
            exported: COUNTS.spans_exported.get(),
            dropped: COUNTS.spans_dropped.get(),
            failed: COUNTS.spans_failed.get(),
        },
        ..Counters::default()
    }
}

/// What tunnels say.
fn carried(counters: &mut Counters, tally: Tally) {
    let Tally { traffic: Traffic([client, backend]), closing, places, pumps } = tally;
    counters.messages = From { from_client: client.messages, from_backend: backend.messages };
    counters.bytes = From { from_client: client.bytes, from_backend: backend.bytes };
    counters.pings = Sides { client: client.pings, backend: backend.pings };
    counters.pongs = Sides { client: client.pongs, backend: backend.pongs };
    counters.closing = closing as u64;
    let mut routes: HashMap<_, u64> = HashMap::new();
    for (place, open) in &places {
        *routes.entry((&place.server, &place.location, &place.group)).or_default() += *open as u64;
    }
    let route = |((server, location, upstream), open): ((&String, &String, &String), u64)| Route {
        server: server.clone(),
        location: location.clone(),
        upstream: upstream.clone(),
        open,
    };
    counters.places = bounded(routes.into_iter().map(route).collect());
    let pump = |(tunnels, busy_us)| Pump { tunnels: tunnels as u64, busy_seconds: seconds(busy_us) };
    counters.pumps = pumps.into_iter().map(pump).collect();
}

/// How the servers of all groups stand.
fn servers(counters: &mut Counters, service: &Service) {
    let mut used: BTreeMap<Endpoint, usize> = BTreeMap::new();
    let mut room = MOST_SERVERS;
    // Two `proxy_pass` to one address are two groups of one name.
    let mut upstreams: BTreeMap<String, Vec<UpstreamServer>> = BTreeMap::new();
    for group in &service.snapshot.groups {
        let mut looks = group.look();
        looks.truncate(room);
        room -= looks.len();
        let servers = upstreams.entry(group.name.clone()).or_default();
        for look in looks {
            let endpoint = &look.server.endpoint;
            if matches!(endpoint, Endpoint::Tcp(_)) {
                *used.entry(endpoint.clone()).or_default() += look.active + look.idle;
            }
            servers.push(UpstreamServer {
                server: endpoint.to_string(),
                up: look.is_up,
                draining: look.params.drain,
                active: look.active as u64,
            });
        }
    }
    let upstream =
        |(upstream, servers): (String, Vec<_>)| Upstream { upstream, servers: merged(servers.into_iter()) };
    counters.upstreams = upstreams.into_iter().map(upstream).collect();
    if let Some(ports) = process::local_ports() {
        let left = |(backend, used): (Endpoint, usize)| SourcePorts {
            backend: backend.to_string(),
            left: ports.saturating_sub(used as u64),
        };
        counters.source_ports = used.into_iter().map(left).collect();
    }
}
