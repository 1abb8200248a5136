//! One entry of `directories` in gateway.yaml.

use std::sync::Arc;
use std::time::Duration;

use fapi::directory::Format;
use http::HeaderMap;
use reqwest::Url;

use crate::issuer::http::ClientError;
use crate::tls_client::TrustAnchors;

/// One entry of `directories`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// The form of its document.
    pub format: Format,
    /// Where the document is; an https URL.
    pub url: Url,
    /// The header fields that a request for it has beside the usual ones.
    pub headers: HeaderMap,
    /// The authorities of its server's certificate.
    pub trust_anchors: TrustAnchors,
    /// The longest time between two successful reads: how long a participant is served that has left.
    pub refresh: Duration,
    /// How long ago the last successful read may be for the directory to be used.
    pub keep: Duration,
    /// How long one read may take.
    pub timeout: Duration,
    /// Whether the gateway is ready only once it has been read.
    pub required: bool,
}

/// A directory cannot be called.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("directory {directory:?}: {error}")]
pub struct DirectoryError {
    /// Its configured name.
    pub directory: Arc<str>,
    /// Why not.
    pub error: ClientError,
}
