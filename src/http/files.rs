//! Files: found, and described as nginx does.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;

use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use longwire_conf::model::{Alias, Fallback, Level, Location};

use super::disk::{FileBody, Piece, metadata, open};
use super::exchange::{Exchange, Jump, Step, response};
use crate::metrics::HandshakeFault;
use crate::route::answer::{self, Reply};
use crate::route::files::{self, Part, Version, content_type, file_path, http_date};
use crate::route::gzip::{Compression, judge};
use crate::route::uri::{bytes, escape_uri, text};

/// An error of the system as nginx writes it: `(2: No such file or directory)`.
fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => format!("({number}: {})", text.split(" (os error").next().unwrap_or(&text)),
        None => format!("({text})"),
    }
}

/// Whether there is no such file, and nothing else is wrong.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// `try_files`: makes the path that of the first file that is there, or says where the request goes.
pub(super) async fn try_files(x: &mut Exchange, location: &Location) -> Option<Step> {
    let rule = location.try_files.as_ref()?;
    let root = x.settings.root.clone();
    if file_path(&root, &x.scope()).is_none() {
        return Some(stale_alias(x));
    }
    let folder = files::folder(&root, &x.scope());
    // What the location matched is no part of a path below `alias`.
    let strip = |x: &Exchange, value: Vec<u8>, has_variables: bool| match root.alias {
        Alias::Prefix(length) if has_variables => {
            let matched = bytes(x.facts.uri.get(..length).unwrap_or("")).into_owned();
            value
                .strip_prefix(matched.as_slice())
                .filter(|_| !matched.is_empty())
                .map(<[u8]>::to_vec)
                .unwrap_or(value)
        }
        _ => value,
    };
    for candidate in &rule.candidates {
        let name = x.scope().render(&candidate.path);
        let name = strip(x, name, candidate.path.as_literal().is_none());
        let path = files::below(folder.clone(), &name);
        if path.escapes() {
            continue;
        }
        let found = match metadata(path.path.clone()).await {
            Ok(found) => found,
            Err(error) => {
                if !is_absent(&error) {
                    let shown = String::from_utf8_lossy(&path.path);
                    x.log(Level::Crit, format_args!("stat() \"{shown}\" failed {}", errno(&error)));
                }
                continue;
            }
        };
        if found.is_dir() != candidate.directory {
            continue;
        }
        let name = text(name);
        match root.alias {
            Alias::No => x.facts.uri = name,
            Alias::Prefix(length) => {
                let uri = format!("{}{name}", x.facts.uri.get(..length).unwrap_or(""));
                x.facts.uri = uri;
            }
            Alias::Whole if candidate.directory => {}
            Alias::Whole => {
                x.facts.uri = name;
                x.facts.course.below_alias = true;
            }
        }
        return None;
    }
    Some(match &rule.fallback {
        Fallback::Code(444) => Step::Close,
        Fallback::Code(status) => {
            x.blame(
                HandshakeFault::NotProxied,
                format_args!("\"try_files\" in {} found no file and answers {status}", rule.at),
            );
            Step::Status(*status, None)
        }
        Fallback::Uri(uri) => {
            let target = strip(x, x.scope().render(uri), uri.as_literal().is_none());
            let target = text(target);
            match target.split_once('?') {
                _ if target.starts_with('@') => Step::Jump(Jump::Named(target)),
                Some((uri, args)) => Step::Jump(Jump::Path(uri.to_owned(), args.to_owned())),
                None => Step::Jump(Jump::Path(target, String::new())),
            }
        }
    })
}

fn stale_alias(x: &mut Exchange) -> Step {
    x.trouble(
        HandshakeFault::Configuration,
        format_args!("\"alias\" cannot be used where URI was rewritten"),
    );
    Step::Status(500, None)
}

/// Answers with the file of the request's path.
pub(super) async fn serve(x: &mut Exchange) -> Step {
    let is_read = matches!(x.method.as_str(), "GET" | "HEAD" | "POST");
    let is_folder = x.facts.uri.ends_with('/');
    if is_folder
        && is_read
        && let Some(step) = index(x).await
    {
        return step;
    }
    if !is_read {
        return refuse(x, Level::Info, 405, &format!("no file is served to {}", x.method));
    }
    let root = x.settings.root.clone();
    let path = file_path(&root, &x.scope());
    let Some(path) = path else { return stale_alias(x) };
    let shown = String::from_utf8_lossy(&path.path).into_owned();
    if is_folder {
        return refuse(x, Level::Error, 403, &format!("directory index of \"{shown}\" is forbidden"));
    }
    if path.escapes() {
        return refuse(x, Level::Error, 403, &format!("\"{shown}\" leaves the folder by \"..\""));
    }
    let opened = open(path.path).await;
    let (file, about) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let message = format!("open() \"{shown}\" failed {}", errno(&error));
            let (level, status) = match error.kind() {
                _ if is_absent(&error) => (Level::Error, 404),
                io::ErrorKind::PermissionDenied => (Level::Error, 403),
                _ => (Level::Crit, 500),
            };
            return refuse(x, level, status, &message);
        }
    };
    if about.is_dir() {
        let args = if x.facts.args.is_empty() { String::new() } else { format!("?{}", x.facts.args) };
        let place = format!("{}/{args}", escape_uri(&bytes(&x.facts.uri)));
        x.blame(
            HandshakeFault::Redirected,
            format_args!("\"{shown}\" is a directory, answered by 301 to \"{place}\""),
        );
        return Step::Status(301, Some(place.into_bytes()));
    }
    let Some(file) = file else {
        return refuse(x, Level::Crit, 404, &format!("\"{shown}\" is not a regular file"));
    };
    if x.method == "POST" {
        return refuse(x, Level::Info, 405, "no file is served to POST");
    }
    x.blame(
        HandshakeFault::NotProxied,
        format_args!("the file \"{shown}\" answers, nothing is proxied here"),
    );
    answer(x, file, &about).await
}

/// No file is sent: says so, in the one line of a handshake or in one of its own.
fn refuse(x: &mut Exchange, level: Level, status: u16, message: &str) -> Step {
    if x.handshake && !x.is_explained(HandshakeFault::NoLocation) {
        let uri = &x.facts.uri;
        // That a file of this name is missing is no news to who wants a WebSocket.
        let message = if status == 404 { "" } else { message };
        let colon = if status == 404 { "" } else { ": " };
        x.blame(
            HandshakeFault::NoLocation,
            format_args!("no location with a proxy_pass matches \"{uri}\"{colon}{message}"),
        );
    } else if (status != 404 || x.settings.log_not_found) && level != Level::Info {
        x.log(level, format_args!("{message}"));
    }
    Step::Status(status, None)
}

/// `index`: where a path that ends with a slash leads.
async fn index(x: &mut Exchange) -> Option<Step> {
    let settings = x.settings.clone();
    let mut is_folder_known = false;
    for name in settings.index.iter() {
        let name = x.scope().render(name);
        if name.starts_with(b"/") {
            return Some(Step::Jump(Jump::Path(text(name), x.facts.args.clone())));
        }
        let path = file_path(&settings.root, &x.scope());
        let Some(folder) = path else { return Some(stale_alias(x)) };
        let path = files::below(folder.path.clone(), &name);
        if folder.escapes() || path.escapes() {
            continue;
        }
        let shown = String::from_utf8_lossy(&path.path).into_owned();
        let Err(error) = metadata(path.path).await else {
            let uri = format!("{}{}", x.facts.uri, text(name));
            return Some(Step::Jump(Jump::Path(uri, x.facts.args.clone())));
        };
        if error.kind() != io::ErrorKind::NotFound {
            return Some(no_index(x, &shown, &error));
        }
        if !is_folder_known && let Err(error) = metadata(folder.path).await {
            return Some(no_index(x, &shown, &error));
        }
        is_folder_known = true;
    }
    None
}

fn no_index(x: &mut Exchange, shown: &str, error: &io::Error) -> Step {
    match error.kind() {
        _ if is_absent(error) => {
            refuse(x, Level::Error, 404, &format!("\"{shown}\" is not found {}", errno(error)))
        }
        io::ErrorKind::PermissionDenied => {
            refuse(x, Level::Error, 403, &format!("\"{shown}\" is forbidden {}", errno(error)))
        }
        _ => refuse(x, Level::Crit, 500, &format!("stat() \"{shown}\" failed {}", errno(error))),
    }
}

/// The answer with a file, or with the part of it that is asked for.
async fn answer(x: &mut Exchange, file: File, about: &Metadata) -> Step {
    let version = Version { modified: u64::try_from(about.mtime()).unwrap_or(0), length: about.len() };
    let settings = x.settings.clone();
    let kind = header_value(content_type(&settings, &x.facts.uri));
    let mut headers = HeaderMap::new();
    let is_forced = x.facts.outcome.forced.is_some_and(|status| status != 200);
    if !is_forced {
        headers.insert(header::LAST_MODIFIED, header_value(&http_date(version.modified)));
    }
    if settings.etag {
        headers.insert(header::ETAG, header_value(&version.etag()));
    }
    // An error page is sent whole.
    let part = match is_forced {
        false => files::part(&x.facts.headers, version, &settings),
        true => Part::Whole,
    };
    let part = match part {
        // What is compressed has no parts, as in nginx.
        Part::Ranges(_) | Part::Unsatisfiable if is_compressed(x, &headers, &kind, version.length) => {
            Part::Whole
        }
        part => part,
    };
    let status = x.facts.outcome.forced.unwrap_or(200);
    let whole = || VecDeque::from([Piece::File(0..version.length)]);
    let (status, pieces) = match part {
        Part::Failed => return Step::Status(412, None),
        Part::Unsatisfiable => {
            // nginx finds out after it has added headers, and these stay.
            x.extra = answer::finished(200, HeaderMap::new(), Vec::new(), &settings, &x.scope()).headers;
            let range = header_value(&format!("bytes */{}", version.length));
            x.extra.insert(header::CONTENT_RANGE, range);
            return Step::Status(416, None);
        }
        Part::Unmodified => (304, VecDeque::new()),
        Part::Whole => {
            headers.insert(header::CONTENT_TYPE, kind);
            if status == 200 && settings.max_ranges != Some(0) {
                headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            (status, whole())
        }
        Part::Ranges(ranges) => (206, partial(&mut headers, &kind, &ranges, version.length, x.facts.number)),
    };
    let reply = answer::finished(status, headers, Vec::new(), &settings, &x.scope());
    send(x, reply, file, pieces).await
}

fn is_compressed(x: &Exchange, headers: &HeaderMap, kind: &HeaderValue, length: u64) -> bool {
    let mut headers = headers.clone();
    headers.insert(header::CONTENT_TYPE, kind.clone());
    let now = x.scope().unix_us();
    judge(&x.settings.gzip, &x.facts, 200, &headers, Some(length), now) == Compression::Done
}

async fn send(x: &Exchange, reply: Reply, file: File, pieces: VecDeque<Piece>) -> Step {
    let length: u64 = pieces.iter().map(Piece::length).sum();
    let mut response = response(reply);
    if response.status() != 304 {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if x.method != "HEAD" && length > 0 {
        *response.body_mut() = FileBody::new(file, pieces).boxed_unsync();
    }
    Step::Response(response)
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// The pieces of an answer with ranges, and its headers; several ranges go out as `multipart/byteranges`.
fn partial(
    headers: &mut HeaderMap,
    kind: &HeaderValue,
    ranges: &[Range<u64>],
    length: u64,
    number: u64,
) -> VecDeque<Piece> {
    let shown = |range: &Range<u64>| format!("bytes {}-{}/{length}", range.start, range.end - 1);
    if let [range] = ranges {
        headers.insert(header::CONTENT_TYPE, kind.clone());
        headers.insert(header::CONTENT_RANGE, header_value(&shown(range)));
        return VecDeque::from([Piece::File(range.clone())]);
    }
    let boundary = format!("{number:020}");
    let kind = String::from_utf8_lossy(kind.as_bytes()).into_owned();
    headers.insert(header::CONTENT_TYPE, header_value(&format!("multipart/byteranges; boundary={boundary}")));
    let mut pieces = VecDeque::new();
    for range in ranges {
        let head =
            format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {}\r\n\r\n", shown(range));
        pieces.push_back(Piece::Text(head.into()));
        pieces.push_back(Piece::File(range.clone()));
    }
    pieces.push_back(Piece::Text(format!("\r\n--{boundary}--\r\n").into()));
    pieces
}
