//! One direction of a tunnel: where frames begin and end, and what must not pass.

use alloc::boxed::Box;

use crate::close::CloseCode;
use crate::frame::{Header, MAX_HEADER, OpCode, Violation};
use crate::outcome::Cause;
use crate::side::Side;

/// What every ping of ours carries, and thus what a pong of ours is known by.
pub type Payload = [u8; 8];

/// Follows the frames that one end sends.
///
/// ```text
///            header incomplete, or a pong that may be ours: held
///           ┌───────┐
///           │       │        header fits the rules
///        ┌──▼───────┴──┐ ──────────────────────────────▶ ┌─────────┐
///        │ at boundary │                                  │ payload │
///        └──────┬──────┘ ◀────────────────────────────── └────┬────┘
///               │              last byte of the frame          │ last byte of a Close
///    bad header ▼                                              ▼
///            broken                                         closed
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Scanner {
    /// Bytes that wait for those after them. Held only at a boundary.
    pub(crate) held: Option<Box<Held>>,
    /// Payload bytes of the current frame that are still to come; 0 at a boundary.
    pub(crate) left: u64,
    pub(crate) message: Message,
    pub(crate) course: Course,
}

/// The unfinished message: its payload bytes announced so far, in one word.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message(u64);

impl Message {
    const NONE: Message = Message(u64::MAX);

    pub(crate) fn new(announced: Option<u64>) -> Message {
        Message(announced.map_or(u64::MAX, |bytes| bytes.min(u64::MAX - 1)))
    }

    pub(crate) fn announced(self) -> Option<u64> {
        Some(self.0).filter(|_| self != Message::NONE)
    }
}

impl Default for Message {
    fn default() -> Message {
        Message::NONE
    }
}

/// How far a direction is.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(crate) enum Course {
    /// Frames follow.
    #[default]
    Flowing,
    /// A Close frame is passing.
    Closing(Closing),
    /// A Close frame with this code has passed.
    Closed(CloseCode),
    /// The rules were broken, so that its frames cannot be followed any more.
    Broken,
}

/// What one end may send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whose frames these are: a client's are masked, a backend's are not (section 5.1).
    pub from: Side,
    /// RSV bits that the negotiated extensions use.
    pub rsv: u8,
    /// The most payload bytes of one message over all its fragments.
    pub max_message: Option<u64>,
}

/// What became of the next bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The held bytes and then `take` bytes of the input go on. With the header when a frame begins here.
    Forward {
        /// Bytes of earlier reads.
        held: Held,
        /// Bytes of the input.
        take: usize,
        /// The frame that begins.
        header: Option<Header>,
    },
    /// All of the input was taken and is held.
    Hold,
    /// The held bytes and `take` bytes of the input were a pong of ours, which goes no further.
    Pong {
        /// Bytes of the input.
        take: usize,
        /// Which ping it answers.
        payload: Payload,
    },
    /// The header that begins here (or began in the held bytes) must not pass: [`Cause::ProtocolViolation`] or
    /// [`Cause::MessageTooBig`].
    Fault(Cause),
}

/// Frames of messages that go on as they are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Bytes of the input.
    pub take: usize,
    /// Messages, counted at the header of their last frame.
    pub messages: u64,
}

/// A Close frame on its way, for the two bytes of its code.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Closing {
    pub(crate) code: [u8; 2],
    /// Payload bytes seen.
    pub(crate) seen: u8,
}

impl Scanner {
    /// What was passed on so far ends between two frames. Held bytes were not passed on, so they do not matter.
    pub fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// The code of the Close frame that has passed completely; 1005 when it held none.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self.course {
            Course::Closed(code) => Some(code),
            _ => None,
        }
    }

    /// A Close has passed, or the rules were broken: [`Scanner::step`] has nothing to say any more.
    pub fn is_over(&self) -> bool {
        matches!(self.course, Course::Closed(_) | Course::Broken)
    }

    /// The input is one short message in one frame, and nothing else: it goes on as it is, and the scanner stays where
    /// it is. What most reads bring, told by a few comparisons; [`Scanner::run`] says the same.
    #[inline]
    pub fn is_one_message(&self, input: &[u8], rules: &Rules) -> bool {
        let [first, second, ..] = input else { return false };
        let (masked, key) = if rules.from == Side::Client { (0x80, 4) } else { (0, 0) };
        // With the wrong mask bit `short` is too large.
        let short = second ^ masked;
        // FIN, no RSV bit that is not in use, and text or binary.
        let opcode = first & !((rules.rsv & 0b111) << 4);
        short < 126
            && input.len() == 2 + key + usize::from(short)
            && matches!(opcode, 0x81 | 0x82)
            && self.left == 0
            && self.message == Message::NONE
            && self.held.is_none()
            && self.course == Course::Flowing
            && rules.max_message.is_none_or(|max| u64::from(short) <= max)
    }

    /// Passes the rest of the current frame and all frames of messages behind it, up to the first byte that
    /// [`Scanner::step`] has to look at: a control frame, a header that is cut or long or must not pass.
    ///
    /// Nothing but a shorter way: without it, `step` says the same of each frame.
    #[inline]
    pub fn run(&mut self, input: &[u8], rules: &Rules) -> Run {
        let mut run = Run { take: 0, messages: 0 };
        if self.held.is_some() || self.course != Course::Flowing {
            return run;
        }
        let (masked, key) = if rules.from == Side::Client { (0x80, 4) } else { (0, 0) };
        // Besides FIN and the RSV bits that are in use, a first byte has an opcode and nothing else.
        let plain = !(0x80 | (rules.rsv & 0b111) << 4);
        let most = rules.max_message.unwrap_or(u64::MAX).min(u64::MAX - 1);
        let (mut left, mut message) = (self.left, self.message);
        loop {
            let payload = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - run.take);
            left -= payload as u64;
            run.take += payload;
            let Some(rest @ [first, second, ..]) = input.get(run.take..) else { break };
            let (opcode, short) = (first & plain, second ^ masked);
            let (total, fits) = match message.announced() {
                None => (0, matches!(opcode, 1 | 2)),
                Some(total) => (total, opcode == 0),
            };
            // With the wrong mask bit `short` is larger still.
            let (len, size) = match short {
                0..126 => (u64::from(short), 2 + key),
                126 => match rest {
                    [_, _, high, low, ..] if *high > 0 || *low >= 126 => {
                        (u64::from(u16::from_be_bytes([*high, *low])), 4 + key)
                    }
                    _ => break,
                },
                _ => break,
            };
            let total = total.saturating_add(len);
            if !fits || total > most || rest.len() < size {
                break;
            }
            let fin = first & 0x80 != 0;
            message = if fin { Message::NONE } else { Message(total) };
            run.messages += u64::from(fin);
            run.take += size;
            left = len;
        }
        (self.left, self.message) = (left, message);
        run
    }

    /// Looks at the next bytes, at most one frame of them. `pongs` are the pings of ours that are out to this end.
    ///
    /// Takes at least a byte of an input that is not empty, save with [`Step::Fault`]. Cost: a header, whatever the
    /// size of the payload.
    pub fn step(&mut self, input: &[u8], rules: &Rules, pongs: [Option<Payload>; 2]) -> Step {
        if self.left > 0 {
            let take = self.advance(input);
            return Step::Forward { held: Held::default(), take, header: None };
        }
        let held = self.held.as_deref().copied().unwrap_or_default();
        let mut joined = [0; MAX_HEADER];
        let view = if held.is_empty() { input } else { held.join(input, &mut joined) };
        let parsed = Header::parse(view);
        match parsed.and_then(|found| found.map(|found| self.check(rules, found)).transpose()) {
            Err(violation) => self.fault(Cause::ProtocolViolation(violation)),
            Ok(None) => self.hold(input),
            Ok(Some((header, size))) => {
                match Ours::is(&header, view.get(size..).unwrap_or_default(), pongs) {
                    Ours::Yes(payload) => {
                        let take = (size + payload.len()).saturating_sub(held.len());
                        self.held = None;
                        Step::Pong { take, payload }
                    }
                    Ours::Perhaps => self.hold(input),
                    Ours::No => self.begin(header, size, rules, input),
                }
            }
        }
    }

    /// The rules that depend on the connection and on what came before.
    fn check(&self, rules: &Rules, (header, size): (Header, usize)) -> Result<(Header, usize), Violation> {
        match (rules.from, header.mask) {
            (Side::Client, None) => return Err(Violation::Unmasked),
            (Side::Backend, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        if header.rsv & !rules.rsv != 0 {
            return Err(Violation::ReservedBits);
        }
        match (header.opcode, self.message.announced()) {
            (OpCode::Continuation, None) => Err(Violation::StrayContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(Violation::UnfinishedMessage),
            _ => Ok((header, size)),
        }
    }

    /// A frame that goes on: its header, and what of its payload is there.
    fn begin(&mut self, header: Header, size: usize, rules: &Rules, input: &[u8]) -> Step {
        if !header.opcode.is_control() {
            let total = self.message.announced().unwrap_or(0).saturating_add(header.len);
            if rules.max_message.is_some_and(|max| total > max) {
                return self.fault(Cause::MessageTooBig);
            }
            self.message = Message::new((!header.fin).then_some(total));
        }
        if header.opcode == OpCode::Close {
            // Unmasking by starting from the key: what passes is added to it.
            let [first, second, ..] = header.mask.unwrap_or_default();
            self.course = Course::Closing(Closing { code: [first, second], seen: 0 });
        }
        let held = self.held.take().map(|held| *held).unwrap_or_default();
        // Held bytes reach into the payload when they were a pong that turned out not to be ours.
        self.left = header.len.saturating_sub(held.len().saturating_sub(size) as u64);
        let head = size.saturating_sub(held.len());
        let take = head + self.advance(input.get(head..).unwrap_or_default());
        Step::Forward { held, take, header: Some(header) }
    }

    /// Passes payload, as far as `input` and the frame reach.
    fn advance(&mut self, input: &[u8]) -> usize {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        self.left -= take as u64;
        if let Course::Closing(closing) = &mut self.course {
            closing.pass(input.get(..take).unwrap_or_default());
            if self.left == 0 {
                self.course = Course::Closed(closing.code());
            }
        }
        take
    }

    fn hold(&mut self, input: &[u8]) -> Step {
        self.held.get_or_insert_default().push(input);
        Step::Hold
    }

    fn fault(&mut self, cause: Cause) -> Step {
        self.refuse();
        Step::Fault(cause)
    }

    /// The frame that has just begun must not pass: nothing of it was passed on, and nothing follows.
    pub(crate) fn refuse(&mut self) {
        self.course = Course::Broken;
        self.held = None;
        self.left = 0;
    }
}

impl Closing {
    fn pass(&mut self, payload: &[u8]) {
        let room = self.code.iter_mut().skip(self.seen.into());
        for (code, byte) in room.zip(payload) {
            *code ^= byte;
        }
        self.seen = self.seen.saturating_add(payload.len().min(2) as u8);
    }

    fn code(self) -> CloseCode {
        if self.seen < 2 { CloseCode::NO_STATUS } else { CloseCode(u16::from_be_bytes(self.code)) }
    }
}

/// Whether a frame answers a ping of ours.
enum Ours {
    Yes(Payload),
    /// So far as its bytes are there.
    Perhaps,
    No,
}

impl Ours {
    /// `rest` is what follows the header.
    fn is(header: &Header, rest: &[u8], pongs: [Option<Payload>; 2]) -> Ours {
        if header.opcode != OpCode::Pong || header.len != size_of::<Payload>() as u64 {
            return Ours::No;
        }
        let key = header.mask.unwrap_or_default();
        let agrees = |ours: &Payload| {
            rest.iter().zip(ours).zip(key.iter().cycle()).all(|((byte, ours), key)| byte ^ key == *ours)
        };
        match pongs.into_iter().flatten().find(agrees) {
            None => Ours::No,
            Some(payload) if rest.len() >= payload.len() => Ours::Yes(payload),
            Some(_) => Ours::Perhaps,
        }
    }
}

/// Bytes that wait for those after them: at most 13, for with 14 every header is complete and so is a masked pong of
/// ours.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Held {
    pub(crate) bytes: [u8; MAX_HEADER],
    pub(crate) len: u8,
}

impl Held {
    fn push(&mut self, more: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.len.into()).zip(more) {
            *to = *from;
            self.len += 1;
        }
    }

    /// The held bytes with the input behind them, as far as a header or a pong of ours may reach.
    fn join<'a>(&self, input: &[u8], room: &'a mut [u8; MAX_HEADER]) -> &'a [u8] {
        let mut joined = *self;
        joined.push(input);
        *room = joined.bytes;
        &room[..usize::from(joined.len).min(MAX_HEADER)]
    }
}

impl core::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(MAX_HEADER)]
    }
}
