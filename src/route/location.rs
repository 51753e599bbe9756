//! Pure: which location a request is for.

use longwire_conf::model::{Action, Location, Matcher};

use super::facts::Captures;
use super::uri::{bytes, escape_uri};

/// A location that was chosen.
#[derive(Debug, Clone)]
pub struct Chosen<'a> {
    /// The location.
    pub location: &'a Location,
    /// Where it stands: index at each level of nesting, outermost first.
    pub path: Vec<usize>,
    /// What made it match.
    pub how: How,
    /// What its expression captured, or that of a location around it.
    pub captures: Captures,
}

/// What made a location match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `=`: the whole path.
    Exact,
    /// A prefix of this many bytes of the path.
    Prefix(usize),
    /// A regular expression.
    Regex,
    /// By name.
    Named,
    /// Not the location itself, only its path without the last slash: the answer is 301 to [`Chosen::redirect`].
    Slash,
}

impl Chosen<'_> {
    /// Where a request for `/x` goes when `/x/` is proxied.
    pub fn redirect(&self, args: &str) -> String {
        let path = match &self.location.matcher {
            Matcher::Exact(path) | Matcher::Prefix { path, .. } => escape_uri(&bytes(path)),
            Matcher::Regex(_) | Matcher::Named(_) => String::new(),
        };
        if args.is_empty() { path } else { format!("{path}?{args}") }
    }
}

/// Looks for the location of a normalised path among those of a server.
///
/// At each level the exact match wins, else the longest prefix is searched from the inside, then the expressions
/// of this level are tried, unless the prefix forbids it; what is left is the prefix. So the expressions of the
/// innermost level come first.
pub fn find<'a>(locations: &'a [Location], path: &str) -> Option<Chosen<'a>> {
    let mut chosen = None;
    search(locations, path, &mut Vec::new(), &mut chosen);
    chosen
}

/// Looks for `@name` (written with the `@`) among the locations of a server.
pub fn named<'a>(locations: &'a [Location], name: &str) -> Option<Chosen<'a>> {
    let bare = |name: &str| name.strip_prefix('@').unwrap_or(name).to_owned();
    let same = |matcher: &Matcher| matches!(matcher, Matcher::Named(known) if bare(known) == bare(name));
    let index = locations.iter().position(|location| same(&location.matcher))?;
    let location = locations.get(index)?;
    Some(Chosen { location, path: vec![index], how: How::Named, captures: Captures::default() })
}

/// Whether the search is over, or outer expressions may still beat what was found.
#[derive(PartialEq, Eq)]
enum Verdict {
    Final,
    Remembered,
}

fn search<'a>(
    level: &'a [Location],
    path: &str,
    at: &mut Vec<usize>,
    chosen: &mut Option<Chosen<'a>>,
) -> Verdict {
    let mut regexes_allowed = true;
    if let Some((index, how)) = best_static(level, path) {
        let location = &level[index];
        at.push(index);
        let captures = chosen.take().map(|outer| outer.captures).unwrap_or_default();
        *chosen = Some(Chosen { location, path: at.clone(), how, captures });
        let verdict = match how {
            How::Prefix(_) => search(&location.locations, path, at, chosen),
            _ => Verdict::Final,
        };
        at.pop();
        if verdict == Verdict::Final {
            return Verdict::Final;
        }
        regexes_allowed = !matches!(location.matcher, Matcher::Prefix { no_regex: true, .. });
    }
    if !regexes_allowed {
        return Verdict::Remembered;
    }
    for (index, location) in level.iter().enumerate() {
        let Matcher::Regex(regex) = &location.matcher else { continue };
        let Some(captures) = Captures::of(regex, path) else { continue };
        at.push(index);
        *chosen = Some(Chosen { location, path: at.clone(), how: How::Regex, captures });
        search(&location.locations, path, at, chosen);
        at.pop();
        return Verdict::Final;
    }
    Verdict::Remembered
}

/// The best location of one level without expressions: the whole path, `=` before a prefix; else a proxied one
/// that only lacks the last slash; else the longest prefix.
fn best_static(level: &[Location], path: &str) -> Option<(usize, How)> {
    let mut slash = None;
    let mut longest: Option<(usize, usize)> = None;
    for (index, location) in level.iter().enumerate() {
        match &location.matcher {
            Matcher::Exact(whole) if whole == path => return Some((index, How::Exact)),
            Matcher::Prefix { path: prefix, .. } if path.starts_with(prefix.as_str()) => {
                if longest.is_none_or(|(_, length)| prefix.len() > length) {
                    longest = Some((index, prefix.len()));
                }
            }
            Matcher::Exact(whole) | Matcher::Prefix { path: whole, .. }
                if lacks_slash(location, whole, path) =>
            {
                slash = slash.or(Some((index, How::Slash)));
            }
            _ => {}
        }
    }
    let longest = longest.map(|(index, length)| (index, How::Prefix(length)));
    match longest {
        Some((_, How::Prefix(length))) if length == path.len() => longest,
        _ => slash.or(longest),
    }
}

fn lacks_slash(location: &Location, whole: &str, path: &str) -> bool {
    matches!(location.action, Some(Action::Proxy(_))) && whole.strip_suffix('/') == Some(path)
}
