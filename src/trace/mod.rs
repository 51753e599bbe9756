//! Traces for OpenTelemetry: the spans of a request, out of its facts, and their way to a collector (OTLP).
//!
//! Where nothing is traced a request has no [`Trace`](crate::route::trace::Trace), and nothing here is asked.

mod client;
mod exporter;
pub mod otlp;
mod spans;

pub use exporter::{Exporter, Exporters};
pub use spans::spans;
