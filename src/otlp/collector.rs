//! One collector, and a call to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use reqwest::{Url, redirect};

use super::grpc;
use super::message::{Resource, rejected};
use super::settings::{Peer, Protocol, Signal};
use crate::issuer::http::innermost;
use crate::resource;
use crate::tls_client::{TlsClientError, client_config};

/// One collector, and how it is doing.
pub struct Collector {
    calls: Calls,
    state: Arc<resource::Resource>,
}

/// Calls to a collector with one kind of things.
pub struct Calls {
    client: reqwest::Client,
    url: Url,
    protocol: Protocol,
    timeout: Duration,
    resource: Resource,
}

/// Why a collector cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// TLS cannot be set up.
    #[error("TLS to a collector cannot be set up: {0}")]
    Tls(#[from] TlsClientError),
    /// reqwest refused its settings.
    #[error("the HTTP client for a collector cannot be set up: {0}")]
    Client(String),
}

impl Collector {
    /// Prepares calls with spans, without making any; how they go is noted in `state`.
    ///
    /// # Errors
    /// [`CollectorError`].
    pub fn new(peer: &Peer, state: Arc<resource::Resource>) -> Result<Self, CollectorError> {
        Ok(Self { calls: Calls::new(peer, Signal::Traces)?, state })
    }

    pub(super) const fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn state(&self) -> &resource::Resource {
        &self.state
    }
}

impl Calls {
    /// Prepares calls, without making any.
    ///
    /// # Errors
    /// [`CollectorError`].
    pub fn new(peer: &Peer, signal: Signal) -> Result<Self, CollectorError> {
        let Peer { endpoint, protocol, headers, trust_anchors, identity, timeout, resource } = peer;
        let mut tls = client_config(trust_anchors, identity.as_ref())?;
        let (alpn, path, media_type) = match protocol {
            Protocol::Http => (&b"http/1.1"[..], signal.path(), HTTP_MEDIA_TYPE),
            Protocol::Grpc => (&b"h2"[..], signal.call(), grpc::MEDIA_TYPE),
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let mut fields: HeaderMap = headers.iter().cloned().collect();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let mut url = endpoint.clone();
        url.set_path(&format!("{}{path}", endpoint.path().trim_end_matches('/')));
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(fields)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(*timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("fapi-gateway/", env!("CARGO_PKG_VERSION")));
        let builder = match protocol {
            // Collectors close connections that are idle for longer; the next batch comes in a second.
            Protocol::Http => builder.http1_only().pool_idle_timeout(Duration::from_secs(4)),
            Protocol::Grpc => builder.http2_prior_knowledge().pool_idle_timeout(Duration::from_secs(60)),
        };
        let client = builder.build().map_err(|error| CollectorError::Client(innermost(&error)))?;
        let (protocol, timeout, resource) = (*protocol, *timeout, Resource::new(resource));
        Ok(Self { client, url, protocol, timeout, resource })
    }

    /// Where it is, for operators.
    pub const fn endpoint(&self) -> &Url {
        &self.url
    }

    /// What spans and records are of.
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Sends a request, and returns how many spans or records of it the collector rejects. Takes no longer than the timeout, whatever the
    /// collector does.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn send(&self, request: Bytes) -> Result<usize, Fault> {
        let called = async {
            match self.protocol {
                Protocol::Http => self.send_http(request).await,
                Protocol::Grpc => self.send_grpc(request).await,
            }
        };
        tokio::time::timeout(self.timeout, called).await.unwrap_or(Err(Fault::TimedOut))
    }

    async fn send_http(&self, request: Bytes) -> Result<usize, Fault> {
        let response = self.client.post(self.url.clone()).body(request).send().await?;
        let status = response.status();
        if !status.is_success() {
            return Err(Fault::Status { status, after: retry_after(response.headers()) });
        }
        let (body, _) = read(response).await?;
        rejected(&body).map_err(|_| Fault::Nonsense("the response is not of OTLP"))
    }

    async fn send_grpc(&self, request: Bytes) -> Result<usize, Fault> {
        let call = self.client.post(self.url.clone()).header(header::TE, HeaderValue::from_static("trailers"));
        let response = call.body(grpc::framed(&request)).send().await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(Fault::Status { status, after: retry_after(response.headers()) });
        }
        let kind = response.headers().get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(grpc::MEDIA_TYPE.as_bytes())) {
            return Err(Fault::Nonsense("the response is not of gRPC"));
        }
        // A call that is refused at once has its status in the header section.
        let early = response.headers().contains_key("grpc-status").then(|| response.headers().clone());
        let (body, trailers) = read(response).await?;
        let fields = early.or(trailers).unwrap_or_default();
        grpc::Status::of(&fields).map_err(Fault::Nonsense)?.map_err(Fault::Call)?;
        rejected(grpc::unframed(&body).map_err(Fault::Nonsense)?)
            .map_err(|_| Fault::Nonsense("the response is not of OTLP"))
    }
}

/// Why a collector did not take a batch; contains nothing of a span or a record.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be reached, or the connection broke.
    Unreachable(String),
    /// It did not answer in time.
    TimedOut,
    /// It answered with a status that is no success, and may have said when to ask again.
    Status {
        /// The status.
        status: StatusCode,
        /// When to ask again.
        after: Option<Duration>,
    },
    /// It refused a call of gRPC.
    Call(grpc::Status),
    /// What it answered means nothing.
    Nonsense(&'static str),
}

impl Fault {
    /// After which time the same batch may be taken; `None` if it never will.
    ///
    /// OTLP 1.x, "Failures": 429, 502, 503 and 504 are retryable, and other statuses of 4xx and 5xx are not.
    pub fn may_pass(&self) -> Option<Duration> {
        let passes = match self {
            Self::Unreachable(_) | Self::TimedOut => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Call(status) => status.may_pass(),
            Self::Nonsense(_) => false,
        };
        let after = if let Self::Status { after, .. } = self { *after } else { None };
        passes.then(|| after.unwrap_or_default())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(detail) => write!(f, "it cannot be reached: {detail}"),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Status { status, .. } => write!(f, "it answered with status {}", status.as_u16()),
            Self::Call(status) => status.fmt(f),
            Self::Nonsense(why) => f.write_str(why),
        }
    }
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Unreachable(innermost(&error)) }
    }
}

/// How long to wait, in whole seconds; collectors write no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The body of a response, which is small, and its trailers.
async fn read(response: reqwest::Response) -> Result<(Bytes, Option<HeaderMap>), Fault> {
    let mut body = http::Response::<reqwest::Body>::from(response).into_body();
    let (mut read, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if data.len() > MAX_RESPONSE_BYTES - read.len() => {
                return Err(Fault::Nonsense("the response is larger than 64 KiB"));
            }
            Ok(data) => read.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((read.freeze(), trailers))
}

const HTTP_MEDIA_TYPE: &str = "application/x-protobuf";
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
