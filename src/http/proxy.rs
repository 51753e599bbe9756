//! A request goes to a backend: destination, what is sent, and the answer's way back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use http_body_util::BodyExt as _;
use longwire_conf::model::{Location, ProxyPass, ProxyTarget};

use super::attempts::{Incame, attempts};
use super::body::{self, Passed};
use super::exchange::{Exchange, Step};
use super::handshake::{self, Keep};
use crate::clock::micros;
use crate::metrics::HandshakeFault;
use crate::net::Endpoint;
use crate::route::answer;
use crate::route::location::How;
use crate::route::proxy::{Destination, UriPart, backend_headers, backend_uri};
use crate::route::redirect::client_headers;
use crate::snapshot::Snapshot;
use crate::upstream::Group;

/// Where a request goes, before a server of the group is chosen.
pub(super) struct Route {
    pub(super) group: Arc<Group>,
    pub(super) https: bool,
    uri: String,
    pub(super) host: String,
}

impl Route {
    /// Where a request goes by way of a server, for the error log.
    pub(super) fn url(&self, server: impl std::fmt::Display) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{server}{}", self.uri)
    }
}

/// A request made ready; a new hyper request is built from it for each try.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) websocket: bool,
    pub(super) has_body: bool,
}

/// Sends the request to the backend of a location and brings the answer back.
pub(super) async fn pass(
    x: &mut Exchange,
    snapshot: &Snapshot,
    location: &Location,
    how: How,
    pass: &ProxyPass,
) -> Step {
    if x.websocket
        && let Some(step) = handshake::refuse(x)
    {
        return step;
    }
    if x.has_lost_its_body() {
        x.trouble(
            HandshakeFault::Configuration,
            format_args!("the request body went to another backend already and is gone"),
        );
        return Step::Status(502, None);
    }
    let route = match route(x, snapshot, how, pass).await {
        Ok(route) => route,
        Err(status) => return Step::Status(status, None),
    };
    let outgoing = match outgoing(x, &route) {
        Ok(outgoing) => outgoing,
        Err(status) => return Step::Status(status, None),
    };
    let mut incame = match attempts(x, snapshot, &route, &outgoing).await {
        Ok(incame) => incame,
        Err(status) => return Step::Status(status, None),
    };
    if incame.response.status().as_u16() == 101 {
        let Incame { response, connection, slot, cookie, .. } = incame;
        let asked = outgoing.websocket.then_some(&outgoing.headers);
        let step = handshake::conclude(x, location, pass, asked, response, Keep { slot, cookie });
        if matches!(step, Step::Switching(_)) {
            connection.release();
        }
        return step;
    }
    incame.look_for_lost_session(x, &route).await;
    if x.websocket && !incame.lost_session {
        handshake::explain(x, &incame.response, outgoing.websocket, outgoing.uri.path());
    }
    answer_of(x, location, pass, route.group, incame)
}

/// Finds the group and the URI, and sets `$proxy_host` and `$proxy_port`.
async fn route(x: &mut Exchange, snapshot: &Snapshot, how: How, pass: &ProxyPass) -> Result<Route, u16> {
    match &pass.target {
        ProxyTarget::Group { upstream, host, uri } => {
            x.facts.proxy_host.clone_from(host);
            x.facts.proxy_port = port_of(host, pass.https);
            let part = uri.as_deref().map_or(UriPart::None, UriPart::Fixed);
            let group = snapshot.groups[*upstream].clone();
            Ok(Route { group, https: pass.https, uri: backend_uri(part, how, &x.facts), host: host.clone() })
        }
        ProxyTarget::Variable(template) => {
            let value = x.scope().render(template);
            let destination = Destination::parse(&value).map_err(|fault| {
                let value = String::from_utf8_lossy(&value).into_owned();
                x.trouble(
                    HandshakeFault::Configuration,
                    format_args!("proxy_pass {}: {fault} in \"{value}\"", pass.text),
                );
                500_u16
            })?;
            x.facts.proxy_host = destination.proxy_host();
            x.facts.proxy_port = destination.proxy_port();
            let uri = backend_uri(UriPart::Rendered(&destination.uri), how, &x.facts);
            let host = x.facts.proxy_host.clone();
            let group = find_group(x, snapshot, &destination).await?;
            Ok(Route { group, https: destination.https, uri, host })
        }
    }
}

fn port_of(host: &str, https: bool) -> String {
    let after = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    let default = if https { "443" } else { "80" };
    after.rsplit_once(':').map_or(default, |(_, port)| port).to_owned()
}

/// The group of a destination out of variables: an `upstream` by name, else the host itself.
async fn find_group(x: &Exchange, snapshot: &Snapshot, to: &Destination) -> Result<Arc<Group>, u16> {
    if let Some(group) = snapshot.group_by_name(&to.host.to_ascii_lowercase()) {
        return Ok(group);
    }
    let endpoints = match &to.unix {
        Some(path) => vec![Endpoint::Unix(path.into())],
        None => {
            let port = to.port.unwrap_or(to.default_port());
            let host = to.host.trim_start_matches('[').trim_end_matches(']');
            let mut found = match look_up(x, snapshot, host, port).await {
                Ok(found) => found,
                Err(reason) => {
                    x.trouble(
                        HandshakeFault::NameUnknown,
                        format_args!("{} could not be resolved ({reason})", to.host),
                    );
                    return Err(502);
                }
            };
            // Each request begins at another of its addresses. No system is without chance.
            let first = getrandom::u32().unwrap_or_default() as usize;
            let count = found.len().max(1);
            found.rotate_left(first % count);
            found.into_iter().map(Endpoint::Tcp).collect()
        }
    };
    // Made for this request alone, so nothing is kept in it.
    Ok(Arc::new(Group::passing(&to.host, endpoints)))
}

/// The addresses of a host out of variables: by the `resolver` of the place, else by the system.
async fn look_up(
    x: &Exchange,
    snapshot: &Snapshot,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let timeout = x.settings.resolver_timeout;
    if let Some(resolver) = snapshot.resolver(&x.settings) {
        let answer = resolver.addresses(host, timeout).await.map_err(|fault| fault.to_string())?;
        return Ok(answer.found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    match tokio::time::timeout(timeout, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the system did not answer in time".to_owned()),
    }
}

/// Builds what is sent.
fn outgoing(x: &mut Exchange, route: &Route) -> Result<Outgoing, u16> {
    let built = backend_headers(&x.settings, &x.scope(), x.websocket);
    let mut headers = built.headers;
    let pass_body = x.settings.proxy_pass_request_body;
    let has_body = pass_body && x.body.as_ref().is_some_and(|b| !http_body::Body::is_end_stream(b));
    if has_body && !headers.contains_key(header::CONTENT_LENGTH) {
        // hyper drops the body of a GET that does not say how long it is.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if !built.upgrade && !route.group.keeps() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let method = x.settings.proxy_method.as_ref().map(|template| x.scope().render(template));
    let method = method.unwrap_or_else(|| x.method.clone().into_bytes());
    let fault = |what: &str, error: &dyn std::fmt::Display| {
        x.trouble(
            HandshakeFault::Configuration,
            format_args!("the {what} for the backend is not valid: {error}"),
        );
        500_u16
    };
    Ok(Outgoing {
        method: Method::from_bytes(&method).map_err(|e| fault("method", &e))?,
        uri: route.uri.parse().map_err(|e| fault("URI", &e))?,
        headers,
        websocket: built.upgrade,
        has_body,
    })
}

/// Turns a backend's answer into the client's.
fn answer_of(
    x: &mut Exchange,
    location: &Location,
    pass: &ProxyPass,
    group: Arc<Group>,
    incame: Incame,
) -> Step {
    let (parts, incoming) = incame.response.into_parts();
    let status = parts.status.as_u16();
    let settings = &location.settings;
    let intercepted = settings.proxy_intercept_errors
        && status >= 300
        && answer::error_page(settings, status, &x.scope()).is_some();
    if intercepted {
        if status == 401 {
            // How to ask again is told whoever words the rest.
            for value in parts.headers.get_all(header::WWW_AUTHENTICATE) {
                x.extra.append(header::WWW_AUTHENTICATE, value.clone());
            }
        }
        return Step::Status(status, None);
    }
    // An error page is sent with the status that it stands for.
    let forced = x.facts.outcome.forced.and_then(|status| http::StatusCode::from_u16(status).ok());
    let sent = forced.unwrap_or(parts.status);
    let mut headers = client_headers(location, pass, &x.scope(), sent.as_u16(), parts.headers);
    if let Some(cookie) = incame.cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    let (connection, slot) = (incame.connection, incame.slot);
    let keep = move || {
        group.keep(connection);
        drop(slot);
    };
    let body = match incame.gathered {
        Some(bytes) => {
            x.answer_progress.bytes.store(bytes.len() as u64, Relaxed);
            keep();
            body::full(bytes)
        }
        None => {
            let silence = micros(settings.proxy_read_timeout.max(Duration::from_millis(1)));
            Passed::new(incoming, x.answer_progress.clone(), None, silence, keep).boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = sent;
    *response.headers_mut() = headers;
    *response.extensions_mut() = parts.extensions;
    if forced.is_some() {
        response.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
    }
    Step::Response(response)
}
