//! Pure: what a backend must be sent for a handshake, and what a client must get.

use crate::diagnostic::Severity::{self, Error, Note, Warning};

use super::super::eval::{self, Request};
use super::super::fix;
use super::super::road::{App, Carries, Road, is_only_for_websockets, label, place};
use super::super::site::Site;
use super::super::{Edit, Found, Rule};

pub(super) const RULES: &[&Rule] = &[
    &UPGRADE_MISSING,
    &CONNECTION_MISSING,
    &HEADERS_LOST,
    &HTTP_VERSION_10,
    &HTTP_VERSION_2,
    &HANDSHAKE_HEADER_DROPPED,
    &UPGRADE_TWICE,
    &HOST_TWICE,
    &UPGRADE_LITERAL,
    &CONNECTION_UPGRADE_ALWAYS,
];

static UPGRADE_MISSING: Rule = Rule {
    id: "upgrade-missing",
    severity: Error,
    summary: "A location that is meant for WebSockets does not pass `Upgrade` on",
    why: "`Upgrade` is a hop-by-hop header: nginx drops it unless `proxy_set_header` says otherwise. The backend then sees an \
ordinary GET and answers 400, 404, 426 or a page, and the browser reports \"Unexpected response code\".\n\n\
A location is taken to be meant for WebSockets when its path says so (`/ws`, `/websocket`, `/socket.io/`, `/cable`, ...), \
when the name of its backend does and no other location serves that, or when `Connection` is set for an upgrade.",
    ignore: "The location serves no WebSockets in spite of its name.",
    find: upgrade_missing,
};

static CONNECTION_MISSING: Rule = Rule {
    id: "connection-missing",
    severity: Error,
    summary: "`Upgrade` is passed on, but `Connection` does not say so",
    why: "A handshake needs `Connection: upgrade` beside `Upgrade: websocket` (RFC 6455, section 4.2.1). Unless told otherwise nginx \
sends `Connection: close`, and no `Connection` at all from 1.29.7 on. The backend answers as to an ordinary request, often 426 or 400.",
    ignore: "Never, if WebSockets are wanted there. If not, take the `Upgrade` line away as well.",
    find: connection_missing,
};

static HEADERS_LOST: Rule = Rule {
    id: "headers-lost",
    severity: Error,
    summary: "A `proxy_set_header` in a location drops the `Upgrade` of the levels around it",
    why: "Headers are inherited as a whole: a level with one `proxy_set_header` of its own inherits none. A line such as \
`proxy_set_header X-Real-IP $remote_addr;` in a location therefore drops `Upgrade` and `Connection` that the server sets.",
    ignore: "The location serves no WebSockets.",
    find: headers_lost,
};

static HTTP_VERSION_10: Rule = Rule {
    id: "http-version-1.0",
    severity: Error,
    summary: "Handshakes go to the backend in HTTP/1.0",
    why: "RFC 6455 asks for HTTP/1.1 or higher, and a server must ignore `Upgrade` in HTTP/1.0 (RFC 9110, section 7.8). nginx before \
1.29.7 speaks HTTP/1.0 to backends unless `proxy_http_version 1.1` is said. Servers that keep the standard refuse the handshake: \
Python's websockets and uvicorn with 505, Go's coder/websocket with 426. Node's ws takes it all the same.",
    ignore: "nginx is 1.29.7 or newer and the line is merely absent, or the backend is known to take HTTP/1.0.",
    find: http_version_10,
};

static HTTP_VERSION_2: Rule = Rule {
    id: "http-version-2",
    severity: Error,
    summary: "Handshakes go to the backend in HTTP/2, where nginx has no `Upgrade`",
    why: "`Upgrade` does not exist in HTTP/2; WebSockets need the extended CONNECT of RFC 8441 there, which nginx does not speak. A handshake \
gets 502. nginx before 1.29.4 does not know the value and does not start.",
    ignore: "The location serves no WebSockets.",
    find: http_version_2,
};

static HANDSHAKE_HEADER_DROPPED: Rule = Rule {
    id: "handshake-header-dropped",
    severity: Error,
    summary: "Something that a handshake needs is taken away on the road",
    why: "The backend needs GET, `Sec-WebSocket-Key` and `Sec-WebSocket-Version` from the client as they came; the client needs \
`Upgrade`, `Connection` and `Sec-WebSocket-Accept` from the backend. Without one of them the handshake fails.",
    ignore: "Never, if WebSockets are wanted there.",
    find: handshake_header_dropped,
};

static UPGRADE_TWICE: Rule = Rule {
    id: "upgrade-twice",
    severity: Error,
    summary: "`Upgrade` is sent twice",
    why: "Each `proxy_set_header` with a value is a line of its own in the request, also when another has the same name. Two lines with \
`Upgrade: websocket` mean `websocket, websocket`: Node's ws answers 400 `Invalid Upgrade header`, Python's websockets 426. It comes about \
when a block is copied, or said beside an `include` that says it already.",
    ignore: "Never.",
    find: upgrade_twice,
};

static HOST_TWICE: Rule = Rule {
    id: "host-twice",
    severity: Warning,
    summary: "`Host` is sent twice",
    why: "Each `proxy_set_header` with a value is a line of its own in the request, also when another has the same name. A server must answer \
400 to a request with two lines of `Host` (RFC 9112, section 3.2): Go and Tornado do, Node's ws and Python's websockets do not. It comes \
about beside an `include` that says it already, such as Debian's `proxy_params`.",
    ignore: "The backend takes it.",
    find: host_twice,
};

static UPGRADE_LITERAL: Rule = Rule {
    id: "upgrade-literal",
    severity: Warning,
    summary: "Every request asks the backend for a WebSocket",
    why: "With `proxy_set_header Upgrade websocket;` ordinary requests ask for an upgrade as well. Backends take them for broken \
handshakes and answer 400 or 426 where a page was asked for. `$http_upgrade` has the client's own word, and is empty where there is none.",
    ignore: "Nothing but WebSockets is asked for at this location.",
    find: upgrade_literal,
};

static CONNECTION_UPGRADE_ALWAYS: Rule = Rule {
    id: "connection-upgrade-always",
    severity: Note,
    summary: "Ordinary requests go to the backend with `Connection: upgrade`",
    why: "WebSockets work like this. Ordinary requests of the same location carry `Connection: upgrade` without an `Upgrade`, which is \
a contradiction that some servers and firewalls answer with 400. A `map` sets it for handshakes only.",
    ignore: "The backend does not mind.",
    find: connection_upgrade_always,
};

fn upgrade_missing(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in &site.roads {
        let at = place(site, road);
        match &road.carries {
            Carries::Meant(why) | Carries::Perhaps(why) => {
                if site.is_unknown(road.block) || outer_upgrade(site, road).is_some() {
                    continue;
                }
                let sure = matches!(road.carries, Carries::Meant(_));
                let message =
                    "\"Upgrade\" is not passed on: the backend never learns that a WebSocket is wanted";
                let label = format!("WebSockets are meant here: {why}");
                found.push(
                    Found::new(at, label, message)
                        .severity(if sure { Error } else { Warning })
                        .help("nginx drops \"Upgrade\" and \"Connection\" unless proxy_set_header passes them on")
                        .fix(ritual(site, road)),
                );
            }
            Carries::Declared => {
                let typed = road.header_value("Upgrade").unwrap_or_default();
                let sent = eval::value(site, road.block, typed, Request::Handshake);
                let Some(sent) = sent.filter(|sent| !sent.eq_ignore_ascii_case("websocket")) else {
                    continue;
                };
                let message =
                    format!("\"Upgrade\" is sent as \"{sent}\" in a handshake, and must be \"websocket\"");
                let header = road.header("Upgrade");
                let span = header.map_or(at, |header| header.span);
                let edit =
                    header.and_then(|header| Some(fix::replace(header.args.get(1)?.span, "$http_upgrade")));
                found.push(Found::new(span, label(site, road.block), message).fix(edit));
            }
            Carries::No => {}
        }
    }
    found
}

/// All that a handshake takes.
fn ritual(site: &Site<'_>, road: &Road<'_>) -> Vec<Edit> {
    let (connection, mut edits) = fix::connection(site);
    let mut headers = vec![("Upgrade", "$http_upgrade")];
    if !connection_is_good(site, road) {
        headers.push(("Connection", connection));
    } else {
        edits.clear();
    }
    edits.extend(fix::headers(site, road, &headers));
    edits.extend(version(site, road));
    edits
}

/// `proxy_http_version 1.1`, where that is not in force.
fn version(site: &Site<'_>, road: &Road<'_>) -> Option<Edit> {
    match site.nearest(road.block, "proxy_http_version") {
        Some(directive) => {
            let word = directive.args.first().filter(|word| word.value != "1.1")?;
            Some(fix::replace(word.span, "1.1"))
        }
        None => fix::into_block(
            site,
            road.location,
            &["proxy_set_header", "proxy_pass"],
            &["proxy_http_version 1.1;".to_owned()],
        ),
    }
}

fn connection_is_good(site: &Site<'_>, road: &Road<'_>) -> bool {
    road.sent("Connection").filter_map(|header| header.args.get(1)).any(|typed| {
        let sent = eval::value(site, road.block, &typed.value, Request::Handshake);
        sent.is_none_or(|sent| says_upgrade(&sent))
    })
}

fn says_upgrade(connection: &str) -> bool {
    connection.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

fn connection_missing(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.carries == Carries::Declared) {
        if connection_is_good(site, road) || site.is_unknown(road.block) {
            continue;
        }
        let (connection, mut edits) = fix::connection(site);
        edits.extend(fix::headers(site, road, &[("Connection", connection)]));
        let (span, message) = match road.header("Connection") {
            None => (
                place(site, road),
                "\"Upgrade\" is passed on without \"Connection: upgrade\", so it says nothing".to_owned(),
            ),
            Some(header) => {
                let typed = road.header_value("Connection").unwrap_or_default();
                let sent = eval::value(site, road.block, typed, Request::Handshake).unwrap_or_default();
                let sent = if sent.is_empty() { "not at all".to_owned() } else { format!("as \"{sent}\"") };
                (
                    header.span,
                    format!("\"Connection\" is sent {sent} in a handshake, and must be \"upgrade\""),
                )
            }
        };
        found.push(Found::new(span, label(site, road.block), message).fix(edits));
    }
    found
}

/// The `Upgrade` of a level that this road would inherit from if it had no headers of its own.
fn outer_upgrade(site: &Site<'_>, road: &Road<'_>) -> Option<(usize, u32)> {
    let own = road.headers.0?;
    let mut outer = site.around(own).skip(1);
    outer.find_map(|(at, level)| {
        let mut headers = level.all("proxy_set_header");
        let header = headers.find(|item| super::super::road::is_header(item, "Upgrade"))?;
        header.args.get(1).filter(|value| !value.value.is_empty())?;
        Some((at, header.span.start))
    })
}

fn headers_lost(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.header("Upgrade").is_none()) {
        let Some((outer, _)) = outer_upgrade(site, road) else { continue };
        let severity = match &road.carries {
            Carries::Meant(_) => Error,
            Carries::Perhaps(_) => Warning,
            // Where others keep them, this one may have dropped them on purpose.
            _ if is_kept_elsewhere(site, outer) || super::super::road::is_plain(site, road.location) => {
                continue;
            }
            _ => Error,
        };
        let level = &site.blocks[outer];
        let own = |name: &str| road.header(name).is_some();
        let lost: Vec<(&str, &str)> = level
            .all("proxy_set_header")
            .filter_map(|item| Some((item.args.first()?, item.args.get(1)?)))
            .filter(|(name, _)| !own(&name.value))
            .map(|(name, value)| (site.sources.text(name.span), site.sources.text(value.span)))
            .collect();
        let (_, line, _) =
            site.sources.locate(level.all("proxy_set_header").next().map_or(level.span(), |item| item.span));
        let message = "\"Upgrade\" is lost: a level with a proxy_set_header of its own inherits none";
        let name = if level.name().is_empty() { "the file" } else { level.name() };
        let label = format!("its proxy_set_header drop those that \"{name}\" has from line {line} on");
        found.push(
            Found::new(place(site, road), label, message)
                .severity(severity)
                .fix(fix::headers(site, road, &lost)),
        );
    }
    found
}

/// Whether any road still inherits the headers of a level.
fn is_kept_elsewhere(site: &Site<'_>, level: usize) -> bool {
    site.roads.iter().any(|road| road.headers.0 == Some(level) && road.carries == Carries::Declared)
}

fn http_version_10(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.carries == Carries::Declared) {
        let said = site.nearest(road.block, "proxy_http_version");
        let (span, message) = match said {
            Some(directive) if directive.args.first().is_some_and(|word| word.value == "1.0") => (
                directive.span,
                "handshakes go to the backend in HTTP/1.0, in which \"Upgrade\" means nothing",
            ),
            None if !site.is_unknown(road.block) => (
                place(site, road),
                "handshakes go to the backend in HTTP/1.0, the default of nginx before 1.29.7, in which \"Upgrade\" means nothing",
            ),
            _ => continue,
        };
        found.push(
            Found::new(span, label(site, road.block), message)
                .help("servers that keep RFC 6455 refuse them: Python's websockets with 505, Go's coder/websocket with 426; Node's ws does not")
                .fix(version(site, road)),
        );
    }
    found
}

fn http_version_2(site: &Site<'_>) -> Vec<Found> {
    let roads = site.roads.iter().filter(|road| road.is_websocket());
    let found = roads.filter_map(|road| {
        let directive = site.nearest(road.block, "proxy_http_version")?;
        directive.args.first().filter(|word| word.value == "2")?;
        let message = "requests go to the backend in HTTP/2, where nginx has no way to ask for a WebSocket";
        Some(Found::new(directive.span, label(site, road.block), message).fix(version(site, road)))
    });
    found.collect()
}

fn handshake_header_dropped(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket()) {
        let at = label(site, road.block);
        for (name, variable) in [
            ("Sec-WebSocket-Key", "$http_sec_websocket_key"),
            ("Sec-WebSocket-Version", "$http_sec_websocket_version"),
        ] {
            let Some(header) = road.header(name) else { continue };
            let typed = road.header_value(name).unwrap_or_default();
            let good = typed == variable || (typed == "13" && name.ends_with("Version"));
            if good || !(typed.is_empty() || eval::variables(typed).is_empty()) {
                continue;
            }
            let message = format!(
                "\"{name}\" does not reach the backend as the client sent it: no handshake can succeed"
            );
            found.push(Found::new(header.span, &at, message).fix([fix::remove(site, header)]));
        }
        if let Some(directive) = site.nearest(road.block, "proxy_pass_request_headers")
            && directive.args.first().is_some_and(|word| word.value == "off")
            && road.header("Sec-WebSocket-Key").is_none()
        {
            let message = "the client's headers are not passed on: the backend gets no \"Sec-WebSocket-Key\"";
            found.push(Found::new(directive.span, &at, message).fix([fix::remove(site, directive)]));
        }
        for directive in site.list(road.block, "proxy_hide_header").1 {
            let Some(word) = directive.args.first() else { continue };
            if ["sec-websocket-accept", "sec-websocket-protocol"]
                .contains(&word.value.to_ascii_lowercase().as_str())
            {
                let message = format!(
                    "\"{}\" of the backend's answer does not reach the client: it refuses the handshake",
                    word.value
                );
                found.push(Found::new(directive.span, &at, message).fix([fix::remove(site, directive)]));
            }
        }
        if let Some(directive) = site.nearest(road.block, "proxy_method")
            && directive
                .args
                .first()
                .is_some_and(|word| !word.value.eq_ignore_ascii_case("GET") && !word.value.contains('$'))
        {
            let message = "the backend sees another method than GET: no handshake can succeed";
            found.push(Found::new(directive.span, &at, message).fix([fix::remove(site, directive)]));
        }
    }
    found
}

/// Roads with `Upgrade` that serve ordinary requests as well.
fn mixed<'s, 't>(site: &'s Site<'t>) -> impl Iterator<Item = &'s Road<'t>> {
    let declared = site.roads.iter().filter(|road| road.carries == Carries::Declared);
    declared.filter(|road| !is_only_for_websockets(site, road.location) && road.app == App::Other)
}

fn is_literal(site: &Site<'_>, road: &Road<'_>) -> bool {
    let typed = road.header_value("Upgrade").unwrap_or_default();
    let sent = eval::value(site, road.block, typed, Request::Ordinary);
    sent.is_some_and(|sent| sent.eq_ignore_ascii_case("websocket"))
}

fn upgrade_twice(site: &Site<'_>) -> Vec<Found> {
    twice(site, "Upgrade", "\"Upgrade\" is sent twice, and servers refuse such a handshake")
}

fn host_twice(site: &Site<'_>) -> Vec<Found> {
    twice(site, "Host", "\"Host\" is sent twice, to which a server must answer 400")
}

fn twice(site: &Site<'_>, name: &str, message: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.carries == Carries::Declared) {
        let mut sent = road.sent(name);
        let Some(first) = sent.next() else { continue };
        let (path, line, _) = site.sources.locate(first.span);
        for again in sent {
            let label = format!("said in line {line} of {} already", path.display());
            found.push(Found::new(again.span, label, message).fix([fix::remove(site, again)]));
        }
    }
    found
}

fn upgrade_literal(site: &Site<'_>) -> Vec<Found> {
    let roads = mixed(site).filter(|road| is_literal(site, road) && !is_in_if(site, road));
    let found = roads.filter_map(|road| {
        let header = road.header("Upgrade")?;
        let message = "every request asks the backend for a WebSocket, those for pages as well";
        let mut edits = vec![fix::replace(header.args.get(1)?.span, "$http_upgrade")];
        if always_upgrade(site, road) {
            let (connection, map) = fix::connection(site);
            edits.extend(map);
            edits.push(fix::replace(road.header("Connection")?.args.get(1)?.span, connection));
        }
        Some(Found::new(header.span, label(site, road.block), message).fix(edits))
    });
    found.collect()
}

fn is_in_if(site: &Site<'_>, road: &Road<'_>) -> bool {
    site.blocks[road.block].name() == "if"
}

fn always_upgrade(site: &Site<'_>, road: &Road<'_>) -> bool {
    let Some(typed) = road.header_value("Connection") else { return false };
    let sent = eval::value(site, road.block, typed, Request::Ordinary);
    sent.is_some_and(|sent| says_upgrade(&sent))
}

fn connection_upgrade_always(site: &Site<'_>) -> Vec<Found> {
    let roads = mixed(site).filter(|road| always_upgrade(site, road) && !is_literal(site, road));
    let found = roads.filter(|road| !is_in_if(site, road)).filter_map(|road| {
        let header = road.header("Connection")?;
        let (connection, mut edits) = fix::connection(site);
        if connection.starts_with('$') {
            edits.push(fix::replace(header.args.get(1)?.span, connection));
        }
        let message = "ordinary requests go to the backend with \"Connection: upgrade\" as well";
        Some(Found::new(header.span, label(site, road.block), message).severity(Severity::Note).fix(edits))
    });
    found.collect()
}
