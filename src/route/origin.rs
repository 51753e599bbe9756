//! Pure: whose pages may open a WebSocket, `websocket_origins`.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use longwire_conf::model::{Origin, OriginPort, Origins};

/// The Origin that a request says and that is not allowed, as it was written.
pub fn foreign(origins: &Origins, headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(ORIGIN).iter();
    let origin = String::from_utf8_lossy(values.next()?.as_bytes()).into_owned();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let is_one = values.next().is_none();
    let lower = origin.to_ascii_lowercase();
    let allowed = is_one && origins.allowed.iter().any(|one| allows(one, &lower, host));
    (!allowed).then_some(origin)
}

fn allows(one: &Origin, origin: &str, asked: &str) -> bool {
    if let Origin::Null = one {
        return origin == "null";
    }
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let usual = if scheme == "https" { 443 } else { 80 };
    let Some((host, port)) = split(rest, usual) else { return false };
    match one {
        Origin::Null => false,
        // Schemes are not compared: TLS may end before this proxy.
        Origin::Same => split(&asked.to_ascii_lowercase(), usual) == Some((host, port)),
        Origin::Site { scheme: wanted, host: mask, port: wanted_port } => {
            let below = |name: &str| {
                host.strip_suffix(name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            };
            wanted.as_ref().is_none_or(|wanted| wanted == scheme)
                && match mask.strip_prefix("*.") {
                    Some(name) => below(name),
                    None => host == mask.as_str(),
                }
                && match wanted_port {
                    OriginPort::Default => port == usual,
                    OriginPort::Any => true,
                    OriginPort::Is(wanted) => port == *wanted,
                }
        }
    }
}

/// Host and port, where no port is the usual one.
fn split(text: &str, usual: u16) -> Option<(String, u16)> {
    let behind_host = text.rfind(']').unwrap_or(0);
    match text.get(behind_host..)?.find(':') {
        None => Some((text.to_owned(), usual)),
        Some(at) => {
            let (host, port) = text.split_at_checked(behind_host + at)?;
            Some((host.to_owned(), port.get(1..)?.parse().ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::headers;
    use super::*;

    fn site(scheme: Option<&str>, host: &str, port: OriginPort) -> Origin {
        Origin::Site { scheme: scheme.map(str::to_owned), host: host.to_owned(), port }
    }

    fn passes(one: Origin, origin: &str) -> bool {
        let origins = Origins { allowed: vec![one], at: "here".into() };
        foreign(&origins, &headers(&[("host", "App.example.com:8443"), ("origin", origin)])).is_none()
    }

    #[test]
    fn origins_are_compared_as_a_whole() {
        let https = || site(Some("https"), "example.com", OriginPort::Default);
        for good in ["https://example.com", "https://example.com:443", "HTTPS://EXAMPLE.com"] {
            assert!(passes(https(), good), "{good}");
        }
        for bad in [
            "http://example.com",
            "https://example.com:8443",
            "https://evil-example.com",
            "https://example.com.evil.org",
            "https://a.example.com",
            "https://evil.org/https://example.com",
            "example.com",
            "null",
            "",
        ] {
            assert!(!passes(https(), bad), "{bad}");
        }
    }

    #[test]
    fn masks_stand_for_names_below() {
        let mask = || site(None, "*.example.com", OriginPort::Default);
        for (origin, good) in [
            ("https://a.example.com", true),
            ("http://b.a.example.com", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("https://evilexample.com", false),
            ("https://a.example.com:81", false),
        ] {
            assert_eq!(passes(mask(), origin), good, "{origin}");
        }
        assert!(passes(site(None, "localhost", OriginPort::Any), "http://localhost:5173"));
        assert!(passes(site(None, "[::1]", OriginPort::Is(81)), "http://[::1]:81"));
        assert!(!passes(site(None, "[::1]", OriginPort::Default), "http://[::1]:81"));
        assert!(passes(Origin::Null, "null") && !passes(Origin::Null, "http://null"));
    }

    #[test]
    fn the_same_origin_has_the_same_host_and_port() {
        for (origin, good) in [
            ("https://app.example.com:8443", true),
            ("http://app.example.com:8443", true),
            ("https://app.example.com", false),
            ("https://example.com:8443", false),
        ] {
            assert_eq!(passes(Origin::Same, origin), good, "{origin}");
        }
        let origins = Origins { allowed: vec![Origin::Same], at: "here".into() };
        let asked = |list: &[(&str, &str)]| foreign(&origins, &headers(list));
        assert_eq!(asked(&[("host", "a.org"), ("origin", "https://a.org")]), None);
        assert_eq!(asked(&[("host", "a.org")]), None);
        let two = [("host", "a.org"), ("origin", "https://a.org"), ("origin", "https://a.org")];
        assert_eq!(asked(&two).as_deref(), Some("https://a.org"));
    }
}
