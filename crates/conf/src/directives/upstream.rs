//! `upstream` and what stands in it.

use std::time::Duration;

use super::server::turn_on;
use super::{ANY, Context, Entry, HTTP, UPSTREAM, accepted, add, block, set};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::Level;
use crate::model::{Address, Spanned, Upstream, UpstreamServer};
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
        "Names a group of backends for `proxy_pass`. They take turns by weight; where connecting fails, the next is tried.",
        upstream,
    ),
    add(
        "server",
        UPSTREAM,
        (1, ANY),
        "ADDRESS [weight=N] [max_fails=N] [fail_timeout=TIME] [backup] [down]",
        "",
        "A backend of the group: `host:port`, `unix:path` or a name. A name is looked up once, at the start, and all its addresses count.",
        server,
    ),
    set(
        "keepalive",
        UPSTREAM,
        (1, 2),
        "NUMBER",
        "32",
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

/// A group with nothing in it yet.
pub(super) fn group(name: String, implicit: bool, span: Span) -> Upstream {
    Upstream {
        name,
        implicit,
        servers: Vec::new(),
        keepalive: 32,
        keepalive_timeout: Duration::from_secs(60),
        keepalive_requests: 1000,
        span,
    }
}

/// A backend with nothing but an address.
pub(super) fn backend(address: Address, word: &Word, text: &str) -> UpstreamServer {
    UpstreamServer {
        address: Spanned { value: address, span: word.span },
        text: text.to_owned(),
        weight: 1,
        max_fails: 1,
        fail_timeout: Duration::from_secs(10),
        backup: false,
        down: false,
    }
}

fn upstream(b: &mut Builder<'_>, d: &Directive) {
    let name = &d.args[0].value;
    if b.config.upstreams.iter().any(|upstream| upstream.name.eq_ignore_ascii_case(name)) {
        let message = format!("duplicate upstream \"{name}\"");
        return b.report(Diagnostic::error(d.span, message).label("a group of this name stands above"));
    }
    b.config.upstreams.push(group(name.clone(), false, d.span));
    b.inside(Context::Upstream, d, Level::default());
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
    if let Some(upstream) = b.config.upstreams.last_mut().filter(|_| is_good && bad == 0) {
        upstream.servers.push(server);
    }
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
        "max_fails" => number().map(|fails| server.max_fails = fails),
        "fail_timeout" => value::seconds(text).map(|time| server.fail_timeout = time),
        "backup" if text.is_empty() => turn_on(&mut server.backup),
        "down" if text.is_empty() => turn_on(&mut server.down),
        "max_conns" | "slow_start" | "resolve" | "route" | "drain" | "service" => {
            b.report(not_yet(word, name));
            return false;
        }
        _ => None,
    };
    if done.is_none() {
        let message = format!("invalid parameter \"{}\"", word.value);
        let help = "parameters are weight=N, max_fails=N, fail_timeout=TIME, backup and down";
        b.report(Diagnostic::error(word.span, message).help(help));
    }
    done.is_some()
}

fn not_yet(word: &Word, name: &str) -> Diagnostic {
    let help = match name {
        "max_conns" => "leave it out, and limit connections at the backend",
        "slow_start" => "leave it out: a server that comes back gets its full share at once",
        "resolve" => {
            "Longwire does not look names up again while it runs yet; restart it when addresses change, or give the name to \"proxy_pass\" by a variable, which is looked up at each request"
        }
        "drain" => "write \"down\" to send nothing new to this server",
        _ => "leave it out",
    };
    Diagnostic::error(word.span, format!("Longwire does not have \"{name}\" for servers of a group yet"))
        .help(help)
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
