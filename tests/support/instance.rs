//! One of several backends of an application: it says which it is, can misbehave, be killed, and come back.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::{nobody, switching};
use super::conn::{Conn, Head};

/// What an instance does with requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// 101 to handshakes, 200 with its name to all others.
    Serve,
    /// Resets the connection once it has read the head.
    Reset,
    /// Says nothing at all.
    Hang,
    /// 101 to handshakes, and not a word after it.
    Mute,
    /// Answers this status.
    Status(u16),
}

impl Manner {
    fn code(self) -> u16 {
        match self {
            Manner::Serve => 0,
            Manner::Reset => 1,
            Manner::Hang => 2,
            Manner::Mute => 3,
            Manner::Status(status) => status,
        }
    }
}

/// An instance that runs until it is dropped.
pub struct Instance {
    pub name: String,
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    manner: AtomicU16,
    stopped: std::sync::atomic::AtomicBool,
    requests: AtomicUsize,
    tunnels: AtomicUsize,
    connections: Mutex<HashMap<SocketAddr, TcpStream>>,
}

impl Instance {
    /// One on a port that stays its own: it can come back there.
    pub fn new(name: &str) -> Instance {
        Instance::at(name, nobody())
    }

    /// One on this address.
    pub fn at(name: &str, addr: SocketAddr) -> Instance {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (its, name) = (shared.clone(), name.to_owned());
        let called = name.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if its.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(peer) = stream.peer_addr() else { continue };
                its.connections.lock().unwrap().insert(peer, stream.try_clone().unwrap());
                let (its, called) = (its.clone(), called.clone());
                let serve = move || {
                    let conn = its.serve(stream, &called);
                    // A second hold on the socket would keep it open.
                    its.connections.lock().unwrap().remove(&peer);
                    if its.manner.load(Ordering::SeqCst) == Manner::Reset.code() {
                        conn.reset();
                    }
                };
                std::thread::Builder::new().stack_size(256 << 10).spawn(serve).unwrap();
            }
        });
        Instance { name, addr, shared }
    }

    /// Several with the names a, b, c ...
    pub fn several(count: usize) -> Vec<Instance> {
        ('a'..).take(count).map(|name| Instance::new(&name.to_string())).collect()
    }

    pub fn behave(&self, manner: Manner) {
        self.shared.manner.store(manner.code(), Ordering::SeqCst);
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Tunnels that are open.
    pub fn tunnels(&self) -> usize {
        self.shared.tunnels.load(Ordering::SeqCst)
    }
}

impl Drop for Instance {
    /// All its connections end, and nobody listens any more.
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        for (_, connection) in self.shared.connections.lock().unwrap().drain() {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        // The port is free once the accepting thread has let go of it.
        super::until("nobody listens any more", || TcpStream::connect(self.addr).is_err());
    }
}

impl Shared {
    /// Serves a connection and gives it back to be ended.
    fn serve(&self, stream: TcpStream, name: &str) -> Conn {
        let mut conn = Conn::new(stream).patient();
        while let Some(head) = conn.try_read_head() {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let body = conn.read_body(&head);
            let manner = self.manner.load(Ordering::SeqCst);
            let answered = match manner {
                0 if head.has("sec-websocket-key") => {
                    self.tunnel(&mut conn, &head, name);
                    break;
                }
                0 => conn.try_send(page(200, name, &body).as_bytes()),
                1 => break,
                2 | 3 => {
                    if manner == 3 {
                        conn.try_upgrade(&head);
                    }
                    conn.read_for(Duration::from_secs(600));
                    break;
                }
                status => conn.try_send(page(status, name, b"").as_bytes()),
            };
            if answered.is_err() {
                break;
            }
        }
        conn
    }

    fn tunnel(&self, conn: &mut Conn, head: &Head, name: &str) {
        let answer = switching(head.get("sec-websocket-key"), &format!("X-Instance: {name}\r\n"));
        // Before the client can know of it: a test that has seen the 101 counts on this.
        self.tunnels.fetch_add(1, Ordering::SeqCst);
        if conn.try_send(answer.as_bytes()).is_ok() {
            conn.echo();
        }
        self.tunnels.fetch_sub(1, Ordering::SeqCst);
    }
}

fn page(status: u16, name: &str, body: &[u8]) -> String {
    let body = format!("{name}{}", String::from_utf8_lossy(body));
    format!("HTTP/1.1 {status} Some\r\nX-Instance: {name}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A configuration with these instances as a group named app; `DIRECTIVES` go into the group.
pub fn group(instances: &[&Instance], parameters: &str, directives: &str, location: &str) -> String {
    let servers: Vec<String> =
        instances.iter().map(|instance| format!("server {} {parameters};", instance.addr)).collect();
    let servers = servers.join(" ");
    format!(
        "upstream app {{ {directives} {servers} }}\nserver {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; {location} }} }}\n"
    )
}

/// Opens a tunnel with more header lines: the connection, and the head of the 101.
pub fn tunnel(addr: SocketAddr, more: &str) -> (Conn, Head) {
    let mut conn = Conn::connect(addr);
    conn.send(super::frames::upgrade_request("/", more));
    let head = conn.expect_tunnel();
    (conn, head)
}

/// Asks for a WebSocket and gives the head of the answer, whatever it is.
pub fn handshake(addr: SocketAddr, more: &str) -> Head {
    let mut conn = Conn::connect(addr);
    conn.send(super::frames::upgrade_request("/", more));
    conn.read_head()
}
