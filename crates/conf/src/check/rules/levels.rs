//! Pure: what stands in a place where nginx does not take it, or where something is missing that it asks for.

use crate::diagnostic::Severity::{Error, Warning};
use crate::source::Span;

use super::super::eval;
use super::super::fix;
use super::super::location::Kind;
use super::super::road::label;
use super::super::site::{Block, Site};
use super::super::{Found, Rule};

pub(super) const RULES: &[&Rule] =
    &[&MAP_MISSING, &MAP_MISPLACED, &IF_DIRECTIVE, &PROXY_PASS_URI, &WS_SCHEME];

static MAP_MISSING: Rule = Rule {
    id: "map-missing",
    severity: Error,
    summary: "`$connection_upgrade` is used, and nothing makes it",
    why: "`$connection_upgrade` is no variable of nginx: it comes from a `map` in `http`. Without it nginx does not start: \
`unknown \"connection_upgrade\" variable`.",
    ignore: "The file is a part of a configuration whose other files have the `map`; then this is a warning only.",
    find: map_missing,
};

static MAP_MISPLACED: Rule = Rule {
    id: "map-misplaced",
    severity: Error,
    summary: "A `map` stands inside of `server` or `location`",
    why: "`map` may stand in `http` only. Anywhere else nginx does not start: `\"map\" directive is not allowed here`.",
    ignore: "Never.",
    find: map_misplaced,
};

static IF_DIRECTIVE: Rule = Rule {
    id: "if-directive",
    severity: Error,
    summary: "A directive stands inside of `if` that may not stand there",
    why: "Of the proxy's directives only `proxy_pass` may stand inside of `if`; with another one nginx does not start: \
`\"proxy_set_header\" directive is not allowed here`. Headers of the location are sent by an `if` in it as well, and a `map` can \
choose a value.",
    ignore: "Never.",
    find: if_directive,
};

static PROXY_PASS_URI: Rule = Rule {
    id: "proxy-pass-uri",
    severity: Error,
    summary: "`proxy_pass` has a path where none may stand",
    why: "In a location given by a regular expression, in a named location, in `if` and in `limit_except`, nginx does not know which part \
of the path to replace and does not start: `\"proxy_pass\" cannot have URI part in location given by regular expression ...`. A single \
slash behind the host is such a path.",
    ignore: "Never.",
    find: proxy_pass_uri,
};

static WS_SCHEME: Rule = Rule {
    id: "ws-scheme",
    severity: Error,
    summary: "`proxy_pass` has the scheme `ws://` or `wss://`",
    why: "nginx knows `http://` and `https://` only and does not start: `invalid URL prefix`. A WebSocket begins as an HTTP request, so \
`http://` is right.",
    ignore: "Never.",
    find: ws_scheme,
};

fn map_missing(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for header in site.blocks.iter().flat_map(|block| block.all("proxy_set_header")) {
        let Some(value) = header.args.get(1) else { continue };
        for name in eval::variables(&value.value) {
            let ours =
                name.contains("upgrade") && !name.starts_with("http_") && !name.starts_with("upstream_");
            if !ours || eval::is_made(site, name) {
                continue;
            }
            let message =
                format!("nothing makes ${name}: nginx does not start (unknown \"{name}\" variable)");
            let one = Found::new(value.span, "", message);
            let one = if name == "connection_upgrade" { one.fix(fix::map(site)) } else { one };
            found.push(if site.whole && !site.misses_files() {
                one
            } else {
                one.severity(Warning).help("unless a file that is not seen here has the \"map\"")
            });
        }
    }
    found
}

fn map_misplaced(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, map) in site.named("map") {
        let parent = &site.blocks[map.parent];
        let allowed = parent.name() == "http" || (parent.head.is_none() && !site.whole);
        let (false, Some(head)) = (allowed, map.head) else { continue };
        let message = "\"map\" may stand in \"http\" only: nginx does not start (\"map\" directive is not allowed here)";
        let (label, mut edits) = (format!("inside of \"{}\"", parent.name()), Vec::new());
        let outer = site.around(at).filter(|(_, block)| block.name() == "server").last();
        if let Some(server) = outer.and_then(|(_, server)| server.head)
            && let Some(whole) = extent(site, map)
        {
            let text = site.sources.text(whole);
            let indent = indent(site, head.span);
            let mut lines: Vec<String> =
                text.lines().map(|line| line.strip_prefix(indent).unwrap_or(line).to_owned()).collect();
            lines.push(String::new());
            edits.push(fix::above(site, server, &lines));
            edits.push(fix::replace(with_line(site, whole), ""));
        }
        found.push(Found::new(head.span, label, message).fix(edits));
    }
    found
}

/// A block from its name to its `}`.
fn extent(site: &Site<'_>, block: &Block<'_>) -> Option<Span> {
    let head = block.head?.span;
    let last = block.items.last().map_or(head, |item| item.span);
    let text = &site.sources.files().get(head.file as usize)?.text;
    let mut at = last.end as usize;
    for line in text.get(at..)?.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or("");
        if let Some(close) = code.find('}') {
            return Some(Span { end: (at + close + 1) as u32, ..head });
        }
        at += line.len();
    }
    None
}

/// A span with the lines that it stands on, if nothing else stands there.
fn with_line(site: &Site<'_>, span: Span) -> Span {
    let text = site.sources.files().get(span.file as usize).map_or("", |file| file.text.as_str());
    let (start, end) = (span.start as usize, span.end as usize);
    let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let rest = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
    let alone = text[line..start].trim().is_empty() && text[end..rest].trim().is_empty();
    if alone { Span { start: line as u32, end: rest as u32, ..span } } else { span }
}

fn indent<'s>(site: &Site<'s>, span: Span) -> &'s str {
    let text = site.sources.files().get(span.file as usize).map_or("", |file| file.text.as_str());
    let before = text.get(..span.start as usize).unwrap_or("");
    let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
    if line.trim().is_empty() { line } else { "" }
}

fn if_directive(site: &Site<'_>) -> Vec<Found> {
    const ALLOWED: &[&str] = &["proxy_pass", "proxy_limit_rate"];
    let mut found = Vec::new();
    for (_, block) in site.named("if") {
        for item in block.items {
            let name = item.name.value.as_str();
            if !name.starts_with("proxy_") || ALLOWED.contains(&name) {
                continue;
            }
            let message = format!("\"{name}\" may not stand inside of \"if\": nginx does not start");
            let help =
                "a header of the location is sent by an \"if\" in it as well; a \"map\" can choose its value";
            found.push(Found::new(item.span, "", message).help(help));
        }
    }
    found
}

fn proxy_pass_uri(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in &site.roads {
        let block = &site.blocks[road.block];
        let place = match (&block.kind, block.name()) {
            (Some(Kind::Regex(..)), _) => "a location given by a regular expression",
            (Some(Kind::Named(_)), _) => "a named location",
            (_, "if") => "\"if\"",
            (_, "limit_except") => "\"limit_except\"",
            _ => continue,
        };
        let Some(word) = road.pass.args.first() else { continue };
        let (Some(uri), true) = (road.target.uri, eval::variables(&word.value).is_empty()) else { continue };
        let message = format!("\"proxy_pass\" has a path in {place}: nginx does not start");
        let without = word.value.strip_suffix(uri).unwrap_or(&word.value).to_owned();
        found.push(
            Found::new(word.span, label(site, road.block), message).fix([fix::replace(word.span, without)]),
        );
    }
    found
}

fn ws_scheme(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in &site.roads {
        let (Some(scheme @ ("ws" | "wss")), Some(word)) = (road.target.scheme, road.pass.args.first()) else {
            continue;
        };
        let right = if scheme == "ws" { "http" } else { "https" };
        let message = format!("nginx does not know \"{scheme}://\": it does not start (invalid URL prefix)");
        let url = word.value.replacen(scheme, right, 1);
        found.push(
            Found::new(word.span, label(site, road.block), message).fix([fix::replace(word.span, url)]),
        );
    }
    found
}
