//! Sessions of TLS are resumed after a reload, and by every process that has the keys; never under other rules.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::tls::Identity;
use support::{Folder, Longwire, check, run, until};

/// A client that keeps its session in a file, and what answered it. openssl is as real as clients get.
struct Client {
    folder: Folder,
    version: &'static str,
}

impl Client {
    fn new(version: &'static str) -> Client {
        Client { folder: Folder::new(), version }
    }

    /// `$ssl_session_reused` of a connection to this name that offers the session of the one before.
    fn ask(&self, address: SocketAddr, name: &str) -> String {
        let script = "printf \"GET / HTTP/1.0\\r\\nHost: $4\\r\\n\\r\\n\" | openssl s_client -quiet -ign_eof -sess_out new \
                      $(test ! -e session || echo -sess_in session) \"$@\"; test ! -s new || mv new session";
        let address = address.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", "-connect", &address, "-servername", name, self.version]);
        let (_, said, errors) = run(command.current_dir(self.folder.path()));
        let body = said.lines().last().unwrap_or_default().to_owned();
        assert!(!body.is_empty(), "{said}\n{errors}");
        body
    }

    /// The name of the key that made the ticket: its first bytes.
    fn key_name(&self) -> Vec<u8> {
        let mut command = Command::new("openssl");
        command.args(["sess_id", "-in", "session", "-noout", "-text"]).current_dir(self.folder.path());
        let (_, said, _) = run(&mut command);
        let (_, ticket) = said.split_once("TLS session ticket:").unwrap();
        let line = ticket.lines().find(|line| line.contains("0000 - ")).unwrap();
        let bytes = line.trim().trim_start_matches("0000 - ").replace('-', " ");
        bytes.split_whitespace().take(16).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }
}

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

fn has_openssl() -> bool {
    let is_there = run(Command::new("openssl").arg("version")).0 == Some(0);
    if !is_there {
        println!("SKIPPED: there is no openssl");
    }
    is_there
}

fn server(name: &str, settings: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:0 ssl; server_name {name}; ssl_certificate site.crt; ssl_certificate_key site.key; \
         {settings} location / {{ return 200 \"$ssl_session_reused\\n\"; }} }}\n"
    )
}

fn start(folder: Folder, configuration: &str) -> Longwire {
    Identity::new(&["a"]).write(&folder, "site");
    Longwire::start_in(folder, configuration, &[])
}

fn key(folder: &Folder, name: &str, byte: u8, length: usize) {
    folder.write(name, vec![byte; length]);
}

#[test]
fn sessions_are_resumed_after_a_reload_also_with_another_certificate() {
    if !has_openssl() {
        return;
    }
    for settings in ["", "ssl_session_tickets off; ssl_session_cache shared:SSL:1m;"] {
        let longwire = start(Folder::new(), &server("a", settings));
        for version in VERSIONS {
            let client = Client::new(version);
            assert_eq!(client.ask(longwire.addr(), "a"), ".", "{version} {settings}");
            for _ in 0..2 {
                Identity::new(&["a"]).write(longwire.folder(), "site");
                longwire.reload(&server("a", &format!("{settings} ssl_session_timeout 10m;")));
                assert_eq!(client.ask(longwire.addr(), "a"), "r", "{version} {settings}");
            }
            // For another name there is another session.
            assert_eq!(client.ask(longwire.addr(), "b"), ".", "{version} {settings}");
        }
    }
}

#[test]
fn sessions_are_resumed_after_an_upgrade() {
    if !has_openssl() {
        return;
    }
    let mut longwire = start(Folder::new(), &server("a", ""));
    let clients = VERSIONS.map(Client::new);
    let address = longwire.addr();
    for client in &clients {
        assert_eq!(client.ask(address, "a"), ".");
    }
    longwire.signal(Signal::SIGUSR2);
    let line = longwire.wait_log(&["upgrade: process ", " serves"]);
    let (_, rest) = line.split_once("upgrade: process ").unwrap();
    let successor = Successor(Pid::from_raw(rest.split_whitespace().next().unwrap().parse().unwrap()));
    until("the old process ends", || !longwire.runs());
    for client in &clients {
        assert_eq!(client.ask(address, "a"), "r", "{}", client.version);
    }
    drop(successor);
}

/// A process that an upgrade has started; it ends with the test.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[test]
fn a_session_begun_under_other_rules_for_certificates_is_not_resumed() {
    if !has_openssl() {
        return;
    }
    let asks = |mode: &str| format!("ssl_verify_client {mode}; ssl_client_certificate site.crt;");
    for kept in ["", "ssl_session_tickets off; ssl_session_cache shared:SSL:1m;"] {
        let longwire = start(Folder::new(), &server("a", kept));
        for version in VERSIONS {
            let client = Client::new(version);
            longwire.reload(&server("a", kept));
            assert_eq!(client.ask(longwire.addr(), "a"), ".");
            for (settings, reused) in [
                (asks("optional"), "."),
                (asks("optional"), "r"),
                (asks("optional_no_ca"), "."),
                (asks("optional_no_ca") + " ssl_verify_depth 2;", "."),
                (String::new(), "."),
            ] {
                longwire.reload(&server("a", &format!("{kept} {settings}")));
                assert_eq!(client.ask(longwire.addr(), "a"), reused, "{version} {kept} {settings}");
            }
            // Another authority is another rule, though its file has the same name.
            longwire.reload(&server("a", &format!("{kept} {}", asks("optional"))));
            assert_eq!(client.ask(longwire.addr(), "a"), ".");
            Identity::new(&["a"]).write(longwire.folder(), "site");
            longwire.reload(&server("a", &format!("{kept} {}", asks("optional"))));
            assert_eq!(client.ask(longwire.addr(), "a"), ".", "{version} {kept}");
        }
    }
}

#[test]
fn processes_with_the_same_files_know_each_others_tickets_and_keys_can_be_changed() {
    if !has_openssl() {
        return;
    }
    for length in [48, 80] {
        let make = |files: &[&str]| {
            let folder = Folder::new();
            key(&folder, "one", 1, length);
            key(&folder, "two", 2, 80);
            start(folder, &server("a", &with(files)))
        };
        let longwire = make(&["one"]);
        let (alike, other) = (make(&["one"]), make(&["two"]));
        for version in VERSIONS {
            let client = Client::new(version);
            assert_eq!(client.ask(longwire.addr(), "a"), ".");
            assert_eq!(client.key_name(), [1; 16]);
            assert_eq!(client.ask(alike.addr(), "a"), "r", "{version} {length}");
            assert_eq!(client.ask(other.addr(), "a"), ".", "{version} {length}");
            // As one changes keys: first known, then in use, then the old one goes.
            let mut client = Client::new(version);
            assert_eq!(client.ask(longwire.addr(), "a"), ".");
            for (files, name) in [(&["one", "two"][..], 1), (&["two", "one"], 2), (&["two"], 2)] {
                longwire.reload(&server("a", &with(files)));
                assert_eq!(client.ask(longwire.addr(), "a"), "r", "{version} {files:?}");
                // By TLS 1.2 this client keeps the ticket that it resumed with.
                client = Client::new(version);
                assert_eq!(client.ask(longwire.addr(), "a"), ".");
                assert_eq!(client.key_name(), [name; 16], "{version} {files:?}");
            }
            // The content counts, not the name.
            key(longwire.folder(), "two", 3, 80);
            longwire.reload(&server("a", &with(&["two"])));
            assert_eq!(client.ask(longwire.addr(), "a"), ".");
            key(longwire.folder(), "two", 2, 80);
            longwire.reload(&server("a", &with(&["one"])));
        }
    }
}

fn with(files: &[&str]) -> String {
    files.iter().map(|file| format!("ssl_session_ticket_key {file};")).collect()
}

/// nginx 1.22 and 1.31 do so, because OpenSSL asks before it knows the name.
#[test]
fn the_keys_of_the_default_server_hold_for_all_of_its_address() {
    if !has_openssl() {
        return;
    }
    let folder = Folder::new();
    key(&folder, "one", 1, 80);
    key(&folder, "two", 2, 80);
    let all = [server("a", &with(&["one"])), server("b", ""), server("c", &with(&["two"]))].concat();
    let longwire = start(folder, &all);
    for version in VERSIONS {
        for name in ["a", "b", "c"] {
            let client = Client::new(version);
            assert_eq!(client.ask(longwire.addr(), name), ".");
            assert_eq!(client.key_name(), [1; 16], "{version} {name}");
            assert_eq!(client.ask(longwire.addr(), name), "r");
        }
    }
}

#[test]
fn a_file_that_is_no_key_is_told_at_its_line() {
    let folder = Folder::new();
    key(&folder, "short", 1, 47);
    let short = folder.path().join("short").display().to_string();
    let inside =
        |path: &str| format!("server {{\n listen 127.0.0.1:0 ssl;\n ssl_session_ticket_key {path};\n}}");
    let (good, said) = check(&inside(&short));
    assert!(
        !good && said.contains(&format!("\"{short}\" must be 48 or 80 bytes")) && said.contains(":3"),
        "{said}"
    );
    let (good, said) = check(&inside("/does/not/exist"));
    assert!(
        !good && said.contains("/does/not/exist: cannot load the ticket key") && said.contains(":3"),
        "{said}"
    );
}
