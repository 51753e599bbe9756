//! One pump: the loop and its tunnels.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use longwire_wire::Side;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::super::drive::Drive;
use super::super::table::Entry;
use super::wheel::Wheel;
use super::{Done, Inbox, Job, Line, Message};
use crate::clock;

/// The token of the inbox.
pub(super) const WAKE: Token = Token(usize::MAX);
/// Events taken at once.
const EVENTS: usize = 512;

/// A pump.
pub(super) struct Thread {
    poll: Poll,
    inbox: Arc<Inbox>,
    tunnels: Arc<AtomicUsize>,
    /// Boxed: a slab of tunnels would hold up to twice what it needs.
    slots: Slab<Box<Slot>>,
    wheel: Wheel,
    /// Slots that have something to do.
    run: Vec<usize>,
    /// When the last events came: the time for all that they lead to.
    now_us: u64,
}

/// A tunnel in its place.
struct Slot {
    drive: Drive<Line>,
    entry: Entry,
    done: Done,
    /// When the wheel looks here next; `u64::MAX` when it does not.
    armed_us: u64,
    /// It is in `run`.
    queued: bool,
}

/// Wakes a pump for one of its slots.
struct Look {
    inbox: Arc<Inbox>,
    slot: usize,
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        // A slot that has another tunnel by now looks for nothing.
        self.inbox.leave(Message::Look(self.slot));
    }
}

impl Thread {
    pub(super) fn new(poll: Poll, inbox: Arc<Inbox>, tunnels: Arc<AtomicUsize>) -> Thread {
        let now_us = clock::now_us();
        let wheel = Wheel::new(now_us);
        Thread { poll, inbox, tunnels, slots: Slab::new(), wheel, run: Vec::new(), now_us }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut turning = Vec::new();
        loop {
            let patience = self.patience();
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                // epoll fails only for arguments that are wrong, and ours do not change.
                return;
            }
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKE => woken = true,
                    Token(token) => self.note(token, event),
                }
            }
            if woken && !self.read_inbox() {
                return;
            }
            self.now_us = clock::now_us();
            self.wake_due();
            std::mem::swap(&mut self.run, &mut turning);
            for slot in turning.drain(..) {
                self.turn(slot);
            }
        }
    }

    /// How long to wait for events.
    fn patience(&mut self) -> Option<Duration> {
        if !self.run.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.wheel.next_us()?;
        // The time of the last events will do: ticks are coarse.
        Some(Duration::from_micros(next.saturating_sub(self.now_us)))
    }

    fn queue(&mut self, slot: usize) {
        if let Some(found) = self.slots.get_mut(slot)
            && !std::mem::replace(&mut found.queued, true)
        {
            self.run.push(slot);
        }
    }

    /// An event for a socket: token is slot and side.
    fn note(&mut self, token: usize, event: &mio::event::Event) {
        let (slot, side) = (token / 2, Side::BOTH[token % 2]);
        if let Some(found) = self.slots.get_mut(slot) {
            if let Some((_, socket)) = found.drive.streams().find(|(s, _)| *s == side) {
                socket.note(event);
            }
            self.queue(slot);
        }
    }

    /// False when it is told to stop.
    fn read_inbox(&mut self) -> bool {
        for message in self.inbox.take() {
            match message {
                Message::Stop => return false,
                Message::Look(slot) => {
                    self.obey(slot);
                    self.queue(slot);
                }
                Message::Take(job) => self.take(*job),
            }
        }
        true
    }

    /// Takes a tunnel over.
    fn take(&mut self, job: Job) {
        let Job { tunnel, ends, entry, done } = job;
        let mut drive = Drive::new(tunnel, ends);
        let vacant = self.slots.vacant_entry();
        let slot = vacant.key();
        for (side, socket) in drive.streams() {
            let token = Token(slot * 2 + side.index());
            let interest = Interest::READABLE | Interest::WRITABLE;
            // Only for want of kernel memory; the tunnel's own timers then end it.
            let _ = self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, interest);
        }
        vacant.insert(Box::new(Slot { drive, entry, done, armed_us: u64::MAX, queued: false }));
        self.obey(slot);
        self.queue(slot);
    }

    /// Does what others wish of a tunnel.
    fn obey(&mut self, slot: usize) {
        let Some(found) = self.slots.get_mut(slot) else { return };
        let waker = Waker::from(Arc::new(Look { inbox: self.inbox.clone(), slot }));
        if let Some(wish) = found.entry.live.take_command(&waker) {
            found.drive.obey(wish);
        }
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
        found.entry.live.publish(found.drive.stats());
        if let Some(report) = found.drive.report() {
            let Slot { entry, done, .. } = *self.slots.remove(slot);
            self.tunnels.fetch_sub(1, Relaxed);
            drop(entry);
            done(report);
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
