//! The phases of a request, in nginx's order: the server's rules, the location, its rules, access, `try_files`,
//! content; and from there to error pages and other paths, until there is an answer.

use http::header;
use longwire_conf::model::{Content, Level, Location, Server, Unsupported, VerifyClient};

use super::exchange::{Exchange, Jump, Step, response};
use super::rewrite::{self, Flow};
use super::{access, census, files, guard, limits, proxy};
use crate::metrics::HandshakeFault;
use crate::route::answer::{self, Answer, ErrorStep};
use crate::route::facts::Captures;
use crate::route::location::{self, Chosen, How};
use crate::route::uri::bytes;
use crate::snapshot::Snapshot;

/// A status, by its page, with a `Location`.
pub(super) type Answered = (u16, Option<Vec<u8>>);

impl Exchange {
    /// Goes from place to place until there is an answer.
    pub(super) async fn run(&mut self, snapshot: &Snapshot, server: &Server) -> Step {
        guard::know_client(self);
        let mut step = match self.refused_at_once(server) {
            Some(status) => Step::Status(status, None),
            None => self.phases(snapshot, server, None).await,
        };
        loop {
            let jump = match step {
                Step::Jump(jump) => jump,
                Step::Status(status, location) => match self.error_page(status, location) {
                    Ok(jump) => jump,
                    Err((status, location)) => return self.page(status, location),
                },
                other => return other,
            };
            if !self.count_change() {
                return self.page(500, None);
            }
            self.facts.course.internal = true;
            let named = match jump {
                Jump::Named(name) => Some(name),
                Jump::Path(uri, args) => {
                    self.facts.lead_to(uri, args);
                    None
                }
            };
            step = self.phases(snapshot, server, named).await;
        }
    }

    /// What is answered before anything is looked at.
    fn refused_at_once(&mut self, server: &Server) -> Option<u16> {
        if self.subrequest {
            return None;
        }
        if self.shared.plain_on_tls {
            self.blame(
                HandshakeFault::PlainOnTls,
                format_args!("it spoke plain HTTP to a port for TLS: use wss:// or https://"),
            );
            return Some(497);
        }
        if let Some((status, reason)) = self.mistrusted(server.tls.verify_client) {
            self.blame(HandshakeFault::ClientCertificate, format_args!("{reason}"));
            if !self.handshake {
                self.log(Level::Info, format_args!("{reason}"));
            }
            return Some(status);
        }
        if matches!(self.facts.method.as_str(), "CONNECT" | "TRACE") {
            // As in nginx. A 200 to CONNECT would turn the connection into a tunnel of no rules.
            self.log(Level::Error, format_args!("client sent {} method", self.facts.method));
            self.last = true;
            return Some(405);
        }
        None
    }

    /// `ssl_verify_client`: what is answered to a client without a good certificate, and why.
    fn mistrusted(&self, verify: VerifyClient) -> Option<(u16, String)> {
        let tls = self.facts.connection.tls.as_ref().filter(|_| verify != VerifyClient::Off)?;
        if tls.negotiated.as_ref().is_some_and(|name| *name != self.facts.host) {
            let reason =
                "client attempted to request the server name different from the one that was negotiated";
            return Some((421, reason.to_owned()));
        }
        match tls.client.as_deref() {
            None if verify == VerifyClient::On => {
                Some((496, "client sent no required SSL certificate".to_owned()))
            }
            None => None,
            Some(client) => {
                let no_ca = verify == VerifyClient::OptionalNoCa;
                let fault = client.fault.filter(|fault| !(no_ca && fault.no_ca))?;
                let (code, reason) = (fault.code, fault.reason);
                Some((495, format!("client SSL certificate verify error: ({code}:{reason})")))
            }
        }
    }

    /// Where a status leads, or the built-in page that is sent.
    fn error_page(&mut self, status: u16, location: Option<Vec<u8>>) -> Result<Jump, Answered> {
        // What follows on this connection cannot be trusted, or nobody reads it; nginx closes for the same.
        self.last |= matches!(status, 400 | 408 | 413 | 414 | 494..=497 | 500 | 501);
        let step = match self.paged || self.changes_left == 0 {
            true => None,
            false => answer::error_page(&self.settings, status, &self.scope()),
        };
        self.paged |= !self.settings.recursive_error_pages;
        match step {
            None => Err((status, location)),
            Some(ErrorStep::Redirect { status, location }) => Err((status, Some(location))),
            Some(ErrorStep::Named { name, status }) => {
                self.facts.outcome.forced = status;
                self.keep_cause(&name);
                Ok(Jump::Named(name))
            }
            Some(ErrorStep::Internal { uri, args, status }) => {
                self.facts.outcome.forced = status;
                self.keep_cause(&uri);
                // A page is asked for with GET, and nothing else of the request goes there.
                self.websocket = false;
                if self.method != "HEAD" {
                    self.method = "GET".into();
                    self.facts.course.got = true;
                }
                self.drop_body();
                Ok(Jump::Path(uri, args))
            }
        }
    }

    /// Counts a change of the path; `false` when it was one too many.
    fn count_change(&mut self) -> bool {
        self.changes_left = self.changes_left.saturating_sub(1);
        if self.changes_left == 0 {
            self.last = true;
            let uri = &self.facts.uri;
            self.trouble(
                HandshakeFault::Configuration,
                format_args!("rewrite or internal redirection cycle while processing \"{uri}\""),
            );
        }
        self.changes_left > 0
    }

    /// One walk through the phases, from the server's rules or from a named location on.
    async fn phases(&mut self, snapshot: &Snapshot, server: &Server, named: Option<String>) -> Step {
        let mut chosen = None;
        match named {
            Some(name) => match location::named(&server.locations, &name) {
                Some(found) => {
                    self.enter(found.location);
                    chosen = Some(found);
                }
                None => {
                    let bare = name.trim_start_matches('@');
                    self.trouble(
                        HandshakeFault::Configuration,
                        format_args!("could not find named location \"@{bare}\""),
                    );
                    return Step::Status(500, None);
                }
            },
            None => {
                self.enter(&server.base);
                if let Flow::Done(step) = rewrite::run(self, &server.base.rules).await {
                    return step;
                }
            }
        }
        let (location, how) = loop {
            let found = match chosen.take() {
                Some(found) => found,
                None => match self.find(server) {
                    Ok(found) => found,
                    Err((status, location)) => return Step::Status(status, location),
                },
            };
            let location = self.enter(found.location);
            self.settle_trace();
            if let Some(step) = self.unsupported() {
                return step;
            }
            // Those of the server were done already.
            let rules = if std::ptr::eq(location, &server.base) { &[] } else { location.rules.as_slice() };
            match rewrite::run(self, rules).await {
                Flow::Done(step) => return step,
                Flow::Next { location: inner, changed: false } => {
                    break (inner.unwrap_or(location), found.how);
                }
                Flow::Next { .. } if self.count_change() => {}
                Flow::Next { .. } => return self.page(500, None),
            }
        };
        if let Content::Unsupported(lack) = &location.content {
            return self.lacks(lack);
        }
        guard::know_client(self);
        if let Err(status) = limits::check(self).await {
            return Step::Status(status, None);
        }
        if let Err(status) = access::check(self, snapshot, server).await {
            return Step::Status(status, None);
        }
        if let Some(step) = files::try_files(self, location).await {
            return step;
        }
        match &location.content {
            Content::Proxy(pass) => proxy::pass(self, snapshot, location, how, pass).await,
            Content::Unsupported(lack) => self.lacks(lack),
            Content::Files => files::serve(self).await,
            Content::Status => census::status(self),
        }
    }

    /// Looks for the location of the path, and checks what holds before anything is done there.
    fn find<'a>(&mut self, server: &'a Server) -> Result<Chosen<'a>, Answered> {
        let nowhere = Chosen {
            location: &server.base,
            path: Vec::new(),
            how: How::Prefix(0),
            captures: Captures::default(),
        };
        let found = location::find(&server.locations, &self.facts.uri).unwrap_or(nowhere);
        self.enter(found.location);
        self.facts.capture(found.captures.clone());
        if found.location.internal && !self.facts.course.internal {
            self.blame(
                HandshakeFault::NoLocation,
                format_args!("the location of \"{}\" is internal", self.facts.uri),
            );
            return Err((404, None));
        }
        self.check_length().map_err(|status| (status, None))?;
        if found.how == How::Slash {
            let place = found.redirect("");
            self.blame(
                HandshakeFault::Redirected,
                format_args!(
                    "it was answered 301 to \"{place}\", and WebSocket clients do not follow redirects: \
                     ask for that path, or write the location without its last slash"
                ),
            );
            return Err((301, Some(bytes(&found.redirect(&self.facts.args)).into_owned())));
        }
        Ok(found)
    }

    /// The request is at this place from now on, or at its `limit_except`.
    pub(super) fn enter<'a>(&mut self, location: &'a Location) -> &'a Location {
        let limited = location.limit_except.as_ref().filter(|block| !block.methods.contains(&self.method));
        let location = limited.map_or(location, |block| &block.location);
        self.settings = location.settings.clone();
        self.facts.course.root = Some(self.settings.root.clone());
        self.trace_route(location);
        location
    }

    /// The answer where something is needed that will never be there.
    pub(super) fn unsupported(&mut self) -> Option<Step> {
        let settings = self.settings.clone();
        settings.unsupported.first().map(|(_, lack)| self.lacks(lack))
    }

    /// The answer to a request that needs something that will never be there.
    pub(super) fn lacks(&mut self, lack: &Unsupported) -> Step {
        let Unsupported { name, reason, at } = lack;
        self.trouble(
            HandshakeFault::Configuration,
            format_args!("{name} in {at} is not supported, so this place answers 501: {reason}"),
        );
        Step::Status(501, None)
    }

    /// `client_max_body_size` against what the head announces.
    fn check_length(&mut self) -> Result<(), u16> {
        let length = self.facts.headers.get(header::CONTENT_LENGTH);
        let length: u64 = length.and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
        match self.settings.client_max_body_size {
            Some(limit) if length > limit => {
                self.trouble(
                    HandshakeFault::BadRequest,
                    format_args!("client intended to send too large body: {length} bytes (client_max_body_size {limit})"),
                );
                Err(413)
            }
            _ => Ok(()),
        }
    }
}

/// What an answer made here comes to.
pub(super) fn answered(answer: Answer) -> Step {
    match answer {
        Answer::Close => Step::Close,
        Answer::Reply(reply) => Step::Response(response(reply)),
        Answer::Status { status, location } => Step::Status(status, location),
    }
}
