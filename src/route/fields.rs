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
    let colon = user.iter().position(|byte| *byte == b':')?;
    user.truncate(colon);
    Some(user).filter(|user| !user.is_empty())
}
