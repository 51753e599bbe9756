//! Pure: the messages of OTLP that traces need, by the numbers of opentelemetry-proto 1.

use prost::{Message, Oneof};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Export {
    /// Spans by where they come from.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// Spans of one resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    /// What made them.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// The spans, by the code that made them.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// What makes spans.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// `service.name` and what the configuration adds.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// Spans of one piece of code.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    /// That code.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The spans.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A span.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// The trace.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// Its id.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// As `tracestate` has it.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// The span that it is a part of; empty when there is none.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// What it is called.
    #[prost(string, tag = "5")]
    pub name: String,
    /// Which side of a conversation it is.
    #[prost(enumeration = "Kind", tag = "6")]
    pub kind: i32,
    /// Its beginning, nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// Its end.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// What it says.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// What happened within it.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    /// How it went.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
}

/// Which side of a conversation a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Nobody says.
    Unspecified = 0,
    /// It answers.
    Server = 2,
    /// It asks.
    Client = 3,
}

/// A moment in a span.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// When, nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// What happened.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// How a span went.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// Why it failed.
    #[prost(string, tag = "2")]
    pub message: String,
    /// 2 is an error.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// The code of [`Status`] for an error.
pub const ERROR: i32 = 2;

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value of any kind.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// It.
    #[prost(oneof = "Value", tags = "1, 2, 3, 5")]
    pub value: Option<Value>,
}

/// The kinds of values that are needed.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// Yes or no.
    #[prost(bool, tag = "2")]
    Flag(bool),
    /// A number.
    #[prost(int64, tag = "3")]
    Number(i64),
    /// Several.
    #[prost(message, tag = "5")]
    List(List),
}

/// Several values.
#[derive(Clone, PartialEq, Message)]
pub struct List {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl KeyValue {
    /// An attribute of this name.
    pub fn new(key: &str, value: impl Into<Value>) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value.into()) }) }
    }
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Exported {
    /// What was not taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// What of an export was not taken.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many spans.
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `protoc --encode` writes it.
    #[test]
    fn messages_have_the_numbers_of_the_protocol() {
        let span = Span {
            trace_id: vec![0xaa; 16],
            span_id: vec![0xbb; 8],
            name: "n".to_owned(),
            kind: Kind::Server.into(),
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![KeyValue::new("k", 7)],
            status: Some(Status { message: "m".to_owned(), code: ERROR }),
            ..Span::default()
        };
        let mut expected = vec![0x0a, 16];
        expected.extend([0xaa; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0xbb; 8]);
        expected.extend([0x2a, 1, b'n', 0x30, 2]);
        expected.extend([0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0x41, 2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x4a, 7, 0x0a, 1, b'k', 0x12, 2, 0x18, 7]);
        expected.extend([0x7a, 5, 0x12, 1, b'm', 0x18, 2]);
        assert_eq!(span.encode_to_vec(), expected);
    }
}
