//! `longwire doctor` on what takes time or more than one road: timers of silence and of age, connections that are
//! forgotten, a proxy beside its backend, and sessions of polling.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use longwire_wire::frame::{Header, OpCode, apply_mask};
use serde_json::Value;
use support::{Backend, Conn, Frame, Head, Longwire, longwire, run, site};

/// Runs the doctor, and gives its exit status and what it printed as JSON.
fn doctor(args: &[&str]) -> (Option<i32>, Value) {
    let (status, printed, said) = run(longwire().arg("doctor").arg("--json").args(args));
    let json = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}:\n{printed}{said}"));
    (status, json)
}

/// The same for a URL that has a fault: the verdict's id and sentence.
fn fault(args: &[&str]) -> (String, String) {
    let (status, json) = doctor(args);
    assert_eq!(status, Some(1), "{json:#}");
    let text = |key: &str| json["verdict"][key].as_str().unwrap_or_default().to_owned();
    (text("id"), text("sentence"))
}

/// The server's end of an open WebSocket.
struct Peer {
    tcp: TcpStream,
    input: Vec<u8>,
    /// A message of which fragments have come.
    begun: Option<(OpCode, Vec<u8>)>,
}

enum Heard {
    Frame(OpCode, Vec<u8>),
    Nothing,
    End,
}

impl Peer {
    /// The next message or control frame, if one comes within this time.
    fn hear(&mut self, wait: Duration) -> Heard {
        let end = Instant::now() + wait;
        loop {
            if let Some((header, size)) = Header::parse(&self.input).unwrap()
                && self.input.len() >= size + header.len as usize
            {
                let mut payload: Vec<u8> =
                    self.input.drain(..size + header.len as usize).skip(size).collect();
                apply_mask(header.mask.unwrap(), 0, &mut payload);
                if header.opcode.is_control() {
                    return Heard::Frame(header.opcode, payload);
                }
                let (opcode, mut whole) = self.begun.take().unwrap_or((header.opcode, Vec::new()));
                whole.extend(payload);
                if header.fin {
                    return Heard::Frame(opcode, whole);
                }
                self.begun = Some((opcode, whole));
                continue;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Nothing;
            }
            self.tcp.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 64 * 1024];
            match self.tcp.read(&mut chunk) {
                Ok(0) => return Heard::End,
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Heard::End,
            }
        }
    }

    /// Answers a ping, and sends anything else back. False when that was the end.
    fn answer(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        let opcode_back = if opcode == OpCode::Ping { OpCode::Pong } else { opcode };
        let frame = Frame::new(opcode_back.bits(), payload).bytes(None);
        self.tcp.write_all(&frame).is_ok() && opcode != OpCode::Close
    }

    /// Answers until nothing was heard for so long, or the peer ends. True when it is still there.
    fn serve_until(&mut self, wait: impl Fn() -> Duration) -> bool {
        loop {
            match self.hear(wait()) {
                Heard::Nothing => return true,
                Heard::Frame(opcode, payload) if self.answer(opcode, &payload) => {}
                Heard::Frame(..) | Heard::End => return false,
            }
        }
    }
}

/// A server of WebSockets, each in a thread of its own.
fn server(serve: impl Fn(Peer) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                let mut conn = Conn::new(stream);
                if conn.try_read_head().is_some_and(|head| conn.try_upgrade(&head)) {
                    serve(Peer { tcp: conn.tcp().try_clone().unwrap(), input: Vec::new(), begun: None });
                }
            });
        }
    });
    addr
}

fn ws(addr: SocketAddr) -> String {
    format!("ws://{addr}/")
}

#[test]
fn a_connection_that_lasts_is_sound() {
    let url = ws(Backend::echo());
    let (status, printed, said) = run(longwire().args(["doctor", &url, "--idle", "1s"]));
    assert_eq!(status, Some(0), "{printed}{said}");
    assert!(printed.starts_with("Sound: "), "{printed}");
    assert!(printed.contains("a silent WebSocket stays open for 1 s"), "{printed}");
    assert_eq!(said, "", "progress is for terminals");
}

#[test]
fn a_timer_of_silence_is_told_by_the_busy_ones() {
    let proxy = Longwire::start(&site(Backend::echo(), "proxy_read_timeout 2s; websocket_ping off;"));
    let (id, sentence) = fault(&[&ws(proxy.addr()), "--idle", "8s"]);
    assert_eq!(id, "idle-timer", "{sentence}");
    assert!(sentence.contains("a ping or a message every 800 ms stays open"), "{sentence}");
}

#[test]
fn pings_that_are_not_counted_are_told_from_messages() {
    let addr = server(|mut peer| {
        let mut heard = Instant::now();
        loop {
            let left = Duration::from_secs(2).saturating_sub(heard.elapsed());
            match peer.hear(left) {
                Heard::Nothing => {
                    break drop(peer.tcp.write_all(&support::close(4000, "say something").bytes(None)));
                }
                Heard::Frame(opcode, payload) if peer.answer(opcode, &payload) => {
                    if opcode != OpCode::Ping {
                        heard = Instant::now();
                    }
                }
                Heard::Frame(..) | Heard::End => break,
            }
        }
    });
    let (status, json) = doctor(&[&ws(addr), "--idle", "8s"]);
    assert_eq!(status, Some(1), "{json:#}");
    assert_eq!(json["verdict"]["id"], "idle-timer", "{json:#}");
    assert_eq!(json["verdict"]["fault_of"], "server", "a Close frame comes from whoever speaks WebSocket");
    let sentence = json["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("pings do not help"), "{sentence}");
}

#[test]
fn an_age_that_ends_busy_ones_as_well_is_a_lifetime() {
    let addr = server(|mut peer| {
        let end = Instant::now() + Duration::from_secs(2);
        peer.serve_until(|| end.saturating_duration_since(Instant::now()));
    });
    let (id, sentence) = fault(&[&ws(addr), "--idle", "6s"]);
    assert_eq!(id, "lifetime-limit", "{sentence}");
    assert!(sentence.contains("at an age of 2"), "{sentence}");
}

#[test]
fn ends_at_one_moment_are_a_reload() {
    // Once five connections have lasted for some time, all of them end.
    let open: Arc<Mutex<Vec<(Instant, u16, TcpStream)>>> = Arc::default();
    let addr = server(move |mut peer| {
        let port = peer.tcp.peer_addr().unwrap().port();
        let mine = (Instant::now(), port, peer.tcp.try_clone().unwrap());
        open.lock().unwrap().push(mine);
        while peer.serve_until(|| Duration::from_millis(50)) {
            let mut open = open.lock().unwrap();
            if open.iter().filter(|(since, ..)| since.elapsed() > Duration::from_millis(600)).count() >= 5 {
                open.drain(..).for_each(|(.., tcp)| drop(tcp.shutdown(Shutdown::Both)));
            }
        }
        open.lock().unwrap().retain(|(_, other, _)| *other != port);
    });
    let (status, json) = doctor(&[&ws(addr), "--idle", "5s"]);
    assert_eq!(status, Some(1), "{json:#}");
    assert_eq!(json["verdict"]["id"], "closed-together", "{json:#}");
    assert!(json["verdict"]["evidence"].to_string().contains("a new WebSocket opens afterwards"), "{json:#}");
}

#[test]
fn what_is_forgotten_without_a_word_is_found_by_speaking_to_it() {
    // As a NAT does: after four seconds of silence nothing gets through any more, and nobody is told.
    let addr = server(|mut peer| {
        if peer.serve_until(|| Duration::from_secs(4)) {
            while !matches!(peer.hear(support::WAIT), Heard::End) {}
        }
    });
    let (status, json) = doctor(&[&ws(addr), "--idle", "6s"]);
    assert_eq!(status, Some(1), "{json:#}");
    assert_eq!(json["verdict"]["id"], "silent-drop", "{json:#}");
    assert_eq!(json["verdict"]["fault_of"], "network");
    let sentence = json["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("between 3 s and 6 s of silence"), "{sentence}");
}

#[test]
fn a_proxy_that_breaks_a_sound_backend_is_named() {
    let backend = Backend::echo();
    // It sends the request on without what makes it a handshake.
    let proxy =
        Backend::http(|_, _| "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n".into());
    let (status, json) = doctor(&["--through", &ws(proxy), "--direct", &ws(backend)]);
    assert_eq!(status, Some(1), "{json:#}");
    assert_eq!(json["verdict"]["id"], "hop-breaks", "{json:#}");
    assert_eq!(json["verdict"]["fault_of"], "proxy");
    let hops = &json["facts"]["hops"];
    assert_eq!(hops["direct"]["verdict"]["id"], "sound");
    let status = &hops["differences"][0];
    assert_eq!(
        (&status["through"], &status["direct"]),
        (&"400 Bad Request".into(), &"101 Switching Protocols".into())
    );
    // A proxy that does well in front of the same backend.
    let proxy = Longwire::start(&site(backend, ""));
    let (status, json) = doctor(&["--through", &ws(proxy.addr()), "--direct", &ws(backend)]);
    assert_eq!(status, Some(0), "{json:#}");
    // Users go through the proxy: what is wrong only past it is no fault.
    let nobody = support::backend::nobody();
    let (status, json) = doctor(&["--through", &ws(proxy.addr()), "--direct", &ws(nobody)]);
    assert_eq!(status, Some(0), "{json:#}");
    assert!(json["verdict"]["sentence"].as_str().unwrap().contains("tcp-refused"), "{json:#}");
}

/// Engine.IO as `servers` processes that take turns: each knows its own sessions. With `cookie` a client that shows it
/// comes back to the same one.
fn polling(servers: usize, cookie: bool) -> SocketAddr {
    let turn = AtomicUsize::new(0);
    let sessions: Mutex<Vec<(String, usize)>> = Mutex::default();
    Backend::http(move |head: &Head, _| {
        let kept = head.all("cookie").iter().find_map(|line| line.strip_prefix("srv=")?.parse().ok());
        let server = kept.unwrap_or_else(|| turn.fetch_add(1, Ordering::Relaxed) % servers);
        let mut sessions = sessions.lock().unwrap();
        let (status, body) = match head.target().split("sid=").nth(1) {
            None => {
                let sid = format!("s{}", sessions.len());
                sessions.push((sid.clone(), server));
                ("200 OK", format!("0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"]}}"))
            }
            Some(sid) if sessions.contains(&(sid.to_owned(), server)) => ("200 OK", "ok".into()),
            Some(_) => ("400 Bad Request", r#"{"code":1,"message":"Session ID unknown"}"#.into()),
        };
        let cookie = if cookie { format!("Set-Cookie: srv={server}; Path=/\r\n") } else { String::new() };
        if head.has("upgrade") {
            return support::backend::switching(head.get("sec-websocket-key"), "");
        }
        format!("HTTP/1.1 {status}\r\n{cookie}Content-Length: {}\r\n\r\n{body}", body.len())
    })
}

#[test]
fn a_session_of_polling_that_is_not_kept_together_is_found() {
    let url = |addr| format!("http://{addr}/socket.io/?EIO=4&transport=websocket");
    let facts = |addr| {
        let (_, json) = doctor(&[&url(addr), "--no-messages"]);
        json["facts"]["sticky"]["socketio"].clone()
    };
    // Twenty times, or as often as there is time for: how often the session was known, and how often it was not.
    let counts = |facts: &Value| {
        let of = |key: &str| facts["with_cookies"][key].as_u64().unwrap();
        assert!((2..=20).contains(&of("asked")), "{facts:#}");
        assert_eq!(of("known") + of("unknown"), of("asked"), "{facts:#}");
        (of("known"), of("unknown"))
    };
    let one = facts(polling(1, false));
    assert_eq!((counts(&one).1, &one["without_cookies"]["unknown"]), (0, &0.into()), "{one:#}");
    let two = facts(polling(2, false));
    let (known, unknown) = counts(&two);
    assert!(unknown > 0 && known.abs_diff(unknown) <= 1, "{two:#}");
    let kept = facts(polling(2, true));
    assert_eq!(
        (&kept["with_cookies"]["unknown"], &kept["cookies"][0]),
        (&0.into(), &"srv".into()),
        "{kept:#}"
    );
    assert!(kept["without_cookies"]["unknown"].as_u64() > Some(0), "{kept:#}");
}
