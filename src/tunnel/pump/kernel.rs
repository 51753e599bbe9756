//! What a pump asks of the system. Traits, so that a simulation can play the system; the real one is chosen where the
//! pump is built, so nothing is looked up while it runs.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::clock;

/// Events taken at once.
const EVENTS: usize = 512;
/// The token of the waker.
const WAKE: Token = Token(usize::MAX);

/// The clock, and what waits for events of many sockets.
pub(super) trait Kernel: 'static {
    /// A socket.
    type Fd: Fd + Send + 'static;
    /// Ends a wait from another thread.
    type Waker: Send + Sync;

    /// Microseconds of the process's clock.
    fn now_us(&self) -> u64;

    /// Tells of the edges of a socket, in both directions, until it is closed.
    fn register(&mut self, fd: RawFd, token: usize) -> io::Result<()>;

    /// Tells no more of it.
    fn deregister(&mut self, fd: RawFd);

    /// Waits for events at most so long, and tells of each with its token. True when the waker ended the wait.
    fn wait(&mut self, patience: Option<Duration>, event: impl FnMut(usize, Edge)) -> io::Result<bool>;

    /// Ends this wait, or the next.
    fn wake(waker: &Self::Waker);
}

/// A non-blocking stream socket.
pub trait Fd: Read + Write + AsRawFd + Unpin {
    /// Sends the end of the stream.
    fn shut_write(&self) -> io::Result<()>;
}

/// What an event says of a socket.
#[derive(Copy, Clone, Debug)]
pub(super) struct Edge {
    /// Reading is worth a try.
    pub(super) readable: bool,
    /// Writing is worth a try.
    pub(super) writable: bool,
    /// The end of the stream, or an error, can be read behind what is there.
    pub(super) ended: bool,
}

/// epoll.
pub(super) struct Epoll {
    poll: mio::Poll,
    events: Events,
}

impl Epoll {
    pub(super) fn new() -> io::Result<(Epoll, mio::Waker)> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        Ok((Epoll { poll, events: Events::with_capacity(EVENTS) }, waker))
    }
}

impl Kernel for Epoll {
    type Fd = Bare;
    type Waker = mio::Waker;

    fn now_us(&self) -> u64 {
        clock::now_us()
    }

    fn register(&mut self, fd: RawFd, token: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&fd), Token(token), interest)
    }

    fn deregister(&mut self, fd: RawFd) {
        // Fails for one that could not be registered.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
    }

    fn wait(&mut self, patience: Option<Duration>, mut event: impl FnMut(usize, Edge)) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut woken = false;
        for found in &self.events {
            match found.token() {
                WAKE => woken = true,
                Token(token) => event(token, found.into()),
            }
        }
        Ok(woken)
    }

    fn wake(waker: &mio::Waker) {
        // An eventfd takes a wake-up unless four billion are unread.
        let _ = waker.wake();
    }
}

/// A socket whose calls go to the kernel directly: libc's are points where a thread can be cancelled, and that costs
/// more than all else in user space that a message needs.
#[derive(Debug)]
pub struct Bare(OwnedFd);

impl From<socket2::Socket> for Bare {
    fn from(socket: socket2::Socket) -> Bare {
        Bare(socket.into())
    }
}

impl From<OwnedFd> for Bare {
    fn from(socket: OwnedFd) -> Bare {
        Bare(socket)
    }
}

impl AsFd for Bare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Bare {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Read for Bare {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(&self.0, buffer, RecvFlags::empty())?;
        Ok(count)
    }
}

impl Write for Bare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fd for Bare {
    fn shut_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, Shutdown::Write)?)
    }
}

impl From<&mio::event::Event> for Edge {
    fn from(event: &mio::event::Event) -> Edge {
        let error = event.is_error();
        Edge {
            readable: event.is_readable() || event.is_read_closed() || error,
            writable: event.is_writable() || event.is_write_closed() || error,
            ended: event.is_read_closed() || error,
        }
    }
}
