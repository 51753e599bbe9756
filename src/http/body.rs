//! Bodies on their way: counted, limited, and timed, but never gathered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::clock;
use crate::upstream::{Body, BoxError};

/// A body of these bytes.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What a body in flight tells those who wait for what comes after it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes that went by.
    pub bytes: AtomicU64,
    /// When it was first looked at, microseconds of the process's clock.
    pub since_us: AtomicU64,
    /// When the last ones did, microseconds of the process's clock.
    pub moved_us: AtomicU64,
    /// It was larger than allowed.
    pub too_large: AtomicBool,
    /// The sender broke the rules of HTTP, or left.
    pub(super) broken: AtomicBool,
    /// The sender fell silent.
    pub timed_out: AtomicBool,
}

/// A body that is passed on frame by frame.
pub(super) struct Passed {
    inner: Incoming,
    progress: Arc<Progress>,
    limit: Option<u64>,
    silence_us: u64,
    /// Since when the sender is waited for; a slow taker must not count against it.
    waiting_since_us: Option<u64>,
    sleep: Pin<Box<Sleep>>,
    /// Called once, when the last frame went by.
    at_end: Option<Box<dyn FnOnce() + Send>>,
}

impl Passed {
    /// Passes `inner` on. It may have `limit` bytes and be silent for `silence_us`.
    pub(super) fn new(
        inner: Incoming,
        progress: Arc<Progress>,
        limit: Option<u64>,
        silence_us: u64,
        at_end: impl FnOnce() + Send + 'static,
    ) -> Passed {
        progress.since_us.store(clock::now_us(), Relaxed);
        progress.moved_us.store(clock::now_us(), Relaxed);
        let mut body = Passed {
            inner,
            progress,
            limit,
            silence_us,
            waiting_since_us: None,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            at_end: Some(Box::new(at_end)),
        };
        if body.inner.is_end_stream() {
            body.ended();
        }
        body
    }

    fn ended(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end();
        }
    }

    /// Counts a frame; an error when it goes over the limit.
    fn moved(&mut self, frame: &Frame<Bytes>) -> Result<(), BoxError> {
        let count = frame.data_ref().map_or(0, Bytes::len) as u64;
        let total = self.progress.bytes.fetch_add(count, Relaxed) + count;
        self.progress.moved_us.store(clock::now_us(), Relaxed);
        if self.limit.is_some_and(|limit| total > limit) {
            self.progress.too_large.store(true, Relaxed);
            return Err("body larger than allowed".into());
        }
        Ok(())
    }
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending => {
                let since = *this.waiting_since_us.get_or_insert_with(clock::now_us);
                this.sleep.as_mut().reset(clock::instant(since.saturating_add(this.silence_us)));
                ready!(this.sleep.as_mut().poll(cx));
                this.progress.timed_out.store(true, Relaxed);
                Poll::Ready(Some(Err("timed out while reading a body".into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting_since_us = None;
                let counted = this.moved(&frame);
                if this.inner.is_end_stream() {
                    this.ended();
                }
                Poll::Ready(Some(counted.map(|()| frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.progress.broken.store(true, Relaxed);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body with something that is dropped when hyper is done with it.
pub(super) struct Held<T> {
    inner: Body,
    /// Bytes that went by.
    sent: Arc<AtomicU64>,
    _until_the_end: T,
}

impl<T> Held<T> {
    /// Holds `until_the_end` until the body was sent or given up. Bytes are counted in `sent`.
    pub(super) fn new(inner: Body, sent: Arc<AtomicU64>, until_the_end: T) -> Held<T> {
        Held { inner, sent, _until_the_end: until_the_end }
    }
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            this.sent.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
