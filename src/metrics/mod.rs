//! What the process counts, as atomics that anybody adds to; `scrape` reads them. What every message would have to add
//! to is not here: messages and bytes are counted by each tunnel for itself, and added up when somebody asks.

mod codes;
mod fault;
mod histogram;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use longwire_wire::{Cause, CloseCode, Outcome, Party, Side};

pub use codes::{Ending, Endings, Statuses};
pub use fault::HandshakeFault;
pub use histogram::{Buckets, DURATION_BOUNDS, Durations, Histogram, ROUND_TRIP_BOUNDS, RoundTrips};

/// The counts of this process. They begin with it: a process that takes over begins at 0, as a scraper expects.
pub static COUNTS: Counts = Counts::new();

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Nothing yet.
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// So many more.
    pub fn add_all(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for Counter {
    fn default() -> Counter {
        Counter::new()
    }
}

/// What is counted. Sides are those of a tunnel, by their index: client, backend.
#[derive(Debug)]
pub struct Counts {
    /// When the process began, in microseconds since 1970.
    pub began_unix_us: AtomicU64,
    /// Handshakes that became a tunnel.
    pub handshakes_opened: Counter,
    /// Handshakes that did not, by [`HandshakeFault::index`].
    pub handshakes_failed: [Counter; HandshakeFault::COUNT],
    /// What was answered to handshakes.
    pub answers: Statuses,
    /// How tunnels ended.
    pub endings: Endings,
    /// How long tunnels were open.
    pub durations: Durations,
    /// Round trips of pings, by side.
    pub round_trips: [RoundTrips; 2],
    /// Ends that stopped answering pings, by side.
    pub dead_peers: [Counter; 2],
    /// Limits that somebody ran into, by [`Limit`].
    pub limits: [Counter; Limit::ALL.len()],
    /// TLS handshakes with clients that came to nothing.
    pub tls_failed: Counter,
    /// Connections that could not be accepted, for want of descriptors or memory.
    pub accepts_failed: Counter,
    /// Reloads that put a configuration in force.
    pub reloads_done: Counter,
    /// Reloads that changed nothing.
    pub reloads_failed: Counter,
    /// Since when the configuration is in force, in microseconds since 1970.
    pub configured_unix_us: AtomicU64,
    /// Upgrades by which this process came into its place: 0 or 1.
    pub upgrades_done: Counter,
    /// Upgrades that came to nothing: this process went on.
    pub upgrades_failed: Counter,
    /// Spans that a collector has taken.
    pub spans_exported: Counter,
    /// Spans that found no room to wait.
    pub spans_dropped: Counter,
    /// Spans that a collector did not take.
    pub spans_failed: Counter,
}

impl Counts {
    const fn new() -> Counts {
        Counts {
            began_unix_us: AtomicU64::new(0),
            handshakes_opened: Counter::new(),
            handshakes_failed: [const { Counter::new() }; HandshakeFault::COUNT],
            answers: Statuses::new(),
            endings: Endings::new(),
            durations: Histogram::new(&DURATION_BOUNDS),
            round_trips: [const { Histogram::new(&ROUND_TRIP_BOUNDS) }; 2],
            dead_peers: [const { Counter::new() }; 2],
            limits: [const { Counter::new() }; Limit::ALL.len()],
            tls_failed: Counter::new(),
            accepts_failed: Counter::new(),
            reloads_done: Counter::new(),
            reloads_failed: Counter::new(),
            configured_unix_us: AtomicU64::new(0),
            upgrades_done: Counter::new(),
            upgrades_failed: Counter::new(),
            spans_exported: Counter::new(),
            spans_dropped: Counter::new(),
            spans_failed: Counter::new(),
        }
    }

    /// Somebody ran into a limit.
    pub fn hit(&self, limit: Limit) {
        self.limits[limit as usize].add();
    }

    /// How many ran into a limit.
    pub fn hits(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].get()
    }

    /// The process begins now, in microseconds since 1970, with a configuration.
    pub fn begin(&self, unix_us: u64) {
        self.began_unix_us.store(unix_us, Relaxed);
        self.configured_unix_us.store(unix_us, Relaxed);
    }

    /// A reload has put a configuration in force, at this time in microseconds since 1970.
    pub fn reloaded(&self, unix_us: u64) {
        self.reloads_done.add();
        self.configured_unix_us.store(unix_us, Relaxed);
    }

    /// A tunnel has ended that was open for so many microseconds.
    pub fn ended(&self, outcome: &Outcome, duration_us: u64) {
        let Outcome { ended_by, cause, code_from, code_to } = *outcome;
        let [client, backend] = Side::BOTH.map(Side::index);
        // As in the logs: the code of whoever ended it, else what the client was told.
        let code = match ended_by {
            Party::Client => code_from[client],
            Party::Backend => code_from[backend],
            Party::Proxy => None,
        };
        let code = code.or(code_to[client]).map_or(CloseCode::ABNORMAL, CloseCode);
        self.endings.add(ended_by, cause, code.0);
        self.durations.observe(duration_us);
        match (cause, ended_by) {
            (Cause::DeadPeer, Party::Client) => self.dead_peers[client].add(),
            (Cause::DeadPeer, Party::Backend) => self.dead_peers[backend].add(),
            (Cause::MessageTooBig, _) => self.hit(Limit::WebsocketMaxMessage),
            (Cause::TooFast, _) => self.hit(Limit::WebsocketRate),
            _ => {}
        }
    }

    /// A handshake came to nothing.
    pub fn failed(&self, fault: HandshakeFault) {
        self.handshakes_failed[fault.index()].add();
    }
}

/// A limit of the configuration that is worth a number when somebody runs into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `limit_req` refused a request.
    LimitReq,
    /// `limit_conn` refused a request.
    LimitConn,
    /// `websocket_rate` ended a tunnel.
    WebsocketRate,
    /// `websocket_max_message` ended a tunnel.
    WebsocketMaxMessage,
    /// No server of a group could take a request: all are down, left out, or have `max_conns`.
    NoLiveServer,
}

impl Limit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Limit; 5] = [
        Limit::LimitReq,
        Limit::LimitConn,
        Limit::WebsocketRate,
        Limit::WebsocketMaxMessage,
        Limit::NoLiveServer,
    ];

    /// The name of its directive, or what it is.
    pub fn name(self) -> &'static str {
        match self {
            Limit::LimitReq => "limit_req",
            Limit::LimitConn => "limit_conn",
            Limit::WebsocketRate => "websocket_rate",
            Limit::WebsocketMaxMessage => "websocket_max_message",
            Limit::NoLiveServer => "no_live_server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counted_each_by_itself() {
        let counts = Counts::new();
        for (times, limit) in Limit::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| counts.hit(limit));
        }
        for (times, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(counts.hits(limit), times as u64 + 1, "{}", limit.name());
        }
    }
}
