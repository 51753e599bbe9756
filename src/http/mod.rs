//! HTTP/1.1 and HTTP/2 with clients by hyper: ordinary requests, and the opening handshake of WebSockets on both sides.

mod access;
mod attempts;
mod body;
mod census;
mod choice;
mod connection;
mod disk;
mod epilogue;
mod exchange;
mod files;
mod frames;
mod framing;
mod guard;
mod guarded;
mod gzip;
mod handshake;
mod http2;
mod journal;
mod limits;
mod phases;
mod places;
mod proxy;
mod rewrite;
mod target;

use std::sync::Arc;

pub use connection::serve;

use tokio::sync::watch;

use crate::snapshot::Snapshot;
use crate::tunnel::Tunnels;
use census::Census;
use places::Places;

/// What serving a request needs: the configuration in force and the tunnels that are open.
///
/// Every connection and every tunnel holds it, so that whoever has the other end of `stop` sees when all are gone.
pub struct Service {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Open tunnels.
    pub tunnels: Arc<Tunnels>,
    /// Who is here.
    pub(crate) census: Census,
    /// The ways they take.
    places: Places,
    stop: watch::Receiver<bool>,
}

impl Service {
    /// Serves by this configuration until `stop` is true.
    pub fn new(snapshot: Arc<Snapshot>, tunnels: Arc<Tunnels>, stop: watch::Receiver<bool>) -> Service {
        Service { snapshot, tunnels, census: Census::default(), places: Places::default(), stop }
    }

    /// Whether answers end their connections.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until it is to stop.
    pub async fn stopped(&self) {
        // The other end being gone means the same.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}
