//! Pure: follows the frames of HTTP/2 on a connection, as far as telling when a request head is under way and which
//! streams are open.

use std::collections::HashSet;

use super::http2::PREFACE;

/// DATA (RFC 9113, section 6).
const DATA: u8 = 0;

/// HEADERS and CONTINUATION.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// RST_STREAM.
const RESET: u8 = 3;
/// Nothing follows in this direction of the stream.
const END_STREAM: u8 = 1;
/// No CONTINUATION follows.
const END_HEADERS: u8 = 4;

/// Follows both directions of one connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    received: Frames,
    sent: Frames,
    /// Streams that the client has begun and that have not ended.
    open: HashSet<u32>,
    newest: u32,
}

impl Wire {
    /// A connection from its first byte on.
    pub(super) fn new() -> Wire {
        Wire { received: Frames { left: PREFACE.len(), ..Frames::default() }, ..Wire::default() }
    }

    /// Bytes that the client sent, in order.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let Wire { open, newest, .. } = self;
        self.received.feed(bytes, |kind, _, stream| match kind {
            HEADERS if stream > *newest => {
                *newest = stream;
                open.insert(stream);
            }
            RESET => drop(open.remove(&stream)),
            _ => {}
        });
    }

    /// Bytes that were sent to it, in order.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let open = &mut self.open;
        self.sent.feed(bytes, |kind, flags, stream| {
            if kind == RESET || (matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0) {
                open.remove(&stream);
            }
        });
    }

    /// How many streams are open.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether a request head, or the head of a frame, has begun and is not whole.
    pub(super) fn in_head(&self) -> bool {
        self.received.in_head()
    }
}

/// Follows one direction.
#[derive(Debug, Default)]
struct Frames {
    /// The head of a frame, as far as it is there.
    head: [u8; 9],
    have: usize,
    /// Bytes that are still to come: of the frame, or of what the connection begins with.
    left: usize,
    /// These belong to a request head.
    in_block: bool,
    /// A CONTINUATION must follow.
    open: bool,
}

impl Frames {
    /// Takes bytes in order; `seen` hears the kind, flags and stream of each frame when its head is there.
    fn feed(&mut self, mut bytes: &[u8], mut seen: impl FnMut(u8, u8, u32)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            self.head[self.have] = byte;
            self.have += 1;
            bytes = rest;
            if self.have == self.head.len() {
                self.have = 0;
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.in_block = matches!(kind, HEADERS | CONTINUATION);
                self.open = self.in_block && flags & END_HEADERS == 0;
                seen(kind, flags, u32::from_be_bytes(stream) & 0x7fff_ffff);
            }
        }
    }

    fn in_head(&self) -> bool {
        self.have > 0 || self.open || (self.in_block && self.left > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![0; usize::from(length)]].concat()
    }

    #[test]
    fn a_head_is_under_way_until_its_last_byte() {
        const WHOLE: [(u8, u8, u8, bool); 6] = [
            (4, 0, 6, false),
            (HEADERS, END_HEADERS, 5, false),
            (0, 1, 200, false),
            (HEADERS, 0, 3, true),
            (CONTINUATION, 0, 0, true),
            (CONTINUATION, END_HEADERS, 2, false),
        ];
        let mut frames = Wire::new();
        frames.receive(&PREFACE[..10]);
        assert!(!frames.in_head());
        frames.receive(&PREFACE[10..]);
        for (kind, flags, length, open) in WHOLE {
            let bytes = frame(kind, flags, length);
            let (last, before) = bytes.split_last().unwrap();
            for byte in before {
                frames.receive(&[*byte]);
            }
            // All but the payload of DATA and SETTINGS has to come promptly.
            assert_eq!(frames.in_head(), kind != 0 && kind != 4, "{kind}");
            frames.receive(&[*last]);
            assert_eq!(frames.in_head(), open, "{kind} {flags}");
        }
        let all = WHOLE.iter().flat_map(|(kind, flags, length, _)| frame(*kind, *flags, *length));
        frames.receive(&all.collect::<Vec<_>>());
        assert!(!frames.in_head());
    }

    #[test]
    fn streams_are_open_until_one_side_ends_them() {
        let on = |kind, flags, stream| [&[0, 0, 1, kind, flags, 0, 0, 0, stream][..], &[0]].concat();
        let mut wire = Wire::new();
        wire.receive(PREFACE);
        for stream in [1, 3, 5, 7] {
            wire.receive(&on(HEADERS, END_HEADERS, stream));
        }
        // Trailers begin no stream, and the end of a request does not end one.
        wire.receive(&on(HEADERS, END_HEADERS | END_STREAM, 3));
        assert_eq!(wire.open(), 4);
        wire.send(&[on(HEADERS, END_HEADERS, 1), on(DATA, 0, 1), on(DATA, END_STREAM, 1)].concat());
        assert_eq!(wire.open(), 3);
        wire.send(&on(HEADERS, END_HEADERS | END_STREAM, 3));
        wire.send(&on(RESET, 0, 5));
        wire.receive(&on(RESET, 0, 5));
        assert_eq!(wire.open(), 1);
        wire.receive(&on(RESET, 0, 7));
        assert_eq!(wire.open(), 0);
    }
}
