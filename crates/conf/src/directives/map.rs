//! `map`.

use std::collections::HashMap;

use super::{Entry, HTTP, accepted, block};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::Map;
use crate::pattern;
use crate::source::Span;
use crate::template::{Template, Variable};
use crate::token::Word;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    block(
        "map",
        HTTP,
        (2, 2),
        "SOURCE $VARIABLE",
        "Makes a variable whose value is looked up by another: exact texts first, then with `hostnames` masks such as `*.example.com`, longest first, then regular expressions in order, then `default`. Texts are compared without case.",
        map,
    ),
    accepted("map_hash_bucket_size", HTTP, "tables grow as needed"),
    accepted("map_hash_max_size", HTTP, "tables grow as needed"),
];

fn map(b: &mut Builder<'_>, d: &Directive) {
    let Some(variable) = d.args[1].value.strip_prefix('$').filter(|name| !name.is_empty()) else {
        let message = format!("invalid variable name \"{}\"", d.args[1].value);
        return b.report(Diagnostic::error(d.args[1].span, message).label("a \"$\" belongs before it"));
    };
    if let Some(Variable::Known(_) | Variable::Capture(_)) = Variable::builtin(variable) {
        let message = format!("the duplicate \"{variable}\" variable");
        return b.report(Diagnostic::error(d.args[1].span, message).label("this variable is predefined"));
    }
    let Some(source) = b.template(&d.args[0]) else { return };
    let entries = d.block.as_deref().unwrap_or_default();
    let mut map = Map {
        variable: variable.to_ascii_lowercase(),
        source,
        exact: Vec::new(),
        suffixes: Vec::new(),
        prefixes: Vec::new(),
        regexes: Vec::new(),
        default: Template::default(),
        hostnames: entries.iter().any(|entry| entry.name.value == "hostnames" && entry.args.is_empty()),
    };
    let mut seen = HashMap::new();
    for entry in entries {
        map_entry(b, &mut map, entry, &mut seen);
    }
    map.suffixes.sort_by_key(|(mask, _)| std::cmp::Reverse(mask.len()));
    map.prefixes.sort_by_key(|(mask, _)| std::cmp::Reverse(mask.len()));
    b.config.maps.push(map);
}

fn map_entry(b: &mut Builder<'_>, map: &mut Map, entry: &Directive, seen: &mut HashMap<String, Span>) {
    let key = entry.name.value.as_str();
    if entry.args.is_empty() && matches!(key, "hostnames" | "volatile") {
        return;
    }
    let [value] = entry.args.as_slice() else {
        let words: Vec<&Word> = std::iter::once(&entry.name).chain(&entry.args).collect();
        if let Some(end) = b.line_end(&words) {
            let mistake = Diagnostic::error(end, "invalid number of the map parameters");
            return b.report(mistake.label("\";\" is missing after this"));
        }
        let message = "invalid number of the map parameters";
        return b.report(
            Diagnostic::error(entry.span, message)
                .help("an entry is \"KEY VALUE;\"; quote a value that has spaces"),
        );
    };
    if entry.block.is_some() {
        return b.report(
            Diagnostic::error(entry.span, "unexpected \"{\"").label("entries of a map have no block"),
        );
    }
    let Some(value) = b.template(value) else { return };
    let key_text = if key.starts_with('~') { key.to_owned() } else { key.to_ascii_lowercase() };
    if seen.insert(key_text, entry.span).is_some() && !key.starts_with('~') {
        let what = if key == "default" {
            "duplicate default map parameter".to_owned()
        } else {
            format!("conflicting parameter \"{key}\"")
        };
        return b.report(Diagnostic::error(entry.span, what).label("this key stands in the map already"));
    }
    place(b, map, &entry.name, value);
}

/// A mask of `hostnames` that stands for no names.
fn bad_mask(word: &Word) -> Diagnostic {
    Diagnostic::error(word.span, format!("invalid hostname or wildcard \"{}\"", word.value)).help(
        "a \"*\" stands for whole labels at the beginning or the end: \"*.example.com\", \"www.example.*\"",
    )
}

/// Puts an entry into the table that its key belongs to.
fn place(b: &mut Builder<'_>, map: &mut Map, word: &Word, value: Template) {
    let key = word.value.as_str();
    if key == "default" {
        map.default = value;
    } else if let Some(expression) = key.strip_prefix('~') {
        let (expression, ignore_case) =
            expression.strip_prefix('*').map_or((expression, false), |rest| (rest, true));
        match pattern::compile(word, expression, ignore_case) {
            Ok(regex) => map.regexes.push((regex, value)),
            Err(mistake) => b.report(mistake),
        }
    } else {
        // A backslash lets a key begin with "~" or be called "default".
        let bare = key.strip_prefix('\\').unwrap_or(key).to_ascii_lowercase();
        if !map.hostnames {
            return map.exact.push((bare, value));
        }
        let plain = |rest: &str| !rest.is_empty() && !rest.contains('*');
        if let Some(rest) = bare.strip_prefix("*.").filter(|rest| plain(rest)) {
            map.suffixes.push((format!(".{rest}"), value));
        } else if let Some(rest) = bare.strip_prefix('.').filter(|rest| plain(rest)) {
            map.exact.push((rest.to_owned(), value.clone()));
            map.suffixes.push((bare, value));
        } else if let Some(rest) = bare.strip_suffix('*').filter(|rest| plain(rest) && rest.ends_with('.')) {
            map.prefixes.push((rest.to_owned(), value));
        } else if bare.contains('*') {
            b.report(bad_mask(word));
        } else {
            map.exact.push((bare, value));
        }
    }
}
