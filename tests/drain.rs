//! Many have to go: each is told at a time of its own, spread evenly, and comes back elsewhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::conn::get;
use support::frames::upgrade_request;
use support::instance::{Instance, handshake, tunnel};
use support::{Backend, Conn, Head, Longwire, WAIT, between, site, until};

/// Tunnels that wait to be told to go.
struct Crowd {
    count: usize,
    told: Receiver<(Instant, Option<u16>)>,
}

impl Crowd {
    /// Each on a thread: it notes when it is told and by which code, answers, and leaves.
    fn of(clients: Vec<Conn>) -> Crowd {
        let count = clients.len();
        let (tell, told) = sync_channel(count);
        for client in clients {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut client = client.patient();
                let frame = client.try_read_frame();
                let _ = tell.send((Instant::now(), frame.as_ref().and_then(|frame| frame.close_code())));
                if let Some(frame) = frame {
                    client.send_frame(&frame);
                    client.expect_end();
                }
            });
        }
        Crowd { count, told }
    }

    /// Waits until all were told by this code, and gives how many in each of so many equal parts of a time.
    fn parts(&self, begun: Instant, time: Duration, parts: usize, code: u16) -> Vec<usize> {
        let mut found = vec![0; parts];
        for _ in 0..self.count {
            let (at, told) = self.told.recv_timeout(WAIT).expect("everybody is told");
            assert_eq!(told, Some(code));
            let part = (at - begun).as_secs_f64() / time.as_secs_f64() * parts as f64;
            // One that is told at the end of the time may hear of it a moment later.
            found[(part as usize).min(parts - 1)] += 1;
        }
        found
    }
}

fn open(addr: SocketAddr, count: usize) -> Vec<Conn> {
    (0..count).map(|_| talking(addr).0).collect()
}

/// A tunnel that is counted: after the 101 alone it need not be in a pump yet.
fn talking(addr: SocketAddr) -> (Conn, Head) {
    let (mut conn, head) = tunnel(addr, "");
    conn.expect_echo("here");
    (conn, head)
}

/// A group with these server lines, and what stands in `http` and in the location.
fn group(servers: &str, http: &str, location: &str) -> String {
    format!(
        "{http}\nupstream app {{ {servers} }}\nserver {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; {location} }} }}\n"
    )
}

/// Main-context directives around a site.
fn whole(main: &str, site: &str) -> String {
    format!("{main}\nevents {{}}\nhttp {{\n{site}}}\n")
}

#[test]
fn quit_tells_one_after_the_other_evenly() {
    let app = Instance::new("a");
    let mut longwire = Longwire::start(&whole("worker_processes 2;", &site(app.addr, "websocket_drain 8s;")));
    let crowd = Crowd::of(open(longwire.addr(), 80));
    let begun = Instant::now();
    longwire.signal(Signal::SIGQUIT);
    let parts = crowd.parts(begun, Duration::from_secs(8), 4, 1001);
    // Each has twenty; the machine may be busy with other work.
    assert!(parts.iter().all(|told| (14..=26).contains(told)), "{parts:?}");
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
    longwire.wait_log(&["told to go", ": 80"]);
}

/// What stands at the place of a tunnel holds, of the file in force.
#[test]
fn each_place_has_a_time_of_its_own() {
    let app = Instance::new("a");
    let configuration = |slow: &str| {
        format!(
            "server {{ listen 127.0.0.1:0; websocket_drain 10m;
                location / {{ proxy_pass http://{addr}; }} location /soon {{ websocket_drain {slow}; proxy_pass http://{addr}; }} }}",
            addr = app.addr
        )
    };
    let mut longwire = Longwire::start(&configuration("10m"));
    let mut long = Conn::knock(longwire.addr(), "");
    long.expect_tunnel();
    let mut soon = Conn::connect(longwire.addr());
    soon.send(upgrade_request("/soon", ""));
    soon.expect_tunnel();
    longwire.reload(&configuration("0"));
    longwire.signal(Signal::SIGQUIT);
    soon.expect_close(1001);
    long.expect_echo("still here");
    longwire.signal(Signal::SIGTERM);
    long.expect_close(1001);
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

/// There is time for the answers, too.
#[test]
fn worker_shutdown_timeout_caps_the_whole() {
    let app = Instance::new("a");
    let site = site(app.addr, "websocket_drain 10m;");
    let mut longwire = Longwire::start(&whole("worker_shutdown_timeout 6s;", &site));
    let crowd = Crowd::of(open(longwire.addr(), 30));
    let begun = Instant::now();
    longwire.signal(Signal::SIGQUIT);
    let parts = crowd.parts(begun, Duration::from_secs(6), 3, 1001);
    assert!(parts[0] >= 7 && parts[1] >= 7, "{parts:?}");
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
    assert!(!longwire.log().contains("cut"), "everybody had time to answer");
}

#[test]
fn stop_during_a_drain_tells_all_at_once() {
    let app = Instance::new("a");
    let mut longwire = Longwire::start(&site(app.addr, "websocket_drain 10m;"));
    let crowd = Crowd::of(open(longwire.addr(), 20));
    longwire.signal(Signal::SIGQUIT);
    longwire.wait_log(&["told to go", ": 20"]);
    let begun = Instant::now();
    longwire.signal(Signal::SIGTERM);
    crowd.parts(begun, WAIT, 1, 1001);
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8));
}

/// A drain takes its time: what an operator does meanwhile is done, or refused with a word.
#[test]
fn logs_are_reopened_during_a_drain_and_reloads_refused() {
    let backend = Backend::new();
    let mut longwire = Longwire::start(&site(backend.addr(), "websocket_drain 10m;"));
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, _) = backend.tunnel();
    client.expect_tunnel();
    // The 101 is there before the tunnel is counted.
    longwire.wait_log(&["tunnel opened"]);
    longwire.signal(Signal::SIGQUIT);
    longwire.signal(Signal::SIGQUIT);
    longwire.wait_log(&["told to go", ": 1"]);
    longwire.signal(Signal::SIGUSR1);
    longwire.wait_log(&["reopening logs"]);
    longwire.signal(Signal::SIGHUP);
    longwire.wait_log(&["[warn]", "is ending"]);
    // Until it is told, a tunnel is as any other.
    client.send_text("still here");
    assert_eq!(server.read_frame().text(), "still here");
    longwire.signal(Signal::SIGTERM);
    client.expect_close(1001);
    server.expect_close(1001);
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

/// A handshake that was under way becomes a tunnel that goes with the others.
#[test]
fn a_tunnel_that_opens_during_the_drain_goes_with_it() {
    let backend = Backend::new();
    let mut longwire = Longwire::start(&site(backend.addr(), "websocket_drain 2s;"));
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, head) = backend.request();
    longwire.signal(Signal::SIGQUIT);
    longwire.wait_log(&["told to go", ": 0"]);
    let begun = Instant::now();
    server.send(support::backend::switching(head.get("sec-websocket-key"), ""));
    client.expect_tunnel();
    client.expect_close(1001);
    between(begun.elapsed(), 0, 8000);
    server.expect_close(1001);
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

#[test]
fn a_server_that_drains_is_left_evenly_and_gets_nobody_back() {
    let apps = Instance::several(2);
    let (a, b) = (apps[0].addr, apps[1].addr);
    let longwire = Longwire::start(&group(&format!("server {a}; server {b};"), "websocket_drain 6s;", ""));
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let (conn, head) = talking(longwire.addr());
        if head.get("x-instance") == "a" { at_a.push(conn) } else { at_b.push(conn) }
    }
    assert_eq!((at_a.len(), at_b.len()), (30, 30));
    let crowd = Crowd::of(at_a);
    let begun = Instant::now();
    longwire.reload(&group(&format!("server {a} drain; server {b};"), "websocket_drain 6s;", ""));
    assert_eq!(handshake(longwire.addr(), "").get("x-instance"), "b");
    let parts = crowd.parts(begun, Duration::from_secs(6), 3, 1012);
    assert!(parts.iter().all(|told| (6..=14).contains(told)), "{parts:?}");
    longwire.wait_log(&["told to go", ": 30"]);
    until("nobody is left there", || apps[0].tunnels() == 0);
    for client in &mut at_b {
        client.expect_echo("nothing has happened");
    }
    for _ in 0..4 {
        assert_eq!(handshake(longwire.addr(), "").get("x-instance"), "b");
    }
}

/// Read again and again, a drain ends in the time that it began with; without the mark, it is over.
#[test]
fn a_drain_is_neither_prolonged_nor_irrevocable() {
    let apps = Instance::several(2);
    let (a, b) = (apps[0].addr, apps[1].addr);
    let drains = group(&format!("server {a} drain; server {b};"), "websocket_drain 6s;", "");
    let longwire = Longwire::start(&group(&format!("server {a};"), "", ""));
    let _crowd = Crowd::of(open(longwire.addr(), 20));
    let begun = Instant::now();
    longwire.reload(&drains);
    longwire.wait_log(&["told to go", ": 20"]);
    while apps[0].tunnels() > 17 {
        assert!(begun.elapsed() < WAIT);
        longwire.reload(&drains);
    }
    longwire.reload(&group(&format!("server {a}; server {b};"), "", ""));
    until("it stays as it is for four seconds", || {
        let before = apps[0].tunnels();
        std::thread::park_timeout(Duration::from_secs(4));
        apps[0].tunnels() == before
    });
    assert!((1..=17).contains(&apps[0].tunnels()), "{}", apps[0].tunnels());
    longwire.reload(&drains);
    until("all have gone", || apps[0].tunnels() == 0);
}

#[test]
fn a_client_that_sticks_to_a_server_that_drains_goes_elsewhere() {
    let apps = Instance::several(2);
    let servers = format!(
        "server {} route=a; server {} route=b drain; sticky cookie where;",
        apps[0].addr, apps[1].addr
    );
    let longwire = Longwire::start(&group(&servers, "", ""));
    let addr = longwire.addr();
    let ask = |path: &str| {
        let mut conn = Conn::connect(addr);
        conn.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: where=b\r\n\r\n"))
            .0
            .get("x-instance")
            .to_owned()
    };
    let knock = |path: &str| {
        let mut conn = Conn::connect(addr);
        conn.send(upgrade_request(path, "Cookie: where=b\r\n"));
        conn.read_head()
    };
    assert_eq!(ask("/page"), "b", "what is no tunnel sticks, as in nginx");
    let head = knock("/");
    assert_eq!(head.get("x-instance"), "a");
    assert!(head.get("set-cookie").starts_with("where=a"), "{head:?}");
    // A session of Engine.IO lives where it began; one that begins goes elsewhere.
    assert_eq!(ask("/socket.io/?EIO=4&transport=polling&sid=x"), "b");
    assert_eq!(knock("/socket.io/?EIO=4&transport=websocket&sid=x").get("x-instance"), "b");
    assert_eq!(ask("/socket.io/?EIO=4&transport=polling"), "a");
    assert_eq!(knock("/socket.io/?EIO=4&transport=websocket").get("x-instance"), "a");
}

/// By default nobody notices; `websocket_reload drain` is for those who want it otherwise.
#[test]
fn tunnels_to_a_server_that_a_reload_removes_stay_or_go() {
    let apps = Instance::several(3);
    let (a, b) = (apps[0].addr, apps[1].addr);
    // The third is reached by a variable: no configuration ever names it as a server.
    let other = format!(
        "server {{ listen 127.0.0.2:0; location / {{ set $to {}; proxy_pass http://$to; }} }}",
        apps[2].addr
    );
    let both = format!("{}{other}", group(&format!("server {a}; server {b};"), "", ""));
    let longwire = Longwire::start(&both);
    let (mut kept, _) = tunnel(longwire.addr_on("127.0.0.2"), "");
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let (conn, head) = tunnel(longwire.addr_on("127.0.0.1"), "");
        if head.get("x-instance") == "a" { at_a.push(conn) } else { at_b.push(conn) }
    }
    longwire.reload(&format!("{}{other}", group(&format!("server {b};"), "websocket_drain 1s;", "")));
    assert_eq!(handshake(longwire.addr_on("127.0.0.1"), "").get("x-instance"), "b");
    for client in &mut at_a {
        client.expect_echo("still here");
    }
    let drains = group(&format!("server {b};"), "websocket_drain 1s;", "websocket_reload drain;");
    longwire.reload(&format!("{drains}{other}"));
    let crowd = Crowd::of(at_a);
    crowd.parts(Instant::now(), WAIT, 1, 1012);
    for client in at_b.iter_mut().chain([&mut kept]) {
        client.expect_echo("nothing has happened");
    }
    // Its location is gone as well: then `http` says it.
    longwire.reload(&format!("websocket_drain 1s; websocket_reload drain; {other}"));
    Crowd::of(at_b).parts(Instant::now(), WAIT, 1, 1012);
    kept.expect_echo("nothing has happened");
    assert_eq!(get(longwire.addr_on("127.0.0.2"), "/").1, "c");
}
