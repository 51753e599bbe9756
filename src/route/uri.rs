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
    /// Reads the target of a request line, as [`text`].
    pub fn parse(target: &str, merge_slashes: bool) -> Result<Target, UriFault> {
        if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(UriFault::Control);
        }
        let (host, rest) = split_absolute(target)?;
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, tail) = rest.split_at(end);
        let path = if path.is_empty() { "/" } else { path };
        let args = tail.strip_prefix('?').map_or("", |args| args.split('#').next().unwrap_or(""));
        let path = text(Normaliser::new(merge_slashes).run(&bytes(path))?);
        Ok(Target { path, args: args.to_owned(), host: host.map(str::to_owned) })
    }
}

/// A target as nginx's `$request_uri` has it: of an absolute-form one what follows the authority.
pub fn unparsed(target: &str) -> &str {
    match split_absolute(target) {
        Ok((Some(_), "")) => "/",
        Ok((_, path)) => path,
        Err(_) => target,
    }
}

/// A target as it goes on to a backend: without authority, and without what no request line has, a fragment.
pub fn origin_form(target: &str) -> String {
    let path = unparsed(target).split('#').next().unwrap_or("");
    if path.starts_with(['/', '*']) { path.to_owned() } else { format!("/{path}") }
}

/// Separates the authority of an absolute-form target from its path.
fn split_absolute(target: &str) -> Result<(Option<&str>, &str), UriFault> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(UriFault::Form)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !letters || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !is_authority(authority)
    {
        return Err(UriFault::Form);
    }
    Ok((Some(authority), path))
}

/// nginx takes a host of letters, digits, dots and dashes, or an address in brackets, and a number as port.
fn is_authority(authority: &str) -> bool {
    let end = match authority.starts_with('[') {
        true => authority.find(']').map_or(0, |at| at + 1),
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte);
    let port_valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|d| d.is_ascii_digit()));
    !host.is_empty() && host.bytes().all(in_host) && port_valid
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
/// last private plane, so that nothing is lost and [`bytes()`] gives back exactly what came.
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

/// Escapes a piece of a path so that it can stand among arguments.
pub fn escape_args(piece: &[u8]) -> String {
    escape(piece, |byte| byte <= b' ' || byte >= 0x7f || b"#%&+;?".contains(&byte))
}

/// Undoes escapes that a URL does not need, up to its arguments, as nginx does with the URL of a redirect.
pub fn unescape_redirect(url: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(url.len());
    let mut rest = url;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, rest) {
            (b'?', _) => {
                plain.push(b'?');
                break;
            }
            (b'%', [high, low, tail @ ..]) => {
                if let (Ok(high), Ok(low)) = (hex(*high), hex(*low)) {
                    rest = tail;
                    match high << 4 | low {
                        b'?' => {
                            plain.push(b'?');
                            break;
                        }
                        byte @ b'&'..=b'~' => plain.push(byte),
                        _ => {
                            plain.extend_from_slice(&url[url.len() - tail.len() - 3..url.len() - tail.len()])
                        }
                    }
                } else {
                    plain.push(b'%');
                }
            }
            (byte, _) => plain.push(*byte),
        }
    }
    plain.extend_from_slice(rest);
    plain
}

/// Escapes only what hyper's request line cannot carry, and leaves what is already escaped alone: for URIs that go on
/// as they are. A URI is a [`text`].
pub fn escape_raw(uri: &str) -> String {
    let mut escaped = String::with_capacity(uri.len());
    let mut in_args = false;
    for char in uri.chars() {
        in_args |= char == '?';
        let bad = match char {
            '"' => in_args,
            '`' => !in_args,
            '#' | '<' | '>' => true,
            char => char <= ' ' || char == '\u{7f}' || u32::from(char) >= STRAY,
        };
        match bad {
            true => escaped.push_str(&escape(&bytes(char.encode_utf8(&mut [0; 4])), |_| true)),
            false => escaped.push(char),
        }
    }
    escaped
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Result<String, UriFault> {
        Target::parse(target, true).map(|target| target.path)
    }

    #[test]
    fn paths_are_normalised_as_nginx_does() {
        let table = [
            ("/", "/"),
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("///", "/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/.", "/a/"),
            ("/./", "/"),
            ("/././a", "/a"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e", "/a/"),
            ("/a%2e/b", "/a./b"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f%2e%2e%2fb", "/b"),
            ("/a%20b", "/a b"),
            ("/a%25b", "/a%b"),
            ("/a%3Fb?c", "/a?b"),
            ("/a%23b", "/a#b"),
            ("/a%0ab", "/a\nb"),
            ("/a...", "/a..."),
            ("/.../b", "/.../b"),
            ("/.a", "/.a"),
            ("/..a", "/..a"),
            ("/a/..b", "/a/..b"),
            ("/a+b%2B", "/a+b+"),
            ("/a;b=c", "/a;b=c"),
            ("/%C3%A9", "/é"),
            ("/a\"<>\\^`{|}b", "/a\"<>\\^`{|}b"),
            ("http://Host.test:80/x/../y?z", "/y"),
            ("http://host.test", "/"),
            ("http://host.test?q", "/"),
            ("ftp://host.test/x", "/x"),
            ("http://[::1]/x", "/x"),
        ];
        for (target, expected) in table {
            assert_eq!(path(target).as_deref(), Ok(expected), "{target}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        let table = [
            ("/..", UriFault::Root),
            ("/../a", UriFault::Root),
            ("/a/../..", UriFault::Root),
            ("/a/../../b", UriFault::Root),
            ("/%2e%2e/a", UriFault::Root),
            ("/a%2", UriFault::Escape),
            ("/a%", UriFault::Escape),
            ("/a%zz", UriFault::Escape),
            ("/a%00", UriFault::Control),
            ("/a\u{7f}b", UriFault::Control),
            ("/a b", UriFault::Control),
            ("*", UriFault::Form),
            ("x", UriFault::Form),
            ("", UriFault::Form),
            ("x:/y", UriFault::Form),
            ("http:///x", UriFault::Form),
            ("http://host#f", UriFault::Form),
            ("http://host:abc/", UriFault::Form),
            ("http://ho_st/", UriFault::Form),
            ("http://user@host/", UriFault::Form),
            ("1http://host/", UriFault::Form),
        ];
        for (target, expected) in table {
            assert_eq!(path(target), Err(expected), "{target}");
        }
    }

    #[test]
    fn slashes_stay_when_they_are_not_merged() {
        let table = [("/a//b", "/a//b"), ("/a//../b", "/a/b"), ("//", "//"), ("/a//..", "/a/")];
        for (target, expected) in table {
            assert_eq!(Target::parse(target, false).unwrap().path, expected, "{target}");
        }
    }

    #[test]
    fn arguments_end_at_a_fragment() {
        let table =
            [("/a", ""), ("/a?", ""), ("/a?b?c", "b?c"), ("/a?b#f", "b"), ("/a#f?b", ""), ("/?%20", "%20")];
        for (target, expected) in table {
            assert_eq!(Target::parse(target, true).unwrap().args, expected, "{target}");
        }
        assert_eq!(Target::parse("http://h:1/", true).unwrap().host.as_deref(), Some("h:1"));
    }

    #[test]
    fn any_bytes_survive_as_text() {
        for target in ["/%ff", "/%C3%A9%c3", "/%F4%8F%BF%BFx", "/%F4%8F%BE%80", "/%80%FF"] {
            let path = path(target).unwrap();
            let mut lower = escape_uri(&bytes(&path));
            lower.make_ascii_lowercase();
            assert_eq!(lower, target.to_lowercase());
        }
    }

    /// Whatever is sent: a path is absolute, has no dot segments, and escaped it stands for itself.
    #[test]
    fn normal_paths_are_fixed_points() {
        let pieces = [
            "/", "/", ".", "..", "%2e", "%2F", "%", "%25", "%ff", "%C3%A9", "é", "a", "?", "#", "http://h",
            "%0a",
        ];
        for seed in 0..20_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let target: String = (0..random.usize(..12)).map(|_| *random.choice(&pieces).unwrap()).collect();
            let Ok(path) = path(&target) else { continue };
            let segments_valid = path.split('/').skip(1).all(|segment| segment != "." && segment != "..");
            assert!(
                path.starts_with('/') && segments_valid && !path.contains("//"),
                "seed {seed}: {target} {path}"
            );
            assert_eq!(super::text(bytes(&path).into_owned()), path, "seed {seed}");
            assert_eq!(
                Target::parse(&escape_uri(&bytes(&path)), true).map(|again| again.path),
                Ok(path),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn escaping_is_nginx_s() {
        assert_eq!(
            escape_uri(b"/a b\"#%<>?\\^`{|}\x7f\xe9~'()"),
            "/a%20b%22%23%25%3C%3E%3F%5C%5E%60%7B%7C%7D%7F%E9~'()"
        );
        assert_eq!(escape_raw("/a b\"`é?c=%20{\"`<"), "/a%20b\"%60é?c=%20{%22`%3C");
        assert_eq!(escape_raw(&text(b"/\xff".to_vec())), "/%FF");
        assert_eq!(escape_args(b"a b#%&+;?/=\xff"), "a%20b%23%25%26%2B%3B%3F/=%FF");
        let table = [
            ("/a%20b%26c%41", "/a%20b&cA"),
            ("/%3Fa%41?%41", "/?a%41?%41"),
            ("/a%zz%4", "/a%zz%4"),
            ("/%25%d0", "/%25%d0"),
            ("/x?%41", "/x?%41"),
        ];
        for (url, expected) in table {
            assert_eq!(String::from_utf8(unescape_redirect(url.as_bytes())).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn the_origin_form_has_no_authority() {
        let table = [
            ("/a?b", "/a?b", "/a?b"),
            ("/a?b#c?d", "/a?b#c?d", "/a?b"),
            ("http://h/a?b", "/a?b", "/a?b"),
            ("http://h", "/", "/"),
            ("http://h?b", "?b", "/?b"),
            ("*", "*", "*"),
        ];
        for (target, as_sent, to_backend) in table {
            assert_eq!((unparsed(target), origin_form(target).as_str()), (as_sent, to_backend));
        }
    }
}
