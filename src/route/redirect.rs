//! Pure: the headers of a backend's answer on their way to the client, and where redirects then lead.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use longwire_conf::model::{
    Location, Matcher, ProxyPass, ProxyRedirect, ProxyTarget, RedirectRule, Settings,
};

use super::facts::{Captures, Peer};
use super::headers::{add_headers, header_value, remove_hop_by_hop};
use super::uri::{bytes, text};
use super::variables::Scope;

/// Names that nginx keeps to itself unless `proxy_pass_header` lets them through.
const HIDDEN: [&str; 8] = [
    "date",
    "server",
    "x-pad",
    "x-accel-expires",
    "x-accel-redirect",
    "x-accel-limit-rate",
    "x-accel-buffering",
    "x-accel-charset",
];

/// Names of which an answer has one value: of several nginx takes the first.
const SINGLE: [&str; 6] = ["etag", "expires", "last-modified", "location", "refresh", "status"];

/// Headers for the client out of a backend's answer.
///
/// The location is the one whose `proxy_pass` was taken. A 101 gets the two headers of the upgrade.
pub fn client_headers(
    location: &Location,
    pass: &ProxyPass,
    scope: &Scope<'_>,
    status: u16,
    mut headers: HeaderMap,
) -> HeaderMap {
    let settings = &location.settings;
    let upgrade = headers.get(header::UPGRADE).cloned();
    remove_hop_by_hop(&mut headers);
    // A 426 says what it wants (RFC 9110, section 15.5.22).
    if let Some(upgrade) = upgrade.filter(|_| status == 426) {
        headers.insert(header::UPGRADE, upgrade);
    }
    let passed = |name: &str| settings.proxy_pass_header.iter().any(|known| known.eq_ignore_ascii_case(name));
    let hidden = settings.proxy_hide_header.iter().map(String::as_str).chain(HIDDEN);
    for name in hidden.filter(|name| !passed(name)) {
        headers.remove(name);
    }
    for name in SINGLE {
        if let Some(first) = headers.get(name).cloned() {
            headers.insert(name, first);
        }
    }
    for (name, value) in &mut headers {
        let from = match *name {
            header::LOCATION => Some(0),
            header::REFRESH => refresh_url(value.as_bytes()),
            _ => None,
        };
        let Some(from) = from else { continue };
        let (lead, url) = value.as_bytes().split_at(from);
        let Some(mut changed) = rewritten(location, pass, scope, url) else { continue };
        // Only what was rewritten into a path is ours to complete; a backend's own relative URL stays.
        if *name == header::LOCATION {
            changed = absolute(changed, settings, scope);
        }
        *value = header_value([lead, &changed].concat());
    }
    if status == 204 {
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::LAST_MODIFIED] {
            headers.remove(name);
        }
    }
    if !passed("server") {
        add_server(&mut headers, settings);
    }
    if status == 101 {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    add_headers(&mut headers, status, settings, scope);
    headers
}

/// `Server`, unless a backend's was let through: with a version as `server_tokens` says.
pub(super) fn add_server(headers: &mut HeaderMap, settings: &Settings) {
    if let Entry::Vacant(entry) = headers.entry(header::SERVER) {
        entry.insert(HeaderValue::from_static(super::answer::signature(settings)));
    }
}

/// Where the URL of a `Refresh` begins.
fn refresh_url(value: &[u8]) -> Option<usize> {
    value.windows(4).position(|four| four.eq_ignore_ascii_case(b"url=")).map(|at| at + 4)
}

/// What `proxy_redirect` makes of a URL; `None` when no rule is for it.
fn rewritten(location: &Location, pass: &ProxyPass, scope: &Scope<'_>, url: &[u8]) -> Option<Vec<u8>> {
    match &location.settings.proxy_redirect {
        ProxyRedirect::Off => None,
        ProxyRedirect::Default => by_default(location, pass, url),
        ProxyRedirect::Rules(rules) => rules.iter().find_map(|rule| match rule {
            RedirectRule::Default => by_default(location, pass, url),
            RedirectRule::Prefix(from, to) => {
                let rest = url.strip_prefix(scope.render(from).as_slice())?;
                Some([&scope.render(to), rest].concat())
            }
            RedirectRule::Regex(regex, to) => {
                let captures = Captures::of(regex, &text(url.to_vec()))?;
                Some(scope.render_with(to, &captures))
            }
        }),
    }
}

/// The URL of `proxy_pass` becomes the prefix of the location, if both are fixed.
fn by_default(location: &Location, pass: &ProxyPass, url: &[u8]) -> Option<Vec<u8>> {
    let ProxyTarget::Group { uri, .. } = &pass.target else { return None };
    let rest = url.strip_prefix(pass.text.as_bytes())?;
    match (uri, &location.matcher) {
        (Some(_), Matcher::Exact(path) | Matcher::Prefix { path, .. }) => Some([&bytes(path), rest].concat()),
        (Some(_), _) => None,
        // Without a URI part the whole path is the same on both sides.
        (None, _) => rest.starts_with(b"/").then(|| rest.to_vec()),
    }
}

/// A path as a full URL, unless `absolute_redirect off`; anything else as it is.
pub fn absolute(url: Vec<u8>, settings: &Settings, scope: &Scope<'_>) -> Vec<u8> {
    if !settings.absolute_redirect || !url.starts_with(b"/") {
        return url;
    }
    let facts = scope.facts;
    let local = &facts.connection.local;
    let named = facts.headers.contains_key(header::HOST) || !facts.target.starts_with('/');
    let host = match (settings.server_name_in_redirect, named) {
        (true, _) => facts.server_name.clone(),
        (false, true) => facts.host.clone(),
        (false, false) => match local {
            Peer::Ip(core::net::IpAddr::V6(ip), _) => format!("[{ip}]"),
            Peer::Ip(ip, _) => ip.to_string(),
            Peer::Unix(_) => facts.host.clone(),
        },
    };
    let scheme = scope.scheme();
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = match local {
        Peer::Ip(_, port) if settings.port_in_redirect && *port != usual => format!(":{port}"),
        _ => String::new(),
    };
    [format!("{scheme}://{host}{port}").as_bytes(), &url].concat()
}

/// A `Location` header.
pub(super) fn set_location(headers: &mut HeaderMap, url: Vec<u8>) {
    let name: HeaderName = header::LOCATION;
    headers.insert(name, header_value(url));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::facts::Facts;
    use super::super::fixture::{facts, headers, listed, pass, proxied, template, with_scope};
    use super::*;
    use longwire_conf::model::{AddHeader, Content};

    fn run(head: &str, to: &str, sent: (&str, &str), change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut location = proxied(head, to);
        change(Arc::get_mut(&mut location.settings).unwrap());
        answer(&location, &facts("/"), 302, &[sent])
    }

    fn answer(location: &Location, facts: &Facts, status: u16, sent: &[(&str, &str)]) -> Vec<String> {
        let Content::Proxy(pass) = &location.content else { unreachable!() };
        with_scope(facts, &[], |scope| listed(&client_headers(location, pass, scope, status, headers(sent))))
    }

    /// What nginx made of each header of its backend.
    #[test]
    fn redirects_of_the_backend_lead_here() {
        let to = "http://127.0.0.1:3000";
        let under = "http://127.0.0.1:3000/b/";
        let table = [
            (under, "location", "http://127.0.0.1:3000/b/x", "http://example.com:8080/back/x"),
            (under, "location", "http://127.0.0.1:3000/bx", "http://127.0.0.1:3000/bx"),
            (under, "location", "/b/x", "/b/x"),
            (under, "location", "rel", "rel"),
            (under, "location", "HTTP://127.0.0.1:3000/b/x", "HTTP://127.0.0.1:3000/b/x"),
            (under, "refresh", "5; url=http://127.0.0.1:3000/b/x", "5; url=/back/x"),
            (under, "refresh", "5; URL=http://127.0.0.1:3000/b/x", "5; URL=/back/x"),
            (under, "refresh", "5", "5"),
            (to, "location", "http://127.0.0.1:3000/b/x", "http://example.com:8080/b/x"),
            (to, "location", "http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ];
        for (to, name, value, expected) in table {
            let out = run("/back/", to, (name, value), |_| ());
            assert_eq!(out, [format!("{name}: {expected}"), "server: longwire".to_owned()], "{value}");
            let off =
                run("/back/", to, (name, value), |settings| settings.proxy_redirect = ProxyRedirect::Off);
            assert_eq!(off[0], format!("{name}: {value}"));
        }
    }

    #[test]
    fn rules_are_tried_in_order() {
        let regex = longwire_conf::pattern::Pattern::new("^https?://(?<h>[^/]+)/r(.*)$", false).unwrap();
        let rules = Arc::new([
            RedirectRule::Prefix(template("http://x.y/"), template("/z/")),
            RedirectRule::Regex(regex, template("https://$host/$h$2")),
            RedirectRule::Default,
        ]);
        let table = [
            ("http://x.y/q", "http://example.com:8080/z/q"),
            ("https://hh/r/q", "https://example.com/hh/q"),
            ("http://127.0.0.1:3000/zz", "http://example.com:8080/back/zz"),
            ("http://127.0.0.1:3000/rzz", "https://example.com/127.0.0.1:3000zz"),
            ("http://other/zz", "http://other/zz"),
        ];
        for (value, expected) in table {
            let out = run("/back/", "http://127.0.0.1:3000/", ("location", value), |settings| {
                settings.proxy_redirect = ProxyRedirect::Rules(Arc::<[RedirectRule; 3]>::clone(&rules));
            });
            assert_eq!(out[0], format!("location: {expected}"));
        }
    }

    #[test]
    fn a_destination_of_variables_has_no_default_redirect() {
        let mut location = proxied("/", "http://127.0.0.1:3000");
        let target = ProxyTarget::Variable(template("$arg_a"));
        location.content = Content::Proxy(ProxyPass { target, ..pass("http://127.0.0.1:3000") });
        let out = answer(&location, &facts("/"), 302, &[("location", "http://127.0.0.1:3000/x")]);
        assert_eq!(out[0], "location: http://127.0.0.1:3000/x");
    }

    #[test]
    fn nginx_keeps_some_headers_to_itself() {
        let hidden: Vec<_> =
            HIDDEN.iter().map(|name| (*name, "v")).chain([("x-own", "1"), ("x-hide", "1")]).collect();
        let mut location = proxied("/", "http://b");
        Arc::get_mut(&mut location.settings).unwrap().proxy_hide_header = ["X-Hide".to_owned()].into();
        assert_eq!(answer(&location, &facts("/"), 200, &hidden), ["server: longwire", "x-own: 1"]);
        let settings = Arc::get_mut(&mut location.settings).unwrap();
        settings.proxy_pass_header = ["Server".to_owned(), "X-Pad".to_owned()].into();
        assert_eq!(answer(&location, &facts("/"), 200, &hidden), ["server: v", "x-own: 1", "x-pad: v"]);
        assert!(answer(&location, &facts("/"), 200, &[]).is_empty());
    }

    #[test]
    fn a_101_has_the_headers_of_the_upgrade_and_what_is_always_added() {
        let mut location = proxied("/", "http://b");
        let rule = |name: &str, always| AddHeader { name: name.to_owned(), value: template("v"), always };
        Arc::get_mut(&mut location.settings).unwrap().add_header = [rule("a", true), rule("b", false)].into();
        let sent = [
            ("connection", "Upgrade, x"),
            ("upgrade", "WebSocket"),
            ("x", "1"),
            ("sec-websocket-accept", "k"),
        ];
        let expected = [
            "a: v",
            "connection: upgrade",
            "sec-websocket-accept: k",
            "server: longwire",
            "upgrade: websocket",
        ];
        assert_eq!(answer(&location, &facts("/"), 101, &sent), expected);
        assert_eq!(answer(&location, &facts("/"), 400, &sent)[1], "sec-websocket-accept: k");
    }

    #[test]
    fn paths_become_urls_as_configured() {
        type Change = fn(&mut Settings, &mut Facts);
        let table: [(Change, &str); 7] = [
            (|_, _| (), "http://example.com:8080/x"),
            (|settings, _| settings.absolute_redirect = false, "/x"),
            (|settings, _| settings.port_in_redirect = false, "http://example.com/x"),
            (|settings, _| settings.server_name_in_redirect = true, "http://first.example.com:8080/x"),
            (|_, facts| drop(facts.headers.remove("host")), "http://127.0.0.1:8080/x"),
            (
                |_, facts| Arc::make_mut(&mut facts.connection).tls = Some(Default::default()),
                "https://example.com:8080/x",
            ),
            (
                |_, facts| Arc::make_mut(&mut facts.connection).local = Peer::Ip([127, 0, 0, 1].into(), 80),
                "http://example.com/x",
            ),
        ];
        for (change, expected) in table {
            let (mut settings, mut facts) = (super::super::fixture::settings(), facts("/"));
            change(&mut settings, &mut facts);
            let url = with_scope(&facts, &[], |scope| absolute(b"/x".to_vec(), &settings, scope));
            assert_eq!(String::from_utf8(url).unwrap(), expected);
        }
    }
}
