//! Pure: what was seen on the way to a WebSocket. No judgement stands here; `verdict` has that.
//!
//! All durations are milliseconds. What was not looked at is `null` or empty.

use serde::Serialize;

use super::hops::Hops;
use super::idle::Idle;
use super::sticky::Sticky;
use super::target::Target;

/// Everything that was seen.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Facts {
    /// The URL as it was given.
    pub url: String,
    /// What is wrong with the URL.
    pub url_error: Option<String>,
    /// The certificate need not be trusted.
    pub insecure: bool,
    /// What was sent as `Origin`.
    pub origin: Option<String>,
    /// Whether that is the site's own.
    pub own_origin: bool,
    /// Bytes of the handshake's head.
    pub head_bytes: usize,
    /// Subprotocols that were offered.
    pub subprotocols: Vec<String>,
    /// Where it leads.
    pub target: Option<Target>,
    /// What its name stands for.
    pub dns: Option<Dns>,
    /// Each address, tried at the same time.
    pub addresses: Vec<Address>,
    /// TLS, where the URL asks for it.
    pub tls: Option<Tls>,
    /// The same port asked the other way: in plain text where the URL says TLS, by TLS where it does not.
    pub other_way: Option<OtherWay>,
    /// The handshake as a browser makes it, with its answer.
    pub handshake: Option<Exchange>,
    /// Where redirects led, with the answer to the same handshake there.
    pub redirects: Vec<Redirect>,
    /// Which protocols TLS negotiates when it is asked in other ways.
    pub alpn: Vec<Alpn>,
    /// Plain requests for pages at the path and beside it.
    pub pages: Vec<Page>,
    /// The same handshake with one thing changed.
    pub variations: Vec<Variation>,
    /// The same handshake at paths that applications use.
    pub paths: Vec<Page>,
    /// What went over the connection after a good handshake.
    pub session: Option<Session>,
    /// Sessions of polling, where socket.io or SockJS is.
    pub sticky: Option<Sticky>,
    /// Connections that were held open.
    pub idle: Option<Idle>,
    /// The same through a proxy and past it; then all else is there.
    pub hops: Option<Hops>,
    /// Milliseconds that all of it took.
    pub elapsed_ms: u64,
}

/// The look-up of the name.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Dns {
    /// The name.
    pub name: String,
    /// Its addresses, in the order of the system's resolver.
    pub addresses: Vec<String>,
    /// Why there is none.
    pub error: Option<DnsError>,
    /// In the system's words.
    pub message: Option<String>,
    /// How long it took.
    pub ms: u64,
}

/// Why a name has no address.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum DnsError {
    /// The name does not exist, or has no address.
    NoSuchName,
    /// The name servers do not answer, or fail.
    NoAnswer,
}

/// One address, and whether TCP gets through to it.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Address {
    /// Address and port.
    pub address: String,
    /// Why TCP did not connect.
    pub error: Option<TcpError>,
    /// In the system's words.
    pub message: Option<String>,
    /// How long it took.
    pub ms: u64,
}

/// Why TCP did not connect.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum TcpError {
    /// Nobody listens there (RST).
    Refused,
    /// No answer at all.
    Timeout,
    /// No road there, as some router or this machine says.
    Unreachable,
    /// Something else.
    Other,
}

/// A TLS handshake.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Tls {
    /// The name asked for (SNI).
    pub name: String,
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: Option<String>,
    /// What ALPN chose of `http/1.1`.
    pub alpn: Option<String>,
    /// The server asked for a certificate of the client.
    pub asks_certificate: bool,
    /// What the server showed, its own first.
    pub chain: Vec<Certificate>,
    /// Why the chain is not trusted.
    pub mistrust: Option<Mistrust>,
    /// A root of the organisation that issued the chain's last certificate is trusted: what stands between is missing.
    pub issuer_known: bool,
    /// Why the handshake did not end well. Certificates are not a reason here: any is taken, and judged by `mistrust`.
    pub error: Option<TlsError>,
    /// In words of the library.
    pub message: Option<String>,
    /// How long it took.
    pub ms: u64,
}

/// Why a TLS handshake did not end well.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum TlsError {
    /// The answer was no TLS.
    NotTls,
    /// Only versions older than 1.2 are spoken there.
    VersionOld,
    /// A certificate of the client is demanded.
    CertificateRequired,
    /// None of the protocols offered by ALPN is spoken there.
    NoProtocol,
    /// The server knows no such name (alert unrecognized_name).
    UnknownName,
    /// Another alert.
    Alert,
    /// The connection was closed or reset.
    Closed,
    /// No end in time.
    Timeout,
    /// Something else.
    Other,
}

/// A certificate of the chain.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Certificate {
    /// Subject by RFC 2253.
    pub subject: String,
    /// Issuer by RFC 2253.
    pub issuer: String,
    /// Names it is good for.
    pub names: Vec<String>,
    /// Valid from, in OpenSSL's words.
    pub begins: String,
    /// Valid until, in OpenSSL's words.
    pub ends: String,
    /// Whole days until its end, 0 when it is over.
    pub days_left: u64,
    /// Where its issuer's certificate can be had.
    pub issuer_at: Option<String>,
}

/// Why a chain is not trusted.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Mistrust {
    /// Past its end.
    Expired,
    /// Before its beginning.
    NotYetValid,
    /// Made for other names.
    Name,
    /// Its own issuer.
    SelfSigned,
    /// Nobody known has signed it.
    UnknownIssuer,
    /// Something else is wrong with it.
    Other,
}

/// The same port, asked the other way.
#[derive(Serialize, Default, Clone, Debug)]
pub struct OtherWay {
    /// By TLS, where the URL says plain text.
    pub tls: bool,
    /// It answers that way.
    pub works: bool,
    /// The handshake's answer, in plain text or by TLS.
    pub answer: Option<Exchange>,
}

/// A request and what came back.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Exchange {
    /// The path asked for.
    pub path: String,
    /// Status, when it is an HTTP answer.
    pub status: Option<u16>,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor: Option<u8>,
    /// The words behind the status.
    pub reason: Option<String>,
    /// Headers in their order.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, as text.
    pub body: String,
    /// Bytes of the body that were read.
    pub body_bytes: usize,
    /// Bytes that are no HTTP, as text with escapes.
    pub not_http: Option<String>,
    /// What is wrong with a 101, by RFC 6455 section 4.1.
    pub answer_fault: Option<AnswerFault>,
    /// The accept key that was due.
    pub accept_due: Option<String>,
    /// How the connection ended, if it did.
    pub end: Option<End>,
    /// Until the head of the answer was there, or until it was given up.
    pub ms: u64,
    /// Nothing came in time.
    pub timed_out: bool,
    /// No connection could be had for it.
    pub failure: Option<String>,
    /// TLS ended it, after its own handshake seemed done.
    pub tls_error: Option<TlsError>,
}

impl Exchange {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A handshake that succeeded in every respect.
    pub fn is_open(&self) -> bool {
        self.status == Some(101) && self.answer_fault.is_none()
    }

    /// Whether two answers look the same: by status, kind and body.
    pub fn is_like(&self, other: &Exchange) -> bool {
        self.status.is_some()
            && self.status == other.status
            && self.header("content-type") == other.header("content-type")
            && self.body == other.body
    }
}

/// What is wrong with a 101.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerFault {
    /// `Upgrade` is absent or names something else.
    Upgrade,
    /// `Connection` is absent or does not name `upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is absent or wrong.
    Accept,
    /// A subprotocol that was not offered.
    Protocol,
    /// An extension that was not offered.
    Extension,
}

/// How a connection ended.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// In order (FIN, or close_notify).
    Fin,
    /// Reset (RST).
    Rst,
    /// In another way.
    Error,
}

/// A redirect that was followed.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Redirect {
    /// Status of the answer that said so.
    pub status: u16,
    /// Its `Location`.
    pub location: String,
    /// The URL that this stands for, as a WebSocket's.
    pub url: String,
    /// The handshake's answer there.
    pub answer: Option<Exchange>,
}

/// One more TLS handshake.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Alpn {
    /// What was offered; empty when ALPN was left out.
    pub offered: Vec<String>,
    /// What was chosen.
    pub chosen: Option<String>,
    /// Why it failed.
    pub error: Option<TlsError>,
    /// With h2: whether SETTINGS_ENABLE_CONNECT_PROTOCOL is announced (RFC 8441).
    pub extended_connect: Option<bool>,
    /// With that: the status of a WebSocket asked for by extended CONNECT; 0 when none came.
    pub connect_status: Option<u16>,
}

/// A request at a path.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Page {
    /// What was asked for.
    pub path: String,
    /// Made up, so that nothing can be there.
    pub made_up: bool,
    /// The answer.
    pub answer: Exchange,
}

/// The handshake with one thing changed.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Variation {
    /// What was changed, as an identifier.
    pub id: String,
    /// In words.
    pub what: String,
    /// The answer.
    pub answer: Exchange,
}

/// What went over the connection after the handshake.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Session {
    /// The subprotocol agreed on.
    pub subprotocol: Option<String>,
    /// The extensions agreed on.
    pub extensions: Option<String>,
    /// What came unasked, at the beginning.
    pub greeting: Option<String>,
    /// The connection ended before anything was sent.
    pub closed_at_once: Option<Ending>,
    /// Where it ended at once: which change of the handshake lets it stay open.
    pub stays: Vec<Stay>,
    /// Nothing came back for small messages, and something did once more was sent.
    pub held: bool,
    /// Each thing tried, in its order.
    pub trials: Vec<Trial>,
}

impl Facts {
    /// The plain answer at the path.
    pub fn page(&self) -> Option<&Exchange> {
        self.pages.iter().find(|page| !page.made_up).map(|page| &page.answer)
    }

    /// The plain answer where nothing can be.
    pub fn nowhere(&self) -> Option<&Exchange> {
        self.pages.iter().find(|page| page.made_up).map(|page| &page.answer)
    }

    /// A changed handshake by its identifier.
    pub fn variation(&self, id: &str) -> Option<&Variation> {
        self.variations.iter().find(|one| one.id == id)
    }
}

impl Session {
    /// A trial by its name.
    pub fn trial(&self, id: &str) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.id == id)
    }
}

/// A handshake with one thing changed, and whether the socket stayed open then.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Stay {
    /// What was changed, as an identifier.
    pub id: String,
    /// In words.
    pub what: String,
    /// The subprotocol that was chosen.
    pub subprotocol: Option<String>,
    /// It was still open as long after as the first was not.
    pub open: bool,
}

/// Something tried over an open WebSocket.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Trial {
    /// `text`, `ping`, `fragments`, `64k`, `1m`, `compressed`.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Until its answer.
    pub ms: u64,
    /// How the connection ended on it.
    pub ending: Option<Ending>,
    /// How the bytes that came broke RFC 6455.
    pub violation: Option<String>,
}

/// What became of a trial.
#[derive(Serialize, Default, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Came back as it was sent.
    Echoed,
    /// Something else came back.
    Answered,
    /// Not answered itself, but a Ping sent behind it was: it arrived.
    Passed,
    /// Nothing came back.
    #[default]
    Silent,
    /// The connection ended.
    Ended,
    /// What came back was broken.
    Broken,
}

/// How a WebSocket ended.
#[derive(Serialize, Default, Clone, Debug)]
pub struct Ending {
    /// The Close frame's code; absent when none came (a browser says 1006).
    pub code: Option<u16>,
    /// Its reason.
    pub reason: String,
    /// How TCP ended.
    pub end: Option<End>,
    /// Since the handshake.
    pub ms: u64,
    /// Bytes received after the handshake.
    pub received: u64,
    /// The last bytes, in hexadecimal.
    pub last_bytes: String,
}
