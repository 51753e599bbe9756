//! The admin address: who may ask what, and how it lives with reloads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use serde_json::json;
use support::{Conn, Folder, Longwire, admin, check, until};

const TOKEN: &str = "a-token-for-the-tests-0123456789";

/// A server, and an admin address with these parameters.
fn configured(parameters: &str) -> String {
    format!(
        "admin {} {parameters};\nserver {{ listen 127.0.0.1:0; location / {{ return 200 served; }} }}\n",
        admin::LISTEN
    )
}

#[test]
fn it_answers_beside_the_servers() {
    let longwire = Longwire::start(&configured(""));
    let addr = admin::of(&longwire);
    let (status, overview) = admin::get(addr, "/api");
    assert_eq!((status, &overview["tunnels"], &overview["writing"]), (200, &json!(0), &json!("off")));
    assert_eq!(overview["pid"], json!(longwire.pid()));
    assert_eq!(support::conn::get(longwire.addr_on("127.0.0.1"), "/").1, "served");
    let (head, page) = admin::ask(addr, "GET", "/", "", None);
    assert!(head.get("content-type").starts_with("text/html") && page.contains("Longwire"), "{page}");
    assert!(admin::ask(addr, "GET", "/metrics", "", None).1.contains("\nlongwire_tunnels_open 0\n"));
    let mut conn = Conn::connect(addr);
    conn.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(conn.read_head().status(), 200);
    conn.expect_end();
}

#[test]
fn every_answer_is_guarded() {
    let longwire = Longwire::start(&configured(""));
    for path in ["/", "/page.js", "/metrics", "/api", "/nothing"] {
        let (head, _) = admin::ask(admin::of(&longwire), "GET", path, "", None);
        assert_eq!(head.get("cache-control"), "no-store", "{path}");
        assert_eq!(head.get("x-content-type-options"), "nosniff", "{path}");
        assert!(head.get("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(!head.has("access-control-allow-origin"), "{path}");
    }
}

#[test]
fn other_names_and_other_sites_are_refused() {
    let longwire = Longwire::start(&configured("name=ops.example.com"));
    let addr = admin::of(&longwire);
    let status = |lines: &str| {
        let head = format!("GET /api HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        Conn::connect(addr).ask(&head).0.status()
    };
    assert_eq!(status("Host: ops.example.com\r\n"), 200);
    assert_eq!(status("Host: evil.example\r\n"), 421);
    assert_eq!(status("Host: localhost\r\nOrigin: http://evil.example\r\n"), 403);
    assert_eq!(status("Host: localhost:1\r\nOrigin: http://localhost:1\r\n"), 200);
    assert_eq!(status("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"), 403);
}

#[test]
fn nothing_is_changed_without_the_token() {
    let path = "/api/tunnels/1/close";
    let longwire = Longwire::start(&configured(""));
    let (status, said) = admin::post(admin::of(&longwire), path, &json!({}), Some(TOKEN));
    assert_eq!(status, 403, "{said}");
    assert!(said["error"].as_str().unwrap().contains("token=FILE"), "{said}");
    let folder = Folder::new();
    folder.write("token", format!("{TOKEN}\n"));
    let longwire = Longwire::start_in(folder, &configured("token=DIR/token"), &[]);
    let addr = admin::of(&longwire);
    assert_eq!(admin::get(addr, "/api").1["writing"], "token");
    assert_eq!(admin::post(addr, path, &json!({}), None).0, 401);
    assert_eq!(admin::post(addr, path, &json!({}), Some("another-token-0123456789")).0, 401);
    assert_eq!(admin::post(addr, path, &json!({}), Some(TOKEN)).0, 404, "there is no such tunnel");
}

#[test]
fn a_unix_socket_is_for_its_user_alone() {
    let folder = Folder::new();
    let socket = folder.path().join("admin.sock");
    let configuration = "admin unix:DIR/admin.sock;\nserver { listen 127.0.0.1:0; }\n";
    let longwire = Longwire::start_in(folder, configuration, &[]);
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    let mut conn = UnixStream::connect(&socket).unwrap();
    conn.write_all(b"GET /api HTTP/1.1\r\nHost: longwire\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    conn.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"writing\":\"open\""), "{answer}");
    drop(longwire);
}

#[test]
fn it_comes_and_goes_with_a_reload() {
    let plain = "server { listen 127.0.0.1:0; location / { return 200 served; } }\n";
    let longwire = Longwire::start(plain);
    let said = longwire.reload(&configured(""));
    let line =
        said.lines().find(|line| line.contains("listening on 127.0.0.9")).unwrap_or_else(|| panic!("{said}"));
    let addr = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(admin::get(addr, "/api").0, 200);
    // A connection that is kept is asked by the terms of the configuration in force.
    let mut kept = Conn::connect(addr);
    let question = "GET /api HTTP/1.1\r\nHost: ops.example.com\r\n\r\n";
    assert_eq!(kept.ask(question).0.status(), 421);
    longwire.reload(&configured("name=ops.example.com"));
    assert_eq!(kept.ask(question).0.status(), 200);
    longwire.reload(plain);
    kept.expect_end();
    until("nobody listens there", || std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn a_public_address_is_named_as_one() {
    for address in ["0.0.0.0:9191", "[::]:9191", "192.0.2.1:9191", "db.example.com:9191"] {
        let (fine, said) = check(&format!("admin {address};\nserver {{ listen 127.0.0.1:0; }}\n"));
        assert!(!fine && said.contains("can be reached by other machines"), "{address}: {said}");
    }
    let (fine, said) = check("admin 0.0.0.0:9191 public;\nserver { listen 127.0.0.1:0; }\n");
    assert!(fine && said.contains("whoever reaches this admin address"), "{said}");
    let (fine, said) = check("admin 9191;\nserver { listen 9191; }\n");
    assert!(!fine && said.contains("listened on elsewhere as well"), "{said}");
    let (fine, said) = check("admin 9191 token=DIR/none;\nserver { listen 127.0.0.1:0; }\n");
    assert!(!fine && said.contains("token file") && said.contains("cannot be read"), "{said}");
}
