//! Pure: which sockets an idle run holds, and when it has seen enough.

use super::{Habit, Socket};
use crate::doctor::timers;

/// What an idle run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long silence is to last, in milliseconds.
    pub asked_ms: u64,
    /// How far apart the sockets are opened.
    pub stagger_ms: u64,
    /// How often the busy ones say something.
    pub every_ms: u64,
    /// What the sending one sends.
    pub message: String,
    /// Habit of each socket, and the age at which a silent one is spoken to.
    pub sockets: Vec<(Habit, u64)>,
}

impl Plan {
    /// For a silence of this many milliseconds. `message` is what the sending socket sends; without one there is none.
    pub fn new(asked_ms: u64, message: Option<&str>) -> Plan {
        let mut sockets = vec![(Habit::Silent, asked_ms), (Habit::Pinging, 0), (Habit::Silent, asked_ms)];
        sockets.push((if message.is_some() { Habit::Sending } else { Habit::Pinging }, 0));
        // The last of them is the end, at which two are spoken to already.
        let wakes = timers::wakes(asked_ms);
        sockets.extend(wakes.iter().rev().skip(1).map(|wake| (Habit::Silent, *wake)));
        Plan {
            asked_ms,
            // Not less: what a busy machine does too late must not look like another age.
            stagger_ms: (asked_ms / 10).clamp(1_000, 4_000),
            // Often, so that also short timers are met by sockets that have said something.
            every_ms: (asked_ms / 10).clamp(100, 1_000),
            message: message.unwrap_or_default().to_owned(),
            sockets,
        }
    }

    /// When the last silent one is spoken to.
    fn end_ms(&self) -> u64 {
        let ends = self.sockets.iter().zip(0..).map(|((_, wake), place)| wake + self.stagger_ms * place);
        ends.max().unwrap_or(self.asked_ms)
    }

    /// Whether enough was seen: the silent sockets are all over, and the busy ones have outlived them twice or have
    /// lived as long as was asked.
    pub fn is_done<'a>(&self, over: impl Iterator<Item = &'a Socket>, elapsed_ms: u64) -> bool {
        let (mut silent, mut enough_ms) = (0, 0);
        for socket in over.filter(|socket| socket.habit == Habit::Silent) {
            silent += 1;
            if socket.ended_by_far_end() {
                enough_ms = socket.age_ms().max(enough_ms);
            }
        }
        let wanted = self.sockets.iter().filter(|(habit, _)| *habit == Habit::Silent).count();
        // Busy ones were opened later than the first silent one.
        let busy_ms = elapsed_ms.saturating_sub(self.stagger_ms * 3);
        silent >= wanted && busy_ms >= (enough_ms * 2).min(self.asked_ms)
    }

    /// A line that says how far the run is.
    pub fn progress(&self, elapsed_ms: u64, ended: usize) -> String {
        let (now, end) = (elapsed_ms / 1000, self.end_ms().div_ceil(1000));
        let count = self.sockets.len();
        format!(
            "holding {count} WebSockets, silent and busy: {now} s of about {end} s, {ended} ended by the far end"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_silent_and_busy_sockets() {
        let plan = Plan::new(75_000, Some("x"));
        let of = |wanted: Habit| plan.sockets.iter().filter(|(habit, _)| *habit == wanted).count();
        assert_eq!((of(Habit::Silent), of(Habit::Pinging), of(Habit::Sending)), (3, 1, 1));
        assert_eq!(
            Plan::new(75_000, None).sockets.iter().filter(|(habit, _)| *habit == Habit::Pinging).count(),
            2
        );
        assert!(Plan::new(86_400_000, None).sockets.len() <= 12);
        let short = Plan::new(1_000, None);
        assert!(
            short.every_ms < short.asked_ms && short.progress(500, 0).contains("0 s of about"),
            "{short:?}"
        );
    }

    #[test]
    fn it_ends_when_the_busy_have_outlived_the_silent_twice() {
        let plan = Plan::new(600_000, None);
        let silent = plan.sockets.iter().filter(|(habit, _)| *habit == Habit::Silent).count();
        let socket = Socket { ended_ms: Some(60_000), ..Socket::default() };
        let over = vec![socket; silent];
        assert!(!plan.is_done(over.iter().skip(1), 600_000), "one is still held");
        assert!(!plan.is_done(over.iter(), 100_000));
        assert!(plan.is_done(over.iter(), 132_000));
        // Sockets that were spoken to leave nothing to wait for.
        let woken =
            vec![Socket { wake: Some(crate::doctor::idle::Wake::Answered), ..Socket::default() }; silent];
        assert!(plan.is_done(woken.iter(), 600_000));
    }
}
