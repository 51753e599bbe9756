//! Traces for OpenTelemetry, by the directives of nginx's otel module.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Address, Spanned};
use crate::template::Template;

/// `otel_*` of `http`.
#[derive(Debug, Clone, Default)]
pub struct Otel {
    /// `otel_exporter`.
    pub exporter: Option<Exporter>,
    /// `otel_service_name`.
    pub service_name: Option<String>,
    /// `otel_resource_attr`s by name; the last of a name counts.
    pub resource: Vec<(String, String)>,
    /// Whether anything asks for the trace of a request: a directive, or a variable.
    pub used: bool,
}

/// `otel_exporter`: where spans go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    /// `endpoint`.
    pub endpoint: Spanned<Endpoint>,
    /// `interval` (5 s): the longest that a span waits for others.
    pub interval: Duration,
    /// `batch_size` (512): spans that are sent together.
    pub batch_size: usize,
    /// `batch_count` (4): how many times as many may wait.
    pub batch_count: usize,
    /// `header`s in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// `trusted_certificate`; `None`: what the system trusts.
    pub trusted_certificate: Option<Spanned<PathBuf>>,
}

/// A collector of OTLP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://`.
    pub https: bool,
    /// Where it listens; the port is always there.
    pub address: Address,
    /// With a path it speaks OTLP over HTTP, without one over gRPC.
    pub path: Option<String>,
    /// Host and port, as HTTP names them.
    pub authority: String,
}

/// `otel_*` of a place.
#[derive(Debug, Clone)]
pub struct Tracing {
    /// `otel_trace` (off): whether a request is traced, for `on` and `1`.
    pub trace: Option<Template>,
    /// `otel_trace_context` (ignore).
    pub context: Propagation,
    /// `otel_span_name`; `None`: the location.
    pub span_name: Option<Template>,
    /// `otel_span_attr`s.
    pub span_attr: Arc<[(String, Template)]>,
}

/// `otel_trace_context`: what is done with the trace of a request's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Propagation {
    /// `extract`, `propagate`: the request goes on with the trace that it came with.
    pub extract: bool,
    /// `inject`, `propagate`: the backend is told of the trace.
    pub inject: bool,
}
