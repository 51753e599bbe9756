//! Groups of backends: choosing a server, connecting to it, keeping idle connections.

pub mod balance;
mod connection;
mod group;

pub use connection::{Body, BoxError, Connection, Fault, Security, Stage, open};
pub use group::{Group, Lease, Server};
