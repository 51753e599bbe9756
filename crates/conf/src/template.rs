//! Values with variables, as in `"$scheme://$host"`.

/// A value in which variables are replaced for each request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// Its parts in order; adjacent texts are merged.
    pub parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// A variable.
    Variable(Variable),
}

/// A variable, parsed from its name once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `$1` to `$9`.
    Capture(u8),
    /// A named capture, or a variable of `auth_request_set`.
    Named(String),
    /// A variable of `set`.
    Set(String),
    /// The value of a `map`, by index.
    Map(usize),
    /// The value of a `geo`, by index.
    Geo(usize),
    /// The value of a `split_clients`, by index.
    Split(usize),
    /// `$http_NAME`: the rest of the name, lower case, underscores kept (`x_real_ip`).
    Http(String),
    /// `$sent_http_NAME`.
    SentHttp(String),
    /// `$upstream_http_NAME`.
    UpstreamHttp(String),
    /// `$cookie_NAME`.
    Cookie(String),
    /// `$upstream_cookie_NAME`.
    UpstreamCookie(String),
    /// `$arg_NAME`.
    Arg(String),
    /// A variable with a fixed name.
    Known(Known),
}

/// Variables of nginx that are always empty here, with the reason.
pub const EMPTY: &[(&str, &str)] = &[
    ("http3", "HTTP/3 is not served"),
    ("limit_rate", "rates are not limited"),
    ("realpath_root", "files are not served"),
    ("request_body_file", "bodies are streamed, not stored"),
    ("ssl_early_data", "requests are taken when the handshake is done"),
    ("ssl_sigalg", "rustls does not tell it"),
    ("ssl_client_sigalg", "rustls does not tell it"),
    ("ssl_ech_status", "names are not encrypted"),
    ("ssl_ech_outer_server_name", "names are not encrypted"),
    ("tcpinfo_rtt", "see `$websocket_client_rtt`"),
    ("tcpinfo_rttvar", "see `$websocket_client_rtt`"),
    ("tcpinfo_snd_cwnd", "the system is not asked for it"),
    ("tcpinfo_rcv_space", "the system is not asked for it"),
    ("upstream_queue_time", "requests do not wait in a queue"),
    ("ssl_session_id", "sessions are kept by tickets"),
];

/// Variables whose name begins with a fixed part, and what follows it.
pub const PREFIXES: &[(&str, &str)] = &[
    ("http_", "A header of the request, in lower case with `_` for `-`."),
    ("sent_http_", "A header of the answer to the client."),
    ("upstream_http_", "A header of the backend's answer."),
    ("cookie_", "A cookie of the request."),
    ("upstream_cookie_", "A cookie that the backend set."),
    ("arg_", "An argument of the request line."),
];

impl Variable {
    /// The variable of this name, if it is one that every configuration has.
    pub fn builtin(name: &str) -> Option<Variable> {
        if let [digit @ b'1'..=b'9'] = name.as_bytes() {
            return Some(Variable::Capture(digit - b'0'));
        }
        if let Some((known, ..)) = Known::ALL.iter().find(|(_, its_name, _)| *its_name == name) {
            return Some(Variable::Known(*known));
        }
        if EMPTY.iter().any(|(empty, _)| *empty == name) {
            return Some(Variable::Named(name.to_owned()));
        }
        // "http_" alone is no variable, as in nginx.
        let after = |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
        let lower = |rest: &str| rest.to_ascii_lowercase();
        after("http_")
            .map(|rest| Variable::Http(lower(rest)))
            .or_else(|| after("sent_http_").map(|rest| Variable::SentHttp(lower(rest))))
            .or_else(|| after("upstream_http_").map(|rest| Variable::UpstreamHttp(lower(rest))))
            .or_else(|| after("cookie_").map(|rest| Variable::Cookie(rest.to_owned())))
            .or_else(|| after("upstream_cookie_").map(|rest| Variable::UpstreamCookie(rest.to_owned())))
            .or_else(|| after("arg_").map(|rest| Variable::Arg(lower(rest))))
    }
}

/// What is wrong with a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// A `$` without a name behind it.
    NoName,
    /// `${name` without `}`.
    NoBrace(String),
    /// No such variable.
    Unknown(String),
}

impl Template {
    /// Literal text.
    pub fn literal(text: impl Into<String>) -> Template {
        let text = text.into();
        Template { parts: if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] } }
    }

    /// The text, when there is no variable in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Parses a value; `lookup` knows the variables. All mistakes come at once.
    pub fn parse(text: &str, lookup: impl Fn(&str) -> Option<Variable>) -> Result<Template, Vec<Mistake>> {
        let (mut parts, mut mistakes) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            push_text(&mut parts, before);
            let (name, tail) = match name(after) {
                Ok(found) => found,
                Err(mistake) => {
                    mistakes.push(mistake);
                    rest = after;
                    continue;
                }
            };
            match lookup(name) {
                Some(variable) => parts.push(Part::Variable(variable)),
                None => mistakes.push(Mistake::Unknown(name.to_owned())),
            }
            rest = tail;
        }
        push_text(&mut parts, rest);
        if mistakes.is_empty() { Ok(Template { parts }) } else { Err(mistakes) }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// The name behind a `$`, and what follows it. Captures have one digit; braces part a name from the text behind it.
fn name(text: &str) -> Result<(&str, &str), Mistake> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let length = |text: &str| text.bytes().position(|byte| !is_name(byte)).unwrap_or(text.len());
    if let Some(braced) = text.strip_prefix('{') {
        let (name, tail) = braced.split_at(length(braced));
        let tail = tail.strip_prefix('}').ok_or_else(|| Mistake::NoBrace(name.to_owned()))?;
        return if name.is_empty() { Err(Mistake::NoName) } else { Ok((name, tail)) };
    }
    let end = if matches!(text.as_bytes().first(), Some(b'1'..=b'9')) { 1 } else { length(text) };
    if end == 0 { Err(Mistake::NoName) } else { Ok(text.split_at(end)) }
}

/// Variables with a fixed name: one row each, so that name and meaning stay together.
macro_rules! known {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal),* $(,)?) => {
        /// Variables with a fixed name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Known { $($(#[doc = $doc])* $variant),* }
        impl Known {
            /// All of them, with name and meaning, for the reference page.
            pub const ALL: &'static [(Known, &'static str, &'static str)] =
                &[$((Known::$variant, $name, concat!($($doc),*))),*];
        }
    };
}

impl Known {
    /// Whether it is told by the trace of a request.
    pub(crate) fn is_of_trace(self) -> bool {
        matches!(
            self,
            Known::OtelTraceId | Known::OtelSpanId | Known::OtelParentId | Known::OtelParentSampled
        )
    }
}

known! {
    /// Arguments of the request line.
    Args = "args",
    /// Same as `$args`.
    QueryString = "query_string",
    /// `?` when the request has arguments, else empty.
    IsArgs = "is_args",
    /// Client address in binary form, 4 or 16 bytes.
    BinaryRemoteAddr = "binary_remote_addr",
    /// Bytes sent to the client, without the response head.
    BodyBytesSent = "body_bytes_sent",
    /// Bytes sent to the client.
    BytesSent = "bytes_sent",
    /// Serial number of the connection.
    Connection = "connection",
    /// Number of requests on this connection so far.
    ConnectionRequests = "connection_requests",
    /// Seconds since the connection was accepted, with milliseconds.
    ConnectionTime = "connection_time",
    /// `Content-Length` of the request.
    ContentLength = "content_length",
    /// `Content-Type` of the request.
    ContentType = "content_type",
    /// `root` or `alias` of the request.
    DocumentRoot = "document_root",
    /// Same as `$uri`.
    DocumentUri = "document_uri",
    /// Host of the request line, else of the `Host` header without port in lower case, else the server's name.
    Host = "host",
    /// By how much `gzip` made the answer smaller, as in `3.14`.
    GzipRatio = "gzip_ratio",
    /// Name of this machine.
    Hostname = "hostname",
    /// `h2` in a request over HTTP/2 with TLS, `h2c` in one without; else empty.
    Http2 = "http2",
    /// `on` over TLS, else empty.
    Https = "https",
    /// Current time in seconds, with milliseconds.
    Msec = "msec",
    /// Version of nginx whose behaviour is followed.
    NginxVersion = "nginx_version",
    /// Id of the request's trace, 32 hex digits.
    OtelTraceId = "otel_trace_id",
    /// Id of the request's span, 16 hex digits.
    OtelSpanId = "otel_span_id",
    /// Id of the span that the request came from, where `otel_trace_context` takes it over; else empty.
    OtelParentId = "otel_parent_id",
    /// `1` where that span is sampled, else `0`.
    OtelParentSampled = "otel_parent_sampled",
    /// Process number.
    Pid = "pid",
    /// `p` for a request that came behind another without waiting, else `.`.
    Pipe = "pipe",
    /// `X-Forwarded-For` of the request with the client's address appended.
    ProxyAddXForwardedFor = "proxy_add_x_forwarded_for",
    /// Host and port of `proxy_pass`.
    ProxyHost = "proxy_host",
    /// Port of `proxy_pass`.
    ProxyPort = "proxy_port",
    /// Client address from the PROXY protocol.
    ProxyProtocolAddr = "proxy_protocol_addr",
    /// Client port from the PROXY protocol.
    ProxyProtocolPort = "proxy_protocol_port",
    /// Server address from the PROXY protocol.
    ProxyProtocolServerAddr = "proxy_protocol_server_addr",
    /// Server port from the PROXY protocol.
    ProxyProtocolServerPort = "proxy_protocol_server_port",
    /// Client address.
    RemoteAddr = "remote_addr",
    /// Client port.
    RemotePort = "remote_port",
    /// User name of Basic authentication.
    RemoteUser = "remote_user",
    /// The request line.
    Request = "request",
    /// The request body; empty here, bodies are streamed.
    RequestBody = "request_body",
    /// `OK` when the request was completed.
    RequestCompletion = "request_completion",
    /// File of the request.
    RequestFilename = "request_filename",
    /// 32 hex digits made of 16 random bytes.
    RequestId = "request_id",
    /// Length of the request: line, head and body.
    RequestLength = "request_length",
    /// Method of the request.
    RequestMethod = "request_method",
    /// Seconds since the first byte of the request, with milliseconds.
    RequestTime = "request_time",
    /// The URI as the client sent it, with arguments.
    RequestUri = "request_uri",
    /// `http` or `https`.
    Scheme = "scheme",
    /// Address that accepted the request.
    ServerAddr = "server_addr",
    /// First name of the server.
    ServerName = "server_name",
    /// Port that accepted the request.
    ServerPort = "server_port",
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    ServerProtocol = "server_protocol",
    /// Status of the answer.
    Status = "status",
    /// Address that a request came from, where `set_real_ip_from` has replaced it.
    RealipRemoteAddr = "realip_remote_addr",
    /// Port to it.
    RealipRemotePort = "realip_remote_port",
    /// What `limit_req` made of the request: PASSED, DELAYED, REJECTED, DELAYED_DRY_RUN or REJECTED_DRY_RUN.
    LimitReqStatus = "limit_req_status",
    /// What `limit_conn` made of the request: PASSED, REJECTED or REJECTED_DRY_RUN.
    LimitConnStatus = "limit_conn_status",
    /// Local time, ISO 8601.
    TimeIso8601 = "time_iso8601",
    /// Local time in the Common Log Format.
    TimeLocal = "time_local",
    /// The normalised path, as changed by internal redirects.
    Uri = "uri",
    /// Name of the cipher suite.
    SslCipher = "ssl_cipher",
    /// Suites that the client offered, by OpenSSL's names, with ":" between.
    SslCiphers = "ssl_ciphers",
    /// Certificate of the client in PEM, every line but the first behind a tab. No header can carry it: see
    /// `$ssl_client_escaped_cert`.
    SslClientCert = "ssl_client_cert",
    /// Certificate of the client in PEM, escaped for a URL.
    SslClientEscapedCert = "ssl_client_escaped_cert",
    /// SHA-1 of the client's certificate.
    SslClientFingerprint = "ssl_client_fingerprint",
    /// Issuer of the client's certificate by RFC 2253.
    SslClientIDn = "ssl_client_i_dn",
    /// Issuer of the client's certificate, parts behind "/".
    SslClientIDnLegacy = "ssl_client_i_dn_legacy",
    /// Certificate of the client in PEM.
    SslClientRawCert = "ssl_client_raw_cert",
    /// Subject of the client's certificate by RFC 2253.
    SslClientSDn = "ssl_client_s_dn",
    /// Subject of the client's certificate, parts behind "/".
    SslClientSDnLegacy = "ssl_client_s_dn_legacy",
    /// Serial number of the client's certificate.
    SslClientSerial = "ssl_client_serial",
    /// When the client's certificate ends.
    SslClientVEnd = "ssl_client_v_end",
    /// Days until the client's certificate ends.
    SslClientVRemain = "ssl_client_v_remain",
    /// When the client's certificate begins.
    SslClientVStart = "ssl_client_v_start",
    /// `SUCCESS`, `NONE` without a certificate, or `FAILED:` and the reason.
    SslClientVerify = "ssl_client_verify",
    /// Group of the key exchange.
    SslCurve = "ssl_curve",
    /// Groups that the client offered, with ":" between.
    SslCurves = "ssl_curves",
    /// Version of TLS.
    SslProtocol = "ssl_protocol",
    /// Name that the client asked for by SNI.
    SslServerName = "ssl_server_name",
    /// `r` for a resumed session, else `.`.
    SslSessionReused = "ssl_session_reused",
    /// Protocol chosen by ALPN.
    SslAlpnProtocol = "ssl_alpn_protocol",
    /// Addresses of the backends tried, with ", " between.
    UpstreamAddr = "upstream_addr",
    /// Bytes received from the backend.
    UpstreamBytesReceived = "upstream_bytes_received",
    /// Bytes sent to the backend.
    UpstreamBytesSent = "upstream_bytes_sent",
    /// State of the cache: there is none, empty.
    UpstreamCacheStatus = "upstream_cache_status",
    /// Seconds to connect, with milliseconds.
    UpstreamConnectTime = "upstream_connect_time",
    /// Seconds to the head of the answer, with milliseconds.
    UpstreamHeaderTime = "upstream_header_time",
    /// Bytes of the answer of the backend.
    UpstreamResponseLength = "upstream_response_length",
    /// Seconds to the end of the answer, with milliseconds.
    UpstreamResponseTime = "upstream_response_time",
    /// Status of the backend's answer.
    UpstreamStatus = "upstream_status",
    /// Seconds the tunnel was open, with milliseconds.
    WebsocketDuration = "websocket_duration",
    /// Messages from the client.
    WebsocketMessagesReceived = "websocket_messages_received",
    /// Messages to the client.
    WebsocketMessagesSent = "websocket_messages_sent",
    /// Close code that ended the tunnel.
    WebsocketCloseCode = "websocket_close_code",
    /// Who ended the tunnel: client, backend or proxy.
    WebsocketEndedBy = "websocket_ended_by",
    /// Why it ended, in words.
    WebsocketReason = "websocket_reason",
    /// Mean ping round trip to the client in milliseconds.
    WebsocketClientRtt = "websocket_client_rtt",
    /// Mean ping round trip to the backend in milliseconds.
    WebsocketBackendRtt = "websocket_backend_rtt",
}
