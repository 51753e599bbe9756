//! Pure: the variables with a fixed name.

use std::borrow::Cow;

use longwire_conf::template::Known;

use super::calendar::Moment;
use super::facts::{ConnectionFacts, Facts, Peer, Protocol, TlsFacts, Try, TunnelFacts};
use super::fields::{header, remote_user};
use super::files::{file_path, folder};
use super::gzip::ratio;
use super::trace::hex;
use super::uri::{bytes, unparsed};
use super::variables::Scope;
use crate::tls::{Client, ClientCertificate, groups, suites};

/// What nginx's escaping of a component of a URL leaves as it is.
const NOT_IN_URL: percent_encoding::AsciiSet =
    percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Version of nginx whose behaviour is followed, `$nginx_version`.
pub const NGINX_VERSION: &str = "1.29.7";

impl<'a> Scope<'a> {
    /// The value of a variable with a fixed name.
    pub(super) fn known(&self, known: Known) -> Option<Cow<'a, [u8]>> {
        let facts = self.facts;
        let connection = &facts.connection;
        match known {
            Known::Args | Known::QueryString => Some(bytes(&facts.args)).filter(|args| !args.is_empty()),
            Known::IsArgs => borrowed(if facts.args.is_empty() { "" } else { "?" }),
            Known::Uri | Known::DocumentUri => Some(bytes(&facts.uri)),
            Known::Host => borrowed(&facts.host),
            Known::ServerName => borrowed(&facts.server_name),
            Known::Request => plain(request_line(facts)),
            Known::RequestMethod => borrowed(if facts.course.got { "GET" } else { &facts.method }),
            Known::RequestUri => Some(bytes(unparsed(&facts.target))),
            Known::RequestId => borrowed(&facts.request_id),
            Known::RequestLength => plain(facts.request_length),
            Known::RequestTime => plain(seconds(self.elapsed_us())),
            Known::RequestCompletion => borrowed(if facts.outcome.completed { "OK" } else { "" }),
            Known::ServerProtocol => borrowed(protocol(facts)),
            Known::Http2 => match (facts.protocol, &connection.tls) {
                (Protocol::Http2, Some(_)) => borrowed("h2"),
                (Protocol::Http2, None) => borrowed("h2c"),
                _ => None,
            },
            Known::Scheme => borrowed(self.scheme()),
            Known::Https => borrowed(if connection.tls.is_some() { "on" } else { "" }),
            Known::ContentLength => header(&facts.headers, "content_length"),
            Known::ContentType => header(&facts.headers, "content_type"),
            Known::RemoteUser => remote_user(&facts.headers).map(Cow::Owned),
            Known::ProxyAddXForwardedFor => Some(Cow::Owned(self.forwarded_for())),
            Known::ProxyHost => some(&facts.proxy_host),
            Known::ProxyPort => some(&facts.proxy_port),
            Known::ProxyProtocolAddr => self.announced(|[client, _]| address(client)),
            Known::ProxyProtocolPort => self.announced(|[client, _]| port(client)),
            Known::ProxyProtocolServerAddr => self.announced(|[_, server]| address(server)),
            Known::ProxyProtocolServerPort => self.announced(|[_, server]| port(server)),
            Known::RemoteAddr => plain(address(&connection.remote)),
            Known::RealipRemoteAddr => plain(address(came_from(connection))),
            Known::RealipRemotePort => plain(port(came_from(connection))),
            Known::LimitReqStatus => borrowed(facts.outcome.limit_req?.name()),
            Known::LimitConnStatus => borrowed(facts.outcome.limit_conn?.name()),
            Known::RemotePort => plain(port(&connection.remote)),
            Known::ServerAddr => match &connection.local {
                Peer::Unix(path) => plain(format_args!("unix:{path}")),
                peer => plain(address(peer)),
            },
            Known::ServerPort => plain(port(&connection.local)),
            Known::BinaryRemoteAddr => Some(Cow::Owned(binary(&connection.remote))),
            Known::Connection => plain(connection.serial),
            Known::ConnectionRequests => plain(facts.number),
            Known::ConnectionTime => plain(seconds(self.now_us().saturating_sub(connection.accepted_us))),
            // Requests are read one after the other: none is ever known to wait behind another.
            Known::Pipe => borrowed("."),
            Known::Status => plain(format_args!("{:03}", facts.outcome.status)),
            Known::BytesSent => plain(facts.outcome.bytes_sent),
            Known::BodyBytesSent => plain(facts.outcome.body_bytes_sent),
            Known::GzipRatio => facts.outcome.gzip.and_then(|[before, after]| plain(ratio(before, after))),
            Known::Hostname => borrowed(&self.machine.hostname),
            Known::OtelTraceId => plain(hex(&facts.trace.as_ref()?.own.trace_id)),
            Known::OtelSpanId => plain(hex(&facts.trace.as_ref()?.own.span_id)),
            Known::OtelParentId => plain(hex(&facts.trace.as_ref()?.parent.as_ref()?.span_id)),
            Known::OtelParentSampled => {
                let parent = facts.trace.as_ref().and_then(|trace| trace.parent.as_ref());
                borrowed(if parent.is_some_and(|parent| parent.sampled) { "1" } else { "0" })
            }
            Known::Pid => plain(self.machine.pid),
            Known::NginxVersion => borrowed(NGINX_VERSION),
            Known::Msec => plain(seconds(self.unix_us())),
            Known::TimeLocal => plain(self.moment().common_log()),
            Known::TimeIso8601 => plain(self.moment().iso8601()),
            Known::SslCipher => self.tls(|tls| borrowed(&tls.cipher)),
            Known::SslCiphers => self.tls(|tls| plain(suites(&tls.ciphers))),
            Known::SslCurves => self.tls(|tls| plain(groups(&tls.curves))),
            Known::SslCurve => self.tls(|tls| plain(groups(&[tls.curve?]))),
            Known::SslClientVerify => self.tls(|tls| {
                plain(match tls.client.as_deref() {
                    None => "NONE".to_owned(),
                    Some(Client { fault: None, .. }) => "SUCCESS".to_owned(),
                    Some(Client { fault: Some(fault), .. }) => format!("FAILED:{}", fault.reason),
                })
            }),
            Known::SslClientSDn => self.client(|one| one.subject()),
            Known::SslClientIDn => self.client(|one| one.issuer()),
            Known::SslClientSDnLegacy => self.client(|one| one.subject_legacy()),
            Known::SslClientIDnLegacy => self.client(|one| one.issuer_legacy()),
            Known::SslClientSerial => self.client(|one| one.serial()),
            Known::SslClientFingerprint => self.client(|one| Some(one.fingerprint())),
            Known::SslClientRawCert => self.client(|one| Some(one.pem())),
            Known::SslClientCert => self.client(|one| Some(one.pem().trim_end().replace('\n', "\n\t"))),
            Known::SslClientEscapedCert => self.client(|one| {
                Some(percent_encoding::percent_encode(one.pem().as_bytes(), &NOT_IN_URL).to_string())
            }),
            Known::SslClientVStart => self.client(|one| one.begins()),
            Known::SslClientVEnd => self.client(|one| one.ends()),
            Known::SslClientVRemain => {
                let now = self.unix_us() / 1_000_000;
                self.client(|one| one.days_left(now).map(|days| days.to_string()))
            }
            Known::SslProtocol => self.tls(|tls| borrowed(&tls.protocol)),
            Known::SslServerName => self.tls(|tls| some(tls.server_name.as_deref()?)),
            Known::SslSessionReused => self.tls(|tls| borrowed(if tls.resumed { "r" } else { "." })),
            Known::SslAlpnProtocol => self.tls(|tls| some(tls.alpn.as_deref()?)),
            Known::UpstreamAddr => self.tries(|try_| try_.address.clone()),
            Known::UpstreamStatus => self.tries(|try_| match try_.status {
                0 => "-".to_owned(),
                status => status.to_string(),
            }),
            Known::UpstreamBytesReceived => self.tries(|try_| try_.received.to_string()),
            Known::UpstreamBytesSent => self.tries(|try_| try_.sent.to_string()),
            Known::UpstreamResponseLength => self.tries(|try_| try_.response_length.to_string()),
            Known::UpstreamConnectTime => self.tries(|try_| seconds_or_dash(try_.connect_us)),
            Known::UpstreamHeaderTime => self.tries(|try_| seconds_or_dash(try_.header_us)),
            Known::UpstreamResponseTime => self.tries(|try_| seconds_or_dash(try_.response_us)),
            Known::WebsocketDuration => self.tunnel(|tunnel| plain(seconds(tunnel.duration_us))),
            Known::WebsocketMessagesReceived => self.tunnel(|tunnel| plain(tunnel.messages[0])),
            Known::WebsocketMessagesSent => self.tunnel(|tunnel| plain(tunnel.messages[1])),
            Known::WebsocketCloseCode => self.tunnel(|tunnel| plain(tunnel.close_code?)),
            Known::WebsocketEndedBy => self.tunnel(|tunnel| some(tunnel.ended_by)),
            Known::WebsocketReason => self.tunnel(|tunnel| some(&tunnel.reason)),
            Known::WebsocketClientRtt => self.tunnel(|tunnel| plain(milliseconds(tunnel.rtt_us[0]?))),
            Known::WebsocketBackendRtt => self.tunnel(|tunnel| plain(milliseconds(tunnel.rtt_us[1]?))),
            Known::DocumentRoot => Some(Cow::Owned(folder(facts.course.root.as_ref()?, self))),
            Known::RequestFilename => Some(Cow::Owned(file_path(facts.course.root.as_ref()?, self)?.path)),
            Known::RequestBody | Known::UpstreamCacheStatus => None,
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.facts.connection.tls.is_some() { "https" } else { "http" }
    }

    fn announced(&self, tell: impl Fn(&[Peer; 2]) -> String) -> Option<Cow<'a, [u8]>> {
        plain(tell(self.facts.connection.announced.as_ref()?))
    }

    fn now_us(&self) -> u64 {
        self.facts.outcome.now_us.max(self.facts.started_us)
    }

    fn elapsed_us(&self) -> u64 {
        self.now_us() - self.facts.started_us
    }

    /// Now, microseconds since 1970.
    pub fn unix_us(&self) -> u64 {
        self.facts.started_unix_us.saturating_add(self.elapsed_us())
    }

    fn moment(&self) -> Moment {
        Moment::new(self.unix_us() / 1_000_000, self.machine.utc_offset)
    }

    fn forwarded_for(&self) -> Vec<u8> {
        let own = address(&self.facts.connection.remote);
        match header(&self.facts.headers, "x_forwarded_for") {
            Some(list) => [&list[..], b", ", own.as_bytes()].concat(),
            None => own.into_bytes(),
        }
    }

    fn tls(&self, value: impl Fn(&'a TlsFacts) -> Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
        value(self.facts.connection.tls.as_ref()?)
    }

    fn client(&self, value: impl Fn(&ClientCertificate) -> Option<String>) -> Option<Cow<'a, [u8]>> {
        self.tls(|tls| plain(value(&tls.client.as_ref()?.certificate)?))
    }

    fn tunnel(&self, value: impl Fn(&'a TunnelFacts) -> Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
        value(self.facts.outcome.tunnel.as_ref()?)
    }

    fn tries(&self, value: impl Fn(&Try) -> String) -> Option<Cow<'a, [u8]>> {
        let tries = &self.facts.outcome.tries;
        if tries.is_empty() {
            return None;
        }
        plain(tries.iter().map(value).collect::<Vec<_>>().join(", "))
    }
}

/// The peer of the socket, whatever address has taken its place.
fn came_from(connection: &ConnectionFacts) -> &Peer {
    connection.came_from.as_ref().unwrap_or(&connection.remote)
}

/// The request line, put together again.
pub fn request_line(facts: &Facts) -> String {
    format!("{} {} {}", facts.method, facts.target, protocol(facts))
}

/// The version of HTTP, as nginx writes it.
pub fn protocol(facts: &Facts) -> &'static str {
    match facts.protocol {
        Protocol::Http10 => "HTTP/1.0",
        Protocol::Http11 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2.0",
    }
}

fn plain<'a>(value: impl ToString) -> Option<Cow<'a, [u8]>> {
    Some(Cow::Owned(value.to_string().into_bytes()))
}

fn borrowed(value: &str) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(value.as_bytes()))
}

/// `borrowed`, where nothing and empty are the same.
fn some(value: &str) -> Option<Cow<'_, [u8]>> {
    borrowed(value).filter(|value| !value.is_empty())
}

/// Microseconds as milliseconds, "12.345": in seconds nothing would be left of a round trip.
fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

/// Microseconds as seconds, "1.234".
fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1_000 % 1_000)
}

fn seconds_or_dash(us: Option<u64>) -> String {
    us.map_or_else(|| "-".to_owned(), seconds)
}

/// An address as nginx prints it: a client on a Unix socket has none.
pub fn address(peer: &Peer) -> String {
    match peer {
        Peer::Ip(ip, _) => ip.to_string(),
        Peer::Unix(_) => "unix:".to_owned(),
    }
}

fn port(peer: &Peer) -> String {
    match peer {
        // An address out of a header has none.
        Peer::Ip(_, 0) | Peer::Unix(_) => String::new(),
        Peer::Ip(_, port) => port.to_string(),
    }
}

fn binary(peer: &Peer) -> Vec<u8> {
    match peer {
        Peer::Ip(core::net::IpAddr::V4(ip), _) => ip.octets().to_vec(),
        Peer::Ip(core::net::IpAddr::V6(ip), _) => ip.octets().to_vec(),
        Peer::Unix(_) => b"unix:".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Limited;
    use super::super::fixture::{facts, headers, template, variable, with_scope};
    use super::super::trace::Trace;
    use super::*;
    use std::sync::Arc;

    fn full() -> Facts {
        let mut facts = facts("/a%20b?x=1");
        facts.headers = headers(&[
            ("host", "Example.com:8080"),
            ("content-length", "5"),
            ("content-type", "a/b"),
            ("authorization", "Basic dXNlcjpwYXNz"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
        ]);
        facts.captures = vec![Some("all".to_owned()), None, Some("two".to_owned())];
        facts.named = vec![("name".to_owned(), "value".to_owned())];
        let mut connection = (*facts.connection).clone();
        connection.announced = Some(
            [("2001:db8::7", 4711), ("198.51.100.1", 443)]
                .map(|(ip, port)| Peer::Ip(ip.parse().unwrap(), port)),
        );
        connection.tls = Some(TlsFacts {
            protocol: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_128_GCM_SHA256".to_owned(),
            server_name: Some("sni".to_owned()),
            alpn: Some("http/1.1".to_owned()),
            resumed: true,
            curve: Some(29),
            ciphers: vec![0x1301, 0xc02b],
            curves: vec![29, 23],
            ..TlsFacts::default()
        });
        connection.came_from = Some(Peer::Ip([10, 0, 0, 1].into(), 1234));
        facts.connection = Arc::new(connection);
        facts.outcome.limit_req = Some(Limited::Delayed);
        facts.outcome.limit_conn = Some(Limited::RejectedDryRun);
        facts.outcome.status = 101;
        facts.outcome.bytes_sent = 300;
        facts.outcome.body_bytes_sent = 200;
        facts.outcome.completed = true;
        facts.outcome.gzip = Some([314, 100]);
        facts.outcome.sent = headers(&[("x-sent", "s")]);
        facts.outcome.upstream = headers(&[("x-up", "u"), ("set-cookie", "c=1; Path=/")]);
        let failed = Try { address: "10.0.0.1:80".to_owned(), status: 502, ..Try::default() };
        let served = Try {
            address: "10.0.0.2:80".to_owned(),
            status: 101,
            connect_us: Some(1_234),
            header_us: Some(20_000),
            response_us: Some(61_000_000),
            response_length: 7,
            received: 8,
            sent: 9,
            trace: None,
        };
        let parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut trace = Trace::new(&headers(&[parent]), [1; 16], [9; 8]);
        trace.follow(true);
        facts.trace = Some(Box::new(trace));
        facts.outcome.tries = vec![failed, served];
        facts.outcome.tunnel = Some(TunnelFacts {
            duration_us: 3_600_001_000,
            messages: [4, 5],
            close_code: Some(1001),
            ended_by: "client",
            reason: "going away".to_owned(),
            rtt_us: [Some(12_345), None],
        });
        facts
    }

    /// What each variable is with everything known, and with as little as possible. `None` is not found.
    type Row = (&'static str, Option<&'static str>, Option<&'static str>);

    const TABLE: &[Row] = &[
        ("args", Some("x=1"), None),
        ("query_string", Some("x=1"), None),
        ("is_args", Some("?"), Some("")),
        ("binary_remote_addr", Some("\u{0}"), Some("\u{0}")),
        ("body_bytes_sent", Some("200"), Some("0")),
        ("bytes_sent", Some("300"), Some("0")),
        ("connection", Some("12"), Some("12")),
        ("connection_requests", Some("3"), Some("3")),
        ("connection_time", Some("1.003"), Some("1.003")),
        ("content_length", Some("5"), None),
        ("content_type", Some("a/b"), None),
        ("document_root", None, None),
        ("document_uri", Some("/a b"), Some("/")),
        ("host", Some("example.com"), Some("example.com")),
        ("gzip_ratio", Some("3.14"), None),
        ("http2", None, None),
        ("hostname", Some("machine"), Some("machine")),
        ("https", Some("on"), Some("")),
        ("msec", Some("1795407171.003"), Some("1795407171.003")),
        ("nginx_version", Some(NGINX_VERSION), Some(NGINX_VERSION)),
        ("otel_trace_id", Some("4bf92f3577b34da6a3ce929d0e0e4736"), None),
        ("otel_span_id", Some("0909090909090909"), None),
        ("otel_parent_id", Some("00f067aa0ba902b7"), None),
        ("otel_parent_sampled", Some("1"), Some("0")),
        ("pid", Some("77"), Some("77")),
        ("pipe", Some("."), Some(".")),
        ("proxy_add_x_forwarded_for", Some("1.1.1.1, 2.2.2.2, 192.0.2.7"), Some("192.0.2.7")),
        ("proxy_host", Some("backend:3000"), Some("backend:3000")),
        ("proxy_port", Some("3000"), Some("3000")),
        ("proxy_protocol_addr", Some("2001:db8::7"), None),
        ("proxy_protocol_port", Some("4711"), None),
        ("proxy_protocol_server_addr", Some("198.51.100.1"), None),
        ("proxy_protocol_server_port", Some("443"), None),
        ("limit_conn_status", Some("REJECTED_DRY_RUN"), None),
        ("limit_req_status", Some("DELAYED"), None),
        ("realip_remote_addr", Some("10.0.0.1"), Some("192.0.2.7")),
        ("realip_remote_port", Some("1234"), Some("51000")),
        ("remote_addr", Some("192.0.2.7"), Some("192.0.2.7")),
        ("remote_port", Some("51000"), Some("51000")),
        ("remote_user", Some("user"), None),
        ("request", Some("GET /a%20b?x=1 HTTP/1.1"), Some("GET http://h HTTP/1.1")),
        ("request_body", None, None),
        ("request_completion", Some("OK"), Some("")),
        ("request_filename", None, None),
        ("request_id", Some("0123456789abcdef0123456789abcdef"), Some("0123456789abcdef0123456789abcdef")),
        ("request_length", Some("99"), Some("99")),
        ("request_method", Some("GET"), Some("GET")),
        ("request_time", Some("0.003"), Some("0.003")),
        ("request_uri", Some("/a%20b?x=1"), Some("/")),
        ("scheme", Some("https"), Some("http")),
        ("server_addr", Some("127.0.0.1"), Some("127.0.0.1")),
        ("server_name", Some("first.example.com"), Some("first.example.com")),
        ("server_port", Some("8080"), Some("8080")),
        ("server_protocol", Some("HTTP/1.1"), Some("HTTP/1.1")),
        ("status", Some("101"), Some("000")),
        ("time_iso8601", Some("2026-11-23T04:12:51+00:00"), Some("2026-11-23T04:12:51+00:00")),
        ("time_local", Some("23/Nov/2026:04:12:51 +0000"), Some("23/Nov/2026:04:12:51 +0000")),
        ("uri", Some("/a b"), Some("/")),
        ("ssl_cipher", Some("TLS_AES_128_GCM_SHA256"), None),
        ("ssl_ciphers", Some("TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"), None),
        ("ssl_client_cert", None, None),
        ("ssl_client_escaped_cert", None, None),
        ("ssl_client_fingerprint", None, None),
        ("ssl_client_i_dn", None, None),
        ("ssl_client_i_dn_legacy", None, None),
        ("ssl_client_raw_cert", None, None),
        ("ssl_client_s_dn", None, None),
        ("ssl_client_s_dn_legacy", None, None),
        ("ssl_client_serial", None, None),
        ("ssl_client_v_end", None, None),
        ("ssl_client_v_remain", None, None),
        ("ssl_client_v_start", None, None),
        ("ssl_client_verify", Some("NONE"), None),
        ("ssl_curve", Some("X25519"), None),
        ("ssl_curves", Some("X25519:prime256v1"), None),
        ("ssl_protocol", Some("TLSv1.3"), None),
        ("ssl_server_name", Some("sni"), None),
        ("ssl_session_reused", Some("r"), None),
        ("ssl_alpn_protocol", Some("http/1.1"), None),
        ("upstream_addr", Some("10.0.0.1:80, 10.0.0.2:80"), None),
        ("upstream_bytes_received", Some("0, 8"), None),
        ("upstream_bytes_sent", Some("0, 9"), None),
        ("upstream_cache_status", None, None),
        ("upstream_connect_time", Some("-, 0.001"), None),
        ("upstream_header_time", Some("-, 0.020"), None),
        ("upstream_response_length", Some("0, 7"), None),
        ("upstream_response_time", Some("-, 61.000"), None),
        ("upstream_status", Some("502, 101"), None),
        ("websocket_duration", Some("3600.001"), None),
        ("websocket_messages_received", Some("4"), None),
        ("websocket_messages_sent", Some("5"), None),
        ("websocket_close_code", Some("1001"), None),
        ("websocket_ended_by", Some("client"), None),
        ("websocket_reason", Some("going away"), None),
        ("websocket_client_rtt", Some("12.345"), None),
        ("websocket_backend_rtt", None, None),
        // Those with a part of their own.
        ("1", None, None),
        ("2", Some("two"), None),
        ("9", None, None),
        ("name", Some("value"), None),
        ("m7", Some(""), Some("")),
        ("http_host", Some("Example.com:8080"), Some("Example.com:8080")),
        ("http_x_forwarded_for", Some("1.1.1.1, 2.2.2.2"), None),
        ("sent_http_x_sent", Some("s"), None),
        ("upstream_http_x_up", Some("u"), None),
        ("upstream_cookie_c", Some("1"), None),
        ("cookie_c", None, None),
        ("arg_x", Some("1"), None),
    ];

    #[test]
    fn every_variable_has_its_value() {
        let (full, bare) = (full(), facts("http://h"));
        for (name, with_all, with_little) in TABLE {
            for (facts, expected) in [(&full, with_all), (&bare, with_little)] {
                with_scope(facts, &[], |scope| {
                    let value = scope.value(&variable(name)).map(|value| value.into_owned());
                    match *name {
                        "binary_remote_addr" => assert_eq!(value.as_deref(), Some(&[192, 0, 2, 7][..])),
                        _ => assert_eq!(value.as_deref(), expected.map(str::as_bytes), "${name}"),
                    }
                });
            }
        }
        for (_, name, _) in Known::ALL {
            assert!(TABLE.iter().any(|(known, ..)| known == name), "${name} is not in the table");
        }
    }

    #[test]
    fn unix_sockets_have_no_address() {
        let mut facts = facts("/");
        let mut connection = (*facts.connection).clone();
        (connection.remote, connection.local) = (Peer::Unix(String::new()), Peer::Unix("/run/s".to_owned()));
        facts.connection = Arc::new(connection);
        with_scope(&facts, &[], |scope| {
            let text = "$remote_addr|$remote_port|$binary_remote_addr|$server_addr|$server_port";
            assert_eq!(scope.render(&template(text)), b"unix:||unix:|unix:/run/s|");
        });
    }
}
