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
    /// Those that are no alert, by their number in saved bytes.
    const ALL: [Fault; 9] = [
        Fault::BadRecord,
        Fault::TooLong,
        Fault::Unexpected,
        Fault::Malformed,
        Fault::WrongVersion,
        Fault::Renegotiation,
        Fault::Empty,
        Fault::Exhausted,
        Fault::Internal,
    ];
    /// The number of an alert there.
    const IS_ALERT: u8 = 255;

    /// To be saved.
    pub fn to_bytes(self) -> [u8; 2] {
        match (self, Fault::ALL.iter().position(|fault| *fault == self)) {
            (Fault::Alert(code), _) => [Fault::IS_ALERT, code],
            (_, place) => [place.unwrap_or(Fault::ALL.len()) as u8, 0],
        }
    }

    /// What was saved.
    pub fn from_bytes([number, code]: [u8; 2]) -> Option<Fault> {
        match number {
            Fault::IS_ALERT => Some(Fault::Alert(code)),
            number => Fault::ALL.get(usize::from(number)).filter(|_| code == 0).copied(),
        }
    }

    /// Whether the peer has to mend it.
    pub fn is_of_peer(self) -> bool {
        !matches!(self, Fault::Exhausted | Fault::Internal)
    }

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
            Fault::BadRecord => {
                "it sent a TLS record that cannot be decrypted: altered on its way, or of other keys"
            }
            Fault::TooLong => "it sent a TLS record that is too long",
            Fault::Unexpected => "it sent a TLS message that must not come now",
            Fault::Malformed => "it sent a TLS message that does not parse",
            Fault::WrongVersion => "it sent a TLS record of another version",
            Fault::Renegotiation => "it wants to renegotiate TLS, which is refused",
            Fault::Empty => "it sent too many TLS records without data",
            Fault::Alert(code) => return write!(f, "it sent the TLS alert {} ({code})", alert_name(*code)),
            Fault::Exhausted => "the TLS keys are used up, and TLS 1.2 has no way to renew them",
            Fault::Internal => "the TLS cipher failed",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Fault {}

/// Alerts by name (RFC 8446 appendix B.2).
fn alert_name(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "of an unknown kind",
    }
}
