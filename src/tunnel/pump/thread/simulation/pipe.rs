//! A socket as the kernel sees it, with the application at its far end.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use fastrand::Rng;

use super::peer::{Peer, Word};
use crate::tunnel::pump::kernel::Edge;

/// A time that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// A socket of ours and what it leads to.
pub(super) struct Pipe {
    pub(super) peer: Peer,
    /// When the peer speaks and listens next.
    pub(super) speak_us: u64,
    pub(super) listen_us: u64,
    /// What events carry; `None` unless it is registered.
    pub(super) token: Option<usize>,
    /// An edge waits to be told of.
    pub(super) queued: bool,
    /// It is not known to epoll, for want of memory.
    pub(super) unwatched: bool,
    /// From the peer, with room for so much.
    pub(super) inbound: VecDeque<u8>,
    pub(super) in_room: usize,
    /// To the peer: what we wrote and it has not read.
    pub(super) outbound: VecDeque<u8>,
    pub(super) out_room: usize,
    /// Said by the peer, for want of room not here yet.
    pub(super) tongue: VecDeque<u8>,
    /// The end of the peer's stream is here.
    pub(super) fin: bool,
    /// The peer has closed its socket: whatever is written resets it.
    gone: bool,
    /// Reset by the peer: read or write fails once, then nothing goes any more.
    pub(super) broken: bool,
    error: Option<ErrorKind>,
    /// Descriptors of it beyond the first.
    pub(super) twins: u32,
    /// A write found no room: an edge comes when there is some.
    nospace: bool,
    /// A short write counts as such, too.
    generous: bool,
    /// Written to its end, or closed, by us.
    shut: bool,
    pub(super) closed: bool,
    /// What was on its way to the peer was lost by our doing.
    pub(super) lost: bool,
    /// How often we read or wrote.
    pub(super) calls: u32,
    /// How often it was read from since the pump last waited.
    pub(super) reads_in_round: u32,
    /// How often a read found nothing since an edge was told.
    pub(super) dry_reads: u32,
    /// The most that one read gives.
    pub(super) most_read: usize,
    /// What is read is followed by more at once.
    pub(super) eager: bool,
}

impl Pipe {
    pub(super) fn new(peer: Peer, room: (usize, usize), rng: &mut Rng, now: u64) -> Pipe {
        Pipe {
            peer,
            speak_us: now + rng.u64(..1000),
            listen_us: NEVER,
            token: None,
            queued: false,
            unwatched: false,
            inbound: VecDeque::new(),
            in_room: room.0,
            outbound: VecDeque::new(),
            out_room: room.1,
            tongue: VecDeque::new(),
            fin: false,
            gone: false,
            broken: false,
            error: None,
            twins: 0,
            nospace: false,
            generous: rng.bool(),
            shut: false,
            closed: false,
            lost: false,
            calls: 0,
            reads_in_round: 0,
            dry_reads: 0,
            most_read: room.0,
            eager: rng.u8(..8) == 0,
        }
    }

    fn edge(&mut self) {
        self.queued |= self.token.is_some();
    }

    pub(super) fn speak_by(&mut self, at: u64) {
        self.speak_us = self.speak_us.min(at);
    }

    fn listen_by(&mut self, at: u64) {
        self.listen_us = self.listen_us.min(at);
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.fin || self.broken
    }

    pub(super) fn is_writable(&self) -> bool {
        (self.out_room - self.outbound.len()) * 3 >= self.out_room || self.broken
    }

    /// What epoll finds when it looks at the socket; `None` when there is nothing to tell.
    pub(super) fn look(&mut self) -> Option<Edge> {
        self.queued = false;
        self.dry_reads = 0;
        let edge = Edge {
            readable: self.is_readable(),
            writable: self.is_writable(),
            ended: self.fin || self.broken,
        };
        (edge.readable || edge.writable).then_some(edge)
    }

    /// The peer's reset arrives.
    pub(super) fn reset(&mut self, purge: bool) {
        if self.closed || self.broken {
            return;
        }
        self.broken = true;
        self.peer.fin = true;
        self.error = Some(ErrorKind::ConnectionReset);
        self.outbound.clear();
        if purge {
            self.inbound.clear();
        }
        self.edge();
    }
}

/// The pump's side.
impl Pipe {
    pub(super) fn read(&mut self, buf: &mut [u8], now: u64, rng: &mut Rng) -> io::Result<usize> {
        assert!(!self.closed, "read from a closed socket");
        self.reads_in_round += 1;
        if !self.inbound.is_empty() {
            let count = buf.len().min(self.inbound.len());
            for (to, from) in buf.iter_mut().zip(self.inbound.drain(..count)) {
                *to = from;
            }
            self.dry_reads = 0;
            if self.eager {
                self.speak(now, rng);
            } else if !self.tongue.is_empty() {
                self.speak_by(now + if rng.bool() { 0 } else { rng.u64(..5000) });
            }
            return Ok(count);
        }
        match self.error.take() {
            Some(error) => Err(error.into()),
            None if self.fin || self.broken => Ok(0),
            None => {
                self.dry_reads += 1;
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }

    pub(super) fn write(&mut self, buf: &[u8], now: u64, rng: &mut Rng) -> io::Result<usize> {
        assert!(!self.closed, "written to a closed socket");
        if let Some(error) = self.error.take() {
            return Err(error.into());
        }
        if self.broken || self.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.gone {
            self.reset(false);
            return Ok(buf.len());
        }
        let room = self.out_room - self.outbound.len();
        if room == 0 {
            self.nospace = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = if rng.u8(..8) == 0 { rng.usize(1..=room) } else { room };
        let count = buf.len().min(most);
        self.outbound.extend(&buf[..count]);
        self.nospace |= self.generous && count < buf.len();
        self.listen_by(now + rng.u64(..300));
        Ok(count)
    }

    pub(super) fn shut(&mut self, now: u64, rng: &mut Rng) -> io::Result<()> {
        if self.broken {
            return Err(ErrorKind::NotConnected.into());
        }
        self.shut = true;
        self.listen_by(now + rng.u64(..300));
        Ok(())
    }

    pub(super) fn close(&mut self, now: u64, rng: &mut Rng) {
        self.closed = true;
        self.shut = true;
        self.token = None;
        self.queued = false;
        if !self.inbound.is_empty() && !self.broken {
            self.lose(rng);
        }
        self.listen_by(now + rng.u64(..300));
    }

    /// A reset of ours goes to the peer.
    fn lose(&mut self, rng: &mut Rng) {
        self.lost |= !self.outbound.is_empty();
        self.outbound.truncate(rng.usize(..=self.outbound.len()));
    }
}

/// The peer's side.
impl Pipe {
    /// The peer says as much as there is room for.
    pub(super) fn speak(&mut self, now: u64, rng: &mut Rng) {
        self.speak_us = NEVER;
        if self.broken || self.peer.vanished && self.tongue.is_empty() {
            return;
        }
        if self.tongue.is_empty() {
            match self.peer.next_word(rng) {
                Word::Silence => return,
                Word::Bytes(bytes) => match &mut self.peer.tls {
                    Some(tls) => self.tongue.extend(tls.seal(&bytes)),
                    None => self.tongue.extend(bytes),
                },
                Word::Fin => {
                    // TLS says so in a record of its own, or does not.
                    if let Some(tls) = self.peer.tls.as_mut().filter(|_| rng.bool()) {
                        self.inbound.extend(tls.close());
                    }
                    return self.end(false);
                }
                Word::Abort => return self.end(true),
                Word::Reset => return self.reset(rng.bool()),
            }
        }
        if self.closed {
            self.tongue.clear();
            self.lose(rng);
            self.listen_by(now);
            return;
        }
        let room = self.in_room.saturating_sub(self.inbound.len());
        if room == 0 {
            return;
        }
        let whole = self.tongue.len().min(room);
        let count = if rng.u8(..4) == 0 { rng.usize(1..=whole) } else { whole };
        self.inbound.extend(self.tongue.drain(..count));
        self.edge();
        let pause = match (self.tongue.is_empty(), rng.u8(..16)) {
            (true, _) => rng.u64(..=self.peer.manners.pace_us),
            (false, 0) => rng.u64(..5000),
            (false, _) => rng.u64(..20),
        };
        self.speak_by(now + pause);
    }

    fn end(&mut self, gone: bool) {
        self.fin = true;
        self.gone = gone;
        self.edge();
        if gone && !self.outbound.is_empty() {
            self.reset(false);
        }
    }

    /// The peer reads some of what is there.
    pub(super) fn listen(&mut self, now: u64, rng: &mut Rng) {
        self.listen_us = NEVER;
        if self.peer.vanished || self.gone {
            return;
        }
        let (most, rest) = self.peer.manners.reads;
        let count = self.outbound.len().min(rng.usize(1..=most));
        let heard: Vec<u8> = self.outbound.drain(..count).collect();
        self.peer.hear(&heard, rng);
        if self.nospace && self.is_writable() {
            self.nospace = false;
            self.edge();
        }
        if !self.outbound.is_empty() {
            self.listen_by(now + rng.u64(..=rest));
        } else if self.shut {
            self.peer.heard_end = true;
        }
        self.speak_by(now + rng.u64(..2000));
    }
}
