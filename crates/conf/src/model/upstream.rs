//! Groups of backends: their servers, how one is chosen, and how their health is known.

use std::sync::Arc;
use std::time::Duration;

use super::{Address, Spanned};
use crate::source::Span;
use crate::template::Template;

/// A group of backends.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Name of the block, or the address as written in `proxy_pass` for an implicit group.
    pub name: String,
    /// Made for a fixed address in `proxy_pass`.
    pub implicit: bool,
    /// Its servers in file order, never empty.
    pub servers: Vec<UpstreamServer>,
    /// How a server is chosen.
    pub balance: Balance,
    /// `sticky`: what leads a client to the server that it had before.
    pub sticky: Option<Sticky>,
    /// `keepalive N`: idle connections kept; nginx 1.29.7's 32 when not written.
    pub keepalive: usize,
    /// `keepalive_timeout` (60 s).
    pub keepalive_timeout: Duration,
    /// `keepalive_requests` (1000).
    pub keepalive_requests: u64,
    /// `resolver` of the block, else that of `http`.
    pub resolver: Option<Arc<Resolver>>,
    /// `resolver_timeout` of the block, else that of `http` (30 s).
    pub resolver_timeout: Duration,
    /// Where the block stands.
    pub span: Span,
}

/// How a server of a group is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// `least_conn`.
    LeastConn,
    /// `random`, or `random two`.
    Random {
        /// `two`: of two servers the one with fewer connections.
        two: bool,
    },
    /// `hash KEY [consistent]`.
    Hash {
        /// What is hashed.
        key: Template,
        /// `consistent`: by a ring of points, so that few keys move when servers come or go.
        consistent: bool,
    },
    /// `ip_hash`.
    IpHash,
}

/// `sticky`.
#[derive(Debug, Clone)]
pub enum Sticky {
    /// `sticky cookie`: a cookie of the proxy's own names the server.
    Cookie(StickyCookie),
    /// `sticky route`: the first of these that is not empty names the server.
    Route(Vec<Template>),
    /// `sticky learn`: sessions that backends begin are remembered.
    Learn(StickyLearn),
}

/// `sticky cookie NAME`.
#[derive(Debug, Clone)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// `$cookie_NAME`.
    pub lookup: Template,
    /// `expires=`.
    pub expires: Option<CookieExpires>,
    /// `domain=`.
    pub domain: Option<Template>,
    /// `path=`.
    pub path: Option<String>,
    /// `httponly`.
    pub httponly: bool,
    /// `secure`.
    pub secure: bool,
    /// `samesite=`.
    pub samesite: Option<Template>,
    /// `secret=`: the first signs, any of them is believed. Without one the value is as in nginx.
    pub secrets: Vec<String>,
}

/// When a cookie is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieExpires {
    /// After this many seconds.
    After(u64),
    /// `max`: as late as can be said.
    Max,
}

/// `sticky learn`.
#[derive(Debug, Clone)]
pub struct StickyLearn {
    /// `create=`: variables that hold a session's name when a backend begins it.
    pub create: Vec<Template>,
    /// `lookup=`: variables that hold it in later requests.
    pub lookup: Vec<Template>,
    /// How many sessions are remembered, by the size of `zone=` as in nginx (8000 for a megabyte).
    pub sessions: usize,
    /// `timeout=` (10 min): how long a session that nobody asks for is remembered.
    pub timeout: Duration,
}

/// `server ADDRESS [parameters]` in an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamServer {
    /// Where it is. Port 0 of an implicit or explicit server without a port stands for the scheme's default.
    pub address: Spanned<Address>,
    /// The text as written, for logs and hashing.
    pub text: String,
    /// `weight` (1).
    pub weight: u32,
    /// `max_conns` (0: no limit).
    pub max_conns: u32,
    /// `max_fails` (1); 0 turns the accounting off.
    pub max_fails: u32,
    /// `fail_timeout` (10 s).
    pub fail_timeout: Duration,
    /// `slow_start` (0: at once).
    pub slow_start: Duration,
    /// `route`: its name in sticky sessions.
    pub route: Option<String>,
    /// `backup`.
    pub backup: bool,
    /// `down`.
    pub down: bool,
    /// `drain`: only sessions that stick to it.
    pub drain: bool,
    /// `resolve`: its name is looked up again and again.
    pub resolve: bool,
    /// `service`: ports and weights come from SRV records.
    pub service: Option<String>,
}

/// `resolver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers, asked in turn; port 53 when none is written.
    pub servers: Vec<Spanned<Address>>,
    /// `valid=`: how long an answer holds, in place of its own time to live.
    pub valid: Option<Duration>,
    /// `ipv4=off` turns this off.
    pub ipv4: bool,
    /// `ipv6=off` turns this off.
    pub ipv6: bool,
}

/// A reason to try another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum NextReason {
    Error = 1,
    Timeout = 2,
    InvalidHeader = 4,
    NonIdempotent = 8,
    Http500 = 16,
    Http502 = 32,
    Http503 = 64,
    Http504 = 128,
    Http403 = 256,
    Http404 = 512,
    Http429 = 1024,
}

impl NextReason {
    /// All of them, by the words of `proxy_next_upstream`.
    pub const ALL: &'static [(&'static str, NextReason)] = &[
        ("error", NextReason::Error),
        ("timeout", NextReason::Timeout),
        ("invalid_header", NextReason::InvalidHeader),
        ("non_idempotent", NextReason::NonIdempotent),
        ("http_500", NextReason::Http500),
        ("http_502", NextReason::Http502),
        ("http_503", NextReason::Http503),
        ("http_504", NextReason::Http504),
        ("http_403", NextReason::Http403),
        ("http_404", NextReason::Http404),
        ("http_429", NextReason::Http429),
    ];

    /// The reason that an answer of this status may be.
    pub fn of_status(status: u16) -> Option<NextReason> {
        let word = format!("http_{status}");
        NextReason::ALL.iter().find(|(name, _)| *name == word).map(|(_, reason)| *reason)
    }
}

/// `proxy_next_upstream`: a set of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextUpstream(u16);

impl NextUpstream {
    /// `off`.
    pub const OFF: NextUpstream = NextUpstream(0);

    /// These, and one more.
    pub fn with(self, reason: NextReason) -> NextUpstream {
        NextUpstream(self.0 | reason as u16)
    }

    /// Whether this is one of them.
    pub fn has(self, reason: NextReason) -> bool {
        self.0 & reason as u16 != 0
    }
}

impl Default for NextUpstream {
    /// `error timeout`.
    fn default() -> NextUpstream {
        NextUpstream::OFF.with(NextReason::Error).with(NextReason::Timeout)
    }
}

/// `health_check`: the servers of the location's group are asked now and then how they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// `interval` (5 s).
    pub interval: Duration,
    /// `jitter` (0): how much later a check may be, by chance.
    pub jitter: Duration,
    /// `fails` (1): failures in a row that take a server out.
    pub fails: u32,
    /// `passes` (1): successes in a row that bring it back.
    pub passes: u32,
    /// `uri` (`/`).
    pub uri: String,
    /// `port`, where it is not the server's own.
    pub port: Option<u16>,
    /// `mandatory`: a server is out until it has passed.
    pub mandatory: bool,
    /// `type=websocket`: the check is a handshake and a ping.
    pub websocket: bool,
    /// Where it stands.
    pub span: Span,
}
