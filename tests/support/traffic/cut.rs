//! A stream that holds back a part of what is written, so that whatever stands above it is cut: a record, a frame, a header.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::flow::now;

/// A socket whose writes are cut now and then.
pub struct Cut {
    tcp: TcpStream,
    random: fastrand::Rng,
    /// The longest time for which the rest is held back.
    hold: Duration,
    held: Option<Pin<Box<Sleep>>>,
    /// When something was held back for the last time.
    since: Arc<AtomicU64>,
}

impl Cut {
    pub fn new(tcp: TcpStream, random: fastrand::Rng, hold: Duration, since: Arc<AtomicU64>) -> Cut {
        Cut { tcp, random, hold, held: None, since }
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(cx));
            self.held = None;
            self.since.store(now(), SeqCst);
            return Pin::new(&mut self.tcp).poll_write(cx, bytes);
        }
        if bytes.len() < 2 || self.hold.is_zero() || self.random.u8(..8) > 0 {
            return Pin::new(&mut self.tcp).poll_write(cx, bytes);
        }
        let at = place(&mut self.random, bytes.len());
        let n = ready!(Pin::new(&mut self.tcp).poll_write(cx, &bytes[..at]))?;
        let hold = self.hold.mul_f32(self.random.f32());
        // sleep is the promise: the rest comes later.
        self.held = Some(Box::pin(tokio::time::sleep_until(Instant::now() + hold)));
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Where to cut: every other time within the first bytes, where the headers are.
pub fn place(random: &mut fastrand::Rng, len: usize) -> usize {
    if random.bool() { random.usize(1..len) } else { random.usize(1..len.min(14)) }
}
