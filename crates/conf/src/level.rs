//! Levels as typed, and what they become: nginx's inheritance, all of it in this file.
//!
//! A directive may stand behind the blocks it is inherited by, so levels are read first and merged afterwards. A level's
//! own value wins; a list (headers, logs, error pages) is inherited only by a level that has none of its own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Level as LogLevel;
use crate::model::{
    AccessLog, AccessRule, AddHeader, Alias, At, AuthRequest, Certificate, Condition, ErrorLog, ErrorPage,
    Expires, Expiry, Guard, Gzip, GzipProxied, HealthCheck, IfModifiedSince, LimitConn, LimitReq, Listen,
    LogTarget, Matcher, MessageRate, NextUpstream, OnRemoval, Origins, Ping, Propagation, Protocols,
    ProxyPass, ProxyRedirect, ProxySsl, RealIpHeader, Resolver, Root, Rule, Satisfy, ServerName, Settings,
    Source, Spanned, Tracing, TryFiles, Types, Unsupported, VerifyClient,
};
use crate::pattern::Pattern;
use crate::source::Span;
use crate::template::Template;

/// Makes a struct of what is typed at a level, all optional, with the rule by which it becomes complete.
macro_rules! inherited {
    ($(#[doc = $doc:literal])* $typed:ident => $merged:ident {
        values { $($value:ident: $value_type:ty = $default:expr,)* }
        lists { $($list:ident: $item:ty = $empty:expr,)* }
        inside { $($inner:ident: $inner_type:ty,)* }
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $typed {
            $(pub(crate) $value: Option<$value_type>,)*
            $(pub(crate) $list: Option<Vec<$item>>,)*
            $(pub(crate) $inner: $inner_type,)*
        }

        impl $typed {
            /// What holds where nothing is typed.
            pub(crate) fn defaults() -> $merged {
                $merged {
                    $($value: $default,)*
                    $($list: { let items: Vec<$item> = $empty; items.into() },)*
                    $($inner: <$inner_type>::defaults().into(),)*
                }
            }

            /// What holds at this level, given what holds around it.
            pub(crate) fn merge(&self, outer: &$merged) -> $merged {
                $merged {
                    $($value: self.$value.clone().unwrap_or_else(|| outer.$value.clone()),)*
                    $($list: self.$list.clone().map_or_else(|| outer.$list.clone(), Into::into),)*
                    $($inner: self.$inner.merge(&outer.$inner).into(),)*
                }
            }
        }
    };
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

inherited! {
    /// What http, server and location have in common.
    Layer => Settings {
        values {
            proxy_pass_request_headers: bool = true,
            proxy_pass_request_body: bool = true,
            proxy_method: Option<Template> = None,
            proxy_connect_timeout: Duration = secs(60),
            proxy_read_timeout: Duration = secs(60),
            proxy_send_timeout: Duration = secs(60),
            proxy_redirect: ProxyRedirect = ProxyRedirect::Default,
            proxy_intercept_errors: bool = false,
            proxy_bind: Option<Template> = None,
            proxy_protocol: Option<u8> = None,
            proxy_socket_keepalive: bool = false,
            proxy_next_upstream: NextUpstream = NextUpstream::default(),
            proxy_next_upstream_tries: usize = 0,
            proxy_next_upstream_timeout: Duration = secs(0),
            resolver: Option<Arc<Resolver>> = None,
            resolver_timeout: Duration = secs(30),
            client_max_body_size: Option<u64> = Some(1 << 20),
            client_body_timeout: Duration = secs(60),
            send_timeout: Duration = secs(60),
            keepalive_timeout: Duration = secs(75),
            keepalive_requests: u64 = 1000,
            lingering_timeout: Duration = secs(5),
            server_tokens: bool = true,
            server_name_in_redirect: bool = false,
            port_in_redirect: bool = true,
            absolute_redirect: bool = true,
            tcp_nodelay: bool = true,
            default_type: String = "text/plain".to_owned(),
            types: Arc<Types> = Arc::new(default_types()),
            root: Arc<Root> = default_root(""),
            etag: bool = true,
            if_modified_since: IfModifiedSince = IfModifiedSince::Exact,
            max_ranges: Option<u64> = None,
            log_not_found: bool = true,
            expires: Expires = Expires::Fixed(Expiry::Off),
            recursive_error_pages: bool = false,
            rewrite_log: bool = false,
            uninitialized_variable_warn: bool = true,
            satisfy: Satisfy = Satisfy::All,
            auth_request: Option<AuthRequest> = None,
            websocket_ping: Option<Ping> = Some(Ping { interval: secs(30), timeout: secs(10) }),
            websocket_max_message: Option<u64> = None,
            websocket_close_timeout: Duration = secs(5),
            websocket_drain: Duration = secs(60),
            websocket_reload: OnRemoval = OnRemoval::Keep,
        }
        lists {
            proxy_set_header: (String, Template) = Vec::new(),
            proxy_hide_header: String = Vec::new(),
            proxy_pass_header: String = Vec::new(),
            add_header: AddHeader = Vec::new(),
            error_page: ErrorPage = Vec::new(),
            index: Template = vec![Template::literal("index.html")],
            auth_request_set: (String, Template) = Vec::new(),
            error_log: ErrorLog = Vec::new(),
            access_log: AccessLog = vec![default_access_log()],
        }
        inside {
            proxy_ssl: ProxySslLayer,
            guard: GuardLayer,
            gzip: GzipLayer,
            tracing: TracingLayer,
            unsupported: Lacks,
        }
    }
}

inherited! {
    /// Access rules, passwords, limits and real addresses.
    GuardLayer => Guard {
        values {
            auth_basic: Option<(Template, At)> = None,
            auth_basic_user_file: Option<Template> = None,
            auth_delay: Duration = Duration::ZERO,
            limit_req_status: u16 = 503,
            limit_req_log_level: LogLevel = LogLevel::Error,
            limit_req_dry_run: bool = false,
            limit_conn_status: u16 = 503,
            limit_conn_log_level: LogLevel = LogLevel::Error,
            limit_conn_dry_run: bool = false,
            real_ip_header: RealIpHeader = RealIpHeader::Header("x_real_ip".to_owned()),
            real_ip_recursive: bool = false,
            websocket_rate: Option<Arc<MessageRate>> = None,
            websocket_origins: Option<Arc<Origins>> = None,
        }
        lists {
            rules: AccessRule = Vec::new(),
            limit_req: LimitReq = Vec::new(),
            limit_conn: LimitConn = Vec::new(),
            real_ip_from: Source = Vec::new(),
        }
        inside {}
    }
}

/// What would be needed here and will never be there, by directive; `None` says that an outer one does not hold.
#[derive(Debug, Default)]
pub(crate) struct Lacks(Vec<(&'static str, Option<Unsupported>)>);

impl Lacks {
    /// Notes one.
    pub(crate) fn put(&mut self, name: &'static str, lack: Option<Unsupported>) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, lack));
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<&Unsupported> {
        self.0.iter().find_map(|(_, lack)| lack.as_ref())
    }

    fn defaults() -> Vec<(&'static str, Unsupported)> {
        Vec::new()
    }

    fn merge(&self, outer: &[(&'static str, Unsupported)]) -> Vec<(&'static str, Unsupported)> {
        let own = self.0.iter().filter_map(|(name, lack)| Some((*name, lack.clone()?)));
        let others = outer.iter().filter(|(name, _)| self.0.iter().all(|(known, _)| known != name));
        own.chain(others.cloned()).collect()
    }
}

inherited! {
    /// `gzip` and its like.
    GzipLayer => Gzip {
        values {
            on: bool = false,
            min_length: u64 = 20,
            level: u32 = 1,
            vary: bool = false,
            proxied: GzipProxied = GzipProxied::default(),
            http10: bool = false,
        }
        lists {
            types: String = vec!["text/html".to_owned()],
            disable: Pattern = Vec::new(),
        }
        inside {}
    }
}

inherited! {
    /// `otel_*`.
    TracingLayer => Tracing {
        values {
            trace: Option<Template> = None,
            context: Propagation = Propagation::default(),
            span_name: Option<Template> = None,
        }
        lists {
            span_attr: (String, Template) = Vec::new(),
        }
        inside {}
    }
}

inherited! {
    /// `proxy_ssl_*`.
    ProxySslLayer => ProxySsl {
        values {
            verify: bool = false,
            trusted: Option<Spanned<PathBuf>> = None,
            name: Option<Template> = None,
            server_name: bool = false,
            protocols: Protocols = Protocols::default(),
            session_reuse: bool = true,
            certificate: Option<Certificate> = None,
        }
        lists {}
        inside {}
    }
}

/// What http and server have in common beside [`Settings`].
pub(crate) struct Head {
    pub(crate) client_header_timeout: Duration,
    pub(crate) max_head: usize,
    pub(crate) underscores_in_headers: bool,
    pub(crate) ignore_invalid_headers: bool,
    pub(crate) merge_slashes: bool,
    pub(crate) http2: bool,
    pub(crate) http2_max_concurrent_streams: u32,
}

inherited! {
    /// How the head of a request is read.
    HeadLayer => Head {
        values {
            client_header_timeout: Duration = secs(60),
            max_head: usize = 4 * 8192,
            underscores_in_headers: bool = false,
            ignore_invalid_headers: bool = true,
            merge_slashes: bool = true,
            http2: bool = false,
            http2_max_concurrent_streams: u32 = 128,
        }
        lists {}
        inside {}
    }
}

/// `ssl_*` with everything inherited.
pub(crate) struct Ssl {
    pub(crate) on: bool,
    pub(crate) certificates: Arc<[Spanned<PathBuf>]>,
    pub(crate) keys: Arc<[Spanned<PathBuf>]>,
    pub(crate) ticket_keys: Arc<[Spanned<PathBuf>]>,
    pub(crate) protocols: Protocols,
    pub(crate) ciphers: Option<Spanned<String>>,
    pub(crate) prefer_server_ciphers: bool,
    pub(crate) session_tickets: bool,
    pub(crate) session_timeout: Duration,
    pub(crate) session_cache: Option<usize>,
    pub(crate) reject_handshake: bool,
    pub(crate) ciphers13: Option<Vec<&'static str>>,
    pub(crate) curves: Option<Vec<&'static str>>,
    pub(crate) verify_client: Option<Spanned<VerifyClient>>,
    pub(crate) verify_depth: usize,
    pub(crate) client_certificate: Option<Spanned<PathBuf>>,
    pub(crate) trusted_certificate: Option<Spanned<PathBuf>>,
    pub(crate) crl: Option<Spanned<PathBuf>>,
}

inherited! {
    /// `ssl_*` of http and server.
    SslLayer => Ssl {
        values {
            on: bool = false,
            protocols: Protocols = Protocols::default(),
            ciphers: Option<Spanned<String>> = None,
            prefer_server_ciphers: bool = false,
            session_tickets: bool = true,
            session_timeout: Duration = secs(300),
            session_cache: Option<usize> = None,
            reject_handshake: bool = false,
            ciphers13: Option<Vec<&'static str>> = None,
            curves: Option<Vec<&'static str>> = None,
            verify_client: Option<Spanned<VerifyClient>> = None,
            verify_depth: usize = 1,
            client_certificate: Option<Spanned<PathBuf>> = None,
            trusted_certificate: Option<Spanned<PathBuf>> = None,
            crl: Option<Spanned<PathBuf>> = None,
        }
        lists {
            certificates: Spanned<PathBuf> = Vec::new(),
            keys: Spanned<PathBuf> = Vec::new(),
            ticket_keys: Spanned<PathBuf> = Vec::new(),
        }
        inside {}
    }
}

/// The types that nginx knows without a `types` block.
fn default_types() -> Types {
    let all = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];
    all.into_iter().map(|(extension, name)| (extension.to_owned(), name.to_owned())).collect()
}

/// Where files are when nobody says: `html` below the prefix.
pub(crate) fn default_root(prefix: &str) -> Arc<Root> {
    let path = Template::literal(format!("{prefix}/html"));
    Arc::new(Root { path, prefix: prefix.into(), alias: Alias::No })
}

/// Where requests are logged when nobody says: standard output, as `combined` or, with `log_json`, as `json`.
fn default_access_log() -> AccessLog {
    let value = LogTarget::File(PathBuf::from("/dev/stdout"));
    AccessLog { target: Spanned { value, span: Span::default() }, format: 0, condition: None }
}

/// A block that holds settings: `http`, a `server` or a `location`, as typed.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Where it stands.
    pub(crate) span: Span,
    /// Settings typed here.
    pub(crate) layer: Layer,
    /// How heads are read; http and server.
    pub(crate) head: HeadLayer,
    /// TLS; http and server.
    pub(crate) ssl: SslLayer,
    /// `listen`s of a server.
    pub(crate) listens: Vec<Spanned<Listen>>,
    /// `server_name`s of a server.
    pub(crate) names: Vec<Spanned<ServerName>>,
    /// Named locations that error pages lead to.
    pub(crate) named_pages: Vec<Spanned<String>>,
    /// What a location matches.
    pub(crate) matcher: Option<Matcher>,
    /// `internal`.
    pub(crate) internal: bool,
    /// `health_check`.
    pub(crate) health_check: Option<HealthCheck>,
    /// Rules of the rewrite module.
    pub(crate) rules: Vec<TypedRule>,
    /// `try_files`.
    pub(crate) try_files: Option<TryFiles>,
    /// `limit_except`: the methods it is not about, and what stands in it.
    pub(crate) limit_except: Option<(Vec<String>, Box<Level>)>,
    /// `proxy_pass`.
    pub(crate) proxy: Option<ProxyPass>,
    /// `stub_status`.
    pub(crate) status: bool,
    /// What would answer here and will never be there.
    pub(crate) unsupported: Option<Unsupported>,
    /// `proxy_ssl_certificate` and its key, until both are there.
    pub(crate) proxy_pair: (Option<Spanned<PathBuf>>, Option<Spanned<PathBuf>>),
    /// Servers of http, locations of a server or location.
    pub(crate) children: Vec<Level>,
    /// Directives seen that may stand but once, for "is duplicate".
    pub(crate) seen: HashMap<&'static str, Span>,
}

/// A rule of the rewrite module, as typed.
#[derive(Debug)]
pub(crate) enum TypedRule {
    /// One that inherits nothing.
    Plain(Rule),
    /// `if`.
    If {
        /// When it holds.
        condition: Condition,
        /// What stands in it.
        level: Box<Level>,
        /// Where it stands.
        at: At,
    },
}

impl TypedRule {
    /// What stands in an `if`.
    pub(crate) fn level(&self) -> Option<&Level> {
        match self {
            TypedRule::Plain(_) => None,
            TypedRule::If { level, .. } => Some(level),
        }
    }
}
