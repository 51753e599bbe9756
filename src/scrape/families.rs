//! Pure: the table of metrics: names, kinds, labels and what they mean. `docs/metrics.md` is made from it.

/// A metric with all its label sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
}

impl Kind {
    /// As the exposition format says it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal)*) => {
        $(pub(super) const $id: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// All of them, in the order in which they are written.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD_INFO Gauge "longwire_build_info" ["version"]
        "Always 1; the version of the program."
    CONFIGURED Gauge "longwire_configuration_timestamp_seconds" []
        "Since when the configuration is in force, as Unix time."
    HANDSHAKES Counter "longwire_handshakes_total" ["outcome", "fault", "cause"]
        "WebSocket handshakes: opened, or failed by this cause, with who has to act."
    ANSWERS Counter "longwire_handshake_answers_total" ["status"]
        "Answers to WebSocket handshakes by status; 499: the client left first, 444: closed without an answer."
    TUNNELS_OPEN Gauge "longwire_tunnels_open" []
        "Open tunnels."
    TUNNELS_CLOSING Gauge "longwire_tunnels_closing" []
        "Open tunnels whose end is decided, with Close frames under way."
    ROUTE_TUNNELS Gauge "longwire_route_tunnels" ["server", "location", "upstream"]
        "Open tunnels by the way they take; at most 100 ways, the rest is \"other\"."
    TUNNELS_OPENED Counter "longwire_tunnels_opened_total" []
        "Tunnels that were opened by this process."
    TUNNELS_ENDED Counter "longwire_tunnels_ended_total" ["by", "cause", "code"]
        "Tunnels that ended: by whom, why, and with which close code (1005: a Close without code, 1006: no Close)."
    TUNNEL_DURATION Histogram "longwire_tunnel_duration_seconds" []
        "How long tunnels were open that have ended."
    MESSAGES Counter "longwire_messages_total" ["from"]
        "Messages through tunnels, by the end they came from."
    BYTES Counter "longwire_bytes_total" ["from"]
        "Bytes through tunnels with frame headers, without TLS, by the end they came from."
    PINGS Counter "longwire_pings_total" ["side"]
        "Pings of the proxy, by the end they were sent to."
    PONGS Counter "longwire_pongs_total" ["side"]
        "Answers to pings of the proxy, by the end they came from."
    ROUND_TRIP Histogram "longwire_ping_round_trip_seconds" ["side"]
        "Round trips of the proxy's pings."
    DEAD_PEERS Counter "longwire_dead_peers_total" ["side"]
        "Ends that used to answer pings and stopped."
    LIMITS Counter "longwire_limits_hit_total" ["limit"]
        "How often somebody ran into a limit; no_live_server: no server of an upstream could take a request."
    SERVER_UP Gauge "longwire_upstream_server_up" ["upstream", "server"]
        "1 when requests may go to the server, 0 when it is down or left out for failures or health checks."
    SERVER_DRAINING Gauge "longwire_upstream_server_draining" ["upstream", "server"]
        "1 when the server gets nothing new and its tunnels are led away."
    SERVER_ACTIVE Gauge "longwire_upstream_server_active" ["upstream", "server"]
        "Open tunnels and requests in work at the server."
    SOURCE_PORTS Gauge "longwire_source_ports_left" ["backend"]
        "Local ports left for connections from one address to this backend, without those in TIME_WAIT."
    CONNECTIONS_ACCEPTED Counter "longwire_connections_accepted_total" []
        "Connections of clients that were accepted."
    CONNECTIONS_OPEN Gauge "longwire_connections_open" []
        "Connections of clients that are open and no tunnels."
    ACCEPTS_FAILED Counter "longwire_accepts_failed_total" []
        "Failures to accept a connection: no descriptors or no memory were left."
    TLS_FAILED Counter "longwire_tls_handshakes_failed_total" []
        "TLS handshakes with clients that failed."
    REQUESTS Counter "longwire_requests_total" []
        "Requests of clients, handshakes included."
    REQUESTS_WORKING Gauge "longwire_requests_in_work" []
        "Requests that are being served."
    RELOADS Counter "longwire_reloads_total" ["outcome"]
        "Reloads of the configuration; failed: the one in force stayed."
    UPGRADES Counter "longwire_upgrades_total" ["outcome"]
        "Upgrades: ok counts the one by which this process took over, failed those that it survived."
    SPANS Counter "longwire_spans_total" ["outcome"]
        "Spans of traces: exported to the collector, dropped for want of room to wait, failed: the collector did not take them."
    PUMP_TUNNELS Gauge "longwire_pump_tunnels" ["pump"]
        "Open tunnels of each thread that carries them."
    PUMP_BUSY Counter "longwire_pump_busy_seconds_total" ["pump"]
        "Processor time of each thread that carries tunnels; its rate is its load, 1 is full."
    CPU Counter "process_cpu_seconds_total" []
        "Processor time of the process."
    OPEN_FDS Gauge "process_open_fds" []
        "Open file descriptors."
    MAX_FDS Gauge "process_max_fds" []
        "How many file descriptors there may be."
    RESIDENT Gauge "process_resident_memory_bytes" []
        "Resident memory."
    VIRTUAL Gauge "process_virtual_memory_bytes" []
        "Virtual memory."
    START Gauge "process_start_time_seconds" []
        "When the process began, as Unix time."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for family in ALL {
            let Family { name, kind, labels, help } = family;
            let is_known = name.starts_with("longwire_") || name.starts_with("process_");
            assert!(is_known && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}");
            assert!(labels.iter().all(|label| !label.is_empty() && *label != "le"), "{name}");
            assert_eq!(ALL.iter().filter(|other| other.name == *name).count(), 1, "{name}");
        }
    }
}
