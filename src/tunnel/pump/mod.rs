//! Drives tunnels over sockets, with TLS or without: a thread per core, each an epoll loop with a slab of tunnels.
//!
//! Sockets are registered once, for edges in both directions; whether one can be read from or written to is a bit
//! that an event sets and EAGAIN clears. A message costs a read and a write, and nothing is armed or allocated for it.

mod errand;
mod kernel;
mod line;
mod parcel;
mod secure;
mod socket;
mod tally;
mod thread;
mod wheel;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use longwire_wire::Tunnel;
use tokio::sync::oneshot;

use super::drive::{Drive, Ends};
use super::table::{Errand, Keeper};
use super::tally::Tally;
use kernel::{Epoll, Kernel};
pub use line::Line;
use parcel::Park;
pub use parcel::{Packed, Parcel, UnpackError};
pub use secure::Secure;
pub use socket::Socket;
use tally::Count;
use thread::{Slot, Thread};

/// All pumps of the process.
pub(super) struct Pumps(Vec<Handle>);

/// One pump, as others see it.
struct Handle<K: Kernel = Epoll> {
    inbox: Arc<Inbox<K>>,
    tunnels: Arc<AtomicUsize>,
}

impl<K: Kernel> Clone for Handle<K> {
    fn clone(&self) -> Handle<K> {
        Handle { inbox: self.inbox.clone(), tunnels: self.tunnels.clone() }
    }
}

/// What others leave for a pump.
struct Inbox<K: Kernel> {
    messages: Mutex<Vec<Message<K>>>,
    waker: K::Waker,
}

enum Message<K: Kernel> {
    /// A tunnel to take over.
    Take(Box<Slot<K>>),
    /// Tunnels to be taken out.
    Park(Park<K>),
    /// To be run past its tunnels.
    Run(Box<Errand>),
    /// To be added up past its tunnels.
    Count(Box<Count>),
    /// End the thread.
    Stop,
}

impl Pumps {
    /// Starts this many threads.
    pub(super) fn start(threads: usize) -> io::Result<Pumps> {
        (0..threads.max(1))
            .map(|number| {
                let (epoll, waker) = Epoll::new()?;
                let inbox = Arc::new(Inbox { messages: Mutex::default(), waker });
                let tunnels = Arc::default();
                let handle = Handle { inbox, tunnels };
                let thread = Thread::new(epoll.now_us(), handle.clone());
                std::thread::Builder::new()
                    .name(format!("pump-{number}"))
                    .spawn(move || thread.run(epoll))?;
                Ok(handle)
            })
            .collect::<io::Result<_>>()
            .map(Pumps)
    }

    /// Hands a tunnel to the pump with the fewest.
    pub(super) fn place(&self, tunnel: Tunnel, ends: Ends<Line>, keeper: Box<dyn Keeper>) {
        self.take(Box::new(Slot::new(Drive::new(tunnel, ends), keeper)));
    }

    fn take(&self, slot: Box<Slot<Epoll>>) {
        let Some(pump) = self.0.iter().min_by_key(|pump| pump.tunnels.load(Relaxed)) else { return };
        pump.tunnels.fetch_add(1, Relaxed);
        pump.inbox.leave(Message::Take(slot));
    }

    /// How many tunnels they have, those on their way included.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|pump| pump.tunnels.load(Relaxed)).sum()
    }

    /// What all have carried.
    pub(super) async fn tally(&self) -> Tally {
        let mut answers = Vec::new();
        for pump in &self.0 {
            let (to, answer) = oneshot::channel();
            answers.push(answer);
            pump.inbox.leave(Message::Count(Box::new(Count::new(to))));
        }
        let mut tally = Tally::default();
        for answer in answers {
            // A pump that has ended has no tunnels.
            tally += answer.await.unwrap_or_default();
        }
        tally
    }

    /// Sends an errand to each.
    pub(super) fn send(&self, mut errand: impl FnMut() -> Errand) {
        self.0.iter().for_each(|pump| pump.inbox.leave(Message::Run(Box::new(errand()))));
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        for pump in &self.0 {
            pump.inbox.leave(Message::Stop);
        }
    }
}

impl<K: Kernel> Inbox<K> {
    fn leave(&self, message: Message<K>) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push(message);
        let first = messages.len() == 1;
        // Or the pump would wake only to wait for the lock.
        drop(messages);
        // The first one wakes the pump; the others are found with it.
        if first {
            K::wake(&self.waker);
        }
    }

    fn take(&self) -> Vec<Message<K>> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
