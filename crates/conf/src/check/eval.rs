//! Pure: what a value comes to for a handshake and for an ordinary request, as far as the file says.

use std::collections::HashSet;

use crate::pattern::Pattern;

use super::site::Site;

/// The request that is imagined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// A browser asks for a WebSocket.
    Handshake,
    /// A browser asks for a page.
    Ordinary,
}

/// Variables of variables, more than anybody writes.
const MAX_DEPTH: usize = 8;
/// Directives that give a variable a value which only a running nginx knows, with the argument that names it.
const MAKERS: &[(&str, usize)] = &[
    ("map", 1),
    ("geo", 1),
    ("geo", 0),
    ("split_clients", 1),
    ("set", 0),
    ("auth_request_set", 0),
    ("perl_set", 0),
    ("js_set", 0),
    ("js_var", 0),
    ("set_by_lua", 0),
    ("set_by_lua_block", 0),
    ("set_by_lua_file", 0),
    ("auth_jwt_claim_set", 0),
    ("keyval", 1),
    ("userid_service", 0),
];

/// What a value comes to in a block; `None` when the file does not say.
pub(crate) fn value(site: &Site<'_>, block: usize, text: &str, request: Request) -> Option<String> {
    expand(site, block, text, request, 0)
}

/// The names of the variables in a value.
pub(crate) fn variables(text: &str) -> Vec<&str> {
    pieces(text).into_iter().filter_map(|piece| piece.err()).collect()
}

/// Whether any directive of the file makes a variable of this name.
pub(crate) fn is_made(site: &Site<'_>, name: &str) -> bool {
    site.made.contains(name)
}

/// The names of all variables that directives of the file make, captures included.
pub(crate) fn made(site: &Site<'_>) -> HashSet<String> {
    let mut made = HashSet::new();
    for item in site.blocks.iter().flat_map(|block| block.items) {
        let makers = MAKERS.iter().filter(|(maker, _)| *maker == item.name.value);
        let words = makers.filter_map(|(_, at)| item.args.get(*at)?.value.strip_prefix('$'));
        made.extend(words.map(str::to_owned));
        for word in &item.args {
            let captures = word.value.split("?<").chain(word.value.split("?P<")).skip(1);
            made.extend(captures.filter_map(|rest| Some(rest.split_once('>')?.0.to_owned())));
        }
    }
    made
}

fn expand(site: &Site<'_>, block: usize, text: &str, request: Request, depth: usize) -> Option<String> {
    let mut result = String::new();
    for piece in pieces(text) {
        match piece {
            Ok(literal) => result.push_str(literal),
            Err(name) => result.push_str(&variable(site, block, name, request, depth)?),
        }
    }
    Some(result)
}

fn variable(site: &Site<'_>, block: usize, name: &str, request: Request, depth: usize) -> Option<String> {
    let is_handshake = request == Request::Handshake;
    match name {
        "http_upgrade" => return Some(if is_handshake { "websocket" } else { "" }.into()),
        "http_connection" => return Some(if is_handshake { "Upgrade" } else { "keep-alive" }.into()),
        "http_sec_websocket_version" => return Some(if is_handshake { "13" } else { "" }.into()),
        "request_method" => return Some("GET".into()),
        _ => {}
    }
    if depth >= MAX_DEPTH {
        return None;
    }
    for (at, level) in site.around(block) {
        // Where an `if` sets it as well, nobody knows which of them comes to pass.
        let in_ifs = site.children(at).filter(|(_, inner)| inner.name() == "if");
        let is_set = |item: &&crate::tree::Directive| {
            item.args.first().is_some_and(|word| word.value.strip_prefix('$') == Some(name))
        };
        if in_ifs.flat_map(|(_, inner)| inner.all("set")).any(|item| is_set(&item)) {
            return None;
        }
        if let Some(item) = level.all("set").filter(is_set).last() {
            return expand(site, at, &item.args.get(1)?.value, request, depth + 1);
        }
    }
    let (_, map) = site.named("map").find(|(_, block)| {
        let made = block.head.and_then(|head| head.args.get(1));
        made.is_some_and(|word| word.value.strip_prefix('$') == Some(name))
    })?;
    let source = expand(site, block, &map.head?.args.first()?.value, request, depth + 1)?;
    let mut default = None;
    let mut by_regex = None;
    for entry in map.items {
        let (key, value) = (entry.name.value.as_str(), entry.args.first()?.value.as_str());
        match key.strip_prefix('~') {
            None if entry.name.quoted || !matches!(key, "default" | "hostnames" | "volatile" | "include") => {
                if key.trim_start_matches('\\').eq_ignore_ascii_case(&source) {
                    return expand(site, block, value, request, depth + 1);
                }
            }
            None if key == "default" => default = Some(value),
            None => return None,
            Some(expression) if by_regex.is_none() => {
                let (expression, any_case) =
                    expression.strip_prefix('*').map_or((expression, false), |rest| (rest, true));
                if Pattern::new(expression, any_case).ok()?.is_match(&source) {
                    by_regex = Some(value);
                }
            }
            Some(_) => {}
        }
    }
    expand(site, block, by_regex.or(default).unwrap_or(""), request, depth + 1)
}

/// Literal text (`Ok`) and names of variables (`Err`) in turn.
fn pieces(text: &str) -> Vec<Result<&str, &str>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if !before.is_empty() {
            found.push(Ok(before));
        }
        let (name, behind) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap_or((inner, "")),
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len()))
            }
        };
        found.push(if name.is_empty() { Ok("$") } else { Err(name) });
        rest = behind;
    }
    if !rest.is_empty() {
        found.push(Ok(rest));
    }
    found
}
