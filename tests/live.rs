//! The live view's WebSocket: what is told, to whom, and how it ends; and `longwire top`, which shows the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use serde_json::Value;
use support::frames::{self, Frame};
use support::{Conn, Longwire, admin};

fn configured(location: &str) -> String {
    format!("admin {};\nserver {{ listen 127.0.0.1:0; location / {{ {location} }} }}\n", admin::LISTEN)
}

/// Asks for the WebSocket by the name that the address has.
fn knock(addr: SocketAddr, lines: &str) -> Conn {
    let request = frames::upgrade_request("/api/live", lines).replace("example.com", &addr.to_string());
    let mut conn = Conn::connect(addr);
    conn.send(request);
    conn
}

fn watch(addr: SocketAddr) -> Conn {
    let mut conn = knock(addr, &format!("Origin: http://{addr}\r\n"));
    conn.expect_tunnel();
    conn
}

fn told(conn: &mut Conn) -> Value {
    let frame = conn.try_read_frame().expect("a message");
    serde_json::from_str(frame.text()).unwrap()
}

#[test]
fn a_watcher_is_told_all_that_was_and_then_what_comes() {
    let instance = support::instance::Instance::new("one");
    let longwire = Longwire::start(&configured(&format!("proxy_pass http://{};", instance.addr)));
    let mut watcher = watch(admin::of(&longwire));
    let hello = told(&mut watcher);
    assert_eq!((&hello["kind"], &hello["writing"]), (&"hello".into(), &"off".into()));
    assert_eq!(hello["pid"], longwire.pid());
    assert_eq!(hello["counters"]["open"], 0);
    let (_client, _) = support::instance::tunnel(longwire.addr_on("127.0.0.1"), "");
    let mut seconds = Vec::new();
    let seen = loop {
        let second = told(&mut watcher);
        assert_eq!(second["kind"], "second");
        seconds.extend(second["history"].as_array().unwrap().iter().map(|p| p["at"].as_f64().unwrap()));
        if second["history"].as_array().unwrap().iter().any(|point| point["open"] == 1) {
            break second;
        }
        assert!(seconds.len() < 20, "the tunnel is never told: {second}");
    };
    assert_eq!((&seen["counters"]["open"], &seen["counters"]["opened"]), (&1.into(), &1.into()));
    assert_eq!(seen["upstreams"][0]["servers"][0]["tunnels"], 1, "{}", seen["upstreams"]);
    assert!(seconds.is_sorted_by(|a, b| a < b), "each second is told once: {seconds:?}");
    // Another one, who comes later, has the seconds before.
    let hello = told(&mut watch(admin::of(&longwire)));
    assert!(hello["history"].as_array().unwrap().len() >= seconds.len(), "{}", hello["history"]);
}

#[test]
fn pings_and_close_are_answered() {
    let longwire = Longwire::start(&configured("return 204;"));
    let mut watcher = watch(admin::of(&longwire));
    watcher.send_frame(&Frame::new(frames::PING, "hear me"));
    watcher.send_text("what is said is not listened to");
    watcher.send_frame(&frames::close(1000, ""));
    let answers: Vec<Frame> = std::iter::from_fn(|| watcher.try_read_frame())
        .filter(|frame| frame.opcode != frames::TEXT)
        .take(2)
        .collect();
    assert_eq!((answers[0].opcode, answers[0].payload.as_slice()), (frames::PONG, b"hear me".as_slice()));
    assert_eq!(answers[1].close_code(), Some(1000));
    watcher.expect_end();
}

#[test]
fn only_pages_of_this_address_may_watch_and_not_without_end() {
    let longwire = Longwire::start(&configured("return 204;"));
    let addr = admin::of(&longwire);
    assert_eq!(knock(addr, "Origin: http://evil.example\r\n").read_head().status(), 403);
    assert_eq!(admin::get(addr, "/api/live").0, 426);
    let mut watchers: Vec<Conn> = (0..32).map(|_| watch(addr)).collect();
    let (head, body) = knock(addr, "Connection: close\r\n").read_answer();
    assert_eq!(head.status(), 503, "{body}");
    assert!(body.contains("32 are watching already"), "{body}");
    // A place is free again when one goes.
    watchers.pop().unwrap().end();
    support::until("a place is free", || knock(addr, "").read_head().status() == 101);
}

#[test]
fn watchers_are_told_to_come_back_when_the_address_goes_away() {
    let longwire = Longwire::start(&configured("return 204;"));
    let mut watchers: Vec<Conn> = (0..3).map(|_| watch(admin::of(&longwire))).collect();
    watchers.iter_mut().for_each(|watcher| assert_eq!(told(watcher)["kind"], "hello"));
    longwire.reload("server { listen 127.0.0.1:0; return 204; }\n");
    for watcher in &mut watchers {
        let last = std::iter::from_fn(|| watcher.try_read_frame()).find(|f| f.opcode == frames::CLOSE);
        assert_eq!(last.and_then(|frame| frame.close_code()), Some(1012));
        watcher.expect_end();
    }
}

#[test]
fn a_reload_that_keeps_the_address_keeps_who_watches() {
    let longwire = Longwire::start(&configured("return 204;"));
    let mut watcher = watch(admin::of(&longwire));
    assert_eq!(told(&mut watcher)["counters"]["reloads"]["ok"], 0);
    longwire.reload(&configured("return 205;"));
    let reloaded = (0..5).any(|_| told(&mut watcher)["counters"]["reloads"]["ok"] == 1);
    assert!(reloaded, "the reload is never told");
}

#[test]
fn top_prints_once_where_there_is_no_terminal() {
    let instance = support::instance::Instance::new("one");
    let longwire = Longwire::start(&configured(&format!("proxy_pass http://{};", instance.addr)));
    let (mut client, _) = support::instance::tunnel(longwire.addr_on("127.0.0.1"), "");
    // Whose message passes is in the table; whose 101 has come need not be.
    client.expect_echo("here");
    let at = admin::of(&longwire).to_string();
    let (status, out, err) = support::run(support::longwire().args(["top", "--admin", &at]));
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    for said in [
        &format!("process {}", longwire.pid()),
        "Tunnels    1 open",
        &instance.addr.to_string(),
        "#1  127.0.0.1:",
    ] {
        assert!(out.contains(said), "{said} is not in\n{out}");
    }
    assert!(!out.contains('\x1b'), "{out:?}");
    let gone = support::run(support::longwire().args(["top", "--admin", "127.0.0.1:1"]));
    assert!(gone.0 == Some(2) && gone.2.contains("cannot be asked"), "{gone:?}");
}
