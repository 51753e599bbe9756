//! Pure: why a handshake came to nothing, in few words that stay the same: what is counted, and what alerts name.

/// Why there is no WebSocket. Who has to act is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFault {
    /// The request breaks the rules of HTTP, or what a place allows of it.
    BadRequest,
    /// The request breaks the rules of RFC 6455, section 4.2.1.
    Malformed,
    /// The client spoke without TLS to a port for TLS.
    PlainOnTls,
    /// `ssl_verify_client`.
    ClientCertificate,
    /// The client left before there was an answer.
    ClientLeft,
    /// `deny`.
    AddressDenied,
    /// `auth_basic`.
    Password,
    /// `auth_request` said no.
    AuthRefused,
    /// `websocket_origins`.
    OriginRefused,
    /// `limit_req` or `limit_conn`.
    Limited,
    /// No connection to the backend.
    BackendUnreachable,
    /// The backend did not answer in time.
    BackendTimeout,
    /// The backend closed, or answered something that is no HTTP.
    BackendBroke,
    /// No server of the group can take it.
    NoLiveBackend,
    /// The backend answered something else than 101.
    BackendAnswered,
    /// The backend's 101 breaks the rules of RFC 6455, section 4.2.2.
    AnswerWrong,
    /// The backend does not know the session of a socket.io client.
    SessionUnknown,
    /// `auth_request` was answered neither yes nor no.
    AuthFailed,
    /// The backend wants other credentials or another Origin: it did what it should.
    BackendRefused,
    /// The configuration keeps `Upgrade` from the backend.
    UpgradeNotPassed,
    /// Something answers at this place without a backend.
    NotProxied,
    /// The configuration answered with a redirect.
    Redirected,
    /// No location with a `proxy_pass` is there for the path.
    NoLocation,
    /// Several servers and nothing that leads a socket.io client back to its own.
    StickinessMissing,
    /// The name of the backend leads to no address.
    NameUnknown,
    /// The configuration asks for what cannot be done.
    Configuration,
}

use HandshakeFault::{
    AddressDenied, AnswerWrong, AuthFailed, AuthRefused, BackendAnswered, BackendBroke, BackendRefused,
    BackendTimeout, BackendUnreachable, BadRequest, ClientCertificate, ClientLeft, Configuration, Limited,
    Malformed, NameUnknown, NoLiveBackend, NoLocation, NotProxied, OriginRefused, Password, PlainOnTls,
    Redirected, SessionUnknown, StickinessMissing, UpgradeNotPassed,
};

/// Each with its name, who has to act, and what it is in words.
const TABLE: [(HandshakeFault, &str, Option<&str>, &str); 26] = [
    (
        BadRequest,
        "bad-request",
        Some("client"),
        "the request breaks the rules of HTTP or is larger than allowed",
    ),
    (Malformed, "malformed-handshake", Some("client"), "the request is no valid WebSocket handshake"),
    (PlainOnTls, "plain-on-tls", Some("client"), "the client spoke without TLS to a port for TLS"),
    (
        ClientCertificate,
        "client-certificate",
        Some("client"),
        "the client has no certificate that is trusted",
    ),
    (ClientLeft, "client-left", Some("client"), "the client left before it was answered"),
    (AddressDenied, "address-denied", Some("client"), "the client's address is denied"),
    (Password, "password", Some("client"), "name and password are missing or wrong"),
    (AuthRefused, "auth-refused", Some("client"), "auth_request refused the client"),
    (OriginRefused, "origin-refused", Some("client"), "the page's Origin is not among websocket_origins"),
    (Limited, "limited", Some("client"), "the client ran into limit_req or limit_conn"),
    (BackendUnreachable, "backend-unreachable", Some("backend"), "no connection to the backend"),
    (BackendTimeout, "backend-timeout", Some("backend"), "the backend did not answer in time"),
    (BackendBroke, "backend-broke", Some("backend"), "the backend closed the connection or answered no HTTP"),
    (NoLiveBackend, "no-live-backend", Some("backend"), "no server of the upstream can take it"),
    (BackendAnswered, "backend-answered", Some("backend"), "the backend answered something else than 101"),
    (AnswerWrong, "answer-wrong", Some("backend"), "the backend's 101 is no valid answer to a handshake"),
    (SessionUnknown, "session-unknown", Some("backend"), "the backend does not know the socket.io session"),
    (AuthFailed, "auth-failed", Some("backend"), "auth_request was answered neither yes nor no"),
    (BackendRefused, "backend-refused", None, "the backend wants other credentials or another Origin"),
    (
        UpgradeNotPassed,
        "upgrade-not-passed",
        Some("configuration"),
        "proxy_set_header keeps Upgrade from the backend",
    ),
    (NotProxied, "not-proxied", Some("configuration"), "something answers at this place without a backend"),
    (
        Redirected,
        "redirected",
        Some("configuration"),
        "it was redirected, and WebSocket clients do not follow",
    ),
    (NoLocation, "no-location", Some("configuration"), "no location with a proxy_pass matches the path"),
    (
        StickinessMissing,
        "stickiness-missing",
        Some("configuration"),
        "socket.io needs stickiness, and the upstream has none",
    ),
    (NameUnknown, "name-unknown", Some("configuration"), "the backend's name leads to no address"),
    (Configuration, "configuration", Some("configuration"), "the configuration asks for what cannot be done"),
];

impl HandshakeFault {
    /// How many there are.
    pub const COUNT: usize = TABLE.len();

    /// All of them, by [`HandshakeFault::index`].
    pub fn all() -> impl Iterator<Item = HandshakeFault> {
        TABLE.iter().map(|(fault, ..)| *fault)
    }

    /// Its place among all.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name: a label, stable.
    pub fn id(self) -> &'static str {
        TABLE[self.index()].1
    }

    /// Who has to act: `client`, `backend` or `configuration`. `None` where the backend refused the client, as it should.
    pub fn of(self) -> Option<&'static str> {
        TABLE[self.index()].2
    }

    /// What it is, for people.
    pub fn words(self) -> &'static str {
        TABLE[self.index()].3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_unique() {
        for (index, fault) in HandshakeFault::all().enumerate() {
            assert_eq!(fault.index(), index, "{}", fault.id());
            let known = HandshakeFault::all().filter(|other| other.id() == fault.id()).count();
            assert_eq!(known, 1, "{}", fault.id());
            assert!(fault.id().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", fault.id());
        }
    }
}
