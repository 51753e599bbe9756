//! Single turns of a tunnel over streams that give and take what they are told to.

use std::collections::VecDeque;
use std::task::Waker;

use fastrand::Rng;
use longwire_wire::frame::OpCode;
use longwire_wire::{Options, Ping};

use super::*;
use crate::tunnel::speech::frame;

const SECOND: u64 = 1_000_000;

/// A stream that gives and takes what it was told to; then nothing.
#[derive(Default)]
struct Played {
    reads: VecDeque<Vec<u8>>,
    /// How many bytes a write takes; `None` fails.
    writes: VecDeque<Option<usize>>,
    written: Vec<u8>,
}

impl AsyncRead for Played {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(bytes) = self.reads.pop_front() else { return Poll::Pending };
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Played {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.writes.pop_front() {
            None => Poll::Pending,
            Some(None) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Some(most)) => {
                let count = most.min(buf.len());
                self.written.extend(&buf[..count]);
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drive<Played> {
    fn played(options: Options) -> Drive<Played> {
        let streams = Pair { client: Played::default(), backend: Played::default() };
        let ends = Ends { streams, early: Pair { client: Bytes::new(), backend: Bytes::new() } };
        Drive::new(Tunnel::new(options, Time(0)), ends)
    }

    fn played_at(&mut self, side: Side) -> &mut Played {
        self.ends[side].stream.as_mut().expect("it is open")
    }

    /// Turns until there is nothing more to do.
    fn settle_at(&mut self, now: u64) {
        for _ in 0..10 {
            if !self.turn(now, &mut Context::from_waker(Waker::noop()), |_| true) {
                return;
            }
        }
        panic!("it turns on the spot");
    }
}

fn options(ping: Option<Ping>) -> Options {
    let (idle_us, write_us, close_us) = (60 * SECOND, [4 * SECOND; 2], 5 * SECOND);
    Options { ping, idle_us, write_us, close_us, max_message: None, rsv: 0, rate: None }
}

fn text(from: Side) -> Vec<u8> {
    frame(&mut Rng::with_seed(1), from, true, OpCode::Text, b"hello".to_vec())
}

/// What waited for the end that failed held back the other one, whose answer was there, until its time was over.
#[test]
fn an_end_that_failed_holds_nothing_back() {
    let mut drive = Drive::played(options(None));
    drive.played_at(Side::Client).reads.push_back(text(Side::Client));
    drive.played_at(Side::Backend).writes.push_back(Some(1));
    drive.settle_at(1);
    assert!(drive.ends.backend.waits());
    drive.played_at(Side::Client).reads.push_back(text(Side::Client));
    drive.played_at(Side::Client).writes.push_back(Some(1000));
    drive.played_at(Side::Backend).writes.push_back(None);
    drive.settle_at(2);
    assert!(!drive.played_at(Side::Client).written.is_empty(), "it is told");
    assert!(drive.played_at(Side::Client).reads.is_empty(), "it is read from");
}

/// This process slept past the time for a write, but the end takes bytes again.
#[test]
fn a_write_that_goes_on_is_not_called_blocked() {
    let mut drive = Drive::played(options(None));
    drive.played_at(Side::Client).reads.push_back(text(Side::Client));
    drive.played_at(Side::Backend).writes.push_back(Some(1));
    drive.settle_at(1);
    drive.played_at(Side::Backend).writes.push_back(Some(1000));
    drive.settle_at(5 * SECOND);
    assert!(!drive.tunnel.is_ending());
    assert_eq!(drive.played_at(Side::Backend).written, text(Side::Client));
}

/// It slept past the time for a pong, which was there in time.
#[test]
fn a_pong_that_waits_to_be_read_counts() {
    let ping = Ping { interval_us: 3 * SECOND, timeout_us: 2 * SECOND };
    let mut drive = Drive::played(options(Some(ping)));
    let mut at = 1;
    for round in 0..2 {
        at += 3 * SECOND;
        drive.played_at(Side::Client).writes.push_back(Some(1000));
        drive.played_at(Side::Backend).writes.push_back(Some(1000));
        drive.settle_at(at);
        let written = std::mem::take(&mut drive.played_at(Side::Client).written);
        let payload = written[written.len() - 8..].to_vec();
        let pong = frame(&mut Rng::with_seed(1), Side::Client, true, OpCode::Pong, payload);
        drive.played_at(Side::Client).reads.push_back(pong);
        // The first answer shows that it answers; the second is looked at late.
        at += if round == 0 { 1 } else { 3 * SECOND };
        drive.settle_at(at);
    }
    assert_eq!(drive.stats().client.pongs, 2);
    assert!(!drive.tunnel.is_ending());
}

/// What held back the other end is gone with the end that took nothing for too long.
#[test]
fn an_end_that_is_given_up_holds_nothing_back() {
    let mut drive = Drive::played(options(None));
    drive.played_at(Side::Client).reads.push_back(text(Side::Client));
    drive.played_at(Side::Backend).writes.push_back(Some(1));
    drive.settle_at(1);
    drive.played_at(Side::Client).reads.push_back(text(Side::Client));
    drive.played_at(Side::Client).writes.push_back(Some(1000));
    drive.settle_at(5 * SECOND);
    assert!(drive.tunnel.is_ending());
    assert!(drive.played_at(Side::Client).reads.is_empty(), "it is read from");
}

/// However much comes from one tunnel, a turn of it ends.
#[test]
fn a_busy_tunnel_lets_others_have_their_turn() {
    let mut drive = Drive::played(options(None));
    let all = 10 * ROUNDS;
    drive.played_at(Side::Client).reads.extend((0..all).map(|_| text(Side::Client)));
    drive.played_at(Side::Backend).writes.extend((0..all).map(|_| Some(1000)));
    assert!(drive.turn(1, &mut Context::from_waker(Waker::noop()), |_| true), "there is more");
    assert_eq!(drive.played_at(Side::Client).reads.len(), all - ROUNDS);
}
