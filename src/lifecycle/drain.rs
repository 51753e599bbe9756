//! What tunnels have to do with a configuration that has come into force.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use longwire_conf::model::Level;

use super::say;
use crate::parting::leavers;
use crate::snapshot::Snapshot;
use crate::tunnel::Tunnels;

/// What is done, beside everything else, when another configuration has come into force.
#[derive(Default)]
pub(super) struct Parting(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Parting {
    /// Tells the tunnels to go that this configuration wants to go. Takes the place of what was begun before.
    pub(super) fn begin(&mut self, snapshot: Arc<Snapshot>, tunnels: Arc<Tunnels>) {
        self.0 = Some(Box::pin(async move {
            // What is not looked up yet must not be taken for removed.
            for group in &snapshot.groups {
                group.ready().await;
            }
            let count = tunnels.drain(leavers(&snapshot)).await;
            if count > 0 {
                say(
                    &snapshot.logs,
                    Level::Notice,
                    format_args!(
                        "tunnels that are told to go, one after the other, for their server drains or was removed: {count}"
                    ),
                );
            }
        }));
    }

    /// Waits until all that go have been set a time; for ever where nothing was begun.
    pub(super) async fn done(&mut self) {
        match &mut self.0 {
            Some(work) => work.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}
