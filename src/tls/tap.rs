//! What stands between rustls and a socket: rustls is given whole records, so that it never hides a part of one, and
//! a connection can leave it between any two.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::record::whole_record;
use crate::net::Stream;

/// One read takes at most this much.
const CHUNK: usize = 16 * 1024;
/// Most bytes of records that are remembered: several session tickets. Larger records hold data, nearly always.
const REMEMBERED: usize = 4096;

/// A socket under rustls.
#[derive(Debug)]
pub(super) struct Tap {
    socket: Stream,
    /// Received, and not given to rustls.
    received: BytesMut,
    /// Bytes of the current record that rustls has yet to take.
    left: usize,
    /// Records that rustls was given since it last gave data, for a message that is begun there may end in those that
    /// come later. `None` when there were too many.
    given: Option<Vec<u8>>,
}

impl Tap {
    pub(super) fn new(socket: Stream) -> Tap {
        Tap { socket, received: BytesMut::new(), left: 0, given: Some(Vec::new()) }
    }

    pub(super) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// Whether rustls has taken the last record whole.
    pub(super) fn is_between_records(&self) -> bool {
        self.left == 0
    }

    /// The records that rustls was given since it last gave data.
    pub(super) fn given(&self) -> Option<&[u8]> {
        self.given.as_deref()
    }

    /// rustls gave data: no message is cut there (RFC 8446 section 5.1).
    pub(super) fn forget(&mut self) {
        self.given = Some(Vec::new());
    }

    /// Remembers the record that rustls is to take now.
    fn remember(&mut self) {
        let record = &self.received[..self.left];
        match &mut self.given {
            Some(given) if given.len() + record.len() <= REMEMBERED => given.extend_from_slice(record),
            given => *given = None,
        }
    }

    /// The socket, and what was received from it beyond the last record that rustls took.
    pub(super) fn into_parts(self) -> (Stream, BytesMut) {
        (self.socket, self.received)
    }

    /// Gives more of the current record.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.left.min(buf.remaining());
        buf.put_slice(&self.received[..count]);
        self.received.advance(count);
        self.left -= count;
        if self.received.is_empty() {
            // Nothing waits, so nothing is held.
            self.received = BytesMut::new();
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.left == 0 {
                // What is no record is given as it is: rustls knows what to say to it.
                this.left = whole_record(&this.received).unwrap_or(0);
                this.remember();
            }
            if this.left > 0 {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut fresh = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut fresh))?;
            if fresh.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.received.extend_from_slice(fresh.filled());
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
