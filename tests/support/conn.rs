//! One end of a connection: bytes, HTTP heads and bodies, with bounded waits. Clients and fake backends are the same.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::WAIT;

/// A request or response head.
#[derive(Debug, Clone)]
pub struct Head {
    /// Request line or status line.
    pub start: String,
    /// Names as sent, and values.
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn parse(text: &str) -> Head {
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_string();
        let header = |l: &str| l.split_once(':').map(|(n, v)| (n.to_string(), v.trim().to_string()));
        Head { start, headers: lines.filter_map(header).collect() }
    }

    /// The only value of a header; empty when it is absent.
    pub fn get(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} more than once in {self:#?}");
        all.first().copied().unwrap_or_default()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, v)| v.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    pub fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).and_then(|s| s.parse().ok());
        code.unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    /// The target of a request line.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }
}

/// What carries bytes: TCP as it is, or TLS upon it.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One end of a connection.
pub struct Conn {
    stream: Box<dyn Stream>,
    tcp: TcpStream,
    buffer: Vec<u8>,
    /// Whether frames sent from here are masked: a client's are.
    pub masks: bool,
    /// Whether pings are answered while frames are read.
    pub answers_pings: bool,
    /// Pings seen while frames were read.
    pub pings: usize,
}

impl Conn {
    pub fn new(tcp: TcpStream) -> Conn {
        let stream = Box::new(tcp.try_clone().unwrap());
        Conn::with(tcp, stream)
    }

    /// A connection whose bytes go through `stream`, which stands on `tcp`.
    pub fn with(tcp: TcpStream, stream: Box<dyn Stream>) -> Conn {
        tcp.set_read_timeout(Some(WAIT)).unwrap();
        tcp.set_write_timeout(Some(WAIT)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Conn { stream, tcp, buffer: Vec::new(), masks: false, answers_pings: true, pings: 0 }
    }

    pub fn connect(addr: SocketAddr) -> Conn {
        let tcp =
            TcpStream::connect_timeout(&addr, WAIT).unwrap_or_else(|e| panic!("connect to {addr}: {e}"));
        let mut conn = Conn::new(tcp);
        conn.masks = true;
        conn
    }

    /// For backends in threads of their own: a read waits as long as the test runs.
    pub fn patient(self) -> Conn {
        self.tcp.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
        self
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Ends the writing side: a FIN goes out.
    pub fn end_sending(&mut self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends both halves, whatever the peer thinks of it.
    pub fn end(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Ends with a RST instead of a FIN.
    pub fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads once more into the buffer. False at the end of the stream; a reset counts as an end.
    fn fill(&mut self) -> std::io::Result<bool> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(true)
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// Exactly this many bytes, or `None` when the stream ends before.
    pub fn try_read(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < n {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => panic!("waiting for {n} bytes, have {:?}: {e}", self.shown()),
            }
        }
        Some(self.buffer.drain(..n).collect())
    }

    /// Waits until this many bytes are here, and leaves them to be read.
    pub fn see(&mut self, n: usize) {
        let bytes = self.read(n);
        self.buffer.splice(0..0, bytes);
    }

    pub fn read(&mut self, n: usize) -> Vec<u8> {
        self.try_read(n).unwrap_or_else(|| panic!("stream ended, {n} bytes expected, got {:?}", self.shown()))
    }

    /// Everything up to the end of the stream.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return std::mem::take(&mut self.buffer),
                Err(e) => panic!("waiting for the end, have {:?}: {e}", self.shown()),
            }
        }
    }

    /// Asserts that the stream ends and brings nothing more.
    pub fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "more before the end: {:?}", String::from_utf8_lossy(&rest));
    }

    /// What comes within this time; for asserting that something does not come.
    pub fn read_for(&mut self, time: Duration) -> Vec<u8> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.tcp.set_read_timeout(Some(left)).unwrap();
            if !matches!(self.fill(), Ok(true)) {
                break;
            }
        }
        self.tcp.set_read_timeout(Some(WAIT)).unwrap();
        std::mem::take(&mut self.buffer)
    }

    /// A head up to its empty line; `None` when the stream ends before.
    pub fn try_read_head(&mut self) -> Option<Head> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Some(Head::parse(&String::from_utf8_lossy(&head[..at])));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => panic!("waiting for a head, have {:?}: {e}", self.shown()),
            }
        }
    }

    pub fn read_head(&mut self) -> Head {
        self.try_read_head().unwrap_or_else(|| panic!("stream ended within a head: {:?}", self.shown()))
    }

    /// A line of a chunked body without its end.
    pub fn read_line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.fill().unwrap(), "stream ended within a line: {:?}", self.shown());
        }
    }

    /// The body that belongs to this head: of a request, or of an answer to a request with a body.
    pub fn read_body(&mut self, head: &Head) -> Vec<u8> {
        if head.get("transfer-encoding").eq_ignore_ascii_case("chunked") {
            return self.read_chunked().0;
        }
        if head.has("content-length") {
            return self.read(head.get("content-length").parse().unwrap());
        }
        let bodiless = !head.start.starts_with("HTTP/") || matches!(head.status(), 100..200 | 204 | 304);
        if bodiless { Vec::new() } else { self.read_to_end() }
    }

    /// One chunk; empty is the last.
    pub fn read_chunk(&mut self) -> Vec<u8> {
        let line = self.read_line();
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        if size == 0 {
            return Vec::new();
        }
        let chunk = self.read(size);
        assert_eq!(self.read(2), b"\r\n");
        chunk
    }

    /// A chunked body with its trailers.
    pub fn read_chunked(&mut self) -> (Vec<u8>, Vec<String>) {
        let mut body = Vec::new();
        loop {
            let chunk = self.read_chunk();
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.read_line();
            if line.is_empty() {
                return (body, trailers);
            }
            trailers.push(line);
        }
    }

    /// An answer with its body.
    pub fn read_answer(&mut self) -> (Head, String) {
        let head = self.read_head();
        let body = self.read_body(&head);
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &str) -> (Head, String) {
        self.send(request);
        self.read_answer()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(300)]).into_owned()
    }
}

/// A GET on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> (Head, String) {
    Conn::connect(addr).ask(&format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|w| w == part)
}
