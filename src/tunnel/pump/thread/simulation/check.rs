//! What must hold while a pump runs, and of each tunnel once all is over.

use longwire_wire::frame::{MAX_HEADER, OpCode, Violation};
use longwire_wire::{Cause, Options, Party, Side};

use super::super::Thread;
use super::peer::{Finish, Peer};
use super::pipe::Pipe;
use super::world::{Errand, Sim, World};
use crate::tunnel::drive::{BUFFER, Report};
use crate::tunnel::speech::{frames, is_our_ping};

/// What waits for one end: a read, the header bytes held before it, and frames of ours.
const MOST_PENDING: usize = BUFFER + 300;
/// Reads in a row from one socket before others have their turn.
const MOST_READS: u32 = 40;
/// How late a timer may be looked at by an idle pump, in microseconds: its wheel counts ticks.
const MOST_LATE_US: u64 = 20_000;

/// Looks at a pump between two rounds.
pub(super) fn look(thread: &Thread<Sim>, world: &mut World) {
    if !thread.errands.is_empty() || !thread.counts.is_empty() {
        world.idle_waits = 0; // it runs one a round
    }
    assert!(world.idle_waits < 8, "it turns on the spot");
    for (slot, found) in &thread.slots {
        let due = found.drive.next_us().unwrap_or(u64::MAX);
        assert!(
            found.queued || due.saturating_add(MOST_LATE_US) > thread.now_us,
            "slot {slot} forgot what was due at {due}"
        );
        for side in Side::BOTH {
            let Some(rest) = &found.drive.ends[side].rest else { continue };
            let pending = &rest.pending;
            assert!(pending.len() <= MOST_PENDING, "{} bytes wait for {side:?}", pending.len());
            assert!(!pending.is_empty() || pending.capacity() == 0, "memory is held for nothing");
            assert!(!rest.is_empty(), "memory is held for nothing");
        }
    }
    let idle = thread.run.is_empty();
    // What is parked cannot do anything.
    let told = world.parking.is_empty()
        && thread.errands.is_empty()
        && thread.own.inbox.messages.lock().unwrap().is_empty();
    for fd in 0..world.pipes.len() {
        let (pipe, other) = (&world.pipes[fd], &world.pipes[fd ^ 1]);
        assert!(pipe.reads_in_round <= MOST_READS, "{} reads in a row from {fd}", pipe.reads_in_round);
        assert!(pipe.dry_reads <= 1, "it reads from {fd} again and again, where nothing is");
        let cut = idle && told && world.known[fd / 2].cut;
        assert!(!cut || pipe.closed, "{fd} was to be cut");
        if let Some(token) = pipe.token {
            let waits =
                |pipe: &Pipe| pipe.closed || pipe.token.is_some() && !pipe.queued && pipe.is_writable();
            let readable = pipe.is_readable() && waits(pipe) && waits(other);
            let rest = &thread.slots[token / 2].drive.ends[Side::BOTH[token % 2]].rest;
            let pending = rest.as_ref().map_or(0, |rest| rest.pending.len());
            assert!(pending <= other.most_read + 300, "{pending} bytes wait for {fd}");
            let writable = pending > 0 && waits(pipe);
            assert!(!idle || !readable, "nobody reads from {fd}");
            assert!(!idle || !writable, "nobody writes to {fd}");
        }
        world.pipes[fd].reads_in_round = 0;
    }
}

/// A tunnel that is over.
pub(super) struct Past<'a> {
    pub(super) number: usize,
    pub(super) options: Options,
    pub(super) report: &'a Report,
    pub(super) at_us: u64,
    pub(super) world: &'a World,
}

impl Past<'_> {
    fn pipe(&self, side: Side) -> &Pipe {
        &self.world.pipes[self.number * 2 + side.index()]
    }

    fn peer(&self, side: Side) -> &Peer {
        &self.pipe(side).peer
    }

    pub(super) fn check(&self) {
        Side::BOTH.into_iter().for_each(|side| self.check_side(side));
        self.check_cause();
        self.check_time();
    }

    /// What one end heard.
    fn check_side(&self, side: Side) {
        let (pipe, peer) = (self.pipe(side), self.peer(side));
        let outcome = &self.report.outcome;
        assert!(pipe.closed, "socket {side:?} is left open");
        let code = outcome.code_to[side.index()];
        let (found, rest) = frames(&peer.wire);
        let (mut heard, mut pings, mut closed, mut our_code) = (Vec::<u8>::new(), 0, false, None);
        for (header, raw) in found {
            assert!(!closed, "a frame follows a Close");
            closed = header.opcode == OpCode::Close;
            if is_our_ping(&header) || closed && code.is_some() {
                assert_eq!(header.mask.is_some(), side == Side::Backend);
                pings += u32::from(!closed);
                if closed {
                    our_code = Some(close_code(raw, header.mask));
                }
            } else {
                heard.extend(raw);
            }
        }
        // The end may have been dropped, or reset, inside a frame of ours.
        let ours = match *rest {
            [0x88, ..] => code.is_some(),
            [0x89, len, ..] => len & 0x7f == 8,
            [first] => first == 0x89,
            _ => false,
        };
        if !ours {
            heard.extend(rest);
        }
        let said = &self.peer(side.other()).said;
        let same = said.iter().zip(&heard).take_while(|(said, heard)| said == heard).count();
        assert!(
            same == heard.len(),
            "{side:?} heard what was not said, or not in order: {same} bytes of {} are right, then {:02x?}: {outcome:?}",
            heard.len(),
            &heard[same..heard.len().min(same + 20)]
        );
        // Whoever goes, or is dropped, may miss the last words.
        let dropped = self.was_cut() || outcome.ended_by == side.into() && outcome.cause != Cause::Closed;
        if !peer.is_attentive() || pipe.unwatched || dropped && pipe.lost || pipe.broken {
            return;
        }
        if self.world.paused_us == 0 && !dropped && !self.slow() {
            assert!(!pipe.lost, "{side:?} was reset: {outcome:?}");
        }
        if pipe.lost {
            return;
        }
        assert!(peer.heard_end, "{side:?} was not told the end");
        if !self.gave_up(side) {
            assert_eq!(our_code, code, "{side:?}: the Close arrives: {outcome:?}");
            assert_eq!(pings, self.report.stats[side].pings, "{side:?}: pings arrive");
        }
        let other = self.pipe(side.other());
        let whole =
            matches!(outcome.cause, Cause::Closed | Cause::Fin) && outcome.ended_by == side.other().into();
        if whole && !other.broken && other.tongue.is_empty() && !self.gave_up(side) && !self.was_asked() {
            let until = other.peer.answer_at.filter(|_| outcome.code_to[1 - side.index()].is_some());
            let most = until.unwrap_or(said.len());
            // A header that is cut is held back, and goes nowhere.
            let held = if other.peer.broke_off { MAX_HEADER } else { 0 };
            assert!(heard.len() + held >= most, "{side:?} heard {} of {most}: {outcome:?}", heard.len());
        }
    }

    /// An end that took nothing for too long was not waited for.
    fn gave_up(&self, side: Side) -> bool {
        let outcome = &self.report.outcome;
        outcome.ended_by == side.into() && matches!(outcome.cause, Cause::WriteBlocked | Cause::DeadPeer)
            || self.was_cut()
    }

    fn was_cut(&self) -> bool {
        self.world.known[self.number].asked.contains(&Errand::Cut)
    }

    fn was_asked(&self) -> bool {
        !self.world.known[self.number].asked.is_empty()
    }

    /// An end that listens slowly makes all slow.
    fn slow(&self) -> bool {
        Side::BOTH.iter().any(|&side| !self.peer(side).is_attentive() || self.pipe(side).unwatched)
    }

    fn check_cause(&self) {
        let outcome = &self.report.outcome;
        let known = &self.world.known[self.number];
        let fits = match outcome.ended_by {
            Party::Client => self.fits(Side::Client, outcome.cause),
            Party::Backend => self.fits(Side::Backend, outcome.cause),
            Party::Proxy => match outcome.cause {
                Cause::Operator => known.asked.contains(&Errand::Close),
                Cause::Drain => known.asked.contains(&Errand::Drain),
                Cause::Shutdown => known.asked.contains(&Errand::Cut),
                Cause::Idle => {
                    let quiet = known.quiet_us.max(self.at_us - known.read_us);
                    // A record that is cut is nothing yet.
                    quiet >= self.options.idle_us
                        || Side::BOTH.iter().any(|&side| self.peer(side).tls.is_some())
                }
                _ => false,
            },
        };
        assert!(fits, "{outcome:?} does not fit");
    }

    fn fits(&self, side: Side, cause: Cause) -> bool {
        let (pipe, peer) = (self.pipe(side), self.peer(side));
        match cause {
            Cause::Closed => peer.sent_close,
            // A socket tells of its reset once; TLS may hear of it where nobody asks.
            Cause::Fin => pipe.fin || peer.tls.is_some() && pipe.broken,
            Cause::Reset => pipe.broken,
            Cause::DeadPeer => {
                peer.manners.pongs != u32::MAX || peer.vanished || !peer.is_attentive() || pipe.unwatched
            }
            Cause::WriteBlocked => peer.vanished || !peer.is_attentive() || pipe.unwatched,
            Cause::ProtocolViolation(Violation::ReservedOpcode) => {
                peer.violated && peer.manners.finish == Finish::Violate
            }
            Cause::MessageTooBig => peer.violated && peer.manners.finish == Finish::TooBig,
            _ => false,
        }
    }

    /// It does not take longer than its timers allow.
    fn check_time(&self) {
        let Some(began) = self.world.known[self.number].trigger_us else { return };
        let Options { idle_us, write_us, close_us, .. } = self.options;
        if self.slow() || self.world.paused_us > 0 {
            return;
        }
        let closes = Side::BOTH.iter().any(|&side| self.peer(side).sent_close);
        let most = write_us[0] + 2 * close_us + 10_000_000 + if closes { idle_us } else { 0 };
        let took = self.at_us.saturating_sub(began);
        assert!(took <= most, "it took {took} us to end: {:?}", self.report.outcome);
    }
}

fn close_code(raw: &[u8], mask: Option<[u8; 4]>) -> u16 {
    let at = if mask.is_some() { 6 } else { 2 };
    let mask = mask.unwrap_or_default();
    u16::from_be_bytes([raw[at] ^ mask[0], raw[at + 1] ^ mask[1]])
}
