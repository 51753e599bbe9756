//! The typed model: what a configuration means, merged and resolved as far as text alone allows.
//!
//! Each [`Location`] carries all that it needs: nginx's inheritance has been applied. Nothing here opens a file,
//! resolves a name or binds a port; what can fail later keeps its [`Span`] so that the message can show the line.

mod admin;
mod choice;
mod guard;
mod gzip;
mod log;
mod otel;
mod place;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub use upstream::*;

use crate::pattern::Pattern;
use crate::source::Span;
use crate::template::Template;

pub use place::{
    Alias, Assigned, At, AuthRequest, Candidate, Condition, Content, Expires, Expiry, Fallback, FileTest, If,
    IfModifiedSince, LimitExcept, Rewrite, Root, Rule, Satisfy, Then, TryFiles, Types, Unsupported,
};

pub use admin::Admin;
pub use choice::{Geo, Split};
pub use guard::{
    AccessRule, ConnZone, Guard, LimitConn, LimitReq, MessageRate, Origin, OriginPort, Origins, RealIpHeader,
    ReqZone, Source,
};
pub use gzip::{Gzip, GzipProxied};
pub use log::{AccessLog, ErrorLog, Escape, LogFormat, LogTarget, Syslog, SyslogServer};
pub use otel::{Endpoint, Exporter, Otel, Propagation, Tracing};

/// A value with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Config {
    /// The main context.
    pub main: Main,
    /// `server` blocks in file order.
    pub servers: Vec<Server>,
    /// `upstream` blocks first, then one implicit group for each fixed address in a `proxy_pass`.
    pub upstreams: Vec<Upstream>,
    /// `map` blocks; a template names them by index.
    pub maps: Vec<Map>,
    /// `geo` blocks; a template names them by index.
    pub geos: Vec<Geo>,
    /// `split_clients` blocks; a template names them by index.
    pub splits: Vec<Split>,
    /// `limit_req_zone`s.
    pub req_zones: Vec<ReqZone>,
    /// `limit_conn_zone`s.
    pub conn_zones: Vec<ConnZone>,
    /// `log_format`s; index 0 is the predefined `combined`.
    pub log_formats: Vec<LogFormat>,
    /// `log_json`: lines of error logs are objects of JSON.
    pub log_json: bool,
    /// `otel_*` of `http`.
    pub otel: Otel,
    /// Whether there is any `set`.
    pub has_set: bool,
}

/// Directives of the main context.
#[derive(Debug, Default)]
pub struct Main {
    /// `user NAME [GROUP]`.
    pub user: Option<Spanned<(String, Option<String>)>>,
    /// `worker_processes N | auto`: threads here. `None` is auto.
    pub worker_processes: Option<usize>,
    /// `worker_shutdown_timeout`.
    pub worker_shutdown_timeout: Option<Duration>,
    /// `worker_rlimit_nofile`.
    pub worker_rlimit_nofile: Option<u64>,
    /// `pid FILE`; `None` when not written.
    pub pid: Option<Spanned<PathBuf>>,
    /// `websocket_drain` of `http`, for tunnels whose server or location is gone.
    pub websocket_drain: Duration,
    /// `websocket_reload` of `http`, for the same.
    pub websocket_reload: OnRemoval,
    /// `admin`: where the process is looked at and steered.
    pub admin: Vec<Spanned<Admin>>,
    /// `error_log` of the main context; empty when not written (then standard error at `notice`).
    pub error_log: Arc<[ErrorLog]>,
}

/// A severity of the error log, most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// All of them, each at the place of its number in RFC 3164 (4.1.1).
    pub const ALL: [Level; 8] = [
        Level::Emerg,
        Level::Alert,
        Level::Crit,
        Level::Error,
        Level::Warn,
        Level::Notice,
        Level::Info,
        Level::Debug,
    ];

    /// As it is written in a configuration and in a log.
    pub fn name(self) -> &'static str {
        match self {
            Level::Emerg => "emerg",
            Level::Alert => "alert",
            Level::Crit => "crit",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// `map SOURCE $variable { ... }`.
#[derive(Debug, Clone)]
pub struct Map {
    /// Name of the variable, without `$`.
    pub variable: String,
    /// What is looked up.
    pub source: Template,
    /// Exact entries, keys in lower case (nginx compares without case).
    pub exact: Vec<(String, Template)>,
    /// `hostnames`: `*.example.com` masks as `.example.com`-suffixes, longest first.
    pub suffixes: Vec<(String, Template)>,
    /// `hostnames`: `example.*` masks as `example.`-prefixes, longest first.
    pub prefixes: Vec<(String, Template)>,
    /// Regular expressions in file order; captures are visible in the value.
    pub regexes: Vec<(Pattern, Template)>,
    /// `default`; empty when not written.
    pub default: Template,
    /// Whether `hostnames` was written (a trailing dot of the source is then ignored).
    pub hostnames: bool,
}

/// Somewhere to connect or listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP address and port. Port 0 when none was written (a `listen` never has it: 80 is filled in).
    Ip(core::net::IpAddr, u16),
    /// A name to resolve, and the port, as above.
    Name(String, u16),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// A `server` block.
#[derive(Debug, Clone)]
pub struct Server {
    /// `listen`s; one for `*:80` when none was written.
    pub listens: Vec<Spanned<Listen>>,
    /// `server_name`s in file order; one empty exact name when none was written.
    pub names: Vec<ServerName>,
    /// `ssl_*` of this server.
    pub tls: Tls,
    /// Settings of the server level: they hold before a location is found and where none matches.
    pub settings: Arc<Settings>,
    /// The server as a place: its rules are done before any location is sought, the rest holds where none matches.
    pub base: Location,
    /// Its locations in file order.
    pub locations: Vec<Location>,
    /// `client_header_timeout` (60 s).
    pub client_header_timeout: Duration,
    /// `large_client_header_buffers`: the longest head, in bytes (number times size; 32 KiB).
    pub max_head: usize,
    /// `underscores_in_headers` (off: such headers are dropped).
    pub underscores_in_headers: bool,
    /// `ignore_invalid_headers` (on).
    pub ignore_invalid_headers: bool,
    /// `merge_slashes` (on).
    pub merge_slashes: bool,
    /// `http2` (off).
    pub http2: bool,
    /// `http2_max_concurrent_streams` (128).
    pub http2_max_concurrent_streams: u32,
    /// Where the block stands.
    pub span: Span,
}

/// One `listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Address; `Name` is resolved when sockets are made.
    pub address: Address,
    /// `ssl`.
    pub ssl: bool,
    /// `http2`: for every server of the address.
    pub http2: bool,
    /// `default_server` (or the old `default`).
    pub default_server: bool,
    /// `reuseport`.
    pub reuseport: bool,
    /// `backlog=N`.
    pub backlog: Option<u32>,
    /// `ipv6only=on|off` (on).
    pub ipv6only: bool,
    /// `so_keepalive=on`.
    pub so_keepalive: bool,
    /// `proxy_protocol`: connections begin with its header.
    pub proxy_protocol: bool,
}

/// One name of a server.
#[derive(Debug, Clone)]
pub enum ServerName {
    /// In lower case; may be empty.
    Exact(String),
    /// `*.example.com` as `.example.com`; `.example.com` gives this and `Exact("example.com")`.
    Suffix(String),
    /// `www.example.*` as `www.example.`.
    Prefix(String),
    /// `~regex`: the expression, with captures by name for variables.
    Regex(Pattern),
}

/// TLS settings of a server.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// `ssl_certificate` and `ssl_certificate_key`, paired in order.
    pub certificates: Vec<Certificate>,
    /// `ssl_protocols`; TLS 1.2 and 1.3 when not written.
    pub protocols: Protocols,
    /// `ssl_ciphers`: suites of TLS 1.2 that may be used, in order; `None`: all.
    pub ciphers: Option<Vec<&'static str>>,
    /// `ssl_conf_command Ciphersuites`: suites of TLS 1.3 that may be used, in order; `None`: all.
    pub ciphers13: Option<Vec<&'static str>>,
    /// `ssl_ecdh_curve`: groups that may be used, in order, by rustls's names; `None`: all.
    pub curves: Option<Vec<&'static str>>,
    /// `ssl_prefer_server_ciphers`.
    pub prefer_server_ciphers: bool,
    /// `ssl_session_tickets` (on).
    pub session_tickets: bool,
    /// `ssl_session_ticket_key`: the first makes tickets, all are known.
    pub ticket_keys: Arc<[Spanned<PathBuf>]>,
    /// `ssl_session_timeout` (5 min).
    pub session_timeout: Duration,
    /// `ssl_session_cache`: sessions that are kept here; `None` is off.
    pub session_cache: Option<usize>,
    /// `ssl_reject_handshake`.
    pub reject_handshake: bool,
    /// `ssl_verify_client`.
    pub verify_client: VerifyClient,
    /// `ssl_verify_depth` (1): certificates between a client's and a root.
    pub verify_depth: usize,
    /// `ssl_client_certificate`: trusted, and named to clients.
    pub client_certificate: Option<Spanned<PathBuf>>,
    /// `ssl_trusted_certificate`: trusted as well.
    pub trusted_certificate: Option<Spanned<PathBuf>>,
    /// `ssl_crl`.
    pub crl: Option<Spanned<PathBuf>>,
}

/// `ssl_verify_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyClient {
    /// Certificates are not asked for.
    #[default]
    Off,
    /// There must be one, and it must be good.
    On,
    /// If there is one it must be good.
    Optional,
    /// The same, but nobody need have signed it that is known here.
    OptionalNoCa,
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM file with the chain, leaf first.
    pub chain: Spanned<PathBuf>,
    /// PEM file with the key.
    pub key: Spanned<PathBuf>,
}

/// Versions of TLS in use. rustls has no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Protocols {
    pub tls12: bool,
    pub tls13: bool,
}

impl Default for Protocols {
    /// nginx 1.27.3's default.
    fn default() -> Protocols {
        Protocols { tls12: true, tls13: true }
    }
}

/// A `location` block.
#[derive(Debug, Clone)]
pub struct Location {
    /// What it matches.
    pub matcher: Matcher,
    /// Everything inherited and set here.
    pub settings: Arc<Settings>,
    /// Rules of the rewrite module, in file order.
    pub rules: Vec<Rule>,
    /// `limit_except`.
    pub limit_except: Option<Box<LimitExcept>>,
    /// `try_files`.
    pub try_files: Option<TryFiles>,
    /// What answers.
    pub content: Content,
    /// Nested locations.
    pub locations: Vec<Location>,
    /// `internal`: only error pages and named jumps get here.
    pub internal: bool,
    /// `health_check` of the group that its `proxy_pass` names.
    pub health_check: Option<Arc<HealthCheck>>,
    /// Where the block stands.
    pub span: Span,
}

/// What a location matches.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// `= /path`.
    Exact(String),
    /// `/path`, or `^~ /path` with `no_regex`.
    Prefix {
        /// The prefix.
        path: String,
        /// `^~`: regular expressions are not tried.
        no_regex: bool,
    },
    /// `~` and `~*`.
    Regex(Pattern),
    /// `@name`.
    Named(String),
}

/// `return CODE [TEXT] | CODE URL | URL`.
#[derive(Debug, Clone)]
pub struct Return {
    /// The status; 444 closes the connection without an answer.
    pub code: u16,
    /// For 301, 302, 303, 307 and 308 the Location, else the body. `None`: the built-in page.
    pub text: Option<Template>,
}

/// `proxy_pass`.
#[derive(Debug, Clone)]
pub struct ProxyPass {
    /// `https://`.
    pub https: bool,
    /// Where it goes.
    pub target: ProxyTarget,
    /// The whole argument, for logs.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// Where a `proxy_pass` goes.
#[derive(Debug, Clone)]
pub enum ProxyTarget {
    /// A group that is known beforehand, and the URI part if there was one (it replaces the matched prefix).
    Group {
        /// Index in [`Config::upstreams`].
        upstream: usize,
        /// `$proxy_host`: host and port as written.
        host: String,
        /// URI part as written, beginning with `/`.
        uri: Option<String>,
    },
    /// With variables: evaluated for each request. The group is looked up by name, else the host is used as it is.
    Variable(Template),
}

/// Settings that are inherited down to a location.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `proxy_set_header` in order; empty means nginx's two defaults. An empty value removes the header.
    pub proxy_set_header: Arc<[(String, Template)]>,
    /// `proxy_hide_header`, lower case, beside nginx's own (Date, Server, X-Pad, X-Accel-*).
    pub proxy_hide_header: Arc<[String]>,
    /// `proxy_pass_header`, lower case.
    pub proxy_pass_header: Arc<[String]>,
    /// `proxy_pass_request_headers` (on).
    pub proxy_pass_request_headers: bool,
    /// `proxy_pass_request_body` (on).
    pub proxy_pass_request_body: bool,
    /// `proxy_method`.
    pub proxy_method: Option<Template>,
    /// `proxy_connect_timeout` (60 s).
    pub proxy_connect_timeout: Duration,
    /// `proxy_read_timeout` (60 s).
    pub proxy_read_timeout: Duration,
    /// `proxy_send_timeout` (60 s).
    pub proxy_send_timeout: Duration,
    /// `proxy_redirect`.
    pub proxy_redirect: ProxyRedirect,
    /// `proxy_intercept_errors` (off).
    pub proxy_intercept_errors: bool,
    /// `proxy_bind ADDRESS | off`.
    pub proxy_bind: Option<Template>,
    /// `proxy_protocol` (off): version of the PROXY protocol that backends are spoken to with, 1 or 2.
    pub proxy_protocol: Option<u8>,
    /// `proxy_socket_keepalive` (off).
    pub proxy_socket_keepalive: bool,
    /// `proxy_next_upstream` (error timeout).
    pub proxy_next_upstream: NextUpstream,
    /// `proxy_next_upstream_tries` (0: as many as there are servers).
    pub proxy_next_upstream_tries: usize,
    /// `proxy_next_upstream_timeout` (0: no bound).
    pub proxy_next_upstream_timeout: Duration,
    /// `resolver`; `None`: the system looks names up.
    pub resolver: Option<Arc<Resolver>>,
    /// `resolver_timeout` (30 s).
    pub resolver_timeout: Duration,
    /// `proxy_ssl_*`.
    pub proxy_ssl: Arc<ProxySsl>,
    /// Access rules, passwords, limits and real addresses.
    pub guard: Arc<Guard>,
    /// `add_header`.
    pub add_header: Arc<[AddHeader]>,
    /// `error_page`.
    pub error_page: Arc<[ErrorPage]>,
    /// `error_log` in force here; empty: that of the main context.
    pub error_log: Arc<[ErrorLog]>,
    /// `access_log` in force here; empty when off.
    pub access_log: Arc<[AccessLog]>,
    /// `client_max_body_size` (1 MiB); `None` is 0: no limit.
    pub client_max_body_size: Option<u64>,
    /// `client_body_timeout` (60 s).
    pub client_body_timeout: Duration,
    /// `send_timeout` (60 s).
    pub send_timeout: Duration,
    /// `keepalive_timeout` (75 s); zero: connections are not kept.
    pub keepalive_timeout: Duration,
    /// `keepalive_requests` (1000).
    pub keepalive_requests: u64,
    /// `lingering_timeout` (5 s).
    pub lingering_timeout: Duration,
    /// `server_tokens` (on).
    pub server_tokens: bool,
    /// `server_name_in_redirect` (off).
    pub server_name_in_redirect: bool,
    /// `port_in_redirect` (on).
    pub port_in_redirect: bool,
    /// `absolute_redirect` (on).
    pub absolute_redirect: bool,
    /// `tcp_nodelay` (on).
    pub tcp_nodelay: bool,
    /// `default_type` (text/plain): what `types` does not know.
    pub default_type: String,
    /// `types`.
    pub types: Arc<Types>,
    /// `root` or `alias`.
    pub root: Arc<Root>,
    /// `index` (index.html).
    pub index: Arc<[Template]>,
    /// `etag` (on).
    pub etag: bool,
    /// `if_modified_since` (exact).
    pub if_modified_since: IfModifiedSince,
    /// `max_ranges`; `None`: any number.
    pub max_ranges: Option<u64>,
    /// `log_not_found` (on).
    pub log_not_found: bool,
    /// `expires` (off).
    pub expires: Expires,
    /// `recursive_error_pages` (off).
    pub recursive_error_pages: bool,
    /// `rewrite_log` (off): what rules did, at `notice`.
    pub rewrite_log: bool,
    /// `uninitialized_variable_warn` (on).
    pub uninitialized_variable_warn: bool,
    /// `satisfy` (all).
    pub satisfy: Satisfy,
    /// `auth_request`; `None` is off.
    pub auth_request: Option<AuthRequest>,
    /// `auth_request_set`.
    pub auth_request_set: Arc<[(String, Template)]>,
    /// `gzip` and its like.
    pub gzip: Arc<Gzip>,
    /// `otel_*`.
    pub tracing: Arc<Tracing>,
    /// What would be needed here and will never be there, by directive: requests are answered 501.
    pub unsupported: Arc<[(&'static str, Unsupported)]>,
    /// `websocket_ping` (30s timeout=10s); `None` is off.
    pub websocket_ping: Option<Ping>,
    /// `websocket_max_message`; `None` is off.
    pub websocket_max_message: Option<u64>,
    /// `websocket_close_timeout` (5 s): how long the echo of a Close is awaited.
    pub websocket_close_timeout: Duration,
    /// `websocket_drain` (60 s): over how long tunnels are told to go, when many have to.
    pub websocket_drain: Duration,
    /// `websocket_reload` (keep).
    pub websocket_reload: OnRemoval,
}

/// `websocket_reload`: what becomes of the tunnels to a server that a reload removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRemoval {
    /// They stay.
    #[default]
    Keep,
    /// They go, over the time of `websocket_drain`.
    Drain,
}

/// `websocket_ping INTERVAL [timeout=TIME]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Silence after which an end is pinged.
    pub interval: Duration,
    /// How long its Pong may take; never more than the interval.
    pub timeout: Duration,
}

/// `add_header NAME VALUE [always]`.
#[derive(Debug, Clone)]
pub struct AddHeader {
    /// Name as written.
    pub name: String,
    /// Value; no header when empty.
    pub value: Template,
    /// `always`: whatever the status.
    pub always: bool,
}

/// `error_page CODE... [=[CODE]] URI`.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    /// Statuses it stands for.
    pub codes: Vec<u16>,
    /// What becomes of the status.
    pub answer: ErrorAnswer,
    /// `@name`, a URI, or a URL to redirect to.
    pub target: Template,
}

/// The status that an error page is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorAnswer {
    /// The status that failed.
    Keep,
    /// `=CODE`.
    Code(u16),
    /// `=`: whatever the page's own processing gives.
    Page,
}

/// `proxy_redirect`.
#[derive(Debug, Clone, Default)]
pub enum ProxyRedirect {
    /// `default`, also when not written: the URL of `proxy_pass` becomes the prefix of the location.
    #[default]
    Default,
    /// `off`.
    Off,
    /// In order; the first that matches is applied.
    Rules(Arc<[RedirectRule]>),
}

/// One `proxy_redirect FROM TO`.
#[derive(Debug, Clone)]
pub enum RedirectRule {
    /// `default` beside others.
    Default,
    /// A prefix to replace.
    Prefix(Template, Template),
    /// A regular expression and its replacement.
    Regex(Pattern, Template),
}

/// `proxy_ssl_*`.
#[derive(Debug, Clone)]
pub struct ProxySsl {
    /// `proxy_ssl_verify` (off).
    pub verify: bool,
    /// `proxy_ssl_trusted_certificate`.
    pub trusted: Option<Spanned<PathBuf>>,
    /// `proxy_ssl_name` (`$proxy_host`).
    pub name: Option<Template>,
    /// `proxy_ssl_server_name` (off): whether SNI is sent.
    pub server_name: bool,
    /// `proxy_ssl_protocols`.
    pub protocols: Protocols,
    /// `proxy_ssl_session_reuse` (on).
    pub session_reuse: bool,
    /// `proxy_ssl_certificate` and its key.
    pub certificate: Option<Certificate>,
}
