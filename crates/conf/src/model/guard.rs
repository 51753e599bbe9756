//! Who may come in, how often, how many at once, and whom a client is taken for.

use std::sync::Arc;
use std::time::Duration;

use super::{At, Level};
use crate::cidr::Cidr;
use crate::template::Template;

/// What guards a place.
#[derive(Debug, Clone)]
pub struct Guard {
    /// `allow` and `deny` in order; the first that matches decides, none lets everybody in.
    pub rules: Arc<[AccessRule]>,
    /// `auth_basic`: the realm, and where it stands; `None` is off, and so is a value of `off`.
    pub auth_basic: Option<(Template, At)>,
    /// `auth_basic_user_file`: the path, made absolute where it does not begin with a variable.
    pub auth_basic_user_file: Option<Template>,
    /// `auth_delay` (0): how long a refusal for want of a password waits.
    pub auth_delay: Duration,
    /// `limit_req` in order.
    pub limit_req: Arc<[LimitReq]>,
    /// `limit_req_status` (503).
    pub limit_req_status: u16,
    /// `limit_req_log_level` (error) of refusals; delays are told one level lower.
    pub limit_req_log_level: Level,
    /// `limit_req_dry_run` (off).
    pub limit_req_dry_run: bool,
    /// `limit_conn` in order.
    pub limit_conn: Arc<[LimitConn]>,
    /// `limit_conn_status` (503).
    pub limit_conn_status: u16,
    /// `limit_conn_log_level` (error).
    pub limit_conn_log_level: Level,
    /// `limit_conn_dry_run` (off).
    pub limit_conn_dry_run: bool,
    /// `set_real_ip_from`: whose word about addresses is taken.
    pub real_ip_from: Arc<[Source]>,
    /// `real_ip_header` (`X-Real-IP`).
    pub real_ip_header: RealIpHeader,
    /// `real_ip_recursive` (off).
    pub real_ip_recursive: bool,
    /// `websocket_rate`; `None` is off.
    pub websocket_rate: Option<Arc<MessageRate>>,
    /// `websocket_origins`; `None` is off: every Origin.
    pub websocket_origins: Option<Arc<Origins>>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An address or a network.
    Net(Cidr),
    /// `unix:`: clients of Unix sockets.
    Unix,
    /// `all`.
    All,
}

/// One `allow` or `deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Whom it is about.
    pub source: Source,
    /// `deny`.
    pub deny: bool,
    /// Where it stands.
    pub at: At,
}

/// `limit_req_zone KEY zone=NAME:SIZE rate=RATE`.
#[derive(Debug, Clone)]
pub struct ReqZone {
    /// Its name.
    pub name: String,
    /// Its size in bytes: how much is remembered.
    pub size: u64,
    /// What is counted by; an empty value is not counted.
    pub key: Template,
    /// Thousandths of requests in a second.
    pub rate: u64,
}

/// `limit_req zone=NAME [burst=N] [nodelay | delay=N]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReq {
    /// Index in [`Config::req_zones`](super::Config::req_zones).
    pub zone: usize,
    /// Thousandths of requests that may be ahead of the rate.
    pub burst: u64,
    /// Thousandths of requests ahead of the rate from which on they wait; `u64::MAX` for `nodelay`.
    pub delay: u64,
    /// Where it stands.
    pub at: At,
}

/// `limit_conn_zone KEY zone=NAME:SIZE`.
#[derive(Debug, Clone)]
pub struct ConnZone {
    /// Its name.
    pub name: String,
    /// Its size in bytes: how much can be counted at once.
    pub size: u64,
    /// What is counted by; an empty value is not counted.
    pub key: Template,
}

/// `limit_conn ZONE N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitConn {
    /// Index in [`Config::conn_zones`](super::Config::conn_zones).
    pub zone: usize,
    /// Most requests and tunnels of a key at once.
    pub most: u32,
    /// Where it stands.
    pub at: At,
}

/// `real_ip_header`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RealIpHeader {
    /// `X-Forwarded-For`: all lines of the header, from the last address on.
    ForwardedFor,
    /// Any other header, in lower case with `_` for `-`.
    Header(String),
    /// `proxy_protocol`.
    ProxyProtocol,
}

/// `websocket_rate RATE [burst=N] [bytes=SIZE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRate {
    /// Thousandths of frames in a second that a client may send.
    pub frames: u64,
    /// Frames that may be ahead of that.
    pub burst: u64,
    /// Bytes of payload in a second.
    pub bytes: Option<u64>,
    /// Where it stands.
    pub at: At,
}

/// `websocket_origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// What is allowed.
    pub allowed: Vec<Origin>,
    /// Where the directive stands.
    pub at: At,
}

/// One value of `websocket_origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `same-origin`: the host and port that the request itself asks for.
    Same,
    /// `null`, which files and sandboxed frames send.
    Null,
    /// `SCHEME://HOST[:PORT]` or `HOST[:PORT]`, in lower case; a host `*.example.com` stands for all names below.
    Site {
        /// The scheme, if one is written.
        scheme: Option<String>,
        /// The host; with `*.` in front for all names below it.
        host: String,
        /// The port.
        port: OriginPort,
    },
}

/// The port of an Origin that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginPort {
    /// None is written: the scheme's own.
    Default,
    /// `*`: any.
    Any,
    /// This one.
    Is(u16),
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            rules: Arc::default(),
            auth_basic: None,
            auth_basic_user_file: None,
            auth_delay: Duration::ZERO,
            limit_req: Arc::default(),
            limit_req_status: 503,
            limit_req_log_level: Level::Error,
            limit_req_dry_run: false,
            limit_conn: Arc::default(),
            limit_conn_status: 503,
            limit_conn_log_level: Level::Error,
            limit_conn_dry_run: false,
            real_ip_from: Arc::default(),
            real_ip_header: RealIpHeader::Header("x_real_ip".to_owned()),
            real_ip_recursive: false,
            websocket_rate: None,
            websocket_origins: None,
        }
    }
}
