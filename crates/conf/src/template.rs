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
    /// A named capture of a `server_name`, `location` or `map` regex.
    Named(String),
    /// The value of a `map`, by index.
    Map(usize),
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
    /// `root` or `alias` of the request; empty here.
    DocumentRoot = "document_root",
    /// Same as `$uri`.
    DocumentUri = "document_uri",
    /// Host of the request line, else of the `Host` header without port in lower case, else the server's name.
    Host = "host",
    /// Name of this machine.
    Hostname = "hostname",
    /// `on` over TLS, else empty.
    Https = "https",
    /// Current time in seconds, with milliseconds.
    Msec = "msec",
    /// Version of nginx whose behaviour is followed.
    NginxVersion = "nginx_version",
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
    /// Address from the PROXY protocol; empty here.
    ProxyProtocolAddr = "proxy_protocol_addr",
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
    /// File of the request; empty here.
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
    /// `HTTP/1.0` or `HTTP/1.1`.
    ServerProtocol = "server_protocol",
    /// Status of the answer.
    Status = "status",
    /// Local time, ISO 8601.
    TimeIso8601 = "time_iso8601",
    /// Local time in the Common Log Format.
    TimeLocal = "time_local",
    /// The normalised path, as changed by internal redirects.
    Uri = "uri",
    /// Name of the cipher suite.
    SslCipher = "ssl_cipher",
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
