//! `limit_req`, `limit_conn` and their zones.

use super::{ALL, Entry, HTTP, add, set, suggest};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{ConnZone, Level, LimitConn, LimitReq, ReqZone};
use crate::source::Span;
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

pub(super) const TABLE: &[Entry] = &[
    add(
        "limit_req_zone",
        HTTP,
        (3, 4),
        "KEY zone=NAME:SIZE rate=N r/s|r/m",
        "",
        "Counts requests by a key, such as `$binary_remote_addr`; those for which it is empty are not counted. SIZE bounds what is remembered as in nginx (8000 addresses in a megabyte); who was seen longest ago is forgotten first.",
        limit_req_zone,
    ),
    add(
        "limit_req",
        ALL,
        (1, 3),
        "zone=NAME [burst=N] [nodelay | delay=N]",
        "",
        "Bounds the rate of requests: up to `burst` ahead of it wait for their turn (with `delay=N` the first N do not, with `nodelay` none does), others are refused. Of several all must agree, and the longest wait counts. A handshake is one request; its messages are not counted: see `websocket_rate`. Inherited only by a level that has none of its own.",
        limit_req,
    ),
    set(
        "limit_req_status",
        ALL,
        (1, 1),
        "CODE",
        "503",
        "The status of requests that `limit_req` refuses, from 400 to 599.",
        |b, d| b.level.layer.guard.limit_req_status = status(b, d),
    ),
    set(
        "limit_req_log_level",
        ALL,
        (1, 1),
        "info | notice | warn | error",
        "error",
        "How severe it is that `limit_req` refuses a request; that one waits is logged one level lower.",
        |b, d| b.level.layer.guard.limit_req_log_level = level(b, d),
    ),
    set(
        "limit_req_dry_run",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Counts and logs, but refuses and delays nothing.",
        |b, d| b.level.layer.guard.limit_req_dry_run = b.flag(d),
    ),
    add(
        "limit_conn_zone",
        HTTP,
        (2, 2),
        "KEY zone=NAME:SIZE",
        "",
        "Counts what is open at once by a key; those for which it is empty are not counted. When SIZE is used up, everything more is refused.",
        limit_conn_zone,
    ),
    add(
        "limit_conn",
        ALL,
        (2, 2),
        "ZONE N",
        "",
        "Bounds how many requests of a key are in work at once. A tunnel counts until it ends. Inherited only by a level that has none of its own.",
        limit_conn,
    ),
    set(
        "limit_conn_status",
        ALL,
        (1, 1),
        "CODE",
        "503",
        "The status of requests that `limit_conn` refuses, from 400 to 599.",
        |b, d| b.level.layer.guard.limit_conn_status = status(b, d),
    ),
    set(
        "limit_conn_log_level",
        ALL,
        (1, 1),
        "info | notice | warn | error",
        "error",
        "How severe it is that `limit_conn` refuses a request.",
        |b, d| b.level.layer.guard.limit_conn_log_level = level(b, d),
    ),
    set(
        "limit_conn_dry_run",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Counts and logs, but refuses nothing.",
        |b, d| b.level.layer.guard.limit_conn_dry_run = b.flag(d),
    ),
];

/// The smallest zone that nginx takes: eight pages.
const SMALLEST: u64 = 8 * 4096;

/// `NAME:SIZE` behind `zone=`.
fn zone(b: &mut Builder<'_>, word: &Word, text: &str) -> Option<(String, u64)> {
    let (name, size) = text.split_once(':').unwrap_or((text, ""));
    let problem = match value::size(size) {
        _ if name.is_empty() => format!("invalid zone name \"{}\"", word.value),
        None => format!("invalid zone size \"{}\"", word.value),
        Some(size) if size < SMALLEST => format!("zone \"{}\" is too small", word.value),
        Some(size) => return Some((name.to_owned(), size)),
    };
    b.report(
        Diagnostic::error(word.span, problem).help("write for example \"zone=one:10m\", with at least 32k"),
    );
    None
}

fn limit_req_zone(b: &mut Builder<'_>, d: &Directive) {
    let (mut place, mut rate) = (None, 1000);
    for word in &d.args[1..] {
        if let Some(text) = word.value.strip_prefix("zone=") {
            let Some(found) = zone(b, word, text) else { return };
            place = Some(found);
        } else if let Some(text) = word.value.strip_prefix("rate=") {
            let Some(found) = self::rate(text) else {
                let mistake = Diagnostic::error(word.span, format!("invalid rate \"{}\"", word.value));
                return b.report(mistake.help("write for example \"rate=10r/s\" or \"rate=30r/m\""));
            };
            rate = found;
        } else if word.value != "sync" {
            return invalid(b, word, "parameters are zone=NAME:SIZE and rate=N r/s, without a space");
        }
    }
    let Some((name, size)) = place else { return no_zone(b, d) };
    let Some(key) = b.template(&d.args[0]) else { return };
    if let Some(other) = b.config.req_zones.iter().find(|other| other.name == name) {
        let same = other.key == key;
        return twice(b, d, &name, same);
    }
    if b.config.conn_zones.iter().any(|other| other.name == name) {
        return other_use(b, d.span, &name);
    }
    b.config.req_zones.push(ReqZone { name, size, key, rate });
}

/// Thousandths of requests in a second.
pub(super) fn rate(text: &str) -> Option<u64> {
    let (number, scale) = match text.strip_suffix("r/m") {
        Some(number) => (number, 60),
        None => (text.strip_suffix("r/s").unwrap_or(text), 1),
    };
    let rate = value::number(number).filter(|rate| *rate > 0 && *rate <= i32::MAX as u64)?;
    Some(rate * 1000 / scale)
}

fn limit_req(b: &mut Builder<'_>, d: &Directive) {
    let (mut place, mut burst, mut delay) = (None, 0, Some(0));
    for word in &d.args {
        let number =
            |text: &str| value::number(text).filter(|number| *number > 0 && *number <= i32::MAX as u64);
        if let Some(name) = word.value.strip_prefix("zone=") {
            place = Some((word, name));
        } else if let Some(text) = word.value.strip_prefix("burst=") {
            let Some(found) = number(text) else {
                return wrong_number(b, word, "burst value");
            };
            burst = found;
        } else if let Some(text) = word.value.strip_prefix("delay=") {
            let Some(found) = number(text) else {
                return wrong_number(b, word, "delay value");
            };
            delay = Some(found);
        } else if word.value == "nodelay" {
            delay = None;
        } else {
            return invalid(b, word, "parameters are zone=NAME, burst=N, nodelay and delay=N");
        }
    }
    let Some((word, name)) = place.filter(|(_, name)| !name.is_empty()) else { return no_zone(b, d) };
    let known = b.names.req_zones.iter().position(|zone| zone == name);
    let Some(zone) = known else { return unknown_zone(b, word, name, "limit_req_zone") };
    if b.level.layer.guard.limit_req.iter().flatten().any(|other| other.zone == zone) {
        let mistake = Diagnostic::error(d.span, "\"limit_req\" directive is duplicate");
        return b.report(mistake.label("this zone limits here already"));
    }
    let delay = delay.map_or(u64::MAX, |delay| delay * 1000);
    let at = b.at(d.span);
    let limit = LimitReq { zone, burst: burst * 1000, delay, at };
    b.level.layer.guard.limit_req.get_or_insert_default().push(limit);
}

fn limit_conn_zone(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[1];
    let Some(text) = word.value.strip_prefix("zone=") else {
        return invalid(b, word, "the second argument is zone=NAME:SIZE");
    };
    let Some((name, size)) = zone(b, word, text) else { return };
    let Some(key) = b.template(&d.args[0]) else { return };
    if let Some(other) = b.config.conn_zones.iter().find(|other| other.name == name) {
        let same = other.key == key;
        return twice(b, d, &name, same);
    }
    if b.config.req_zones.iter().any(|other| other.name == name) {
        return other_use(b, d.span, &name);
    }
    b.config.conn_zones.push(ConnZone { name, size, key });
}

fn limit_conn(b: &mut Builder<'_>, d: &Directive) {
    let (name, number) = (&d.args[0], &d.args[1]);
    let known = b.names.conn_zones.iter().position(|zone| *zone == name.value);
    let Some(zone) = known else { return unknown_zone(b, name, &name.value, "limit_conn_zone") };
    if b.level.layer.guard.limit_conn.iter().flatten().any(|other| other.zone == zone) {
        let mistake = Diagnostic::error(d.span, "\"limit_conn\" directive is duplicate");
        return b.report(mistake.label("this zone limits here already"));
    }
    let most = match value::number(&number.value) {
        Some(most @ 1..=65535) => most as u32,
        Some(65536..) => {
            return b.report(Diagnostic::error(number.span, "connection limit must be less 65536"));
        }
        _ => return wrong_number(b, number, "number of connections"),
    };
    let at = b.at(d.span);
    b.level.layer.guard.limit_conn.get_or_insert_default().push(LimitConn { zone, most, at });
}

fn status(b: &mut Builder<'_>, d: &Directive) -> Option<u16> {
    let word = &d.args[0];
    let code = word.value.parse().ok().filter(|code| (400..=599).contains(code));
    if code.is_none() {
        b.report(
            Diagnostic::error(word.span, "value must be between 400 and 599")
                .label("not a status of an error"),
        );
    }
    code
}

fn level(b: &mut Builder<'_>, d: &Directive) -> Option<Level> {
    let word = &d.args[0];
    let level = match word.value.as_str() {
        "info" => Some(Level::Info),
        "notice" => Some(Level::Notice),
        "warn" => Some(Level::Warn),
        "error" => Some(Level::Error),
        _ => None,
    };
    if level.is_none() {
        let mistake = Diagnostic::error(word.span, format!("invalid value \"{}\"", word.value));
        b.report(mistake.help("levels here are info, notice, warn and error"));
    }
    level
}

fn invalid(b: &mut Builder<'_>, word: &Word, help: &str) {
    b.report(Diagnostic::error(word.span, format!("invalid parameter \"{}\"", word.value)).help(help));
}

fn wrong_number(b: &mut Builder<'_>, word: &Word, what: &str) {
    b.report(
        Diagnostic::error(word.span, format!("invalid {what} \"{}\"", word.value)).help("write 1 or more"),
    );
}

fn no_zone(b: &mut Builder<'_>, d: &Directive) {
    let message = format!("\"{}\" must have \"zone\" parameter", d.name.value);
    b.report(Diagnostic::error(d.span, message));
}

fn unknown_zone(b: &mut Builder<'_>, word: &Word, name: &str, made_by: &str) {
    let zones = if made_by == "limit_req_zone" { &b.names.req_zones } else { &b.names.conn_zones };
    let mistake = Diagnostic::error(word.span, format!("zero size shared memory zone \"{name}\""));
    let mistake = match suggest::nearest(name, zones.iter().map(String::as_str)) {
        Some(near) => mistake.label(format!("did you mean \"{near}\"?")),
        None => mistake
            .label("no zone has this name")
            .help(format!("write \"{made_by} $binary_remote_addr zone={name}:10m ...;\" in http")),
    };
    b.report(mistake);
}

fn twice(b: &mut Builder<'_>, d: &Directive, name: &str, same_key: bool) {
    let what = if same_key { "already defined" } else { "already bound to another key" };
    let message = format!("\"{}\" \"{name}\" is {what}", d.name.value);
    b.report(Diagnostic::error(d.span, message).help("keep the one that is meant"));
}

fn other_use(b: &mut Builder<'_>, span: Span, name: &str) {
    let message = format!("the shared memory zone \"{name}\" is already declared for a different use");
    b.report(Diagnostic::error(span, message).help("give the two zones different names"));
}

/// The name of a zone as it stands in the arguments of the directive that makes it.
pub(crate) fn zone_name<'a>(args: &[&'a str]) -> Option<&'a str> {
    let text = args.iter().find_map(|arg| arg.strip_prefix("zone="))?;
    Some(text.split(':').next().unwrap_or(text))
}
