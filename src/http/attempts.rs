//! Tries servers of a group until one answers, and notes how they did.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use longwire_conf::model::{Balance, Level, NextReason, Settings};

use super::body::{self, Passed, Progress};
use super::choice::{Choice, may_miss_session};
use super::exchange::Exchange;
use super::proxy::{Outgoing, Route};
use crate::clock::{self, micros};
use crate::metrics::{COUNTS, HandshakeFault, Limit};
use crate::net::{Announced, Version, announce};
use crate::route::facts::{ConnectionFacts, Peer, Try};
use crate::snapshot::Snapshot;
use crate::upstream::balance::{Change, Walk};
use crate::upstream::{self, Body, Connection, Lease, Picked, Security, Server, Slot, Stage};

/// The longest answer that is looked into for the reason of a failure, in bytes.
const MAX_GATHERED: u64 = 1024;
/// How long it may take to come.
const GATHER_TIME: Duration = Duration::from_secs(1);

/// An answer, and the connection that it came over.
pub(super) struct Incame {
    pub(super) response: Response<Incoming>,
    pub(super) connection: Connection,
    /// The request's place at the server.
    pub(super) slot: Slot,
    /// The cookie that leads back there.
    pub(super) cookie: Option<HeaderValue>,
    /// The body, where it was looked into.
    pub(super) gathered: Option<Bytes>,
    /// It said that it does not know the client's session, and that was told.
    pub(super) lost_session: bool,
    server: Arc<Server>,
}

/// How a try failed.
enum Failure {
    /// A kept connection was gone before anything was sent over it.
    Stale,
    /// By the client's fault: no other server would help. The status for the client.
    Client(u16),
    /// By the server's.
    Server {
        /// What this is for the client, unless another server does better.
        status: u16,
        reason: NextReason,
        /// Whether the request may have been read.
        sent: bool,
    },
}

/// What all tries of a request share.
struct Tries<'a> {
    route: &'a Route,
    outgoing: &'a Outgoing,
    choice: Choice,
    bind: Option<IpAddr>,
    security: Option<Security>,
    /// The header of the PROXY protocol.
    announced: Option<Vec<u8>>,
    /// How many more servers may be tried.
    left: usize,
    begun_us: u64,
}

/// Tries servers of the group until one answers. The error is the status for the client.
pub(super) async fn attempts(
    x: &mut Exchange,
    snapshot: &Snapshot,
    route: &Route,
    outgoing: &Outgoing,
) -> Result<Incame, u16> {
    let group = &route.group;
    group.ready().await;
    let mut tries = Tries::new(x, snapshot, route, outgoing)?;
    let mut walk = Walk::default();
    loop {
        let Some(Picked { server, slot }) = group.pick(&tries.choice.ask(), &mut walk) else {
            x.overcome();
            x.facts.upstream = route.url(&group.name);
            x.facts.outcome.tries.push(Try { address: group.name.clone(), status: 502, ..Try::default() });
            COUNTS.hit(Limit::NoLiveServer);
            x.trouble(
                HandshakeFault::NoLiveBackend,
                format_args!("no live upstreams while connecting to upstream"),
            );
            return Err(502);
        };
        tries.left = tries.left.saturating_sub(1);
        x.overcome();
        x.facts.upstream = route.url(&server.endpoint);
        let (status, goes_on) = match tries.at(x, &server, slot).await {
            Ok(mut incame) => {
                let status = incame.response.status().as_u16();
                let reason = NextReason::of_status(status);
                let Some(reason) = reason.filter(|reason| tries.goes_on(x, *reason, true)) else {
                    tell(x, route, &server, group.succeeded(&server), "");
                    x.facts.outcome.upstream = incame.response.headers().clone();
                    incame.cookie = tries.choice.settle(x, group, &server);
                    return Ok(incame);
                };
                if !matches!(reason, NextReason::Http403 | NextReason::Http404) {
                    tell(x, route, &server, group.failed(&server), &format!("it answered {status}"));
                }
                x.trouble(
                    HandshakeFault::BackendAnswered,
                    format_args!("upstream answered {status} (proxy_next_upstream)"),
                );
                continue;
            }
            // The connection is not stale twice: the second one was new.
            Err(Failure::Stale) => (502, false),
            Err(Failure::Client(status)) => (status, false),
            Err(Failure::Server { status, reason, sent }) => (status, tries.goes_on(x, reason, sent)),
        };
        if !goes_on {
            return Err(status);
        }
    }
}

impl<'a> Tries<'a> {
    fn new(
        x: &mut Exchange,
        snapshot: &Snapshot,
        route: &'a Route,
        outgoing: &'a Outgoing,
    ) -> Result<Tries<'a>, u16> {
        let bind = x.settings.proxy_bind.as_ref().map(|template| x.scope().render(template));
        let most = Some(x.settings.proxy_next_upstream_tries).filter(|&most| most > 0);
        Ok(Tries {
            route,
            outgoing,
            choice: Choice::new(x, &route.group, outgoing.websocket),
            bind: bind.and_then(|bind| String::from_utf8(bind).ok()?.parse().ok()),
            security: security(x, snapshot, route)?,
            announced: x.settings.proxy_protocol.map(|version| announced(&x.facts.connection, version)),
            left: route.group.tries().min(most.unwrap_or(usize::MAX)),
            begun_us: clock::now_us(),
        })
    }

    /// Whether another server is tried after this (`proxy_next_upstream`).
    fn goes_on(&self, x: &Exchange, reason: NextReason, sent: bool) -> bool {
        let reasons = x.settings.proxy_next_upstream;
        let timeout_us = micros(x.settings.proxy_next_upstream_timeout);
        // What may have had an effect is not sent again by itself; nginx takes these three for such.
        let has_effect = sent && matches!(self.outgoing.method.as_str(), "POST" | "LOCK" | "PATCH");
        let body_is_gone = self.outgoing.has_body && x.body.is_none();
        self.left > 0
            && reasons.has(reason)
            && (!has_effect || reasons.has(NextReason::NonIdempotent))
            && !body_is_gone
            && (timeout_us == 0 || clock::now_us().saturating_sub(self.begun_us) < timeout_us)
    }

    /// Tries one server: over a kept connection, else over a new one.
    async fn at(&self, x: &mut Exchange, server: &Arc<Server>, slot: Slot) -> Result<Incame, Failure> {
        let security = self.security.as_ref().map(|s| (s.name.clone(), s.connector.fingerprint()));
        let lease = Lease { server: server.id, security, bind: self.bind, announced: self.announced.clone() };
        let idle = match self.outgoing.websocket {
            true => None,
            false => self.route.group.take_idle(&lease),
        };
        if let Some(connection) = idle {
            // It may have been closed by the backend at this very moment; then a fresh one is tried.
            match self.ask(x, server, connection).await {
                Err(Failure::Stale) => {}
                Err(failure) => return Err(failure),
                Ok((response, connection)) => return Ok(Incame::new(response, connection, server, slot)),
            }
        }
        let connection = self.connect(x, server, lease).await?;
        let (response, connection) = self.ask(x, server, connection).await?;
        Ok(Incame::new(response, connection, server, slot))
    }

    async fn connect(
        &self,
        x: &mut Exchange,
        server: &Arc<Server>,
        lease: Lease,
    ) -> Result<Connection, Failure> {
        let begun = clock::now_us();
        let trace = x.trace_try(false);
        x.facts.outcome.tries.push(Try { address: server.endpoint.to_string(), trace, ..Try::default() });
        let settings = &x.settings;
        let opened = upstream::open(
            &server.endpoint,
            self.bind,
            self.security.as_ref(),
            settings.proxy_socket_keepalive,
            settings.proxy_connect_timeout,
            lease,
        );
        match opened.await {
            Ok(connection) => {
                x.last_try().connect_us = Some(clock::now_us() - begun);
                Ok(connection)
            }
            Err(fault) => {
                let (status, reason) = match fault.stage {
                    Stage::Timeout => (504, NextReason::Timeout),
                    Stage::Connect | Stage::Tls => (502, NextReason::Error),
                };
                x.last_try().status = status;
                x.last_try().response_us = Some(clock::now_us() - begun);
                x.trace_try_failed(&fault);
                tell(x, self.route, server, self.route.group.failed(server), &fault.to_string());
                let kind = match fault.stage {
                    Stage::Timeout => HandshakeFault::BackendTimeout,
                    Stage::Connect | Stage::Tls => HandshakeFault::BackendUnreachable,
                };
                x.trouble(kind, format_args!("{fault} while connecting to upstream"));
                Err(Failure::Server { status, reason, sent: false })
            }
        }
    }

    /// Sends the request over a connection and waits for the head of the answer.
    async fn ask(
        &self,
        x: &mut Exchange,
        server: &Arc<Server>,
        mut connection: Connection,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        let reused = connection.requests > 0;
        if reused {
            let address = server.endpoint.to_string();
            let trace = x.trace_try(true);
            x.facts.outcome.tries.push(Try { address, connect_us: Some(0), trace, ..Try::default() });
        }
        let request = build(x, self.outgoing);
        connection.requests += 1;
        let begun = clock::now_us();
        let sending = connection.sender.try_send_request(request);
        let result = watch(sending, &x.request_progress, &x.settings).await;
        // As in nginx, connecting counts.
        let took = x.last_try().connect_us.unwrap_or(0) + (clock::now_us() - begun);
        x.last_try().header_us = Some(took);
        x.last_try().response_us = Some(took);
        let (status, reason, words) = match result {
            Ok(Ok(response)) => match misframed(response.headers()) {
                None => {
                    x.last_try().status = response.status().as_u16();
                    return Ok((response, connection));
                }
                Some(fault) => (502, NextReason::InvalidHeader, fault.to_owned()),
            },
            Ok(Err(mut error)) => {
                let unsent = error.take_message().is_some();
                // An answer that cannot be understood is one: the connection was not gone.
                let is_parse = error.error().is_parse();
                let harmless = unsent || self.outgoing.method.is_idempotent();
                if reused && !self.outgoing.has_body && harmless && !is_parse {
                    x.facts.outcome.tries.pop();
                    return Err(Failure::Stale);
                }
                let reason = if is_parse { NextReason::InvalidHeader } else { NextReason::Error };
                (502, reason, reason_of(&error.into_error()))
            }
            Err(Silent) => {
                let words = format!(
                    "upstream timed out ({:?} without a byte) while reading response header from upstream",
                    x.settings.proxy_read_timeout
                );
                (504, NextReason::Timeout, words)
            }
        };
        if let Some((status, words)) = fault_of_client(x) {
            x.trace_try_failed(words);
            return Err(Failure::Client(status));
        }
        x.last_try().status = status;
        x.trace_try_failed(&words);
        tell(x, self.route, server, self.route.group.failed(server), &words);
        let is_late = reason == NextReason::Timeout;
        let kind = if is_late { HandshakeFault::BackendTimeout } else { HandshakeFault::BackendBroke };
        x.trouble(kind, format_args!("{words}"));
        Err(Failure::Server { status, reason, sent: true })
    }
}

/// Says once that a server is left out, or that it is back.
fn tell(x: &Exchange, route: &Route, server: &Server, change: Option<Change>, why: &str) {
    if let Some(change) = change {
        let words = upstream::standing(&route.group.name, server, change, why);
        x.log(Level::Warn, format_args!("{words}"));
    }
}

/// What the client did to its own request, if that is why there is no answer.
fn fault_of_client(x: &Exchange) -> Option<(u16, &'static str)> {
    let progress = &x.request_progress;
    let (status, words) = if progress.too_large.load(Relaxed) {
        (413, "client intended to send too large chunked body")
    } else if progress.broken.load(Relaxed) {
        (400, "client sent an invalid request body, or left in the middle of it")
    } else if progress.timed_out.load(Relaxed) {
        (408, "client timed out while sending the request body")
    } else {
        return None;
    };
    x.trouble(HandshakeFault::BadRequest, format_args!("{words}"));
    Some((status, words))
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

impl Incame {
    fn new(response: Response<Incoming>, connection: Connection, server: &Arc<Server>, slot: Slot) -> Incame {
        let server = server.clone();
        Incame { response, connection, slot, cookie: None, gathered: None, lost_session: false, server }
    }

    /// Looks whether a refusal means that this server does not know a session of Engine.IO (which socket.io stands on),
    /// and says what is missing then. Polling and upgrading must come to the server that began the session.
    pub(super) async fn look_for_lost_session(&mut self, x: &Exchange, route: &Route) {
        let length = self.response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if !may_miss_session(x, &self.response) || length.is_none_or(|length| length > MAX_GATHERED) {
            return;
        }
        let mut bytes = Vec::new();
        let gathering = async {
            while let Some(Ok(frame)) = self.response.frame().await {
                bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            }
        };
        // What does not come within that time does not come.
        let _ = tokio::time::timeout(GATHER_TIME, gathering).await;
        let words = String::from_utf8_lossy(&bytes);
        self.lost_session = words.contains("Session ID unknown");
        if self.lost_session {
            let at = &self.server.endpoint;
            let name = &route.group.name;
            let by_turn = !matches!(route.group.balance, Balance::Hash { .. } | Balance::IpHash);
            match by_turn && route.group.sticky.is_none() && route.group.servers().len() > 1 {
                true => x.trouble(
                    HandshakeFault::StickinessMissing,
                    format_args!(
                        "the session is unknown to this backend (400 \"Session ID unknown\" from {at}): another one of the \
                         group began it, and stickiness is missing: write \"sticky cookie NAME;\" or \"ip_hash;\" in upstream \"{name}\""
                    ),
                ),
                false => x.trouble(
                    HandshakeFault::SessionUnknown,
                    format_args!(
                        "the session is unknown to this backend (400 \"Session ID unknown\" from {at}): it ended there, or \
                         the backend that began it is gone; a client begins a new one"
                    ),
                ),
            }
        }
        self.gathered = Some(bytes.into());
    }
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
    x.trace_parent(request.headers_mut());
    // Carries how the client spelt its header names.
    *request.extensions_mut() = x.extensions.clone();
    request
}

struct Silent;

/// Waits for the head of an answer: `proxy_read_timeout` counts from the last byte of the body that went out.
async fn watch<F: Future>(work: F, progress: &Progress, settings: &Settings) -> Result<F::Output, Silent> {
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

impl Exchange {
    /// The try that is being made.
    fn last_try(&mut self) -> &mut Try {
        let tries = &mut self.facts.outcome.tries;
        if tries.is_empty() {
            tries.push(Try::default());
        }
        let last = tries.len() - 1;
        &mut tries[last]
    }
}

/// `proxy_protocol`: who the client is, and what it connected to.
fn announced(facts: &ConnectionFacts, version: u8) -> Vec<u8> {
    let address = |peer: &Peer| match peer {
        Peer::Ip(ip, port) => Some(SocketAddr::new(*ip, *port)),
        Peer::Unix(_) => None,
    };
    let both = address(&facts.remote).zip(address(&facts.local));
    let both = both.map(|(source, destination)| Announced { source, destination });
    announce(both.as_ref(), Version::from(version))
}
