//! Pure: the URL of a WebSocket.

use std::fmt;

use serde::Serialize;

/// Where a URL leads.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// By TLS (`wss`).
    pub secure: bool,
    /// The host, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Target {
    /// Reads `ws`, `wss`, `http` or `https` URLs; `http` stands for `ws`, `https` for `wss`.
    pub fn parse(url: &str) -> Result<Target, String> {
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("it has a space or a line break in it".into());
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            format!("it has no scheme: a browser needs ws:// or wss:// in front, such as wss://{url}")
        })?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            other => return Err(format!("\"{other}\" is no scheme of WebSockets: write ws:// or wss://")),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.contains('@') {
            return Err(
                "it has a user or a password in it, which browsers refuse: use --header instead".into()
            );
        }
        if path.contains('#') {
            return Err("it has a fragment (#), which browsers refuse in the URL of a WebSocket".into());
        }
        let (host, port) = split_port(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Target { secure, host, port, path })
    }

    /// The host as it stands in a URL.
    pub fn url_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Host and, unless it is the scheme's own, port: the `Host` header.
    pub fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.url_host() } else { format!("{}:{}", self.url_host(), self.port) }
    }

    /// The origin of a page of the same site.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }

    /// Without the query.
    pub fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Where a `Location` leads from here, as the URL of a WebSocket.
    pub fn join(&self, location: &str) -> Result<Target, String> {
        if location.contains("://") {
            return Target::parse(location.split('#').next().unwrap_or_default());
        }
        let location = location.split('#').next().unwrap_or_default();
        if let Some(rest) = location.strip_prefix("//") {
            return Target::parse(&format!("{}://{rest}", if self.secure { "wss" } else { "ws" }));
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let folder = self.bare_path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        Ok(Target { path, ..self.clone() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "wss" } else { "ws" }, self.authority(), self.path)
    }
}

/// Host and port of an authority.
pub fn split_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let port = |text: &str| match text {
        "" => Ok(None),
        text => text
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .map(Some)
            .ok_or_else(|| format!("\"{text}\" is no port: it must be a number from 1 to 65535")),
    };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket of its IPv6 address is not closed")?;
        let text = match rest.strip_prefix(':') {
            Some(text) => text,
            None if rest.is_empty() => "",
            None => return Err(format!("\"{rest}\" behind the address is no port")),
        };
        return Ok((host.to_owned(), port(text)?));
    }
    let (host, text) = authority.split_once(':').unwrap_or((authority, ""));
    if host.is_empty() {
        return Err("it names no host".into());
    }
    if text.contains(':') {
        return Err("an IPv6 address needs brackets in a URL: ws://[::1]:8080/".into());
    }
    Ok((host.to_owned(), port(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_browsers_read_them() {
        for (url, shown) in [
            ("ws://a", "ws://a/"),
            ("wss://a:443/x?y=1", "wss://a/x?y=1"),
            ("https://a:8443", "wss://a:8443/"),
            ("http://[::1]:8080?x", "ws://[::1]:8080/?x"),
        ] {
            assert_eq!(Target::parse(url).unwrap().to_string(), shown, "{url}");
        }
        for url in [
            "a:80",
            "ftp://a",
            "ws://",
            "ws://a:0",
            "ws://a:x",
            "ws://a#b",
            "ws://u@a/",
            "ws://a b",
            "ws://::1/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_location_leads_on_from_where_it_was_said() {
        let from = Target::parse("ws://a:81/x/y?z").unwrap();
        for (location, to) in [
            ("/b", "ws://a:81/b"),
            ("y/", "ws://a:81/x/y/"),
            ("https://c/d", "wss://c/d"),
            ("//e/f", "ws://e/f"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), to, "{location}");
        }
    }
}
