//! Drives tunnels over sockets, with TLS or without: a thread per core, each an epoll loop with a slab of tunnels.
//!
//! Sockets are registered once, for edges in both directions; whether one can be read from or written to is a bit
//! that an event sets and EAGAIN clears. A message costs a read and a write, and nothing is armed or allocated for it.

mod kernel;
mod line;
mod secure;
mod socket;
mod thread;
mod wheel;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use longwire_wire::Tunnel;

use super::drive::{Ends, Report};
use super::table::Entry;
use kernel::{Epoll, Kernel};
pub use line::Line;
pub use secure::Secure;
pub use socket::Socket;
use thread::Thread;

/// All pumps of the process.
pub struct Pumps(Vec<Handle>);

/// One pump, as others see it.
struct Handle {
    inbox: Arc<Inbox<Epoll>>,
    tunnels: Arc<AtomicUsize>,
}

/// What others leave for a pump.
struct Inbox<K: Kernel> {
    messages: Mutex<Vec<Message<K>>>,
    waker: K::Waker,
}

enum Message<K: Kernel> {
    /// A tunnel to take over.
    Take(Box<Job<K>>),
    /// Somebody wishes something of the tunnel in this slot.
    Look(usize),
    /// End the thread.
    Stop,
}

/// A tunnel on its way to a pump.
struct Job<K: Kernel> {
    tunnel: Tunnel,
    ends: Ends<Line<K::Fd>>,
    entry: Entry,
    done: Done,
}

/// What is done when a tunnel has ended. It runs on the pump's thread and must not wait.
pub type Done = Box<dyn FnOnce(Report) + Send>;

impl Pumps {
    /// Starts this many threads.
    pub fn start(threads: usize) -> io::Result<Pumps> {
        (0..threads.max(1))
            .map(|number| {
                let (epoll, waker) = Epoll::new()?;
                let inbox = Arc::new(Inbox { messages: Mutex::default(), waker });
                let tunnels = Arc::new(AtomicUsize::new(0));
                let thread = Thread::new(epoll.now_us(), inbox.clone(), tunnels.clone());
                std::thread::Builder::new()
                    .name(format!("pump-{number}"))
                    .spawn(move || thread.run(epoll))?;
                Ok(Handle { inbox, tunnels })
            })
            .collect::<io::Result<_>>()
            .map(Pumps)
    }

    /// Hands a tunnel to the pump with the fewest. `done` is called when it has ended and has left the table.
    pub fn place(&self, tunnel: Tunnel, ends: Ends<Line>, entry: Entry, done: Done) {
        let Some(pump) = self.0.iter().min_by_key(|pump| pump.tunnels.load(Relaxed)) else { return };
        pump.tunnels.fetch_add(1, Relaxed);
        pump.inbox.leave(Message::Take(Box::new(Job { tunnel, ends, entry, done })));
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
        // The first one wakes the pump; the others are found with it.
        if messages.len() == 1 {
            K::wake(&self.waker);
        }
    }

    fn take(&self) -> Vec<Message<K>> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
