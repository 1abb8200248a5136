//! The one HTTPS client: what an authorization server is asked, and how little is believed of its answer.
//!
//! TLS 1.2 or 1.3 to a server whose certificate has the name that was asked for (FAPI 2.0 §5.2.1, RFC 9525), no redirect,
//! no proxy, a limit on size and time. Does not read the document.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use reqwest::{Url, redirect};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::TrustAnchors;

/// The largest document that is read.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Calls the servers that one issuer's trust anchors vouch for.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
}

impl Client {
    /// A client that believes `anchors`; `connect_timeout` is for TCP and TLS, `timeout` for all of one call.
    ///
    /// The system's anchors are read here, once; `SSL_CERT_FILE` and `SSL_CERT_DIR` name other places for them.
    /// Every call has a connection of its own: one every few minutes gains nothing from a kept one.
    ///
    /// # Errors
    /// [`ClientError`] when there is no anchor to believe.
    pub fn new(anchors: &TrustAnchors, connect_timeout: Duration, timeout: Duration) -> Result<Self, ClientError> {
        Self::build(anchors, None, 0, connect_timeout, timeout)
    }

    /// The same for many calls: keeps up to `connections` open between them, and shows `identity` to a server that asks.
    ///
    /// # Errors
    /// [`ClientError`] when there is no anchor to believe, or `identity` is no pair.
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
        let builder = ClientConfig::builder_with_provider(Arc::new(crate::connection::tls::provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots(anchors)?);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed handshake does not look at the server's certificate again.
        config.resumption = Resumption::disabled();
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            // Where to ask is configured or stands in the issuer's metadata; an answer cannot move it.
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(connections)
            // Servers close idle connections after 5 seconds or more; one that is closed while it is taken is a lost call.
            .pool_idle_timeout(Duration::from_secs(4))
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .user_agent(concat!("fapi-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Client { detail: innermost(&error) })?;
        Ok(Self { inner })
    }

    /// The body of a 200 answer, at most [`MAX_BODY_BYTES`]. Its media type is not looked at: issuers send keys as
    /// `application/json`, `application/jwk-set+json` or worse, and the parser is the judge.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get_json_bytes(&self, url: &Url) -> Result<Bytes, FetchError> {
        self.get(url).await.map(|document| document.body)
    }

    /// As [`Self::get_json_bytes`], with the fields beside the body.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &Url) -> Result<Document, FetchError> {
        let accept = HeaderValue::from_static("application/json");
        let mut response = self.send(url, self.inner.get(url.clone()).header(header::ACCEPT, accept)).await?;
        let host = host(url);
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { host, status: response.status() });
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Document { headers, body: body(response, MAX_BODY_BYTES, host).await? })
    }

    /// Sends a form and gives the whole answer, whatever its status; a body over `limit` is an error.
    ///
    /// Asked a second time if a connection that was kept turns out to be closed: `form` is made anew for each attempt.
    ///
    /// # Errors
    /// [`FetchError`], but never [`FetchError::Status`]; or what stands in the way of a form.
    pub async fn post_form<E: From<FetchError>>(
        &self,
        url: &Url,
        accept: &'static str,
        limit: usize,
        form: impl Fn() -> Result<String, E>,
    ) -> Result<Response<Bytes>, E> {
        let attempt = |form| {
            let post = self.inner.post(url.clone()).header(header::ACCEPT, HeaderValue::from_static(accept));
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            self.send(url, post.header(header::CONTENT_TYPE, kind).body(form))
        };
        let answer = match attempt(form()?).await {
            Err(FetchError::BrokenOff { .. }) => attempt(form()?).await?,
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
        request.send().await.map_err(|error| fault(&error, host(url)))
    }
}

/// The certificate that the gateway shows, and its key.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's.
    pub key: PrivateKeyDer<'static>,
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

/// A 200 answer.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its fields.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// No anchor at all: no server could ever be believed.
    #[error("there are no trust anchors; the system has none, or trust_anchors is empty")]
    NoAnchors,
    /// Nothing says where to ask.
    #[error("its introspection endpoint is neither configured nor discoverable; configure introspection.endpoint")]
    NoEndpoint,
    /// An anchor that is no certificate.
    #[error("a trust anchor cannot be used: {0}")]
    Anchor(rustls::Error),
    /// rustls refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// reqwest refused its settings.
    #[error("the HTTP client cannot be set up: {detail}")]
    Client {
        /// What it said.
        detail: String,
    },
}

/// Why a document could not be had; none of its content is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not an https URL.
    #[error("{host} is not called without TLS")]
    NotHttps {
        /// Host, and port if not the usual one.
        host: Box<str>,
    },
    /// No connection, no trusted certificate, or an answer that broke off.
    #[error("{host} cannot be reached: {detail}")]
    Unreachable {
        /// Host, and port if not the usual one.
        host: Box<str>,
        /// What the connector said.
        detail: String,
    },
    /// A connection that ended before the head of the answer was there.
    #[error("{host} closed the connection before it answered: {detail}")]
    BrokenOff {
        /// Host, and port if not the usual one.
        host: Box<str>,
        /// What the connector said.
        detail: String,
    },
    /// The limit of time for connecting, or for the whole call, was reached.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// Host, and port if not the usual one.
        host: Box<str>,
    },
    /// Another status than 200; redirects are not followed.
    #[error("{host} answered with status {status}, expected 200", status = status.as_u16())]
    Status {
        /// Host, and port if not the usual one.
        host: Box<str>,
        /// The status.
        status: StatusCode,
    },
    /// A body over the limit.
    #[error("{host} sent more than {limit} bytes")]
    TooLarge {
        /// Host, and port if not the usual one.
        host: Box<str>,
        /// The limit.
        limit: usize,
    },
}

/// Host, and port if not the usual one; what an operator finds a server by.
pub(super) fn host(url: &Url) -> Box<str> {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}").into())
}

fn roots(anchors: &TrustAnchors) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    match anchors {
        TrustAnchors::System => {
            // One odd certificate among the system's hundreds is no reason to believe none of them.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        TrustAnchors::Given(certificates) => {
            for certificate in certificates {
                roots.add(certificate.clone()).map_err(ClientError::Anchor)?;
            }
        }
    }
    if roots.is_empty() {
        return Err(ClientError::NoAnchors);
    }
    Ok(roots)
}

/// The whole body; an error as soon as it is known to be over the limit.
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

/// The first cause of an error: what the operator can do something about, without the URL that the outer ones repeat.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
