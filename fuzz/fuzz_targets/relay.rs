//! The input drives a relay: what both ends say, how reads and writes are cut and put off, ends of streams, errors,
//! the clock and its leaps.
#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use longwire::clock;
use longwire::route::facts::Peer;
use longwire::tunnel::{About, Ends, Live, Report, relay};
use longwire_wire::frame::{Header, OpCode};
use longwire_wire::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, advance, sleep, timeout};

const SECOND: u64 = 1_000_000;

/// What a stream does at its next read or write.
enum Act {
    /// Gives these bytes.
    Say(Vec<u8>),
    /// Takes so many bytes.
    Take(usize),
    Nap(u64),
    End,
    Fail,
}

#[derive(Default)]
struct Stream {
    /// Reading and writing.
    acts: [VecDeque<Act>; 2],
    naps: [Option<Pin<Box<Sleep>>>; 2],
    /// When nothing is left to do: ends, or stays silent.
    stays: bool,
    wrote: Rc<RefCell<Vec<u8>>>,
}

impl Stream {
    fn act(&mut self, which: usize, cx: &mut Context<'_>) -> Poll<Option<Act>> {
        loop {
            if let Some(nap) = &mut self.naps[which] {
                ready!(nap.as_mut().poll(cx));
                self.naps[which] = None;
            }
            match self.acts[which].pop_front() {
                Some(Act::Nap(ms)) => self.naps[which] = Some(Box::pin(sleep(Duration::from_millis(ms)))),
                act => return Poll::Ready(act),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.act(0, cx)) {
            Some(Act::Say(bytes)) => to.put_slice(&bytes),
            Some(Act::Fail) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None if self.stays => return Poll::Pending,
            _ => self.acts[0].push_front(Act::End),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = match ready!(self.act(1, cx)) {
            Some(Act::Take(count)) => count.min(bytes.len()),
            Some(Act::Fail) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            _ => bytes.len(),
        };
        self.wrote.borrow_mut().extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A nap before the next act holds up what was taken already, as TLS does.
        if let Some(Act::Nap(_)) = self.acts[1].front() {
            let act = ready!(self.act(1, cx));
            act.into_iter().for_each(|act| self.acts[1].push_front(act));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What was written is frames: those that the other end said, in order, with pings and at most one Close of ours.
fn check(wire: &[u8], mut said: &[u8], report: &Report, side: Side) {
    let (mut rest, mut pings, mut closed) = (wire, 0, false);
    while let Some((header, size)) = Header::parse(rest).expect("nothing invalid passes") {
        assert!(!closed, "nothing follows a Close");
        closed = header.opcode == OpCode::Close;
        let whole = (size as u64).saturating_add(header.len);
        let (frame, more) = rest.split_at(whole.min(rest.len() as u64) as usize);
        rest = more;
        if let Some(unsaid) = said.strip_prefix(frame) {
            said = unsaid;
        } else if closed {
            assert!(report.outcome.code_to[side.index()].is_some());
        } else {
            assert!(header.opcode == OpCode::Ping && header.len == 8, "only a ping of ours may come between");
            pings += 1;
        }
    }
    assert!(pings <= report.stats[side].pings);
    assert!(rest.is_empty() || said.starts_with(rest) || matches!(rest[0], 0x88 | 0x89), "part of a header");
}

/// Closes the tunnel and lets the clock leap, each in its time.
async fn disturb(live: &Live, close_ms: Option<u64>, leaps: Vec<u64>) {
    for seconds in leaps {
        sleep(Duration::from_secs(2)).await;
        advance(Duration::from_secs(seconds)).await;
    }
    if let Some(ms) = close_ms {
        sleep(Duration::from_millis(ms)).await;
        live.close(CloseCode::GOING_AWAY, Cause::Shutdown);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, mut rest)) = input.split_first() else { return };
    let options = Options {
        ping: (how & 1 == 0).then_some(Ping { interval_us: 3 * SECOND, timeout_us: SECOND }),
        idle_us: 75 * SECOND,
        write_us: [60 * SECOND; 2],
        close_us: 5 * SECOND,
        max_message: (how & 2 == 0).then_some(1000),
        rate: None,
        rsv: how >> 5,
    };
    let (mut streams, mut said, mut early): (Pair<Stream>, Pair<Vec<u8>>, Pair<Vec<u8>>) = Default::default();
    let (mut close_ms, mut leaps) = (None, Vec::new());
    for side in Side::BOTH {
        streams[side].stays = how & (4 << side.index()) == 0;
    }
    while let [what, amount, more @ ..] = rest {
        let (side, amount) = (Side::BOTH[usize::from(*what) & 1], u64::from(*amount));
        let [reads, writes] = &mut streams[side].acts;
        rest = more;
        match (what >> 1) % 16 {
            0 => reads.push_back(Act::End),
            1 => reads.push_back(Act::Fail),
            2 => writes.push_back(Act::Fail),
            3 => close_ms = Some(amount * 100),
            4 => leaps.push(amount),
            5..7 => reads.push_back(Act::Nap(amount * amount)),
            7..9 => writes.push_back(Act::Nap(amount * amount)),
            9..11 => writes.push_back(Act::Take(amount.max(1) as usize)),
            what => {
                let (bytes, more) = rest.split_at(rest.len().min(amount as usize));
                rest = more;
                // An empty read would be the end of the stream.
                if reads.iter().any(|act| matches!(act, Act::End | Act::Fail)) || bytes.is_empty() {
                    continue;
                }
                said[side].extend(bytes);
                match what {
                    11 if reads.is_empty() => early[side].extend(bytes),
                    _ => reads.push_back(Act::Say(bytes.to_vec())),
                }
            }
        }
    }
    let wrote = Pair { client: streams.client.wrote.clone(), backend: streams.backend.wrote.clone() };
    clock::now_us(); // begins before any paused clock does
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let report = runtime.block_on(async {
        let client = Peer::Unix(String::new());
        let live = Live::new(About { id: 1, client, opened_us: 0, place: Arc::default(), tls: [None; 2] });
        let early = Pair { client: early.client.into(), backend: early.backend.into() };
        let tunnel = Tunnel::new(options, Time(clock::now_us()));
        let mut relay = std::pin::pin!(relay(tunnel, Ends { streams, early }, &live));
        let disturbed = timeout(Duration::from_secs(100_000), async {
            tokio::select! {
                report = &mut relay => return report,
                () = disturb(&live, close_ms, leaps) => {}
            }
            relay.await
        });
        disturbed.await.expect("an end")
    });
    for side in Side::BOTH {
        check(&wrote[side].borrow(), &said[side.other()], &report, side);
    }
});
