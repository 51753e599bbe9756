//! Addresses as they stand in `listen`, `server` and `proxy_pass`.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use crate::model::Address;

/// Parses `HOST[:PORT]`, `[IPV6][:PORT]` or `unix:PATH`; the port is 0 when none is written.
pub(crate) fn parse(text: &str) -> Result<Address, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("no path in the unix domain socket")
        } else {
            Ok(Address::Unix(PathBuf::from(path)))
        };
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("invalid host")?;
        let host: Ipv6Addr = host.parse().map_err(|_| "invalid IPv6 address")?;
        return Ok(Address::Ip(IpAddr::V6(host), port_after(rest)?));
    }
    let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
    let port = port_after(rest)?;
    if host.is_empty() {
        return Err("no host");
    }
    if host.contains(|c: char| c.is_control() || c.is_whitespace() || "/?#@\\\"'<>{}".contains(c)) {
        return Err("invalid host");
    }
    Ok(match host.parse() {
        Ok(ip) => Address::Ip(ip, port),
        Err(_) => Address::Name(host.to_ascii_lowercase(), port),
    })
}

/// The port in `:PORT`; 0 for nothing at all.
fn port_after(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Ok(0);
    }
    port(text.strip_prefix(':').ok_or("invalid host")?).ok_or("invalid port")
}

/// A port from 1 to 65535.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

/// A URL of `proxy_pass` without its scheme: the address as written, and the URI part if there is one.
pub(crate) fn split_uri(text: &str) -> (&str, Option<&str>) {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.find(':') {
            Some(colon) => (&text[..5 + colon], Some(&path[colon + 1..]).filter(|uri| !uri.is_empty())),
            None => (text, None),
        };
    }
    match text.find(['/', '?', '#']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    }
}
