//! What a pump drives: sockets, with TLS or without.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::kernel::{Bare, Edge, Fd};
use super::{Secure, Socket};

/// A connection to one end of a tunnel.
#[derive(Debug)]
pub enum Line<F = Bare> {
    /// A bare socket.
    Plain(Socket<F>),
    /// One with TLS.
    Tls(Box<Secure<F>>),
}

impl<F: Fd> Line<F> {
    /// Whether reading is worth a try.
    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        match self {
            Line::Plain(socket) => socket.is_readable(),
            Line::Tls(secure) => secure.is_readable(),
        }
    }

    /// What it goes over.
    pub(super) fn fd(&self) -> &F {
        match self {
            Line::Plain(socket) => socket.fd(),
            Line::Tls(secure) => secure.socket.fd(),
        }
    }

    /// Notes what an event said.
    pub(super) fn note(&mut self, edge: Edge) {
        match self {
            Line::Plain(socket) => socket.note(edge),
            Line::Tls(secure) => secure.socket.note(edge),
        }
    }
}

impl<F: Fd> AsRawFd for Line<F> {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Line::Plain(socket) => socket.as_raw_fd(),
            Line::Tls(secure) => secure.socket.as_raw_fd(),
        }
    }
}

impl<F: Fd> AsyncRead for Line<F> {
    #[inline(always)]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Line::Tls(secure) => Pin::new(secure.as_mut()).poll_read(cx, buf),
        }
    }
}

impl<F: Fd> AsyncWrite for Line<F> {
    #[inline(always)]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Line::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Line::Tls(secure) => Pin::new(secure.as_mut()).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Line::Tls(secure) => Pin::new(secure.as_mut()).poll_flush(cx),
        }
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Line::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Line::Tls(secure) => Pin::new(secure.as_mut()).poll_shutdown(cx),
        }
    }
}
