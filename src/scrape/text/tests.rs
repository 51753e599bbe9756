//! What `/metrics` says, against the table, its page of documentation, and Prometheus' own tool.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::counters::*;
use super::*;

/// One of everything.
fn full() -> Counters {
    let told = Distribution { bounds: vec![0.001, 0.5, 86_400.0], counts: vec![1, 0, 2, 3], sum: 7.25 };
    Counters {
        time: 1_790_000_000.5,
        started: 1_789_999_000.0,
        configured: 1_789_999_000.25,
        version: "0.1.0",
        open: 3_000,
        closing: 2,
        opened: 5_000,
        ended_total: 2_000,
        failed: 1,
        handshakes: vec![
            Handshakes { outcome: "opened", cause: "none", words: "", fault: "none", count: 5_000 },
            Handshakes {
                outcome: "failed",
                cause: "client-left",
                words: "it left",
                fault: "client",
                count: 1,
            },
        ],
        answers: vec![Answers { status: Some(101), count: 5_000 }, Answers { status: None, count: 1 }],
        ended: vec![
            Ended { by: "client", cause: "closed", words: "closed", code: Some(1000), count: 1_999 },
            Ended { by: "client", cause: "closed", words: "closed", code: None, count: 1 },
        ],
        messages: From { from_client: 1, from_backend: 2 },
        bytes: From { from_client: 1 << 53, from_backend: 4 },
        pings: Sides { client: 5, backend: 6 },
        pongs: Sides { client: 5, backend: 5 },
        round_trip: Sides { client: told.clone(), backend: told.clone() },
        lifetime: told,
        dead_peers: Sides { client: 7, backend: 8 },
        limits: vec![Hits { limit: "limit_conn", count: 9 }],
        places: vec![Route {
            server: "a.example".into(),
            location: "~ \"^/\\w+\n\"".into(),
            upstream: "app".into(),
            open: 3_000,
        }],
        upstreams: vec![Upstream {
            upstream: "app".into(),
            servers: vec![UpstreamServer {
                server: "[::1]:3000".into(),
                up: true,
                draining: false,
                active: 3_000,
            }],
        }],
        source_ports: vec![SourcePorts { backend: "[::1]:3000".into(), left: 25_000 }],
        connections: Connections { accepted: 10, open: 11 },
        requests: Requests { total: 12, working: 13 },
        tls_failed: 14,
        accepts_failed: 15,
        reloads: Done { ok: 16, failed: 17 },
        upgrades: Done { ok: 1, failed: 18 },
        spans: Spans { exported: 20, dropped: 21, failed: 22 },
        pumps: vec![Pump { tunnels: 1_500, busy_seconds: 0.125 }, Pump { tunnels: 1_500, busy_seconds: 1.0 }],
        pump_load: vec![0.5, 0.25],
        descriptors: Descriptors { open: Some(6_000), max: Some(20_000) },
        memory_bytes: Some(1 << 30),
        virtual_bytes: Some(1 << 31),
        cpu_seconds: Some(2.5),
    }
}

#[test]
fn samples_are_written_as_the_format_wants_them() {
    let text = text(&full());
    for line in [
        "# HELP longwire_tunnels_open Open tunnels.",
        "# TYPE longwire_tunnels_open gauge",
        "longwire_tunnels_open 3000",
        "longwire_handshakes_total{outcome=\"failed\",fault=\"client\",cause=\"client-left\"} 1",
        "longwire_tunnels_ended_total{by=\"client\",cause=\"closed\",code=\"other\"} 1",
        "longwire_bytes_total{from=\"client\"} 9007199254740992",
        "longwire_tunnel_duration_seconds_bucket{le=\"0.001\"} 1",
        "longwire_tunnel_duration_seconds_bucket{le=\"0.5\"} 1",
        "longwire_tunnel_duration_seconds_bucket{le=\"86400\"} 3",
        "longwire_tunnel_duration_seconds_bucket{le=\"+Inf\"} 6",
        "longwire_tunnel_duration_seconds_sum 7.25",
        "longwire_tunnel_duration_seconds_count 6",
        "longwire_ping_round_trip_seconds_bucket{side=\"backend\",le=\"0.5\"} 1",
        "longwire_route_tunnels{server=\"a.example\",location=\"~ \\\"^/\\\\w+\\n\\\"\",upstream=\"app\"} 3000",
        "longwire_upstream_server_up{upstream=\"app\",server=\"[::1]:3000\"} 1",
        "longwire_pump_busy_seconds_total{pump=\"0\"} 0.125",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn every_metric_of_the_table_is_written_and_no_other() {
    let text = text(&full());
    let written: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let table: Vec<_> = families::ALL.iter().map(|family| (family.name, family.kind.name())).collect();
    assert_eq!(written, table);
    let labels = |line: &str| -> BTreeSet<String> {
        let Some((_, rest)) = line.split_once('{') else { return BTreeSet::new() };
        let names =
            rest.split("\",").filter_map(|part| part.split_once("=\"")).map(|(name, _)| name.to_owned());
        names.filter(|name| name != "le").collect()
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let known = |family: &&Family| {
            let rest = line.strip_prefix(family.name)?;
            rest.starts_with(['{', ' ', '_']).then_some(())
        };
        let family =
            families::ALL.iter().filter(|family| known(family).is_some()).max_by_key(|f| f.name.len());
        let family = family.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(labels(line), family.labels.iter().map(|l| (*l).to_owned()).collect(), "{line}");
    }
}

/// `UPDATE=1` writes it anew.
#[test]
fn the_page_of_documentation_has_every_metric() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut table = String::from("| metric | kind | labels | what it says |\n|---|---|---|---|\n");
    for Family { name, kind, labels, help } in families::ALL {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        writeln!(table, "| `{name}` | {} | {labels} | {help} |", kind.name()).unwrap();
    }
    let mut causes = String::from("| cause | fault | what it says |\n|---|---|---|\n");
    for fault in crate::metrics::HandshakeFault::all() {
        let of = fault.of().unwrap_or("none");
        writeln!(causes, "| `{}` | {of} | {} |", fault.id(), fault.words()).unwrap();
    }
    let mut fresh = page.clone();
    for (mark, text) in [("metrics", table), ("causes", causes)] {
        let (begin, end) = (format!("<!-- {mark}: -->\n"), format!("<!-- :{mark} -->"));
        let (before, rest) = fresh.split_once(&begin).expect("the mark of a table");
        let (_, after) = rest.split_once(&end).expect("the mark of its end");
        fresh = format!("{before}{begin}{text}{end}{after}");
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    assert!(page == fresh || std::env::var_os("UPDATE").is_some(), "docs/metrics.md is old: UPDATE=1");
}

#[test]
fn prometheus_own_tool_finds_nothing_to_complain_of() {
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = match tool.spawn() {
        Ok(tool) => tool,
        Err(error) => {
            return eprintln!("skipped: promtool is not here ({error}); the package prometheus has it");
        }
    };
    tool.stdin.take().unwrap().write_all(text(&full()).as_bytes()).unwrap();
    let said = tool.wait_with_output().unwrap();
    let words = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.status.success() && words.is_empty(), "{words}");
}
