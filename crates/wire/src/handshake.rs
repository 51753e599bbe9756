//! The rules of the opening handshake (RFC 6455, section 4), over header values; the HTTP around it is the caller's.
//!
//! Headers come as a look-up from a lower-case name to its values, which every HTTP library has:
//! `|name| headers.get_all(name).iter().map(|value| value.as_bytes())`.

mod fault;

use alloc::string::{String, ToString};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};

pub use fault::{AnswerFault, RequestFault};

/// Appended to the key before hashing (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Clients make up keys of 24 random base64 characters, whose last bits are then not zero: a key is not read, only
/// hashed, so that does no harm.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2).
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a message asks for, or agrees to, becoming a WebSocket: its `Upgrade` names `websocket` and its
/// `Connection` names `upgrade`. Both are lists without case, perhaps over several header lines.
pub fn is_websocket_upgrade<'a>(
    upgrade: impl IntoIterator<Item = &'a [u8]>,
    connection: impl IntoIterator<Item = &'a [u8]>,
) -> bool {
    names(upgrade, "websocket") && names(connection, "upgrade")
}

fn names<'a>(values: impl IntoIterator<Item = &'a [u8]>, token: &str) -> bool {
    elements(values).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Checks a request for a WebSocket (section 4.2.1) and returns its key. `http_minor` is the 1 of HTTP/1.1.
pub fn check_request<'a, V>(
    method: &str,
    http_minor: u8,
    headers: impl Fn(&'static str) -> V,
) -> Result<&'a str, RequestFault>
where
    V: IntoIterator<Item = &'a [u8]>,
{
    if method != "GET" {
        return Err(RequestFault::Method(method.to_string()));
    }
    if http_minor < 1 {
        return Err(RequestFault::HttpVersion(http_minor));
    }
    let version = one(headers("sec-websocket-version")).map_err(|_| RequestFault::VersionRepeated)?;
    if version != Some(b"13") {
        return Err(RequestFault::Version(version.map(text)));
    }
    let key = match one(headers("sec-websocket-key")) {
        Err(Repeated) => return Err(RequestFault::KeyRepeated),
        Ok(None) => return Err(RequestFault::KeyMissing),
        Ok(Some(key)) => key,
    };
    let sixteen = LENIENT.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    core::str::from_utf8(key).ok().filter(|_| sixteen).ok_or_else(|| RequestFault::KeyMalformed(text(key)))
}

/// What a backend agreed to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Negotiated {
    /// The subprotocol, if one was chosen.
    pub protocol: Option<String>,
    /// RSV bits that frames may use from now on, RSV1 being 0b100.
    pub rsv: u8,
}

/// Checks the headers of a 101 answer (section 4.1, the client's last list) against the request that it answers.
pub fn check_answer<'a, 'r, A, R>(
    key: &str,
    request: impl Fn(&'static str) -> R,
    answer: impl Fn(&'static str) -> A,
) -> Result<Negotiated, AnswerFault>
where
    A: IntoIterator<Item = &'a [u8]>,
    R: IntoIterator<Item = &'r [u8]>,
{
    check_upgrade(&answer)?;
    let expected = accept_key(key);
    match one(answer("sec-websocket-accept")) {
        Ok(Some(accept)) if accept == expected.as_bytes() => {}
        Ok(accept) => return Err(AnswerFault::Accept { expected, got: accept.map(text) }),
        Err(Repeated) => return Err(AnswerFault::AcceptRepeated),
    }
    let protocol = one(answer("sec-websocket-protocol")).map_err(|_| AnswerFault::ProtocolRepeated)?;
    if let Some(protocol) = protocol
        && !elements(request("sec-websocket-protocol")).any(|offered| offered == protocol)
    {
        return Err(AnswerFault::Protocol {
            offered: list(request("sec-websocket-protocol")),
            got: text(protocol),
        });
    }
    let mut rsv = 0;
    for extension in elements(answer("sec-websocket-extensions")) {
        let name = extension_name(extension);
        if !elements(request("sec-websocket-extensions")).any(|offered| same(extension_name(offered), name)) {
            let offered = list(request("sec-websocket-extensions"));
            return Err(AnswerFault::Extension { offered, got: text(name) });
        }
        rsv |= rsv_of(name);
    }
    Ok(Negotiated { protocol: protocol.map(text), rsv })
}

fn check_upgrade<'a, A>(answer: impl Fn(&'static str) -> A) -> Result<(), AnswerFault>
where
    A: IntoIterator<Item = &'a [u8]>,
{
    match one(answer("upgrade")) {
        Ok(Some(upgrade)) if same(upgrade, b"websocket") => {}
        _ => return Err(AnswerFault::Upgrade(list(answer("upgrade")))),
    }
    if names(answer("connection"), "upgrade") {
        Ok(())
    } else {
        Err(AnswerFault::Connection(list(answer("connection"))))
    }
}

/// The bits that an extension gives a meaning to. Of an extension that we do not know all three are to be expected.
fn rsv_of(name: &[u8]) -> u8 {
    if same(name, b"permessage-deflate") { 0b100 } else { 0b111 }
}

/// What stands before the parameters.
fn extension_name(extension: &[u8]) -> &[u8] {
    extension.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// A header that must not repeat does.
struct Repeated;

/// The value of a header that may stand only once.
fn one<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, Repeated> {
    let mut values = values.into_iter();
    let first = values.next().map(<[u8]>::trim_ascii);
    if values.next().is_some() { Err(Repeated) } else { Ok(first) }
}

/// The elements of a comma-separated list over all its lines, without the empty ones (RFC 9110, section 5.6.1). A
/// comma between quotes separates nothing.
fn elements<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values
        .into_iter()
        .flat_map(|value| {
            let (mut quoted, mut escaped) = (false, false);
            value.split(move |&byte| {
                quoted ^= byte == b'"' && !escaped;
                escaped = quoted && byte == b'\\' && !escaped;
                byte == b',' && !quoted
            })
        })
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// At most 100 bytes of a foreign value, fit for a log.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.get(..100).unwrap_or(value)).into_owned()
}

/// All values of a header, fit for a log; empty where there is none.
fn list<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut all = String::new();
    for element in elements(values) {
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&text(element));
    }
    text(all.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    type Headers = [(&'static str, &'static str)];

    fn look_up(headers: &Headers) -> impl Fn(&'static str) -> Vec<&'static [u8]> {
        move |name| {
            headers.iter().filter(|header| header.0 == name).map(|header| header.1.as_bytes()).collect()
        }
    }

    fn answer(request: &Headers, changed: &Headers) -> Result<Negotiated, AnswerFault> {
        let usual = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", ACCEPT)];
        let kept = usual.into_iter().filter(|header| !changed.iter().any(|change| change.0 == header.0));
        let headers: Vec<_> = kept.chain(changed.iter().copied()).filter(|header| header.1 != "-").collect();
        check_answer(KEY, look_up(request), look_up(&headers))
    }

    #[test]
    fn the_key_of_section_1_3() {
        assert_eq!(accept_key(KEY), ACCEPT);
    }

    #[test]
    fn an_upgrade_is_named_in_lists_without_case() {
        let is = |upgrade: &'static str, connection: &'static [&'static str]| {
            is_websocket_upgrade([upgrade.as_bytes()], connection.iter().map(|value| value.as_bytes()))
        };
        assert!(is("WebSocket", &["keep-alive, UPGRADE"]));
        assert!(is("h2c ,websocket", &["keep-alive", "upgrade"]));
        assert!(!is("websockets", &["upgrade"]));
        assert!(!is("websocket", &["keep-alive"]));
        assert!(!is("websocket", &[]));
    }

    #[test]
    fn a_request_is_checked() {
        let check =
            |headers: &Headers| check_request("GET", 1, look_up(headers)).map_err(|fault| fault.status());
        let (key, version) = (("sec-websocket-key", KEY), ("sec-websocket-version", "13"));
        assert_eq!(check(&[key, version]), Ok(KEY));
        assert_eq!(check(&[key]), Err(426));
        assert_eq!(check(&[key, ("sec-websocket-version", "8")]), Err(426));
        assert_eq!(check(&[key, version, version]), Err(426));
        assert_eq!(check(&[version]), Err(400));
        assert_eq!(check(&[key, key, version]), Err(400));
        assert_eq!(check(&[("sec-websocket-key", "c2hvcnQ="), version]), Err(400));
        assert_eq!(check(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"), version]), Err(400));
        let fault =
            |method, minor| check_request(method, minor, look_up(&[key, version])).expect_err("a fault");
        assert_eq!(fault("POST", 1), RequestFault::Method("POST".into()));
        assert_eq!(
            fault("GET", 0).to_string(),
            "client asked for a WebSocket over HTTP/1.0, expected HTTP/1.1"
        );
    }

    #[test]
    fn a_good_answer_tells_what_was_negotiated() {
        assert_eq!(answer(&[], &[]), Ok(Negotiated::default()));
        assert_eq!(
            answer(&[], &[("upgrade", "WebSocket"), ("connection", "keep-alive, upgrade")]).map(|n| n.rsv),
            Ok(0)
        );
        let offers = [
            ("sec-websocket-protocol", "mqtt, chat"),
            ("sec-websocket-extensions", "x-a; p=\"1,2\", permessage-deflate"),
        ];
        let chosen = |extensions| {
            answer(&offers, &[("sec-websocket-protocol", "chat"), ("sec-websocket-extensions", extensions)])
        };
        let deflate = Negotiated { protocol: Some("chat".into()), rsv: 0b100 };
        assert_eq!(chosen("permessage-deflate; server_no_context_takeover"), Ok(deflate));
        assert_eq!(chosen("x-a; p=\"3,4\"").map(|negotiated| negotiated.rsv), Ok(0b111));
    }

    #[test]
    fn a_bad_answer_says_what_was_expected_and_what_came() {
        let says =
            |request: &Headers, changed: &Headers| answer(request, changed).expect_err("a fault").to_string();
        assert_eq!(
            says(&[], &[("upgrade", "h2c")]),
            "backend answered 101 with Upgrade \"h2c\", expected \"websocket\""
        );
        assert!(says(&[], &[("connection", "close")]).contains("\"close\""));
        assert!(says(&[], &[("sec-websocket-accept", "-")]).contains("without Sec-WebSocket-Accept"));
        assert!(says(&[], &[("sec-websocket-accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]).contains(ACCEPT));
        assert!(
            says(&[], &[("sec-websocket-accept", ACCEPT), ("sec-websocket-accept", ACCEPT)])
                .contains("several")
        );
        let protocol = |value| ("sec-websocket-protocol", value);
        assert!(
            says(&[protocol("mqtt")], &[protocol("chat")])
                .contains("\"chat\", expected one that the client offered: \"mqtt\"")
        );
        assert!(says(&[protocol("mqtt")], &[protocol("MQTT")]).contains("MQTT")); // names have case
        assert!(says(&[protocol("a, b")], &[protocol("a, b")]).contains("\"a, b\""));
        assert!(says(&[protocol("a, b")], &[protocol("a"), protocol("b")]).contains("several"));
        assert!(
            says(&[], &[("sec-websocket-extensions", "permessage-deflate")])
                .contains("\"permessage-deflate\"")
        );
    }
}
