//! The pings that we send to one end.

use alloc::boxed::Box;

use crate::scanner::Payload;
use crate::timer::Time;

/// What is known about our pings to one end. One ping is out at a time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Pinger {
    /// A ping waits for a boundary.
    pub(crate) due: bool,
    /// This end has answered a ping, so that it can be judged by the next.
    pub(crate) answered: bool,
    /// Held only while an answer may come.
    awaited: Option<Box<Awaited>>,
}

/// The answers that may come.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Awaited {
    /// The ping that has not been answered yet.
    pub(crate) out: Option<Out>,
    /// A ping that was sent more than once and answered once: the other answers may still come.
    pub(crate) late: Option<Payload>,
}

/// A ping that is out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Out {
    pub(crate) payload: Payload,
    /// When it left; `None` when its round trip says nothing: it was repeated, or we did not read all the while.
    pub(crate) sent: Option<Time>,
    pub(crate) repeated: bool,
}

impl Pinger {
    /// What is known of an end, from its parts.
    pub(crate) fn new(due: bool, answered: bool, awaited: Awaited) -> Pinger {
        let awaited = (awaited != Awaited::default()).then(|| Box::new(awaited));
        Pinger { due, answered, awaited }
    }

    pub(crate) fn awaited(&self) -> Awaited {
        self.awaited.as_deref().copied().unwrap_or_default()
    }

    /// A ping has not been answered yet.
    pub(crate) fn is_out(&self) -> bool {
        self.awaited().out.is_some()
    }

    /// The payloads by which a pong is known to be ours.
    pub(crate) fn payloads(&self) -> [Option<Payload>; 2] {
        let Awaited { out, late } = self.awaited();
        [out.map(|out| out.payload), late]
    }

    /// This end is to answer or be called dead.
    pub(crate) fn is_judged(&self) -> bool {
        self.answered && self.is_out()
    }

    /// A ping leaves. One that repeats an unanswered ping carries the same payload, so that a late pong is known.
    pub(crate) fn send(&mut self, fresh: Payload, now: Time) -> Payload {
        let Awaited { out, late } = self.awaited();
        let out = match out {
            Some(out) => Out { sent: None, repeated: true, ..out },
            None => Out { payload: fresh, sent: Some(now), repeated: false },
        };
        *self = Pinger::new(false, self.answered, Awaited { out: Some(out), late });
        out.payload
    }

    /// A pong of ours came. Returns the round trip in microseconds where there is one to speak of.
    pub(crate) fn answer(&mut self, payload: Payload, now: Time) -> Option<u64> {
        let Awaited { out, late } = self.awaited();
        let out = out.filter(|out| out.payload == payload)?;
        let late = if out.repeated { Some(payload) } else { late };
        *self = Pinger::new(self.due, true, Awaited { out: None, late });
        out.sent.map(|sent| now.since(sent))
    }

    /// We do not read from this end for a while, so a round trip would tell more about us.
    pub(crate) fn unmeasured(&mut self) {
        if let Some(out) = self.awaited.as_mut().and_then(|awaited| awaited.out.as_mut()) {
            out.sent = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_ping_keeps_its_payload_and_gives_no_round_trip() {
        let mut pinger = Pinger::default();
        assert_eq!(pinger.send([1; 8], Time(10)), [1; 8]);
        assert_eq!(pinger.send([2; 8], Time(20)), [1; 8]);
        assert_eq!(pinger.answer([1; 8], Time(25)), None);
        assert!(pinger.answered && !pinger.is_out());
        // The second answer is still ours, even when the next ping is out already.
        assert_eq!(pinger.send([3; 8], Time(40)), [3; 8]);
        assert_eq!(pinger.payloads(), [Some([3; 8]), Some([1; 8])]);
        assert_eq!(pinger.answer([1; 8], Time(41)), None);
        assert!(pinger.is_judged());
        assert_eq!(pinger.answer([3; 8], Time(42)), Some(2));
    }
}
