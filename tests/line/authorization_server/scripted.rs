//! An authorization server that answers what a test tells it to: no honest one could be made to answer most of it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpListener;

/// A request as the server received it.
#[derive(Clone, Debug)]
pub struct Call {
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// What it answers at a path.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, fields: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self { status, fields: vec![("location", location.to_owned())], body: String::new() }
    }

    /// None, however long one waits.
    pub const fn never() -> Self {
        Self { status: 0, fields: Vec::new(), body: String::new() }
    }

    pub fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, Answer>,
    calls: Vec<Call>,
}

/// The server.
pub struct Scripted {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// The same over HTTP/2, by prior knowledge.
    pub async fn over_http2() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(is_http2: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::new(Mutex::new(Script::default()));
        let kept = script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = kept.clone();
                let service = service_fn(move |request| answer(request, script.clone()));
                let stream = TokioIo::new(stream);
                if is_http2 {
                    let server = http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(async move { server.serve_connection(stream, service).await });
                } else {
                    tokio::spawn(http1::Builder::new().serve_connection(stream, service));
                }
            }
        });
        Self { address, script }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it answer this at a path from now on.
    pub fn answers(&self, path: &str, answer: Answer) {
        self.script.lock().expect("no panic").answers.insert(path.to_owned(), answer);
    }

    /// Waits until a request has come.
    pub async fn called(&self) {
        while self.script.lock().expect("no panic").calls.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// The requests since the last time this was called.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.script.lock().expect("no panic").calls)
    }
}

async fn answer(request: Request<Incoming>, script: Arc<Mutex<Script>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let call =
        Call { target: head.uri.to_string(), headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() };
    let answer = {
        let mut script = script.lock().expect("no panic");
        script.calls.push(call);
        script.answers.get(head.uri.path()).cloned()
    };
    if answer.as_ref().is_some_and(|answer| answer.status == 0) {
        return std::future::pending().await;
    }
    let mut response = Response::builder().status(answer.as_ref().map_or(404, |answer| answer.status));
    for (name, value) in answer.iter().flat_map(|answer| &answer.fields) {
        response = response.header(*name, value);
    }
    let body = answer.map(|answer| answer.body).unwrap_or_default();
    Ok(response.body(Full::new(body.into())).expect("an answer"))
}
