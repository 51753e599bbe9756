//! Regular expressions: PCRE as people write it. An engine that always runs in linear time compiles what it can; what
//! looks around or refers back goes to one that tries, and gives up after a number of steps.

use std::fmt;

use fancy_regex::RegexBuilder as FancyBuilder;
use regex::RegexBuilder;

use crate::diagnostic::Diagnostic;
use crate::token::Word;

/// The largest program of an expression, in bytes.
const MAX_PROGRAM: usize = 1 << 22;
/// Steps that an expression which has to be tried may take on one text; one that needs more does not match.
const MAX_STEPS: usize = 100_000;

/// A compiled expression.
#[derive(Clone)]
pub struct Pattern(Engine);

#[derive(Clone)]
enum Engine {
    /// Linear time.
    Linear(regex::Regex),
    /// Look-around, back-references, atomic groups.
    Trying(Box<fancy_regex::Regex>),
}

/// What the groups of an expression matched; the first is the whole match.
pub type Groups<'t> = Vec<Option<&'t str>>;

impl Pattern {
    /// Compiles an expression. The error is that of the engine which runs in linear time.
    pub fn new(expression: &str, ignore_case: bool) -> Result<Pattern, regex::Error> {
        let linear =
            RegexBuilder::new(expression).case_insensitive(ignore_case).size_limit(MAX_PROGRAM).build();
        linear.map(|regex| Pattern(Engine::Linear(regex))).or_else(|error| {
            let trying = FancyBuilder::new(expression)
                .case_insensitive(ignore_case)
                .backtrack_limit(MAX_STEPS)
                .delegate_size_limit(MAX_PROGRAM)
                .build();
            trying.map(|regex| Pattern(Engine::Trying(Box::new(regex)))).map_err(|_| error)
        })
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Engine::Linear(regex) => regex.as_str(),
            Engine::Trying(regex) => regex.as_str(),
        }
    }

    /// Whether it matches anywhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.0 {
            Engine::Linear(regex) => regex.is_match(text),
            Engine::Trying(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// What its groups match in a text, if it matches.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        Some(match &self.0 {
            Engine::Linear(regex) => {
                regex.captures(text)?.iter().map(|group| group.map(|found| found.as_str())).collect()
            }
            Engine::Trying(regex) => {
                let found = regex.captures(text).ok().flatten()?;
                found.iter().map(|group| group.map(|found| found.as_str())).collect()
            }
        })
    }

    /// Names of its groups, in the order of [`Pattern::captures`].
    pub fn names(&self) -> Vec<Option<&str>> {
        match &self.0 {
            Engine::Linear(regex) => regex.capture_names().collect(),
            Engine::Trying(regex) => regex.capture_names().collect(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

/// Compiles the expression that stands in `word` behind marks such as `~*`.
pub(crate) fn compile(word: &Word, expression: &str, ignore_case: bool) -> Result<Pattern, Diagnostic> {
    Pattern::new(expression, ignore_case).map_err(|error| {
        let diagnostic =
            Diagnostic::error(word.span, format!("regular expression \"{expression}\" cannot be used"));
        let reason = error.to_string();
        let reason = reason.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
        diagnostic.label(reason.trim_start_matches("error: ").to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_around_is_tried() {
        type Expected<'a> = Option<&'a [Option<&'a str>]>;
        let table: [(&str, &str, Expected<'_>); 6] = [
            ("^/(?!chat).*\\.js$", "/x.js", Some(&[Some("/x.js")])),
            ("^/(?!chat).*\\.js$", "/chat/x.js", None),
            ("(?<n>a)(b)?", "xa", Some(&[Some("a"), Some("a"), None])),
            ("(?<=/)(?<n>a+)(b)?", "/aa", Some(&[Some("aa"), Some("aa"), None])),
            ("(a)\\1", "xaa", Some(&[Some("aa"), Some("a")])),
            ("^(?>a+)b$", "aab", Some(&[Some("aab")])),
        ];
        for (expression, text, expected) in table {
            let pattern = Pattern::new(expression, false).unwrap();
            assert_eq!(pattern.captures(text).as_deref(), expected, "{expression} on {text}");
            assert_eq!(pattern.is_match(text), expected.is_some());
        }
        assert_eq!(Pattern::new("(?=x)(?<n>x)", false).unwrap().names(), [None, Some("n")]);
        assert!(Pattern::new("(?=x)X", true).unwrap().is_match("X"));
        assert!(Pattern::new("(?=x", false).is_err());
    }

    /// An expression that would be tried for ages is given up.
    #[test]
    fn trying_has_an_end() {
        let pattern = Pattern::new("^(?=(a+)+$)(a+)+b\\1$", false).unwrap();
        assert!(!pattern.is_match(&"a".repeat(5000)));
    }
}
