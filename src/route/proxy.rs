//! Pure: what goes to a backend: where to, which URI, which headers.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use longwire_conf::model::Settings;
use longwire_conf::template::{Known, Part, Template, Variable};

use super::facts::Facts;
use super::headers::{header_value, remove_hop_by_hop};
use super::location::How;
use super::uri::{bytes, escape_raw, escape_uri, origin_form};
use super::variables::Scope;

/// The URI part of a `proxy_pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriPart<'a> {
    /// There is none.
    None,
    /// It replaces what the location matched.
    Fixed(&'a str),
    /// It came out of variables and goes as it is.
    Rendered(&'a str),
}

/// The request target for the backend.
pub fn backend_uri(part: UriPart<'_>, how: How, facts: &Facts) -> String {
    match part {
        UriPart::Rendered(uri) if !uri.is_empty() => escape_raw(uri.as_bytes()),
        UriPart::Fixed(uri) => {
            let matched = match how {
                How::Exact => facts.uri.len(),
                How::Prefix(length) => length,
                How::Regex | How::Named | How::Slash => 0,
            };
            let rest = facts.uri.get(matched..).unwrap_or("");
            with_args(format!("{}{}", escape_raw(uri.as_bytes()), escape_rest(rest, facts)), &facts.args)
        }
        _ if facts.redirected => with_args(escape_uri(&bytes(&facts.uri)), &facts.args),
        _ => origin_form(&facts.target).into_owned(),
    }
}

/// nginx escapes a path again only if it had to decode it, or made it itself.
fn escape_rest(rest: &str, facts: &Facts) -> String {
    let sent = facts.target.split('?').next().unwrap_or("");
    match facts.redirected || sent.contains('%') {
        true => escape_uri(&bytes(rest)),
        false => escape_raw(&bytes(rest)),
    }
}

fn with_args(mut uri: String, args: &str) -> String {
    if !args.is_empty() {
        uri.push('?');
        uri.push_str(args);
    }
    uri
}

/// What a `proxy_pass` with variables came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `https://`.
    pub https: bool,
    /// Host in lower case (an IPv6 address in brackets); empty for a Unix socket.
    pub host: String,
    /// The port written.
    pub port: Option<u16>,
    /// Path of a Unix socket.
    pub unix: Option<String>,
    /// The URI part, beginning with `/`; empty when there is none.
    pub uri: String,
}

/// Why the value of a `proxy_pass` is no destination (500).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationFault {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// No host.
    Host,
    /// A port that is no number from 1 to 65535.
    Port,
    /// `unix:` without a path.
    Unix,
}

impl fmt::Display for DestinationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DestinationFault::Scheme => "invalid URL prefix",
            DestinationFault::Host => "no host",
            DestinationFault::Port => "invalid port",
            DestinationFault::Unix => "no path in the unix domain socket",
        })
    }
}

impl std::error::Error for DestinationFault {}

impl Destination {
    /// Splits the rendered value of a `proxy_pass`, or its text when it has no variables.
    pub fn parse(value: &[u8]) -> Result<Destination, DestinationFault> {
        let text = String::from_utf8_lossy(value);
        let (https, rest) = match (after(&text, "http://"), after(&text, "https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(DestinationFault::Scheme),
        };
        if let Some(rest) = rest.strip_prefix("unix:") {
            let (path, uri) = rest.split_once(':').unwrap_or((rest, ""));
            let unix = Some(path.to_owned()).filter(|path| !path.is_empty()).ok_or(DestinationFault::Unix)?;
            return Ok(Destination {
                https,
                host: String::new(),
                port: None,
                unix: Some(unix),
                uri: rooted(uri),
            });
        }
        let (authority, uri) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        if host.is_empty() || host.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(DestinationFault::Host);
        }
        Ok(Destination { https, host: host.to_ascii_lowercase(), port, unix: None, uri: rooted(uri) })
    }

    /// `$proxy_host`: the port only when it is not that of the scheme.
    pub fn proxy_host(&self) -> String {
        match self.port {
            _ if self.unix.is_some() => "localhost".to_owned(),
            Some(port) if port != self.default_port() => format!("{}:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    /// `$proxy_port`; empty for a Unix socket.
    pub fn proxy_port(&self) -> String {
        match self.unix {
            Some(_) => String::new(),
            None => self.port.unwrap_or(self.default_port()).to_string(),
        }
    }

    /// Port of the scheme.
    pub fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }
}

fn after<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn rooted(uri: &str) -> String {
    if uri.starts_with('?') { format!("/{uri}") } else { uri.to_owned() }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), DestinationFault> {
    let end = match authority.starts_with('[') {
        true => authority.find(']').ok_or(DestinationFault::Host)? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    let Some(port) = rest.strip_prefix(':') else {
        return if rest.is_empty() { Ok((host, None)) } else { Err(DestinationFault::Host) };
    };
    match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|digit| digit.is_ascii_digit()) => {
            Ok((host, Some(number)))
        }
        _ => Err(DestinationFault::Port),
    }
}

/// Headers of a request to a backend.
#[derive(Debug, Clone)]
pub struct BackendHeaders {
    /// All of them.
    pub headers: HeaderMap,
    /// Whether they ask for an upgrade: a WebSocket handshake, unless `proxy_set_header Upgrade ""` forbids it.
    pub upgrade: bool,
}

/// Headers for the backend: those of the client (`scope.facts.headers`) under `proxy_set_header`.
///
/// What keeps a connection and frames a message is the program's own business, whatever is configured:
/// `Connection`, `Upgrade`, `Keep-Alive`, `Transfer-Encoding` and a `Content-Length` other than none.
pub fn backend_headers(settings: &Settings, scope: &Scope<'_>, websocket: bool) -> BackendHeaders {
    let mut headers = match settings.proxy_pass_request_headers {
        true => scope.facts.headers.clone(),
        false => HeaderMap::new(),
    };
    remove_hop_by_hop(&mut headers);
    headers.remove(header::EXPECT);
    if !settings.proxy_pass_request_body {
        headers.remove(header::CONTENT_LENGTH);
    }
    set_headers(&mut headers, &settings.proxy_set_header, scope);
    // HTTP/1.1 asks for it, even where the configuration removes it.
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, header_value(scope.facts.proxy_host.clone().into_bytes()));
    }
    let forbidden =
        |(name, value): &(String, Template)| name.eq_ignore_ascii_case("upgrade") && value.parts.is_empty();
    let upgrade = websocket && !settings.proxy_set_header.iter().any(forbidden);
    if upgrade {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    BackendHeaders { headers, upgrade }
}

fn set_headers(headers: &mut HeaderMap, rules: &[(String, Template)], scope: &Scope<'_>) {
    let default_host =
        [("Host".to_owned(), Template { parts: vec![Part::Variable(Variable::Known(Known::ProxyHost))] })];
    let named = rules.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let all = default_host[usize::from(named)..].iter().chain(rules);
    let all: Vec<(HeaderName, &Template)> = all
        .filter_map(|(name, value)| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value)))
        .collect();
    // First all that is named goes, then what has a value comes: a name written twice gives two headers.
    let length = headers.get(header::CONTENT_LENGTH).cloned();
    for (name, _) in &all {
        headers.remove(name);
    }
    for (name, template) in all {
        let value = scope.render(template);
        if value.is_empty() || own_business(&name) {
            continue;
        }
        if name == header::CONTENT_LENGTH {
            length.iter().for_each(|length| drop(headers.insert(header::CONTENT_LENGTH, length.clone())));
        } else {
            headers.append(name, header_value(value));
        }
    }
}

fn own_business(name: &HeaderName) -> bool {
    [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING].contains(name) || *name == "keep-alive"
}
