//! Pure: looking into headers, cookies and arguments, as nginx's variables do.

use std::borrow::Cow;

use http::HeaderMap;

/// All values of a header, joined; `name` in lower case with underscores for dashes.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, [u8]>> {
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'-' && b == b'_'))
    };
    let separator: &[u8] = if name == "cookie" { b"; " } else { b", " };
    let mut values =
        headers.iter().filter(|(known, _)| same(known.as_str())).map(|(_, value)| value.as_bytes());
    let first = values.next()?;
    Some(values.fold(Cow::Borrowed(first), |joined, value| Cow::Owned([&joined, separator, value].concat())))
}

/// The value after `name`, spaces, `=` and spaces, up to a semicolon. Names compare without case, as in nginx.
fn pair<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(name.len())?;
    if !head.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let value = trim_spaces(trim_spaces(rest).strip_prefix(b"=")?);
    value.split(|byte| *byte == b';').next()
}

fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// A cookie of the request: the first of that name. A comma separates too, but does not end a value.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let find = |mut text: &'a [u8]| {
        loop {
            if let Some(value) = pair(text, name) {
                return Some(value);
            }
            let end = text.iter().position(|byte| matches!(byte, b';' | b','))?;
            text = trim_spaces(text.get(end + 1..)?);
        }
    };
    headers.get_all(http::header::COOKIE).iter().find_map(|value| find(value.as_bytes()))
}

pub(super) fn set_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(http::header::SET_COOKIE).iter().find_map(|value| pair(value.as_bytes(), name))
}

/// An argument of the request line as sent, without decoding.
pub(super) fn arg<'a>(args: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = args.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The user of `Authorization: Basic`, if it says one.
pub(super) fn remote_user(headers: &HeaderMap) -> Option<Vec<u8>> {
    credentials(headers).map(|(user, _)| user)
}

/// User and password of `Authorization: Basic`; there is no user without a name.
pub fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    use base64::Engine as _;
    let value = headers.get(http::header::AUTHORIZATION)?.as_bytes();
    let (scheme, code) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let lenient = base64::engine::general_purpose::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let mut user = lenient.decode(trim_spaces(code)).ok()?;
    let colon = user.iter().position(|byte| *byte == b':').filter(|at| *at > 0)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::headers;
    use super::*;

    #[test]
    fn cookies_are_read_as_in_nginx() {
        let table: [(&[&str], &str, Option<&str>); 11] = [
            (&["x=y; a=1; b = 2 ;a=3", "b=9"], "a", Some("1")),
            (&["x=y; a=1; b = 2 ;a=3", "b=9"], "b", Some("2 ")),
            (&["x=y", "b=9"], "b", Some("9")),
            (&["aa=1,a=2,b=3; A=5"], "a", Some("2,b=3")),
            (&["aa=1,a=2,b=3; A=5"], "b", Some("3")),
            (&["A=5"], "a", Some("5")),
            (&["a="], "a", Some("")),
            (&["\"a=1\"; a"], "a", None),
            (&["ba=1"], "a", None),
            (&[""], "a", None),
            (&[], "a", None),
        ];
        for (lines, name, expected) in table {
            let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            assert_eq!(cookie(&headers(&lines), name), expected.map(str::as_bytes), "{lines:?} {name}");
        }
        let answer = headers(&[("set-cookie", "b=1; Path=/"), ("set-cookie", "a=2; a=3")]);
        assert_eq!(set_cookie(&answer, "a"), Some(&b"2"[..]));
        assert_eq!(set_cookie(&answer, "path"), None);
    }

    #[test]
    fn arguments_are_read_as_in_nginx() {
        let table = [
            ("A=1&a=2", Some("1")),
            ("ba=1&a", None),
            ("xa=1&&a=&a=5", Some("")),
            ("b=1&a=x=y", Some("x=y")),
            ("", None),
        ];
        for (args, expected) in table {
            assert_eq!(arg(args, "a"), expected, "{args}");
        }
    }

    #[test]
    fn lines_of_a_header_are_joined() {
        let all = headers(&[
            ("x-multi", "1"),
            ("cookie", "a=1"),
            ("x-multi", "2"),
            ("cookie", "b=2"),
            ("x_y", "u"),
        ]);
        let text = |name| header(&all, name).map(|value| String::from_utf8(value.into_owned()).unwrap());
        assert_eq!(text("x_multi").as_deref(), Some("1, 2"));
        assert_eq!(text("cookie").as_deref(), Some("a=1; b=2"));
        assert_eq!(text("x_y").as_deref(), Some("u"));
        assert_eq!(text("x_mult"), None);
    }

    #[test]
    fn the_user_needs_a_colon() {
        let table = [
            ("Basic dXNlcjpwYXNz", Some("user")),
            ("basic   dXNlcjpwYXNz", Some("user")),
            ("Basic dXNlcjo", Some("user")),
            ("basic dXNlcg==", None),
            ("Basic OnBhc3M=", None),
            ("Basic !", None),
            ("Bearer dXNlcjpwYXNz", None),
            ("Basic", None),
        ];
        for (value, expected) in table {
            let user = remote_user(&headers(&[("authorization", value)]));
            assert_eq!(user.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }
}
