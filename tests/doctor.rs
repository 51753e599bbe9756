//! `longwire doctor` on servers that are up and wrong in one way each: verdict, exit status, the report in both forms.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use support::backend::{nobody, switching};
use support::tls::Identity;
use support::{Backend, Folder, Head, Longwire, longwire, run};

/// Runs the doctor, and gives its exit status and what it printed as JSON.
fn doctor(args: &[&str]) -> (Option<i32>, Value) {
    let (status, printed, said) = run(longwire().arg("doctor").arg("--json").args(args));
    let json = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}:\n{printed}{said}"));
    (status, json)
}

/// The verdict's id, after a look at the exit status that belongs to it.
fn verdict(args: &[&str]) -> String {
    let (status, json) = doctor(args);
    let id = json["verdict"]["id"].as_str().unwrap().to_owned();
    let due = match id.as_str() {
        "sound" => 0,
        "could-not-tell" | "url-invalid" => 2,
        _ => 1,
    };
    assert_eq!(status, Some(due), "{json:#}");
    id
}

fn ws(addr: SocketAddr) -> String {
    format!("ws://{addr}/ws")
}

/// An answer with a body.
fn answer(start: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {start}\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
}

/// A server that answers handshakes with this, and other requests with a page.
fn server(to_handshake: impl Fn(&Head) -> String + Send + Sync + 'static) -> SocketAddr {
    Backend::http(move |head, _| {
        if head.has("upgrade") { to_handshake(head) } else { answer("200 OK", "", "a page of this server") }
    })
}

#[test]
fn a_sound_server_is_called_sound() {
    let (status, json) = doctor(&[&ws(Backend::echo())]);
    assert_eq!(status, Some(0), "{json:#}");
    assert_eq!(json["sound"], true);
    assert_eq!(json["format"], 1);
    let trials = json["facts"]["session"]["trials"].as_array().unwrap();
    let outcome = |id: &str| {
        let trial =
            trials.iter().find(|trial| trial["id"] == id).unwrap_or_else(|| panic!("no {id} in {json:#}"));
        trial["outcome"].as_str().unwrap().to_owned()
    };
    for id in ["ping", "text", "64k", "1m"] {
        assert_eq!(outcome(id), "echoed", "{id}");
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let never = |_: &Head| answer("403 Forbidden", "", "no");
    let picky = |head: &Head| match head.get("origin") {
        "" => switching(head.get("sec-websocket-key"), ""),
        _ => answer("403 Forbidden", "", "no"),
    };
    let by_path = |head: &Head| match head.target() {
        "/cable" => switching(head.get("sec-websocket-key"), ""),
        _ => answer("404 Not Found", "", "nothing here"),
    };
    let stripped =
        Backend::http(|_, _| answer("426 Upgrade Required", "Server: nginx\r\n", "Upgrade Required"));
    let slash = |head: &Head| match head.target() {
        "/ws" => answer("301 Moved", "Location: /ws/\r\n", ""),
        _ => switching(head.get("sec-websocket-key"), ""),
    };
    let wrong_key = |_: &Head| switching("bm90IHlvdXIga2V5ISEhIQ==", "");
    for (addr, id) in [
        (server(never), "forbidden"),
        (server(picky), "origin-refused"),
        (server(by_path), "wrong-path"),
        (stripped, "upgrade-stripped"),
        (server(wrong_key), "accept-wrong"),
        (server(|_| answer("502 Bad Gateway", "", "")), "backend-down"),
        (server(|_| answer("429 Too Many Requests", "", "")), "rate-limited"),
        (server(|_| answer("302 Found", "Location: /users/login\r\n", "")), "redirect-login"),
        (server(slash), "redirect-slash"),
        (server(|_| answer("301 Moved", "Location: /ws\r\n", "")), "redirect-loop"),
        (server(|_| "SSH-2.0-x\r\n".to_owned()), "not-http"),
        (nobody(), "tcp-refused"),
    ] {
        assert_eq!(verdict(&[&ws(addr)]), id);
    }
    assert_eq!(verdict(&["ws://"]), "url-invalid");
    assert_eq!(verdict(&[&format!("wss://{}/", Backend::echo())]), "tls-on-plain-port");
}

/// Who ends late, on the first thing that is said, is asked what would let it stay, as one that ends at once.
#[test]
fn a_server_that_ends_on_a_ping_is_asked_for_subprotocols() {
    let backend = Backend::new();
    let addr = backend.addr();
    let served = std::thread::spawn(move || verdict(&[&ws(addr)]));
    while !served.is_finished() {
        let Some(mut conn) = backend.accept_within(Duration::from_millis(20)) else { continue };
        std::thread::spawn(move || {
            let head = conn.try_read_head()?;
            conn.try_upgrade(&head);
            if head.has("sec-websocket-protocol") {
                conn.echo();
            } else {
                conn.try_read_raw_frame()?;
                conn.send_frame(&support::close(1000, ""));
                conn.try_read_raw_frame();
            }
            Some(())
        });
    }
    assert_eq!(served.join().unwrap(), "subprotocol-needed");
}

#[test]
fn a_certificate_is_judged_and_nothing_is_said_to_who_is_not_trusted() {
    let folder = Folder::new();
    Identity::new(&["localhost"]).write(&folder, "site");
    let heard: Arc<Mutex<Vec<Head>>> = Arc::default();
    let backend = Backend::http({
        let heard = heard.clone();
        move |head, _| {
            heard.lock().unwrap().push(head.clone());
            answer("401 Unauthorized", "", "who are you")
        }
    });
    let ca = folder.path().join("site.crt").display().to_string();
    let proxy = Longwire::start_in(
        folder,
        &format!(
            "server {{ listen 127.0.0.1:0 ssl; ssl_certificate site.crt; ssl_certificate_key site.key;
             location / {{ proxy_pass http://{backend}; }} }}"
        ),
        &[],
    );
    let port = proxy.addr().port();
    let cookie = ["--cookie", "session=secret"];
    assert_eq!(verdict(&[&format!("wss://localhost:{port}/"), cookie[0], cookie[1]]), "tls-self-signed");
    let other = format!("other.test:{port}:127.0.0.1");
    let name = format!("wss://other.test:{port}/");
    assert_eq!(
        verdict(&[&name, "--resolve", &other, "--ca", &ca, cookie[0], cookie[1]]),
        "tls-name-mismatch"
    );
    assert!(heard.lock().unwrap().is_empty(), "a cookie went to a server that is not trusted");
    let url = format!("wss://localhost:{port}/");
    let here = format!("localhost:{port}:127.0.0.1");
    assert_eq!(verdict(&[&url, "--resolve", &here, "--ca", &ca]), "login-required");
    assert_eq!(verdict(&[&name, "--resolve", &other, "--insecure"]), "login-required");
    assert_eq!(verdict(&[&format!("ws://127.0.0.1:{port}/")]), "plain-on-tls-port");
}

#[test]
fn what_is_asked_for_is_sent() {
    let heard: Arc<Mutex<Vec<Head>>> = Arc::default();
    let addr = server({
        let heard = heard.clone();
        move |head| {
            heard.lock().unwrap().push(head.clone());
            answer("401 Unauthorized", "", "")
        }
    });
    let url = format!("ws://app.test:{}/x?y=1", addr.port());
    let resolve = format!("app.test:{}:127.0.0.1", addr.port());
    let args = [&url, "--resolve", &resolve, "--origin", "https://page.test", "--subprotocol", "a"];
    let more = ["--subprotocol", "b", "-H", "Host: other.test", "-H", "X-Key: 1", "-b", "c=d"];
    verdict(&[&args[..], &more[..]].concat());
    let heard = heard.lock().unwrap();
    let head = heard.first().unwrap();
    assert_eq!(head.target(), "/x?y=1");
    for (name, value) in [
        ("host", "other.test"),
        ("origin", "https://page.test"),
        ("sec-websocket-protocol", "a, b"),
        ("x-key", "1"),
        ("cookie", "c=d"),
    ] {
        assert_eq!(head.get(name), value, "{name}");
    }
}

#[test]
fn the_report_for_people_has_the_answer_first_and_steers_no_terminal() {
    let addr = server(|_| answer("403 Forbidden", "Server: evil\r\n", "\x1b]0;gone\x07go away"));
    let (status, printed, said) = run(longwire().arg("doctor").arg(ws(addr)));
    assert_eq!((status, said.as_str()), (Some(1), ""));
    let mut lines = printed.lines();
    assert!(lines.next().unwrap().contains("forbidden"), "{printed}");
    assert!(lines.next().unwrap().starts_with("At fault: "), "{printed}");
    let places: Vec<_> =
        ["What shows it:", "What to do:"].iter().map(|part| printed.find(part).unwrap()).collect();
    assert!(places.is_sorted(), "{printed}");
    assert!(
        printed.contains("go away") && !printed.contains('\x1b') && !printed.contains('\x07'),
        "{printed}"
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_said() {
    let missing = format!("wss://{}/", Backend::echo());
    for args in [&[][..], &["--jsn", "ws://a"], &[&missing, "--ca", "/nowhere"]] {
        let (status, printed, said) = run(longwire().arg("doctor").args(args));
        assert_eq!((status, printed.as_str()), (Some(2), ""), "{args:?}");
        assert!(said.starts_with("longwire: "), "{said}");
    }
    let (status, printed, _) = run(longwire().args(["doctor", "-h"]));
    assert_eq!(status, Some(0));
    assert!(printed.contains("--origin"));
}
