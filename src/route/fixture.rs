//! Pure: what the tests of this folder share: a request and settings to start from, and templates from text.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use longwire_conf::model::{
    Alias, Content, Expires, Expiry, Gzip, GzipProxied, IfModifiedSince, Location, Map, Matcher,
    NextUpstream, OnRemoval, Propagation, ProxyPass, ProxyRedirect, ProxySsl, ProxyTarget, Return, Root,
    Rule, Satisfy, Server, ServerName, Settings, Tls, Tracing,
};
use longwire_conf::pattern::Pattern;
use longwire_conf::source::Span;
use longwire_conf::template::{Known, Part, Template, Variable};
use regex::Regex;

use super::facts::{ConnectionFacts, Course, Facts, Outcome, Peer, Protocol};
use super::variables::{Machine, Maps, Scope};

/// A template: `$name` and `${name}` are variables; `$m0` is a map, other unknown names are captures.
pub(crate) fn template(text: &str) -> Template {
    let token = Regex::new(r"\$(\{)?(\w+)\}?").unwrap();
    let mut parts = Vec::new();
    let mut end = 0;
    for found in token.captures_iter(text) {
        let whole = found.get(0).unwrap();
        if whole.start() > end {
            parts.push(Part::Text(text[end..whole.start()].to_owned()));
        }
        parts.push(Part::Variable(variable(&found[2])));
        end = whole.end();
    }
    if end < text.len() {
        parts.push(Part::Text(text[end..].to_owned()));
    }
    Template { parts }
}

pub(crate) fn variable(name: &str) -> Variable {
    let known = Known::ALL.iter().find(|(_, known, _)| *known == name).map(|(known, ..)| *known);
    let after = |prefix| name.strip_prefix(prefix).map(str::to_owned);
    match name.parse::<u8>() {
        Ok(number) => Variable::Capture(number),
        Err(_) if known.is_some() => Variable::Known(known.unwrap()),
        Err(_) => after("http_")
            .map(Variable::Http)
            .or_else(|| after("sent_http_").map(Variable::SentHttp))
            .or_else(|| after("upstream_http_").map(Variable::UpstreamHttp))
            .or_else(|| after("cookie_").map(Variable::Cookie))
            .or_else(|| after("upstream_cookie_").map(Variable::UpstreamCookie))
            .or_else(|| after("arg_").map(Variable::Arg))
            .or_else(|| after("m").and_then(|index| Some(Variable::Map(index.parse().ok()?))))
            .unwrap_or_else(|| Variable::Named(name.to_owned())),
    }
}

pub(crate) fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .collect()
}

/// Headers as text, sorted by name.
pub(crate) fn listed(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

/// A request from 192.0.2.7 to port 8080, as it was read on 23 November 2026 at 04:12:51 UTC.
pub(crate) fn facts(target: &str) -> Facts {
    let parsed = super::uri::Target::parse(target, true).unwrap();
    let connection = ConnectionFacts {
        announced: None,
        came_from: None,
        serial: 12,
        remote: Peer::Ip([192, 0, 2, 7].into(), 51000),
        local: Peer::Ip([127, 0, 0, 1].into(), 8080),
        accepted_us: 1_000_000,
        tls: None,
    };
    Facts {
        connection: Arc::new(connection),
        number: 3,
        method: "GET".to_owned(),
        target: target.to_owned(),
        protocol: Protocol::Http11,
        headers: headers(&[("host", "Example.com:8080")]),
        uri: parsed.path,
        args: parsed.args,
        course: Course::default(),
        host: "example.com".to_owned(),
        server_name: "first.example.com".to_owned(),
        captures: Vec::new(),
        named: Vec::new(),
        request_id: "0123456789abcdef0123456789abcdef".to_owned(),
        started_us: 2_000_000,
        started_unix_us: 1_795_407_171_000_000,
        request_length: 99,
        proxy_host: "backend:3000".to_owned(),
        proxy_port: "3000".to_owned(),
        upstream: String::new(),
        trace: None,
        outcome: Outcome { now_us: 2_003_999, ..Outcome::default() },
    }
}

/// Renders within a request, without maps.
pub(crate) fn with_scope<T>(facts: &Facts, maps: &[Map], run: impl FnOnce(&Scope<'_>) -> T) -> T {
    let machine = Machine { hostname: "machine".to_owned(), pid: 77, utc_offset: 0 };
    run(&Scope { facts, maps: &Maps::new(maps), machine: &machine })
}

pub(crate) fn settings() -> Settings {
    let minute = Duration::from_secs(60);
    Settings {
        guard: Arc::default(),
        proxy_set_header: Arc::default(),
        proxy_hide_header: Arc::default(),
        proxy_pass_header: Arc::default(),
        proxy_pass_request_headers: true,
        proxy_pass_request_body: true,
        proxy_method: None,
        proxy_connect_timeout: minute,
        proxy_read_timeout: minute,
        proxy_send_timeout: minute,
        proxy_redirect: ProxyRedirect::Default,
        proxy_intercept_errors: false,
        proxy_bind: None,
        proxy_protocol: None,
        proxy_socket_keepalive: false,
        proxy_next_upstream: NextUpstream::default(),
        proxy_next_upstream_tries: 0,
        proxy_next_upstream_timeout: Duration::ZERO,
        resolver: None,
        resolver_timeout: minute,
        proxy_ssl: Arc::new(ProxySsl {
            verify: false,
            trusted: None,
            name: None,
            server_name: false,
            certificate: None,
            protocols: Default::default(),
            session_reuse: true,
        }),
        add_header: Arc::default(),
        error_page: Arc::default(),
        error_log: Arc::default(),
        access_log: Arc::default(),
        client_max_body_size: Some(1 << 20),
        client_body_timeout: minute,
        send_timeout: minute,
        keepalive_timeout: minute,
        keepalive_requests: 1000,
        lingering_timeout: minute,
        server_tokens: false,
        server_name_in_redirect: false,
        port_in_redirect: true,
        absolute_redirect: true,
        tcp_nodelay: true,
        default_type: "text/plain".to_owned(),
        types: Arc::new([("html".to_owned(), "text/html".to_owned())].into()),
        root: Arc::new(Root { path: Template::literal("/srv"), prefix: "/".into(), alias: Alias::No }),
        index: Arc::default(),
        etag: true,
        if_modified_since: IfModifiedSince::Exact,
        max_ranges: None,
        log_not_found: true,
        expires: Expires::Fixed(Expiry::Off),
        recursive_error_pages: false,
        rewrite_log: false,
        uninitialized_variable_warn: true,
        satisfy: Satisfy::All,
        auth_request: None,
        auth_request_set: Arc::default(),
        gzip: Arc::new(Gzip {
            on: false,
            types: ["text/html".to_owned()].into(),
            min_length: 20,
            level: 1,
            vary: false,
            proxied: GzipProxied::default(),
            disable: Arc::default(),
            http10: false,
        }),
        unsupported: Arc::default(),
        tracing: Arc::new(Tracing {
            trace: None,
            context: Propagation::default(),
            span_name: None,
            span_attr: Arc::default(),
        }),
        websocket_ping: None,
        websocket_max_message: None,
        websocket_close_timeout: minute,
        websocket_drain: minute,
        websocket_reload: OnRemoval::Keep,
    }
}

pub(crate) fn server(names: Vec<ServerName>) -> Server {
    Server {
        listens: Vec::new(),
        names,
        tls: Tls::default(),
        settings: Arc::new(settings()),
        base: location("", Vec::new()),
        locations: Vec::new(),
        client_header_timeout: Duration::from_secs(60),
        max_head: 32 << 10,
        underscores_in_headers: false,
        ignore_invalid_headers: true,
        merge_slashes: true,
        http2: false,
        http2_max_concurrent_streams: 128,
        span: Span::default(),
    }
}

/// `proxy_pass` to a fixed address.
pub(crate) fn pass(text: &str) -> ProxyPass {
    let rest = text.split_once("://").unwrap().1;
    let (host, uri) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let uri = Some(uri.to_owned()).filter(|uri| !uri.is_empty());
    let target = ProxyTarget::Group { upstream: 0, host: host.to_owned(), uri };
    ProxyPass { https: text.starts_with("https"), target, text: text.to_owned(), span: Span::default() }
}

/// A location that returns its own head as text, as in `~ \.gif$`, with others in it.
pub(crate) fn location(head: &str, locations: Vec<Location>) -> Location {
    let matcher = match head.split_once(' ') {
        Some(("=", path)) => Matcher::Exact(path.to_owned()),
        Some(("^~", path)) => Matcher::Prefix { path: path.to_owned(), no_regex: true },
        Some(("~", regex)) => Matcher::Regex(Pattern::new(regex, false).unwrap()),
        Some(("~*", regex)) => Matcher::Regex(Pattern::new(regex, true).unwrap()),
        _ if head.starts_with('@') => Matcher::Named(head[1..].to_owned()),
        _ => Matcher::Prefix { path: head.to_owned(), no_regex: false },
    };
    let text = Some(Template { parts: vec![Part::Text(head.to_owned())] });
    Location {
        matcher,
        settings: Arc::new(settings()),
        rules: vec![Rule::Return(Return { code: 200, text }, "test:1".into())],
        limit_except: None,
        try_files: None,
        content: Content::Files,
        locations,
        internal: false,
        health_check: None,
        span: Span::default(),
    }
}

/// The same, proxied.
pub(crate) fn proxied(head: &str, to: &str) -> Location {
    Location { rules: Vec::new(), content: Content::Proxy(pass(to)), ..location(head, Vec::new()) }
}
