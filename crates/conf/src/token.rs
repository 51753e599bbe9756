//! Words, semicolons and braces: nginx's lexical rules, byte for byte.
//!
//! A quote means something only at the beginning of a word, and so does `#`. After a closing quote a space, `;`, `{`
//! or `)` must follow. `{` inside a word ends it, except straight after `$`; `}` inside a word is part of it.

use crate::build::QUOTE_HELP;
use crate::diagnostic::{Diagnostic, MAX_FINDINGS};
use crate::source::Span;

/// A word: the name of a directive or one of its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its value, without quotes and escapes.
    pub(crate) value: String,
    /// Where it stands, quotes included.
    pub(crate) span: Span,
    /// Whether it was quoted.
    pub(crate) quoted: bool,
}

/// What the text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A word.
    Word(Word),
    /// `;`.
    Semicolon(Span),
    /// `{`.
    Open(Span),
    /// `}`.
    Close(Span),
}

/// Length of a string of Lua with its quotes; it ends with its line at the latest.
fn lua_string(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => return at,
            byte if *byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Length of a long string of Lua, from `[==[` to `]==]`, if one begins here.
fn lua_bracket(text: &[u8]) -> Option<usize> {
    let level = text.strip_prefix(b"[")?.iter().take_while(|byte| **byte == b'=').count();
    text.get(level + 1).filter(|byte| **byte == b'[')?;
    let close = [b"]".as_slice(), &b"=".repeat(level), b"]"].concat();
    let found = text.windows(close.len()).position(|window| window == close);
    Some(found.map_or(text.len(), |at| at + close.len()))
}

/// Splits a text into tokens; what is wrong is reported, and reading goes on behind it.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    file: u32,
    at: usize,
    /// Mistakes found so far.
    pub(crate) mistakes: Vec<Diagnostic>,
    /// A quote ran to the end of the text.
    pub(crate) quote_open: bool,
}

impl<'a> Tokens<'a> {
    /// Tokens of `text`, which is file number `file`.
    pub(crate) fn new(text: &'a str, file: u32) -> Tokens<'a> {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Tokens { text, file, at, mistakes: Vec::new(), quote_open: false }
    }

    /// Goes behind the `}` that closes the block just opened, whatever stands in it.
    pub(crate) fn skip_block(&mut self) {
        let mut depth = 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.at -= 1;
                return;
            }
        }
    }

    /// The same of a block of Lua, where braces in strings and comments count for nothing.
    pub(crate) fn skip_lua(&mut self) {
        let mut depth = 1;
        while let Some(byte) = self.peek() {
            let rest = &self.text.as_bytes()[self.at..];
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
            self.at += match byte {
                b'"' | b'\'' => lua_string(rest, byte),
                b'-' if rest.starts_with(b"--") => {
                    let line = || rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    lua_bracket(&rest[2..]).map_or_else(line, |length| length + 2)
                }
                b'[' => lua_bracket(rest).unwrap_or(1),
                _ => 1,
            };
        }
    }

    /// The end of the text.
    pub(crate) fn end(&self) -> Span {
        self.span(self.text.len(), self.text.len())
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: start as u32, end: end as u32 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space_and_comments(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'#' => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                _ => return,
            }
        }
    }

    fn quoted(&mut self, quote: u8) -> Word {
        let start = self.at;
        self.at += 1;
        let mut closed = false;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\\' && self.at < self.text.len() {
                self.at += 1;
            } else if byte == quote {
                closed = true;
                break;
            }
        }
        let inside = if closed { self.at - 1 } else { self.at };
        let word = Word {
            value: unescape(&self.text.as_bytes()[start + 1..inside]),
            span: self.span(start, self.at),
            quoted: true,
        };
        if !closed {
            self.unclosed(start, quote);
        } else if let Some(shorter) = self.after_quote(start) {
            return shorter;
        }
        word
    }

    /// A closing quote ends a word; a letter straight behind it is a mistake. If it is because the quote ran on into
    /// other lines, gives what was probably meant, and reading goes on behind that.
    fn after_quote(&mut self, start: usize) -> Option<Word> {
        let next = self.text[self.at..].chars().next()?;
        // A "}" is a mistake too, but of the directive: its ";" is missing.
        if matches!(next, ' ' | '\t' | '\r' | '\n' | ';' | '{' | ')' | '}') {
            return None;
        }
        if let Some(line) =
            self.text[start..self.at].lines().next().filter(|_| self.text[start..self.at].contains('\n'))
        {
            return Some(self.ran_on(start, line, next));
        }
        let span = self.span(self.at, self.at + next.len_utf8());
        // What follows belongs to nothing; were it a word, it would only look like one argument too many.
        self.bare();
        self.mistakes.push(
            Diagnostic::error(span, format!("unexpected \"{}\"", next.escape_debug()))
                .label("straight after a closing quote")
                .help("after a closing quote comes a space, \";\" or \"{\"; to have a quote inside a value, put a backslash before it"),
        );
        None
    }

    /// A quote that was closed in a later line, by one that was to open.
    fn ran_on(&mut self, start: usize, line: &str, next: char) -> Word {
        let value = line.trim_end_matches([' ', '\t', '\r', ';', '}']);
        // More findings than anybody reads are not worth the counting of lines.
        if self.mistakes.len() <= MAX_FINDINGS {
            let first = self.text[..start].matches('\n').count() + 1;
            let last = first + self.text[start..self.at].matches('\n').count();
            self.mistakes.push(
                Diagnostic::error(
                    self.span(start, start + value.len().max(1)),
                    format!("the quote that opens in line {first} runs on to line {last}"),
                )
                .label("opened here")
                .help(format!(
                    "in line {last} \"{}\" follows straight after the closing quote",
                    next.escape_debug()
                ))
                .help(QUOTE_HELP),
            );
        }
        if line[value.len()..].contains(';') {
            self.at = start + value.len();
        } else {
            // Several lines are meant, as it seems, and what follows belongs to nothing.
            self.bare();
        }
        let inside = self.text.as_bytes().get(start + 1..self.at).unwrap_or_default();
        Word { value: unescape(inside), span: self.span(start, self.at), quoted: true }
    }

    fn unclosed(&mut self, start: usize, quote: u8) {
        self.quote_open = true;
        let line = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        self.mistakes.push(
            Diagnostic::error(
                self.span(start, line.max(start + 1)),
                format!("unexpected end of file, expecting {} to close the quote", char::from(quote)),
            )
            .label("the quote opened here is never closed"),
        );
    }

    fn bare(&mut self) -> Word {
        let start = self.at;
        let mut after_dollar = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' if self.at + 1 < self.text.len() => self.at += 1,
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                b'{' if !after_dollar => break,
                _ => {}
            }
            after_dollar = byte == b'$' || (after_dollar && byte == b'{');
            self.at += 1;
        }
        Word {
            value: unescape(&self.text.as_bytes()[start..self.at]),
            span: self.span(start, self.at),
            quoted: false,
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_space_and_comments();
        let byte = self.peek()?;
        let mark = self.span(self.at, self.at + 1);
        let token = match byte {
            b';' => Token::Semicolon(mark),
            b'{' => Token::Open(mark),
            b'}' => Token::Close(mark),
            b'"' | b'\'' => return Some(Token::Word(self.quoted(byte))),
            _ => return Some(Token::Word(self.bare())),
        };
        self.at += 1;
        Some(token)
    }
}

/// `\"`, `\'`, `\\`, `\t`, `\r` and `\n` are replaced; any other backslash stays.
fn unescape(bytes: &[u8]) -> String {
    let mut value = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        let escaped = match (byte, tail.first()) {
            (b'\\', Some(b'"')) => Some(b'"'),
            (b'\\', Some(b'\'')) => Some(b'\''),
            (b'\\', Some(b'\\')) => Some(b'\\'),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        value.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &tail[1..] } else { tail };
    }
    // Words are cut at ASCII bytes, so they stay UTF-8.
    String::from_utf8_lossy(&value).into_owned()
}
