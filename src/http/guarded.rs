//! A client's connection under hyper: watches request heads, keeps the deadlines between and inside them, says the
//! last words to a client whose head is refused, and closes so that they arrive.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::framing::{Framing, Phase, Refusal};
use super::handshake::Switching;
use crate::clock;

/// Most bytes that are thrown away so that a client can read our last words.
const LINGER_BYTES: u64 = 1 << 20;

/// What the connection's requests and the socket under them tell each other.
pub(super) struct Shared {
    /// A request is being served: the keep-alive timer rests.
    pub busy: AtomicBool,
    /// It asks for a WebSocket: whatever the answer, no other request follows it.
    pub handshake: AtomicBool,
    /// Since when nothing has been going on, microseconds of the process's clock.
    pub idle_since_us: AtomicU64,
    /// How long the client may be idle from then on.
    pub idle_us: AtomicU64,
    /// How long to linger when closing.
    pub linger_us: AtomicU64,
    /// How long the client may take nothing of what it is sent.
    pub send_us: AtomicU64,
    /// It took nothing for that long.
    pub stalled: AtomicBool,
    /// Bytes received and sent on the socket.
    pub received: AtomicU64,
    /// See above.
    pub sent: AtomicU64,
    /// The head that was refused.
    pub refusal: OnceLock<Refusal>,
    /// The client speaks plain HTTP where TLS is expected.
    pub plain_on_tls: bool,
    /// Targets as they were sent, of the requests that hyper was given and that nobody serves yet.
    targets: Mutex<VecDeque<Vec<u8>>>,
    /// To be done once what is written has left.
    at_flush: Mutex<Vec<AtFlush>>,
    /// What the connection becomes when hyper has let go of it.
    switch: Mutex<Option<Switching>>,
}

/// Makes the whole answer to a refused head.
pub(super) type Words = Box<dyn Fn(&Refusal) -> Vec<u8> + Send>;

/// Something to be done once an answer has left.
pub(super) type AtFlush = Box<dyn FnOnce() + Send>;

impl Shared {
    /// What is told of a fresh connection, or of one stream of HTTP/2.
    pub(super) fn new(limits: &Limits) -> Arc<Shared> {
        Arc::new(Shared {
            busy: AtomicBool::new(false),
            handshake: AtomicBool::new(false),
            idle_since_us: AtomicU64::new(clock::now_us()),
            // The first head has to come as promptly as the rest of it.
            idle_us: AtomicU64::new(limits.header_us),
            linger_us: AtomicU64::new(limits.linger_us),
            send_us: AtomicU64::new(limits.send_us),
            stalled: AtomicBool::new(false),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            refusal: OnceLock::new(),
            plain_on_tls: limits.plain_on_tls,
            targets: Mutex::default(),
            at_flush: Mutex::default(),
            switch: Mutex::default(),
        })
    }

    /// The target of the next request to be served, as it was sent.
    pub(super) fn next_target(&self) -> Option<Vec<u8>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// An answer was handed to hyper whole; `done` is called when it has left, or when the connection is gone.
    pub(super) fn answered(&self, done: AtFlush) {
        self.at_flush.lock().unwrap_or_else(PoisonError::into_inner).push(done);
    }

    /// The answer is a 101: when that has left, the connection becomes a tunnel.
    pub(super) fn switching(&self, switch: Switching) {
        *self.switch.lock().unwrap_or_else(PoisonError::into_inner) = Some(switch);
    }

    /// The tunnel that the connection is to become.
    pub(super) fn take_switch(&self) -> Option<Switching> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What was handed over has left, or never will. True when that was something.
    pub(super) fn flushed(&self) -> bool {
        let done = std::mem::take(&mut *self.at_flush.lock().unwrap_or_else(PoisonError::into_inner));
        if !done.is_empty() {
            self.idle_since_us.store(clock::now_us(), Relaxed);
            self.busy.store(false, Relaxed);
        }
        let any = !done.is_empty();
        done.into_iter().for_each(|done| done());
        any
    }
}

/// Deadlines and sizes that hold before a request has named its server.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// `client_header_timeout`.
    pub header_us: u64,
    /// The longest head.
    pub max_head: usize,
    /// `lingering_timeout`.
    pub linger_us: u64,
    /// `send_timeout`.
    pub send_us: u64,
    /// The client speaks plain HTTP where TLS is expected.
    pub plain_on_tls: bool,
}

/// The connection.
pub(super) struct Guarded<T> {
    io: T,
    /// Read before, and not looked at yet.
    early: Vec<u8>,
    framing: Framing,
    shared: Arc<Shared>,
    header_us: u64,
    head_since_us: u64,
    sleep: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// The whole answer to a refused head.
    words: Words,
    /// A head was refused; the requests before it are answered first.
    refused: Option<Refusal>,
    /// What is left of that answer.
    farewell: Vec<u8>,
    linger: Option<Linger>,
    /// What counts connections that are inside a request head, and this one while it is.
    reading: (Weak<()>, Option<Arc<()>>),
}

struct Linger {
    deadline_us: u64,
    left: u64,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// Guards a fresh connection. `words` makes the answer to a refused head.
    ///
    /// `early`: what was read of it before. `reading` counts those that have sent a part of a head.
    pub(super) fn new(
        io: T,
        early: Vec<u8>,
        limits: Limits,
        words: Words,
        reading: Weak<()>,
    ) -> (Guarded<T>, Arc<Shared>) {
        let shared = Shared::new(&limits);
        let guarded = Guarded {
            io,
            early,
            framing: Framing::new(limits.max_head),
            shared: shared.clone(),
            header_us: limits.header_us,
            head_since_us: clock::now_us(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            stall: None,
            words,
            refused: None,
            farewell: Vec::new(),
            linger: None,
            reading: (reading, None),
        };
        (guarded, shared)
    }

    /// The connection itself, once it speaks HTTP no more.
    pub(super) fn into_inner(self) -> T {
        self.io
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.farewell = (self.words)(&refusal);
        // Only the first refusal counts; there is never a second one.
        let _ = self.shared.refusal.set(refusal);
    }

    /// Does something that waits for the client to take bytes, for `send_timeout` at most.
    fn unless_stalled<R>(
        &mut self,
        cx: &mut Context<'_>,
        send: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let result = send(Pin::new(&mut self.io), cx);
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let stall = self.stall.get_or_insert_with(|| {
            let until = clock::now_us().saturating_add(self.shared.send_us.load(Relaxed));
            Box::pin(tokio::time::sleep_until(clock::instant(until)))
        });
        ready!(stall.as_mut().poll(cx));
        self.shared.stalled.store(true, Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes the last words, then closes. Always ends in an error, so that hyper lets go.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.farewell.is_empty() {
            let words = std::mem::take(&mut self.farewell);
            let result = self.unless_stalled(cx, |io, cx| io.poll_write(cx, &words));
            self.farewell = words;
            let count = ready!(result)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.farewell.drain(..count);
            self.shared.sent.fetch_add(count as u64, Relaxed);
        }
        ready!(self.poll_close(cx))?;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "request head refused")))
    }

    /// Shuts writing down and, when the client may still be sending, reads on for a while: closing a socket with
    /// unread bytes would reset it, and the client would lose the answer.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(self.unless_stalled(cx, |io, cx| io.poll_shutdown(cx)))?;
            let deadline_us = clock::now_us().saturating_add(self.shared.linger_us.load(Relaxed));
            self.linger = Some(Linger { deadline_us, left: LINGER_BYTES });
        }
        if self.shared.refusal.get().is_none() && matches!(self.framing.phase(), Phase::Idle) {
            return Poll::Ready(Ok(()));
        }
        let Some(linger) = &mut self.linger else { return Poll::Ready(Ok(())) };
        let mut space = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len() as u64);
                    if linger.left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        self.sleep.as_mut().reset(clock::instant(linger.deadline_us));
        self.sleep.as_mut().poll(cx).map(Ok)
    }

    /// The client sends nothing: has it run out of time? `Some(true)`: it was in the middle of a head.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let (deadline_us, in_head) = match self.framing.phase() {
                // A head that came behind a request is looked at once that request is answered.
                Phase::Head(_) => {
                    let since = self.head_since_us.max(self.shared.idle_since_us.load(Relaxed));
                    (since.saturating_add(self.header_us), true)
                }
                Phase::Idle if !self.shared.busy.load(Relaxed) => {
                    let since = self.shared.idle_since_us.load(Relaxed);
                    (since.saturating_add(self.shared.idle_us.load(Relaxed)), false)
                }
                // Whoever serves the request keeps the deadlines; poll_flush wakes us when that has ended.
                _ => return Poll::Pending,
            };
            if clock::now_us() >= deadline_us {
                return Poll::Ready(in_head);
            }
            self.sleep.as_mut().reset(clock::instant(deadline_us));
            ready!(self.sleep.as_mut().poll(cx));
        }
    }
}

/// Reads what is there already, else from the connection.
pub(super) fn poll_read_with<T: AsyncRead + Unpin>(
    early: &mut Vec<u8>,
    io: &mut T,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if early.is_empty() {
        return Pin::new(io).poll_read(cx, buf);
    }
    let count = early.len().min(buf.remaining());
    buf.put_slice(&early[..count]);
    early.drain(..count);
    Poll::Ready(Ok(()))
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused.is_some() && this.shared.busy.load(Relaxed) {
            // poll_flush wakes us when the answer in work has left.
            return Poll::Pending;
        }
        if let Some(refusal) = this.refused.take() {
            this.refuse(refusal);
        }
        if this.shared.refusal.get().is_some() {
            return this.poll_farewell(cx);
        }
        if matches!(this.framing.phase(), Phase::Broken) {
            // To hyper the body ends too early.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match poll_read_with(&mut this.early, &mut this.io, cx, buf) {
            Poll::Ready(Ok(())) => {
                let bytes = &mut buf.filled_mut()[before..];
                this.shared.received.fetch_add(bytes.len() as u64, Relaxed);
                let in_head = matches!(this.framing.phase(), Phase::Head(_));
                let fed = this.framing.feed(bytes);
                let targets = this.framing.take_targets();
                this.shared.targets.lock().unwrap_or_else(PoisonError::into_inner).extend(targets);
                match fed {
                    Ok(good) => buf.set_filled(before + good),
                    Err((good, refusal)) => {
                        buf.set_filled(before + good);
                        if good > 0 {
                            this.refused = Some(refusal);
                            return Poll::Ready(Ok(()));
                        }
                        this.refuse(refusal);
                        return this.poll_farewell(cx);
                    }
                }
                let reads = matches!(this.framing.phase(), Phase::Head(_));
                this.reading.1 = reads.then(|| this.reading.0.upgrade()).flatten();
                if !in_head {
                    this.head_since_us = clock::now_us();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => match ready!(this.poll_deadline(cx)) {
                // Nothing was asked: an end of stream is answer enough.
                false => Poll::Ready(Ok(())),
                true => {
                    this.refuse(Refusal {
                        status: 408,
                        reason: "client timed out while sending the request head",
                    });
                    this.poll_farewell(cx)
                }
            },
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.unless_stalled(cx, |io, cx| io.poll_write(cx, buf)))?;
        this.shared.sent.fetch_add(count as u64, Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.unless_stalled(cx, |io, cx| io.poll_write_vectored(cx, bufs)))?;
        this.shared.sent.fetch_add(count as u64, Relaxed);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.unless_stalled(cx, |io, cx| io.poll_flush(cx)))?;
        if this.shared.flushed() || this.refused.is_some() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}
