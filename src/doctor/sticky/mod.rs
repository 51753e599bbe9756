//! Whether the requests of one session reach the process that knows it (socket.io and SockJS by polling).
//!
//! A session of long polling lives in one process. Behind several without affinity the next request of the session comes
//! to another one, which answers 400 "Session ID unknown" (socket.io) or 404 (SockJS). Each request is made on a
//! connection of its own, once with the cookies of the first answer, as browsers send them, and once without.

pub mod judge;
pub mod packet;
pub mod poll;

use serde::Serialize;

/// What polling showed.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Sticky {
    /// Polling of socket.io, when something like it answers there.
    pub socketio: Option<SocketIo>,
    /// Polling of SockJS, when something like it answers there.
    pub sockjs: Option<SockJs>,
}

/// Polling of socket.io (Engine.IO).
#[derive(Serialize, Default, Clone, Debug)]
pub struct SocketIo {
    /// Where it was asked, without the query.
    pub path: String,
    /// The version of the protocol that was asked for (`EIO`).
    pub asked: u8,
    /// The version of the answer: 3 frames its packets with lengths, 4 does not. Absent when there was no session.
    pub answered: Option<u8>,
    /// Status of the first answer.
    pub status: Option<u16>,
    /// What the first answer said, when it opened no session.
    pub refusal: Option<Refusal>,
    /// The other version, asked for when this one was refused, opened a session.
    pub other_version_works: bool,
    /// Names of the cookies that the first answer set.
    pub cookies: Vec<String>,
    /// Repeats that sent those cookies.
    pub with_cookies: Repeats,
    /// Repeats that sent none, in a session of their own.
    pub without_cookies: Repeats,
    /// Status of the upgrade of the session with cookies to a WebSocket.
    pub upgrade: Option<u16>,
}

/// Why Engine.IO opens no session: the number and the words of its answer.
#[derive(Serialize, Default, Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// 0 unknown transport, 1 unknown session, 2 bad method, 3 bad request, 4 forbidden, 5 unsupported version.
    pub code: Option<u64>,
    /// Its words.
    pub message: String,
}

/// Polling of SockJS.
#[derive(Serialize, Default, Clone, Debug)]
pub struct SockJs {
    /// Where it was asked.
    pub path: String,
    /// `/info` says that WebSocket is on.
    pub websocket: bool,
    /// `/info` says that a cookie must be kept for affinity.
    pub cookie_needed: bool,
    /// Status of the request that opens a session.
    pub status: Option<u16>,
    /// Names of the cookies that were set.
    pub cookies: Vec<String>,
    /// Repeats that sent those cookies.
    pub with_cookies: Repeats,
    /// Repeats that sent none, in a session of their own.
    pub without_cookies: Repeats,
}

/// Requests within one session.
#[derive(Serialize, Default, Clone, PartialEq, Eq, Debug)]
pub struct Repeats {
    /// How many were made.
    pub asked: u32,
    /// How many came to a process that knows the session.
    pub known: u32,
    /// How many came to one that does not.
    pub unknown: u32,
    /// Anything else that was answered, once each.
    pub other: Vec<String>,
}
