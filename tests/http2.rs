//! HTTP/2: requests side by side on one connection, with the bounds and the facts that HTTP/1.1 has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use support::tls::Identity;
use support::{Backend, Conn, Folder, Longwire, WAIT, between, site};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// A connection of HTTP/2, and what becomes of it.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn plain(addr: SocketAddr) -> Client {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
        Client { sender, driver: tokio::spawn(driver) }
    }

    /// By TLS, with what the server chose of `h2` and `http/1.1`.
    async fn tls(addr: SocketAddr, identity: &Identity, name: &str) -> Result<Client, Option<Vec<u8>>> {
        let mut config = identity.client_config(rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let chosen = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        if chosen.as_deref() != Some(b"h2") {
            return Err(chosen);
        }
        let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
        Ok(Client { sender, driver: tokio::spawn(driver) })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    async fn get(&mut self, path: &str) -> (u16, HeaderMap, String) {
        let response = self.send(get(path)).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Waits until the program has ended the connection.
    async fn ends(self) {
        drop(self.sender);
        tokio::time::timeout(WAIT, self.driver).await.expect("the connection ends").unwrap().ok();
    }

    /// The same while more could be asked.
    async fn is_ended(&mut self) {
        let ended = tokio::time::timeout(WAIT, &mut self.driver).await;
        ended.expect("the connection ends").unwrap().ok();
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(format!("http://example.test{path}")).version(Version::HTTP_2);
    request.body(Full::default()).unwrap()
}

/// An answer to anything.
fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A server without TLS before this backend.
fn h2c(backend: SocketAddr, directives: &str) -> String {
    format!("http2 on; {}", site(backend, directives))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_do_not_wait_for_each_other() {
    let backend = Backend::new();
    let longwire = Longwire::start(&h2c(backend.addr(), ""));
    let client = Client::plain(longwire.addr()).await;
    let mut asked = Vec::new();
    for number in 0..20 {
        let mut sender = client.sender.clone();
        asked.push(tokio::spawn(async move {
            let response = sender.send_request(get(&format!("/{number}"))).await.unwrap();
            String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
        }));
    }
    // All of them are at the backend before the first is answered.
    let mut waiting: Vec<_> = (0..20).map(|_| backend.request()).collect();
    for (conn, head) in waiting.iter_mut().rev() {
        conn.send(ok(head.target()));
    }
    for (number, body) in asked.into_iter().enumerate() {
        assert_eq!(body.await.unwrap(), format!("/{number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_that_sni_names_decides() {
    let folder = Folder::new();
    let identity = Identity::new(&["new.test", "old.test"]);
    identity.write(&folder, "both");
    let server = |name: &str, http2: &str| {
        format!(
            "server {{ listen 127.0.0.1:0 ssl; {http2} server_name {name}; ssl_certificate DIR/both.crt; ssl_certificate_key DIR/both.key; return 200 $http2/$server_protocol; }}\n"
        )
    };
    let longwire =
        Longwire::start_in(folder, &(server("new.test", "http2 on;") + &server("old.test", "")), &[]);
    let mut client = Client::tls(longwire.addr(), &identity, "new.test").await.unwrap();
    assert_eq!(client.get("/").await.2, "h2/HTTP/2.0");
    assert_eq!(
        Client::tls(longwire.addr(), &identity, "old.test").await.err(),
        Some(Some(b"http/1.1".to_vec()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_both_ways_and_have_limits() {
    let backend = Backend::http(|head, body| match head.target() {
        "/large" => ok(&"x".repeat(3_000_000)),
        _ => ok(&format!("{} {}", head.get("content-length"), body.len())),
    });
    let longwire = Longwire::start(&h2c(backend, "client_max_body_size 2m;"));
    let mut client = Client::plain(longwire.addr()).await;
    for (length, status, told) in [(0, 200, "0 0"), (1_500_000, 200, "1500000 1500000"), (2_500_000, 413, "")]
    {
        let body = Full::new(Bytes::from(vec![7; length]));
        let request =
            Request::post("http://example.test/").header("content-length", length).body(body).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), status);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(told.as_bytes()), "{body:?}");
    }
    assert_eq!(client.get("/large").await.2.len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_tells_of_each_stream() {
    let log = "log_format facts '$request $status $body_bytes_sent $connection_requests'; access_log DIR/log facts;";
    let backend = Backend::http(|_, _| ok("twelve bytes"));
    let longwire = Longwire::start(&format!("{log} {}", h2c(backend, "")));
    let mut client = Client::plain(longwire.addr()).await;
    client.get("/a?b").await;
    let head = Request::head("http://example.test/h").body(Full::default()).unwrap();
    let answer = client.send(head).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "12");
    let expected = "GET /a?b HTTP/2.0 200 12 1\nHEAD /h HTTP/2.0 200 0 2\n";
    support::until("the log has both lines", || longwire.folder().read("log") == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_is_told_of_and_leaves_its_backend() {
    let log = "log_format facts '$request $status'; access_log DIR/log facts;";
    let backend = Backend::new();
    let longwire = Longwire::start(&format!("{log} {}", h2c(backend.addr(), "")));
    let mut client = Client::plain(longwire.addr()).await;
    client.sender.ready().await.unwrap();
    let asked = tokio::spawn(client.sender.send_request(get("/gone")));
    let (mut conn, _) = backend.request();
    asked.abort();
    assert_eq!(conn.read_to_end(), b"");
    support::until("the log has its line", || longwire.folder().read("log") == "GET /gone HTTP/2.0 499\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_request_in_work_end() {
    let backend = Backend::new();
    let mut longwire = Longwire::start(&h2c(backend.addr(), ""));
    let mut client = Client::plain(longwire.addr()).await;
    client.sender.ready().await.unwrap();
    let asked = tokio::spawn(client.sender.send_request(get("/")));
    let (mut conn, _) = backend.request();
    longwire.signal(nix::sys::signal::Signal::SIGQUIT);
    longwire.wait_log(&["shutting down"]);
    conn.send(ok("last"));
    let body = asked.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "last");
    client.ends().await;
    assert!(longwire.wait_exit(WAIT).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_when_idle_or_used_up() {
    let backend = Backend::http(|_, _| ok("x"));
    let longwire = Longwire::start(&format!("keepalive_timeout 300ms; {}", h2c(backend, "")));
    let mut client = Client::plain(longwire.addr()).await;
    let since = std::time::Instant::now();
    client.get("/").await;
    client.is_ended().await;
    between(since.elapsed(), 250, 5_000);
    let longwire = Longwire::start(&format!("keepalive_requests 3; {}", h2c(backend, "")));
    let mut client = Client::plain(longwire.addr()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.0, 200);
    }
    client.is_ended().await;
}

/// Bytes of frames, without a library: this client breaks the rules of good behaviour.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET http://a/ in HPACK: three entries of the static table, and `:authority` as it is.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

/// Begins a connection with settings.
fn begin(longwire: &Longwire, settings: &[u8]) -> Conn {
    let mut conn = Conn::connect(longwire.addr());
    conn.send([PREFACE, &frame(4, 0, 0, settings)].concat());
    conn
}

#[test]
fn a_head_that_drips_has_its_time() {
    let backend = Backend::http(|_, _| ok("x"));
    let longwire = Longwire::start(&format!(
        "client_header_timeout 400ms; lingering_timeout 100ms; error_log stderr info; {}",
        h2c(backend, "")
    ));
    for beginning in [&[][..], &frame(1, 1, 1, GET), &frame(1, 5, 1, GET)[..12], &PREFACE[..7]] {
        let since = std::time::Instant::now();
        let mut conn = match beginning.starts_with(b"PRI") {
            true => Conn::connect(longwire.addr()),
            false => begin(&longwire, &[]),
        };
        conn.send(beginning);
        conn.read_to_end();
        between(since.elapsed(), 300, 5_000);
    }
    longwire.wait_log(&["[info]", "client timed out while sending a request head"]);
}

/// The next frame: kind, flags, stream and payload.
fn next(conn: &mut Conn) -> Option<(u8, u8, u8, Vec<u8>)> {
    let head = conn.try_read(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    Some((head[3], head[4], head[8], conn.try_read(length)?))
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let backend = Backend::new();
    let longwire =
        Longwire::start(&format!("lingering_timeout 100ms; {}", h2c(backend.addr(), "send_timeout 300ms;")));
    // A window of 10 bytes for each stream.
    let mut conn = begin(&longwire, &[0, 4, 0, 0, 0, 10]);
    conn.send(frame(1, 5, 1, GET));
    let (mut behind, _) = backend.request();
    let sending = std::thread::spawn(move || behind.try_send(ok(&"x".repeat(8_000_000)).as_bytes()).is_err());
    let of_stream = |conn: &mut Conn, stream| loop {
        let (kind, _, of, payload) = next(conn).expect("a frame");
        if of == stream && kind != 1 {
            return (kind, payload);
        }
    };
    assert_eq!(of_stream(&mut conn, 1), (0, b"xxxxxxxxxx".to_vec()));
    // RST_STREAM: the backend is let go, and the connection goes on.
    assert_eq!(of_stream(&mut conn, 1).0, 3);
    assert!(sending.join().unwrap());
    conn.send(frame(1, 5, 3, GET));
    let (mut behind, _) = backend.request();
    behind.send(ok("short").replace("Content", "Connection: close\r\nContent"));
    assert_eq!(of_stream(&mut conn, 3), (0, b"short".to_vec()));
    // What hyper has whole is no longer a stream's affair: the connection ends.
    conn.send(frame(1, 5, 5, GET));
    let (mut behind, _) = backend.request();
    behind.send(ok("more than ten bytes"));
    assert_eq!(of_stream(&mut conn, 5), (0, b"more than ".to_vec()));
    while next(&mut conn).is_some() {}
}

#[test]
fn a_client_that_goes_on_for_ever_is_closed() {
    let backend = Backend::http(|_, _| ok("x"));
    let longwire = Longwire::start(&format!(
        "keepalive_requests 5; http2_max_concurrent_streams 4; {}",
        h2c(backend, "")
    ));
    let mut conn = begin(&longwire, &[]);
    // It opens and resets streams, whatever it is told.
    let mut written = 0;
    for stream in 0..120 {
        let bytes = [frame(1, 5, 2 * stream + 1, GET), frame(3, 0, 2 * stream + 1, &[0, 0, 0, 8])].concat();
        match conn.try_send(&bytes) {
            Ok(()) => written += 1,
            Err(_) => break,
        }
    }
    assert!(written > 0);
    conn.read_to_end();
}

#[test]
fn connection_headers_are_refused() {
    let backend = Backend::http(|_, _| ok("x"));
    let longwire = Longwire::start(&h2c(backend, ""));
    for (name, value) in [("connection", "close"), ("upgrade", "websocket"), ("transfer-encoding", "chunked")]
    {
        let mut conn = begin(&longwire, &[]);
        let field =
            [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat();
        conn.send(frame(1, 5, 1, &[GET, &field].concat()));
        loop {
            let (kind, _, _, payload) = next(&mut conn).expect("a frame");
            assert_ne!(kind, 1, "{name}: it is answered");
            if kind == 3 {
                // PROTOCOL_ERROR.
                assert_eq!(payload, [0, 0, 0, 1]);
                break;
            }
        }
    }
}

#[test]
fn http1_on_the_same_port_is_served() {
    let backend = Backend::http(|head, _| ok(&head.start));
    let longwire = Longwire::start(&h2c(backend, ""));
    for method in ["GET", "PROPFIND", "PRI"] {
        let mut conn = Conn::connect(longwire.addr());
        let text = format!("{method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        for byte in text.as_bytes().chunks(1) {
            conn.send(byte);
        }
        let head = conn.read_head();
        assert_eq!(conn.read_body(&head), format!("{method} /x HTTP/1.1").into_bytes());
    }
    // What a slow client says first decides, however long that takes.
    let mut conn = Conn::connect(longwire.addr());
    conn.end_sending();
    assert_eq!(conn.read_to_end(), b"");
}
