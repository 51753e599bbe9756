//! Pure: what was written for pages, and does harm to WebSockets.

use crate::diagnostic::Severity::Warning;
use crate::tree::Directive;
use crate::value;

use super::super::eval::{self, Request};
use super::super::fix;
use super::super::location::{Served, serve};
use super::super::road::{Carries, Road, is_only_for_websockets, label, place};
use super::super::site::Site;
use super::super::{Found, Rule};
use super::timers::worth_a_word;

pub(super) const RULES: &[&Rule] = &[
    &IF_TRAP,
    &AUTH_REQUEST_UPGRADE,
    &ORIGIN_UNCHECKED,
    &CACHE_ON_PATH,
    &LIMIT_CONN_TUNNELS,
    &ERROR_PAGE_HIDES,
];

static IF_TRAP: Rule = Rule {
    id: "if-trap",
    severity: Warning,
    summary: "An `if` takes the place of its location, and what it lacks is lost",
    why: "An `if` in a location is a location of its own that is taken when its condition holds; of several, the last that holds is taken. It \
inherits settings and the `proxy_pass` of the location, but neither its `try_files` nor the `proxy_pass` of another `if`. So an `if` with \
an `add_header` in it, further down, undoes `if ($http_upgrade) { proxy_pass ...; }`. A `map` that chooses the backend has no such trap.",
    ignore: "The conditions exclude each other.",
    find: if_trap,
};

static AUTH_REQUEST_UPGRADE: Rule = Rule {
    id: "auth-request-upgrade",
    severity: Warning,
    summary: "The question whether a client may come in asks for a WebSocket as well",
    why: "The subrequest of `auth_request` carries the client's headers, and `$http_upgrade` is that of the handshake. Where the location of \
the subrequest passes `Upgrade` on, the server that should say yes or no is asked for a WebSocket: if it answers 400 or 426 the client gets \
500; if it agrees (101), the connection is closed without an answer.",
    ignore: "That server takes no notice of `Upgrade`.",
    find: auth_request_upgrade,
};

static ORIGIN_UNCHECKED: Rule = Rule {
    id: "origin-unchecked",
    severity: Warning,
    summary: "Pages of other sites can open WebSockets here in the name of a visitor",
    why: "A browser sends cookies, passwords and certificates with a handshake whichever page asks for it, and no rule of CORS applies. Where \
nginx lets clients in by one of these, and nobody compares `Origin`, any page that a visitor opens can use the WebSocket as that visitor \
(cross-site WebSocket hijacking). The same holds where `proxy_set_header Origin` hides the true one from the backend.\n\n\
In Longwire `websocket_origins` is one line for it.",
    ignore: "The backend compares `Origin` itself.",
    find: origin_unchecked,
};

static CACHE_ON_PATH: Rule = Rule {
    id: "cache-on-path",
    severity: Warning,
    summary: "A handshake can be answered from the cache",
    why: "A handshake is a GET like any other to the cache: when an ordinary answer for the same address is in it, such as the page that says \
\"Upgrade required\", the handshake gets that. With `proxy_cache_lock` handshakes also wait for each other.",
    ignore: "The backend never gives a cacheable answer at this path.",
    find: cache_on_path,
};

static LIMIT_CONN_TUNNELS: Rule = Rule {
    id: "limit-conn-tunnels",
    severity: Warning,
    summary: "`limit_conn` counts WebSockets, each for as long as it is open",
    why: "A request holds its place for a moment, a WebSocket for hours. A limit that was meant for requests is used up by a few open tabs, or \
by an office behind one address; further handshakes get 503.",
    ignore: "The limit is meant for WebSockets.",
    find: limit_conn_tunnels,
};

static ERROR_PAGE_HIDES: Rule = Rule {
    id: "error-page-hides",
    severity: Warning,
    summary: "The backend's refusal of a handshake is replaced by a page",
    why: "With `proxy_intercept_errors on` and an `error_page` for it, a refusal such as 401, 403 or 426 becomes a page, often with 200. The \
client cannot tell any more why its handshake failed, and the `Sec-WebSocket-Version` of a 426 is lost.",
    ignore: "Nobody looks at the answer.",
    find: error_page_hides,
};

/// A number of connections that nobody thinks of for requests.
const MANY: u64 = 100;

fn if_trap(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (location, block) in site.named("location") {
        let ifs: Vec<_> = site.children(location).filter(|(_, inner)| inner.name() == "if").collect();
        // One that answers by itself takes nothing away.
        let passes = |at: usize| site.blocks[at].own("return").is_none();
        let carries = |at: usize| site.roads.iter().any(|road| road.block == at && road.is_websocket());
        for (number, (at, _)) in ifs.iter().enumerate().filter(|(_, (at, _))| carries(*at)) {
            let same = |other: usize| condition(site, other) == condition(site, *at);
            for &(later, inner) in
                ifs[number + 1..].iter().filter(|(later, _)| passes(*later) && !same(*later))
            {
                if inner.own("proxy_pass").is_some() && carries(later) {
                    continue;
                }
                let (_, line, _) = site.sources.locate(site.blocks[*at].span());
                let message = format!(
                    "where this holds, the \"proxy_pass\" in the \"if\" of line {line} is lost: the last \"if\" that holds is taken"
                );
                found.push(Found::new(inner.span(), "", message));
            }
        }
        let named = block.own("try_files").and_then(|said| said.args.last());
        let leads_on = named.is_some_and(|name| {
            let is_it = |road: &&Road<'_>| {
                site.blocks[road.location].kind.as_ref().is_some_and(|kind| kind.text() == name.value)
            };
            site.roads.iter().filter(is_it).any(Road::is_websocket)
        });
        for &(at, inner) in ifs.iter().filter(|(at, _)| leads_on && passes(*at)) {
            if inner.own("proxy_pass").is_none() && inner.own("rewrite").is_none() && !inner.items.is_empty()
            {
                let message =
                    "where this holds, the \"try_files\" of its location is lost, and the WebSocket with it";
                found.push(Found::new(inner.span(), label(site, site.blocks[at].parent), message));
            }
        }
    }
    found
}

fn condition(site: &Site<'_>, block: usize) -> Vec<String> {
    site.blocks[block]
        .head
        .map_or_else(Vec::new, |head| head.args.iter().map(|word| word.value.clone()).collect())
}

fn auth_request_upgrade(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in site.roads.iter().filter(|road| road.is_websocket()) {
        let Some(said) = site.nearest(road.block, "auth_request") else { continue };
        let Some(uri) = said.args.first().map(|word| word.value.as_str()).filter(|uri| *uri != "off") else {
            continue;
        };
        let Some(server) = site.enclosing(road.block, "server") else { continue };
        let Served::By(asked) = serve(site, server, uri) else { continue };
        for asked in
            site.roads.iter().filter(|road| road.location == asked && road.carries == Carries::Declared)
        {
            let at = asked.header("Upgrade").map_or(place(site, asked), |header| header.span);
            let message = format!(
                "the subrequest to \"{uri}\" asks for a WebSocket as well, not only whether the client may come in"
            );
            let fixed = fix::headers(site, asked, &[("Upgrade", "\"\""), ("Connection", "\"\"")]);
            found.push(Found::new(at, label(site, asked.location), message).fix(fixed));
        }
    }
    found
}

fn origin_unchecked(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        if let (Some(header), Some(typed)) = (road.header("Origin"), road.header_value("Origin"))
            && !typed.contains("$http_origin")
        {
            let message =
                "the backend never sees the true \"Origin\", and cannot refuse pages of other sites";
            found.push(
                Found::new(header.span, label(site, road.block), message).fix([fix::remove(site, header)]),
            );
            continue;
        }
        let Some(how) = lets_in_by(site, road) else { continue };
        if checks_origin(site, road) || site.is_unknown(road.block) {
            continue;
        }
        let message = format!(
            "clients are let in by {how}, which a browser sends for any page, and nobody compares \"Origin\""
        );
        let help = "a map of $http_origin and an \"if\" that returns 403; in Longwire \"websocket_origins\"";
        found.push(Found::new(place(site, road), label(site, road.block), message).help(help));
    }
    found
}

/// By what nginx itself lets a client in, of what a browser sends without being asked.
fn lets_in_by(site: &Site<'_>, road: &Road<'_>) -> Option<&'static str> {
    let is_on = |name: &str| site.value(road.block, name).is_some_and(|value| value != "off");
    if is_on("auth_basic") {
        return Some("password (auth_basic)");
    }
    if is_on("auth_request") {
        return Some("auth_request");
    }
    if is_on("ssl_verify_client") {
        return Some("certificate (ssl_verify_client)");
    }
    let by_cookie = ifs(site, road).any(|head| {
        head.args.iter().any(|word| word.value.contains("$cookie_") || word.value.contains("$http_cookie"))
    });
    by_cookie.then_some("cookie")
}

/// The `if`s that a request of a road comes by.
fn ifs<'s, 't>(site: &'s Site<'t>, road: &'s Road<'t>) -> impl Iterator<Item = &'t Directive> {
    let levels = site.around(road.block).take_while(|(_, level)| !matches!(level.name(), "" | "http"));
    let blocks = levels.flat_map(|(at, level)| site.children(at).chain([(at, level)]));
    blocks.filter(|(_, block)| block.name() == "if").filter_map(|(_, block)| block.head)
}

fn checks_origin(site: &Site<'_>, road: &Road<'_>) -> bool {
    let by_map = |name: &str| {
        site.named("map").any(|(_, map)| {
            let args = map.head.map_or(&[][..], |head| &head.args[..]);
            matches!(args, [source, made] if source.value.contains("$http_origin") && made.value.strip_prefix('$') == Some(name))
        })
    };
    let about_origin =
        |text: &str| eval::variables(text).iter().any(|name| *name == "http_origin" || by_map(name));
    let longwire = site.nearest(road.block, "websocket_origins").is_some();
    longwire || ifs(site, road).any(|head| head.args.iter().any(|word| about_origin(&word.value)))
}

fn cache_on_path(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        let Some(cache) = site.nearest(road.block, "proxy_cache") else { continue };
        let is_off = cache.args.first().is_none_or(|word| word.value == "off");
        let (_, bypass) = site.list(road.block, "proxy_cache_bypass");
        let passes = |text: &str| match eval::value(site, road.block, text, Request::Handshake) {
            Some(value) => !value.is_empty() && value != "0",
            None => eval::variables(text).iter().any(|name| eval::is_made(site, name)),
        };
        if is_off || bypass.iter().flat_map(|said| &said.args).any(|word| passes(&word.value)) {
            continue;
        }
        let line = if is_only_for_websockets(site, road.location) {
            "proxy_cache off;"
        } else {
            "proxy_cache_bypass $http_upgrade;"
        };
        let own = site.blocks[road.location].own("proxy_cache");
        let edit = match own.and_then(|own| own.args.first()) {
            Some(word) if line.ends_with("off;") => Some(fix::replace(word.span, "off")),
            _ => fix::into_block(site, road.location, &["proxy_cache", "proxy_pass"], &[line.to_owned()]),
        };
        let message = "a handshake can be answered from the cache";
        found.push(Found::new(place(site, road), label(site, road.block), message).fix(edit));
    }
    found
}

fn limit_conn_tunnels(site: &Site<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        let (level, limits) = site.list(road.block, "limit_conn");
        for limit in &limits {
            let (Some(zone), Some(word)) = (limit.args.first(), limit.args.get(1)) else { continue };
            let Some(number) = value::number(&word.value).filter(|number| *number < MANY) else { continue };
            let message = format!("a WebSocket holds one of these {number} places for as long as it is open");
            let edit = if level == Some(road.location) {
                Some(fix::replace(word.span, MANY.to_string()))
            } else {
                let line = format!("limit_conn {} {MANY};", zone.value);
                fix::into_block(site, road.location, &["proxy_pass"], &[line])
            };
            found.push(Found::new(limit.span, label(site, road.block), message).fix(edit));
        }
    }
    found
}

fn error_page_hides(site: &Site<'_>) -> Vec<Found> {
    const REFUSALS: &[&str] = &["400", "401", "403", "404", "405", "426", "429"];
    let mut found = Vec::new();
    for road in worth_a_word(site) {
        let Some(said) = site.nearest(road.block, "proxy_intercept_errors") else { continue };
        let Some(word) = said.args.first().filter(|word| word.value == "on") else { continue };
        let (_, pages) = site.list(road.block, "error_page");
        let mut codes = pages.iter().flat_map(|page| &page.args).map(|word| word.value.as_str());
        let Some(code) = codes.find(|code| REFUSALS.contains(code)) else { continue };
        let own = site.blocks[road.location].own("proxy_intercept_errors").is_some();
        let edit = if own {
            Some(fix::replace(word.span, "off"))
        } else {
            fix::into_block(site, road.location, &["proxy_pass"], &["proxy_intercept_errors off;".to_owned()])
        };
        let message = format!(
            "when the backend refuses a handshake (with {code}, say) the client gets a page instead, and no reason"
        );
        found.push(Found::new(said.span, label(site, road.block), message).fix(edit));
    }
    found
}
