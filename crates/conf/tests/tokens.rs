//! nginx's lexical rules, seen through the values that a `map` and headers are given.

mod support;

use longwire_conf::Severity;
use support::load;

/// The value that nginx's rules give to a word, read back from a `default` of a map.
fn word(written: &str) -> Option<String> {
    let loaded = load(&format!("map $uri $x {{ default {written}; }}"));
    let config = loaded.config?;
    config.maps[0].default.as_literal().map(str::to_owned)
}

/// First error of a text.
fn error(text: &str) -> String {
    let loaded = load(text);
    let first = loaded.diagnostics.iter().find(|found| found.severity == Severity::Error);
    first.map(|found| found.message.clone()).unwrap_or_default()
}

#[test]
fn words() {
    for (written, value) in [
        ("plain", "plain"),
        ("\"two words\"", "two words"),
        ("'two words'", "two words"),
        ("''", ""),
        ("\"it's\"", "it's"),
        ("'say \"x\"'", "say \"x\""),
        // A quote inside a word is a letter like any other.
        ("a\"b\"c", "a\"b\"c"),
        ("it's", "it's"),
        // So is "#".
        ("a#b", "a#b"),
        ("\"#\"", "#"),
        // And "}".
        ("a}b", "a}b"),
        // A backslash keeps what would end a word, and stays itself.
        ("a\\ b", "a\\ b"),
        ("a\\;b", "a\\;b"),
        ("\\.", "\\."),
        // Except before quotes, itself, t, r and n.
        ("a\\\"b", "a\"b"),
        ("\"a\\\"b\"", "a\"b"),
        ("'a\\'b'", "a'b"),
        ("a\\\\b", "a\\b"),
        ("a\\tb\\nc\\rd", "a\tb\nc\rd"),
        ("\"new\nline\"", "new\nline"),
        ("é", "é"),
    ] {
        assert_eq!(word(written).as_deref(), Some(value), "{written}");
    }
}

#[test]
fn braces_after_a_dollar_belong_to_the_word() {
    let loaded = load("map $uri $x { default a${host}b$uri; }");
    let parts = &loaded.config.unwrap().maps[0].default.parts;
    assert_eq!(parts.len(), 4);
}

#[test]
fn comments_begin_only_where_a_word_may() {
    assert!(load("# all of this\nserver { # and this\n location / { return 204; } } # }").config.is_some());
    assert_eq!(word("x # y\n"), Some("x".to_owned()));
}

#[test]
fn words_end_at_a_brace() {
    assert!(load("server{location /{return 204;}}").config.is_some());
    assert!(load("server { location \"/\"{ return 204; } }").config.is_some());
}

#[test]
fn line_ends_and_byte_order_mark() {
    assert!(load("\u{feff}server {\r\n\tlocation / {\r\n\t\treturn 204;\r\n\t}\r\n}\r\n").config.is_some());
}

#[test]
fn mistakes() {
    for (text, message) in [
        ("server { listen \"80\"x; }", "unexpected \"x\""),
        ("server { listen \"80\"} ", "unexpected \"}\""),
        ("server { listen 80 }", "unexpected \"}\""),
        ("server { ; }", "unexpected \";\""),
        ("{ }", "unexpected \"{\""),
        ("}", "unexpected \"}\""),
        ("server {", "unexpected end of file, expecting \"}\""),
        ("server { } listen", "unexpected end of file, expecting \";\" or \"}\""),
        ("pid 'x", "unexpected end of file, expecting ' to close the quote"),
        ("events;", "directive \"events\" has no opening \"{\""),
        ("pid x { }", "directive \"pid\" is not terminated by \";\""),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
}

#[test]
fn deep_nesting_is_bounded() {
    assert!(load(&"location / {".repeat(100_000)).config.is_none());
}
