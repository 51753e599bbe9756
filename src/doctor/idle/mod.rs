//! Several WebSockets held open for a time, each with a habit of its own, and what became of them.
//!
//! Silent sockets find timers of silence. One that pings and one that sends messages show what keeps a connection
//! open, and find limits of age. All are opened one after the other, so that what happens at one age and what happens
//! at one moment are different things. A silent socket is spoken to at the end of its time: a connection that was
//! forgotten on the way looks open until then.

pub mod hold;
pub mod judge;
mod plan;
pub mod words;

pub use plan::Plan;
use serde::Serialize;

use super::facts::Ending;

/// What was seen. Times are milliseconds since the run began.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Idle {
    /// How long silence was to last.
    pub asked_ms: u64,
    /// How far apart the sockets were opened.
    pub stagger_ms: u64,
    /// How often the busy ones said something.
    pub every_ms: u64,
    /// What the sending one sent.
    pub message: String,
    /// Each socket, in the order of opening.
    pub sockets: Vec<Socket>,
    /// Status of one more handshake when all was over.
    pub afterwards: Option<u16>,
    /// How long the run took.
    pub elapsed_ms: u64,
}

/// What a held socket does.
#[derive(Serialize, Default, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Habit {
    /// Says nothing, and answers pings as a browser does.
    #[default]
    Silent,
    /// Pings now and then.
    Pinging,
    /// Sends a message now and then.
    Sending,
}

/// One socket.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Socket {
    /// What it does.
    pub habit: Habit,
    /// Of a silent one: the age at which it is spoken to.
    pub wake_ms: u64,
    /// When its handshake was done.
    pub opened_ms: u64,
    /// Why it could not be opened.
    pub refused: Option<String>,
    /// When the last byte was sent.
    pub spoke_ms: u64,
    /// When the last byte came.
    pub heard_ms: u64,
    /// Pings or messages that it sent of its own accord.
    pub said: u32,
    /// Pings that came, and were answered.
    pub pings_heard: u32,
    /// Pongs that came.
    pub pongs_heard: u32,
    /// Messages that came.
    pub messages_heard: u32,
    /// What speaking to a silent one brought.
    pub wake: Option<Wake>,
    /// When the far end ended it.
    pub ended_ms: Option<u64>,
    /// How the far end ended it.
    pub ending: Option<Ending>,
    /// When it was no longer watched, whoever ended it.
    pub over_ms: u64,
}

/// What came back when a silent socket was spoken to.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Wake {
    /// A Pong, or anything else.
    Answered,
    /// The connection's end.
    Reset,
    /// Nothing.
    Unanswered,
}

/// An end that comes so soon after a socket's first words, in milliseconds, is an answer to them.
const AT_ONCE_MS: u64 = 2_000;

impl Socket {
    /// How old it became.
    pub fn age_ms(&self) -> u64 {
        self.ended_ms.unwrap_or(self.over_ms).saturating_sub(self.opened_ms)
    }

    /// How long nothing was sent or heard before its end.
    pub fn silence_ms(&self) -> u64 {
        self.ended_ms
            .unwrap_or(self.over_ms)
            .saturating_sub(self.spoke_ms.max(self.heard_ms).max(self.opened_ms))
    }

    /// The far end ended it, and not because it was spoken to after a silence.
    pub fn ended_by_far_end(&self) -> bool {
        self.ended_ms.is_some() && self.wake.is_none()
    }

    /// A silence in milliseconds that did it no harm.
    pub fn silent_ms_survived(&self) -> u64 {
        if self.habit == Habit::Silent
            && self.wake == Some(Wake::Answered)
            && self.pings_heard + self.messages_heard == 0
        {
            self.wake_ms
        } else {
            0
        }
    }

    /// Whether it was open at that time.
    pub fn was_open_at(&self, ms: u64) -> bool {
        self.opened_ms <= ms && ms <= self.ended_ms.unwrap_or(self.over_ms)
    }

    /// Of a busy one: whether its fate says something about the road. One that ended before it had said anything was
    /// not busy yet, and one whose first words were answered with the end met an application that does not know them.
    pub fn is_witness(&self) -> bool {
        let soon = self.ended_ms.is_some_and(|ended| ended.saturating_sub(self.spoke_ms) < AT_ONCE_MS);
        !self.ended_by_far_end() || (self.said > 0 && !(self.said == 1 && soon))
    }
}
