//! The command line and `-t`: what is accepted, what is refused, and what is said about it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::TcpListener;
use std::path::PathBuf;

use support::tls::Identity;
use support::{Conn, Folder, Longwire, check, longwire, run};

fn examples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "conf")).collect();
    found.sort();
    found
}

/// `-t` on this text fails, and what is said holds all of these.
#[track_caller]
fn refused(configuration: &str, parts: &[&str]) {
    let (good, said) = check(configuration);
    assert!(!good, "accepted: {configuration}\n{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} expected for {configuration}\n{said}");
    }
    assert!(said.contains("longwire.conf") && said.contains("test failed"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn every_example_is_accepted_and_explains_itself() {
    let folder = Folder::new();
    Identity::new(&["example.com", "*.example.com"]).write(&folder, "example.com");
    let examples = examples();
    assert!(examples.len() >= 8, "{examples:?}");
    for file in examples {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{}: begins with a comment that says what it shows", file.display());
        // Certificates are looked for where they exist; everything else stays as it is.
        let here = text.replace("/etc/ssl/longwire/", &format!("{}/", folder.path().display()));
        let copy = folder.write("longwire.conf", here);
        let (status, _, said) = run(longwire().arg("-t").arg("-c").arg(&copy).arg("-p").arg(folder.path()));
        assert_eq!(status, Some(0), "{}:\n{said}", file.display());
        assert!(said.contains("test is successful"), "{}:\n{said}", file.display());
    }
}

/// The block that many guides give, alone in a file and word for word: good, with a word about the certificate.
#[test]
fn the_entry_is_accepted_with_a_warning() {
    let (good, said) = check(include_str!("../examples/entry.conf"));
    assert!(good, "{said}");
    assert!(said.contains("warning") || said.contains("[warn]"), "{said}");
    assert!(said.contains("certificate"), "{said}");
    assert!(said.contains("syntax is ok") && said.contains("test is successful"), "{said}");
}

#[test]
fn a_mistake_is_shown_with_its_line() {
    let inside = |directives: &str| format!("server {{\n    listen 127.0.0.1:0;\n    {directives}\n}}\n");
    refused(&inside("proxy_raed_timeout 5s;"), &["proxy_raed_timeout", ":3", "proxy_read_timeout"]);
    refused(&inside("listen 127.0.0.1:99999;"), &["99999", ":3"]);
    refused(&inside("return;"), &["return", ":3"]);
    refused(&inside("location / { proxy_pass backend; }"), &["proxy_pass", ":3"]);
    refused(&inside("location / { proxy_read_timeout soon; }"), &["soon", ":3"]);
    refused(&inside("location / { websocket_ping; }"), &["websocket_ping", ":3"]);
    refused(&inside("location / { websocket_ping 0s; websocket_ping 5s; }"), &["websocket_ping", ":3"]);
    refused(&inside("location / { proxy_pass http://nowhere_defined_$x; }"), &["x", ":3"]);
    refused(&inside("location / { }\n    location / { }"), &["location", ":4"]);
    refused(&inside("location ~ ( { }"), &[":3"]);
    refused(&inside("map $a $b { }"), &["map", ":3", "http"]);
    refused(&inside("ssl_protocols SSLv3;"), &["SSLv3", ":3"]);
    refused("server {\n    listen 127.0.0.1:0;\n", &["\"}\""]);
    refused("server { listen 127.0.0.1:0 }\n", &[":1"]);
    refused("server { return 200 \"unfinished; }\n", &[":1"]);
    refused("}\n", &["\"}\"", ":1"]);
    refused("upstream u { }\nserver { listen 127.0.0.1:0; location / { proxy_pass http://u; } }\n", &["u"]);
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let (good, said) = check("server {\n    listen 127.0.0.1:0;\n    frist on;\n    lsiten 80;\n}\n");
    assert!(!good && said.contains("frist") && said.contains("lsiten"), "{said}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let (status, _, said) = run(longwire().args(["-t", "-c", "/nonexistent/longwire.conf"]));
    assert_eq!(status, Some(1));
    assert!(said.contains("/nonexistent/longwire.conf"), "{said}");
    refused("include /nonexistent/part.conf;\n", &["/nonexistent/part.conf"]);
}

#[test]
fn certificates_that_are_no_good_are_named() {
    let own = Identity::new(&["a.test"]);
    let other = Identity::new(&["b.test"]);
    let half = &own.chain_pem[..own.chain_pem.len() / 2];
    for (name, chain, key, named) in [
        ("missing", None, Some(own.key_pem.as_str()), "site.crt"),
        ("no key", Some(own.chain_pem.as_str()), None, "site.key"),
        ("no PEM", Some("hello"), Some(own.key_pem.as_str()), "site.crt"),
        ("cut short", Some(half), Some(own.key_pem.as_str()), "site.crt"),
        ("empty key", Some(own.chain_pem.as_str()), Some(""), "site.key"),
        ("key of another", Some(own.chain_pem.as_str()), Some(other.key_pem.as_str()), "site.key"),
    ] {
        let folder = Folder::new();
        for (file, text) in [("site.crt", chain), ("site.key", key)] {
            if let Some(text) = text {
                folder.write(file, text);
            }
        }
        let conf =
            "server { listen 127.0.0.1:0 ssl; ssl_certificate site.crt; ssl_certificate_key site.key; }";
        let file = folder.write("longwire.conf", conf);
        for command in [&["-t"][..], &[]] {
            let arguments = longwire();
            let mut arguments = arguments;
            arguments.args(command).arg("-c").arg(&file).arg("-p").arg(folder.path());
            let (status, _, said) = run(&mut arguments);
            assert_eq!(status, Some(1), "{name} {command:?}: {said}");
            assert!(said.contains(named), "{name} {command:?}: {named} expected\n{said}");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let folder = Folder::new();
    let file = folder.write("longwire.conf", format!("server {{ listen {addr}; return 200 ok; }}"));
    let (status, _, said) = run(longwire().arg("-c").arg(file).arg("-p").arg(folder.path()));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&addr.to_string()), "{said}");
    assert!(said.to_lowercase().contains("in use"), "{said}");
}

#[test]
fn the_flags_of_nginx_are_known() {
    let (status, out, err) = run(longwire().arg("-v"));
    assert_eq!(status, Some(0));
    assert!(format!("{out}{err}").contains(env!("CARGO_PKG_VERSION")), "{out}{err}");
    let (status, out, err) = run(longwire().arg("-V"));
    assert_eq!(status, Some(0));
    assert!(format!("{out}{err}").contains(env!("CARGO_PKG_VERSION")), "{out}{err}");
    for help in ["-h", "-?", "--help"] {
        let (status, out, err) = run(longwire().arg(help));
        assert_eq!(status, Some(0), "{help}");
        assert!(format!("{out}{err}").contains("-c"), "{help}: {out}{err}");
    }
    let (status, _, err) = run(longwire().arg("--nonsense"));
    assert_ne!(status, Some(0));
    assert!(err.contains("--nonsense"), "{err}");
}

#[test]
fn quiet_says_nothing_about_a_good_file() {
    let folder = Folder::new();
    let file = folder.write("longwire.conf", "server { listen 127.0.0.1:0; return 200 ok; }");
    let (status, out, err) = run(longwire().args(["-q", "-t", "-c"]).arg(&file).arg("-p").arg(folder.path()));
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "", ""));
    folder.write("longwire.conf", "server { lsiten 127.0.0.1:0; }");
    let (status, _, err) = run(longwire().args(["-q", "-t", "-c"]).arg(&file).arg("-p").arg(folder.path()));
    assert_eq!(status, Some(1));
    assert!(err.contains("lsiten"), "{err}");
}

#[test]
fn dump_prints_every_file() {
    let folder = Folder::new();
    folder.write("part.conf", "# the included part\nreturn 200 ok;\n");
    let file = folder.write("longwire.conf", "server { listen 127.0.0.1:0; include part.conf; }\n");
    let (status, out, err) = run(longwire().args(["-T", "-c"]).arg(&file).arg("-p").arg(folder.path()));
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("# configuration file") && out.contains("the included part"), "{out}");
    assert!(out.contains("include part.conf;"), "{out}");
}

#[test]
fn directives_on_the_command_line_hold() {
    let folder = Folder::new();
    let conf = "events {}\nhttp { server { listen 127.0.0.1:0; return 200 ok; } }";
    let longwire = Longwire::start_in(folder, conf, &["-g", "pid own.pid;"]);
    let pid = longwire.folder().read("own.pid");
    assert_eq!(pid.trim(), longwire.pid().to_string());
}

#[test]
fn the_error_log_of_the_command_line_is_used() {
    let folder = Folder::new();
    let file = folder.write("longwire.conf", "server { lsiten 80; }");
    let log = folder.path().join("early.log");
    let (status, _, _) =
        run(longwire().args(["-c"]).arg(&file).arg("-e").arg(&log).arg("-p").arg(folder.path()));
    assert_eq!(status, Some(1));
    assert!(folder.read("early.log").contains("lsiten"), "{}", folder.read("early.log"));
}

#[test]
fn to_proxies_everything_to_one_backend() {
    let backend = support::Backend::echo();
    let mut command = longwire();
    command.args(["--to", &backend.to_string(), "--listen", "127.0.0.1:0"]);
    let longwire = Longwire::spawn(Folder::new(), command, 1);
    Conn::open(longwire.addr()).expect_echo("without a file");
}

#[test]
fn without_arguments_it_demonstrates_itself() {
    let mut command = longwire();
    command.args(["--listen", "127.0.0.1:0"]);
    let longwire = Longwire::spawn(Folder::new(), command, 1);
    let (head, page) = support::conn::get(longwire.addr(), "/");
    assert_eq!(head.status(), 200);
    assert!(head.get("content-type").starts_with("text/html"), "{head:#?}");
    assert!(page.contains("<title>Longwire"), "{page}");

    let mut client = Conn::connect(longwire.addr());
    client.send(support::frames::upgrade_request("/ws/", ""));
    client.expect_tunnel();
    let hello = client.read_frame().text().to_string();
    assert!(hello.contains("\"hello\":true") && hello.contains("\"connection\":"), "{hello}");
    client.expect_echo("as it is");
    let number: String =
        hello.split("\"connection\":").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let (head, tunnel) = support::conn::get(longwire.addr(), &format!("/tunnel?connection={number}"));
    assert_eq!(head.status(), 200, "{tunnel}");
    for field in ["connection", "client_rtt_us", "backend_rtt_us", "client_pings"] {
        assert!(tunnel.contains(&format!("\"{field}\":")), "{field}: {tunnel}");
    }
}

/// An nginx file with things that Longwire does not need is accepted, and `-t` says what has no effect.
#[test]
fn what_has_no_effect_is_noted() {
    let conf = "user nobody;\nworker_processes auto;\nevents { worker_connections 1024; use epoll; }\n\
        http {\n    sendfile on;\n    tcp_nopush on;\n    gzip on;\n    keepalive_timeout 65;\n    \
        server { listen 127.0.0.1:0; return 200 ok; }\n}\n";
    let (good, said) = check(conf);
    assert!(good, "{said}");
    assert!(said.contains("sendfile"), "{said}");
}

/// A good file with a few bytes changed is accepted or refused; the reader never falls over.
#[test]
fn garbage_never_crashes_the_reader() {
    let mut random = fastrand::Rng::with_seed(support::seed());
    let good = include_str!("../examples/entry.conf");
    for _ in 0..40 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.insert(at, *random.choice(b"{};'\"$\\#~ \n").unwrap()),
                _ => drop(bytes.remove(at)),
            }
        }
        let folder = Folder::new();
        let file = folder.write("longwire.conf", &bytes);
        let (status, _, said) = run(longwire().arg("-t").arg("-c").arg(file).arg("-p").arg(folder.path()));
        assert!(matches!(status, Some(0 | 1)), "{status:?} {said}\n{}", String::from_utf8_lossy(&bytes));
    }
}

/// A misspelled group is looked up as a host: both the error and what was probably meant are shown.
#[test]
fn a_misspelled_group_is_named_beside_the_host_that_is_not_found() {
    let conf = "upstream realtime { server 127.0.0.1:3000; }\nserver {\n    listen 127.0.0.1:0;\n    \
        location / { proxy_pass http://realtme; }\n}\n";
    refused(conf, &["did you mean the upstream \"realtime\"", "host not found: \"realtme\""]);
}

#[test]
fn a_file_that_serves_nothing_is_good_with_a_warning() {
    let (good, said) = check("events {}\n");
    assert!(good, "{said}");
    assert!(said.contains("warning") && said.contains("nothing is served"), "{said}");
}
