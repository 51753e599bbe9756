//! `server`, `listen` and `server_name`.

use std::net::{IpAddr, Ipv4Addr};

use super::{ANY, Context, Entry, HTTP, HTTP_SERVER, SERVER, add, block, set};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::Level;
use crate::model::{Address, Listen, ServerName, Spanned};
use crate::pattern;
use crate::token::Word;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    block(
        "server",
        HTTP,
        (0, 0),
        "",
        "A virtual server: found by the address of a connection, then by the name that is asked for.",
        |b, d| {
            let server = b.inside(Context::Server, d, Level::default());
            b.level.children.push(server);
        },
    ),
    add(
        "listen",
        SERVER,
        (1, ANY),
        "ADDRESS[:PORT] | PORT | unix:PATH [ssl] [default_server] [reuseport] [backlog=N] [ipv6only=on|off] [so_keepalive=...] [proxy_protocol] [http2]",
        "*:80",
        "Where connections are accepted. `http2`, the old way to write `http2 on`, holds for every server of the address. `quic` is accepted, but HTTP/3 is not served; clients use TCP instead. With `ssl` but no certificate a self-signed one is made. With `proxy_protocol` each connection has to begin with a header of the PROXY protocol, version 1 or 2, that tells who the client is (`$proxy_protocol_addr`).",
        listen,
    ),
    add(
        "server_name",
        SERVER,
        (1, ANY),
        "NAME...",
        "\"\"",
        "Names of the server: exact, `*.example.com`, `www.example.*`, or a regular expression behind `~`.",
        server_name,
    ),
    set(
        "http2",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "off",
        "Whether clients may use HTTP/2 beside HTTP/1.1: over TLS where both agree on it (ALPN), without TLS where the connection begins with HTTP/2. A WebSocket comes over a connection of HTTP/1.1 of its own, which browsers open by themselves; WebSockets within HTTP/2 (RFC 8441) are not there yet. Header fields may have `large_client_header_buffers` bytes in all, counted as HPACK counts them; a request with more gets 431.",
        |b, d| b.level.head.http2 = b.flag(d),
    ),
    set(
        "http2_max_concurrent_streams",
        HTTP_SERVER,
        (1, 1),
        "NUMBER",
        "128",
        "Requests that a connection of HTTP/2 may have in work at once. That of the default server counts, as streams begin before a server is known.",
        |b, d| {
            b.level.head.http2_max_concurrent_streams =
                b.number(d).map(|number| number.try_into().unwrap_or(u32::MAX));
        },
    ),
];

fn listen(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let address = match listen_address(&word.value) {
        Ok(address) => address,
        Err(problem) => {
            let message = format!("{problem} in \"{}\" of the \"listen\" directive", word.value);
            let help = "write a port, \"address:port\", \"[ipv6]:port\" or \"unix:/path\"";
            return b.report(Diagnostic::error(word.span, message).help(help));
        }
    };
    let mut listen = Listen {
        address,
        ssl: false,
        http2: false,
        default_server: false,
        reuseport: false,
        backlog: None,
        ipv6only: true,
        so_keepalive: false,
        proxy_protocol: false,
    };
    for word in &d.args[1..] {
        if word.value == "quic" {
            return b.without_effect(
                "listen ... quic",
                d.span,
                "HTTP/3 is not served, clients use TCP instead",
            );
        }
        if !parameter(b, &mut listen, word) {
            return;
        }
    }
    if let Some(first) = b.level.listens.iter().find(|other| other.value.address == listen.address) {
        let at = first.span;
        let message = format!("a duplicate listen {}", word.value);
        let label = if at == d.span { "stands here twice" } else { "this server listens there already" };
        return b.report(Diagnostic::error(d.span, message).label(label));
    }
    b.level.listens.push(Spanned { value: listen, span: d.span });
}

/// An address to listen on; the port is 80 when none is written. A port 0 behind an IP address asks the system for
/// a free one, which nginx does not know.
fn listen_address(text: &str) -> Result<Address, &'static str> {
    const EVERY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Some(host) = text.strip_suffix(":0")
        && let Ok(Address::Ip(ip, 0)) = address::parse(host)
    {
        return Ok(Address::Ip(ip, 0));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Address::Ip(EVERY, address::port(text).ok_or("invalid port")?));
    }
    let written = if let Some(port) = text.strip_prefix("*:") {
        Address::Ip(EVERY, address::port(port).ok_or("invalid port")?)
    } else if text == "*" {
        Address::Ip(EVERY, 0)
    } else {
        address::parse(text)?
    };
    Ok(match written {
        Address::Ip(ip, 0) => Address::Ip(ip, 80),
        Address::Name(name, 0) => Address::Name(name, 80),
        other => other,
    })
}

/// Reads one parameter; `false` when it was reported.
fn parameter(b: &mut Builder<'_>, listen: &mut Listen, word: &Word) -> bool {
    let (name, value) =
        word.value.split_once('=').map_or((word.value.as_str(), None), |(name, value)| (name, Some(value)));
    let flag = |value| match value {
        Some("on") => Some(true),
        Some("off") => Some(false),
        _ => None,
    };
    let done = match (name, value) {
        ("default_server" | "default", None) => turn_on(&mut listen.default_server),
        ("ssl", None) => turn_on(&mut listen.ssl),
        ("reuseport", None) => turn_on(&mut listen.reuseport),
        ("bind" | "deferred", None) => Some(()),
        ("rcvbuf" | "sndbuf" | "fastopen" | "accept_filter" | "setfib" | "type", Some(_)) => Some(()),
        ("backlog", Some(number)) => {
            number.parse().ok().filter(|&number| number > 0).map(|number| listen.backlog = Some(number))
        }
        ("ipv6only", value) => flag(value).map(|on| listen.ipv6only = on),
        ("so_keepalive", Some("off")) => Some(()),
        ("so_keepalive", Some(_)) => turn_on(&mut listen.so_keepalive),
        ("http2", None) => turn_on(&mut listen.http2),
        ("proxy_protocol", None) => turn_on(&mut listen.proxy_protocol),
        _ => None,
    };
    if done.is_none() {
        let message = format!("invalid parameter \"{}\"", word.value);
        let help = "parameters are ssl, default_server, reuseport, backlog=N, ipv6only=on|off, so_keepalive=on|off, proxy_protocol and http2";
        b.report(Diagnostic::error(word.span, message).help(help));
    }
    done.is_some()
}

/// Sets a flag, in the form that parameters are read in.
pub(super) fn turn_on(flag: &mut bool) -> Option<()> {
    *flag = true;
    Some(())
}

fn server_name(b: &mut Builder<'_>, d: &Directive) {
    for word in &d.args {
        match names(word) {
            Ok(names) => {
                let spanned = names.into_iter().map(|value| Spanned { value, span: word.span });
                b.level.names.extend(spanned);
            }
            Err(mistake) => b.report(mistake),
        }
        if word.value.contains('/') && !word.value.starts_with('~') {
            let message = format!("server name \"{}\" has suspicious symbols", word.value);
            b.report(
                Diagnostic::warning(word.span, message)
                    .help("a server name is a host alone, without scheme and path"),
            );
        }
    }
}

/// What a word of `server_name` stands for. `.example.com` is two names.
fn names(word: &Word) -> Result<Vec<ServerName>, Diagnostic> {
    let invalid = || Diagnostic::error(word.span, format!("server name \"{}\" is invalid", word.value));
    if let Some(expression) = word.value.strip_prefix('~') {
        if expression.is_empty() {
            return Err(invalid().label("empty regex"));
        }
        // Names are asked for in lower case.
        return Ok(vec![ServerName::Regex(pattern::compile(word, expression, true)?)]);
    }
    if word.value == "$hostname" {
        return Err(invalid()
            .label("Longwire does not have \"$hostname\" here yet")
            .help("write the name of this machine"));
    }
    let name = word.value.to_ascii_lowercase();
    let is_plain = |name: &str| !name.contains('*') && !name.is_empty();
    if let Some(rest) = name.strip_prefix("*.").filter(|rest| is_plain(rest)) {
        return Ok(vec![ServerName::Suffix(format!(".{rest}"))]);
    }
    if let Some(rest) = name.strip_prefix('.').filter(|rest| is_plain(rest)) {
        return Ok(vec![ServerName::Exact(rest.to_owned()), ServerName::Suffix(name)]);
    }
    if let Some(rest) =
        name.strip_suffix('*').filter(|rest| is_plain(rest) && rest.ends_with('.') && *rest != ".")
    {
        return Ok(vec![ServerName::Prefix(rest.to_owned())]);
    }
    if name == "." {
        return Err(invalid());
    }
    if name.contains('*') {
        return Err(invalid().help("a \"*\" stands for whole labels at the beginning or the end: \"*.example.com\", \"www.example.*\""));
    }
    Ok(vec![ServerName::Exact(name)])
}
