//! Drives a tunnel over async streams, as a task of the runtime. For what cannot
//! leave rustls; the pump takes the rest.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use longwire_wire::Tunnel;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::Live;
use super::drive::{Drive, Ends, Report};
use crate::clock;

struct Relay<'a, S> {
    drive: Drive<S>,
    live: &'a Live,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` is set to.
    armed_us: u64,
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
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        Relay { drive: Drive::new(tunnel, ends), live, sleep, armed_us: 0 }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Report> {
        let now = clock::now_us();
        if let Some(wish) = self.live.take_command(cx.waker()) {
            self.drive.obey(wish, now);
        }
        let again = self.drive.turn(now, cx, |_| true) | self.poll_clock(cx);
        self.live.publish(self.drive.shown());
        match self.drive.report() {
            Some(report) => Poll::Ready(report),
            None => {
                if again {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    /// Sets the clock. True when it has run out already.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = self.drive.next_us() else { return false };
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
}

#[cfg(test)]
mod tests;
