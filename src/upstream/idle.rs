//! Connections to backends that wait for the next request.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use super::{Connection, lock};
use crate::clock;
use crate::tls::Fingerprint;

/// What makes one connection as good as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The server, by its id in the group.
    pub server: usize,
    /// The TLS name and settings, `None` without TLS.
    pub security: Option<(String, Fingerprint)>,
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
    /// `None` once another took them over, or nobody wants them any more.
    waiting: Mutex<Option<VecDeque<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    connection: Connection,
    since_us: u64,
}

impl Idle {
    pub(super) fn new(keepalive: Keepalive) -> Idle {
        Idle { keepalive, waiting: Mutex::new(Some(VecDeque::new())) }
    }

    /// Keeps none from now on.
    pub(super) fn close(&self) {
        lock(&self.waiting).take();
    }

    /// Takes over those that wait in another, which keeps none from now on; only to servers that are there.
    pub(super) fn take_over(&self, other: &Idle, is_there: impl Fn(usize) -> bool) {
        let Some(mut taken) = lock(&other.waiting).take() else { return };
        taken.retain(|w| {
            is_there(w.connection.lease.server) && w.connection.requests < self.keepalive.requests
        });
        taken.drain(..taken.len().saturating_sub(self.keepalive.most));
        lock(&self.waiting).replace(taken);
    }

    /// One that fits, the one used last.
    pub(super) fn take(&self, lease: &Lease) -> Option<Connection> {
        self.sweep();
        let mut waiting = lock(&self.waiting);
        let waiting = waiting.as_mut()?;
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
        let Some(waiting) = waiting.as_mut() else { return };
        waiting.push_back(Waiting { connection, since_us: clock::now_us() });
        if waiting.len() > self.keepalive.most {
            waiting.pop_front();
        }
    }

    /// How many wait for this server.
    pub(super) fn count(&self, server: usize) -> usize {
        let waiting = lock(&self.waiting);
        waiting.iter().flatten().filter(|w| w.connection.lease.server == server).count()
    }

    pub(super) fn keeps(&self) -> bool {
        self.keepalive.most > 0
    }

    /// Drops what has waited for too long.
    pub(super) fn sweep(&self) {
        let oldest = clock::now_us().saturating_sub(self.keepalive.timeout_us);
        self.retain(|w| w.since_us >= oldest && !w.connection.is_closed());
    }

    /// Drops those to servers that are no more.
    pub(super) fn forget(&self, is_there: impl Fn(usize) -> bool) {
        self.retain(|w| is_there(w.connection.lease.server));
    }

    fn retain(&self, stays: impl Fn(&Waiting) -> bool) {
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.retain(stays);
        }
    }
}
