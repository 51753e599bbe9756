//! A socket that remembers whether it can be read from and written to.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::kernel::{Bare, Edge, Fd};

/// A non-blocking stream socket. It implements tokio's traits so that the same code drives it and async streams; it
/// never wakes anybody: events come from the pump's epoll.
#[derive(Debug)]
pub struct Socket<F = Bare> {
    inner: F,
    readable: bool,
    writable: bool,
    /// The end of the stream was announced: a short read does not mean that nothing is left.
    ended: bool,
}

impl<F> Socket<F> {
    /// Takes a socket that is set to non-blocking. It is taken to be ready until it says otherwise.
    pub fn new(inner: F) -> Socket<F> {
        Socket { inner, readable: true, writable: true, ended: false }
    }

    /// The socket itself.
    pub(super) fn fd(&self) -> &F {
        &self.inner
    }

    /// Whether there may be something to read.
    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Notes what an event said.
    pub(super) fn note(&mut self, edge: Edge) {
        self.readable |= edge.readable;
        self.writable |= edge.writable;
        self.ended |= edge.ended;
    }
}

impl<F: Fd> AsRawFd for Socket<F> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

/// Tries until a signal does not get in the way; `None` is EAGAIN.
fn attempt(mut work: impl FnMut() -> io::Result<usize>) -> Option<io::Result<usize>> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            result => return Some(result),
        }
    }
}

impl<F: Fd> AsyncRead for Socket<F> {
    #[inline(always)]
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.readable {
            return Poll::Pending;
        }
        let space = buf.initialize_unfilled();
        let room = space.len();
        match attempt(|| this.inner.read(space)) {
            Some(Ok(count)) => {
                // A stream socket that gave less than was asked for has no more (epoll(7)); an edge will tell.
                this.readable = count == room || this.ended;
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                this.readable = false;
                Poll::Pending
            }
        }
    }
}

impl<F: Fd> AsyncWrite for Socket<F> {
    #[inline(always)]
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.writable {
            return Poll::Pending;
        }
        match attempt(|| this.inner.write(buf)) {
            Some(result) => Poll::Ready(result),
            None => {
                this.writable = false;
                Poll::Pending
            }
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.inner.shut_write() {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
