//! An HTTP/1.1 connection to a backend: socket, TLS, hyper.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::task::AbortHandle;

use super::Lease;
use crate::net::{self, Endpoint};
use crate::tls::{Conn, Connector};

/// What can go wrong inside a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way from one side to the other.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The longest head of an answer that is read.
const MAX_ANSWER_HEAD: usize = 64 * 1024;
/// Most header lines of an answer; generous, for Set-Cookie comes many times.
const MAX_ANSWER_HEADERS: usize = 512;

/// A connection to a backend, ready for requests.
#[derive(Debug)]
pub struct Connection {
    /// hyper's end of it.
    pub sender: http1::SendRequest<Body>,
    /// What it may be reused for.
    pub lease: Lease,
    /// Requests that went over it.
    pub requests: u64,
    /// hyper's task.
    driver: Option<AbortHandle>,
}

impl Connection {
    /// Whether the other end is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it is done with its last request: an answer may come before the request's body was taken.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Leaves the socket to a tunnel.
    pub fn release(mut self) {
        self.driver = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An idle connection closes in order. In the middle of a request the backend might never let it end.
        if !self.is_ready()
            && let Some(driver) = self.driver.take()
        {
            driver.abort();
        }
    }
}

/// TLS towards the backend.
pub struct Security {
    /// Settings.
    pub connector: Connector,
    /// Name for SNI and verification.
    pub name: String,
}

/// Where connecting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// connect() was refused or unreachable.
    Connect,
    /// The TLS handshake.
    Tls,
    /// `proxy_connect_timeout` ran out.
    Timeout,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct Fault {
    /// Where it failed.
    pub stage: Stage,
    /// What the system or TLS said.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Connect => write!(f, "connect() failed ({})", self.reason),
            Stage::Tls => write!(f, "the TLS handshake with the backend failed ({})", self.reason),
            Stage::Timeout => write!(f, "upstream timed out while connecting ({})", self.reason),
        }
    }
}

/// Opens a connection within `timeout`.
pub async fn open(
    endpoint: &Endpoint,
    bind: Option<IpAddr>,
    security: Option<&Security>,
    keepalive: bool,
    timeout: Duration,
    lease: Lease,
) -> Result<Connection, Fault> {
    let work = async {
        let fault = |stage, error: &dyn fmt::Display| Fault { stage, reason: error.to_string() };
        let mut stream =
            net::connect(endpoint, bind).await.map_err(|e| fault(Stage::Connect, &net::os_text(&e)))?;
        if keepalive {
            stream.set_keepalive();
        }
        if let Some(header) = &lease.announced {
            stream.write_all(header).await.map_err(|e| fault(Stage::Connect, &net::os_text(&e)))?;
        }
        let conn = match security {
            None => Conn::Plain(stream),
            Some(s) => s.connector.connect(stream, &s.name).await.map_err(|e| fault(Stage::Tls, &e))?,
        };
        let (sender, driver) = http1::Builder::new()
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_buf_size(MAX_ANSWER_HEAD)
            .max_headers(MAX_ANSWER_HEADERS)
            .handshake(TokioIo::new(conn))
            .await
            .map_err(|e| fault(Stage::Connect, &e))?;
        // Ends with the sender or the socket; its error reaches the sender as well.
        let driver = tokio::spawn(async move {
            let _ = driver.with_upgrades().await;
        });
        Ok(Connection { sender, lease, requests: 0, driver: Some(driver.abort_handle()) })
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(Fault { stage: Stage::Timeout, reason: format!("no connection within {timeout:?}") }),
    }
}
