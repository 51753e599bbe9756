//! Pure: why a TLS connection cannot go on, and the alert that tells the peer.

use std::fmt;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A record was altered or protected by other keys.
    BadRecord,
    /// A record is longer than allowed.
    TooLong,
    /// A message that must not come now.
    Unexpected,
    /// A message that does not parse.
    Malformed,
    /// The record is of another version.
    WrongVersion,
    /// The peer wants to negotiate anew (TLS 1.2).
    Renegotiation,
    /// Too many records that bring nothing.
    Empty,
    /// The peer says that it cannot go on: the code of its alert.
    Alert(u8),
    /// The key has protected as much as it may.
    Exhausted,
    /// The cipher refuses what it never should.
    Internal,
}

impl Fault {
    /// The alert that tells the peer (RFC 8446 section 6.2).
    pub fn alert(self) -> Option<u8> {
        Some(match self {
            Fault::BadRecord => 20,
            Fault::TooLong => 22,
            Fault::Unexpected | Fault::Empty => 10,
            Fault::Malformed => 50,
            Fault::WrongVersion => 70,
            Fault::Renegotiation => 40,
            Fault::Exhausted | Fault::Internal => 80,
            Fault::Alert(_) => return None,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Fault::BadRecord => "a TLS record cannot be decrypted",
            Fault::TooLong => "a TLS record is too long",
            Fault::Unexpected => "an unexpected TLS message",
            Fault::Malformed => "a TLS message does not parse",
            Fault::WrongVersion => "a TLS record of another version",
            Fault::Renegotiation => "TLS renegotiation is refused",
            Fault::Empty => "too many TLS records without data",
            Fault::Alert(code) => return write!(f, "TLS alert {code}"),
            Fault::Exhausted => "the TLS keys are used up",
            Fault::Internal => "the TLS cipher failed",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Fault {}
