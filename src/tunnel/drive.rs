//! Drives a tunnel over two streams that never block: what the relay and the pump have in common.
//!
//! Bytes are read into one buffer per thread, looked at in place, and written on from there; a tunnel keeps bytes of
//! its own only while an end does not take them. While such bytes wait, nothing is read from the end they came from.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use longwire_wire::{Cause, CloseCode, Outcome, Pair, Plan, Planned, Side, SideState, Stats, Time, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::table::{Shown, State, Wish};
use crate::metrics::COUNTS;

/// One read takes at most this much.
pub(super) const BUFFER: usize = 64 * 1024;
/// Reads in a row before other tasks of the thread get their turn.
const ROUNDS: usize = 16;
/// How long an end may take to close TCP after us, in microseconds.
const LINGER_US: u64 = 2_000_000;

/// What a tunnel runs over: both streams, and what was already read from each.
#[derive(Debug)]
pub struct Ends<S> {
    /// Client and backend.
    pub streams: Pair<S>,
    /// Bytes that came behind each head.
    pub early: Pair<Bytes>,
}

/// What came of a tunnel.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it counted.
    pub stats: Stats,
    /// What the system or TLS said of the end that broke, where that ended it.
    pub reason: Option<io::Error>,
}

struct Scratch {
    buffer: Box<[u8]>,
    plan: Plan,
    /// What is written of a plan of several pieces.
    joined: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        buffer: vec![0; BUFFER].into_boxed_slice(),
        plan: Plan::default(),
        joined: Vec::new(),
    });
}

/// A tunnel with the streams it runs over.
pub(super) struct Drive<S> {
    tunnel: Tunnel,
    pub(super) ends: Pair<End<S>>,
    /// Something is to be written, finished or timed that reading does not bring about: the ends want a look.
    unsettled: bool,
    /// When to turn again though nothing came; `u64::MAX` for never.
    due_us: u64,
    /// The error that ended it.
    reason: Option<io::Error>,
}

pub(super) struct End<S> {
    /// `None` once it is closed.
    stream: Option<S>,
    /// Held only while there is something in it: nearly never.
    pub(super) rest: Option<Box<Rest>>,
}

/// What waits at an end.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Read from it before the tunnel began.
    early: Bytes,
    /// To be written to it.
    pub(super) pending: Vec<u8>,
    /// The stream took bytes that it has not sent (TLS).
    unflushed: bool,
    /// Set once the tunnel is done with it: until then it has to take some of what is pending, or to close TCP.
    finish_by_us: Option<u64>,
    /// Writing was shut down.
    shut: bool,
}

impl<S> End<S> {
    fn new(stream: S, early: Bytes) -> End<S> {
        let rest = (!early.is_empty()).then(|| Box::new(Rest { early, ..Rest::default() }));
        End { stream: Some(stream), rest }
    }

    /// Closes the stream. What waited for it waits no more, and holds nothing back at the other end.
    fn close(&mut self) {
        self.stream = None;
        self.rest = None;
    }

    /// What is there was not written yet.
    fn waits(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.unflushed || !rest.pending.is_empty())
    }

    /// Holds bytes until they can be written.
    fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.rest.get_or_insert_default().pending.extend_from_slice(bytes);
        }
    }

    /// Takes of what was read before the tunnel began.
    fn take_early(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let rest = self.rest.as_mut().filter(|rest| !rest.early.is_empty())?;
        let count = rest.early.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest.early.split_to(count));
        self.tidy();
        Some(count)
    }

    fn has_early(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.early.is_empty())
    }

    /// Nothing waits, so nothing is held: the next tunnel may need the memory.
    fn tidy(&mut self) {
        if let Some(rest) = &mut self.rest {
            if rest.early.is_empty() {
                // Lets go of the buffer that the head came in.
                rest.early = Bytes::new();
            }
            if rest.is_empty() {
                self.rest = None;
            }
        }
    }
}

impl Rest {
    pub(super) fn is_empty(&self) -> bool {
        let Rest { early, pending, unflushed, finish_by_us, shut } = self;
        early.is_empty() && pending.is_empty() && !unflushed && finish_by_us.is_none() && !shut
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drive<S> {
    pub(super) fn new(tunnel: Tunnel, ends: Ends<S>) -> Drive<S> {
        let client = End::new(ends.streams.client, ends.early.client);
        let backend = End::new(ends.streams.backend, ends.early.backend);
        Drive { tunnel, ends: Pair { client, backend }, unsettled: true, due_us: 0, reason: None }
    }

    /// Does what somebody wishes. `now` as in [`Drive::turn`].
    pub(super) fn obey(&mut self, wish: Wish, now: u64) {
        let now = Time(now);
        self.unsettled = true;
        match wish {
            Wish::Close(farewell) => self.tunnel.close(farewell, now),
            Wish::CloseAt(farewell, at_us) => self.tunnel.close_at(farewell, Time(at_us)),
            Wish::Cut => {
                self.tunnel.close((CloseCode::GOING_AWAY, Cause::Shutdown), now);
                Side::BOTH.into_iter().for_each(|side| self.tunnel.handle_error(side, now));
            }
        }
    }

    /// What was counted so far.
    pub(super) fn stats(&self) -> &Stats {
        self.tunnel.stats()
    }

    /// The stream of an end while it is open.
    pub(super) fn stream(&mut self, side: Side) -> Option<&mut S> {
        self.ends[side].stream.as_mut()
    }

    /// Whether it is open, and if not who ends it and why.
    pub(super) fn state(&self) -> State {
        match self.tunnel.ending() {
            None => State::Open,
            Some(outcome) => State::Closing { by: outcome.ended_by, cause: outcome.cause },
        }
    }

    /// The end that it has been set a time for.
    pub(super) fn planned(&self) -> Option<&Planned> {
        self.tunnel.planned()
    }

    /// What others may see of it.
    pub(super) fn shown(&self) -> Shown {
        let heard_us = self.tunnel.heard_at().map(|at| at.0);
        Shown { stats: *self.stats(), state: self.state(), heard_us }
    }

    /// The streams that are still open.
    pub(super) fn streams(&mut self) -> impl Iterator<Item = (Side, &mut S)> {
        let Pair { client, backend } = &mut self.ends;
        let client = client.stream.as_mut().map(|stream| (Side::Client, stream));
        client.into_iter().chain(backend.stream.as_mut().map(|stream| (Side::Backend, stream)))
    }

    /// What came of it, once both ends are closed.
    pub(super) fn report(&mut self) -> Option<Report> {
        let closed = Side::BOTH.iter().all(|&side| self.ends[side].stream.is_none());
        let outcome = self.tunnel.outcome().filter(|_| closed)?;
        Some(Report { outcome: *outcome, stats: *self.tunnel.stats(), reason: self.reason.take() })
    }

    /// When to turn again though nothing came; activity only moves it later.
    pub(super) fn next_us(&self) -> Option<u64> {
        Some(self.due_us).filter(|at| *at != u64::MAX)
    }

    /// Moves what can be moved, for a while. True when there may be more to do at once. `now`: microseconds of the
    /// process's clock. `readable` says whether reading from a stream is worth a try.
    ///
    /// While messages flow nothing but reading and writing is done: no timer is looked at before it is due.
    pub(super) fn turn(&mut self, now: u64, cx: &mut Context<'_>, readable: impl Fn(&S) -> bool) -> bool {
        let mut again = self.unsettled && self.settle(now, cx);
        for _ in 0..ROUNDS {
            let client =
                self.has_more(Side::Client, &readable) && self.read(Side::Client, now, cx, &readable);
            let backend =
                self.has_more(Side::Backend, &readable) && self.read(Side::Backend, now, cx, &readable);
            again = (self.unsettled && self.settle(now, cx)) | client | backend;
            if !again {
                break;
            }
        }
        if now >= self.due_us {
            // Only now: what was here in time counts, though this process may have been asleep.
            self.tunnel.handle_timeout(Time(now));
            self.unsettled = true;
            // An end that is dropped holds back nothing any more.
            again |= self.settle(now, cx) | self.tunnel.is_ending();
        }
        again
    }

    /// Sees to both ends. True when there is more to do: also when an end failed, which may
    /// concern the one that had its turn before.
    fn settle(&mut self, now: u64, cx: &mut Context<'_>) -> bool {
        let again = Side::BOTH
            .into_iter()
            .fold(false, |again, side| self.write(side, now, cx) | self.finish(side, now, cx) | again);
        self.unsettled =
            again || self.tunnel.is_ending() || self.ends.client.waits() || self.ends.backend.waits();
        self.due_us = self.next_due();
        again
    }

    fn next_due(&self) -> u64 {
        let finishing = Side::BOTH.iter().filter_map(|&side| {
            let end = &self.ends[side];
            end.rest.as_ref().and_then(|rest| rest.finish_by_us).filter(|_| end.stream.is_some())
        });
        finishing.chain(self.tunnel.poll_timeout().map(|at| at.0)).min().unwrap_or(u64::MAX)
    }

    /// Reading from an end is worth a try.
    fn has_more(&self, from: Side, readable: &impl Fn(&S) -> bool) -> bool {
        let end = &self.ends[from];
        end.stream.as_ref().is_some_and(readable) || end.has_early()
    }

    /// Reads once from an end and writes on to the other. True when there may be more.
    fn read(&mut self, from: Side, now: u64, cx: &mut Context<'_>, readable: &impl Fn(&S) -> bool) -> bool {
        let to = from.other();
        if self.ends[to].waits() || !self.tunnel.wants_read(from) {
            return false;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let end = &mut self.ends[from];
            let early = end.take_early(&mut scratch.buffer);
            let Some(stream) = end.stream.as_mut() else { return false };
            let result = match early {
                Some(count) => Ok(count),
                None => {
                    let mut buffer = ReadBuf::new(&mut scratch.buffer);
                    match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                        Poll::Pending => return false,
                        Poll::Ready(result) => result.map(|()| buffer.filled().len()),
                    }
                }
            };
            match result {
                Ok(0) => self.tunnel.handle_eof(from, Time(now)),
                // A TLS peer that closes TCP without close_notify: the frames say whether anything is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.note(error);
                    self.tunnel.handle_eof(from, Time(now));
                }
                Err(error) => self.fail(from, error, now),
                Ok(count) => {
                    let input = &scratch.buffer[..count];
                    self.tunnel.handle_read(from, input, Time(now), &mut random, &mut scratch.plan);
                    let output = if scratch.plan.whole() {
                        input
                    } else {
                        if let Some(us) = scratch.plan.take_round_trip() {
                            COUNTS.round_trips[from.index()].observe(us);
                        }
                        scratch.joined.clear();
                        scratch.plan.segments(input).for_each(|part| scratch.joined.extend_from_slice(part));
                        &scratch.joined
                    };
                    self.forward(to, output, now, cx);
                }
            }
            self.unsettled |= self.tunnel.is_ending();
            self.has_more(from, readable)
        })
    }

    /// Writes to an end for which nothing waits, with a frame of our own behind it; what it does not take waits.
    fn forward(&mut self, to: Side, output: &[u8], now: u64, cx: &mut Context<'_>) {
        let end = &mut self.ends[to];
        let Some(stream) = end.stream.as_mut() else { return };
        if !output.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, output) {
                Poll::Ready(Ok(count)) => {
                    let unflushed = !matches!(Pin::new(stream).poll_flush(cx), Poll::Ready(Ok(())));
                    end.keep(&output[count..]);
                    if unflushed {
                        end.rest.get_or_insert_default().unflushed = true;
                    }
                }
                Poll::Ready(Err(error)) => return self.fail(to, error, now),
                Poll::Pending => end.keep(output),
            }
        }
        if let Some(frame) = self.tunnel.poll_transmit(to, Time(now), &mut random) {
            end.keep(&frame);
        }
        // What waits is written, and a timer that a frame of ours has set is looked at, when the ends are settled.
        self.unsettled |= end.rest.is_some();
    }

    /// Writes what waits for an end, with frames of our own behind it. True when the end failed.
    fn write(&mut self, to: Side, now: u64, cx: &mut Context<'_>) -> bool {
        let end = &mut self.ends[to];
        if end.stream.is_none() {
            return false;
        }
        while let Some(frame) = self.tunnel.poll_transmit(to, Time(now), &mut random) {
            end.keep(&frame);
        }
        let Some(stream) = end.stream.as_mut() else { return false };
        let Some(rest) = end.rest.as_mut().filter(|rest| rest.unflushed || !rest.pending.is_empty()) else {
            return false;
        };
        let (mut written, mut moved) = (0, false);
        let result = loop {
            let step = match &rest.pending[written..] {
                [] => Pin::new(&mut *stream).poll_flush(cx).map_ok(|()| None),
                rest => Pin::new(&mut *stream).poll_write(cx, rest).map_ok(Some),
            };
            match step {
                Poll::Ready(Ok(None)) => break Poll::Ready(Ok(())),
                Poll::Ready(Ok(Some(0))) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(Some(count))) => (written, moved) = (written + count, true),
                // Some of what the stream took before has left it (TLS).
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => moved = true,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if written == rest.pending.len() {
            rest.pending = Vec::new();
        } else {
            rest.pending.drain(..written);
        }
        rest.unflushed = result.is_pending();
        if moved {
            // It still takes bytes: that counts anew from here.
            rest.finish_by_us = None;
        }
        end.tidy();
        match result {
            Poll::Ready(Ok(())) => self.tunnel.handle_flushed(to, Time(now)),
            Poll::Ready(Err(error)) => {
                self.fail(to, error, now);
                return true;
            }
            Poll::Pending => self.tunnel.handle_blocked(to, moved, Time(now)),
        }
        false
    }

    /// An end broke.
    fn fail(&mut self, side: Side, error: io::Error, now: u64) {
        self.note(error);
        self.tunnel.handle_error(side, Time(now));
    }

    /// Remembers what ends the tunnel; what comes later follows from it.
    fn note(&mut self, error: io::Error) {
        if !self.tunnel.is_ending() {
            self.reason = Some(error);
        }
    }

    /// Closes an end as far as the tunnel is done with it. True when there is more to read and discard.
    fn finish(&mut self, side: Side, now: u64, cx: &mut Context<'_>) -> bool {
        let state = self.tunnel.side(side);
        let end = &mut self.ends[side];
        let Some(stream) = end.stream.as_mut() else { return false };
        match state {
            SideState::Open => return false,
            SideState::Drop => {
                end.close();
                return false;
            }
            SideState::Finish => {}
        }
        let patience = self.tunnel.options().write_us[side.index()];
        let rest = end.rest.get_or_insert_default();
        let by = *rest.finish_by_us.get_or_insert(now.saturating_add(patience));
        let mut closed = now >= by;
        if !closed && !rest.shut {
            if !rest.pending.is_empty() || rest.unflushed {
                return false;
            }
            match Pin::new(&mut *stream).poll_shutdown(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => {
                    rest.shut = true;
                    rest.finish_by_us = Some(now.saturating_add(LINGER_US));
                }
                Poll::Ready(Err(_)) => closed = true,
            }
        }
        let (ended, more) = if closed { (true, false) } else { discard(stream, cx) };
        if ended {
            end.close();
        }
        more
    }
}

/// Reads on to the end of the stream, so that unread bytes do not turn our own end of stream into a reset. Says
/// whether it has ended, and whether there is more at once.
fn discard<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> (bool, bool) {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(&mut scratch.buffer);
        match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => (false, true),
            Poll::Ready(_) => (true, false),
            Poll::Pending => (false, false),
        }
    })
}

/// Payload and mask of a frame of ours.
fn random() -> [u8; 12] {
    let mut bytes = [0; 12];
    // The kernel's generator does not fail once it is seeded; zeros would only make a ping guessable.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

mod save;
pub use save::UnpackError;

#[cfg(test)]
mod tests;
