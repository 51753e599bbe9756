//! Errands past the tunnels of a pump: what others want to know of them, or wish of them.

use super::super::table::{Errand, Row, State};
use super::kernel::Kernel;
use super::thread::Thread;

/// Slots that an errand passes between two batches of events: some ten microseconds.
const STRIDE: usize = 128;

impl<K: Kernel> Thread<K> {
    /// Takes an errand; it is run in turn.
    pub(super) fn begin_errand(&mut self, mut errand: Box<Errand>) {
        if let Some((round, _)) = &errand.drain {
            self.drain = Some(round.drain().clone());
        }
        if errand.only.is_none() {
            if errand.wish.is_some() {
                self.wish = errand.wish;
            }
            if errand.to.is_some() {
                // Room for all at once: growing would copy what is there, again and again.
                errand.rows.reserve(self.slots.len());
            }
        }
        self.errands.push_back(errand);
    }

    /// Runs the first errand past some more slots.
    pub(super) fn run_errand(&mut self) {
        let Some(mut errand) = self.errands.pop_front() else { return };
        let end = self.slots.capacity();
        let until = errand.next.saturating_add(STRIDE).min(end);
        let mut over = errand.is_idle();
        for slot in errand.next..until {
            if over {
                break;
            }
            over = self.visit(slot, &mut errand);
        }
        errand.next = until;
        if !over && until < end {
            return self.errands.push_front(errand);
        }
        // Whoever asked may have left.
        if let Some((mut round, to)) = errand.drain.take() {
            let Some(count) = round.turn() else {
                (errand.drain, errand.next) = (Some((round, to)), 0);
                return self.errands.push_front(errand);
            };
            let _ = to.send(count);
        }
        if let Some(to) = errand.to.take() {
            let _ = to.send(errand.rows);
        }
    }

    /// True when the errand is done.
    fn visit(&mut self, slot: usize, errand: &mut Errand) -> bool {
        let Some(found) = self.slots.get_mut(slot) else { return false };
        if errand.only.is_some_and(|id| id != found.keeper.id()) {
            return false;
        }
        let round = errand.drain.as_mut().filter(|_| found.drive.state() == State::Open);
        let planned = round.and_then(|(round, _)| round.pass(found.keeper.place(), found.drive.planned()));
        let wish = errand.wish.or(planned);
        if let Some(wish) = wish {
            found.drive.obey(wish, self.now_us);
        }
        if errand.to.is_some() {
            let (stats, state) = (*found.drive.stats(), found.drive.state());
            errand.rows.push(Row { about: found.keeper.about(), stats, state });
        }
        if wish.is_some() {
            self.queue(slot);
        }
        errand.only.is_some()
    }
}
