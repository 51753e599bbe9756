//! The table: one entry for each directive, with its contexts, arguments, documentation and what it does.

mod accepted;
mod access;
mod admin;
mod balance;
mod core;
mod files;
mod geo;
mod guard;
mod gzip;
mod health;
mod http;
mod limits;
mod location;
mod log;
mod map;
mod otel;
mod proxy;
pub(crate) mod reference;
mod refused;
mod rewrite;
mod server;
mod ssl;
pub(crate) mod suggest;
pub(crate) mod unsupported;
mod upstream;
pub(crate) mod values;
mod websocket;

use limits::rate;
pub(crate) use limits::zone_name;
pub(crate) use log::formats;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::build::Builder;
use crate::tree::Directive;

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Context {
    /// Outside all blocks.
    Main,
    /// `events {}`.
    Events,
    /// `http {}`.
    Http,
    /// `server {}`.
    Server,
    /// `location {}`.
    Location,
    /// `upstream {}`.
    Upstream,
    /// `if {}` in a server.
    IfServer,
    /// `if {}` in a location.
    IfLocation,
    /// `limit_except {}`.
    LimitExcept,
}

impl Context {
    /// Its name in messages and in the reference.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Context::Main => "main",
            Context::Events => "events",
            Context::Http => "http",
            Context::Server => "server",
            Context::Location => "location",
            Context::Upstream => "upstream",
            Context::IfServer => "if in server",
            Context::IfLocation => "if in location",
            Context::LimitExcept => "limit_except",
        }
    }
}

use Context::{Events, Http, IfLocation, IfServer, LimitExcept, Location, Main, Server, Upstream};

const MAIN: &[Context] = &[Main];
const EVENTS: &[Context] = &[Events];
const HTTP: &[Context] = &[Http];
const UPSTREAM: &[Context] = &[Upstream];
const SERVER: &[Context] = &[Server];
const LOCATION: &[Context] = &[Location];
const HTTP_SERVER: &[Context] = &[Http, Server];
const SERVER_LOCATION: &[Context] = &[Server, Location];
const ALL: &[Context] = &[Http, Server, Location];
const ALL_IF: &[Context] = &[Http, Server, Location, IfLocation];
const REWRITE: &[Context] = &[Server, Location, IfServer, IfLocation];
const PASS: &[Context] = &[Location, IfLocation, LimitExcept];
const EVERYWHERE: &[Context] =
    &[Main, Events, Http, Server, Location, Upstream, IfServer, IfLocation, LimitExcept];

/// What a directive does to the model.
pub(crate) type Setter = fn(&mut Builder<'_>, &Directive);

/// What Longwire makes of a directive.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    /// It does what it says.
    Implemented(Setter),
    /// It changes nothing here; the text of the entry says why.
    Accepted,
    /// Ignoring it would change what the file means; the text says what there is instead.
    Refused,
    /// The same, and for good: `--allow-unsupported` lets it through.
    Unsupported(unsupported::Lack),
}

/// One directive.
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it may stand.
    pub(crate) contexts: &'static [Context],
    /// Fewest and most arguments.
    pub(crate) args: (usize, usize),
    /// Whether a block follows.
    pub(crate) block: bool,
    /// Whether it may stand several times in a block.
    pub(crate) repeats: bool,
    /// What follows the name.
    pub(crate) syntax: &'static str,
    /// What holds when it is not written; empty for nothing.
    pub(crate) default: &'static str,
    /// What it does, or why it does nothing.
    pub(crate) text: &'static str,
    /// What is made of it.
    pub(crate) class: Class,
}

impl Entry {
    /// How it is written.
    pub(crate) fn form(&self) -> String {
        let space = if self.syntax.is_empty() { "" } else { " " };
        format!("{}{space}{}{}", self.name, self.syntax, if self.block { " { ... }" } else { ";" })
    }
}

/// An entry that does what it says.
const fn set(
    name: &'static str,
    contexts: &'static [Context],
    args: (usize, usize),
    syntax: &'static str,
    default: &'static str,
    text: &'static str,
    setter: Setter,
) -> Entry {
    Entry {
        name,
        contexts,
        args,
        block: false,
        repeats: false,
        syntax,
        default,
        text,
        class: Class::Implemented(setter),
    }
}

/// The same, and it may stand several times.
const fn add(
    name: &'static str,
    contexts: &'static [Context],
    args: (usize, usize),
    syntax: &'static str,
    default: &'static str,
    text: &'static str,
    setter: Setter,
) -> Entry {
    Entry { repeats: true, ..set(name, contexts, args, syntax, default, text, setter) }
}

/// The same with a block.
const fn block(
    name: &'static str,
    contexts: &'static [Context],
    args: (usize, usize),
    syntax: &'static str,
    text: &'static str,
    setter: Setter,
) -> Entry {
    Entry { block: true, repeats: true, ..set(name, contexts, args, syntax, "", text, setter) }
}

/// An entry without effect, and why.
const fn accepted(name: &'static str, contexts: &'static [Context], text: &'static str) -> Entry {
    let (args, class) = ((1, ANY), Class::Accepted);
    Entry { name, contexts, args, block: false, repeats: true, syntax: "", default: "", text, class }
}

/// An entry that would change what the file means. The first sentence says what is missing, the rest what to do.
const fn refused(name: &'static str, contexts: &'static [Context], text: &'static str) -> Entry {
    Entry { class: Class::Refused, ..accepted(name, contexts, text) }
}

/// As many arguments as one likes.
const ANY: usize = usize::MAX;

/// Modules of the table in the order of the reference, with their headings.
pub(crate) const MODULES: &[(&str, &[Entry])] = &[
    ("Main and events", core::TABLE),
    ("http", http::TABLE),
    ("Logs", log::TABLE),
    ("map", map::TABLE),
    ("geo and split_clients", geo::TABLE),
    ("upstream", upstream::TABLE),
    ("Balancing", balance::TABLE),
    ("Names and health", health::TABLE),
    ("server", server::TABLE),
    ("TLS", ssl::TABLE),
    ("location", location::TABLE),
    ("Rewriting", rewrite::TABLE),
    ("Files", files::TABLE),
    ("Compression", gzip::TABLE),
    ("Access", access::TABLE),
    ("Addresses and passwords", guard::TABLE),
    ("Limits", limits::TABLE),
    ("Proxy", proxy::TABLE),
    ("WebSocket", websocket::TABLE),
    ("Traces", otel::TABLE),
    ("Admin", admin::TABLE),
    ("Accepted without effect", accepted::TABLE),
    ("Refused", refused::TABLE),
    ("Unsupported", unsupported::TABLE),
];

/// Every entry of the table.
pub(crate) fn entries() -> impl Iterator<Item = &'static Entry> {
    MODULES.iter().flat_map(|(_, table)| table.iter())
}

static BY_NAME: LazyLock<HashMap<&'static str, Vec<&'static Entry>>> = LazyLock::new(|| {
    let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
    for entry in entries() {
        by_name.entry(entry.name).or_default().push(entry);
    }
    by_name
});

/// The entry of a name: the one for this context if there are several.
pub(crate) fn find(name: &str, context: Context) -> Option<&'static Entry> {
    if let Some(entries) = BY_NAME.get(name) {
        return entries.iter().find(|entry| entry.contexts.contains(&context)).or(entries.first()).copied();
    }
    // "js_*" and its like stand for all names that begin so.
    entries().find(|entry| match (entry.name.strip_suffix('*'), entry.name.strip_prefix('*')) {
        (Some(prefix), _) => name.starts_with(prefix),
        (None, Some(suffix)) => name.ends_with(suffix),
        (None, None) => false,
    })
}

/// Whether a word at the beginning of a line can only be the next directive.
pub(crate) fn is_name(word: &str, has_more: bool) -> bool {
    BY_NAME.get(word).is_some_and(|entries| has_more || entries.iter().any(|entry| entry.args == (0, 0)))
}

/// Whether a file that begins with this directive is the inside of `http {}`: `None` when it says nothing.
pub(crate) fn is_inside_http(name: &str) -> Option<bool> {
    let entries = BY_NAME.get(name)?;
    let stands = |context| entries.iter().any(|entry| entry.contexts.contains(&context));
    match (stands(Main), stands(Http)) {
        (true, true) => None,
        (main, http) => Some(http && !main),
    }
}
