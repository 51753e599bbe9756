//! Drives a tunnel over async streams.
//!
//! Bytes are read into one buffer per thread, looked at in place, and written on from there; a tunnel keeps bytes of
//! its own only while an end does not take them. While such bytes wait, nothing is read from the end they came from.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use longwire_wire::{Outcome, Pair, Plan, Side, SideState, Stats, Time, Tunnel};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Live;
use crate::clock;

/// One read takes at most this much.
const BUFFER: usize = 64 * 1024;
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
}

struct Scratch {
    buffer: Box<[u8]>,
    plan: Plan,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { buffer: vec![0; BUFFER].into_boxed_slice(), plan: Plan::default() });
}

struct Relay<'a, S> {
    tunnel: Tunnel,
    ends: Pair<End<S>>,
    live: &'a Live,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` is set to.
    armed_us: u64,
}

struct End<S> {
    /// `None` once it is closed.
    stream: Option<S>,
    early: Bytes,
    /// To be written to it.
    pending: Vec<u8>,
    /// The stream took bytes that it has not sent (TLS).
    unflushed: bool,
    /// Set once the tunnel is done with it: until then it has to take some of what is pending, or to close TCP.
    finish_by_us: Option<u64>,
    /// Writing was shut down.
    shut: bool,
}

/// Runs a tunnel to its end.
pub async fn relay<S>(tunnel: Tunnel, ends: Ends<S>, live: &Live) -> Report
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut relay = Relay::new(tunnel, ends, live);
    poll_fn(|cx| relay.poll(cx)).await
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Relay<'a, S> {
    fn new(tunnel: Tunnel, ends: Ends<S>, live: &'a Live) -> Self {
        let end = |stream, early| End {
            stream: Some(stream),
            early,
            pending: Vec::new(),
            unflushed: false,
            finish_by_us: None,
            shut: false,
        };
        Relay {
            tunnel,
            ends: Pair {
                client: end(ends.streams.client, ends.early.client),
                backend: end(ends.streams.backend, ends.early.backend),
            },
            live,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed_us: 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Report> {
        if let Some((code, cause)) = self.live.take_command(cx.waker()) {
            self.tunnel.close(code, cause, Time(clock::now_us()));
        }
        self.poll_ends(clock::now_us(), cx);
        let mut again = true;
        for _ in 0..ROUNDS {
            let now = clock::now_us();
            if self.tunnel.poll_timeout().is_some_and(|at| at.0 <= now) {
                self.tunnel.handle_timeout(Time(now));
            }
            again = Side::BOTH.into_iter().fold(false, |again, side| self.poll_read(side, now, cx) | again);
            again |= self.poll_ends(now, cx);
            again |= self.poll_clock(cx);
            if !again {
                break;
            }
        }
        self.live.publish(self.tunnel.stats());
        if let Some(outcome) = self.tunnel.outcome()
            && Side::BOTH.iter().all(|&side| self.ends[side].stream.is_none())
        {
            return Poll::Ready(Report { outcome: *outcome, stats: *self.tunnel.stats() });
        }
        if again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// True when an end failed: that may concern the other one, which had its turn before.
    fn poll_ends(&mut self, now: u64, cx: &mut Context<'_>) -> bool {
        Side::BOTH.into_iter().fold(false, |failed, side| {
            let fails = self.poll_write(side, now, cx);
            self.poll_close(side, now, cx);
            failed | fails
        })
    }

    /// Sets the clock. True when it has run out already.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> bool {
        let finishing = Side::BOTH.iter().filter_map(|&side| {
            let end = &self.ends[side];
            end.finish_by_us.filter(|_| end.stream.is_some())
        });
        let next = finishing.chain(self.tunnel.poll_timeout().map(|at| at.0)).min();
        let Some(next) = next.filter(|at| *at != u64::MAX) else { return false };
        // Activity only moves deadlines later: an early alarm just asks again, and no message re-arms it.
        if self.armed_us == 0 || next < self.armed_us {
            self.armed_us = next;
            self.sleep.as_mut().reset(clock::instant(next));
        }
        let rang = self.sleep.as_mut().poll(cx).is_ready();
        if rang {
            self.armed_us = 0;
        }
        rang
    }

    /// Reads once from an end and writes on to the other. True when there may be more.
    fn poll_read(&mut self, from: Side, now: u64, cx: &mut Context<'_>) -> bool {
        let to = from.other();
        let other = &self.ends[to];
        if !other.pending.is_empty() || other.unflushed || !self.tunnel.wants_read(from) {
            return false;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let end = &mut self.ends[from];
            let Some(stream) = end.stream.as_mut() else { return false };
            let result = if end.early.is_empty() {
                let mut buffer = ReadBuf::new(&mut scratch.buffer);
                match Pin::new(stream).poll_read(cx, &mut buffer) {
                    Poll::Pending => return false,
                    Poll::Ready(result) => result.map(|()| buffer.filled().len()),
                }
            } else {
                let count = end.early.len().min(BUFFER);
                scratch.buffer[..count].copy_from_slice(&end.early.split_to(count));
                Ok(count)
            };
            if end.early.is_empty() {
                // Lets go of the buffer that the head came in.
                end.early = Bytes::new();
            }
            match result {
                Ok(0) => self.tunnel.handle_eof(from, Time(now)),
                // A TLS peer that closes TCP without close_notify: the frames say whether anything is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.tunnel.handle_eof(from, Time(now));
                }
                Err(_) => self.tunnel.handle_error(from, Time(now)),
                Ok(count) => {
                    let input = &scratch.buffer[..count];
                    self.tunnel.handle_read(from, input, Time(now), &mut random, &mut scratch.plan);
                    self.forward(to, input, &scratch.plan, now, cx);
                }
            }
            true
        })
    }

    /// Writes a plan to an end; what it does not take waits in `pending`, which is empty before.
    fn forward(&mut self, to: Side, input: &[u8], plan: &Plan, now: u64, cx: &mut Context<'_>) {
        let end = &mut self.ends[to];
        let Some(stream) = end.stream.as_mut() else { return };
        if plan.whole() {
            match Pin::new(stream).poll_write(cx, input) {
                Poll::Ready(Ok(count)) => {
                    end.unflushed = true;
                    end.pending.extend_from_slice(&input[count..]);
                }
                Poll::Ready(Err(_)) => return self.tunnel.handle_error(to, Time(now)),
                Poll::Pending => end.pending.extend_from_slice(input),
            }
        } else {
            plan.segments(input).for_each(|segment| end.pending.extend_from_slice(segment));
        }
        self.poll_write(to, now, cx);
    }

    /// Writes what waits for an end, with frames of our own behind it. True when the end failed.
    fn poll_write(&mut self, to: Side, now: u64, cx: &mut Context<'_>) -> bool {
        while let Some(frame) = self.tunnel.poll_transmit(to, Time(now), &mut random) {
            self.ends[to].pending.extend_from_slice(&frame);
        }
        let end = &mut self.ends[to];
        let Some(stream) = end.stream.as_mut() else {
            end.pending = Vec::new();
            return false;
        };
        if end.pending.is_empty() && !end.unflushed {
            return false;
        }
        let mut written = 0;
        let result = loop {
            if written == end.pending.len() {
                break Pin::new(&mut *stream).poll_flush(cx);
            }
            match Pin::new(&mut *stream).poll_write(cx, &end.pending[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if written == end.pending.len() {
            // Nothing waits, so nothing is held: the next tunnel may need the memory.
            end.pending = Vec::new();
        } else {
            end.pending.drain(..written);
        }
        end.unflushed = result.is_pending();
        if written > 0 {
            // It still takes bytes: that counts anew from here.
            end.finish_by_us = None;
        }
        match result {
            Poll::Ready(Ok(())) => self.tunnel.handle_flushed(to, Time(now)),
            Poll::Ready(Err(_)) => {
                self.tunnel.handle_error(to, Time(now));
                return true;
            }
            Poll::Pending => self.tunnel.handle_blocked(to, written > 0, Time(now)),
        }
        false
    }

    /// Closes an end as far as the tunnel is done with it.
    fn poll_close(&mut self, side: Side, now: u64, cx: &mut Context<'_>) {
        let state = self.tunnel.side(side);
        let end = &mut self.ends[side];
        let Some(stream) = end.stream.as_mut() else { return };
        match state {
            SideState::Open => return,
            SideState::Drop => return end.stream = None,
            SideState::Finish => {}
        }
        let patience = self.tunnel.options().write_us[side.index()];
        let by = *end.finish_by_us.get_or_insert(now.saturating_add(patience));
        if now >= by {
            return end.stream = None;
        }
        if !end.shut {
            if !end.pending.is_empty() || end.unflushed {
                return;
            }
            match Pin::new(&mut *stream).poll_shutdown(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {
                    end.shut = true;
                    end.finish_by_us = Some(now.saturating_add(LINGER_US));
                }
                Poll::Ready(Err(_)) => return end.stream = None,
            }
        }
        if poll_discard(stream, cx).is_ready() {
            end.stream = None;
        }
    }
}

/// Reads on to the end of the stream, so that unread bytes do not turn our own end of stream into a reset.
fn poll_discard<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        for _ in 0..ROUNDS {
            let mut buffer = ReadBuf::new(&mut scratch.buffer);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Payload and mask of a frame of ours.
fn random() -> [u8; 12] {
    let mut bytes = [0; 12];
    // The kernel's generator does not fail once it is seeded; zeros would only make a ping guessable.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
