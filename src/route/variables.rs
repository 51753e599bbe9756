//! Pure: the values of variables, and values with variables in them.
//!
//! A value is bytes. `None` is nginx's "not found": nothing in a header, `-` in a log.

use std::borrow::Cow;
use std::collections::HashMap;

use http::HeaderMap;
use longwire_conf::model::Map;
use longwire_conf::template::{Known, Part, Template, Variable};

use super::calendar::Moment;
use super::facts::{Captures, Facts, Peer, TlsFacts, Try, TunnelFacts};
use super::uri::{bytes, origin_form, text};

/// Version of nginx whose behaviour is followed, `$nginx_version`.
pub const NGINX_VERSION: &str = "1.29.7";

/// Maps within maps deeper than this are empty; only a cycle goes that deep.
const MAX_DEPTH: u8 = 16;

/// `map` blocks, made ready for looking up.
#[derive(Debug, Clone, Default)]
pub struct Maps {
    maps: Vec<(Map, HashMap<String, usize>)>,
}

impl Maps {
    /// Indexes the maps of a configuration.
    pub fn new(maps: &[Map]) -> Maps {
        let index = |map: &Map| {
            // Backwards, so that of two entries the first stays.
            map.exact.iter().enumerate().rev().map(|(at, (key, _))| (key.to_ascii_lowercase(), at)).collect()
        };
        Maps { maps: maps.iter().map(|map| (map.clone(), index(map))).collect() }
    }

    /// Finds the entry for a source value: exact, masks, expressions, default.
    fn find(&self, index: usize, source: &str) -> Option<(&Template, Captures)> {
        let (map, exact) = self.maps.get(index)?;
        let key = if map.hostnames { source.strip_suffix('.').unwrap_or(source) } else { source };
        let lower = key.to_ascii_lowercase();
        let listed = exact.get(&lower).and_then(|at| map.exact.get(*at));
        let suffix = || map.suffixes.iter().find(|(mask, _)| lower.ends_with(mask.as_str()));
        let prefix = || map.prefixes.iter().find(|(mask, _)| lower.starts_with(mask.as_str()));
        if let Some((_, value)) = listed.or_else(suffix).or_else(prefix) {
            return Some((value, Captures::default()));
        }
        let mut regexes = map.regexes.iter();
        regexes
            .find_map(|(regex, value)| Some((value, Captures::of(regex, key)?)))
            .or(Some((&map.default, Captures::default())))
    }
}

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
        let Some((map, _)) = self.scope.maps.maps.get(index) else { return Vec::new() };
        if self.depth >= MAX_DEPTH {
            return Vec::new();
        }
        let inner = Frame { depth: self.depth + 1, ..*self };
        let source = text(inner.render(&map.source));
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

/// All values of a header, joined; `name` in lower case with underscores for dashes.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, [u8]>> {
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'-' && b == b'_'))
    };
    let separator: &[u8] = if name == "cookie" { b"; " } else { b", " };
    let mut values =
        headers.iter().filter(|(known, _)| same(known.as_str())).map(|(_, value)| value.as_bytes());
    let first = values.next()?;
    Some(values.fold(Cow::Borrowed(first), |joined, value| Cow::Owned([&joined, separator, value].concat())))
}

/// The value after `name`, spaces, `=` and spaces, up to a semicolon. Names compare without case, as in nginx.
fn pair<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(name.len())?;
    if !head.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let value = trim_spaces(trim_spaces(rest).strip_prefix(b"=")?);
    value.split(|byte| *byte == b';').next()
}

fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// A cookie of the request: the first of that name. A comma separates too, but does not end a value.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let find = |mut text: &'a [u8]| {
        loop {
            if let Some(value) = pair(text, name) {
                return Some(value);
            }
            let end = text.iter().position(|byte| matches!(byte, b';' | b','))?;
            text = trim_spaces(text.get(end + 1..)?);
        }
    };
    headers.get_all(http::header::COOKIE).iter().find_map(|value| find(value.as_bytes()))
}

fn set_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(http::header::SET_COOKIE).iter().find_map(|value| pair(value.as_bytes(), name))
}

/// An argument of the request line as sent, without decoding.
fn arg<'a>(args: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = args.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The user of `Authorization: Basic`, if it says one.
fn remote_user(headers: &HeaderMap) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let value = headers.get(http::header::AUTHORIZATION)?.as_bytes();
    let (scheme, code) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let lenient = base64::engine::general_purpose::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let mut user = lenient.decode(trim_spaces(code)).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    user.truncate(colon);
    Some(user).filter(|user| !user.is_empty())
}
