//! What the tunnels of a pump have carried, those that have ended included: counted by each tunnel for itself, and added
//! up when somebody asks, some slots between two batches of events. So a message adds to nothing that others look at.
//!
//! The sum never falls, though tunnels come and go while it is made: one that leaves before the walk has come to its
//! slot is added as it was then, one that the walk has passed is not added again, and one that comes to a slot ahead is
//! found there. What a tunnel had carried before this pump took it is not the pump's.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::kernel::Kernel;
use super::thread::{STRIDE, Thread};
use crate::clock;
use crate::tunnel::table::{Place, State};
use crate::tunnel::tally::{Tally, Traffic};

/// A walk past the slots of a pump.
pub(super) struct Count {
    /// Open tunnels of each way; a way is known by where it lives.
    places: HashMap<usize, (Arc<Place>, usize)>,
    tally: Tally,
    /// The slot where it goes on.
    next: usize,
    to: oneshot::Sender<Tally>,
}

impl Count {
    /// One that has not begun.
    pub(super) fn new(to: oneshot::Sender<Tally>) -> Count {
        Count { places: HashMap::new(), tally: Tally::default(), next: 0, to }
    }
}

impl<K: Kernel> Thread<K> {
    /// Takes an order to count; it is run in turn.
    pub(super) fn begin_count(&mut self, mut count: Box<Count>) {
        count.tally.traffic = self.carried;
        self.counts.push_back(count);
    }

    /// Runs the first count past some more slots.
    pub(super) fn run_count(&mut self) {
        let Some(mut count) = self.counts.pop_front() else { return };
        // Whoever asked may have left.
        if count.to.is_closed() {
            return;
        }
        let end = self.slots.capacity();
        let until = count.next.saturating_add(STRIDE).min(end);
        for slot in count.next..until {
            let Some(found) = self.slots.get(slot) else { continue };
            count.tally.traffic.add(found.drive.stats());
            if found.drive.state() != State::Open {
                count.tally.closing += 1;
            }
            let place = found.keeper.place();
            let known = count.places.entry(std::ptr::from_ref::<Place>(place) as usize);
            known.or_insert_with(|| (found.keeper.about().place, 0)).1 += 1;
        }
        count.next = until;
        if until < end {
            return self.counts.push_front(count);
        }
        let Count { places, mut tally, to, .. } = *count;
        tally.places = places.into_values().collect();
        tally.pumps.push((self.slots.len(), clock::thread_us()));
        let _ = to.send(tally);
    }

    /// A tunnel leaves this slot, having carried so much.
    pub(super) fn left(&mut self, slot: usize, traffic: &Traffic) {
        self.carried += *traffic;
        self.ahead(slot).for_each(|count| count.tally.traffic += *traffic);
    }

    /// A tunnel comes to this slot that has carried so much before.
    pub(super) fn came(&mut self, slot: usize, traffic: &Traffic) {
        self.carried -= *traffic;
        self.ahead(slot).for_each(|count| count.tally.traffic -= *traffic);
    }

    /// The counts that have not come to this slot yet.
    fn ahead(&mut self, slot: usize) -> impl Iterator<Item = &mut Box<Count>> {
        self.counts.iter_mut().filter(move |count| count.next <= slot)
    }
}
