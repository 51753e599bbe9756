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
