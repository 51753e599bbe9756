//! Pure: the spans of a request that has been answered: one for itself, and one for each try at a backend.

use http::header;
use longwire_conf::model::Tracing;

use super::otlp::{AnyValue, ERROR, Event, KeyValue, Kind, List, Span, Status, Value};
use crate::route::facts::{Facts, Peer, Try};
use crate::route::trace::{Trace, TryTrace};
use crate::route::uri::{bytes, unparsed};
use crate::route::variables::{Scope, address, protocol};

/// The longest text of an attribute, in bytes: spans wait in memory.
const LONGEST: usize = 4096;

/// All spans of a request that is recorded, with what came of it; its own is the last.
pub fn spans(scope: &Scope<'_>, trace: &Trace, tracing: &Tracing) -> Vec<Span> {
    let tries = scope.facts.outcome.tries.iter().filter_map(|one| Some((one, one.trace.as_deref()?)));
    let numbered = (0_u64..).zip(tries);
    let mut spans: Vec<Span> =
        numbered.map(|(number, (one, noted))| client(scope.facts, trace, one, noted, number)).collect();
    spans.push(server(scope, trace, tracing));
    spans
}

fn server(scope: &Scope<'_>, trace: &Trace, tracing: &Tracing) -> Span {
    let facts = scope.facts;
    let name = tracing.span_name.as_ref().map(|name| short(&scope.render(name)));
    let mut attributes = request(scope, trace);
    attributes.push(KeyValue::new("longwire.connection", facts.connection.serial));
    attributes.push(KeyValue::new("longwire.request_id", facts.request_id.as_str()));
    if trace.websocket {
        attributes.push(KeyValue::new("longwire.websocket", Value::Flag(true)));
    }
    let mut status = (facts.outcome.status >= 500).then(|| failed(String::new()));
    if let Some(failure) = &trace.failure {
        attributes.push(KeyValue::new("longwire.fault", failure.fault));
        attributes.push(KeyValue::new("longwire.cause", failure.cause));
        status = Some(failed(short(failure.reason.as_bytes())));
    }
    for (name, value) in tracing.span_attr.iter() {
        let value = Value::Text(short(&scope.render(value)));
        let is_header = name.starts_with("http.request.header.") || name.starts_with("http.response.header.");
        attributes.push(match is_header {
            // By the conventions a header has many values.
            true => KeyValue::new(name, Value::List(List { values: vec![AnyValue { value: Some(value) }] })),
            false => KeyValue::new(name, value),
        });
    }
    Span {
        trace_id: trace.own.trace_id.to_vec(),
        span_id: trace.own.span_id.to_vec(),
        trace_state: trace.own.state.clone(),
        parent_span_id: trace.parent.as_ref().map(|parent| parent.span_id.to_vec()).unwrap_or_default(),
        name: name.unwrap_or_else(|| short(trace.route.as_bytes())),
        kind: Kind::Server.into(),
        start_time_unix_nano: facts.started_unix_us * 1000,
        end_time_unix_nano: scope.unix_us() * 1000,
        attributes,
        events: Vec::new(),
        status,
    }
}

/// What nginx says of a request, by the conventions of OpenTelemetry 1.16.
fn request(scope: &Scope<'_>, trace: &Trace) -> Vec<KeyValue> {
    let facts = scope.facts;
    let connection = &facts.connection;
    let length =
        facts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let host = if facts.server_name.is_empty() { &facts.host } else { &facts.server_name };
    let mut all = vec![
        KeyValue::new("http.method", facts.method.as_str()),
        KeyValue::new("http.target", short(&bytes(unparsed(&facts.target)))),
        KeyValue::new("http.scheme", scope.scheme()),
        KeyValue::new("http.flavor", protocol(facts).trim_start_matches("HTTP/")),
        KeyValue::new("http.request_content_length", length.unwrap_or(0_u64)),
        KeyValue::new("http.response_content_length", facts.outcome.body_bytes_sent),
        KeyValue::new("net.host.name", short(host.as_bytes())),
        KeyValue::new("net.sock.peer.addr", address(&connection.remote)),
    ];
    if let Peer::Ip(_, port @ 1..) = &connection.remote {
        all.push(KeyValue::new("net.sock.peer.port", u64::from(*port)));
    }
    let usual = if connection.tls.is_some() { 443 } else { 80 };
    if let Peer::Ip(_, port) = &connection.local
        && *port != usual
    {
        all.push(KeyValue::new("net.host.port", u64::from(*port)));
    }
    if !trace.route.is_empty() {
        all.push(KeyValue::new("http.route", short(trace.route.as_bytes())));
    }
    if let Some(agent) = facts.headers.get(header::USER_AGENT) {
        all.push(KeyValue::new("http.user_agent", short(agent.as_bytes())));
    }
    if facts.outcome.status > 0 {
        all.push(KeyValue::new("http.status_code", u64::from(facts.outcome.status)));
    }
    all
}

/// A try at a backend; `number`: how many came before it.
fn client(facts: &Facts, trace: &Trace, one: &Try, noted: &TryTrace, number: u64) -> Span {
    let begun_us = noted.begun_us;
    let unix_ns = |us: u64| (facts.started_unix_us + us.saturating_sub(facts.started_us)) * 1000;
    let mut attributes = vec![
        KeyValue::new("http.method", facts.method.as_str()),
        KeyValue::new("http.url", short(noted.url.as_bytes())),
        KeyValue::new("longwire.upstream", short(facts.proxy_host.as_bytes())),
    ];
    match one.address.rsplit_once(':') {
        Some((host, port)) if !one.address.starts_with("unix:") => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            attributes.push(KeyValue::new("net.sock.peer.addr", host));
            attributes.push(KeyValue::new("net.sock.peer.port", port.parse::<u64>().unwrap_or(0)));
        }
        _ => attributes.push(KeyValue::new("net.sock.peer.addr", one.address.as_str())),
    }
    if number > 0 {
        attributes.push(KeyValue::new("http.resend_count", number));
    }
    let mut events = Vec::new();
    let mut happened = |name: &str, us: Option<u64>| {
        let event = |us| Event { time_unix_nano: unix_ns(begun_us + us), name: name.to_owned() };
        events.extend(us.map(event));
    };
    match noted.kept {
        true => attributes.push(KeyValue::new("longwire.kept_connection", Value::Flag(true))),
        false => happened("connected", one.connect_us),
    }
    let answered = noted.failure.is_none() && one.status > 0;
    if answered {
        happened("answered", one.header_us);
        attributes.push(KeyValue::new("http.status_code", u64::from(one.status)));
    }
    let status = match noted.failure.as_ref().or(noted.broke_off.as_ref()) {
        Some(reason) => Some(failed(short(reason.as_bytes()))),
        None => (one.status >= 400).then(|| failed(String::new())),
    };
    let end_us = match (one.status, one.response_us) {
        (101, _) => one.header_us.map(|us| begun_us + us),
        (_, end) => end.map(|us| begun_us + us),
    };
    Span {
        trace_id: trace.own.trace_id.to_vec(),
        span_id: noted.span_id.to_vec(),
        trace_state: trace.own.state.clone(),
        parent_span_id: trace.own.span_id.to_vec(),
        name: facts.method.clone(),
        kind: Kind::Client.into(),
        start_time_unix_nano: unix_ns(begun_us),
        // One that was given up ends with the request.
        end_time_unix_nano: unix_ns(end_us.unwrap_or(facts.outcome.now_us)),
        attributes,
        events,
        status,
    }
}

fn failed(message: String) -> Status {
    Status { message, code: ERROR }
}

/// A text, or as much of it as may wait.
fn short(text: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into_owned();
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

#[cfg(test)]
mod tests;
