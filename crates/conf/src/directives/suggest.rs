//! What was probably meant: nearest names, and where a misplaced directive belongs.

use super::{Context, Entry, entries};
use crate::Frame;
use crate::diagnostic::Diagnostic;
use crate::names::Names;
use crate::source::Span;
use crate::template::{Known, PREFIXES};
use crate::tree::Directive;

/// A name that is in no table.
pub(crate) fn unknown(directive: &Directive, context: Context) -> Diagnostic {
    let name = &directive.name.value;
    let mistake = Diagnostic::error(directive.name.span, format!("unknown directive \"{name}\""));
    let here = entries().filter(|entry| entry.contexts.contains(&context)).map(|entry| entry.name);
    if let Some(near) = nearest(name, here).or_else(|| nearest(name, entries().map(|entry| entry.name))) {
        return mistake.label(format!("did you mean \"{near}\"?"));
    }
    if let Some((start, _)) = name.split_once(['=', ':']) {
        return mistake
            .help(format!("directives are written \"{start} VALUE;\", with a space and a semicolon"));
    }
    mistake.label("neither nginx nor Longwire has this directive")
}

/// A known name in a block where it has no meaning.
pub(crate) fn misplaced(directive: &Directive, entry: &Entry, context: Context) -> Diagnostic {
    let name = entry.name;
    let mistake = Diagnostic::error(directive.span, format!("\"{name}\" directive is not allowed here"));
    let label = match context {
        Context::Main => "this stands outside all blocks".to_owned(),
        Context::IfServer | Context::IfLocation => "this stands inside \"if {}\"".to_owned(),
        other => format!("this stands inside \"{} {{}}\"", other.name()),
    };
    let same_name = entries().filter(|entry| entry.name == name);
    let places: Vec<String> =
        same_name.flat_map(|entry| entry.contexts).map(|context| place(*context)).collect();
    let mistake = mistake.label(label).help(format!("\"{name}\" belongs {}", join(&places)));
    match (name, context) {
        ("map", Context::Server | Context::Location) => mistake
            .help("a map is computed when its variable is first used, for whichever server that is, so it costs nothing to have it there: move it above \"server {\""),
        ("proxy_pass", Context::Server) => mistake.help("to proxy everything, write \"location / { proxy_pass ...; }\""),
        ("proxy_pass", _) => mistake.help("what is proxied is decided by location"),
        ("upstream" | "log_format", Context::Server | Context::Location) => {
            mistake.help("it is shared by all servers: move it above \"server {\"")
        }
        ("listen" | "server_name", Context::Http) => mistake.help("put it into a \"server { ... }\" block"),
        ("server", Context::Server | Context::Location) => {
            mistake.help("servers do not stand inside each other: a \"}\" may be missing above")
        }
        ("http", _) => mistake.help("a \"}\" may be missing above"),
        _ => mistake,
    }
}

/// What a file without `http {}` was taken for, where that is why a directive is misplaced.
pub(crate) fn frame(entry: &Entry, context: Context, frame: &Frame) -> Option<String> {
    let belongs = |place| entries().any(|other| other.name == entry.name && other.contexts.contains(&place));
    match (frame, context) {
        (Frame::Inside(first), Context::Http) if belongs(Context::Main) => Some(format!(
            "the file has no \"http {{}}\" and begins with \"{first}\", so it is read as the inside of that block: to have \"{}\" too, write \"http {{ ... }}\" around \"{first}\" and the rest, and this outside",
            entry.name
        )),
        (Frame::Outside(first), Context::Main) if belongs(Context::Http) => Some(format!(
            "the file begins with \"{first}\", so it is not read as the inside of \"http {{}}\": write \"http {{ ... }}\" around \"{}\" and what belongs to it",
            entry.name
        )),
        _ => None,
    }
}

/// A variable that nobody defines.
pub(crate) fn unknown_variable(span: Span, name: &str, names: &Names) -> Diagnostic {
    let mistake = Diagnostic::error(span, format!("unknown \"{name}\" variable"));
    if PREFIXES.iter().any(|(prefix, _)| *prefix == name) {
        return mistake.label(format!("a name belongs behind \"${name}\""));
    }
    let known = Known::ALL.iter().map(|(_, name, _)| *name);
    let own = names.maps.iter().chain(&names.others).map(String::as_str);
    let common = [
        "http_upgrade",
        "http_host",
        "http_origin",
        "http_referer",
        "http_user_agent",
        "http_x_forwarded_for",
    ];
    if let Some(near) = nearest(name, own.chain(known).chain(common)) {
        return mistake.label(format!("did you mean \"${near}\"?"));
    }
    if name == "connection_upgrade" {
        return mistake.help(
            "it is defined by a map in http: map $http_upgrade $connection_upgrade { default upgrade; '' close; }",
        );
    }
    mistake.label("no map, capture or predefined variable has this name")
}

fn place(context: Context) -> String {
    match context {
        Context::Main => "outside all blocks".to_owned(),
        other => format!("in \"{}\"", other.name()),
    }
}

/// "a", "a or b", "a, b or c".
fn join(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The candidate that takes fewest edits, if few enough that it was probably meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 3).clamp(1, 4);
    if !(3..=64).contains(&name.len()) {
        return None;
    }
    candidates
        .take(1000)
        .filter(|candidate| !candidate.contains('*') && candidate.len().abs_diff(name.len()) <= most)
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits from one word to the other: a letter put in, left out, changed, or two swapped.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}
