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
    remove_hop_by_hop(&mut headers);
    let passed = |name: &str| settings.proxy_pass_header.iter().any(|known| known.eq_ignore_ascii_case(name));
    let hidden = settings.proxy_hide_header.iter().map(String::as_str).chain(HIDDEN);
    for name in hidden.filter(|name| !passed(name)) {
        headers.remove(name);
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
    if !passed("server") {
        add_server(&mut headers, settings);
    }
    if status == 101 {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    add_headers(&mut headers, status, &settings.add_header, scope);
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
