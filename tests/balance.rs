//! Balancing: where a client lands, where it lands again, and what happens when a backend fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::conn::get;
use support::instance::{Instance, Manner, group, handshake, tunnel};
use support::{Conn, Longwire, close, until};

/// The instance that an ordinary request with these header lines comes to.
fn at(longwire: &Longwire, more: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{more}\r\n");
    Conn::connect(longwire.addr()).ask(&request).1
}

/// `name=value` of the only cookie that was set.
fn cookie(head: &support::Head) -> String {
    head.get("set-cookie").split(';').next().unwrap().to_owned()
}

#[test]
fn a_cookie_leads_back_for_requests_and_handshakes() {
    let apps = Instance::several(3);
    let all: Vec<&Instance> = apps.iter().collect();
    let sticky = "sticky cookie id expires=1h domain=.a.test path=/ws httponly secure samesite=lax;";
    let longwire = Longwire::start(&group(&all, "fail_timeout=1s", sticky, ""));

    let (_tunnel, head) = tunnel(longwire.addr(), "");
    let set = head.get("set-cookie").to_owned();
    let (value, attributes) = set.split_once("; ").unwrap();
    assert_eq!(value.len(), "id=".len() + 32, "an MD5 in hex: {set}");
    let (expires, rest) = attributes.split_once(" GMT; ").unwrap();
    assert!(expires.starts_with("expires="), "{set}");
    assert_eq!(rest, "max-age=3600; domain=.a.test; httponly; secure; samesite=lax; path=/ws");

    let home = head.get("x-instance").to_owned();
    for _ in 0..10 {
        assert_eq!(at(&longwire, &format!("Cookie: other=1; {value}\r\n")), home);
        let (_tunnel, head) = tunnel(longwire.addr(), &format!("Cookie: {value}\r\n"));
        assert_eq!((head.get("x-instance"), cookie(&head).as_str()), (home.as_str(), value));
    }
    let strangers: std::collections::HashSet<_> = (0..9).map(|_| at(&longwire, "")).collect();
    assert_eq!(strangers.len(), 3, "those without a cookie are spread");
}

#[test]
fn whose_server_is_gone_moves_and_may_come_back() {
    let mut apps = Instance::several(3);
    let all: Vec<&Instance> = apps.iter().collect();
    let longwire = Longwire::start(&group(&all, "fail_timeout=1s", "sticky cookie id;", ""));
    let (mut lost, head) = tunnel(longwire.addr(), "");
    let mine = format!("Cookie: {}\r\n", cookie(&head));
    let home = head.get("x-instance").to_owned();
    let others: Vec<_> = (0..12).map(|_| tunnel(longwire.addr(), "")).collect();

    let index = apps.iter().position(|app| app.name == home).unwrap();
    let addr = apps.remove(index).addr;
    lost.expect_close(1014);
    let (_moved, head) = tunnel(longwire.addr(), &mine);
    assert_ne!(head.get("x-instance"), home);
    assert_ne!(format!("Cookie: {}\r\n", cookie(&head)), mine, "the cookie names the new server");
    longwire.wait_log(&["[warn]", "temporarily disabled", &addr.to_string(), "left out for 1s", "refused"]);
    for (mut conn, head) in others {
        if head.get("x-instance") != home {
            conn.expect_echo("not disturbed");
        }
    }

    let _again = Instance::at(&home, addr);
    until("clients return", || handshake(longwire.addr(), &mine).get("x-instance") == home);
    longwire.wait_log(&[&addr.to_string(), "is back after"]);
    let lines = |part: &str| longwire.log().lines().filter(|l| l.contains(part)).count();
    assert_eq!((lines("left out for"), lines("is back after")), (1, 1), "once each");
}

#[test]
fn a_signed_cookie_cannot_be_made_up() {
    let apps = Instance::several(2);
    let all: Vec<&Instance> = apps.iter().collect();
    let plain = Longwire::start(&group(&all, "", "sticky cookie id;", ""));
    let old = Longwire::start(&group(&all, "", "sticky cookie id secret=old;", ""));
    let both = Longwire::start(&group(&all, "", "sticky cookie id secret=new secret=old;", ""));
    let bare = cookie(&tunnel(plain.addr(), "").1);
    let (_tunnel, head) = tunnel(old.addr(), "");
    let (signed, home) = (cookie(&head), head.get("x-instance").to_owned());
    assert!(signed.starts_with("id=") && signed.contains('.'), "{signed}");
    for _ in 0..6 {
        assert_eq!(at(&old, &format!("Cookie: {signed}\r\n")), home);
        assert_eq!(at(&both, &format!("Cookie: {signed}\r\n")), home, "the old secret still holds");
    }
    // What plain nginx would believe is not believed: such a client is one without a cookie.
    let spread: std::collections::HashSet<_> =
        (0..6).map(|_| at(&old, &format!("Cookie: {bare}\r\n"))).collect();
    assert_eq!(spread.len(), 2);
}

#[test]
fn routes_and_learned_sessions_stick_and_draining_servers_keep_theirs() {
    let apps = Instance::several(2);
    let (a, b) = (apps[0].addr, apps[1].addr);
    let longwire = Longwire::start(&format!(
        "upstream routed {{ sticky route $cookie_r $arg_r; server {a} route=one; server {b} route=two drain; }}
         upstream learned {{ sticky learn create=$upstream_http_x_session lookup=$arg_sid zone=s:64k; server {a}; server {b}; }}
         server {{ listen 127.0.0.1:0;
            location /routed {{ proxy_pass http://routed/; }}
            location /learned {{ proxy_pass http://learned/; }} }}"
    ));
    for _ in 0..4 {
        assert_eq!(get(longwire.addr(), "/routed?r=two").1, "b");
        assert_eq!(get(longwire.addr(), "/routed?r=one").1, "a");
        assert_eq!(get(longwire.addr(), "/routed").1, "a", "nothing new to a server that drains");
    }
    drop(longwire);

    let session = |name: &'static str| {
        support::Backend::http(move |head, _| {
            let more = if head.target().contains("sid") { "" } else { "X-Session: " };
            let more = if more.is_empty() { String::new() } else { format!("{more}s-{name}\r\n") };
            format!("HTTP/1.1 200 OK\r\n{more}Content-Length: 1\r\n\r\n{name}")
        })
    };
    let longwire = Longwire::start(&format!(
        "upstream app {{ sticky learn create=$upstream_http_x_session lookup=$arg_sid zone=s:64k; server {}; server {}; }}
         server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; }} }}",
        session("a"),
        session("b"),
    ));
    let first: Vec<_> = (0..2).map(|_| get(longwire.addr(), "/").1).collect();
    assert_ne!(first[0], first[1]);
    for name in ["a", "b", "b", "a", "a"] {
        assert_eq!(get(longwire.addr(), &format!("/?sid=s-{name}")).1, name);
    }
}

/// However a tunnel ends, its place is free again.
#[test]
fn a_tunnel_holds_its_place_until_it_has_ended() {
    let app = Instance::new("a");
    let longwire = Longwire::start(&group(&[&app], "max_conns=1", "", ""));
    let ends: [fn(Conn); 5] = [
        |mut conn| {
            conn.send_frame(&close(1000, ""));
            conn.expect_close(1000);
        },
        |conn| conn.reset(),
        |mut conn| conn.end(),
        |mut conn| conn.send(b"\xff no frame"),
        // The last one only has to find its place.
        drop,
    ];
    for end in ends {
        let mut conn = Conn::knock(longwire.addr(), "");
        until("the place is free", || {
            let is_free = conn.read_head().status() == 101;
            if !is_free {
                conn = Conn::knock(longwire.addr(), "");
            }
            is_free
        });
        conn.expect_echo("taken");
        assert_eq!(handshake(longwire.addr(), "").status(), 502, "there is no place for two");
        longwire.wait_log(&["WebSocket handshake failed, fault of the backend: no live upstreams"]);
        end(conn);
    }
}

#[test]
fn a_new_server_is_filled_first_under_least_conn() {
    let count: usize = std::env::var("LONGWIRE_TUNNELS").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let apps = Instance::several(2);
    let late = Instance::new("late").addr;
    let servers = format!("least_conn; server {late} fail_timeout=1s;");
    let longwire = Longwire::start(&group(&[&apps[0], &apps[1]], "", &servers, ""));
    let mut held: Vec<_> = (0..count).map(|_| tunnel(longwire.addr(), "")).collect();
    assert!(apps.iter().all(|app| app.tunnels().abs_diff(count / 2) <= 1), "two share what there is");

    let late = Instance::at("late", late);
    until("the new one is found", || {
        held.push(tunnel(longwire.addr(), ""));
        late.tunnels() > 0
    });
    let more: Vec<_> = (0..count / 4).map(|_| tunnel(longwire.addr(), "")).collect();
    let elsewhere = more.iter().filter(|(_, head)| head.get("x-instance") != "late").count();
    assert_eq!(elsewhere, 0, "all that come go to the new server");
}

#[test]
fn other_servers_are_tried_for_the_reasons_that_are_named() {
    let apps = Instance::several(2);
    apps[0].behave(Manner::Status(503));
    let start = |directives: &str| {
        Longwire::start(&group(&[&apps[0], &apps[1]], "max_fails=0", "ip_hash;", directives))
    };
    // Under ip_hash one of them is first for us: let that be the one that fails.
    let probe = start("");
    let first = usize::from(handshake(probe.addr(), "").status() == 101);
    apps[0].behave(Manner::Serve);
    apps[first].behave(Manner::Status(503));
    let other = apps[1 - first].name.as_str();

    let post = |longwire: &Longwire| {
        let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        Conn::connect(longwire.addr()).ask(request).0.status()
    };
    let plain = start("");
    assert_eq!(handshake(plain.addr(), "").status(), 503, "an answer is an answer");
    plain.wait_log(&["WebSocket handshake failed, fault of the backend: it answered 503 instead of 101"]);

    let more = start("proxy_next_upstream http_503;");
    assert_eq!(tunnel(more.addr(), "").1.get("x-instance"), other);
    more.wait_log(&["upstream answered 503", "something else is tried"]);
    assert_eq!(post(&more), 503, "what may have had an effect is not sent twice");
    let twice = start("proxy_next_upstream http_503 non_idempotent;");
    assert_eq!(post(&twice), 200);
    let once = start("proxy_next_upstream http_503; proxy_next_upstream_tries 1;");
    assert_eq!(handshake(once.addr(), "").status(), 503);

    apps[first].behave(Manner::Reset);
    assert_eq!(tunnel(plain.addr(), "").1.get("x-instance"), other, "\"error\" is a reason by default");
    assert_eq!(handshake(start("proxy_next_upstream timeout;").addr(), "").status(), 502);
    assert_eq!(handshake(start("proxy_next_upstream off;").addr(), "").status(), 502);

    apps[first].behave(Manner::Hang);
    let patient = "proxy_read_timeout 300ms; proxy_next_upstream_timeout 100ms;";
    assert_eq!(handshake(start(patient).addr(), "").status(), 504, "by then it was too late for another");
    assert_eq!(handshake(start("proxy_read_timeout 2s;").addr(), "").status(), 101);
}

/// One of four answers; the others refuse, hang and reset. No client notices.
#[test]
fn no_client_sees_an_error_that_another_try_could_avoid() {
    let count: usize = std::env::var("LONGWIRE_HANDSHAKES").ok().and_then(|n| n.parse().ok()).unwrap_or(5000);
    let apps = Instance::several(3);
    apps[1].behave(Manner::Hang);
    apps[2].behave(Manner::Reset);
    let refusing = support::backend::nobody();
    let longwire = Longwire::start(&group(
        &[&apps[0], &apps[1], &apps[2]],
        "fail_timeout=1s",
        &format!("server {refusing} fail_timeout=1s;"),
        "proxy_connect_timeout 2s; proxy_read_timeout 2s;",
    ));
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while begun.fetch_add(1, Ordering::SeqCst) < count {
                    let head = handshake(longwire.addr(), "");
                    assert_eq!((head.status(), head.get("x-instance")), (101, "a"));
                }
            });
        }
    });
    longwire.wait_log(&[&refusing.to_string(), "left out for 1s", "Connection refused"]);
    longwire.wait_log(&[&apps[1].addr.to_string(), "left out for 1s", "upstream timed out"]);
    longwire.wait_log(&[&apps[2].addr.to_string(), "left out for 1s", "reset"]);
    let log = longwire.log();
    assert!(!log.contains("WebSocket handshake failed"), "{log}");
    // Each is told of once, and no more: none of them came back.
    let mut told: HashMap<&str, usize> = HashMap::new();
    for line in log.lines().filter(|line| line.contains("is left out for")) {
        let (_, rest) = line.split_once("disabled: ").unwrap();
        *told.entry(rest.split(' ').next().unwrap()).or_default() += 1;
    }
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.values().all(|&times| times == 1), "{told:?}");
    assert!(!log.contains("is back after"));
}

#[test]
fn a_session_that_is_unknown_elsewhere_is_named() {
    let unknown = r#"{"code":1,"message":"Session ID unknown"}"#;
    let lost = move || {
        support::Backend::http(move |_, _| {
            format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{unknown}", unknown.len())
        })
    };
    let start = |directives: &str| {
        Longwire::start(&format!(
            "upstream app {{ {directives} server {}; server {}; }}
             server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; }} }}",
            lost(),
            lost()
        ))
    };
    let longwire = start("");
    let path = "/socket.io/?EIO=4&transport=websocket&sid=abc";
    let mut client = Conn::connect(longwire.addr());
    client.send(support::frames::upgrade_request(path, ""));
    let (head, body) = client.read_answer();
    assert_eq!((head.status(), body.as_str()), (400, unknown), "the answer itself is not touched");
    longwire.wait_log(&[
        "WebSocket handshake failed, fault of the configuration: the session is unknown to this backend",
        "stickiness is missing: write \"sticky cookie NAME;\" or \"ip_hash;\" in upstream \"app\"",
    ]);
    assert_eq!(get(longwire.addr(), "/socket.io/?EIO=4&transport=polling&sid=abc").1, unknown);
    longwire.wait_log(&["stickiness is missing", "transport=polling"]);

    let longwire = start("ip_hash;");
    Conn::knock(longwire.addr(), "");
    get(longwire.addr(), "/socket.io/?EIO=4&transport=polling&sid=abc");
    longwire.wait_log(&["the session is unknown to this backend", "it ended there"]);
}

#[test]
fn connections_in_work_go_on_when_a_neighbour_dies() {
    let mut apps = Instance::several(4);
    let all: Vec<&Instance> = apps.iter().collect();
    let longwire = Longwire::start(&group(&all, "fail_timeout=1s", "hash $arg_user consistent;", ""));
    let open = |user: usize| {
        let mut conn = Conn::connect(longwire.addr());
        conn.send(support::frames::upgrade_request(&format!("/?user={user}"), ""));
        let head = conn.expect_tunnel();
        (conn, head.get("x-instance").to_owned())
    };
    let mut users: Vec<_> = (0..40).map(open).collect();
    let dead = apps.remove(1);
    let (name, addr) = (dead.name.clone(), dead.addr);
    drop(dead);
    for (user, (conn, home)) in users.iter_mut().enumerate() {
        match *home == name {
            true => {
                conn.expect_close(1014);
                assert_ne!(open(user).1, name, "its clients find another server");
            }
            false => {
                conn.expect_echo("I did not notice");
                assert_eq!(open(user).1, *home, "and all others stay where they were");
            }
        }
    }
    let mine = users.iter().position(|(_, home)| *home == name).unwrap();
    let _again = Instance::at(&name, addr);
    until("its clients return", || open(mine).1 == name);
}

#[test]
fn health_checks_take_servers_out_and_bring_them_back() {
    let apps = Instance::several(2);
    let checks =
        "health_check interval=100ms fails=2 passes=2 uri=/health type=websocket; proxy_read_timeout 1s;";
    let longwire = Longwire::start(&group(&[&apps[0], &apps[1]], "max_fails=0", "", checks));
    let only_b = || (0..4).all(|_| handshake(longwire.addr(), "").get("x-instance") == "b");
    let addr = apps[0].addr.to_string();
    let back = || longwire.log().lines().filter(|line| line.contains("is back after")).count();
    let faults =
        [(Manner::Status(500), "it answered 500 instead of 101"), (Manner::Hang, "no answer within 1s")];
    for (round, (manner, why)) in faults.into_iter().enumerate() {
        apps[0].behave(manner);
        longwire.wait_log(&[
            "[warn]",
            "upstream server disabled",
            &addr,
            "until its health checks pass",
            why,
        ]);
        assert!(only_b(), "{why}");
        apps[0].behave(Manner::Serve);
        until("it is back", || back() == round + 1);
        assert!(!only_b());
    }
    apps[0].behave(Manner::Mute);
    until("a backend that answers no ping is out", || longwire.log().matches("server disabled").count() == 3);
    assert!(only_b());
}

#[test]
fn a_mandatory_check_comes_before_the_first_client() {
    let apps = Instance::several(2);
    apps[1].behave(Manner::Status(500));
    let longwire =
        Longwire::start(&group(&[&apps[0], &apps[1]], "", "", "health_check mandatory interval=100ms;"));
    until("one has passed", || handshake(longwire.addr(), "").status() == 101);
    assert!((0..4).all(|_| get(longwire.addr(), "/").1 == "a"));
    assert!(!longwire.log().contains("is back"), "it never left");
    apps[1].behave(Manner::Serve);
    until("the other one has passed, too", || get(longwire.addr(), "/").1 == "b");
}
