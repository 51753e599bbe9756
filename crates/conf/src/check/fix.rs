//! Pure: corrected lines: what is to be written, and where in the text.

use crate::source::Span;
use crate::tree::Directive;

use super::road::{Road, is_header};
use super::site::Site;

/// A change of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty for something new.
    pub span: Span,
    /// What stands there instead.
    pub text: String,
}

/// The `map` that every guide has; `''` gives an empty value so that connections to backends are kept.
const MAP: &[&str] =
    &["map $http_upgrade $connection_upgrade {", "    default upgrade;", "    ''      '';", "}"];

/// Writes another text in the place of a span.
pub(crate) fn replace(span: Span, text: impl Into<String>) -> Edit {
    Edit { span, text: text.into() }
}

/// Takes a directive away, with its line if nothing else stands there.
pub(crate) fn remove(site: &Site<'_>, directive: &Directive) -> Edit {
    let (text, end) = (text(site, directive.span), end(site, directive));
    let start = directive.span.start as usize;
    let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let rest = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
    let alone = text[line..start].trim().is_empty() && text[end..rest].trim().is_empty();
    let (from, to) = if alone { (line, rest) } else { (start, end) };
    replace(Span { start: from as u32, end: to as u32, ..directive.span }, "")
}

/// Writes lines below a directive, indented as it is.
pub(crate) fn below(site: &Site<'_>, directive: &Directive, lines: &[String]) -> Edit {
    let text = text(site, directive.span);
    let end = end(site, directive);
    let rest = &text[end..];
    let line = rest.find('\n').unwrap_or(rest.len());
    // Behind a comment on the same line, but before anything else on it.
    let after = rest[..line].trim_start();
    let at = if after.is_empty() || after.starts_with('#') { end + line } else { end };
    let at = if text[..at].ends_with('\r') { at - 1 } else { at };
    let indent = indent(text, directive.span.start as usize);
    let lines: String = lines.iter().map(|line| format!("\n{indent}{line}")).collect();
    insertion(directive.span, at, lines)
}

/// Writes lines above a directive, indented as it is.
pub(crate) fn above(site: &Site<'_>, directive: &Directive, lines: &[String]) -> Edit {
    let text = text(site, directive.span);
    let start = directive.span.start as usize;
    let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let indent = indent(text, start);
    let mut written = String::new();
    for line in lines {
        written.push_str(if line.is_empty() { "" } else { indent });
        written.push_str(line);
        written.push('\n');
    }
    insertion(directive.span, line, written)
}

/// Writes lines into a block: below the directive that they go with, else at its beginning.
pub(crate) fn into_block(site: &Site<'_>, block: usize, beside: &[&str], lines: &[String]) -> Option<Edit> {
    let level = &site.blocks[block];
    if let Some(item) = beside.iter().find_map(|name| level.own(name)) {
        return Some(below(site, item, lines));
    }
    let Some(head) = level.head else {
        return level.items.first().map(|first| above(site, first, lines));
    };
    let text = text(site, head.span);
    let open = head.span.end as usize + text[head.span.end as usize..].find('{')? + 1;
    let indent = format!("{}    ", indent(text, head.span.start as usize));
    let lines: String = lines.iter().map(|line| format!("\n{indent}{line}")).collect();
    Some(insertion(head.span, open, lines))
}

/// Makes a road send these headers, and keep those that it sends: a level that has one of its own inherits none.
pub(crate) fn headers(site: &Site<'_>, road: &Road<'_>, wanted: &[(&str, &str)]) -> Vec<Edit> {
    let (level, in_force) = (&road.headers.0, &road.headers.1);
    let own = *level == Some(road.location);
    let mut edits = Vec::new();
    let mut lines = Vec::new();
    if !own {
        let kept = in_force.iter().filter(|item| !wanted.iter().any(|(name, _)| is_header(item, name)));
        lines.extend(kept.map(|item| format!("{};", site.sources.text(item.span))));
    }
    for (name, value) in wanted {
        let there =
            in_force.iter().find(|item| own && is_header(item, name)).and_then(|item| item.args.get(1));
        match there {
            Some(word) => edits.push(replace(word.span, *value)),
            None => lines.push(format!("proxy_set_header {name} {value};")),
        }
    }
    if !lines.is_empty() {
        edits.extend(into_block(site, road.location, &["proxy_set_header", "proxy_pass"], &lines));
    }
    edits
}

/// What `Connection` is to be set to, with the `map` that this takes if the file has none.
pub(crate) fn connection(site: &Site<'_>) -> (&'static str, Vec<Edit>) {
    if super::eval::is_made(site, "connection_upgrade") {
        return ("$connection_upgrade", Vec::new());
    }
    let edit = map(site);
    // Inside of a server no map can stand.
    if edit.is_none() {
        ("\"upgrade\"", Vec::new())
    } else {
        ("$connection_upgrade", edit.into_iter().collect())
    }
}

/// The `map`, where it may stand: in `http`, or at the top of a part of it.
pub(crate) fn map(site: &Site<'_>) -> Option<Edit> {
    let lines: Vec<String> = MAP.iter().map(|line| (*line).to_owned()).collect();
    if let Some((http, _)) = site.named("http").next() {
        return into_block(site, http, &[], &lines);
    }
    let first = site.blocks.iter().find(|block| block.name() == "server")?.head?;
    let mut lines = lines;
    lines.push(String::new());
    Some(above(site, first, &lines))
}

fn insertion(near: Span, at: usize, text: String) -> Edit {
    replace(Span { start: at as u32, end: at as u32, ..near }, text)
}

fn text<'s>(site: &Site<'s>, span: Span) -> &'s str {
    site.sources.files().get(span.file as usize).map_or("", |file| &file.text)
}

/// Where a directive ends, its `;` included.
fn end(site: &Site<'_>, directive: &Directive) -> usize {
    let text = text(site, directive.span);
    let end = directive.span.end as usize;
    let gap = text[end..].find(|c: char| !c.is_whitespace()).unwrap_or(0);
    if text[end + gap..].starts_with(';') { end + gap + 1 } else { end }
}

/// The space before a place, if nothing else stands before it on its line.
fn indent(text: &str, at: usize) -> &str {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = &text[line..at];
    &before[..before.len() - before.trim_start().len()]
}

/// A text with edits made in it, which do not overlap.
pub(super) fn apply(text: &str, mut edits: Vec<&Edit>) -> String {
    edits.sort_by_key(|edit| edit.span.start);
    let (mut result, mut at) = (String::new(), 0);
    for edit in edits {
        result.push_str(text.get(at..edit.span.start as usize).unwrap_or(""));
        result.push_str(&edit.text);
        at = at.max(edit.span.end as usize);
    }
    result.push_str(text.get(at..).unwrap_or(""));
    result
}
