//! Pure: what goes to a backend: where to, which URI, which headers.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use longwire_conf::model::Settings;
use longwire_conf::template::{Known, Part, Template, Variable};

use super::facts::Facts;
use super::headers::{header_value, remove_hop_by_hop};
use super::location::How;
use super::uri::{bytes, escape_raw, escape_uri, origin_form, text};
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
    let uri = match part {
        UriPart::Rendered(uri) if !uri.is_empty() => uri.to_owned(),
        UriPart::Fixed(uri) => {
            // What a rule changed after the location was chosen goes as a whole.
            let (lead, matched) = match (facts.course.location_stale, how) {
                (true, _) => ("", 0),
                (false, How::Exact) => (uri, facts.uri.len()),
                (false, How::Prefix(length)) => (uri, length),
                (false, How::Regex | How::Named | How::Slash) => (uri, 0),
            };
            let rest = facts.uri.get(matched..).unwrap_or("");
            with_args(format!("{lead}{}", escape_rest(rest, facts)), &facts.args)
        }
        _ if facts.course.target_stale => with_args(escape_rest(&facts.uri, facts), &facts.args),
        _ => origin_form(&facts.target),
    };
    escape_raw(&uri)
}

/// nginx escapes a path again only if it had to decode it, or made it itself.
fn escape_rest(rest: &str, facts: &Facts) -> String {
    match facts.course.internal || facts.was_escaped() {
        true => escape_uri(&bytes(rest)),
        false => rest.to_owned(),
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
    /// Host as written (an IPv6 address in brackets); empty for a Unix socket.
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
        let text = text(value.to_vec());
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
        Ok(Destination { https, host: host.to_owned(), port, unix: None, uri: rooted(uri) })
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
    let sent = &scope.facts.headers;
    let mut headers = match settings.proxy_pass_request_headers {
        true => sent.clone(),
        // How long the body is belongs to the body.
        false => sent
            .get(header::CONTENT_LENGTH)
            .map(|v| (header::CONTENT_LENGTH, v.clone()))
            .into_iter()
            .collect(),
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, headers, listed, settings, template, with_scope};
    use super::super::uri::Target;
    use super::*;

    /// What nginx asked its backend for.
    #[test]
    fn uris_go_out_as_from_nginx() {
        use UriPart::{Fixed, None, Rendered};
        let prefix = How::Prefix;
        let table = [
            (None, prefix(1), "/a%20b?x=%20", "/a%20b?x=%20"),
            (None, prefix(1), "/a/../b//c", "/a/../b//c"),
            (None, prefix(1), "/a{b\"", "/a{b\""),
            (None, How::Regex, "/re/../re/c", "/re/../re/c"),
            (None, How::Named, "/e405/x%20y?q", "/e405/x%20y?q"),
            (None, prefix(1), "http://p.test/abs/../x?y", "/abs/../x?y"),
            (None, prefix(1), "http://p.test?q", "/?q"),
            (Fixed("/"), prefix(3), "http://p.test/u/abs", "/abs"),
            (Fixed("/"), prefix(3), "/u/a%20b?x", "/a%20b?x"),
            (Fixed("/"), prefix(3), "/u/", "/"),
            (Fixed("/"), prefix(3), "/u/?", "/"),
            (Fixed("/"), prefix(3), "/u//x", "/x"),
            (Fixed("/"), prefix(3), "/u/a{b", "/a{b"),
            (Fixed("/"), prefix(3), "/u/a%7Bb{c", "/a%7Bb%7Bc"),
            (Fixed("/"), prefix(3), "/u/a%5Eb^c", "/a%5Eb%5Ec"),
            (Fixed("/"), prefix(3), "/u/%C3%A9%ff", "/%C3%A9%FF"),
            (Fixed("/"), prefix(3), "/u/%3F%23%25x", "/%3F%23%25x"),
            (Fixed("/"), prefix(3), "/u/a%2Fb", "/a/b"),
            (Fixed("/"), prefix(3), "/u/a%2e%2e", "/a.."),
            (Fixed("/"), prefix(3), "/u/a%22%3C%3E%5C%60%7C%7D%7F", "/a%22%3C%3E%5C%60%7C%7D%7F"),
            (Fixed("/vv"), prefix(2), "/v", "/vv"),
            (Fixed("/vv"), prefix(2), "/v/x", "/vv/x"),
            (Fixed("/vv"), prefix(2), "/vx?y", "/vvx?y"),
            (Fixed("/ww/?k=1"), prefix(3), "/w/x?y=2", "/ww/?k=1x?y=2"),
            (Fixed("/exact"), How::Exact, "/ex?z", "/exact?z"),
            (Rendered(""), prefix(1), "/var/a%20b?x", "/var/a%20b?x"),
            (Rendered("/fix"), prefix(1), "/varu/zzz?x", "/fix"),
            (Rendered("/?q=1"), prefix(1), "/varq/x?y", "/?q=1"),
            // nginx sends these two with a space and a byte that no request line can carry.
            (Rendered("/varuri/a b?x"), prefix(1), "/varuri/a%20b?x", "/varuri/a%20b?x"),
            (Fixed("/"), prefix(3), "/u/<é\"", "/%3Cé\""),
        ];
        for (part, how, target, expected) in table {
            assert_eq!(backend_uri(part, how, &facts(target)), expected, "{part:?} {target}");
        }
    }

    #[test]
    fn after_an_internal_redirect_the_new_uri_counts() {
        let mut facts = facts("/sent?a");
        (facts.uri, facts.args) = ("/u/er%20r.html".to_owned(), "z=1".to_owned());
        (facts.course.internal, facts.course.target_stale) = (true, true);
        assert_eq!(backend_uri(UriPart::None, How::Prefix(1), &facts), "/u/er%2520r.html?z=1");
        assert_eq!(backend_uri(UriPart::Fixed("/"), How::Prefix(3), &facts), "/er%2520r.html?z=1");
        assert_eq!(backend_uri(UriPart::Rendered("/x"), How::Prefix(3), &facts), "/x");
        facts.course.location_stale = true;
        assert_eq!(backend_uri(UriPart::Fixed("/"), How::Prefix(3), &facts), "/u/er%2520r.html?z=1");
    }

    #[test]
    fn destinations_are_split() {
        type Parts<'a> = (bool, &'a str, Option<u16>, Option<&'a str>, &'a str, &'a str, &'a str);
        let table: [(&str, Parts<'_>); 9] = [
            ("http://b", (false, "b", None, None, "", "b", "80")),
            ("HTTP://B:80/x?y", (false, "B", Some(80), None, "/x?y", "B", "80")),
            ("https://b:443", (true, "b", Some(443), None, "", "b", "443")),
            ("https://b:80/", (true, "b", Some(80), None, "/", "b:80", "80")),
            ("http://b?q=1/2", (false, "b", None, None, "/?q=1/2", "b", "80")),
            ("http://[::1]:3000/x", (false, "[::1]", Some(3000), None, "/x", "[::1]:3000", "3000")),
            ("http://[::1]", (false, "[::1]", None, None, "", "[::1]", "80")),
            ("http://unix:/run/s:/x", (false, "", None, Some("/run/s"), "/x", "localhost", "")),
            ("http://unix:/run/s", (false, "", None, Some("/run/s"), "", "localhost", "")),
        ];
        for (text, expected) in table {
            let found = Destination::parse(text.as_bytes()).unwrap();
            let (host, port) = (found.proxy_host(), found.proxy_port());
            let parts =
                (found.https, &*found.host, found.port, found.unix.as_deref(), &*found.uri, &*host, &*port);
            assert_eq!(parts, expected, "{text}");
        }
        let faults = [
            ("b", DestinationFault::Scheme),
            ("", DestinationFault::Scheme),
            ("ws://b", DestinationFault::Scheme),
            ("http://", DestinationFault::Host),
            ("http:///x", DestinationFault::Host),
            ("http://:80", DestinationFault::Host),
            ("http://[::1", DestinationFault::Host),
            ("http://[::1]x", DestinationFault::Host),
            ("http://a b", DestinationFault::Host),
            ("http://b:", DestinationFault::Port),
            ("http://b:0", DestinationFault::Port),
            ("http://b:+1", DestinationFault::Port),
            ("http://b:65536", DestinationFault::Port),
            ("http://b:1:2", DestinationFault::Port),
            ("http://unix:", DestinationFault::Unix),
            ("http://unix::/x", DestinationFault::Unix),
        ];
        for (text, expected) in faults {
            assert_eq!(Destination::parse(text.as_bytes()), Err(expected), "{text}");
        }
    }

    const CLIENT: &[(&str, &str)] = &[
        ("host", "client.test"),
        ("x-a", "c"),
        ("x-b", "c"),
        ("x-dup", "1"),
        ("x-dup", "2"),
        ("connection", "upgrade, x-listed"),
        ("x-listed", "1"),
        ("upgrade", "websocket"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("content-length", "5"),
        ("sec-websocket-key", "k"),
    ];

    fn sent(rules: &[(&str, &str)], websocket: bool, change: impl FnOnce(&mut Settings)) -> (String, bool) {
        let mut facts = facts("/");
        facts.headers = headers(CLIENT);
        let mut settings = settings();
        settings.proxy_set_header =
            rules.iter().map(|(name, value)| ((*name).to_owned(), template(value))).collect();
        change(&mut settings);
        let out = with_scope(&facts, &[], |scope| backend_headers(&settings, scope, websocket));
        (listed(&out.headers).join("|"), out.upgrade)
    }

    #[test]
    fn headers_of_the_client_go_on_under_proxy_set_header() {
        let rest = "sec-websocket-key: k|x-a: c|x-b: c|x-dup: 1|x-dup: 2";
        let plain = |rules: &[(&str, &str)]| sent(rules, false, |_| ()).0;
        assert_eq!(plain(&[]), format!("content-length: 5|host: backend:3000|{rest}"));
        assert_eq!(plain(&[("Host", "$host")]), format!("content-length: 5|host: example.com|{rest}"));
        // A request without Host would be refused, so the default stays.
        assert_eq!(plain(&[("host", "")]), format!("content-length: 5|host: backend:3000|{rest}"));
        assert_eq!(
            plain(&[("X-A", "1"), ("x-a", "2"), ("X-B", ""), ("x-dup", "$arg_none")]),
            "content-length: 5|host: backend:3000|sec-websocket-key: k|x-a: 1|x-a: 2"
        );
    }

    #[test]
    fn framing_and_connections_are_not_configured() {
        let rules = [
            ("Connection", "upgrade"),
            ("Upgrade", "$http_upgrade"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "77"),
            ("Keep-Alive", "1"),
        ];
        let (headers, upgrade) = sent(&rules, false, |_| ());
        assert!(headers.starts_with("content-length: 5|host: backend:3000|sec-websocket-key"), "{headers}");
        assert!(!headers.contains("upgrade") && !headers.contains("keep-alive") && !upgrade, "{headers}");
        assert!(!sent(&[("Content-Length", "")], false, |_| ()).0.contains("content-length"));
        assert!(
            !sent(&[], false, |settings| settings.proxy_pass_request_body = false)
                .0
                .contains("content-length")
        );
    }

    #[test]
    fn a_handshake_always_asks_for_the_upgrade() {
        let asked = |(headers, upgrade): (String, bool)| {
            upgrade && headers.contains("connection: upgrade") && headers.contains("upgrade: websocket")
        };
        assert!(asked(sent(&[], true, |_| ())));
        assert!(asked(sent(&[("Connection", "close"), ("Upgrade", "$arg_none")], true, |_| ())));
        let (headers, upgrade) = sent(&[("upgrade", "")], true, |_| ());
        assert!(!upgrade && !headers.contains("upgrade:") && !headers.contains("connection:"), "{headers}");
        // The handshake itself is the client's.
        assert!(sent(&[], true, |_| ()).0.contains("sec-websocket-key: k"));
    }

    #[test]
    fn headers_of_the_client_may_be_kept_back() {
        let (headers, _) =
            sent(&[("X-A", "1")], false, |settings| settings.proxy_pass_request_headers = false);
        assert_eq!(headers, "content-length: 5|host: backend:3000|x-a: 1");
    }

    #[test]
    fn nothing_sent_can_break_a_line() {
        let mut facts = facts("/a%0d%0aX:%20y");
        facts.proxy_host = "b".to_owned();
        let mut settings = settings();
        settings.proxy_set_header = [("X-Uri".to_owned(), template("$uri"))].into();
        let out = with_scope(&facts, &[], |scope| backend_headers(&settings, scope, false)).headers;
        assert_eq!(out.get("x-uri").unwrap(), "/a  X: y");
        assert_eq!(Target::parse("/a%0d", true).unwrap().path, "/a\r");
    }
}
