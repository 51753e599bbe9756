//! What follows for a tunnel from what happened: signs of life, pings, and every way to end.

use alloc::boxed::Box;

use crate::close::CloseCode;
use crate::frame::Header;
use crate::outcome::{Cause, Ending, Outcome};
use crate::plan::OwnFrame;
use crate::scanner::Payload;
use crate::side::{Pair, Party, Side};
use crate::timer::{Time, Timer, Timers};
use crate::tunnel::{Life, Tunnel};

/// Signs of life, and asking for them.
impl Tunnel {
    /// Bytes came from this end.
    #[inline]
    pub(crate) fn heard(&mut self, from: Side, bytes: usize, now: Time) {
        self.stats[from].bytes += bytes as u64;
        let end = &mut self.ends[from];
        if end.life == Life::Open {
            end.heard = now;
            end.pinger.due = false;
        }
    }

    /// The timers learn what was heard. Before anything that looks at them or changes what they mean.
    pub(crate) fn settle_heard(&mut self) {
        if Side::BOTH.iter().any(|&side| self.ends[side].heard != Time::NEVER) {
            let mut timers = core::mem::take(&mut self.timers);
            self.heard_by(&mut timers);
            self.timers = timers;
            for side in Side::BOTH {
                self.ends[side].heard = Time::NEVER;
            }
        }
    }

    /// Moves timers by what was heard.
    pub(crate) fn heard_by(&self, timers: &mut Timers) {
        let heard = Side::BOTH.map(|side| Some(self.ends[side].heard).filter(|at| *at != Time::NEVER));
        if let Some(latest) = heard.into_iter().flatten().max() {
            timers.set(Timer::Idle, latest.after(self.options.idle_us));
        }
        let Some(ping) = self.options.ping() else { return };
        for (side, heard) in Side::BOTH.into_iter().zip(heard) {
            if let Some(at) = heard.filter(|_| self.may_ping(side)) {
                let judged = self.ends[side].pinger.is_judged();
                let timer = if judged { Timer::Pong(side) } else { Timer::Ping(side) };
                timers.set(timer, at.after(ping.interval_us));
            }
        }
    }

    /// An end took bytes after it had been blocked: its TCP is alive.
    pub(crate) fn progressed(&mut self, to: Side, now: Time) {
        self.timers.extend(Timer::Idle, now.after(self.options.idle_us));
        if let Some(ping) = self.options.ping() {
            self.timers.extend(Timer::Pong(to), now.after(ping.interval_us));
        }
    }

    /// Whose Close frame came first, while the end of the tunnel is not decided: that of both decides it.
    fn first_close(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|&side| self.ends[side].scanner.close_code().is_some())
    }

    /// Nothing of ours goes to an end that sent a Close or was sent one.
    fn may_ping(&self, to: Side) -> bool {
        self.ends[to].life == Life::Open && self.first_close().is_none()
    }

    pub(crate) fn send_ping(
        &mut self,
        to: Side,
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
    ) -> Option<OwnFrame> {
        let ping = self.options.ping()?;
        let (payload, mask) = split(random());
        let pinger = &mut self.ends[to].pinger;
        let payload = pinger.send(payload, now);
        if pinger.is_judged() {
            self.timers.stop(Timer::Ping(to));
            self.timers.set(Timer::Pong(to), now.after(ping.timeout_us));
        } else {
            self.timers.set(Timer::Ping(to), now.after(ping.interval_us));
        }
        self.stats[to].pings = self.stats[to].pings.saturating_add(1);
        Some(OwnFrame::ping(payload, mask_for(to, mask)))
    }

    /// A pong of ours came. Gives the round trip in microseconds where there is one to speak of.
    pub(crate) fn answered(&mut self, from: Side, payload: Payload, now: Time) -> Option<u64> {
        self.stats[from].pongs = self.stats[from].pongs.saturating_add(1);
        let round_trip = self.ends[from].pinger.answer(payload, now);
        if let Some(us) = round_trip {
            self.stats[from].rtt.add(us);
        }
        if let Some(ping) =
            self.options.ping().filter(|_| self.may_ping(from) && !self.ends[from].pinger.is_out())
        {
            self.timers.stop(Timer::Pong(from));
            self.timers.set(Timer::Ping(from), now.after(ping.interval_us));
        }
        round_trip
    }

    fn stop_pings(&mut self) {
        for side in Side::BOTH {
            self.ends[side].pinger.due = false;
            self.timers.stop(Timer::Ping(side));
            self.timers.stop(Timer::Pong(side));
        }
    }

    /// A frame began.
    pub(crate) fn count(&mut self, from: Side, header: Option<Header>) {
        match header {
            Some(header) if header.opcode.is_control() => {
                self.stats[from].control = self.stats[from].control.saturating_add(1);
            }
            Some(header) if header.fin => self.stats[from].messages += 1,
            _ => {}
        }
    }

    /// A timer ran out.
    pub(crate) fn expired(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::Write(side) => self.left(side, Life::Drop, Cause::WriteBlocked, now),
            Timer::Pong(_) if self.is_blocked() => {
                // Either nobody reads what this end sends, or the ping has not reached it: the write timer judges.
                let wait = self.options.ping().map_or(0, |ping| ping.timeout_us.max(1));
                self.timers.set(timer, now.after(wait));
            }
            Timer::Pong(side) => self.left(side, Life::Drop, Cause::DeadPeer, now),
            Timer::Idle => self.close((CloseCode::GOING_AWAY, Cause::Idle), now),
            Timer::Ping(side) => self.ping_due(side, now),
            Timer::Close(side) => self.settle(side, Life::Finish, now),
        }
    }

    /// An end takes nothing more for now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.ends[Side::Client].blocked || self.ends[Side::Backend].blocked
    }

    fn ping_due(&mut self, side: Side, now: Time) {
        let Some(ping) = self.options.ping() else { return };
        self.ends[side].pinger.due = true;
        // It may have to wait for a boundary or for a blocked end. Looking again this soon keeps the clock from moving
        // earlier by the read that brings the boundary.
        self.timers.set(Timer::Ping(side), now.after(ping.timeout_us.max(1)));
    }
}

/// The ways to end.
impl Tunnel {
    /// The Close frame of this end has passed completely.
    pub(crate) fn closed(&mut self, from: Side, now: Time) {
        let to = from.other();
        self.stop_pings();
        if self.ending.is_none() {
            // Both have closed now, and the other one was first.
            if self.ends[to].scanner.is_over() {
                let lives = Pair { client: Life::Closed, backend: Life::Closed };
                self.end(to.into(), Cause::Closed, lives, now);
            }
            return;
        }
        self.note_codes();
        if self.ends[from].life == Life::Sent {
            self.settle(from, Life::Finish, now);
        }
        if let Life::Due(_) = self.ends[to].life {
            self.settle(to, Life::Sent, now); // the application's Close went there before ours could
        }
    }

    /// This end sent what must not pass.
    pub(crate) fn faulted(&mut self, from: Side, cause: Cause, now: Time) {
        if self.ending.is_some() {
            if self.ends[from].life == Life::Sent {
                self.settle(from, Life::Finish, now);
            }
            return;
        }
        let code = match cause {
            Cause::MessageTooBig => CloseCode::TOO_BIG,
            Cause::TooFast => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        };
        let mut lives = Pair { client: Life::Due(code), backend: Life::Due(code) };
        lives[from.other()] = Life::Due(gone(from));
        self.end(from.into(), cause, lives, now);
    }

    /// This end will send nothing more: end of stream, error, or found dead.
    pub(crate) fn left(&mut self, from: Side, life: Life, cause: Cause, now: Time) {
        let to = from.other();
        // A frame that began towards the other end stays unfinished, so that no Close can follow it.
        let whole = self.ends[from].scanner.at_boundary();
        if self.ending.is_some() {
            self.settle(from, life, now);
            if self.ends[to].life == Life::Closed || (matches!(self.ends[to].life, Life::Due(_)) && !whole) {
                self.settle(to, Life::Finish, now);
            }
            return;
        }
        let farewell =
            if self.ends[from].scanner.is_over() || !whole { Life::Finish } else { Life::Due(gone(from)) };
        let (by, cause) = match (self.first_close(), cause) {
            (Some(first), Cause::Fin | Cause::Reset) => (first, Cause::Closed),
            _ => (from, cause),
        };
        let mut lives = Pair { client: life, backend: life };
        lives[to] = farewell;
        self.end(by.into(), cause, lives, now);
    }

    /// The end is decided.
    pub(crate) fn end(&mut self, ended_by: Party, cause: Cause, lives: Pair<Life>, now: Time) {
        let outcome = Outcome { ended_by, cause, code_from: [None; 2], code_to: [None; 2] };
        self.ending = Some(Box::new(Ending { outcome, words: None }));
        self.planned = None;
        self.note_codes();
        self.timers.stop(Timer::Idle);
        self.stop_pings();
        for side in Side::BOTH {
            self.settle(side, lives[side], now);
        }
    }

    /// An end enters the next part of its life.
    pub(crate) fn settle(&mut self, side: Side, life: Life, now: Time) {
        let life = match life {
            // The application's Close went there already: that is the one which it answers.
            Life::Due(_) if self.ends[side.other()].scanner.close_code().is_some() => Life::Sent,
            life => life,
        };
        let life = match life {
            _ if self.ends[side].life == Life::Drop => Life::Drop,
            Life::Sent if self.ends[side].scanner.is_over() => Life::Finish, // no answer is to come
            life => life,
        };
        self.ends[side].life = life;
        match life {
            Life::Finish | Life::Drop => {
                self.timers.stop(Timer::Close(side));
                self.timers.stop(Timer::Write(side));
            }
            _ => self.timers.set(Timer::Close(side), now.after(self.options.close_us)),
        }
    }

    pub(crate) fn send_close(
        &mut self,
        to: Side,
        code: CloseCode,
        now: Time,
        random: &mut impl FnMut() -> [u8; 12],
    ) -> OwnFrame {
        let (_, mask) = split(random());
        let reason = self.ending.as_ref().map_or("", |ending| ending.reason_for(to));
        let frame = OwnFrame::close(code, reason, mask_for(to, mask));
        if let Some(ending) = &mut self.ending {
            ending.outcome.code_to[to.index()] = Some(code.0);
        }
        self.settle(to, Life::Sent, now);
        frame
    }

    fn note_codes(&mut self) {
        let codes = Side::BOTH.map(|side| self.ends[side].scanner.close_code().map(|code| code.0));
        if let Some(ending) = &mut self.ending {
            ending.outcome.code_from = codes;
        }
    }
}

/// What the other end is told when this one is gone.
fn gone(side: Side) -> CloseCode {
    match side {
        Side::Client => CloseCode::GOING_AWAY,
        Side::Backend => CloseCode::BAD_GATEWAY,
    }
}

/// Payload and mask of a frame of ours.
fn split(random: [u8; 12]) -> (Payload, [u8; 4]) {
    let [a, b, c, d, e, f, g, h, mask @ ..] = random;
    ([a, b, c, d, e, f, g, h], mask)
}

/// A backend takes us for a client, whose frames are masked (section 5.1).
fn mask_for(to: Side, mask: [u8; 4]) -> Option<[u8; 4]> {
    (to == Side::Backend).then_some(mask)
}
