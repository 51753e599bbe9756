//! Files: where they are, how they are named, what is said of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    ALL, ALL_IF, ANY, Context, Entry, LOCATION, SERVER_LOCATION, accepted, add, block, refused, set,
};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{
    Alias, Candidate, Expires, Expiry, Fallback, IfModifiedSince, Matcher, Root, Spanned, TryFiles,
};
use crate::source::Span;
use crate::tree::Directive;

const CACHE: &str = "files are opened for each request";
const LISTS: &str = "directories are not listed: one without an index file is answered with 403";
const READ: &str = "files are read as fast as the client takes them";

pub(super) const TABLE: &[Entry] = &[
    set(
        "root",
        ALL_IF,
        (1, 1),
        "PATH",
        "html",
        "The folder that a request's path is looked for in, where nothing else answers. A relative one counts from the prefix (`-p`).",
        |b, d| root(b, d, false),
    ),
    set(
        "alias",
        LOCATION,
        (1, 1),
        "PATH",
        "",
        "The same, and what the location matched is left out of the path. In a location by regular expression it is the file itself.",
        |b, d| root(b, d, true),
    ),
    add(
        "index",
        ALL,
        (1, ANY),
        "FILE...",
        "index.html",
        "Files that stand for a path that ends with a slash; the first that is there. The request goes to that path and may come to another location by it. Inherited only by a level that names none of its own.",
        index,
    ),
    set(
        "try_files",
        SERVER_LOCATION,
        (2, ANY),
        "FILE... URI | @NAME | =CODE",
        "",
        "Looks for files (or directories, with a slash at the end) below `root`; the first that is there is what the request is for. If none is, it goes to the last argument: another path, a named location, or a status.",
        try_files,
    ),
    block(
        "types",
        ALL,
        (0, 0),
        "",
        "Media types by extension: `text/html html htm;`. Inherited only by a level that has no block of its own. `include mime.types` where there is no such file gives the usual types.",
        types,
    ),
    set(
        "default_type",
        ALL,
        (1, 1),
        "TYPE",
        "text/plain",
        "The `Content-Type` of files, and of a `return` with text, whose extension `types` does not know.",
        |b, d| b.level.layer.default_type = Some(d.args[0].value.clone()),
    ),
    set(
        "etag",
        ALL,
        (1, 1),
        "on | off",
        "on",
        "Whether files have an `ETag`, made of time and length.",
        |b, d| {
            b.level.layer.etag = b.flag(d);
        },
    ),
    set(
        "if_modified_since",
        ALL,
        (1, 1),
        "off | exact | before",
        "exact",
        "How `If-Modified-Since` is compared with the time of a file.",
        if_modified_since,
    ),
    set(
        "max_ranges",
        ALL,
        (1, 1),
        "NUMBER",
        "",
        "How many ranges of a file may be asked for at once; with more, or with 0, the whole file is sent.",
        |b, d| b.level.layer.max_ranges = b.number(d).map(Some),
    ),
    set(
        "log_not_found",
        ALL,
        (1, 1),
        "on | off",
        "on",
        "Whether the error log tells of files that are not there.",
        |b, d| b.level.layer.log_not_found = b.flag(d),
    ),
    set(
        "expires",
        ALL_IF,
        (1, 2),
        "[modified] TIME | @TIME | epoch | max | off",
        "off",
        "Sets `Expires` and `Cache-Control` of answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308: so long from now, from the last change with `modified`, or until a time of the day. A time in the past and `epoch` forbid to keep the answer. The value may have variables.",
        expires,
    ),
    accepted("autoindex", ALL, LISTS),
    accepted("autoindex_exact_size", ALL, LISTS),
    accepted("autoindex_format", ALL, LISTS),
    accepted("autoindex_localtime", ALL, LISTS),
    accepted("sendfile", ALL_IF, READ),
    accepted("sendfile_max_chunk", ALL, READ),
    accepted("aio", ALL, READ),
    accepted("aio_write", ALL, READ),
    accepted("directio", ALL, READ),
    accepted("directio_alignment", ALL, READ),
    accepted("read_ahead", ALL, READ),
    accepted("thread_pool", &[Context::Main], READ),
    accepted("open_file_cache", ALL, CACHE),
    accepted("open_file_cache_errors", ALL, CACHE),
    accepted("open_file_cache_events", ALL, CACHE),
    accepted("open_file_cache_min_uses", ALL, CACHE),
    accepted("open_file_cache_valid", ALL, CACHE),
    refused(
        "disable_symlinks",
        ALL,
        "Longwire does not refuse symbolic links yet. Leaving this out would follow them",
    ),
];

fn root(b: &mut Builder<'_>, d: &Directive, alias: bool) {
    let (name, word) = (&d.name.value, &d.args[0]);
    let other = if alias { "root" } else { "alias" };
    if b.level.seen.contains_key(other) {
        let message =
            format!("\"{name}\" directive is duplicate, \"{other}\" directive was specified earlier");
        return b.report(Diagnostic::error(d.span, message).help("keep the one that is meant"));
    }
    let variable = ["document_root", "realpath_root"].into_iter().find(|name| {
        word.value.contains(&format!("${name}")) || word.value.contains(&format!("${{{name}}}"))
    });
    if let Some(variable) = variable {
        let message = format!("the ${variable} variable cannot be used in the \"{name}\" directive");
        return b.report(Diagnostic::error(word.span, message));
    }
    let alias = match &b.level.matcher {
        _ if !alias => Alias::No,
        Some(Matcher::Named(_)) => {
            let message = "the \"alias\" directive cannot be used inside the named location";
            return b.report(Diagnostic::error(d.span, message).help("write \"root\""));
        }
        Some(Matcher::Regex(_)) => Alias::Whole,
        Some(Matcher::Exact(path) | Matcher::Prefix { path, .. }) => Alias::Prefix(path.len()),
        None => Alias::No,
    };
    let mut text = word.value.clone();
    if alias == Alias::No && text.ends_with('/') {
        text.pop();
    }
    let prefix: Arc<str> = b.prefix.to_string_lossy().into();
    // "/" itself is empty by now.
    if !word.value.starts_with(['$', '/']) {
        text = format!("{prefix}/{text}");
    }
    let Some(path) = b.template_at(&text, word.span) else { return };
    b.level.layer.root = Some(Arc::new(Root { path, prefix, alias }));
}

fn index(b: &mut Builder<'_>, d: &Directive) {
    for word in &d.args {
        if word.value.is_empty() {
            return b.report(Diagnostic::error(word.span, "index \"\" in \"index\" directive is invalid"));
        }
        let Some(name) = b.template(word) else { return };
        b.level.layer.index.get_or_insert_default().push(name);
    }
}

fn try_files(b: &mut Builder<'_>, d: &Directive) {
    let [candidates @ .., last] = d.args.as_slice() else { return };
    let mut list = Vec::new();
    for word in candidates {
        let bare = word.value.strip_suffix('/');
        let Some(path) = b.template_at(bare.unwrap_or(&word.value), word.span) else { return };
        list.push(Candidate { path, directory: bare.is_some() });
    }
    let fallback = match last.value.strip_prefix('=') {
        Some(code) => match code.parse().ok().filter(|code| *code <= 999) {
            Some(code) => Fallback::Code(code),
            None => {
                let message = format!("invalid code \"{code}\"");
                return b.report(Diagnostic::error(last.span, message).help("write for example \"=404\""));
            }
        },
        None => {
            let Some(uri) = b.template(last) else { return };
            if let Some(name) = uri.as_literal().and_then(|uri| uri.strip_prefix('@')) {
                b.level.named_pages.push(Spanned { value: name.to_owned(), span: last.span });
            }
            Fallback::Uri(uri)
        }
    };
    let at = b.at(d.span);
    b.level.try_files = Some(TryFiles { candidates: list, fallback, at });
}

fn types(b: &mut Builder<'_>, d: &Directive) {
    let mut types = HashMap::new();
    for entry in d.block.iter().flatten() {
        for extension in &entry.args {
            types.insert(extension.value.to_ascii_lowercase(), entry.name.value.clone());
        }
    }
    // Several blocks of one level add up, as one and an included file do.
    let known = b.level.layer.types.take();
    let mut all = known.map(Arc::unwrap_or_clone).unwrap_or_default();
    all.extend(types);
    b.level.layer.types = Some(Arc::new(all));
}

fn if_modified_since(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.if_modified_since = match d.args[0].value.as_str() {
        "off" => Some(IfModifiedSince::Off),
        "exact" => Some(IfModifiedSince::Exact),
        "before" => Some(IfModifiedSince::Before),
        _ => return b.invalid(d, &d.args[0], "one of its values", "write \"off\", \"exact\" or \"before\""),
    };
}

fn expires(b: &mut Builder<'_>, d: &Directive) {
    let (modified, word) = match d.args.as_slice() {
        [word] => (false, word),
        [first, word] if first.value == "modified" => (true, word),
        _ => return invalid_expires(b, d.span, "only \"modified\" may stand before the time"),
    };
    if word.value.contains('$') {
        let Some(value) = b.template(word) else { return };
        b.level.layer.expires = Some(Expires::Variable(value, modified));
        return;
    }
    match Expiry::parse(&word.value, modified) {
        Ok(expiry) => b.level.layer.expires = Some(Expires::Fixed(expiry)),
        Err(reason) => invalid_expires(b, word.span, reason),
    }
}

fn invalid_expires(b: &mut Builder<'_>, span: Span, reason: &str) {
    let message = "\"expires\" directive invalid value";
    b.report(
        Diagnostic::error(span, message)
            .label(reason.to_owned())
            .help("write for example \"1h\", \"-1\", \"max\", \"epoch\" or \"off\""),
    );
}
