//! `gzip`: answers are compressed on their way to the client.

use super::{ALL, ALL_IF, ANY, Entry, add, set};
use crate::build::Builder;
use crate::model::GzipProxied;
use crate::pattern;
use crate::tree::Directive;
use crate::value;

pub(super) const TABLE: &[Entry] = &[
    set(
        "gzip",
        ALL_IF,
        (1, 1),
        "on | off",
        "off",
        "Compresses answers with status 200, 403 or 404 for clients that take gzip. An answer that comes in pieces is passed on piece by piece: what the backend has sent is never held back to compress it better. Such an answer has no `Content-Length`, and its `ETag` is weak.",
        |b, d| b.level.layer.gzip.on = b.flag(d),
    ),
    add(
        "gzip_types",
        ALL,
        (1, ANY),
        "TYPE...",
        "text/html",
        "Media types that are compressed beside `text/html`; `*` is any.",
        gzip_types,
    ),
    set(
        "gzip_min_length",
        ALL,
        (1, 1),
        "SIZE",
        "20",
        "The shortest answer that is compressed. One of unknown length always is.",
        |b, d| b.level.layer.gzip.min_length = b.size(d, &d.args[0]),
    ),
    set(
        "gzip_comp_level",
        ALL,
        (1, 1),
        "LEVEL",
        "1",
        "From 1, the fastest, to 9, the smallest.",
        gzip_comp_level,
    ),
    set(
        "gzip_vary",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Adds `Vary: Accept-Encoding` to answers that are, or would be, compressed.",
        |b, d| b.level.layer.gzip.vary = b.flag(d),
    ),
    add(
        "gzip_proxied",
        ALL,
        (1, ANY),
        "off | expired | no-cache | no-store | private | no_last_modified | no_etag | auth | any ...",
        "off",
        "Which answers are compressed for requests that came through another proxy (those with `Via`).",
        gzip_proxied,
    ),
    set(
        "gzip_disable",
        ALL,
        (1, ANY),
        "REGEX...",
        "",
        "Nothing is compressed for clients whose `User-Agent` matches. `msie6` is accepted and matches nobody any more.",
        gzip_disable,
    ),
    set(
        "gzip_http_version",
        ALL,
        (1, 1),
        "1.0 | 1.1",
        "1.1",
        "The lowest version of HTTP for which answers are compressed.",
        gzip_http_version,
    ),
];

fn gzip_types(b: &mut Builder<'_>, d: &Directive) {
    let types = d.args.iter().map(|word| word.value.to_ascii_lowercase());
    // Written twice, both count, as in nginx.
    let known = b.level.layer.gzip.types.take().unwrap_or_default();
    b.level.layer.gzip.types = Some(types.chain(["text/html".to_owned()]).chain(known).collect());
}

fn gzip_comp_level(b: &mut Builder<'_>, d: &Directive) {
    match value::number(&d.args[0].value).filter(|level| (1..=9).contains(level)) {
        Some(level) => b.level.layer.gzip.level = Some(level as u32),
        None => b.invalid(d, &d.args[0], "a level", "write a number from 1 to 9"),
    }
}

fn gzip_proxied(b: &mut Builder<'_>, d: &Directive) {
    // Written twice, both count, as in nginx.
    let mut proxied = b.level.layer.gzip.proxied.take().unwrap_or_default();
    for word in &d.args {
        let flag = match word.value.as_str() {
            "off" => continue,
            "expired" => &mut proxied.expired,
            "no-cache" => &mut proxied.no_cache,
            "no-store" => &mut proxied.no_store,
            "private" => &mut proxied.private,
            "no_last_modified" => &mut proxied.no_last_modified,
            "no_etag" => &mut proxied.no_etag,
            "auth" => &mut proxied.auth,
            "any" => &mut proxied.any,
            _ => return b.invalid(d, word, "one of its values", "write \"any\" to compress all of them"),
        };
        *flag = true;
    }
    if d.args.iter().any(|word| word.value == "off") {
        proxied = GzipProxied::default();
    }
    b.level.layer.gzip.proxied = Some(proxied);
}

fn gzip_disable(b: &mut Builder<'_>, d: &Directive) {
    let mut all = Vec::new();
    for word in d.args.iter().filter(|word| word.value != "msie6" && word.value != "degradation") {
        match pattern::compile(word, &word.value, true) {
            Ok(regex) => all.push(regex),
            Err(mistake) => b.report(mistake),
        }
    }
    b.level.layer.gzip.disable = Some(all);
}

fn gzip_http_version(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.gzip.http10 = match d.args[0].value.as_str() {
        "1.0" => Some(true),
        "1.1" => Some(false),
        _ => return b.invalid(d, &d.args[0], "one of its values", "write \"1.0\" or \"1.1\""),
    };
}
