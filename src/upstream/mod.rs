//! Groups of backends: choosing a server, connecting to it, keeping idle connections.

pub mod balance;
mod connection;
mod group;
mod health;
mod idle;
mod live;
mod names;
mod sticky;
mod watch;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use connection::{Body, BoxError, Connection, Fault, Security, Stage, open};
pub use group::{Group, Look, Picked, Place, Server, Setup, Source, standing};
pub use health::Check;
pub use idle::{Keepalive, Lease};
pub use live::{Ledger, Slot};
pub use names::Resolver;
pub use sticky::set_cookie;
pub use watch::Lookup;

/// A panic while the lock was held cannot leave these half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
