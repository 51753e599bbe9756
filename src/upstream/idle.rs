//! Connections to backends that wait for the next request.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use super::{Connection, lock};
use crate::clock;

/// What makes one connection as good as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The server, by its id in the group.
    pub server: usize,
    /// The TLS name and settings (by identity), `None` without TLS.
    pub security: Option<(String, usize)>,
    /// Source address.
    pub bind: Option<IpAddr>,
    /// The header of the PROXY protocol that it began with: it serves this client alone.
    pub announced: Option<Vec<u8>>,
}

/// How connections are kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keepalive {
    /// Most of them; 0 keeps none.
    pub most: usize,
    /// How long each, in microseconds.
    pub timeout_us: u64,
    /// Requests after which one is closed.
    pub requests: u64,
}

/// The idle connections of a group.
#[derive(Debug)]
pub(super) struct Idle {
    keepalive: Keepalive,
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    connection: Connection,
    since_us: u64,
}

impl Idle {
    pub(super) fn new(keepalive: Keepalive) -> Idle {
        Idle { keepalive, waiting: Mutex::default() }
    }

    /// One that fits, the one used last.
    pub(super) fn take(&self, lease: &Lease) -> Option<Connection> {
        self.sweep();
        let mut waiting = lock(&self.waiting);
        let fits = |w: &Waiting| w.connection.is_ready() && w.connection.lease == *lease;
        let index = waiting.iter().rposition(fits)?;
        waiting.remove(index).map(|w| w.connection)
    }

    /// Keeps one for later, if that is wanted; the oldest one goes when there are too many.
    pub(super) fn keep(&self, connection: Connection) {
        if connection.requests >= self.keepalive.requests || connection.is_closed() || !self.keeps() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        waiting.push_back(Waiting { connection, since_us: clock::now_us() });
        if waiting.len() > self.keepalive.most {
            waiting.pop_front();
        }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keepalive.most > 0
    }

    /// Drops what has waited for too long.
    pub(super) fn sweep(&self) {
        let oldest = clock::now_us().saturating_sub(self.keepalive.timeout_us);
        lock(&self.waiting).retain(|w| w.since_us >= oldest && !w.connection.is_closed());
    }

    /// Drops those to servers that are no more.
    pub(super) fn forget(&self, is_there: impl Fn(usize) -> bool) {
        lock(&self.waiting).retain(|w| is_there(w.connection.lease.server));
    }
}
