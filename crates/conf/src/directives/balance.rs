//! How a server of a group is chosen: `least_conn`, `random`, `hash`, `ip_hash`, and `sticky`.

use std::time::Duration;

use super::{ANY, Entry, UPSTREAM, add, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{Balance, CookieExpires, Sticky, StickyCookie, StickyLearn};
use crate::template::{Part, Template, Variable};
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

/// Sessions that nginx keeps in a megabyte of a zone.
const SESSIONS_PER_MIB: u64 = 8000;
/// The smallest zone: eight pages, as in nginx.
const MIN_ZONE: u64 = 8 * 4096;

pub(super) const TABLE: &[Entry] = &[
    add(
        "least_conn",
        UPSTREAM,
        (0, 0),
        "",
        "",
        "A request goes to the server with the fewest requests in work and open tunnels for its weight; servers that have equally few take turns. A tunnel counts until it has ended, however long that takes.",
        |b, d| method(b, d, Balance::LeastConn),
    ),
    add(
        "random",
        UPSTREAM,
        (0, 2),
        "[two [least_conn]]",
        "",
        "A server by chance, by weight; with `two` the one of two that has fewer connections.",
        random,
    ),
    add(
        "hash",
        UPSTREAM,
        (1, 2),
        "KEY [consistent]",
        "",
        "Requests of one key go to one server. With `consistent` few keys move when a server comes or goes: by a third server a third of them. The server is the same that nginx chooses for the key.",
        hash,
    ),
    add(
        "ip_hash",
        UPSTREAM,
        (0, 0),
        "",
        "",
        "Clients of one network (the first three numbers of an IPv4 address, all of an IPv6 address) go to one server, the same as in nginx.",
        |b, d| method(b, d, Balance::IpHash),
    ),
    set(
        "sticky",
        UPSTREAM,
        (2, ANY),
        "cookie NAME [expires=TIME | max] [domain=NAME] [path=PATH] [httponly] [secure] [samesite=strict | lax | none] [secret=TEXT]... | route $VARIABLE... | learn create=$VARIABLE lookup=$VARIABLE zone=NAME:SIZE [timeout=TIME] [header]",
        "",
        "Leads a client back to the server that it had before; the method of the block chooses for those that had none, or whose server is gone. `cookie` sets a cookie with every answer, of ordinary requests and of handshakes: the MD5 of the server's `address:port`, or its `route`, as in nginx. With `secret` the value is signed (HMAC-SHA-256), so that no client picks its server; to change secrets without losing sessions, write the new one before the old one. `route` takes the name of the server from variables. `learn` remembers which server began a session, from the head of its answer on.",
        sticky,
    ),
];

/// Sets how servers are chosen.
fn method(b: &mut Builder<'_>, d: &Directive, balance: Balance) {
    let Some(upstream) = b.config.upstreams.last_mut() else { return };
    let before = std::mem::replace(&mut upstream.balance, balance);
    if before != Balance::RoundRobin {
        let warning = Diagnostic::warning(d.span, "load balancing method redefined");
        b.report(warning.label("this one holds, the one above does not"));
    }
}

fn parameter(b: &mut Builder<'_>, word: &Word, known: &str) {
    let message = format!("invalid parameter \"{}\"", word.value);
    b.report(Diagnostic::error(word.span, message).help(format!("what may stand here is {known}")));
}

fn random(b: &mut Builder<'_>, d: &Directive) {
    let words: Vec<&str> = d.args.iter().map(|word| word.value.as_str()).collect();
    match words.as_slice() {
        [] => method(b, d, Balance::Random { two: false }),
        ["two"] | ["two", "least_conn"] => method(b, d, Balance::Random { two: true }),
        ["two", _] => parameter(b, &d.args[1], "\"least_conn\""),
        _ => parameter(b, &d.args[0], "\"two\""),
    }
}

fn hash(b: &mut Builder<'_>, d: &Directive) {
    let consistent = match d.args.get(1) {
        None => false,
        Some(word) if word.value == "consistent" => true,
        Some(word) => return parameter(b, word, "\"consistent\""),
    };
    let Some(key) = b.template(&d.args[0]) else { return };
    if key.as_literal().is_some() {
        let warning =
            Diagnostic::warning(d.args[0].span, "a key without a variable is the same for all requests")
                .label("all of them go to one server")
                .help("write for example \"hash $remote_addr consistent;\"");
        b.report(warning);
    }
    method(b, d, Balance::Hash { key, consistent });
}

fn sticky(b: &mut Builder<'_>, d: &Directive) {
    let sticky = match d.args[0].value.as_str() {
        "cookie" => cookie(b, d).map(Sticky::Cookie),
        "route" => route(b, d).map(Sticky::Route),
        "learn" => learn(b, d).map(Sticky::Learn),
        other => {
            let message = format!("unknown parameter \"{other}\"");
            b.report(
                Diagnostic::error(d.args[0].span, message).help("\"sticky\" is by cookie, route or learn"),
            );
            None
        }
    };
    if let Some(upstream) = b.config.upstreams.last_mut() {
        upstream.sticky = sticky;
    }
}

/// Says what is wrong with a parameter of `sticky`.
fn wrong<T>(b: &mut Builder<'_>, word: &Word, problem: &str) -> Option<T> {
    b.report(Diagnostic::error(word.span, format!("\"sticky\" directive {problem}")));
    None
}

fn cookie(b: &mut Builder<'_>, d: &Directive) -> Option<StickyCookie> {
    let name = &d.args[1];
    if name.value.is_empty() {
        return wrong(b, name, "empty cookie name");
    }
    let mut cookie = StickyCookie {
        name: name.value.clone(),
        lookup: Template { parts: vec![Part::Variable(Variable::Cookie(name.value.clone()))] },
        expires: None,
        domain: None,
        path: None,
        httponly: false,
        secure: false,
        samesite: None,
        secrets: Vec::new(),
    };
    let mut seen = Vec::new();
    for word in &d.args[2..] {
        let (key, text) = word.value.split_once('=').unwrap_or((&word.value, ""));
        if key != "secret" && seen.contains(&key) {
            return wrong(b, word, &format!("parameter \"{key}\" is duplicate"));
        }
        seen.push(key);
        match (key, word.value.contains('=')) {
            ("domain" | "path" | "secret", true) if text.is_empty() => {
                return wrong(b, word, &format!("no value for \"{key}\""));
            }
            ("domain", true) => cookie.domain = Some(b.template_at(text, word.span)?),
            ("path", true) => cookie.path = Some(text.to_owned()),
            ("secret", true) => cookie.secrets.push(text.to_owned()),
            ("expires", true) => cookie.expires = Some(expires(b, word, text)?),
            ("samesite", true) => cookie.samesite = Some(samesite(b, word, text)?),
            ("httponly", false) => cookie.httponly = true,
            ("secure", false) => cookie.secure = true,
            _ => {
                let message = format!("unknown parameter \"{}\"", word.value);
                let known =
                    "parameters are expires=, domain=, path=, httponly, secure, samesite= and secret=";
                b.report(Diagnostic::error(word.span, message).help(known));
                return None;
            }
        }
    }
    Some(cookie)
}

fn expires(b: &mut Builder<'_>, word: &Word, text: &str) -> Option<CookieExpires> {
    if text == "max" {
        return Some(CookieExpires::Max);
    }
    match value::seconds(text) {
        Some(time) => Some(CookieExpires::After(time.as_secs())),
        None => wrong(b, word, "invalid \"expires\" parameter value"),
    }
}

fn samesite(b: &mut Builder<'_>, word: &Word, text: &str) -> Option<Template> {
    let value = b.template_at(text, word.span)?;
    let is_known = ["strict", "lax", "none"].iter().any(|known| text.eq_ignore_ascii_case(known));
    if value.as_literal().is_some() && !is_known {
        return wrong(b, word, "invalid \"samesite\" parameter value");
    }
    Some(value)
}

/// A variable by itself.
fn variable(b: &mut Builder<'_>, word: &Word, text: &str) -> Option<Template> {
    if !text.starts_with('$') {
        let message = format!("invalid variable name \"{text}\"");
        b.report(Diagnostic::error(word.span, message).label("a variable begins with \"$\""));
        return None;
    }
    b.template_at(text, word.span)
}

fn route(b: &mut Builder<'_>, d: &Directive) -> Option<Vec<Template>> {
    d.args[1..].iter().map(|word| variable(b, word, &word.value)).collect()
}

fn learn(b: &mut Builder<'_>, d: &Directive) -> Option<StickyLearn> {
    let mut learn = StickyLearn {
        create: Vec::new(),
        lookup: Vec::new(),
        sessions: 0,
        timeout: Duration::from_secs(600),
    };
    for word in &d.args[1..] {
        match word.value.split_once('=') {
            Some(("create", text)) => learn.create.push(variable(b, word, text)?),
            Some(("lookup", text)) => learn.lookup.push(variable(b, word, text)?),
            Some(("zone", text)) => learn.sessions = zone(b, word, text)?,
            Some(("timeout", text)) => match value::time(text).filter(|time| !time.is_zero()) {
                Some(time) => learn.timeout = time,
                None => return wrong(b, word, "invalid timeout"),
            },
            None if word.value == "header" => {}
            _ => {
                let message = format!("unknown parameter \"{}\"", word.value);
                let known = "parameters are create=, lookup=, zone=NAME:SIZE, timeout= and header";
                b.report(Diagnostic::error(word.span, message).help(known));
                return None;
            }
        }
    }
    let missing = [
        (learn.lookup.is_empty(), "lookup"),
        (learn.create.is_empty(), "create"),
        (learn.sessions == 0, "zone"),
    ];
    match missing.iter().find(|(is_missing, _)| *is_missing) {
        Some((_, name)) => wrong(b, &d.args[0], &format!("\"{name}\" parameter is not specified")),
        None => Some(learn),
    }
}

/// How many sessions fit into a zone.
fn zone(b: &mut Builder<'_>, word: &Word, text: &str) -> Option<usize> {
    let Some((name, size)) = text.split_once(':') else {
        return wrong(b, word, "zone size is not specified");
    };
    if name.is_empty() {
        return wrong(b, word, "zone name is not specified");
    }
    let Some(size) = value::size(size) else { return wrong(b, word, "invalid zone size") };
    if size < MIN_ZONE {
        return wrong(b, word, "zone is too small");
    }
    Some(usize::try_from(size.saturating_mul(SESSIONS_PER_MIB) >> 20).unwrap_or(usize::MAX))
}
