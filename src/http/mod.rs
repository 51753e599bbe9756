//! HTTP/1.1 and HTTP/2 with clients by hyper: ordinary requests, and the opening handshake of WebSockets on both sides.

mod access;
mod attempts;
mod body;
mod census;
mod choice;
mod connection;
mod disk;
mod door;
mod ending;
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
mod traces;

use std::sync::Arc;

pub use connection::serve;
pub use door::{Arrival, Door};
pub(crate) use places::as_written;

use tokio::sync::watch;

use crate::snapshot::Snapshot;
use crate::tunnel::Tunnels;
use census::Census;
use ending::Endings;
pub use epilogue::keeper;
use places::Places;

/// What serving a request needs: one configuration, and what all of them share.
///
/// Every request and every tunnel holds the one that it began with. Whoever has the other end of `stop` sees when all
/// are gone.
pub struct Service {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Open tunnels of the process.
    pub tunnels: Arc<Tunnels>,
    /// Who is here.
    pub(crate) census: Arc<Census>,
    /// The ways they take.
    places: Places,
    /// How their ends are told.
    endings: Endings,
    stop: watch::Receiver<bool>,
}

impl Service {
    /// The first generation of a process, which serves until `stop` is true.
    pub fn new(snapshot: Arc<Snapshot>, tunnels: Arc<Tunnels>, stop: watch::Receiver<bool>) -> Service {
        let (places, endings) = Default::default();
        Service { snapshot, tunnels, census: Arc::default(), places, endings, stop }
    }

    /// The generation after this one, by another configuration.
    pub fn next(&self, snapshot: Arc<Snapshot>) -> Service {
        let (tunnels, census, stop) = (self.tunnels.clone(), self.census.clone(), self.stop.clone());
        let (places, endings) = Default::default();
        Service { snapshot, tunnels, census, places, endings, stop }
    }
}
