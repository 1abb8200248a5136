//! The messages of OTLP, as opentelemetry-proto 1.x defines them; those fields that the gateway writes or reads.

use std::time::Duration;

use prost::Message;

use crate::trace::{Kind, Record, Span as Recorded, Value as Known};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct SpansRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// What spans and records are of.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

/// `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct LogsRequest {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<WrittenRecord>,
}

/// `LogRecord`.
#[derive(Clone, PartialEq, Message)]
struct WrittenRecord {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(bytes = "vec", tag = "9")]
    trace_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    event_name: String,
}

/// A record of a log, at the severity `INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// When it happened, since 1970; zero if that is not known.
    pub time: Duration,
    /// Its text.
    pub body: String,
    /// The trace that it belongs to.
    pub trace: Option<[u8; 16]>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `ExportTraceServiceResponse` and `ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess` and `ExportLogsPartialSuccess`, without their text, which nobody vouches for.
#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
}

impl Resource {
    pub(super) fn new(attributes: &[(Box<str>, Box<str>)]) -> Self {
        let attributes = attributes.iter().map(|(key, value)| key_value(key, Value::Text(value.to_string())));
        Self { attributes: attributes.collect() }
    }
}

/// The request with these spans.
pub(super) fn spans(resource: &Resource, records: Vec<Record>) -> Vec<u8> {
    let of_record = |Record { trace, spans }: Record| {
        let trace = *trace.as_bytes();
        spans.into_iter().map(move |span| written(&trace, span))
    };
    let spans = records.into_iter().flat_map(of_record).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }];
    SpansRequest { resource_spans }.encode_to_vec()
}

/// The request with these records, which are events of this name.
pub fn logs(resource: &Resource, event: &str, observed: Duration, records: Vec<LogRecord>) -> Vec<u8> {
    let written = |LogRecord { time, body, trace }| WrittenRecord {
        time_unix_nano: nanoseconds(time),
        severity_number: SEVERITY_INFO,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::Text(body)) }),
        trace_id: trace.map(Vec::from).unwrap_or_default(),
        observed_time_unix_nano: nanoseconds(observed),
        event_name: event.to_owned(),
    };
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records: records.into_iter().map(written).collect() }];
    LogsRequest { resource_logs: vec![ResourceLogs { resource: Some(resource.clone()), scope_logs }] }.encode_to_vec()
}

fn scope() -> InstrumentationScope {
    let (name, version) = (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How many spans or records a response says were rejected.
///
/// # Errors
/// When it is no such message.
pub(super) fn rejected(response: &[u8]) -> Result<usize, prost::DecodeError> {
    let rejected = Response::decode(response)?.partial_success.map_or(0, |partial| partial.rejected);
    // A negative number means nothing.
    Ok(usize::try_from(rejected).unwrap_or(0))
}

fn written(trace: &[u8; 16], span: Recorded) -> Span {
    let attributes = span.attributes.into_iter().map(|(name, value)| {
        key_value(
            name,
            match value {
                Known::Word(word) => Value::Text(word.to_owned()),
                Known::Text(text) => Value::Text(text.to_string()),
                Known::Number(number) => Value::Number(number),
            },
        )
    });
    Span {
        trace_id: trace.to_vec(),
        span_id: span.id.as_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        name: span.name.into_owned(),
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: nanoseconds(span.began),
        end_time_unix_nano: nanoseconds(span.ended),
        attributes: attributes.collect(),
        status: span.failed.then_some(Status { code: STATUS_CODE_ERROR }),
        flags: SAMPLED | HAS_IS_REMOTE | if span.parent_is_remote { IS_REMOTE } else { 0 },
    }
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

const STATUS_CODE_ERROR: i32 = 2;
/// `SeverityNumber`: `INFO`.
const SEVERITY_INFO: i32 = 9;
/// `SpanFlags`: the flags of `traceparent`, whether it is known that the parent is another's, and whether it is.
const SAMPLED: u32 = 0x01;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
