//! Pure: which server a request is for.

use std::collections::HashMap;

use longwire_conf::model::{Server, ServerName};
use longwire_conf::pattern::Pattern;

use super::facts::Captures;

/// A host that no request may name (400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFault;

impl std::fmt::Display for HostFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid host")
    }
}

impl std::error::Error for HostFault {}

/// Checks and normalises a host as nginx does: lower case, without port and trailing dot. Only the characters that
/// RFC 3986 section 3.2.2 gives a host may be in it.
pub fn valid_host(host: &[u8]) -> Result<String, HostFault> {
    let text = std::str::from_utf8(host).map_err(|_| HostFault)?;
    let (name, port) = match text.strip_prefix('[') {
        Some(literal) => text.split_at(literal.find(']').ok_or(HostFault)? + 2),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let special = if literal.is_some() { b':' } else { b'%' };
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    let good = |byte: u8| usual(byte) || byte == special;
    if !literal.unwrap_or(name).bytes().all(good) || name.contains("..") || !is_port(port) {
        return Err(HostFault);
    }
    match name.strip_suffix('.').unwrap_or(name) {
        "" => Err(HostFault),
        name => Ok(name.to_ascii_lowercase()),
    }
}

/// Nothing, or a colon with a number behind it, or none.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty() };
    digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok())
}

/// The servers that share a listening address, by name.
#[derive(Debug, Clone, Default)]
pub struct ServerIndex {
    default: usize,
    exact: HashMap<String, usize>,
    /// `.example.com` for `*.example.com`.
    suffixes: HashMap<String, usize>,
    /// `www.example.` for `www.example.*`.
    prefixes: HashMap<String, usize>,
    regexes: Vec<(Pattern, usize)>,
}

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Index in [`Config::servers`](longwire_conf::model::Config::servers).
    pub server: usize,
    /// What its name captured, if that is a regular expression.
    pub captures: Captures,
}

impl ServerIndex {
    /// Indexes some of the servers: `members` in file order, `default` for names that none has.
    ///
    /// A name that two servers have belongs to the first, as in nginx.
    pub fn new(servers: &[Server], members: &[usize], default: usize) -> ServerIndex {
        let mut index = ServerIndex { default, ..ServerIndex::default() };
        for &member in members {
            for name in servers.get(member).map_or(&[][..], |server| &server.names) {
                index.insert(name, member);
            }
        }
        index
    }

    fn insert(&mut self, name: &ServerName, server: usize) {
        let (table, key) = match name {
            ServerName::Exact(name) => (&mut self.exact, name),
            ServerName::Suffix(suffix) => (&mut self.suffixes, suffix),
            ServerName::Prefix(prefix) => (&mut self.prefixes, prefix),
            ServerName::Regex(regex) => return self.regexes.push((regex.clone(), server)),
        };
        table.entry(key.to_ascii_lowercase()).or_insert(server);
    }

    /// The server for a host from [`valid_host`]; "" stands for a request without any.
    pub fn find(&self, host: &str) -> Found {
        if let Some(server) = self.by_name(host) {
            return Found { server, captures: Captures::default() };
        }
        let mut regexes = self.regexes.iter().filter(|_| !host.is_empty());
        regexes
            .find_map(|(regex, server)| Some(Found { server: *server, captures: Captures::of(regex, host)? }))
            .unwrap_or_else(|| Found { server: self.default, captures: Captures::default() })
    }

    /// Whether a server here has this name.
    pub fn knows(&self, host: &str) -> bool {
        self.by_name(host).is_some() || self.regexes.iter().any(|(regex, _)| regex.is_match(host))
    }

    fn by_name(&self, host: &str) -> Option<usize> {
        let dots = || host.match_indices('.').map(|(at, _)| at);
        let exact = || self.exact.get(host);
        // The first dot leaves the longest suffix, the last dot the longest prefix.
        let suffix = || dots().find_map(|at| self.suffixes.get(&host[at..]));
        let prefix = || dots().rev().find_map(|at| self.prefixes.get(&host[..=at]));
        exact().or_else(suffix).or_else(prefix).copied()
    }
}

/// The host that a request names: of an absolute-form target, else of the `Host` header; "" when there is none.
///
/// The caller refuses an HTTP/1.1 request without `Host`, and one with several.
pub fn requested_host(authority: Option<&str>, header: Option<&[u8]>) -> Result<String, HostFault> {
    // The header has to be valid also where the target counts.
    let of_header = header.map(valid_host).transpose()?;
    let of_target = authority.map(|text| valid_host(text.as_bytes())).transpose()?;
    Ok(of_target.or(of_header).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::server;
    use super::*;

    /// What nginx answered for each `Host`; `None` is 400.
    #[test]
    fn hosts_are_checked_and_normalised() {
        let table = [
            ("WWW.Example.COM", Some("www.example.com")),
            ("www.example.com:80", Some("www.example.com")),
            ("www.example.com.", Some("www.example.com")),
            ("www.example.com.:80", Some("www.example.com")),
            ("[::1]", Some("[::1]")),
            ("[::1]:80", Some("[::1]")),
            ("a:", Some("a")),
            ("a:65535", Some("a")),
            ("a:0080", Some("a")),
            ("a_b", Some("a_b")),
            ("a!$&'()*+,;=~-b", Some("a!$&'()*+,;=~-b")),
            ("a%20b", Some("a%20b")),
            ("[v1.x]", Some("[v1.x]")),
            ("1.2.3.4", Some("1.2.3.4")),
            ("", None),
            (".", None),
            ("..", None),
            (":80", None),
            ("a/b", None),
            ("a b", None),
            ("a\u{7f}", None),
            ("a..b", None),
            ("a.example.com..", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[[::1]", None),
            ("[::1%e]", None),
            ("a:b", None),
            ("a:65536", None),
            ("a:80:80", None),
            ("a@b", None),
            ("a\"b", None),
            ("a<b", None),
            ("a[b", None),
        ];
        for (host, expected) in table {
            assert_eq!(valid_host(host.as_bytes()).ok().as_deref(), expected, "{host}");
        }
        assert_eq!(valid_host(b"\xff"), Err(HostFault));
    }

    #[test]
    fn the_request_line_names_the_host_before_the_header() {
        assert_eq!(requested_host(Some("A:1"), Some(b"b")).as_deref(), Ok("a"));
        assert_eq!(requested_host(None, Some(b"B")).as_deref(), Ok("b"));
        assert_eq!(requested_host(None, None).as_deref(), Ok(""));
        assert_eq!(requested_host(None, Some(b"")), Err(HostFault));
        assert_eq!(requested_host(Some("a"), Some(b"a b")), Err(HostFault));
    }

    const NAMES: [&str; 10] = [
        "default",
        "www.example.com",
        "*.example.com",
        "*.sub.example.com",
        "www.example.*",
        "www.*",
        ".dot.org",
        r"~^(?<sub>[a-z]+)\.re\.(org)$",
        "~re",
        "",
    ];

    fn names(name: &str) -> Vec<ServerName> {
        match name.as_bytes() {
            [b'*', ..] => vec![ServerName::Suffix(name[1..].to_owned())],
            [.., b'*'] => vec![ServerName::Prefix(name[..name.len() - 1].to_owned())],
            [b'.', ..] => vec![ServerName::Suffix(name.to_owned()), ServerName::Exact(name[1..].to_owned())],
            [b'~', ..] => vec![ServerName::Regex(Pattern::new(&name[1..], true).unwrap())],
            _ => vec![ServerName::Exact(name.to_owned())],
        }
    }

    #[test]
    fn names_are_found_as_in_nginx() {
        let servers: Vec<Server> = NAMES.iter().map(|name| server(names(name))).collect();
        let index = ServerIndex::new(&servers, &(0..servers.len()).collect::<Vec<_>>(), 0);
        let table = [
            ("www.example.com", "www.example.com"),
            ("a.example.com", "*.example.com"),
            ("a.b.example.com", "*.example.com"),
            ("a.sub.example.com", "*.sub.example.com"),
            ("sub.example.com", "*.example.com"),
            (".example.com", "*.example.com"),
            ("example.com", "default"),
            ("www.example.org", "www.example.*"),
            ("www.example.a.b", "www.example.*"),
            ("www.example", "www.*"),
            ("www.foo", "www.*"),
            ("www", "default"),
            ("dot.org", ".dot.org"),
            ("x.dot.org", ".dot.org"),
            ("xdot.org", "default"),
            ("abc.re.org", r"~^(?<sub>[a-z]+)\.re\.(org)$"),
            ("abc.re.com", "~re"),
            ("zzz", "default"),
            ("[::1]", "default"),
            ("", ""),
        ];
        for (host, expected) in table {
            assert_eq!(NAMES[index.find(host).server], expected, "{host}");
        }
        let captures = index.find("abc.re.org").captures;
        assert_eq!(captures.named, [("sub".to_owned(), "abc".to_owned())]);
        assert_eq!(captures.numbered[2].as_deref(), Some("org"));
    }

    #[test]
    fn the_first_of_two_servers_keeps_a_name() {
        let servers = [server(names("a")), server(names("a")), server(names("b"))];
        let index = ServerIndex::new(&servers, &[1, 2, 0], 2);
        assert_eq!((index.find("a").server, index.find("b").server, index.find("c").server), (1, 2, 2));
    }
}
