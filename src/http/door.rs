//! A listening socket as those see it who came in by it: which generation serves their next request, and whether they
//! should leave.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::Service;
use crate::net::Endpoint;
use crate::snapshot::{Binding, Site};

/// A listening socket, and what it leads to at the moment.
///
/// Connections hold this and no generation, so that an idle one keeps no configuration that is out of force.
pub struct Door {
    present: RwLock<(Arc<Service>, Arc<Binding>)>,
    closed: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
}

impl Door {
    /// A door that leads to a binding of this generation.
    pub fn new(service: Arc<Service>, binding: Arc<Binding>) -> Door {
        let stop = service.stop.clone();
        Door { present: RwLock::new((service, binding)), closed: watch::Sender::new(false), stop }
    }

    /// The generation in force here, with the listening socket as it knows it.
    pub fn present(&self) -> (Arc<Service>, Arc<Binding>) {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this generation serves whoever asks.
    pub fn turn_to(&self, service: Arc<Service>, binding: Arc<Binding>) {
        let next = (service, binding);
        let before =
            std::mem::replace(&mut *self.present.write().unwrap_or_else(PoisonError::into_inner), next);
        // A whole configuration may go with it, and nobody should wait for that.
        drop(before);
    }

    /// No configuration leads here any more: the request in work, or the first one, is the last of each connection.
    /// They are served by the generation that was here last.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Whether answers end their connections.
    pub(crate) fn is_leaving(&self) -> bool {
        *self.closed.borrow() || *self.stop.borrow()
    }

    /// Waits until it is closed.
    pub async fn closed(&self) {
        // The sender is this door.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Waits until the process is to stop.
    pub async fn stopped(&self) {
        // The other end being gone means the same.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

/// How a client came in.
#[derive(Clone)]
pub struct Arrival {
    /// By which listening socket.
    pub door: Arc<Door>,
    /// The address that it connected to.
    pub local: Endpoint,
}

impl Arrival {
    /// Whether this is an admin address, and no server's.
    pub fn is_admin(&self) -> bool {
        self.door.present().1.admin.is_some()
    }

    /// Waits until whoever came in should leave: no configuration leads here any more, or the process is to stop.
    pub async fn leaving(&self) {
        tokio::select! {
            () = self.door.closed() => {}
            () = self.door.stopped() => {}
        }
    }

    /// Who serves its next request.
    pub fn present(&self) -> Option<(Arc<Service>, Arc<Site>)> {
        let (service, binding) = self.door.present();
        let site = binding.site(&self.local)?.clone();
        Some((service, site))
    }
}
