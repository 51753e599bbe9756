//! Regular expressions: PCRE as people write it, compiled by an engine that always runs in linear time.

use regex::{Regex, RegexBuilder};

use crate::diagnostic::Diagnostic;
use crate::token::Word;

/// Compiles the expression that stands in `word` after `skip` bytes of marks such as `~*`.
pub(crate) fn compile(word: &Word, expression: &str, ignore_case: bool) -> Result<Regex, Diagnostic> {
    RegexBuilder::new(expression).case_insensitive(ignore_case).size_limit(1 << 22).build().map_err(|error| {
        let diagnostic =
            Diagnostic::error(word.span, format!("regular expression \"{expression}\" cannot be used"));
        explain(diagnostic, expression, &error)
    })
}

/// Names of the groups that an expression captures, found without compiling it.
pub(crate) fn group_names(expression: &str) -> impl Iterator<Item = &str> {
    expression.split("(?").skip(1).filter_map(|rest| {
        let (rest, end) = match rest.as_bytes() {
            [b'P', b'<', ..] => (&rest[2..], '>'),
            [b'<', next, ..] if !matches!(next, b'=' | b'!') => (&rest[1..], '>'),
            [b'\'', ..] => (&rest[1..], '\''),
            _ => return None,
        };
        rest.split_once(end).map(|(name, _)| name)
    })
}

fn explain(diagnostic: Diagnostic, expression: &str, error: &regex::Error) -> Diagnostic {
    let looks_around = ["(?=", "(?!", "(?<=", "(?<!"].iter().find(|mark| expression.contains(**mark));
    if let Some(mark) = looks_around {
        return diagnostic
            .label(format!("\"{mark}...)\" looks around"))
            .help("look-around is not supported: every expression runs in linear time here, so that no request can stall the proxy")
            .help("write what is excluded as a location (or map entry) of its own, before this one, and leave the rest to this one");
    }
    let bytes = expression.as_bytes();
    if let Some(at) =
        (1..bytes.len()).find(|&at| bytes[at - 1] == b'\\' && bytes[at].is_ascii_digit() && bytes[at] != b'0')
    {
        return diagnostic
            .label(format!("\"\\{}\" refers back to a group", char::from(bytes[at])))
            .help("back-references are not supported: every expression runs in linear time here, so that no request can stall the proxy")
            .help("write the repeated part out, or match it in two steps with a map");
    }
    if ["(?>", "*+", "++", "?+"].iter().any(|mark| expression.contains(mark)) {
        return diagnostic
            .help("atomic groups and possessive quantifiers are not supported, and not needed: every expression runs in linear time here")
            .help("write \"(?:\" for \"(?>\", and \"+\" for \"++\"");
    }
    let reason = error.to_string();
    let reason = reason.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    diagnostic.label(reason.trim_start_matches("error: ").to_owned())
}
