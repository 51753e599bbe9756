//! `upstream` and what stands in it.

use std::time::Duration;

use super::server::turn_on;
use super::{ANY, Context, Entry, HTTP, UPSTREAM, accepted, add, block, set};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::Level;
use crate::model::{Address, Balance, Spanned, Upstream, UpstreamServer};
use crate::source::Span;
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

pub(super) const TABLE: &[Entry] = &[
    block(
        "upstream",
        HTTP,
        (1, 1),
        "NAME",
        "Names a group of backends for `proxy_pass`. They take turns by weight, or are chosen as a directive of the block says; where connecting fails, the next is tried.",
        upstream,
    ),
    add(
        "server",
        UPSTREAM,
        (1, ANY),
        "ADDRESS [weight=N] [max_conns=N] [max_fails=N] [fail_timeout=TIME] [slow_start=TIME] [backup] [down] [drain] [route=NAME] [resolve] [service=NAME]",
        "",
        "A backend of the group: `host:port`, `unix:path` or a name. A name is looked up once, at the start, and all its addresses count; with `resolve` it is looked up again when its time to live is over, and with `service` ports and weights come from its SRV records. `max_conns` counts requests in work and open tunnels, over all threads. After `max_fails` failures within `fail_timeout` a server is left out for as long; with `slow_start` its weight then grows from nothing over that time. `drain` leaves a server to the sessions that stick to it: it gets no new WebSocket and no new session of Engine.IO (socket.io), and its open tunnels are told to go over `websocket_drain`, with Close 1012. `route` is its name in sessions that stick.",
        server,
    ),
    set(
        "keepalive",
        UPSTREAM,
        (1, 2),
        "NUMBER [local]",
        "32 local",
        "Idle connections to the group that are kept for ordinary requests. 0 keeps none.",
        keepalive,
    ),
    set(
        "keepalive_timeout",
        UPSTREAM,
        (1, 1),
        "TIME",
        "60s",
        "How long an idle connection is kept.",
        |b, d| {
            let time = b.time(d);
            if let (Some(upstream), Some(time)) = (b.config.upstreams.last_mut(), time) {
                upstream.keepalive_timeout = time;
            }
        },
    ),
    set(
        "keepalive_requests",
        UPSTREAM,
        (1, 1),
        "NUMBER",
        "1000",
        "Requests on one connection before it is closed.",
        |b, d| {
            let number = b.number(d);
            if let (Some(upstream), Some(number)) = (b.config.upstreams.last_mut(), number) {
                upstream.keepalive_requests = number;
            }
        },
    ),
    accepted("keepalive_time", UPSTREAM, "connections to backends have no longest age"),
    accepted("zone", UPSTREAM, "Longwire is one process, so its groups are shared already"),
];

/// The longest `route`, as in nginx.
const MAX_ROUTE: usize = 32;

/// A group with nothing in it yet.
pub(super) fn group(name: String, implicit: bool, span: Span) -> Upstream {
    Upstream {
        name,
        implicit,
        servers: Vec::new(),
        balance: Balance::default(),
        sticky: None,
        keepalive: 32,
        keepalive_timeout: Duration::from_secs(60),
        keepalive_requests: 1000,
        resolver: None,
        // Stands for "not written" until the resolver of http is known.
        resolver_timeout: Duration::ZERO,
        span,
    }
}

/// A backend with nothing but an address.
pub(super) fn backend(address: Address, word: &Word, text: &str) -> UpstreamServer {
    UpstreamServer {
        address: Spanned { value: address, span: word.span },
        text: text.to_owned(),
        weight: 1,
        max_conns: 0,
        max_fails: 1,
        fail_timeout: Duration::from_secs(10),
        slow_start: Duration::ZERO,
        route: None,
        backup: false,
        down: false,
        drain: false,
        resolve: false,
        service: None,
    }
}

fn upstream(b: &mut Builder<'_>, d: &Directive) {
    let name = &d.args[0].value;
    if b.config.upstreams.iter().any(|upstream| upstream.name.eq_ignore_ascii_case(name)) {
        let message = format!("duplicate upstream \"{name}\"");
        return b.report(Diagnostic::error(d.span, message).label("a group of this name stands above"));
    }
    b.config.upstreams.push(group(name.clone(), false, d.span));
    let level = b.inside(Context::Upstream, d, Level::default());
    if let Some(upstream) = b.config.upstreams.last_mut() {
        upstream.resolver = level.layer.resolver.flatten();
        upstream.resolver_timeout = level.layer.resolver_timeout.unwrap_or_default();
    }
    if let Some(lack) = level.layer.unsupported.first() {
        b.unsupported_groups.insert(b.config.upstreams.len() - 1, lack.clone());
    }
    if b.has_errors_from(d.span) {
        return;
    }
    let servers = b.config.upstreams.last().map_or(&[][..], |upstream| &upstream.servers);
    if servers.is_empty() {
        b.report(
            Diagnostic::error(d.span, format!("no servers are inside upstream \"{name}\""))
                .help("write \"server ADDRESS;\" in it"),
        );
    } else if servers.iter().all(|server| server.backup) {
        b.report(Diagnostic::error(
            d.span,
            format!("no servers are inside upstream \"{name}\" that are not \"backup\""),
        ));
    }
}

fn server(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let address = backend_address(b, word);
    let is_good = address.is_some();
    let mut server = backend(address.unwrap_or(Address::Name(String::new(), 0)), word, &word.value);
    // Every mistake of the line is reported, not only the first.
    let bad = d.args[1..].iter().filter(|word| !parameter(b, &mut server, word)).count();
    if !is_good || bad > 0 || !names(b, &mut server, word) {
        return;
    }
    if let Some(upstream) = b.config.upstreams.last_mut() {
        upstream.servers.push(server);
    }
}

/// Whether `resolve` and `service` fit the address.
fn names(b: &mut Builder<'_>, server: &mut UpstreamServer, word: &Word) -> bool {
    if !matches!(server.address.value, Address::Name(..)) {
        // As in nginx, an address needs no looking up.
        server.resolve = false;
    }
    if server.service.is_none() {
        return true;
    }
    let message = match (&server.address.value, server.resolve) {
        (Address::Name(_, 0), true) => return true,
        (Address::Name(_, 0), false) => {
            format!("service upstream \"{}\" requires \"resolve\" parameter", word.value)
        }
        (Address::Name(..), _) => format!("service upstream \"{}\" may not have port", word.value),
        _ => format!("service upstream \"{}\" requires domain name", word.value),
    };
    b.report(
        Diagnostic::error(word.span, message)
            .help("\"service=http resolve\" behind a name without a port asks for its SRV records"),
    );
    false
}

fn backend_address(b: &mut Builder<'_>, word: &Word) -> Option<Address> {
    let problem = if word.value.contains("://") { Err("invalid host") } else { address::parse(&word.value) };
    match problem {
        Ok(address) => Some(address),
        Err(problem) => {
            let mistake = Diagnostic::error(word.span, format!("{problem} in upstream \"{}\"", word.value));
            b.report(if word.value.contains("://") {
                mistake
                    .label("no scheme belongs here")
                    .help("write the address alone; \"proxy_pass\" says http:// or https://")
            } else if word.value.contains('/') {
                mistake.help("an address has no path; \"proxy_pass\" can have one")
            } else {
                mistake.help("write \"host:port\", \"[ipv6]:port\" or \"unix:/path\"")
            });
            None
        }
    }
}

/// Reads one parameter; `false` when it was reported.
fn parameter(b: &mut Builder<'_>, server: &mut UpstreamServer, word: &Word) -> bool {
    let (name, text) = word.value.split_once('=').unwrap_or((&word.value, ""));
    let number = || value::number(text).and_then(|number| u32::try_from(number).ok());
    let done = match name {
        "weight" => number().filter(|&weight| weight > 0).map(|weight| server.weight = weight),
        "max_conns" => number().map(|conns| server.max_conns = conns),
        "max_fails" => number().map(|fails| server.max_fails = fails),
        "fail_timeout" => value::seconds(text).map(|time| server.fail_timeout = time),
        "slow_start" => return slow_start(b, server, word, text),
        "route" if text.len() > MAX_ROUTE => {
            b.report(Diagnostic::error(word.span, format!("route is longer than {MAX_ROUTE}")));
            return false;
        }
        "route" => some(text).map(|route| server.route = Some(route)),
        "service" => some(text).map(|service| server.service = Some(service)),
        "backup" if text.is_empty() => return backup(b, server, word),
        "down" if text.is_empty() => turn_on(&mut server.down),
        "drain" if text.is_empty() => turn_on(&mut server.drain),
        "resolve" if text.is_empty() => turn_on(&mut server.resolve),
        _ => None,
    };
    if done.is_none() {
        let message = format!("invalid parameter \"{}\"", word.value);
        let help = "parameters are weight=N, max_conns=N, max_fails=N, fail_timeout=TIME, slow_start=TIME, backup, down, drain, route=NAME, resolve and service=NAME";
        b.report(Diagnostic::error(word.span, message).help(help));
    }
    done.is_some()
}

/// A text that is not empty.
fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The method of the block at hand as far as it is read, if it chooses by a key or by chance.
fn fixed_method(b: &Builder<'_>) -> Option<&'static str> {
    match b.config.upstreams.last()?.balance {
        Balance::RoundRobin | Balance::LeastConn => None,
        Balance::Random { .. } => Some("random"),
        Balance::Hash { .. } => Some("hash"),
        Balance::IpHash => Some("ip_hash"),
    }
}

fn backup(b: &mut Builder<'_>, server: &mut UpstreamServer, word: &Word) -> bool {
    server.backup = true;
    let Some(method) = fixed_method(b) else { return true };
    b.report(
        Diagnostic::error(word.span, "balancing method does not support parameter \"backup\"")
            .label(format!("\"{method}\" knows no backups"))
            .help("leave the parameter out: when a server fails, its clients go to the others"),
    );
    false
}

fn slow_start(b: &mut Builder<'_>, server: &mut UpstreamServer, word: &Word, text: &str) -> bool {
    let Some(time) = value::seconds(text) else {
        let message = format!("invalid parameter \"{}\"", word.value);
        b.report(Diagnostic::error(word.span, message).help("write a time: \"slow_start=30s\""));
        return false;
    };
    server.slow_start = time;
    let Some(method) = fixed_method(b) else { return true };
    b.report(
        Diagnostic::error(word.span, "balancing method does not support parameter \"slow_start\"")
            .label(format!("under \"{method}\" a server that comes back gets its own clients at once")),
    );
    false
}

fn keepalive(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let Some(number) = value::number(&word.value) else {
        return b.invalid(d, word, "a number of connections", "write digits only");
    };
    if let Some(extra) = d.args.get(1).filter(|extra| extra.value != "local") {
        let message = format!("invalid parameter \"{}\"", extra.value);
        return b.report(Diagnostic::error(extra.span, message));
    }
    if let Some(upstream) = b.config.upstreams.last_mut() {
        upstream.keepalive = usize::try_from(number).unwrap_or(usize::MAX);
    }
}
