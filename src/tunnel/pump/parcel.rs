//! Tunnels out of their pumps: to be handed to another process, or to go on here where they stopped.

mod format;

use std::cell::Cell;
use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::kernel::{Epoll, Kernel};
use super::thread::{Slot, Thread};
use super::{Handle, Message, Pumps};
pub use crate::tunnel::drive::UnpackError;
use crate::tunnel::table::Keeper;
use crate::tunnel::tally::Traffic;

/// A live tunnel that no pump drives: nobody reads from it, writes to it, or looks at its timers.
///
/// In the process that parked it, it counts among the open ones until it is gone. It stands in no list meanwhile; what is
/// wished of all tunnels is done to it when it goes on. One that is dropped goes back to its pump, unless it was packed:
/// then somebody else may have it, and it is closed here, without a word.
#[must_use]
pub struct Parcel(Parked<Epoll>);

/// A parcel as bytes, and the descriptors that belong to it.
pub struct Packed<'a> {
    /// See [`Parcel::VERSION`]. They hold secrets, and belong on no disk.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The ends that are still open, client first.
    pub sockets: Vec<BorrowedFd<'a>>,
}

impl Parcel {
    /// The version of the format that is written; all from 1 on are read. It changes whenever a format inside changes.
    pub const VERSION: u8 = format::VERSION;
    /// The longest packed parcel in bytes. An idle one takes some hundred.
    pub const MAX_BYTES: usize = format::MAX_BYTES;

    /// Number of its client's connection.
    pub fn id(&self) -> u64 {
        self.0.slot.as_ref().map_or(0, |slot| slot.keeper.id())
    }

    /// All of it as bytes; it stays what it is. `None` for one that cannot go. `now_us`: microseconds of the process's clock.
    ///
    /// Once the bytes have left the process it must not be resumed, unless whoever got them is gone for good: bytes would
    /// be doubled, and numbers of TLS records used twice.
    pub fn pack(&self, now_us: u64) -> Option<Packed<'_>> {
        let bytes = self.0.pack(now_us)?;
        Some(Packed { bytes, sockets: self.0.sockets().into_iter().map(AsFd::as_fd).collect() })
    }

    /// A parcel of another process, which is not driven before it is resumed. The sockets are those that were packed with
    /// it; they are non-blocking. `keepers` makes the keeper of what its keeper saved. `now_us`: when it was packed, or as soon
    /// as possible after that.
    pub fn unpack(
        bytes: &[u8],
        sockets: Vec<OwnedFd>,
        now_us: u64,
        keepers: impl FnOnce(&[u8]) -> Result<Box<dyn Keeper>, String>,
    ) -> Result<Parcel, UnpackError> {
        let sockets = sockets.into_iter().map(Into::into).collect();
        Parked::unpack(bytes, sockets, now_us, keepers).map(Parcel)
    }

    /// Another process has it: its descriptors are closed here, without a word to anybody.
    pub fn given_away(self) {
        self.0.given_away();
    }
}

impl Pumps {
    /// Takes up to so many tunnels out of the pumps, except those with these numbers.
    pub(in crate::tunnel) async fn park(&self, most: usize, except: &Arc<HashSet<u64>>) -> Vec<Parcel> {
        let room = Arc::new(AtomicUsize::new(most));
        let mut answers = Vec::new();
        for pump in &self.0 {
            let (to, answer) = oneshot::channel();
            answers.push(answer);
            pump.inbox.leave(Message::Park(Park { room: room.clone(), except: except.clone(), to }));
        }
        let mut parcels = Vec::new();
        for answer in answers {
            // A pump that has ended has no tunnels.
            parcels.extend(answer.await.unwrap_or_default().into_iter().map(Parcel));
        }
        parcels
    }

    /// They go on: at the pump that had them, or at any.
    pub(in crate::tunnel) fn resume(&self, parcels: Vec<Parcel>) {
        for Parcel(parked) in parcels {
            parked.resume().into_iter().for_each(|slot| self.take(slot));
        }
    }
}

/// Asks a pump for tunnels.
pub(super) struct Park<K: Kernel> {
    /// How many more may be taken, of all pumps together.
    pub(super) room: Arc<AtomicUsize>,
    /// Not these.
    pub(super) except: Arc<HashSet<u64>>,
    pub(super) to: oneshot::Sender<Vec<Parked<K>>>,
}

/// A parcel of any kernel.
pub(super) struct Parked<K: Kernel> {
    /// `None` once it is on its way to a pump.
    slot: Option<Box<Slot<K>>>,
    /// Where it was taken out, and still counts.
    home: Option<Handle<K>>,
    /// Somebody else may have it.
    packed: Cell<bool>,
}

impl<K: Kernel> Drop for Parked<K> {
    fn drop(&mut self) {
        let (slot, Some(home)) = (self.slot.take(), &self.home) else { return };
        match slot.filter(|_| !self.packed.get()) {
            Some(slot) => home.inbox.leave(Message::Take(slot)),
            None => {
                home.tunnels.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl<K: Kernel> Parked<K> {
    pub(super) fn pack(&self, now_us: u64) -> Option<Zeroizing<Vec<u8>>> {
        let packed = format::pack(self.slot.as_ref()?, now_us)?;
        self.packed.set(true);
        Some(packed)
    }

    pub(super) fn sockets(&self) -> Vec<&K::Fd> {
        self.slot.as_ref().map(|slot| format::sockets(slot)).unwrap_or_default()
    }

    pub(super) fn unpack(
        bytes: &[u8],
        sockets: Vec<K::Fd>,
        now_us: u64,
        keepers: impl FnOnce(&[u8]) -> Result<Box<dyn Keeper>, String>,
    ) -> Result<Parked<K>, UnpackError> {
        let slot = format::unpack(bytes, sockets, now_us, keepers)?;
        Ok(Parked { slot: Some(Box::new(slot)), home: None, packed: Cell::new(false) })
    }
}

impl<K: Kernel> Parked<K> {
    /// Goes back to its pump; gives one that never had a pump.
    pub(super) fn resume(mut self) -> Option<Box<Slot<K>>> {
        self.packed.set(false);
        self.slot.take_if(|_| self.home.is_none())
    }

    /// See [`Parcel::given_away`].
    pub(super) fn given_away(self) {
        self.packed.set(true);
    }
}

impl<K: Kernel> Thread<K> {
    /// Takes tunnels out, all at once: what other tunnels wait for this is a fraction of what these have to wait.
    pub(super) fn park(&mut self, park: Park<K>, kernel: &mut K) {
        // What was asked for before is done before.
        while !self.errands.is_empty() {
            self.run_errand();
        }
        let Park { room, except, to } = park;
        let mut parked = Vec::new();
        for place in 0..self.slots.capacity() {
            if self.slots.get(place).is_none_or(|slot| except.contains(&slot.keeper.id())) {
                continue;
            }
            if room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(1)).is_err() {
                break;
            }
            let mut slot = self.slots.remove(place);
            slot.release(kernel);
            self.left(place, &Traffic::from(slot.drive.stats()));
            parked.push(Parked { slot: Some(slot), home: Some(self.own.clone()), packed: Cell::new(false) });
        }
        // If whoever asked has left, they come back by themselves.
        let _ = to.send(parked);
    }
}

impl<K: Kernel> Slot<K> {
    /// No event tells of it any more. Whoever registers it again is told what it is ready for.
    fn release(&mut self, kernel: &mut K) {
        for (_, line) in self.drive.streams() {
            kernel.deregister(line.as_raw_fd());
        }
        self.armed_us = u64::MAX;
        self.queued = false;
    }
}

#[cfg(test)]
mod tests;
