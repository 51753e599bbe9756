//! Metrics: what was done is what is counted, in Prometheus' words and in JSON alike.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;
use support::admin::{self, LISTEN};
use support::lineage::Lineage;
use support::{Backend, Conn, Folder, Longwire, until};

/// All samples by name and labels as written.
fn scrape(longwire: &Longwire) -> HashMap<String, f64> {
    let (head, body) = admin::ask(admin::of(longwire), "GET", "/metrics", "", None);
    assert_eq!((head.status(), head.get("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(id, v)| (id.to_owned(), v.parse().unwrap()))
        .collect()
}

/// Waits until a sample has this value; one that is not written is 0.
fn expect(longwire: &Longwire, sample: &str, value: f64) {
    until(&format!("{sample} is {value}"), || {
        let found = scrape(longwire);
        found.get(sample).copied().unwrap_or(0.0) == value
    });
}

fn configured(backend: SocketAddr, directives: &str) -> String {
    format!("admin {LISTEN};\n{}", support::site(backend, directives))
}

fn fails(longwire: &Longwire, path: &str, more: &str, status: u16) {
    let mut conn = Conn::connect(longwire.addr_on("127.0.0.1"));
    conn.send(support::frames::upgrade_request(path, more));
    assert_eq!(conn.read_head().status(), status, "{path}");
}

#[test]
fn tunnels_and_what_they_carry_are_counted() {
    let longwire = Longwire::start(&configured(Backend::echo(), "websocket_max_message 1000;"));
    let mut conns: Vec<Conn> = (0..3).map(|_| Conn::open(longwire.addr_on("127.0.0.1"))).collect();
    for conn in &mut conns {
        (0..5).for_each(|_| conn.expect_echo("ten bytes!"));
    }
    expect(&longwire, "longwire_tunnels_open", 3.0);
    let route = |counted: &HashMap<String, f64>| {
        let routes = counted
            .iter()
            .filter(|(id, _)| id.starts_with("longwire_route_tunnels{server=\"\",location=\"/\""));
        routes.map(|(_, open)| *open).collect::<Vec<_>>()
    };
    let counted = scrape(&longwire);
    assert_eq!(route(&counted), [3.0]);
    for (sample, value) in [
        ("longwire_tunnels_opened_total", 3.0),
        ("longwire_handshakes_total{outcome=\"opened\",fault=\"none\",cause=\"none\"}", 3.0),
        ("longwire_handshake_answers_total{status=\"101\"}", 3.0),
        ("longwire_messages_total{from=\"client\"}", 15.0),
        ("longwire_messages_total{from=\"backend\"}", 15.0),
        // A header of two bytes, and a mask where the client sends.
        ("longwire_bytes_total{from=\"client\"}", 15.0 * 16.0),
        ("longwire_bytes_total{from=\"backend\"}", 15.0 * 12.0),
        ("longwire_tunnel_duration_seconds_count", 0.0),
    ] {
        assert_eq!(counted[sample], value, "{sample}");
    }
    // One closes, one says too much, one vanishes: what they carried stays counted.
    let mut closing = conns.remove(0);
    closing.send_frame(&support::close(4321, "enough"));
    closing.expect_close(4321);
    let mut loud = conns.remove(0);
    loud.send_text(&"x".repeat(1001));
    loud.expect_close(1009);
    drop(conns);
    expect(&longwire, "longwire_tunnels_open", 0.0);
    expect(&longwire, "longwire_tunnels_ended_total{by=\"client\",cause=\"closed\",code=\"4321\"}", 1.0);
    expect(
        &longwire,
        "longwire_tunnels_ended_total{by=\"client\",cause=\"message-too-big\",code=\"1009\"}",
        1.0,
    );
    expect(&longwire, "longwire_tunnels_ended_total{by=\"client\",cause=\"fin\",code=\"1006\"}", 1.0);
    expect(&longwire, "longwire_tunnel_duration_seconds_count", 3.0);
    expect(&longwire, "longwire_limits_hit_total{limit=\"websocket_max_message\"}", 1.0);
    let counted = scrape(&longwire);
    assert_eq!(counted["longwire_messages_total{from=\"client\"}"], 15.0);
    assert!(route(&counted).is_empty());
    let (_, json) = admin::get(admin::of(&longwire), "/api/counters");
    assert_eq!((&json["open"], &json["opened"], &json["ended_total"]), (&json!(0), &json!(3), &json!(3)));
    assert_eq!(json["messages"], json!({ "from_client": 15, "from_backend": 15 }));
}

#[test]
fn failed_handshakes_are_counted_by_their_cause() {
    let refusing = Backend::http(|head, _| match head.target() {
        "/403" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/101" => {
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_owned()
        }
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let nobody = support::backend::nobody();
    let longwire = Longwire::start(&format!(
        "admin {LISTEN};\nserver {{\n    listen 127.0.0.1:0;\n    location / {{ proxy_pass http://{refusing}; }}\n    \
         location /nobody {{ proxy_pass http://{nobody}; }}\n    location /here {{ return 200 here; }}\n    \
         location /denied {{ deny all; proxy_pass http://{refusing}; }}\n    \
         location /stripped {{ proxy_set_header Upgrade \"\"; proxy_pass http://{refusing}; }}\n    \
         location /folder/ {{ proxy_pass http://{refusing}; }}\n    \
         location /origin {{ websocket_origins same; proxy_pass http://{refusing}; }}\n}}\n"
    ));
    for (path, more, status) in [
        ("/", "", 404),
        ("/", "", 404),
        ("/403", "", 403),
        ("/101", "", 502),
        ("/nobody", "", 502),
        ("/here", "", 200),
        ("/denied", "", 403),
        ("/stripped", "", 404),
        ("/folder", "", 301),
        ("/origin", "Origin: https://evil.example\r\n", 403),
        ("/", "Sec-WebSocket-Version: 8\r\n", 426),
    ] {
        fails(&longwire, path, more, status);
    }
    let counted = scrape(&longwire);
    let failed = |fault: &str, cause: &str| {
        counted
            [&format!("longwire_handshakes_total{{outcome=\"failed\",fault=\"{fault}\",cause=\"{cause}\"}}")]
    };
    for (fault, cause, count) in [
        ("backend", "backend-answered", 2.0),
        ("none", "backend-refused", 1.0),
        ("backend", "answer-wrong", 1.0),
        ("backend", "backend-unreachable", 1.0),
        ("configuration", "not-proxied", 1.0),
        ("client", "address-denied", 1.0),
        ("configuration", "upgrade-not-passed", 1.0),
        ("configuration", "redirected", 1.0),
        ("client", "origin-refused", 1.0),
        ("client", "malformed-handshake", 1.0),
        ("client", "client-left", 0.0),
    ] {
        assert_eq!(failed(fault, cause), count, "{cause}");
    }
    let all = counted.iter().filter(|(id, _)| id.starts_with("longwire_handshakes_total{outcome=\"failed\""));
    assert_eq!(all.map(|(_, count)| count).sum::<f64>(), 11.0);
    assert_eq!(counted["longwire_handshake_answers_total{status=\"404\"}"], 3.0);
    assert_eq!(counted["longwire_handshake_answers_total{status=\"403\"}"], 3.0);
}

#[test]
fn pings_and_the_dead_are_counted() {
    let backend = Backend::new();
    let longwire = Longwire::start(&configured(backend.addr(), "websocket_ping 1s;"));
    let mut client = Conn::knock(longwire.addr_on("127.0.0.1"), "");
    let (mut server, _) = backend.tunnel();
    client.expect_tunnel();
    let answering = std::thread::spawn(move || {
        client.answer_pings(3);
        client // and reads nothing from here on
    });
    server.expect_close(1001);
    let client = answering.join().unwrap();
    expect(&longwire, "longwire_dead_peers_total{side=\"client\"}", 1.0);
    let counted = scrape(&longwire);
    let round_trips = counted["longwire_ping_round_trip_seconds_count{side=\"client\"}"];
    assert_eq!(round_trips, 3.0);
    assert_eq!(counted["longwire_pongs_total{side=\"client\"}"], 3.0);
    assert!(counted["longwire_pings_total{side=\"client\"}"] >= 4.0);
    assert_eq!(counted["longwire_ping_round_trip_seconds_bucket{side=\"client\",le=\"+Inf\"}"], 3.0);
    assert!(counted["longwire_ping_round_trip_seconds_sum{side=\"client\"}"] > 0.0);
    assert_eq!(counted["longwire_dead_peers_total{side=\"backend\"}"], 0.0);
    drop(client);
}

#[test]
fn servers_limits_and_reloads_are_told() {
    let backend = Backend::echo();
    let nobody = support::backend::nobody();
    let configuration = |parameters: &str| {
        format!(
            "admin {LISTEN};\nlimit_conn_zone $binary_remote_addr zone=addr:1m;\n\
             upstream app {{ server {backend} {parameters}; server {nobody} max_fails=1 fail_timeout=600s; }}\n\
             server {{ listen 127.0.0.1:0; location / {{ limit_conn addr 2; proxy_pass http://app; }} }}\n"
        )
    };
    let longwire = Longwire::start(&configuration(""));
    let up =
        |server: SocketAddr| format!("longwire_upstream_server_up{{upstream=\"app\",server=\"{server}\"}}");
    assert_eq!(scrape(&longwire)[&up(nobody)], 1.0);
    let mut conns: Vec<Conn> = (0..2).map(|_| Conn::open(longwire.addr_on("127.0.0.1"))).collect();
    fails(&longwire, "/", "", 503);
    let counted = scrape(&longwire);
    assert_eq!((counted[&up(backend)], counted[&up(nobody)]), (1.0, 0.0));
    let of = |name: &str| {
        counted[&format!("longwire_upstream_server_{name}{{upstream=\"app\",server=\"{backend}\"}}")]
    };
    assert_eq!((of("active"), of("draining")), (2.0, 0.0));
    assert_eq!(counted["longwire_limits_hit_total{limit=\"limit_conn\"}"], 1.0);
    let left = |counted: &HashMap<String, f64>, server: SocketAddr| {
        counted[&format!("longwire_source_ports_left{{backend=\"{server}\"}}")]
    };
    assert_eq!(left(&counted, nobody) - left(&counted, backend), 2.0);
    assert!(counted["process_open_fds"] > 6.0 && counted["process_resident_memory_bytes"] > 1e6);
    longwire.reload(&configuration("drain"));
    longwire.reload("nonsense;");
    let counted = scrape(&longwire);
    assert_eq!(counted["longwire_reloads_total{outcome=\"ok\"}"], 1.0);
    assert_eq!(counted["longwire_reloads_total{outcome=\"failed\"}"], 1.0);
    let draining = format!("longwire_upstream_server_draining{{upstream=\"app\",server=\"{backend}\"}}");
    assert_eq!(counted[&draining], 1.0);
    assert!(counted["longwire_configuration_timestamp_seconds"] > counted["process_start_time_seconds"]);
    conns.iter_mut().for_each(|conn| conn.send_text("late"));
}

#[test]
fn the_last_minutes_are_remembered() {
    let longwire = Longwire::start(&configured(Backend::echo(), ""));
    let addr = admin::of(&longwire);
    let mut conn = Conn::open(longwire.addr_on("127.0.0.1"));
    let point = |wanted: &dyn Fn(&serde_json::Value) -> bool| {
        until("a point", || admin::get(addr, "/api/history").1.as_array().unwrap().iter().any(wanted));
    };
    point(&|point| point["open"] == json!(1));
    // Within one second: what is counted before a point's end is in it or in the next.
    (0..10).for_each(|_| conn.expect_echo("hello"));
    let sent = || {
        let points = admin::get(addr, "/api/history").1;
        points.as_array().unwrap().iter().map(|point| point["messages"][0].as_u64().unwrap()).sum::<u64>()
    };
    until("all messages are in the history", || sent() == 10);
    let json = admin::get(addr, "/api/counters").1;
    assert!(json["pump_load"].as_array().is_some_and(|load| !load.is_empty()), "{json}");
}

#[test]
fn counts_begin_anew_with_an_upgrade_and_none_is_negative() {
    let line = Lineage::start(Folder::new(), &configured(Backend::echo(), ""), &[]);
    let longwire = &line.longwire;
    let addr = admin::of(longwire);
    let mut conn = Conn::open(longwire.addr_on("127.0.0.1"));
    (0..7).for_each(|_| conn.expect_echo("before"));
    expect(longwire, "longwire_messages_total{from=\"client\"}", 7.0);
    assert_eq!(line.upgrade().tunnels, 1);
    (0..3).for_each(|_| conn.expect_echo("after"));
    let counters = || admin::get(addr, "/api/counters").1;
    until("the new process has counted", || counters()["messages"]["from_client"] == json!(3));
    let counted = counters();
    assert_eq!((&counted["open"], &counted["opened"]), (&json!(1), &json!(0)));
    assert_eq!(counted["upgrades"], json!({ "ok": 1, "failed": 0 }));
    drop(conn);
    until("its end is counted", || counters()["ended_total"] == json!(1));
    assert_eq!(counters()["messages"], json!({ "from_client": 3, "from_backend": 3 }));
}

#[test]
fn prometheus_own_tool_has_nothing_to_complain_of() {
    let longwire = Longwire::start(&configured(Backend::echo(), ""));
    let mut conn = Conn::open(longwire.addr_on("127.0.0.1"));
    conn.expect_echo("hello");
    fails(&longwire, "/", "Sec-WebSocket-Version: 8\r\n", 426);
    let (_, body) = admin::ask(admin::of(&longwire), "GET", "/metrics", "", None);
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = match tool.spawn() {
        Ok(tool) => tool,
        Err(error) => {
            return eprintln!("skipped: promtool is not here ({error}); the package prometheus has it");
        }
    };
    tool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let said = tool.wait_with_output().unwrap();
    let words = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.status.success() && words.is_empty(), "{words}");
}

/// Words of a text that could be names of metrics.
fn names(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("longwire_") || word.starts_with("process_");
    words.filter(is_metric).collect()
}

fn packaged(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The expressions of a dashboard's panels, as Prometheus would be asked them.
fn expressions(dashboard: &str) -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let asked = targets.chain(annotations).map(|target| target["expr"].as_str().unwrap());
    asked.map(|expr| expr.replace("$__rate_interval", "5m")).collect()
}

#[test]
fn what_is_packaged_asks_for_metrics_that_are_there() {
    let known = |name: &str| {
        longwire::scrape::FAMILIES.iter().any(|family| {
            let suffix = name.strip_prefix(family.name);
            suffix.is_some_and(|suffix| ["", "_bucket", "_count", "_sum"].contains(&suffix))
        })
    };
    let (rules, tests, dashboard) = (
        packaged("prometheus/longwire.rules.yml"),
        packaged("prometheus/longwire.rules.test.yml"),
        packaged("grafana/longwire.json"),
    );
    for text in [&rules, &tests, &dashboard] {
        assert!(names(text).len() > 20);
        for name in names(text) {
            assert!(known(name), "{name} is no metric");
        }
    }
    // Every alert is tried.
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(tests.contains(alert), "{alert} is not tried in longwire.rules.test.yml");
    }
    // And every metric has its place on the dashboard.
    for family in longwire::scrape::FAMILIES {
        assert!(dashboard.contains(family.name), "{} is not on the dashboard", family.name);
    }
}

#[test]
fn prometheus_own_tool_runs_what_is_packaged() {
    let folder = Folder::new();
    let rules = folder.write("longwire.rules.yml", packaged("prometheus/longwire.rules.yml"));
    let tests = folder.write("longwire.rules.test.yml", packaged("prometheus/longwire.rules.test.yml"));
    let asked = expressions(&packaged("grafana/longwire.json"));
    assert!(asked.len() > 30);
    let records: Vec<_> = (0..)
        .zip(&asked)
        .map(|(number, expr)| json!({ "record": format!("panel:{number}"), "expr": expr }))
        .collect();
    // YAML is a superset of JSON.
    let records = json!({ "groups": [{ "name": "dashboard", "rules": records }] }).to_string();
    let records = folder.write("dashboard.yml", records);
    for (what, file) in [("check", rules), ("check", records), ("test", tests)] {
        let said = match Command::new("promtool").args([what, "rules"]).arg(&file).output() {
            Ok(said) => said,
            Err(error) => {
                return eprintln!("skipped: promtool is not here ({error}); the package prometheus has it");
            }
        };
        let words =
            [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(said.status.success(), "{}: {words}", file.display());
    }
}
