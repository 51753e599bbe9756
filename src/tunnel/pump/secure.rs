//! A socket with TLS on it, without a buffer while nothing is cut: records are opened in the reader's buffer, and made
//! in one buffer per thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;
use super::kernel::{Bare, Fd};
use crate::tls::{Extracted, Fault, MAX_RECORD, Opener, Sealer, whole_record};

/// Data taken by one write; more would only wait here.
const CHUNK: usize = 64 * 1024;

thread_local! {
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TLS connection after its handshake. It reads into buffers that can hold a whole record.
#[derive(Debug)]
pub struct Secure<F = Bare> {
    pub(super) socket: Socket<F>,
    opener: Opener,
    sealer: Sealer,
    /// Received, not opened: a record that is cut, or what came before the pump took over.
    received: Vec<u8>,
    /// Records that the socket has not taken.
    unsent: Vec<u8>,
    /// Nothing more will come.
    end: Option<Result<(), Fault>>,
}

impl Secure {
    /// Takes over a connection; gives the data that were decrypted before.
    pub fn new(taken: Extracted) -> io::Result<(Secure, Vec<u8>)> {
        let Extracted { socket, opener, sealer, data, received, unsent, ended } = taken;
        let socket = Socket::new(socket.into_socket()?.into());
        let end = ended.then_some(Ok(()));
        Ok((Secure { socket, opener, sealer, received, unsent, end }, data))
    }
}

impl<F: Fd> Secure<F> {
    /// Whether there may be something to read: from the socket, or from what was received before, or the end.
    pub(super) fn is_readable(&self) -> bool {
        self.socket.is_readable() || self.end.is_some() || whole_record(&self.received).is_some()
    }

    /// What is read once nothing more will come.
    fn last_read(&self) -> Option<io::Result<()>> {
        self.end.map(|end| end.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault)))
    }

    /// Fills `space` behind what was received before. Gives how much stands there then; `None` at the socket's end.
    fn fill(&mut self, space: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let kept = self.received.len();
        if whole_record(&self.received).is_none() {
            let mut rest = ReadBuf::new(&mut space[kept..]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut rest))?;
            let count = rest.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(None));
            }
            space[..kept].copy_from_slice(&self.received);
            self.received = Vec::new();
            return Poll::Ready(Ok(Some(kept + count)));
        }
        space[..kept].copy_from_slice(&self.received);
        self.received = Vec::new();
        Poll::Ready(Ok(Some(kept)))
    }

    /// Opens what can be opened of the first `filled` bytes, and keeps the rest. Gives the length of the data.
    fn open(&mut self, space: &mut [u8], filled: usize, cx: &mut Context<'_>) -> usize {
        let opened = self.opener.open(&mut space[..filled]);
        if opened.update_requested {
            self.sealer.owe_update();
        }
        match opened.end {
            None => self.received = space[opened.used..filled].to_vec(),
            Some(end) => {
                self.end = Some(end);
                if let Some(code) = end.err().and_then(Fault::alert) {
                    // The connection is lost in any case: the alert tells why, if it can leave.
                    let _ = self.sealer.fail(code, &mut self.unsent);
                    let _ = self.poll_unsent(cx);
                }
            }
        }
        opened.data
    }

    /// Writes what waits for the socket.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..count);
        }
        // Nothing waits, so nothing is held.
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl<F: Fd> AsyncRead for Secure<F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let space = buf.initialize_unfilled();
        if space.len() < MAX_RECORD.max(this.received.len() + 1) {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        loop {
            if let Some(end) = this.last_read() {
                return Poll::Ready(end);
            }
            let Some(filled) = ready!(this.fill(space, cx))? else {
                // The socket ended without close_notify (RFC 8446 section 6.1).
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            };
            let data = this.open(space, filled, cx);
            if data > 0 {
                buf.advance(data);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<F: Fd> AsyncWrite for Secure<F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        let data = &buf[..buf.len().min(CHUNK)];
        RECORDS.with_borrow_mut(|records| {
            records.clear();
            this.sealer.seal(data, records).map_err(io::Error::other)?;
            let sent = match Pin::new(&mut this.socket).poll_write(cx, records) {
                Poll::Ready(result) => result?,
                Poll::Pending => 0,
            };
            // These numbers are used: the records leave as they are.
            this.unsent.extend_from_slice(&records[sent..]);
            Poll::Ready(Ok(data.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_unsent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.sealer.close(&mut this.unsent).map_err(io::Error::other)?;
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
