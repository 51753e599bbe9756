//! Another process tells the end of a tunnel as this one would have, whatever its own configuration says.

use std::io;
use std::path::{Path, PathBuf};

use longwire_conf::{Input, Reader as Files};
use longwire_wire::{Cause, Outcome, Party, Stats};
use tokio::sync::watch;

use super::*;
use crate::clock;
use crate::guard::Denied;
use crate::http::guarded::{Limits, Shared};
use crate::http::journal::Journal;
use crate::log::Logs;
use crate::route::fixture::{facts, headers};
use crate::snapshot::Snapshot;
use crate::tls::Fault;
use crate::tunnel::{Report, Tunnels};

struct Text(String);

impl Files for Text {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// A process: its configuration at work, and a folder for its logs, which goes with it.
struct House {
    folder: PathBuf,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    /// `DIR` in the inside of `http` stands for `folder`.
    fn new(folder: &Path, inside: &str) -> House {
        std::fs::create_dir_all(folder).unwrap();
        let text = format!("error_log DIR/main.log emerg; events {{}} http {{ {inside} }}");
        let text = text.replace("DIR", folder.to_str().unwrap());
        let input = Input {
            file: Path::new("/x.conf"),
            prefix: Path::new("/"),
            globals: None,
            allow_unsupported: false,
        };
        let loaded = longwire_conf::load(&Text(text), input);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let logs = Logs::open(&config).unwrap();
        let snapshot = Snapshot::build(config, logs, None, &mut Vec::new()).map_err(|f| format!("{f:?}"));
        let (stop, stopped) = watch::channel(false);
        let tunnels = Arc::new(Tunnels::start(1).unwrap());
        let service = Arc::new(Service::new(Arc::new(snapshot.unwrap()), tunnels, stopped));
        House { folder: folder.to_owned(), service, stop }
    }

    /// What was logged to a file since this was asked last.
    fn take(&self, name: &str) -> String {
        self.service.snapshot.logs.flush();
        let path = self.folder.join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::write(&path, "");
        text
    }
}

/// A folder that nobody else uses.
fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("longwire-keeper-{}-{name}", std::process::id()))
}

const OLD: &str = r#"
    map $http_user_agent $kind { default "other"; ~curl "tool"; }
    log_format long escape=json '$remote_addr "$request" $status [$kind] $http_user_agent $uri $bytes_sent $body_bytes_sent
        $request_length $server_name $websocket_ended_by $websocket_reason $websocket_close_code $upstream_addr
        $upstream_bytes_received $upstream_bytes_sent $connection $hostname "$arg_none"';
    limit_conn_zone $binary_remote_addr zone=here:1m;
    limit_conn_zone $server_name zone=gone:1m;
    upstream app { server 127.0.0.1:3000; }
    server {
        server_name first.example.com;
        location /ws {
            access_log DIR/long.log long;
            access_log DIR/never.log combined if=$arg_none;
            access_log DIR/short.log combined;
            error_log DIR/error.log info;
            websocket_rate 10r/s;
            proxy_read_timeout 77s;
            proxy_pass http://app;
        }
    }
"#;

/// Nothing of it is as in the other one, but a zone.
const NEW: &str = r#"
    log_format long 'something else $uri';
    limit_conn_zone $binary_remote_addr zone=here:1m;
    access_log off;
    server { location / { return 204; } }
"#;

/// What is kept of a request for `/ws`.
fn epilogue(house: &House, serial: u64) -> Epilogue {
    let service = &house.service;
    let snapshot = &service.snapshot;
    let location = &snapshot.config.servers[0].locations[0];
    let mut facts = facts("/ws?a=b");
    facts.headers = headers(&[("host", "first.example.com"), ("referer", "r\""), ("user-agent", "curl/8")]);
    let now = clock::now_us();
    let connection = Arc::make_mut(&mut facts.connection);
    (connection.serial, connection.accepted_us, facts.started_us) = (serial, now, now);
    let tried = Try {
        address: "127.0.0.1:3000".to_owned(),
        status: 101,
        connect_us: Some(5),
        header_us: Some(9),
        ..Try::default()
    };
    facts.upstream = "http://127.0.0.1:3000/other".to_owned();
    facts.proxy_host = "app".to_owned();
    facts.outcome.tries = vec![Try { status: 502, ..Try::default() }, tried];
    facts.outcome.status = 101;
    let place = service.places.of(&facts, location);
    let shared =
        Shared::new(&Limits { header_us: 1, max_head: 1, linger_us: 1, send_us: 1, plain_on_tls: false });
    let settings = location.settings.clone();
    let (request, answer) = Default::default();
    let journal = Journal::new(service.clone(), shared, facts, settings, request, answer, 0);
    let slots = snapshot.slot_zones.iter().map(|zone| zone.take(b"client", 1).unwrap()).collect();
    let slot = snapshot.ledger.of("app", "127.0.0.1:3000 127.0.0.1:3000").enter();
    Epilogue::new(journal.holding(slots, Arc::default()), place, slot, [Some("TLSv1.3"), None], now)
}

fn report(cause: Cause, ended_by: Party) -> Report {
    let mut stats = Stats::default();
    (stats.client.bytes, stats.backend.bytes, stats.client.messages) = (1000, 2000, 7);
    (stats.backend.rtt.count, stats.backend.rtt.sum, stats.backend.pings) = (2, 3000, 3);
    let outcome = Outcome { ended_by, cause, code_from: [Some(1000), None], code_to: [None, Some(1001)] };
    Report { outcome, stats, reason: Some(io::Error::new(io::ErrorKind::InvalidData, Fault::Alert(48))) }
}

/// A log without what depends on the moment: dates, and how long it was open.
fn timeless(text: &str) -> String {
    let moment =
        regex::Regex::new(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d|\[\d\d/\w+/[^\]]*\]|open \d+\.\d+ s").unwrap();
    moment.replace_all(text, "T").into_owned()
}

#[test]
fn the_lines_of_its_end_are_the_same() {
    let folder = folder("lines");
    let old = House::new(&folder, OLD);
    let new = House::new(&folder.join("new"), NEW);
    let logs = |house: &House| {
        ["long.log", "short.log", "error.log", "never.log"].map(|name| timeless(&house.take(name)))
    };
    for (cause, by) in [
        (Cause::Closed, Party::Client),
        (Cause::Idle, Party::Proxy),
        (Cause::TooFast, Party::Client),
        (Cause::Reset, Party::Backend),
    ] {
        let mut one = epilogue(&old, 34);
        let bytes = one.to_bytes(clock::now_us());
        // Its slots go with it, as those of a process do.
        one.slots = Box::default();
        let other = Epilogue::from_bytes(&bytes, clock::now_us(), &new.service).unwrap();
        let there = other.to_bytes(clock::now_us());
        let again = Epilogue::from_bytes(&there, clock::now_us(), &new.service).unwrap();
        let about = |epilogue: &Epilogue| {
            (epilogue.about().client, epilogue.about().place, epilogue.tls, epilogue.id())
        };
        assert_eq!(about(&other), about(&one));
        one.write(&report(cause, by));
        let wanted = logs(&old);
        assert!(wanted[0].contains("[tool] curl/8 /ws") && wanted[0].lines().count() > 0, "{wanted:?}");
        assert!(wanted[2].contains("*34 tunnel ended by the ") && wanted[3].is_empty(), "{wanted:?}");
        for brought in [other, again] {
            brought.write(&report(cause, by));
            new.service.snapshot.logs.flush();
            assert_eq!(logs(&old), wanted);
        }
    }
}

/// With `log_json` its end has the id of its handshake, in every process; what version 1 brought has none.
#[test]
fn its_request_id_goes_with_it() {
    let folder = folder("id");
    let json = |text: &str| format!("log_json on; {text}");
    let old = House::new(&folder, &json(OLD));
    let new = House::new(&folder.join("new"), &json(NEW));
    let one = epilogue(&old, 34);
    let bytes = one.to_bytes(1);
    let id = |epilogue: &Epilogue| epilogue.facts(&mut crate::log::Reader(&epilogue.texts)).request_id;
    assert_eq!(id(&one), "0123456789abcdef0123456789abcdef");
    assert_eq!(id(&Epilogue::from_bytes(&bytes, 1, &new.service).unwrap()), id(&one));
    let plain = House::new(&folder.join("plain"), OLD);
    let two = epilogue(&plain, 34);
    let at = two.to_bytes(1).windows(two.texts.len()).position(|bytes| *bytes == *two.texts).unwrap();
    let mut first = two.to_bytes(1);
    first.drain(at..at + 4);
    first[at - 4..at].copy_from_slice(&(two.texts.len() as u32 - 4).to_le_bytes());
    first[0] = 1;
    let brought = Epilogue::from_bytes(&first, 1, &new.service).unwrap();
    assert_eq!((id(&brought), &brought.texts), (String::new(), &two.texts));
}

#[test]
fn it_holds_what_it_held() {
    let old = House::new(&folder("slots"), OLD);
    let new = House::new(&folder("slots-new"), NEW);
    let one = epilogue(&old, 1);
    let bytes = one.to_bytes(1_000_000);
    let zone = &new.service.snapshot.slot_zones[0];
    let live = new.service.snapshot.ledger.of("app", "127.0.0.1:3000 127.0.0.1:3000");
    let keepers: Vec<_> = (0..2).map(|_| keeper(&bytes, 5_000_000, &new.service).unwrap()).collect();
    // Both are there already, though one alone might come.
    assert_eq!((live.count(), zone.take(b"client", 2).unwrap_err()), (2, Denied::Full));
    let about = keepers[0].about();
    assert!(Arc::ptr_eq(&about.place, &keepers[1].about().place), "equal ways are one");
    assert_eq!(about.opened_us, one.opened_us + 4_000_000, "the other clock is so much ahead");
    assert!(new.stop.receiver_count() > 1, "whoever waits for tunnels waits for this one");
    drop(keepers);
    assert_eq!(live.count(), 0);
    assert!(zone.take(b"client", 1).is_ok());
    assert!(new.service.endings.brought_in_use() == 0, "nothing is kept for nobody");
}

#[test]
fn what_is_no_keeper_is_refused() {
    let old = House::new(&folder("cut"), OLD);
    let bytes = epilogue(&old, 1).to_bytes(7);
    for cut in 0..bytes.len() {
        assert!(keeper(&bytes[..cut], 7, &old.service).is_err(), "cut at {cut}");
    }
    assert!(keeper(&[&bytes[..], &[0]].concat(), 7, &old.service).is_err());
    let newer = [&[9], &bytes[1..]].concat();
    let error = keeper(&newer, 7, &old.service).err().unwrap();
    assert_eq!(error, "it is in format 9, this program reads formats 1 to 2");
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let mut bytes = bytes.clone();
        let at = random.usize(..bytes.len());
        bytes[at] ^= random.u8(1..);
        // Whatever it means now, it is no panic.
        let _ = keeper(&bytes, 7, &old.service);
    }
}
