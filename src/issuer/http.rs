//! The HTTPS client for authorization servers and directories, with strict limits on what it accepts.
//!
//! TLS 1.2 or 1.3 to a server whose certificate has the requested name (FAPI 2.0 §5.2.1, RFC 9525), no redirects, no
//! proxy, limits on size and time. Does not parse the document.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use reqwest::{Url, redirect};

use crate::tls_client::{Identity, TlsClientError, TrustAnchors, client_config};

/// The largest document that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A client for the servers whose certificates chain to one issuer's trust anchors.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
}

impl Client {
    /// A client that trusts `anchors`; `connect_timeout` is for TCP and TLS, `timeout` for one whole call.
    ///
    /// The system's anchors are read once, here; `SSL_CERT_FILE` and `SSL_CERT_DIR` name other locations for them.
    /// Every call opens its own connection: a call every few minutes gains nothing from a kept one.
    ///
    /// # Errors
    /// [`ClientError`] when there is no anchor to trust.
    pub fn new(anchors: &TrustAnchors, connect_timeout: Duration, timeout: Duration) -> Result<Self, ClientError> {
        Self::build(anchors, None, 0, connect_timeout, timeout)
    }

    /// The same for many calls: keeps up to `connections` open between them, and presents `identity` to a server that
    /// requests a certificate.
    ///
    /// # Errors
    /// [`ClientError`] when there is no anchor to trust, or the key of `identity` does not match its certificate.
    pub fn for_many_calls(
        anchors: &TrustAnchors,
        identity: Option<&Identity>,
        connections: usize,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        Self::build(anchors, identity, connections, timeout, timeout)
    }

    fn build(
        anchors: &TrustAnchors,
        identity: Option<&Identity>,
        connections: usize,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let mut config = client_config(anchors, identity)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            // The URL is configured or comes from the issuer's metadata; a response cannot change it.
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(connections)
            // Servers close idle connections after 5 seconds or more; a call on a connection that is being closed is
            // lost.
            .pool_idle_timeout(Duration::from_secs(4))
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .user_agent(concat!("fapi-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Client { detail: innermost(&error) })?;
        Ok(Self { inner })
    }

    /// The body of a 200 response, at most [`MAX_BODY_BYTES`]. Its media type is not checked: issuers send keys as
    /// `application/json`, `application/jwk-set+json` or worse, and the parser decides.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get_json_bytes(&self, url: &Url) -> Result<Bytes, FetchError> {
        self.get(url).await.map(|document| document.body)
    }

    /// Like [`Self::get_json_bytes`], with the header fields as well as the body.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &Url) -> Result<Document, FetchError> {
        document(self.send(url, self.get_json(url)).await?, MAX_BODY_BYTES, host(url)).await
    }

    /// The same for a document of at most `limit` bytes, asked for with more header fields; `None` if it is still the one with this
    /// entity tag (RFC 9110 §13.1.2).
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get_unless(
        &self,
        url: &Url,
        headers: &HeaderMap,
        entity_tag: Option<&HeaderValue>,
        limit: usize,
    ) -> Result<Option<Document>, FetchError> {
        let mut request = self.get_json(url).headers(headers.clone());
        if let Some(entity_tag) = entity_tag {
            request = request.header(header::IF_NONE_MATCH, entity_tag);
        }
        let response = self.send(url, request).await?;
        if entity_tag.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        document(response, limit, host(url)).await.map(Some)
    }

    fn get_json(&self, url: &Url) -> reqwest::RequestBuilder {
        self.inner.get(url.clone()).header(header::ACCEPT, HeaderValue::from_static("application/json"))
    }

    /// Sends a form and returns the whole response, whatever its status; a body over `limit` is an error.
    ///
    /// Retries once if a kept connection turns out to be closed; `form` is called for each attempt.
    ///
    /// # Errors
    /// [`FetchError`], but never [`FetchError::Status`]; or the error of `form`.
    pub async fn post_form<E: From<FetchError>, F: Future<Output = Result<String, E>>>(
        &self,
        url: &Url,
        accept: &'static str,
        limit: usize,
        form: impl Fn() -> F,
    ) -> Result<Response<Bytes>, E> {
        let attempt = |form| {
            let post = self.inner.post(url.clone()).header(header::ACCEPT, HeaderValue::from_static(accept));
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            self.send(url, post.header(header::CONTENT_TYPE, kind).body(form))
        };
        let answer = match attempt(form().await?).await {
            Err(FetchError::BrokenOff { .. }) => attempt(form().await?).await?,
            first => first?,
        };
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let mut response = Response::new(body(answer, limit, host(url)).await?);
        *response.status_mut() = status;
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Ok(response)
    }

    async fn send(&self, url: &Url, request: reqwest::RequestBuilder) -> Result<reqwest::Response, FetchError> {
        if url.scheme() != "https" {
            return Err(FetchError::NotHttps { host: host(url) });
        }
        // RFC 9110 §12.5.3: without the field "any content coding is considered acceptable by the user agent".
        let request = request.header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = request.send().await.map_err(|error| fault(&error, host(url)))?;
        match coding(response.headers()) {
            Some(coding) if response.status() == StatusCode::OK => Err(FetchError::Encoded { host: host(url), coding }),
            Some(_) | None => Ok(response),
        }
    }
}

/// The content codings of a response, made printable; `None` if there is none other than `identity`.
fn coding(headers: &HeaderMap) -> Option<Box<str>> {
    let lines: Vec<_> = headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    let text: String = lines.join(&b", "[..]).iter().take(64).map(|byte| printable(*byte)).collect();
    let is_coding = |name: &str| !name.is_empty() && !name.eq_ignore_ascii_case("identity");
    text.split(',').map(str::trim).any(is_coding).then(|| text.into())
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}

fn fault(error: &reqwest::Error, host: Box<str>) -> FetchError {
    if error.is_timeout() {
        FetchError::TimedOut { host }
    } else if error.is_request() && !error.is_connect() {
        FetchError::BrokenOff { host, detail: innermost(error) }
    } else {
        FetchError::Unreachable { host, detail: innermost(error) }
    }
}

/// A 200 response.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

/// Why a client could not be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The introspection endpoint is neither configured nor discoverable.
    #[error("its introspection endpoint is neither configured nor discoverable; configure introspection.endpoint")]
    NoEndpoint,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsClientError),
    /// reqwest refused its settings.
    #[error("the HTTP client cannot be set up: {detail}")]
    Client {
        /// Its message.
        detail: String,
    },
}

/// Why a document could not be fetched; contains nothing of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not an https URL.
    #[error("{host} is not called without TLS")]
    NotHttps {
        /// Host, and port if it is not 443.
        host: Box<str>,
    },
    /// No connection, no trusted certificate, or an incomplete response.
    #[error("{host} cannot be reached: {detail}")]
    Unreachable {
        /// Host, and port if it is not 443.
        host: Box<str>,
        /// The connector's message.
        detail: String,
    },
    /// The connection was closed before the head of the response arrived.
    #[error("{host} closed the connection before it answered: {detail}")]
    BrokenOff {
        /// Host, and port if it is not 443.
        host: Box<str>,
        /// The connector's message.
        detail: String,
    },
    /// Connecting or the whole call took too long.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// Host, and port if it is not 443.
        host: Box<str>,
    },
    /// A status other than 200; redirects are not followed.
    #[error("{host} answered with status {status}, expected 200", status = status.as_u16())]
    Status {
        /// Host, and port if it is not 443.
        host: Box<str>,
        /// The status.
        status: StatusCode,
    },
    /// A content coding, although the request accepts none.
    #[error("{host} answered with Content-Encoding {coding:?}, although the request says Accept-Encoding: identity")]
    Encoded {
        /// Host, and port if it is not 443.
        host: Box<str>,
        /// The codings.
        coding: Box<str>,
    },
    /// A body over the limit.
    #[error("{host} sent more than {limit} bytes")]
    TooLarge {
        /// Host, and port if it is not 443.
        host: Box<str>,
        /// The limit.
        limit: usize,
    },
}

/// Host, and port if it is not 443, so that an operator can identify the server.
pub(crate) fn host(url: &Url) -> Box<str> {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}").into())
}

/// The document of a 200 response.
async fn document(mut response: reqwest::Response, limit: usize, host: Box<str>) -> Result<Document, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status { host, status: response.status() });
    }
    let headers = std::mem::take(response.headers_mut());
    Ok(Document { headers, body: body(response, limit, host).await? })
}

/// Reads the whole body; fails as soon as it is known to be over the limit.
async fn body(mut response: reqwest::Response, limit: usize, host: Box<str>) -> Result<Bytes, FetchError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(FetchError::TooLarge { host, limit });
    }
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if chunk.len() > limit - body.len() => return Err(FetchError::TooLarge { host, limit }),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(fault(&error, host)),
        }
    }
}

/// The root cause of an error, which an operator can act on, without the URL that the outer errors repeat.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
