//! Pure: the request target, normalised as nginx does it, and the way back to a request line.

use std::borrow::Cow;
use std::fmt;

/// A request target that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The path: decoded, without dot segments, as [`text`].
    pub path: String,
    /// What follows the first `?`, as sent.
    pub args: String,
    /// Authority of an absolute-form target (`http://host:port/`), as sent.
    pub host: Option<String>,
}

/// Why a request target is refused (400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriFault {
    /// Neither a path nor a URL with a host.
    Form,
    /// `%` without two hex digits behind it.
    Escape,
    /// `%00`, or a control character as it is.
    Control,
    /// `..` beyond the root.
    Root,
}

impl fmt::Display for UriFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriFault::Form => "neither a path nor a URL with a host",
            UriFault::Escape => "a percent sign without two hex digits",
            UriFault::Control => "a control character",
            UriFault::Root => "a path that leaves the root",
        })
    }
}

impl std::error::Error for UriFault {}

impl Target {
    /// Reads the target of a request line.
    pub fn parse(target: &str, merge_slashes: bool) -> Result<Target, UriFault> {
        if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(UriFault::Control);
        }
        let (host, rest) = split_absolute(target)?;
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, tail) = rest.split_at(end);
        let path = if path.is_empty() { "/" } else { path };
        let args = tail.strip_prefix('?').map_or("", |args| args.split('#').next().unwrap_or(""));
        let path = text(Normaliser::new(merge_slashes).run(path.as_bytes())?);
        Ok(Target { path, args: args.to_owned(), host: host.map(str::to_owned) })
    }
}

/// Separates the authority of an absolute-form target from its path.
fn split_absolute(target: &str) -> Result<(Option<&str>, &str), UriFault> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(UriFault::Form)?;
    let valid = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if !valid || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || host.is_empty() {
        return Err(UriFault::Form);
    }
    Ok((Some(host), path))
}

/// What the last characters written mean. A decoded character counts as if it had been sent bare.
enum State {
    Usual,
    Slash,
    Dot,
    DotDot,
}

/// Decodes and normalises a path, one byte after the other.
struct Normaliser {
    merge_slashes: bool,
    state: State,
    path: Vec<u8>,
}

impl Normaliser {
    fn new(merge_slashes: bool) -> Normaliser {
        Normaliser { merge_slashes, state: State::Usual, path: Vec::new() }
    }

    fn run(mut self, raw: &[u8]) -> Result<Vec<u8>, UriFault> {
        self.path.reserve(raw.len());
        let mut rest = raw;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            if *byte != b'%' {
                self.push(*byte)?;
                continue;
            }
            let [high, low, tail @ ..] = rest else { return Err(UriFault::Escape) };
            rest = tail;
            match hex(*high)? << 4 | hex(*low)? {
                0 => return Err(UriFault::Control),
                byte => self.push(byte)?,
            }
        }
        match self.state {
            State::Dot => self.path.truncate(self.path.len().saturating_sub(1)),
            State::DotDot => self.leave_segment()?,
            State::Usual | State::Slash => {}
        }
        Ok(self.path)
    }

    fn push(&mut self, byte: u8) -> Result<(), UriFault> {
        self.state = match (&self.state, byte) {
            (State::Slash, b'/') if self.merge_slashes => return Ok(()),
            (State::Dot, b'/') => {
                self.path.pop();
                self.state = State::Slash;
                return Ok(());
            }
            (State::DotDot, b'/') => {
                self.leave_segment()?;
                self.state = State::Slash;
                return Ok(());
            }
            (_, b'/') => State::Slash,
            (State::Slash, b'.') => State::Dot,
            (State::Dot, b'.') => State::DotDot,
            _ => State::Usual,
        };
        self.path.push(byte);
        Ok(())
    }

    /// Takes back `/..` and the segment before it; the path then ends with a slash.
    fn leave_segment(&mut self) -> Result<(), UriFault> {
        self.path.truncate(self.path.len().saturating_sub(3));
        let slash = self.path.iter().rposition(|byte| *byte == b'/').ok_or(UriFault::Root)?;
        self.path.truncate(slash + 1);
        Ok(())
    }
}

fn hex(digit: u8) -> Result<u8, UriFault> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(UriFault::Escape)
}

/// First of the characters that stand for bytes 0x80 to 0xFF which are not UTF-8.
const STRAY: u32 = 0x10_FF80;

/// Bytes as text that routing can match: bytes that are not UTF-8 become the last 128 characters of Unicode's
/// last private plane, so that nothing is lost and [`bytes`] gives back exactly what came.
pub fn text(raw: Vec<u8>) -> String {
    if raw.is_ascii() {
        return String::from_utf8_lossy(&raw).into_owned();
    }
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for char in chunk.valid().chars() {
            match u32::from(char) >= STRAY {
                true => text.extend(char.encode_utf8(&mut [0; 4]).bytes().map(stray)),
                false => text.push(char),
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stray));
    }
    text
}

fn stray(byte: u8) -> char {
    char::from_u32(STRAY - 0x80 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The bytes that a [`text`] stands for.
pub fn bytes(text: &str) -> Cow<'_, [u8]> {
    // All stand-ins begin with this byte.
    if !text.as_bytes().contains(&0xf4) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut raw = Vec::with_capacity(text.len());
    for char in text.chars() {
        match u32::from(char).checked_sub(STRAY) {
            Some(offset) => raw.push(0x80 | offset as u8),
            None => raw.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(raw)
}

/// Escapes a normalised path for a request line or a `Location`: nginx's set of characters.
pub fn escape_uri(path: &[u8]) -> String {
    escape(path, |byte| byte <= b' ' || byte >= 0x7f || b"\"#%<>?\\^`{|}".contains(&byte))
}

/// Escapes only what no request line can carry, and leaves what is already escaped alone: for URIs that a
/// configuration has put together.
pub fn escape_raw(uri: &[u8]) -> String {
    escape(uri, |byte| byte <= b' ' || byte >= 0x7f || b"#<>".contains(&byte))
}

fn escape(raw: &[u8], special: impl Fn(u8) -> bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(raw.len());
    for &byte in raw {
        if special(byte) {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        } else {
            text.push(char::from(byte));
        }
    }
    text
}
