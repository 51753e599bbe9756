//! The far end of a socket: an application that speaks, listens, answers and ends in its own way.

use std::collections::VecDeque;

use fastrand::Rng;
use longwire_wire::Side;
use longwire_wire::frame::{Header, MAX_HEADER, OpCode, apply_mask};

use super::tls::Tls;
use crate::tunnel::speech::{frame, is_our_ping};

pub(super) const MAX_MESSAGE: u64 = 1_000_000;

/// What an application does when it has said all.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Finish {
    /// Waits for somebody else to end it.
    Stay,
    /// Sends a Close and waits for the answer.
    Close,
    /// Sends a Close and the end of its stream.
    CloseThenFin,
    /// Ends its stream, and listens on.
    Fin,
    /// The same inside a frame.
    HalfFrame,
    /// Closes its socket without listening on.
    Abort,
    Reset,
    /// Neither speaks nor listens any more.
    Vanish,
    /// Sends a reserved opcode.
    Violate,
    /// Announces more than [`MAX_MESSAGE`].
    TooBig,
}

/// What makes one application unlike another.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) finish: Finish,
    /// It resets at this call on its socket, whatever it is doing.
    pub(super) reset_at: Option<u32>,
    /// So many of our pings are answered.
    pub(super) pongs: u32,
    pub(super) answers_close: bool,
    /// Ends TCP when it is time, instead of waiting for us to do so.
    pub(super) ends_tcp: bool,
    /// Ends TCP once we have.
    pub(super) follows: bool,
    /// The longest pause between two frames, in microseconds.
    pub(super) pace_us: u64,
    /// It reads at most so many bytes, then rests for so many microseconds.
    pub(super) reads: (usize, u64),
}

/// What it has to say at once.
pub(super) enum Word {
    /// Bytes.
    Bytes(Vec<u8>),
    Fin,
    Abort,
    Reset,
    /// Nothing for now.
    Silence,
}

/// An application.
pub(super) struct Peer {
    pub(super) side: Side,
    pub(super) manners: Manners,
    pub(super) script: VecDeque<Vec<u8>>,
    /// All that it said, without answers to our pings and what must not pass.
    pub(super) said: Vec<u8>,
    /// Where in `said` its answer to a Close begins, which passes only when the Close was not ours.
    pub(super) answer_at: Option<usize>,
    /// All that arrived.
    pub(super) wire: Vec<u8>,
    /// Whole frames of that.
    seen: usize,
    owed: VecDeque<Vec<u8>>,
    pub(super) answered: u32,
    pub(super) pinged: bool,
    pub(super) sent_close: bool,
    pub(super) heard_close: bool,
    pub(super) heard_end: bool,
    /// It has done what it does at the end.
    pub(super) finished: bool,
    pub(super) fin: bool,
    pub(super) vanished: bool,
    pub(super) violated: bool,
    /// Its last frame is cut: nothing but the end of the stream follows.
    pub(super) broke_off: bool,
    pub(super) tls: Option<Tls>,
}

impl Peer {
    pub(super) fn new(side: Side, manners: Manners, script: Vec<Vec<u8>>) -> Peer {
        Peer {
            side,
            manners,
            script: script.into(),
            said: Vec::new(),
            answer_at: None,
            wire: Vec::new(),
            seen: 0,
            owed: VecDeque::new(),
            answered: 0,
            pinged: false,
            sent_close: false,
            heard_close: false,
            heard_end: false,
            finished: false,
            fin: false,
            vanished: false,
            violated: false,
            broke_off: false,
            tls: None,
        }
    }

    /// It takes all that comes, soon, and to the end.
    pub(super) fn is_attentive(&self) -> bool {
        let goes = matches!(self.manners.finish, Finish::Abort | Finish::Reset | Finish::Vanish);
        !goes && self.manners.reset_at.is_none() && self.manners.reads.1 <= 10_000
    }

    pub(super) fn is_over(&self) -> bool {
        self.heard_close || self.heard_end
    }

    /// What comes next, once all before has left.
    pub(super) fn next_word(&mut self, rng: &mut Rng) -> Word {
        if self.vanished || self.fin {
            return Word::Silence;
        }
        if self.broke_off {
            return self.end_stream();
        }
        if let Some(pong) = self.owed.pop_front().filter(|_| !self.sent_close) {
            self.answered += 1;
            return Word::Bytes(pong);
        }
        if self.is_over() || self.sent_close {
            return self.part(rng);
        }
        match self.script.pop_front() {
            Some(frame) => self.say(frame),
            None if self.finished => Word::Silence,
            None => self.finish(rng),
        }
    }

    fn say(&mut self, bytes: Vec<u8>) -> Word {
        self.said.extend(&bytes);
        Word::Bytes(bytes)
    }

    fn say_close(&mut self, rng: &mut Rng) -> Word {
        self.sent_close = true;
        let code = rng.u16(3000..5000).to_be_bytes();
        let frame = frame(rng, self.side, true, OpCode::Close, code.to_vec());
        self.say(frame)
    }

    fn end_stream(&mut self) -> Word {
        self.fin = true;
        Word::Fin
    }

    fn finish(&mut self, rng: &mut Rng) -> Word {
        if self.manners.finish == Finish::Vanish && self.answered == 0 && self.manners.pongs > 0 {
            return Word::Silence; // only who has answered before can be missed
        }
        self.finished = true;
        match self.manners.finish {
            Finish::Stay => Word::Silence,
            Finish::Close | Finish::CloseThenFin => self.say_close(rng),
            Finish::Fin => self.end_stream(),
            Finish::HalfFrame => {
                let whole = frame(rng, self.side, true, OpCode::Binary, vec![7; 300]);
                let cut = rng.usize(1..whole.len());
                self.broke_off = true;
                self.say(whole[..cut].to_vec())
            }
            Finish::Abort => {
                self.fin = true;
                Word::Abort
            }
            Finish::Reset => {
                self.fin = true;
                Word::Reset
            }
            Finish::Vanish => {
                self.vanished = true;
                Word::Silence
            }
            Finish::Violate => {
                self.violated = true;
                Word::Bytes(vec![0x83])
            }
            Finish::TooBig => {
                self.violated = true;
                let mask = (self.side == Side::Client).then_some([0; 4]);
                let mut head = [0; MAX_HEADER];
                let header = Header { fin: true, rsv: 0, opcode: OpCode::Binary, mask, len: MAX_MESSAGE + 1 };
                let size = header.write(&mut head);
                Word::Bytes(head[..size].to_vec())
            }
        }
    }

    /// The other side has ended, or a Close was sent.
    fn part(&mut self, rng: &mut Rng) -> Word {
        if self.heard_close && !self.sent_close && !self.violated && self.manners.answers_close {
            self.answer_at = Some(self.said.len());
            return self.say_close(rng);
        }
        let at_once = self.manners.finish == Finish::CloseThenFin && self.finished;
        let ends = at_once || self.heard_close && self.manners.ends_tcp;
        if ends || self.heard_end && self.manners.follows { self.end_stream() } else { Word::Silence }
    }

    /// Bytes arrive.
    pub(super) fn hear(&mut self, bytes: &[u8], rng: &mut Rng) {
        match &mut self.tls {
            Some(tls) => self.wire.extend(tls.open(bytes)),
            None => self.wire.extend(bytes),
        }
        while let Some((header, size)) = Header::parse(&self.wire[self.seen..]).expect("a valid frame") {
            let end = self.seen + size + header.len as usize;
            let Some(payload) = self.wire.get(self.seen + size..end) else { break };
            if is_our_ping(&header) {
                self.pinged = true;
                if self.manners.pongs > self.answered + self.owed.len() as u32 {
                    let mut payload = payload.to_vec();
                    apply_mask(header.mask.unwrap_or_default(), 0, &mut payload);
                    self.owed.push_back(frame(rng, self.side, true, OpCode::Pong, payload));
                }
            }
            self.heard_close |= header.opcode == OpCode::Close;
            self.seen = end;
        }
    }
}
