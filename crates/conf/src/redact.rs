//! The text of a configuration without what looks like a secret, to be shown to those who run it.
//!
//! Files with secrets are never part of it; what stands in the text itself is found by names: of directives, parameters,
//! headers and variables. A value that only hands a variable on is no secret.

use crate::token::{Token, Tokens, Word};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Parts of names that say that the value is a secret.
const TELLING: &[&str] = &[
    "secret",
    "passw",
    "token",
    "authorization",
    "credential",
    "private",
    "api_key",
    "api-key",
    "apikey",
    "access_key",
    "access-key",
    "signature",
];

/// The text with `***` in the place of each secret.
///
/// ```
/// let text = "proxy_set_header Authorization \"Basic dXNlcjpwYXNz\"; # for the old backend\n";
/// let shown = "proxy_set_header Authorization ***; # for the old backend\n";
/// assert_eq!(longwire_conf::redacted(text), shown);
/// ```
pub fn redacted(text: &str) -> String {
    let mut out = Out { text, shown: String::with_capacity(text.len()), at: 0 };
    let mut tokens = Tokens::new(text, 0);
    // The heads of the blocks that are open, innermost last.
    let mut blocks: Vec<Vec<Word>> = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => words.push(word),
            Token::Semicolon(span) => {
                out.statement(&std::mem::take(&mut words), blocks.last());
                out.up_to(span.end);
            }
            Token::Open(span) => {
                let head = std::mem::take(&mut words);
                out.statement(&head, blocks.last());
                out.up_to(span.end);
                if head.first().is_some_and(|name| name.value.contains("_by_lua")) {
                    tokens.skip_lua();
                    out.hides_what_follows(&mut tokens);
                } else {
                    blocks.push(head);
                }
            }
            Token::Close(span) => {
                out.statement(&std::mem::take(&mut words), blocks.last());
                blocks.pop();
                out.up_to(span.end);
            }
        }
    }
    out.statement(&words, blocks.last());
    out.up_to(text.len() as u32);
    out.shown
}

/// A text as it is shown, so far.
struct Out<'a> {
    text: &'a str,
    shown: String,
    /// How far the text has been shown or hidden.
    at: usize,
}

impl Out<'_> {
    /// Shows the text up to here, without comments that tell too much.
    fn up_to(&mut self, end: u32) {
        let piece = self.text.get(self.at..end as usize).unwrap_or_default();
        self.at = self.at.max(end as usize);
        for line in piece.split_inclusive('\n') {
            match line.find('#').filter(|at| tells(&line[*at..])) {
                Some(at) => {
                    self.shown.push_str(&line[..at]);
                    self.shown.push_str("# ***");
                    self.shown.push_str(if line.ends_with('\n') { "\n" } else { "" });
                }
                None => self.shown.push_str(line),
            }
        }
    }

    /// Shows a word without a part of it.
    fn hide(&mut self, word: &Word, start: usize, end: usize) {
        self.up_to(word.span.start + start as u32);
        self.shown.push_str(HIDDEN);
        self.at = word.span.start as usize + end;
    }

    fn hide_all(&mut self, word: &Word) {
        if !hands_on(&word.value) {
            self.hide(word, 0, (word.span.end - word.span.start) as usize);
        }
    }

    /// Code of another language: nobody knows what is in there.
    fn hides_what_follows(&mut self, tokens: &mut Tokens<'_>) {
        if let Some(Token::Close(span)) = tokens.next() {
            self.shown.push_str(" *** ");
            self.at = span.start as usize;
            self.up_to(span.end);
        }
    }

    /// The words of a directive; `block` is the head of the block around it.
    fn statement(&mut self, words: &[Word], block: Option<&Vec<Word>>) {
        let Some((name, args)) = words.split_first() else { return };
        let head = |at: usize| block.and_then(|block| block.get(at)).map_or("", |word| word.value.as_str());
        if head(0) == "map" {
            // What is compared with a secret is one, and so is what becomes one.
            for (word, variable) in words.iter().zip([head(1), head(2)]) {
                if tells(variable) && word.value != "default" {
                    self.hide_all(word);
                }
            }
            return;
        }
        let name = name.value.to_ascii_lowercase();
        let named = tells(&name) && !name.ends_with("_file") && !name.contains("token");
        let pair = matches!(
            name.as_str(),
            "set"
                | "proxy_set_header"
                | "add_header"
                | "add_trailer"
                | "env"
                | "fastcgi_param"
                | "uwsgi_param"
        ) && args
            .first()
            .is_some_and(|first| tells(&first.value) || first.value.eq_ignore_ascii_case("cookie"));
        // Who may write to a collector says so in a header.
        let exported = name == "header" && head(0) == "otel_exporter";
        let compares = name == "if" && args.iter().any(|word| word.value.contains('$') && tells(&word.value));
        for (number, word) in args.iter().enumerate() {
            let parameter =
                word.value.split_once('=').filter(|_| name != "admin").is_some_and(|(name, _)| tells(name));
            if named || ((pair || exported) && number > 0) || (compares && is_literal(&word.value)) {
                self.hide_all(word);
            } else if let Some(at) = self.raw(word).find('=').filter(|_| parameter && !compares) {
                let end = self.raw(word).len();
                self.hide(word, at + 1, end);
            } else if let Some((start, end)) = userinfo(self.raw(word)) {
                self.hide(word, start, end);
            }
        }
    }

    fn raw(&self, word: &Word) -> &str {
        self.text.get(word.span.start as usize..word.span.end as usize).unwrap_or_default()
    }
}

/// Whether a name, or a comment, speaks of a secret.
fn tells(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|part| name.contains(part)) && !name.contains("server_tokens")
}

/// Whether a value is nothing but variables, with at most the scheme of an authorization before them.
fn hands_on(value: &str) -> bool {
    value.split_whitespace().all(|word| {
        let name = word.strip_prefix('$').unwrap_or_default();
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_{}".contains(&byte));
        is_name || matches!(word, "Bearer" | "Basic" | "Digest")
    })
}

/// Whether a word of a condition is what something is compared with.
fn is_literal(word: &str) -> bool {
    !word.contains('$') && !matches!(word, "=" | "!=" | "~" | "~*" | "!~" | "!~*" | "(" | ")")
}

/// Where `user:password` stands in a URL.
fn userinfo(word: &str) -> Option<(usize, usize)> {
    let start = word.find("://")? + 3;
    let rest = &word[start..];
    let host = &rest[..rest.find('/').unwrap_or(rest.len())];
    let end = host.rfind('@')?;
    host[..end].contains(':').then_some((start, start + end))
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn secrets_are_left_out() {
        for (text, shown) in [
            ("set $api_token \"abc def\";", "set $api_token ***;"),
            ("set $api_token $http_x;", "set $api_token $http_x;"),
            ("proxy_set_header X-Api-Key abc;", "proxy_set_header X-Api-Key ***;"),
            (
                "proxy_set_header Authorization \"Bearer $jwt\";",
                "proxy_set_header Authorization \"Bearer $jwt\";",
            ),
            ("proxy_set_header Cookie a=b;", "proxy_set_header Cookie ***;"),
            ("sticky cookie srv secret=abc path=/;", "sticky cookie srv secret=*** path=/;"),
            ("secure_link_secret abc;", "secure_link_secret ***;"),
            ("ssl_password_file /etc/p;", "ssl_password_file /etc/p;"),
            ("server_tokens off;", "server_tokens off;"),
            ("admin 9191 token=/etc/token;", "admin 9191 token=/etc/token;"),
            ("proxy_pass http://user:pass@host/a;", "proxy_pass http://***@host/a;"),
            (
                "if ($http_authorization = \"Basic abc\") { return 403; }",
                "if ($http_authorization = ***) { return 403; }",
            ),
            (
                "map $http_x_api_key $ok { default 0; abc 1; }",
                "map $http_x_api_key $ok { default 0; *** 1; }",
            ),
            ("map $host $backend_secret { a b; }", "map $host $backend_secret { a ***; }"),
            (
                "otel_exporter { endpoint h:1; header x-key abc; }",
                "otel_exporter { endpoint h:1; header x-key ***; }",
            ),
            ("a; # the password is x\nb;", "a; # ***\nb;"),
            ("content_by_lua_block { local s = \"x\" } b;", "content_by_lua_block { *** } b;"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let text = "\u{feff}http {\n  # a comment; with { signs\n  server { listen 80; location ~ \"^/a{2}\" { root /x; } }\n}\n";
        assert_eq!(redacted(text), text);
        assert_eq!(redacted("a \"open quote"), "a \"open quote");
        assert_eq!(redacted(""), "");
    }
}
