//! Pure: what locations match, and which of them gets a path: nginx's order, nested locations included.

use crate::pattern::Pattern;
use crate::tree::Directive;

use super::site::Site;

/// What a location matches.
#[derive(Debug)]
pub(crate) enum Kind {
    /// `=`.
    Exact(String),
    /// A prefix; `last` with `^~`: regular expressions are not asked then.
    Prefix {
        /// The prefix.
        path: String,
        /// Whether it was said with `^~`.
        last: bool,
    },
    /// `~` or `~*`; without a pattern when it cannot be compiled.
    Regex(String, Option<Pattern>),
    /// `@name`.
    Named(String),
}

impl Kind {
    /// Reads the head of a location; the mark may stand alone or be glued to the path.
    pub(crate) fn of(location: &Directive) -> Option<Kind> {
        let (mark, path) = match location.args.as_slice() {
            [mark, path] => (mark.value.as_str(), path.value.as_str()),
            [only] => {
                let text = only.value.as_str();
                let mark =
                    ["~*", "^~", "=", "~"].into_iter().find(|mark| text.starts_with(mark)).unwrap_or("");
                (mark, &text[mark.len()..])
            }
            _ => return None,
        };
        Some(match mark {
            "=" => Kind::Exact(path.to_owned()),
            "~" | "~*" => Kind::Regex(path.to_owned(), Pattern::new(path, mark == "~*").ok()),
            _ if path.starts_with('@') => Kind::Named(path.to_owned()),
            _ => Kind::Prefix { path: path.to_owned(), last: mark == "^~" },
        })
    }

    /// The path, expression or name, as typed.
    pub(crate) fn text(&self) -> &str {
        match self {
            Kind::Exact(text)
            | Kind::Prefix { path: text, .. }
            | Kind::Regex(text, _)
            | Kind::Named(text) => text,
        }
    }

    /// Paths that belong to it unless something else takes them; none can be made for an expression or a name.
    pub(crate) fn samples(&self) -> Vec<String> {
        match self {
            Kind::Prefix { path, .. } if path.ends_with('/') => vec![path.clone(), format!("{path}x")],
            Kind::Exact(path) | Kind::Prefix { path, .. } => vec![path.clone()],
            Kind::Regex(..) | Kind::Named(_) => Vec::new(),
        }
    }
}

/// Who gets a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// This location.
    By(usize),
    /// 301 to the same path with a slash, because this location begins with that.
    Redirect(usize),
    /// No location.
    Nobody,
}

/// Who gets a path within a block: a server, or a location with locations inside.
pub(crate) fn serve(site: &Site<'_>, within: usize, path: &str) -> Served {
    let locations =
        || site.children(within).filter_map(|(at, block)| Some((at, block, block.kind.as_ref()?)));
    if let Some((at, ..)) =
        locations().find(|(_, _, kind)| matches!(kind, Kind::Exact(exact) if exact == path))
    {
        return Served::By(at);
    }
    let slashed = format!("{path}/");
    for (at, block, kind) in locations() {
        if matches!(kind, Kind::Prefix { path, .. } if *path == slashed) && is_passed_on(block.items) {
            return Served::Redirect(at);
        }
    }
    let mut longest: Option<(usize, usize, bool)> = None;
    for (at, _, kind) in locations() {
        if let Kind::Prefix { path: prefix, last } = kind
            && path.starts_with(prefix.as_str())
            && longest.is_none_or(|(_, length, _)| length < prefix.len())
        {
            longest = Some((at, prefix.len(), *last));
        }
    }
    if let Some((at, ..)) = longest
        && let served @ (Served::By(_) | Served::Redirect(_)) = serve(site, at, path)
    {
        return served;
    }
    let by_regex = || locations().find(|(_, _, kind)| is_match(kind, path)).map(|(at, ..)| at);
    let found = if longest.is_some_and(|(.., last)| last) { None } else { by_regex() };
    match found {
        Some(at) => match serve(site, at, path) {
            Served::Nobody => Served::By(at),
            inner => inner,
        },
        None => longest.map_or(Served::Nobody, |(at, ..)| Served::By(at)),
    }
}

fn is_match(kind: &Kind, path: &str) -> bool {
    matches!(kind, Kind::Regex(_, Some(pattern)) if pattern.is_match(path))
}

/// Whether a handler takes the requests, which is when nginx adds a missing slash by a redirect.
fn is_passed_on(items: &[Directive]) -> bool {
    const HANDLERS: &[&str] =
        &["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass", "grpc_pass"];
    items.iter().any(|item| HANDLERS.contains(&item.name.value.as_str()))
}
