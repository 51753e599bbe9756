//! One request: from its facts to an answer, by way of server, location, action and error pages.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use longwire_conf::model::{Action, Level, Server, Settings};
use longwire_wire::handshake::is_websocket_upgrade;

use super::body::{self, Progress};
use super::guarded::Shared;
use super::handshake::Switch;
use super::journal::Journal;
use super::{Service, proxy};
use crate::clock::{self, micros};
use crate::route::answer::{self, Answer, ErrorStep, Reply};
use crate::route::facts::{ConnectionFacts, Facts, Outcome};
use crate::route::headers::accepted;
use crate::route::location::{self, Chosen, How};
use crate::route::server::requested_host;
use crate::route::uri::Target;
use crate::route::variables::Scope;
use crate::snapshot::{Site, Snapshot};
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

/// Error pages lead to at most one other place; this bounds what a mistake could make of it.
const MAX_JUMPS: usize = 10;

/// What one request needs while it is served.
pub(super) struct Exchange {
    pub(super) service: Arc<Service>,
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
    handshake: bool,
    /// Why its handshake will have failed, unless something else comes of it.
    fault: Mutex<Option<Fault>>,
    /// Its connection ends with the answer.
    last: bool,
    sent_before: u64,
}

/// Why there is no WebSocket.
struct Fault {
    /// Who has to act: client, backend or configuration.
    of: &'static str,
    reason: String,
}

/// What a place made of the request.
pub(super) enum Step {
    /// This is the answer.
    Response(Response<Body>),
    /// Both sides agreed on a WebSocket.
    Switching(Box<Switch>),
    /// This status, by its page, with a `Location`.
    Status(u16, Option<Vec<u8>>),
    /// Not a word.
    Close,
}

/// Where a request is looked for.
enum Place {
    Start,
    Internal,
    Named(String),
}

/// Serves one request.
pub(super) async fn serve(
    service: Arc<Service>,
    connection: Arc<ConnectionFacts>,
    shared: Arc<Shared>,
    site: Arc<Site>,
    number: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>, Unanswered> {
    let snapshot = service.snapshot.clone();
    let (exchange, fault) = Exchange::new(service, connection, shared, &site, number, request);
    let mut begun = Begun(Some(exchange));
    let Some(exchange) = &mut begun.0 else { return Err(Unanswered) };
    let server = &snapshot.config.servers[exchange.choose_server(&site, &fault)];
    let step = match fault {
        None => exchange.run(&snapshot, server).await,
        Some(reason) => {
            exchange.trouble("client", format_args!("{reason}"));
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
            exchange.blame("client", format_args!("it left after {waited} ms without an answer"));
            exchange.tell_fault();
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
        service: Arc<Service>,
        connection: Arc<ConnectionFacts>,
        shared: Arc<Shared>,
        site: &Site,
        number: u64,
        mut request: Request<Incoming>,
    ) -> (Exchange, Option<String>) {
        let upgrade =
            request.extensions().get::<OnUpgrade>().is_some().then(|| hyper::upgrade::on(&mut request));
        let (parts, incoming) = request.into_parts();
        let server = &service.snapshot.config.servers[site.default];
        let values = |name| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let websocket = is_websocket_upgrade(values(header::UPGRADE), values(header::CONNECTION));
        let text = parts.uri.to_string();
        let mut fault = None;
        let target = Target::parse(&text, server.merge_slashes).unwrap_or_else(|error| {
            fault = Some(format!("client sent invalid request: {error}"));
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
            minor_version: u8::from(parts.version != Version::HTTP_10),
            headers: parts.headers,
            uri: target.path,
            args: target.args,
            redirected: false,
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
            outcome: Outcome { now_us: now, ..Outcome::default() },
        };
        let settings = server.settings.clone();
        let method = facts.method.clone();
        let sent_before = shared.sent.load(Relaxed);
        let exchange = Exchange {
            service,
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
            last: false,
            sent_before,
        };
        (exchange, fault)
    }

    /// Picks the server by the host, and takes its settings.
    fn choose_server(&mut self, site: &Site, fault: &Option<String>) -> usize {
        let found = site.index.find(&self.facts.host);
        let index = if fault.is_some() { site.default } else { found.server };
        let snapshot = self.service.snapshot.clone();
        let server = &snapshot.config.servers[index];
        self.facts.capture(found.captures);
        self.facts.server_name = snapshot.server_name(index).to_owned();
        if self.facts.host.is_empty() {
            self.facts.host.clone_from(&self.facts.server_name);
        }
        let headers = std::mem::take(&mut self.facts.headers);
        self.facts.headers = accepted(headers, server);
        self.settings = server.settings.clone();
        index
    }

    /// Goes from place to place until there is an answer.
    async fn run(&mut self, snapshot: &Snapshot, server: &Server) -> Step {
        let mut place = Place::Start;
        let mut paged = false;
        for _ in 0..MAX_JUMPS {
            let (status, location) = match self.visit(snapshot, server, place).await {
                Step::Status(status, location) => (status, location),
                other => return other,
            };
            // What follows on this connection cannot be trusted, or nobody reads it; nginx closes for the same.
            self.last |= matches!(status, 400 | 408 | 413 | 414 | 494..=497 | 500 | 501);
            let step = if paged { None } else { answer::error_page(&self.settings, status, &self.scope()) };
            paged = true;
            place = match step {
                None => return self.page(status, location),
                Some(ErrorStep::Redirect { status, location }) => return self.page(status, Some(location)),
                Some(ErrorStep::Named { name, status }) => {
                    self.facts.outcome.forced = status;
                    Place::Named(name)
                }
                Some(ErrorStep::Internal { uri, args, status }) => {
                    self.facts.outcome.forced = status;
                    self.become_page(uri, args);
                    Place::Internal
                }
            };
        }
        self.page(500, None)
    }

    /// The request becomes one for an error page: GET, and nothing else of it.
    fn become_page(&mut self, uri: String, args: String) {
        self.facts.uri = uri;
        self.facts.args = args;
        self.facts.redirected = true;
        self.websocket = false;
        if self.method != "HEAD" {
            self.method = "GET".into();
        }
        self.drop_body();
    }

    fn drop_body(&mut self) {
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

    async fn visit(&mut self, snapshot: &Snapshot, server: &Server, place: Place) -> Step {
        if self.plain_on_tls() {
            self.blame(
                "client",
                format_args!("it spoke plain HTTP to a port for TLS: use wss:// or https://"),
            );
            return Step::Status(497, None);
        }
        if matches!(self.facts.method.as_str(), "CONNECT" | "TRACE") && matches!(place, Place::Start) {
            // As in nginx. A 200 to CONNECT would turn the connection into a tunnel of no rules.
            self.log(Level::Error, format_args!("client sent {} method", self.facts.method));
            self.last = true;
            return Step::Status(405, None);
        }
        if let (Place::Start, Some(action)) = (&place, &server.action) {
            return self.act(snapshot, None, action).await;
        }
        let chosen = match &place {
            Place::Named(name) => location::named(&server.locations, name),
            Place::Start | Place::Internal => location::find(&server.locations, &self.facts.uri),
        };
        let Some(chosen) = chosen else { return self.nothing_here() };
        self.settings = chosen.location.settings.clone();
        self.facts.capture(chosen.captures.clone());
        if chosen.how == How::Slash {
            let place = chosen.redirect("");
            self.blame(
                "configuration",
                format_args!(
                    "it was answered 301 to \"{place}\", and WebSocket clients do not follow redirects: \
                     ask for that path, or write the location without its last slash"
                ),
            );
            return self.answered(answer::slash_redirect(&chosen, &self.scope()));
        }
        if chosen.location.internal && matches!(place, Place::Start) {
            return Step::Status(404, None);
        }
        if let Err(status) = self.check_length() {
            return Step::Status(status, None);
        }
        match &chosen.location.action {
            Some(action) => self.act(snapshot, Some(&chosen), action).await,
            None => self.nothing_here(),
        }
    }

    async fn act(&mut self, snapshot: &Snapshot, chosen: Option<&Chosen<'_>>, action: &Action) -> Step {
        match (action, chosen) {
            (Action::Proxy(pass), Some(chosen)) => {
                proxy::pass(self, snapshot, chosen.location, chosen.how, pass).await
            }
            (Action::Proxy(_), None) => Step::Status(500, None),
            (Action::Return(rule), _) => {
                self.blame(
                    "configuration",
                    format_args!("\"return {}\" answers at this place, nothing is proxied here", rule.code),
                );
                let reply = answer::answer(rule, &self.settings, &self.scope());
                self.answered(reply)
            }
        }
    }

    fn nothing_here(&mut self) -> Step {
        let uri = &self.facts.uri;
        self.blame("configuration", format_args!("no location with a proxy_pass matches \"{uri}\""));
        Step::Status(404, None)
    }

    fn answered(&self, answer: Answer) -> Step {
        match answer {
            Answer::Close => Step::Close,
            Answer::Reply(reply) => Step::Response(response(reply)),
            Answer::Status { status, location } => Step::Status(status, location),
        }
    }

    /// A plain request came in on a port that speaks TLS.
    fn plain_on_tls(&self) -> bool {
        self.shared.plain_on_tls
    }

    /// `client_max_body_size` against what the head announces.
    fn check_length(&mut self) -> Result<(), u16> {
        let length = self.facts.headers.get(header::CONTENT_LENGTH);
        let length: u64 = length.and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
        match self.settings.client_max_body_size {
            Some(limit) if length > limit => {
                self.trouble(
                    "client",
                    format_args!("client intended to send too large body: {length} bytes (client_max_body_size {limit})"),
                );
                Err(413)
            }
            _ => Ok(()),
        }
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

    /// Says what went wrong, and who has to act: `client`, `backend` or `configuration`. Of a handshake that is kept
    /// for the one line that tells why it failed.
    pub(super) fn trouble(&self, of: &'static str, message: std::fmt::Arguments<'_>) {
        match self.handshake {
            true => self.blame(of, message),
            false => self.log(Level::Error, message),
        }
    }

    /// Notes why there will be no WebSocket, if one was asked for.
    pub(super) fn blame(&self, of: &'static str, reason: std::fmt::Arguments<'_>) {
        if self.handshake {
            self.overcome();
            *self.lock_fault() = Some(Fault { of, reason: reason.to_string() });
        }
    }

    /// What was noted is not the end: something else is tried.
    pub(super) fn overcome(&self) {
        if let Some(fault) = self.lock_fault().take() {
            self.log(Level::Error, format_args!("{}; something else is tried", fault.reason));
        }
    }

    /// There is no WebSocket: says why, and whose fault that is.
    fn tell_fault(&self) {
        if let Some(Fault { of, reason }) = self.lock_fault().take() {
            self.log(Level::Error, format_args!("WebSocket handshake failed, fault of the {of}: {reason}"));
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
                return Ok(switch.start(self.journal()));
            }
            Step::Status(status, location) => self.built_in(status, location),
            Step::Close => {
                self.tell_fault();
                self.facts.outcome.status = 444;
                self.journal().write();
                return Err(Unanswered);
            }
        };
        if self.lock_fault().is_none() {
            let status = response.status().as_u16();
            self.blame("configuration", format_args!("it was answered {status} here, not by a backend"));
        }
        self.tell_fault();
        let settings = self.settings.clone();
        let unread = self.body.as_ref().is_some_and(|b| !http_body::Body::is_end_stream(b));
        let last = self.last
            || self.facts.number >= settings.keepalive_requests
            || settings.keepalive_timeout.is_zero()
            // Whatever follows a handshake that failed is no HTTP. A body that nobody wants is not waited for.
            || self.handshake
            || unread
            || self.service.is_stopping();
        if last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.shared.idle_us.store(micros(settings.keepalive_timeout), Relaxed);
        self.shared.linger_us.store(micros(settings.lingering_timeout), Relaxed);
        self.shared.send_us.store(micros(settings.send_timeout), Relaxed);
        self.facts.outcome.status = response.status().as_u16();
        self.facts.outcome.sent = response.headers().clone();
        let journal = self.journal();
        let counted = journal.body_sent();
        Ok(response.map(|inner| {
            http_body_util::BodyExt::boxed_unsync(body::Held::new(inner, counted, journal.when_flushed()))
        }))
    }

    /// What will become the access log's line.
    pub(super) fn journal(self) -> Journal {
        Journal::new(
            self.service,
            self.shared,
            self.facts,
            self.settings,
            self.request_progress,
            self.answer_progress,
            self.sent_before,
        )
    }
}

/// An answer of our own as hyper wants it.
fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::new(body::full(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = reply.headers;
    let reason = answer::reason(reply.status);
    if !reason.is_empty() {
        response.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
    }
    response
}

/// 32 hex digits of 16 random bytes.
fn request_id() -> String {
    let mut bytes = [0; 16];
    // The kernel's generator does not fail once it is seeded.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
