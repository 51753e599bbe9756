//! Who comes in: addresses, passwords, the client behind proxies, and whose page opens a WebSocket.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use support::conn::get;
use support::{Backend, Conn, Folder, Longwire, site, until};

/// A backend that answers every request.
fn anything() -> SocketAddr {
    Backend::http(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned())
}

/// Locations below one server, each with directives and a `proxy_pass`.
fn places(backend: SocketAddr, http: &str, server: &str, places: &[(&str, &str)]) -> String {
    let places: String = places
        .iter()
        .map(|(path, directives)| {
            format!("    location {path} {{ proxy_pass http://{backend}; {directives} }}\n")
        })
        .collect();
    format!("{http}\nserver {{\n    listen 127.0.0.1:0;\n    {server}\n{places}}}\n")
}

#[test]
fn a_client_that_sends_too_much_is_closed() {
    let longwire = Longwire::start(&site(Backend::echo(), "websocket_rate 1r/m burst=2 bytes=1k;"));
    let mut client = Conn::open(longwire.addr());
    for text in ["one", "two", "three"] {
        client.expect_echo(text);
    }
    client.send_text("four");
    assert_eq!(client.read_frame().close_code(), Some(1008));
    let line = longwire.wait_log(&["[warn]", "tunnel ended by the client: sent more at a time than allowed"]);
    assert!(line.contains("(websocket_rate in ") && line.contains("told Close 1008"), "{line}");
    let mut client = Conn::open(longwire.addr());
    client.send_text(&"x".repeat(1025));
    assert_eq!(client.read_frame().close_code(), Some(1008));
}

#[test]
fn the_status_page_counts() {
    let backend = Backend::echo();
    let longwire = Longwire::start(&format!(
        "server {{ listen 127.0.0.1:0; location = /status {{ stub_status; }} location / {{ proxy_pass http://{backend}; }} }}"
    ));
    let page = || get(longwire.addr(), "/status").1;
    let first = "Active connections: 1 \nserver accepts handled requests\n 1 1 1 \nReading: 0 Writing: 1 Waiting: 0 \n";
    assert_eq!(page(), first);
    let tunnel = Conn::open(longwire.addr());
    let idle = Conn::connect(longwire.addr());
    let mut half = Conn::connect(longwire.addr());
    half.send("GET / HTTP/1.1\r\nHost:");
    until("everybody is counted", || {
        let page = page();
        page.starts_with("Active connections: 4 \n") && page.ends_with("Reading: 1 Writing: 2 Waiting: 1 \n")
    });
    drop((tunnel, idle, half));
    until("nobody is left", || page().ends_with("Reading: 0 Writing: 1 Waiting: 0 \n"));
    assert_eq!(ask(&longwire, "/status", "").get("content-type"), "text/plain");
}

/// The answer to a GET with more header lines.
fn ask(longwire: &Longwire, path: &str, headers: &str) -> support::Head {
    let request = format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n{headers}\r\n");
    Conn::connect(longwire.addr()).ask(&request).0
}

#[test]
fn rules_are_tried_in_order() {
    let longwire = Longwire::start(&places(
        anything(),
        "deny 10.0.0.0/8;",
        "",
        &[
            ("/inherited/", ""),
            ("/denied/", "deny all;"),
            ("/first/", "allow 127.0.0.1; deny all;"),
            ("/late/", "deny 127.0.0.0/8; allow all;"),
            ("/others/", "allow 192.0.2.0/24; deny all;"),
            ("/six/", "deny ::/0; allow unix:;"),
            ("/page/", "deny all; error_page 403 = @shown;"),
            ("@shown", "allow all;"),
        ],
    ));
    for (path, status) in [
        ("/inherited/", 200),
        ("/denied/", 403),
        ("/first/", 200),
        ("/late/", 403),
        ("/others/", 403),
        ("/six/", 200),
        ("/page/", 200),
    ] {
        assert_eq!(get(longwire.addr(), path).0.status(), status, "{path}");
    }
    let line = longwire.wait_log(&["access forbidden by rule", "/denied/"]);
    assert!(line.contains("(deny in ") && line.contains("longwire.conf:6)"), "{line}");
    let (head, _) = {
        let mut client = Conn::connect(longwire.addr());
        client.send(support::frames::upgrade_request("/denied/", ""));
        client.read_answer()
    };
    assert_eq!(head.status(), 403);
    longwire
        .wait_log(&["WebSocket handshake failed, fault of the client: access forbidden by rule (deny in "]);
}

const ANN: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
const ANN_WRONG: &str = "Authorization: Basic YW5uOndyb25n\r\n";

#[test]
fn passwords_are_asked_for() {
    let folder = Folder::new();
    folder.write("users", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nbob:$y$j9T$x$y\n");
    let configuration = places(
        anything(),
        "",
        "auth_basic \"the $host realm\"; auth_basic_user_file users;",
        &[
            ("/", "proxy_set_header X-User $remote_user;"),
            ("/open/", "auth_basic off;"),
            ("/missing/", "auth_basic_user_file nowhere;"),
            ("/both/", "deny all;"),
            ("/returns/", "error_page 401 =200 /open/;"),
            ("/any/", "satisfy any; deny all;"),
            ("/home/", "satisfy any; allow 127.0.0.0/8; deny all;"),
            ("/read/", "auth_basic off; limit_except GET { deny all; }"),
            ("/first/", "return 200;"),
        ],
    );
    let longwire = Longwire::start_in(folder, &configuration, &[]);
    let refused = ask(&longwire, "/", "");
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.get("www-authenticate"), "Basic realm=\"the example.com realm\"");
    longwire.wait_log(&["no user/password was provided for basic authentication"]);
    for (path, headers, status) in [
        ("/", ANN, 200),
        ("/", ANN_WRONG, 401),
        ("/", "Authorization: Basic Y2F0OmM=\r\n", 401),
        ("/", "Authorization: Basic Ym9iOmI=\r\n", 401),
        ("/", "Authorization: Bearer x\r\n", 401),
        ("/open/", "", 200),
        ("/missing/", ANN, 403),
        ("/both/", ANN, 403),
        ("/returns/", "", 200),
        ("/any/", ANN, 200),
        ("/any/", ANN_WRONG, 401),
        ("/home/", "", 200),
        ("/read/", "", 200),
        ("/first/", "", 200),
    ] {
        assert_eq!(ask(&longwire, path, headers).status(), status, "{path} {headers}");
    }
    longwire.wait_log(&["user \"ann\": password mismatch"]);
    longwire.wait_log(&["user \"cat\" was not found in \"", "/users\""]);
    longwire.wait_log(&["user \"bob\" in \"", "of a form that Longwire does not know"]);
    longwire.wait_log(&["open() \"", "/nowhere\" failed (2: No such file or directory)"]);
    // The file counts as it is now.
    longwire.folder().write("users", "ann:{PLAIN}wrong\n");
    assert_eq!(ask(&longwire, "/", ANN_WRONG).status(), 200);
    assert_eq!(ask(&longwire, "/", ANN).status(), 401);
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let backend = Backend::http(|head, _| {
        let told = ["x-addr", "x-from", "x-fwd"].map(|name| head.get(name).to_owned()).join(" ");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())
    });
    let told = "proxy_set_header X-Addr $remote_addr:$remote_port; proxy_set_header X-From $realip_remote_addr; \
                proxy_set_header X-Fwd $proxy_add_x_forwarded_for;";
    let longwire = Longwire::start(&places(
        backend,
        "geo $place { default elsewhere; 203.0.113.0/24 near; }\nsplit_clients $remote_addr $half { 50% a; * b; }\n\
         log_format who '$remote_addr $realip_remote_addr $place $half';",
        "access_log access.log who;",
        &[
            ("/", &format!("{told} set_real_ip_from 127.0.0.1;")),
            ("/xff/", &format!("{told} set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;")),
            (
                "/deep/",
                &format!(
                    "{told} set_real_ip_from 127.0.0.1; set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; \
                     real_ip_recursive on; deny 198.51.100.0/24;"
                ),
            ),
            ("/strange/", &format!("{told} set_real_ip_from 10.0.0.0/8;")),
        ],
    ));
    let told = |path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        let (head, body) = Conn::connect(longwire.addr()).ask(&request);
        if head.status() == 200 { body } else { head.status().to_string() }
    };
    assert_eq!(told("/", "X-Real-IP: 203.0.113.9\r\n"), "203.0.113.9: 127.0.0.1 203.0.113.9");
    assert_eq!(told("/", "X-Real-IP: 203.0.113.9:81\r\n"), "203.0.113.9:81 127.0.0.1 203.0.113.9");
    let list = "X-Forwarded-For: 198.51.100.7, 203.0.113.9\r\nX-Forwarded-For: 10.1.2.3\r\n";
    assert!(told("/xff/", list).starts_with("10.1.2.3: 127.0.0.1 "));
    assert!(told("/deep/", list).starts_with("203.0.113.9: 127.0.0.1 "));
    assert_eq!(told("/deep/", "X-Forwarded-For: 198.51.100.7, 10.1.2.3\r\n"), "403");
    let strange = told("/strange/", "X-Real-IP: 203.0.113.9\r\n");
    assert!(strange.starts_with("127.0.0.1:") && strange.contains(" 127.0.0.1 "), "{strange}");
    longwire.wait_log(&["access forbidden by rule", "client: 198.51.100.7,"]);
    let line = "203.0.113.9 127.0.0.1 near";
    until("the access log names the client", || {
        let path = longwire.folder().path().join("access.log");
        std::fs::read_to_string(path).is_ok_and(|log| log.lines().any(|l| l.starts_with(line)))
    });
}

#[test]
fn pages_of_other_origins_open_no_websocket() {
    let longwire = Longwire::start(&site(
        Backend::echo(),
        "websocket_origins https://app.example.com https://*.example.org same-origin;",
    ));
    for (origin, status) in [
        ("Origin: https://app.example.com\r\n", 101),
        ("Origin: https://a.b.example.org\r\n", 101),
        ("", 101),
        ("Origin: https://example.org\r\n", 403),
        ("Origin: https://app.example.com.evil.net\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        let mut client = Conn::knock(longwire.addr(), origin);
        assert_eq!(client.read_head().status(), status, "{origin}");
    }
    let line = longwire.wait_log(&["its Origin \"https://example.org\" is not among websocket_origins in "]);
    assert!(
        line.contains("WebSocket handshake failed, fault of the client") && line.contains("longwire.conf:5,"),
        "{line}"
    );
}
