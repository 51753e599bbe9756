//! Frames (RFC 6455, section 5): headers in and out, masking, and what breaks the rules.

use core::fmt;

/// The longest frame header: two bytes, eight of length, four of mask.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (section 5.5).
pub const MAX_CONTROL: usize = 125;

/// What a frame is (section 5.2).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum OpCode {
    /// More of the message that an earlier frame began.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Begins the end of the connection.
    Close,
    /// Asks for a Pong.
    Ping,
    /// Answers a Ping, or comes unasked.
    Pong,
}

impl OpCode {
    /// From the low four bits of the first byte; `None` for a reserved one.
    pub fn from_bits(bits: u8) -> Option<OpCode> {
        Some(match bits {
            0x0 => OpCode::Continuation,
            0x1 => OpCode::Text,
            0x2 => OpCode::Binary,
            0x8 => OpCode::Close,
            0x9 => OpCode::Ping,
            0xA => OpCode::Pong,
            _ => return None,
        })
    }

    /// The four bits on the wire.
    pub fn bits(self) -> u8 {
        match self {
            OpCode::Continuation => 0x0,
            OpCode::Text => 0x1,
            OpCode::Binary => 0x2,
            OpCode::Close => 0x8,
            OpCode::Ping => 0x9,
            OpCode::Pong => 0xA,
        }
    }

    /// Close, Ping and Pong may stand between the fragments of a message (section 5.4).
    pub fn is_control(self) -> bool {
        matches!(self, OpCode::Close | OpCode::Ping | OpCode::Pong)
    }
}

/// What stands before the payload of a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// RSV1 (0b100), RSV2 (0b010) and RSV3 (0b001), which extensions give a meaning to.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: OpCode,
    /// The key that the payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes that follow.
    pub len: u64,
}

impl Header {
    /// Reads the header at the beginning of `bytes`: with its size in bytes once it is complete, `None` while more
    /// bytes are needed.
    ///
    /// Fails on what is wrong in itself (sections 5.2 and 5.5), as soon as the wrong byte is there: how a header is
    /// cut into reads never changes the answer. Rules that depend on the connection are the scanner's.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = OpCode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode)?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Violation::LongControl);
        }
        if opcode == OpCode::Close && short == 1 {
            return Err(Violation::HalfCloseCode);
        }
        let Some((len, size)) = parse_len(short, bytes)? else { return Ok(None) };
        let (mask, size) = if second & 0x80 == 0 {
            (None, size)
        } else {
            let Some(key) = bytes.get(size..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
            (Some(*key), size + 4)
        };
        Ok(Some((Header { fin, rsv: (first >> 4) & 0b111, opcode, mask, len }, size)))
    }

    /// Writes the header and returns its size in bytes. The length takes its shortest form.
    pub fn write(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        out[0] = u8::from(self.fin) << 7 | (self.rsv & 0b111) << 4 | self.opcode.bits();
        let mut size = if let Ok(short @ 0..=125) = u8::try_from(self.len) {
            out[1] = masked | short;
            2
        } else if let Ok(medium) = u16::try_from(self.len) {
            out[1] = masked | 126;
            out[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            out[1] = masked | 127;
            out[2..10].copy_from_slice(&self.len.to_be_bytes());
            10
        };
        if let Some(key) = self.mask {
            out[size..size + 4].copy_from_slice(&key); // size is at most 10
            size += 4;
        }
        size
    }
}

/// The payload length and where it ends, from the seven bits in the second byte.
fn parse_len(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let rest = bytes.get(2..).unwrap_or_default();
    match short {
        126 => {
            let Some(field) = rest.first_chunk::<2>() else { return Ok(None) };
            let len = u16::from_be_bytes(*field);
            if len < 126 { Err(Violation::NonMinimalLength) } else { Ok(Some((len.into(), 4))) }
        }
        127 => {
            if rest.first().is_some_and(|&top| top & 0x80 != 0) {
                return Err(Violation::HugeLength);
            }
            let Some(field) = rest.first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(*field);
            if len <= u64::from(u16::MAX) { Err(Violation::NonMinimalLength) } else { Ok(Some((len, 10))) }
        }
        _ => Ok(Some((short.into(), 2))),
    }
}

/// Masks or unmasks `payload` in place (section 5.3). `offset` is the place of its first byte in the whole payload.
pub fn apply_mask(key: [u8; 4], offset: usize, payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle().skip(offset % 4)) {
        *byte ^= key;
    }
}

/// How an end broke RFC 6455.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// An opcode that has no meaning (section 5.2).
    ReservedOpcode,
    /// A control frame in fragments (section 5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    LongControl,
    /// A Close frame with a payload of one byte (section 5.5.1).
    HalfCloseCode,
    /// A length in a longer form than it needs (section 5.2).
    NonMinimalLength,
    /// A 64-bit length with the highest bit set (section 5.2).
    HugeLength,
    /// An unmasked frame from a client (section 5.1).
    Unmasked,
    /// A masked frame from a server (section 5.1).
    Masked,
    /// A reserved bit that no negotiated extension gives a meaning to (section 5.2).
    ReservedBits,
    /// A continuation of no message (section 5.4).
    StrayContinuation,
    /// A new message inside of an unfinished one (section 5.4).
    UnfinishedMessage,
}

impl Violation {
    /// Every violation. New ones go to the end: saved tunnels know them by their place.
    pub const ALL: [Violation; 11] = [
        Violation::ReservedOpcode,
        Violation::FragmentedControl,
        Violation::LongControl,
        Violation::HalfCloseCode,
        Violation::NonMinimalLength,
        Violation::HugeLength,
        Violation::Unmasked,
        Violation::Masked,
        Violation::ReservedBits,
        Violation::StrayContinuation,
        Violation::UnfinishedMessage,
    ];

    /// What was wrong, in at most 60 bytes, so that it fits into the reason of a Close frame.
    pub fn sentence(self) -> &'static str {
        match self {
            Violation::ReservedOpcode => "frame with a reserved opcode",
            Violation::FragmentedControl => "control frame in fragments",
            Violation::LongControl => "control frame longer than 125 bytes",
            Violation::HalfCloseCode => "Close frame with half a code",
            Violation::NonMinimalLength => "frame length in a longer form than needed",
            Violation::HugeLength => "frame length with the highest bit set",
            Violation::Unmasked => "unmasked frame from a client",
            Violation::Masked => "masked frame from a server",
            Violation::ReservedBits => "reserved bit set without an extension",
            Violation::StrayContinuation => "continuation frame without a message",
            Violation::UnfinishedMessage => "new message inside an unfinished one",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl core::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn header(opcode: OpCode, mask: Option<[u8; 4]>, len: u64) -> Header {
        Header { fin: true, rsv: 0, opcode, mask, len }
    }

    #[test]
    fn a_header_comes_back_as_written_and_wants_every_byte() {
        for len in [0, 1, 125, 126, 127, 65535, 65536, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                for rsv in 0..8 {
                    let header = Header { fin: len % 2 == 0, rsv, ..header(OpCode::Binary, mask, len) };
                    let mut out = [0; MAX_HEADER];
                    let size = header.write(&mut out);
                    for cut in 0..size {
                        assert_eq!(Header::parse(&out[..cut]), Ok(None), "{header:?} cut at {cut}");
                    }
                    assert_eq!(Header::parse(&out[..size]), Ok(Some((header, size))));
                }
            }
        }
    }

    #[test]
    fn the_examples_of_section_5_7() {
        let hello =
            |opcode, mask, len| Ok(Some((header(opcode, mask, len), if mask.is_some() { 6 } else { 2 })));
        assert_eq!(Header::parse(&[0x81, 0x05, 0x48]), hello(OpCode::Text, None, 5));
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(Header::parse(&masked), hello(OpCode::Text, Some([0x37, 0xfa, 0x21, 0x3d]), 5));
        let mut payload: Vec<u8> = masked[6..].to_vec();
        apply_mask([0x37, 0xfa, 0x21, 0x3d], 0, &mut payload);
        assert_eq!(payload, b"Hello");
        apply_mask([0x37, 0xfa, 0x21, 0x3d], 2, &mut payload[2..]);
        assert_eq!(payload[2..], masked[8..]);
    }

    #[test]
    fn what_is_wrong_in_itself_fails_at_the_wrong_byte() {
        let cases: [(&[u8], Violation); 8] = [
            (&[0x83], Violation::ReservedOpcode),
            (&[0x8B], Violation::ReservedOpcode),
            (&[0x09], Violation::FragmentedControl),
            (&[0x89, 126], Violation::LongControl),
            (&[0x88, 1], Violation::HalfCloseCode),
            (&[0x82, 126, 0, 125], Violation::NonMinimalLength),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::NonMinimalLength),
            (&[0x82, 127, 0x80], Violation::HugeLength),
        ];
        for (bytes, violation) in cases {
            assert_eq!(Header::parse(bytes), Err(violation));
            assert_eq!(Header::parse(&bytes[..bytes.len() - 1]), Ok(None), "{violation} came too early");
        }
    }

    #[test]
    fn sentences_fit_into_a_close_frame() {
        for violation in Violation::ALL {
            assert!(violation.sentence().len() <= 60, "{violation}");
        }
    }
}
