//! Pure: which answers `gzip` compresses, and what that does to their headers.

use http::header::{self, HeaderMap, HeaderValue};
use longwire_conf::model::{Gzip, GzipProxied};

use super::facts::{Facts, Protocol};
use super::files::parse_date;

/// What `gzip` makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// It is none that is compressed.
    Out,
    /// It would be for another client.
    Spared,
    /// It is.
    Done,
}

/// Decides about an answer. `length` is that of its body, where it is known; `unix_us` is now.
pub fn judge(
    gzip: &Gzip,
    facts: &Facts,
    status: u16,
    headers: &HeaderMap,
    length: Option<u64>,
    unix_us: u64,
) -> Compression {
    let is_candidate = gzip.on
        && matches!(status, 200 | 403 | 404)
        && headers.get(header::CONTENT_ENCODING).is_none_or(HeaderValue::is_empty)
        && length.is_none_or(|length| length >= gzip.min_length)
        && is_of_type(gzip, headers);
    match is_candidate {
        false => Compression::Out,
        true if is_welcome(gzip, facts) && may_pass_proxies(gzip.proxied, facts, headers, unix_us) => {
            Compression::Done
        }
        true => Compression::Spared,
    }
}

/// Says in the headers of an answer what became of it.
pub fn mark(headers: &mut HeaderMap, compression: Compression, gzip: &Gzip) {
    if compression != Compression::Out && gzip.vary {
        // In front, as in nginx.
        let others: Vec<_> = headers.get_all(header::VARY).iter().cloned().collect();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        for other in others {
            headers.append(header::VARY, other);
        }
    }
    if compression != Compression::Done {
        return;
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    let Some(etag) = headers.remove(header::ETAG) else { return };
    let weak = match etag.as_bytes() {
        [b'W', b'/', ..] => Some(etag),
        [b'"', ..] => HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()).ok(),
        // As in nginx: nobody can tell what it would mean.
        _ => None,
    };
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

/// By how much it became smaller, as in `3.14`; rounded.
pub fn ratio(before: u64, after: u64) -> String {
    let hundredths = (before.saturating_mul(1000) / after.max(1) + 5) / 10;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn is_of_type(gzip: &Gzip, headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    !kind.is_empty()
        && gzip.types.iter().any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(kind))
}

/// Whether the client takes gzip.
fn is_welcome(gzip: &Gzip, facts: &Facts) -> bool {
    let first = |name| facts.headers.get(name).map(HeaderValue::as_bytes);
    let is_disliked = |agent: &[u8]| {
        let agent = String::from_utf8_lossy(agent);
        gzip.disable.iter().any(|regex| regex.is_match(&agent))
    };
    first(header::ACCEPT_ENCODING).is_some_and(accepts_gzip)
        && (gzip.http10 || facts.protocol >= Protocol::Http11)
        && !first(header::USER_AGENT).is_some_and(is_disliked)
}

/// Whether an `Accept-Encoding` names gzip, with a quality above 0. Nothing else is looked at, as in nginx.
fn accepts_gzip(value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |at: &usize| *at == 0 || matches!(value[*at - 1], b',' | b' ');
    let found = value.windows(4).enumerate().filter(|(_, word)| word == b"gzip").map(|(at, _)| at);
    let Some(at) = found.into_iter().find(begins) else { return false };
    let item = value[at + 4..].split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let Some(parameter) = item.strip_prefix(b";") else { return item.is_empty() };
    match parameter.trim_ascii_start() {
        [] => true,
        [b'q', quality @ ..] => match quality.strip_prefix(b"=") {
            Some(quality) => is_above_zero(quality),
            None => false,
        },
        _ => false,
    }
}

/// Whether a quality is one (RFC 9110, section 12.4.2) and not 0.
fn is_above_zero(quality: &[u8]) -> bool {
    let quality = quality.split(|byte| *byte == b' ').next().unwrap_or_default();
    let (whole, fraction) = match quality {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return false,
    };
    let digits = fraction.iter().all(u8::is_ascii_digit);
    let any = fraction.iter().any(|digit| *digit != b'0');
    digits && matches!((whole, any), (b'0', true) | (b'1', false))
}

/// `gzip_proxied`: whether a request that came through another proxy gets this answer compressed.
fn may_pass_proxies(allowed: GzipProxied, facts: &Facts, headers: &HeaderMap, unix_us: u64) -> bool {
    if !facts.headers.contains_key(header::VIA) || allowed.any {
        return true;
    }
    if allowed == GzipProxied::default() {
        return false;
    }
    if allowed.auth && facts.headers.contains_key(header::AUTHORIZATION) {
        return true;
    }
    if let Some(expires) = headers.get(header::EXPIRES) {
        let date = headers.get(header::DATE).and_then(|date| parse_date(date.as_bytes()));
        let now = date.unwrap_or(unix_us / 1_000_000);
        return allowed.expired && parse_date(expires.as_bytes()).is_some_and(|second| second < now);
    }
    if headers.contains_key(header::CACHE_CONTROL) {
        let words =
            headers.get_all(header::CACHE_CONTROL).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
        let words: Vec<_> = words.map(|word| word.trim_ascii().to_ascii_lowercase()).collect();
        let says = |name: &str| words.iter().any(|word| word == name.as_bytes());
        return (allowed.no_cache && says("no-cache"))
            || (allowed.no_store && says("no-store"))
            || (allowed.private && says("private"));
    }
    let unwanted = (allowed.no_last_modified && headers.contains_key(header::LAST_MODIFIED))
        || (allowed.no_etag && headers.contains_key(header::ETAG));
    !unwanted
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, headers, listed, settings};
    use super::*;

    fn on() -> Gzip {
        Gzip { on: true, ..(*settings().gzip).clone() }
    }

    fn answer(gzip: &Gzip, asked: &[(&str, &str)], status: u16, given: &[(&str, &str)]) -> Compression {
        let mut facts = facts("/");
        facts.headers = headers(asked);
        judge(gzip, &facts, status, &headers(given), None, facts.started_unix_us)
    }

    const TAKES: (&str, &str) = ("accept-encoding", "gzip");
    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    #[test]
    fn names_of_encodings_are_read_as_in_nginx() {
        for (value, expected) in [
            ("gzip", true),
            ("gzip, deflate", true),
            ("GZIP", true),
            ("deflate,gzip;q=1", true),
            ("br, gzip; q=0.001", true),
            ("gzip;q=0", false),
            ("gzip;q", false),
            ("gzip;", true),
            ("gzip;q=0.000", false),
            ("gzip;q=1.001", false),
            ("gzip;q=2", false),
            ("gzip;level=9", false),
            ("x-gzip", false),
            ("x-gzip,gzip", true),
            ("gzipped", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn only_some_answers_are_compressed() {
        let plain = ("content-type", "text/plain");
        for (status, given, expected) in [
            (200, &[HTML][..], Compression::Done),
            (403, &[HTML], Compression::Done),
            (404, &[HTML], Compression::Done),
            (500, &[HTML], Compression::Out),
            (206, &[HTML], Compression::Out),
            (200, &[plain], Compression::Out),
            (200, &[], Compression::Out),
            (200, &[HTML, ("content-encoding", "br")], Compression::Out),
        ] {
            assert_eq!(answer(&on(), &[TAKES], status, given), expected, "{status} {given:?}");
        }
        assert_eq!(answer(&on(), &[], 200, &[HTML]), Compression::Spared);
        assert_eq!(answer(&Gzip { on: false, ..on() }, &[TAKES], 200, &[HTML]), Compression::Out);
        let any = Gzip { types: ["*".to_owned()].into(), ..on() };
        assert_eq!(answer(&any, &[TAKES], 200, &[plain]), Compression::Done);
        let mut old = facts("/");
        (old.protocol, old.headers) = (Protocol::Http10, headers(&[TAKES]));
        let answered = |gzip: &Gzip, length| judge(gzip, &old, 200, &headers(&[HTML]), length, 0);
        assert_eq!(answered(&on(), None), Compression::Spared);
        assert_eq!(answered(&Gzip { http10: true, ..on() }, Some(20)), Compression::Done);
        assert_eq!(answered(&Gzip { http10: true, ..on() }, Some(19)), Compression::Out);
    }

    #[test]
    fn other_proxies_get_what_they_may_have() {
        let asked = [TAKES, ("via", "1.1 x"), ("authorization", "Basic eDp5")];
        let off = GzipProxied::default();
        for (allowed, given, expected) in [
            (off, &[HTML][..], false),
            (GzipProxied { any: true, ..off }, &[HTML], true),
            (GzipProxied { auth: true, ..off }, &[HTML, ("cache-control", "max-age=5")], true),
            (
                GzipProxied { expired: true, ..off },
                &[HTML, ("expires", "Thu, 01 Jan 1970 00:00:01 GMT")],
                true,
            ),
            (
                GzipProxied { expired: true, ..off },
                &[HTML, ("expires", "Thu, 31 Dec 2037 23:55:55 GMT")],
                false,
            ),
            (
                GzipProxied { no_etag: true, ..off },
                &[HTML, ("expires", "Thu, 01 Jan 1970 00:00:01 GMT")],
                false,
            ),
            (GzipProxied { no_cache: true, ..off }, &[HTML, ("cache-control", "private, No-Cache")], true),
            (GzipProxied { no_store: true, ..off }, &[HTML, ("cache-control", "private, no-cache")], false),
            (GzipProxied { private: true, ..off }, &[HTML, ("cache-control", "private")], true),
            (GzipProxied { no_etag: true, ..off }, &[HTML], true),
            (GzipProxied { no_etag: true, ..off }, &[HTML, ("etag", "\"x\"")], false),
            (GzipProxied { no_last_modified: true, ..off }, &[HTML, ("last-modified", "x")], false),
        ] {
            let gzip = Gzip { proxied: allowed, ..on() };
            let done = answer(&gzip, &asked, 200, given) == Compression::Done;
            assert_eq!(done, expected, "{allowed:?} {given:?}");
        }
    }

    #[test]
    fn headers_say_what_was_done() {
        let gzip = Gzip { vary: true, ..on() };
        let mut answer = headers(&[
            ("etag", "\"x\""),
            ("content-length", "5"),
            ("accept-ranges", "bytes"),
            ("vary", "Origin"),
        ]);
        mark(&mut answer, Compression::Spared, &gzip);
        assert_eq!(answer.get_all("vary").iter().count(), 2);
        mark(&mut answer, Compression::Done, &on());
        assert_eq!(
            listed(&answer),
            ["content-encoding: gzip", "etag: W/\"x\"", "vary: Accept-Encoding", "vary: Origin"]
        );
        mark(&mut answer, Compression::Done, &on());
        assert_eq!(answer["etag"], "W/\"x\"");
        let mut bare = headers(&[("etag", "x")]);
        mark(&mut bare, Compression::Done, &on());
        assert!(!bare.contains_key("etag"));
    }

    #[test]
    fn ratios_are_rounded() {
        for (before, after, text) in
            [(314, 100, "3.14"), (1000, 333, "3.00"), (2, 3, "0.67"), (0, 20, "0.00"), (1995, 1000, "2.00")]
        {
            assert_eq!(ratio(before, after), text);
        }
    }
}
