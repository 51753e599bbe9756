//! Errands past the tunnels of a pump: what others want to know of them, or wish of them.

use super::super::table::{Errand, Row, Shown, State};
use super::kernel::Kernel;
use super::thread::{STRIDE, Thread};

impl<K: Kernel> Thread<K> {
    /// Takes an errand; it is run in turn.
    pub(super) fn begin_errand(&mut self, errand: Box<Errand>) {
        if let Some((round, _)) = &errand.drain {
            self.drain = Some(round.drain().clone());
        }
        if errand.only.is_none() && errand.wish.is_some() {
            self.wish.clone_from(&errand.wish);
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
        if let Some(walk) = errand.walk.take() {
            walk.arrive();
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
        let wish = errand.wish.clone().or(planned);
        let mut wishes = wish.is_some();
        if let Some(wish) = wish {
            found.drive.obey(wish, self.now_us);
        }
        if let Some(walk) = &mut errand.walk {
            let Shown { stats, state, heard_us } = found.drive.shown();
            let closes_us = found.drive.planned().map(|planned| planned.at.0);
            let row = Row { about: found.keeper.about(), stats, state, heard_us, closes_us };
            if let Some(wish) = walk.pass(row) {
                wishes = true;
                found.drive.obey(wish, self.now_us);
            }
        }
        if wishes {
            self.queue(slot);
        }
        errand.only.is_some()
    }
}
