//! `location` and `internal`.

use super::{Context, Entry, LOCATION, SERVER_LOCATION, block, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::Level;
use crate::model::Matcher;
use crate::pattern;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    block(
        "location",
        SERVER_LOCATION,
        (1, 2),
        "[= | ~ | ~* | ^~] PATH | @NAME",
        "What is done with requests for a path: exact with `=`; else the longest prefix; then the first regular expression that matches, unless the prefix is marked `^~`. Expressions run in linear time; one that looks around or refers back, which cannot, is tried for a bounded number of steps.",
        location,
    ),
    set(
        "stub_status",
        SERVER_LOCATION,
        (0, 1),
        "",
        "",
        "Answers with the numbers of connections and requests, in nginx's words. A tunnel counts as a connection that is written to.",
        |b, _| b.level.status = true,
    ),
    set(
        "internal",
        LOCATION,
        (0, 0),
        "",
        "",
        "Requests from outside are answered with 404; only error pages, `rewrite`, `try_files`, `index` and `auth_request` get here.",
        |b, _| b.level.internal = true,
    ),
];

fn location(b: &mut Builder<'_>, d: &Directive) {
    let Some(matcher) = matcher(b, d) else { return };
    let Some(matcher) = nesting(b, d, matcher) else { return };
    b.enclosing.push(matcher.clone());
    let level = b.inside(Context::Location, d, Level { matcher: Some(matcher), ..Level::default() });
    b.enclosing.pop();
    b.level.children.push(level);
}

/// Reads what a location matches; a mark may stand alone or straight before the path.
fn matcher(b: &mut Builder<'_>, d: &Directive) -> Option<Matcher> {
    let (mark, path, word) = match d.args.as_slice() {
        [word] => {
            let mark =
                ["=", "^~", "~*", "~"].into_iter().find(|mark| word.value.starts_with(mark)).unwrap_or("");
            (mark, &word.value[mark.len()..], word)
        }
        [mark, word, ..] => (mark.value.as_str(), word.value.as_str(), word),
        [] => return None,
    };
    let owned = path.to_owned();
    Some(match mark {
        "" if path.starts_with('@') => Matcher::Named(path[1..].to_owned()),
        "" => Matcher::Prefix { path: owned, no_regex: false },
        "=" => Matcher::Exact(owned),
        "^~" => Matcher::Prefix { path: owned, no_regex: true },
        "~" | "~*" => match pattern::compile(word, path, mark == "~*") {
            Ok(regex) => Matcher::Regex(regex),
            Err(mistake) => {
                b.report(mistake);
                return None;
            }
        },
        other => {
            let message = format!("invalid location modifier \"{other}\"");
            b.report(Diagnostic::error(d.args[0].span, message).help("modifiers are =, ~, ~* and ^~"));
            return None;
        }
    })
}

/// Checks a location against the one it stands in.
fn nesting(b: &mut Builder<'_>, d: &Directive, matcher: Matcher) -> Option<Matcher> {
    let shown = show(&matcher);
    let problem = match (b.enclosing.last(), &matcher) {
        (Some(Matcher::Exact(outer)), _) => {
            Some(format!("location \"{shown}\" cannot be inside the exact location \"{outer}\""))
        }
        (Some(Matcher::Named(outer)), _) => {
            Some(format!("location \"{shown}\" cannot be inside the named location \"@{outer}\""))
        }
        (Some(_), Matcher::Named(_)) => {
            Some(format!("named location \"{shown}\" can be on the server level only"))
        }
        (Some(Matcher::Prefix { path: outer, .. }), Matcher::Exact(path) | Matcher::Prefix { path, .. })
            if !path.starts_with(outer.as_str()) =>
        {
            Some(format!("location \"{path}\" is outside location \"{outer}\""))
        }
        // Which paths a regular expression leaves over cannot be told, so nginx allows no prefixes in it.
        (Some(Matcher::Regex(outer)), Matcher::Exact(path) | Matcher::Prefix { path, .. }) => {
            Some(format!("location \"{path}\" is outside location \"{outer}\""))
        }
        _ => None,
    };
    if let Some(problem) = problem {
        b.report(Diagnostic::error(d.span, problem));
        return None;
    }
    if b.level
        .children
        .iter()
        .any(|other| other.matcher.as_ref().is_some_and(|other| is_same(other, &matcher)))
    {
        b.report(
            Diagnostic::error(d.span, format!("duplicate location \"{shown}\""))
                .label("this location stands above already"),
        );
        return None;
    }
    if let Matcher::Prefix { path, .. } | Matcher::Exact(path) = &matcher
        && !path.starts_with('/')
    {
        let message = format!("location \"{path}\" never matches");
        let help = format!("paths begin with \"/\": write \"/{path}\"");
        b.report(Diagnostic::warning(d.span, message).help(help));
    }
    Some(matcher)
}

fn is_same(a: &Matcher, b: &Matcher) -> bool {
    match (a, b) {
        (Matcher::Exact(a), Matcher::Exact(b))
        | (Matcher::Prefix { path: a, .. }, Matcher::Prefix { path: b, .. })
        | (Matcher::Named(a), Matcher::Named(b)) => a == b,
        _ => false,
    }
}

fn show(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(path) | Matcher::Prefix { path, .. } => path.clone(),
        Matcher::Regex(regex) => regex.as_str().to_owned(),
        Matcher::Named(name) => format!("@{name}"),
    }
}
