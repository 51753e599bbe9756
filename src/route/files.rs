//! Pure: which file a request is for, what is said of it, and which part of it goes out.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{self, HeaderName};
use longwire_conf::model::{Alias, IfModifiedSince, Root, Settings};

use super::uri::bytes;
use super::variables::Scope;

/// A path in the file system: a folder of the configuration, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath {
    /// The whole path.
    pub path: Vec<u8>,
    /// How much of it is the folder.
    pub folder: usize,
}

impl FilePath {
    /// What follows the folder.
    pub fn below(&self) -> &[u8] {
        self.path.get(self.folder..).unwrap_or_default()
    }

    /// Whether it leaves its folder by a `..`, which nothing that a client sends may do.
    pub fn escapes(&self) -> bool {
        self.below().split(|byte| *byte == b'/').any(|segment| segment == b"..")
    }
}

/// The folder of `root` or `alias`; absolute.
pub fn folder(root: &Root, scope: &Scope<'_>) -> Vec<u8> {
    let path = scope.render(&root.path);
    if path.starts_with(b"/") || root.path.as_literal().is_some() {
        return path;
    }
    [root.prefix.as_bytes(), b"/", &path].concat()
}

/// The file of the request's path. `None` where a rule changed the path after `alias` was chosen by it.
pub fn file_path(root: &Root, scope: &Scope<'_>) -> Option<FilePath> {
    let facts = scope.facts;
    if root.alias != Alias::No && facts.course.location_stale {
        return None;
    }
    let rest = match root.alias {
        Alias::No => facts.uri.as_str(),
        Alias::Prefix(length) => facts.uri.get(length..).unwrap_or(""),
        Alias::Whole if facts.course.below_alias => facts.uri.as_str(),
        Alias::Whole => "",
    };
    Some(below(folder(root, scope), &bytes(rest)))
}

/// A path below a folder.
pub fn below(folder: Vec<u8>, rest: &[u8]) -> FilePath {
    let length = folder.len();
    FilePath { path: [folder, rest.to_vec()].concat(), folder: length }
}

/// The media type of a path, by its extension.
pub fn content_type<'a>(settings: &'a Settings, uri: &str) -> &'a str {
    let known = extension(uri).and_then(|extension| settings.types.get(&extension.to_ascii_lowercase()));
    known.unwrap_or(&settings.default_type)
}

/// What follows the last dot of the last segment, unless that begins with it.
fn extension(uri: &str) -> Option<&str> {
    let name = uri.rsplit('/').next()?;
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension)
}

/// What makes a file's version known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Seconds since 1970.
    pub modified: u64,
    /// Bytes.
    pub length: u64,
}

impl Version {
    /// `"TIME-LENGTH"`, both in hexadecimal, as nginx makes it.
    pub fn etag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.modified, self.length)
    }
}

/// A second since 1970 as headers have it.
pub fn http_date(second: u64) -> String {
    // Headers have four digits for the year.
    let second = second.min(253_402_300_799);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second))
}

/// The second since 1970 of a header.
pub fn parse_date(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// What of a file goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Nothing: the client has it (304).
    Unmodified,
    /// Nothing: the client wants another version (412).
    Failed,
    /// These bytes (206).
    Ranges(Vec<Range<u64>>),
    /// Nothing: it has no such bytes (416).
    Unsatisfiable,
}

/// Compares the conditions of a request with a file, in nginx's order.
pub fn part(headers: &HeaderMap, version: Version, settings: &Settings) -> Part {
    let etag = settings.etag.then(|| version.etag());
    let get = |name: HeaderName| headers.get(name).map(|value| value.as_bytes());
    if let Some(since) = get(header::IF_UNMODIFIED_SINCE)
        && parse_date(since).is_none_or(|since| since < version.modified)
    {
        return Part::Failed;
    }
    if let Some(list) = get(header::IF_MATCH)
        && !names(list, etag.as_deref(), false)
    {
        return Part::Failed;
    }
    let since = get(header::IF_MODIFIED_SINCE);
    let none = get(header::IF_NONE_MATCH);
    let has_changed = since.is_some_and(|since| is_newer(since, version, settings.if_modified_since))
        || none.is_some_and(|list| !names(list, etag.as_deref(), true));
    if (since.is_some() || none.is_some()) && !has_changed {
        return Part::Unmodified;
    }
    let Some(wanted) = get(header::RANGE).filter(|range| range.len() >= 7) else { return Part::Whole };
    let (unit, list) = wanted.split_at(6);
    if !unit.eq_ignore_ascii_case(b"bytes=") || settings.max_ranges == Some(0) {
        return Part::Whole;
    }
    if let Some(condition) = get(header::IF_RANGE) {
        let same = match condition.ends_with(b"\"") && condition.len() >= 2 {
            true => etag.as_deref().is_some_and(|etag| etag.as_bytes() == condition),
            false => parse_date(condition) == Some(version.modified),
        };
        if !same {
            return Part::Whole;
        }
    }
    ranges(list, version.length, settings.max_ranges.unwrap_or(u64::MAX))
}

fn is_newer(since: &[u8], version: Version, rule: IfModifiedSince) -> bool {
    match (rule, parse_date(since)) {
        (IfModifiedSince::Off, _) | (_, None) => true,
        (_, Some(since)) if since == version.modified => false,
        (IfModifiedSince::Exact, _) => true,
        (IfModifiedSince::Before, Some(since)) => since < version.modified,
    }
}

/// Whether a list of entity tags has this one.
fn names(list: &[u8], etag: Option<&str>, weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|one| {
        let one = one.strip_prefix(b"W/").filter(|_| weak).unwrap_or(one);
        one == etag.as_bytes()
    })
}

/// The ranges behind `bytes=`.
fn ranges(list: &[u8], length: u64, most: u64) -> Part {
    let mut found = Vec::new();
    let mut total = 0_u64;
    for one in list.split(|byte| *byte == b',') {
        let Some((start, end)) = range(one, length) else { return Part::Unsatisfiable };
        if start < end {
            total = total.saturating_add(end - start);
            if found.len() as u64 >= most {
                return Part::Whole;
            }
            found.push(start..end);
        } else if start == 0 {
            return Part::Whole;
        }
    }
    match found.is_empty() {
        true => Part::Unsatisfiable,
        // More than there is would only cost.
        false if total > length => Part::Whole,
        false => Part::Ranges(found),
    }
}

/// One range: its first byte, and one past its last.
fn range(text: &[u8], length: u64) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        let text = text.trim_matches(' ');
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    if first.trim_matches(' ').is_empty() {
        let suffix = number(last)?;
        return Some((length.saturating_sub(suffix), length));
    }
    let start = number(first)?;
    if last.trim_matches(' ').is_empty() {
        return Some((start, length));
    }
    Some((start, number(last)?.saturating_add(1).min(length)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, headers, settings, template, with_scope};
    use super::*;

    const VERSION: Version = Version { modified: 1_700_000_000, length: 10 };
    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const TAG: &str = "\"6553f100-a\"";

    fn asked(sent: &[(&str, &str)], change: impl FnOnce(&mut Settings)) -> Part {
        let mut settings = settings();
        change(&mut settings);
        part(&headers(sent), VERSION, &settings)
    }

    #[test]
    fn a_version_is_told_as_by_nginx() {
        assert_eq!((VERSION.etag().as_str(), http_date(VERSION.modified).as_str()), (TAG, DATE));
        assert_eq!(parse_date(DATE.as_bytes()), Some(VERSION.modified));
        assert_eq!(parse_date(b"Tuesday, 14-Nov-23 22:13:20 GMT"), Some(VERSION.modified));
        assert_eq!((parse_date(b"x"), http_date(u64::MAX).as_str()), (None, "Fri, 31 Dec 9999 23:59:59 GMT"));
    }

    /// What nginx made of each condition: 304, 412 or the whole file.
    #[test]
    fn conditions_are_compared_as_in_nginx() {
        use Part::{Failed, Unmodified, Whole};
        let (before, after) = ("Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:21 GMT");
        let weak = format!("W/{TAG}");
        let two = format!("\"x\", {TAG}");
        let table = [
            ("if-modified-since", DATE, [Unmodified, Unmodified, Whole]),
            ("if-modified-since", after, [Whole, Unmodified, Whole]),
            ("if-modified-since", before, [Whole, Whole, Whole]),
            ("if-modified-since", "x", [Whole, Whole, Whole]),
            ("if-none-match", TAG, [Unmodified, Unmodified, Unmodified]),
            ("if-none-match", &weak, [Unmodified, Unmodified, Unmodified]),
            ("if-none-match", &two, [Unmodified, Unmodified, Unmodified]),
            ("if-none-match", "*", [Unmodified, Unmodified, Unmodified]),
            ("if-none-match", "\"x\"", [Whole, Whole, Whole]),
            ("if-match", TAG, [Whole, Whole, Whole]),
            ("if-match", "*", [Whole, Whole, Whole]),
            ("if-match", &weak, [Failed, Failed, Failed]),
            ("if-match", "\"x\"", [Failed, Failed, Failed]),
            ("if-unmodified-since", DATE, [Whole, Whole, Whole]),
            ("if-unmodified-since", before, [Failed, Failed, Failed]),
            ("if-unmodified-since", "x", [Failed, Failed, Failed]),
        ];
        let rules = [IfModifiedSince::Exact, IfModifiedSince::Before, IfModifiedSince::Off];
        for (name, value, expected) in table {
            for (rule, expected) in rules.into_iter().zip(expected) {
                let found = asked(&[(name, value)], |settings| settings.if_modified_since = rule);
                assert_eq!(found, expected, "{name}: {value}, {rule:?}");
            }
        }
        let both = [("if-none-match", TAG), ("if-modified-since", "x")];
        assert_eq!(asked(&both, |_| {}), Whole);
        assert_eq!(asked(&[("if-none-match", TAG)], |settings| settings.etag = false), Whole);
    }

    /// What nginx sent of a file of ten bytes; empty for 416, `None` for the whole file.
    #[test]
    fn ranges_are_read_as_by_nginx() {
        type Ranges<'a> = Option<&'a [(u64, u64)]>;
        let table: [(&str, Ranges<'_>); 20] = [
            ("bytes=0-3", Some(&[(0, 4)])),
            ("bytes=5-", Some(&[(5, 10)])),
            ("bytes=-3", Some(&[(7, 10)])),
            ("bytes=-30", Some(&[(0, 10)])),
            ("bytes=9-9", Some(&[(9, 10)])),
            ("bytes=5-100", Some(&[(5, 10)])),
            ("bytes=0-0,2-3", Some(&[(0, 1), (2, 4)])),
            ("bytes=0-0, -1", Some(&[(0, 1), (9, 10)])),
            ("bytes=0-1,20-", Some(&[(0, 2)])),
            ("bytes= 1 - 2", Some(&[(1, 3)])),
            ("BYTES=0-1", Some(&[(0, 2)])),
            ("bytes=10-", Some(&[])),
            ("bytes=20-30", Some(&[])),
            ("bytes=3-2", Some(&[])),
            ("bytes=-0", Some(&[])),
            ("bytes=x", Some(&[])),
            ("bytes=1-2,x", Some(&[])),
            ("bytes=0-8,0-8", None),
            ("bytes=", None),
            ("items=0-1", None),
        ];
        for (range, expected) in table {
            let expected = match expected {
                None => Part::Whole,
                Some([]) => Part::Unsatisfiable,
                Some(ranges) => Part::Ranges(ranges.iter().map(|(start, end)| *start..*end).collect()),
            };
            assert_eq!(asked(&[("range", range)], |_| {}), expected, "{range}");
        }
        let two = [("range", "bytes=0-0,2-3")];
        assert_eq!(asked(&two, |settings| settings.max_ranges = Some(1)), Part::Whole);
        assert_eq!(asked(&[("range", "bytes=0-0")], |settings| settings.max_ranges = Some(0)), Part::Whole);
        for (condition, counts) in [(TAG, true), (DATE, true), ("\"x\"", false), ("x", false)] {
            let found = asked(&[("range", "bytes=0-3"), ("if-range", condition)], |_| {});
            assert_eq!(found != Part::Whole, counts, "{condition}");
        }
    }

    #[test]
    fn paths_are_joined_and_stay_below_their_folder() {
        let root = |path: &str, alias| Root { path: template(path), prefix: "/prefix".into(), alias };
        let table = [
            (root("/srv", Alias::No), "/a/b", Some("/srv/a/b")),
            (root("/srv/i/", Alias::Prefix(3)), "/a/b", Some("/srv/i/b")),
            (root("/srv/$arg_x", Alias::No), "/a/b?x=y", Some("/srv/y/a/b")),
            (root("$arg_x", Alias::No), "/a/b?x=y", Some("/prefix/y/a/b")),
            (root("/srv/one", Alias::Whole), "/a/b", Some("/srv/one")),
        ];
        for (root, target, expected) in table {
            let mut facts = facts(target);
            let found = with_scope(&facts, &[], |scope| file_path(&root, scope));
            let shown = found.map(|found| String::from_utf8(found.path).unwrap());
            assert_eq!(shown.as_deref(), expected, "{root:?}");
            facts.course.location_stale = true;
            let found = with_scope(&facts, &[], |scope| file_path(&root, scope));
            assert_eq!(found.is_some(), root.alias == Alias::No, "alias and a changed path");
        }
        for (rest, escapes) in
            [("/a/../b", true), ("../b", true), ("/a/..", true), ("/a..b/...", false), ("", false)]
        {
            assert_eq!(below(b"/srv/..".to_vec(), rest.as_bytes()).escapes(), escapes, "{rest}");
        }
    }

    #[test]
    fn types_go_by_the_extension() {
        let settings = settings();
        for (uri, expected) in [
            ("/x.html", "text/html"),
            ("/x.HTML", "text/html"),
            ("/x.y/x", "text/plain"),
            ("/.html", "text/plain"),
            ("/x.html.gz", "text/plain"),
        ] {
            assert_eq!(content_type(&settings, uri), expected, "{uri}");
        }
    }
}
