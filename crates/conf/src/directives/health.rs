//! Names that are looked up while serving, and health checks: `resolver`, `health_check`.

use std::time::Duration;

use super::server::turn_on;
use super::{ANY, Context, Entry, LOCATION, set};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{Address, HealthCheck, Resolver, Spanned};
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

const HTTP_UPSTREAM: &[Context] = &[Context::Http, Context::Server, Context::Location, Context::Upstream];

pub(super) const TABLE: &[Entry] = &[
    set(
        "resolver",
        HTTP_UPSTREAM,
        (1, ANY),
        "ADDRESS... [valid=TIME] [ipv4=on | off] [ipv6=on | off]",
        "",
        "Name servers for names that are looked up while serving: of a `proxy_pass` with variables, and of a `server` with `resolve`. An answer holds for its own time to live, or for `valid`. Without it the system looks such names up, each time.",
        resolver,
    ),
    set(
        "resolver_timeout",
        HTTP_UPSTREAM,
        (1, 1),
        "TIME",
        "30s",
        "How long looking a name up may take.",
        |b, d| b.level.layer.resolver_timeout = b.time(d),
    ),
    set(
        "health_check",
        LOCATION,
        (0, ANY),
        "[interval=TIME] [jitter=TIME] [fails=N] [passes=N] [uri=URI] [port=N] [mandatory] [type=http | websocket]",
        "",
        "Asks every server of the location's group now and then how it is, by the location's `proxy_*` settings: an answer of 200 to 399 to a GET of `uri` is good. With `type=websocket` the check is a handshake at `uri` and a ping that must be answered. After `fails` failures in a row a server is left out, until `passes` checks in a row are good; with `mandatory` it is left out until it has passed first. Defaults: interval=5s jitter=0 fails=1 passes=1 uri=/ type=http.",
        health_check,
    ),
];

fn resolver(b: &mut Builder<'_>, d: &Directive) {
    let mut resolver = Resolver { servers: Vec::new(), valid: None, ipv4: true, ipv6: true };
    for word in &d.args {
        let good = match word.value.split_once('=') {
            Some(("valid", text)) => value::seconds(text).map(|time| resolver.valid = Some(time)).is_some(),
            Some(("ipv4", text)) => switch(text).map(|on| resolver.ipv4 = on).is_some(),
            Some(("ipv6", text)) => switch(text).map(|on| resolver.ipv6 = on).is_some(),
            Some(("status_zone", _)) => true,
            Some(_) => false,
            None => match address::parse(&word.value) {
                Ok(address @ (Address::Ip(..) | Address::Name(..))) => {
                    resolver.servers.push(Spanned { value: address, span: word.span });
                    true
                }
                _ => false,
            },
        };
        if !good {
            let message = format!("invalid parameter: {}", word.value);
            let help = "write addresses of name servers, valid=TIME, ipv4=on|off and ipv6=on|off";
            return b.report(Diagnostic::error(word.span, message).help(help));
        }
    }
    if resolver.servers.is_empty() {
        return b.report(Diagnostic::error(d.span, "no name servers defined"));
    }
    if !resolver.ipv4 && !resolver.ipv6 {
        return b.report(Diagnostic::error(d.span, "\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    b.level.layer.resolver = Some(Some(resolver.into()));
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn health_check(b: &mut Builder<'_>, d: &Directive) {
    let mut check = HealthCheck {
        interval: Duration::from_secs(5),
        jitter: Duration::ZERO,
        fails: 1,
        passes: 1,
        uri: "/".to_owned(),
        port: None,
        mandatory: false,
        websocket: false,
        span: d.span,
    };
    for word in &d.args {
        if !check_parameter(b, &mut check, word) {
            return;
        }
    }
    b.level.health_check = Some(check);
}

/// Reads one parameter; `false` when it was reported.
fn check_parameter(b: &mut Builder<'_>, check: &mut HealthCheck, word: &Word) -> bool {
    let number = |text| value::number(text).and_then(|number| u32::try_from(number).ok()).filter(|&n| n > 0);
    let time = |text| value::time(text);
    let done = match word.value.split_once('=') {
        Some(("interval", text)) => {
            time(text).filter(|time| !time.is_zero()).map(|time| check.interval = time)
        }
        Some(("jitter", text)) => time(text).map(|time| check.jitter = time),
        Some(("fails", text)) => number(text).map(|fails| check.fails = fails),
        Some(("passes", text)) => number(text).map(|passes| check.passes = passes),
        Some(("uri", text)) => {
            Some(text).filter(|uri| uri.starts_with('/')).map(|uri| check.uri = uri.to_owned())
        }
        Some(("port", text)) => address::port(text).map(|port| check.port = Some(port)),
        Some(("type", text)) => Some(text)
            .filter(|kind| matches!(*kind, "http" | "websocket"))
            .map(|kind| check.websocket = kind == "websocket"),
        Some(("match", _)) => {
            b.report(
                Diagnostic::error(word.span, "Longwire does not have \"match\" for health checks")
                    .help("leave it out: an answer of 200 to 399 is good, or with type=websocket a handshake and a ping"),
            );
            return false;
        }
        None if word.value == "mandatory" => turn_on(&mut check.mandatory),
        _ => None,
    };
    if done.is_none() {
        let message = format!("invalid parameter \"{}\"", word.value);
        let help = "parameters are interval=TIME, jitter=TIME, fails=N, passes=N, uri=/PATH, port=N, mandatory and type=http|websocket";
        b.report(Diagnostic::error(word.span, message).help(help));
    }
    done.is_some()
}
