//! A request goes to a backend: destination, tries, and the answer's way back.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use longwire_conf::model::{Location, ProxyPass, ProxyTarget};

use super::body::{self, Passed, Progress};
use super::exchange::{Exchange, Step};
use super::handshake;
use crate::clock::{self, micros};
use crate::net::Endpoint;
use crate::route::answer;
use crate::route::facts::Try;
use crate::route::location::How;
use crate::route::proxy::{Destination, UriPart, backend_headers, backend_uri};
use crate::route::redirect::client_headers;
use crate::snapshot::Snapshot;
use crate::upstream::{self, Body, Connection, Group, Lease, Security, Stage, balance::Params};

/// Where a request goes, before a server of the group is chosen.
struct Route {
    group: Arc<Group>,
    https: bool,
    uri: String,
    host: String,
}

impl Route {
    /// Where a request goes by way of a server, for the error log.
    fn url(&self, server: impl std::fmt::Display) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{server}{}", self.uri)
    }
}

/// A request made ready; a new hyper request is built from it for each try.
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    websocket: bool,
    has_body: bool,
}

/// An answer, and the connection that it came over.
struct Incame {
    response: Response<Incoming>,
    connection: Connection,
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
            "configuration",
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
    let incame = match attempts(x, snapshot, &route, &outgoing).await {
        Ok(incame) => incame,
        Err(status) => return Step::Status(status, None),
    };
    x.facts.outcome.upstream = incame.response.headers().clone();
    if incame.response.status().as_u16() == 101 {
        let Incame { response, connection } = incame;
        let step = handshake::conclude(x, location, pass, &outgoing.headers, outgoing.websocket, response);
        if matches!(step, Step::Switching(_)) {
            connection.release();
        }
        return step;
    }
    if x.websocket {
        handshake::explain(x, &incame.response, outgoing.websocket);
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
                x.trouble("configuration", format_args!("proxy_pass {}: {fault} in \"{value}\"", pass.text));
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
    if let Some(group) = snapshot.group_by_name(&to.host) {
        return Ok(group);
    }
    let endpoints = match &to.unix {
        Some(path) => vec![Endpoint::Unix(path.into())],
        None => {
            let port = to.port.unwrap_or(to.default_port());
            let host = to.host.trim_start_matches('[').trim_end_matches(']');
            let lookup = tokio::net::lookup_host((host, port));
            let found = tokio::time::timeout(x.settings.proxy_connect_timeout, lookup).await;
            match found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(found) => found.map(Endpoint::Tcp).collect(),
                Err(error) => {
                    x.trouble("configuration", format_args!("{} could not be resolved ({error})", to.host));
                    return Err(502);
                }
            }
        }
    };
    let params = Params { weight: 1, max_fails: 1, fail_timeout_us: 0, backup: false, down: false };
    let server = |endpoint: Endpoint| upstream::Server { text: endpoint.to_string(), endpoint, params };
    // Made for this request alone, so nothing is kept in it.
    Ok(Arc::new(Group::new(to.host.clone(), endpoints.into_iter().map(server).collect(), 0, 0, 0)))
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
        x.trouble("configuration", format_args!("the {what} for the backend is not valid: {error}"));
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

/// Tries servers of the group until one answers. The error is the status for the client.
async fn attempts(
    x: &mut Exchange,
    snapshot: &Snapshot,
    route: &Route,
    outgoing: &Outgoing,
) -> Result<Incame, u16> {
    let bind = x
        .settings
        .proxy_bind
        .as_ref()
        .and_then(|template| String::from_utf8(x.scope().render(template)).ok()?.parse::<IpAddr>().ok());
    let security = security(x, snapshot, route)?;
    // What was sent once and may have had an effect is not sent again.
    let repeatable = !outgoing.has_body && outgoing.method.is_idempotent();
    let mut tried = Vec::new();
    let mut status = 502;
    loop {
        let Some(server) = route.group.pick(&tried) else {
            if tried.is_empty() {
                x.facts.upstream = route.url(&route.group.name);
                x.trouble("backend", format_args!("no live upstreams while connecting to upstream"));
            }
            return Err(status);
        };
        tried.push(server);
        x.overcome();
        x.facts.upstream = route.url(&route.group.servers[server].endpoint);
        let security_key =
            security.as_ref().map(|s| (s.name.clone(), Arc::as_ptr(&x.settings.proxy_ssl) as usize));
        let lease = Lease { server, security: security_key, bind };
        let idle = if outgoing.websocket { None } else { route.group.take_idle(&lease) };
        if let Some(connection) = idle {
            // An idle connection may have been closed by the backend at this very moment; then a fresh one is tried.
            match one_try(x, route, outgoing, connection).await {
                Err(Failure::Stale) => {}
                Ok(incame) => return Ok(incame),
                Err(Failure::Final(failed)) => return Err(failed),
                Err(Failure::Status(failed)) => {
                    status = failed;
                    if !repeatable {
                        return Err(status);
                    }
                    continue;
                }
            }
        }
        let endpoint = &route.group.servers[server].endpoint;
        let begun = clock::now_us();
        x.facts.outcome.tries.push(Try { address: endpoint.to_string(), ..Try::default() });
        let settings = &x.settings;
        let opened = upstream::open(
            endpoint,
            bind,
            security.as_ref(),
            settings.proxy_socket_keepalive,
            settings.proxy_connect_timeout,
            lease,
        );
        let connection = match opened.await {
            Ok(connection) => connection,
            Err(fault) => {
                status = if fault.stage == Stage::Timeout { 504 } else { 502 };
                x.last_try().status = status;
                x.last_try().response_us = Some(clock::now_us() - begun);
                route.group.failed(server);
                x.trouble("backend", format_args!("{fault} while connecting to upstream"));
                continue;
            }
        };
        x.last_try().connect_us = Some(clock::now_us() - begun);
        match one_try(x, route, outgoing, connection).await {
            Ok(incame) => return Ok(incame),
            Err(Failure::Stale) => {}
            Err(Failure::Final(failed)) => return Err(failed),
            Err(Failure::Status(failed)) => status = failed,
        }
        if !repeatable {
            return Err(status);
        }
    }
}

fn security(x: &Exchange, snapshot: &Snapshot, route: &Route) -> Result<Option<Security>, u16> {
    if !route.https {
        return Ok(None);
    }
    let settings = &x.settings.proxy_ssl;
    let Some(connector) = snapshot.connector(settings) else { return Err(500) };
    let name = settings
        .name
        .as_ref()
        .map(|template| String::from_utf8_lossy(&x.scope().render(template)).into_owned());
    let name = name.unwrap_or_else(|| host_of(&route.host).to_owned());
    Ok(Some(Security { connector: connector.clone(), name }))
}

/// `host:port` without its port.
fn host_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// How a try failed.
enum Failure {
    /// A kept connection was gone before anything was sent over it.
    Stale,
    /// The status that this failure is for the client, unless another server does better.
    Status(u16),
    /// The same, for good: an answer that cannot be understood is not asked for again (`proxy_next_upstream`).
    Final(u16),
}

/// Sends the request over a connection and waits for the head of the answer.
async fn one_try(
    x: &mut Exchange,
    route: &Route,
    outgoing: &Outgoing,
    mut connection: Connection,
) -> Result<Incame, Failure> {
    let reused = connection.requests > 0;
    let server = connection.lease.server;
    let endpoint = route.group.servers[server].endpoint.clone();
    if reused {
        x.facts.outcome.tries.push(Try {
            address: endpoint.to_string(),
            connect_us: Some(0),
            ..Try::default()
        });
    }
    let request = build(x, outgoing);
    connection.requests += 1;
    let begun = clock::now_us();
    let sending = connection.sender.try_send_request(request);
    let result = watch(sending, &x.request_progress, &x.settings).await;
    // As in nginx, connecting counts.
    let took = x.last_try().connect_us.unwrap_or(0) + (clock::now_us() - begun);
    x.last_try().header_us = Some(took);
    x.last_try().response_us = Some(took);
    let mut status = 502;
    let mut failure: fn(u16) -> Failure = Failure::Status;
    let reason = match result {
        Ok(Ok(response)) => match misframed(response.headers()) {
            None => {
                x.last_try().status = response.status().as_u16();
                route.group.succeeded(server);
                return Ok(Incame { response, connection });
            }
            Some(fault) => {
                failure = Failure::Final;
                fault.to_owned()
            }
        },
        Ok(Err(mut error)) => {
            let unsent = error.take_message().is_some();
            if error.error().is_parse() {
                failure = Failure::Final;
            }
            if reused && !outgoing.has_body && (unsent || outgoing.method.is_idempotent()) {
                x.facts.outcome.tries.pop();
                return Err(Failure::Stale);
            }
            reason_of(&error.into_error())
        }
        Err(Silent) => {
            status = 504;
            format!(
                "upstream timed out ({:?} without a byte) while reading response header from upstream",
                x.settings.proxy_read_timeout
            )
        }
    };
    if x.request_progress.too_large.load(Relaxed) {
        x.trouble("client", format_args!("client intended to send too large chunked body"));
        return Err(Failure::Status(413));
    }
    if x.request_progress.broken.load(Relaxed) {
        x.trouble("client", format_args!("client sent an invalid request body, or left in the middle of it"));
        return Err(Failure::Status(400));
    }
    if x.request_progress.timed_out.load(Relaxed) {
        x.trouble("client", format_args!("client timed out while sending the request body"));
        return Err(Failure::Status(408));
    }
    route.group.failed(server);
    x.last_try().status = status;
    x.trouble("backend", format_args!("{reason}"));
    Err(failure(status))
}

/// Why the end of an answer cannot be told for sure.
fn misframed(headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = encodings.next()?;
    if encodings.next().is_some() || !first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Some("upstream sent unknown \"Transfer-Encoding\"");
    }
    headers
        .contains_key(header::CONTENT_LENGTH)
        .then_some("upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")
}

fn reason_of(error: &hyper::Error) -> String {
    let what = if error.is_parse() {
        format!("upstream sent invalid header ({error})")
    } else if error.is_incomplete_message() {
        "upstream prematurely closed connection".to_owned()
    } else {
        // The innermost words: hyper's own say little.
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
    };
    format!("{what} while reading response header from upstream")
}

fn build(x: &mut Exchange, outgoing: &Outgoing) -> Request<Body> {
    let body = match x.body.take().filter(|_| outgoing.has_body) {
        None => body::empty(),
        Some(incoming) => Passed::new(
            incoming,
            x.request_progress.clone(),
            x.settings.client_max_body_size,
            micros(x.settings.client_body_timeout),
            || {},
        )
        .boxed_unsync(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = outgoing.uri.clone();
    *request.headers_mut() = outgoing.headers.clone();
    // Carries how the client spelt its header names.
    *request.extensions_mut() = x.extensions.clone();
    request
}

struct Silent;

/// Waits for the head of an answer: `proxy_read_timeout` counts from the last byte of the body that went out.
async fn watch<F: Future>(
    work: F,
    progress: &Progress,
    settings: &longwire_conf::model::Settings,
) -> Result<F::Output, Silent> {
    let mut work = std::pin::pin!(work);
    let begun = clock::now_us();
    let patience = micros(settings.proxy_read_timeout);
    loop {
        let since = progress.moved_us.load(Relaxed).max(begun);
        let deadline = since.saturating_add(patience);
        if clock::now_us() >= deadline {
            return Err(Silent);
        }
        if let Ok(output) = tokio::time::timeout_at(clock::instant(deadline), &mut work).await {
            return Ok(output);
        }
    }
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
    let headers = client_headers(location, pass, &x.scope(), sent.as_u16(), parts.headers);
    let connection = incame.connection;
    let body = Passed::new(
        incoming,
        x.answer_progress.clone(),
        None,
        micros(settings.proxy_read_timeout.max(Duration::from_millis(1))),
        move || group.keep(connection),
    );
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = sent;
    *response.headers_mut() = headers;
    *response.extensions_mut() = parts.extensions;
    if forced.is_some() {
        response.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
    }
    Step::Response(response)
}

impl Exchange {
    fn last_try(&mut self) -> &mut Try {
        let tries = &mut self.facts.outcome.tries;
        if tries.is_empty() {
            tries.push(Try::default());
        }
        let last = tries.len() - 1;
        &mut tries[last]
    }
}
