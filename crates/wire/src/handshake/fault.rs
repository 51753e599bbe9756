//! What can be wrong with an opening handshake, in sentences for whoever reads the log at night.

use alloc::string::String;
use core::fmt;

/// Why a request cannot become a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestFault {
    /// Not GET, but this.
    Method(String),
    /// HTTP/1.0: the minor version.
    HttpVersion(u8),
    /// `Sec-WebSocket-Version` is this instead of 13, or missing.
    Version(Option<String>),
    /// There is more than one `Sec-WebSocket-Version`.
    VersionRepeated,
    /// No `Sec-WebSocket-Key`.
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    KeyRepeated,
    /// A `Sec-WebSocket-Key` that is not 16 bytes in base64.
    KeyMalformed(String),
}

impl RequestFault {
    /// The HTTP status for the answer. 426 goes with the header `Sec-WebSocket-Version: 13` (section 4.4).
    pub fn status(&self) -> u16 {
        match self {
            RequestFault::Version(_) | RequestFault::VersionRepeated => 426,
            RequestFault::Method(_) => 405,
            _ => 400,
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestFault::Method(got) => write!(f, "client asked for a WebSocket with {got}, expected GET"),
            RequestFault::HttpVersion(minor) => {
                write!(f, "client asked for a WebSocket over HTTP/1.{minor}, expected HTTP/1.1")
            }
            RequestFault::Version(Some(got)) => {
                write!(f, "client speaks Sec-WebSocket-Version \"{got}\", expected 13")
            }
            RequestFault::Version(None) => f.write_str("client sent no Sec-WebSocket-Version, expected 13"),
            RequestFault::VersionRepeated => {
                f.write_str("client sent several Sec-WebSocket-Version headers, expected one")
            }
            RequestFault::KeyMissing => {
                f.write_str("client sent no Sec-WebSocket-Key, expected 16 bytes in base64")
            }
            RequestFault::KeyRepeated => {
                f.write_str("client sent several Sec-WebSocket-Key headers, expected one")
            }
            RequestFault::KeyMalformed(got) => {
                write!(f, "client sent Sec-WebSocket-Key \"{got}\", expected 16 bytes in base64")
            }
        }
    }
}

impl core::error::Error for RequestFault {}

/// Why the 101 of a backend opens no WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnswerFault {
    /// `Upgrade` is this instead of `websocket`.
    Upgrade(String),
    /// `Connection` is this and does not name `upgrade`.
    Connection(String),
    /// `Sec-WebSocket-Accept` does not belong to the key: the answer may come from a cache or from no WebSocket server.
    Accept {
        /// What the key asks for.
        expected: String,
        /// What came; `None` without the header.
        got: Option<String>,
    },
    /// More than one `Sec-WebSocket-Accept`.
    AcceptRepeated,
    /// A subprotocol that was not offered.
    Protocol {
        /// What the client offered.
        offered: String,
        /// What the backend chose.
        got: String,
    },
    /// More than one `Sec-WebSocket-Protocol`.
    ProtocolRepeated,
    /// An extension that was not offered.
    Extension {
        /// What the client offered.
        offered: String,
        /// What the backend chose.
        got: String,
    },
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerFault::Upgrade(got) => {
                write!(f, "backend answered 101 with Upgrade \"{got}\", expected \"websocket\"")
            }
            AnswerFault::Connection(got) => {
                write!(f, "backend answered 101 with Connection \"{got}\", expected it to name \"upgrade\"")
            }
            AnswerFault::Accept { expected, got: Some(got) } => {
                write!(f, "backend answered with Sec-WebSocket-Accept \"{got}\", expected \"{expected}\"")
            }
            AnswerFault::Accept { expected, got: None } => {
                write!(f, "backend answered without Sec-WebSocket-Accept, expected \"{expected}\"")
            }
            AnswerFault::AcceptRepeated => {
                f.write_str("backend answered with several Sec-WebSocket-Accept headers, expected one")
            }
            AnswerFault::Protocol { offered, got } => {
                write!(
                    f,
                    "backend chose subprotocol \"{got}\", expected one that the client offered: \"{offered}\""
                )
            }
            AnswerFault::ProtocolRepeated => f.write_str(
                "backend answered with several Sec-WebSocket-Protocol headers, expected at most one",
            ),
            AnswerFault::Extension { offered, got } => {
                write!(
                    f,
                    "backend chose extension \"{got}\", expected only what the client offered: \"{offered}\""
                )
            }
        }
    }
}

impl core::error::Error for AnswerFault {}
