//! Pure: how the backend is reached, and by what name it is asked.

use crate::diagnostic::Severity::{Error, Note, Warning};
use crate::source::Span;

use super::super::eval::{self, Request};
use super::super::fix;
use super::super::listen::listens;
use super::super::road::{App, Carries, Road, app, is_only_for_websockets, label, place, target};
use super::super::site::Site;
use super::super::{Found, Rule};
use super::timers::worth_a_word;

pub(super) const RULES: &[&Rule] = &[
    &TLS_TO_PLAIN_PORT,
    &PLAIN_TO_TLS_PORT,
    &FASTCGI_PATH,
    &RESOLVER_MISSING,
    &SNI_MISSING,
    &HOST_MISSING,
    &HOST_PORT_LOST,
];

static TLS_TO_PLAIN_PORT: Rule = Rule {
    id: "tls-to-plain-port",
    severity: Error,
    summary: "`https://` leads to port 80",
    why: "The backend gets a TLS handshake where it expects an HTTP request; clients get 502. A `server` of an `upstream` that has no port \
is asked at port 80, whatever the scheme in `proxy_pass` is: this is how it comes about as a rule.",
    ignore: "The backend speaks TLS on port 80.",
    find: tls_to_plain_port,
};

static PLAIN_TO_TLS_PORT: Rule = Rule {
    id: "plain-to-tls-port",
    severity: Error,
    summary: "`http://` leads to port 443",
    why: "The backend expects TLS on that port, and answers a plain request with 400 `The plain HTTP request was sent to HTTPS port`, or \
closes the connection, which gives 502.",
    ignore: "The backend speaks plain HTTP on port 443.",
    find: plain_to_tls_port,
};

static FASTCGI_PATH: Rule = Rule {
    id: "fastcgi-path",
    severity: Error,
    summary: "A location for WebSockets goes to a backend that cannot be asked for one",
    why: "FastCGI and gRPC have no upgrade, and nginx has no way to make a tunnel of them. The server of WebSockets needs a port of its own, \
spoken to in HTTP with `proxy_pass`.",
    ignore: "The location serves no WebSockets in spite of its name.",
    find: fastcgi_path,
};

static RESOLVER_MISSING: Rule = Rule {
    id: "resolver-missing",
    severity: Error,
    summary: "A variable in `proxy_pass` holds a host's name, and no `resolver` is there to look it up",
    why: "With a variable nginx looks the name up for each request, by `resolver` and not by the system; `/etc/hosts` counts for nothing, \
`localhost` included. Without one each request gets 502, and the log says `no resolver defined to resolve ...`.",
    ignore: "Never.",
    find: resolver_missing,
};

static SNI_MISSING: Rule = Rule {
    id: "sni-missing",
    severity: Warning,
    summary: "TLS to a backend does not say which name is meant",
    why: "`proxy_ssl_server_name` is `off` unless said. A backend that serves several names at one address, as all CDNs and most platforms \
do, then shows another certificate or refuses the handshake: 502, with `SSL_do_handshake() failed` in the log.",
    ignore: "The backend has one certificate for everything.",
    find: sni_missing,
};

static HOST_MISSING: Rule = Rule {
    id: "host-missing",
    severity: Warning,
    summary: "The backend does not learn the name that the client asked for",
    why: "Unless told otherwise nginx sends the name in `proxy_pass` as `Host`. Many servers compare it with the `Origin` of a handshake and \
answer 403 where they differ: Rails, Django Channels, Phoenix, Jupyter, Grafana, Go's gorilla/websocket and coder/websocket.",
    ignore: "The backend does not look at `Origin`, or has a list of its own.",
    find: host_missing,
};

static HOST_PORT_LOST: Rule = Rule {
    id: "host-port-lost",
    severity: Note,
    summary: "The backend learns the name that the client asked for, but not the port",
    why: "`$host` has no port. For a server on a port that is neither 80 nor 443 a browser's `Origin` has it, and backends that compare both \
(see host-missing) answer 403. `$http_host` is what the client sent.",
    ignore: "The backend does not look at `Origin`, or clients come through the usual ports, as with a container's mapped one.",
    find: host_port_lost,
};

/// The ports that a road leads to, each where it is said; a server of a group without one is asked at port 80.
fn ports<'t>(site: &Site<'t>, road: &Road<'t>) -> Vec<(Option<&'t str>, Span)> {
    let Some(word) = road.pass.args.first() else { return Vec::new() };
    let Some(group) = road.target.group else { return vec![(road.target.port, word.span)] };
    let servers = site.blocks[group].all("server").filter_map(|server| server.args.first());
    let addresses = servers.filter(|word| !word.value.starts_with("unix:") && !word.value.contains('$'));
    let port = |text: &'t str| text.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
    addresses.map(|word| (Some(port(&word.value).unwrap_or("80")), word.span)).collect()
}

fn wrong_port(site: &Site<'_>, scheme: &str, wrong: &str, right: &str, message: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket() && road.target.scheme == Some(scheme)) {
        for (_, span) in ports(site, road).into_iter().filter(|(port, _)| *port == Some(wrong)) {
            let typed = site.sources.text(span);
            let said = typed.contains(&format!(":{wrong}"));
            let text = if said {
                typed.replacen(&format!(":{wrong}"), &format!(":{right}"), 1)
            } else {
                format!("{typed}:{right}")
            };
            let hint = if said { "" } else { ", and a server of an upstream without a port is asked at 80" };
            let one = Found::new(span, label(site, road.block), format!("{message}{hint}"));
            found.push(one.fix([fix::replace(span, text)]));
        }
    }
    found
}

fn tls_to_plain_port(site: &Site<'_>) -> Vec<Found> {
    wrong_port(site, "https", "80", "443", "TLS is spoken to port 80, where plain HTTP is expected")
}

fn plain_to_tls_port(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket() && road.target.scheme == Some("http")) {
        let Some(word) = road.pass.args.first() else { continue };
        for (_, span) in ports(site, road).into_iter().filter(|(port, _)| *port == Some("443")) {
            let message = "plain HTTP is spoken to port 443, where TLS is expected";
            let url = site.sources.text(word.span).replacen("http://", "https://", 1);
            found
                .push(Found::new(span, label(site, road.block), message).fix([fix::replace(word.span, url)]));
        }
    }
    found
}

fn fastcgi_path(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, block) in site.named("location") {
        let Some(pass) = ["fastcgi_pass", "grpc_pass"].iter().find_map(|name| block.own(name)) else {
            continue;
        };
        if !is_only_for_websockets(site, at) && app(site, at) != App::SocketIo {
            continue;
        }
        let message =
            format!("\"{}\" cannot carry a WebSocket: FastCGI and gRPC have no upgrade", pass.name.value);
        found.push(
            Found::new(pass.span, label(site, at), message)
                .help("a server of WebSockets is spoken to with proxy_pass"),
        );
    }
    found
}

fn resolver_missing(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket()) {
        let Some(word) = road.pass.args.first() else { continue };
        if eval::variables(&word.value).is_empty()
            || site.nearest(road.block, "resolver").is_some()
            || site.is_unknown(road.block)
        {
            continue;
        }
        // The path may have what nobody knows; the host alone decides.
        let end = word.value.find("://").map_or(0, |at| at + 3);
        let host_end = word.value[end..].find('/').map_or(word.value.len(), |at| end + at);
        let Some(url) = eval::value(site, road.block, &word.value[..host_end], Request::Handshake) else {
            continue;
        };
        let Some(host) = name_to_resolve(site, &url) else { continue };
        let message = format!(
            "nothing can look \"{host}\" up: with a variable in \"proxy_pass\" nginx asks \"resolver\", and there is none"
        );
        let level = site.enclosing(road.block, "http").or_else(|| site.enclosing(road.block, "server"));
        let line = vec!["resolver 127.0.0.53;".to_owned()];
        let edit = level.and_then(|level| fix::into_block(site, level, &[], &line));
        let help =
            "127.0.0.53 is systemd-resolved, 127.0.0.11 Docker; or name the backend in an \"upstream\"";
        found.push(Found::new(word.span, label(site, road.block), message).help(help).fix(edit));
    }
    found
}

/// The name in a URL that only a resolver can look up.
fn name_to_resolve(site: &Site<'_>, url: &str) -> Option<String> {
    let target = target(site, url);
    let is_name = !target.host.is_empty() && !is_address(target.host) && !target.host.starts_with("unix:");
    (is_name && target.group.is_none() && !target.host.contains('$')).then(|| target.host.to_owned())
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether a host is named by a domain, and so by the name that its server knows itself by.
fn is_domain(host: &str) -> bool {
    const PRIVATE: &[&str] = &[".local", ".internal", ".lan", ".localdomain", ".svc", ".home", ".docker"];
    let private = PRIVATE.iter().any(|ending| host.ends_with(ending)) || host.contains(".svc.");
    host.contains('.') && !host.contains('$') && !host.starts_with("unix:") && !is_address(host) && !private
}

fn sni_missing(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket() && road.target.scheme == Some("https")) {
        let Some(word) = road.pass.args.first() else { continue };
        let said = site.nearest(road.block, "proxy_ssl_server_name");
        let is_on = said.and_then(|said| said.args.first()).is_some_and(|word| word.value == "on");
        if is_on || !is_domain(road.target.host) || site.is_unknown(road.block) {
            continue;
        }
        let message = format!(
            "TLS to \"{}\" does not say which name is meant: proxy_ssl_server_name is off",
            road.target.host
        );
        let line = vec!["proxy_ssl_server_name on;".to_owned()];
        let edit = match said.and_then(|said| said.args.first()) {
            Some(word) => Some(fix::replace(word.span, "on")),
            None => fix::into_block(site, road.location, &["proxy_pass"], &line),
        };
        found.push(Found::new(word.span, label(site, road.block), message).fix(edit));
    }
    found
}

fn host_missing(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in
        worth_a_word(site).filter(|road| road.carries == Carries::Declared && road.app != App::SocketIo)
    {
        let host = road.target.host;
        let unset = road.header_value("Host").is_none_or(|value| value == "$proxy_host");
        if !unset || is_domain(host) || host.contains('$') || site.is_unknown(road.block) {
            continue;
        }
        let message =
            "\"Host\" is the name in proxy_pass: backends that compare it with \"Origin\" answer 403";
        let value = if odd_ports(site, road) { "$http_host" } else { "$host" };
        let fixed = fix::headers(site, road, &[("Host", value)]);
        found.push(Found::new(place(site, road), label(site, road.block), message).fix(fixed));
    }
    found
}

/// Whether a road's server listens on ports that a browser writes into its `Origin`, and no others.
fn odd_ports(site: &Site<'_>, road: &Road<'_>) -> bool {
    let Some(server) = site.enclosing(road.block, "server") else { return false };
    let ports: Vec<String> = listens(site, server).into_iter().filter_map(|listen| listen.port()).collect();
    !ports.is_empty() && ports.iter().all(|port| port != "80" && port != "443")
}

fn host_port_lost(site: &Site<'_>) -> Vec<Found> {
    let roads =
        worth_a_word(site).filter(|road| road.header_value("Host") == Some("$host") && odd_ports(site, road));
    let found = roads.filter_map(|road| {
        let header = road.header("Host")?;
        let word = header.args.get(1)?;
        let message = "\"$host\" has no port: backends that compare \"Host\" with \"Origin\" answer 403";
        Some(
            Found::new(header.span, label(site, road.block), message)
                .fix([fix::replace(word.span, "$http_host")]),
        )
    });
    found.collect()
}
