//! Fake backends: the test itself plays the server, one connection after the other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::WAIT;
use super::conn::{Conn, Head};
use super::frames::accept_key;

/// A listening socket whose connections are handed to the test.
pub struct Backend {
    addr: SocketAddr,
    connections: Receiver<TcpStream>,
    stop: Arc<AtomicBool>,
}

impl Backend {
    pub fn new() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, connections) = sync_channel(1024);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) || sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Backend { addr, connections, stop }
    }

    /// A backend that echoes every frame of every tunnel until its peer closes. It answers pings.
    pub fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut conn = Conn::new(stream).patient();
                    if conn.try_read_head().is_some_and(|head| conn.try_upgrade(&head)) {
                        conn.echo();
                    }
                });
            }
        });
        addr
    }

    /// An HTTP backend that answers each request of each connection with what `answer` gives for its head and body.
    pub fn http(answer: impl Fn(&Head, &[u8]) -> String + Send + Sync + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    let mut conn = Conn::new(stream).patient();
                    while let Some(head) = conn.try_read_head() {
                        let body = conn.read_body(&head);
                        if conn.try_send(answer(&head, &body).as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        addr
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next connection that the program makes.
    pub fn accept(&self) -> Conn {
        let stream = self.connections.recv_timeout(WAIT).expect("the program connects to the backend");
        Conn::new(stream)
    }

    /// The next connection with its request head.
    pub fn request(&self) -> (Conn, Head) {
        let mut conn = self.accept();
        let head = conn.read_head();
        (conn, head)
    }

    /// The next connection, upgraded: the head as the backend saw it, and the tunnel.
    pub fn tunnel(&self) -> (Conn, Head) {
        let (mut conn, head) = self.request();
        assert!(conn.try_upgrade(&head), "no key in {head:?}");
        (conn, head)
    }

    /// Whether anybody connected since the last `accept`.
    pub fn was_left_alone(&self) -> bool {
        self.connections.try_recv().is_err()
    }

    /// The next connection, if one comes within this time.
    pub fn accept_within(&self, bound: Duration) -> Option<Conn> {
        self.connections.recv_timeout(bound).ok().map(Conn::new)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread so that the port is given back.
        let _ = TcpStream::connect(self.addr);
    }
}

/// A port of 127.0.0.1 on which nobody listens unless this test does, or a program of it.
///
/// A port that was merely free a moment ago may be that of another test by now. This one is kept as long as the test
/// runs, on all loopback addresses: a bound socket that does not listen takes no connection, and Linux finds it in the
/// way of nobody who names the port.
pub fn nobody() -> SocketAddr {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    std::mem::forget(socket);
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The answer 101 to this request's key, with more header lines.
pub fn switching(key: &str, more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {}\r\n{more}\r\n",
        accept_key(key)
    )
}
