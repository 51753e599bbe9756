//! Pure: the values of variables, and values with variables in them.
//!
//! A value is bytes. `None` is nginx's "not found": nothing in a header, `-` in a log.

use std::borrow::Cow;

use longwire_conf::template::{Known, Part, Template, Variable};

use super::calendar::Moment;
use super::facts::{Captures, Facts, Peer, TlsFacts, Try, TunnelFacts};
use super::fields::{arg, cookie, header, remote_user, set_cookie};
pub use super::map::Maps;
use super::uri::{bytes, origin_form, text};

/// Version of nginx whose behaviour is followed, `$nginx_version`.
pub const NGINX_VERSION: &str = "1.29.7";

/// Maps within maps deeper than this are empty; only a cycle goes that deep.
const MAX_DEPTH: u8 = 16;

/// What is the same for every request.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// `$hostname`.
    pub hostname: String,
    /// `$pid`.
    pub pid: u32,
    /// Seconds by which local time is ahead of UTC.
    pub utc_offset: i32,
}

/// All that a value may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The request.
    pub facts: &'a Facts,
    /// The maps.
    pub maps: &'a Maps,
    /// The rest of the world.
    pub machine: &'a Machine,
}

/// A scope within a map or a rule whose expression has captures of its own.
#[derive(Clone, Copy)]
struct Frame<'a, 'c> {
    scope: Scope<'a>,
    captures: Option<&'c Captures>,
    depth: u8,
}

impl<'a> Scope<'a> {
    /// The value of a template.
    pub fn render(&self, template: &Template) -> Vec<u8> {
        self.frame().render(template)
    }

    /// The value of a template that sees the captures of an expression just matched.
    pub fn render_with(&self, template: &Template, captures: &Captures) -> Vec<u8> {
        Frame { captures: Some(captures), ..self.frame() }.render(template)
    }

    /// Whether a condition holds: not empty and not "0".
    pub fn holds(&self, condition: &Template) -> bool {
        !matches!(self.render(condition).as_slice(), b"" | b"0")
    }

    /// The value of a variable.
    pub fn value(&self, variable: &Variable) -> Option<Cow<'a, [u8]>> {
        self.frame().value(variable)
    }

    fn frame(self) -> Frame<'a, 'a> {
        Frame { scope: self, captures: None, depth: 0 }
    }
}

impl<'a> Frame<'a, '_> {
    fn render(&self, template: &Template) -> Vec<u8> {
        let mut value = Vec::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => {
                    value.extend_from_slice(&self.value(variable).unwrap_or_default());
                }
            }
        }
        value
    }

    fn value(&self, variable: &Variable) -> Option<Cow<'a, [u8]>> {
        let facts = self.scope.facts;
        match variable {
            Variable::Capture(number) => self.numbered(usize::from(*number)),
            Variable::Named(name) => self.named(name),
            Variable::Map(index) => Some(Cow::Owned(self.map(*index))),
            Variable::Http(name) => header(&facts.headers, name),
            Variable::SentHttp(name) => header(&facts.outcome.sent, name),
            Variable::UpstreamHttp(name) => header(&facts.outcome.upstream, name),
            Variable::Cookie(name) => cookie(&facts.headers, name).map(Cow::Borrowed),
            Variable::UpstreamCookie(name) => set_cookie(&facts.outcome.upstream, name).map(Cow::Borrowed),
            Variable::Arg(name) => arg(&facts.args, name).map(|value| Cow::Borrowed(value.as_bytes())),
            Variable::Known(known) => self.scope.known(*known),
        }
    }

    fn numbered(&self, number: usize) -> Option<Cow<'a, [u8]>> {
        match self.captures {
            Some(own) if !own.numbered.is_empty() => own.numbered.get(number)?.as_deref().map(owned),
            _ => self.scope.facts.captures.get(number)?.as_deref().map(bytes),
        }
    }

    fn named(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let of = |list: &'_ [(String, String)]| list.iter().position(|(known, _)| known == name);
        let own = self.captures.and_then(|own| own.named.get(of(&own.named)?));
        let named = &self.scope.facts.named;
        match own {
            Some((_, value)) => Some(owned(value)),
            None => named.get(of(named)?).map(|(_, value)| bytes(value)),
        }
    }

    fn map(&self, index: usize) -> Vec<u8> {
        let Some(source) = self.scope.maps.source(index).filter(|_| self.depth < MAX_DEPTH) else {
            return Vec::new();
        };
        let inner = Frame { depth: self.depth + 1, ..*self };
        let source = text(inner.render(source));
        let Some((value, captures)) = self.scope.maps.find(index, &source) else { return Vec::new() };
        let captures = if captures.numbered.is_empty() { self.captures } else { Some(&captures) };
        Frame { scope: self.scope, captures, depth: inner.depth }.render(value)
    }
}

fn owned<'a>(value: &str) -> Cow<'a, [u8]> {
    Cow::Owned(bytes(value).into_owned())
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

impl<'a> Scope<'a> {
    fn known(&self, known: Known) -> Option<Cow<'a, [u8]>> {
        let facts = self.facts;
        let connection = &facts.connection;
        match known {
            Known::Args | Known::QueryString => some(&facts.args),
            Known::IsArgs => borrowed(if facts.args.is_empty() { "" } else { "?" }),
            Known::Uri | Known::DocumentUri => Some(bytes(&facts.uri)),
            Known::Host => borrowed(&facts.host),
            Known::ServerName => borrowed(&facts.server_name),
            Known::Request => plain(request_line(facts)),
            Known::RequestMethod => borrowed(&facts.method),
            Known::RequestUri => plain(origin_form(&facts.target)),
            Known::RequestId => borrowed(&facts.request_id),
            Known::RequestLength => plain(facts.request_length),
            Known::RequestTime => plain(seconds(self.elapsed_us())),
            Known::RequestCompletion => borrowed(if facts.outcome.completed { "OK" } else { "" }),
            Known::ServerProtocol => borrowed(protocol(facts)),
            Known::Scheme => borrowed(self.scheme()),
            Known::Https => borrowed(if connection.tls.is_some() { "on" } else { "" }),
            Known::ContentLength => header(&facts.headers, "content_length"),
            Known::ContentType => header(&facts.headers, "content_type"),
            Known::RemoteUser => remote_user(&facts.headers).map(Cow::Owned),
            Known::ProxyAddXForwardedFor => Some(Cow::Owned(self.forwarded_for())),
            Known::ProxyHost => some(&facts.proxy_host),
            Known::ProxyPort => some(&facts.proxy_port),
            Known::RemoteAddr => plain(address(&connection.remote)),
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
            Known::Hostname => borrowed(&self.machine.hostname),
            Known::Pid => plain(self.machine.pid),
            Known::NginxVersion => borrowed(NGINX_VERSION),
            Known::Msec => plain(seconds(self.unix_us())),
            Known::TimeLocal => plain(self.moment().common_log()),
            Known::TimeIso8601 => plain(self.moment().iso8601()),
            Known::SslCipher => self.tls(|tls| borrowed(&tls.cipher)),
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
            Known::WebsocketClientRtt => self.tunnel(|tunnel| plain(seconds(tunnel.rtt_us[0]?))),
            Known::WebsocketBackendRtt => self.tunnel(|tunnel| plain(seconds(tunnel.rtt_us[1]?))),
            Known::DocumentRoot
            | Known::ProxyProtocolAddr
            | Known::RequestBody
            | Known::RequestFilename
            | Known::UpstreamCacheStatus => None,
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.facts.connection.tls.is_some() { "https" } else { "http" }
    }

    fn now_us(&self) -> u64 {
        self.facts.outcome.now_us.max(self.facts.started_us)
    }

    fn elapsed_us(&self) -> u64 {
        self.now_us() - self.facts.started_us
    }

    fn unix_us(&self) -> u64 {
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

/// The request line, put together again.
pub fn request_line(facts: &Facts) -> String {
    format!("{} {} {}", facts.method, facts.target, protocol(facts))
}

fn protocol(facts: &Facts) -> &'static str {
    if facts.minor_version == 0 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// Microseconds as "1.234": seconds for times, and milliseconds for what is a thousand times shorter.
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
        Peer::Ip(_, port) => port.to_string(),
        Peer::Unix(_) => String::new(),
    }
}

fn binary(peer: &Peer) -> Vec<u8> {
    match peer {
        Peer::Ip(core::net::IpAddr::V4(ip), _) => ip.octets().to_vec(),
        Peer::Ip(core::net::IpAddr::V6(ip), _) => ip.octets().to_vec(),
        Peer::Unix(_) => b"unix:".to_vec(),
    }
}
