//! Somebody counts what the tunnels carry, all the time: no count is below the one before, and the last has all.

use tokio::sync::oneshot::{Receiver, channel};

use super::super::Thread;
use super::world::Sim;
use crate::tunnel::pump::tally::Count;
use crate::tunnel::tally::{Tally, Traffic};

/// Whoever counts.
#[derive(Default)]
pub(super) struct Counting {
    waiting: Vec<Receiver<Tally>>,
    last: Traffic,
}

impl Counting {
    /// Asks for a count.
    pub(super) fn ask(&mut self, thread: &mut Thread<Sim>) {
        let (to, answer) = channel();
        thread.begin_count(Box::new(Count::new(to)));
        self.waiting.push(answer);
    }

    /// Looks at those that have come.
    pub(super) fn look(&mut self) {
        while let Some(Ok(tally)) = self.waiting.first_mut().map(Receiver::try_recv) {
            self.waiting.remove(0);
            let numbers =
                |traffic: Traffic| traffic.0.map(|side| [side.messages, side.bytes, side.pings, side.pongs]);
            let (before, now) = (numbers(self.last), numbers(tally.traffic));
            let pairs = before.iter().flatten().zip(now.iter().flatten());
            assert!(pairs.into_iter().all(|(before, now)| before <= now), "{before:?} then {now:?}");
            self.last = tally.traffic;
        }
    }

    /// All tunnels have ended, and carried so much.
    pub(super) fn close(mut self, thread: &mut Thread<Sim>, carried: Traffic) {
        self.ask(thread);
        while !self.waiting.is_empty() {
            thread.run_count();
            self.look();
        }
        assert_eq!(self.last, carried);
    }
}
