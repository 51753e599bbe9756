//! Close codes (RFC 6455, section 7.4, and the IANA registry).

use core::fmt;

/// The number in a Close frame that says why.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection has been fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The end goes away: a server shuts down, a browser leaves the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke RFC 6455.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// Never on the wire: the Close frame held no code.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// Never on the wire: the connection ended without a Close frame.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// A rule of the end forbids the message.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// The message is larger than the end takes.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server restarts; the client may come back.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// A proxy lost the server behind it, as 502 says in HTTP.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// What the number says, in a few words.
    pub fn meaning(self) -> &'static str {
        match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1005 => "no code was given",
            1006 => "ended without a Close frame",
            1007 => "invalid payload data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "a required extension is missing",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake failed",
            3000..=3999 => "registered by a library",
            4000..=4999 => "private to the application",
            _ => "reserved",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_code_speaks() {
        assert_eq!(CloseCode::BAD_GATEWAY.to_string(), "1014 (bad gateway)");
        assert_eq!(CloseCode(4001).meaning(), "private to the application");
        assert_eq!(CloseCode(999).meaning(), "reserved");
    }
}
