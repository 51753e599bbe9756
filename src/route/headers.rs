//! Pure: headers on their way through: which are read, which end here, which are added.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use longwire_conf::model::{AddHeader, Expires, Expiry, Server, Settings};

use super::expires::set_expires;
use super::variables::Scope;

/// The headers of a request that count, by `underscores_in_headers` and `ignore_invalid_headers`.
///
/// To be applied once when a head was read, before anything asks for a header.
pub fn accepted(mut headers: HeaderMap, server: &Server) -> HeaderMap {
    if !server.ignore_invalid_headers {
        return headers;
    }
    let underscores = server.underscores_in_headers;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || (underscores && byte == b'_');
    let refused = |name: &&HeaderName| !name.as_str().bytes().all(valid);
    let refused: Vec<HeaderName> = headers.keys().filter(refused).cloned().collect();
    for name in refused {
        headers.remove(name);
    }
    headers
}

/// Removes what belongs to one connection only (RFC 9110, section 7.6.1): the usual names and those that
/// `Connection` lists. `Trailer` stays, it is about the message.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // A client must not be able to take away what routing at the backend depends on.
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    let usual = [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    for name in listed.into_iter().chain(usual) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// A value that a header can carry: line breaks and other controls become spaces (RFC 9110, section 5.5).
pub(super) fn header_value(value: Vec<u8>) -> HeaderValue {
    let clean = |byte: u8| if byte == b'\t' || (byte >= b' ' && byte != 0x7f) { byte } else { b' ' };
    let value: Vec<u8> = value.into_iter().map(clean).collect();
    HeaderValue::from_bytes(value.trim_ascii()).unwrap_or(HeaderValue::from_static(""))
}

/// Applies `expires`, and `add_header`: for nginx's list of statuses, for any with `always`; never an empty value.
///
/// What counts is the status that is sent, also where an error page forces it.
pub fn add_headers(headers: &mut HeaderMap, status: u16, settings: &Settings, scope: &Scope<'_>) {
    let rules = &settings.add_header;
    let expires = settings.expires != Expires::Fixed(Expiry::Off);
    if expires || !rules.is_empty() {
        scope.answering(status, headers.clone(), |scope, status| {
            if expires && is_usual(status) {
                set_expires(headers, settings, scope);
            }
            apply(headers, status, rules, scope);
        });
    }
}

/// Whether an answer of this status is what was asked for: others get headers only with `always`.
fn is_usual(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

fn apply(headers: &mut HeaderMap, status: u16, rules: &[AddHeader], scope: &Scope<'_>) {
    let usual = is_usual(status);
    for rule in rules.iter().filter(|rule| usual || rule.always) {
        let Ok(name) = HeaderName::from_bytes(rule.name.as_bytes()) else { continue };
        let value = scope.render(&rule.value);
        let single = name == header::LAST_MODIFIED || name == header::ETAG;
        match headers.entry(name) {
            // These describe the answer as a whole: nginx lets the new one stand in for the old.
            Entry::Occupied(mut entry) if single => match value.is_empty() {
                true => drop(entry.remove()),
                false => drop(entry.insert(header_value(value))),
            },
            _ if value.is_empty() => {}
            Entry::Occupied(mut entry) => entry.append(header_value(value)),
            Entry::Vacant(entry) => drop(entry.insert(header_value(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, headers, listed, server, settings, template, with_scope};
    use super::*;

    #[test]
    fn names_are_accepted_as_configured() {
        let sent = headers(&[("x-a", "1"), ("x_b", "2"), ("x.c", "3")]);
        let mut server = server(Vec::new());
        let names = |server: &Server| listed(&accepted(sent.clone(), server)).join(" ");
        assert_eq!(names(&server), "x-a: 1");
        server.underscores_in_headers = true;
        assert_eq!(names(&server), "x-a: 1 x_b: 2");
        (server.underscores_in_headers, server.ignore_invalid_headers) = (false, false);
        assert_eq!(names(&server), "x-a: 1 x.c: 3 x_b: 2");
    }

    #[test]
    fn what_belongs_to_one_connection_ends_here() {
        let mut sent = headers(&[
            ("connection", "close, X-Own , host,content-length"),
            ("connection", "x-second, bad name"),
            ("x-own", "1"),
            ("x-second", "2"),
            ("host", "h"),
            ("content-length", "0"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-connection", "close"),
            ("trailer", "t"),
            ("x-kept", "3"),
        ]);
        remove_hop_by_hop(&mut sent);
        assert_eq!(listed(&sent), ["content-length: 0", "host: h", "trailer: t", "x-kept: 3"]);
    }

    #[test]
    fn values_stay_on_their_line() {
        assert_eq!(header_value(b"a\r\nb\0c\td\x7fe\xff ".to_vec()).as_bytes(), b"a  b c\td e\xff");
    }

    #[test]
    fn headers_are_added_for_the_statuses_of_nginx() {
        let rule =
            |name: &str, value, always| AddHeader { name: name.to_owned(), value: template(value), always };
        let rules =
            [rule("X-Plain", "p", false), rule("X-Always", "a", true), rule("X-Empty", "$arg_none", true)];
        let settings = Settings { add_header: rules.into(), ..settings() };
        for status in 100..=599 {
            let mut answer = HeaderMap::new();
            with_scope(&facts("/"), &[], |scope| add_headers(&mut answer, status, &settings, scope));
            // The list that nginx's documentation of add_header gives, and the comparison confirmed.
            let usual = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308].contains(&status);
            let expected: &[&str] = if usual { &["x-always: a", "x-plain: p"] } else { &["x-always: a"] };
            assert_eq!(listed(&answer), expected, "{status}");
        }
    }

    /// A map may decide by the type of the answer, as many do for `expires`.
    #[test]
    fn values_see_the_answer() {
        let rule = AddHeader {
            name: "X-Type".to_owned(),
            value: template("$sent_http_content_type $status"),
            always: true,
        };
        let settings = Settings { add_header: [rule].into(), ..settings() };
        let mut answer = headers(&[("content-type", "text/css")]);
        with_scope(&facts("/"), &[], |scope| add_headers(&mut answer, 404, &settings, scope));
        assert_eq!(listed(&answer), ["content-type: text/css", "x-type: text/css 404"]);
    }

    #[test]
    fn some_headers_are_replaced_others_joined() {
        let rule =
            |name: &str, value| AddHeader { name: name.to_owned(), value: template(value), always: false };
        let rules =
            [rule("ETag", "e"), rule("Cache-Control", "c"), rule("X-A", "2"), rule("Last-Modified", "")];
        let settings = Settings { add_header: rules.into(), ..settings() };
        let sent = [("etag", "b"), ("cache-control", "b"), ("x-a", "1"), ("last-modified", "x")];
        let mut answer = headers(&sent);
        with_scope(&facts("/"), &[], |scope| add_headers(&mut answer, 200, &settings, scope));
        assert_eq!(listed(&answer), ["cache-control: b", "cache-control: c", "etag: e", "x-a: 1", "x-a: 2"]);
    }
}
