//! A reload: another generation in the same process, of which nobody who is connected notices anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use support::conn::get;
use support::tls::Identity;
use support::{Backend, Conn, Folder, Longwire, WAIT, site, until};

/// A server that answers this text.
fn says(text: &str) -> String {
    format!("server {{ listen 127.0.0.1:0; location / {{ return 200 {text}; }} }}\n")
}

/// The address in a line `... listening on 127.0.0.1:43127`.
fn listening(log: &str) -> SocketAddr {
    let (_, address) = log.split_once("] ").and_then(|_| log.split_once(": listening on ")).unwrap();
    address.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_kept_connection_is_served_by_the_new_configuration() {
    let longwire = Longwire::start(&says("one"));
    let mut client = Conn::connect(longwire.addr());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "one");
    for text in ["two", "three"] {
        longwire.reload(&says(text));
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, text);
        assert_eq!(get(longwire.addr(), "/").1, text);
    }
}

#[test]
fn a_request_in_work_ends_as_it_began() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), "add_header X-Generation one;"));
    let mut client = Conn::connect(longwire.addr());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    longwire.reload(&says("two"));
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let (head, body) = client.read_answer();
    assert_eq!((head.get("x-generation"), body.as_str()), ("one", "done"));
    assert!(!head.has("connection"), "the connection stays: {head:?}");
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "two");
}

/// A handshake that waits for its backend becomes a tunnel of the configuration that it began with.
#[test]
fn tunnels_and_handshakes_are_left_alone() {
    let backend = Backend::new();
    let longwire = Longwire::start(&site(backend.addr(), ""));
    let mut early = Conn::knock(longwire.addr(), "");
    let (mut early_server, _) = backend.tunnel();
    early.expect_tunnel();
    let mut client = Conn::knock(longwire.addr(), "");
    let (mut server, head) = backend.request();
    longwire.reload(&says("two"));
    server.send(support::backend::switching(head.get("sec-websocket-key"), ""));
    client.expect_tunnel();
    for (client, server) in [(&mut client, &mut server), (&mut early, &mut early_server)] {
        client.send_text("there");
        assert_eq!(server.read_frame().text(), "there");
        server.send_text("and back");
        assert_eq!(client.read_frame().text(), "and back");
    }
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told_as_by_a_test() {
    let longwire = Longwire::start(&says("one"));
    let missing =
        "server { listen 127.0.0.1:0 ssl; ssl_certificate DIR/none.pem; ssl_certificate_key DIR/none.key; }";
    let name = "upstream a { server does-not-exist.invalid; }\nserver { listen 127.0.0.1:0; location / { proxy_pass http://a; } }";
    let log = "error_log DIR/none/error.log;\nevents {}\nhttp { server { listen 127.0.0.1:0; } }";
    let mut client = Conn::connect(longwire.addr());
    for (bad, said) in [
        ("server {\n  listn 80;\n}", &["[emerg]", "unknown directive \"listn\"", "longwire.conf:2"][..]),
        (missing, &["[emerg]", "none.pem", "longwire.conf:1"]),
        (name, &["[emerg]", "host not found: \"does-not-exist.invalid\"", "longwire.conf:1"]),
        (log, &["[emerg]", "none/error.log"]),
    ] {
        let log = longwire.reload(bad);
        assert!(log.lines().any(|line| said.iter().all(|part| line.contains(part))), "{said:?} in:\n{log}");
        assert!(log.contains("reload failed"), "{log}");
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "one");
    }
    let log = longwire.reload(&format!("include nowhere.conf;\n{}", says("none")));
    assert!(log.contains("nowhere.conf") && log.contains("longwire.conf:1"), "{log}");
    longwire.reload(&says("two"));
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "two");
}

/// A process that gave up its rights reads files with those that it has left. A key that it cannot read again stays in
/// force, unless it is seen to be another one.
#[test]
fn a_key_that_its_user_may_not_read() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let write = |folder: &Folder| {
        Identity::new(&["a"]).write(folder, "keys/server");
        open(&keys.join("server.key"), 0o600);
    };
    write(&folder);
    let ticket = |byte: u8| {
        std::fs::write(keys.join("ticket"), [byte; 80]).unwrap();
        open(&keys.join("ticket"), 0o600);
    };
    ticket(1);
    let whole = |text: &str| {
        format!(
            "user nobody;\nevents {{}}\nhttp {{\nserver {{ listen 127.0.0.1:0; listen 127.0.0.2:0 ssl; return 200 {text};\n\
             ssl_certificate DIR/keys/server.crt; ssl_certificate_key DIR/keys/server.key;\nssl_session_ticket_key DIR/keys/ticket; }} }}"
        )
    };
    let longwire = Longwire::start_in(folder, &whole("one"), &[]);
    let addr = longwire.addr_on("127.0.0.1");
    let log = longwire.reload(&whole("two"));
    assert!(log.contains("reload done") && !log.contains("[warn]"), "{log}");
    open(&keys, 0o700);
    for text in ["three", "four"] {
        let log = longwire.reload(&whole(text));
        let told =
            |line: &str| line.contains("[warn]") && line.contains("server.crt") && line.contains("stays");
        assert!(log.contains("reload done") && log.lines().any(told), "{log}");
        assert_eq!(get(addr, "/").1, text);
    }
    open(&keys, 0o755);
    write(longwire.folder());
    let log = longwire.reload(&whole("five"));
    let told = |line: &str| line.contains("server.key") && line.contains("longwire.conf:5");
    assert!(log.lines().any(told), "{log}");
    assert!(log.contains("with the rights of user id ") && log.contains("reload failed"), "{log}");
    assert_eq!(get(addr, "/").1, "four");
    open(&keys.join("server.key"), 0o644);
    assert!(longwire.reload(&whole("six")).contains("reload done"));
    assert_eq!(get(addr, "/").1, "six");
    // The same for keys of session tickets.
    ticket(2);
    let log = longwire.reload(&whole("seven"));
    let told = |line: &str| line.contains("keys/ticket: cannot load the ticket key") && line.contains(":6");
    assert!(log.lines().any(told) && log.contains("reload failed"), "{log}");
}

/// Nothing is given up unless everything new can be had.
#[test]
fn an_address_that_cannot_be_bound_changes_nothing() {
    let taken = std::net::TcpListener::bind(support::backend::nobody()).unwrap();
    let longwire = Longwire::start(&says("one"));
    let two =
        format!("server {{ listen 127.0.0.2:0; listen {}; return 200 two; }}", taken.local_addr().unwrap());
    let log = longwire.reload(&two);
    assert!(log.contains("[emerg]") && log.contains("bind()") && log.contains("reload failed"), "{log}");
    assert_eq!(get(longwire.addr(), "/").1, "one");
    drop(taken);
    let log = longwire.reload(&two);
    assert!(log.contains("not listening on 127.0.0.1:"), "{log}");
    assert_eq!(get(listening(&log), "/").1, "two");
}

#[test]
fn who_came_by_an_address_that_is_gone_leaves_after_the_request_in_work() {
    let backend = Backend::new();
    let both = "server { listen 127.0.0.2:0; return 200 other; }\n";
    let longwire = Longwire::start(&format!("{}{both}", site(backend.addr(), "")));
    let addr = longwire.addr_on("127.0.0.1");
    let mut busy = Conn::connect(addr);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    let mut idle = Conn::connect(addr);
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut idle_server, _) = backend.request();
    idle_server.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(idle.read_head().status(), 204);
    let mut tunnel = Conn::knock(addr, "");
    let (mut end, _) = backend.tunnel();
    tunnel.expect_tunnel();
    let mut fresh = Conn::connect(addr);

    longwire.reload(both);
    idle.expect_end();
    until("nobody listens there", || TcpStream::connect(addr).is_err());
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone");
    let (head, body) = busy.read_answer();
    assert_eq!((head.get("connection"), body.as_str()), ("close", "done"));
    busy.expect_end();
    // It was let in, so it is answered, by those who let it in.
    fresh.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    assert_eq!(fresh.read_answer().1, "last");
    fresh.expect_end();
    tunnel.send_text("still here");
    assert_eq!(end.read_frame().text(), "still here");
    assert_eq!(get(longwire.addr_on("127.0.0.2"), "/").1, "other");
}

/// A connection that began without TLS is none of a port that has it now.
#[test]
fn who_came_under_other_terms_leaves() {
    let longwire = Longwire::start(&says("plain"));
    let mut client = Conn::connect(longwire.addr());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "plain");
    longwire.reload("server { listen 127.0.0.1:0 ssl; return 200 secret; }");
    client.expect_end();
    assert_eq!(get(longwire.addr(), "/").0.status(), 400);
    let mut client = support::tls::connect_trusting_anyone(longwire.addr(), "localhost").unwrap();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "secret");
    longwire.reload(&says("again"));
    client.expect_end();
    assert_eq!(get(longwire.addr(), "/").1, "again");
}

#[test]
fn what_a_process_settles_at_its_start_is_said_to_stay() {
    let whole = |main: &str| format!("{main}\nevents {{}}\nhttp {{ {} }}", says("x"));
    let longwire = Longwire::start(&whole("pid DIR/a.pid; worker_processes 1;"));
    let log = longwire.reload(&whole("pid DIR/b.pid; worker_processes 2;"));
    for name in ["pid", "worker_processes"] {
        let told = |line: &str| line.contains("[warn]") && line.contains(&format!("\"{name}\" stays"));
        assert!(log.lines().any(told), "{name} in:\n{log}");
    }
    assert_eq!(longwire.folder().read("a.pid").trim(), longwire.pid().to_string());
    assert!(!longwire.folder().path().join("b.pid").exists());
    let log = longwire.reload(&whole("pid DIR/a.pid; worker_processes 1;"));
    assert!(!log.contains("[warn]"), "{log}");
}

/// A storm of signals is a few reloads, and the last file wins.
#[test]
fn signals_that_come_during_a_reload_are_one_more() {
    let mut longwire = Longwire::start(&says("one"));
    for _ in 0..200 {
        longwire.signal(Signal::SIGHUP);
    }
    longwire.folder().write("longwire.conf", says("two"));
    longwire.signal(Signal::SIGHUP);
    until("the last one is in force", || get(longwire.addr(), "/").1 == "two");
    longwire.signal(Signal::SIGTERM);
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

/// What nginx refuses: a wildcard in the place of an address of its port, and back. There is no moment without a socket.
#[test]
fn a_wildcard_takes_over_from_an_address() {
    let port = support::backend::nobody().port();
    let on = |listen: &str| format!("server {{ listen {listen}:{port}; return 200 {}; }}", listen.len());
    let longwire = Longwire::start(&on("127.0.0.1"));
    let addr = longwire.addr();
    let asked = Storm::on(addr);
    for listen in ["0.0.0.0", "127.0.0.1", "*", "127.0.0.1"] {
        let log = longwire.reload(&on(listen));
        assert!(log.contains("reload done"), "{log}");
        assert_eq!(get(addr, "/").1, listen.len().to_string());
    }
    // The wildcard was given up with that.
    std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    assert!(asked.end() > 0);
}

/// Clients that ask one thing after the other, each until it is told to stop.
struct Storm {
    over: Arc<AtomicBool>,
    clients: Vec<std::thread::JoinHandle<usize>>,
}

impl Storm {
    fn new() -> Storm {
        Storm { over: Arc::default(), clients: Vec::new() }
    }

    /// A client: what it does again and again panics where it fails.
    fn add(&mut self, mut again: impl FnMut() + Send + 'static) {
        let over = self.over.clone();
        self.clients.push(std::thread::spawn(move || {
            let mut done = 0;
            while !over.load(Relaxed) {
                again();
                done += 1;
            }
            done
        }));
    }

    /// Three that ask on fresh connections.
    fn on(addr: SocketAddr) -> Storm {
        let mut storm = Storm::new();
        (0..3).for_each(|_| storm.add(move || assert_eq!(get(addr, "/").0.status(), 200)));
        storm
    }

    /// How often something was done: never in vain.
    fn end(self) -> usize {
        self.over.store(true, Relaxed);
        self.clients.into_iter().map(|client| client.join().unwrap()).sum()
    }
}

/// Requests on connections that are kept, fresh ones by TLS and without, and handshakes: all at any moment of a reload.
#[test]
fn a_storm_loses_nothing() {
    let folder = Folder::new();
    let identity = Arc::new(Identity::new(&["example.com"]));
    identity.write(&folder, "server");
    let backend = Backend::echo();
    let configuration = |number: usize| {
        format!(
            "ssl_certificate DIR/server.crt; ssl_certificate_key DIR/server.key;\n\
             upstream app {{ server {backend}; }}\n\
             server {{ listen 127.0.0.1:0; listen 127.0.0.2:0 ssl; keepalive_requests 1000000;\n\
             location / {{ proxy_pass http://app; }}\nlocation /number {{ return 200 {number}; }} }}"
        )
    };
    let longwire = Longwire::start_in(folder, &configuration(0), &[]);
    let (plain, tls) = (longwire.addr_on("127.0.0.1"), longwire.addr_on("127.0.0.2"));
    let request = "GET /number HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut storm = Storm::new();
    let (mut kept, mut last) = (Conn::connect(plain), 0);
    storm.add(move || {
        let number: usize = kept.ask(request).1.parse().unwrap();
        assert!(number >= last, "back to an older configuration");
        last = number;
    });
    let mut kept = identity.connect(tls, "example.com").unwrap();
    storm.add(move || assert_eq!(kept.ask(request).0.status(), 200));
    let its = identity.clone();
    storm.add(move || assert_eq!(its.connect(tls, "example.com").unwrap().ask(request).0.status(), 200));
    for addr in [plain, plain] {
        storm.add(move || {
            let mut tunnel = Conn::knock(addr, "");
            tunnel.expect_tunnel();
            tunnel.send_text("x");
            assert_eq!(tunnel.read_frame().text(), "x");
        });
    }
    for number in 1..=50 {
        let log = longwire.reload(&configuration(number));
        assert!(log.contains("reload done"), "{log}");
    }
    assert!(storm.end() > 50);
    assert_eq!(get(plain, "/number").1, "50");
}

/// However often it is done: nobody is refused, no connection ends, no descriptor stays.
#[test]
fn nobody_notices_many_reloads() {
    let backend = Backend::echo();
    let configuration = |number: usize| {
        format!(
            "{}server {{ listen 127.0.0.1:0; server_name stays; location / {{ return 200 {number}; }} }}",
            site(backend, "")
        )
    };
    let longwire = Longwire::start(&configuration(0));
    let addr = longwire.addr();
    let mut kept: Vec<_> = (0..5).map(|_| Conn::connect(addr)).collect();
    let mut tunnels: Vec<_> = (0..5).map(|_| Conn::knock(addr, "")).collect();
    tunnels.iter_mut().for_each(|tunnel| drop(tunnel.expect_tunnel()));
    for client in &mut kept {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: stays\r\n\r\n").1, "0");
    }
    let before = longwire.open_files();
    for number in 1..=40 {
        longwire.reload(&configuration(number));
        for client in &mut kept {
            assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: stays\r\n\r\n").1, number.to_string());
        }
        for tunnel in &mut tunnels {
            tunnel.send_text(&format!("{number}"));
            assert_eq!(tunnel.read_frame().text(), format!("{number}"));
        }
    }
    longwire.wait_open_files(before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http2_goes_on() {
    let longwire = Longwire::start(&format!("http2 on; {}", says("one")));
    let tcp = tokio::net::TcpStream::connect(longwire.addr()).await.unwrap();
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let driver = tokio::spawn(driver);
    for text in ["one", "two", "three"] {
        if text != "one" {
            longwire.reload(&format!("http2 on; {}", says(text)));
        }
        let request = Request::get("http://a/").body(Full::<Bytes>::default()).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), text);
    }
    longwire.reload("server { listen 127.0.0.2:0; return 200 other; }");
    tokio::time::timeout(WAIT, driver).await.expect("the connection ends").unwrap().unwrap();
}

#[test]
fn a_unix_socket_is_the_same_file_until_it_is_given_up() {
    let both = |unix: &str, text: &str| format!("server {{ listen 127.0.0.1:0; {unix} return 200 {text}; }}");
    let longwire = Longwire::start_in(Folder::new(), &both("listen unix:DIR/a.sock;", "one"), &[]);
    let path = longwire.folder().path().join("a.sock");
    let inode = || std::fs::symlink_metadata(&path).map(|meta| meta.ino()).ok();
    let before = inode();
    let ask = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    longwire.reload(&both("listen unix:DIR/a.sock;", "two"));
    assert!(ask().ends_with("two"));
    longwire.reload(&both("listen unix:DIR/a.sock; listen 127.0.0.1:1 nonsense;", "three"));
    assert!(ask().ends_with("two"));
    assert_eq!(inode(), before);
    let mut waiting = UnixStream::connect(&path).unwrap();
    longwire.reload(&both("", "three"));
    assert_eq!(inode(), None);
    waiting.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut said = String::new();
    waiting.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("two"), "{said}");
    longwire.reload(&both("listen unix:DIR/a.sock;", "four"));
    assert!(ask().ends_with("four"));
}

/// Files that only the configuration before wrote to are closed, and opened anew is what is written to now.
#[test]
fn log_files_follow_the_configuration() {
    let backend = Backend::new();
    let logs = |name: &str| {
        format!(
            "error_log stderr notice;\nerror_log DIR/{name}.err notice;\nevents {{}}\n\
             http {{ access_log DIR/{name}.log; {} }}",
            site(backend.addr(), "")
        )
    };
    let longwire = Longwire::start(&logs("one"));
    let open = |name: &str| {
        let path = longwire.folder().path().join(name);
        let files = std::fs::read_dir(format!("/proc/{}/fd", longwire.pid())).unwrap().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target == path)
    };
    let mut tunnel = Conn::knock(longwire.addr(), "");
    let (end, _) = backend.tunnel();
    tunnel.expect_tunnel();
    longwire.reload(&logs("two"));
    assert!(open("one.log") && open("two.log"));
    let folder = longwire.folder().path();
    for name in ["one.log", "two.log"] {
        std::fs::rename(folder.join(name), folder.join(format!("{name}.old"))).unwrap();
    }
    longwire.signal(Signal::SIGUSR1);
    until("files are opened anew", || folder.join("one.log").exists() && folder.join("two.log").exists());
    // The line of a tunnel goes where its configuration said; then nobody needs that file any more.
    drop((tunnel, end));
    until("the tunnel is told of", || longwire.folder().read("one.log").contains(" 101 "));
    until("the old files are closed", || !open("one.log") && !open("one.err"));
    assert!(open("two.log") && open("two.err"));
    assert_eq!(longwire.folder().read("two.log"), "");
    assert!(longwire.folder().read("two.err").contains("reload done"));
    assert!(!longwire.folder().read("one.err").contains("reload done"));
}

/// What was found of a client's certificate holds as long as its connection, so the rules must be the same ones.
#[test]
fn other_rules_for_certificates_of_clients_end_their_connections() {
    let folder = Folder::new();
    let (server, one, two) =
        (Identity::new(&["example.com"]), Identity::new(&["one"]), Identity::new(&["two"]));
    server.write(&folder, "server");
    one.write(&folder, "trusted");
    let configuration = |text: &str| {
        format!(
            "ssl_certificate DIR/server.crt; ssl_certificate_key DIR/server.key;\n\
             server {{ listen 127.0.0.1:0 ssl; ssl_verify_client optional; ssl_client_certificate DIR/trusted.crt;\n\
             return 200 {text}; }}"
        )
    };
    let longwire = Longwire::start_in(folder, &configuration("one"), &[]);
    let mut client = server.connect(longwire.addr(), "example.com").unwrap();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "one");
    longwire.reload(&configuration("two"));
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "two");
    two.write(longwire.folder(), "trusted");
    longwire.reload(&configuration("three"));
    client.expect_end();
    let mut client = server.connect(longwire.addr(), "example.com").unwrap();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "three");
}

#[test]
fn certificates_are_read_anew() {
    let folder = Folder::new();
    let (one, two) = (Identity::new(&["example.com"]), Identity::new(&["example.com"]));
    one.write(&folder, "server");
    let configuration = "server { listen 127.0.0.1:0 ssl; return 200 x;\n\
         ssl_certificate DIR/server.crt; ssl_certificate_key DIR/server.key; }";
    let longwire = Longwire::start_in(folder, configuration, &[]);
    let mut client = one.connect(longwire.addr(), "example.com").unwrap();
    longwire.folder().write("server.crt", "half a certificate");
    let log = longwire.reload(configuration);
    assert!(log.contains("server.crt") && log.contains("longwire.conf:2"), "{log}");
    assert!(one.connect(longwire.addr(), "example.com").is_ok());
    two.write(longwire.folder(), "server");
    longwire.reload(configuration);
    assert!(one.connect(longwire.addr(), "example.com").is_err());
    assert!(two.connect(longwire.addr(), "example.com").is_ok());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").1, "x");
}
