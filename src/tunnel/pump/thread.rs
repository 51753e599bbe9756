//! One pump: the loop and its tunnels.

use std::collections::VecDeque;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Waker};
use std::time::Duration;

use longwire_wire::Side;
use slab::Slab;

use super::super::drain::Drain;
use super::super::drive::Drive;
use super::super::table::{Errand, Keeper, Wish};
use super::super::tally::Traffic;
use super::kernel::{Edge, Kernel};
use super::tally::Count;
use super::wheel::Wheel;
use super::{Handle, Line, Message};
use crate::tls;

/// Slots that are passed for somebody who asks, before others have their turn: a quarter of a millisecond or so.
pub(super) const STRIDE: usize = if cfg!(test) { 2 } else { 512 };
/// Microseconds from one stride to the next. A pump that went on without a rest would hold a processor for milliseconds,
/// and whoever else wants it waits: clients and backends on the same machine, and the messages for them.
const REST_US: u64 = 1000;

/// A pump.
pub(super) struct Thread<K: Kernel> {
    /// This pump, as others see it.
    pub(super) own: Handle<K>,
    /// Boxed: a slab of tunnels would hold up to twice what it needs.
    pub(super) slots: Slab<Box<Slot<K>>>,
    /// Under way, one after the other.
    pub(super) errands: VecDeque<Box<Errand>>,
    /// Counts under way, one after the other.
    pub(super) counts: VecDeque<Box<Count>>,
    /// When the next stride is due.
    stride_us: u64,
    /// What tunnels that have left carried here; less what those that came had carried before.
    pub(super) carried: Traffic,
    /// Wished of all tunnels, those that open now as well.
    pub(super) wish: Option<Wish>,
    /// The drain in force, for tunnels that open now.
    pub(super) drain: Option<Arc<Drain>>,
    wheel: Wheel,
    /// Slots that have something to do.
    run: Vec<usize>,
    /// Those that have their turn; empty between two rounds.
    turning: Vec<usize>,
    /// When the last events came: the time for all that they lead to.
    pub(super) now_us: u64,
}

/// A tunnel in its place.
pub(super) struct Slot<K: Kernel> {
    pub(super) drive: Drive<Line<K::Fd>>,
    pub(super) keeper: Box<dyn Keeper>,
    /// When the wheel looks here next; `u64::MAX` when it does not.
    pub(super) armed_us: u64,
    /// It is in `run`.
    pub(super) queued: bool,
}

impl<K: Kernel> Slot<K> {
    /// One that no pump has.
    pub(super) fn new(drive: Drive<Line<K::Fd>>, keeper: Box<dyn Keeper>) -> Slot<K> {
        Slot { drive, keeper, armed_us: u64::MAX, queued: false }
    }
}

impl<K: Kernel> Thread<K> {
    pub(super) fn new(now_us: u64, own: Handle<K>) -> Thread<K> {
        Thread {
            own,
            slots: Slab::new(),
            errands: VecDeque::new(),
            counts: VecDeque::new(),
            stride_us: 0,
            carried: Traffic::default(),
            wish: None,
            drain: None,
            wheel: Wheel::new(now_us),
            run: Vec::new(),
            turning: Vec::new(),
            now_us,
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self, mut kernel: K) {
        while self.round(&mut kernel) {}
    }

    /// Waits for events, and sees to what they, the inbox and the clock ask for. False when it is told to stop.
    pub(super) fn round(&mut self, kernel: &mut K) -> bool {
        let patience = self.patience();
        let Ok(woken) = kernel.wait(patience, |token, edge| self.note(token, edge)) else {
            // epoll fails only for arguments that are wrong, and ours do not change.
            return false;
        };
        let messages = if woken { self.own.inbox.take() } else { Vec::new() };
        // After the inbox was emptied: no tunnel in there is younger than that.
        self.now_us = kernel.now_us();
        tls::cool(self.now_us);
        for message in messages {
            match message {
                Message::Stop => return false,
                Message::Run(errand) => self.begin_errand(errand),
                Message::Count(count) => self.begin_count(count),
                Message::Take(slot) => self.take(slot, kernel),
                Message::Park(park) => self.park(park, kernel),
            }
        }
        if self.is_asked() && self.now_us >= self.stride_us {
            self.stride_us = self.now_us.saturating_add(REST_US);
            self.run_errand();
            self.run_count();
        }
        self.wake_due();
        let mut turning = std::mem::take(&mut self.turning);
        std::mem::swap(&mut self.run, &mut turning);
        turning.drain(..).for_each(|slot| self.turn(slot));
        self.turning = turning;
        true
    }

    /// How long to wait for events.
    fn patience(&mut self) -> Option<Duration> {
        if !self.run.is_empty() {
            return Some(Duration::ZERO);
        }
        let stride = self.is_asked().then_some(self.stride_us);
        let next = self.wheel.next_us().into_iter().chain(stride).min()?;
        // The time of the last events will do: ticks are coarse.
        Some(Duration::from_micros(next.saturating_sub(self.now_us)))
    }

    /// Somebody wants to know or to change something.
    #[inline]
    fn is_asked(&self) -> bool {
        !self.errands.is_empty() || !self.counts.is_empty()
    }

    pub(super) fn queue(&mut self, slot: usize) {
        if let Some(found) = self.slots.get_mut(slot)
            && !std::mem::replace(&mut found.queued, true)
        {
            self.run.push(slot);
        }
    }

    /// An event for a socket: token is slot and side.
    #[inline(always)]
    fn note(&mut self, token: usize, edge: Edge) {
        let (slot, side) = (token / 2, Side::BOTH[token % 2]);
        if let Some(found) = self.slots.get_mut(slot) {
            if let Some(socket) = found.drive.stream(side) {
                socket.note(edge);
            }
            if !std::mem::replace(&mut found.queued, true) {
                self.run.push(slot);
            }
        }
    }

    /// Takes a tunnel over.
    pub(super) fn take(&mut self, mut taken: Box<Slot<K>>, kernel: &mut K) {
        let vacant = self.slots.vacant_entry();
        let slot = vacant.key();
        for (side, socket) in taken.drive.streams() {
            // Fails only for want of kernel memory; the tunnel's own timers then end it.
            let _ = kernel.register(socket.as_raw_fd(), slot * 2 + side.index());
            // What it is ready for since it was looked at last has been told to nobody: no timer may judge it by that.
            socket.note(Edge { readable: true, writable: true, ended: false });
        }
        let late = |drain: &Arc<Drain>| drain.late(taken.keeper.place(), taken.keeper.id(), self.now_us);
        // One that comes back may have its time already.
        let late = self.drain.as_ref().filter(|_| taken.drive.planned().is_none()).and_then(late);
        if let Some(wish) = self.wish.clone().or(late) {
            taken.drive.obey(wish, self.now_us);
        }
        let before = Traffic::from(taken.drive.stats());
        vacant.insert(taken);
        self.came(slot, &before);
        self.queue(slot);
    }

    fn wake_due(&mut self) {
        let mut due = Vec::new();
        self.wheel.take_due(self.now_us, &mut due);
        for key in due {
            let slot = key as usize;
            if let Some(found) = self.slots.get_mut(slot) {
                found.armed_us = u64::MAX;
            }
            self.queue(slot);
        }
    }

    fn turn(&mut self, slot: usize) {
        let now = self.now_us;
        let Some(found) = self.slots.get_mut(slot) else { return };
        found.queued = false;
        let again = found.drive.turn(now, &mut Context::from_waker(Waker::noop()), Line::is_readable);
        if let Some(report) = found.drive.report() {
            let keeper = self.slots.remove(slot).keeper;
            self.left(slot, &Traffic::from(&report.stats));
            self.own.tunnels.fetch_sub(1, Relaxed);
            keeper.ended(&report);
            return;
        }
        if let Some(next) = found.drive.next_us()
            && next < found.armed_us
        {
            // Activity only moves deadlines later: an early look just asks again.
            found.armed_us = self.wheel.insert(slot as u32, next);
        }
        if again {
            self.queue(slot);
        }
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::super::kernel::Epoll;
    use super::*;

    /// Every open tunnel without TLS costs this much; the allocator makes 448 of it.
    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot<Epoll>>() <= 416, "{} bytes", size_of::<Slot<Epoll>>());
    }
}
