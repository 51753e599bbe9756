//! The admin address, asked as a program would ask.

use std::net::SocketAddr;

use serde_json::Value;

use super::Longwire;
use super::conn::{Conn, Head};

/// Where tests let it listen: beside the servers on 127.0.0.1.
pub const LISTEN: &str = "127.0.0.9:0";

/// The admin address of a process that has `admin` at [`LISTEN`].
pub fn of(longwire: &Longwire) -> SocketAddr {
    longwire.addr_on("127.0.0.9")
}

/// What is at a path.
pub fn get(addr: SocketAddr, path: &str) -> (u16, Value) {
    let (head, body) = ask(addr, "GET", path, "", None);
    (head.status(), json(&body))
}

/// Posts JSON to a path; `token` as bearer.
pub fn post(addr: SocketAddr, path: &str, body: &Value, token: Option<&str>) -> (u16, Value) {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let (head, body) = ask(addr, "POST", path, &authorization, Some(&body.to_string()));
    (head.status(), json(&body))
}

/// Asks with more header lines and a body.
pub fn ask(addr: SocketAddr, method: &str, path: &str, lines: &str, body: Option<&str>) -> (Head, String) {
    let body = body.unwrap_or_default();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    Conn::connect(addr).ask(&request)
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}
