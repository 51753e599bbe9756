//! A socket with TLS on it, without a buffer while nothing is cut: records are opened in the reader's buffer, and made
//! in one buffer per thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::Socket;
use super::kernel::{Bare, Fd};
use crate::tls::{self, Extracted, Fault, MAX_RECORD, Opener, RestoreError, Sealer, State, whole_record};

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
    /// `None` while nothing waits, which is nearly always.
    waiting: Option<Box<Waiting>>,
    /// Nothing more will come.
    end: Option<Result<(), Fault>>,
}

/// Bytes of a connection that wait for more.
#[derive(Debug, Default)]
struct Waiting {
    /// Received, not opened: a record that is cut, or what came before the pump took over.
    received: Vec<u8>,
    /// Records that the socket has not taken.
    unsent: Vec<u8>,
}

impl Secure {
    /// Takes over a connection; gives the data that were decrypted before.
    pub fn new(taken: Extracted) -> io::Result<(Secure, Vec<u8>)> {
        let Extracted { socket, opener, sealer, data, received, unsent, ended } = taken;
        let socket = Socket::new(socket.into_socket()?.into());
        let end = ended.then_some(Ok(()));
        Ok((Secure::assemble(socket, opener, sealer, Waiting { received, unsent }, end), data))
    }
}

impl<F: Fd> Secure<F> {
    /// All but the socket as bytes, for whoever takes that over: see [`tls::save`]. From here on nothing may be read or
    /// written unless nobody does.
    pub(super) fn save(&self) -> Zeroizing<Vec<u8>> {
        let unsent = self.waiting.as_ref().map_or(&[][..], |waiting| &waiting.unsent);
        tls::save(&self.opener, &self.sealer, self.received(), unsent, self.end)
    }

    /// Goes on with a connection that was saved. The socket is non-blocking.
    pub(super) fn restore(socket: F, saved: &[u8]) -> Result<Secure<F>, RestoreError> {
        let State { opener, sealer, received, unsent, end } = tls::restore(saved)?;
        Ok(Secure::assemble(Socket::new(socket), opener, sealer, Waiting { received, unsent }, end))
    }

    fn assemble(
        socket: Socket<F>,
        opener: Opener,
        sealer: Sealer,
        waiting: Waiting,
        end: Option<Result<(), Fault>>,
    ) -> Secure<F> {
        let mut secure = Secure { socket, opener, sealer, waiting: Some(Box::new(waiting)), end };
        secure.tidy();
        secure
    }

    /// Nothing waits, so nothing is held.
    fn tidy(&mut self) {
        self.waiting.take_if(|waiting| waiting.received.is_empty() && waiting.unsent.is_empty());
    }

    fn received(&self) -> &[u8] {
        self.waiting.as_ref().map_or(&[], |waiting| &waiting.received)
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// Whether there may be something to read: from the socket, or from what was received before, or the end.
    pub(super) fn is_readable(&self) -> bool {
        self.socket.is_readable() || self.end.is_some() || whole_record(self.received()).is_some()
    }

    /// What is read once nothing more will come.
    fn last_read(&self) -> Option<io::Result<()>> {
        self.end.map(|end| end.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault)))
    }

    /// Fills `space` behind what was received before. Gives how much stands there then; `None` at the socket's end.
    fn fill(&mut self, space: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let kept = self.received().len();
        let mut filled = kept;
        if whole_record(self.received()).is_none() {
            let mut rest = ReadBuf::new(&mut space[kept..]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut rest))?;
            filled += rest.filled().len();
            if filled == kept {
                return Poll::Ready(Ok(None));
            }
        }
        if let Some(waiting) = &mut self.waiting {
            space[..kept].copy_from_slice(&std::mem::take(&mut waiting.received));
            self.tidy();
        }
        Poll::Ready(Ok(Some(filled)))
    }

    /// Opens what can be opened of the first `filled` bytes, and keeps the rest. Gives the length of the data.
    fn open(&mut self, space: &mut [u8], filled: usize, cx: &mut Context<'_>) -> usize {
        let opened = self.opener.open(&mut space[..filled]);
        if opened.update_requested {
            self.sealer.owe_update();
        }
        match opened.end {
            None if opened.used == filled => {}
            None => self.waiting().received = space[opened.used..filled].to_vec(),
            Some(end) => {
                self.end = Some(end);
                if let Some(code) = end.err().and_then(Fault::alert) {
                    // The connection is lost in any case: the alert tells why, if it can leave.
                    let unsent = &mut self.waiting.get_or_insert_default().unsent;
                    let _ = self.sealer.fail(code, unsent);
                    let _ = self.poll_unsent(cx);
                }
            }
        }
        opened.data
    }

    /// Writes what waits for the socket. `Interrupted` says that some of it has left and the rest has to wait, so that
    /// a slow end is not taken for one that stands still.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let mut moved = false;
        while !waiting.unsent.is_empty() {
            let count = match Pin::new(&mut self.socket).poll_write(cx, &waiting.unsent) {
                Poll::Ready(result) => result?,
                Poll::Pending if moved => return Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
                Poll::Pending => return Poll::Pending,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            waiting.unsent.drain(..count);
            moved = true;
        }
        waiting.unsent = Vec::new();
        self.tidy();
        Poll::Ready(Ok(()))
    }
}

impl<F: Fd> AsyncRead for Secure<F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let space = buf.initialize_unfilled();
        if space.len() < MAX_RECORD.max(this.received().len() + 1) {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        loop {
            if let Some(end) = this.last_read() {
                return Poll::Ready(end);
            }
            let Some(filled) = ready!(this.fill(space, cx))? else {
                // The socket ended without close_notify (RFC 8446 section 6.1).
                let hint = "and without close_notify";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, hint)));
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
            if sent < records.len() {
                // These numbers are used: the records leave as they are.
                this.waiting().unsent.extend_from_slice(&records[sent..]);
            }
            Poll::Ready(Ok(data.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_unsent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let unsent = &mut this.waiting.get_or_insert_default().unsent;
        this.sealer.close(unsent).map_err(io::Error::other)?;
        match ready!(this.poll_unsent(cx)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) => Pin::new(&mut this.socket).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
impl<F: Fd> Secure<F> {
    /// TLS on a socket on which nothing is under way.
    pub(super) fn fresh(inner: F, opener: Opener, sealer: Sealer) -> Secure<F> {
        Secure::assemble(Socket::new(inner), opener, sealer, Waiting::default(), None)
    }
}

#[cfg(test)]
mod tests;
