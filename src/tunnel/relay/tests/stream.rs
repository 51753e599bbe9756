//! A stream with moods: it gives and takes as much as it likes, when it likes.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What it keeps at most until it is flushed.
const KEPT: usize = 1000;

pub(super) struct Moody {
    pub(super) pipe: DuplexStream,
    pub(super) rng: Rng,
    /// Reading and writing sleep on their own, so that no waking of the one stands in for the other.
    pub(super) naps: [Option<Pin<Box<Sleep>>>; 2],
    /// What it took and has not sent, as TLS does; `None` sends at once.
    pub(super) kept: Option<Vec<u8>>,
    pub(super) broken: Rc<Cell<Broken>>,
}

/// What fails from now on.
#[derive(Copy, Clone, PartialEq, Default)]
pub(super) enum Broken {
    #[default]
    Nothing,
    /// Writing; reading just waits.
    Writing,
    All,
}

impl Moody {
    fn mood(&mut self, which: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let broken = self.broken.get();
        if broken == Broken::All || broken == Broken::Writing && which == 1 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.naps[which].is_none() && self.rng.u8(..4) == 0 {
            self.naps[which] = Some(Box::pin(sleep(Duration::from_millis(self.rng.u64(1..=20)))));
        }
        if let Some(nap) = &mut self.naps[which] {
            ready!(nap.as_mut().poll(cx));
            self.naps[which] = None;
        }
        Poll::Ready(Ok(()))
    }

    /// How much of `most` it is in the mood for.
    fn portion(&mut self, most: usize) -> usize {
        let likes = [10, 1000, 100_000][self.rng.usize(..3)];
        self.rng.usize(1..=most.clamp(1, likes)).min(most)
    }

    /// `Interrupted`: some of it left, and the rest has to wait.
    fn send_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let kept = self.kept.get_or_insert_default();
        let mut moved = false;
        while !kept.is_empty() {
            match Pin::new(&mut self.pipe).poll_write(cx, kept) {
                Poll::Ready(sent) => kept.drain(..sent?),
                Poll::Pending if moved => return Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
                Poll::Pending => return Poll::Pending,
            };
            moved = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Moody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.mood(0, cx))?;
        let mut room = vec![0; self.portion(buffer.remaining())];
        let mut part = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut part))?;
        buffer.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Moody {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.mood(1, cx))?;
        let part = self.portion(bytes.len());
        let Some(kept) = &self.kept else {
            return Pin::new(&mut self.pipe).poll_write(cx, &bytes[..part]);
        };
        if kept.len() >= KEPT {
            ready!(self.send_kept(cx))?;
        }
        let kept = self.kept.get_or_insert_default();
        let part = part.min(KEPT - kept.len());
        kept.extend(&bytes[..part]);
        Poll::Ready(Ok(part))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kept.is_none() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.mood(1, cx))?;
        self.send_kept(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.mood(1, cx))?;
        if self.kept.is_some() {
            match ready!(self.send_kept(cx)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Poll::Pending,
                result => result?,
            }
        }
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
