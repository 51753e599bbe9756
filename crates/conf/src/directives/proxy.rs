//! `proxy_*`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::http::header_name;
use super::ssl::protocols;
use super::{ALL, ANY, Context, Entry, PASS, accepted, add, set, upstream};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::directives::suggest;
use crate::model::{
    Address, Certificate, Matcher, NextReason, NextUpstream, ProxyPass, ProxyRedirect, ProxyTarget,
    RedirectRule,
};
use crate::pattern;
use crate::token::Word;
use crate::tree::Directive;

const STREAMED: &str = "answers are streamed as they come, never stored";
const UPLOAD: &str = "request bodies are streamed as they come, never stored";
const CACHE: &str = "answers are not cached, which costs only speed";

pub(super) const TABLE: &[Entry] = &[
    set(
        "proxy_pass",
        PASS,
        (1, 1),
        "URL",
        "",
        "Passes requests to `http://` or `https://` and an address, `unix:/path:` or the name of a group. A URI behind it replaces the matched prefix. WebSocket handshakes pass without further directives. A fixed host is looked up once, at the start; one out of variables is the name of a group, or is looked up when it is needed (see `resolver`).",
        proxy_pass,
    ),
    set(
        "proxy_http_version",
        ALL,
        (1, 1),
        "1.0 | 1.1",
        "1.1",
        "Backends are always spoken to in HTTP/1.1, as nginx does by default since 1.29.7.",
        proxy_http_version,
    ),
    add(
        "proxy_set_header",
        ALL,
        (2, 2),
        "NAME VALUE",
        "Host $proxy_host",
        "Sets a header of requests to backends; an empty value removes it. Inherited only by a level that sets none of its own. `Upgrade` and `Connection` of a WebSocket handshake may be set as usual and need not be.",
        proxy_set_header,
    ),
    add(
        "proxy_hide_header",
        ALL,
        (1, 1),
        "NAME",
        "",
        "Keeps a header of backends' answers from clients.",
        |b, d| {
            b.level.layer.proxy_hide_header.get_or_insert_default().push(d.args[0].value.to_ascii_lowercase())
        },
    ),
    add(
        "proxy_pass_header",
        ALL,
        (1, 1),
        "NAME",
        "",
        "Lets a header through that is otherwise hidden: `Date`, `Server`, `X-Pad` or `X-Accel-...`.",
        |b, d| {
            b.level.layer.proxy_pass_header.get_or_insert_default().push(d.args[0].value.to_ascii_lowercase())
        },
    ),
    set(
        "proxy_pass_request_headers",
        ALL,
        (1, 1),
        "on | off",
        "on",
        "Whether the client's headers go to the backend.",
        |b, d| b.level.layer.proxy_pass_request_headers = b.flag(d),
    ),
    set(
        "proxy_pass_request_body",
        ALL,
        (1, 1),
        "on | off",
        "on",
        "Whether the client's request body goes to the backend.",
        |b, d| b.level.layer.proxy_pass_request_body = b.flag(d),
    ),
    set(
        "proxy_method",
        ALL,
        (1, 1),
        "METHOD",
        "",
        "The method of requests to backends in place of the client's. A WebSocket handshake stays GET.",
        |b, d| b.level.layer.proxy_method = b.template(&d.args[0]).map(Some),
    ),
    set(
        "proxy_connect_timeout",
        ALL,
        (1, 1),
        "TIME",
        "60s",
        "How long connecting to a backend may take.",
        |b, d| b.level.layer.proxy_connect_timeout = bound(b, d),
    ),
    set(
        "proxy_read_timeout",
        ALL,
        (1, 1),
        "TIME",
        "60s",
        "How long a backend may be silent. In a tunnel bytes of either direction count, and so do answers to pings: see `websocket_ping`.",
        |b, d| b.level.layer.proxy_read_timeout = bound(b, d),
    ),
    set(
        "proxy_send_timeout",
        ALL,
        (1, 1),
        "TIME",
        "60s",
        "How long a write to a backend may be blocked.",
        |b, d| b.level.layer.proxy_send_timeout = bound(b, d),
    ),
    add(
        "proxy_redirect",
        ALL,
        (1, 2),
        "default | off | FROM TO",
        "default",
        "Replaces the beginning of `Location` and `Refresh` headers of backends; FROM may be a regular expression behind `~` or `~*`.",
        proxy_redirect,
    ),
    set(
        "proxy_intercept_errors",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether `error_page` takes the place of backends' own error answers.",
        |b, d| b.level.layer.proxy_intercept_errors = b.flag(d),
    ),
    set(
        "proxy_bind",
        ALL,
        (1, 2),
        "ADDRESS | off",
        "",
        "The local address that connections to backends come from. `transparent` is not there yet.",
        proxy_bind,
    ),
    set(
        "proxy_protocol",
        ALL,
        (1, 1),
        "on | v1 | v2 | off",
        "off",
        "Tells backends who the client is by the PROXY protocol, in which a connection to them then begins, before TLS: version 1 with `on` and `v1`, version 2 with `v2`. What is told is the client's address (as `set_real_ip_from` left it) and the one that it connected to. Connections are kept for the same client only. Longwire's own; nginx has this for `stream` alone.",
        proxy_protocol,
    ),
    set(
        "proxy_socket_keepalive",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether TCP probes idle connections to backends.",
        |b, d| b.level.layer.proxy_socket_keepalive = b.flag(d),
    ),
    set(
        "proxy_ssl_verify",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether certificates of `https://` backends are checked, against `proxy_ssl_trusted_certificate`.",
        |b, d| b.level.layer.proxy_ssl.verify = b.flag(d),
    ),
    set(
        "proxy_ssl_trusted_certificate",
        ALL,
        (1, 1),
        "FILE",
        "",
        "PEM file with authorities that backends' certificates are checked against.",
        |b, d| b.level.layer.proxy_ssl.trusted = Some(Some(b.conf_path(&d.args[0]))),
    ),
    set(
        "proxy_ssl_name",
        ALL,
        (1, 1),
        "NAME",
        "$proxy_host",
        "The name that a backend's certificate must have, and that is sent by SNI.",
        |b, d| b.level.layer.proxy_ssl.name = b.template(&d.args[0]).map(Some),
    ),
    set(
        "proxy_ssl_server_name",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether the name is sent by SNI.",
        |b, d| b.level.layer.proxy_ssl.server_name = b.flag(d),
    ),
    set(
        "proxy_ssl_certificate",
        ALL,
        (1, 1),
        "FILE",
        "",
        "PEM file with the certificate that Longwire shows to backends.",
        |b, d| {
            b.level.proxy_pair.0 = Some(b.conf_path(&d.args[0]));
            pair(b);
        },
    ),
    set("proxy_ssl_certificate_key", ALL, (1, 1), "FILE", "", "PEM file with its key.", |b, d| {
        b.level.proxy_pair.1 = Some(b.conf_path(&d.args[0]));
        pair(b);
    }),
    set(
        "proxy_ssl_protocols",
        ALL,
        (1, ANY),
        "[TLSv1.2] [TLSv1.3]",
        "TLSv1.2 TLSv1.3",
        "Versions of TLS towards backends.",
        |b, d| b.level.layer.proxy_ssl.protocols = protocols(b, d),
    ),
    set(
        "proxy_ssl_session_reuse",
        ALL,
        (1, 1),
        "on | off",
        "on",
        "Whether sessions with backends are resumed.",
        |b, d| b.level.layer.proxy_ssl.session_reuse = b.flag(d),
    ),
    accepted("proxy_ssl_ciphers", ALL, "the suites of rustls are used, all of them safe"),
    accepted("proxy_ssl_verify_depth", ALL, "chains are checked to any depth"),
    accepted("proxy_ssl_conf_command", ALL, "it speaks to OpenSSL, which is not in use"),
    accepted("proxy_buffering", ALL, STREAMED),
    accepted("proxy_buffers", ALL, STREAMED),
    accepted("proxy_buffer_size", ALL, STREAMED),
    accepted("proxy_busy_buffers_size", ALL, STREAMED),
    accepted("proxy_max_temp_file_size", ALL, STREAMED),
    accepted("proxy_temp_file_write_size", ALL, STREAMED),
    accepted("proxy_temp_path", ALL, STREAMED),
    accepted("proxy_request_buffering", ALL, UPLOAD),
    accepted("proxy_send_lowat", ALL, "the system decides when to send"),
    accepted("proxy_force_ranges", ALL, CACHE),
    accepted("proxy_headers_hash_bucket_size", ALL, "tables grow as needed"),
    accepted("proxy_headers_hash_max_size", ALL, "tables grow as needed"),
    accepted(
        "proxy_ignore_headers",
        ALL,
        "X-Accel-* and caching headers of backends have no effect here in any case",
    ),
    accepted("proxy_cache", ALL, CACHE),
    accepted("proxy_cache_background_update", ALL, CACHE),
    accepted("proxy_cache_bypass", ALL, CACHE),
    accepted("proxy_cache_convert_head", ALL, CACHE),
    accepted("proxy_cache_key", ALL, CACHE),
    accepted("proxy_cache_lock", ALL, CACHE),
    accepted("proxy_cache_lock_age", ALL, CACHE),
    accepted("proxy_cache_lock_timeout", ALL, CACHE),
    accepted("proxy_cache_max_range_offset", ALL, CACHE),
    accepted("proxy_cache_methods", ALL, CACHE),
    accepted("proxy_cache_min_uses", ALL, CACHE),
    accepted("proxy_cache_path", ALL, CACHE),
    accepted("proxy_cache_purge", ALL, CACHE),
    accepted("proxy_cache_revalidate", ALL, CACHE),
    accepted("proxy_cache_use_stale", ALL, CACHE),
    accepted("proxy_cache_valid", ALL, CACHE),
    accepted("proxy_no_cache", ALL, CACHE),
    set(
        "proxy_next_upstream",
        ALL,
        (1, ANY),
        "[error] [timeout] [invalid_header] [http_500] [http_502] [http_503] [http_504] [http_403] [http_404] [http_429] [non_idempotent] | off",
        "error timeout",
        "When another server of the group is tried, as long as nothing reached the client: connecting or reading failed, took too long, the answer could not be read, or had this status (so for a WebSocket handshake too). A request that may have had an effect (POST, LOCK, PATCH) is sent again only with `non_idempotent`, and never when its body is gone.",
        proxy_next_upstream,
    ),
    set(
        "proxy_next_upstream_tries",
        ALL,
        (1, 1),
        "NUMBER",
        "0",
        "Most servers that are tried for a request; 0 for all of the group.",
        |b, d| {
            b.level.layer.proxy_next_upstream_tries =
                b.number(d).map(|tries| usize::try_from(tries).unwrap_or(usize::MAX))
        },
    ),
    set(
        "proxy_next_upstream_timeout",
        ALL,
        (1, 1),
        "TIME",
        "0",
        "How long after the first try another one may begin; 0 for no bound.",
        |b, d| b.level.layer.proxy_next_upstream_timeout = b.time(d),
    ),
];

fn proxy_pass(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let (text, span) = (word.value.clone(), word.span);
    let lower = text.to_ascii_lowercase();
    if text.contains('$') {
        let Some(template) = b.template(word) else { return };
        if let Some(host) = fixed_host(&text).filter(|host| b.names.upstream(host).is_none())
            && let Ok(address) = address::parse(host)
        {
            misspelled_group(b, word, &address);
        }
        let https = lower.starts_with("https://");
        b.level.proxy = Some(ProxyPass { https, target: ProxyTarget::Variable(template), text, span });
        return;
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let Some(scheme) = scheme else { return b.report(invalid_prefix(word)) };
    let (address, uri) = address::split_uri(&text[scheme.len()..]);
    let is_bare = matches!(b.enclosing.last(), Some(Matcher::Regex(_) | Matcher::Named(_)))
        || b.context != Context::Location;
    if let Some(uri) = uri.filter(|_| is_bare) {
        return b.report(uri_part(word, uri));
    }
    let uri = uri.map(|uri| if uri.starts_with('/') { uri.to_owned() } else { format!("/{uri}") });
    let Some((upstream, host)) = group(b, word, address, scheme == "https://") else { return };
    let target = ProxyTarget::Group { upstream, host, uri };
    b.level.proxy = Some(ProxyPass { https: scheme == "https://", target, text, span });
}

/// The host of a URL with variables, where they only make its URI.
fn fixed_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (host, after) = rest.split_at(rest.find(['/', '$', '?'])?);
    let is_uri =
        ["$request_uri", "${request_uri}", "$uri", "${uri}"].iter().any(|name| after.starts_with(name));
    (is_uri || !after.starts_with('$')).then_some(host)
}

fn invalid_prefix(word: &Word) -> Diagnostic {
    let mistake = Diagnostic::error(word.span, "invalid URL prefix")
        .label("a URL begins with \"http://\" or \"https://\"");
    match word.value.split_once("://") {
        Some(("ws", rest)) => mistake.help(format!("a WebSocket begins as HTTP: write \"http://{rest}\"")),
        Some(("wss", rest)) => mistake.help(format!("a WebSocket begins as HTTP: write \"https://{rest}\"")),
        Some((scheme, _)) => mistake.help(format!("\"{scheme}\" is not spoken")),
        None => mistake.help(format!("write \"http://{}\"", word.value.trim_start_matches('/'))),
    }
}

fn uri_part(word: &Word, uri: &str) -> Diagnostic {
    let message = "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, or inside \"if\" statement, or inside \"limit_except\" block";
    let without = word.value.strip_suffix(uri).unwrap_or(&word.value);
    Diagnostic::error(word.span, message)
        .label(format!("\"{uri}\" has no matched prefix to replace"))
        .help(format!("write \"{without}\" to pass the path on as it came, or put variables into the URL"))
}

/// The group for an address and its `$proxy_host`: a block of this name, else an implicit one, made once.
fn group(b: &mut Builder<'_>, word: &Word, text: &str, https: bool) -> Option<(usize, String)> {
    if let Some(index) = b.names.upstream(text) {
        return Some((index, text.to_owned()));
    }
    let address = match address::parse(text) {
        Ok(address) => address,
        Err(problem) => {
            let message = format!("{problem} in upstream \"{text}\"");
            b.report(
                Diagnostic::error(word.span, message)
                    .help("write \"http://host:port\", or the name of an upstream block"),
            );
            return None;
        }
    };
    let (name, port) =
        text.rsplit_once(':').filter(|_| !matches!(address, Address::Unix(_))).unwrap_or((text, ""));
    if b.names.upstream(name).is_some() {
        let message = format!("upstream \"{name}\" may not have port {port}");
        b.report(Diagnostic::error(word.span, message).label("a group says the port of each of its servers"));
        return None;
    }
    let default = if https { 443 } else { 80 };
    let host = match &address {
        Address::Unix(_) => "localhost".to_owned(),
        Address::Ip(_, port) | Address::Name(_, port) if *port == default => name.to_owned(),
        _ => text.to_owned(),
    };
    misspelled_group(b, word, &address);
    Some((implicit(b, word, text, address), host))
}

/// A name that is nearly that of a group is probably meant to be it.
fn misspelled_group(b: &mut Builder<'_>, word: &Word, address: &Address) {
    let Address::Name(name, 0) = address else { return };
    let near = suggest::nearest(name, b.names.upstreams.iter().map(String::as_str));
    if let Some(near) = near.filter(|_| !name.contains('.')).map(str::to_owned) {
        let message = format!("no upstream is named \"{name}\", so it is looked up as a host");
        let label = format!("did you mean the upstream \"{near}\"?");
        b.report(Diagnostic::warning(word.span, message).label(label));
    }
}

fn implicit(b: &mut Builder<'_>, word: &Word, text: &str, address: Address) -> usize {
    let next = b.implicit.len();
    let at = *b.by_address.entry(address.clone()).or_insert(next);
    if at == next {
        let mut group = upstream::group(text.to_owned(), true, word.span);
        group.servers.push(upstream::backend(address, word, text));
        b.implicit.push(group);
    }
    b.names.upstreams.len() + at
}

/// Joins the certificate towards backends with its key, once both are there.
fn pair(b: &mut Builder<'_>) {
    if let (Some(chain), Some(key)) = b.level.proxy_pair.clone() {
        b.level.layer.proxy_ssl.certificate = Some(Some(Certificate { chain, key }));
    }
}

fn proxy_http_version(b: &mut Builder<'_>, d: &Directive) {
    match d.args[0].value.as_str() {
        "1.1" => {}
        "1.0" => b.without_effect("proxy_http_version 1.0", d.span, "backends are spoken to in HTTP/1.1"),
        "2" | "2.0" => b.without_effect("proxy_http_version 2", d.span, "backends are spoken to in HTTP/1.1"),
        _ => b.invalid(d, &d.args[0], "a version of HTTP", "write \"1.1\""),
    }
}

fn proxy_set_header(b: &mut Builder<'_>, d: &Directive) {
    if !header_name(b, d) {
        return;
    }
    let Some(value) = b.template(&d.args[1]) else { return };
    b.level.layer.proxy_set_header.get_or_insert_default().push((d.args[0].value.clone(), value));
}

fn proxy_redirect(b: &mut Builder<'_>, d: &Directive) {
    let before = b.level.layer.proxy_redirect.take();
    let is_off = matches!(d.args.as_slice(), [word] if word.value == "off");
    if matches!(before, Some(ProxyRedirect::Off)) || (is_off && before.is_some()) {
        b.level.layer.proxy_redirect = before;
        let mistake = Diagnostic::error(d.span, "\"proxy_redirect\" directive is duplicate");
        return b.report(mistake.label("\"off\" stands alone"));
    }
    if is_off {
        b.level.layer.proxy_redirect = Some(ProxyRedirect::Off);
        return;
    }
    let mut rules = match before {
        Some(ProxyRedirect::Rules(rules)) => rules.to_vec(),
        _ => Vec::new(),
    };
    rules.extend(redirect_rule(b, d));
    b.level.layer.proxy_redirect = Some(ProxyRedirect::Rules(rules.into()));
}

/// Reads one rule; `None` when it was reported.
fn redirect_rule(b: &mut Builder<'_>, d: &Directive) -> Option<RedirectRule> {
    let (from, to) = match d.args.as_slice() {
        [word] if word.value == "default" => return Some(RedirectRule::Default),
        [from, to] => (from, to),
        _ => {
            b.invalid(d, &d.args[0], "a rule", "write \"off\", \"default\", or FROM and TO");
            return None;
        }
    };
    let Some(expression) = from.value.strip_prefix('~') else {
        let (from, to) = (b.template(from), b.template(to));
        return Some(RedirectRule::Prefix(from?, to?));
    };
    let (expression, ignore_case) =
        expression.strip_prefix('*').map_or((expression, false), |rest| (rest, true));
    match pattern::compile(from, expression, ignore_case) {
        Ok(regex) => Some(RedirectRule::Regex(regex, b.template(to)?)),
        Err(mistake) => {
            b.report(mistake);
            None
        }
    }
}

fn proxy_protocol(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.proxy_protocol = match d.args[0].value.as_str() {
        "on" | "v1" => Some(Some(1)),
        "v2" => Some(Some(2)),
        "off" => Some(None),
        _ => return b.invalid(d, &d.args[0], "one of its values", "write \"on\", \"v1\", \"v2\" or \"off\""),
    };
}

fn proxy_bind(b: &mut Builder<'_>, d: &Directive) {
    if let Some(extra) = d.args.get(1) {
        let message = format!("Longwire does not have \"proxy_bind ... {}\" yet", extra.value);
        return b.report(Diagnostic::error(extra.span, message).help("a local address alone may stand here"));
    }
    let word = &d.args[0];
    let is_known = word.value == "off" || word.value.contains('$') || word.value.parse::<IpAddr>().is_ok();
    if !is_known {
        let mistake = Diagnostic::error(word.span, format!("invalid address \"{}\"", word.value));
        let address = word.value.trim_start_matches('[').split(']').next().filter(|host| host.contains(':'));
        let is_ip = |host: &&str| host.parse::<IpAddr>().is_ok();
        return b.report(if let Some(host) = address.filter(is_ip) {
            mistake.help(format!("write \"{host}\", without brackets and port"))
        } else if let Ok(address) = word.value.parse::<SocketAddr>() {
            mistake
                .label("Longwire does not have a port here yet")
                .help(format!("write \"{}\": the system takes a free port", address.ip()))
        } else {
            mistake.help("write a local IP address, a variable that holds one, or \"off\"")
        });
    }
    b.level.layer.proxy_bind = if word.value == "off" { Some(None) } else { b.template(word).map(Some) };
}

/// A time after which something is given up; 0 gives up at once, which is rarely meant.
fn bound(b: &mut Builder<'_>, d: &Directive) -> Option<Duration> {
    let time = b.time(d)?;
    if time.is_zero() {
        let message = format!("\"{}\" is 0, so what it bounds times out at once", d.name.value);
        b.report(
            Diagnostic::warning(d.args[0].span, message)
                .label("as in nginx, 0 does not mean \"no bound\"")
                .help("to wait without end, write a long time: \"365d\""),
        );
    }
    Some(time)
}

fn proxy_next_upstream(b: &mut Builder<'_>, d: &Directive) {
    let mut reasons = NextUpstream::OFF;
    for word in &d.args {
        match word.value.as_str() {
            // As in nginx, "off" beside others changes nothing; the other two are about what is not done here.
            "off" | "updating" | "denied" => {}
            name => match NextReason::ALL.iter().find(|(known, _)| *known == name) {
                Some((_, reason)) => reasons = reasons.with(*reason),
                None => {
                    let message = format!("invalid value \"{name}\"");
                    let words: Vec<&str> = NextReason::ALL.iter().map(|(known, _)| *known).collect();
                    let mistake = Diagnostic::error(word.span, message);
                    b.report(match suggest::nearest(name, words.iter().copied()) {
                        Some(near) => mistake.label(format!("did you mean \"{near}\"?")),
                        None => mistake.help(format!("the words are off, {}", words.join(", "))),
                    });
                }
            },
        }
    }
    b.level.layer.proxy_next_upstream = Some(reasons);
}
