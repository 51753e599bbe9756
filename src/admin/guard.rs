//! Pure: who may ask what of an admin address.
//!
//! Three dangers: a page of another site that makes a browser ask here (Origin, Sec-Fetch-Site), a name of another site
//! that leads here (DNS rebinding: Host), and whoever reaches the address but may not change anything (the token).

use http::{HeaderMap, Method, Request, StatusCode, header};
use serde::Serialize;

use super::answer::{self, Answer};
use crate::snapshot::Admin;

/// What a request says of who makes it.
#[derive(Debug, Default)]
pub(super) struct Credentials<'a> {
    is_reading: bool,
    hosts: Vec<&'a str>,
    origins: Vec<&'a str>,
    /// `Sec-Fetch-Site`.
    site: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    mode: Option<&'a str>,
    authorization: Vec<&'a str>,
}

impl<'a> Credentials<'a> {
    /// Reads them from a request.
    pub(super) fn of<B>(request: &'a Request<B>) -> Credentials<'a> {
        let headers = request.headers();
        Credentials {
            is_reading: matches!(*request.method(), Method::GET | Method::HEAD),
            hosts: all(headers, "host"),
            origins: all(headers, "origin"),
            site: all(headers, "sec-fetch-site").first().copied(),
            mode: all(headers, "sec-fetch-mode").first().copied(),
            authorization: all(headers, "authorization"),
        }
    }
}

/// The values of a header. What is not text is a text that nobody expects.
fn all<'a>(headers: &'a HeaderMap, name: &'static str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("\u{fffd}")).collect()
}

/// Whether things can be changed at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Writing {
    /// By whoever reaches it.
    Open,
    /// With the token.
    Token,
    /// Not here.
    Off,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was made to a name that is not of this address.
    WrongName,
    /// A page of another site made it.
    OtherSite,
    /// It would change something, and no token is configured here.
    NoWriting,
    /// It would change something, and has not the token.
    NoToken,
}

/// Whether things can be changed at this address.
pub(super) fn writing(admin: &Admin) -> Writing {
    match &admin.token {
        Some(_) => Writing::Token,
        None if admin.is_unix => Writing::Open,
        None => Writing::Off,
    }
}

/// Whether a request is answered.
pub(super) fn check(admin: &Admin, asks: &Credentials<'_>) -> Result<(), Refusal> {
    let [host] = asks.hosts[..] else { return Err(Refusal::WrongName) };
    // No browser comes by a Unix socket, and no name leads to one.
    if !admin.is_unix && !is_ours(host, &admin.names) {
        return Err(Refusal::WrongName);
    }
    if !is_of_this_site(asks, host) {
        return Err(Refusal::OtherSite);
    }
    if asks.is_reading {
        return Ok(());
    }
    match (writing(admin), &admin.token) {
        (Writing::Open, _) => Ok(()),
        (Writing::Token, Some(token)) if asks.authorization.iter().any(|sent| is_bearer(sent, token)) => {
            Ok(())
        }
        (Writing::Token, _) => Err(Refusal::NoToken),
        (Writing::Off, _) => Err(Refusal::NoWriting),
    }
}

/// Whether a Host header names this address: by IP, which no other site's name is, or by a name that was agreed on.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<Ip6>().is_ok()),
        None => host.split_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase(),
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    name == "localhost" || name.parse::<Ip4>().is_ok() || names.iter().any(|known| known == name)
}

type Ip4 = core::net::Ipv4Addr;
type Ip6 = core::net::Ipv6Addr;

/// Whether no other site had a hand in it. Browsers say who had: in `Origin`, where they send it, and in
/// `Sec-Fetch-Site`, which knows of a person's own doing (`none`). What somebody follows a link to may be shown.
fn is_of_this_site(asks: &Credentials<'_>, host: &str) -> bool {
    let same_origin = |origin: &&str| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    };
    if !asks.origins.iter().all(same_origin) {
        return false;
    }
    let is_link = asks.is_reading && asks.mode == Some("navigate");
    matches!(asks.site, None | Some("same-origin" | "none")) || is_link
}

/// Whether `Authorization` has the token; how long that takes tells nothing of where they differ.
fn is_bearer(sent: &str, token: &str) -> bool {
    let Some((scheme, sent)) = sent.split_once(' ') else { return false };
    let (sent, token) = (sent.trim().as_bytes(), token.as_bytes());
    scheme.eq_ignore_ascii_case("bearer")
        && sent.len() == token.len()
        && sent.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

impl Refusal {
    /// The answer to who is refused.
    pub(super) fn answer(self) -> Answer {
        let (status, words) = match self {
            Refusal::WrongName => (
                StatusCode::MISDIRECTED_REQUEST,
                "this name is not of the admin address: ask for its IP address or localhost, or add name=HOST to \"admin\"",
            ),
            Refusal::OtherSite => (StatusCode::FORBIDDEN, "requests of other sites are not answered here"),
            Refusal::NoWriting => (
                StatusCode::FORBIDDEN,
                "nothing can be changed at this address: give its \"admin\" a token=FILE, or ask at an \"admin unix:PATH\"",
            ),
            Refusal::NoToken => (
                StatusCode::UNAUTHORIZED,
                "changing something takes the token: Authorization: Bearer with the text of the token file",
            ),
        };
        let mut answer = answer::error(status, words);
        if self == Refusal::NoToken {
            let challenge = http::HeaderValue::from_static("Bearer realm=\"longwire admin\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(token: Option<&str>, is_unix: bool) -> Admin {
        Admin { token: token.map(str::to_owned), names: vec!["ops.example.com".into()], is_unix }
    }

    fn asked(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().method(method).uri("/");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    fn verdict(admin: &Admin, method: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        check(admin, &Credentials::of(&asked(method, headers)))
    }

    #[test]
    fn only_names_of_this_address_are_answered() {
        let admin = admin(None, false);
        for host in
            ["127.0.0.1:9191", "[::1]:9191", "localhost:9191", "LOCALHOST", "localhost.", "ops.example.com"]
        {
            assert_eq!(verdict(&admin, "GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil]:1", "1"]
        {
            assert_eq!(verdict(&admin, "GET", &[("host", host)]), Err(Refusal::WrongName), "{host}");
        }
        assert_eq!(verdict(&admin, "GET", &[]), Err(Refusal::WrongName));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(verdict(&admin, "GET", &twice), Err(Refusal::WrongName));
    }

    #[test]
    fn other_sites_are_refused() {
        let admin = admin(Some("secret"), false);
        let host = ("host", "127.0.0.1:9191");
        let fine: &[&[(&str, &str)]] = &[
            &[host, ("origin", "http://127.0.0.1:9191"), ("sec-fetch-site", "same-origin")],
            &[host, ("sec-fetch-site", "none")],
            &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
        ];
        for headers in fine {
            assert_eq!(verdict(&admin, "GET", headers), Ok(()), "{headers:?}");
        }
        let wrong: &[&[(&str, &str)]] = &[
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "http://127.0.0.1:8080")],
            &[host, ("origin", "null")],
            &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "websocket")],
            &[host, ("sec-fetch-site", "same-site")],
        ];
        for headers in wrong {
            assert_eq!(verdict(&admin, "GET", headers), Err(Refusal::OtherSite), "{headers:?}");
        }
        let posted = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("authorization", "Bearer secret"),
        ];
        assert_eq!(verdict(&admin, "POST", &posted), Err(Refusal::OtherSite));
    }

    #[test]
    fn changes_take_the_token() {
        let host = ("host", "localhost");
        let with = |sent| [host, ("authorization", sent)];
        let guarded = admin(Some("secret"), false);
        assert_eq!(verdict(&guarded, "POST", &with("Bearer secret")), Ok(()));
        assert_eq!(verdict(&guarded, "POST", &with("bearer  secret")), Ok(()));
        for sent in ["Bearer secre", "Bearer secretx", "Bearer SECRET", "Basic secret", "secret", "Bearer"] {
            assert_eq!(verdict(&guarded, "POST", &with(sent)), Err(Refusal::NoToken), "{sent}");
        }
        assert_eq!(verdict(&guarded, "DELETE", &[host]), Err(Refusal::NoToken));
        assert_eq!(verdict(&guarded, "GET", &[host]), Ok(()));
        assert_eq!(verdict(&admin(Some("secret"), true), "POST", &[host]), Err(Refusal::NoToken));
        assert_eq!(verdict(&admin(None, true), "POST", &[("host", "anything")]), Ok(()));
        assert_eq!(verdict(&admin(None, false), "POST", &with("Bearer ")), Err(Refusal::NoWriting));
    }
}
