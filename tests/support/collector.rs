//! A collector of spans whose answers a test decides, over real sockets: OTLP over HTTP or gRPC, with or without TLS. What it reads
//! is decoded by the messages that OpenTelemetry publishes, and kept byte by byte.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::DEADLINE;

/// A collector.
pub struct Collector {
    address: SocketAddr,
    scheme: &'static str,
    bytes: Arc<Mutex<Vec<u8>>>,
    received: watch::Receiver<Vec<Received>>,
    task: JoinHandle<()>,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// That it took all.
    Take,
    /// That it rejects so many.
    Reject(i64),
    /// This status of HTTP, perhaps with `Retry-After`.
    Status(u16, Option<&'static str>),
    /// This status of gRPC.
    Call(&'static str),
    /// These bytes as the body of a response that is good otherwise.
    Bytes(&'static [u8]),
    /// A body that does not end.
    Endless,
    /// Nothing, and it keeps the connection.
    Nothing,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub spans: Vec<Span>,
    pub records: Vec<Record>,
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub time: u64,
    pub observed: u64,
    pub severity: (i32, String),
    pub event: String,
    pub trace: String,
    pub body: String,
    pub resource: BTreeMap<String, String>,
}

/// A span, with ids in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub began: u64,
    pub ended: u64,
    pub failed: bool,
    pub flags: u32,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
}

pub const INTERNAL: i32 = 1;
pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;

impl Span {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

impl Collector {
    /// One without TLS that takes everything.
    pub async fn start(protocol: Protocol) -> Self {
        Self::answering(protocol, None, |_| Answer::Take).await
    }

    /// One that answers the requests, by their number from 0, in this way.
    pub async fn answering(
        protocol: Protocol,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, received) = watch::channel(Vec::new());
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let served = Served { protocol, answer: Arc::new(answer), sender: Arc::new(sender), bytes: bytes.clone() };
        let task = tokio::spawn(async move {
            let tls = tls.map(TlsAcceptor::from);
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (served, tls) = (served.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => served.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                served.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, bytes, received, task }
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The section of gateway.yaml that names it; `more` is added in flow style.
    pub fn section(&self, protocol: Protocol, more: &str) -> String {
        section(&self.endpoint(), protocol, more)
    }

    /// All spans, once there are as many as this demands.
    pub async fn spans(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut received = self.received.clone();
        let all = |received: &Vec<Received>| -> Vec<Span> {
            received.iter().flat_map(|one: &Received| one.spans.clone()).collect()
        };
        let waiting = received.wait_for(|received| enough(&all(received)));
        let found = tokio::time::timeout(DEADLINE, waiting).await.map(|found| all(&found.expect("it runs")));
        found.unwrap_or_else(|_| panic!("the collector waits for more than {:#?}", self.requests()))
    }

    /// All spans of the exchange with this interaction id, which has come once its own has: that is the last.
    pub async fn trace_of(&self, interaction: &str) -> Vec<Span> {
        let is_it = |span: &Span| span.attribute("fapi.interaction_id") == Some(interaction);
        let spans = self.spans(|spans| spans.iter().any(is_it)).await;
        let own = spans.iter().find(|span| is_it(span)).expect("it is there").clone();
        let (mut parts, own): (Vec<Span>, Vec<Span>) =
            spans.into_iter().filter(|span| span.id == own.id || span.parent == own.id).partition(|span| !is_it(span));
        parts.extend(own);
        parts
    }

    /// The bodies of all records, once they are as this demands.
    pub async fn records(&self, enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let mut received = self.received.clone();
        let all = |received: &Vec<Received>| -> Vec<Record> {
            received.iter().flat_map(|one: &Received| one.records.clone()).collect()
        };
        let waiting = received.wait_for(|received| enough(&all(received)));
        let found = tokio::time::timeout(DEADLINE, waiting).await.map(|found| all(&found.expect("it runs")));
        found.unwrap_or_else(|_| panic!("the collector waits for more than {:#?}", self.requests()))
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until there were so many requests.
    pub async fn asked(&self, times: usize) {
        let mut received = self.received.clone();
        let waiting = received.wait_for(|received| received.len() >= times);
        assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "the collector was not asked {times} times");
    }

    /// Every byte that was read of connections, after TLS.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("no panic").clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The section of gateway.yaml for a collector; `more` is added in flow style.
pub fn section(endpoint: &str, protocol: Protocol, more: &str) -> String {
    let protocol = match protocol {
        Protocol::Http => "http",
        Protocol::Grpc => "grpc",
    };
    format!("tracing: {{ otlp: {{ endpoint: \"{endpoint}\", protocol: {protocol}{more} }} }}\n")
}

#[derive(Clone)]
struct Served {
    protocol: Protocol,
    answer: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    sender: Arc<watch::Sender<Vec<Received>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Served {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let stream = TokioIo::new(Heard { stream, bytes: self.bytes.clone() });
        let (protocol, service) = (self.protocol, service_fn(move |request| self.clone().respond(request)));
        // A client may leave at any time.
        match protocol {
            Protocol::Http => drop(hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await),
            Protocol::Grpc => {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(stream, service).await);
            }
        }
    }

    async fn respond(self, request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let message = match self.protocol {
            Protocol::Http => body,
            Protocol::Grpc => {
                let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes"));
                assert_eq!((body[0], length as usize), (0, body.len() - 5), "one message, not compressed");
                body.slice(5..)
            }
        };
        let is_of_logs = head.uri.path().to_ascii_lowercase().contains("logs");
        let (spans, records) =
            if is_of_logs { (Vec::new(), decoded_logs(&message)) } else { (decoded(&message), Vec::new()) };
        let mut answer = Answer::Take;
        // Before anybody hears of the request, and changes what is answered.
        self.sender.send_modify(|received| {
            answer = (self.answer)(received.len());
            received.push(Received { path: head.uri.path().to_owned(), headers: head.headers, spans, records });
        });
        if let Answer::Nothing = answer {
            std::future::pending::<()>().await;
        }
        Ok(self.response(&answer))
    }

    fn response(&self, answer: &Answer) -> Response<BoxBody<Bytes, Infallible>> {
        let message = match answer {
            Answer::Reject(rejected_spans) => {
                let partial =
                    ExportTracePartialSuccess { rejected_spans: *rejected_spans, error_message: "no".to_owned() };
                ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
            }
            Answer::Bytes(bytes) => bytes.to_vec(),
            Answer::Take | Answer::Status(..) | Answer::Call(_) | Answer::Endless | Answer::Nothing => {
                ExportTraceServiceResponse { partial_success: None }.encode_to_vec()
            }
        };
        let (kind, body) = match self.protocol {
            Protocol::Http => ("application/x-protobuf", Bytes::from(message)),
            Protocol::Grpc => ("application/grpc+proto", framed(&message)),
        };
        let response = Response::builder().header("content-type", kind);
        match (answer, self.protocol) {
            (Answer::Status(status, after), _) => {
                let response = Response::builder().status(StatusCode::from_u16(*status).expect("a status"));
                let response = after.iter().fold(response, |response, after| response.header("retry-after", *after));
                response.body(whole(Bytes::new())).expect("a response")
            }
            (Answer::Endless, _) => response.body(BoxBody::new(Endless)).expect("a response"),
            (Answer::Call(status), Protocol::Grpc) => response
                .header("grpc-status", *status)
                .header("grpc-message", "as the test wants it")
                .body(whole(Bytes::new()))
                .expect("a response"),
            (_, Protocol::Http) => response.body(whole(body)).expect("a response"),
            (_, Protocol::Grpc) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                let body = Full::new(body).with_trailers(async { Some(Ok(trailers)) });
                response.body(BoxBody::new(body)).expect("a response")
            }
        }
    }
}

fn whole(body: Bytes) -> BoxBody<Bytes, Infallible> {
    BoxBody::new(Full::new(body))
}

fn framed(message: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.len().try_into().expect("short"));
    body.put_slice(message);
    body.freeze()
}

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

/// The records of a request of OTLP.
fn decoded_logs(message: &[u8]) -> Vec<Record> {
    let request = ExportLogsServiceRequest::decode(message).expect("a request of OTLP");
    let mut records = Vec::new();
    for of_resource in request.resource_logs {
        let resource = attributes(&of_resource.resource.expect("records are of something").attributes);
        for of_scope in of_resource.scope_logs {
            assert_eq!(of_scope.scope.expect("a scope").name, "fapi-gateway");
            records.extend(of_scope.log_records.into_iter().map(|record| {
                let Some(Value::StringValue(body)) = record.body.and_then(|body| body.value) else { panic!("text") };
                Record {
                    time: record.time_unix_nano,
                    observed: record.observed_time_unix_nano,
                    severity: (record.severity_number, record.severity_text),
                    event: record.event_name,
                    trace: record.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                    body,
                    resource: resource.clone(),
                }
            }));
        }
    }
    records
}

/// The spans of a request of OTLP.
pub fn decoded(message: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(message).expect("a request of OTLP");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(&of_resource.resource.expect("spans are of something").attributes);
        for of_scope in of_resource.scope_spans {
            assert_eq!(of_scope.scope.expect("a scope").name, "fapi-gateway");
            spans.extend(of_scope.spans.into_iter().map(|span| {
                assert_eq!((span.trace_id.len(), span.span_id.len(), span.trace_state.as_str()), (16, 8, ""));
                Span {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    name: span.name,
                    kind: span.kind,
                    began: span.start_time_unix_nano,
                    ended: span.end_time_unix_nano,
                    failed: span.status.is_some_and(|status| status.code == 2),
                    flags: span.flags,
                    attributes: attributes(&span.attributes),
                    resource: resource.clone(),
                }
            }));
        }
    }
    spans
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{} is {other:?}", pair.key),
    };
    let found: BTreeMap<String, String> = list.iter().map(|pair| (pair.key.clone(), text(pair))).collect();
    assert_eq!(found.len(), list.len(), "each name is there once");
    found
}

/// Keeps what is read.
struct Heard<S> {
    stream: S,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.bytes.lock().expect("no panic").extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
