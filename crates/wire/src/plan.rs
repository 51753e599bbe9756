//! What is to be written, without copying what was read.

use alloc::vec::Vec;
use core::ops::{Deref, Range};

use crate::close::CloseCode;
use crate::frame::{Header, MAX_CONTROL, MAX_HEADER, OpCode, apply_mask};

/// A piece of what is to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    /// These bytes of the input, in place.
    Input(Range<usize>),
    /// These bytes of `Plan::own`.
    Own(Range<usize>),
}

/// What one read leads to: the bytes for the other end, in order.
///
/// Reused for every read, so that nothing is allocated while frames flow. Nearly always the plan is
/// [whole](Plan::whole): write the input as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    input: usize,
    /// So many bytes of the input come first: nearly always all of it, and no piece behind.
    lead: usize,
    segments: Vec<Segment>,
    own: Vec<u8>,
    /// Outlasts the read that it came of, until it is taken: so a message need not reset it.
    pub(crate) round_trip: Option<u64>,
}

impl Plan {
    /// Forgets everything but the memory it holds.
    pub fn clear(&mut self) {
        self.start(0);
    }

    /// All of the input, unchanged, and nothing else.
    #[inline]
    pub fn whole(&self) -> bool {
        self.lead == self.input && self.segments.is_empty() && self.input > 0
    }

    /// Nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.lead == 0 && self.segments.is_empty()
    }

    /// The round trip of our ping that this read has answered, in microseconds, once. The answer was swallowed: a
    /// plan that is [whole](Plan::whole) has none.
    pub fn take_round_trip(&mut self) -> Option<u64> {
        self.round_trip.take()
    }

    /// Bytes to be written.
    pub fn len(&self) -> usize {
        let behind = self.segments.iter().map(|(Segment::Input(range) | Segment::Own(range))| range.len());
        self.lead + behind.sum::<usize>()
    }

    /// The pieces as bytes, none of them empty. `input` is what was given to `handle_read`.
    pub fn segments<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let behind = self.segments.iter().map(move |segment| match segment {
            Segment::Input(range) => input.get(range.clone()).unwrap_or_default(),
            Segment::Own(range) => self.own.get(range.clone()).unwrap_or_default(),
        });
        input.get(..self.lead).filter(|lead| !lead.is_empty()).into_iter().chain(behind)
    }

    /// What is not of the input: header bytes that had been held back, and frames of ours.
    pub fn own(&self) -> &[u8] {
        &self.own
    }

    #[inline]
    pub(crate) fn start(&mut self, input: usize) {
        (self.input, self.lead) = (input, 0);
        self.segments.clear();
        self.own.clear();
    }

    /// The next piece of the input; joins the piece before where they touch.
    #[inline]
    pub(crate) fn push_input(&mut self, range: Range<usize>) {
        if self.segments.is_empty() && self.lead == range.start {
            self.lead = range.end;
            return;
        }
        match self.segments.last_mut() {
            Some(Segment::Input(last)) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.segments.push(Segment::Input(range)),
        }
    }

    pub(crate) fn push_own(&mut self, bytes: &[u8]) {
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        let end = self.own.len();
        match self.segments.last_mut() {
            Some(Segment::Own(last)) => last.end = end,
            _ if bytes.is_empty() => {}
            _ => self.segments.push(Segment::Own(start..end)),
        }
    }
}

/// The longest control frame: two bytes, a mask, and 125 bytes of payload.
const MAX_OWN: usize = 2 + 4 + MAX_CONTROL;

/// A control frame of ours, ready to be written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct OwnFrame {
    bytes: [u8; MAX_OWN],
    len: u8,
}

impl OwnFrame {
    /// A Ping (section 5.5.2), masked when it goes to a server.
    pub fn ping(payload: [u8; 8], mask: Option<[u8; 4]>) -> OwnFrame {
        OwnFrame::control(OpCode::Ping, mask, &[&payload])
    }

    /// A Close (section 5.5.1), masked when it goes to a server. A reason over 123 bytes loses its end.
    pub fn close(code: CloseCode, reason: &str, mask: Option<[u8; 4]>) -> OwnFrame {
        let mut end = reason.len().min(MAX_CONTROL - 2);
        while !reason.is_char_boundary(end) {
            end -= 1; // 0 is a boundary
        }
        let reason = reason.get(..end).unwrap_or_default();
        OwnFrame::control(OpCode::Close, mask, &[&code.0.to_be_bytes(), reason.as_bytes()])
    }

    /// The parts hold at most 125 bytes together; what exceeds them is cut.
    fn control(opcode: OpCode, mask: Option<[u8; 4]>, parts: &[&[u8]]) -> OwnFrame {
        let mut payload = [0; MAX_CONTROL];
        let mut len = 0;
        for (to, from) in payload.iter_mut().zip(parts.iter().copied().flatten()) {
            *to = *from;
            len += 1;
        }
        if let Some(key) = mask {
            apply_mask(key, 0, &mut payload);
        }
        let mut head = [0; MAX_HEADER];
        let size = Header { fin: true, rsv: 0, opcode, mask, len: len as u64 }.write(&mut head);
        let mut bytes = [0; MAX_OWN];
        for (to, from) in bytes.iter_mut().zip(head[..size].iter().chain(&payload[..len])) {
            *to = *from;
        }
        OwnFrame { bytes, len: (size + len) as u8 } // at most 131
    }
}

impl Deref for OwnFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(MAX_OWN)]
    }
}

impl AsRef<[u8]> for OwnFrame {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn touching_pieces_are_one() {
        let mut plan = Plan::default();
        plan.start(5);
        plan.push_own(&[]);
        plan.push_input(0..2);
        plan.push_input(2..2);
        plan.push_input(2..5);
        assert!(plan.whole());
        plan.push_own(b"x");
        plan.push_own(b"y");
        assert!(!plan.whole());
        assert_eq!(plan.segments(b"abcde").collect::<Vec<_>>(), [&b"abcde"[..], b"xy"]);
        assert_eq!(plan.len(), 7);
    }

    #[test]
    fn frames_of_ours() {
        assert_eq!(*OwnFrame::ping(*b"12345678", None), *b"\x89\x0812345678");
        assert_eq!(*OwnFrame::close(CloseCode::GOING_AWAY, "bye", None), *b"\x88\x05\x03\xe9bye");
        let masked = OwnFrame::close(CloseCode::NORMAL, "", Some([1, 2, 3, 4]));
        assert_eq!(*masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xE8 ^ 2]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason: String = core::iter::repeat_n('é', 100).collect();
        let frame = OwnFrame::close(CloseCode::NORMAL, &reason, Some([0; 4]));
        assert_eq!(frame.len(), 2 + 4 + 2 + 122);
        assert!(core::str::from_utf8(&frame[8..]).is_ok());
    }
}
