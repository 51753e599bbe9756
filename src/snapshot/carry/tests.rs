//! What must not be lost when another configuration takes over. Each test fails when its one thing is not carried.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longwire_conf::{Input, Loaded, Reader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::clock;
use crate::guard::{Denied, Verdict, judge};
use crate::log::Logs;
use crate::net::Endpoint;
use crate::upstream::balance::{Ask, Change, Walk};
use crate::upstream::{Lease, Picked, open};

struct Text(String);

impl Reader for Text {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// The inside of `http` as a configuration in force, with the words of its warnings.
fn build(text: &str, previous: Option<&Snapshot>) -> (Snapshot, Vec<String>) {
    let text = format!("error_log stderr emerg; events {{}} http {{ access_log off; {text} }}");
    let place = Path::new("/etc/longwire.conf");
    let input = Input { file: place, prefix: Path::new("/"), globals: None, allow_unsupported: false };
    let Loaded { config, diagnostics, .. } = longwire_conf::load(&Text(text), input);
    let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let logs = Logs::open(&config).unwrap();
    let mut warnings = Vec::new();
    let snapshot =
        Snapshot::build(config, logs, previous, &mut warnings).map_err(|faults| format!("{faults:?}"));
    let words = warnings.into_iter().map(|warning| warning.message).collect();
    (snapshot.unwrap(), words)
}

fn first(text: &str) -> Snapshot {
    let (snapshot, _) = build(text, None);
    snapshot.start(None);
    snapshot
}

fn next(text: &str, previous: &Snapshot) -> Snapshot {
    let (snapshot, warnings) = build(text, Some(previous));
    assert!(warnings.is_empty(), "{warnings:?}");
    snapshot.start(Some(previous));
    snapshot
}

fn group(snapshot: &Snapshot) -> Arc<Group> {
    snapshot.group_by_name("app").unwrap()
}

fn pick(group: &Group) -> Picked {
    pick_for(group, None).unwrap()
}

fn pick_for(group: &Group, stick: Option<&str>) -> Option<Picked> {
    group.pick(&Ask { now_us: clock::now_us(), stick, ..Ask::default() }, &mut Walk::default())
}

fn picks(group: &Group, count: usize) -> Vec<u16> {
    std::iter::repeat_with(|| port(&pick(group))).take(count).collect()
}

fn port(picked: &Picked) -> u16 {
    match &picked.server.endpoint {
        Endpoint::Tcp(address) => address.port(),
        Endpoint::Unix(_) => 0,
    }
}

const TWO: &str = "upstream app { server 127.0.0.1:1; server 127.0.0.1:2; }";

#[tokio::test]
async fn open_tunnels_count_in_the_next_configuration() {
    let text = "upstream app { least_conn; server 127.0.0.1:1; server 127.0.0.1:2 max_conns=2; }";
    let old = first(text);
    let held: Vec<Picked> = (0..4).map(|_| pick(&group(&old))).collect();
    assert_eq!(held.iter().filter(|picked| port(picked) == 2).count(), 2);
    let new = next(text, &old);
    assert_eq!(picks(&group(&new), 3), [1, 1, 1], "the limit of the second is reached by tunnels of before");
    let (gone, stay): (Vec<_>, Vec<_>) = held.into_iter().partition(|picked| port(picked) == 2);
    drop((old, gone));
    assert_eq!(picks(&group(&new), 3), [2, 2, 2], "the first still has two");
    drop(stay);
}

#[tokio::test]
async fn a_server_that_failed_stays_out() {
    let old = first(TWO);
    let server = pick(&group(&old)).server;
    assert!(matches!(group(&old).failed(&server), Some(Change::Out(_))));
    let third = TWO.replace('}', "server 127.0.0.1:3; }");
    let new = next(&third, &old);
    assert!(!picks(&group(&new), 9).contains(&1));
    // What is left of it by name goes on, whatever else changed.
    let newer = next(&third.replace("app {", "app { least_conn;"), &new);
    assert!(!picks(&group(&newer), 9).contains(&1));
}

#[tokio::test]
async fn what_a_request_of_before_finds_out_comes_to_the_configuration_in_force() {
    let old = first(TWO);
    let picked = pick(&group(&old));
    let new = next(TWO, &old);
    let newer = next(TWO, &new);
    drop(new);
    assert!(matches!(group(&old).failed(&picked.server), Some(Change::Out(_))));
    assert_eq!(picks(&group(&newer), 3), [2, 2, 2]);
    // A server that is no more has nobody to tell of it.
    let newest = next(&TWO.replace("server 127.0.0.1:1;", "server 127.0.0.1:3;"), &newer);
    assert_eq!(group(&newer).failed(&picked.server), None);
    assert!(picks(&group(&newest), 4).contains(&3));
}

#[tokio::test]
async fn turns_go_on_where_the_servers_are_the_same() {
    let text = "upstream app { server 127.0.0.1:1 weight=5; server 127.0.0.1:2; server 127.0.0.1:3; }";
    let mut now = first(text);
    let mut seen = Vec::new();
    for _ in 0..14 {
        seen.extend(picks(&group(&now), 1));
        now = next(text, &now);
    }
    // The sequence that nginx gives for weights 5, 1, 1.
    assert_eq!(seen, [1, 1, 2, 1, 3, 1, 1, 1, 1, 2, 1, 3, 1, 1]);
    picks(&group(&now), 2);
    // With other weights there are other turns, from the beginning.
    let other = next(&text.replace("=5", "=2"), &now);
    assert_eq!(picks(&group(&other), 4), [1, 2, 3, 1]);
}

#[tokio::test]
async fn a_server_that_comes_back_goes_on_growing() {
    let text = "upstream app { server 127.0.0.1:1 weight=100 slow_start=1h fail_timeout=0; server 127.0.0.1:2 weight=100; }";
    let old = first(text);
    let server = pick(&group(&old)).server;
    group(&old).checked(&server, false);
    group(&old).checked(&server, true);
    let new = next(text, &old);
    assert!(picks(&group(&new), 20).iter().filter(|&&port| port == 1).count() <= 2);
}

fn checked(text: &str, address: SocketAddr, check: &str) -> String {
    format!(
        "upstream app {{ server {address}; server 127.0.0.1:1; {text} }} \
         server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; {check} }} }}"
    )
}

/// A backend that tells each request's head, and answers it.
async fn backend() -> (SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut head).await {
                    let _ = tell.try_send(String::from_utf8_lossy(&head[..count]).into_owned());
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    (address, told)
}

#[tokio::test]
async fn what_checks_found_stays_until_nobody_checks_any_more() {
    let (address, mut told) = backend().await;
    let text = checked("", address, "health_check interval=1h;");
    let old = first(&text);
    let dead = pick_for(&group(&old), None).unwrap();
    let dead = if port(&dead) == 1 { dead } else { pick(&group(&old)) };
    told.recv().await.unwrap();
    until(|| picks(&group(&old), 4).iter().all(|port| *port == address.port())).await;
    let new = next(&text, &old);
    assert_eq!(picks(&group(&new), 4), [address.port(); 4], "the other has not passed a check since");
    assert_eq!(group(&new).checked(&dead.server, false), None, "it is out already");
    let unchecked = next(&checked("", address, ""), &new);
    assert!(picks(&group(&unchecked), 4).contains(&1), "nobody could ever bring it back");
}

#[tokio::test]
async fn checks_go_on_in_their_own_time_however_often_the_configuration_changes() {
    let (address, mut told) = backend().await;
    let text = checked("", address, "health_check interval=1h fails=3;");
    let mut now = first(&text);
    told.recv().await.unwrap();
    until(|| !group(&now).is_checking()).await;
    for _ in 0..20 {
        now = next(&text, &now);
        assert!(!group(&now).is_checking(), "what the checks found so far is forgotten");
        tokio::task::yield_now().await;
    }
    assert!(told.is_empty(), "it was asked again at a reload");
    // A server that is new is asked at once.
    let (other, mut its) = backend().await;
    let new = next(&checked(&format!("server {other};"), address, "health_check interval=1h fails=3;"), &now);
    assert!(tokio::time::timeout(Duration::from_secs(20), its.recv()).await.unwrap().is_some());
    drop(new);
}

#[tokio::test]
async fn checks_and_look_ups_of_before_end_though_tunnels_hold_their_configuration() {
    let (address, _told) = backend().await;
    let text = checked("", address, "health_check interval=1h;");
    let old = first(&text);
    let held = group(&old);
    let new = next(&text, &old);
    tokio::time::timeout(Duration::from_secs(20), held.ended()).await.unwrap();
    // A group that is gone altogether has nobody who takes over.
    let held = group(&new);
    let _none = next("upstream other { server 127.0.0.1:1; }", &new);
    tokio::time::timeout(Duration::from_secs(20), held.ended()).await.unwrap();
}

#[tokio::test]
async fn sessions_that_were_learned_lead_back() {
    let text = "upstream app { server 127.0.0.1:1; server 127.0.0.1:2; \
                sticky learn create=$upstream_cookie_s lookup=$cookie_s zone=s:1m; }";
    let old = first(text);
    let picked = pick(&group(&old));
    group(&old).learn(b"one", &picked.server, true);
    let new = next(text, &old);
    assert_eq!(group(&new).session(b"one"), Some(picked.server.sid.clone()));
    // A request that was in work learns for the one in force.
    group(&old).learn(b"two", &picked.server, true);
    assert!(group(&new).session(b"two").is_some());
    // The server has another name from now on, and the session is there still.
    let named = next(&text.replace("127.0.0.1:1;", "127.0.0.1:1 route=a;"), &new);
    assert_eq!(group(&named).session(b"one").as_deref(), Some("a"));
    assert_eq!(pick_for(&group(&named), Some("a")).unwrap().server.id, picked.server.id);
}

async fn connect(group: &Group) -> (Lease, crate::upstream::Connection) {
    let server = pick(group).server;
    let lease = Lease { server: server.id, security: None, bind: None, announced: None };
    let opened = open(&server.endpoint, None, None, false, Duration::from_secs(20), lease.clone());
    let connection = opened.await.unwrap();
    until(|| connection.is_ready()).await;
    (lease, connection)
}

#[tokio::test]
async fn idle_connections_to_backends_are_used_on() {
    let (address, _told) = backend().await;
    let text = format!("upstream app {{ server {address}; keepalive 2; }}");
    let old = first(&text);
    let (lease, connection) = connect(&group(&old)).await;
    group(&old).keep(connection);
    let new = next(&text, &old);
    assert!(group(&old).take_idle(&lease).is_none());
    assert!(group(&new).take_idle(&lease).is_some(), "the same server has the same number");
    // So is one that was in use meanwhile.
    let (lease, connection) = connect(&group(&old)).await;
    group(&old).keep(connection);
    assert!(group(&new).take_idle(&lease).is_some());
    // Where the server is gone nobody keeps one.
    let (lease, connection) = connect(&group(&new)).await;
    group(&new).keep(connection);
    let gone = next("upstream app { server 127.0.0.1:1; keepalive 2; }", &new);
    assert!(group(&gone).take_idle(&lease).is_none());
}

const ZONES: &str =
    "limit_req_zone $remote_addr zone=r:1m rate=1r/m; limit_conn_zone $remote_addr zone=c:1m;";

#[tokio::test]
async fn zones_go_on_counting() {
    let old = first(ZONES);
    let limits = [longwire_conf::model::LimitReq { zone: 0, burst: 0, delay: 0, at: Default::default() }];
    let ask =
        |snapshot: &Snapshot| judge(&snapshot.rate_zones, &limits, |_| b"a".to_vec(), clock::now_us() / 1000);
    assert_eq!(ask(&old), Verdict::Pass);
    let _open = old.slot_zones[0].take(b"a", 1).unwrap();
    let new = next(ZONES, &old);
    assert!(matches!(ask(&new), Verdict::Refuse { .. }));
    assert_eq!(new.slot_zones[0].take(b"a", 1).unwrap_err(), Denied::Full);
    // Another rate does not forgive what was done before it.
    let faster = next(&ZONES.replace("1r/m", "2r/m"), &new);
    assert!(matches!(ask(&faster), Verdict::Refuse { .. }));
    let other = ZONES.replace("zone=c:1m", "zone=c:2m").replace("$remote_addr zone=r", "$host zone=r");
    let (anew, words) = build(&other, Some(&faster));
    assert!(matches!(ask(&anew), Verdict::Pass) && anew.slot_zones[0].take(b"a", 1).is_ok());
    let said = |part: &str| words.iter().any(|word| word.contains(part));
    assert!(said("\"r\" of limit_req_zone begins anew, because its key is another"), "{words:?}");
    assert!(said("\"c\" of limit_conn_zone begins anew, because its size is another"), "{words:?}");
}

#[tokio::test]
async fn a_zone_counts_by_the_name_of_a_map() {
    let maps = ["map $host $a { default 1; }", "map $host $b { default 1; }"];
    let zone = "limit_conn_zone $b zone=c:1m;";
    let old = first(&format!("{} {} {zone}", maps[0], maps[1]));
    let _open = old.slot_zones[0].take(b"a", 1).unwrap();
    let new = next(&format!("{} {} {zone}", maps[1], maps[0]), &old);
    assert_eq!(new.slot_zones[0].take(b"a", 1).unwrap_err(), Denied::Full);
    let (_, words) = build(&format!("{} {} {}", maps[0], maps[1], zone.replace("$b", "$a")), Some(&new));
    assert_eq!(words.len(), 1, "{words:?}");
}

#[tokio::test]
async fn names_that_were_looked_up_are_remembered() {
    let text = "resolver 127.0.0.1:1 valid=1h; server { listen 127.0.0.1:0; location / { proxy_pass http://$host; } }";
    let old = first(text);
    let resolver = |snapshot: &Snapshot| snapshot.resolvers.all.values().next().cloned().unwrap();
    let new = next(&text.replace("listen", "server_name a; listen"), &old);
    assert!(Arc::ptr_eq(&resolver(&old), &resolver(&new)));
    let other = next(&text.replace("1h", "2h"), &new);
    assert!(!Arc::ptr_eq(&resolver(&new), &resolver(&other)));
}

/// Waits for something that comes by itself.
async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

/// A collector that takes nothing is not tried for each batch that is left: reloads would pile those up.
#[tokio::test]
async fn what_a_configuration_leaves_behind_waits_for_one_failure() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = collector.local_addr().unwrap();
    let snapshot = first(&format!(
        "otel_exporter {{ endpoint {endpoint}; batch_size 1; batch_count 8; interval 1h; }} server {{ listen 80; }}"
    ));
    let exporter = snapshot.exporter.as_ref().unwrap();
    (0..8).for_each(|_| exporter.offer(crate::trace::otlp::Span::default()));
    let exporters = snapshot.exporters.clone();
    drop(snapshot);
    let mut tries = 0;
    let ended = exporters.finish(Duration::from_secs(60));
    tokio::pin!(ended);
    loop {
        tokio::select! {
            accepted = collector.accept() => {
                drop(accepted.unwrap());
                tries += 1;
            }
            () = &mut ended => break,
        }
    }
    assert_eq!(tries, 1);
}
