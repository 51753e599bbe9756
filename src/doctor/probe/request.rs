//! Requests, written byte by byte: a doctor must be able to send what no library would.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::doctor::options::{Options, Origin};
use crate::doctor::target::Target;

/// Names the doctor to whoever reads the logs at the other end, and is taken for a browser by filters.
const AGENT: &str = concat!("Mozilla/5.0 (compatible; longwire-doctor/", env!("CARGO_PKG_VERSION"), ")");

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Headers in their order, `Host` among them.
    pub headers: Vec<(String, String)>,
    /// Body; one that is not empty goes with its `Content-Length`.
    pub body: String,
}

impl Request {
    fn empty(path: &str) -> Request {
        Request { method: "GET", path: path.to_owned(), headers: Vec::new(), body: String::new() }
    }

    /// A plain GET, as a browser asks for a page.
    pub fn page(target: &Target, options: &Options) -> Request {
        let mut request = Request::empty(&target.path);
        request.set("Host", &target.authority());
        request.set("User-Agent", AGENT);
        request.set("Accept", "*/*");
        request.set("Connection", "close");
        for (name, value) in &options.headers {
            request.set(name, value);
        }
        request
    }

    /// The handshake that a browser makes (RFC 6455 section 4.1), with a new key.
    pub fn handshake(target: &Target, options: &Options) -> Request {
        let mut request = Request::empty(&target.path);
        request.set("Host", &target.authority());
        request.set("Connection", "Upgrade");
        request.set("Pragma", "no-cache");
        request.set("Cache-Control", "no-cache");
        request.set("User-Agent", AGENT);
        request.set("Upgrade", "websocket");
        match &options.origin {
            Origin::Own => request.set("Origin", &target.origin()),
            Origin::Is(origin) => request.set("Origin", origin),
            Origin::Absent => {}
        }
        request.set("Sec-WebSocket-Version", "13");
        request.set("Sec-WebSocket-Key", &new_key());
        request.set("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        if !options.subprotocols.is_empty() {
            request.set("Sec-WebSocket-Protocol", &options.subprotocols.join(", "));
        }
        for (name, value) in &options.headers {
            request.set(name, value);
        }
        request
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets a header, in its place if it is there.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, old)) => value.clone_into(old),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// This request at another path.
    pub fn at(&self, path: &str) -> Request {
        Request { path: path.to_owned(), ..self.clone() }
    }

    /// This request as a POST of this text.
    pub fn posting(mut self, body: &str) -> Request {
        self.set("Content-Type", "text/plain;charset=UTF-8");
        self.set("Content-Length", &body.len().to_string());
        Request { method: "POST", body: body.to_owned(), ..self }
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() && self.header("content-length").is_none() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

/// A `Sec-WebSocket-Key`: sixteen random bytes.
fn new_key() -> String {
    let mut bytes = [0; 16];
    // A key that is not random harms nobody here.
    let _ = getrandom::fill(&mut bytes);
    STANDARD.encode(bytes)
}
