//! Pure: which location a request is for.

use longwire_conf::model::{Content, Location, Matcher};

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
        // Names that an expression around this one captured are still known.
        let captures = chosen.take().map(|outer| outer.captures).unwrap_or_default().then(captures);
        *chosen = Some(Chosen { location, path: at.clone(), how: How::Regex, captures });
        search(&location.locations, path, at, chosen);
        at.pop();
        return Verdict::Final;
    }
    Verdict::Remembered
}

/// The best location of one level without expressions: the whole path, `=` before a prefix; else a proxied one
/// that only lacks the last slash (where `=` and a prefix have one path, `=` answers, whichever of them is proxied);
/// else the longest prefix.
fn best_static(level: &[Location], path: &str) -> Option<(usize, How)> {
    let (mut slash, mut exact_slash) = (None, None);
    let mut longest: Option<(usize, usize)> = None;
    for (index, location) in level.iter().enumerate() {
        match &location.matcher {
            Matcher::Exact(whole) if whole == path => return Some((index, How::Exact)),
            Matcher::Prefix { path: prefix, .. } if path.starts_with(prefix.as_str()) => {
                longest =
                    longest.filter(|(_, length)| *length >= prefix.len()).or(Some((index, prefix.len())));
            }
            Matcher::Exact(whole) | Matcher::Prefix { path: whole, .. } if lacks_slash(whole, path) => {
                if matches!(location.content, Content::Proxy(_)) {
                    slash = slash.or(Some((index, How::Slash)));
                }
                if matches!(location.matcher, Matcher::Exact(_)) {
                    exact_slash = Some((index, How::Slash));
                }
            }
            _ => {}
        }
    }
    let slash = slash.map(|found| exact_slash.unwrap_or(found));
    let longest = longest.map(|(index, length)| (index, How::Prefix(length)));
    match longest {
        Some((_, How::Prefix(length))) if length == path.len() => longest,
        _ => slash.or(longest),
    }
}

fn lacks_slash(whole: &str, path: &str) -> bool {
    whole.strip_suffix('/') == Some(path)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{location, proxied};
    use super::*;

    fn tree() -> Vec<Location> {
        let leaf = |head| location(head, Vec::new());
        let to = "http://127.0.0.1:3000";
        let inner = location("/img/n/", vec![leaf(r"~ n\.png$")]);
        vec![
            leaf("/"),
            leaf("= /"),
            location("/img/", vec![leaf(r"~ \.gif$"), leaf("^~ /img/s/"), inner]),
            location("^~ /st/", vec![leaf(r"~ \.inner$"), leaf("/st/deep/")]),
            leaf(r"~ \.(gif|png)$"),
            leaf(r"~* \.JPG$"),
            leaf(r"~ \.inner$"),
            proxied("/p/", to),
            proxied("= /q/", to),
            leaf("~ ^/p$"),
            proxied("/r/", to),
            leaf("= /r"),
            proxied("/s/", to),
            leaf("/s"),
            proxied("/s p/", to),
            location("~ ^/nest/(?<who>[a-z]+)", vec![leaf(r"~ /x/(\d+)")]),
            location("/outer", vec![proxied("/outer/in/", to)]),
            leaf("~ /outer/in$"),
            leaf("@named"),
        ]
    }

    fn at<'a>(tree: &'a [Location], path: &[usize]) -> &'a Location {
        let (first, rest) = path.split_first().unwrap();
        if rest.is_empty() { &tree[*first] } else { at(&tree[*first].locations, rest) }
    }

    /// What nginx chose for each path. Expressions have their index path, as two are alike.
    #[test]
    fn locations_are_chosen_as_in_nginx() {
        let table: [(&str, How, &[usize]); 38] = [
            ("/", How::Exact, &[1]),
            ("/x", How::Prefix(1), &[0]),
            ("/img", How::Prefix(1), &[0]),
            ("/img/a", How::Prefix(5), &[2]),
            ("/img/a.gif", How::Regex, &[2, 0]),
            ("/img/a.png", How::Regex, &[4]),
            ("/img/s/a.gif", How::Regex, &[4]),
            ("/img/s/a.png", How::Regex, &[4]),
            ("/img/s/a", How::Prefix(7), &[2, 1]),
            ("/img/n/n.png", How::Regex, &[2, 2, 0]),
            ("/img/n/a.png", How::Regex, &[4]),
            ("/img/n/a.gif", How::Regex, &[2, 0]),
            ("/img/n/a", How::Prefix(7), &[2, 2]),
            ("/st/a.gif", How::Prefix(4), &[3]),
            ("/st/a.inner", How::Regex, &[3, 0]),
            ("/st/deep/a.inner", How::Regex, &[3, 0]),
            ("/st/deep/a", How::Prefix(9), &[3, 1]),
            ("/a.jpg", How::Regex, &[5]),
            ("/a.inner", How::Regex, &[6]),
            ("/IMG/a.PNG", How::Prefix(1), &[0]),
            ("/p", How::Slash, &[7]),
            ("/p/", How::Prefix(3), &[7]),
            ("/q", How::Slash, &[8]),
            ("/q/", How::Exact, &[8]),
            ("/q/x", How::Prefix(1), &[0]),
            ("/r", How::Exact, &[11]),
            ("/r/", How::Prefix(3), &[10]),
            ("/s", How::Prefix(2), &[13]),
            ("/sx", How::Prefix(2), &[13]),
            ("/s p", How::Slash, &[14]),
            ("/s p/", How::Prefix(5), &[14]),
            ("/nest/abc", How::Regex, &[15]),
            ("/nest/abc/x/12", How::Regex, &[15, 0]),
            ("/outer", How::Prefix(6), &[16]),
            ("/outer/in", How::Slash, &[16, 0]),
            ("/outer/in/", How::Prefix(10), &[16, 0]),
            ("/outer/inx", How::Prefix(6), &[16]),
            ("/x/outer/in", How::Regex, &[17]),
        ];
        let tree = tree();
        for (path, how, index) in table {
            let chosen = find(&tree, path).unwrap();
            assert_eq!((chosen.how, chosen.path.as_slice()), (how, index), "{path}");
            assert!(std::ptr::eq(chosen.location, at(&tree, index)));
        }
    }

    #[test]
    fn captures_come_from_the_chosen_expression() {
        let tree = tree();
        let chosen = find(&tree, "/nest/abc/x/12").unwrap();
        assert_eq!(chosen.captures.numbered[1].as_deref(), Some("12"));
        assert_eq!(chosen.captures.named, [("who".to_owned(), "abc".to_owned())]);
        let chosen = find(&tree, "/nest/abc").unwrap();
        assert_eq!(chosen.captures.named, [("who".to_owned(), "abc".to_owned())]);
        assert!(find(&tree, "/img/a").unwrap().captures.numbered.is_empty());
    }

    #[test]
    fn a_missing_slash_is_redirected() {
        let tree = tree();
        assert_eq!(find(&tree, "/p").unwrap().redirect(""), "/p/");
        assert_eq!(find(&tree, "/p").unwrap().redirect("a=b"), "/p/?a=b");
        assert_eq!(find(&tree, "/s p").unwrap().redirect(""), "/s%20p/");
    }

    #[test]
    fn names_are_found_only_by_name() {
        let tree = tree();
        assert_eq!(named(&tree, "@named").unwrap().how, How::Named);
        assert!(named(&tree, "@other").is_none());
        assert!(find(&tree[1..2], "/x").is_none());
        assert!(find(&tree[18..], "@named").is_none());
    }
}
