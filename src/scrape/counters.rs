//! Pure: all that is counted, at one moment: the body of `/api/counters`, and what `/metrics` is written from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::Buckets;

/// All counts. They begin with the process; times are in seconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counters {
    /// Now, since 1970.
    pub time: f64,
    /// When the process began, since 1970.
    pub started: f64,
    /// Since when the configuration is in force, since 1970.
    pub configured: f64,
    /// Of the program.
    pub version: &'static str,
    /// Open tunnels.
    pub open: u64,
    /// Those of them that are about to end.
    pub closing: u64,
    /// Tunnels that were opened.
    pub opened: u64,
    /// Tunnels that have ended.
    pub ended_total: u64,
    /// Handshakes that failed.
    pub failed: u64,
    /// Handshakes by what came of them.
    pub handshakes: Vec<Handshakes>,
    /// Handshakes by what was answered.
    pub answers: Vec<Answers>,
    /// How tunnels ended.
    pub ended: Vec<Ended>,
    /// Messages through tunnels.
    pub messages: From,
    /// Bytes through tunnels, frames and all.
    pub bytes: From,
    /// Pings that were sent.
    pub pings: Sides<u64>,
    /// Answers to these.
    pub pongs: Sides<u64>,
    /// Round trips of pings.
    pub round_trip: Sides<Distribution>,
    /// How long tunnels were open that have ended.
    pub lifetime: Distribution,
    /// Ends that stopped answering pings.
    pub dead_peers: Sides<u64>,
    /// Limits that somebody ran into.
    pub limits: Vec<Hits>,
    /// Open tunnels by the way they take, at most [`MOST_ROUTES`] ways.
    pub places: Vec<Route>,
    /// Servers that tunnels and requests go to, at most [`MOST_SERVERS`].
    pub upstreams: Vec<Upstream>,
    /// Local ports that are left for connections.
    pub source_ports: Vec<SourcePorts>,
    /// Connections of clients.
    pub connections: Connections,
    /// Requests.
    pub requests: Requests,
    /// TLS handshakes with clients that failed.
    pub tls_failed: u64,
    /// Connections that could not be accepted.
    pub accepts_failed: u64,
    /// Reloads.
    pub reloads: Done,
    /// Upgrades.
    pub upgrades: Done,
    /// Spans of traces.
    pub spans: Spans,
    /// Threads that carry tunnels.
    pub pumps: Vec<Pump>,
    /// The share of its time that each of them was busy in the last second.
    pub pump_load: Vec<f64>,
    /// Descriptors.
    pub descriptors: Descriptors,
    /// Memory that the process has, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory that has addresses, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Time on processors.
    pub cpu_seconds: Option<f64>,
}

/// Most ways that are told apart.
pub const MOST_ROUTES: usize = 100;
/// Most servers that are told of.
pub const MOST_SERVERS: usize = 1000;

/// Handshakes that came to this.
#[derive(Debug, Clone, Serialize)]
pub struct Handshakes {
    /// `opened` or `failed`.
    pub outcome: &'static str,
    /// Why it failed: stable.
    pub cause: &'static str,
    /// The same for people.
    pub words: &'static str,
    /// Who has to act: `client`, `backend`, `configuration` or `none`.
    pub fault: &'static str,
    /// How many.
    pub count: u64,
}

/// Handshakes that were answered so.
#[derive(Debug, Clone, Serialize)]
pub struct Answers {
    /// `None`: all others.
    pub status: Option<u16>,
    /// How many.
    pub count: u64,
}

/// Tunnels that ended so.
#[derive(Debug, Clone, Serialize)]
pub struct Ended {
    /// `client`, `backend` or `proxy`.
    pub by: &'static str,
    /// Why: stable.
    pub cause: &'static str,
    /// The same for people.
    pub words: &'static str,
    /// 1005: a Close without a code; 1006: no Close. `None`: all others.
    pub code: Option<u16>,
    /// How many.
    pub count: u64,
}

/// What came from each end.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct From {
    /// From clients.
    pub from_client: u64,
    /// From backends.
    pub from_backend: u64,
}

/// Something of each end.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sides<T> {
    /// Of clients.
    pub client: T,
    /// Of backends.
    pub backend: T,
}

/// How often something took how long, in seconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Distribution {
    /// Upper bounds, rising.
    pub bounds: Vec<f64>,
    /// How many are within each bound and above the one before; the last ones are above all.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: f64,
}

impl std::convert::From<Buckets> for Distribution {
    fn from(read: Buckets) -> Distribution {
        let ends = read.cumulative.iter().map(|(_, count)| *count).chain([read.count]);
        let mut before = 0;
        let counts = ends.map(|end| end - std::mem::replace(&mut before, end)).collect();
        let bounds = read.cumulative.iter().map(|(bound, _)| seconds(*bound)).collect();
        Distribution { bounds, counts, sum: seconds(read.sum) }
    }
}

/// How often somebody ran into a limit.
#[derive(Debug, Clone, Serialize)]
pub struct Hits {
    /// Its directive.
    pub limit: &'static str,
    /// How often.
    pub count: u64,
}

/// Open tunnels of one way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// First name of the server.
    pub server: String,
    /// The location as written.
    pub location: String,
    /// The group.
    pub upstream: String,
    /// How many.
    pub open: u64,
}

/// A group of servers.
#[derive(Debug, Clone, Serialize)]
pub struct Upstream {
    /// Its name.
    pub upstream: String,
    /// Its servers.
    pub servers: Vec<UpstreamServer>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamServer {
    /// Its address.
    pub server: String,
    /// It is neither `down` nor left out.
    pub up: bool,
    /// It gets no new tunnels.
    pub draining: bool,
    /// Requests in work and open tunnels.
    pub active: u64,
}

/// Local ports for connections to one address.
#[derive(Debug, Clone, Serialize)]
pub struct SourcePorts {
    /// The address.
    pub backend: String,
    /// How many are left from one local address.
    pub left: u64,
}

/// Connections of clients.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Connections {
    /// Those that were accepted.
    pub accepted: u64,
    /// Those that are open and no tunnels.
    pub open: u64,
}

/// Requests.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Requests {
    /// Those that came.
    pub total: u64,
    /// Those in work.
    pub working: u64,
}

/// What was done and what failed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Done {
    /// Done.
    pub ok: u64,
    /// Failed: nothing changed.
    pub failed: u64,
}

/// Spans of traces, by what became of them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Spans {
    /// A collector has taken them.
    pub exported: u64,
    /// They found no room to wait.
    pub dropped: u64,
    /// A collector did not take them.
    pub failed: u64,
}

/// A thread that carries tunnels.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pump {
    /// Its tunnels.
    pub tunnels: u64,
    /// How long it has been busy.
    pub busy_seconds: f64,
}

/// Descriptors.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Descriptors {
    /// Open ones.
    pub open: Option<u64>,
    /// How many there may be.
    pub max: Option<u64>,
}

/// Microseconds as seconds.
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The ways with the most tunnels; the rest is one.
pub(super) fn bounded(mut routes: Vec<Route>) -> Vec<Route> {
    if routes.len() > MOST_ROUTES {
        routes.sort_unstable_by_key(|route| std::cmp::Reverse(route.open));
        let open = routes.drain(MOST_ROUTES - 1..).map(|route| route.open).sum();
        let other = || "other".to_owned();
        routes.push(Route { server: other(), location: other(), upstream: other(), open });
    }
    routes.sort_unstable();
    routes
}

/// Servers of the same address in a group as one: it is up while one of them is, and drains when all do.
pub(super) fn merged(servers: impl Iterator<Item = UpstreamServer>) -> Vec<UpstreamServer> {
    let mut known: BTreeMap<String, UpstreamServer> = BTreeMap::new();
    for server in servers {
        match known.get_mut(&server.server) {
            Some(first) => {
                first.up |= server.up;
                first.draining &= server.draining;
                first.active += server.active;
            }
            None => {
                known.insert(server.server.clone(), server);
            }
        }
    }
    known.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_beyond_the_bound_are_one() {
        let route = |n: u64| Route {
            server: String::new(),
            location: format!("/{n}"),
            upstream: String::new(),
            open: n,
        };
        let all: u64 = (1..=250).sum();
        let routes = bounded((1..=250).map(route).collect());
        assert_eq!(routes.len(), MOST_ROUTES);
        assert_eq!(routes.iter().map(|route| route.open).sum::<u64>(), all);
        assert!(routes.iter().any(|route| route.open == 250));
        assert_eq!(routes.iter().filter(|route| route.location == "other").count(), 1);
        assert_eq!(bounded((1..=100).map(route).collect()).len(), 100);
    }

    #[test]
    fn an_address_that_stands_twice_is_one_server() {
        let server = |up, draining| UpstreamServer { server: "a:1".into(), up, draining, active: 2 };
        let one = merged([server(true, false), server(false, true)].into_iter());
        assert_eq!(one, [UpstreamServer { active: 4, ..server(true, false) }]);
    }

    #[test]
    fn buckets_are_told_each_by_itself() {
        let read = Buckets { cumulative: vec![(1_000, 2), (2_000, 5)], count: 9, sum: 20_000 };
        let told = Distribution::from(read);
        assert_eq!((told.bounds, told.counts, told.sum), (vec![0.001, 0.002], vec![2, 3, 4], 0.02));
    }
}
