//! What spans say of requests.

use super::*;
use crate::route::fixture::{facts, headers, settings, template, with_scope};
use crate::route::trace::{Failure, TraceContext};

const PARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

/// A recorded handshake that two backends were asked for: one did not take the connection, the other opened.
fn handshake() -> (Facts, Trace) {
    let mut facts = facts("/ws?a=b");
    facts.headers = headers(&[PARENT, ("user-agent", "tester"), ("content-length", "5")]);
    facts.outcome.status = 101;
    let noted = |span_id, begun_us, failure: Option<&str>| {
        let failure = failure.map(str::to_owned);
        let url = "http://app/ws".into();
        Some(Box::new(TryTrace { span_id, begun_us, url, failure, ..TryTrace::default() }))
    };
    let away = Try {
        address: "10.0.0.1:80".into(),
        status: 502,
        response_us: Some(300),
        trace: noted([1; 8], 2_000_100, Some("refused")),
        ..Try::default()
    };
    let there = Try {
        address: "[::1]:81".into(),
        status: 101,
        connect_us: Some(100),
        header_us: Some(700),
        response_us: Some(700),
        trace: noted([2; 8], 2_000_400, None),
        ..Try::default()
    };
    facts.outcome.tries = vec![away, there];
    let mut trace = Trace::new(&facts.headers, [9; 16], [8; 8]);
    trace.follow(true);
    trace.websocket = true;
    trace.route = "/ws".into();
    (facts, trace)
}

fn made(facts: &Facts, trace: &Trace, tracing: &Tracing) -> Vec<Span> {
    with_scope(facts, &[], |scope| spans(scope, trace, tracing))
}

fn value(span: &Span, name: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.clone()?.value
}

fn text(span: &Span, name: &str) -> String {
    match value(span, name) {
        Some(Value::Text(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_handshake_has_a_span_and_one_for_each_try() {
    let (facts, trace) = handshake();
    let all = made(&facts, &trace, &settings().tracing);
    let [away, there, server] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((server.name.as_str(), server.kind, &server.status), ("/ws", 2, &None));
    assert_eq!(server.parent_span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    for (name, expected) in [
        ("http.method", "GET"),
        ("http.target", "/ws?a=b"),
        ("http.route", "/ws"),
        ("http.scheme", "http"),
        ("http.flavor", "1.1"),
        ("http.user_agent", "tester"),
        ("http.request_content_length", "5"),
        ("http.response_content_length", "0"),
        ("http.status_code", "101"),
        ("net.host.name", "first.example.com"),
        ("net.host.port", "8080"),
        ("net.sock.peer.addr", "192.0.2.7"),
        ("net.sock.peer.port", "51000"),
        ("longwire.connection", "12"),
        ("longwire.request_id", "0123456789abcdef0123456789abcdef"),
        ("longwire.websocket", "Some(Flag(true))"),
    ] {
        assert_eq!(text(server, name), expected, "{name}");
    }
    let start = 1_795_407_171_000_000_000;
    assert_eq!((server.start_time_unix_nano, server.end_time_unix_nano), (start, start + 3_999_000));
    for (span, id, begin, end) in [(away, [1; 8], 100, 400), (there, [2; 8], 400, 1100)] {
        assert_eq!((span.trace_id.as_slice(), span.span_id.as_slice()), (&trace.own.trace_id[..], &id[..]));
        assert_eq!((span.parent_span_id.as_slice(), span.kind), (&[8; 8][..], 3));
        let times = (span.start_time_unix_nano - start, span.end_time_unix_nano - start);
        assert_eq!(times, (begin * 1000, end * 1000));
        assert_eq!(text(span, "longwire.upstream"), "backend:3000");
    }
    assert_eq!(away.status, Some(Status { message: "refused".into(), code: ERROR }));
    assert_eq!((value(away, "http.status_code"), value(away, "http.resend_count")), (None, None));
    assert_eq!(
        (text(there, "http.status_code"), text(there, "http.resend_count")),
        ("101".into(), "1".into())
    );
    assert_eq!(
        (text(there, "net.sock.peer.addr"), text(there, "net.sock.peer.port")),
        ("::1".into(), "81".into())
    );
    let events: Vec<_> =
        there.events.iter().map(|event| (event.name.as_str(), event.time_unix_nano - start)).collect();
    assert_eq!(events, [("connected", 500_000), ("answered", 1_100_000)]);
    assert!(away.events.is_empty() && there.status.is_none());
}

#[test]
fn a_handshake_that_failed_is_an_error_with_its_cause() {
    let (mut facts, mut trace) = handshake();
    facts.outcome.status = 404;
    facts.outcome.tries.clear();
    trace.failure = Some(Failure { cause: "no-location", fault: "configuration", reason: "because".into() });
    let all = made(&facts, &trace, &settings().tracing);
    assert_eq!(all[0].status, Some(Status { message: "because".into(), code: ERROR }));
    assert_eq!(text(&all[0], "longwire.fault"), "configuration");
    assert_eq!(text(&all[0], "longwire.cause"), "no-location");
    // An ordinary request is none below 500, as in nginx.
    trace.failure = None;
    assert_eq!(made(&facts, &trace, &settings().tracing)[0].status, None);
    facts.outcome.status = 500;
    assert!(made(&facts, &trace, &settings().tracing)[0].status.is_some());
}

#[test]
fn names_and_attributes_are_those_of_the_configuration() {
    let (facts, mut trace) = handshake();
    trace.parent = None;
    trace.own = TraceContext { state: "a=1".into(), ..trace.own };
    let attribute = |name: &str, value| (name.to_owned(), template(value));
    let tracing = Tracing {
        span_name: Some(template("ws of $host")),
        span_attr: [
            attribute("my.uri", "<$uri>"),
            attribute("http.request.header.user-agent", "$http_user_agent"),
        ]
        .into(),
        ..Tracing::clone(&settings().tracing)
    };
    let all = made(&facts, &trace, &tracing);
    let server = all.last().unwrap();
    assert_eq!((server.name.as_str(), server.trace_state.as_str()), ("ws of example.com", "a=1"));
    assert!(server.parent_span_id.is_empty());
    assert_eq!(text(server, "my.uri"), "</ws>");
    let Some(Value::List(list)) = value(server, "http.request.header.user-agent") else {
        panic!("{server:?}")
    };
    assert_eq!(list.values, [AnyValue { value: Some("tester".into()) }]);
}

#[test]
fn texts_have_a_bound_and_are_text() {
    let (mut facts, trace) = handshake();
    facts.headers = headers(&[("user-agent", &"\u{fffd}".repeat(9_000))]);
    let all = made(&facts, &trace, &settings().tracing);
    let agent = text(all.last().unwrap(), "http.user_agent");
    assert!(agent.len() <= LONGEST && agent.len() > LONGEST - 4, "{}", agent.len());
    assert_eq!(short(b"a\xffb"), "a\u{fffd}b");
}
