//! From levels to the model: inheritance is applied, and what only shows in the whole is checked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Frame;
use crate::build::Builder;
use crate::ciphers;
use crate::diagnostic::{Diagnostic, MAX_FINDINGS, Severity};
use crate::directives::suggest;
use crate::level::{Head, HeadLayer, Layer, Level, Ssl, SslLayer, TypedRule, default_root};
use crate::model::{
    Address, Certificate, Content, HealthCheck, If, LimitExcept, Listen, Location, Matcher, ProxyTarget,
    Rule, Server, ServerName, Settings, Spanned, Tls, VerifyClient,
};
use crate::source::Span;

/// Completes the configuration: servers with everything they inherit.
pub(crate) fn servers(b: &mut Builder<'_>) {
    b.config.main.error_log = b.level.layer.error_log.take().unwrap_or_default().into();
    let Some(http) = b.http.take() else { return no_server(b, None) };
    exporter(b);
    named_pages(b, &http);
    proxy_certificate(b, &http);
    let bare = Settings { root: default_root(&b.prefix.to_string_lossy()), ..Layer::defaults() };
    let settings = http.layer.merge(&bare);
    resolvers(b, &settings);
    b.config.main.websocket_drain = settings.websocket_drain;
    b.config.main.websocket_reload = settings.websocket_reload;
    let head = http.head.merge(&HeadLayer::defaults());
    let ssl = http.ssl.merge(&SslLayer::defaults());
    let first = |level: &Level| level.ssl.certificates.as_ref()?.first().map(|path| path.span);
    let certificates: Vec<Option<Span>> = http.children.iter().map(first).collect();
    for level in http.children {
        let server = server(b, level, &settings, &head, &ssl);
        b.config.servers.push(server);
    }
    if b.config.servers.is_empty() {
        no_server(b, Some(http.span));
    }
    shared_sockets(b);
    unused_certificates(b, &certificates);
    defaults(b);
    conflicts(b);
}

/// Groups take the resolver of `http` where they have none of their own.
fn resolvers(b: &mut Builder<'_>, http: &Settings) {
    let mut mistakes = Vec::new();
    for upstream in &mut b.config.upstreams {
        upstream.resolver = upstream.resolver.take().or_else(|| http.resolver.clone());
        upstream.resolver_timeout =
            Some(upstream.resolver_timeout).filter(|time| !time.is_zero()).unwrap_or(http.resolver_timeout);
        let asks = upstream.servers.iter().find(|server| server.resolve);
        if let Some(server) = asks.filter(|_| upstream.resolver.is_none()) {
            let message =
                format!("no resolver defined to resolve names at run time in upstream \"{}\"", upstream.name);
            mistakes.push(
                Diagnostic::error(server.address.span, message)
                    .label("\"resolve\" asks a name server again and again")
                    .help("write \"resolver ADDRESS;\" in this block or in \"http\", for example \"resolver 127.0.0.53;\""),
            );
        }
    }
    mistakes.into_iter().for_each(|mistake| b.report(mistake));
}

/// Traces without a place to go to.
fn exporter(b: &mut Builder<'_>) {
    let Some(span) = b.otel_trace.filter(|_| b.config.otel.exporter.is_none()) else { return };
    // One with a mistake in it was reported for that.
    if !b.diagnostics.iter().any(|found| found.message.contains("\"otel_exporter\"")) {
        b.report(
            Diagnostic::error(span, "\"otel_exporter\" block is missing")
                .help("write \"otel_exporter { endpoint 127.0.0.1:4317; }\" in \"http\""),
        );
    }
}

/// A configuration by which nothing is served.
fn no_server(b: &mut Builder<'_>, http: Option<Span>) {
    // Where there are mistakes, the server may be what was not understood.
    if b.diagnostics.iter().any(|found| found.severity == Severity::Error) {
        return;
    }
    let warning = Diagnostic::warning(Span::default(), "no \"server\" is defined, so nothing is served")
        .help("write \"server { listen 80; ... }\" in \"http {}\"");
    b.report(Diagnostic { span: http.filter(|_| matches!(b.frame, Frame::Whole)), ..warning });
}

/// Error pages that lead to named locations which are not there.
fn named_pages(b: &mut Builder<'_>, http: &Level) {
    fn names(server: &Level) -> impl Iterator<Item = &str> {
        server.children.iter().filter_map(|child| match &child.matcher {
            Some(Matcher::Named(name)) => Some(name.as_str()),
            _ => None,
        })
    }
    fn check(b: &mut Builder<'_>, level: &Level, known: &[&str], place: &str) {
        for page in level.named_pages.iter().filter(|page| !known.contains(&page.value.as_str())) {
            if b.diagnostics.len() > MAX_FINDINGS {
                return;
            }
            let message = format!("no location is named \"@{}\" in {place}", page.value);
            let near = suggest::nearest(&page.value, known.iter().copied());
            let warning = Diagnostic::warning(page.span, message);
            b.report(match near {
                Some(near) => warning.label(format!("did you mean \"@{near}\"?")),
                None => {
                    warning.help(format!("write \"location @{} {{ ... }}\" in \"server {{}}\"", page.value))
                }
            });
        }
        for inner in level.children.iter().chain(level.rules.iter().filter_map(TypedRule::level)) {
            check(b, inner, known, place);
        }
    }
    for server in &http.children {
        check(b, server, &names(server).collect::<Vec<_>>(), "this server");
    }
    // Servers that only redirect, say, inherit an error page without having its location: one that has it is enough.
    let any: Vec<&str> = http.children.iter().flat_map(names).collect();
    let pages = Level { named_pages: http.named_pages.clone(), ..Level::default() };
    check(b, &pages, &any, "any server");
}

/// Servers at one address share its socket: what one of them says of it holds for all.
fn shared_sockets(b: &mut Builder<'_>) {
    let mut sockets: HashMap<Address, Listen> = HashMap::new();
    for listen in b.config.servers.iter().flat_map(|server| &server.listens) {
        let socket = sockets.entry(listen.value.address.clone()).or_insert_with(|| listen.value.clone());
        socket.ssl |= listen.value.ssl;
        socket.reuseport |= listen.value.reuseport;
        socket.so_keepalive |= listen.value.so_keepalive;
        socket.backlog = socket.backlog.or(listen.value.backlog);
    }
    let mut warnings = Vec::new();
    for listen in b.config.servers.iter_mut().flat_map(|server| &mut server.listens) {
        let Some(socket) = sockets.get(&listen.value.address) else { continue };
        if socket.ssl && !listen.value.ssl {
            let message = format!("protocol options redefined for {}", show(&socket.address));
            let label = "another server has \"ssl\" at this address, so this one has it too";
            warnings.push(Diagnostic::warning(listen.span, message).label(label));
        }
        listen.value = Listen {
            default_server: listen.value.default_server,
            ipv6only: listen.value.ipv6only,
            ..socket.clone()
        };
    }
    b.diagnostics.append(&mut warnings);
}

/// A server with a certificate of its own that speaks TLS nowhere.
fn unused_certificates(b: &mut Builder<'_>, own: &[Option<Span>]) {
    let mut warnings = Vec::new();
    for (server, own) in b.config.servers.iter().zip(own) {
        let Some(certificate) = *own else { continue };
        if !server.listens.iter().any(|listen| listen.value.ssl) {
            let message = "this certificate is never used: no \"listen\" of the server has \"ssl\"";
            warnings.push(
                Diagnostic::warning(certificate, message).help("write for example \"listen 443 ssl;\""),
            );
        }
    }
    b.diagnostics.append(&mut warnings);
}

fn server(b: &mut Builder<'_>, level: Level, outer: &Settings, head: &Head, ssl: &Ssl) -> Server {
    let settings = Arc::new(level.layer.merge(outer));
    proxy_certificate(b, &level);
    let base = Location {
        matcher: Matcher::Prefix { path: String::new(), no_regex: false },
        rules: level.rules.into_iter().map(|rule| self::rule(b, rule, None)).collect(),
        limit_except: None,
        try_files: level.try_files,
        content: if level.status { Content::Status } else { Content::Files },
        locations: Vec::new(),
        settings: settings.clone(),
        internal: false,
        health_check: None,
        span: level.span,
    };
    let head = level.head.merge(head);
    let ssl = level.ssl.merge(ssl);
    let any = Listen {
        address: Address::Ip(std::net::Ipv4Addr::UNSPECIFIED.into(), 80),
        ssl: false,
        http2: false,
        default_server: false,
        reuseport: false,
        backlog: None,
        ipv6only: true,
        so_keepalive: false,
        proxy_protocol: false,
    };
    let mut listens =
        if level.listens.is_empty() { vec![Spanned { value: any, span: level.span }] } else { level.listens };
    for listen in &mut listens {
        listen.value.ssl |= ssl.on;
    }
    let names = level.names.into_iter().map(|name| name.value).collect::<Vec<_>>();
    Server {
        listens,
        names: if names.is_empty() { vec![ServerName::Exact(String::new())] } else { names },
        tls: tls(b, ssl),
        base,
        locations: locations(b, level.children, &settings),
        settings,
        client_header_timeout: head.client_header_timeout,
        max_head: head.max_head,
        underscores_in_headers: head.underscores_in_headers,
        ignore_invalid_headers: head.ignore_invalid_headers,
        merge_slashes: head.merge_slashes,
        http2: head.http2,
        http2_max_concurrent_streams: head.http2_max_concurrent_streams,
        span: level.span,
    }
}

fn locations(b: &mut Builder<'_>, levels: Vec<Level>, outer: &Settings) -> Vec<Location> {
    levels.into_iter().filter_map(|level| location(b, level, outer)).collect()
}

fn location(b: &mut Builder<'_>, level: Level, outer: &Settings) -> Option<Location> {
    let settings = Arc::new(level.layer.merge(outer));
    proxy_certificate(b, &level);
    let health_check = health_check(b, &level);
    let content = content(b, &level).unwrap_or_default();
    let mut location = Location {
        matcher: level.matcher?,
        rules: Vec::new(),
        limit_except: None,
        try_files: level.try_files,
        content,
        locations: locations(b, level.children, &settings),
        settings,
        internal: level.internal,
        health_check,
        span: level.span,
    };
    let rules = level.rules.into_iter().map(|rule| self::rule(b, rule, Some(&location))).collect();
    let limit_except = level
        .limit_except
        .map(|(methods, level)| Box::new(LimitExcept { methods, location: implied(b, &level, &location) }));
    location.rules = rules;
    location.limit_except = limit_except;
    Some(location)
}

/// The place inside a block of a location that is no location: it inherits everything but `try_files` and rules.
fn implied(b: &Builder<'_>, level: &Level, outer: &Location) -> Location {
    let content = content(b, level).unwrap_or_else(|| outer.content.clone());
    Location {
        matcher: outer.matcher.clone(),
        settings: Arc::new(level.layer.merge(&outer.settings)),
        rules: Vec::new(),
        limit_except: None,
        try_files: None,
        content,
        locations: Vec::new(),
        internal: outer.internal,
        health_check: None,
        span: level.span,
    }
}

/// What answers by a block of its own.
fn content(b: &Builder<'_>, level: &Level) -> Option<Content> {
    if let Some(lack) = &level.unsupported {
        return Some(Content::Unsupported(lack.clone()));
    }
    let Some(proxy) = &level.proxy else { return level.status.then_some(Content::Status) };
    let lack = match &proxy.target {
        ProxyTarget::Group { upstream, .. } => b.unsupported_groups.get(upstream),
        ProxyTarget::Variable(_) => None,
    };
    Some(lack.map_or_else(|| Content::Proxy(proxy.clone()), |lack| Content::Unsupported(lack.clone())))
}

fn rule(b: &Builder<'_>, rule: TypedRule, outer: Option<&Location>) -> Rule {
    match rule {
        TypedRule::Plain(rule) => rule,
        TypedRule::If { condition, level, at } => {
            let location = outer.map(|outer| implied(b, &level, outer));
            let rules = level.rules.into_iter().map(|inner| self::rule(b, inner, None)).collect();
            Rule::If(Box::new(If { condition, rules, location, at }))
        }
    }
}

/// A check needs a group that is known beforehand.
fn health_check(b: &mut Builder<'_>, level: &Level) -> Option<Arc<HealthCheck>> {
    let check = level.health_check.clone()?;
    let target = level.proxy.as_ref().map(|proxy| &proxy.target);
    if !matches!(target, Some(ProxyTarget::Group { .. })) {
        b.report(
            Diagnostic::error(check.span, "\"health_check\" has no group to check")
                .label("it checks the servers that \"proxy_pass\" of the same location names")
                .help("write \"proxy_pass http://NAME;\" beside it, with the name of an upstream block"),
        );
        return None;
    }
    Some(Arc::new(check))
}

fn tls(b: &mut Builder<'_>, ssl: Ssl) -> Tls {
    let (chains, keys) = (&ssl.certificates, &ssl.keys);
    if let Some(chain) = chains.get(keys.len()) {
        let message =
            format!("no \"ssl_certificate_key\" is defined for certificate \"{}\"", chain.value.display());
        b.report_once(Diagnostic::error(chain.span, message).label("its key is missing"));
    } else if let Some(key) = keys.get(chains.len()) {
        let message =
            format!("no \"ssl_certificate\" is defined for certificate key \"{}\"", key.value.display());
        b.report_once(Diagnostic::error(key.span, message).label("its certificate is missing"));
    }
    let verify_client = ssl.verify_client.as_ref().map_or(VerifyClient::Off, |verify| verify.value);
    if let (Some(verify), VerifyClient::On | VerifyClient::Optional) = (&ssl.verify_client, verify_client)
        && ssl.client_certificate.is_none()
        && ssl.trusted_certificate.is_none()
    {
        let message =
            "no \"ssl_client_certificate\" or \"ssl_trusted_certificate\" for \"ssl_verify_client\"";
        b.report_once(
            Diagnostic::error(verify.span, message)
                .label("whose certificates are good?")
                .help("name the certificate of the authority that signs those of your clients"),
        );
    }
    let pair = |(chain, key): (&Spanned<PathBuf>, &Spanned<PathBuf>)| Certificate {
        chain: chain.clone(),
        key: key.clone(),
    };
    Tls {
        certificates: chains.iter().zip(keys.iter()).map(pair).collect(),
        protocols: ssl.protocols,
        ciphers: ssl.ciphers.filter(|_| ssl.protocols.tls12).and_then(|text| suites(b, &text)),
        ciphers13: ssl.ciphers13,
        curves: ssl.curves,
        session_cache: ssl.session_cache,
        verify_client,
        verify_depth: ssl.verify_depth,
        client_certificate: ssl.client_certificate,
        trusted_certificate: ssl.trusted_certificate,
        crl: ssl.crl,
        prefer_server_ciphers: ssl.prefer_server_ciphers,
        session_tickets: ssl.session_tickets,
        ticket_keys: ssl.ticket_keys,
        session_timeout: ssl.session_timeout,
        reject_handshake: ssl.reject_handshake,
    }
}

/// Suites of TLS 1.2 that `ssl_ciphers` leaves.
fn suites(b: &mut Builder<'_>, text: &Spanned<String>) -> Option<Vec<&'static str>> {
    let (suites, missing) = ciphers::read(&text.value);
    if suites.is_empty() {
        let mistake = Diagnostic::error(text.span, format!("no suite is left of \"{}\"", text.value));
        b.report_once(
            mistake.label("none of these is offered: no cipher match").help(
                "rustls has ECDHE with AES-GCM or ChaCha20-Poly1305; \"HIGH:!aNULL:!MD5\" takes them all",
            ),
        );
        return None;
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let left = suites.join(":");
        let note = format!("of \"ssl_ciphers\" these are not offered: {missing}");
        b.report_once(Diagnostic::note(text.span, note).help(format!("TLS 1.2 is offered with {left}")));
    }
    Some(suites)
}

/// A certificate towards backends without its key, or the other way round.
fn proxy_certificate(b: &mut Builder<'_>, level: &Level) {
    let (path, missing) = match &level.proxy_pair {
        (Some(chain), None) => (chain, "proxy_ssl_certificate_key"),
        (None, Some(key)) => (key, "proxy_ssl_certificate"),
        _ => return,
    };
    let message = format!("no \"{missing}\" is defined for \"{}\"", path.value.display());
    b.report(Diagnostic::error(path.span, message).label("both belong together, in one block"));
}

/// Two default servers for one address.
fn defaults(b: &mut Builder<'_>) {
    let mut seen: HashMap<&Address, Span> = HashMap::new();
    let mut mistakes = Vec::new();
    for listen in b
        .config
        .servers
        .iter()
        .flat_map(|server| &server.listens)
        .filter(|listen| listen.value.default_server)
    {
        if seen.insert(&listen.value.address, listen.span).is_some() {
            let message = format!("a duplicate default server for {}", show(&listen.value.address));
            mistakes.push(
                Diagnostic::error(listen.span, message)
                    .label("another server above is the default for this address")
                    .help("keep \"default_server\" in one of them"),
            );
        }
    }
    b.diagnostics.append(&mut mistakes);
}

/// Two servers of one name at one address: the first wins.
fn conflicts(b: &mut Builder<'_>) {
    let mut seen = HashMap::new();
    let mut warnings = Vec::new();
    for (at, server) in b.config.servers.iter().enumerate() {
        for listen in &server.listens {
            for name in &server.names {
                let name = match name {
                    ServerName::Exact(name) => name.clone(),
                    ServerName::Suffix(name) => format!("*{name}"),
                    ServerName::Prefix(name) => format!("{name}*"),
                    ServerName::Regex(_) => continue,
                };
                let first = *seen.entry((listen.value.address.clone(), name.clone())).or_insert(at);
                if first != at {
                    let address = show(&listen.value.address);
                    let message = format!("conflicting server name \"{name}\" on {address}, ignored");
                    warnings.push(
                        Diagnostic::warning(server.span, message)
                            .label("a server above has this name and address already"),
                    );
                }
            }
        }
    }
    b.diagnostics.append(&mut warnings);
}

fn show(address: &Address) -> String {
    match address {
        Address::Ip(ip, port) => std::net::SocketAddr::new(*ip, *port).to_string(),
        Address::Name(name, port) => format!("{name}:{port}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}
