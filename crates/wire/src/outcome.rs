//! Why a tunnel ended, and what it counted.

use alloc::sync::Arc;
use core::fmt;

use crate::close::CloseCode;
use crate::frame::Violation;
use crate::side::{Pair, Party, Side};

/// How a tunnel ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Who ended it.
    pub ended_by: Party,
    /// Why.
    pub cause: Cause,
    /// The code of the Close frame that each end sent, by [`Side::index`]; 1005 when the frame held none.
    pub code_from: [Option<u16>; 2],
    /// The code of the Close frame that we sent to each end, by [`Side::index`].
    pub code_to: [Option<u16>; 2],
}

/// What the Close frames of ours say, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Farewell {
    /// The code.
    pub code: CloseCode,
    /// Why.
    pub cause: Cause,
    /// What an operator wants to be said, at most 123 bytes of it; without it the cause speaks.
    pub words: Option<Arc<str>>,
}

impl From<(CloseCode, Cause)> for Farewell {
    fn from((code, cause): (CloseCode, Cause)) -> Farewell {
        Farewell { code, cause, words: None }
    }
}

/// The end of a tunnel, once it is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// [`Farewell::words`].
    pub(crate) words: Option<Arc<str>>,
}

impl Ending {
    /// What our Close frame tells an end.
    pub(crate) fn reason_for(&self, side: Side) -> &str {
        self.words.as_deref().unwrap_or_else(|| self.outcome.reason_for(side))
    }
}

/// Every reason for which a tunnel ends. Together with [`Outcome::ended_by`] it tells the story.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// An end sent a Close frame: the application is done (section 7).
    Closed,
    /// An end ended the TCP connection without a Close frame.
    Fin,
    /// Reading from or writing to an end failed: a TCP reset, a TLS error.
    Reset,
    /// An end that used to answer pings stopped answering.
    DeadPeer,
    /// Neither end sent a byte for the idle time.
    Idle,
    /// An end took no bytes for the write time.
    WriteBlocked,
    /// An end broke RFC 6455.
    ProtocolViolation(Violation),
    /// An end sent a message over the limit.
    MessageTooBig,
    /// An end sent more in a time than it may.
    TooFast,
    /// The proxy stops.
    Shutdown,
    /// The proxy, or the backend behind it, is being emptied.
    Drain,
    /// An operator closed this tunnel.
    Operator,
}

impl Cause {
    /// What happened, in at most 60 bytes, for logs and for the reason of a Close frame.
    pub fn sentence(self) -> &'static str {
        match self {
            Cause::Closed => "closed by the application",
            Cause::Fin => "connection ended without a Close frame",
            Cause::Reset => "connection broke",
            Cause::DeadPeer => "no pong came in time",
            Cause::Idle => "no traffic in either direction for too long",
            Cause::WriteBlocked => "took no data for too long",
            Cause::ProtocolViolation(violation) => violation.sentence(),
            Cause::MessageTooBig => "message larger than allowed",
            Cause::TooFast => "sent more at a time than allowed",
            Cause::Shutdown => "proxy is shutting down",
            Cause::Drain => "connections are being moved away, come back",
            Cause::Operator => "closed by an operator",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl Outcome {
    /// What our Close frame tells an end. To an innocent end the other one is simply gone.
    pub(crate) fn reason_for(&self, side: Side) -> &'static str {
        match (self.ended_by, side) {
            (Party::Client, Side::Backend) => "client gone",
            (Party::Backend, Side::Client) => "backend gone",
            _ => self.cause.sentence(),
        }
    }
}

/// What was counted at each end.
pub type Stats = Pair<SideStats>;

/// What was counted at one end. Small, for every tunnel has two: what is seldom stops at 2^32 - 1.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct SideStats {
    /// Bytes read from this end.
    pub bytes: u64,
    /// Messages read from this end, counted at the header of their last frame.
    pub messages: u64,
    /// Control frames read from this end, without the answers to our pings.
    pub control: u32,
    /// Pings that we sent to this end.
    pub pings: u32,
    /// Answers to our pings.
    pub pongs: u32,
    /// Round trips of our pings to this end.
    pub rtt: Rtt,
}

/// Round trip times in microseconds, at most 2^32 - 1 (over an hour); all 0 before the first.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Rtt {
    /// How many were measured.
    pub count: u32,
    /// The latest.
    pub last: u32,
    /// The shortest.
    pub min: u32,
    /// The longest.
    pub max: u32,
    /// All of them together; see [`Rtt::mean`].
    pub sum: u64,
}

impl Rtt {
    /// The mean in microseconds.
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count.into()).unwrap_or(0)
    }

    pub(crate) fn add(&mut self, us: u64) {
        let us = u32::try_from(us).unwrap_or(u32::MAX);
        self.min = if self.count == 0 { us } else { self.min.min(us) };
        self.max = self.max.max(us);
        self.last = us;
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(us.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_add_up() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.mean(), 0);
        for us in [30, 10, 20] {
            rtt.add(us);
        }
        assert_eq!((rtt.last, rtt.min, rtt.max, rtt.mean()), (20, 10, 30, 20));
    }
}
