//! Pure: who stands in front, as far as answers give it away.

use crate::doctor::facts::{Exchange, Facts};

/// A program or a service that answers in front of the server, or is the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Front {
    /// nginx, and what is built on it.
    Nginx,
    /// Longwire.
    Longwire,
    /// HAProxy.
    Haproxy,
    /// Caddy.
    Caddy,
    /// Traefik.
    Traefik,
    /// Apache.
    Apache,
    /// Envoy, Istio.
    Envoy,
    /// AWS: application load balancer, API Gateway, CloudFront.
    Aws,
    /// Cloudflare.
    Cloudflare,
    /// Google's front ends.
    Google,
    /// Azure's front ends.
    Azure,
    /// IIS.
    Iis,
    /// Varnish, Fastly.
    Varnish,
}

impl Front {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Front::Nginx => "nginx",
            Front::Longwire => "Longwire",
            Front::Haproxy => "HAProxy",
            Front::Caddy => "Caddy",
            Front::Traefik => "Traefik",
            Front::Apache => "Apache",
            Front::Envoy => "Envoy",
            Front::Aws => "AWS",
            Front::Cloudflare => "Cloudflare",
            Front::Google => "Google Cloud",
            Front::Azure => "Azure",
            Front::Iis => "IIS",
            Front::Varnish => "Varnish",
        }
    }
}

/// Headers that give a front away: name, part of the value in lower case (empty: any), who.
const HEADERS: &[(&str, &str, Front)] = &[
    ("cf-ray", "", Front::Cloudflare),
    ("server", "cloudflare", Front::Cloudflare),
    ("x-amz-cf-id", "", Front::Aws),
    ("x-amzn-requestid", "", Front::Aws),
    ("x-amzn-trace-id", "", Front::Aws),
    ("server", "awselb", Front::Aws),
    ("server", "longwire", Front::Longwire),
    ("server", "nginx", Front::Nginx),
    ("server", "openresty", Front::Nginx),
    ("server", "caddy", Front::Caddy),
    ("via", "caddy", Front::Caddy),
    ("server", "apache", Front::Apache),
    ("x-envoy-upstream-service-time", "", Front::Envoy),
    ("server", "envoy", Front::Envoy),
    ("server", "istio", Front::Envoy),
    ("server", "google frontend", Front::Google),
    ("via", "google", Front::Google),
    ("x-azure-ref", "", Front::Azure),
    ("server", "microsoft-azure", Front::Azure),
    ("server", "microsoft-iis", Front::Iis),
    ("x-varnish", "", Front::Varnish),
    ("via", "varnish", Front::Varnish),
    ("server", "haproxy", Front::Haproxy),
    ("server", "traefik", Front::Traefik),
];

/// Words in bodies that a front writes itself.
const BODIES: &[(&str, Front)] = &[
    ("<center>nginx", Front::Nginx),
    ("<center>openresty", Front::Nginx),
    ("<center>longwire", Front::Longwire),
    ("No server is available to handle this request.", Front::Haproxy),
    ("The server didn't respond in time.", Front::Haproxy),
    ("Your browser sent an invalid request.", Front::Haproxy),
    ("Request forbidden by administrative rules.", Front::Haproxy),
    ("The server returned an invalid or incomplete response.", Front::Haproxy),
    ("The server is temporarily unable to service your", Front::Apache),
    ("Size of a request header field exceeds server limit", Front::Apache),
    ("The requested URL was not found on this server.", Front::Apache),
    ("upstream connect error or disconnect/reset before headers", Front::Envoy),
];

/// Headers worth showing, since they say who answered.
const TELLING: [&str; 10] = [
    "server",
    "via",
    "cf-ray",
    "x-powered-by",
    "x-amzn-trace-id",
    "x-amz-cf-id",
    "x-cache",
    "x-envoy-upstream-service-time",
    "x-varnish",
    "x-azure-ref",
];

/// Whoever one answer shows.
pub fn of(answer: &Exchange) -> Option<Front> {
    let header = HEADERS
        .iter()
        .find(|(name, part, _)| answer.all(name).any(|value| value.to_ascii_lowercase().contains(part)));
    let body = || BODIES.iter().find(|(text, _)| answer.body.contains(text)).map(|(_, front)| *front);
    header.map(|(_, _, front)| *front).or_else(body)
}

/// Whoever any of the answers shows.
pub fn front(facts: &Facts) -> Option<Front> {
    let pages = facts.pages.iter().chain(&facts.paths).map(|page| &page.answer);
    facts.handshake.iter().chain(pages).chain(facts.variations.iter().map(|one| &one.answer)).find_map(of)
}

/// Whether the front wrote the answer itself, rather than passing one on.
pub fn wrote(answer: &Exchange) -> bool {
    BODIES.iter().any(|(text, _)| answer.body.contains(text))
}

/// The headers of an answer that say who wrote it.
pub fn telling(answer: &Exchange) -> Vec<String> {
    TELLING.iter().flat_map(|name| answer.all(name).map(move |value| format!("{name}: {value}"))).collect()
}
