//! One request: from its facts to an answer, by way of server, location, action and error pages.

use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use longwire_conf::model::{Level, Settings};
use longwire_wire::handshake::is_websocket_upgrade;

use super::Service;
use super::body::{self, Progress};
use super::door::{Arrival, Door};
use super::guarded::Shared;
use super::gzip::{Gzipped, Sizes};
use super::handshake::Switch;
use super::http2;
use super::journal::Journal;
use super::traces::failure;
use crate::clock::{self, micros};
use crate::guard::Slot;
use crate::metrics::{COUNTS, HandshakeFault};
use crate::route::answer::{self, Reply};
use crate::route::facts::{ConnectionFacts, Course, Facts, Outcome, Protocol};
use crate::route::gzip::{Compression, judge, mark};
use crate::route::headers::accepted;
use crate::route::server::requested_host;
use crate::route::uri::{Target, text};
use crate::route::variables::Scope;
use crate::snapshot::Site;
use crate::upstream::Body;

/// The connection is to be closed without an answer (`return 444`).
#[derive(Debug)]
pub(super) struct Unanswered;

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer, as configured")
    }
}

impl std::error::Error for Unanswered {}

/// Changes of a request's path, and one that is too many (nginx).
const MAX_CHANGES: u8 = 11;

/// What one request needs while it is served.
pub(super) struct Exchange {
    pub(super) service: Arc<Service>,
    door: Arc<Door>,
    pub(super) shared: Arc<Shared>,
    pub(super) facts: Facts,
    pub(super) settings: Arc<Settings>,
    /// Method in force: an error page is asked for with GET, while `$request` stays what it was.
    pub(super) method: String,
    /// The request's body, until it is sent on.
    pub(super) body: Option<Incoming>,
    pub(super) request_progress: Arc<Progress>,
    /// How far the backend's answer is.
    pub(super) answer_progress: Arc<Progress>,
    /// hyper's hold on the connection, for a WebSocket.
    pub(super) upgrade: Option<OnUpgrade>,
    /// Spelling of the header names as sent.
    pub(super) extensions: http::Extensions,
    /// It asks for a WebSocket.
    pub(super) websocket: bool,
    /// It did so when it came in.
    pub(super) handshake: bool,
    /// It only asks for `auth_request`: access is not checked, and its answer goes to nobody.
    pub(super) subrequest: bool,
    /// How often its path may still change, against cycles.
    pub(super) changes_left: u8,
    /// It is at an error page.
    pub(super) paged: bool,
    /// Headers that its answer gets beside those of its own.
    pub(super) extra: HeaderMap,
    /// Why its handshake will have failed, unless something else comes of it.
    fault: Mutex<Option<Fault>>,
    /// Counts it as a request in work.
    working: Arc<()>,
    /// What it holds of `limit_conn`, until its end.
    pub(super) slots: Vec<Slot>,
    /// Its connection ends with the answer.
    pub(super) last: bool,
    sent_before: u64,
}

/// Why there is no WebSocket.
struct Fault {
    /// What it is, and who has to act.
    kind: HandshakeFault,
    reason: String,
    /// Where `error_page` led after it.
    page: Option<String>,
    /// How severe that is.
    level: Level,
}

/// What a place made of the request.
pub(super) enum Step {
    /// This is the answer.
    Response(Response<Body>),
    /// Both sides agreed on a WebSocket.
    Switching(Box<Switch>),
    /// This status, by its page, with a `Location`.
    Status(u16, Option<Vec<u8>>),
    /// Another path or place answers.
    Jump(Jump),
    /// Not a word.
    Close,
}

/// Where else a request goes.
pub(super) enum Jump {
    /// To `@name`.
    Named(String),
    /// To another path, from the server's rules on.
    Path(String, String),
}

/// Serves one request, by the generation that is in force now, to its end.
pub(super) async fn serve(
    arrival: Arrival,
    connection: Arc<ConnectionFacts>,
    shared: Arc<Shared>,
    number: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>, Unanswered> {
    // A door always knows the addresses that it leads to.
    let Some((service, site)) = arrival.present() else { return Err(Unanswered) };
    let snapshot = service.snapshot.clone();
    let (exchange, fault) =
        Exchange::new((service, arrival.door), connection, shared, &site, number, request);
    let mut begun = Begun(Some(exchange));
    let Some(exchange) = &mut begun.0 else { return Err(Unanswered) };
    let server = &snapshot.config.servers[exchange.choose_server(&site, &fault)];
    let step = match fault {
        None => exchange.run(&snapshot, server).await,
        Some(reason) => {
            exchange.trouble(HandshakeFault::BadRequest, format_args!("{reason}"));
            exchange.last = true;
            exchange.page(400, None)
        }
    };
    begun.0.take().map_or(Err(Unanswered), |exchange| exchange.finish(step))
}

/// A request that is being served. hyper drops it when the client leaves.
struct Begun(Option<Exchange>);

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(mut exchange) = self.0.take() else { return };
        let waited = (clock::now_us() - exchange.facts.started_us) / 1000;
        if exchange.handshake {
            exchange.blame(
                HandshakeFault::ClientLeft,
                format_args!("it left after {waited} ms without an answer"),
            );
            exchange.tell_fault();
            COUNTS.answers.add(499);
        } else {
            exchange.log(Level::Info, format_args!("client prematurely closed connection after {waited} ms"));
        }
        exchange.facts.outcome.status = 499;
        exchange.journal().write();
    }
}

impl Exchange {
    /// Gathers the facts. The second value says what is wrong with the request, if anything is.
    fn new(
        (service, door): (Arc<Service>, Arc<Door>),
        connection: Arc<ConnectionFacts>,
        shared: Arc<Shared>,
        site: &Site,
        number: u64,
        mut request: Request<Incoming>,
    ) -> (Exchange, Option<String>) {
        let upgrade =
            request.extensions().get::<OnUpgrade>().is_some().then(|| hyper::upgrade::on(&mut request));
        let (mut parts, incoming) = request.into_parts();
        let is_http2 = parts.version == Version::HTTP_2;
        let server = &service.snapshot.config.servers[site.default];
        let mut fault = is_http2.then(|| http2::plainly(&mut parts)).flatten().map(str::to_owned);
        let values = |name| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let websocket = is_websocket_upgrade(values(header::UPGRADE), values(header::CONNECTION));
        shared.handshake.store(websocket, Relaxed);
        let sent = shared.next_target().unwrap_or_else(|| parts.uri.to_string().into_bytes());
        let text = text(sent);
        let target = Target::parse(&text, server.merge_slashes).unwrap_or_else(|error| {
            fault.get_or_insert(format!("client sent invalid request: {error}"));
            Target { path: "/".into(), args: String::new(), host: None }
        });
        let host_header = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
        let host = requested_host(target.host.as_deref(), host_header).unwrap_or_else(|error| {
            fault.get_or_insert(format!("client sent {error} in the request"));
            String::new()
        });
        let now = clock::now_us();
        // Beside the names, values and words there are `: `, CRLF, spaces and the version.
        let head = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let head = head.sum::<usize>() + parts.method.as_str().len() + text.len() + 14;
        let facts = Facts {
            connection,
            number,
            method: parts.method.to_string(),
            target: text,
            protocol: match parts.version {
                Version::HTTP_10 => Protocol::Http10,
                Version::HTTP_2 => Protocol::Http2,
                _ => Protocol::Http11,
            },
            headers: parts.headers,
            uri: target.path,
            args: target.args,
            course: Course { unset: service.snapshot.config.has_set.then(Arc::default), ..Course::default() },
            host,
            server_name: String::new(),
            captures: Vec::new(),
            named: Vec::new(),
            request_id: request_id(),
            started_us: now,
            started_unix_us: clock::unix_us(),
            request_length: head as u64,
            proxy_host: String::new(),
            proxy_port: String::new(),
            upstream: String::new(),
            trace: None,
            outcome: Outcome { now_us: now, ..Outcome::default() },
        };
        let settings = server.settings.clone();
        let method = facts.method.clone();
        let sent_before = shared.sent.load(Relaxed);
        let working = service.census.working.clone();
        let exchange = Exchange {
            service,
            door,
            shared,
            facts,
            settings,
            method,
            body: Some(incoming),
            request_progress: Arc::default(),
            answer_progress: Arc::default(),
            fault: Mutex::default(),
            upgrade,
            extensions: parts.extensions,
            websocket,
            handshake: websocket,
            subrequest: false,
            changes_left: MAX_CHANGES,
            paged: false,
            working,
            slots: Vec::new(),
            extra: HeaderMap::new(),
            last: false,
            sent_before,
        };
        (exchange, fault)
    }

    /// A request of its own for `auth_request`: GET, without body and upgrade, with the headers of this one.
    pub(super) fn subrequest(&self, uri: String) -> Exchange {
        let mut facts = self.facts.clone();
        let Outcome { now_us, limit_req, limit_conn, .. } = facts.outcome;
        facts.outcome = Outcome { now_us, limit_req, limit_conn, ..Outcome::default() };
        facts.lead_to(uri, String::new());
        let mut sub = Exchange {
            service: self.service.clone(),
            door: self.door.clone(),
            shared: self.shared.clone(),
            facts,
            settings: self.settings.clone(),
            method: "GET".into(),
            body: None,
            request_progress: Arc::default(),
            answer_progress: Arc::default(),
            fault: Mutex::default(),
            upgrade: None,
            extensions: self.extensions.clone(),
            websocket: false,
            handshake: false,
            subrequest: true,
            changes_left: MAX_CHANGES,
            paged: false,
            working: Arc::default(),
            slots: Vec::new(),
            extra: HeaderMap::new(),
            last: false,
            sent_before: self.sent_before,
        };
        sub.drop_body();
        sub
    }

    /// Its body goes nowhere.
    pub(super) fn drop_body(&mut self) {
        self.body = None;
        self.facts.headers.remove(header::CONTENT_LENGTH);
        self.facts.headers.remove(header::TRANSFER_ENCODING);
    }

    /// Its body was announced, but cannot be sent any more: a length without a body would swallow the next request.
    pub(super) fn has_lost_its_body(&self) -> bool {
        let headers = &self.facts.headers;
        let length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        self.body.is_none() && (length || headers.contains_key(header::TRANSFER_ENCODING))
    }

    /// Picks the server by the host, and takes its settings.
    fn choose_server(&mut self, site: &Site, fault: &Option<String>) -> usize {
        let found = site.index.find(&self.facts.host);
        let index = if fault.is_some() { site.default } else { found.server };
        let snapshot = self.service.snapshot.clone();
        let server = &snapshot.config.servers[index];
        self.facts.capture(found.captures);
        self.facts.server_name = snapshot.server_name(index).into_owned();
        if self.facts.host.is_empty() {
            self.facts.host.clone_from(&self.facts.server_name);
        }
        let headers = std::mem::take(&mut self.facts.headers);
        self.facts.headers = accepted(headers, server);
        self.settings = server.settings.clone();
        self.begin_trace();
        index
    }

    /// The built-in page of a status.
    pub(super) fn page(&self, status: u16, location: Option<Vec<u8>>) -> Step {
        Step::Response(self.built_in(status, location))
    }

    fn built_in(&self, status: u16, location: Option<Vec<u8>>) -> Response<Body> {
        response(answer::page(status, location, &self.settings, &self.scope()))
    }

    /// What templates are rendered with.
    pub(super) fn scope(&self) -> Scope<'_> {
        self.service.snapshot.scope(&self.facts)
    }

    /// Writes to the error log of this place.
    pub(super) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.service.snapshot.log_request(&self.settings, level, &self.facts, message);
    }

    /// Says which variables were used before they were set.
    pub(super) fn warn_unset(&self) {
        for name in self.facts.course.take_unset() {
            if self.settings.uninitialized_variable_warn {
                self.log(Level::Warn, format_args!("using uninitialized \"{name}\" variable"));
            }
        }
    }

    /// Says what went wrong. Of a handshake that is kept for the one line that tells why it failed, with whose fault
    /// it is.
    pub(super) fn trouble(&self, kind: HandshakeFault, message: std::fmt::Arguments<'_>) {
        self.refused(kind, Level::Error, message);
    }

    /// The same, as severe as it is here.
    pub(super) fn refused(&self, kind: HandshakeFault, level: Level, message: std::fmt::Arguments<'_>) {
        match self.handshake && !self.is_explained(kind) {
            true => self.note(kind, level, message),
            false => self.log(level, message),
        }
    }

    /// Notes why there will be no WebSocket, if one was asked for.
    pub(super) fn blame(&self, kind: HandshakeFault, reason: std::fmt::Arguments<'_>) {
        if !self.is_explained(kind) {
            // What a backend refuses as it should is not for those who look after the proxy.
            let level = if kind.of().is_some() { Level::Error } else { Level::Warn };
            self.note(kind, level, reason);
        }
    }

    /// Keeps what was noted as the cause while an error page is looked for.
    pub(super) fn keep_cause(&self, page: &str) {
        if let Some(fault) = self.lock_fault().as_mut() {
            fault.page = Some(page.to_owned());
        }
    }

    /// Whether the cause is known and what is said now is of its error page only. Another backend that is asked for
    /// the WebSocket speaks for itself.
    pub(super) fn is_explained(&self, kind: HandshakeFault) -> bool {
        let is_page = self.lock_fault().as_ref().is_some_and(|fault| fault.page.is_some());
        let by_backend = kind.of().is_none_or(|of| of == "backend");
        is_page && !(by_backend && self.websocket)
    }

    fn note(&self, kind: HandshakeFault, level: Level, reason: std::fmt::Arguments<'_>) {
        if self.handshake {
            self.overcome();
            *self.lock_fault() = Some(Fault { kind, reason: reason.to_string(), page: None, level });
        }
    }

    /// What was noted is not the end: something else is tried.
    pub(super) fn overcome(&self) {
        if let Some(fault) = self.lock_fault().take() {
            self.log(Level::Error, format_args!("{}; something else is tried", fault.reason));
        }
    }

    /// There is no WebSocket: says why, and whose fault that is.
    fn tell_fault(&mut self) {
        let fault = self.lock_fault().take();
        if let Some(Fault { kind, reason, page, level }) = fault {
            COUNTS.failed(kind);
            let page = page.map(|page| format!(" (error_page led to {page})")).unwrap_or_default();
            let whose =
                kind.of().map_or("refused by the backend".to_owned(), |of| format!("fault of the {of}"));
            let told = format!("{whose}: {reason}{page}");
            self.log(level, format_args!("WebSocket handshake failed, {told}"));
            if let Some(trace) = &mut self.facts.trace {
                trace.failure = Some(failure(kind, told));
            }
        }
    }

    fn lock_fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts on the answer what the connection needs, and has it logged once it is out.
    fn finish(mut self, step: Step) -> Result<Response<Body>, Unanswered> {
        let mut response = match step {
            Step::Response(response) => response,
            Step::Switching(switch) => {
                self.overcome();
                COUNTS.answers.add(101);
                let shared = self.shared.clone();
                let (response, switching) = switch.start(self.journal());
                shared.switching(switching);
                return Ok(response);
            }
            Step::Status(status, location) => self.built_in(status, location),
            Step::Jump(_) => self.built_in(500, None),
            Step::Close => {
                if self.lock_fault().is_none() {
                    self.blame(
                        HandshakeFault::NotProxied,
                        format_args!("closed without an answer, as configured"),
                    );
                }
                self.tell_fault();
                if self.handshake {
                    COUNTS.answers.add(444);
                }
                self.facts.outcome.status = 444;
                self.journal().write();
                return Err(Unanswered);
            }
        };
        if self.lock_fault().is_none() {
            let status = response.status().as_u16();
            self.blame(
                HandshakeFault::NotProxied,
                format_args!("it was answered {status} here, not by a backend"),
            );
        }
        if self.handshake {
            COUNTS.answers.add(response.status().as_u16());
        }
        self.tell_fault();
        self.warn_unset();
        for name in self
            .extra
            .keys()
            .filter(|name| !response.headers().contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            for value in self.extra.get_all(&name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        let settings = self.settings.clone();
        let unread = self.body.as_ref().is_some_and(|b| !http_body::Body::is_end_stream(b));
        let last = self.last
            || self.facts.number >= settings.keepalive_requests
            || settings.keepalive_timeout.is_zero()
            // Whatever follows a handshake that failed is no HTTP. A body that nobody wants is not waited for.
            || self.handshake
            || unread
            || self.door.is_leaving();
        if last && self.facts.protocol != Protocol::Http2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.shared.idle_us.store(micros(settings.keepalive_timeout), Relaxed);
        self.shared.linger_us.store(micros(settings.lingering_timeout), Relaxed);
        self.shared.send_us.store(micros(settings.send_timeout), Relaxed);
        self.facts.outcome.status = response.status().as_u16();
        let (response, packed) = self.compressed(response);
        self.facts.outcome.sent = response.headers().clone();
        let mut journal = self.journal();
        journal.packed = packed;
        let counted = journal.body_sent();
        Ok(response.map(|inner| body::Held::new(inner, counted, journal.when_flushed()).boxed_unsync()))
    }

    /// Has the answer compressed, where `gzip` says so.
    fn compressed(&self, response: Response<Body>) -> (Response<Body>, Option<Arc<Sizes>>) {
        let gzip = self.settings.gzip.clone();
        let (mut parts, body) = response.into_parts();
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let unix_us = self.scope().unix_us();
        let status = parts.status.as_u16();
        let compression = judge(&gzip, &self.facts, status, &parts.headers, length, unix_us);
        mark(&mut parts.headers, compression, &gzip);
        if compression != Compression::Done {
            return (Response::from_parts(parts, body), None);
        }
        if self.method == "HEAD" {
            // Its headers are those of the answer to GET, and hyper would say the length of this body.
            return (Response::from_parts(parts, body::empty()), None);
        }
        let sizes = Arc::<Sizes>::default();
        let body = Gzipped::new(body, gzip.level, sizes.clone()).boxed_unsync();
        (Response::from_parts(parts, body), Some(sizes))
    }

    /// What will become the access log's line.
    pub(super) fn journal(mut self) -> Journal {
        // What never came to a location.
        self.settle_trace();
        Journal::new(
            self.service,
            self.shared,
            self.facts,
            self.settings,
            self.request_progress,
            self.answer_progress,
            self.sent_before,
        )
        .holding(self.slots, self.working)
    }
}

/// An answer of our own as hyper wants it.
pub(super) fn response(reply: Reply) -> Response<Body> {
    let length = reply.body.len();
    let mut response = Response::new(body::full(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = reply.headers;
    if !matches!(reply.status, 204 | 304) {
        // hyper says no length of 0 to HEAD.
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    // nginx has no words for a status that it does not know; hyper would find some.
    let reason = ReasonPhrase::from_static(answer::reason(reply.status).as_bytes());
    response.extensions_mut().insert(reason);
    response
}

/// 32 hex digits of 16 random bytes.
fn request_id() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    random().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Random bytes, of which the kernel is asked for some more at once.
pub(super) fn random() -> [u8; 16] {
    thread_local! {
        static POOL: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        pool.pop().unwrap_or_else(|| {
            let mut bytes = [[0; 16]; 64];
            // The kernel's generator does not fail once it is seeded.
            let _ = getrandom::fill(bytes.as_flattened_mut());
            pool.extend_from_slice(&bytes[1..]);
            bytes[0]
        })
    })
}
