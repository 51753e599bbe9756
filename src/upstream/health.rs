//! `health_check`: the servers of a group are asked now and then how they are.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use longwire_conf::model::{HealthCheck, Level};
use longwire_wire::handshake::check_answer;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{Body, Group, Lease, Security, Server, lock, open, standing};
use crate::clock::{self, micros};
use crate::log::{Context, Logs};
use crate::net::{Endpoint, Version, announce};

/// Most bytes of a message that a backend sends before it answers a ping.
const MAX_MESSAGE: usize = 64 << 10;

/// How the servers of a group are checked.
pub struct Check {
    /// What the directive says.
    pub rules: HealthCheck,
    /// The `Host` that is asked for.
    pub host: String,
    /// TLS, for `https://`.
    pub security: Option<Security>,
    /// `proxy_protocol`: in which version to say that no client is behind it.
    pub announce: Option<Version>,
    /// `proxy_connect_timeout` of the location.
    pub connect_timeout: Duration,
    /// `proxy_read_timeout` of the location: how long the whole answer may take.
    pub read_timeout: Duration,
}

/// What a check has found so far. The next configuration's check goes on with it, if it is the same one.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// By the number of the server.
    rows: HashMap<usize, Row>,
    /// When it is time for the next check.
    due_us: u64,
}

impl Course {
    #[cfg(test)]
    pub(super) fn is_fresh(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Two checks of which this is equal are the same one: its rules, the host, and whether by TLS.
pub(super) type Likeness = (HealthCheck, String, bool);

/// Checks in a row that ended alike.
#[derive(Debug, Default)]
struct Row {
    passes: u32,
    fails: u32,
}

impl Row {
    /// Counts one more; says what the server is from now on, once that is certain.
    fn count(&mut self, passed: bool, rules: &HealthCheck) -> Option<bool> {
        if passed {
            (self.passes, self.fails) = (self.passes.saturating_add(1), 0);
            (self.passes >= rules.passes).then_some(true)
        } else {
            (self.passes, self.fails) = (0, self.fails.saturating_add(1));
            (self.fails >= rules.fails).then_some(false)
        }
    }
}

/// Checks the servers of a group as long as it is there.
pub(super) async fn watch(group: Weak<Group>, check: Check, course: Arc<Mutex<Course>>, logs: Logs) {
    loop {
        if let Some(due_us) = wait_until(&group, &course) {
            tokio::time::sleep_until(clock::instant(due_us)).await;
        }
        let Some(servers) = group.upgrade().filter(|group| !group.is_retired()).map(|group| group.servers())
        else {
            return;
        };
        let outcomes = join_all(servers.iter().map(|server| check.server(server))).await;
        let Some(group) = group.upgrade() else { return };
        let mut course = lock(&course);
        course.due_us = clock::now_us().saturating_add(micros(check.pause()));
        course.rows.retain(|id, _| servers.iter().any(|server| server.id == *id));
        for (server, outcome) in servers.iter().zip(outcomes) {
            let row = course.rows.entry(server.id).or_default();
            let Some(healthy) = row.count(outcome.is_ok(), &check.rules) else { continue };
            if let Some(change) = group.checked(server, healthy) {
                let why = outcome.err().unwrap_or_default();
                let words = standing(&group.name, server, change, &why);
                logs.error(&[], Level::Warn, &Context::default(), words);
            }
        }
    }
}

/// When it is time for the next check; `None`: there is a server that was never asked.
fn wait_until(group: &Weak<Group>, course: &Mutex<Course>) -> Option<u64> {
    let servers = group.upgrade().map(|group| group.servers()).unwrap_or_default();
    let course = lock(course);
    servers.iter().all(|server| course.rows.contains_key(&server.id)).then_some(course.due_us)
}

impl Check {
    /// What it asks of servers; where it stands in the file does not matter.
    pub(super) fn likeness(&self) -> Likeness {
        let rules = HealthCheck { span: Default::default(), ..self.rules.clone() };
        (rules, self.host.clone(), self.security.is_some())
    }

    fn pause(&self) -> Duration {
        // Chance that cannot be had is no jitter.
        let part = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        self.rules.interval + self.rules.jitter.mul_f64(part)
    }

    /// Asks one server. The error says what was wrong.
    async fn server(&self, server: &Arc<Server>) -> Result<(), String> {
        let endpoint = match (&server.endpoint, self.rules.port) {
            (Endpoint::Tcp(address), Some(port)) => Endpoint::Tcp(SocketAddr::new(address.ip(), port)),
            (endpoint, _) => endpoint.clone(),
        };
        let announced = self.announce.map(|version| announce(None, version));
        let lease = Lease { server: server.id, security: None, bind: None, announced };
        let opened = open(&endpoint, None, self.security.as_ref(), false, self.connect_timeout, lease);
        let mut connection = opened.await.map_err(|fault| format!("health check: {fault}"))?;
        let asked = async {
            match self.rules.websocket {
                false => self.page(&mut connection.sender).await,
                true => self.ping(&mut connection.sender).await,
            }
        };
        let outcome = tokio::time::timeout(self.read_timeout, asked).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.read_timeout)));
        outcome.map_err(|fault| format!("health check: {fault}"))
    }

    fn request(&self, more: &[(header::HeaderName, &str)]) -> Result<Request<Body>, String> {
        let mut headers = HeaderMap::new();
        let fields = [(header::HOST, self.host.as_str()), (header::USER_AGENT, "Longwire health check")];
        for (name, value) in fields.iter().chain(more) {
            headers.insert(name, HeaderValue::from_str(value).map_err(text)?);
        }
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::new(body);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.rules.uri.parse().map_err(text)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// An answer of 200 to 399 is good.
    async fn page(&self, sender: &mut Sender) -> Result<(), String> {
        let request = self.request(&[(header::CONNECTION, "close")])?;
        let answer = sender.send_request(request).await.map_err(text)?;
        match answer.status().as_u16() {
            200..=399 => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }

    /// A handshake and a ping that is answered are good.
    async fn ping(&self, sender: &mut Sender) -> Result<(), String> {
        let mut chance = [0; 16];
        getrandom::fill(&mut chance).map_err(text)?;
        let key = STANDARD.encode(chance);
        let request = self.request(&[
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, &key),
        ])?;
        let sent = request.headers().clone();
        let answer = sender.send_request(request).await.map_err(text)?;
        accepted(&key, &sent, &answer)?;
        let stream = TokioIo::new(hyper::upgrade::on(answer).await.map_err(text)?);
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
        let mut tunnel = WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await;
        let payload = chance.to_vec();
        tunnel.send(Message::Ping(payload.clone().into())).await.map_err(text)?;
        loop {
            match tunnel.next().await {
                Some(Ok(Message::Pong(pong))) if *pong == *payload => break,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("it closed before it answered a ping".to_owned()),
            }
        }
        // The check is done; how the end goes does not matter.
        let _ = tunnel.close(None).await;
        Ok(())
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Body>;

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

fn accepted(key: &str, sent: &HeaderMap, answer: &Response<Incoming>) -> Result<(), String> {
    let status = answer.status().as_u16();
    if status != 101 {
        return Err(format!("it answered {status} instead of 101"));
    }
    check_answer(key, values(sent), values(answer.headers())).map(|_| ()).map_err(text)
}

fn values<'a>(headers: &'a HeaderMap) -> impl Fn(&'static str) -> Vec<&'a [u8]> {
    move |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_as_many_in_a_row_as_the_rules_say() {
        let mut rules = HealthCheck {
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            fails: 2,
            passes: 3,
            uri: "/".to_owned(),
            port: None,
            mandatory: false,
            websocket: false,
            span: Default::default(),
        };
        let mut row = Row::default();
        let mut count = |passed| row.count(passed, &rules);
        assert_eq!([false, false, true].map(&mut count), [None, Some(false), None]);
        assert_eq!([true, false, true, true].map(&mut count), [None, None, None, None]);
        assert_eq!(count(true), Some(true));
        rules.fails = 1;
        assert_eq!(row.count(false, &rules), Some(false));
    }
}
