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

/// Who gets a path within a server.
pub(crate) fn serve(site: &Site<'_>, server: usize, path: &str) -> Served {
    find(site, server, path).0
}

/// Who gets a path within a server or location, and whether that is settled: a mere prefix still gives way to the
/// regular expressions of the blocks around it.
fn find(site: &Site<'_>, within: usize, path: &str) -> (Served, bool) {
    let locations =
        || site.children(within).filter_map(|(at, block)| Some((at, block, block.kind.as_ref()?)));
    if let Some((at, ..)) =
        locations().find(|(_, _, kind)| matches!(kind, Kind::Exact(exact) if exact == path))
    {
        return (Served::By(at), true);
    }
    let slashed = format!("{path}/");
    let is_slashed = |kind: &Kind| matches!(kind, Kind::Prefix { path, .. } if *path == slashed);
    if let Some((at, ..)) = locations().find(|(_, block, kind)| is_slashed(kind) && is_passed_on(block.items))
    {
        return (Served::Redirect(at), true);
    }
    let prefixes = locations().filter_map(|(at, _, kind)| match kind {
        Kind::Prefix { path: prefix, last } if path.starts_with(prefix.as_str()) => {
            Some((prefix.len(), at, *last))
        }
        _ => None,
    });
    let mut served = Served::Nobody;
    let mut asks_regexes = true;
    if let Some((_, at, last)) = prefixes.max_by_key(|(length, ..)| *length) {
        let (inner, settled) = find(site, at, path);
        if settled {
            return (inner, true);
        }
        served = if inner == Served::Nobody { Served::By(at) } else { inner };
        asks_regexes = !last;
    }
    match locations().find(|(_, _, kind)| asks_regexes && is_match(kind, path)) {
        Some((at, ..)) => match find(site, at, path).0 {
            Served::Nobody => (Served::By(at), true),
            inner => (inner, true),
        },
        None => (served, false),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Served, serve};
    use crate::check::Wishes;
    use crate::check::road::label;
    use crate::check::site::Site;
    use crate::source::Reader;
    use crate::tree::Parser;

    struct One(&'static str);

    impl Reader for One {
        fn read(&self, _: &Path) -> std::io::Result<Vec<u8>> {
            Ok(self.0.as_bytes().to_vec())
        }

        fn glob(&self, _: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
            Ok(Vec::new())
        }
    }

    const LOCATIONS: &str = "server {
        location / { location /inner { } location ~ \\.deep$ { } }
        location = /exact { }
        location ^~ /kept/ { }
        location /slash/ { proxy_pass http://a; }
        location /files/ { root /x; }
        location ~ ^/(taken|kept)/ { }
        location ~* \\.PNG$ { }
        location /taken/ { }
        location @named { }
    }";

    /// Who gets a path; asked of nginx 1.22 as well.
    #[test]
    fn a_path_goes_where_nginx_takes_it() {
        let reader = One(LOCATIONS);
        let mut parser = Parser::new(&reader, Path::new(""));
        let tree = parser.file(Path::new("a.conf"));
        let site = Site::new(&tree, &parser.sources, Wishes::default());
        let (server, _) = site.named("server").next().unwrap();
        let served = |path: &str| match serve(&site, server, path) {
            Served::By(at) => label(&site, at),
            Served::Redirect(at) => format!("301 to {}", label(&site, at)),
            Served::Nobody => "nobody".into(),
        };
        for (path, expected) in [
            ("/x", "location /"),
            ("/exact", "location = /exact"),
            ("/exact/x", "location /"),
            ("/kept/x", "location ^~ /kept/"),
            ("/taken/x", "location ~ ^/(taken|kept)/"),
            ("/a.png", "location ~* \\.PNG$"),
            ("/inner/x", "location /inner"),
            ("/inner/x.png", "location ~* \\.PNG$"),
            ("/x.deep", "location ~ \\.deep$"),
            ("/slash", "301 to location /slash/"),
            ("/slash/", "location /slash/"),
            ("/files", "location /"),
        ] {
            assert_eq!(served(path), expected, "{path}");
        }
    }
}
