//! A request's trace: where it begins, what is noted on the way, and where its spans end.

use longwire_conf::model::{Location, Matcher};

use super::exchange::{Exchange, random};
use super::journal::Journal;
use crate::clock;
use crate::metrics::HandshakeFault;
use crate::route::trace::{Failure, SpanId, TRACEPARENT, Trace, TraceContext, TryTrace};
use crate::trace::spans;

impl Exchange {
    /// Begins the trace, where the configuration asks for any. It is settled by the first location.
    pub(super) fn begin_trace(&mut self) {
        if self.service.snapshot.config.otel.used {
            let mut trace = Trace::new(&self.facts.headers, random(), span_id());
            trace.websocket = self.handshake;
            trace.follow(self.settings.tracing.context.extract);
            self.facts.trace = Some(Box::new(trace));
        }
    }

    /// Settles whether the request is recorded, and tells the backends of it: once, whatever other place it comes to.
    pub(super) fn settle_trace(&mut self) {
        if self.facts.trace.as_ref().is_none_or(|trace| trace.settled) {
            return;
        }
        let tracing = self.settings.tracing.clone();
        // The variables of the trace may decide it.
        if let Some(trace) = &mut self.facts.trace {
            trace.follow(tracing.context.extract);
        }
        let value = tracing.trace.as_ref().map(|value| self.scope().render(value));
        let facts = &mut self.facts;
        if let Some(trace) = &mut facts.trace {
            trace.settled = true;
            trace.own.sampled = matches!(value.as_deref(), Some(b"on" | b"1"));
            if tracing.context.inject {
                trace.own.inject(&mut facts.headers);
            }
        }
    }

    /// The request is in this location.
    pub(super) fn trace_route(&mut self, location: &Location) {
        if let Some(trace) = &mut self.facts.trace {
            trace.route = name(&location.matcher);
        }
    }

    /// What is noted of a try that begins now, where the request is recorded.
    pub(super) fn trace_try(&self, kept: bool) -> Option<Box<TryTrace>> {
        // The answer to a subrequest has no span that it could be a part of.
        self.facts.trace.as_ref().filter(|trace| trace.own.sampled && !self.subrequest)?;
        let url = self.facts.upstream.clone();
        let (span_id, begun_us) = (span_id(), clock::now_us());
        Some(Box::new(TryTrace { span_id, begun_us, url, kept, ..TryTrace::default() }))
    }

    /// Notes why the last try has no answer.
    pub(super) fn trace_try_failed(&mut self, reason: impl ToString) {
        let last = self.facts.outcome.tries.last_mut();
        if let Some(noted) = last.and_then(|last| last.trace.as_deref_mut()) {
            noted.failure = Some(reason.to_string());
        }
    }

    /// Tells the backend that what it does is a part of the try that asks it, where it would be told of the request.
    pub(super) fn trace_parent(&self, headers: &mut http::HeaderMap) {
        let Some(trace) = &self.facts.trace else { return };
        let Some(noted) = self.facts.outcome.tries.last().and_then(|last| last.trace.as_deref()) else {
            return;
        };
        let told = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        if told == Some(&trace.own.traceparent()) {
            let parent = TraceContext { span_id: noted.span_id, state: String::new(), ..trace.own.clone() };
            if let Ok(parent) = parent.traceparent().parse() {
                headers.insert(TRACEPARENT, parent);
            }
        }
    }
}

impl Journal {
    /// Notes why there is no WebSocket.
    pub(super) fn trace_failure(&mut self, kind: HandshakeFault, reason: String) {
        if let Some(trace) = &mut self.facts.trace {
            trace.failure = Some(failure(kind, reason));
        }
    }

    /// Ends the spans of the request, and hands them over.
    pub(super) fn end_spans(&self) {
        let Some(trace) = self.facts.trace.as_ref().filter(|trace| trace.own.sampled) else { return };
        let snapshot = &self.service().snapshot;
        if let Some(exporter) = &snapshot.exporter {
            let scope = snapshot.scope(&self.facts);
            let all = spans(&scope, trace, &self.settings().tracing);
            all.into_iter().for_each(|span| exporter.offer(span));
        }
    }
}

/// Why a handshake failed, as its span tells it.
pub(super) fn failure(kind: HandshakeFault, reason: String) -> Failure {
    Failure { cause: kind.id(), fault: kind.of().unwrap_or("none"), reason }
}

/// What nginx calls a location: its path or expression, without the sign before it.
fn name(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(path) | Matcher::Prefix { path, .. } => path.clone(),
        Matcher::Regex(regex) => regex.to_string(),
        Matcher::Named(name) => format!("@{}", name.trim_start_matches('@')),
    }
}

fn span_id() -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = random();
    [a, b, c, d, e, f, g, h]
}
