//! Pure: what is known of a request, as variables and routing see it.

use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use core::net::IpAddr;
use http::HeaderMap;
use longwire_conf::model::Root;
use longwire_conf::pattern::Pattern;

use super::trace::{Trace, TryTrace};
use crate::tls::Client;

/// Somebody's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// IP and port.
    Ip(IpAddr, u16),
    /// A Unix socket; nginx prints `unix:` for a client's.
    Unix(String),
}

/// What holds for all requests of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Serial number, `$connection`.
    pub serial: u64,
    /// The client.
    pub remote: Peer,
    /// The address that accepted it.
    pub local: Peer,
    /// Client and server address as a PROXY protocol header told them.
    pub announced: Option<[Peer; 2]>,
    /// The peer of the socket, where `set_real_ip_from` has replaced `remote`.
    pub came_from: Option<Peer>,
    /// When it was accepted, microseconds of the process's clock.
    pub accepted_us: u64,
    /// TLS, when there is any.
    pub tls: Option<TlsFacts>,
}

/// What is known of a TLS connection.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// `TLSv1.3`.
    pub protocol: String,
    /// OpenSSL's name of the suite, as nginx prints it.
    pub cipher: String,
    /// SNI.
    pub server_name: Option<String>,
    /// ALPN.
    pub alpn: Option<String>,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// SNI, if it is the name of a server here: the connection is for that one.
    pub negotiated: Option<String>,
    /// The client's certificate.
    pub client: Option<Arc<Client>>,
    /// Group of the key exchange.
    pub curve: Option<u16>,
    /// Suites that the client offered.
    pub ciphers: Vec<u16>,
    /// Groups that the client offered.
    pub curves: Vec<u16>,
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// What is known of a request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its connection.
    pub connection: Arc<ConnectionFacts>,
    /// Number of the request on its connection, from 1.
    pub number: u64,
    /// Method as sent.
    pub method: String,
    /// Target of the request line as sent (`$request_uri`).
    pub target: String,
    /// Version of HTTP that it came in.
    pub protocol: Protocol,
    /// Request headers.
    pub headers: HeaderMap,
    /// The normalised path (`$uri`) as [`uri::text`](super::uri::text); internal redirects change it.
    pub uri: String,
    /// Arguments after `?` (`$args`).
    pub args: String,
    /// What became of the path on the way.
    pub course: Course,
    /// `$host`: of the request line, else of the header, lower case, no port; else the server's first name.
    pub host: String,
    /// First name of the server chosen.
    pub server_name: String,
    /// `$1`..`$9` of the last regex that matched; index 0 is the whole match.
    pub captures: Vec<Option<String>>,
    /// Variables of `set` and named captures so far.
    pub named: Vec<(String, String)>,
    /// `$request_id`, 32 hex digits.
    pub request_id: String,
    /// When the request head was read, microseconds of the process's clock.
    pub started_us: u64,
    /// When that was on the calendar, microseconds since 1970.
    pub started_unix_us: u64,
    /// Bytes of the request as received so far.
    pub request_length: u64,
    /// Host (with port as written) of `proxy_pass`, once that is known.
    pub proxy_host: String,
    /// Port of `proxy_pass`.
    pub proxy_port: String,
    /// URL at the backend that was tried last, for the error log.
    pub upstream: String,
    /// Its trace; `None` where nothing asks for it.
    pub trace: Option<Box<Trace>>,
    /// What came of it so far.
    pub outcome: Outcome,
}

/// What became of a request's path since it was sent.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// It was changed here, or led here by an internal redirect: locations that are `internal` are open to it.
    pub internal: bool,
    /// The target as sent no longer stands for it.
    pub target_stale: bool,
    /// It was led to an error page, which is asked for with GET, whatever was sent.
    pub got: bool,
    /// It was changed after the location was chosen: what that matched says nothing of it.
    pub location_stale: bool,
    /// With `alias` in a location by regular expression: a file that `try_files` found below it.
    pub below_alias: bool,
    /// `root` or `alias` where the request is.
    pub root: Option<Arc<Root>>,
    /// Variables of `set` that were used before they were set; `None` where nobody asks.
    pub unset: Option<Arc<Mutex<Vec<String>>>>,
}

/// What came of a request. All empty until it is known.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Status sent to the client, 0 before.
    pub status: u16,
    /// Status that an error page sends in place of what its location gives; `None` outside of error pages.
    pub forced: Option<u16>,
    /// Headers sent to the client.
    pub sent: HeaderMap,
    /// Headers received from the backend.
    pub upstream: HeaderMap,
    /// Bytes sent to the client with and without the head.
    pub bytes_sent: u64,
    /// See above.
    pub body_bytes_sent: u64,
    /// Whether the answer was sent whole.
    pub completed: bool,
    /// "Now" for `$request_time`, `$msec` and `$time_*`: microseconds of the process's clock.
    pub now_us: u64,
    /// The backends tried, in order.
    pub tries: Vec<Try>,
    /// What `limit_req` made of it.
    pub limit_req: Option<Limited>,
    /// What `limit_conn` made of it.
    pub limit_conn: Option<Limited>,
    /// Bytes of its body before and after `gzip`.
    pub gzip: Option<[u64; 2]>,
    /// What a tunnel did, once it has ended.
    pub tunnel: Option<TunnelFacts>,
}

/// What a limit made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// It may go on.
    Passed,
    /// It waits for its turn.
    Delayed,
    /// It is refused.
    Rejected,
    /// It would wait, if this were no dry run.
    DelayedDryRun,
    /// It would be refused, if this were no dry run.
    RejectedDryRun,
}

impl Limited {
    /// As nginx calls it in its variables.
    pub fn name(self) -> &'static str {
        match self {
            Limited::Passed => "PASSED",
            Limited::Delayed => "DELAYED",
            Limited::Rejected => "REJECTED",
            Limited::DelayedDryRun => "DELAYED_DRY_RUN",
            Limited::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

/// One try at a backend.
#[derive(Debug, Clone, Default)]
pub struct Try {
    /// Its address as connected to.
    pub address: String,
    /// Status of its answer (502 and 504 stand for none).
    pub status: u16,
    /// Microseconds to connect; `None` when it never did.
    pub connect_us: Option<u64>,
    /// Microseconds to the head of its answer.
    pub header_us: Option<u64>,
    /// Microseconds to the end of its answer.
    pub response_us: Option<u64>,
    /// Bytes of its answer's body.
    pub response_length: u64,
    /// Bytes received from it and sent to it.
    pub received: u64,
    /// See above.
    pub sent: u64,
    /// What is noted for its span, where the request is traced.
    pub trace: Option<Box<TryTrace>>,
}

/// What a tunnel did.
#[derive(Debug, Clone, Default)]
pub struct TunnelFacts {
    /// Microseconds it was open.
    pub duration_us: u64,
    /// Messages from the client and to the client.
    pub messages: [u64; 2],
    /// Close code that ended it.
    pub close_code: Option<u16>,
    /// `client`, `backend` or `proxy`.
    pub ended_by: &'static str,
    /// Why, in words.
    pub reason: String,
    /// Mean ping round trips to client and backend, microseconds.
    pub rtt_us: [Option<u64>; 2],
}

/// What a regular expression captured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    /// By number; index 0 is the whole match.
    pub numbered: Vec<Option<String>>,
    /// By name, those that took part in the match.
    pub named: Vec<(String, String)>,
}

impl Captures {
    /// Tries an expression on a text; `None` when it does not match.
    pub fn of(pattern: &Pattern, text: &str) -> Option<Captures> {
        let found = pattern.captures(text)?;
        let named = pattern.names().into_iter().zip(&found);
        let named =
            named.filter_map(|(name, value)| Some((name?.to_owned(), (*value)?.to_owned()))).collect();
        let numbered = found.into_iter().map(|group| group.map(str::to_owned)).collect();
        Some(Captures { numbered, named })
    }

    /// These, and what was captured afterwards: numbers are replaced, names are added or changed.
    ///
    /// Captures without a whole match (nothing was tried, or no expression matched) change nothing, as in nginx.
    pub fn then(mut self, later: Captures) -> Captures {
        if later.numbered.is_empty() {
            return self;
        }
        for (name, value) in later.named {
            match self.named.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => self.named.push((name, value)),
            }
        }
        Captures { numbered: later.numbered, named: self.named }
    }
}

impl Facts {
    /// Takes over what an expression captured.
    pub fn capture(&mut self, captures: Captures) {
        let known = Captures { numbered: take(&mut self.captures), named: take(&mut self.named) };
        Captures { numbered: self.captures, named: self.named } = known.then(captures);
    }

    /// Takes over what an expression of the rewrite module captured: of one that did not match, that there is nothing.
    pub fn recapture(&mut self, captures: Option<Captures>) {
        match captures {
            Some(captures) => self.capture(captures),
            None => self.captures.clear(),
        }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: String) {
        match self.named.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => self.named.push((name.to_owned(), value)),
        }
    }

    /// Replaces the arguments: the target as sent no longer counts.
    pub fn set_args(&mut self, args: String) {
        self.args = args;
        self.course.target_stale = true;
    }

    /// Whether the path was escaped when it was sent, so that it has to be escaped again.
    pub fn was_escaped(&self) -> bool {
        self.sent_path().contains('%')
    }

    /// The path as it was sent.
    pub fn sent_path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or("")
    }
}

impl Course {
    /// Notes that a variable was used before it was set.
    pub(super) fn used_unset(&self, name: &str) {
        let Some(unset) = &self.unset else { return };
        let mut unset = unset.lock().unwrap_or_else(PoisonError::into_inner);
        if !unset.iter().any(|known| known == name) {
            unset.push(name.to_owned());
        }
    }

    /// Variables that were used before they were set, since this was asked last.
    pub fn take_unset(&self) -> Vec<String> {
        let unset = self.unset.as_ref().map(|unset| unset.lock().unwrap_or_else(PoisonError::into_inner));
        unset.map(|mut unset| take(&mut *unset)).unwrap_or_default()
    }
}
