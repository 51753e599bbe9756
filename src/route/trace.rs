//! Pure: the trace that a request belongs to, in the words of W3C Trace Context, and what is noted for its spans.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that names trace and span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with what tracing systems add of their own.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Id of a trace; never all zero.
pub type TraceId = [u8; 16];
/// Id of a span; never all zero.
pub type SpanId = [u8; 8];

/// A span of a trace, as it is told from one to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Whether it is recorded.
    pub sampled: bool,
    /// `tracestate`, handed on as it is.
    pub state: String,
}

impl TraceContext {
    /// What the headers of a request tell, if they keep to the rules. Without a good `traceparent` the other header
    /// means nothing.
    pub fn of(headers: &HeaderMap) -> Option<TraceContext> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let mut context = parse(parent.as_bytes())?;
        let states = headers.get_all(TRACESTATE).iter().map(|state| state.to_str().ok());
        context.state = states.collect::<Option<Vec<_>>>().unwrap_or_default().join(",");
        Some(context)
    }

    /// As `traceparent` says it.
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", hex(&self.trace_id), hex(&self.span_id))
    }

    /// Tells a request's receiver of it.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        match HeaderValue::from_str(&self.state) {
            Ok(state) if !state.is_empty() => drop(headers.insert(TRACESTATE, state)),
            _ => drop(headers.remove(TRACESTATE)),
        }
    }
}

/// `traceparent`. Of a version that is not known yet the beginning is read, as it says what it says in version 00.
fn parse(text: &[u8]) -> Option<TraceContext> {
    let (head, rest) = text.split_at_checked(55)?;
    let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
    let [version] = unhex(&head[..2])?;
    let has_end = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let (trace_id, span_id): (TraceId, SpanId) = (unhex(&head[3..35])?, unhex(&head[36..52])?);
    let [flags] = unhex(&head[53..])?;
    let good = dashes && has_end && trace_id != [0; 16] && span_id != [0; 8];
    good.then_some(TraceContext { trace_id, span_id, sampled: flags & 1 == 1, state: String::new() })
}

/// Digits in lower case only, as the rules have it.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// What is noted of a request for its trace.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Its own span.
    pub own: TraceContext,
    /// The span that it came from, where that is taken over.
    pub parent: Option<TraceContext>,
    /// It asks for a WebSocket.
    pub websocket: bool,
    /// It is settled whether it is recorded.
    pub settled: bool,
    /// The location that it is in; empty outside of all.
    pub route: String,
    /// Why there is no WebSocket.
    pub failure: Option<Failure>,
    /// The id of its trace where it does not take one over.
    fresh: TraceId,
    /// What its headers told.
    received: Option<TraceContext>,
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In a word that stays the same.
    pub cause: &'static str,
    /// Who has to act: `client`, `backend`, `configuration` or `none`.
    pub fault: &'static str,
    /// The sentence of the error log.
    pub reason: String,
}

/// What is noted of a try at a backend for its span.
#[derive(Debug, Clone, Default)]
pub struct TryTrace {
    /// Its span.
    pub span_id: SpanId,
    /// When it began, microseconds of the process's clock.
    pub begun_us: u64,
    /// What it asked for, there.
    pub url: String,
    /// It went over a connection that was open already.
    pub kept: bool,
    /// Why there was no answer.
    pub failure: Option<String>,
    /// Why there was but a part of its body.
    pub broke_off: Option<String>,
}

impl Trace {
    /// That of a request with these headers, with ids out of random bytes.
    pub fn new(headers: &HeaderMap, fresh: TraceId, span_id: SpanId) -> Trace {
        let own = TraceContext { trace_id: fresh, span_id, ..TraceContext::default() };
        Trace { own, fresh, received: TraceContext::of(headers), ..Trace::default() }
    }

    /// Goes on with the trace that the request came with, or does not.
    pub fn follow(&mut self, extract: bool) {
        self.parent = self.received.clone().filter(|_| extract);
        let (trace_id, state) =
            self.parent.as_ref().map_or((self.fresh, ""), |parent| (parent.trace_id, parent.state.as_str()));
        self.own.trace_id = trace_id;
        self.own.state = state.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture::headers;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(parent: &str) -> Option<TraceContext> {
        TraceContext::of(&headers(&[("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")]))
    }

    #[test]
    fn a_good_header_is_read_and_written() {
        let context = of(GOOD).unwrap();
        assert_eq!(hex(&context.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(hex(&context.span_id), "00f067aa0ba902b7");
        assert_eq!((context.sampled, context.state.as_str()), (true, "a=1,b=2"));
        let mut sent = headers(&[("traceparent", "old"), ("traceparent", "older"), ("tracestate", "old")]);
        context.inject(&mut sent);
        assert_eq!(sent, headers(&[("traceparent", GOOD), ("tracestate", "a=1,b=2")]));
        TraceContext { state: String::new(), ..context }.inject(&mut sent);
        assert_eq!(sent, headers(&[("traceparent", GOOD)]));
    }

    #[test]
    fn only_the_lowest_flag_counts() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true), ("03", true)] {
            let text = format!("{}{flags}", &GOOD[..53]);
            assert_eq!(of(&text).unwrap().sampled, sampled, "{text}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for (text, good) in [
            (GOOD.replacen("00", "01", 1), true),
            (format!("{}-more", GOOD.replacen("00", "cc", 1)), true),
            (format!("{}-", GOOD.replacen("00", "fe", 1)), true),
            (format!("{}.more", GOOD.replacen("00", "cc", 1)), false),
            (GOOD.replacen("00", "ff", 1), false),
            (format!("{}-more", GOOD.replacen("00", "ff", 1)), false),
            (format!("{GOOD}-more"), false),
        ] {
            assert_eq!(of(&text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_nothing() {
        for text in [
            "",
            "00",
            &GOOD[..54],
            &GOOD[..52],
            &GOOD.to_uppercase(),
            &GOOD.replace("4bf9", "4Bf9"),
            &GOOD.replace("00f0", "00F0"),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("-01", "-0x"),
            &GOOD.replace("-01", "_01"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replacen("00", "0g", 1),
            &format!(" {GOOD}"),
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(TraceContext::of(&headers(&[("traceparent", GOOD), ("traceparent", GOOD)])), None);
        assert_eq!(TraceContext::of(&headers(&[("tracestate", "a=1")])), None);
    }

    #[test]
    fn a_request_goes_on_with_its_trace_only_where_it_may() {
        let sent = headers(&[("traceparent", GOOD), ("tracestate", "a=1")]);
        let mut trace = Trace::new(&sent, [7; 16], [8; 8]);
        assert_eq!((trace.own.trace_id, trace.parent.is_some()), ([7; 16], false));
        trace.follow(true);
        assert_eq!(hex(&trace.own.trace_id), GOOD[3..35]);
        assert_eq!((trace.own.span_id, trace.own.state.as_str()), ([8; 8], "a=1"));
        assert!(trace.parent.as_ref().is_some_and(|parent| parent.sampled) && !trace.own.sampled);
        trace.follow(false);
        assert_eq!((trace.own.trace_id, trace.own.state.as_str(), &trace.parent), ([7; 16], "", &None));
    }
}
