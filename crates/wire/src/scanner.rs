//! One direction of a tunnel: where frames begin and end, and what must not pass.

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scanner {
    pub(crate) rules: Rules,
    pub(crate) held: Held,
    /// Payload bytes of the current frame that are still to come; 0 at a boundary.
    pub(crate) left: u64,
    /// Payload bytes of the unfinished message, announced so far.
    pub(crate) message: Option<u64>,
    /// The Close frame that is passing.
    pub(crate) closing: Option<Closing>,
    pub(crate) over: Option<Over>,
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

/// Why nothing more is expected from an end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Over {
    /// It sent a Close frame with this code.
    Closed(CloseCode),
    /// It broke the rules, so that its frames cannot be followed any more.
    Broken,
}

/// A Close frame on its way, for the two bytes of its code.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Closing {
    pub(crate) code: [u8; 2],
    /// Payload bytes seen.
    pub(crate) seen: u8,
}

impl Scanner {
    /// A scanner at the beginning of a direction.
    pub fn new(rules: Rules) -> Scanner {
        Scanner { rules, held: Held::default(), left: 0, message: None, closing: None, over: None }
    }

    /// What was passed on so far ends between two frames. Held bytes were not passed on, so they do not matter.
    pub fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// The code of the Close frame that has passed completely; 1005 when it held none.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self.over {
            Some(Over::Closed(code)) => Some(code),
            _ => None,
        }
    }

    /// A Close has passed, or the rules were broken: [`Scanner::step`] has nothing to say any more.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Looks at the next bytes, at most one frame of them. `pongs` are the pings of ours that are out to this end.
    ///
    /// Takes at least a byte of an input that is not empty, save with [`Step::Fault`]. Cost: a header, whatever the
    /// size of the payload.
    pub fn step(&mut self, input: &[u8], pongs: [Option<Payload>; 2]) -> Step {
        if self.left > 0 {
            let take = self.advance(input);
            return Step::Forward { held: Held::default(), take, header: None };
        }
        let mut joined = [0; MAX_HEADER];
        let view = if self.held.is_empty() { input } else { self.held.join(input, &mut joined) };
        match Header::parse(view).and_then(|found| found.map(|found| self.check(found)).transpose()) {
            Err(violation) => self.fault(Cause::ProtocolViolation(violation)),
            Ok(None) => self.hold(input),
            Ok(Some((header, size))) => {
                match Ours::is(&header, view.get(size..).unwrap_or_default(), pongs) {
                    Ours::Yes(payload) => {
                        let take = (size + payload.len()).saturating_sub(self.held.len());
                        self.held = Held::default();
                        Step::Pong { take, payload }
                    }
                    Ours::Perhaps => self.hold(input),
                    Ours::No => self.begin(header, size, input),
                }
            }
        }
    }

    /// The rules that depend on the connection and on what came before.
    fn check(&self, (header, size): (Header, usize)) -> Result<(Header, usize), Violation> {
        match (self.rules.from, header.mask) {
            (Side::Client, None) => return Err(Violation::Unmasked),
            (Side::Backend, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        if header.rsv & !self.rules.rsv != 0 {
            return Err(Violation::ReservedBits);
        }
        match (header.opcode, self.message) {
            (OpCode::Continuation, None) => Err(Violation::StrayContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(Violation::UnfinishedMessage),
            _ => Ok((header, size)),
        }
    }

    /// A frame that goes on: its header, and what of its payload is there.
    fn begin(&mut self, header: Header, size: usize, input: &[u8]) -> Step {
        if !header.opcode.is_control() {
            let total = self.message.unwrap_or(0).saturating_add(header.len);
            if self.rules.max_message.is_some_and(|max| total > max) {
                return self.fault(Cause::MessageTooBig);
            }
            self.message = (!header.fin).then_some(total);
        }
        if header.opcode == OpCode::Close {
            // Unmasking by starting from the key: what passes is added to it.
            let [first, second, ..] = header.mask.unwrap_or_default();
            self.closing = Some(Closing { code: [first, second], seen: 0 });
        }
        let held = core::mem::take(&mut self.held);
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
        if let Some(closing) = &mut self.closing {
            closing.pass(input.get(..take).unwrap_or_default());
            if self.left == 0 {
                self.over = Some(Over::Closed(closing.code()));
                self.closing = None;
            }
        }
        take
    }

    fn hold(&mut self, input: &[u8]) -> Step {
        self.held.push(input);
        Step::Hold
    }

    fn fault(&mut self, cause: Cause) -> Step {
        self.over = Some(Over::Broken);
        self.held = Held::default();
        Step::Fault(cause)
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
