//! The one HTTPS client: what an authorization server is asked, and how little is believed of its answer.
//!
//! TLS 1.2 or 1.3 to a server whose certificate has the name that was asked for (FAPI 2.0 §5.2.1, RFC 9525), one GET on
//! one connection, no redirect, no proxy, a limit on size and time. Does not read the document.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Response, Url, redirect};
use rustls::client::Resumption;
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
    ///
    /// # Errors
    /// [`ClientError`] when there is no anchor to believe.
    pub fn new(anchors: &TrustAnchors, connect_timeout: Duration, timeout: Duration) -> Result<Self, ClientError> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots(anchors)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed handshake does not look at the server's certificate again.
        config.resumption = Resumption::disabled();
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            // Where the keys come from is configured or stands in the issuer's metadata; an answer cannot move it.
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http1_only()
            // A call every few minutes gains nothing from a kept connection, which would also be bound to the runtime
            // that opened it.
            .pool_max_idle_per_host(0)
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .user_agent(concat!("fapi-gateway/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
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
        let host = host(url);
        if url.scheme() != "https" {
            return Err(FetchError::NotHttps { host });
        }
        let fault = |error: reqwest::Error| {
            if error.is_timeout() {
                FetchError::TimedOut { host: host.clone() }
            } else {
                FetchError::Unreachable { host: host.clone(), detail: innermost(&error) }
            }
        };
        let mut response = self.inner.get(url.clone()).send().await.map_err(fault)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { host, status: response.status() });
        }
        let headers = std::mem::take(response.headers_mut());
        match body(response).await {
            Ok(Some(body)) => Ok(Document { headers, body }),
            Ok(None) => Err(FetchError::TooLarge { host }),
            Err(error) => Err(fault(error)),
        }
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
    #[error("{host} is not asked without TLS")]
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
    #[error("{host} sent more than {MAX_BODY_BYTES} bytes")]
    TooLarge {
        /// Host, and port if not the usual one.
        host: Box<str>,
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

/// The whole body, or `None` as soon as it is known to be over the limit.
async fn body(mut response: Response) -> Result<Option<Bytes>, reqwest::Error> {
    if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Ok(None);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > MAX_BODY_BYTES - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

/// The first cause of an error: what the operator can do something about, without the URL that the outer ones repeat.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
