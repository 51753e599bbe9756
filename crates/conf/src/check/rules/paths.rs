//! Pure: which location gets a handshake, and what path the backend sees.

use crate::diagnostic::Severity::{Error, Note, Warning};

use super::super::eval;
use super::super::fix;
use super::super::location::{Kind, Served, serve};
use super::super::road::{App, Road, is_only_for_websockets, label, place};
use super::super::site::Site;
use super::super::{Found, Rule};
use super::timers::worth_a_word;

pub(super) const RULES: &[&Rule] =
    &[&LOCATION_SHADOWED, &SOCKETIO_PATH_LOST, &ARGS_LOST, &PATH_MANGLED, &SLASH_REDIRECT];

static LOCATION_SHADOWED: Rule = Rule {
    id: "location-shadowed",
    severity: Error,
    summary: "A location for WebSockets never gets a request, because something else takes it first",
    why: "nginx finds the longest prefix, then asks the regular expressions in their order, and the first that matches wins over the prefix. \
Only `=` and `^~` keep them out. A handshake for `/ws/` therefore goes to `location ~ ^/(api|ws)/`, wherever that stands. A `return` in the \
server or in the location answers before anything is passed on.",
    ignore: "The other location is meant to have it.",
    find: location_shadowed,
};

static SOCKETIO_PATH_LOST: Rule = Rule {
    id: "socketio-path-lost",
    severity: Error,
    summary: "`proxy_pass` cuts off the path by which Socket.IO knows its requests",
    why: "A path behind the host in `proxy_pass`, be it a single slash, replaces what the location matched: of `/socket.io/?EIO=4` the \
backend sees `/?EIO=4`. Socket.IO answers under `/socket.io/` only; the application takes the request for a page and answers 404 or the page.",
    ignore: "The server of Socket.IO was given that other path as its `path`.",
    find: socketio_path_lost,
};

static ARGS_LOST: Rule = Rule {
    id: "args-lost",
    severity: Error,
    summary: "`proxy_pass` with a variable and a path drops the client's path and query",
    why: "When `proxy_pass` has a variable, a path behind the host is sent as it stands, instead of the client's path and without the \
query. `http://$backend/` asks for `/` whatever was asked for; `http://$backend/ws` loses `?token=...`, or `?EIO=4&transport=websocket`. \
Without a path the client's own is sent whole.",
    ignore: "The backend wants that one path and no query.",
    find: args_lost,
};

static PATH_MANGLED: Rule = Rule {
    id: "path-mangled",
    severity: Warning,
    summary: "Slashes of `location` and `proxy_pass` do not match",
    why: "What the location matched is replaced by the path of `proxy_pass`, letter by letter. `location /ws/` with `http://b/live` makes \
`/livechat` of `/ws/chat`; `location /ws` with `http://b/` makes `//chat` of it.",
    ignore: "Nothing but the path of the location itself is asked for.",
    find: path_mangled,
};

static SLASH_REDIRECT: Rule = Rule {
    id: "slash-redirect",
    severity: Note,
    summary: "The path without its last slash is answered with a redirect",
    why: "For `location /ws/` with `proxy_pass` nginx answers a request for `/ws` with 301 to `/ws/`. Browsers do not follow redirects of \
a handshake: `new WebSocket(\"wss://host/ws\")` fails with \"Unexpected response code: 301\". (The address in it \
also has the port nginx listens on, and `http://` where somebody else ends TLS in front.)",
    ignore: "Clients ask for the path with its slash, or for something below it.",
    find: slash_redirect,
};

fn location_shadowed(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        let Some(server) = site.enclosing(road.location, "server") else { continue };
        if let Some(answer) = site.blocks[server].own("return") {
            let message =
                "WebSockets never get to their location: this answers every request before one is looked for";
            let to = label(site, road.location);
            found.push(Found::new(answer.span, format!("hides {to}"), message));
            continue;
        }
        let Some(kind) = &site.blocks[road.location].kind else { continue };
        if kind.text() == "/" {
            continue;
        }
        let taken =
            kind.samples().into_iter().find_map(|path| Some((taker(site, server, road, &path)?, path)));
        let Some((other, path)) = taken else { continue };
        let to = label(site, other);
        let message = format!("\"{to}\" takes the handshakes for \"{path}\" and passes no \"Upgrade\" on");
        let (_, line, _) = site.sources.locate(site.blocks[other].span());
        let one = Found::new(place(site, road), format!("hidden by line {line}"), message);
        let head = site.blocks[road.location].head;
        let path = head.filter(|head| head.args.len() == 1).and_then(|head| head.args.first());
        found.push(match path {
            Some(word) if matches!(kind, Kind::Prefix { .. }) => {
                one.fix([fix::replace(word.span, format!("^~ {}", site.sources.text(word.span)))])
            }
            _ => one,
        });
    }
    found
}

/// The location that gets a path instead of a road, if no WebSocket comes through there.
fn taker(site: &Site<'_>, server: usize, road: &Road<'_>, path: &str) -> Option<usize> {
    let Served::By(other) = serve(site, server, path) else { return None };
    let is_own = site.around(other).any(|(at, _)| at == road.location);
    let carries = site.declaring.contains(&other);
    let block = &site.blocks[other];
    // What sends elsewhere says so in its own words.
    let is_exact_detour = matches!(block.kind, Some(Kind::Exact(_))) && block.own("proxy_pass").is_none();
    let goes_on = block.own("try_files").is_some() || block.own("error_page").is_some();
    (!is_own && !carries && !is_exact_detour && !goes_on).then_some(other)
}

/// The path that a backend sees for one that a client asks for, if `proxy_pass` replaces a part of it.
fn replaced(site: &Site<'_>, road: &Road<'_>, path: &str) -> Option<String> {
    let word = road.pass.args.first()?;
    let (uri, kind) = (road.target.uri?, site.blocks[road.location].kind.as_ref()?);
    if !eval::variables(&word.value).is_empty() || site.blocks[road.location].own("rewrite").is_some() {
        return None;
    }
    match kind {
        Kind::Prefix { path: matched, .. } | Kind::Exact(matched) => {
            Some(format!("{uri}{}", path.strip_prefix(matched.as_str())?))
        }
        Kind::Regex(..) | Kind::Named(_) => None,
    }
}

fn socketio_path_lost(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.app == App::SocketIo) {
        let text = site.blocks[road.location].kind.as_ref().map_or("", Kind::text);
        let Some(at) = text.find("socket.io") else { continue };
        let path = format!("{}socket.io/", &text[..at]);
        let Some(seen) = replaced(site, road, &path).filter(|seen| !seen.contains("socket.io")) else {
            continue;
        };
        let message = format!("Socket.IO is asked for \"{path}\", and the backend sees \"{seen}\"");
        let Some((word, uri)) = road.pass.args.first().zip(road.target.uri) else { continue };
        // Only what stood before the name is cut off then.
        let right = if at <= 1 { String::new() } else { format!("{uri}socket.io/") };
        let whole = word.value.strip_suffix(uri).map(|host| format!("{host}{right}"));
        let edit =
            whole.filter(|_| at <= 1 || text.ends_with('/')).map(|whole| fix::replace(word.span, whole));
        found.push(Found::new(word.span, label(site, road.location), message).fix(edit));
    }
    found
}

fn args_lost(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket()) {
        let (Some(word), Some(uri)) = (road.pass.args.first(), road.target.uri) else { continue };
        let names = eval::variables(uri);
        let known =
            |name: &&str| matches!(*name, "uri" | "document_uri") || name.bytes().all(|b| b.is_ascii_digit());
        if eval::variables(&word.value).is_empty() || !names.iter().all(known) || uri.contains('?') {
            continue;
        }
        let message = if names.is_empty() {
            format!(
                "with a variable in \"proxy_pass\" every request asks the backend for \"{uri}\", and its query is lost"
            )
        } else {
            "with a variable in \"proxy_pass\" the query of each request is lost".to_owned()
        };
        let host = word.value.strip_suffix(uri).unwrap_or(&word.value);
        let right = if uri == "/" { host.to_owned() } else { format!("{}$is_args$args", word.value) };
        found.push(
            Found::new(word.span, label(site, road.block), message).fix([fix::replace(word.span, right)]),
        );
    }
    found
}

fn path_mangled(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket() && road.app != App::SocketIo) {
        let (Some(word), Some(uri)) = (road.pass.args.first(), road.target.uri) else { continue };
        let Some(Kind::Prefix { path, .. }) = &site.blocks[road.location].kind else { continue };
        let (matched, sent) = (path.ends_with('/'), uri.ends_with('/'));
        let below = if matched { format!("{path}chat") } else { format!("{path}/chat") };
        let Some(seen) = replaced(site, road, &below).filter(|_| matched != sent && !uri.contains('?'))
        else {
            continue;
        };
        let message = format!("the backend sees \"{seen}\" where a client asks for \"{below}\"");
        let right =
            if matched { format!("{}/", word.value) } else { word.value.trim_end_matches('/').to_owned() };
        // A host without any path would pass the whole path on, which is something else.
        let edit = (matched || uri != "/").then(|| fix::replace(word.span, right));
        let severity = if matched { Warning } else { Note };
        found.push(Found::new(word.span, label(site, road.location), message).severity(severity).fix(edit));
    }
    found
}

fn slash_redirect(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site).filter(|road| road.app == App::Other) {
        let Some(server) = site.enclosing(road.location, "server") else { continue };
        let Some(head) = site.blocks[road.location].head else { continue };
        let Some(Kind::Prefix { path, .. }) = &site.blocks[road.location].kind else { continue };
        let Some(short) = path.strip_suffix('/').filter(|short| !short.is_empty()) else { continue };
        if !is_only_for_websockets(site, road.location)
            || serve(site, server, short) != Served::Redirect(road.location)
        {
            continue;
        }
        let message = format!(
            "\"{short}\" is answered with a redirect to \"{path}\", which no WebSocket client follows"
        );
        let word = head.args.last().filter(|_| road.target.uri.is_none());
        let edit = word.map(|word| fix::replace(word.span, short));
        found.push(Found::new(head.span, "", message).fix(edit));
    }
    found
}
