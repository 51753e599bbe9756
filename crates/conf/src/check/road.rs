//! Pure: the places that hand requests to a backend, and which of them are meant for WebSockets.

use std::collections::HashSet;

use crate::source::Span;
use crate::tree::Directive;

use super::eval::{self, Request};
use super::location::Kind;
use super::site::Site;

/// A place with `proxy_pass`: a location, an `if` in one, or a `limit_except`.
#[derive(Debug)]
pub(crate) struct Road<'t> {
    /// The block `proxy_pass` stands in.
    pub(crate) block: usize,
    /// The location around it, itself included.
    pub(crate) location: usize,
    /// Its `proxy_pass`.
    pub(crate) pass: &'t Directive,
    /// Where that leads.
    pub(crate) target: Target<'t>,
    /// The level whose `proxy_set_header` are in force, and these.
    pub(crate) headers: (Option<usize>, Vec<&'t Directive>),
    /// Whether it is meant for WebSockets.
    pub(crate) carries: Carries,
    /// What speaks there, judged by its path.
    pub(crate) app: App,
}

/// The argument of a `proxy_pass`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'t> {
    /// Before `://`, if there is one.
    pub(crate) scheme: Option<&'t str>,
    /// Name or address; the path of a Unix socket with `unix:`.
    pub(crate) host: &'t str,
    /// Port, if one is given.
    pub(crate) port: Option<&'t str>,
    /// From the first slash on, if there is one.
    pub(crate) uri: Option<&'t str>,
    /// Its `upstream` block.
    pub(crate) group: Option<usize>,
}

/// Why a road is taken to be one of WebSockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carries {
    /// The client's `Upgrade` is passed on.
    Declared,
    /// It should be, for this reason.
    Meant(String),
    /// The same, but the name is used for other things as well.
    Perhaps(String),
    /// Nothing says so.
    No,
}

/// What speaks over a road, where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum App {
    /// Engine.IO under Socket.IO: polling first, then a handshake that must reach the same server.
    SocketIo,
    /// SockJS: the same with other paths.
    SockJs,
    /// SignalR and Blazor: `negotiate` first.
    SignalR,
    /// Rails' ActionCable.
    Cable,
    /// Anything.
    Other,
}

/// Words in a path that nobody uses for anything but WebSockets.
const SURE: &[&str] = &[
    "ws",
    "wss",
    "websocket",
    "websockets",
    "websockify",
    "cable",
    "signalr",
    "sockjs",
    "socket",
    "sockets",
];
/// Words that are used for other things as well.
const PERHAPS: &[&str] = &["hub", "hubs", "live", "realtime"];
/// Words in the name of a group or a host.
const BACKENDS: &[&str] =
    &["ws", "wss", "websocket", "websockets", "socketio", "sockjs", "cable", "actioncable"];
/// Words of paths that serve pages, files and questions.
const PLAIN: &[&str] = &[
    "api",
    "assets",
    "static",
    "media",
    "images",
    "img",
    "css",
    "js",
    "fonts",
    "uploads",
    "files",
    "health",
    "healthz",
    "status",
    "metrics",
    "login",
    "logout",
    "auth",
    "oauth",
    "oauth2",
    "admin",
    "robots",
    "favicon",
    "well",
    "sitemap",
    "docs",
    "swagger",
    "png",
    "jpg",
    "ico",
    "internal",
    "public",
    "download",
    "downloads",
    "upload",
    "packs",
    "cache",
];

impl Road<'_> {
    /// Whether it carries WebSockets, or surely should.
    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.carries, Carries::Declared | Carries::Meant(_))
    }

    /// The headers of this name that are sent: each that has a value, as a line of its own.
    pub(crate) fn sent(&self, name: &str) -> impl DoubleEndedIterator<Item = &Directive> {
        let has_value = |item: &Directive| item.args.get(1).is_some_and(|value| !value.value.is_empty());
        self.headers.1.iter().copied().filter(move |item| is_header(item, name) && has_value(item))
    }

    /// The last header of this name that is sent; one without a value, if that is all there is.
    pub(crate) fn header(&self, name: &str) -> Option<&Directive> {
        self.sent(name)
            .next_back()
            .or_else(|| self.headers.1.iter().copied().find(|item| is_header(item, name)))
    }

    /// Its value as typed.
    pub(crate) fn header_value(&self, name: &str) -> Option<&str> {
        self.header(name)?.args.get(1).map(|word| word.value.as_str())
    }
}

/// Whether a `proxy_set_header` is about this header.
pub(crate) fn is_header(item: &Directive, name: &str) -> bool {
    item.args.first().is_some_and(|word| word.value.eq_ignore_ascii_case(name))
}

/// All places with `proxy_pass` in order of the text.
pub(crate) fn roads<'t>(site: &Site<'t>) -> Vec<Road<'t>> {
    let mut roads: Vec<Road<'t>> = Vec::new();
    for (block, level) in site.blocks.iter().enumerate() {
        let Some(location) = site.enclosing(block, "location") else { continue };
        let Some(pass) = level.own("proxy_pass").filter(|pass| !pass.args.is_empty()) else { continue };
        let headers = site.list(block, "proxy_set_header");
        let target = target(site, &pass.args[0].value);
        let app = app(site, location);
        roads.push(Road { block, location, pass, target, headers, carries: Carries::No, app });
    }
    for road in &mut roads {
        road.carries = declared(road).unwrap_or_else(|| by_signs(site, road));
    }
    // The name of a group says something only where no other place passes Upgrade on to it.
    let declared = roads.iter().filter(|road| road.carries == Carries::Declared);
    let served: HashSet<_> = declared.map(|road| (road.target.host, road.target.port)).collect();
    for road in roads.iter_mut().filter(|road| road.carries == Carries::No) {
        let is_served = served.contains(&(road.target.host, road.target.port));
        if !is_served
            && !is_plain(site, road.location)
            && let Some(why) = by_backend(road)
        {
            road.carries = Carries::Meant(why);
        }
    }
    roads
}

fn declared(road: &Road<'_>) -> Option<Carries> {
    road.header_value("Upgrade").filter(|value| !value.is_empty()).map(|_| Carries::Declared)
}

fn by_signs(site: &Site<'_>, road: &Road<'_>) -> Carries {
    if road.header("Upgrade").is_some() {
        // Somebody took it away in so many words.
        return Carries::No;
    }
    let connection = road.header_value("Connection");
    let says_upgrade = |value: &str| {
        let value = eval::value(site, road.block, value, Request::Handshake).unwrap_or_default();
        value.to_ascii_lowercase().contains("upgrade")
    };
    if connection.is_some_and(|value| !value.contains("$http_connection") && says_upgrade(value)) {
        return Carries::Meant("\"Connection\" is set for an upgrade".into());
    }
    for (_, level) in site.around(road.block) {
        if level.name() == "if" && level.head.is_some_and(asks_for_upgrade) {
            return Carries::Meant("its condition asks for an upgrade".into());
        }
    }
    let words = words(site, road.location);
    if words.last().is_some_and(|word| word == "negotiate") || words.iter().any(|word| word == "github") {
        return Carries::No;
    }
    let text = site.blocks[road.location].kind.as_ref().map_or("", Kind::text);
    let reason = |word: &str| format!("\"{word}\" in its path");
    if road.app == App::SocketIo {
        return Carries::Meant(reason("socket.io"));
    }
    if let Some(word) = words.iter().find(|word| SURE.contains(&word.as_str())) {
        return Carries::Meant(reason(word));
    }
    if let Some(word) = words.iter().find(|word| PERHAPS.contains(&word.as_str())) {
        return Carries::Perhaps(reason(word));
    }
    if text.ends_with("Hub") {
        return Carries::Perhaps(reason("Hub"));
    }
    Carries::No
}

fn by_backend(road: &Road<'_>) -> Option<String> {
    let name = road.target.host;
    let word = split(name).into_iter().find(|word| BACKENDS.contains(&word.as_str()))?;
    Some(format!("\"{word}\" in the name of its backend, \"{name}\""))
}

/// Whether the condition of an `if` is about `Upgrade`.
pub(crate) fn asks_for_upgrade(head: &Directive) -> bool {
    let negative = head.args.iter().any(|word| word.value.starts_with('!'));
    !negative
        && head
            .args
            .first()
            .is_some_and(|word| word.value.trim_start_matches('(').starts_with("$http_upgrade"))
}

/// Whether a location has a path that is for pages, files and questions.
pub(crate) fn is_plain(site: &Site<'_>, location: usize) -> bool {
    let words = words(site, location);
    let sure = words.iter().any(|word| SURE.contains(&word.as_str()) || PERHAPS.contains(&word.as_str()));
    !sure && app(site, location) == App::Other && words.iter().any(|word| PLAIN.contains(&word.as_str()))
}

/// Whether a path is used for nothing but WebSockets.
pub(crate) fn is_only_for_websockets(site: &Site<'_>, location: usize) -> bool {
    const ONLY: &[&str] = &["ws", "wss", "websocket", "websockets", "websockify", "cable"];
    words(site, location).iter().any(|word| ONLY.contains(&word.as_str()))
}

/// The words of the path or expression of a location, and of the locations around it, in small letters.
fn words(site: &Site<'_>, location: usize) -> Vec<String> {
    let kinds = site.around(location).filter_map(|(_, block)| block.kind.as_ref());
    let mut texts: Vec<&str> = kinds.map(Kind::text).collect();
    texts.reverse();
    texts.into_iter().flat_map(split).collect()
}

fn split(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

/// What speaks at a location, judged by its path.
pub(crate) fn app(site: &Site<'_>, location: usize) -> App {
    let words = words(site, location);
    let has = |word: &str| words.iter().any(|found| found == word);
    if words.windows(2).any(|pair| pair[0] == "socket" && pair[1] == "io") || has("socketio") {
        App::SocketIo
    } else if has("sockjs") {
        App::SockJs
    } else if has("signalr") || has("blazor") || has("hub") || has("hubs") {
        App::SignalR
    } else if has("cable") {
        App::Cable
    } else {
        App::Other
    }
}

/// Takes the argument of a `proxy_pass` apart.
pub(crate) fn target<'t>(site: &Site<'_>, text: &'t str) -> Target<'t> {
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    if let Some(path) = rest.strip_prefix("unix:") {
        let (socket, uri) = path.split_once(':').map_or((path, None), |(socket, uri)| (socket, Some(uri)));
        let host = &rest[..5 + socket.len()];
        return Target { scheme, host, port: None, uri: uri.filter(|uri| !uri.is_empty()), group: None };
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, uri) = (&rest[..end], Some(&rest[end..]).filter(|uri| !uri.is_empty()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let found = site.groups.get(&host.to_ascii_lowercase()).copied();
    let group = found.filter(|_| port.is_none());
    Target { scheme, host, port, uri, group }
}

/// A place named for a reader: `location /ws`.
pub(crate) fn label(site: &Site<'_>, block: usize) -> String {
    let Some(head) = site.blocks[block].head else { return String::new() };
    let mut text = head.name.value.clone();
    for word in &head.args {
        text.push(' ');
        text.push_str(&word.value);
    }
    text
}

/// Where a road is shown: at the head of its block.
pub(crate) fn place(site: &Site<'_>, road: &Road<'_>) -> Span {
    site.blocks[road.block].span()
}
