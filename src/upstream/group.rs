//! A group of backends at work: its servers, whose turn it is, and its idle connections.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Connection;
use super::balance::{Balancer, Params};
use crate::clock;
use crate::net::Endpoint;

/// One server of a group. A name with several addresses gives several.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
    /// As written in the configuration.
    pub text: String,
    /// For choosing.
    pub params: Params,
}

/// A group of backends.
#[derive(Debug)]
pub struct Group {
    /// Name of the `upstream` block, or the address in `proxy_pass`.
    pub name: String,
    /// Its servers.
    pub servers: Vec<Server>,
    keepalive: usize,
    keepalive_timeout_us: u64,
    keepalive_requests: u64,
    balancer: Mutex<Balancer>,
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since_us: u64,
}

/// What makes one connection as good as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Index of the server.
    pub server: usize,
    /// The TLS name and settings (by identity), `None` without TLS.
    pub security: Option<(String, usize)>,
    /// Source address.
    pub bind: Option<std::net::IpAddr>,
}

impl Group {
    /// Puts a group to work.
    pub fn new(
        name: String,
        servers: Vec<Server>,
        keepalive: usize,
        keepalive_timeout_us: u64,
        keepalive_requests: u64,
    ) -> Group {
        let balancer = Mutex::new(Balancer::new(servers.iter().map(|s| s.params)));
        let idle = Mutex::new(VecDeque::new());
        Group { name, servers, keepalive, keepalive_timeout_us, keepalive_requests, balancer, idle }
    }

    /// The server whose turn it is.
    pub fn pick(&self, tried: &[usize]) -> Option<usize> {
        lock(&self.balancer).pick(clock::now_us(), tried)
    }

    /// Notes that a server failed.
    pub fn failed(&self, server: usize) {
        lock(&self.balancer).failed(server, clock::now_us());
    }

    /// Notes that a server answered.
    pub fn succeeded(&self, server: usize) {
        lock(&self.balancer).succeeded(server);
    }

    /// An idle connection that fits, the one used last.
    pub fn take_idle(&self, lease: &Lease) -> Option<Connection> {
        let oldest = clock::now_us().saturating_sub(self.keepalive_timeout_us);
        let mut idle = lock(&self.idle);
        idle.retain(|i| i.since_us >= oldest && !i.connection.is_closed());
        let index = idle.iter().rposition(|i| i.connection.is_ready() && i.connection.lease == *lease)?;
        idle.remove(index).map(|i| i.connection)
    }

    /// Keeps a connection for later, if the configuration allows; the oldest one goes when there are too many.
    pub fn keep(&self, connection: Connection) {
        if connection.requests >= self.keepalive_requests || connection.is_closed() || self.keepalive == 0 {
            return;
        }
        let mut idle = lock(&self.idle);
        idle.push_back(Idle { connection, since_us: clock::now_us() });
        if idle.len() > self.keepalive {
            idle.pop_front();
        }
    }

    /// Whether connections of this group are kept at all.
    pub fn keeps(&self) -> bool {
        self.keepalive > 0
    }

    /// Drops connections that have been idle for too long. Called now and then.
    pub fn sweep(&self) {
        let oldest = clock::now_us().saturating_sub(self.keepalive_timeout_us);
        lock(&self.idle).retain(|i| i.since_us >= oldest && !i.connection.is_closed());
    }
}

/// A panic while the lock was held cannot leave these half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
