//! Pure: counts in Prometheus' text format 0.0.4.

use std::fmt::Write as _;

use super::counters::{Counters, Distribution, Upstream, UpstreamServer};
use super::families::{self, Family, Kind};

/// What the format is called in `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counts as `/metrics` shows them.
pub fn text(counters: &Counters) -> String {
    let mut page = Page(String::with_capacity(32 * 1024));
    tunnels(&mut page, counters);
    servers(&mut page, counters);
    process(&mut page, counters);
    page.0
}

fn tunnels(page: &mut Page, c: &Counters) {
    page.family(families::BUILD_INFO, [(vec![c.version.to_owned()], 1.0)]);
    page.one(families::CONFIGURED, c.configured);
    let handshakes = c.handshakes.iter();
    page.family(
        families::HANDSHAKES,
        handshakes.map(|h| (words([h.outcome, h.fault, h.cause]), h.count as f64)),
    );
    let answers = c.answers.iter();
    page.family(families::ANSWERS, answers.map(|a| (vec![number(a.status)], a.count as f64)));
    page.one(families::TUNNELS_OPEN, c.open as f64);
    page.one(families::TUNNELS_CLOSING, c.closing as f64);
    let routes = c.places.iter();
    page.family(
        families::ROUTE_TUNNELS,
        routes.map(|r| (words([&r.server, &r.location, &r.upstream]), r.open as f64)),
    );
    page.one(families::TUNNELS_OPENED, c.opened as f64);
    let ended = c.ended.iter();
    page.family(
        families::TUNNELS_ENDED,
        ended.map(|e| (words([e.by, e.cause, &number(e.code)]), e.count as f64)),
    );
    page.histogram(families::TUNNEL_DURATION, [(None, &c.lifetime)]);
    page.sides(families::MESSAGES, [c.messages.from_client, c.messages.from_backend]);
    page.sides(families::BYTES, [c.bytes.from_client, c.bytes.from_backend]);
    page.sides(families::PINGS, [c.pings.client, c.pings.backend]);
    page.sides(families::PONGS, [c.pongs.client, c.pongs.backend]);
    let round_trips = [
        (Some(("side", "client")), &c.round_trip.client),
        (Some(("side", "backend")), &c.round_trip.backend),
    ];
    page.histogram(families::ROUND_TRIP, round_trips);
    page.sides(families::DEAD_PEERS, [c.dead_peers.client, c.dead_peers.backend]);
    page.family(families::LIMITS, c.limits.iter().map(|hit| (words([hit.limit]), hit.count as f64)));
}

fn servers(page: &mut Page, c: &Counters) {
    let each = |of: fn(&UpstreamServer) -> f64| {
        let servers = c
            .upstreams
            .iter()
            .flat_map(|Upstream { upstream, servers }| servers.iter().map(move |server| (upstream, server)));
        servers.map(move |(upstream, server)| (words([upstream, &server.server]), of(server)))
    };
    page.family(families::SERVER_UP, each(|server| f64::from(server.up)));
    page.family(families::SERVER_DRAINING, each(|server| f64::from(server.draining)));
    page.family(families::SERVER_ACTIVE, each(|server| server.active as f64));
    let ports = c.source_ports.iter();
    page.family(families::SOURCE_PORTS, ports.map(|port| (words([&port.backend]), port.left as f64)));
}

fn process(page: &mut Page, c: &Counters) {
    page.one(families::CONNECTIONS_ACCEPTED, c.connections.accepted as f64);
    page.one(families::CONNECTIONS_OPEN, c.connections.open as f64);
    page.one(families::ACCEPTS_FAILED, c.accepts_failed as f64);
    page.one(families::TLS_FAILED, c.tls_failed as f64);
    page.one(families::REQUESTS, c.requests.total as f64);
    page.one(families::REQUESTS_WORKING, c.requests.working as f64);
    for (family, done) in [(families::RELOADS, c.reloads), (families::UPGRADES, c.upgrades)] {
        page.family(family, [(words(["ok"]), done.ok as f64), (words(["failed"]), done.failed as f64)]);
    }
    let spans = [("exported", c.spans.exported), ("dropped", c.spans.dropped), ("failed", c.spans.failed)];
    page.family(families::SPANS, spans.map(|(outcome, count)| (words([outcome]), count as f64)));
    let pumps = || (0..).map(|pump: usize| vec![pump.to_string()]).zip(&c.pumps);
    page.family(families::PUMP_TUNNELS, pumps().map(|(label, pump)| (label, pump.tunnels as f64)));
    page.family(families::PUMP_BUSY, pumps().map(|(label, pump)| (label, pump.busy_seconds)));
    page.maybe(families::CPU, c.cpu_seconds);
    page.maybe(families::OPEN_FDS, c.descriptors.open.map(|count| count as f64));
    page.maybe(families::MAX_FDS, c.descriptors.max.map(|count| count as f64));
    page.maybe(families::RESIDENT, c.memory_bytes.map(|bytes| bytes as f64));
    page.maybe(families::VIRTUAL, c.virtual_bytes.map(|bytes| bytes as f64));
    page.one(families::START, c.started);
}

/// A label set's values, in the order of the names.
type Values = Vec<String>;

fn words<const N: usize>(values: [&str; N]) -> Values {
    values.map(str::to_owned).into()
}

/// A number that strangers chose, or all that found no room.
fn number(number: Option<u16>) -> String {
    number.map_or_else(|| "other".to_owned(), |number| number.to_string())
}

/// What is written so far.
struct Page(String);

impl Page {
    fn head(&mut self, family: Family) {
        let Family { name, kind, help, .. } = family;
        // Help texts are ours and have no backslash.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
    }

    fn family(&mut self, family: Family, samples: impl IntoIterator<Item = (Values, f64)>) {
        debug_assert_ne!(family.kind, Kind::Histogram, "{}", family.name);
        let mut samples = samples.into_iter().peekable();
        // Of a family without samples there is nothing to say.
        if samples.peek().is_none() {
            return;
        }
        self.head(family);
        for (values, value) in samples {
            let labels: Vec<_> =
                family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
            self.sample(family.name, "", &labels, value);
        }
    }

    fn one(&mut self, family: Family, value: f64) {
        self.family(family, [(Values::new(), value)]);
    }

    fn maybe(&mut self, family: Family, value: Option<f64>) {
        self.family(family, value.map(|value| (Values::new(), value)));
    }

    /// Client, then backend.
    fn sides(&mut self, family: Family, [client, backend]: [u64; 2]) {
        self.family(family, [(words(["client"]), client as f64), (words(["backend"]), backend as f64)]);
    }

    fn histogram<'a>(
        &mut self,
        family: Family,
        all: impl IntoIterator<Item = (Option<(&'static str, &'static str)>, &'a Distribution)>,
    ) {
        self.head(family);
        for (label, told) in all {
            let mut count = 0;
            let bounds = told.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, more) in bounds.zip(&told.counts) {
                count += more;
                let labels: Vec<_> = label.into_iter().chain([("le", &*bound)]).collect();
                self.sample(family.name, "_bucket", &labels, count as f64);
            }
            let labels: Vec<_> = label.into_iter().collect();
            self.sample(family.name, "_sum", &labels, told.sum);
            self.sample(family.name, "_count", &labels, count as f64);
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        self.0.push_str(suffix);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push_str(if at == 0 { "{" } else { "," });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for letter in text.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

#[cfg(test)]
mod tests;
